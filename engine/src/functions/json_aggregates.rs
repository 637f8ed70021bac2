//! `JSON_OBJECTAGG` and `JSON_ARRAYAGG`, read by `sql::constructors`: one function for each clause `NULL ON NULL` and
//! `ABSENT ON NULL`, over texts that are JSON already.
//!
//! **Invariant.** The answer is JSON: of no values at all the empty object or array. Values come in the order in
//! which they arrived; of a key that came twice the newest value counts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// The aggregates of this family.
pub(crate) fn functions() -> [Arc<AggregateUDF>; 4] {
    let function = |name: &'static str, is_object: bool, keeps_null: bool| {
        Arc::new(AggregateUDF::new_from_impl(JsonAggregate {
            name,
            is_object,
            keeps_null,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    };
    [
        function("json_objectagg_null", true, true),
        function("json_objectagg_absent", true, false),
        function("json_arrayagg_null", false, true),
        function("json_arrayagg_absent", false, false),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonAggregate {
    name: &'static str,
    is_object: bool,
    keeps_null: bool,
    signature: Signature,
}

impl AggregateUDFImpl for JsonAggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = if self.is_object { 2 } else { 1 };
        match arguments.len() == wanted {
            true => Ok(vec![DataType::Utf8; wanted]),
            false => plan_err!("JSON_OBJECTAGG needs KEY … VALUE …, and JSON_ARRAYAGG one value"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Parts {
            is_object: self.is_object,
            keeps_null: self.keeps_null,
            parts: Vec::new(),
            bytes: 0,
        }))
    }

    fn state_fields(&self, _: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |name: &str| Arc::new(Field::new(name, DataType::new_list(DataType::Utf8, true), true));
        Ok(vec![list("keys"), list("values")])
    }
}

/// The keys (empty in an array) and values so far, as JSON.
#[derive(Debug)]
struct Parts {
    is_object: bool,
    keeps_null: bool,
    parts: Vec<(String, String)>,
    bytes: usize,
}

impl Parts {
    fn add(&mut self, key: Option<&str>, value: Option<&str>) {
        if (self.is_object && key.is_none()) || (value.is_none() && !self.keeps_null) {
            return;
        }
        let part = (
            key.unwrap_or_default().to_string(),
            value.unwrap_or("null").to_string(),
        );
        self.bytes += part.0.len() + part.1.len();
        self.parts.push(part);
    }

    /// The parts that count: of a key its newest value, where it first came.
    fn counted(&self) -> Vec<(&str, &str)> {
        let mut counted: Vec<(&str, &str)> = Vec::with_capacity(self.parts.len());
        let mut places = std::collections::BTreeMap::new();
        for (key, value) in &self.parts {
            if !self.is_object {
                counted.push(("", value));
                continue;
            }
            let place = *places.entry(key.as_str()).or_insert(counted.len());
            match counted.get_mut(place) {
                Some(known) => known.1 = value,
                None => counted.push((key, value)),
            }
        }
        counted
    }
}

impl Accumulator for Parts {
    fn update_batch(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let column = |index: usize| arguments[index].as_string::<i32>();
        let values = column(arguments.len() - 1);
        for row in 0..values.len() {
            let key = self
                .is_object
                .then(|| column(0))
                .filter(|keys| keys.is_valid(row));
            let value = values.is_valid(row).then(|| values.value(row));
            self.add(key.map(|keys| keys.value(row)), value);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (open, close) = if self.is_object { ('{', '}') } else { ('[', ']') };
        let mut text = String::with_capacity(self.bytes + self.parts.len() * 4 + 2);
        text.push(open);
        for (key, value) in self.counted() {
            if text.len() > 1 {
                text.push(',');
            }
            if self.is_object {
                text.push_str(&serde_json::Value::from(key).to_string());
                text.push(':');
            }
            text.push_str(value);
        }
        text.push(close);
        Ok(ScalarValue::Utf8(Some(text)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.parts.capacity() * size_of::<(String, String)>() + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |of: fn(&(String, String)) -> &String| {
            let items: Vec<ScalarValue> = self
                .parts
                .iter()
                .map(|part| ScalarValue::from(of(part).as_str()))
                .collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&items, &DataType::Utf8))
        };
        Ok(vec![list(|part| &part.0), list(|part| &part.1)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (keys, values) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for row in 0..keys.len() {
            if keys.is_null(row) {
                continue;
            }
            let (keys, values) = (keys.value(row), values.value(row));
            let pairs = keys.as_string::<i32>().iter().zip(values.as_string::<i32>());
            for (key, value) in pairs {
                self.add(key, value);
            }
        }
        Ok(())
    }
}
