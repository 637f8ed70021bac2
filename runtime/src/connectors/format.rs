//! Formats by the name in `'format' = '…'`: from options to the engine's decoders and encoders.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::batch::Batch;
use engine::error::SqlError;
use shards::connector::ConnectorError;

use super::decoding::MalformedPolicy;
use super::ingest::IngestLayout;
use super::options::TableOptions;
use super::records::RecordBoundary;

/// Rows to lines.
pub trait Encode: Send {
    /// What stands before the first row of a file.
    fn header(&self) -> Option<Vec<u8>>;

    /// Appends the rows as whole lines.
    ///
    /// # Errors
    /// A value that the format cannot hold.
    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), ConnectorError>;
}

/// Whole records to rows.
pub trait Decode: Send {
    /// Takes a file's header off its first bytes, and gives its length.
    ///
    /// # Errors
    /// When the header lacks a wanted column.
    fn start_file(&mut self, bytes: &[u8]) -> Result<usize, String>;

    /// Decodes at most `rows_max` records, and no further than the first malformed one.
    fn decode(&mut self, bytes: &[u8], rows_max: usize) -> Decoded;
}

/// What a call of [`Decode::decode`] gave.
#[derive(Debug)]
pub struct Decoded {
    /// The rows.
    pub rows: Option<RecordBatch>,
    /// Bytes used, those of the malformed record included; more than none.
    pub consumed: usize,
    /// The record after `rows`, if it could not be decoded.
    pub malformed: Option<Malformed>,
}

/// A record that could not be decoded.
#[derive(Debug)]
pub struct Malformed {
    /// Where it starts in the bytes given.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Why.
    pub reason: String,
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
    /// Reads `'format'` and the options of that format.
    ///
    /// # Errors
    /// An unknown format, a wrong option.
    pub fn parse(options: &TableOptions<'_>) -> Result<FormatKind, SqlError> {
        match options.required("format", "one of json, ndjson, csv, parquet")? {
            "json" | "ndjson" => Ok(FormatKind::Rows(RowFormat::Json)),
            "parquet" => Ok(FormatKind::Parquet),
            _ => Err(options.invalid("format", "one of 'json', 'ndjson', 'csv', 'parquet'")),
        }
    }
}

/// A text format and its options.
#[derive(Clone, Debug)]
pub enum RowFormat {
    /// One JSON object a line.
    Json,
}

impl RowFormat {
    /// NDJSON without options.
    pub fn default_json() -> RowFormat {
        RowFormat::Json
    }

    /// CSV with a header.
    pub fn default_csv() -> RowFormat {
        RowFormat::Json
    }

    /// What a file name ends with.
    pub fn extension(&self) -> &'static str {
        ".json"
    }

    /// How records end.
    pub fn boundary(&self) -> RecordBoundary {
        RecordBoundary::Line
    }

    /// Whether files start with a header.
    pub fn has_header(&self) -> bool {
        false
    }

    /// A decoder of the wanted columns.
    pub fn decoder(&self, layout: &IngestLayout) -> Result<Box<dyn Decode>, ConnectorError> {
        Ok(Box::new(Stopgap(layout.physical.clone())))
    }

    /// An encoder.
    pub fn encoder(&self, schema: &SchemaRef, has_ops: bool) -> Result<Box<dyn Encode>, ConnectorError> {
        Ok(Box::new(JsonLines {
            schema: schema.clone(),
            has_ops,
        }))
    }
}

struct JsonLines {
    schema: SchemaRef,
    has_ops: bool,
}

impl Encode for JsonLines {
    fn header(&self) -> Option<Vec<u8>> {
        None
    }

    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        use arrow::datatypes::{DataType, Field, Schema};
        use std::sync::Arc;
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        let mut columns = batch.rows().columns().to_vec();
        if self.has_ops {
            let ops = (0..batch.len()).map(|row| batch.op(row).short_name());
            columns.insert(0, Arc::new(arrow::array::StringArray::from_iter_values(ops)));
            fields.insert(0, Arc::new(Field::new("op", DataType::Utf8, false)));
        }
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| ConnectorError::new(error.to_string()))?;
        let mut writer = arrow_json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow_json::writer::LineDelimited>(out);
        writer
            .write(&rows)
            .and_then(|()| writer.finish())
            .map_err(|error| ConnectorError::new(error.to_string()))
    }
}

struct Stopgap(SchemaRef);

impl Decode for Stopgap {
    fn start_file(&mut self, _bytes: &[u8]) -> Result<usize, String> {
        Ok(0)
    }

    fn decode(&mut self, bytes: &[u8], rows_max: usize) -> Decoded {
        let mut decoder = arrow_json::ReaderBuilder::new(self.0.clone())
            .build_decoder()
            .expect("decoder");
        let mut consumed = 0;
        let mut malformed = None;
        for line in bytes.split_inclusive(|b| *b == b'\n').take(rows_max) {
            let start = consumed;
            consumed += line.len();
            let mut probe = arrow_json::ReaderBuilder::new(self.0.clone())
                .build_decoder()
                .expect("decoder");
            if let Err(error) = probe.decode(line).and_then(|_| probe.flush()) {
                malformed = Some(Malformed {
                    start,
                    end: consumed,
                    reason: error.to_string(),
                });
                break;
            }
            decoder.decode(line).expect("line");
        }
        Decoded {
            rows: decoder.flush().expect("flush"),
            consumed,
            malformed,
        }
    }
}

/// What becomes of malformed records.
pub fn parse_malformed_policy(options: &TableOptions<'_>) -> Result<MalformedPolicy, SqlError> {
    let letters = options.text("json.dead-letter-file");
    if options.boolean("json.ignore-parse-errors", false)? && letters.is_none() {
        return Ok(MalformedPolicy::Skip);
    }
    let Some(path) = letters else {
        return Ok(MalformedPolicy::Fail);
    };
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| {
            options.error(
                "json.dead-letter-file",
                format!("cannot open the dead-letter file {path}: {error}"),
            )
        })?;
    Ok(MalformedPolicy::DeadLetter(
        path.into(),
        std::sync::Arc::new(file),
    ))
}
