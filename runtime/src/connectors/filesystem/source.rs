//! A shard's part of a bounded set of files.
//!
//! Every file of which this shard has a piece (block, row group, or the whole) is one split. The
//! shard first reads the head of every file, then always goes on with the file whose event time
//! is furthest behind: files that follow each other in time are read one after the other, files
//! that cover the same time are read side by side, and either way no row comes late because of
//! the order of files. Without a watermark, files are read in name order.
//!
//! **Invariant.** At most one buffer of text is held, and at most [`OPEN_FILES_MAX`] files are
//! open; a file put aside knows where to go on.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use engine::plan::{SourceSpec, SourceWatermark};
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitId};

use super::blocks::{BlockRecords, FileBlocks, line_number_at};
use super::parquet::{ParquetPlace, ParquetRows};
use super::pushed_filter::PushedFilter;
use super::stream::{FileStream, StreamPlace};
use super::{Content, FilesystemTable, InputFile};
use crate::connectors::decoding::TextRows;
use crate::connectors::ingest::IngestLayout;
use crate::connectors::records::count_lines;

/// Files that a shard keeps open at once.
const OPEN_FILES_MAX: usize = 16;

/// A file of which this shard has a piece.
#[derive(Debug)]
struct FileSplit {
    id: SplitId,
    /// Index into the table's files.
    file: usize,
    reader: Option<Reader>,
    resume: Resume,
    header: Box<[u8]>,
    /// Latest event time seen, in the column's unit.
    time: i64,
}

/// A file that is open.
#[derive(Debug)]
enum Reader {
    Blocks(FileBlocks),
    Stream(FileStream),
    Parquet(ParquetRows),
}

/// Where to go on with a file that was put aside.
#[derive(Clone, Copy, Debug)]
enum Resume {
    Block(u64),
    Stream(StreamPlace),
    Parquet(ParquetPlace),
}

/// Where the text being decoded comes from.
#[derive(Clone, Copy, Debug)]
enum Place {
    Block { offset: u64 },
    Stream(StreamPlace),
}

/// What is being handed out, from which split.
#[derive(Debug)]
enum Current {
    Text { split: usize, place: Place },
    Rows { split: usize, rows: RecordBatch },
}

/// A shard's part of the files.
#[derive(Debug)]
pub struct FilesystemSource {
    table: Arc<FilesystemTable>,
    layout: IngestLayout,
    shard: u64,
    shards: u64,
    watermark: Option<SourceWatermark>,
    /// What the Parquet decoder filters.
    filter: Option<PushedFilter>,
    splits: Vec<FileSplit>,
    current: Option<Current>,
    text: Option<TextRows>,
    bytes: u64,
    filtered: u64,
}

impl FilesystemSource {
    /// This shard's pieces of the table's files.
    ///
    /// # Errors
    /// When the format cannot decode a wanted column.
    pub fn new(
        source: &SourceSpec,
        table: Arc<FilesystemTable>,
        shard: usize,
        shards: usize,
    ) -> Result<FilesystemSource, ConnectorError> {
        let layout = IngestLayout::new(source);
        let text = table.text_rows(&layout)?;
        let filter = PushedFilter::new(source, &layout);
        let mut part = FilesystemSource {
            layout,
            shard: shard as u64,
            shards: shards as u64,
            watermark: source.watermark.clone(),
            filter,
            splits: Vec::new(),
            current: None,
            text,
            bytes: 0,
            filtered: 0,
            table,
        };
        for (file, input) in part.table.files.iter().enumerate() {
            let first = input.first_piece_of(part.shard, part.shards);
            if first < input.pieces {
                part.splits.push(FileSplit {
                    id: file as SplitId,
                    file,
                    reader: None,
                    resume: match input.content {
                        Content::Blocks => Resume::Block(first),
                        Content::Stream(_) => Resume::Stream(StreamPlace { offset: 0, line: 1 }),
                        Content::Parquet(_) => Resume::Parquet(ParquetPlace::default()),
                    },
                    header: Box::default(),
                    time: i64::MIN,
                });
            }
        }
        Ok(part)
    }

