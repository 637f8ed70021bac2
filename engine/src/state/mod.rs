//! Keyed state: hashing, key layouts, group tables and accumulators.
//!
//! Order of reading: [`words`] turns columns into 64-bit words, [`hash`] turns words into routing
//! hashes; [`keys`] packs a row's key into a few words, which [`group_table`] finds among its rows
//! by way of `slots`; [`key_columns`] turns keys back into columns; [`accumulators`] keeps aggregates in
//! those rows; [`changes`] says which of them changed.
//!
//! **Invariant.** Nothing observable depends on the order in which a table holds its groups: groups
//! are numbered in order of first arrival, and hashes are the same in every process.

pub mod hash;
pub mod words;

pub mod interner;
pub mod keys;
mod slots;

pub(crate) mod footprint;
pub mod group_table;
pub mod key_ages;
pub mod key_columns;

pub mod row_store;

pub mod accumulators;
pub mod changes;
