//! The SQL front end: text → statements → catalog → logical plans.
//!
//! The flow, one file each: `tokens` (sqlparser's tokens, durations lowered) → `late_data`, `emit`, `sugar`, `match_clauses`
//! (clauses that sqlparser cannot read) → `dialect` + `stream_parser` + `parser` + `create_table` +
//! `table_like` + `types` (statements) → `group_windows` + `window_columns` + `window_call` +
//! `interval` (every window a window TVF), `spellings` (Flink's, respelled) → `refusals` (what
//! nobody would read is an error) → `statement` (what the planner receives) → `catalog` (tables and views declared so far; their `options`, the job's `settings`) → `query`
//! (names, types, functions and logical optimisation by DataFusion's planner). `flink_export` writes a job file in Flink's own words.

pub mod catalog;
mod constructors;
mod create_table;
mod definitions;
pub mod dialect;
mod emit;
pub mod flink_export;
mod group_windows;
pub(crate) mod hints;
pub mod interval;
mod late_data;
pub(crate) mod match_clauses;
pub mod option_values;
pub mod options;
pub mod parser;
pub mod places;
pub mod position;
pub mod query;
mod refusals;
pub mod settings;
mod spellings;
pub mod statement;
mod stream_parser;
mod sugar;
pub mod suggest;
mod table_like;
mod tokens;
pub mod types;
mod unknown_statement;
pub(crate) mod walk;
pub mod window_call;
mod window_columns;
