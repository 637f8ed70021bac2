//! Columns in and out of frames: argument values, and results of the declared types.
//!
//! Rules of Flink, as `state::accumulators` has them: COUNT is 0, every other aggregate NULL, over no
//! value; AVG of integers truncates toward zero, of decimals rounds half up; a sum that does not fit its
//! type is an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, Float64Array, Int64Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};

use crate::error::ExecutionError;
use crate::operators::over_aggregate::calls::{Aggregate, Reading};
use crate::operators::over_aggregate::combine::{CompensatedSum, Extreme, FloatSum, Presence, Text, WideSum};
use crate::operators::over_aggregate::frames::Answers;
use crate::operators::over_aggregate::over_error;
use crate::state::accumulators::evaluate::{decimals, divide_half_up, failure, rescale};
use crate::state::accumulators::inputs::{float_values, ordered_values, unordered_word, wide_values};
use crate::state::accumulators::layout::decimal_scale;
use crate::state::accumulators::side::bytes_at;
use crate::state::key_columns::{bytes_column, word_column};

/// A COUNT.
pub(super) fn count(counts: &[i64], output: &FieldRef) -> Result<ArrayRef, ExecutionError> {
    as_declared(Arc::new(Int64Array::from(counts.to_vec())), output)
}

/// NULL where no row counts; `None` where that is nowhere.
fn met(counts: &[i64]) -> Option<NullBuffer> {
    counts
        .contains(&0)
        .then(|| counts.iter().map(|&count| count > 0).collect::<Vec<_>>().into())
}

fn as_declared(column: ArrayRef, output: &FieldRef) -> Result<ArrayRef, ExecutionError> {
    if column.data_type() == output.data_type() {
        return Ok(column);
    }
    cast(&column, output.data_type()).map_err(over_error)
}

fn argument(column: Option<&ArrayRef>) -> &ArrayRef {
    column.expect("invariant: every aggregate but COUNT has an argument")
}

fn float_result(
    reading: Reading,
    sums: impl Iterator<Item = f64>,
    counts: &[i64],
    output: &FieldRef,
) -> Result<ArrayRef, ExecutionError> {
    let values: Vec<f64> = match reading {
        // Over no value the result is NULL, whatever it is divided by.
        Reading::Average => sums.zip(counts).map(|(sum, &count)| sum / count as f64).collect(),
        _ => sums.collect(),
    };
    as_declared(Arc::new(Float64Array::new(values.into(), met(counts))), output)
}

impl Aggregate for Presence {
    type Values = Vec<()>;

    fn values(_column: Option<&ArrayRef>, rows: usize) -> Vec<()> {
        vec![(); rows]
    }

    fn result(
        _reading: Reading,
        answers: &Answers<()>,
        _argument_type: &DataType,
        output: &FieldRef,
    ) -> Result<ArrayRef, ExecutionError> {
        count(&answers.counts, output)
    }
}

impl Aggregate for FloatSum {
    type Values = ScalarBuffer<f64>;

    fn values(column: Option<&ArrayRef>, _rows: usize) -> ScalarBuffer<f64> {
        float_values(argument(column))
    }

    fn result(
        reading: Reading,
        answers: &Answers<f64>,
        _argument_type: &DataType,
        output: &FieldRef,
    ) -> Result<ArrayRef, ExecutionError> {
        float_result(reading, answers.values.iter().copied(), &answers.counts, output)
    }
}

impl Aggregate for CompensatedSum {
    type Values = Vec<(f64, f64)>;

    fn values(column: Option<&ArrayRef>, _rows: usize) -> Vec<(f64, f64)> {
        float_values(argument(column))
            .iter()
            .map(|&value| (value, 0.0))
            .collect()
    }

    fn result(
        reading: Reading,
        answers: &Answers<(f64, f64)>,
        _argument_type: &DataType,
        output: &FieldRef,
    ) -> Result<ArrayRef, ExecutionError> {
        let sums = answers.values.iter().map(|(sum, lost)| sum + lost);
        float_result(reading, sums, &answers.counts, output)
    }
}

