//! JSON_VALUE, JSON_QUERY and JSON_EXISTS with the simple paths that select one value: `$.a.b[0]`; values as
//! JSON and back: JSON_STRING, JSON_QUOTE, JSON_UNQUOTE.
//!
//! **Invariant.** Text that is not JSON is NULL (or does not exist), as Flink's NULL ON ERROR.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF, Signature, Volatility};
use serde_json::Value;

use crate::formats::encode_ndjson::json_texts;
use crate::functions::native::{NativeFunction, TextArgument, column};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |_: &[DataType]| Ok(DataType::Utf8);
    vec![
        NativeFunction::coercing("json_value", two_texts, text, |args| select(args, scalar_text)).shared(),
        NativeFunction::coercing("json_query", two_texts, text, |args| select(args, nested_text)).shared(),
        NativeFunction::coercing("json_exists", two_texts, |_| Ok(DataType::Boolean), exists).shared(),
        NativeFunction::new(
            "json_string",
            Signature::any(1, Volatility::Immutable),
            text,
            string,
        )
        .shared(),
        NativeFunction::coercing("json_quote", one_text, text, string).shared(),
        NativeFunction::coercing("json_unquote", one_text, text, unquote).shared(),
    ]
}

fn two_texts(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        2 => Ok(vec![DataType::Utf8; 2]),
        _ => plan_err!("the function needs a STRING that holds JSON and a path such as '$.a.b[0]'"),
    }
}

fn one_text(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        1 => Ok(vec![DataType::Utf8]),
        _ => plan_err!("the function needs one STRING"),
    }
}

/// A value of any type as JSON; of a STRING that is its text in quotes.
fn string(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let mut found = StringBuilder::with_capacity(args.number_rows, args.number_rows * 16);
    json_texts(&column(args, 0)?, |json| found.append_option(json))
        .map_err(|error| exec_datafusion_err!("{error}"))?;
    Ok(Arc::new(found.finish()))
}

/// The text of a JSON string; what is none stays as it is.
fn unquote(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let mut found = StringBuilder::with_capacity(args.number_rows, texts.bytes(args.number_rows));
    for row in 0..args.number_rows {
        let text = texts.get(row);
        let unquoted = text.and_then(|text| serde_json::from_str::<String>(text).ok());
        found.append_option(unquoted.as_deref().or(text));
    }
    Ok(Arc::new(found.finish()))
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    Element(usize),
}

/// Reads `$.a['b'][0]`; the words `lax` and `strict` before it are allowed.
pub(super) fn read_path(path: &str) -> Result<Vec<Step>> {
    let wrong = || exec_err!("'{path}' is not a path; paths select one value: '$.a.b[0]', \"$['a b']\"");
    let trimmed = path.trim();
    let trimmed = trimmed
        .strip_prefix("lax ")
        .or(trimmed.strip_prefix("strict "))
        .unwrap_or(trimmed)
        .trim();
    let Some(mut rest) = trimmed.strip_prefix('$') else {
        return wrong();
    };
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if rest.starts_with(".[") {
            rest = &rest[1..];
        }
        if let Some(named) = rest.strip_prefix('.') {
            let end = named.find(['.', '[']).unwrap_or(named.len());
            if end == 0 || named.starts_with('*') {
                return wrong();
            }
            steps.push(Step::Field(named[..end].to_string()));
            rest = &named[end..];
            continue;
        }
        let Some((inner, behind)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) else {
            return wrong();
        };
        let quoted = ['\'', '"']
            .iter()
            .find_map(|&quote| inner.strip_prefix(quote)?.strip_suffix(quote));
        match (quoted, inner.parse::<usize>()) {
            (Some(name), _) => steps.push(Step::Field(name.to_string())),
            (None, Ok(index)) => steps.push(Step::Element(index)),
            (None, Err(_)) => return wrong(),
        }
        rest = behind;
    }
    Ok(steps)
}

/// A path, read.
pub(super) struct Path {
    pub text: String,
    /// What it does not find is empty, not an error.
    pub is_lax: bool,
    pub steps: Vec<Step>,
}

impl Path {
    /// Reads `path`.
    pub fn read(path: &str) -> Result<Path> {
        Ok(Path {
            text: path.to_string(),
            is_lax: path.trim().starts_with("lax "),
            steps: read_path(path)?,
        })
    }
}

/// An error if `path` selects no single value.
pub(crate) fn check_path(path: &str) -> Result<()> {
    read_path(path).map(|_| ())
}

/// Calls `answer` with what each row's path selects in its JSON.
fn each(args: &ScalarFunctionArgs, mut answer: impl FnMut(Option<Option<&Value>>)) -> Result<()> {
    let texts = TextArgument::of(args, 0)?;
    let paths = TextArgument::of(args, 1)?;
    let mut current: Option<(&str, Vec<Step>)> = None;
    for row in 0..args.number_rows {
        let Some((text, path)) = texts.get(row).zip(paths.get(row)) else {
            answer(None);
            continue;
        };
        if current.as_ref().is_none_or(|(known, _)| *known != path) {
            current = Some((path, read_path(path)?));
        }
        let document: Option<Value> = serde_json::from_str(text).ok();
        let steps = current.as_ref().map_or(&[][..], |(_, steps)| steps.as_slice());
        answer(Some(
            document.as_ref().and_then(|document| selected(document, steps)),
        ));
    }
    Ok(())
}

/// What a path selects.
pub(super) fn selected<'v>(document: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(document, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Element(index) => value.get(index),
    })
}

fn select(args: &ScalarFunctionArgs, text: fn(&Value) -> Option<String>) -> Result<ArrayRef> {
    let mut found = StringBuilder::with_capacity(args.number_rows, args.number_rows * 8);
    each(args, |selected| {
        found.append_option(selected.flatten().and_then(text))
    })?;
    Ok(Arc::new(found.finish()))
}

fn exists(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let mut found = BooleanBuilder::with_capacity(args.number_rows);
    each(args, |selected| {
        found.append_option(selected.map(|value| value.is_some()))
    })?;
    Ok(Arc::new(found.finish()))
}

/// A scalar as plain text; NULL for what is not one.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// An array or object as JSON; NULL for a scalar.
fn nested_text(value: &Value) -> Option<String> {
    matches!(value, Value::Array(_) | Value::Object(_)).then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_step_by_step() {
        let steps = read_path("lax $.a['b c'][2].d").unwrap();
        let field = |name: &str| Step::Field(name.to_string());
        assert_eq!(steps, [field("a"), field("b c"), Step::Element(2), field("d")]);
        assert_eq!(read_path("$").unwrap(), []);
        for wrong in ["a", "$a", "$.", "$..a", "$[*]", "$.*", "$[1"] {
            assert!(read_path(wrong).is_err(), "{wrong}");
        }
    }
}
