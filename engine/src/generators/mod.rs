//! Deterministic event generators: event `i` of seed `s` is always the same event.
//!
//! Each generator is a pure function from a range of event numbers to rows, for the wanted columns
//! only: shards take ranges as they like, in any order, and make the same events between them.
//!
//! **Invariant.** A value depends on seed, column and event number alone, never on what was made
//! before, on which other columns are wanted, or on how ranges are cut.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use thiserror::Error;

pub mod datagen;
pub mod nexmark;
mod random;
pub mod trades;

/// A generator cannot make what is asked of it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct GeneratorError {
    /// The column concerned.
    pub column: String,
    /// The option of that column concerned (`min`, `length`, …), if it is one.
    pub option: Option<&'static str>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl GeneratorError {
    fn new(column: &str, option: Option<&'static str>, message: impl Into<String>) -> GeneratorError {
        GeneratorError {
            column: column.to_string(),
            option,
            message: message.into(),
        }
    }
}

/// Whether a generated column may be delivered as `wanted`: the same type, or one that every
/// generated value fits into.
fn fits(natural: &DataType, wanted: &DataType) -> bool {
    use DataType::{Decimal128, Float64, Int32, Int64, Timestamp, Utf8};
    natural == wanted
        || match (natural, wanted) {
            (Timestamp(_, _), Timestamp(_, _)) => true,
            (Int64, Int32 | Float64 | Decimal128(_, _) | Utf8) => true,
            (Int32, Int64 | Float64 | Decimal128(_, _) | Utf8) => true,
            (Float64, Decimal128(_, _)) => true,
            (DataType::Struct(from), DataType::Struct(to)) => {
                return to.iter().all(|field| {
                    from.find(field.name())
                        .is_some_and(|(_, known)| fits(known.data_type(), field.data_type()))
                });
            }
            _ => false,
        } && can_cast_types(natural, wanted)
}

/// `column` as `wanted`.
fn deliver(column: ArrayRef, wanted: &FieldRef) -> ArrayRef {
    if column.data_type() == wanted.data_type() {
        return column;
    }
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    cast_with_options(&column, wanted.data_type(), &options).expect("invariant: the cast was found possible")
}

/// The batch of these columns.
fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .expect("invariant: generated columns have the wanted types")
}
