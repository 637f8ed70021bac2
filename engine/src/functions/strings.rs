//! Text functions that Flink has and DataFusion lacks or means otherwise.
//!
//! CONCAT is NULL where an argument is; LOCATE and INSTR count from 1; SUBSTRING counts a negative
//! start from the end.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, Int32Array, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, TextArgument, column};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |_: &[DataType]| Ok(DataType::Utf8);
    let truth = |_: &[DataType]| Ok(DataType::Boolean);
    let number = |_: &[DataType]| Ok(DataType::Int32);
    vec![
        NativeFunction::coercing("concat", all_text, text, concat).shared(),
        NativeFunction::coercing("locate", locate_types, number, locate).shared(),
        NativeFunction::coercing("instr", two_texts, number, instr).shared(),
        NativeFunction::coercing("substr", substring_types, text, substring)
            .with_aliases(&["substring"])
            .shared(),
        NativeFunction::coercing("is_alpha", one_text, truth, |args| test(args, is_alpha)).shared(),
        NativeFunction::coercing("is_digit", one_text, truth, |args| test(args, is_digit)).shared(),
        NativeFunction::coercing("is_decimal", one_text, truth, |args| test(args, is_decimal)).shared(),
        NativeFunction::coercing("hash_code", one_text, number, hash_code).shared(),
        NativeFunction::coercing("hex", text_or_integer, text, hex).shared(),
        NativeFunction::coercing("bin", one_integer, text, bin).shared(),
        NativeFunction::coercing("chr", one_integer, text, character).shared(),
        NativeFunction::coercing("elt", index_and_texts, text, element_at).shared(),
    ]
}

fn all_text(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.is_empty() {
        true => plan_err!("CONCAT needs an argument"),
        false => Ok(vec![DataType::Utf8; types.len()]),
    }
}

fn one_text(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        1 => all_text(types),
        _ => plan_err!("the function needs one STRING"),
    }
}

fn two_texts(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        2 => all_text(types),
        _ => plan_err!("the function needs two STRINGs"),
    }
}

fn one_integer(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [number] if number.is_integer() || number.is_null() => Ok(vec![DataType::Int64]),
        _ => plan_err!("the function needs one whole number"),
    }
}

fn text_or_integer(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [number] if number.is_integer() => Ok(vec![DataType::Int64]),
        _ => one_text(types),
    }
}

fn index_and_texts(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [index, texts @ ..] if index.is_integer() && !texts.is_empty() => {
            let mut coerced = vec![DataType::Utf8; types.len()];
            coerced[0] = DataType::Int64;
            Ok(coerced)
        }
        _ => plan_err!("ELT needs a whole number and the STRINGs that it chooses from"),
    }
}

/// The argument that the first one counts to, from 1; NULL beyond them.
fn element_at(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let indices = column(args, 0)?;
    let indices = indices.as_primitive::<Int64Type>();
    let choices: Vec<TextArgument> = (1..args.args.len())
        .map(|index| TextArgument::of(args, index))
        .collect::<Result<_>>()?;
    let mut chosen = StringBuilder::with_capacity(args.number_rows, args.number_rows * 8);
    for row in 0..args.number_rows {
        let index = indices.is_valid(row).then(|| indices.value(row) - 1);
        let choice = index.and_then(|index| choices.get(usize::try_from(index).ok()?));
        chosen.append_option(choice.and_then(|choice| choice.get(row)));
    }
    Ok(Arc::new(chosen.finish()))
}

/// The Latin-1 character of a number's lowest eight bits; nothing for a negative one.
fn character(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let numbers = column(args, 0)?;
    let mut characters = StringBuilder::with_capacity(args.number_rows, args.number_rows);
    for number in numbers.as_primitive::<Int64Type>() {
        characters.append_option(number.map(|number| match number {
            ..0 => String::new(),
            0.. => char::from((number & 0xFF) as u8).to_string(),
        }));
    }
    Ok(Arc::new(characters.finish()))
}

fn concat(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let arguments: Vec<TextArgument> = (0..args.args.len())
        .map(|index| TextArgument::of(args, index))
        .collect::<Result<_>>()?;
    let bytes: usize = arguments
        .iter()
        .map(|argument| argument.bytes(args.number_rows))
        .sum();
    let mut joined = StringBuilder::with_capacity(args.number_rows, bytes);
    for row in 0..args.number_rows {
        if arguments.iter().any(|argument| argument.get(row).is_none()) {
            joined.append_null();
            continue;
        }
        for argument in &arguments {
            let text = argument.get(row).expect("invariant: no argument is NULL here");
            joined
                .write_str(text)
                .expect("invariant: writing to a builder succeeds");
        }
        joined.append_value("");
    }
    Ok(Arc::new(joined.finish()))
}

/// The character position, from 1, of `part` in `text` from character `start` on; 0 = nowhere.
fn position_of(text: &str, part: &str, start: i64) -> i32 {
    let Some(skipped) = usize::try_from(start - 1).ok() else {
        return 0;
    };
    if text.is_ascii() {
        let found = text
            .as_bytes()
            .get(skipped..)
            .and_then(|rest| memchr::memmem::find(rest, part.as_bytes()));
        return found.map_or(0, |at| (skipped + at + 1) as i32);
    }
    let Some((offset, _)) = text.char_indices().nth(skipped) else {
        return 0;
    };
    text[offset..].find(part).map_or(0, |at| {
        (skipped + text[offset..offset + at].chars().count() + 1) as i32
    })
}

