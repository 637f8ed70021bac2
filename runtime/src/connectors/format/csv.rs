//! CSV by arrow-csv: values in quotes where needed, a header by default.
//!
//! **Invariant.** Columns are found by their names in each file's own header, in any order; without
//! a header they stand in the order declared.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_csv::{ReaderBuilder, WriterBuilder};
use engine::batch::Batch;
use engine::error::SqlError;
use engine::formats::boundary::RecordBoundary;
use engine::formats::{Decoded, Decoder, Encoder, FormatError, Malformed};
use engine::sql::suggest;
use regex::Regex;

use super::take_records;
use super::written::{written_rows, written_schema};
use crate::connectors::ingest::IngestLayout;
use crate::connectors::options::TableOptions;

/// The options of CSV.
#[derive(Clone, Debug)]
pub struct CsvOptions {
    delimiter: u8,
    quote: u8,
    header: Header,
    /// The text of NULL, where it is not the empty field.
    null_literal: Option<String>,
}

/// Whether a file starts with the names of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// If its first record names a column of the table; written files do.
    Automatic,
    Always,
    Never,
}

impl Default for CsvOptions {
    fn default() -> CsvOptions {
        CsvOptions {
            delimiter: b',',
            quote: b'"',
            header: Header::Automatic,
            null_literal: None,
        }
    }
}

impl CsvOptions {
    /// Reads `csv.field-delimiter`, `csv.quote-character`, `csv.header` and `csv.null-literal`.
    ///
    /// # Errors
    /// A value that is not one ASCII character, or not one of the words.
    pub fn parse(options: &TableOptions<'_>) -> Result<CsvOptions, SqlError> {
        let character = |text: &str| match text {
            "\\t" => Some(b'\t'),
            _ => <[u8; 1]>::try_from(text.as_bytes()).ok().map(|[byte]| byte),
        };
        let one = "one ASCII character, or '\\t'";
        let defaults = CsvOptions::default();
        // The delimiter may itself be white space, which must not be trimmed away.
        let delimiter = match options.text("csv.field-delimiter") {
            None => defaults.delimiter,
            Some(text) => character(text).ok_or_else(|| options.invalid("csv.field-delimiter", one))?,
        };
        let quote = options.parsed("csv.quote-character", one, character)?;
        let words = [
            ("auto", Header::Automatic),
            ("true", Header::Always),
            ("false", Header::Never),
        ];
        Ok(CsvOptions {
            delimiter,
            quote: quote.unwrap_or(defaults.quote),
            header: options.word("csv.header", &words)?.unwrap_or(defaults.header),
            null_literal: options
                .text("csv.null-literal")
                .filter(|text| !text.is_empty())
                .map(str::to_string),
        })
    }

    /// How records end.
    pub fn boundary(&self) -> RecordBoundary {
        RecordBoundary::QuotedLine {
            quote: self.quote,
            delimiter: self.delimiter,
        }
    }

    /// See [`super::RowFormat::header_length`].
    pub fn header_length(&self, bytes: &[u8], declared: &[String]) -> usize {
        if self.header == Header::Never || bytes.is_empty() {
            return 0;
        }
        let length = self.boundary().first_record_end(bytes).unwrap_or(bytes.len());
        let is_header = match self.header {
            Header::Always => true,
            _ => self
                .names(&bytes[..length])
                .is_ok_and(|names| names.iter().any(|name| declared.contains(name))),
        };
        if is_header { length } else { 0 }
    }

    /// The names in a header.
    fn names(&self, header: &[u8]) -> Result<Vec<String>, String> {
        let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header);
        let text = std::str::from_utf8(header).map_err(|_| "the header is not UTF-8".to_string())?;
        let quote = char::from(self.quote);
        let names = text
            .trim_end_matches(['\r', '\n'])
            .split(char::from(self.delimiter))
            .map(|name| name.trim().trim_matches(quote).to_string());
        Ok(names.collect())
    }

    fn reader(&self, schema: SchemaRef) -> ReaderBuilder {
        let reader = ReaderBuilder::new(schema)
            .with_delimiter(self.delimiter)
            .with_quote(self.quote);
        match &self.null_literal {
            None => reader,
            Some(literal) => {
                let pattern = format!("^{}$", regex::escape(literal));
                reader.with_null_regex(Regex::new(&pattern).expect("invariant: an escaped text is a pattern"))
            }
        }
    }
}

/// Decodes records into the wanted columns.
#[derive(Debug)]
pub struct CsvDecoder {
    options: CsvOptions,
    wanted: SchemaRef,
    declared: Vec<String>,
    /// All columns of the file, and where the wanted ones are.
    columns: SchemaRef,
    projection: Vec<usize>,
}

impl CsvDecoder {
    /// A decoder of the wanted columns of `layout`.
    pub fn new(options: CsvOptions, layout: &IngestLayout) -> CsvDecoder {
        let (columns, projection) =
            match_names(&layout.declared, &layout.physical).expect("invariant: wanted columns are declared");
        CsvDecoder {
            options,
            wanted: layout.physical.clone(),
            declared: layout.declared.clone(),
            columns,
            projection,
        }
    }

