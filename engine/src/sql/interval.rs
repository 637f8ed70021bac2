//! Interval literals as microseconds: `INTERVAL '10' SECOND`, `INTERVAL '1:30' MINUTE TO SECOND`.
//!
//! Used for window sizes and to normalise ranges of units for the query planner.
//!
//! **Invariant.** Exact or an error: no rounding, no overflow, no calendar units (MONTH, YEAR),
//! whose length is not fixed.

use sqlparser::ast::{DateTimeField, Expr, Interval, UnaryOperator, Value};

use crate::error::SqlError;
use crate::sql::position::position_of;

const SECOND_US: i128 = 1_000_000;
const MINUTE_US: i128 = 60 * SECOND_US;
const HOUR_US: i128 = 60 * MINUTE_US;
const DAY_US: i128 = 24 * HOUR_US;

/// The microseconds of an interval literal, negative where it has a minus.
pub fn interval_us(expr: &Expr) -> Result<i64, SqlError> {
    let at = |error: SqlError| error.at(position_of(expr));
    match expr {
        Expr::Interval(interval) => literal_us(interval).map_err(at),
        Expr::Nested(inner) => interval_us(inner),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: inner,
        } => interval_us(inner)?
            .checked_neg()
            .ok_or_else(|| at(too_long(expr))),
        other => Err(at(SqlError::new(format!("`{other}` is not an interval literal"))
            .hint("write for instance INTERVAL '10' SECOND, or 10s"))),
    }
}

/// Respells a literal over several units (`'1:30' MINUTE TO SECOND`) or with a precision
/// (`'10' SECOND(3)`) in one unit, as the query planner reads it.
pub(crate) fn normalise_interval(expr: &mut Expr) -> Result<(), SqlError> {
    let position = position_of(&*expr);
    let Expr::Interval(interval) = expr else {
        return Ok(());
    };
    if interval.last_field.is_some() {
        let is_calendar = matches!(
            interval.leading_field,
            Some(DateTimeField::Year | DateTimeField::Years)
        );
        let (count, unit) = if is_calendar {
            (
                literal_months(interval).map_err(|error| error.at(position))?,
                DateTimeField::Month,
            )
        } else {
            let us = literal_us(interval).map_err(|error| error.at(position))?;
            (seconds_text(us), DateTimeField::Second)
        };
        *interval.value = Expr::value(Value::SingleQuotedString(count));
        interval.leading_field = Some(unit);
        interval.last_field = None;
    }
    interval.leading_precision = None;
    interval.fractional_seconds_precision = None;
    Ok(())
}

/// `'years-months' YEAR TO MONTH` in months.
fn literal_months(interval: &Interval) -> Result<String, SqlError> {
    let text = literal_text(&interval.value)?;
    let (sign, digits) = match text.trim().strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.trim()),
    };
    let months = digits.split_once('-').and_then(|(years, months)| {
        let years: u32 = years.trim().parse().ok()?;
        let months: u32 = months.trim().parse().ok()?;
        years.checked_mul(12)?.checked_add(months)
    });
    let to_month = matches!(
        interval.last_field,
        Some(DateTimeField::Month | DateTimeField::Months)
    );
    match months {
        Some(months) if to_month => Ok(format!("{sign}{months}")),
        _ => Err(
            SqlError::new(format!("'{text}' is not a number of years and months"))
                .hint("write INTERVAL '1-6' YEAR TO MONTH"),
        ),
    }
}

