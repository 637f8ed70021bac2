//! NDJSON to batches: one object a line, straight into the wanted columns.
//!
//! The schema guides the scanner: a wanted value is parsed as its column's type where it stands, an
//! unwanted one is only passed over. Keys are expected in the order of the object before
//! ([`super::keys`]). Equal keys: the last one wins; absent ones are NULL.
//!
//! **Invariant.** A line is one record. A malformed line leaves no trace in any column.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use memchr::memchr;

use super::column::Column;
use super::fault::{Fault, FaultKind};
use super::keys::{ObjectKeys, skip_blanks};
use super::scan::byte;
use super::{DECODE_BYTES_MAX, Decoded, Decoder, FormatError, Malformed, RECORD_BYTES_MAX, is_utf8};
use value::Absent;

pub(super) mod skip;
pub(super) mod text;
pub(super) mod value;

/// How NDJSON is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NdjsonOptions {
    /// A wanted field that is absent makes the record malformed rather than being NULL.
    pub fail_on_missing_field: bool,
    /// Longest record that is accepted.
    pub record_bytes_max: usize,
}

impl Default for NdjsonOptions {
    fn default() -> NdjsonOptions {
        NdjsonOptions {
            fail_on_missing_field: false,
            record_bytes_max: RECORD_BYTES_MAX,
        }
    }
}

/// Decodes lines into the wanted columns.
#[derive(Debug)]
pub struct NdjsonDecoder {
    schema: SchemaRef,
    options: NdjsonOptions,
    keys: ObjectKeys,
    columns: Vec<Column>,
}

impl NdjsonDecoder {
    /// A decoder of these columns, found by their names; other fields are passed over.
    ///
    /// # Errors
    /// A column of a type that JSON cannot hold.
    pub fn new(schema: SchemaRef, options: NdjsonOptions) -> Result<NdjsonDecoder, FormatError> {
        let columns = schema
            .fields()
            .iter()
            .cloned()
            .map(Column::new)
            .collect::<Result<_, _>>()?;
        Ok(NdjsonDecoder {
            keys: ObjectKeys::new(schema.fields()),
            schema,
            options,
            columns,
        })
    }

    /// Appends one record to the columns.
    fn record(&mut self, record: &[u8]) -> Result<(), Box<Fault>> {
        if record.len() > self.options.record_bytes_max {
            return Err(Fault::at(FaultKind::TooLong, 0));
        }
        if let Err(at) = is_utf8(record) {
            return Err(Fault::at(FaultKind::NotUtf8, at));
        }
        let start = skip_blanks(record, 0);
        if byte(record, start) != b'{' {
            return Err(Fault::at(FaultKind::ObjectExpected, start));
        }
        let absent = if self.options.fail_on_missing_field {
            Absent::IsMalformed
        } else {
            Absent::IsNull
        };
        let end = value::object(&mut self.keys, &mut self.columns, record, start, 0, absent)?;
        let end = skip_blanks(record, end);
        if end < record.len() {
            return Err(Fault::at(FaultKind::TextBehind, end));
        }
        Ok(())
    }
}

impl Decoder for NdjsonDecoder {
    fn start_file(&mut self, bytes: &[u8]) -> Result<usize, FormatError> {
        Ok(byte_order_mark(bytes))
    }

    fn decode(&mut self, bytes: &[u8], records_max: usize) -> Decoded {
        let (mut at, mut records, mut rows) = (0, 0, 0);
        let mut malformed = Vec::new();
        while at < bytes.len() && records < records_max && at < DECODE_BYTES_MAX {
            let end = memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length);
            let record = &bytes[at..end];
            let start = at;
            at = (end + 1).min(bytes.len());
            match self.record(record) {
                Ok(()) => rows += 1,
                Err(fault) => {
                    for column in &mut self.columns {
                        column.truncate(rows);
                    }
                    if skip_blanks(record, 0) == record.len() {
                        continue;
                    }
                    malformed.push(Malformed {
                        start,
                        end,
                        rows_before: rows,
                        reason: reason(&fault, &self.schema, record, self.options.record_bytes_max),
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

/// The batch of all rows in `columns`, which are empty then.
pub(super) fn batch(schema: &SchemaRef, columns: &mut [Column], rows: usize) -> RecordBatch {
    assert!(
        columns.iter().all(|column| column.len() == rows),
        "invariant: columns grow together"
    );
    let arrays = columns.iter_mut().map(Column::finish).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .expect("invariant: columns have the types of their fields")
}

/// The length of the byte order mark that `bytes` start with; 0 without one.
pub(super) fn byte_order_mark(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

fn reason(fault: &Fault, schema: &Schema, record: &[u8], bytes_max: usize) -> String {
    let value = &record[fault.at.min(record.len())..];
    let end = skip::value(record, fault.at, 0).map_or(value.len(), |end| end - fault.at);
    fault.describe(schema, &value[..end], bytes_max)
}

#[cfg(test)]
mod tests;
