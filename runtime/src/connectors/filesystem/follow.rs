//! Files that are followed (`source.monitor-interval`): appended lines and new files appear, a
//! partly written last line waits; how one of them is read is [`super::followed_file`]'s.
//!
//! A file belongs whole to the shard that its inode says, whatever its name; where event time is derived, all
//! belong to one shard, which alone can tell that one file stands still while another grows. Each file is a
//! split; one that has been at its end for a whole interval, while another is active, no longer holds
//! time back, and comes back as a new split when it grows.
//!
//! **Invariant.** A file that was renamed is read on and not again, also by the job that goes on from a snapshot, on
//! any number of shards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::plan::SourceSpec;
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitId, SplitPosition};

use super::compression::Compression;
use super::followed_file::{FollowedFile, FollowedPosition, Identity, hash};
use super::source::path_metadata;
use super::{FilesystemTable, Following};
use crate::connectors::decoding::TextRows;
use crate::connectors::ingest::IngestLayout;
use crate::connectors::records::count_lines;

/// A file that lost its name is kept open for so long after the last line: its writer may not know yet.
const RENAMED_PATIENCE: Nanos = 10_000_000_000;

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
        part.look(0)?;
        Ok(part)
    }

    /// Looks for new, renamed, truncated and removed files, and for files that grew.
    fn look(&mut self, now: Nanos) -> Result<(), ConnectorError> {
        // A directory that is gone for a moment is looked at again later.
        if let Ok(paths) = self.following.pattern.list() {
            self.meet(&paths, now)?;
        }
        for file in &mut self.files {
            file.look_again();
            if !file.at_end {
                file.gone_since = file.gone_since.map(|_| now);
            }
        }
        self.retire(now);
        self.next = 0;
        Ok(())
    }

    /// Opens files that are new, and notes which of the others are renamed or gone.
    fn meet(&mut self, paths: &[PathBuf], now: Nanos) -> Result<(), ConnectorError> {
        let known: BTreeMap<Identity, usize> = self.files.iter().map(|file| file.identity).zip(0..).collect();
        let mut met = BTreeSet::new();
        for path in paths {
            let identity = match Identity::of_path(path) {
                Ok(identity) if self.is_mine(identity.inode) => identity,
                // Another's, or gone again.
                _ => continue,
            };
            if !met.insert(identity) {
                continue;
            }
            match known.get(&identity) {
                Some(&index) => self.files[index].path.clone_from(path),
                None => self.open(path)?,
            }
        }
        for file in &mut self.files {
            file.gone_since = match met.contains(&file.identity) {
                true => None,
                false => file.gone_since.or(Some(now)),
            };
        }
        Ok(())
    }

    fn open(&mut self, path: &Path) -> Result<(), ConnectorError> {
        if Compression::of_path(path) != Compression::None {
            tracing::warn!(
                "{} is compressed and cannot be followed: it is left out",
                path.display()
            );
            return Ok(());
        }
        let split = self.new_split();
        self.files.push(FollowedFile::open(path, split)?);
        Ok(())
    }

    fn is_mine(&self, inode: u64) -> bool {
        hash(&inode.to_le_bytes()) % self.readers as u64 == self.shard as u64
    }

    fn new_split(&mut self) -> SplitId {
        self.next_split += 1;
        self.next_split - 1
    }

    /// Forgets files that are gone, and lets files that stand still no longer hold time back.
    fn retire(&mut self, now: Nanos) {
        let ended = &mut self.ended;
        self.files.retain(|file| {
            let is_over = |since: Nanos| file.at_end && now.saturating_sub(since) >= RENAMED_PATIENCE;
            let stays = !file.gone_since.is_some_and(is_over);
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

    /// The file that a position stands for goes on from there, if this shard reads it.
    fn resume(&mut self, name: &str, position: &FollowedPosition) -> Result<(), ConnectorError> {
        let Some(path) = position.find() else {
            return match self.is_mine(position.inode) {
                true => missing(position),
                false => Ok(()),
            };
        };
        let Ok(identity) = Identity::of_path(&path) else {
            return missing(position);
        };
        if !self.is_mine(identity.inode) {
            return Ok(());
        }
        let known = self.files.iter().position(|file| file.identity == identity);
        let index = match known {
            Some(index) => index,
            None => {
                let split = self.new_split();
                self.files.push(FollowedFile::open(&path, split)?);
                self.files.len() - 1
            }
        };
        self.files[index].resume(name, position);
        Ok(())
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

/// No file is there that a position stands for: what was left of it cannot be read.
fn missing(position: &FollowedPosition) -> Result<(), ConnectorError> {
    let path = position.path.display();
    if position.is_read {
        tracing::warn!("{path} was deleted or written anew since the checkpoint was taken");
        return Ok(());
    }
    Err(ConnectorError::new(format!(
        "{path} was not read to its end when the checkpoint was taken, and is not there any more, under no name in its \
         directory; put it back, or start with another checkpoint directory"
    )))
}

impl Source for FollowedFiles {
    fn splits(&self) -> Vec<SplitId> {
        self.files.iter().filter_map(|file| file.split).collect()
    }

    fn positions(&self) -> Vec<SplitPosition> {
        let position = |(index, file): (usize, &FollowedFile)| {
            let ahead = self.current.filter(|&(current, _)| current == index);
            file.position(ahead.map(|(_, line)| {
                let decoded = self.text.decoded();
                (self.text.filled() - decoded.len(), line + count_lines(decoded))
            }))
        };
        self.files.iter().enumerate().map(position).collect()
    }

    fn restore(&mut self, positions: &[SplitPosition]) -> Result<(), ConnectorError> {
        if self.shard >= self.readers {
            return Ok(());
        }
        for position in positions {
            self.resume(&position.split, &FollowedPosition::read(position)?)?;
        }
        Ok(())
    }

    fn split_name(&self, split: SplitId) -> String {
        let file = self.files.iter().find(|file| file.split == Some(split));
        file.map_or_else(|| format!("closed {split}"), |file| file.name.clone())
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
            self.look(now)?;
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

#[cfg(test)]
mod tests;
