//! What a join says while it works on one batch: rows of the batch, of the other side, or of both,
//! noted as numbers and gathered once.

use arrow::array::{ArrayRef, Int8Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use crate::batch::{BATCH_ROWS_MAX, Op};
use crate::error::ExecutionError;
use crate::operators::Output;
use crate::operators::stream_join::join_error;
use crate::state::changes::rows_of;
use crate::state::row_store::{NO_ROW, RowId, RowStore};

/// Stands for no row of the batch.
pub(super) const NO_OWN: u32 = u32::MAX;

/// Rows to emit, in order.
#[derive(Default)]
pub(super) struct Emission {
    ops: Vec<i8>,
    own: Vec<u32>,
    other: Vec<RowId>,
}

/// Which columns make an output row.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    pub output: &'a SchemaRef,
    /// Which side the batch is of: 0 left, 1 right.
    pub side: usize,
    /// Only the left side's columns come out (semi and anti joins).
    pub left_only: bool,
    /// Nothing is ever taken back: no ops travel.
    pub append_only: bool,
}

impl Emission {
    /// Says row `own` of the batch with row `other`; either may be none.
    pub fn say(&mut self, op: Op, own: u32, other: RowId) {
        self.ops.push(op.code());
        self.own.push(own);
        self.other.push(other);
    }

    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Emits everything noted.
    pub fn emit(
        &mut self,
        rows: &RecordBatch,
        other: &RowStore,
        shape: Shape<'_>,
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        let ops = std::mem::take(&mut self.ops);
        let own = std::mem::take(&mut self.own);
        let others = std::mem::take(&mut self.other);
        for start in (0..ops.len()).step_by(BATCH_ROWS_MAX) {
            let range = start..ops.len().min(start + BATCH_ROWS_MAX);
            let columns = columns(rows, other, shape, &own[range.clone()], &others[range.clone()])?;
            let emitted = rows_of(shape.output, columns, range.len())?;
            if shape.append_only {
                assert!(
                    ops[range].iter().all(|&op| op == Op::Insert.code()),
                    "invariant: an append-only join takes nothing back"
                );
                out.emit_rows(emitted);
            } else {
                out.emit_changes(emitted, Int8Array::from(ops[range].to_vec()));
            }
        }
        Ok(())
    }
}

fn columns(
    rows: &RecordBatch,
    other: &RowStore,
    shape: Shape<'_>,
    own: &[u32],
    others: &[RowId],
) -> Result<Vec<ArrayRef>, ExecutionError> {
    let own_columns = || own_columns(rows, own);
    let other_columns = || {
        if others.iter().all(|&id| id == NO_ROW) {
            let fields = other.schema().fields().iter();
            return Ok(fields
                .map(|field| new_null_array(field.data_type(), others.len()))
                .collect());
        }
        other.gather_columns(others)
    };
    Ok(match (shape.left_only, shape.side) {
        (true, 0) => own_columns()?,
        (true, _) => other_columns()?,
        (false, 0) => own_columns()?.into_iter().chain(other_columns()?).collect(),
        (false, _) => other_columns()?.into_iter().chain(own_columns()?).collect(),
    })
}

fn own_columns(rows: &RecordBatch, own: &[u32]) -> Result<Vec<ArrayRef>, ExecutionError> {
    let in_order =
        own.len() == rows.num_rows() && own.iter().enumerate().all(|(row, &own)| own == row as u32);
    if in_order {
        return Ok(rows.columns().to_vec());
    }
    let indices: UInt32Array = own.iter().map(|&row| (row != NO_OWN).then_some(row)).collect();
    let columns = rows.columns().iter();
    columns
        .map(|column| take(column, &indices, None).map_err(join_error))
        .collect()
}
