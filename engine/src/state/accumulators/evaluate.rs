//! Results: what the calls give for a list of groups, as Arrow columns of their declared types.
//!
//! Rules of Flink: COUNT is 0, every other aggregate NULL, over no non-NULL row; AVG of integers
//! truncates toward zero; AVG of decimals rounds half up. A sum outside its type is an error.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, new_empty_array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::ScalarValue;

use crate::error::ExecutionError;
use crate::state::accumulators::inputs::unordered_word;
use crate::state::accumulators::layout::{Kind, Reading, decimal_scale};
use crate::state::accumulators::side::{OrderedValue, Side, create};
use crate::state::accumulators::state::GroupState;
use crate::state::accumulators::update::{float_sum, wide};
use crate::state::group_table::GroupIndex;
use crate::state::key_columns::{bytes_column, key_columns, word_column};

impl GroupState {
    /// The key columns of `groups`.
    pub fn keys(&self, groups: &[GroupIndex]) -> Vec<ArrayRef> {
        key_columns(&self.table, groups)
    }

    /// The rows that each of `groups` holds; the layout must count them.
    pub fn row_counts(&self, groups: &[GroupIndex]) -> Vec<i64> {
        let counter = self.layout.row_count.expect("invariant: the layout counts rows");
        let place = self.layout.primitives[counter].place;
        let counts = groups.iter().map(|&group| self.table.state(group)[place] as i64);
        counts.collect()
    }

    /// One column per call: its result for each of `groups`.
    pub fn evaluate(&mut self, groups: &[GroupIndex]) -> Result<Vec<ArrayRef>, ExecutionError> {
        let layout = Arc::clone(&self.layout);
        let mut columns = Vec::with_capacity(layout.calls.len());
        for (call, &reading) in layout.calls.iter().zip(&layout.readings) {
            let column = match reading {
                Reading::Other(primitive) => self.evaluate_others(primitive, &call.output, groups),
                other => self.evaluate_one(other, &call.output, groups),
            }?;
            let is_typed = column.data_type() == call.output.data_type();
            columns.push(if is_typed {
                column
            } else {
                cast(&column, call.output.data_type()).map_err(|error| failure(&call.output, error))?
            });
        }
        Ok(columns)
    }

    fn evaluate_one(
        &self,
        reading: Reading,
        output: &FieldRef,
        groups: &[GroupIndex],
    ) -> Result<ArrayRef, ExecutionError> {
        match reading {
            Reading::Count(count) => {
                let counts: Vec<i64> = self.words(count, groups).map(|word| word as i64).collect();
                Ok(Arc::new(Int64Array::from(counts)))
            }
            Reading::Sum { sum, count } => self.evaluate_sum(sum, self.met(count, groups), output, groups),
            Reading::Average { sum, count } => self.evaluate_average(sum, count, output, groups),
            Reading::Extreme { value, count } => Ok(self.evaluate_extreme(value, count, output, groups)),
            Reading::End { multiset, is_max } => Ok(self.evaluate_end(multiset, is_max, output, groups)),
            Reading::Other(_) => unreachable!("invariant: evaluated by evaluate_others"),
        }
    }

    /// The first word of a primitive.
    fn words<'a>(&'a self, primitive: usize, groups: &'a [GroupIndex]) -> impl Iterator<Item = u64> + 'a {
        let place = self.layout.primitives[primitive].place;
        groups.iter().map(move |&group| self.table.state(group)[place])
    }

