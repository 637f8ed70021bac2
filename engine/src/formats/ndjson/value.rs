//! JSON values straight into columns.

use super::skip::{self, DEPTH_MAX, End, Next, ends_value};
use super::text::unescape;
use crate::formats::column::{Column, Values};
use crate::formats::fault::{Fault, FaultKind};
use crate::formats::keys::{ObjectKeys, skip_blanks};
use crate::formats::number::{short_integer, short_real};
use crate::formats::scan::{byte, find_either};

/// What becomes of a column whose key an object does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::formats) enum Absent {
    /// It is NULL.
    IsNull,
    /// The record is malformed.
    IsMalformed,
}

/// Appends the object at `at` (which is its `{`) to `columns`, each by one value; where it ends.
///
/// # Errors
/// Some columns may have grown then; the caller cuts them back.
pub(in crate::formats) fn object(
    keys: &mut ObjectKeys,
    columns: &mut [Column],
    text: &[u8],
    at: usize,
    depth: usize,
    absent: Absent,
) -> End {
    if depth >= DEPTH_MAX {
        return Err(Fault::at(FaultKind::TooDeep, at));
    }
    let row = columns.first().map_or(0, Column::len);
    let mut at = at + 1;
    if byte(text, at) != b'"' {
        at = skip_blanks(text, at);
        if byte(text, at) == b'}' {
            finish_row(columns, row, at, absent)?;
            return Ok(at + 1);
        }
    }
    let (mut place, mut found) = (0, 0);
    loop {
        let column;
        match keys.expected(place, text, at) {
            Some((expected, value_at)) => {
                (column, at) = (expected, value_at);
                place += 1;
            }
            None => (column, place, at) = unexpected_key(keys, place, text, at)?,
        }
        if byte(text, at) <= b' ' {
            at = skip_blanks(text, at);
        }
        at = match column {
            Some(index) => {
                let column = &mut columns[index];
                if column.len() > row {
                    column.truncate(row);
                } else {
                    found += 1;
                }
                value(column, text, at, depth + 1).map_err(|fault| fault.of_column(index))?
            }
            None => skip::value(text, at, depth + 1)?,
        };
        at = match skip::next(text, at, b'}')? {
            Next::Another(at) => at,
            Next::Closed(end) => {
                if found < columns.len() {
                    finish_row(columns, row, end - 1, absent)?;
                }
                return Ok(end);
            }
        };
    }
}

/// The column of a key that does not stand where it is expected, the place behind it, and where
/// its value begins.
#[cold]
fn unexpected_key(
    keys: &mut ObjectKeys,
    place: usize,
    text: &[u8],
    at: usize,
) -> Result<(Option<usize>, usize, usize), Box<Fault>> {
    let (end, value_at) = skip::key(text, at)?;
    let name = &text[at + 1..end];
    let (column, place) = if name.contains(&b'\\') {
        let mut unescaped = Vec::new();
        unescape(name, at + 1, &mut unescaped)?;
        keys.look_up(place, &unescaped)
    } else {
        keys.look_up(place, name)
    };
    Ok((column, place, value_at))
}

/// Appends NULL to the columns that the object which ended at `at` did not have.
#[cold]
fn finish_row(columns: &mut [Column], row: usize, at: usize, absent: Absent) -> Result<(), Box<Fault>> {
    for (index, column) in columns.iter_mut().enumerate() {
        if column.len() > row {
            continue;
        }
        let is_missing = absent == Absent::IsMalformed || column.append_null().is_err();
        if is_missing {
            return Err(Fault::at(FaultKind::Missing, at).of_column(index));
        }
    }
    Ok(())
}

