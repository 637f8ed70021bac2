//! Batches to NDJSON: one object a line, NULLs written out; on a changelog edge `"op"` comes first.
//!
//! **Invariant.** What is written is read back as the same value by [`super::ndjson`].

use std::borrow::Cow;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use super::temporal::{write_date, write_time, write_timestamp};
use super::view::{View, ViewValues, view, viewable};
use super::{Encoder, FormatError, base64, write};
use crate::batch::Batch;

/// How timestamps are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampFormat {
    /// `2024-05-01 10:00:00.000`, and `Z` behind TIMESTAMP_LTZ.
    #[default]
    Sql,
    /// `2024-05-01T10:00:00.000`, and `Z` behind TIMESTAMP_LTZ.
    Iso8601,
}

impl TimestampFormat {
    fn separator(self) -> u8 {
        match self {
            TimestampFormat::Sql => b' ',
            TimestampFormat::Iso8601 => b'T',
        }
    }
}

/// Writes one object a line.
#[derive(Clone, Debug)]
pub struct NdjsonEncoder {
    schema: SchemaRef,
    has_ops: bool,
    format: TimestampFormat,
    /// What stands before each value: `{"first":`, `,"second":`, …
    labels: Vec<Vec<u8>>,
}

impl NdjsonEncoder {
    /// An encoder of these columns; with `has_ops` every object begins with its `op`.
    pub fn new(schema: SchemaRef, has_ops: bool, format: TimestampFormat) -> NdjsonEncoder {
        let labels = schema.fields().iter().enumerate().map(|(index, field)| {
            let mut label = vec![if index == 0 && !has_ops { b'{' } else { b',' }];
            write_string(field.name().as_bytes(), &mut label);
            label.push(b':');
            label
        });
        NdjsonEncoder {
            labels: labels.collect(),
            schema,
            has_ops,
            format,
        }
    }
}

impl Encoder for NdjsonEncoder {
    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let columns = self.columns(batch)?;
        let views: Vec<View<'_>> = columns.iter().map(|column| view(column.as_ref())).collect();
        for row in 0..batch.len() {
            if self.has_ops {
                out.extend_from_slice(b"{\"op\":\"");
                out.extend_from_slice(batch.op(row).short_name().as_bytes());
                out.push(b'"');
            }
            self.write_columns(&views, row, out);
            out.extend_from_slice(b"}\n");
        }
        Ok(())
    }
}

impl NdjsonEncoder {
    fn columns<'b>(&self, batch: &'b Batch) -> Result<Vec<Cow<'b, ArrayRef>>, FormatError> {
        assert_eq!(
            batch.rows().num_columns(),
            self.schema.fields().len(),
            "invariant: a batch has the columns of its edge"
        );
        batch.rows().columns().iter().map(viewable).collect()
    }

    /// The columns of a row; without an op before them they open the object, which stays open.
    fn write_columns(&self, views: &[View<'_>], row: usize, out: &mut Vec<u8>) {
        if views.is_empty() && !self.has_ops {
            out.push(b'{');
        }
        for (label, view) in self.labels.iter().zip(views) {
            out.extend_from_slice(label);
            write_value(view, row, self.format, out);
        }
    }
}

/// Writes Debezium's envelope, as Flink does: what adds is a `c`, what takes back a `d`.
#[derive(Clone, Debug)]
pub struct DebeziumEncoder {
    rows: NdjsonEncoder,
}

impl DebeziumEncoder {
    /// An encoder of these columns.
    pub fn new(schema: SchemaRef, format: TimestampFormat) -> DebeziumEncoder {
        DebeziumEncoder {
            rows: NdjsonEncoder::new(schema, false, format),
        }
    }
}

impl Encoder for DebeziumEncoder {
    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let columns = self.rows.columns(batch)?;
        let views: Vec<View<'_>> = columns.iter().map(|column| view(column.as_ref())).collect();
        for row in 0..batch.len() {
            let (head, tail): (&[u8], &[u8]) = match batch.op(row).is_addition() {
                true => (b"{\"before\":null,\"after\":", b"},\"op\":\"c\"}\n"),
                false => (b"{\"before\":", b"},\"after\":null,\"op\":\"d\"}\n"),
            };
            out.extend_from_slice(head);
            self.rows.write_columns(&views, row, out);
            out.extend_from_slice(tail);
        }
        Ok(())
    }
}

/// The values of a column as JSON, one after the other; `None` for NULL.
///
/// # Errors
/// The type is none of SQL's.
pub(crate) fn json_texts(column: &ArrayRef, mut take: impl FnMut(Option<&str>)) -> Result<(), FormatError> {
    let column = viewable(column)?;
    let view = view(column.as_ref());
    let mut json = Vec::new();
    for row in 0..column.len() {
        json.clear();
        write_value(&view, row, TimestampFormat::Sql, &mut json);
        let text = std::str::from_utf8(&json).expect("invariant: JSON is made of valid text");
        take((!view.is_null(row)).then_some(text));
    }
    Ok(())
}

