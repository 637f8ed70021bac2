//! Writing an operator's tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};

use crate::error::ExecutionError;
use crate::snapshot::{OperatorSnapshot, StatePart, StateTable};
use crate::time::WatermarkUs;

/// What rows that were written together are called, on one shard in one run.
pub type PartNumber = u64;

/// Collects the tables of one operator.
#[derive(Debug, Default)]
pub struct StateWriter {
    /// In the order in which they were begun.
    tables: Vec<StateTable>,
    kept: Vec<PartNumber>,
    /// The next number to give; none where nobody puts kept parts back.
    next: Option<PartNumber>,
    /// The number of the rows that are being written.
    open: Option<PartNumber>,
}

impl StateWriter {
    /// A writer without tables; nothing that it writes can be kept.
    pub fn new() -> StateWriter {
        StateWriter::default()
    }

    /// A writer without tables that gives numbers from `next` on, if parts can be kept at all.
    pub fn numbering(next: Option<PartNumber>) -> StateWriter {
        StateWriter {
            next,
            ..StateWriter::default()
        }
    }

    /// What is added by `write` belongs together; the number by which later snapshots may keep it.
    pub fn together<E>(
        &mut self,
        write: impl FnOnce(&mut StateWriter) -> Result<(), E>,
    ) -> Result<Option<PartNumber>, E> {
        assert!(self.open.is_none(), "invariant: a part is not within another");
        let number = self.next;
        self.next = number.map(|number| number + 1);
        self.open = number;
        let written = write(self);
        self.open = None;
        written.map(|()| number)
    }

    /// The rows that were written under that number by the snapshot before belong to this one as well.
    pub fn keep(&mut self, number: PartNumber) {
        self.kept.push(number);
    }

    /// Gives numbers from `next` on: others have been given meanwhile.
    pub fn number_from(&mut self, next: Option<PartNumber>) {
        assert!(self.next <= next, "invariant: a number is given once");
        self.next = next;
    }

    /// The next number to give.
    pub fn next(&self) -> Option<PartNumber> {
        self.next
    }

    /// Appends rows to table `name` of input `input`; the first call begins the table.
    pub fn add(&mut self, name: &str, input: usize, rows: RecordBatch) {
        let number = self.open;
        self.add_part(name, input, StatePart { number, rows });
    }

    fn add_part(&mut self, name: &str, input: usize, part: StatePart) {
        match self.tables.iter_mut().find(|table| table.name == name) {
            None => self.tables.push(StateTable {
                name: name.to_string(),
                input,
                parts: vec![part],
            }),
            Some(table) => {
                assert_eq!(table.input, input, "invariant: a table belongs to one input");
                table.parts.push(part);
            }
        }
    }

    /// Appends rows of these columns, of which there are `rows`, to table `name` of input `input`.
    pub fn add_columns(
        &mut self,
        name: &str,
        input: usize,
        columns: Vec<(String, ArrayRef)>,
        rows: usize,
    ) -> Result<(), ExecutionError> {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
            .collect();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
        self.add(name, input, rows.map_err(snapshot_error)?);
        Ok(())
    }

    /// The snapshot of an operator with that watermark and so many late rows.
    pub fn finish(self, watermark: WatermarkUs, late_rows: u64) -> OperatorSnapshot {
        OperatorSnapshot {
            watermark,
            late_rows,
            tables: self.tables,
            kept: self.kept,
        }
    }

    /// Appends everything that `other` has collected.
    pub fn append(&mut self, other: StateWriter) {
        assert!(other.kept.is_empty(), "invariant: what is written aside is new");
        for table in other.tables {
            for part in table.parts {
                self.add_part(&table.name, table.input, part);
            }
        }
    }
}

/// `rows` with more columns behind its own.
pub fn with_columns(rows: &RecordBatch, more: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ExecutionError> {
    let mut fields = rows.schema().fields().to_vec();
    let mut columns = rows.columns().to_vec();
    for (name, column) in more {
        fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(snapshot_error)
}

/// Numbers as a column.
pub fn int64_column(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

fn snapshot_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("snapshot", error)
}
