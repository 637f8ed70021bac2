//! A source's filter for connectors that can filter while they decode: its own columns first, the others
//! only for the rows that it keeps.
//!
//! **Invariant.** There is none where a watermark is derived: a row that is filtered out must still move
//! time forward. Ingest filters again, so filtering early changes no result.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::{collect_columns, reassign_expr_columns};

use crate::error::ExecutionError;
use crate::plan::SourceSpec;

/// A filter over some of a source's delivered columns.
#[derive(Clone, Debug)]
pub struct EarlyFilter {
    table: String,
    filter: Arc<dyn PhysicalExpr>,
    columns: SchemaRef,
}

impl EarlyFilter {
    /// The filter of `source`, whose connector delivers `delivered`.
    pub fn new(source: &SourceSpec, delivered: &Schema) -> Option<EarlyFilter> {
        let filter = source.filter.as_ref().filter(|_| source.watermark.is_none())?;
        let used: BTreeSet<usize> = collect_columns(filter)
            .iter()
            .map(|column| column.index())
            .collect();
        let fields: Vec<_> = used.iter().map(|&index| delivered.field(index).clone()).collect();
        let columns = Arc::new(Schema::new(fields));
        let filter = reassign_expr_columns(Arc::clone(filter), &columns).ok()?;
        Some(EarlyFilter {
            table: source.table.name.clone(),
            filter,
            columns,
        })
    }

    /// The columns that it looks at.
    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// Which rows of a batch of [`EarlyFilter::columns`] to keep.
    ///
    /// # Errors
    /// The filter cannot be computed for a row.
    pub fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray, ExecutionError> {
        let keep = self
            .filter
            .evaluate(rows)
            .and_then(|keep| keep.into_array(rows.num_rows()))
            .map_err(|error| {
                ExecutionError::new(format!("source {}", self.table), error.strip_backtrace())
            })?;
        Ok(keep.as_boolean().clone())
    }
}