    fn pairs<'a>(
        &'a self,
        primitive: usize,
        groups: &'a [GroupIndex],
    ) -> impl Iterator<Item = [u64; 2]> + 'a {
        let place = self.layout.primitives[primitive].place;
        groups.iter().map(move |&group| {
            let words = self.table.state(group);
            [words[place], words[place + 1]]
        })
    }

    /// Which groups met a value; `None` if all did.
    fn met(&self, count: usize, groups: &[GroupIndex]) -> Option<NullBuffer> {
        let met: NullBuffer = self
            .words(count, groups)
            .map(|count| count as i64 > 0)
            .collect::<Vec<_>>()
            .into();
        Some(met).filter(|met| met.null_count() > 0)
    }

    fn evaluate_sum(
        &self,
        sum: usize,
        met: Option<NullBuffer>,
        output: &FieldRef,
        groups: &[GroupIndex],
    ) -> Result<ArrayRef, ExecutionError> {
        if self.layout.primitives[sum].kind == Kind::SumFloat {
            let values: Vec<f64> = self.pairs(sum, groups).map(float_sum).collect();
            return Ok(Arc::new(Float64Array::new(values.into(), met)));
        }
        let sums = self.pairs(sum, groups).map(wide);
        if let DataType::Decimal128(_, scale) = output.data_type() {
            let from = decimal_scale(&self.layout.primitives[sum].argument_type);
            let sums: Option<Vec<i128>> = sums.map(|sum| rescale(sum, from, *scale)).collect();
            return decimals(sums, met, output);
        }
        let sums: Result<Vec<i64>, _> = sums.map(i64::try_from).collect();
        let sums = sums.map_err(|_| {
            failure(
                output,
                "the sum does not fit BIGINT; cast the argument to DECIMAL(38, 0) or DOUBLE",
            )
        })?;
        Ok(Arc::new(Int64Array::new(sums.into(), met)))
    }

    fn evaluate_average(
        &self,
        sum: usize,
        count: usize,
        output: &FieldRef,
        groups: &[GroupIndex],
    ) -> Result<ArrayRef, ExecutionError> {
        let met = self.met(count, groups);
        let counts = self.words(count, groups).map(|count| count as i64);
        // A group without values divides by 1: its result is NULL anyway.
        let counts = counts.map(|count| count.max(1));
        let primitive = &self.layout.primitives[sum];
        let scale = decimal_scale(&primitive.argument_type);
        if primitive.kind == Kind::SumFloat {
            let sums = self.pairs(sum, groups).map(float_sum);
            let values: Vec<f64> = sums.zip(counts).map(|(sum, count)| sum / count as f64).collect();
            return Ok(Arc::new(Float64Array::new(values.into(), met)));
        }
        let sums = self.pairs(sum, groups).map(wide).zip(counts);
        match output.data_type() {
            DataType::Decimal128(_, output_scale) => {
                let quotient = |(sum, count): (i128, i64)| {
                    rescale(sum, scale, *output_scale).map(|sum| divide_half_up(sum, i128::from(count)))
                };
                decimals(sums.map(quotient).collect(), met, output)
            }
            DataType::Float32 | DataType::Float64 => {
                let unit = 10f64.powi(i32::from(scale));
                let values: Vec<f64> = sums
                    .map(|(sum, count)| sum as f64 / unit / count as f64)
                    .collect();
                Ok(Arc::new(Float64Array::new(values.into(), met)))
            }
            _ => {
                // An average lies between its values, so it fits their type.
                let values: Vec<i64> = sums
                    .map(|(sum, count)| (sum / i128::from(count)) as i64)
                    .collect();
                Ok(Arc::new(Int64Array::new(values.into(), met)))
            }
        }
    }

    fn evaluate_extreme(
        &self,
        value: usize,
        count: usize,
        output: &FieldRef,
        groups: &[GroupIndex],
    ) -> ArrayRef {
        let primitive = &self.layout.primitives[value];
        match &primitive.kind {
            Kind::MinBytes | Kind::MaxBytes => {
                let Side::Bytes(entries) = &self.sides[primitive.place] else {
                    unreachable!("invariant: the layout gave this place to texts")
                };
                let values = groups.iter().map(|&group| entries[group as usize].as_deref());
                bytes_column(output.data_type(), values)
            }
            Kind::MinDecimal | Kind::MaxDecimal => {
                let values: Vec<i128> = self.pairs(value, groups).map(wide).collect();
                let array = Decimal128Array::new(values.into(), self.met(count, groups));
                Arc::new(array.with_data_type(output.data_type().clone()))
            }
            _ => {
                let data_type = output.data_type();
                let words = self.words(value, groups);
                let words = words.map(|word| unordered_word(data_type, word as i64));
                word_column(data_type, words, self.met(count, groups))
            }
        }
    }

    fn evaluate_end(
        &self,
        multiset: usize,
        is_max: bool,
        output: &FieldRef,
        groups: &[GroupIndex],
    ) -> ArrayRef {
        let Side::Multisets(entries) = &self.sides[self.layout.primitives[multiset].place] else {
            unreachable!("invariant: the layout gave this place to multisets")
        };
        let ends: Vec<Option<&OrderedValue>> = groups
            .iter()
            .map(|&group| {
                let values = &entries[group as usize];
                let end = if is_max {
                    values.last_key_value()
                } else {
                    values.first_key_value()
                };
                end.map(|(value, _)| value)
            })
            .collect();
        let data_type = output.data_type();
        match data_type {
            DataType::Utf8 | DataType::Binary => bytes_column(
                data_type,
                ends.into_iter().map(|end| match end {
                    Some(OrderedValue::Bytes(bytes)) => Some(&**bytes),
                    _ => None,
                }),
            ),
            DataType::Decimal128(_, _) => {
                let values: Decimal128Array = ends
                    .into_iter()
                    .map(|end| match end {
                        Some(OrderedValue::Wide(value)) => Some(*value),
                        _ => None,
                    })
                    .collect();
                Arc::new(values.with_data_type(data_type.clone()))
            }
            _ => {
                let nulls: NullBuffer = ends.iter().map(Option::is_some).collect::<Vec<_>>().into();
                let words = ends.into_iter().map(|end| match end {
                    Some(OrderedValue::Word(value)) => unordered_word(data_type, *value),
                    _ => 0,
                });
                word_column(
                    data_type,
                    words,
                    Some(nulls).filter(|nulls| nulls.null_count() > 0),
                )
            }
        }
    }

    fn evaluate_others(
        &mut self,
        primitive: usize,
        output: &FieldRef,
        groups: &[GroupIndex],
    ) -> Result<ArrayRef, ExecutionError> {
        if groups.is_empty() {
            return Ok(new_empty_array(output.data_type()));
        }
        let place = self.layout.primitives[primitive].place;
        let (function, retracts, entries) = self.sides[place].others();
        let mut values = Vec::with_capacity(groups.len());
        for &group in groups {
            let value = match &mut entries[group as usize].accumulator {
                Some(accumulator) => accumulator.evaluate(),
                None => create(function, retracts).and_then(|mut accumulator| accumulator.evaluate()),
            };
            values.push(value.map_err(|error| failure(output, error))?);
        }
        if values.iter().all(ScalarValue::is_null) {
            return Ok(new_null_array(output.data_type(), groups.len()));
        }
        ScalarValue::iter_to_array(values).map_err(|error| failure(output, error))
    }
}

