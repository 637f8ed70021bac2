//! Formats by the name in `'format' = '…'`: from options to the engine's decoders and encoders.

use std::fs::File;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use engine::error::SqlError;
use engine::formats::boundary::RecordBoundary;
use engine::formats::{Decoder, Encoder};

use super::decoding::MalformedPolicy;
use super::ingest::IngestLayout;
use super::options::TableOptions;
use csv::{CsvDecoder, CsvEncoder, CsvOptions};
use json::{JsonDecoder, JsonEncoder, JsonOptions};

pub mod csv;
pub mod json;
mod written;

/// The length of the first records of `bytes`, at most `rows_max` that are not blank, and how many
/// those are. The last record may lack its line break.
fn take_records(boundary: RecordBoundary, bytes: &[u8], rows_max: usize) -> (usize, usize) {
    let (mut length, mut count) = (0, 0);
    while length < bytes.len() && count < rows_max {
        let record = boundary
            .first_record_end(&bytes[length..])
            .unwrap_or(bytes.len() - length);
        let is_blank = bytes[length..length + record].iter().all(u8::is_ascii_whitespace);
        count += usize::from(!is_blank);
        length += record;
    }
    (length, count)
}

/// What `'format'` names.
#[derive(Clone, Debug)]
pub enum FormatKind {
    /// Text, one record after the other.
    Rows(RowFormat),
    /// Parquet.
    Parquet,
}

impl FormatKind {
    /// Reads `'format'` and the options of that format; without `'format'`, `otherwise` is taken.
    ///
    /// # Errors
    /// An unknown format, a wrong option, or neither a format nor another way to know it.
    pub fn parse(options: &TableOptions<'_>, otherwise: Option<&str>) -> Result<FormatKind, SqlError> {
        let name = match options.text("format").or(otherwise) {
            Some(name) => name,
            None => options.required("format", "one of 'json', 'csv', 'parquet'")?,
        };
        match name {
            "json" | "ndjson" => Ok(FormatKind::Rows(RowFormat::Json(JsonOptions::parse(options)?))),
            "csv" => Ok(FormatKind::Rows(RowFormat::Csv(CsvOptions::parse(options)?))),
            "parquet" => Ok(FormatKind::Parquet),
            _ => Err(options.invalid("format", "one of 'json', 'csv', 'parquet'")),
        }
    }
}

/// A text format and its options.
#[derive(Clone, Debug)]
pub enum RowFormat {
    /// One JSON object a line.
    Json(JsonOptions),
    /// Separated values.
    Csv(CsvOptions),
}

impl RowFormat {
    /// NDJSON as it is by default.
    pub fn default_json() -> RowFormat {
        RowFormat::Json(JsonOptions::default())
    }

    /// CSV with a header.
    pub fn default_csv() -> RowFormat {
        RowFormat::Csv(CsvOptions::default())
    }

    /// The word before the dot of its options.
    fn name(&self) -> &'static str {
        match self {
            RowFormat::Json(_) => "json",
            RowFormat::Csv(_) => "csv",
        }
    }

    /// What a file name ends with.
    pub fn extension(&self) -> &'static str {
        match self {
            RowFormat::Json(_) => ".ndjson",
            RowFormat::Csv(_) => ".csv",
        }
    }

    /// How records end.
    pub fn boundary(&self) -> RecordBoundary {
        match self {
            RowFormat::Json(_) => RecordBoundary::Line,
            RowFormat::Csv(options) => options.boundary(),
        }
    }

    /// The bytes of the header that `bytes`, the start of a file, begins with; `declared` are the
    /// names of the table's columns.
    pub fn header_length(&self, bytes: &[u8], declared: &[String]) -> usize {
        match self {
            RowFormat::Json(_) => 0,
            RowFormat::Csv(options) => options.header_length(bytes, declared),
        }
    }

    /// A decoder of the wanted columns.
    pub fn decoder(&self, layout: &IngestLayout) -> Box<dyn Decoder> {
        match self {
            RowFormat::Json(_) => Box::new(JsonDecoder::new(layout.physical.clone())),
            RowFormat::Csv(options) => Box::new(CsvDecoder::new(options.clone(), layout)),
        }
    }

    /// An encoder of these columns, and of the op where rows carry one.
    pub fn encoder(&self, schema: &SchemaRef, has_ops: bool) -> Box<dyn Encoder> {
        match self {
            RowFormat::Json(options) => Box::new(JsonEncoder::new(*options, schema.clone(), has_ops)),
            RowFormat::Csv(options) => Box::new(CsvEncoder::new(options.clone(), schema.clone(), has_ops)),
        }
    }

    /// What becomes of malformed records: `<format>.ignore-parse-errors`, `<format>.dead-letter-file`.
    ///
    /// # Errors
    /// A wrong value; a dead-letter file that cannot be opened.
    pub fn malformed_policy(&self, options: &TableOptions<'_>) -> Result<MalformedPolicy, SqlError> {
        let (ignore, letters) = (
            format!("{}.ignore-parse-errors", self.name()),
            format!("{}.dead-letter-file", self.name()),
        );
        let is_ignoring = options.boolean(&ignore, false)?;
        match options.text(&letters) {
            None if is_ignoring => Ok(MalformedPolicy::Skip),
            None => Ok(MalformedPolicy::Fail),
            Some(path) => {
                let opened = File::options().create(true).append(true).open(path);
                let file = opened.map_err(|error| {
                    options.error(
                        &letters,
                        format!("cannot open the dead-letter file {path}: {error}"),
                    )
                })?;
                Ok(MalformedPolicy::DeadLetter(path.into(), Arc::new(file)))
            }
        }
    }
}