/// Appends the value at `at` to `column`; where it ends.
#[inline]
pub(in crate::formats) fn value(column: &mut Column, text: &[u8], at: usize, depth: usize) -> End {
    match &mut column.values {
        Values::Int64(values) => {
            if let Some((number, end)) = short_integer(text, at)
                && ends_value(text, end)
            {
                values.push(number);
                column.nulls.append_non_null();
                return Ok(end);
            }
        }
        Values::Int32(values) => {
            if let Some((number, end)) = short_integer(text, at)
                && let Ok(number) = i32::try_from(number)
                && ends_value(text, end)
            {
                values.push(number);
                column.nulls.append_non_null();
                return Ok(end);
            }
        }
        Values::Float64(values) => {
            if let Some((number, end)) = short_real(text, at)
                && ends_value(text, end)
            {
                values.push(number);
                column.nulls.append_non_null();
                return Ok(end);
            }
        }
        Values::Text(texts) if byte(text, at) == b'"' => {
            let end = find_either(text, at + 1, b'"', b'\\');
            if byte(text, end) == b'"' {
                texts.push(text, at + 1, end);
                column.nulls.append_non_null();
                return Ok(end + 1);
            }
        }
        Values::Timestamp(values, reader) if byte(text, at) == b'"' => {
            let end = find_either(text, at + 1, b'"', b'\\');
            if byte(text, end) == b'"'
                && let Ok(time) = reader.read(&text[at + 1..end])
            {
                values.push(time);
                column.nulls.append_non_null();
                return Ok(end + 1);
            }
        }
        _ => {}
    }
    any_value(column, text, at, depth)
}

/// As [`value`], for every type and every way to write it.
#[inline(never)]
fn any_value(column: &mut Column, text: &[u8], at: usize, depth: usize) -> End {
    let of_value = |kind| Fault::at(kind, at);
    match byte(text, at) {
        b'n' => {
            let end = skip::literal(text, at, b"null")?;
            column.append_null().map_err(of_value)?;
            Ok(end)
        }
        b'"' => {
            let end = skip::string(text, at)?;
            let inside = &text[at + 1..end - 1];
            if inside.contains(&b'\\') {
                let mut unescaped = Vec::with_capacity(inside.len());
                unescape(inside, at + 1, &mut unescaped)?;
                column.append_text(&unescaped).map_err(of_value)?;
            } else {
                column.append_text(inside).map_err(of_value)?;
            }
            Ok(end)
        }
        b'{' | b'[' if column.is_nested() => nested(column, text, at, depth),
        _ => {
            // Numbers and literals; an object or an array as the text of a STRING.
            let end = skip::value(text, at, depth)?;
            let bare = &text[at..end];
            if matches!(column.values, Values::Bytes(_)) {
                return Err(of_value(FaultKind::WrongType));
            }
            column.append_text(bare).map_err(of_value)?;
            Ok(end)
        }
    }
}

fn nested(column: &mut Column, text: &[u8], at: usize, depth: usize) -> End {
    let end = match (&mut column.values, byte(text, at)) {
        (Values::Struct { keys, children }, b'{') => object(keys, children, text, at, depth, Absent::IsNull)?,
        (Values::List { offsets, element }, b'[') => {
            let end = array(element, text, at, depth)?;
            offsets.push(length_of(element));
            end
        }
        (Values::Map { offsets, entries }, b'{') => {
            let end = map(entries, text, at, depth)?;
            offsets.push(length_of(&entries[0]));
            end
        }
        _ => return Err(Fault::at(FaultKind::WrongType, at)),
    };
    column.nulls.append_non_null();
    Ok(end)
}

fn length_of(column: &Column) -> i32 {
    i32::try_from(column.len()).expect("invariant: there are fewer values than bytes, and those are limited")
}

/// Appends the elements of the array at `at`.
fn array(element: &mut Column, text: &[u8], at: usize, depth: usize) -> End {
    if depth >= DEPTH_MAX {
        return Err(Fault::at(FaultKind::TooDeep, at));
    }
    let mut at = skip_blanks(text, at + 1);
    if byte(text, at) == b']' {
        return Ok(at + 1);
    }
    loop {
        at = value(element, text, at, depth + 1)?;
        at = match skip::next(text, at, b']')? {
            Next::Another(at) => at,
            Next::Closed(end) => return Ok(end),
        };
    }
}

/// Appends the entries of the object at `at` to the columns of keys and values; of equal keys all
/// are kept, as they come.
fn map(entries: &mut [Column; 2], text: &[u8], at: usize, depth: usize) -> End {
    if depth >= DEPTH_MAX {
        return Err(Fault::at(FaultKind::TooDeep, at));
    }
    let [keys, values] = entries;
    let mut at = skip_blanks(text, at + 1);
    if byte(text, at) == b'}' {
        return Ok(at + 1);
    }
    loop {
        let (_, value_at) = skip::key(text, at)?;
        any_value(keys, text, at, depth + 1)?;
        at = value(values, text, skip_blanks(text, value_at), depth + 1)?;
        at = match skip::next(text, at, b'}')? {
            Next::Another(at) => at,
            Next::Closed(end) => return Ok(end),
        };
    }
}