/// An error in an aggregate's result column.
pub(crate) fn failure(output: &FieldRef, what: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("Aggregate", format!("column {}: {what}", output.name()))
}

/// Moves a decimal from scale `from` to `to`; `None` if it overflows. Dropped digits round half up.
pub(crate) fn rescale(value: i128, from: i8, to: i8) -> Option<i128> {
    let power = 10i128.checked_pow(u32::from(from.abs_diff(to)))?;
    if to >= from {
        value.checked_mul(power)
    } else {
        Some(divide_half_up(value, power))
    }
}

/// Division rounding half away from zero.
pub(crate) fn divide_half_up(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value / divisor, value % divisor);
    let rounds = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
    quotient + if rounds { value.signum() } else { 0 }
}

/// Decimals of the output's type; an error if one has more digits than it allows.
pub(crate) fn decimals(
    values: Option<Vec<i128>>,
    met: Option<NullBuffer>,
    output: &FieldRef,
) -> Result<ArrayRef, ExecutionError> {
    let DataType::Decimal128(precision, _) = *output.data_type() else {
        unreachable!("invariant: only called for decimals")
    };
    let limit = 10i128.pow(u32::from(precision).min(38));
    let fits = |value: &i128| value.unsigned_abs() < limit.unsigned_abs();
    let values = values.filter(|values| values.iter().all(fits)).ok_or_else(|| {
        failure(
            output,
            format!(
                "a result does not fit {}; cast the argument to DOUBLE",
                output.data_type()
            ),
        )
    })?;
    let array = Decimal128Array::new(values.into(), met);
    Ok(Arc::new(array.with_data_type(output.data_type().clone())))
}
