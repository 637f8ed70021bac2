//! `SPLIT_INDEX(string, delimiter, index)`: the part at `index` (from 0); NULL beyond the last.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use memchr::memmem::Finder;

/// `SPLIT_INDEX`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct SplitIndex {
    signature: Signature,
}

impl SplitIndex {
    pub(crate) fn new() -> SplitIndex {
        let types = vec![DataType::Utf8, DataType::Utf8, DataType::Int64];
        SplitIndex {
            signature: Signature::new(TypeSignature::Coercible(coercions(&types)), Volatility::Immutable),
        }
    }
}

/// Arguments that are strings or integers after implicit casts.
fn coercions(types: &[DataType]) -> Vec<datafusion_expr::Coercion> {
    use datafusion_common::types::{NativeType, logical_int64, logical_string};
    use datafusion_expr::{Coercion, TypeSignatureClass};
    types
        .iter()
        .map(|data_type| match data_type {
            DataType::Int64 => Coercion::new_implicit(
                TypeSignatureClass::Native(logical_int64()),
                vec![TypeSignatureClass::Integer],
                NativeType::Int64,
            ),
            _ => Coercion::new_exact(TypeSignatureClass::Native(logical_string())),
        })
        .collect()
}

impl ScalarUDFImpl for SplitIndex {
    fn name(&self) -> &str {
        "split_index"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        if let [
            text,
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(delimiter))),
            ColumnarValue::Scalar(ScalarValue::Int64(Some(index))),
        ] = arguments.args.as_slice()
        {
            let text = text.to_array(rows)?;
            return Ok(ColumnarValue::Array(Arc::new(split_all(
                text.as_string::<i32>(),
                delimiter,
                *index,
            ))));
        }
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let index = cast(&arrays[2], &DataType::Int64)?;
        let split = split_each(
            arrays[0].as_string(),
            arrays[1].as_string(),
            index.as_primitive::<Int64Type>(),
        );
        Ok(ColumnarValue::Array(Arc::new(split)))
    }
}

/// One delimiter and index for all rows.
fn split_all(text: &StringArray, delimiter: &str, index: i64) -> StringArray {
    let finder = Finder::new(delimiter);
    let mut parts = StringBuilder::with_capacity(text.len(), text.len() * 8);
    for value in text {
        parts.append_option(value.and_then(|value| part(value, delimiter.len(), &finder, index)));
    }
    parts.finish()
}

fn split_each(text: &StringArray, delimiters: &StringArray, indices: &Int64Array) -> StringArray {
    let mut parts = StringBuilder::with_capacity(text.len(), text.len() * 8);
    for row in 0..text.len() {
        let known = text.is_valid(row) && delimiters.is_valid(row) && indices.is_valid(row);
        let delimiter = delimiters.value(row);
        let found = known.then(|| {
            part(
                text.value(row),
                delimiter.len(),
                &Finder::new(delimiter),
                indices.value(row),
            )
        });
        parts.append_option(found.flatten());
    }
    parts.finish()
}

/// The part of `text` at `index`.
fn part<'t>(text: &'t str, delimiter_length: usize, finder: &Finder<'_>, index: i64) -> Option<&'t str> {
    if index < 0 || delimiter_length == 0 {
        return None;
    }
    let mut start = 0;
    for _ in 0..index {
        start += finder.find(&text.as_bytes()[start..])? + delimiter_length;
    }
    let end = finder
        .find(&text.as_bytes()[start..])
        .map_or(text.len(), |length| start + length);
    Some(&text[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_from_zero_and_end() {
        let text = StringArray::from(vec![Some("a/b//d"), None, Some("")]);
        let at = |index| {
            split_all(&text, "/", index)
                .iter()
                .map(|part| part.map(str::to_string))
                .collect::<Vec<_>>()
        };
        assert_eq!(at(0), [Some("a".to_string()), None, Some(String::new())]);
        assert_eq!(at(2), [Some(String::new()), None, None]);
        assert_eq!(at(3), [Some("d".to_string()), None, None]);
        assert_eq!(at(4), [None, None, None]);
        assert_eq!(at(-1), [None, None, None]);
    }
}
