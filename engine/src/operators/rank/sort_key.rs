//! Sort keys: the columns of an ORDER BY as bytes whose order is that of the rows.
//!
//! The bytes are arrow-row's encoding, which is comparable byte by byte; those of one fixed-width column
//! fit into two words.

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use arrow_row::{RowConverter, SortField};

use crate::error::ExecutionError;
use crate::plan::SortColumn;

/// Comparable: the order of two keys of one [`SortKeys`] is that of their rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SortKey {
    /// Up to 16 bytes.
    Short(u64, u64),
    Long(Box<[u8]>),
}

impl SortKey {
    /// Bytes outside the key itself.
    pub fn heap_bytes(&self) -> usize {
        match self {
            SortKey::Short(..) => 0,
            SortKey::Long(bytes) => bytes.len(),
        }
    }
}

/// Makes sort keys of batches.
#[derive(Debug)]
pub(crate) struct SortKeys {
    columns: Vec<usize>,
    /// None where there is no order: all rows are equal.
    converter: Option<RowConverter>,
}

const SHORT_BYTES: usize = 16;

impl SortKeys {
    pub fn new(order: &[SortColumn], input: &Schema) -> Result<SortKeys, ExecutionError> {
        let field = |sort: &SortColumn| {
            let options = SortOptions {
                descending: sort.descending,
                nulls_first: sort.nulls_first,
            };
            SortField::new_with_options(input.field(sort.column).data_type().clone(), options)
        };
        let fields: Vec<SortField> = order.iter().map(field).collect();
        let converter = match fields.is_empty() {
            true => None,
            false => Some(RowConverter::new(fields).map_err(|error| ExecutionError::new("sort", error))?),
        };
        Ok(SortKeys {
            columns: order.iter().map(|sort| sort.column).collect(),
            converter,
        })
    }

    /// The key of each row.
    pub fn of(&self, rows: &RecordBatch) -> Result<Vec<SortKey>, ExecutionError> {
        let Some(converter) = &self.converter else {
            return Ok(vec![SortKey::Short(0, 0); rows.num_rows()]);
        };
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|&column| rows.column(column).clone())
            .collect();
        let encoded = converter
            .convert_columns(&columns)
            .map_err(|error| ExecutionError::new("sort", error))?;
        // Keys of one operator all have one form: either every row is short, by its types, or none is.
        let is_short = self.columns.iter().all(|&column| {
            rows.schema()
                .field(column)
                .data_type()
                .primitive_width()
                .is_some()
        }) && encoded.lengths().all(|length| length <= SHORT_BYTES);
        Ok(encoded
            .iter()
            .map(|row| match is_short {
                true => short(row.as_ref()),
                false => SortKey::Long(row.as_ref().into()),
            })
            .collect())
    }
}

fn short(bytes: &[u8]) -> SortKey {
    let mut padded = [0; SHORT_BYTES];
    padded[..bytes.len()].copy_from_slice(bytes);
    let [high, low] = [0, 8].map(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&padded[at..at + 8]);
        u64::from_be_bytes(word)
    });
    SortKey::Short(high, low)
}
