//! The SQL front end: text → statements → catalog → logical plans.
//!
//! The flow, one file each: `tokens` (sqlparser's tokens, our sugar lowered in place) → `dialect` +
//! `parser` (statements) → `statement` (what they are) → `catalog` (tables and views declared so
//! far) → `query` (names, types, functions and logical optimisation by DataFusion's planner).

pub mod catalog;
pub mod interval;
pub mod position;
pub mod statement;
pub mod window_call;
