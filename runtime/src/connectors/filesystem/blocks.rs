//! One text file cut into blocks that are dealt block-cyclically: shard `i` of `n` reads blocks
//! `i, i + n, …`, so that event time advances on all shards together.
//!
//! **Invariant.** A record belongs to the block in which it starts: over all shards every record
//! is read exactly once, whatever the block size.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::memchr;
use rustix::buffer::spare_capacity;
use shards::connector::ConnectorError;

use crate::connectors::records::{RECORD_BYTES_MAX, record_too_long};

/// Bytes read behind a block at first, to find the end of its last record.
const TAIL_BYTES: usize = 4 << 10;

/// The records of a block, as they lie in the buffer they were read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRecords {
    /// Offset in the file of the buffer's first byte.
    pub offset: u64,
    /// Where in the buffer the first record starts; the records go on to the buffer's end.
    pub first: usize,
}

/// One shard's blocks of one file.
#[derive(Debug)]
pub struct FileBlocks {
    path: PathBuf,
    file: File,
    /// The end of the file as it was when the job was prepared.
    end: u64,
    block_bytes: u64,
}

impl FileBlocks {
    /// Blocks of the first `end` bytes of the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, end: u64, block_bytes: u64) -> Result<FileBlocks, ConnectorError> {
        assert!(block_bytes > 0, "invariant: blocks have a size");
        let file = File::open(path)
            .map_err(|error| ConnectorError::new(format!("cannot open {}: {error}", path.display())))?;
        Ok(FileBlocks {
            path: path.to_path_buf(),
            file,
            end,
            block_bytes,
        })
    }

    /// Fills `buffer` with the records of block `block`, none where no record starts in it. The last record of
    /// a file may lack its line break.
    ///
    /// # Errors
    /// A read that fails, a file that has shrunk, a record that is too long.
    pub fn read(&self, block: u64, buffer: &mut Vec<u8>) -> Result<Option<BlockRecords>, ConnectorError> {
        buffer.clear();
        let start = block * self.block_bytes;
        assert!(start < self.end, "invariant: only blocks of the file are read");
        let records = self.read_block(start, (start + self.block_bytes).min(self.end), buffer)?;
        if records.is_none() {
            buffer.clear();
        }
        Ok(records)
    }

    /// Records that start in `start..end`.
    fn read_block(
        &self,
        start: u64,
        end: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<BlockRecords>, ConnectorError> {
        let read_from = start.saturating_sub(1);
        self.extend(buffer, read_from, (end + TAIL_BYTES as u64).min(self.end))?;
        // A record starts at the beginning of the file and behind every line break.
        let first = if start == 0 {
            0
        } else {
            match memchr(b'\n', &buffer[..(end - 1 - read_from) as usize]) {
                Some(at) => at + 1,
                None => return Ok(None),
            }
        };
        // The last record ends with the first line break at or behind the block's last byte.
        let mut scanned = (end - 1 - read_from) as usize;
        let last = loop {
            if let Some(at) = memchr(b'\n', &buffer[scanned..]) {
                break scanned + at + 1;
            }
            scanned = buffer.len();
            let read_to = read_from + buffer.len() as u64;
            if read_to == self.end {
                break buffer.len();
            }
            if scanned - (end - 1 - read_from) as usize > RECORD_BYTES_MAX {
                let place = format!("{}, in the block at byte {start}", self.path.display());
                return Err(ConnectorError::new(record_too_long(&place)));
            }
            let more = (buffer.len() as u64).max(TAIL_BYTES as u64);
            self.extend(buffer, read_to, (read_to + more).min(self.end))?;
        };
        assert!(first < last, "invariant: a block's records have bytes");
        buffer.truncate(last);
        Ok(Some(BlockRecords {
            offset: read_from,
            first,
        }))
    }

    /// Appends bytes `from..to` of the file.
    fn extend(&self, buffer: &mut Vec<u8>, from: u64, to: u64) -> Result<(), ConnectorError> {
        let wanted = buffer.len() + (to - from) as usize;
        let mut at = from;
        while buffer.len() < wanted {
            buffer.reserve_exact(wanted - buffer.len());
            match rustix::io::pread(&self.file, spare_capacity(buffer), at) {
                Ok(0) => return Err(self.failed(at, &"the file has become shorter")),
                Ok(read) => at += read as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.failed(at, &error)),
            }
        }
        buffer.truncate(wanted);
        Ok(())
    }

    fn failed(&self, at: u64, error: &dyn std::fmt::Display) -> ConnectorError {
        ConnectorError::new(format!(
            "cannot read {} at byte {at}: {error}; was it changed while the job ran?",
            self.path.display()
        ))
    }

    /// Asks the kernel to fetch block `block`.
    pub fn read_ahead(&self, block: u64) {
        let next = block.saturating_mul(self.block_bytes);
        if next < self.end {
            let length = std::num::NonZeroU64::new(self.block_bytes);
            // Only advice: where it is not taken, reads wait a little longer.
            let _ = rustix::fs::fadvise(&self.file, next, length, rustix::fs::Advice::WillNeed);
        }
    }
}

