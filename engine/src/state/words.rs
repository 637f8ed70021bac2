//! Fixed-width columns as 64-bit words: the common ground of hashing and key packing.
//!
//! **Invariant.** Equal SQL values give equal words whatever the batch, the slice or the integer
//! width: integers are sign-extended, floats have one zero and one NaN. The word of a NULL is
//! whatever the buffer holds; callers look at the validity.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

/// The bits that stand for a float: one zero, one NaN.
#[inline(always)]
pub fn float_word(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

/// Bits that a value of `data_type` needs as a word, if it fits one: 1, 8, 16, 32 or 64.
pub fn word_bits(data_type: &DataType) -> Option<u32> {
    Some(match data_type {
        DataType::Boolean => 1,
        DataType::Int8 | DataType::UInt8 => 8,
        DataType::Int16 | DataType::UInt16 => 16,
        DataType::Int32
        | DataType::UInt32
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Interval(IntervalUnit::YearMonth) => 32,
        DataType::Int64
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date64
        | DataType::Time64(_)
        | DataType::Timestamp(_, _)
        | DataType::Duration(_) => 64,
        _ => return None,
    })
}

/// Appends the word of each value of `column` to `out`; `false`, and nothing appended, where the
/// type does not fit a word ([`word_bits`] is `None`).
pub fn append_words(column: &ArrayRef, out: &mut Vec<u64>) -> bool {
    macro_rules! extend {
        ($type:ty) => {{
            let values = column.as_primitive::<$type>().values();
            out.extend(values.iter().map(|&value| i64::from(value) as u64));
        }};
    }
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean().values();
            out.extend(values.iter().map(u64::from));
        }
        DataType::Int8 => extend!(Int8Type),
        DataType::Int16 => extend!(Int16Type),
        DataType::Int32 => extend!(Int32Type),
        DataType::Int64 => extend!(Int64Type),
        DataType::UInt8 => extend!(UInt8Type),
        DataType::UInt16 => extend!(UInt16Type),
        DataType::UInt32 => extend!(UInt32Type),
        DataType::UInt64 => out.extend_from_slice(column.as_primitive::<UInt64Type>().values()),
        DataType::Date32 => extend!(Date32Type),
        DataType::Date64 => extend!(Date64Type),
        DataType::Time32(TimeUnit::Second) => extend!(Time32SecondType),
        DataType::Time32(_) => extend!(Time32MillisecondType),
        DataType::Time64(TimeUnit::Microsecond) => extend!(Time64MicrosecondType),
        DataType::Time64(_) => extend!(Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => extend!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => extend!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => extend!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => extend!(TimestampNanosecondType),
        DataType::Duration(TimeUnit::Second) => extend!(DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => extend!(DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => extend!(DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => extend!(DurationNanosecondType),
        DataType::Interval(IntervalUnit::YearMonth) => extend!(IntervalYearMonthType),
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>().values();
            out.extend(values.iter().map(|&value| float_word(f64::from(value))));
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            out.extend(values.iter().map(|&value| float_word(value)));
        }
        _ => return false,
    }
    true
}
