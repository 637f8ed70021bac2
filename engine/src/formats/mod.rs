//! Formats: bytes ⇄ batches. Nothing here knows where the bytes come from.
//!
//! A source cuts its bytes at record boundaries ([`boundary`]) and hands whole records to a
//! [`Decoder`] ([`ndjson`], [`csv`]); a sink hands batches to an [`Encoder`] ([`encode_ndjson`],
//! [`encode_csv`], [`encode_changelog_text`]) and writes the bytes it gets.
//!
//! **Invariant.** A malformed record never affects its neighbours: it is told with its place and
//! reason, and what becomes of it (stop, skip, dead letter) is the caller's decision. No input makes
//! a decoder panic or hold more than its bytes.

use arrow::array::RecordBatch;
use thiserror::Error;

use crate::batch::Batch;

pub mod boundary;
pub mod changelog;
pub mod csv;
pub mod encode_changelog_text;
pub mod encode_csv;
pub mod encode_ndjson;
pub mod ndjson;

mod base64;
mod column;
mod fault;
mod keys;
mod number;
mod scan;
mod temporal;
pub(crate) mod type_name;
mod view;
mod write;

#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
mod testing;

pub use crate::limits::RECORD_BYTES_MAX;

pub use crate::limits::DECODE_BYTES_MAX;

/// Whole records to rows of a fixed schema.
pub trait Decoder: Send {
    /// Takes a file's header (CSV) or byte order mark off its first bytes and gives its length; the
    /// records follow. Also called with the header alone, by who decodes a later part of the file.
    ///
    /// # Errors
    /// When the header lacks a wanted column.
    fn start_file(&mut self, bytes: &[u8]) -> Result<usize, FormatError>;

    /// Decodes records from the start of `bytes`, which are whole records (the last one may lack
    /// its line break): at most `records_max` of them (malformed ones count), and at most
    /// [`DECODE_BYTES_MAX`].
    fn decode(&mut self, bytes: &[u8], records_max: usize) -> Decoded;
}

/// What a call of [`Decoder::decode`] gave.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, with exactly the wanted columns; may have none.
    pub rows: RecordBatch,
    /// Bytes used, those of malformed records and blank lines included; more than none if there
    /// were any.
    pub consumed: usize,
    /// Records that could not be decoded, in order.
    pub malformed: Vec<Malformed>,
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of its first byte in the bytes given.
    pub start: usize,
    /// Offset behind its last byte, line break excluded.
    pub end: usize,
    /// How many of the rows stood before it: who stops at it still delivers those.
    pub rows_before: usize,
    /// Why, in one sentence without a full stop.
    pub reason: String,
}

/// Rows to lines.
pub trait Encoder: Send {
    /// What stands before the first row of a file: the header of a CSV file.
    fn header(&self) -> Option<Vec<u8>> {
        None
    }

    /// Appends the rows of `batch` to `out` as whole lines.
    ///
    /// # Errors
    /// A value that the format cannot hold.
    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), FormatError>;
}

/// A format cannot do what is asked of it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct FormatError {
    /// What is wrong, and what to do.
    pub message: String,
}

impl FormatError {
    /// A failure told by `message`.
    pub fn new(message: impl Into<String>) -> FormatError {
        FormatError {
            message: message.into(),
        }
    }
}

/// Whether `record` is UTF-8; the offset of the first byte that is not.
fn is_utf8(record: &[u8]) -> Result<(), usize> {
    if record.is_ascii() {
        return Ok(());
    }
    match std::str::from_utf8(record) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.valid_up_to()),
    }
}