impl Aggregate for WideSum {
    type Values = ScalarBuffer<i128>;

    fn values(column: Option<&ArrayRef>, _rows: usize) -> ScalarBuffer<i128> {
        wide_values(argument(column))
    }

    fn result(
        reading: Reading,
        answers: &Answers<i128>,
        argument_type: &DataType,
        output: &FieldRef,
    ) -> Result<ArrayRef, ExecutionError> {
        let met = met(&answers.counts);
        let scale = decimal_scale(argument_type);
        let divisor = |count: i64| match reading {
            Reading::Average => i128::from(count.max(1)),
            _ => 1,
        };
        let sums = answers.values.iter().zip(&answers.counts);
        let sums = sums.map(|(&sum, &count)| (sum, divisor(count)));
        match output.data_type() {
            DataType::Decimal128(_, output_scale) => {
                let quotient = |(sum, divisor): (i128, i128)| {
                    rescale(sum, scale, *output_scale).map(|sum| divide_half_up(sum, divisor))
                };
                decimals(sums.map(quotient).collect(), met, output)
            }
            DataType::Float32 | DataType::Float64 => {
                let unit = 10f64.powi(i32::from(scale));
                let values: Vec<f64> = sums
                    .map(|(sum, divisor)| sum as f64 / unit / divisor as f64)
                    .collect();
                as_declared(Arc::new(Float64Array::new(values.into(), met)), output)
            }
            _ => {
                let values: Result<Vec<i64>, _> =
                    sums.map(|(sum, divisor)| i64::try_from(sum / divisor)).collect();
                let values = values.map_err(|_| {
                    failure(
                        output,
                        "the sum does not fit BIGINT; cast the argument to DECIMAL(38, 0) or DOUBLE",
                    )
                })?;
                as_declared(Arc::new(Int64Array::new(values.into(), met)), output)
            }
        }
    }
}

impl<const MAXIMUM: bool> Aggregate for Extreme<i64, MAXIMUM> {
    type Values = ScalarBuffer<i64>;

    fn values(column: Option<&ArrayRef>, _rows: usize) -> ScalarBuffer<i64> {
        ordered_values(argument(column))
    }

    fn result(
        _reading: Reading,
        answers: &Answers<i64>,
        argument_type: &DataType,
        output: &FieldRef,
    ) -> Result<ArrayRef, ExecutionError> {
        let words = answers
            .values
            .iter()
            .map(|&value| unordered_word(argument_type, value));
        as_declared(word_column(argument_type, words, met(&answers.counts)), output)
    }
}

impl<const MAXIMUM: bool> Aggregate for Extreme<i128, MAXIMUM> {
    type Values = ScalarBuffer<i128>;

    fn values(column: Option<&ArrayRef>, _rows: usize) -> ScalarBuffer<i128> {
        wide_values(argument(column))
    }

    fn result(
        _reading: Reading,
        answers: &Answers<i128>,
        argument_type: &DataType,
        output: &FieldRef,
    ) -> Result<ArrayRef, ExecutionError> {
        let array = Decimal128Array::new(answers.values.clone().into(), met(&answers.counts));
        as_declared(Arc::new(array.with_data_type(argument_type.clone())), output)
    }
}

impl<const MAXIMUM: bool> Aggregate for Extreme<Text, MAXIMUM> {
    type Values = Vec<Text>;

    fn values(column: Option<&ArrayRef>, _rows: usize) -> Vec<Text> {
        let column = argument(column);
        let text = |row: usize| column.is_valid(row).then(|| bytes_at(column, row).into());
        (0..column.len()).map(text).collect()
    }

    fn result(
        _reading: Reading,
        answers: &Answers<Text>,
        argument_type: &DataType,
        output: &FieldRef,
    ) -> Result<ArrayRef, ExecutionError> {
        let texts = answers.values.iter().map(Option::as_deref);
        as_declared(bytes_column(argument_type, texts), output)
    }
}
