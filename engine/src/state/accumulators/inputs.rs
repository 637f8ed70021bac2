//! What an update reads of a batch: argument values in one of three forms, and the rows that count.
//!
//! **Invariant.** A form is made at most once per batch and argument, and costs nothing where the
//! column has it already.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};

use crate::state::accumulators::layout::{Kind, Primitive};
use crate::state::words::{append_words, float_word, word_bits};

/// The values of an argument.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// Integers, times, and (for MIN and MAX) floats in an order-preserving integer form.
    Integers(ScalarBuffer<i64>),
    Floats(ScalarBuffer<f64>),
    Wides(ScalarBuffer<i128>),
}

/// Which rows of a batch count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    All,
    Some(&'a [u32]),
}

/// An order-preserving integer form of a float, and back: its own inverse.
pub(crate) fn ordered_float(bits: u64) -> i64 {
    let signed = bits as i64;
    signed ^ (((signed >> 63) as u64) >> 1) as i64
}

/// The values of `column` as primitive `kind` reads them.
pub(crate) fn values_of(kind: Kind, column: &ArrayRef) -> Values {
    match kind {
        Kind::SumFloat => Values::Floats(float_values(column)),
        Kind::SumDecimal | Kind::MinDecimal | Kind::MaxDecimal => Values::Wides(wide_values(column)),
        _ => Values::Integers(ordered_values(column)),
    }
}

/// The values of a FLOAT or DOUBLE column as doubles.
pub(crate) fn float_values(column: &ArrayRef) -> ScalarBuffer<f64> {
    match column.data_type() {
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>().values();
            values.iter().map(|&value| f64::from(value)).collect()
        }
        _ => column.as_primitive::<Float64Type>().values().clone(),
    }
}

/// The values of an integer or decimal column in 128 bits.
pub(crate) fn wide_values(column: &ArrayRef) -> ScalarBuffer<i128> {
    match column.data_type() {
        DataType::Decimal128(_, _) => column.as_primitive::<Decimal128Type>().values().clone(),
        data_type => {
            let mut words = Vec::with_capacity(column.len());
            append_words(column, &mut words);
            let is_unsigned = *data_type == DataType::UInt64;
            let widen = |word: u64| {
                if is_unsigned {
                    i128::from(word)
                } else {
                    i128::from(word as i64)
                }
            };
            words.into_iter().map(widen).collect()
        }
    }
}

/// The values of a column that fits words, in an order-preserving integer form.
pub(crate) fn ordered_values(column: &ArrayRef) -> ScalarBuffer<i64> {
    let data_type = column.data_type();
    let is_float = matches!(data_type, DataType::Float32 | DataType::Float64);
    if word_bits(data_type) == Some(64) && !is_float && *data_type != DataType::UInt64 {
        let data = column.to_data();
        return ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len());
    }
    if *data_type == DataType::Float64 {
        let values = column.as_primitive::<Float64Type>().values();
        return values
            .iter()
            .map(|&value| ordered_float(float_word(value)))
            .collect();
    }
    let mut words = Vec::with_capacity(column.len());
    append_words(column, &mut words);
    let order = |word: u64| match data_type {
        DataType::UInt64 => (word ^ 1 << 63) as i64,
        _ if is_float => ordered_float(word),
        _ => word as i64,
    };
    words.into_iter().map(order).collect()
}

/// The word behind an ordered integer of `data_type`.
pub(crate) fn unordered_word(data_type: &DataType, value: i64) -> u64 {
    match data_type {
        DataType::Float32 | DataType::Float64 => ordered_float(value as u64) as u64,
        DataType::UInt64 => value as u64 ^ 1 << 63,
        _ => value as u64,
    }
}

/// The rows that a primitive counts: filter true, arguments not NULL (DataFusion's accumulators see NULLs
/// and judge for themselves). `None` means all.
pub(crate) fn counted_rows(primitive: &Primitive, batch: &RecordBatch) -> Option<Vec<u32>> {
    let mut valid: Option<NullBuffer> = None;
    let judged = if matches!(primitive.kind, Kind::Other(_)) {
        &[]
    } else {
        primitive.arguments.as_slice()
    };
    for &argument in judged {
        let nulls = batch.column(argument).logical_nulls();
        valid = NullBuffer::union(valid.as_ref(), nulls.as_ref());
    }
    let valid = valid.filter(|nulls| nulls.null_count() > 0);
    let filter = primitive.filter.map(|column| batch.column(column).as_boolean());
    let kept = match (filter, valid) {
        (None, None) => return None,
        (None, Some(valid)) => valid.into_inner(),
        (Some(filter), None) => true_rows(filter),
        (Some(filter), Some(valid)) => &true_rows(filter) & valid.inner(),
    };
    Some(kept.set_indices().map(|row| row as u32).collect())
}

fn true_rows(filter: &BooleanArray) -> arrow::buffer::BooleanBuffer {
    match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    }
}
