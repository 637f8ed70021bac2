//! The engine of Velocore: from SQL text to a stream plan, and the operators that run it.
//!
//! Layers, each using only those before it:
//!
//! - [`batch`], [`changelog`], [`time`], [`error`]: what flows along an edge and what can go wrong;
//! - [`formats`], [`generators`]: bytes ⇄ batches, and deterministic event generators;
//! - [`state`]: keyed state, row layout, accumulators;
//! - [`sql`], [`functions`]: statements, names, types, logical plans;
//! - [`plan`]: the stream plan: stages cut at exchanges, every edge typed;
//! - [`operators`]: one operator per file.
//!
//! **Invariant.** Nothing here opens a file or a socket, starts a thread, reads a clock or draws
//! a random number: the same inputs in the same order always give the same outputs, so that the
//! deterministic simulator can run this very code.
#![forbid(unsafe_code)]

pub mod batch;
pub mod changelog;
pub mod encoding;
pub mod error;
pub mod limits;
pub mod time;

pub mod formats;
pub mod generators;

pub mod state;

pub mod functions;
pub mod sql;

pub mod operators;
pub mod plan;
pub mod snapshot;

pub mod compile;
