//! A file read from its beginning to its end in one go: compressed, small, or not splittable.
//!
//! **Invariant.** Holds at most one read and one unfinished record.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use shards::connector::ConnectorError;

use super::compression::Compression;
use crate::connectors::records::{RECORD_BYTES_MAX, RecordBoundary, count_lines, record_too_long};

/// Bytes asked for in one read.
const READ_BYTES: usize = 256 << 10;

/// The records of one whole file.
pub struct FileStream {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    boundary: RecordBoundary,
    /// Bytes read and not handed out: the start of a record whose end has not been seen.
    rest: Vec<u8>,
    /// Offset (decompressed) and line number of the first byte of `rest`.
    offset: u64,
    line: u64,
    ended: bool,
    /// Why reading stopped before the end; told once the records before it are handed out.
    failure: Option<ConnectorError>,
}

impl std::fmt::Debug for FileStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStream")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Where handed-out records stand in their file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPlace {
    /// Offset of the first byte, after decompression.
    pub offset: u64,
    /// Line number of the first record, from 1.
    pub line: u64,
}

impl FileStream {
    /// Opens the file at `path` and goes on at `place`; a compressed file is decompressed anew up to
    /// there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_at(
        path: &Path,
        compression: Compression,
        boundary: RecordBoundary,
        place: StreamPlace,
    ) -> Result<FileStream, ConnectorError> {
        let reader = std::fs::File::open(path)
            .and_then(|file| {
                // Only advice.
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
                let mut reader = compression.reader(file)?;
                std::io::copy(&mut (&mut reader).take(place.offset), &mut std::io::sink())?;
                Ok(reader)
            })
            .map_err(|error| ConnectorError::new(format!("cannot open {}: {error}", path.display())))?;
        Ok(FileStream {
            path: path.to_path_buf(),
            reader,
            boundary,
            rest: Vec::new(),
            offset: place.offset,
            line: place.line,
            ended: false,
            failure: None,
        })
    }

    /// Where the next records start.
    pub fn place(&self) -> StreamPlace {
        StreamPlace {
            offset: self.offset,
            line: self.line,
        }
    }

    /// Fills `buffer` with the next whole records; `None` at the end. The last record of the file
    /// may lack its line break.
    ///
    /// # Errors
    /// A read or decompression that fails, a record that is too long.
    pub fn read(&mut self, buffer: &mut Vec<u8>) -> Result<Option<StreamPlace>, ConnectorError> {
        buffer.clear();
        if let Some(failure) = self.failure.take() {
            self.ended = true;
            return Err(failure);
        }
        std::mem::swap(buffer, &mut self.rest);
        while !self.ended {
            let unfinished = buffer.len();
            self.fill(buffer);
            // Without quotes only the new bytes can hold the end of a record.
            let scan_from = if self.boundary.is_splittable() {
                unfinished
            } else {
                0
            };
            let whole = match self.boundary.last_record_end(&buffer[scan_from..]) {
                0 => 0,
                length => scan_from + length,
            };
            if self.ended {
                break;
            }
            if whole > 0 {
                if self.failure.is_none() {
                    self.rest.extend_from_slice(&buffer[whole..]);
                }
                buffer.truncate(whole);
                return Ok(Some(self.hand_out(buffer)));
            }
            if let Some(failure) = self.failure.take() {
                self.ended = true;
                return Err(failure);
            }
            if buffer.len() > RECORD_BYTES_MAX {
                let place = format!("{}, line {}", self.path.display(), self.line);
                return Err(ConnectorError::new(record_too_long(&place)));
            }
        }
        if buffer.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.hand_out(buffer)))
    }

    fn hand_out(&mut self, records: &[u8]) -> StreamPlace {
        let place = self.place();
        self.offset += records.len() as u64;
        self.line += count_lines(records);
        place
    }

    /// Appends up to `READ_BYTES`; notes the end, or why there is no more.
    fn fill(&mut self, buffer: &mut Vec<u8>) {
        let held = buffer.len();
        buffer.resize(held + READ_BYTES, 0);
        let mut filled = held;
        // Decompressors give little at a time: decode them by the block, not by their window.
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure = Some(ConnectorError::new(format!(
                        "cannot read {} behind line {}: {error}; is the file complete?",
                        self.path.display(),
                        self.line + count_lines(&buffer[..filled])
                    )));
                    break;
                }
            }
        }
        buffer.truncate(filled);
    }
}
