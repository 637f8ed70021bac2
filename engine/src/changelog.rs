//! The changelog kind of an edge: what its rows may say about rows sent before.
//!
//! Typed at plan time by a two-pass inference as Flink's (`plan::changelog_inference`); Z-set
//! algebra is the specification: integrating an edge must equal the batch answer.

use std::fmt;

/// What the rows of an edge may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changelog {
    /// Only inserts; batches carry no `op` column.
    Append,
    /// Inserts, update-afters and deletes; a row replaces the earlier one with the same key
    /// (column indices). There is no update-before.
    Upsert(Vec<usize>),
    /// All four ops; an update is an adjacent pair of update-before and update-after.
    Retract,
}

impl Changelog {
    /// Whether batches of this edge carry an `op` column.
    pub fn has_ops(&self) -> bool {
        !matches!(self, Changelog::Append)
    }
}

impl fmt::Display for Changelog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Changelog::Append => write!(f, "append"),
            Changelog::Upsert(_) => write!(f, "upsert"),
            Changelog::Retract => write!(f, "retract"),
        }
    }
}
