//! REGEXP_EXTRACT, REGEXP_EXTRACT_ALL, REGEXP and REGEXP_REPLACE, as Flink has them.
//!
//! Compiled expressions are kept per thread, so that neither a batch of one row nor the second call
//! of a query compiles anything anew; the memory that a search needs is reused between rows.
//!
//! **Invariant.** The cache changes no answer: it maps a pattern to its own compilation.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, Int64Array, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, exec_datafusion_err, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};
use regex::Regex;

use crate::functions::native::{NativeFunction, TextArgument, column};
use crate::functions::query_parameter::QueryParameter;
use crate::limits::COMPILED_MAX;

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |_: &[DataType]| Ok(DataType::Utf8);
    vec![
        NativeFunction::coercing("regexp_extract", extract_types, text, extract).shared(),
        NativeFunction::coercing("regexp_extract_all", extract_types, texts_type, extract_every).shared(),
        NativeFunction::coercing("regexp", match_types, |_| Ok(DataType::Boolean), matches).shared(),
        NativeFunction::coercing("regexp_replace", replace_types, text, replace).shared(),
    ]
}

/// The compilation of `pattern`.
pub(crate) fn compiled(pattern: &str) -> Result<Rc<Regex>> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Rc<Regex>>> = RefCell::new(HashMap::new());
    }
    COMPILED.with_borrow_mut(|known| {
        if let Some(regex) = known.get(pattern) {
            return Ok(regex.clone());
        }
        let regex =
            Regex::new(pattern).map_err(|error| exec_datafusion_err!("{}", complaint(pattern, &error)))?;
        if known.len() == COMPILED_MAX {
            known.clear();
        }
        let regex = Rc::new(regex);
        known.insert(pattern.to_string(), regex.clone());
        Ok(regex)
    })
}

/// What is wrong with a literal pattern, if anything: for an error at its place, before anything runs.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    match Regex::new(pattern) {
        Ok(_) => Ok(()),
        Err(error) => Err(complaint(pattern, &error)),
    }
}

fn complaint(pattern: &str, error: &regex::Error) -> String {
    let told = error.to_string();
    let reason = told
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    format!("'{pattern}' is no regular expression: {reason}")
}

/// The compilation that the row before used, kept at hand.
#[derive(Default)]
struct Current {
    compiled: Option<(String, Rc<Regex>)>,
}

impl Current {
    fn get(&mut self, pattern: &str) -> Result<&Rc<Regex>> {
        if self.compiled.as_ref().is_none_or(|(known, _)| known != pattern) {
            self.compiled = Some((pattern.to_string(), compiled(pattern)?));
        }
        Ok(self
            .compiled
            .as_ref()
            .map(|(_, regex)| regex)
            .expect("invariant: just set"))
    }
}

fn extract_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [_, _] => Ok(vec![DataType::Utf8; 2]),
        [_, _, group] if group.is_integer() => Ok(vec![DataType::Utf8, DataType::Utf8, DataType::Int64]),
        _ => plan_err!("REGEXP_EXTRACT needs a STRING, a regular expression and, if at all, a group"),
    }
}

/// The group's text in the first match; NULL without a match, or where the group took no part.
fn extract(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let patterns = TextArgument::of(args, 1)?;
    let groups = match args.args.len() {
        3 => Some(column(args, 2)?),
        _ => None,
    };
    let groups = groups.as_ref().map(|groups| groups.as_primitive::<Int64Type>());
    let group_of = |row: usize| match groups {
        None => Some(0),
        Some(groups) => groups
            .is_valid(row)
            .then(|| usize::try_from(groups.value(row)).ok())
            .flatten(),
    };
    let rows = args.number_rows;
    let mut found = StringBuilder::with_capacity(rows, rows * 16);
    if let (TextArgument::Constant(Some(pattern)), Some(group), true) = (
        &patterns,
        group_of(0),
        groups.is_none_or(|groups| is_constant(groups.values())),
    ) {
        extract_all(&texts, pattern, group, rows, &mut found)?;
        return Ok(Arc::new(found.finish()));
    }
    let mut current = Current::default();
    for row in 0..rows {
        let known = texts.get(row).zip(patterns.get(row)).zip(group_of(row));
        let Some(((text, pattern), group)) = known else {
            found.append_null();
            continue;
        };
        let captures = current.get(pattern)?.captures(text);
        found.append_option(captures.and_then(|captures| captures.get(group).map(|part| part.as_str())));
    }
    Ok(Arc::new(found.finish()))
}

/// ARRAY<STRING>.
fn texts_type(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::new_list(DataType::Utf8, true))
}