    /// The split to go on with: the one furthest behind in event time.
    fn choose(&self) -> Option<usize> {
        // The first minimum: files that were not read yet come in name order.
        (0..self.splits.len()).min_by_key(|&split| self.splits[split].time)
    }

    /// Reads the next piece of `split`; false when the file has ended.
    fn read(&mut self, split: usize) -> Result<bool, ConnectorError> {
        self.open(split)?;
        let FileSplit { reader, resume, .. } = &mut self.splits[split];
        let reader = reader.as_mut().expect("invariant: the split was just opened");
        let place = match reader {
            Reader::Parquet(reader) => {
                let rows = reader.read()?;
                self.filtered += reader.take_filtered();
                let Some(rows) = rows else {
                    return Ok(false);
                };
                *resume = Resume::Parquet(reader.place());
                self.current = Some(Current::Rows { split, rows });
                return Ok(true);
            }
            Reader::Blocks(blocks) => {
                let text = self.text.as_mut().expect("invariant: text files have a decoder");
                let Some(BlockRecords { offset, first }) = blocks.read(text.buffer())? else {
                    return Ok(false);
                };
                text.skip(first);
                *resume = Resume::Block(blocks.next_block());
                self.bytes += text.filled() as u64;
                Place::Block { offset }
            }
            Reader::Stream(stream) => {
                let text = self.text.as_mut().expect("invariant: text files have a decoder");
                let Some(place) = stream.read(text.buffer())? else {
                    return Ok(false);
                };
                *resume = Resume::Stream(stream.place());
                self.bytes += text.filled() as u64;
                Place::Stream(place)
            }
        };
        let is_start = matches!(
            place,
            Place::Stream(StreamPlace { offset: 0, .. }) | Place::Block { offset: 0 }
        );
        let text = self.text.as_mut().expect("invariant: text files have a decoder");
        let entered = text.enter_file(is_start, &mut self.splits[split].header);
        entered.map_err(|error| {
            let path = &self.table.files[self.splits[split].file].path;
            ConnectorError::new(format!("{}: {error}", path.display()))
        })?;
        self.current = Some(Current::Text { split, place });
        Ok(true)
    }

    /// Opens `split` where it left off, and puts aside the file that is furthest ahead if too many
    /// are open.
    fn open(&mut self, split: usize) -> Result<(), ConnectorError> {
        if self.splits[split].reader.is_some() {
            return Ok(());
        }
        let open = self
            .splits
            .iter()
            .enumerate()
            .filter(|(_, other)| other.reader.is_some());
        if open.clone().count() >= OPEN_FILES_MAX {
            let ahead = open.max_by_key(|(_, other)| other.time).map(|(index, _)| index);
            self.splits[ahead.expect("invariant: many files are open")].reader = None;
        }
        let FileSplit { file, resume, .. } = &self.splits[split];
        let input = &self.table.files[*file];
        let reader = match (&input.content, *resume) {
            (Content::Blocks, Resume::Block(next)) => {
                let block_bytes = self.table.block_bytes;
                Reader::Blocks(FileBlocks::open(
                    &input.path,
                    input.bytes,
                    block_bytes,
                    next,
                    self.shards,
                )?)
            }
            (Content::Stream(compression), Resume::Stream(place)) => Reader::Stream(FileStream::open_at(
                &input.path,
                *compression,
                self.table.boundary(),
                place,
            )?),
            (Content::Parquet(file), Resume::Parquet(place)) => {
                let first = input.first_piece_of(self.shard, self.shards) as usize;
                let groups = (first..file.row_groups()).step_by(self.shards as usize).collect();
                Reader::Parquet(file.read(groups, place, &self.layout.physical, self.filter.as_ref())?)
            }
            (content, resume) => unreachable!("invariant: {content:?} is never resumed at {resume:?}"),
        };
        self.splits[split].reader = Some(reader);
        Ok(())
    }

