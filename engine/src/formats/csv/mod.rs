//! CSV to batches: records of delimited fields, straight into the wanted columns.
//!
//! Fields may be quoted; a quote inside is doubled; line breaks inside quotes belong to the field.
//! An empty field is NULL, in text columns an empty text (in BYTES columns with quotes, no byte); the null literal without quotes is NULL
//! everywhere. ARRAY, ROW and MAP are JSON in one field.
//!
//! **Invariant.** A record has as many fields as the header (or as columns are declared). A
//! malformed record leaves no trace in any column.

use std::borrow::Cow;

use arrow::datatypes::{Schema, SchemaRef};
use memchr::memchr2;

use super::boundary::RecordBoundary;
use super::column::{Column, Values};
use super::fault::{Fault, FaultKind};
use super::keys::skip_blanks;
use super::ndjson::{batch, byte_order_mark, value};
use super::number::short_integer;
use super::scan::{byte, find};
use super::{DECODE_BYTES_MAX, Decoded, Decoder, FormatError, Malformed, RECORD_BYTES_MAX, is_utf8};

/// Whether a file starts with the names of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsvHeader {
    /// It does.
    Present,
    /// It does not: columns stand in the order declared.
    Absent,
    /// It does if its first record has the names of all wanted columns.
    Detect,
}

/// How CSV is read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields that need it.
    pub quote: u8,
    /// Whether files have a header; a sink writes one unless it is absent.
    pub header: CsvHeader,
    /// The text of NULL; without one, the empty field is NULL in all columns but text.
    pub null_literal: Option<String>,
    /// Longest record that is accepted.
    pub record_bytes_max: usize,
}

impl Default for CsvOptions {
    fn default() -> CsvOptions {
        CsvOptions {
            delimiter: b',',
            quote: b'"',
            header: CsvHeader::Present,
            null_literal: None,
            record_bytes_max: RECORD_BYTES_MAX,
        }
    }
}

impl CsvOptions {
    /// How records end.
    pub fn boundary(&self) -> RecordBoundary {
        RecordBoundary::QuotedLine {
            quote: self.quote,
            delimiter: self.delimiter,
        }
    }
}

/// Decodes records into the wanted columns.
#[derive(Debug)]
pub struct CsvDecoder {
    schema: SchemaRef,
    declared: Vec<String>,
    options: CsvOptions,
    columns: Vec<Column>,
    /// The column of each field of a record.
    fields: Vec<Option<usize>>,
}

/// A field of a record.
struct FieldText<'a> {
    text: Cow<'a, [u8]>,
    is_quoted: bool,
    /// Where the field ends.
    end: usize,
}

impl CsvDecoder {
    /// A decoder of the columns of `schema`. `declared` names the columns of the table in order: what
    /// files without a header hold.
    ///
    /// # Errors
    /// A column of a type that text cannot hold, or that is not declared; delimiter and quote alike.
    pub fn new(
        schema: SchemaRef,
        declared: Vec<String>,
        options: CsvOptions,
    ) -> Result<CsvDecoder, FormatError> {
        let (delimiter, quote) = (options.delimiter, options.quote);
        if delimiter == quote
            || [delimiter, quote]
                .iter()
                .any(|letter| matches!(letter, b'\n' | b'\r'))
        {
            return Err(FormatError::new(
                "delimiter and quote must be two different characters, neither of them a line break",
            ));
        }
        let columns = schema
            .fields()
            .iter()
            .cloned()
            .map(Column::new)
            .collect::<Result<_, _>>()?;
        let mut decoder = CsvDecoder {
            schema,
            declared,
            options,
            columns,
            fields: Vec::new(),
        };
        decoder.use_declared_names()?;
        Ok(decoder)
    }

    fn use_declared_names(&mut self) -> Result<(), FormatError> {
        self.fields = match_names(&self.declared, &self.schema)
            .map_err(|name| FormatError::new(format!("column '{name}' is not among the columns declared")))?;
        Ok(())
    }

