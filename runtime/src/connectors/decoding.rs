//! From whole records to rows, and what becomes of records that cannot be decoded.
//!
//! **Invariant.** Every row before a malformed record is delivered before the error that stops
//! the job; a record that is skipped is counted.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::formats::{Decoder, FormatError, Malformed};
use shards::connector::ConnectorError;

/// What becomes of a record that cannot be decoded.
#[derive(Clone, Debug, Default)]
pub enum MalformedPolicy {
    /// The job stops with place and reason.
    #[default]
    Fail,
    /// It is counted and skipped (`'<format>.ignore-parse-errors' = 'true'`).
    Skip,
    /// It is counted and appended as it came (`'<format>.dead-letter-file'`).
    DeadLetter(PathBuf, Arc<File>),
}

impl MalformedPolicy {
    /// Appends `record` to the dead-letter file, where there is one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_letter(&self, record: &[u8]) -> Result<(), ConnectorError> {
        let MalformedPolicy::DeadLetter(path, file) = self else {
            return Ok(());
        };
        let mut line = record.to_vec();
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        // One write of one whole line: the file is opened for appending, so the lines of several shards do not
        // mix.
        (&**file).write_all(&line).map_err(|error| {
            ConnectorError::new(format!(
                "cannot write the dead-letter file {}: {error}",
                path.display()
            ))
        })
    }
}

/// Decodes one buffer of whole records after the other.
pub struct TextRows {
    decoder: Box<dyn Decoder>,
    policy: MalformedPolicy,
    buffer: Vec<u8>,
    cursor: usize,
    malformed: u64,
    failure: Option<ConnectorError>,
}

impl std::fmt::Debug for TextRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextRows")
            .field("policy", &self.policy)
            .field("malformed", &self.malformed)
            .finish_non_exhaustive()
    }
}

impl TextRows {
    /// A decoder with an empty buffer.
    pub fn new(decoder: Box<dyn Decoder>, policy: MalformedPolicy) -> TextRows {
        TextRows {
            decoder,
            policy,
            buffer: Vec::new(),
            cursor: 0,
            malformed: 0,
            failure: None,
        }
    }

    /// Records that could not be decoded so far.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The empty buffer, to be filled with whole records.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        assert_eq!(
            self.cursor,
            self.buffer.len(),
            "invariant: the buffer is refilled once it is decoded"
        );
        self.cursor = 0;
        self.buffer.clear();
        &mut self.buffer
    }

    /// How far into the buffer it is decoded.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Bytes up to there.
    pub fn decoded(&self) -> &[u8] {
        &self.buffer[..self.cursor]
    }

    /// Bytes that the buffer holds.
    pub fn filled(&self) -> usize {
        self.buffer.len()
    }

    /// The records start at byte `first` of the buffer.
    pub fn skip(&mut self, first: usize) {
        assert!(
            self.cursor == 0 && first <= self.buffer.len(),
            "invariant: a fresh buffer is skipped into"
        );
        self.cursor = first;
    }

    /// The buffer is a piece of a file: of its beginning, where the header (which may be empty) is
    /// read, left out and kept in `header`; or of what follows a beginning with that header.
    ///
    /// # Errors
    /// When the header lacks a wanted column.
    pub fn enter_file(&mut self, is_start: bool, header: &mut Box<[u8]>) -> Result<(), FormatError> {
        if is_start {
            let length = self.decoder.start_file(&self.buffer[self.cursor..])?;
            *header = self.buffer[self.cursor..self.cursor + length].into();
            self.cursor += length;
        } else if !header.is_empty() {
            self.decoder.start_file(header)?;
        }
        Ok(())
    }

    /// The next rows of the buffer, at most `rows_max`; `None` when it is used up. `place` names
    /// the record at an offset of the buffer, such as `bids.json, line 7`.
    ///
    /// # Errors
    /// A malformed record, unless they are skipped; a dead-letter file that cannot be written.
    pub fn next(
        &mut self,
        rows_max: usize,
        place: impl Fn(&[u8], usize) -> String,
    ) -> Result<Option<RecordBatch>, ConnectorError> {
        loop {
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if self.cursor == self.buffer.len() {
                return Ok(None);
            }
            let start = self.cursor;
            let decoded = self.decoder.decode(&self.buffer[start..], rows_max);
            assert!(decoded.consumed > 0, "invariant: a decoder makes progress");
            self.cursor += decoded.consumed;
            let mut rows = decoded.rows;
            for malformed in &decoded.malformed {
                self.malformed += 1;
                if let Err(failure) = self.dispose(start, malformed, &place) {
                    rows = rows.slice(0, malformed.rows_before);
                    // A job that goes on from here, once the record is mended, reads it again.
                    self.cursor = start + malformed.start;
                    self.failure = Some(failure);
                    break;
                }
            }
            if rows.num_rows() > 0 {
                return Ok(Some(rows));
            }
        }
    }

    /// Applies the policy to a malformed record of what was decoded from `start` on; an error if
    /// the job stops with it.
    fn dispose(
        &self,
        start: usize,
        malformed: &Malformed,
        place: impl Fn(&[u8], usize) -> String,
    ) -> Result<(), ConnectorError> {
        let record = &self.buffer[start + malformed.start..start + malformed.end];
        match &self.policy {
            MalformedPolicy::Fail => {
                let place = place(&self.buffer, start + malformed.start);
                Err(ConnectorError::new(format!("{place}: {}", malformed.reason)))
            }
            policy => policy.write_letter(record),
        }
    }
}
