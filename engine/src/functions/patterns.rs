//! `REGEXP_EXTRACT(string, regex [, group])`: the group's text in the first match; NULL without one.
//!
//! A literal pattern is compiled once per batch at most; the last one is kept between batches.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, ScalarValue, exec_datafusion_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use regex::Regex;

/// `REGEXP_EXTRACT`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct RegexpExtract {
    signature: Signature,
}

impl RegexpExtract {
    pub(crate) fn new() -> RegexpExtract {
        let text = || vec![DataType::Utf8, DataType::Utf8];
        let with_group = |group: DataType| [text(), vec![group]].concat();
        let signatures = vec![
            TypeSignature::Exact(text()),
            TypeSignature::Exact(with_group(DataType::Int64)),
            TypeSignature::Exact(with_group(DataType::Int32)),
        ];
        RegexpExtract {
            signature: Signature::one_of(signatures, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for RegexpExtract {
    fn name(&self) -> &str {
        "regexp_extract"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let text = arguments.args[0].to_array(rows)?;
        let group: ArrayRef = match arguments.args.get(2) {
            Some(group) => cast(&group.to_array(1.max(rows))?, &DataType::Int64)?,
            None => ScalarValue::Int64(Some(0)).to_array_of_size(rows)?,
        };
        let group = group.as_primitive::<Int64Type>();
        let text = text.as_string::<i32>();
        if let ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern))) = &arguments.args[1] {
            let regex = compile(pattern)?;
            let groups = (0..rows).map(|row| (Some(&regex), group.value(row)));
            return Ok(ColumnarValue::Array(Arc::new(extract(text, groups))));
        }
        let patterns = arguments.args[1].to_array(rows)?;
        let compiled: Vec<Option<Regex>> = patterns
            .as_string::<i32>()
            .iter()
            .map(|pattern| pattern.map(compile).transpose())
            .collect::<Result<_>>()?;
        let groups = compiled
            .iter()
            .enumerate()
            .map(|(row, regex)| (regex.as_ref(), group.value(row)));
        Ok(ColumnarValue::Array(Arc::new(extract(text, groups))))
    }
}

fn compile(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| {
        exec_datafusion_err!("REGEXP_EXTRACT: `{pattern}` is no regular expression: {error}")
    })
}

fn extract<'r>(text: &StringArray, groups: impl Iterator<Item = (Option<&'r Regex>, i64)>) -> StringArray {
    let mut found = StringBuilder::with_capacity(text.len(), text.len() * 8);
    for (value, (regex, group)) in text.iter().zip(groups) {
        let part = value.zip(regex).and_then(|(value, regex)| {
            let group = usize::try_from(group).ok()?;
            match group {
                0 => regex.find(value).map(|whole| whole.as_str()),
                group => regex.captures(value)?.get(group).map(|part| part.as_str()),
            }
        });
        found.append_option(part);
    }
    found.finish()
}
