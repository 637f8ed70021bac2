//! Formats by the name in `'format' = '…'`: from options to the engine's decoders and encoders.
//!
//! **Invariant.** A decoder is made once when the job is prepared, so that a column that a format
//! cannot hold is told before anything runs.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use engine::error::SqlError;
use engine::formats::boundary::RecordBoundary;
use engine::formats::changelog::{ChangelogDecoder, Envelope};
use engine::formats::csv::{CsvDecoder, CsvHeader, CsvOptions};
use engine::formats::encode_csv::CsvEncoder;
use engine::formats::encode_ndjson::{DebeziumEncoder, NdjsonEncoder, TimestampFormat};
use engine::formats::ndjson::{NdjsonDecoder, NdjsonOptions};
use engine::formats::{Decoder, Encoder, FormatError};

use super::decoding::MalformedPolicy;
use super::filesystem::listing::FilePattern;
use super::ingest::IngestLayout;
use super::options::TableOptions;

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
            None => options.required(
                "format",
                "one of 'json', 'csv', 'parquet', 'changelog-json', 'debezium-json'",
            )?,
        };
        match name {
            "json" | "ndjson" => Ok(FormatKind::Rows(parse_json(options)?)),
            "changelog-json" => Ok(FormatKind::Rows(parse_changelog(options, Envelope::Flat)?)),
            "debezium-json" => Ok(FormatKind::Rows(parse_changelog(options, Envelope::Debezium)?)),
            "csv" => Ok(FormatKind::Rows(RowFormat::Csv(parse_csv(options)?))),
            "parquet" => Ok(FormatKind::Parquet),
            _ => Err(options.invalid(
                "format",
                "one of 'json', 'csv', 'parquet', 'changelog-json', 'debezium-json'",
            )),
        }
    }

    /// The format of rows that come or go without a beginning, where `what` says why there is no header; JSON unless
    /// the options say otherwise.
    ///
    /// # Errors
    /// See [`FormatKind::parse`]; a format of whole files, a header.
    pub fn parse_without_header(options: &TableOptions<'_>, what: &str) -> Result<RowFormat, SqlError> {
        let FormatKind::Rows(format) = FormatKind::parse(options, Some("json"))? else {
            return Err(options.invalid("format", "one of 'json', 'csv', 'changelog-json'"));
        };
        match options.text("csv.header") {
            None | Some("false") => Ok(format),
            Some(_) => Err(options.invalid("csv.header", &format!("'false': {what}"))),
        }
    }
}

fn parse_json(options: &TableOptions<'_>) -> Result<RowFormat, SqlError> {
    let defaults = NdjsonOptions::default();
    let standards = [
        ("SQL", TimestampFormat::Sql),
        ("ISO-8601", TimestampFormat::Iso8601),
    ];
    Ok(RowFormat::Json(
        NdjsonOptions {
            fail_on_missing_field: options
                .boolean("json.fail-on-missing-field", defaults.fail_on_missing_field)?,
            ..defaults
        },
        options
            .word("json.timestamp-format.standard", &standards)?
            .unwrap_or_default(),
    ))
}

fn parse_changelog(options: &TableOptions<'_>, envelope: Envelope) -> Result<RowFormat, SqlError> {
    match parse_json(options)? {
        RowFormat::Json(json, times) => Ok(RowFormat::Changelog(envelope, json, times)),
        other => Ok(other),
    }
}

fn parse_csv(options: &TableOptions<'_>) -> Result<CsvOptions, SqlError> {
    let defaults = CsvOptions::default();
    let character = |key: &str, default: u8| match options.text(key).map(str::as_bytes) {
        None => Ok(default),
        Some(b"\\t") => Ok(b'\t'),
        Some(&[letter]) if letter.is_ascii() => Ok(letter),
        Some(_) => Err(options.invalid(key, "one ASCII character, or '\\t'")),
    };
    let headers = [
        ("true", CsvHeader::Present),
        ("false", CsvHeader::Absent),
        ("auto", CsvHeader::Detect),
    ];
    let header = options.word("csv.header", &headers)?;
    let null_literal = options.text("csv.null-literal").map(str::to_string);
    Ok(CsvOptions {
        delimiter: character("csv.field-delimiter", defaults.delimiter)?,
        quote: character("csv.quote-character", defaults.quote)?,
        header: header.unwrap_or(defaults.header),
        null_literal: null_literal.or(defaults.null_literal),
        ..defaults
    })
}

/// A text format and its options.
#[derive(Clone, Debug)]
pub enum RowFormat {
    /// One JSON object a line, and how times are written.
    Json(NdjsonOptions, TimestampFormat),
    /// Separated values.
    Csv(CsvOptions),
    /// One JSON object a line that also says what it does to rows before it.
    Changelog(Envelope, NdjsonOptions, TimestampFormat),
}

