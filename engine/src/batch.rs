//! A batch: Arrow columns, an optional `op` column, and the time stamp of their arrival.
//!
//! Everything that flows along an edge of the plan is a [`Batch`]. Append-only edges carry no
//! `op` column and pay nothing for changelogs.

use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;

pub use crate::limits::BATCH_ROWS_MAX;

/// What one row of a changelog edge says, as stored in the `op` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum Op {
    /// `+I`: a new row.
    Insert = 0,
    /// `-U`: the old value of an updated row; adjacent to its `+U`.
    UpdateBefore = 1,
    /// `+U`: the new value of an updated row.
    UpdateAfter = 2,
    /// `-D`: a row is gone.
    Delete = 3,
}

impl Op {
    /// The op stored as `code`; anything but 0..=3 is a broken invariant.
    pub fn from_code(code: i8) -> Op {
        match code {
            0 => Op::Insert,
            1 => Op::UpdateBefore,
            2 => Op::UpdateAfter,
            3 => Op::Delete,
            other => unreachable!("invariant: op column holds 0..=3, found {other}"),
        }
    }

    /// The code stored in the `op` column.
    pub fn code(self) -> i8 {
        self as i8
    }

    /// Whether the row adds to the multiset (`+I`, `+U`) rather than takes from it (`-U`, `-D`).
    pub fn is_addition(self) -> bool {
        matches!(self, Op::Insert | Op::UpdateAfter)
    }

    /// Flink's short name: `+I`, `-U`, `+U`, `-D`.
    pub fn short_name(self) -> &'static str {
        match self {
            Op::Insert => "+I",
            Op::UpdateBefore => "-U",
            Op::UpdateAfter => "+U",
            Op::Delete => "-D",
        }
    }
}

/// Nanoseconds since 1970, as the runtime stamped it; the same in the process that goes on from a snapshot.
pub type ArrivalNs = u64;

/// Columns of equal length that travel together along one edge.
#[derive(Clone, Debug)]
pub struct Batch {
    rows: RecordBatch,
    ops: Option<Int8Array>,
    /// When the newest input row that contributed to this batch arrived.
    pub arrival_ns: ArrivalNs,
}

impl Batch {
    /// An append-only batch: every row is an insert.
    pub fn append(rows: RecordBatch, arrival_ns: ArrivalNs) -> Batch {
        Batch {
            rows,
            ops: None,
            arrival_ns,
        }
    }

    /// A changelog batch: `ops[i]` says what row `i` is.
    pub fn changes(rows: RecordBatch, ops: Int8Array, arrival_ns: ArrivalNs) -> Batch {
        assert_eq!(rows.num_rows(), ops.len(), "invariant: one op per row");
        assert_eq!(ops.null_count(), 0, "invariant: an op is never NULL");
        Batch {
            rows,
            ops: Some(ops),
            arrival_ns,
        }
    }

    /// A batch with these rows and, where `ops` is given, their ops.
    pub fn new(rows: RecordBatch, ops: Option<Int8Array>, arrival_ns: ArrivalNs) -> Batch {
        match ops {
            Some(ops) => Batch::changes(rows, ops, arrival_ns),
            None => Batch::append(rows, arrival_ns),
        }
    }

    /// The rows, without their ops.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The ops, one per row; `None` on an append-only edge.
    pub fn ops(&self) -> Option<&Int8Array> {
        self.ops.as_ref()
    }

    /// What row `row` says; an insert on an append-only edge.
    pub fn op(&self, row: usize) -> Op {
        self.ops
            .as_ref()
            .map_or(Op::Insert, |ops| Op::from_code(ops.value(row)))
    }

    /// The rows and ops, taken apart.
    pub fn into_parts(self) -> (RecordBatch, Option<Int8Array>, ArrivalNs) {
        (self.rows, self.ops, self.arrival_ns)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The schema of the rows.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Column `index` of the rows.
    pub fn column(&self, index: usize) -> &ArrayRef {
        self.rows.column(index)
    }

    /// Rows `offset .. offset + length`, sharing the buffers.
    pub fn slice(&self, offset: usize, length: usize) -> Batch {
        Batch {
            rows: self.rows.slice(offset, length),
            ops: self.ops.as_ref().map(|ops| ops.slice(offset, length)),
            arrival_ns: self.arrival_ns,
        }
    }

    /// Bytes that the columns hold; buffers shared with other batches count each time.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.ops.as_ref().map_or(0, Array::get_array_memory_size)
    }
}