    /// Appends one record to the columns.
    fn record(&mut self, record: &[u8]) -> Result<(), Box<Fault>> {
        if record.len() > self.options.record_bytes_max {
            return Err(Fault::at(FaultKind::TooLong, 0));
        }
        if let Err(at) = is_utf8(record) {
            return Err(Fault::at(FaultKind::NotUtf8, at));
        }
        let (mut at, mut count) = (0, 0);
        loop {
            if byte(record, at) != self.options.quote {
                // Most fields are not quoted, and most of those are of a few types.
                let end = find(record, at, self.options.delimiter);
                if let Some(&Some(index)) = self.fields.get(count) {
                    append_plain(&mut self.columns[index], record, at, end, &self.options)
                        .map_err(|kind| Fault::at(kind, at).of_column(index))?;
                }
                count += 1;
                if end >= record.len() {
                    break;
                }
                at = end + 1;
                continue;
            }
            let field = self.quoted_field(record, at)?;
            if let Some(&Some(index)) = self.fields.get(count) {
                append(&mut self.columns[index], &field, &self.options)
                    .map_err(|kind| Fault::at(kind, at).of_column(index))?;
            }
            count += 1;
            if field.end >= record.len() {
                break;
            }
            at = field.end + 1;
        }
        if count != self.fields.len() {
            let expected = self.fields.len() as u32;
            return Err(Fault::at(FaultKind::FieldCount { expected }, count));
        }
        Ok(())
    }

    #[inline]
    fn field<'a>(&self, record: &'a [u8], at: usize) -> Result<FieldText<'a>, Box<Fault>> {
        if byte(record, at) == self.options.quote {
            return self.quoted_field(record, at);
        }
        let end = find(record, at, self.options.delimiter);
        Ok(FieldText {
            text: Cow::Borrowed(&record[at..end]),
            is_quoted: false,
            end,
        })
    }

    #[cold]
    fn quoted_field<'a>(&self, record: &'a [u8], at: usize) -> Result<FieldText<'a>, Box<Fault>> {
        let quote = self.options.quote;
        let start = at + 1;
        let mut text = Cow::Borrowed(&record[start..start]);
        let mut piece = start;
        loop {
            let end = find(record, piece, quote);
            if end >= record.len() {
                return Err(Fault::at(FaultKind::StringUnended, end));
            }
            let is_doubled = byte(record, end + 1) == quote;
            // The first of two quotes belongs to the text.
            let part = &record[piece..end + usize::from(is_doubled)];
            if piece == start {
                text = Cow::Borrowed(part);
            } else {
                text.to_mut().extend_from_slice(part);
            }
            if !is_doubled {
                let end = end + 1;
                if end < record.len() && record[end] != self.options.delimiter {
                    return Err(Fault::at(FaultKind::QuoteWithin, end));
                }
                return Ok(FieldText {
                    text,
                    is_quoted: true,
                    end,
                });
            }
            piece = end + 2;
        }
    }

    /// The names in a header.
    fn names_of(&self, header: &[u8]) -> Result<Vec<String>, Box<Fault>> {
        let mut names = Vec::new();
        let mut at = 0;
        loop {
            let field = self.field(header, at)?;
            names.push(String::from_utf8_lossy(&field.text).trim().to_string());
            if field.end >= header.len() {
                return Ok(names);
            }
            at = field.end + 1;
        }
    }
}

/// The column of each name; the first name wanted that is missing is the error.
fn match_names(names: &[String], wanted: &Schema) -> Result<Vec<Option<usize>>, String> {
    let mut fields = vec![None; names.len()];
    for (index, field) in wanted.fields().iter().enumerate() {
        match names.iter().position(|name| name == field.name()) {
            Some(place) => fields[place] = Some(index),
            None => return Err(field.name().clone()),
        }
    }
    Ok(fields)
}

/// Appends `record[start..end]`, a field without quotes.
#[inline]
fn append_plain(
    column: &mut Column,
    record: &[u8],
    start: usize,
    end: usize,
    options: &CsvOptions,
) -> Result<(), FaultKind> {
    match &mut column.values {
        Values::Int64(values) => {
            if let Some((number, number_end)) = short_integer(record, start)
                && number_end == end
            {
                values.push(number);
                column.nulls.append_non_null();
                return Ok(());
            }
        }
        Values::Text(texts) if options.null_literal.is_none() => {
            texts.push(record, start, end);
            column.nulls.append_non_null();
            return Ok(());
        }
        _ => {}
    }
    let field = FieldText {
        text: Cow::Borrowed(&record[start..end]),
        is_quoted: false,
        end,
    };
    append(column, &field, options)
}

