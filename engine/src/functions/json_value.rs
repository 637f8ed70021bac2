//! `JSON_VALUE` with its clauses: `RETURNING`, `ON EMPTY`, `ON ERROR`, read by `sql::constructors`.
//!
//! **Invariant.** Empty is a path that finds nothing in lax mode, and JSON's null; an error is text that is no
//! JSON, a path that finds nothing in strict mode (the usual one), what is no scalar, and a value that is not of the
//! type asked for.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};
use serde_json::Value;

use crate::functions::json::{Path, scalar_text, selected};
use crate::functions::native::{NativeFunction, TextArgument};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![NativeFunction::coercing("json_value_of", types, |_| Ok(DataType::Utf8), value_of).shared()]
}

fn types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        7 => Ok(vec![DataType::Utf8; 7]),
        _ => plan_err!("JSON_VALUE needs a STRING that holds JSON and a path such as '$.a.b[0]'"),
    }
}

/// What a path finds.
enum Found {
    Value(String),
    Empty,
    Error(&'static str),
}

fn value_of(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let arguments: Vec<TextArgument> = (0..7)
        .map(|index| TextArgument::of(args, index))
        .collect::<Result<_>>()?;
    let [texts, paths, wanted, empty, empty_default, error, error_default] = arguments.as_slice() else {
        unreachable!("invariant: the planner checked the number of arguments")
    };
    let wanted = wanted.get(0).unwrap_or("STRING").to_ascii_uppercase();
    check_type(&wanted)?;
    let mut values = StringBuilder::with_capacity(args.number_rows, args.number_rows * 8);
    let mut path: Option<Path> = None;
    for row in 0..args.number_rows {
        let (Some(text), Some(asked)) = (texts.get(row), paths.get(row)) else {
            values.append_null();
            continue;
        };
        if path.as_ref().is_none_or(|known| known.text != asked) {
            path = Some(Path::read(asked)?);
        }
        let path = path.as_ref().expect("invariant: it was just read");
        let (mode, default, what) = match found(text, path, &wanted) {
            Found::Value(value) => {
                values.append_value(value);
                continue;
            }
            Found::Empty => (empty, empty_default, "the path finds nothing"),
            Found::Error(what) => (error, error_default, what),
        };
        match mode.get(row) {
            Some("error") => return exec_err!("JSON_VALUE at '{asked}': {what}"),
            Some("default") => values.append_option(default.get(row)),
            _ => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

fn check_type(wanted: &str) -> Result<()> {
    match as_wanted(&Value::Null, wanted) {
        Some(_) => Ok(()),
        None => plan_err!("JSON_VALUE returns STRING, BOOLEAN, INT, BIGINT or DOUBLE, and not {wanted}"),
    }
}

fn found(text: &str, path: &Path, wanted: &str) -> Found {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return Found::Error("the text is not JSON");
    };
    match selected(&document, &path.steps) {
        None if path.is_lax => Found::Empty,
        None => Found::Error("the path finds nothing"),
        Some(Value::Null) => Found::Empty,
        Some(Value::Array(_) | Value::Object(_)) if path.is_lax => Found::Empty,
        Some(Value::Array(_) | Value::Object(_)) => Found::Error("what the path finds is no single value"),
        Some(value) => match as_wanted(value, wanted).flatten() {
            Some(value) => Found::Value(value),
            None => Found::Error("the value is not of the type asked for"),
        },
    }
}

/// The text of a value that is of type `wanted`, or reads as one; the outer `None` for a type that is not known.
fn as_wanted(value: &Value, wanted: &str) -> Option<Option<String>> {
    let text = scalar_text(value);
    let kept = |keeps: fn(&str) -> bool| text.clone().filter(|text| keeps(text.trim()));
    let name = wanted.split('(').next().unwrap_or(wanted).trim();
    match name {
        "STRING" | "VARCHAR" | "CHAR" => Some(text),
        "BOOLEAN" => Some(kept(|text| {
            ["true", "false"].contains(&text.to_ascii_lowercase().as_str())
        })),
        "INT" | "INTEGER" => Some(kept(|text| text.parse::<i32>().is_ok())),
        "BIGINT" => Some(kept(|text| text.parse::<i64>().is_ok())),
        "DOUBLE" => Some(kept(|text| text.parse::<f64>().is_ok())),
        _ => None,
    }
}
