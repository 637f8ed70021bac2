//! `timestamp ± INTERVAL` of a fixed length: one addition a row.
//!
//! The general kernel goes through the calendar for each row (about 40 ns), which only months need: a
//! TIMESTAMP has no zone and a TIMESTAMP_LTZ is in UTC, so a day is always 24 hours. Watermarks are made
//! of such expressions, so every row of an event-time job passes here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{
    ArrowTimestampType, DataType, FieldRef, Schema, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Result, ScalarValue, exec_err, internal_err};
use datafusion_expr::{ColumnarValue, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Literal};

const DAY_NS: i64 = 86_400_000_000_000;

/// A timestamp moved by a constant.
#[derive(Debug, Eq)]
struct ShiftTimestamp {
    timestamp: Arc<dyn PhysicalExpr>,
    /// In the timestamp's unit.
    by: i64,
    /// The expression as it was written, for display.
    written: String,
}

impl PartialEq for ShiftTimestamp {
    fn eq(&self, other: &Self) -> bool {
        self.timestamp.eq(&other.timestamp) && self.by == other.by
    }
}

impl Hash for ShiftTimestamp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.timestamp.hash(state);
        self.by.hash(state);
    }
}

impl fmt::Display for ShiftTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl PhysicalExpr for ShiftTimestamp {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.timestamp.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        self.timestamp.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.timestamp.return_field(input)
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        let timestamps = self.timestamp.evaluate(rows)?.into_array(rows.num_rows())?;
        let DataType::Timestamp(unit, _) = timestamps.data_type() else {
            return internal_err!("{} is no timestamp", self.timestamp);
        };
        let shifted: ArrayRef = match unit {
            TimeUnit::Second => Arc::new(self.shift(timestamps.as_primitive::<TimestampSecondType>())?),
            TimeUnit::Millisecond => {
                Arc::new(self.shift(timestamps.as_primitive::<TimestampMillisecondType>())?)
            }
            TimeUnit::Microsecond => {
                Arc::new(self.shift(timestamps.as_primitive::<TimestampMicrosecondType>())?)
            }
            TimeUnit::Nanosecond => {
                Arc::new(self.shift(timestamps.as_primitive::<TimestampNanosecondType>())?)
            }
        };
        Ok(ColumnarValue::Array(shifted))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.timestamp]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let Some(timestamp) = children.pop() else {
            return internal_err!("a shifted timestamp has one child");
        };
        Ok(Arc::new(ShiftTimestamp {
            timestamp,
            by: self.by,
            written: self.written.clone(),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl ShiftTimestamp {
    fn shift<T: ArrowTimestampType>(&self, timestamps: &PrimitiveArray<T>) -> Result<PrimitiveArray<T>> {
        let by = self.by;
        // One vectorised pass finds out that nothing overflows, another adds.
        let (least, most) = (
            i64::MIN.saturating_sub(by.min(0)),
            i64::MAX.saturating_sub(by.max(0)),
        );
        if timestamps
            .values()
            .iter()
            .all(|&time| (least..=most).contains(&time))
        {
            let shifted: PrimitiveArray<T> = timestamps.unary(|time| time + by);
            return Ok(shifted.with_timezone_opt(timestamps.timezone()));
        }
        // What lies behind a NULL does not count.
        let shifted = timestamps.try_unary::<_, T, _>(|time| time.checked_add(by).ok_or(()));
        match shifted {
            Ok(shifted) => Ok(shifted.with_timezone_opt(timestamps.timezone())),
            Err(()) => exec_err!("`{}` overflows its type", self.written),
        }
    }
}

/// `expression` with every `timestamp ± INTERVAL` of a fixed length in it made fast.
pub(crate) fn with_fast_shifts(
    expression: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let rewritten = expression.transform_up(|node| {
        Ok(match fast_shift(&node, schema) {
            Some(fast) => Transformed::yes(fast),
            None => Transformed::no(node),
        })
    })?;
    Ok(rewritten.data)
}

fn fast_shift(node: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Option<Arc<dyn PhysicalExpr>> {
    let binary = node.downcast_ref::<BinaryExpr>()?;
    let interval = binary.right().downcast_ref::<Literal>()?;
    let nanoseconds = fixed_length(interval.value())?;
    let DataType::Timestamp(unit, zone) = binary.left().data_type(schema).ok()? else {
        return None;
    };
    if zone.is_some_and(|zone| &*zone != "UTC") {
        return None;
    }
    let unit_ns = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    if nanoseconds % unit_ns != 0 {
        return None;
    }
    let by = match binary.op() {
        Operator::Plus => nanoseconds / unit_ns,
        Operator::Minus => -(nanoseconds / unit_ns),
        _ => return None,
    };
    Some(Arc::new(ShiftTimestamp {
        timestamp: Arc::clone(binary.left()),
        by,
        written: node.to_string(),
    }))
}

/// The length of an interval literal without months, in nanoseconds.
fn fixed_length(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => i64::from(interval.days)
            .checked_mul(DAY_NS)?
            .checked_add(interval.nanoseconds)
            .filter(|&length| length > i64::MIN),
        ScalarValue::IntervalDayTime(Some(interval)) => i64::from(interval.days)
            .checked_mul(DAY_NS)?
            .checked_add(i64::from(interval.milliseconds) * 1_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMillisecondArray;
    use arrow::datatypes::{Field, IntervalMonthDayNano};
    use datafusion_physical_expr::expressions::Column;

    use super::*;

    fn rows(values: Vec<Option<i64>>) -> RecordBatch {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let schema = Arc::new(Schema::new(vec![Field::new("ts", time, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(TimestampMillisecondArray::from(values))]).unwrap()
    }

    fn shifted(op: Operator, months: i32, days: i32, nanoseconds: i64) -> Arc<dyn PhysicalExpr> {
        let interval = IntervalMonthDayNano::new(months, days, nanoseconds);
        let literal = Literal::new(ScalarValue::IntervalMonthDayNano(Some(interval)));
        Arc::new(BinaryExpr::new(
            Arc::new(Column::new("ts", 0)),
            op,
            Arc::new(literal),
        ))
    }

    #[test]
    fn the_fast_shift_answers_as_the_general_kernel() {
        let rows = rows(vec![Some(0), None, Some(-1), Some(1_700_000_000_123)]);
        for op in [Operator::Plus, Operator::Minus] {
            for (days, nanoseconds) in [(0, 5_000_000), (3, -7_000_000), (-400, 0), (0, 1_500_000)] {
                let general = shifted(op, 0, days, nanoseconds);
                let fast = with_fast_shifts(Arc::clone(&general), &rows.schema()).unwrap();
                let is_fast = fast.downcast_ref::<ShiftTimestamp>().is_some();
                assert_eq!(
                    is_fast,
                    nanoseconds % 1_000_000 == 0,
                    "half a millisecond is left alone"
                );
                assert_eq!(fast.to_string(), general.to_string());
                let [fast, general] =
                    [fast, general].map(|e| e.evaluate(&rows).unwrap().into_array(4).unwrap());
                assert_eq!(&fast, &general, "{op} {days} d {nanoseconds} ns");
            }
        }
    }

    #[test]
    fn a_shifted_time_keeps_its_zone() {
        let time = TimestampMillisecondArray::from(vec![Some(0), None]).with_timezone("UTC");
        let field = Field::new("ts", time.data_type().clone(), true);
        let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(time)]).unwrap();
        let fast = with_fast_shifts(shifted(Operator::Minus, 0, 1, 0), &rows.schema()).unwrap();
        let shifted = fast.evaluate(&rows).unwrap().into_array(2).unwrap();
        assert_eq!(shifted.data_type(), &fast.data_type(&rows.schema()).unwrap());
    }

    #[test]
    fn months_take_the_calendar() {
        let rows = rows(vec![Some(0)]);
        let general = shifted(Operator::Plus, 1, 0, 0);
        let kept = with_fast_shifts(general, &rows.schema()).unwrap();
        assert!(kept.downcast_ref::<ShiftTimestamp>().is_none());
    }

    #[test]
    fn an_overflow_is_an_error_except_behind_a_null() {
        let day = shifted(Operator::Plus, 0, 1, 0);
        let overflowing = rows(vec![Some(i64::MAX)]);
        let fast = with_fast_shifts(day, &overflowing.schema()).unwrap();
        assert!(fast.evaluate(&overflowing).is_err());
        let hidden = TimestampMillisecondArray::new(vec![i64::MAX].into(), Some(vec![false].into()));
        let hidden = RecordBatch::try_new(overflowing.schema(), vec![Arc::new(hidden)]).unwrap();
        assert_eq!(
            fast.evaluate(&hidden)
                .unwrap()
                .into_array(1)
                .unwrap()
                .null_count(),
            1
        );
    }
}