/// Microseconds as decimal seconds.
fn seconds_text(us: i64) -> String {
    let sign = if us < 0 { "-" } else { "" };
    let us = us.unsigned_abs();
    let (whole, fraction) = (us / 1_000_000, us % 1_000_000);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{fraction:06}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

fn literal_us(interval: &Interval) -> Result<i64, SqlError> {
    let text = literal_text(&interval.value)?;
    let Some(leading) = &interval.leading_field else {
        return Err(SqlError::new(format!("the interval '{text}' has no unit"))
            .hint("write the unit behind the number: INTERVAL '5' MINUTE"));
    };
    let first = unit(leading)?;
    let last = match &interval.last_field {
        Some(field) => unit(field)?,
        None => first,
    };
    let (negative, digits) = match text.trim().strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.trim().trim_start_matches('+')),
    };
    let total = if first == last {
        decimal_us(digits, first.us)
    } else {
        range_us(digits, first, last)?
    };
    let total = total.ok_or_else(|| {
        SqlError::new(format!(
            "'{text}' is not a number of {} for an interval",
            first.name
        ))
        .hint("write for instance INTERVAL '10' SECOND or INTERVAL '1:30' MINUTE TO SECOND")
    })?;
    let signed = if negative { -total } else { total };
    i64::try_from(signed).map_err(|_| too_long(&text))
}

fn too_long(what: impl std::fmt::Display) -> SqlError {
    SqlError::new(format!("the interval {what} is too long"))
        .hint("microseconds of an interval must fit 64 bits (292,000 years)")
}

fn literal_text(value: &Expr) -> Result<String, SqlError> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => Ok(text.clone()),
            other => Err(SqlError::new(format!("{other} is not the text of an interval"))),
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => literal_text(expr).map(|text| format!("-{text}")),
        other => Err(SqlError::new(format!(
            "an interval must be a literal here, and `{other}` is not"
        ))),
    }
}

/// A unit of fixed length: its place in day-hour-minute-second order, and its microseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Unit {
    rank: usize,
    us: i128,
    name: &'static str,
}

const DAY: Unit = Unit {
    rank: 0,
    us: DAY_US,
    name: "days",
};
const HOUR: Unit = Unit {
    rank: 1,
    us: HOUR_US,
    name: "hours",
};
const MINUTE: Unit = Unit {
    rank: 2,
    us: MINUTE_US,
    name: "minutes",
};
const SECOND: Unit = Unit {
    rank: 3,
    us: SECOND_US,
    name: "seconds",
};
const UNITS: [Unit; 4] = [DAY, HOUR, MINUTE, SECOND];

fn unit(field: &DateTimeField) -> Result<Unit, SqlError> {
    use DateTimeField::{
        Day, Days, Hour, Hours, Microsecond, Microseconds, Millisecond, Milliseconds, Minute, Minutes,
        Second, Seconds, Week, Weeks,
    };
    let fraction = |us, name| Unit { rank: 4, us, name };
    match field {
        Week(None) | Weeks => Ok(Unit {
            rank: 5,
            us: 7 * DAY_US,
            name: "weeks",
        }),
        Day | Days => Ok(DAY),
        Hour | Hours => Ok(HOUR),
        Minute | Minutes => Ok(MINUTE),
        Second | Seconds => Ok(SECOND),
        Millisecond | Milliseconds => Ok(fraction(1_000, "milliseconds")),
        Microsecond | Microseconds => Ok(fraction(1, "microseconds")),
        other => Err(
            SqlError::new(format!("the unit {other} has no fixed length in microseconds"))
                .hint("use WEEK, DAY, HOUR, MINUTE or SECOND"),
        ),
    }
}

/// `digits[.digits]` times `unit_us`; `None` where it is no such number or has parts below 1 µs.
fn decimal_us(text: &str, unit_us: i128) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && part.len() <= 18;
    if !is_number(whole) || !is_number(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = fraction.trim_end_matches('0');
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part: i128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let part_us = part.checked_mul(unit_us)?;
    if part_us % scale != 0 {
        return None;
    }
    whole.checked_mul(unit_us)?.checked_add(part_us / scale)
}

