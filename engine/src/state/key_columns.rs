//! Group keys back as Arrow columns, for emission.
//!
//! **Invariant.** The columns equal those the keys were packed from (floats: one zero, one NaN).

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, BooleanArray, Decimal128Array, PrimitiveArray, StringBuilder};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::keys::{KeyField, Place, TEXT_INTERNED, TEXT_NULL};

/// The key columns of `groups`, in key order.
pub fn key_columns(table: &GroupTable, groups: &[GroupIndex]) -> Vec<ArrayRef> {
    let layout = table.layout();
    if layout.encoded {
        return encoded_columns(table, groups);
    }
    let fields = layout.fields.iter();
    fields.map(|key| key_column(table, key, groups)).collect()
}

/// The key columns of `groups` with their names.
pub(crate) fn named_keys(table: &GroupTable, groups: &[GroupIndex]) -> Vec<(String, ArrayRef)> {
    let fields = table.layout().fields.iter();
    let names = fields.map(|key| key.field.name().clone());
    names.zip(key_columns(table, groups)).collect()
}

/// The first key column of `groups`.
pub(crate) fn leading_key_column(table: &GroupTable, groups: &[GroupIndex]) -> ArrayRef {
    let layout = table.layout();
    match layout.encoded {
        true => encoded_columns(table, groups).swap_remove(0),
        false => key_column(table, &layout.fields[0], groups),
    }
}

fn encoded_columns(table: &GroupTable, groups: &[GroupIndex]) -> Vec<ArrayRef> {
    let converter = table.layout().converter();
    let parser = converter.parser();
    let rows = groups
        .iter()
        .map(|&group| parser.parse(table.interned(table.key_words(group)[0])));
    let columns = converter
        .convert_rows(rows)
        .expect("invariant: what the converter wrote it can read");
    let fields = table.layout().fields.iter();
    columns
        .into_iter()
        .zip(fields)
        .map(|(column, key)| {
            cast(&column, key.field.data_type())
                .expect("invariant: a row encoding loses no more than a dictionary")
        })
        .collect()
}

fn key_column(table: &GroupTable, key: &KeyField, groups: &[GroupIndex]) -> ArrayRef {
    let nulls = key_nulls(table, key, groups);
    match key.place {
        Place::Word(word) => {
            let words = groups.iter().map(|&group| table.key_words(group)[word]);
            word_column(key.field.data_type(), words, nulls)
        }
        Place::Bits { word, shift, bits } => {
            let unused = 64 - bits;
            // Shifting up and back restores the sign of a narrow integer.
            let words = groups.iter().map(|&group| {
                let raised = table.key_words(group)[word] << (unused - shift);
                (raised as i64 >> unused) as u64
            });
            word_column(key.field.data_type(), words, nulls)
        }
        Place::Decimal(word) => {
            let values = groups.iter().map(|&group| {
                let words = table.key_words(group);
                (u128::from(words[word]) | u128::from(words[word + 1]) << 64) as i128
            });
            let values = Decimal128Array::new(values.collect(), nulls);
            Arc::new(values.with_data_type(key.field.data_type().clone()))
        }
        Place::Text(word) => text_column(table, key.field.data_type(), word, groups),
    }
}

fn key_nulls(table: &GroupTable, key: &KeyField, groups: &[GroupIndex]) -> Option<NullBuffer> {
    let valid: Vec<bool> = if let Some((word, shift)) = key.null {
        let words = groups.iter().map(|&group| table.key_words(group)[word]);
        words.map(|word| word >> shift & 1 == 0).collect()
    } else if table.layout().null_row {
        groups.iter().map(|&group| !table.is_null_group(group)).collect()
    } else {
        return None;
    };
    Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0)
}

fn text_column(table: &GroupTable, data_type: &DataType, word: usize, groups: &[GroupIndex]) -> ArrayRef {
    let mut inline;
    let mut texts = BinaryBuilder::with_capacity(groups.len(), groups.len() * 8);
    for &group in groups {
        let words = table.key_words(group);
        match words[word + 1] >> 56 {
            TEXT_NULL => texts.append_null(),
            TEXT_INTERNED => texts.append_value(table.interned(words[word])),
            length => {
                inline = (u128::from(words[word]) | u128::from(words[word + 1]) << 64).to_le_bytes();
                texts.append_value(&inline[..length as usize]);
            }
        }
    }
    let texts = texts.finish();
    if *data_type == DataType::Binary {
        return Arc::new(texts);
    }
    let (offsets, values, nulls) = texts.into_parts();
    Arc::new(
        arrow::array::StringArray::try_new(offsets, values, nulls)
            .expect("invariant: the key was packed from valid UTF-8"),
    )
}

/// Words back as a column of `data_type`, which [`crate::state::words::word_bits`] accepts.
pub(crate) fn word_column(
    data_type: &DataType,
    words: impl Iterator<Item = u64>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    fn column<T: ArrowPrimitiveType>(
        data_type: &DataType,
        values: impl Iterator<Item = T::Native>,
        nulls: Option<NullBuffer>,
    ) -> ArrayRef {
        let array = PrimitiveArray::<T>::new(values.collect(), nulls);
        Arc::new(array.with_data_type(data_type.clone()))
    }
    macro_rules! integers {
        ($type:ty) => {
            column::<$type>(
                data_type,
                words.map(|word| word as <$type as ArrowPrimitiveType>::Native),
                nulls,
            )
        };
    }
    match data_type {
        DataType::Boolean => Arc::new(BooleanArray::new(
            words.map(|word| word & 1 == 1).collect(),
            nulls,
        )),
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::UInt8 => integers!(UInt8Type),
        DataType::UInt16 => integers!(UInt16Type),
        DataType::UInt32 => integers!(UInt32Type),
        DataType::UInt64 => integers!(UInt64Type),
        DataType::Date32 => integers!(Date32Type),
        DataType::Date64 => integers!(Date64Type),
        DataType::Time32(TimeUnit::Second) => integers!(Time32SecondType),
        DataType::Time32(_) => integers!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Microsecond) => integers!(Time64MicrosecondType),
        DataType::Time64(_) => integers!(Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => integers!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => integers!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => integers!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => integers!(TimestampNanosecondType),
        DataType::Duration(TimeUnit::Second) => integers!(DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => integers!(DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => integers!(DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => integers!(DurationNanosecondType),
        DataType::Interval(IntervalUnit::YearMonth) => integers!(IntervalYearMonthType),
        DataType::Float32 => {
            column::<Float32Type>(data_type, words.map(|word| f64::from_bits(word) as f32), nulls)
        }
        DataType::Float64 => column::<Float64Type>(data_type, words.map(f64::from_bits), nulls),
        other => unreachable!("invariant: {other} does not fit a word"),
    }
}

/// The texts of `values` as a column of `data_type`: Utf8 or Binary.
pub(crate) fn bytes_column<'a>(
    data_type: &DataType,
    values: impl Iterator<Item = Option<&'a [u8]>>,
) -> ArrayRef {
    if *data_type == DataType::Binary {
        let mut builder = BinaryBuilder::new();
        values.for_each(|value| builder.append_option(value));
        return Arc::new(builder.finish());
    }
    let mut builder = StringBuilder::new();
    for value in values {
        builder.append_option(
            value.map(|bytes| {
                std::str::from_utf8(bytes).expect("invariant: the text came from a STRING column")
            }),
        );
    }
    Arc::new(builder.finish())
}
