//! Batches to CSV; on a changelog edge the first column is `op`.
//!
//! **Invariant.** What is written is read back by [`super::csv`] as the same value, given the same
//! options and a null literal; without one, a NULL text comes back as an empty one.

use arrow::datatypes::SchemaRef;

use super::csv::{CsvHeader, CsvOptions};
use super::encode_ndjson::{TimestampFormat, write_plain, write_value};
use super::view::{View, ViewValues, view, viewable};
use super::{Encoder, FormatError, write};
use crate::batch::Batch;

/// Writes records of delimited fields.
#[derive(Clone, Debug)]
pub struct CsvEncoder {
    schema: SchemaRef,
    has_ops: bool,
    options: CsvOptions,
    /// The text of a field before it is known whether it needs quotes.
    scratch: Vec<u8>,
}

impl CsvEncoder {
    /// An encoder of these columns; with `has_ops` every record begins with its op.
    pub fn new(schema: SchemaRef, has_ops: bool, options: CsvOptions) -> CsvEncoder {
        CsvEncoder {
            schema,
            has_ops,
            options,
            scratch: Vec::new(),
        }
    }

    /// A field with this text, in quotes if it needs them.
    fn write_field(&self, text: &[u8], out: &mut Vec<u8>) {
        let CsvOptions { delimiter, quote, .. } = self.options;
        let is_special =
            |letter: &u8| *letter == delimiter || *letter == quote || matches!(letter, b'\n' | b'\r');
        let is_null_literal = self
            .options
            .null_literal
            .as_ref()
            .is_some_and(|literal| literal.as_bytes() == text);
        // A record that is nothing but an empty field would be a blank line.
        let is_blank_line = text.is_empty() && self.schema.fields().len() == 1 && !self.has_ops;
        if !(text.iter().any(is_special) || is_null_literal || is_blank_line) {
            return out.extend_from_slice(text);
        }
        out.push(quote);
        for &letter in text {
            if letter == quote {
                out.push(quote);
            }
            out.push(letter);
        }
        out.push(quote);
    }

    fn write_null(&self, view: &View<'_>, out: &mut Vec<u8>) {
        match &self.options.null_literal {
            Some(literal) if !literal.is_empty() => out.extend_from_slice(literal.as_bytes()),
            _ if !view.is_text() => self.write_blank(out),
            _ => {}
        }
    }

    fn write_blank(&self, out: &mut Vec<u8>) {
        if self.schema.fields().len() == 1 && !self.has_ops {
            out.extend_from_slice(&[self.options.quote, self.options.quote]);
        }
    }

    fn write_value(&mut self, view: &View<'_>, row: usize, out: &mut Vec<u8>) {
        if view.is_null(row) {
            return self.write_null(view, out);
        }
        match &view.values {
            ViewValues::Text(values) => self.write_field(values.value(row).as_bytes(), out),
            ViewValues::Int64(values) => write::integer(values[row], out),
            ViewValues::Float32(values) if !values[row].is_finite() => {
                out.extend_from_slice(write::not_finite(values[row].into()).unwrap_or_default());
            }
            ViewValues::Float64(values) if !values[row].is_finite() => {
                out.extend_from_slice(write::not_finite(values[row]).unwrap_or_default());
            }
            ViewValues::Date(_)
            | ViewValues::Time32(..)
            | ViewValues::Time64(..)
            | ViewValues::Timestamp(..) => {
                write_plain(view, row, b' ', out);
            }
            ViewValues::Bytes(_) => {
                let mut text = std::mem::take(&mut self.scratch);
                text.clear();
                write_plain(view, row, b' ', &mut text);
                if text.is_empty() {
                    // Without quotes this would be NULL.
                    out.extend_from_slice(&[self.options.quote, self.options.quote]);
                } else {
                    self.write_field(&text, out);
                }
                self.scratch = text;
            }
            _ => {
                let mut text = std::mem::take(&mut self.scratch);
                text.clear();
                write_value(view, row, TimestampFormat::Sql, &mut text);
                self.write_field(&text, out);
                self.scratch = text;
            }
        }
    }
}

impl Encoder for CsvEncoder {
    fn header(&self) -> Option<Vec<u8>> {
        if self.options.header == CsvHeader::Absent {
            return None;
        }
        let mut header = Vec::new();
        let op = self.has_ops.then_some("op");
        let names = op
            .into_iter()
            .chain(self.schema.fields().iter().map(|field| field.name().as_str()));
        for (index, name) in names.enumerate() {
            if index > 0 {
                header.push(self.options.delimiter);
            }
            self.write_field(name.as_bytes(), &mut header);
        }
        header.push(b'\n');
        Some(header)
    }

    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        assert_eq!(
            batch.rows().num_columns(),
            self.schema.fields().len(),
            "invariant: a batch has the columns of its edge"
        );
        let columns = batch
            .rows()
            .columns()
            .iter()
            .map(viewable)
            .collect::<Result<Vec<_>, _>>()?;
        let views: Vec<View<'_>> = columns.iter().map(|column| view(column.as_ref())).collect();
        for row in 0..batch.len() {
            if self.has_ops {
                out.extend_from_slice(batch.op(row).short_name().as_bytes());
            }
            for (index, view) in views.iter().enumerate() {
                if index > 0 || self.has_ops {
                    out.push(self.options.delimiter);
                }
                self.write_value(view, row, out);
            }
            out.push(b'\n');
        }
        Ok(())
    }
}
