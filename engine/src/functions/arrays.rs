//! Functions of arrays that Flink has and DataFusion lacks or means otherwise: ARRAY_POSITION, ARRAY_REMOVE,
//! ARRAY_REPEAT, ELEMENT, SPLIT.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListArray, ListBuilder, StringBuilder, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, TextArgument, column};
use crate::limits::REPEATED_MAX;

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let texts = |_: &[DataType]| Ok(DataType::new_list(DataType::Utf8, true));
    vec![
        NativeFunction::coercing(
            "array_position",
            array_and_element,
            |_| Ok(DataType::Int32),
            position,
        )
        .with_aliases(&["list_position", "array_indexof", "list_indexof"])
        .shared(),
        NativeFunction::coercing("array_remove", array_and_element, first_type, remove)
            .with_aliases(&["list_remove"])
            .shared(),
        NativeFunction::coercing("array_repeat", value_and_count, repeated_type, repeat)
            .with_aliases(&["list_repeat"])
            .shared(),
        NativeFunction::coercing("element", one_array, element_type, element).shared(),
        NativeFunction::coercing("split", two_texts, texts, split).shared(),
    ]
}

fn two_texts(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        2 => Ok(vec![DataType::Utf8; 2]),
        _ => plan_err!("SPLIT needs a STRING and a delimiter"),
    }
}

fn one_array(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::List(_)] => Ok(types.to_vec()),
        _ => plan_err!("the function needs one ARRAY"),
    }
}

/// The element is cast to the type of the array's.
fn array_and_element(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [DataType::List(of), _] => Ok(vec![types[0].clone(), of.data_type().clone()]),
        _ => plan_err!("the function needs an ARRAY and a value of its elements' type"),
    }
}

fn value_and_count(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [value, count] if count.is_integer() => Ok(vec![value.clone(), DataType::Int64]),
        _ => plan_err!("ARRAY_REPEAT needs a value and a whole number"),
    }
}

fn first_type(types: &[DataType]) -> Result<DataType> {
    Ok(types[0].clone())
}

fn repeated_type(types: &[DataType]) -> Result<DataType> {
    Ok(DataType::new_list(types[0].clone(), true))
}

fn element_type(types: &[DataType]) -> Result<DataType> {
    match types {
        [DataType::List(of)] => Ok(of.data_type().clone()),
        _ => plan_err!("ELEMENT needs one ARRAY"),
    }
}

/// For each row's array which of its elements equal the row's value; NULL equals NULL. `take` is given the row and
/// the truths, or nothing where the array is NULL.
fn each_equal(args: &ScalarFunctionArgs, mut take: impl FnMut(usize, Option<&[bool]>)) -> Result<ArrayRef> {
    let arrays = column(args, 0)?;
    let sought = column(args, 1)?;
    let lists: &ListArray = arrays.as_list();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            take(row, None);
            continue;
        }
        let elements = lists.value(row);
        let sought = arrow::array::Scalar::new(sought.slice(row, 1));
        let equal = arrow::compute::kernels::cmp::not_distinct(&elements, &sought)?;
        let truths: Vec<bool> = equal.values().iter().collect();
        take(row, Some(&truths));
    }
    Ok(arrays)
}

/// The place of the first such element, from 1; 0 = nowhere, NULL for NULL.
fn position(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let sought = column(args, 1)?;
    let mut places = Vec::with_capacity(args.number_rows);
    each_equal(args, |row, equal| {
        let place = |equal: &[bool]| {
            let first = equal.iter().position(|&equal| equal);
            first.map_or(0, |index| index as i32 + 1)
        };
        places.push(equal.filter(|_| sought.is_valid(row)).map(place));
    })?;
    Ok(Arc::new(Int32Array::from(places)))
}

/// The array without all such elements, NULLs among them if NULL is sought.
fn remove(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (mut lengths, mut kept, mut is_null) = (Vec::new(), Vec::new(), Vec::new());
    let arrays = column(args, 0)?;
    let offsets = arrays.as_list::<i32>().offsets().clone();
    each_equal(args, |row, equal| {
        is_null.push(equal.is_none());
        let before = kept.len();
        for (index, &equal) in equal.unwrap_or_default().iter().enumerate() {
            if !equal {
                kept.push(offsets[row] as u32 + index as u32);
            }
        }
        lengths.push(kept.len() - before);
    })?;
    let lists: &ListArray = arrays.as_list();
    list_of(lists, lengths, &UInt32Array::from(kept), is_null)
}

/// Lists of these lengths, made of the elements of `lists` that `kept` names.
fn list_of(
    lists: &ListArray,
    lengths: Vec<usize>,
    kept: &UInt32Array,
    is_null: Vec<bool>,
) -> Result<ArrayRef> {
    let DataType::List(field) = lists.data_type() else {
        unreachable!("invariant: the argument was coerced to an ARRAY");
    };
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    let nulls = is_null.into_iter().map(|is_null| !is_null).collect();
    let elements = take(lists.values(), kept, None)?;
    Ok(Arc::new(ListArray::try_new(
        field.clone(),
        offsets,
        elements,
        Some(nulls),
    )?))
}

fn repeat(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let values = column(args, 0)?;
    let counts = column(args, 1)?;
    let counts = counts.as_primitive::<Int64Type>();
    let (mut lengths, mut rows) = (Vec::new(), Vec::new());
    for row in 0..args.number_rows {
        let count = if counts.is_valid(row) {
            counts.value(row).max(0)
        } else {
            0
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if rows.len().saturating_add(count) > REPEATED_MAX {
            return exec_err!("ARRAY_REPEAT makes more than {REPEATED_MAX} values of one batch of rows");
        }
        rows.extend(std::iter::repeat_n(row as u32, count));
        lengths.push(count);
    }
    let nulls = counts.nulls().cloned();
    let elements = take(&values, &UInt32Array::from(rows), None)?;
    let DataType::List(field) = repeated_type(&[values.data_type().clone()])? else {
        unreachable!("invariant: ARRAY_REPEAT makes an ARRAY");
    };
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, elements, nulls)?))
}

/// The one element of an array; NULL of an empty one.
fn element(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let arrays = column(args, 0)?;
    let lists: &ListArray = arrays.as_list();
    let mut places = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        places.push(match lists.value_length(row) {
            _ if lists.is_null(row) => None,
            0 => None,
            1 => Some(lists.value_offsets()[row] as u32),
            more => return exec_err!("ELEMENT needs an ARRAY with one element, not {more}"),
        });
    }
    Ok(take(lists.values(), &UInt32Array::from(places), None)?)
}

/// The parts between delimiters; an empty delimiter separates every character.
fn split(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let delimiters = TextArgument::of(args, 1)?;
    let mut parts = ListBuilder::new(StringBuilder::new());
    for row in 0..args.number_rows {
        let Some((text, delimiter)) = texts.get(row).zip(delimiters.get(row)) else {
            parts.append_null();
            continue;
        };
        if delimiter.is_empty() {
            let letters = text.chars();
            letters.for_each(|letter| parts.values().append_value(letter.to_string()));
        } else {
            let between = text.split(delimiter);
            between.for_each(|part| parts.values().append_value(part));
        }
        parts.append(true);
    }
    Ok(Arc::new(parts.finish()))
}
