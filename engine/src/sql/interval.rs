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
