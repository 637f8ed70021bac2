//! Matches that are found and not out yet: which rows each tells of.
//!
//! **Invariant.** The rows that a match tells of stay in the store until it is out.

use arrow::array::{Array, ArrayRef, RecordBatch, new_empty_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::SchemaRef;

use crate::error::ExecutionError;
use crate::operators::match_recognize::match_error;
use crate::operators::match_recognize::values::{MatchAggregate, MatchRows};
use crate::operators::over_aggregate::running::RunningAggregate;
use crate::plan::MatchSpec;
use crate::plan::match_spec::{MatchValue, RowEnd, RowReference};
use crate::state::row_store::{RowId, RowStore};

/// Matches, by column.
pub(super) struct Matches {
    output: SchemaRef,
    columns: Vec<Column>,
    count: usize,
}

enum Column {
    Rows {
        reference: RowReference,
        ids: Vec<RowId>,
    },
    Aggregate {
        aggregate: MatchAggregate,
        values: Vec<ArrayRef>,
    },
}

impl Matches {
    pub fn new(spec: &MatchSpec, input: &SchemaRef, output: SchemaRef) -> Matches {
        let of_row = |column: usize, from: RowEnd| Column::Rows {
            reference: RowReference {
                column,
                variable: None,
                from,
                offset: 0,
                back: 0,
            },
            ids: Vec::new(),
        };
        let mut columns: Vec<Column> = spec
            .partition
            .iter()
            .map(|&key| of_row(key, RowEnd::First))
            .collect();
        columns.extend(spec.outputs.iter().map(|value| match value {
            MatchValue::Row(reference) => Column::Rows {
                reference: *reference,
                ids: Vec::new(),
            },
            MatchValue::Aggregate { variable, call } => Column::Aggregate {
                aggregate: MatchAggregate::new(*variable, RunningAggregate::new(call, input)),
                values: Vec::new(),
            },
        }));
        columns.push(of_row(spec.time_column, RowEnd::Last));
        assert_eq!(
            columns.len(),
            output.fields().len(),
            "invariant: the output is the keys, the values and the time"
        );
        Matches {
            output,
            columns,
            count: 0,
        }
    }

    /// Matches that are not out.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Adds the match of `rows`.
    pub fn add(&mut self, rows: MatchRows<'_>, store: &RowStore) -> Result<(), ExecutionError> {
        for column in &mut self.columns {
            match column {
                Column::Rows { reference, ids } => ids.push(rows.row(reference)),
                Column::Aggregate { aggregate, values } => {
                    values.push(aggregate.value(rows, store)?);
                    aggregate.forget();
                }
            }
        }
        self.count += 1;
        Ok(())
    }

    /// Takes all of them as rows of the output.
    pub fn take(&mut self, store: &RowStore) -> Result<RecordBatch, ExecutionError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter_mut().zip(self.output.fields()) {
            let values = match column {
                Column::Rows { reference, ids } => {
                    let values = store.gather_column(reference.column, ids)?;
                    ids.clear();
                    values
                }
                Column::Aggregate { values, .. } if values.is_empty() => new_empty_array(field.data_type()),
                Column::Aggregate { values, .. } => {
                    let parts: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
                    let together = concat(&parts).map_err(match_error)?;
                    values.clear();
                    together
                }
            };
            columns.push(match values.data_type() == field.data_type() {
                true => values,
                false => cast(&values, field.data_type()).map_err(match_error)?,
            });
        }
        self.count = 0;
        RecordBatch::try_new(self.output.clone(), columns).map_err(match_error)
    }
}
