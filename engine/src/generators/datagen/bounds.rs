//! Bounds of a column, read from text by its type.

use arrow::array::AsArray;
use arrow::array::{Array, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};

/// A bound of a column whose values are counted in whole steps: integers, days, microseconds,
/// units of the last decimal place.
pub(super) fn whole(data_type: &DataType, text: &str) -> Option<i128> {
    let text = text.trim();
    Some(match data_type {
        DataType::Decimal128(_, _) => cast(text, data_type)?.as_primitive::<Decimal128Type>().value(0),
        DataType::Date32 => i128::from(cast(text, data_type)?.as_primitive::<Date32Type>().value(0)),
        DataType::Time32(_) | DataType::Time64(_) => {
            let time = cast(text, &DataType::Time64(TimeUnit::Microsecond))?;
            i128::from(time.as_primitive::<Time64MicrosecondType>().value(0))
        }
        DataType::Timestamp(_, _) => match text.parse::<i64>() {
            Ok(milliseconds) => i128::from(milliseconds) * 1_000,
            Err(_) => {
                let time = cast(text, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
                i128::from(time.as_primitive::<TimestampMicrosecondType>().value(0))
            }
        },
        _ => {
            let number = i128::from(cast(text, &DataType::Int64)?.as_primitive::<Int64Type>().value(0));
            let (least, greatest) = range(data_type)?;
            (least..=greatest).contains(&number).then_some(number)?
        }
    })
}

/// A bound of a FLOAT or DOUBLE column.
pub(super) fn real(text: &str) -> Option<f64> {
    let number = cast(text.trim(), &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .value(0);
    number.is_finite().then_some(number)
}

/// The least and the greatest value of a type that is counted in whole steps.
pub(super) fn range(data_type: &DataType) -> Option<(i128, i128)> {
    const DAY_US: i128 = 86_400_000_000;
    Some(match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 | DataType::Utf8 => (i64::MIN.into(), i64::MAX.into()),
        DataType::Decimal128(precision, _) => {
            let greatest = 10i128.pow(u32::from(*precision)) - 1;
            (-greatest, greatest)
        }
        // 1970-01-01 to 2069-12-31.
        DataType::Date32 => (0, 36_524),
        DataType::Time32(_) | DataType::Time64(_) => (0, DAY_US - 1),
        DataType::Timestamp(_, _) => (0, DAY_US * 36_525 - 1),
        _ => return None,
    })
}

fn cast(text: &str, data_type: &DataType) -> Option<arrow::array::ArrayRef> {
    let options = CastOptions {
        safe: true,
        ..CastOptions::default()
    };
    let value = cast_with_options(&StringArray::from(vec![text]), data_type, &options).ok()?;
    value.is_valid(0).then_some(value)
}
