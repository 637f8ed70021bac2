//! `INTERVAL '1' HOUR * n`: an interval, several times.
//!
//! **Invariant.** Months, days and the rest are multiplied on their own: no day becomes 24 hours.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion_common::{DFSchema, Result, exec_datafusion_err, plan_err};
use datafusion_expr::planner::RawBinaryExpr;
use datafusion_expr::{Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF};

use crate::functions::Functions;
use crate::functions::native::{NativeFunction, column};

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![NativeFunction::coercing("interval_times", types, |_| Ok(INTERVAL), times).shared()]
}

/// The call for a multiplication of an interval and a whole number; `None` for any other.
pub(crate) fn product(operation: &RawBinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    let sides = [&operation.left, &operation.right];
    let types = [sides[0].get_type(schema)?, sides[1].get_type(schema)?];
    let (interval, number) = match &types {
        [DataType::Interval(_), number] if number.is_integer() => (sides[0], sides[1]),
        [number, DataType::Interval(_)] if number.is_integer() => (sides[1], sides[0]),
        _ => return Ok(None),
    };
    let function = Functions::library()
        .scalar("interval_times")
        .expect("invariant: operators name registered functions");
    Ok(Some(function.call(vec![interval.clone(), number.clone()])))
}

fn types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::Interval(_), number] if number.is_integer() => Ok(vec![INTERVAL, DataType::Int64]),
        _ => plan_err!("an interval is multiplied by a whole number"),
    }
}

fn times(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (intervals, numbers) = (column(args, 0)?, column(args, 1)?);
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let numbers = numbers.as_primitive::<Int64Type>();
    let mut products = IntervalMonthDayNanoArray::builder(args.number_rows);
    for row in 0..args.number_rows {
        if intervals.is_null(row) || numbers.is_null(row) {
            products.append_null();
            continue;
        }
        let product = multiplied(intervals.value(row), numbers.value(row));
        products.append_value(
            product.ok_or_else(|| exec_datafusion_err!("the product of an interval is too long"))?,
        );
    }
    Ok(Arc::new(products.finish()))
}

fn multiplied(interval: IntervalMonthDayNano, number: i64) -> Option<IntervalMonthDayNano> {
    let short = i32::try_from(number).ok();
    let part = |part: i32| match part {
        0 => Some(0),
        part => part.checked_mul(short?),
    };
    Some(IntervalMonthDayNano {
        months: part(interval.months)?,
        days: part(interval.days)?,
        nanoseconds: interval.nanoseconds.checked_mul(number)?,
    })
}