fn locate_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [_, _] => Ok(vec![DataType::Utf8; 2]),
        [_, _, start] if start.is_integer() => Ok(vec![DataType::Utf8, DataType::Utf8, DataType::Int64]),
        _ => plan_err!("LOCATE needs the STRING sought, the STRING searched and, if at all, a start"),
    }
}

fn locate(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let parts = TextArgument::of(args, 0)?;
    let texts = TextArgument::of(args, 1)?;
    let starts = match args.args.len() {
        3 => Some(column(args, 2)?),
        _ => None,
    };
    let starts = starts.as_ref().map(|starts| starts.as_primitive::<Int64Type>());
    let start = |row: usize| match starts {
        None => Some(1),
        Some(starts) => starts.is_valid(row).then(|| starts.value(row)),
    };
    let found =
        (0..args.number_rows).map(|row| Some(position_of(texts.get(row)?, parts.get(row)?, start(row)?)));
    Ok(Arc::new(Int32Array::from_iter(found)))
}

fn instr(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let parts = TextArgument::of(args, 1)?;
    let found = (0..args.number_rows).map(|row| Some(position_of(texts.get(row)?, parts.get(row)?, 1)));
    Ok(Arc::new(Int32Array::from_iter(found)))
}

fn substring_types(types: &[DataType]) -> Result<Vec<DataType>> {
    let numbers = types.get(1..).unwrap_or_default();
    match types.len() {
        2 | 3
            if numbers
                .iter()
                .all(|number| number.is_integer() || number.is_null()) =>
        {
            Ok([DataType::Utf8, DataType::Int64, DataType::Int64][..types.len()].to_vec())
        }
        _ => plan_err!("SUBSTRING needs a STRING, a start and, if at all, a length"),
    }
}

fn substring(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let starts = column(args, 1)?;
    let starts = starts.as_primitive::<Int64Type>();
    let lengths = match args.args.len() {
        3 => Some(column(args, 2)?),
        _ => None,
    };
    let lengths = lengths
        .as_ref()
        .map(|lengths| lengths.as_primitive::<Int64Type>());
    let mut parts = StringBuilder::with_capacity(args.number_rows, texts.bytes(args.number_rows));
    for row in 0..args.number_rows {
        let length = match lengths {
            None => Some(i64::MAX),
            Some(lengths) => lengths.is_valid(row).then(|| lengths.value(row)),
        };
        let known = texts.get(row).filter(|_| starts.is_valid(row)).zip(length);
        parts.append_option(known.and_then(|(text, length)| part(text, starts.value(row), length)));
    }
    Ok(Arc::new(parts.finish()))
}

/// `length` characters of `text` from character `start`, which counts from 1, or from the end if negative.
fn part(text: &str, start: i64, length: i64) -> Option<&str> {
    if length < 0 {
        return None;
    }
    let characters = if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    } as i64;
    let first = match start {
        1.. => start - 1,
        0 => 0,
        ..0 if -start > characters => return Some(""),
        ..0 => characters + start,
    };
    let end = first.saturating_add(length).min(characters);
    if first >= end {
        return Some("");
    }
    if text.is_ascii() {
        return Some(&text[first as usize..end as usize]);
    }
    let offset = |index: i64| {
        text.char_indices()
            .nth(index as usize)
            .map_or(text.len(), |(offset, _)| offset)
    };
    Some(&text[offset(first)..offset(end)])
}

fn test(args: &ScalarFunctionArgs, holds: fn(&str) -> bool) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let mut truths = BooleanBuilder::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        truths.append_value(texts.get(row).is_some_and(holds));
    }
    Ok(Arc::new(truths.finish()))
}

fn is_alpha(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_alphabetic)
}

fn is_digit(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_numeric)
}

fn is_decimal(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Java's `String.hashCode`.
fn hash_code(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let hash = |text: &str| {
        text.encode_utf16().fold(0_i32, |hash, unit| {
            hash.wrapping_mul(31).wrapping_add(i32::from(unit))
        })
    };
    Ok(Arc::new(Int32Array::from_iter(
        (0..args.number_rows).map(|row| texts.get(row).map(hash)),
    )))
}

/// Bytes, or a number, in base 16, in capitals.
fn hex(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let mut digits = StringBuilder::with_capacity(args.number_rows, args.number_rows * 16);
    if args.arg_fields[0].data_type() == &DataType::Int64 {
        return bases(args, digits, |number, digits| write!(digits, "{number:X}"));
    }
    let texts = TextArgument::of(args, 0)?;
    for row in 0..args.number_rows {
        let Some(text) = texts.get(row) else {
            digits.append_null();
            continue;
        };
        for byte in text.bytes() {
            write!(digits, "{byte:02X}").expect("invariant: writing to a builder succeeds");
        }
        digits.append_value("");
    }
    Ok(Arc::new(digits.finish()))
}

fn bin(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let digits = StringBuilder::with_capacity(args.number_rows, args.number_rows * 16);
    bases(args, digits, |number, digits| write!(digits, "{number:b}"))
}

fn bases(
    args: &ScalarFunctionArgs,
    mut digits: StringBuilder,
    print: fn(i64, &mut StringBuilder) -> std::fmt::Result,
) -> Result<ArrayRef> {
    let numbers = column(args, 0)?;
    for number in numbers.as_primitive::<Int64Type>() {
        match number {
            None => digits.append_null(),
            Some(number) => {
                print(number, &mut digits).expect("invariant: writing to a builder succeeds");
                digits.append_value("");
            }
        }
    }
    Ok(Arc::new(digits.finish()))
}