/// The group's text (that of the first, unless said otherwise) in every match; NULL where there is no such group.
fn extract_every(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let patterns = TextArgument::of(args, 1)?;
    let groups = match args.args.len() {
        3 => column(args, 2)?,
        _ => Arc::new(Int64Array::from_value(1, args.number_rows)),
    };
    let groups = groups.as_primitive::<Int64Type>();
    let mut found = ListBuilder::new(StringBuilder::new());
    let mut current = Current::default();
    for row in 0..args.number_rows {
        let known = texts.get(row).zip(patterns.get(row));
        let Some((text, pattern)) = known.filter(|_| groups.is_valid(row)) else {
            found.append_null();
            continue;
        };
        let regex = current.get(pattern)?;
        let Some(group) = usize::try_from(groups.value(row))
            .ok()
            .filter(|&group| group < regex.captures_len())
        else {
            found.append_null();
            continue;
        };
        for captures in regex.captures_iter(text) {
            found
                .values()
                .append_option(captures.get(group).map(|part| part.as_str()));
        }
        found.append(true);
    }
    Ok(Arc::new(found.finish()))
}

fn is_constant(values: &[i64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

/// One pattern and group for all rows.
fn extract_all(
    texts: &TextArgument,
    pattern: &str,
    group: usize,
    rows: usize,
    found: &mut StringBuilder,
) -> Result<()> {
    let regex = compiled(pattern)?;
    if let Some(parameter) = QueryParameter::of(pattern, group) {
        for row in 0..rows {
            found.append_option(texts.get(row).and_then(|text| parameter.find(text)));
        }
        return Ok(());
    }
    if group == 0 {
        for row in 0..rows {
            let whole = texts.get(row).and_then(|text| regex.find(text));
            found.append_option(whole.map(|whole| whole.as_str()));
        }
        return Ok(());
    }
    let mut locations = regex.capture_locations();
    for row in 0..rows {
        let part = texts.get(row).and_then(|text| {
            regex.captures_read(&mut locations, text)?;
            let (start, end) = locations.get(group)?;
            Some(&text[start..end])
        });
        found.append_option(part);
    }
    Ok(())
}

fn match_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        2 => Ok(vec![DataType::Utf8; 2]),
        _ => plan_err!("REGEXP needs a STRING and a regular expression"),
    }
}

/// Whether the pattern stands anywhere in the text.
fn matches(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let patterns = TextArgument::of(args, 1)?;
    let mut truths = BooleanBuilder::with_capacity(args.number_rows);
    let mut current = Current::default();
    for row in 0..args.number_rows {
        match texts.get(row).zip(patterns.get(row)) {
            Some((text, pattern)) => truths.append_value(current.get(pattern)?.is_match(text)),
            None => truths.append_null(),
        }
    }
    Ok(Arc::new(truths.finish()))
}

fn replace_types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        3 => Ok(vec![DataType::Utf8; 3]),
        _ => plan_err!("REGEXP_REPLACE needs a STRING, a regular expression and its replacement"),
    }
}

/// Every match replaced; `$1` in the replacement is the first group.
fn replace(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let patterns = TextArgument::of(args, 1)?;
    let replacements = TextArgument::of(args, 2)?;
    let mut replaced = StringBuilder::with_capacity(args.number_rows, texts.bytes(args.number_rows));
    let mut current = Current::default();
    let mut template: Option<(&str, String)> = None;
    for row in 0..args.number_rows {
        let known = texts.get(row).zip(patterns.get(row)).zip(replacements.get(row));
        let Some(((text, pattern), replacement)) = known else {
            replaced.append_null();
            continue;
        };
        if template.as_ref().is_none_or(|(known, _)| *known != replacement) {
            template = Some((replacement, braced_groups(replacement)));
        }
        let template = template.as_ref().map_or("", |(_, braced)| braced.as_str());
        replaced.append_value(current.get(pattern)?.replace_all(text, template));
    }
    Ok(Arc::new(replaced.finish()))
}

/// Java's `$1x` means group 1 and the letter x; here it must be written `${1}x`.
fn braced_groups(replacement: &str) -> String {
    let mut braced = String::with_capacity(replacement.len() + 4);
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('$') => braced.push_str("$$"),
                Some(other) => braced.push(other),
                None => braced.push('\\'),
            },
            '$' => {
                let mut digits = String::new();
                while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                match digits.is_empty() {
                    true => braced.push_str("$$"),
                    false => braced.push_str(&format!("${{{digits}}}")),
                }
            }
            other => braced.push(other),
        }
    }
    braced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_a_replacement_are_javas() {
        assert_eq!(braced_groups("$1x$2"), "${1}x${2}");
        assert_eq!(braced_groups(r"\$1 $"), "$$1 $$");
    }

    #[test]
    fn no_more_patterns_are_kept_than_the_cache_holds() {
        let pattern = |number: usize| compiled(&format!("a{number}b")).unwrap();
        let first = pattern(0);
        (1..COMPILED_MAX).for_each(|number| drop(pattern(number)));
        assert!(Rc::ptr_eq(&first, &pattern(0)), "there is room for all");
        let one_more = pattern(COMPILED_MAX);
        assert!(
            !Rc::ptr_eq(&first, &pattern(0)),
            "the cache was emptied for one more"
        );
        assert!(Rc::ptr_eq(&one_more, &pattern(COMPILED_MAX)));
    }
}
