//! Keyed state: hashing, key layouts, group tables and accumulators.
//!
//! Order of reading: [`words`] turns columns into 64-bit words, [`hash`] turns words into routing
//! hashes.
//!
//! **Invariant.** Nothing observable depends on the order in which a table holds its groups: groups
//! are numbered in order of first arrival, and hashes are the same in every process.

pub mod accumulators;
pub mod hash;
pub mod words;
