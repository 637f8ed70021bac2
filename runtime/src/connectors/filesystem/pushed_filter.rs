//! A query's filter run inside the Parquet decoder: its own columns are decoded first, the others only
//! for the rows that it keeps.
//!
//! **Invariant.** A filter is pushed only where it spares a column; what it sees has the declared types.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use engine::plan::SourceSpec;
use engine::plan::early_filter::EarlyFilter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, RowFilter};
use shards::connector::ConnectorError;

use super::parquet::{ParquetFile, cast_column};
use crate::connectors::ingest::IngestLayout;

/// A filter over some columns of a file.
#[derive(Clone, Debug)]
pub struct PushedFilter(EarlyFilter);

impl PushedFilter {
    /// The filter of `source`, where the file has its columns and others that it may spare.
    pub fn new(source: &SourceSpec, layout: &IngestLayout) -> Option<PushedFilter> {
        let filter = EarlyFilter::new(source, &layout.schema)?;
        let columns = filter.columns().fields();
        // Metadata columns come from the connector, not from the file.
        let in_file = |name: &str| layout.physical.field_with_name(name).is_ok();
        let spares = columns.len() < layout.physical.fields().len();
        let is_possible = !columns.is_empty() && columns.iter().all(|column| in_file(column.name()));
        (spares && is_possible).then_some(PushedFilter(filter))
    }

    /// What tells it from other filters.
    pub fn text(&self) -> String {
        format!("{:?}", self.0)
    }

    /// The filter as the decoder of `file` takes it.
    ///
    /// # Errors
    /// The file lacks a column.
    pub fn row_filter(&self, file: &ParquetFile) -> Result<RowFilter, ConnectorError> {
        let positions = file
            .match_columns(self.0.columns())
            .map_err(ConnectorError::new)?;
        let mask = ProjectionMask::roots(file.columns(), positions.iter().copied());
        // The decoder gives columns in the file's order.
        let order: Vec<usize> = positions
            .iter()
            .map(|position| positions.iter().filter(|other| *other < position).count())
            .collect();
        let (filter, path) = (self.0.clone(), file.path().to_path_buf());
        let predicate = ArrowPredicateFn::new(mask, move |rows: RecordBatch| {
            let fields = filter.columns().fields();
            let columns = order
                .iter()
                .zip(fields)
                .map(|(&at, field)| cast_column(&path, rows.column(at), field.name(), field.data_type()));
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(told)?;
            let rows = RecordBatch::try_new(Arc::clone(filter.columns()), columns)?;
            filter.keep(&rows).map_err(told)
        });
        Ok(RowFilter::new(vec![Box::new(predicate)]))
    }
}

/// An error as the decoder hands it on.
fn told(error: impl std::fmt::Display) -> ArrowError {
    ArrowError::ComputeError(error.to_string())
}