/// `d h:m:s.f` cut to the units from `first` to `last`; `Ok(None)` where the text does not fit.
fn range_us(text: &str, first: Unit, last: Unit) -> Result<Option<i128>, SqlError> {
    if first.rank >= last.rank || last.rank > SECOND.rank {
        return Err(SqlError::new(format!(
            "an interval cannot run from {} to {}",
            first.name, last.name
        ))
        .hint("the units go from the longer to the shorter: DAY TO SECOND"));
    }
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = text;
    if first == DAY {
        let Some((days, time)) = text.split_once(' ') else {
            return Ok(None);
        };
        parts.push(days);
        rest = time.trim_start();
    }
    parts.extend(rest.split(':'));
    if parts.len() != last.rank - first.rank + 1 {
        return Ok(None);
    }
    let mut total: i128 = 0;
    for (unit, part) in UNITS[first.rank..=last.rank].iter().zip(parts) {
        if part.contains('.') && *unit != SECOND {
            return Ok(None);
        }
        let Some(us) = decimal_us(part, unit.us) else {
            return Ok(None);
        };
        total += us;
    }
    Ok(Some(total))
}

#[cfg(test)]
mod tests {
    use sqlparser::parser::Parser;

    use super::*;
    use crate::sql::dialect::StreamDialect;

    fn check(sql: &str, expected: Result<i64, &str>) {
        let mut parser = Parser::new(&StreamDialect).try_with_sql(sql).unwrap();
        let expr = parser.parse_expr().unwrap();
        assert_eq!(
            interval_us(&expr).map_err(|error| error.message),
            expected.map_err(str::to_string),
            "{sql}"
        );
    }

    #[test]
    fn intervals_of_one_unit_are_exact() {
        check("INTERVAL '10' SECOND", Ok(10_000_000));
        check("INTERVAL '0.001' SECOND", Ok(1_000));
        check("INTERVAL '.5' MINUTE", Ok(30_000_000));
        check("INTERVAL '2' HOURS", Ok(7_200_000_000));
        check("INTERVAL '1' DAY", Ok(86_400_000_000));
        check("INTERVAL '1' WEEK", Ok(604_800_000_000));
        check("INTERVAL '-16' HOUR", Ok(-57_600_000_000));
        check("- INTERVAL '1' SECOND", Ok(-1_000_000));
        check("INTERVAL 3 SECOND", Ok(3_000_000));
        check("INTERVAL '500' MILLISECOND", Ok(500_000));
    }

    #[test]
    fn intervals_over_several_units_are_added() {
        check("INTERVAL '1:30' MINUTE TO SECOND", Ok(90_000_000));
        check("INTERVAL '1 2:03:04.5' DAY TO SECOND", Ok(93_784_500_000));
        check("INTERVAL '-1 12' DAY TO HOUR", Ok(-129_600_000_000));
    }

    #[test]
    fn what_has_no_fixed_or_exact_length_is_refused() {
        check(
            "INTERVAL '1' MONTH",
            Err("the unit MONTH has no fixed length in microseconds"),
        );
        check(
            "INTERVAL '1' YEAR",
            Err("the unit YEAR has no fixed length in microseconds"),
        );
        check(
            "INTERVAL '0.0000001' SECOND",
            Err("'0.0000001' is not a number of seconds for an interval"),
        );
        check(
            "INTERVAL 'x' SECOND",
            Err("'x' is not a number of seconds for an interval"),
        );
        check(
            "INTERVAL '' SECOND",
            Err("'' is not a number of seconds for an interval"),
        );
        check(
            "INTERVAL '1:x' MINUTE TO SECOND",
            Err("'1:x' is not a number of minutes for an interval"),
        );
        check(
            "INTERVAL '1:2' HOUR TO DAY",
            Err("an interval cannot run from hours to days"),
        );
        check(
            "INTERVAL '5 minutes'",
            Err("the interval '5 minutes' has no unit"),
        );
        check(
            "INTERVAL '999999999999999999' DAY",
            Err("the interval 999999999999999999 is too long"),
        );
        check("a", Err("`a` is not an interval literal"));
    }
}
