//! `PERCENTILE(x, p [, frequency])`: the exact percentile, between two values where `p` falls between them; of an
//! ARRAY of `p`s an ARRAY of answers.
//!
//! **Invariant.** All values are kept, each once with how often it came, so that any can be taken back; NULLs and
//! values that came no times do not count.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// `PERCENTILE(x, p [, frequency])`.
pub(crate) fn percentile() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Percentile {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    signature: Signature,
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_))
}

fn list_of(data_type: DataType) -> DataType {
    DataType::new_list(data_type, true)
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        "percentile"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |data_type: &DataType| data_type.is_numeric() || *data_type == DataType::Null;
        let share = |share: &DataType| match share {
            share if is_number(share) => Some(DataType::Float64),
            DataType::List(item) if is_number(item.data_type()) => Some(list_of(DataType::Float64)),
            _ => None,
        };
        match arguments {
            [value, percentage] | [value, percentage, _] if is_number(value) => {
                let frequency = arguments.get(2);
                match (share(percentage), frequency) {
                    (Some(share), None) => Ok(vec![DataType::Float64, share]),
                    (Some(share), Some(frequency)) if frequency.is_integer() => {
                        Ok(vec![DataType::Float64, share, DataType::Int64])
                    }
                    _ => plan_err!(
                        "PERCENTILE needs a share from 0 to 1 (or an ARRAY of them), and whole frequencies"
                    ),
                }
            }
            _ => plan_err!("PERCENTILE needs a number and a share from 0 to 1: PERCENTILE(price, 0.95)"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match is_list(&arguments[1]) {
            true => list_of(DataType::Float64),
            false => DataType::Float64,
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Values {
            counts: BTreeMap::new(),
            shares: Vec::new(),
            many: is_list(args.return_field.data_type()),
        }))
    }

    fn state_fields(&self, _: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |name: &str, item: DataType| Arc::new(Field::new(name, list_of(item), true));
        Ok(vec![
            list("values", DataType::Float64),
            list("counts", DataType::Int64),
            list("shares", DataType::Float64),
        ])
    }
}

/// A number that sorts as `f64::total_cmp` does.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number(f64);

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[derive(Debug)]
struct Values {
    counts: BTreeMap<Number, i64>,
    shares: Vec<f64>,
    /// Whether an ARRAY is answered.
    many: bool,
}

impl Values {
    fn add(&mut self, arguments: &[ArrayRef], sign: i64) -> Result<()> {
        let values = arguments[0].as_primitive::<Float64Type>();
        if self.shares.is_empty() && !values.is_empty() {
            self.shares = shares_of(&arguments[1])?;
        }
        let frequencies = arguments.get(2).map(|column| column.as_primitive::<Int64Type>());
        for row in 0..values.len() {
            let frequency = match frequencies {
                None => 1,
                Some(column) if column.is_null(row) => 0,
                Some(column) => column.value(row),
            };
            if frequency < 0 {
                return exec_err!("a frequency of PERCENTILE is {frequency}, and cannot be negative");
            }
            if values.is_valid(row) && frequency > 0 {
                self.count(values.value(row), sign * frequency);
            }
        }
        Ok(())
    }

    fn count(&mut self, value: f64, change: i64) {
        let key = Number(value);
        let count = self.counts.entry(key).or_insert(0);
        *count += change;
        if *count == 0 {
            self.counts.remove(&key);
        }
    }

    /// The value at `share` of the way through all of them.
    fn at(&self, share: f64) -> Option<f64> {
        let total: i64 = self.counts.values().sum();
        if total <= 0 {
            return None;
        }
        let place = share * (total - 1) as f64;
        let (below, above) = (self.nth(place.floor() as i64)?, self.nth(place.ceil() as i64)?);
        let part = place - place.floor();
        Some(match part == 0.0 || below == above {
            true => below,
            false => below + (above - below) * part,
        })
    }

    fn nth(&self, place: i64) -> Option<f64> {
        let mut passed = 0;
        for (value, count) in &self.counts {
            passed += count;
            if passed > place {
                return Some(value.0);
            }
        }
        None
    }
}

