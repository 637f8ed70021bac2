//! How much state the operators of a shard may keep, and what is said when they keep more.
//!
//! **Invariant.** Nothing is dropped to stay within the budget: the job stops, and goes on from its last checkpoint
//! with a larger one.

use thiserror::Error;

/// The operators of a shard keep more than they may.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "over the memory budget: the operators of shard {shard} may keep {} and keep {}; the most of it, {} for {keys} keys, is in `{operator}`; \
     give the job more (--memory), bound its state (a window, or SET 'table.exec.state.ttl'), or check what its keys are; \
     with checkpoints it goes on from the last one",
    mebibytes(*.budget), mebibytes(*.kept), mebibytes(*.bytes)
)]
pub struct OverBudget {
    /// The shard.
    pub shard: usize,
    /// What it may keep, bytes.
    pub budget: u64,
    /// What it keeps, bytes.
    pub kept: u64,
    /// The operator that keeps the most.
    pub operator: String,
    /// What that one keeps, bytes.
    pub bytes: u64,
    /// For so many keys.
    pub keys: u64,
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
