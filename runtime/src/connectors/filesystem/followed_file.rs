//! One file that is followed: read line by line to its end, again and again, through renames and truncation.
//!
//! A file is known by its inode, so one that is renamed is read on, and one that takes its name is another. Whether
//! it is still the file that was read is told by its length and by a mark over the bytes before the place: a file that
//! was truncated and written anew has others there.
//!
//! **Invariant.** A line is delivered once its line break is there, and exactly once while its file lives; a read
//! takes at most one block.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shards::clock::Nanos;
use shards::connector::{ConnectorError, SplitId, SplitPosition};

use crate::connectors::records::{RECORD_BYTES_MAX, RecordBoundary, count_lines, record_too_long};

/// Bytes asked for in one read.
const READ_BYTES: usize = 256 << 10;
/// Bytes before a place that its mark covers.
const MARK_BYTES: usize = 128;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    device: u64,
    /// Its number in the file system; all that outlives a restart of the machine.
    pub inode: u64,
}

/// A mark over the bytes before a place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    bytes: usize,
    hash: u64,
}

/// Where the reading of a followed file stands, as a snapshot keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedPosition {
    /// Its path when the snapshot was taken.
    pub path: PathBuf,
    /// Its number in the file system.
    pub inode: u64,
    offset: u64,
    line: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    header: String,
    mark: Mark,
    /// There was no more when it was last looked at.
    pub is_read: bool,
    /// It had fallen idle and was no split.
    is_idle: bool,
}

/// One file.
#[derive(Debug)]
pub struct FollowedFile {
    pub path: PathBuf,
    /// The name of its split, in this run and the next ones.
    pub name: String,
    pub identity: Identity,
    file: File,
    /// Everything before is read; a line starts here.
    pub offset: u64,
    /// The number of that line.
    pub line: u64,
    mark: Mark,
    pub header: Box<[u8]>,
    /// Set while the file is one of the source's splits.
    pub split: Option<SplitId>,
    /// Read to its end since the last look.
    pub at_end: bool,
    /// It was at its end at the last look already.
    pub was_at_end: bool,
    /// Since when no name that is followed leads to it and nothing was written to it.
    pub gone_since: Option<Nanos>,
}

impl Identity {
    /// The file that a path leads to.
    pub fn of_path(path: &Path) -> std::io::Result<Identity> {
        path.metadata().map(|metadata| Identity::of(&metadata))
    }

    fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl Mark {
    /// Over the last of these bytes.
    fn over(bytes: &[u8]) -> Mark {
        let bytes = &bytes[bytes.len().saturating_sub(MARK_BYTES)..];
        Mark {
            bytes: bytes.len(),
            hash: hash(bytes),
        }
    }

    /// Over the bytes of `file` before `offset`; none where they cannot be read.
    fn read(file: &File, offset: u64) -> Mark {
        let length = offset.min(MARK_BYTES as u64);
        let mut bytes = vec![0; length as usize];
        match file.read_exact_at(&mut bytes, offset - length) {
            Ok(()) => Mark::over(&bytes),
            Err(_) => Mark::default(),
        }
    }

    /// Whether the bytes of `file` before `offset` are those it was made over.
    fn fits(self, file: &File, offset: u64) -> bool {
        let mut bytes = vec![0; self.bytes];
        let start = offset.checked_sub(self.bytes as u64);
        let is_read = start.is_some_and(|start| file.read_exact_at(&mut bytes, start).is_ok());
        self.bytes == 0 || (is_read && hash(&bytes) == self.hash)
    }
}

impl FollowedPosition {
    /// As a position of the split `name`.
    fn write(&self, name: &str) -> SplitPosition {
        SplitPosition {
            split: name.to_owned(),
            position: serde_json::to_string(self).expect("invariant: a position is plain data"),
        }
    }

    /// What was written.
    ///
    /// # Errors
    /// It was not written for a followed file.
    pub fn read(position: &SplitPosition) -> Result<FollowedPosition, ConnectorError> {
        serde_json::from_str(&position.position).map_err(|error| {
            ConnectorError::new(format!(
                "the position in {} is not that of a followed file ({error}): 'source.monitor-interval' was not set \
                 when the checkpoint was taken; set it as it was, or start with another checkpoint directory",
                position.split
            ))
        })
    }