/// The shares asked for: the same in every row.
fn shares_of(column: &ArrayRef) -> Result<Vec<f64>> {
    let numbers = match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().value(0),
        _ => column.slice(0, 1),
    };
    let shares: Option<Vec<f64>> = numbers.as_primitive::<Float64Type>().iter().collect();
    match shares.filter(|shares| shares.iter().all(|share| (0.0..=1.0).contains(share))) {
        Some(shares) if !shares.is_empty() => Ok(shares),
        _ => exec_err!("PERCENTILE asks for a share from 0 to 1"),
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        self.add(arguments, 1)
    }

    fn retract_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        self.add(arguments, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answers = self
            .shares
            .iter()
            .map(|&share| ScalarValue::Float64(self.at(share)));
        let answers: Vec<ScalarValue> = answers.collect();
        Ok(match (self.many, answers.as_slice()) {
            (true, []) => ScalarValue::try_from(&list_of(DataType::Float64))?,
            (true, _) if self.counts.is_empty() => ScalarValue::try_from(&list_of(DataType::Float64))?,
            (true, answers) => ScalarValue::List(ScalarValue::new_list_nullable(answers, &DataType::Float64)),
            (false, answers) => answers.first().cloned().unwrap_or(ScalarValue::Float64(None)),
        })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.len() * 2 * size_of::<(f64, i64)>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self
            .counts
            .keys()
            .map(|value| ScalarValue::from(value.0))
            .collect();
        let counts: Vec<ScalarValue> = self
            .counts
            .values()
            .map(|&count| ScalarValue::from(count))
            .collect();
        let shares: Vec<ScalarValue> = self
            .shares
            .iter()
            .map(|&share| ScalarValue::from(share))
            .collect();
        let list = |items: &[ScalarValue], data_type| {
            ScalarValue::List(ScalarValue::new_list_nullable(items, &data_type))
        };
        Ok(vec![
            list(&values, DataType::Float64),
            list(&counts, DataType::Int64),
            list(&shares, DataType::Float64),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, counts, shares] = [0, 1, 2].map(|index| states[index].as_list::<i32>());
        for row in 0..values.len() {
            if values.is_null(row) {
                continue;
            }
            let (values, counts, shares) = (values.value(row), counts.value(row), shares.value(row));
            if self.shares.is_empty() {
                self.shares = shares.as_primitive::<Float64Type>().values().to_vec();
            }
            let pairs = values.as_primitive::<Float64Type>().values().iter();
            for (&value, &count) in pairs.zip(counts.as_primitive::<Int64Type>().values()) {
                self.count(value, count);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array};

    fn values() -> Values {
        Values {
            counts: BTreeMap::new(),
            shares: Vec::new(),
            many: false,
        }
    }

    fn arguments(values: &[Option<f64>], share: f64, frequencies: &[i64]) -> Vec<ArrayRef> {
        vec![
            Arc::new(Float64Array::from(values.to_vec())),
            Arc::new(Float64Array::from(vec![share; values.len()])),
            Arc::new(Int64Array::from(frequencies.to_vec())),
        ]
    }

    #[test]
    fn values_can_be_taken_back_and_weigh_what_they_say() {
        let mut found = values();
        assert_eq!(found.evaluate().unwrap(), ScalarValue::Float64(None));
        let rows = arguments(&[Some(1.0), None, Some(2.0), Some(10.0)], 0.75, &[1, 5, 0, 1]);
        found.update_batch(&rows).unwrap();
        assert_eq!(found.evaluate().unwrap(), ScalarValue::from(7.75));
        found.update_batch(&arguments(&[Some(2.0)], 0.75, &[3])).unwrap();
        assert_eq!(found.evaluate().unwrap(), ScalarValue::from(2.0));
        found.retract_batch(&rows).unwrap();
        assert_eq!(found.evaluate().unwrap(), ScalarValue::from(2.0));
        found.retract_batch(&arguments(&[Some(2.0)], 0.75, &[3])).unwrap();
        assert_eq!(found.evaluate().unwrap(), ScalarValue::Float64(None));
    }

    #[test]
    fn states_are_merged() {
        let mut first = values();
        first
            .update_batch(&arguments(&[Some(4.0), Some(1.0)], 0.5, &[1, 2]))
            .unwrap();
        let state = first.state().unwrap();
        let state: Vec<ArrayRef> = state.iter().map(|part| part.to_array().unwrap()).collect();
        let mut second = values();
        second.update_batch(&arguments(&[Some(4.0)], 0.5, &[3])).unwrap();
        second.merge_batch(&state).unwrap();
        assert_eq!(second.evaluate().unwrap(), ScalarValue::from(4.0));
        assert_eq!(second.counts.values().sum::<i64>(), 6);
    }

    #[test]
    fn shares_and_frequencies_are_checked() {
        for (share, frequency) in [(1.5, 1), (-0.1, 1), (0.5, -1)] {
            assert!(
                values()
                    .update_batch(&arguments(&[Some(1.0)], share, &[frequency]))
                    .is_err()
            );
        }
    }
}
