//! Files that are followed (`source.monitor-interval`): appended lines and new files appear, a
//! partly written last line waits, a rotated or truncated file is read anew.
//!
//! A file belongs to the shard that the hash of its name says, whole; where event time is derived, all
//! belong to one shard, which alone can tell that one file stands still while another grows. Each file is a
//! split; one that has been at its end for a whole interval, while another is active, no longer holds
//! time back, and comes back as a new split when it grows.
//!
//! **Invariant.** A line is delivered once its line break is there, and exactly once while its
//! file lives; a poll reads at most one block.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::plan::SourceSpec;
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitId};

use super::compression::Compression;
use super::source::path_metadata;
use super::{FilesystemTable, Following};
use crate::connectors::decoding::TextRows;
use crate::connectors::ingest::IngestLayout;
use crate::connectors::records::{RECORD_BYTES_MAX, count_lines, record_too_long};

/// Bytes asked for in one read.
const READ_BYTES: usize = 256 << 10;

/// One file.
#[derive(Debug)]
struct FollowedFile {
    path: PathBuf,
    file: File,
    inode: u64,
    /// Everything before is delivered; a line starts here.
    offset: u64,
    /// The number of that line.
    line: u64,
    header: Box<[u8]>,
    /// Set while the file is one of the source's splits.
    split: Option<SplitId>,
    /// Read to its end since the last look.
    at_end: bool,
    /// It was at its end at the last look already.
    was_at_end: bool,
}

/// The files of one shard.
#[derive(Debug)]
pub struct FollowedFiles {
    table: Arc<FilesystemTable>,
    following: Following,
    layout: IngestLayout,
    shard: usize,
    /// The shards that have files: the first so many.
    readers: usize,
    files: Vec<FollowedFile>,
    text: TextRows,
    /// The file whose lines are being decoded, and the line number they start with.
    current: Option<(usize, u64)>,
    /// The file that is looked at next.
    next: usize,
    next_split: SplitId,
    ended: Vec<SplitId>,
    look_at: Option<Nanos>,
    bytes: u64,
}

impl FollowedFiles {
    /// The files that are there now and belong to this shard.
    ///
    /// # Errors
    /// When a file cannot be opened, or the format cannot decode a wanted column.
    pub fn new(
        source: &SourceSpec,
        table: Arc<FilesystemTable>,
        shard: usize,
        shards: usize,
    ) -> Result<FollowedFiles, ConnectorError> {
        let layout = IngestLayout::new(source);
        let text = table
            .text_rows(&layout)?
            .expect("invariant: only text is followed");
        let following = table.follow.clone().expect("invariant: the table is followed");
        let one_reader = source.watermark.is_some() || !following.pattern.may_grow();
        let mut part = FollowedFiles {
            following,
            layout,
            shard,
            readers: if one_reader { 1 } else { shards },
            files: Vec::new(),
            text,
            current: None,
            next: 0,
            next_split: 0,
            ended: Vec::new(),
            look_at: None,
            bytes: 0,
            table,
        };
        part.look()?;
        Ok(part)
    }

    /// Looks for new, rotated, truncated and removed files, and for files that grew.
    fn look(&mut self) -> Result<(), ConnectorError> {
        // A directory that is gone for a moment is looked at again later.
        let paths = self.following.pattern.list().unwrap_or_default();
        for path in &paths {
            if !self.is_mine(path) || self.files.iter().any(|known| known.path == *path) {
                continue;
            }
            if Compression::of_path(path) != Compression::None {
                tracing::warn!(
                    "{} is compressed and cannot be followed: it is left out",
                    path.display()
                );
                continue;
            }
            let split = self.new_split();
            self.files.push(FollowedFile::open(path, split)?);
        }
        for file in &mut self.files {
            file.look_again();
        }
        self.retire(&paths);
        self.next = 0;
        Ok(())
    }

    fn is_mine(&self, path: &Path) -> bool {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        name_hash(&name) % self.readers as u64 == self.shard as u64
    }

    fn new_split(&mut self) -> SplitId {
        self.next_split += 1;
        self.next_split - 1
    }

    /// Forgets files that are gone, and lets files that stand still no longer hold time back.
    fn retire(&mut self, paths: &[PathBuf]) {
        let ended = &mut self.ended;
        self.files.retain(|file| {
            let stays = !file.at_end || !self.following.pattern.may_grow() || paths.contains(&file.path);
            if !stays {
                ended.extend(file.split);
            }
            stays
        });
        let is_still = |file: &FollowedFile| file.at_end && file.was_at_end;
        let anyone_active = self
            .files
            .iter()
            .any(|file| file.split.is_some() && !is_still(file));
        for file in &mut self.files {
            if anyone_active && is_still(file) {
                self.ended.extend(file.split.take());
            }
            file.was_at_end = file.at_end;
        }
    }

