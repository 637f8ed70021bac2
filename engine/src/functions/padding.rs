//! Texts brought to a length: LPAD, RPAD, LEFT and RIGHT, with Flink's answers for lengths below zero.
//!
//! **Invariant.** A result holds [`PADDED_LETTERS_MAX`] characters at most: one wrong number in the data must not
//! take the memory of the process.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, TextArgument, column};
use crate::limits::PADDED_LETTERS_MAX;

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |_: &[DataType]| Ok(DataType::Utf8);
    vec![
        NativeFunction::coercing("lpad", padding_types, text, |args| pad(args, Side::Left)).shared(),
        NativeFunction::coercing("rpad", padding_types, text, |args| pad(args, Side::Right)).shared(),
        NativeFunction::coercing("left", part_types, text, |args| part(args, Side::Left)).shared(),
        NativeFunction::coercing("right", part_types, text, |args| part(args, Side::Right)).shared(),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

fn is_text(data_type: &DataType) -> bool {
    data_type.is_string() || data_type.is_null()
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_null()
}

fn padding_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text, length] if is_text(text) && is_number(length) => Ok(vec![DataType::Utf8, DataType::Int64]),
        [text, length, pad] if is_text(text) && is_number(length) && is_text(pad) => {
            Ok(vec![DataType::Utf8, DataType::Int64, DataType::Utf8])
        }
        _ => plan_err!("LPAD and RPAD need a STRING, a whole number and a STRING"),
    }
}

fn part_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [text, length] if is_text(text) && is_number(length) => Ok(vec![DataType::Utf8, DataType::Int64]),
        _ => plan_err!("LEFT and RIGHT need a STRING and a whole number"),
    }
}

/// NULL where the length is below zero, or there is nothing to pad with.
fn pad(args: &ScalarFunctionArgs, side: Side) -> Result<ArrayRef> {
    let text = TextArgument::of(args, 0)?;
    let lengths = column(args, 1)?;
    let lengths = lengths.as_primitive::<Int64Type>();
    let padding = match args.args.len() {
        3 => TextArgument::of(args, 2)?,
        _ => TextArgument::Constant(Some(" ".to_string())),
    };
    let mut padded = StringBuilder::with_capacity(args.number_rows, text.bytes(args.number_rows));
    for row in 0..args.number_rows {
        let (Some(text), Some(padding), true) = (text.get(row), padding.get(row), lengths.is_valid(row))
        else {
            padded.append_null();
            continue;
        };
        let length = lengths.value(row);
        if length > PADDED_LETTERS_MAX {
            return exec_err!("a text is padded to {PADDED_LETTERS_MAX} characters at most, not to {length}");
        }
        match usize::try_from(length) {
            Ok(length) if !padding.is_empty() => {
                padded.append_value(padded_text(text, length, padding, side))
            }
            _ => padded.append_null(),
        }
    }
    Ok(Arc::new(padded.finish()))
}

/// `text` with exactly `length` characters: cut at its end, or padded at `side`.
fn padded_text(text: &str, length: usize, padding: &str, side: Side) -> String {
    let letters = text.chars().count();
    let kept = text.chars().take(length);
    let added = padding.chars().cycle().take(length.saturating_sub(letters));
    match side {
        Side::Left => added.chain(kept).collect(),
        Side::Right => kept.chain(added).collect(),
    }
}

/// The first or last characters; none where the number is below one.
fn part(args: &ScalarFunctionArgs, side: Side) -> Result<ArrayRef> {
    let text = TextArgument::of(args, 0)?;
    let lengths = column(args, 1)?;
    let lengths = lengths.as_primitive::<Int64Type>();
    let mut parts = StringBuilder::with_capacity(args.number_rows, text.bytes(args.number_rows));
    for row in 0..args.number_rows {
        match (text.get(row), lengths.is_valid(row)) {
            (Some(text), true) => parts.append_value(part_of(text, lengths.value(row), side)),
            _ => parts.append_null(),
        }
    }
    Ok(Arc::new(parts.finish()))
}

fn part_of(text: &str, length: i64, side: Side) -> &str {
    let length = usize::try_from(length).unwrap_or(0);
    match side {
        Side::Left => {
            let end = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
            &text[..end]
        }
        Side::Right => {
            let skipped = text.chars().count().saturating_sub(length);
            let start = text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at);
            &text[start..]
        }
    }
}