/// Appends the value of `row` as JSON.
pub(super) fn write_value(view: &View<'_>, row: usize, format: TimestampFormat, out: &mut Vec<u8>) {
    if view.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    match &view.values {
        ViewValues::Null => out.extend_from_slice(b"null"),
        ViewValues::Boolean(values) => {
            out.extend_from_slice(if values.value(row) {
                b"true" as &[u8]
            } else {
                b"false"
            });
        }
        ViewValues::Int8(values) => write::integer(values[row].into(), out),
        ViewValues::Int16(values) => write::integer(values[row].into(), out),
        ViewValues::Int32(values) => write::integer(values[row].into(), out),
        ViewValues::Int64(values) => write::integer(values[row], out),
        ViewValues::Float32(values) => match write::not_finite(values[row].into()) {
            Some(word) => write_string(word, out),
            None => write::float(values[row], out),
        },
        ViewValues::Float64(values) => match write::not_finite(values[row]) {
            Some(word) => write_string(word, out),
            None => write::double(values[row], out),
        },
        ViewValues::Decimal(values, scale) => write::decimal(values[row], *scale, out),
        ViewValues::Text(values) => write_string(values.value(row).as_bytes(), out),
        ViewValues::List(..) | ViewValues::Map(..) | ViewValues::Struct(_) => {
            write_nested(view, row, format, out);
        }
        _ => {
            out.push(b'"');
            write_plain(view, row, format.separator(), out);
            out.push(b'"');
        }
    }
}

/// Appends a value whose text needs no escapes in any format: dates, times, BYTES.
pub(super) fn write_plain(view: &View<'_>, row: usize, separator: u8, out: &mut Vec<u8>) {
    match &view.values {
        ViewValues::Date(values) => write_date(values[row].into(), out),
        ViewValues::Time32(values, unit) => write_time(values[row].into(), *unit, out),
        ViewValues::Time64(values, unit) => write_time(values[row], *unit, out),
        ViewValues::Timestamp(values, unit, has_zone) => {
            write_timestamp(values[row], *unit, separator, out);
            if *has_zone {
                out.push(b'Z');
            }
        }
        ViewValues::Bytes(values) => base64::encode(values.value(row), out),
        other => unreachable!("invariant: {other:?} has its own way to be written"),
    }
}

fn write_nested(view: &View<'_>, row: usize, format: TimestampFormat, out: &mut Vec<u8>) {
    match &view.values {
        ViewValues::List(offsets, elements) => {
            out.push(b'[');
            let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
            for index in start..end {
                if index > start {
                    out.push(b',');
                }
                write_value(elements, index, format, out);
            }
            out.push(b']');
        }
        ViewValues::Map(offsets, entries) => {
            let [keys, values] = entries.as_ref();
            out.push(b'{');
            let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
            for index in start..end {
                if index > start {
                    out.push(b',');
                }
                write_key(keys, index, format, out);
                out.push(b':');
                write_value(values, index, format, out);
            }
            out.push(b'}');
        }
        ViewValues::Struct(children) => {
            out.push(b'{');
            for (index, (field, child)) in children.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(field.name().as_bytes(), out);
                out.push(b':');
                write_value(child, row, format, out);
            }
            out.push(b'}');
        }
        other => unreachable!("invariant: {other:?} is not nested"),
    }
}

/// Appends a MAP's key: JSON wants a string there.
fn write_key(keys: &View<'_>, index: usize, format: TimestampFormat, out: &mut Vec<u8>) {
    if keys.is_text() {
        return write_value(keys, index, format, out);
    }
    let mut text = Vec::new();
    write_value(keys, index, format, &mut text);
    if text.first() == Some(&b'"') {
        out.extend_from_slice(&text);
    } else {
        write_string(&text, out);
    }
}

/// Appends `text` in quotes, with escapes where needed.
pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let plain = plain_length(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(&letter) = rest.get(plain) else { break };
        write_escape(letter, out);
        rest = &rest[plain + 1..];
    }
    out.push(b'"');
}

fn write_escape(letter: u8, out: &mut Vec<u8>) {
    let short = match letter {
        b'"' | b'\\' => letter,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(letter >> 4)], HEX[usize::from(letter & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// How many letters stand before the first one that needs an escape; eight are looked at together.
fn plain_length(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    while let Some(chunk) = text[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let hits = controls | zero_bytes(word ^ (ONES * 0x22)) | zero_bytes(word ^ (ONES * 0x5c));
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let needs_escape = |letter: &u8| *letter < 0x20 || matches!(letter, b'"' | b'\\');
    text[at..]
        .iter()
        .position(needs_escape)
        .map_or(text.len(), |found| at + found)
}
