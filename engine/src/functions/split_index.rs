//! `SPLIT_INDEX(string, delimiter, index)`: the part at `index` (from 0); NULL beyond the last.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use memchr::memmem::Finder;

use crate::functions::native::{NativeFunction, column};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![NativeFunction::coercing("split_index", types, |_| Ok(DataType::Utf8), split_index).shared()]
}

fn types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [_, delimiter, index] if delimiter.is_string() && index.is_integer() => {
            Ok(vec![DataType::Utf8, DataType::Utf8, DataType::Int64])
        }
        _ => plan_err!("SPLIT_INDEX needs a STRING, a delimiter and an index, which counts from 0"),
    }
}

fn split_index(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let text = column(args, 0)?;
    if let [
        _,
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(delimiter))),
        ColumnarValue::Scalar(ScalarValue::Int64(Some(index))),
    ] = args.args.as_slice()
    {
        return Ok(Arc::new(split_all(text.as_string::<i32>(), delimiter, *index)));
    }
    let (delimiters, indices) = (column(args, 1)?, column(args, 2)?);
    let split = split_each(
        text.as_string(),
        delimiters.as_string(),
        indices.as_primitive::<Int64Type>(),
    );
    Ok(Arc::new(split))
}

/// One delimiter and index for all rows.
fn split_all(text: &StringArray, delimiter: &str, index: i64) -> StringArray {
    if let ([byte], Ok(index)) = (delimiter.as_bytes(), usize::try_from(index)) {
        let mut parts = StringBuilder::with_capacity(text.len(), text.len() * 8);
        for value in text {
            parts.append_option(value.and_then(|value| part_by_byte(value, *byte, index)));
        }
        return parts.finish();
    }
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

/// The part at `index` of a text whose parts are divided by one byte.
fn part_by_byte(text: &str, delimiter: u8, index: usize) -> Option<&str> {
    let mut borders = memchr::memchr_iter(delimiter, text.as_bytes());
    let start = match index {
        0 => 0,
        _ => borders.nth(index - 1)? + 1,
    };
    Some(&text[start..borders.next().unwrap_or(text.len())])
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
