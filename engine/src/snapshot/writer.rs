//! Writing an operator's tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};

use crate::error::ExecutionError;
use crate::snapshot::{OperatorSnapshot, StateTable};
use crate::time::WatermarkUs;

/// Collects the tables of one operator.
#[derive(Debug, Default)]
pub struct StateWriter {
    /// In the order in which they were begun, each in parts.
    tables: Vec<(String, usize, Vec<RecordBatch>)>,
}

impl StateWriter {
    /// A writer without tables.
    pub fn new() -> StateWriter {
        StateWriter::default()
    }

    /// Appends rows to table `name` of input `input`; the first call begins the table.
    pub fn add(&mut self, name: &str, input: usize, rows: RecordBatch) {
        match self.tables.iter_mut().find(|(known, ..)| known == name) {
            None => self.tables.push((name.to_string(), input, vec![rows])),
            Some((_, known, parts)) => {
                assert_eq!(*known, input, "invariant: a table belongs to one input");
                parts.push(rows);
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
        let tables = self.tables.into_iter();
        OperatorSnapshot {
            watermark,
            late_rows,
            tables: tables
                .map(|(name, input, parts)| StateTable { name, input, parts })
                .collect(),
        }
    }

    /// Appends everything that `other` has collected.
    pub fn append(&mut self, other: StateWriter) {
        for (name, input, parts) in other.tables {
            for rows in parts {
                self.add(&name, input, rows);
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