    /// The next rows of what was read, and their split; `None` when it is used up.
    fn hand_out(&mut self, rows_max: usize) -> Result<Option<(usize, RecordBatch)>, ConnectorError> {
        match &mut self.current {
            None => Ok(None),
            Some(Current::Rows { split, rows }) => {
                if rows.num_rows() == 0 {
                    return Ok(None);
                }
                let count = rows.num_rows().min(rows_max);
                let batch = rows.slice(0, count);
                *rows = rows.slice(count, rows.num_rows() - count);
                Ok(Some((*split, batch)))
            }
            Some(Current::Text { split, place }) => {
                let path = &self.table.files[self.splits[*split].file].path;
                let text = self.text.as_mut().expect("invariant: text files have a decoder");
                let rows = text.next(rows_max, |buffer, at| describe(path, *place, buffer, at))?;
                Ok(rows.map(|rows| (*split, rows)))
            }
        }
    }

    /// Notes how far `split` has come, where that decides what is read next.
    fn note_time(&mut self, split: usize, rows: &RecordBatch) -> Result<(), ConnectorError> {
        let Some(watermark) = self.watermark.as_ref().filter(|_| self.splits.len() > 1) else {
            return Ok(());
        };
        let time = latest(watermark, rows).map_err(ConnectorError::new)?;
        let known = &mut self.splits[split].time;
        *known = time.map_or(*known, |time| time.max(*known));
        Ok(())
    }
}

impl Source for FilesystemSource {
    fn splits(&self) -> Vec<SplitId> {
        self.splits.iter().map(|split| split.id).collect()
    }

    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        assert!(rows_max > 0, "invariant: a poll asks for rows");
        loop {
            if let Some((split, rows)) = self.hand_out(rows_max)? {
                let FileSplit { id, file, .. } = self.splits[split];
                let path = &self.table.files[file].path;
                let rows = self
                    .layout
                    .assemble(rows, |key, _, count| path_metadata(path, key, count));
                self.note_time(split, &rows)?;
                return Ok(SourcePoll::Rows {
                    split: id,
                    rows,
                    arrival_ns: now,
                });
            }
            self.current = None;
            let Some(split) = self.choose() else {
                return Ok(SourcePoll::End);
            };
            if !self.read(split)? {
                let ended = self.splits.remove(split);
                return Ok(SourcePoll::SplitEnd(ended.id));
            }
        }
    }

    fn statistics(&self) -> SourceStatistics {
        SourceStatistics {
            bytes: self.bytes,
            malformed: self.text.as_ref().map_or(0, TextRows::malformed),
            filtered: self.filtered,
        }
    }
}

/// The latest event time of `rows`, in the column's unit.
fn latest(watermark: &SourceWatermark, rows: &RecordBatch) -> Result<Option<i64>, String> {
    let times = watermark
        .event_time
        .evaluate(rows)
        .and_then(|times| times.into_array(rows.num_rows()))
        .map_err(|error| error.to_string())?;
    let times = arrow::compute::cast(&times, &DataType::Int64).map_err(|error| error.to_string())?;
    Ok(arrow::compute::max(times.as_primitive::<Int64Type>()))
}

/// `path, line n` of the record at offset `at` of a buffer that starts at `place`.
fn describe(path: &Path, place: Place, buffer: &[u8], at: usize) -> String {
    let line = match place {
        Place::Stream(place) => Some(place.line + count_lines(&buffer[..at])),
        // Blocks do not know the lines before them: only an error is worth counting them.
        Place::Block { offset } => line_number_at(path, offset + at as u64).ok(),
    };
    match line {
        Some(line) => format!("{}, line {line}", path.display()),
        None => path.display().to_string(),
    }
}

/// `file.path` or `file.name`, `count` times.
pub(super) fn path_metadata(path: &Path, key: &str, count: usize) -> ArrayRef {
    let value = match key {
        "file.name" => path
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default(),
        _ => path.to_string_lossy(),
    };
    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, count)))
}

impl InputFile {
    /// The first piece of this file that belongs to `shard`: pieces of all files are dealt in turn.
    pub(super) fn first_piece_of(&self, shard: u64, shards: u64) -> u64 {
        (shard + shards - self.pieces_before % shards) % shards
    }
}