    /// Reads the next lines of any file; false when all are at their ends.
    fn read(&mut self) -> Result<bool, ConnectorError> {
        while self.next < self.files.len() {
            let file = &mut self.files[self.next];
            if file.at_end {
                self.next += 1;
                continue;
            }
            let (offset, line) = (file.offset, file.line);
            if !file.read_lines(self.table.boundary(), self.text.buffer())? {
                continue;
            }
            let entered = self.text.enter_file(offset == 0, &mut file.header);
            entered.map_err(|error| ConnectorError::new(format!("{}: {error}", file.path.display())))?;
            self.bytes += self.text.filled() as u64;
            self.current = Some((self.next, line));
            return Ok(true);
        }
        Ok(false)
    }
}

impl FollowedFile {
    fn open(path: &Path, split: SplitId) -> Result<FollowedFile, ConnectorError> {
        let opened = File::open(path).and_then(|file| {
            let inode = file.metadata()?.ino();
            Ok((file, inode))
        });
        let (file, inode) = opened
            .map_err(|error| ConnectorError::new(format!("cannot open {}: {error}", path.display())))?;
        Ok(FollowedFile {
            path: path.to_path_buf(),
            file,
            inode,
            offset: 0,
            line: 1,
            header: Box::default(),
            split: Some(split),
            at_end: false,
            was_at_end: false,
        })
    }

    /// Whether there is more now: the file grew, shrank, or another took its name.
    fn look_again(&mut self) {
        let length = self
            .file
            .metadata()
            .map_or(self.offset, |metadata| metadata.len());
        if length < self.offset {
            tracing::warn!("{} was truncated: it is read from its start", self.path.display());
            self.restart();
        } else if length > self.offset {
            self.at_end = false;
        } else if let Ok(metadata) = self.path.metadata()
            && metadata.ino() != self.inode
            && let Ok(file) = File::open(&self.path)
        {
            tracing::warn!(
                "{} was replaced: the new file is read from its start",
                self.path.display()
            );
            self.inode = metadata.ino();
            self.file = file;
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.offset = 0;
        self.line = 1;
        self.at_end = false;
    }

    /// Fills `buffer` with whole lines from where the file was left; false when there is none.
    fn read_lines(
        &mut self,
        boundary: crate::connectors::records::RecordBoundary,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, ConnectorError> {
        let mut wanted = READ_BYTES;
        loop {
            buffer.resize(wanted, 0);
            let read = self.read_at(buffer)?;
            buffer.truncate(read);
            let whole = boundary.last_record_end(buffer);
            if whole > 0 {
                buffer.truncate(whole);
                self.offset += whole as u64;
                self.line += count_lines(buffer);
                return Ok(true);
            }
            if read < wanted {
                // Nothing, or a line that is still being written.
                buffer.clear();
                self.at_end = true;
                return Ok(false);
            }
            if read > RECORD_BYTES_MAX {
                let place = format!("{}, line {}", self.path.display(), self.line);
                return Err(ConnectorError::new(record_too_long(&place)));
            }
            wanted *= 2;
        }
    }

    fn read_at(&self, buffer: &mut [u8]) -> Result<usize, ConnectorError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self
                .file
                .read_at(&mut buffer[filled..], self.offset + filled as u64)
                .map_err(|error| {
                    let path = self.path.display();
                    ConnectorError::new(format!("cannot read {path} behind line {}: {error}", self.line))
                })?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }
}

impl Source for FollowedFiles {
    fn splits(&self) -> Vec<SplitId> {
        self.files.iter().filter_map(|file| file.split).collect()
    }

    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        if self.shard >= self.readers {
            return Ok(SourcePoll::End);
        }
        loop {
            if let Some(split) = self.ended.pop() {
                return Ok(SourcePoll::SplitEnd(split));
            }
            if let Some((index, line)) = self.current {
                let path = &self.files[index].path;
                let place = |buffer: &[u8], at: usize| {
                    format!("{}, line {}", path.display(), line + count_lines(&buffer[..at]))
                };
                if let Some(rows) = self.text.next(rows_max, place)? {
                    let rows = self
                        .layout
                        .assemble(rows, |key, _, count| path_metadata(path, key, count));
                    if self.files[index].split.is_none() {
                        self.files[index].split = Some(self.new_split());
                    }
                    let split = self.files[index].split.expect("invariant: just given");
                    return Ok(SourcePoll::Rows {
                        split,
                        rows,
                        arrival_ns: now,
                    });
                }
                self.current = None;
            }
            if self.read()? {
                continue;
            }
            let look_at = *self.look_at.get_or_insert(now);
            if now < look_at {
                return Ok(SourcePoll::Pending {
                    poll_at: Some(look_at),
                });
            }
            self.look_at = Some(now + self.following.interval.as_nanos() as Nanos);
            self.look()?;
        }
    }

    fn statistics(&self) -> SourceStatistics {
        SourceStatistics {
            bytes: self.bytes,
            malformed: self.text.malformed(),
            filtered: 0,
        }
    }
}

/// FNV-1a: the same on every shard and in every run.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
