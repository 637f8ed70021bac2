//! STR_TO_MAP: pairs of keys and values in a text, as Flink has it.
//!
//! **Invariant.** A key stands in a map once: the last pair wins.

use std::sync::Arc;

use arrow::array::{ArrayRef, MapBuilder, MapFieldNames, StringBuilder};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, TextArgument};
use crate::functions::regular_expressions::compiled;

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![NativeFunction::coercing("str_to_map", texts, |_| Ok(map_type()), str_to_map).shared()]
}

/// MAP<STRING, STRING>.
fn map_type() -> DataType {
    let entry = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
    ]);
    DataType::Map(
        Arc::new(Field::new("entries", DataType::Struct(entry), false)),
        false,
    )
}

fn texts(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        1 | 3 => Ok(vec![DataType::Utf8; types.len()]),
        _ => plan_err!(
            "STR_TO_MAP needs a STRING and, if at all, what stands between pairs (',') and between a key and its value ('=')"
        ),
    }
}

fn str_to_map(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let delimiters = match args.args.len() {
        3 => [TextArgument::of(args, 1)?, TextArgument::of(args, 2)?],
        _ => [",", "="].map(|delimiter| TextArgument::Constant(Some(delimiter.to_string()))),
    };
    let names = MapFieldNames {
        entry: "entries".to_string(),
        key: "key".to_string(),
        value: "value".to_string(),
    };
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in 0..args.number_rows {
        let given = (texts.get(row), delimiters[0].get(row), delimiters[1].get(row));
        let (Some(text), Some(between_pairs), Some(within_pairs)) = given else {
            maps.append(false)?;
            continue;
        };
        for (key, value) in pairs(text, between_pairs, within_pairs)? {
            maps.keys().append_value(key);
            maps.values().append_option(value);
        }
        maps.append(true)?;
    }
    Ok(Arc::new(maps.finish()))
}

/// The pairs of `text`, whose delimiters are regular expressions; a key without a value has NULL.
fn pairs<'t>(text: &'t str, between: &str, within: &str) -> Result<Vec<(&'t str, Option<&'t str>)>> {
    let (between, within) = (compiled(between)?, compiled(within)?);
    let mut pairs: Vec<(&str, Option<&str>)> = Vec::new();
    for pair in between.split(text) {
        let mut parts = within.splitn(pair, 2);
        let key = parts.next().unwrap_or_default();
        let value = parts.next();
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some(known) => known.1 = value,
            None => pairs.push((key, value)),
        }
    }
    Ok(pairs)
}