fn append(column: &mut Column, field: &FieldText<'_>, options: &CsvOptions) -> Result<(), FaultKind> {
    let text: &[u8] = &field.text;
    let is_literal = |literal: &String| !field.is_quoted && text == literal.as_bytes();
    let is_null = options.null_literal.as_ref().is_some_and(is_literal);
    let has_empty_value = column.is_text() || (column.is_bytes() && field.is_quoted);
    if is_null || (text.is_empty() && !has_empty_value) {
        return column.append_null();
    }
    if column.is_nested() {
        let end = value::value(column, text, skip_blanks(text, 0), 0).map_err(|fault| fault.kind)?;
        if skip_blanks(text, end) < text.len() {
            return Err(FaultKind::WrongType);
        }
        return Ok(());
    }
    column.append_text(text)
}

impl Decoder for CsvDecoder {
    fn start_file(&mut self, bytes: &[u8]) -> Result<usize, FormatError> {
        let mark = byte_order_mark(bytes);
        let rest = &bytes[mark..];
        if self.options.header == CsvHeader::Absent || rest.is_empty() {
            return Ok(mark);
        }
        let length = self
            .options
            .boundary()
            .first_record_end(rest)
            .unwrap_or(rest.len());
        let header = without_line_break(&rest[..length]);
        let names = self.names_of(header).map_err(|fault| {
            let reason = fault.describe(&self.schema, &header[fault.at.min(header.len())..], 0);
            FormatError::new(format!("the header cannot be read: {reason}"))
        })?;
        match match_names(&names, &self.schema) {
            Ok(fields) => {
                self.fields = fields;
                Ok(mark + length)
            }
            Err(_) if self.options.header == CsvHeader::Detect => {
                self.use_declared_names()?;
                Ok(mark)
            }
            Err(missing) => Err(FormatError::new(format!(
                "the header has no column '{missing}'; it has: {} (a file without a header needs 'csv.header' = 'false')",
                names.join(", ")
            ))),
        }
    }

    fn decode(&mut self, bytes: &[u8], records_max: usize) -> Decoded {
        let boundary = self.options.boundary();
        let (mut at, mut records, mut rows) = (0, 0, 0);
        let mut malformed = Vec::new();
        while at < bytes.len() && records < records_max && at < DECODE_BYTES_MAX {
            let rest = &bytes[at..];
            // Most records hold no quote: their line break is the first one.
            let length = match memchr2(b'\n', self.options.quote, rest) {
                Some(line) if rest[line] == b'\n' => line + 1,
                Some(_) => boundary.first_record_end(rest).unwrap_or(rest.len()),
                None => rest.len(),
            };
            let record = without_line_break(&rest[..length]);
            let start = at;
            at += length;
            if record.is_empty() {
                continue;
            }
            match self.record(record) {
                Ok(()) => rows += 1,
                Err(fault) => {
                    for column in &mut self.columns {
                        column.truncate(rows);
                    }
                    malformed.push(Malformed {
                        start,
                        end: start + record.len(),
                        rows_before: rows,
                        reason: self.reason(&fault, record),
                    });
                }
            }
            records += 1;
        }
        Decoded {
            rows: batch(&self.schema, &mut self.columns, rows),
            consumed: at,
            malformed,
        }
    }
}

impl CsvDecoder {
    fn reason(&self, fault: &Fault, record: &[u8]) -> String {
        // Of a wrong number of fields the place is that number, which may lie behind a record of empty fields.
        let at = fault.at.min(record.len());
        let value = match self.field(record, at) {
            Ok(field) => &record[at..field.end],
            Err(_) => &record[at..],
        };
        fault.describe(&self.schema, value, self.options.record_bytes_max)
    }
}

fn without_line_break(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}

#[cfg(test)]
mod tests;