impl RowFormat {
    /// NDJSON as it is by default.
    pub fn default_json() -> RowFormat {
        RowFormat::Json(NdjsonOptions::default(), TimestampFormat::default())
    }

    /// CSV with a header.
    pub fn default_csv() -> RowFormat {
        RowFormat::Csv(CsvOptions::default())
    }

    /// The word before the dot of its options.
    fn name(&self) -> &'static str {
        match self {
            RowFormat::Json(..) | RowFormat::Changelog(..) => "json",
            RowFormat::Csv(_) => "csv",
        }
    }

    /// What a file name ends with.
    pub fn extension(&self) -> &'static str {
        match self {
            RowFormat::Json(..) | RowFormat::Changelog(..) => ".ndjson",
            RowFormat::Csv(_) => ".csv",
        }
    }

    /// How records end.
    pub fn boundary(&self) -> RecordBoundary {
        match self {
            RowFormat::Json(..) | RowFormat::Changelog(..) => RecordBoundary::Line,
            RowFormat::Csv(options) => options.boundary(),
        }
    }

    /// A decoder of the wanted columns.
    ///
    /// # Errors
    /// A column of a type that the format cannot hold.
    pub fn decoder(&self, layout: &IngestLayout) -> Result<Box<dyn Decoder>, FormatError> {
        self.decoder_of(layout.physical.clone(), layout.declared.clone())
    }

    /// A decoder of the columns `wanted`, of records that have the columns `declared`.
    ///
    /// # Errors
    /// See [`RowFormat::decoder`].
    pub fn decoder_of(
        &self,
        wanted: SchemaRef,
        declared: Vec<String>,
    ) -> Result<Box<dyn Decoder>, FormatError> {
        Ok(match self {
            RowFormat::Json(options, _) => Box::new(NdjsonDecoder::new(wanted, *options)?),
            RowFormat::Changelog(envelope, options, _) => {
                Box::new(ChangelogDecoder::new(wanted, *envelope, *options)?)
            }
            RowFormat::Csv(options) => Box::new(CsvDecoder::new(wanted, declared, options.clone())?),
        })
    }

    /// Checks that the wanted columns can be decoded, when the job is prepared.
    ///
    /// # Errors
    /// See [`RowFormat::decoder`].
    pub fn check(&self, options: &TableOptions<'_>, layout: &IngestLayout) -> Result<(), SqlError> {
        let message = |error| format!("table '{}': {error}", options.table().name);
        match self.decoder(layout) {
            Ok(_) => Ok(()),
            Err(error) => Err(options.table_error(message(error))),
        }
    }

    /// An encoder of these columns, and of the op where rows carry one.
    pub fn encoder(&self, schema: &SchemaRef, has_ops: bool) -> Box<dyn Encoder> {
        let schema = schema.clone();
        match self {
            RowFormat::Json(_, times) => Box::new(NdjsonEncoder::new(schema, has_ops, *times)),
            // A changelog says its op even where every row is an insert.
            RowFormat::Changelog(Envelope::Flat, _, times) => {
                Box::new(NdjsonEncoder::new(schema, true, *times))
            }
            RowFormat::Changelog(Envelope::Debezium, _, times) => {
                Box::new(DebeziumEncoder::new(schema, *times))
            }
            RowFormat::Csv(options) => Box::new(CsvEncoder::new(schema, has_ops, options.clone())),
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
                let is_new = !Path::new(path).exists();
                let opened = File::options().create(true).append(true).open(path);
                let file = opened.map_err(|error| {
                    options.error(
                        &letters,
                        format!("cannot open the dead-letter file {path}: {error}"),
                    )
                })?;
                if is_input(path, options) {
                    if is_new {
                        // Nothing has been written to it.
                        let _ = std::fs::remove_file(path);
                    }
                    return Err(options
                        .error(
                            &letters,
                            format!("the dead-letter file {path} is input of the table"),
                        )
                        .hint("name a file that the table does not read"));
                }
                Ok(MalformedPolicy::DeadLetter(path.into(), Arc::new(file)))
            }
        }
    }
}

/// Whether a file system table reads the file at `path`.
fn is_input(path: &str, options: &TableOptions<'_>) -> bool {
    let read = options.text("path").map(FilePattern::parse);
    let files = read.and_then(|pattern| pattern.list().ok()).unwrap_or_default();
    let Ok(path) = Path::new(path).canonicalize() else {
        return false;
    };
    files
        .iter()
        .any(|file| file.canonicalize().is_ok_and(|file| file == path))
}
