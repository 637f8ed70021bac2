//! `DATE_FORMAT(timestamp, pattern)` and `FROM_UNIXTIME(seconds [, pattern])`: instants as text by
//! Java's patterns.
//!
//! A literal pattern is read once per batch; neighbouring rows mostly fall into the same unit of the
//! pattern, so the calendar is asked once per distinct unit.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::civil::SECOND_US;
use crate::functions::native::{NativeFunction, TextArgument, column, micros};
use crate::functions::text::ascii;
use crate::functions::time_pattern::TimePattern;

/// The pattern where none is given.
const PLAIN: &str = "yyyy-MM-dd HH:mm:ss";

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        NativeFunction::coercing(
            "date_format",
            date_format_types,
            |_| Ok(DataType::Utf8),
            date_format,
        )
        .shared(),
        NativeFunction::coercing(
            "from_unixtime",
            from_unixtime_types,
            |_| Ok(DataType::Utf8),
            from_unixtime,
        )
        .shared(),
    ]
}

fn date_format_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [timestamp @ DataType::Timestamp(..), pattern] if pattern.is_string() => {
            Ok(vec![timestamp.clone(), DataType::Utf8])
        }
        [DataType::Date32 | DataType::Utf8, pattern] if pattern.is_string() => Ok(vec![
            DataType::Timestamp(TimeUnit::Millisecond, None),
            DataType::Utf8,
        ]),
        _ => plan_err!("DATE_FORMAT needs a timestamp and a pattern"),
    }
}

fn date_format(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    print(&micros(&column(args, 0)?)?, &TextArgument::of(args, 1)?)
}

fn from_unixtime_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [seconds] if seconds.is_integer() => Ok(vec![DataType::Int64]),
        [seconds, pattern] if seconds.is_integer() && pattern.is_string() => {
            Ok(vec![DataType::Int64, DataType::Utf8])
        }
        _ => plan_err!("FROM_UNIXTIME needs seconds (BIGINT) and, if at all, a pattern"),
    }
}

fn from_unixtime(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let seconds = column(args, 0)?;
    let seconds: &Int64Array = seconds.as_primitive::<Int64Type>();
    let instants = seconds.unary_opt::<_, TimestampMicrosecondType>(|second| second.checked_mul(SECOND_US));
    let pattern = match args.args.len() {
        1 => TextArgument::Constant(Some(PLAIN.to_string())),
        _ => TextArgument::of(args, 1)?,
    };
    print(&instants, &pattern)
}

/// Each instant by its row's pattern.
fn print(instants: &PrimitiveArray<TimestampMicrosecondType>, pattern: &TextArgument) -> Result<ArrayRef> {
    let width = pattern
        .get(0)
        .filter(|_| !instants.is_empty())
        .map_or(0, str::len)
        + 2;
    let mut printed = StringBuilder::with_capacity(instants.len(), instants.len() * width);
    let mut text: Vec<u8> = Vec::with_capacity(width);
    let mut current: Option<(&str, TimePattern, i64)> = None;
    let mut unit: Option<i64> = None;
    for row in 0..instants.len() {
        let Some(wanted) = pattern.get(row).filter(|_| instants.is_valid(row)) else {
            printed.append_null();
            continue;
        };
        if current.as_ref().is_none_or(|(known, ..)| *known != wanted) {
            let read = TimePattern::read(wanted)?;
            let resolution_us = read.resolution_us();
            current = Some((wanted, read, resolution_us));
            unit = None;
        }
        let (_, read, resolution_us) = current.as_ref().expect("invariant: just set");
        let at = instants.value(row);
        let row_unit = at.div_euclid(*resolution_us);
        if unit != Some(row_unit) {
            unit = Some(row_unit);
            text.clear();
            read.print(&mut text, at);
        }
        match text.is_ascii() {
            true => printed.append_value(ascii(&text)),
            false => printed.append_value(String::from_utf8_lossy(&text)),
        }
    }
    Ok(Arc::new(printed.finish()))
}
