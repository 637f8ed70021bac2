//! Arithmetic in calendar units: `FLOOR(ts TO unit)`, `CEIL(ts TO unit)`, `TIMESTAMPADD(unit, n, ts)`,
//! `TIMESTAMPDIFF(unit, a, b)`.
//!
//! **Invariant.** A result has its argument's type and zone; only TIMESTAMPADD of a DATE by a time of
//! day gives a TIMESTAMP(3).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use crate::functions::calendar::instant_type;
use crate::functions::civil::{Civil, DAY_US, HOUR_US, MINUTE_US, SECOND_US};
use crate::functions::native::{NativeFunction, column, micros};

/// More months than lie between the first and the last TIMESTAMP.
const MONTHS_MAX: i64 = 8_000_000;

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let rounding = |name, evaluation| {
        NativeFunction::coercing(name, rounded_types, |types| Ok(types[1].clone()), evaluation).shared()
    };
    vec![
        rounding("floor_time", |args| round(args, Unit::floor)),
        rounding("ceil_time", |args| round(args, Unit::ceil)),
        NativeFunction::coercing("timestampadd", added_types, |types| Ok(types[2].clone()), add).shared(),
        NativeFunction::coercing(
            "timestampdiff",
            difference_types,
            |_| Ok(DataType::Int32),
            difference,
        )
        .shared(),
    ]
}

/// A unit: a fixed length, or a number of months.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Fixed(i64),
    /// Seven days that begin on Sunday.
    Week,
    Months(i64),
}

impl Unit {
    /// Argument 0, a string that the planner made from the unit's keyword.
    fn of(args: &ScalarFunctionArgs) -> Result<Unit> {
        let ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))) = &args.args[0] else {
            return exec_err!("the unit must be a keyword such as DAY");
        };
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("SQL_TSI_").unwrap_or(&name);
        Ok(match name.strip_suffix('S').unwrap_or(name) {
            "MICROSECOND" => Unit::Fixed(1),
            "MILLISECOND" => Unit::Fixed(1_000),
            "SECOND" => Unit::Fixed(SECOND_US),
            "MINUTE" => Unit::Fixed(MINUTE_US),
            "HOUR" => Unit::Fixed(HOUR_US),
            "DAY" => Unit::Fixed(DAY_US),
            "WEEK" => Unit::Week,
            "MONTH" => Unit::Months(1),
            "QUARTER" => Unit::Months(3),
            "YEAR" => Unit::Months(12),
            "DECADE" => Unit::Months(120),
            "CENTURY" => Unit::Months(1_200),
            _ => {
                return exec_err!(
                    "{name} is not a unit of time; units are SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER, YEAR"
                );
            }
        })
    }

    fn floor(self, at_us: i64) -> i64 {
        match self {
            Unit::Fixed(length) => at_us - at_us.rem_euclid(length),
            // 1970-01-01 was a Thursday, four days after a Sunday.
            Unit::Week => {
                let days = at_us.div_euclid(DAY_US);
                (days - (days + 4).rem_euclid(7)) * DAY_US
            }
            Unit::Months(months) => {
                let civil = Civil::of_days(at_us.div_euclid(DAY_US));
                let month = (civil.year * 12 + civil.month - 1).div_euclid(months) * months;
                Civil {
                    year: month.div_euclid(12),
                    month: month.rem_euclid(12) + 1,
                    day: 1,
                }
                .days()
                    * DAY_US
            }
        }
    }

    fn ceil(self, at_us: i64) -> i64 {
        let floor = self.floor(at_us);
        if floor == at_us { at_us } else { self.add(floor, 1) }
    }

    /// The instant `count` units later; nothing where that is no TIMESTAMP any more.
    fn checked_add(self, at_us: i64, count: i64) -> Option<i64> {
        match self {
            Unit::Fixed(length) => at_us.checked_add(count.checked_mul(length)?),
            Unit::Week => at_us.checked_add(count.checked_mul(7 * DAY_US)?),
            Unit::Months(months) => {
                let months = count
                    .checked_mul(months)
                    .filter(|months| months.abs() <= MONTHS_MAX)?;
                let day = Civil::of_days(at_us.div_euclid(DAY_US)).plus_months(months);
                day.days()
                    .checked_mul(DAY_US)?
                    .checked_add(at_us.rem_euclid(DAY_US))
            }
        }
    }

    /// The same, held at the first and last instant.
    fn add(self, at_us: i64, count: i64) -> i64 {
        let limit = if count < 0 { i64::MIN } else { i64::MAX };
        self.checked_add(at_us, count).unwrap_or(limit)
    }

    /// Whole units from `from` to `to`, toward zero.
    fn between(self, from: i64, to: i64) -> i64 {
        match self {
            Unit::Fixed(length) => to.wrapping_sub(from) / length,
            Unit::Week => to.wrapping_sub(from) / (7 * DAY_US),
            Unit::Months(months) => {
                let month = |at: i64| {
                    let civil = Civil::of_days(at.div_euclid(DAY_US));
                    civil.year * 12 + civil.month
                };
                let mut whole = month(to) - month(from);
                let reached = Unit::Months(1).add(from, whole);
                match whole {
                    1.. if reached > to => whole -= 1,
                    ..=-1 if reached < to => whole += 1,
                    _ => {}
                }
                whole / months
            }
        }
    }
}