/// The number (from 1) of the line that starts at byte `offset` of the file at `path`.
pub fn line_number_at(path: &Path, offset: u64) -> std::io::Result<u64> {
    let file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut lines = 1;
    let mut at = 0;
    while at < offset {
        let wanted = buffer.len().min((offset - at) as usize);
        let read = file.read_at(&mut buffer[..wanted], at)?;
        if read == 0 {
            break;
        }
        lines += crate::connectors::records::count_lines(&buffer[..read]);
        at += read as u64;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::TemporaryDirectory;

    fn read_all(path: &Path, block_bytes: u64, shards: u64) -> Vec<String> {
        let end = std::fs::metadata(path).unwrap().len();
        let mut records = Vec::new();
        for shard in 0..shards {
            let blocks = FileBlocks::open(path, end, block_bytes).unwrap();
            let mut buffer = Vec::new();
            for block in (shard..end.div_ceil(block_bytes)).step_by(shards as usize) {
                let Some(BlockRecords { offset, first }) = blocks.read(block, &mut buffer).unwrap() else {
                    continue;
                };
                let content = std::fs::read(path).unwrap();
                let offset = offset as usize;
                assert_eq!(&content[offset..offset + buffer.len()], &buffer[..]);
                assert!(offset + first == 0 || content[offset + first - 1] == b'\n');
                let text = String::from_utf8(buffer[first..].to_vec()).unwrap();
                records.extend(text.lines().map(str::to_string));
            }
        }
        records
    }

    #[test]
    fn every_record_is_read_exactly_once_for_every_block_size_and_shard_count() {
        let directory = TemporaryDirectory::create();
        let texts = [
            "one\ntwo\nthree\n\nfive is longer than the others\nsix",
            "a\n",
            "no line break at all",
            "\n\n\n",
            "x\ny\nz\n",
        ];
        for (number, text) in texts.iter().enumerate() {
            let path = directory.file(&format!("{number}.txt"), text);
            let mut expected: Vec<&str> = text.lines().collect();
            expected.sort_unstable();
            for block_bytes in 1..=text.len() as u64 + 2 {
                for shards in 1..=7 {
                    let mut records = read_all(&path, block_bytes, shards);
                    records.sort_unstable();
                    assert_eq!(
                        records, expected,
                        "blocks of {block_bytes} bytes, {shards} shards"
                    );
                }
            }
        }
    }

    #[test]
    fn a_record_longer_than_accepted_is_an_error_and_not_a_growing_buffer() {
        let directory = TemporaryDirectory::create();
        let path = directory.file("long.txt", vec![b'x'; 3 * RECORD_BYTES_MAX]);
        let end = std::fs::metadata(&path).unwrap().len();
        let blocks = FileBlocks::open(&path, end, 1 << 20).unwrap();
        let mut buffer = Vec::new();
        let error = blocks.read(0, &mut buffer).expect_err("the record is too long");
        assert!(error.message.contains("longer than 16 MiB"), "{error}");
        assert!(buffer.capacity() <= 3 * RECORD_BYTES_MAX);
    }

    #[test]
    fn line_numbers_count_the_lines_before_an_offset() {
        let directory = TemporaryDirectory::create();
        let path = directory.file("lines.txt", "a\nbb\nccc\n");
        assert_eq!(line_number_at(&path, 0).unwrap(), 1);
        assert_eq!(line_number_at(&path, 2).unwrap(), 2);
        assert_eq!(line_number_at(&path, 5).unwrap(), 3);
    }
}
