//! Parts of dates and times: `EXTRACT(unit FROM x)` and `YEAR(x)` to `SECOND(x)`, all BIGINT.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use crate::functions::civil::{Civil, DAY_US, HOUR_US, MINUTE_US, SECOND_US, iso_day_of_week, iso_week};
use crate::functions::native::{NativeFunction, column, micros};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let part =
        |name, evaluation| NativeFunction::coercing(name, one_instant, |_| Ok(DataType::Int64), evaluation);
    let time_part = |name, evaluation| {
        NativeFunction::coercing(name, instant_or_time, |_| Ok(DataType::Int64), evaluation)
    };
    vec![
        NativeFunction::coercing("extract", unit_and_instant, |_| Ok(DataType::Int64), extract).shared(),
        part("year", |args| parts(args, year)).shared(),
        part("quarter", |args| parts(args, quarter)).shared(),
        part("month", |args| parts(args, month)).shared(),
        part("week", |args| parts(args, week)).shared(),
        part("dayofyear", |args| parts(args, day_of_year)).shared(),
        part("dayofmonth", |args| parts(args, day))
            .with_aliases(&["day"])
            .shared(),
        part("dayofweek", |args| parts(args, day_of_week)).shared(),
        time_part("hour", |args| parts(args, hour)).shared(),
        time_part("minute", |args| parts(args, minute)).shared(),
        time_part("second", |args| parts(args, second)).shared(),
    ]
}

/// The type that an instant argument is cast to: itself, or TIMESTAMP(3) for what is no timestamp.
pub(crate) fn instant_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(..) => Some(data_type.clone()),
        DataType::Date32 | DataType::Utf8 | DataType::Null => {
            Some(DataType::Timestamp(TimeUnit::Millisecond, None))
        }
        _ => None,
    }
}

fn one_instant(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [argument] if instant_type(argument).is_some() => Ok(instant_type(argument).into_iter().collect()),
        _ => plan_err!("the argument must be one DATE or TIMESTAMP"),
    }
}

/// An instant, or a time of day.
fn instant_or_time(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Time32(_) | DataType::Time64(_)] => Ok(vec![DataType::Time64(TimeUnit::Microsecond)]),
        [argument] if instant_type(argument).is_some() => one_instant(types),
        _ => plan_err!("the argument must be one TIME, DATE or TIMESTAMP"),
    }
}

fn unit_and_instant(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [unit, instant] if unit.is_string() && instant_type(instant).is_some() => {
            Ok(std::iter::once(DataType::Utf8)
                .chain(instant_type(instant))
                .collect())
        }
        [unit, time] if unit.is_string() => match instant_or_time(std::slice::from_ref(time)) {
            Ok(coerced) => Ok([vec![DataType::Utf8], coerced].concat()),
            Err(_) => plan_err!("EXTRACT needs a unit and a TIME, DATE or TIMESTAMP"),
        },
        _ => plan_err!("EXTRACT needs a unit and a DATE or TIMESTAMP"),
    }
}

fn extract(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let ColumnarValue::Scalar(ScalarValue::Utf8(Some(unit))) = &args.args[0] else {
        return exec_err!("EXTRACT needs a fixed unit");
    };
    let values = column(args, 1)?;
    let is_of_time = ["HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"]
        .iter()
        .any(|name| unit.to_ascii_uppercase().trim_end_matches('S') == *name);
    if matches!(values.data_type(), DataType::Time64(_)) && !is_of_time {
        return exec_err!("a TIME has no {}", unit.to_ascii_uppercase());
    }
    apply(&values, part_named(unit)?)
}

fn parts(args: &ScalarFunctionArgs, part: fn(i64) -> i64) -> Result<ArrayRef> {
    apply(&column(args, 0)?, part)
}

fn apply(instants: &ArrayRef, part: fn(i64) -> i64) -> Result<ArrayRef> {
    Ok(Arc::new(micros(instants)?.unary::<_, Int64Type>(part)))
}

fn part_named(unit: &str) -> Result<fn(i64) -> i64> {
    Ok(match unit.to_ascii_uppercase().as_str() {
        "MILLENNIUM" | "MILLENIUM" => |at| (year(at) + 999).div_euclid(1000),
        "CENTURY" => |at| (year(at) + 99).div_euclid(100),
        "DECADE" => |at| year(at).div_euclid(10),
        "YEAR" | "YEARS" => year,
        "ISOYEAR" => |at| iso_week(at.div_euclid(DAY_US)).0,
        "QUARTER" => quarter,
        "MONTH" | "MONTHS" => month,
        "WEEK" | "WEEKS" => week,
        "DAY" | "DAYS" => day,
        "DOY" | "DAYOFYEAR" => day_of_year,
        "DOW" | "DAYOFWEEK" => day_of_week,
        "ISODOW" => |at| iso_day_of_week(at.div_euclid(DAY_US)),
        "HOUR" | "HOURS" => hour,
        "MINUTE" | "MINUTES" => minute,
        "SECOND" | "SECONDS" => second,
        "MILLISECOND" | "MILLISECONDS" => |at| at.rem_euclid(SECOND_US) / 1_000,
        "MICROSECOND" | "MICROSECONDS" => |at| at.rem_euclid(SECOND_US),
        "EPOCH" => |at| at.div_euclid(SECOND_US),
        other => return exec_err!("{other} is not a part of a date or time"),
    })
}

fn civil(at_us: i64) -> Civil {
    Civil::of_days(at_us.div_euclid(DAY_US))
}

fn year(at_us: i64) -> i64 {
    civil(at_us).year
}

fn quarter(at_us: i64) -> i64 {
    (civil(at_us).month - 1) / 3 + 1
}

fn month(at_us: i64) -> i64 {
    civil(at_us).month
}

fn week(at_us: i64) -> i64 {
    iso_week(at_us.div_euclid(DAY_US)).1
}

fn day(at_us: i64) -> i64 {
    civil(at_us).day
}

fn day_of_year(at_us: i64) -> i64 {
    civil(at_us).day_of_year()
}

/// Sunday = 1 to Saturday = 7, as Flink counts.
fn day_of_week(at_us: i64) -> i64 {
    iso_day_of_week(at_us.div_euclid(DAY_US)) % 7 + 1
}

fn hour(at_us: i64) -> i64 {
    at_us.rem_euclid(DAY_US) / HOUR_US
}

fn minute(at_us: i64) -> i64 {
    at_us.rem_euclid(HOUR_US) / MINUTE_US
}

fn second(at_us: i64) -> i64 {
    at_us.rem_euclid(MINUTE_US) / SECOND_US
}
