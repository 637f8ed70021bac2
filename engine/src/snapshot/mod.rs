//! Snapshots: what an operator holds at a barrier, as Arrow tables, and which of their rows a shard takes
//! back.
//!
//! An operator writes its tables through a [`StateWriter`] and reads them through a [`StateReader`]. A table
//! belongs to one input of the operator and has that input's partition columns among its own, so that the
//! owner of a row follows from the row itself: hash → key group → shard, as in the exchange. Hence state
//! that was written on any number of shards can be read on any other, also by a plan that partitions by
//! other columns of the key (a job on one shard does not partition at all).
//!
//! A snapshot need not bring what has not changed: an operator gives rows that belong together a number as it
//! writes them, and later snapshots say by that number that they are kept. Who stores snapshots puts the rows
//! back before anybody reads them.
//!
//! **Invariant.** An operator writes all its tables, also empty ones: a new operator's snapshot tells the
//! layout that it can read.

mod placement;
mod reader;
mod recorder;
mod writer;

pub use placement::Placement;
pub(crate) use reader::leading;
pub use reader::{StateReader, check_layout};
pub(crate) use recorder::Recorder;
pub use writer::{PartNumber, StateWriter, int64_column, with_columns};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::time::WatermarkUs;

/// Rows of a table that were written together.
#[derive(Clone, Debug, PartialEq)]
pub struct StatePart {
    /// By what a later snapshot may keep them; nothing if none will.
    pub number: Option<PartNumber>,
    /// The rows.
    pub rows: RecordBatch,
}

/// One table of an operator's state.
#[derive(Clone, Debug, PartialEq)]
pub struct StateTable {
    /// What it holds, in the operator's own words.
    pub name: String,
    /// The input by whose distribution its rows belong to shards.
    pub input: usize,
    /// The rows, in parts of one schema; there is one part at least.
    pub parts: Vec<StatePart>,
}

impl StateTable {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        let first = self.parts.first();
        first.expect("invariant: a table has a part").rows.schema()
    }
}

/// What one operator holds on one shard at a barrier.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorSnapshot {
    /// The watermark that it has been told.
    pub watermark: WatermarkUs,
    /// Rows that came too late so far.
    pub late_rows: u64,
    /// Its tables, by name.
    pub tables: Vec<StateTable>,
    /// Parts of earlier snapshots that belong to its tables as well.
    pub kept: Vec<PartNumber>,
}

impl OperatorSnapshot {
    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<&StateTable> {
        self.tables.iter().find(|table| table.name == name)
    }
}
