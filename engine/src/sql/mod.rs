//! The SQL front end: text → statements → catalog → logical plans.
//!
//! The flow, one file each: `tokens` (sqlparser's tokens, durations lowered) → `emit`, `sugar`
//! (clauses that sqlparser cannot read) → `dialect` + `parser` + `create_table` + `types`
//! (statements) → `group_windows` + `window_call` + `interval` (every window a window TVF) →
//! `refusals` (what nobody would read is an error) → `statement` (what the planner receives) →
//! `catalog` (tables and views declared so far; their `options`, the job's `settings`) → `query`
//! (names, types, functions and logical optimisation by DataFusion's planner).

pub mod catalog;
pub mod create_table;
pub mod dialect;
mod emit;
pub mod group_windows;
pub mod interval;
pub mod parser;
pub mod position;
mod refusals;
pub mod statement;
pub mod sugar;
pub mod suggest;
pub mod tokens;
pub mod types;
mod unknown_statement;
pub mod window_call;