fn rounded_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [unit, instant] if unit.is_string() => match instant {
            DataType::Date32 => Ok(vec![DataType::Utf8, DataType::Date32]),
            _ if instant_type(instant).is_some() => Ok(std::iter::once(DataType::Utf8)
                .chain(instant_type(instant))
                .collect()),
            _ => plan_err!("FLOOR and CEIL TO a unit need a DATE or TIMESTAMP"),
        },
        _ => plan_err!("FLOOR and CEIL TO a unit need a DATE or TIMESTAMP"),
    }
}

fn round(args: &ScalarFunctionArgs, rounding: fn(Unit, i64) -> i64) -> Result<ArrayRef> {
    let unit = Unit::of(args)?;
    let instants = micros(&column(args, 1)?)?;
    as_type(instants.unary(|at| rounding(unit, at)), args.return_type())
}

fn as_type(instants: PrimitiveArray<TimestampMicrosecondType>, target: &DataType) -> Result<ArrayRef> {
    let zoned: ArrayRef = match target {
        DataType::Timestamp(_, Some(zone)) => Arc::new(instants.with_timezone(zone.clone())),
        _ => Arc::new(instants),
    };
    Ok(cast(&zoned, target)?)
}

fn added_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [unit, count, instant]
            if unit.is_string() && count.is_integer() && instant_type(instant).is_some() =>
        {
            let unit_and_count = [DataType::Utf8, DataType::Int64].into_iter();
            Ok(unit_and_count.chain(instant_type(instant)).collect())
        }
        _ => plan_err!("TIMESTAMPADD needs a unit, a whole number and a DATE or TIMESTAMP"),
    }
}

fn add(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let unit = Unit::of(args)?;
    let counts = column(args, 1)?;
    let instants = micros(&column(args, 2)?)?;
    let moved: PrimitiveArray<TimestampMicrosecondType> =
        arrow::compute::try_binary(&instants, counts.as_primitive::<Int64Type>(), |at, count| {
            unit.checked_add(at, count).ok_or_else(|| {
                let message = format!("TIMESTAMPADD of {count} units leaves the range of TIMESTAMP");
                ArrowError::ComputeError(message)
            })
        })?;
    as_type(moved, args.return_type())
}

fn difference_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [unit, from, to] if unit.is_string() => match (instant_type(from), instant_type(to)) {
            (Some(from), Some(to)) => Ok(vec![DataType::Utf8, from, to]),
            _ => plan_err!("TIMESTAMPDIFF needs a unit and two DATEs or TIMESTAMPs"),
        },
        _ => plan_err!("TIMESTAMPDIFF needs a unit and two DATEs or TIMESTAMPs"),
    }
}

fn difference(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let unit = Unit::of(args)?;
    let from = micros(&column(args, 1)?)?;
    let to = micros(&column(args, 2)?)?;
    let between: Int32Array =
        arrow::compute::binary::<_, _, _, Int32Type>(&from, &to, |from, to| unit.between(from, to) as i32)?;
    assert_eq!(between.len(), from.len(), "invariant: one difference per row");
    Ok(Arc::new(between))
}
