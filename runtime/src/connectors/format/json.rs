//! NDJSON by arrow-json: one object a line.
//!
//! **Invariant.** A line is one record: an object that goes on over a line break, or a second one
//! on the same line, is malformed.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_json::ReaderBuilder;
use arrow_json::writer::{LineDelimited, WriterBuilder};
use engine::batch::Batch;
use engine::error::SqlError;
use engine::formats::boundary::RecordBoundary;
use engine::formats::{Decoded, Decoder, Encoder, FormatError, Malformed};

use super::take_records;
use super::written::written_rows;
use crate::connectors::options::TableOptions;

/// The options of JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonOptions {
    /// Whether times are written as ISO 8601 has them.
    iso_times: bool,
}

impl JsonOptions {
    /// Reads `json.timestamp-format.standard`.
    ///
    /// # Errors
    /// A wrong value, or `json.fail-on-missing-field`, which is not supported yet.
    pub fn parse(options: &TableOptions<'_>) -> Result<JsonOptions, SqlError> {
        if options.boolean("json.fail-on-missing-field", false)? {
            return Err(options
                .error(
                    "json.fail-on-missing-field",
                    "missing fields cannot be refused yet: they are NULL",
                )
                .hint("declare the column NOT NULL: then NULL and missing fields are malformed"));
        }
        let standard = [("SQL", false), ("ISO-8601", true)];
        let iso_times = options.word("json.timestamp-format.standard", &standard)?;
        Ok(JsonOptions {
            iso_times: iso_times.unwrap_or(false),
        })
    }
}

/// Decodes lines into the wanted columns.
#[derive(Debug)]
pub struct JsonDecoder {
    schema: SchemaRef,
}

impl JsonDecoder {
    /// A decoder of these columns; others are passed over.
    pub fn new(schema: SchemaRef) -> JsonDecoder {
        JsonDecoder { schema }
    }

    /// The rows of `lines`, of which `count` are not blank.
    fn decode_lines(&self, lines: &[u8], count: usize) -> Result<Option<RecordBatch>, ArrowError> {
        if count == 0 {
            return Ok(None);
        }
        let mut decoder = ReaderBuilder::new(self.schema.clone())
            .with_batch_size(count + 1)
            .build_decoder()?;
        let used = decoder.decode(lines)?;
        if used < lines.len() || decoder.has_partial_record() || decoder.len() != count {
            let message = "a line is not exactly one JSON object".to_string();
            return Err(ArrowError::JsonError(message));
        }
        decoder.flush()
    }
}

impl Decoder for JsonDecoder {
    fn start_file(&mut self, _bytes: &[u8]) -> Result<usize, FormatError> {
        Ok(0)
    }

    fn decode(&mut self, bytes: &[u8], rows_max: usize) -> Decoded {
        let (length, count) = take_records(RecordBoundary::Line, bytes, rows_max);
        if let Ok(rows) = self.decode_lines(&bytes[..length], count) {
            return Decoded {
                rows: rows.unwrap_or_else(|| RecordBatch::new_empty(self.schema.clone())),
                consumed: length,
                malformed: Vec::new(),
            };
        }
        let (mut start, mut good) = (0, 0);
        while start < length {
            let (line, count) = take_records(RecordBoundary::Line, &bytes[start..length], 1);
            let end = start + line;
            if let Err(error) = self.decode_lines(&bytes[start..end], count) {
                let rows = self.decode_lines(&bytes[..start], good);
                let reason = error.to_string();
                return Decoded {
                    rows: rows
                        .expect("invariant: lines that decode alone decode together")
                        .unwrap_or_else(|| RecordBatch::new_empty(self.schema.clone())),
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
        unreachable!("invariant: lines that do not decode together hold one that does not decode alone")
    }
}

/// Writes one object a line, the op of a changelog row first.
#[derive(Debug)]
pub struct JsonEncoder {
    options: JsonOptions,
    schema: SchemaRef,
    has_ops: bool,
}

impl JsonEncoder {
    /// An encoder of these columns.
    pub fn new(options: JsonOptions, schema: SchemaRef, has_ops: bool) -> JsonEncoder {
        JsonEncoder {
            options,
            schema,
            has_ops,
        }
    }
}

impl Encoder for JsonEncoder {
    fn header(&self) -> Option<Vec<u8>> {
        None
    }

    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let rows = written_rows(batch, &self.schema, self.has_ops, self.options.iso_times)?;
        let mut writer = WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, LineDelimited>(out);
        writer
            .write(&rows)
            .and_then(|()| writer.finish())
            .map_err(|error| FormatError::new(format!("cannot write rows as JSON: {error}")))
    }
}
