//! Text and numbers to instants: TO_TIMESTAMP, TO_TIMESTAMP_LTZ, TO_DATE, UNIX_TIMESTAMP.
//!
//! **Invariant.** A text that does not fit its pattern is NULL, as in Flink, never an error.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, Int64Array, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMillisecondType};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::civil::{DAY_US, SECOND_US};
use crate::functions::native::{NativeFunction, TextArgument, column};
use crate::functions::time_pattern::{TimePattern, parse_plain};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        NativeFunction::coercing("to_timestamp", texts, |_| Ok(plain_type()), to_timestamp).shared(),
        NativeFunction::coercing(
            "to_timestamp_ltz",
            ltz_types,
            |_| Ok(zoned_type()),
            to_timestamp_ltz,
        )
        .shared(),
        NativeFunction::coercing("to_date", texts, |_| Ok(DataType::Date32), to_date).shared(),
        NativeFunction::coercing("unix_timestamp", texts, |_| Ok(DataType::Int64), unix_timestamp).shared(),
    ]
}

fn plain_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn zoned_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn is_text(data_type: &DataType) -> bool {
    data_type.is_string() || data_type.is_null()
}

fn texts(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        1 | 2 if types.iter().all(is_text) => Ok(vec![DataType::Utf8; types.len()]),
        _ => plan_err!(
            "the arguments must be a STRING and, if at all, a pattern such as 'yyyy-MM-dd HH:mm:ss'"
        ),
    }
}

/// Microseconds of each row's text.
fn instants(args: &ScalarFunctionArgs) -> Result<Vec<Option<i64>>> {
    let texts = TextArgument::of(args, 0)?;
    if args.args.len() == 1 {
        return Ok((0..args.number_rows)
            .map(|row| texts.get(row).and_then(parse_plain))
            .collect());
    }
    let patterns = TextArgument::of(args, 1)?;
    let mut current: Option<(&str, TimePattern)> = None;
    let mut instants = Vec::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
            instants.push(None);
            continue;
        };
        if current.as_ref().is_none_or(|(known, _)| *known != pattern) {
            current = Some((pattern, TimePattern::read(pattern)?));
        }
        instants.push(current.as_ref().and_then(|(_, read)| read.parse(text)));
    }
    Ok(instants)
}

fn to_timestamp(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let millis = instants(args)?
        .into_iter()
        .map(|at| at.map(|at| at.div_euclid(1_000)));
    Ok(Arc::new(TimestampMillisecondArray::from_iter(millis)))
}

fn to_date(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let days = instants(args)?
        .into_iter()
        .map(|at| at.and_then(|at| i32::try_from(at.div_euclid(DAY_US)).ok()));
    Ok(Arc::new(Date32Array::from_iter(days)))
}

fn unix_timestamp(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let seconds = instants(args)?
        .into_iter()
        .map(|at| at.map(|at| at.div_euclid(SECOND_US)));
    Ok(Arc::new(Int64Array::from_iter(seconds)))
}

fn ltz_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [epoch] if epoch.is_integer() => Ok(vec![DataType::Int64]),
        [epoch, precision] if epoch.is_integer() && precision.is_integer() => {
            Ok(vec![DataType::Int64, DataType::Int64])
        }
        _ if types.iter().all(is_text) => texts(types),
        _ => plan_err!("TO_TIMESTAMP_LTZ needs an epoch (BIGINT) and its precision, 0 or 3"),
    }
}

fn to_timestamp_ltz(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let first = column(args, 0)?;
    if first.data_type() != &DataType::Int64 {
        return Ok(cast(&to_timestamp(args)?, &zoned_type())?);
    }
    let epochs = first.as_primitive::<Int64Type>();
    let factor = match args.args.get(1) {
        None => 1,
        Some(precision) => match precision.to_array(1)?.as_primitive::<Int64Type>().value(0) {
            0 => 1_000,
            3 => 1,
            other => {
                return exec_err!(
                    "the precision of TO_TIMESTAMP_LTZ is 0 (seconds) or 3 (milliseconds), not {other}"
                );
            }
        },
    };
    let millis = epochs.unary_opt::<_, TimestampMillisecondType>(|epoch| epoch.checked_mul(factor));
    Ok(Arc::new(millis.with_timezone("UTC")))
}
