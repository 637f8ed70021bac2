//! STR_TO_MAP: pairs of keys and values in a text, as Flink has it; `MAP[k, v, …]`, read by `sql::constructors`.
//!
//! **Invariant.** A key stands in a map once: the last pair wins.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, MapArray, MapBuilder, MapFieldNames, StringBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Fields};
use arrow_row::{RowConverter, SortField};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::type_coercion::binary::type_union_resolution;
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, TextArgument, column};
use crate::functions::regular_expressions::compiled;

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        NativeFunction::coercing("str_to_map", texts, |_| Ok(map_type()), str_to_map).shared(),
        NativeFunction::coercing("map_of", entries, entries_type, map_of).shared(),
    ]
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

/// The types of keys and values: all keys share one, and all values.
fn entries(types: &[DataType]) -> Result<Vec<DataType>> {
    let common = |first: usize| {
        let types: Vec<DataType> = types.iter().skip(first).step_by(2).cloned().collect();
        type_union_resolution(&types)
    };
    if types.is_empty() || types.len() % 2 == 1 {
        return plan_err!("MAP needs a value for each key: MAP['a', 1, 'b', 2]");
    }
    let (Some(key), Some(value)) = (common(0), common(1)) else {
        return plan_err!("the keys of a MAP are of one type, and so are its values");
    };
    if key == DataType::Null {
        return plan_err!("a key of MAP is NULL");
    }
    Ok((0..types.len() / 2)
        .flat_map(|_| [key.clone(), value.clone()])
        .collect())
}

fn entries_type(types: &[DataType]) -> Result<DataType> {
    let fields = Fields::from(vec![
        Field::new("key", types[0].clone(), false),
        Field::new("value", types[1].clone(), true),
    ]);
    let entries = Field::new("entries", DataType::Struct(fields), false);
    Ok(DataType::Map(Arc::new(entries), false))
}

fn map_of(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let columns = (0..args.args.len()).map(|index| column(args, index));
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let keys: Vec<&dyn Array> = columns.iter().step_by(2).map(AsRef::as_ref).collect();
    let values: Vec<&dyn Array> = columns.iter().skip(1).step_by(2).map(AsRef::as_ref).collect();
    let converter = RowConverter::new(vec![SortField::new(keys[0].data_type().clone())])?;
    let rows = columns.iter().step_by(2);
    let rows = rows
        .map(|keys| converter.convert_columns(std::slice::from_ref(keys)))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let mut places = Vec::new();
    let mut lengths = Vec::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        let before = places.len();
        for pair in 0..keys.len() {
            if keys[pair].is_null(row) {
                return exec_err!("a key of MAP is NULL");
            }
            let is_again = (pair + 1..keys.len()).any(|later| rows[later].row(row) == rows[pair].row(row));
            if !is_again {
                places.push((pair, row));
            }
        }
        lengths.push(places.len() - before);
    }
    let (keys, values) = (interleave(&keys, &places)?, interleave(&values, &places)?);
    let DataType::Map(entries, _) = entries_type(&[keys.data_type().clone(), values.data_type().clone()])?
    else {
        unreachable!("invariant: entries make a map")
    };
    let DataType::Struct(fields) = entries.data_type() else {
        unreachable!("invariant: entries are pairs")
    };
    let pairs = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(MapArray::try_new(entries, offsets, pairs, None, false)?))
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
