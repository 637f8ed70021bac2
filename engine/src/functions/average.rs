//! AVG with Flink's result types: integers → the same integer type, truncated toward zero;
//! DECIMAL(p, s) → DECIMAL(38, max(6, s)); FLOAT and DOUBLE → DOUBLE.
//!
//! The stream plan gives AVG a layout of its own; the accumulator here is the row-at-a-time
//! definition of the same result.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature, Volatility};

/// `AVG(x)`.
pub(crate) fn average() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Average {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Average {
    signature: Signature,
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        "avg"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [argument] = arguments else {
            return plan_err!("AVG has one argument, not {}", arguments.len());
        };
        match argument {
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Decimal128(..) => Ok(vec![argument.clone()]),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                Ok(vec![DataType::Int64])
            }
            DataType::Float32 | DataType::Float64 | DataType::Float16 | DataType::Null => {
                Ok(vec![DataType::Float64])
            }
            other => plan_err!("AVG of {other} is not defined; its argument must be a number"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match &arguments[0] {
            DataType::Decimal128(_, scale) => Ok(DataType::Decimal128(38, 6.max(*scale))),
            integer if integer.is_signed_integer() => Ok(integer.clone()),
            _ => Ok(DataType::Float64),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let result = args.return_type().clone();
        let distinct = args.is_distinct.then(HashSet::new);
        let scale = match args.expr_fields[0].data_type() {
            DataType::Decimal128(_, scale) => *scale,
            _ => 0,
        };
        Ok(Box::new(AverageAccumulator {
            sum: Sum::new(&result),
            count: 0,
            distinct,
            result,
            scale,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field =
            |name: &str, data_type| Arc::new(Field::new(format_state_name(args.name, name), data_type, true));
        Ok(vec![
            field("sum", Sum::new(args.return_type()).data_type()),
            field("count", DataType::Int64),
        ])
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// A sum that cannot overflow: 128 bits for integers and decimals.
#[derive(Debug, Clone, Copy)]
enum Sum {
    Exact(i128),
    Floating(f64),
}

impl Sum {
    fn new(result: &DataType) -> Sum {
        match result {
            DataType::Float64 => Sum::Floating(0.0),
            _ => Sum::Exact(0),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Sum::Exact(_) => DataType::Decimal128(38, 0),
            Sum::Floating(_) => DataType::Float64,
        }
    }
}

#[derive(Debug)]
struct AverageAccumulator {
    sum: Sum,
    count: i64,
    /// Values seen, where DISTINCT was said.
    distinct: Option<HashSet<ScalarValue>>,
    result: DataType,
    /// Digits behind the point of the values summed.
    scale: i8,
}

impl AverageAccumulator {
    fn fold(&mut self, values: &ArrayRef, sign: i64) -> Result<()> {
        let valid = (values.len() - values.null_count()) as i64;
        match &mut self.sum {
            Sum::Floating(sum) => {
                let total: f64 = values.as_primitive::<Float64Type>().iter().flatten().sum();
                *sum += total * sign as f64;
            }
            Sum::Exact(sum) => {
                let total: i128 = match values.data_type() {
                    DataType::Decimal128(..) => {
                        values.as_primitive::<Decimal128Type>().iter().flatten().sum()
                    }
                    _ => {
                        let wide = cast(values, &DataType::Int64)?;
                        wide.as_primitive::<Int64Type>()
                            .iter()
                            .flatten()
                            .map(i128::from)
                            .sum()
                    }
                };
                *sum += total * i128::from(sign);
            }
        }
        self.count += sign * valid;
        Ok(())
    }
}

impl Accumulator for AverageAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(seen) = &mut self.distinct else {
            return self.fold(&values[0], 1);
        };
        let mut fresh = Vec::new();
        for row in 0..values[0].len() {
            let value = ScalarValue::try_from_array(&values[0], row)?;
            if !value.is_null() && seen.insert(value.clone()) {
                fresh.push(value);
            }
        }
        match fresh.is_empty() {
            true => Ok(()),
            false => self.fold(&ScalarValue::iter_to_array(fresh)?, 1),
        }
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match self.distinct {
            Some(_) => exec_err!("AVG(DISTINCT) cannot take rows back"),
            None => self.fold(&values[0], -1),
        }
    }

    fn supports_retract_batch(&self) -> bool {
        self.distinct.is_none()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        if self.distinct.is_some() {
            return exec_err!("AVG(DISTINCT) cannot be merged from partial sums");
        }
        match &mut self.sum {
            Sum::Floating(sum) => {
                *sum += states[0]
                    .as_primitive::<Float64Type>()
                    .iter()
                    .flatten()
                    .sum::<f64>()
            }
            Sum::Exact(sum) => {
                *sum += states[0]
                    .as_primitive::<Decimal128Type>()
                    .iter()
                    .flatten()
                    .sum::<i128>()
            }
        }
        self.count += states[1]
            .as_primitive::<Int64Type>()
            .iter()
            .flatten()
            .sum::<i64>();
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = match self.sum {
            Sum::Exact(sum) => ScalarValue::Decimal128(Some(sum), 38, 0),
            Sum::Floating(sum) => ScalarValue::Float64(Some(sum)),
        };
        Ok(vec![sum, ScalarValue::Int64(Some(self.count))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&self.result);
        }
        match (self.sum, &self.result) {
            (Sum::Floating(sum), _) => Ok(ScalarValue::Float64(Some(sum / self.count as f64))),
            (Sum::Exact(sum), DataType::Decimal128(precision, scale)) => {
                let widened = 10_i128
                    .checked_pow((*scale - self.scale) as u32)
                    .and_then(|by| sum.checked_mul(by));
                // Beyond 38 digits there is no DECIMAL: NULL, as Flink answers.
                let mean = widened.map(|sum| sum / i128::from(self.count));
                Ok(ScalarValue::Decimal128(mean, *precision, *scale))
            }
            (Sum::Exact(sum), integer) => {
                let mean = i64::try_from(sum / i128::from(self.count));
                ScalarValue::Int64(Some(mean.expect("invariant: a mean lies between its values")))
                    .cast_to(integer)
            }
        }
    }

    fn size(&self) -> usize {
        let seen = self
            .distinct
            .as_ref()
            .map_or(0, |seen| seen.iter().map(ScalarValue::size).sum());
        size_of_val(self) + seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Float64Array, Int32Array};

    fn accumulator(values: &ArrayRef, distinct: bool) -> AverageAccumulator {
        let result = Average {
            signature: Signature::user_defined(Volatility::Immutable),
        }
        .return_type(&[values.data_type().clone()])
        .unwrap();
        let scale = match values.data_type() {
            DataType::Decimal128(_, scale) => *scale,
            _ => 0,
        };
        AverageAccumulator {
            sum: Sum::new(&result),
            count: 0,
            distinct: distinct.then(HashSet::new),
            result,
            scale,
        }
    }

    fn check(values: ArrayRef, distinct: bool, expected: ScalarValue) {
        let mut whole = accumulator(&values, distinct);
        whole.update_batch(std::slice::from_ref(&values)).unwrap();
        assert_eq!(whole.evaluate().unwrap(), expected);
    }

    #[test]
    fn integers_are_truncated_toward_zero_and_keep_their_type() {
        check(
            Arc::new(Int32Array::from(vec![Some(1), None, Some(2)])),
            false,
            ScalarValue::Int32(Some(1)),
        );
        check(
            Arc::new(Int32Array::from(vec![-1, -2])),
            false,
            ScalarValue::Int32(Some(-1)),
        );
        check(
            Arc::new(Int32Array::from(vec![i32::MAX, i32::MAX])),
            false,
            ScalarValue::Int32(Some(i32::MAX)),
        );
        check(
            Arc::new(Int32Array::from(vec![None::<i32>])),
            false,
            ScalarValue::Int32(None),
        );
        check(
            Arc::new(Int32Array::from(vec![4, 4, 4, 1])),
            true,
            ScalarValue::Int32(Some(2)),
        );
    }

    #[test]
    fn decimals_gain_six_digits_and_floats_stay() {
        let cents = Decimal128Array::from(vec![100, 101])
            .with_precision_and_scale(10, 2)
            .unwrap();
        check(
            Arc::new(cents),
            false,
            ScalarValue::Decimal128(Some(1_005_000), 38, 6),
        );
        check(
            Arc::new(Float64Array::from(vec![1.0, 2.0])),
            false,
            ScalarValue::Float64(Some(1.5)),
        );
    }

    #[test]
    fn rows_are_taken_back_and_partial_sums_merged() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 30]));
        let mut sliding = accumulator(&values, false);
        sliding.update_batch(std::slice::from_ref(&values)).unwrap();
        sliding.retract_batch(&[values.slice(2, 1)]).unwrap();
        assert_eq!(sliding.evaluate().unwrap(), ScalarValue::Int32(Some(1)));
        let mut merged = accumulator(&values, false);
        for _ in 0..2 {
            let state = sliding.state().unwrap();
            let state: Vec<ArrayRef> = state.iter().map(|value| value.to_array().unwrap()).collect();
            merged.merge_batch(&state).unwrap();
        }
        assert_eq!(merged.count, 4);
        assert_eq!(merged.evaluate().unwrap(), ScalarValue::Int32(Some(1)));
    }
}
