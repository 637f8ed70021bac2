//! `JSON_OBJECT` and `JSON_ARRAY`, read by `sql::constructors`: their first argument says what becomes of NULLs (`n`:
//! they stay, `a`: they are left out), and of each value whether it is one (`v`) or JSON already (`j`).
//!
//! **Invariant.** The answer is JSON, whatever the values are; it is never NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue, exec_datafusion_err, internal_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, Signature, Volatility};

use crate::formats::encode_ndjson::json_texts;
use crate::functions::native::{NativeFunction, column};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |types: &[DataType]| match types.first() {
        Some(DataType::Utf8) => Ok(DataType::Utf8),
        _ => plan_err!("the first argument says how values are written"),
    };
    let any = || Signature::variadic_any(Volatility::Immutable);
    vec![
        NativeFunction::new("json_object_of", any(), text, |args| written(args, true)).shared(),
        NativeFunction::new("json_array_of", any(), text, |args| written(args, false)).shared(),
    ]
}

/// Values as JSON, and the texts of their keys where they have one.
struct Part {
    key: Option<StringArray>,
    json: Vec<Option<String>>,
}

fn written(args: &ScalarFunctionArgs, is_object: bool) -> Result<ArrayRef> {
    let ColumnarValue::Scalar(ScalarValue::Utf8(Some(kinds))) = &args.args[0] else {
        return internal_err!("JSON_OBJECT and JSON_ARRAY are read by the parser");
    };
    let keeps_null = kinds.starts_with('n');
    let width = if is_object { 2 } else { 1 };
    let mut parts = Vec::new();
    for (number, kind) in kinds.chars().skip(1).enumerate() {
        let first = 1 + number * width;
        parts.push(Part {
            key: match is_object {
                true => Some(quoted(&column(args, first)?)?),
                false => None,
            },
            json: values(&column(args, first + width - 1)?, kind == 'j')?,
        });
    }
    let (open, close) = if is_object { ('{', '}') } else { ('[', ']') };
    let mut texts = StringBuilder::with_capacity(args.number_rows, args.number_rows * 16 * parts.len());
    let mut text = String::new();
    for row in 0..args.number_rows {
        text.clear();
        text.push(open);
        for part in &parts {
            if part.json[row].is_none() && !keeps_null {
                continue;
            }
            if text.len() > 1 {
                text.push(',');
            }
            if let Some(key) = &part.key {
                text.push_str(key.value(row));
                text.push(':');
            }
            text.push_str(part.json[row].as_deref().unwrap_or("null"));
        }
        text.push(close);
        texts.append_value(&text);
    }
    Ok(Arc::new(texts.finish()))
}

fn values(column: &ArrayRef, is_json: bool) -> Result<Vec<Option<String>>> {
    if is_json {
        let texts = column.as_string::<i32>();
        return Ok(texts.iter().map(|text| text.map(str::to_string)).collect());
    }
    if *column.data_type() == DataType::Null {
        return Ok(vec![None; column.len()]);
    }
    let mut values = Vec::with_capacity(column.len());
    json_texts(column, |json| values.push(json.map(str::to_string)))
        .map_err(|error| exec_datafusion_err!("{error}"))?;
    Ok(values)
}

/// Keys as JSON strings.
fn quoted(keys: &ArrayRef) -> Result<StringArray> {
    let keys = values(keys, false)?;
    Ok(keys
        .into_iter()
        .map(|key| Some(key.unwrap_or_default()))
        .collect())
}