    /// The path that leads to the file now: its own, that of a file beside it that has its inode, or its own again
    /// where another file has the same bytes (a copy that was put back).
    pub fn find(&self) -> Option<PathBuf> {
        let is_it = |path: &Path, by_inode: bool| {
            let file = File::open(path).ok()?;
            let metadata = file.metadata().ok()?;
            let fits = metadata.is_file()
                && metadata.len() >= self.offset
                && (!by_inode || metadata.ino() == self.inode)
                && self.mark.fits(&file, self.offset);
            fits.then(|| path.to_path_buf())
        };
        let beside = || {
            let entries = std::fs::read_dir(self.path.parent()?).ok()?;
            let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            paths
                .filter(|path| Identity::of_path(path).is_ok_and(|found| found.inode == self.inode))
                .find_map(|path| is_it(&path, true))
        };
        is_it(&self.path, true)
            .or_else(beside)
            .or_else(|| is_it(&self.path, false).filter(|_| self.mark.bytes > 0))
    }
}

impl FollowedFile {
    /// The file at `path`, from its beginning.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path, split: SplitId) -> Result<FollowedFile, ConnectorError> {
        let opened = File::open(path).and_then(|file| {
            let identity = Identity::of(&file.metadata()?);
            Ok((file, identity))
        });
        let (file, identity) = opened
            .map_err(|error| ConnectorError::new(format!("cannot open {}: {error}", path.display())))?;
        Ok(FollowedFile {
            path: path.to_path_buf(),
            name: format!("{} ({})", path.display(), identity.inode),
            identity,
            file,
            offset: 0,
            line: 1,
            mark: Mark::default(),
            header: Box::default(),
            split: Some(split),
            at_end: false,
            was_at_end: false,
            gone_since: None,
        })
    }

    /// Where it stands, but for `ahead`: lines that were read and not handed out, and the number of the first.
    pub fn position(&self, ahead: Option<(usize, u64)>) -> SplitPosition {
        let (bytes, line) = ahead.unwrap_or((0, self.line));
        let offset = self.offset - bytes as u64;
        let position = FollowedPosition {
            path: self.path.clone(),
            inode: self.identity.inode,
            offset,
            line,
            header: String::from_utf8_lossy(&self.header).into_owned(),
            mark: match bytes {
                0 => self.mark,
                _ => Mark::read(&self.file, offset),
            },
            is_read: self.at_end && bytes == 0,
            is_idle: self.split.is_none(),
        };
        position.write(&self.name)
    }

    /// Goes on from where it stood.
    pub fn resume(&mut self, name: &str, position: &FollowedPosition) {
        self.name = name.to_owned();
        self.offset = position.offset;
        self.line = position.line;
        self.mark = position.mark;
        self.header = position.header.as_bytes().into();
        self.was_at_end = position.is_idle;
        if position.is_idle {
            self.split = None;
        }
    }

    /// Whether there is more now: the file grew, shrank, or was written anew.
    pub fn look_again(&mut self) {
        let Ok(length) = self.file.metadata().map(|metadata| metadata.len()) else {
            return;
        };
        if length < self.offset {
            tracing::warn!("{} was truncated: it is read from its start", self.path.display());
            self.restart();
        } else if length > self.offset && self.at_end {
            if !self.mark.fits(&self.file, self.offset) {
                tracing::warn!(
                    "{} was written anew: it is read from its start",
                    self.path.display()
                );
                self.restart();
            }
            self.at_end = false;
        }
    }

    fn restart(&mut self) {
        self.offset = 0;
        self.line = 1;
        self.mark = Mark::default();
        self.at_end = false;
    }

    /// Fills `buffer` with whole lines from where the file was left; false when there is none.
    pub fn read_lines(
        &mut self,
        boundary: RecordBoundary,
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
                self.mark = match whole < MARK_BYTES {
                    true => Mark::read(&self.file, self.offset),
                    false => Mark::over(buffer),
                };
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

/// FNV-1a: the same on every shard and in every run.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