    fn decode_records(&self, records: &[u8], count: usize) -> Result<Option<RecordBatch>, ArrowError> {
        if count == 0 {
            return Ok(None);
        }
        let mut decoder = self
            .options
            .reader(self.columns.clone())
            .with_projection(self.projection.clone())
            .with_batch_size(count)
            .build_decoder();
        let mut used = 0;
        while used < records.len() {
            match decoder.decode(&records[used..])? {
                0 => break,
                read => used += read,
            }
        }
        if records.last() != Some(&b'\n') {
            // Nothing more will come: ends the last record.
            decoder.decode(&[])?;
        }
        decoder.flush()
    }
}

/// The columns of a file with these names, and where each wanted one stands.
fn match_names(names: &[String], wanted: &SchemaRef) -> Result<(SchemaRef, Vec<usize>), String> {
    let fields = names.iter().map(|name| match wanted.field_with_name(name) {
        Ok(field) => field.clone(),
        Err(_) => Field::new(name, DataType::Utf8, true),
    });
    let columns = Schema::new(fields.collect::<Vec<_>>());
    let position = |field: &Arc<Field>| {
        let name = field.name();
        names.iter().position(|known| known == name).ok_or_else(|| {
            let hint = suggest::hint(name, names, "it has");
            format!("the header has no column '{name}'; {hint} ('csv.header' = 'false' says that there is no header)")
        })
    };
    let projection = wanted.fields().iter().map(position).collect::<Result<_, _>>()?;
    Ok((Arc::new(columns), projection))
}

impl Decoder for CsvDecoder {
    fn start_file(&mut self, bytes: &[u8]) -> Result<usize, FormatError> {
        let length = self.options.header_length(bytes, &self.declared);
        let names = match length {
            0 => self.declared.clone(),
            _ => self.options.names(&bytes[..length]).map_err(FormatError::new)?,
        };
        (self.columns, self.projection) = match_names(&names, &self.wanted).map_err(FormatError::new)?;
        Ok(length)
    }

    fn decode(&mut self, bytes: &[u8], rows_max: usize) -> Decoded {
        let boundary = self.options.boundary();
        let (length, count) = take_records(boundary, bytes, rows_max);
        if let Ok(rows) = self.decode_records(&bytes[..length], count) {
            return Decoded {
                rows: rows.unwrap_or_else(|| RecordBatch::new_empty(self.wanted.clone())),
                consumed: length,
                malformed: Vec::new(),
            };
        }
        let (mut start, mut good) = (0, 0);
        while start < length {
            let (record, count) = take_records(boundary, &bytes[start..length], 1);
            let end = start + record;
            if let Err(error) = self.decode_records(&bytes[start..end], count) {
                let rows = self.decode_records(&bytes[..start], good);
                let error = error.to_string();
                // The line numbers of a single record say nothing; the caller knows the true one.
                let reason = error.split(" at line").next().unwrap_or(&error).to_string();
                return Decoded {
                    rows: rows
                        .expect("invariant: records that decode alone decode together")
                        .unwrap_or_else(|| RecordBatch::new_empty(self.wanted.clone())),
                    consumed: end,
                    malformed: vec![Malformed {
                        start,
                        end,
                        rows_before: good,
                        reason,
                    }],
                };
            }
            good += count;
            start = end;
        }
        unreachable!("invariant: records that do not decode together hold one that does not decode alone")
    }
}

/// Writes records, the op of a changelog row first.
#[derive(Debug)]
pub struct CsvEncoder {
    options: CsvOptions,
    schema: SchemaRef,
    has_ops: bool,
}

impl CsvEncoder {
    /// An encoder of these columns.
    pub fn new(options: CsvOptions, schema: SchemaRef, has_ops: bool) -> CsvEncoder {
        CsvEncoder {
            options,
            schema,
            has_ops,
        }
    }

    fn write(&self, rows: &RecordBatch, header: bool, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut writer = WriterBuilder::new()
            .with_header(header)
            .with_delimiter(self.options.delimiter)
            .with_quote(self.options.quote)
            .with_null(self.options.null_literal.clone().unwrap_or_default())
            .build(out);
        writer.write(rows)
    }
}

impl Encoder for CsvEncoder {
    fn header(&self) -> Option<Vec<u8>> {
        if self.options.header == Header::Never {
            return None;
        }
        let mut header = Vec::new();
        let empty = RecordBatch::new_empty(written_schema(&self.schema, self.has_ops));
        self.write(&empty, true, &mut header)
            .expect("invariant: names can be written");
        Some(header)
    }

    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let rows = written_rows(batch, &self.schema, self.has_ops, false)?;
        self.write(&rows, false, out)
            .map_err(|error| FormatError::new(format!("cannot write rows as CSV: {error}")))
    }
}
