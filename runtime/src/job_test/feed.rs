//! A test's steps handed to the shards: each row decoded for every source that reads its table.
//!
//! **Invariant.** A row that names a column which its table does not have is refused: a slip must not become a
//! NULL.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::formats::changelog::{ChangelogDecoder, Envelope};
use engine::formats::csv::{CsvDecoder, CsvOptions};
use engine::formats::ndjson::{NdjsonDecoder, NdjsonOptions};
use engine::formats::{Decoder, FormatError};
use engine::plan::SourceSpec;
use engine::sql::suggest;

use super::drive::{Drive, Given};
use super::script::{Record, RecordFormat, Script, Step};
use crate::connectors::ingest::IngestLayout;

/// Hands out the steps of a script.
#[derive(Default)]
pub struct Feed {
    decoders: BTreeMap<(usize, bool), Box<dyn Decoder>>,
}

impl Feed {
    /// Lets everything of `script` happen, and everything that follows from it.
    ///
    /// # Errors
    /// A row does not fit its table, with file and line; a shard fails.
    pub fn run(&mut self, script: &Script, drive: &mut Drive) -> Result<(), String> {
        for step in &script.steps {
            match step {
                Step::Row(record) => self
                    .give(record, drive)
                    .map_err(|reason| format!("{}: {reason}", record.place))?,
                Step::Watermark {
                    table,
                    watermark_us,
                    place,
                } => raise(table.as_deref(), *watermark_us, drive)
                    .map_err(|reason| format!("{place}: {reason}"))?,
                Step::Advance(us) => drive.advance(*us),
            }
            drive.settle()?;
        }
        drive.finish()
    }

    fn give(&mut self, record: &Record, drive: &Drive) -> Result<(), String> {
        for number in 0..drive.inlets().len() {
            let spec = &drive.inlets()[number].spec;
            if spec.table.name != record.table {
                continue;
            }
            check_columns(record, spec)?;
            let is_csv = matches!(record.format, RecordFormat::Csv(_));
            let decoder = match self.decoders.entry((number, is_csv)) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(decoder(record, spec).map_err(|error| error.message)?)
                }
            };
            let decoded = decoder.decode(&record.bytes, 1);
            if let Some(malformed) = decoded.malformed.first() {
                return Err(malformed.reason.clone());
            }
            assert_eq!(decoded.rows.num_rows(), 1, "invariant: a record is a row");
            drive.give(number, Given::Rows(decoded.rows));
        }
        Ok(())
    }
}

fn decoder(record: &Record, spec: &SourceSpec) -> Result<Box<dyn Decoder>, FormatError> {
    let wanted = IngestLayout::new(spec).schema;
    let options = NdjsonOptions::default();
    Ok(match &record.format {
        RecordFormat::Json(_) if spec.has_ops => {
            Box::new(ChangelogDecoder::new(wanted, Envelope::Flat, options)?)
        }
        RecordFormat::Json(_) => Box::new(NdjsonDecoder::new(wanted, options)?),
        RecordFormat::Csv(_) if spec.has_ops => {
            let message = format!(
                "the rows of '{0}' are changes, which need their op; write them as input.{0}.ndjson",
                spec.table.name
            );
            return Err(FormatError::new(message));
        }
        RecordFormat::Csv(header) => {
            let mut decoder = CsvDecoder::new(wanted, columns_of(spec), CsvOptions::default())?;
            decoder.start_file(header)?;
            Box::new(decoder)
        }
    })
}

/// The columns that a row of the table may have.
fn columns_of(spec: &SourceSpec) -> Vec<String> {
    let schema = spec.table.ingest_schema();
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

fn check_columns(record: &Record, spec: &SourceSpec) -> Result<(), String> {
    let header;
    let named = match &record.format {
        RecordFormat::Json(keys) => keys.as_slice(),
        RecordFormat::Csv(line) => {
            header = header_names(line);
            header.as_slice()
        }
    };
    let mut known = columns_of(spec);
    if spec.has_ops {
        known.push("op".to_string());
    }
    match named.iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "table '{}' has no column '{name}' that comes with its rows; {}",
            spec.table.name,
            suggest::hint(name, known, "its columns are")
        )),
    }
}

/// The names in a CSV header; a quoted one loses its quotes.
fn header_names(line: &Arc<[u8]>) -> Vec<String> {
    let text = String::from_utf8_lossy(line);
    let names = text.trim_end().split(',');
    names
        .map(|name| name.trim().trim_matches('"').to_string())
        .collect()
}

/// Promises a watermark to the sources of `table`, or to all that have one.
fn raise(table: Option<&str>, watermark_us: i64, drive: &Drive) -> Result<(), String> {
    let mut raised = false;
    for (number, inlet) in drive.inlets().iter().enumerate() {
        let is_meant = table.is_none_or(|table| inlet.spec.table.name == table);
        if is_meant && inlet.spec.watermark.is_some() {
            drive.give(number, Given::Watermark(watermark_us));
            raised = true;
        }
    }
    match (raised, table) {
        (true, _) => Ok(()),
        // A query that waits for nothing derives no watermark; to promise one is no mistake.
        (false, None) => Ok(()),
        (false, Some(table)) => {
            let declared = |inlet: &super::drive::Inlet| {
                inlet.spec.table.name == table && inlet.spec.table.watermark.is_some()
            };
            match drive.inlets().iter().any(declared) {
                true => Ok(()),
                false => Err(format!("table '{table}' has no WATERMARK FOR")),
            }
        }
    }
}
