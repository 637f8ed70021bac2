//! `JSON_QUERY` and `JSON_EXISTS` with their clauses, and `IS JSON`, read by `sql::constructors`.
//!
//! **Invariant.** What a path does not find is empty in lax mode, and an error in strict mode (the usual one), as is text
//! that is no JSON. For JSON_QUERY null, and a scalar without a wrapper, are not found; for JSON_EXISTS null is not there.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};
use serde_json::Value;

use crate::functions::json::{Path, selected};
use crate::functions::native::{NativeFunction, TextArgument};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let boolean = |_: &[DataType]| Ok(DataType::Boolean);
    vec![
        NativeFunction::coercing("json_query_of", texts::<5>, |_| Ok(DataType::Utf8), query).shared(),
        NativeFunction::coercing("json_exists_of", texts::<3>, boolean, exists).shared(),
        NativeFunction::coercing("is_json", texts::<2>, boolean, is_json).shared(),
    ]
}

fn texts<const COUNT: usize>(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        count if count == COUNT => Ok(vec![DataType::Utf8; COUNT]),
        _ => plan_err!("the function needs a STRING that holds JSON and a path such as '$.a.b[0]'"),
    }
}

/// What a path finds.
enum Found {
    Value(Value),
    Empty,
    Error(&'static str),
}

fn found(text: &str, path: &Path) -> Found {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return Found::Error("the text is not JSON");
    };
    match selected(&document, &path.steps) {
        Some(value) => Found::Value(value.clone()),
        None if path.is_lax => Found::Empty,
        None => Found::Error("the path finds nothing"),
    }
}

/// Calls `answer` with the row, what its path finds and whether the path is lax; `None` where the text or the path is NULL.
fn each(
    args: &ScalarFunctionArgs,
    mut answer: impl FnMut(usize, Option<(Found, bool)>) -> Result<()>,
) -> Result<()> {
    let texts = TextArgument::of(args, 0)?;
    let paths = TextArgument::of(args, 1)?;
    let mut path: Option<Path> = None;
    for row in 0..args.number_rows {
        let (Some(text), Some(asked)) = (texts.get(row), paths.get(row)) else {
            answer(row, None)?;
            continue;
        };
        if path.as_ref().is_none_or(|known| known.text != asked) {
            path = Some(Path::read(asked)?);
        }
        let path = path.as_ref().expect("invariant: it was just read");
        answer(row, Some((found(text, path), path.is_lax)))?;
    }
    Ok(())
}

/// `JSON_QUERY(json, path, wrapper, ON EMPTY, ON ERROR)`.
fn query(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let wrappers = TextArgument::of(args, 2)?;
    let (on_empty, on_error) = (TextArgument::of(args, 3)?, TextArgument::of(args, 4)?);
    let mut values = StringBuilder::with_capacity(args.number_rows, args.number_rows * 8);
    each(args, |row, found| {
        let Some((found, is_lax)) = found else {
            values.append_null();
            return Ok(());
        };
        let (mode, what) = match wrapped(found, wrappers.get(row).unwrap_or("without"), is_lax) {
            Found::Value(value) => {
                values.append_value(value.to_string());
                return Ok(());
            }
            Found::Empty => (on_empty.get(row), "the path finds nothing"),
            Found::Error(what) => (on_error.get(row), what),
        };
        match mode {
            Some("error") => return exec_err!("JSON_QUERY: {what}"),
            Some("array") => values.append_value("[]"),
            Some("object") => values.append_value("{}"),
            _ => values.append_null(),
        }
        Ok(())
    })?;
    Ok(Arc::new(values.finish()))
}

/// What is found, in an array where the clause asks for one; a scalar that is in none is empty or an error.
fn wrapped(found: Found, wrapper: &str, is_lax: bool) -> Found {
    let Found::Value(value) = found else {
        return found;
    };
    match (value, wrapper) {
        (Value::Null, _) if is_lax => Found::Empty,
        (Value::Null, _) => Found::Error("the path finds null"),
        (value, "unconditional") => Found::Value(Value::Array(vec![value])),
        (value @ Value::Array(_), _) => Found::Value(value),
        (value, "conditional") => Found::Value(Value::Array(vec![value])),
        (value @ Value::Object(_), _) => Found::Value(value),
        _ if is_lax => Found::Empty,
        _ => Found::Error("what the path finds is no array and no object"),
    }
}

/// `JSON_EXISTS(json, path, ON ERROR)`.
fn exists(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let on_error = TextArgument::of(args, 2)?;
    let mut values = BooleanBuilder::with_capacity(args.number_rows);
    each(args, |row, found| {
        match found {
            None => values.append_null(),
            Some((Found::Value(value), _)) => values.append_value(!value.is_null()),
            Some((Found::Empty, _)) => values.append_value(false),
            Some((Found::Error(what), _)) => match on_error.get(row) {
                Some("error") => return exec_err!("JSON_EXISTS: {what}"),
                Some("true") => values.append_value(true),
                Some("unknown") => values.append_null(),
                _ => values.append_value(false),
            },
        }
        Ok(())
    })?;
    Ok(Arc::new(values.finish()))
}

/// `text IS JSON [VALUE | SCALAR | ARRAY | OBJECT]`.
fn is_json(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (texts, kinds) = (TextArgument::of(args, 0)?, TextArgument::of(args, 1)?);
    let mut values = BooleanBuilder::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        // NULL is no JSON, as in Flink.
        let value = texts
            .get(row)
            .and_then(|text| serde_json::from_str::<Value>(text).ok());
        values.append_value(value.is_some_and(|value| match kinds.get(row) {
            Some("ARRAY") => value.is_array(),
            Some("OBJECT") => value.is_object(),
            Some("SCALAR") => !value.is_array() && !value.is_object(),
            _ => true,
        }));
    }
    Ok(Arc::new(values.finish()))
}
