//! Aggregates of position: FIRST_VALUE and LAST_VALUE by arrival, which pass over NULLs as Flink's do, and
//! LAG, which OVER reads as an aggregate of all rows before.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility};

/// `FIRST_VALUE(x)`.
pub(crate) fn first_value() -> Arc<AggregateUDF> {
    End::function("first_value", false)
}

/// `LAST_VALUE(x)`.
pub(crate) fn last_value() -> Arc<AggregateUDF> {
    End::function("last_value", true)
}

/// `LAG(x [, offset [, default]])`; `IGNORE NULLS` counts rows with a value alone.
pub(crate) fn lag(ignores_nulls: bool) -> Arc<AggregateUDF> {
    let signature = TypeSignature::OneOf((1..=3).map(TypeSignature::Any).collect());
    Arc::new(AggregateUDF::new_from_impl(Lag {
        ignores_nulls,
        signature: Signature::new(signature, Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct End {
    name: &'static str,
    is_last: bool,
    signature: Signature,
}

impl End {
    fn function(name: &'static str, is_last: bool) -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::new_from_impl(End {
            name,
            is_last,
            signature: Signature::any(1, Volatility::Immutable),
        }))
    }

    fn values(&self, args: &AccumulatorArgs, retracts: bool) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type();
        Ok(Box::new(Values {
            is_last: self.is_last,
            retracts,
            nothing: ScalarValue::try_from(data_type)?,
            values: VecDeque::new(),
        }))
    }
}

impl AggregateUDFImpl for End {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.values(&args, false)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.values(&args, true)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![list_of("values", args.return_field.data_type())])
    }
}

/// A list of values of that type: what a snapshot keeps of an accumulator.
fn list_of(name: &str, data_type: &DataType) -> FieldRef {
    let item = Field::new_list_field(data_type.clone(), true);
    Arc::new(Field::new_list(name, item, true))
}

/// The lists of a state, one by one.
fn lists(state: &ArrayRef) -> impl Iterator<Item = ArrayRef> + '_ {
    state.as_list::<i32>().iter().flatten()
}

/// The values that may still be the first (or last) one.
#[derive(Debug)]
struct Values {
    is_last: bool,
    /// Values may be taken back: all are kept, in order of arrival.
    retracts: bool,
    nothing: ScalarValue,
    values: VecDeque<ScalarValue>,
}

impl Accumulator for Values {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let column = &arguments[0];
        let nulls = column.logical_nulls();
        let is_valid = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        let mut rows = (0..column.len()).filter(is_valid);
        if self.retracts {
            for row in rows {
                self.values.push_back(ScalarValue::try_from_array(column, row)?);
            }
        } else if self.is_last {
            if let Some(row) = rows.next_back() {
                self.values = VecDeque::from([ScalarValue::try_from_array(column, row)?]);
            }
        } else if self.values.is_empty()
            && let Some(row) = rows.next()
        {
            self.values.push_back(ScalarValue::try_from_array(column, row)?);
        }
        Ok(())
    }

    fn retract_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        for row in 0..arguments[0].len() {
            let value = ScalarValue::try_from_array(&arguments[0], row)?;
            if let Some(place) = self.values.iter().position(|known| *known == value) {
                self.values.remove(place);
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.retracts
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let end = match self.is_last {
            true => self.values.back(),
            false => self.values.front(),
        };
        Ok(end.unwrap_or(&self.nothing).clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.iter().map(ScalarValue::size).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.values.make_contiguous();
        let list = ScalarValue::new_list_nullable(values, &self.nothing.data_type());
        Ok(vec![ScalarValue::List(list)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        lists(&states[0]).try_for_each(|values| self.update_batch(&[values]))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Lag {
    ignores_nulls: bool,
    signature: Signature,
}

impl AggregateUDFImpl for Lag {
    fn name(&self) -> &str {
        match self.ignores_nulls {
            true => "lag_of_values",
            false => "lag",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Before {
            nothing: ScalarValue::try_from(args.return_field.data_type())?,
            rows: VecDeque::new(),
            distance: 1,
            ignores_nulls: self.ignores_nulls,
            current_counts: true,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let data_type = args.return_field.data_type();
        Ok(vec![
            list_of("rows", data_type),
            Arc::new(Field::new("distance", DataType::Int64, true)),
            Arc::new(Field::new("nothing", data_type.clone(), true)),
        ])
    }
}

/// The last few values; the front one is as far back as LAG asks for.
#[derive(Debug)]
struct Before {
    nothing: ScalarValue,
    rows: VecDeque<ScalarValue>,
    distance: usize,
    /// Whether rows without a value are passed over.
    ignores_nulls: bool,
    /// Whether the current row is the last of `rows`.
    current_counts: bool,
}

impl Accumulator for Before {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        for row in 0..arguments[0].len() {
            if let Some(distance) = arguments.get(1)
                && let ScalarValue::Int64(Some(distance)) =
                    ScalarValue::try_from_array(distance, row)?.cast_to(&DataType::Int64)?
            {
                self.distance = usize::try_from(distance).unwrap_or(0);
            }
            if let Some(default) = arguments.get(2) {
                let default = ScalarValue::try_from_array(default, row)?;
                self.nothing = default.cast_to(&self.nothing.data_type())?;
            }
            let value = ScalarValue::try_from_array(&arguments[0], row)?;
            self.current_counts = !self.ignores_nulls || !value.is_null();
            if self.current_counts {
                self.rows.push_back(value);
            }
            while self.rows.len() > self.distance + 1 {
                self.rows.pop_front();
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // A row that does not count is none of those that are counted back from it.
        let back = self.distance + usize::from(self.current_counts);
        let found = self
            .rows
            .len()
            .checked_sub(back)
            .and_then(|place| self.rows.get(place));
        Ok(found.unwrap_or(&self.nothing).clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.iter().map(ScalarValue::size).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let rows = self.rows.make_contiguous();
        let list = ScalarValue::new_list_nullable(rows, &self.nothing.data_type());
        let distance = i64::try_from(self.distance).unwrap_or(i64::MAX);
        Ok(vec![
            ScalarValue::List(list),
            ScalarValue::Int64(Some(distance)),
            self.nothing.clone(),
        ])
    }

    /// Takes a state back; rows of several cannot be put in order.
    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (row, rows) in lists(&states[0]).enumerate() {
            let distance = ScalarValue::try_from_array(&states[1], row)?;
            if let ScalarValue::Int64(Some(distance)) = distance {
                self.distance = usize::try_from(distance).unwrap_or(0);
            }
            self.nothing = ScalarValue::try_from_array(&states[2], row)?;
            self.update_batch(&[rows])?;
        }
        Ok(())
    }
}
