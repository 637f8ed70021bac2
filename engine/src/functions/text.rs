//! Values as text, the way Flink's CAST to STRING prints them: `2024-01-31 12:00:00.000`, `TRUE`.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF, Signature, Volatility};

use crate::functions::civil::{push_date, push_digits, push_time};
use crate::functions::native::{NativeFunction, column};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![value_text()]
}

/// `CAST(x AS STRING)` of a timestamp or a boolean; made by the planner.
pub(crate) fn value_text() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::any(1, Volatility::Immutable);
        NativeFunction::new("cast_to_string", signature, |_| Ok(DataType::Utf8), evaluate).shared()
    });
    FUNCTION.clone()
}

fn evaluate(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let values = column(args, 0)?;
    let rows = values.len();
    let mut text = StringBuilder::with_capacity(rows, rows * 24);
    match values.data_type() {
        DataType::Boolean => {
            let booleans = values.as_boolean();
            for row in 0..rows {
                let word = if booleans.is_null(row) {
                    None
                } else {
                    Some(booleans.value(row))
                };
                text.append_option(word.map(|word| if word { "TRUE" } else { "FALSE" }));
            }
        }
        DataType::Timestamp(unit, _) => {
            let (ticks, per_second, digits): (&[i64], i64, usize) = match unit {
                TimeUnit::Second => (values.as_primitive::<TimestampSecondType>().values(), 1, 0),
                TimeUnit::Millisecond => (
                    values.as_primitive::<TimestampMillisecondType>().values(),
                    1_000,
                    3,
                ),
                TimeUnit::Microsecond => (
                    values.as_primitive::<TimestampMicrosecondType>().values(),
                    1_000_000,
                    6,
                ),
                TimeUnit::Nanosecond => (
                    values.as_primitive::<TimestampNanosecondType>().values(),
                    1_000_000_000,
                    9,
                ),
            };
            let mut line = Vec::with_capacity(32);
            for (row, &tick) in ticks.iter().enumerate() {
                match values.is_null(row) {
                    true => text.append_null(),
                    false => {
                        line.clear();
                        push_timestamp(&mut line, tick, per_second, digits);
                        text.append_value(ascii(&line));
                    }
                }
            }
        }
        other => return exec_err!("{other} is not printed here"),
    }
    Ok(Arc::new(text.finish()))
}

/// Appends `2024-01-31 12:00:00` and `digits` digits of the second's fraction.
pub(crate) fn push_timestamp(text: &mut Vec<u8>, tick: i64, per_second: i64, digits: usize) {
    let seconds = tick.div_euclid(per_second);
    push_date(text, seconds.div_euclid(86_400));
    text.push(b' ');
    push_time(text, seconds.rem_euclid(86_400));
    if digits > 0 {
        text.push(b'.');
        push_digits(text, tick.rem_euclid(per_second), digits);
    }
}

/// Bytes that were written digit by digit, as text.
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("invariant: digits and separators are ASCII")
}
