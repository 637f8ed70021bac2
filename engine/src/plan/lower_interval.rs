//! Recognises interval joins: conditions that keep the event times of both sides within a fixed distance.
//!
//! `l.ts BETWEEN r.ts - INTERVAL '5' SECOND AND r.ts + INTERVAL '5' SECOND`, and what is equal to it. The
//! condition itself stays part of the join: here only the bounds are read, by which rows are given up.

use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{Expr, Operator};

use crate::plan::JoinInterval;

/// An event time and a constant distance from it: `ts - INTERVAL '5' SECOND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// 0 left, 1 right.
    side: usize,
    distance_us: i64,
}

/// What is known of the sides: their logical schemas and the logical column that is their event time.
pub(crate) struct Sides<'a> {
    pub(crate) schemas: [&'a DFSchema; 2],
    pub(crate) is_event_time: &'a dyn Fn(usize, usize) -> bool,
}

/// The bounds that `conditions` put on `left time − right time`; `None` unless there are both.
pub(crate) fn bounds(sides: &Sides<'_>, conditions: &[Expr]) -> Option<(i64, i64)> {
    let (mut lower, mut upper): (Option<i64>, Option<i64>) = (None, None);
    for condition in conditions {
        for (least, greatest) in compared(sides, condition) {
            // least ≤ greatest, so a time of the left side is bounded by one of the right, or the other way.
            let distance = greatest.distance_us.saturating_sub(least.distance_us);
            match (least.side, greatest.side) {
                (0, 1) => upper = Some(upper.map_or(distance, |known| known.min(distance))),
                (1, 0) => {
                    let distance = distance.saturating_neg();
                    lower = Some(lower.map_or(distance, |known| known.max(distance)));
                }
                _ => {}
            }
        }
    }
    lower.zip(upper)
}

/// The interval of a join with these event-time columns.
pub(crate) fn interval(times: (usize, usize), (lower_us, upper_us): (i64, i64)) -> JoinInterval {
    JoinInterval {
        times,
        lower_us,
        upper_us,
    }
}

/// Pairs of moments of which the first is not after the second.
fn compared(sides: &Sides<'_>, condition: &Expr) -> Vec<(Moment, Moment)> {
    let pair = |least: &Expr, greatest: &Expr| moment(sides, least).zip(moment(sides, greatest));
    match condition {
        Expr::BinaryExpr(comparison) => {
            let (left, right) = (&comparison.left, &comparison.right);
            match comparison.op {
                Operator::LtEq | Operator::Lt => pair(left, right).into_iter().collect(),
                Operator::GtEq | Operator::Gt => pair(right, left).into_iter().collect(),
                Operator::Eq => pair(left, right).into_iter().chain(pair(right, left)).collect(),
                _ => Vec::new(),
            }
        }
        Expr::Between(between) if !between.negated => {
            let low = pair(&between.low, &between.expr);
            low.into_iter()
                .chain(pair(&between.expr, &between.high))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn moment(sides: &Sides<'_>, expression: &Expr) -> Option<Moment> {
    match expression {
        Expr::Alias(alias) => moment(sides, &alias.expr),
        Expr::Cast(cast) if is_timestamp(cast.field.data_type()) => moment(sides, &cast.expr),
        Expr::Column(column) => (0..2).find_map(|side| {
            let index = sides.schemas[side].maybe_index_of_column(column)?;
            (sides.is_event_time)(side, index).then_some(Moment { side, distance_us: 0 })
        }),
        Expr::BinaryExpr(sum) => {
            let shifted = |time: &Expr, distance: Option<i64>| {
                let moment = moment(sides, time)?;
                Some(Moment {
                    distance_us: moment.distance_us.checked_add(distance?)?,
                    ..moment
                })
            };
            match sum.op {
                Operator::Plus => shifted(&sum.left, constant_us(&sum.right))
                    .or_else(|| shifted(&sum.right, constant_us(&sum.left))),
                Operator::Minus => shifted(&sum.left, constant_us(&sum.right).and_then(i64::checked_neg)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn is_timestamp(data_type: &arrow::datatypes::DataType) -> bool {
    matches!(data_type, arrow::datatypes::DataType::Timestamp(..))
}

fn constant_us(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(value, _) => interval_us(value),
        Expr::Cast(cast) => constant_us(&cast.expr),
        _ => None,
    }
}

/// Days and smaller as microseconds; months have no fixed length.
pub(crate) fn interval_us(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            Some(i64::from(interval.days) * 86_400_000_000 + interval.nanoseconds / 1_000)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => {
            Some(i64::from(interval.days) * 86_400_000_000 + i64::from(interval.milliseconds) * 1_000)
        }
        _ => None,
    }
}
