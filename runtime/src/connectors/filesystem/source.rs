//! A shard's part of a bounded set of files.
//!
//! Every file of which this shard has a piece (block, row group, or the whole) is one split. The
//! shard first reads the head of every file, then always goes on with the file whose event time
//! is furthest behind: files that follow each other in time are read one after the other, files
//! that cover the same time are read side by side, and either way no row comes late because of
//! the order of files. Without a watermark, files are read in name order.
//!
//! A snapshot keeps what is left of each file (`position`); a job that goes on deals that out anew.
//!
//! **Invariant.** At most one buffer of text is held, and at most [`OPEN_FILES_MAX`] files are
//! open; a file put aside knows where to go on.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use engine::plan::{SourceSpec, SourceWatermark};
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitId, SplitPosition};

use super::blocks::{BlockRecords, FileBlocks, line_number_at};
use super::parquet::{ParquetPlace, ParquetRows};
use super::position::{FilePosition, Piece};
use super::pushed_filter::PushedFilter;
use super::stream::{FileStream, StreamPlace};
use super::{Content, FilesystemTable, InputFile};
use crate::connectors::decoding::TextRows;
use crate::connectors::ingest::IngestLayout;
use crate::connectors::records::count_lines;
use crate::limits::OPEN_FILES_MAX;

mod remaining;

/// A file of which this shard has a piece, or had one.
#[derive(Debug)]
struct FileSplit {
    id: SplitId,
    /// Index into the table's files.
    file: usize,
    reader: Option<Reader>,
    resume: Resume,
    /// Nothing of it is left.
    ended: bool,
    header: Box<[u8]>,
    /// Latest event time seen, in the column's unit.
    time: i64,
}

/// A file that is open.
#[derive(Debug)]
enum Reader {
    Blocks(FileBlocks),
    Stream(FileStream),
    Parquet(Box<ParquetRows>),
}

/// What is left of a file behind what has been read.
#[derive(Clone, Debug)]
enum Resume {
    /// Pieces; the first may be under way.
    Pieces(VecDeque<Piece>),
    Stream(StreamPlace),
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
                        Content::Blocks | Content::Parquet(_) => {
                            let numbers = (first..input.pieces).step_by(shards);
                            Resume::Pieces(numbers.map(|number| Piece { number, from: 0 }).collect())
                        }
                        Content::Stream(_) => Resume::Stream(StreamPlace { offset: 0, line: 1 }),
                    },
                    ended: false,
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
        let open = (0..self.splits.len()).filter(|&split| !self.splits[split].ended);
        open.min_by_key(|&split| self.splits[split].time)
    }

    /// Reads the next piece of `split`; false when the file has ended.
    fn read(&mut self, split: usize) -> Result<bool, ConnectorError> {
        let place = match self.table.files[self.splits[split].file].content {
            Content::Parquet(_) => return self.read_row_groups(split),
            Content::Blocks => self.read_block(split)?,
            Content::Stream(_) => self.read_stream(split)?,
        };
        let Some((place, is_start)) = place else {
            return Ok(false);
        };
        let text = self.text.as_mut().expect("invariant: text files have a decoder");
        let entered = text.enter_file(is_start, &mut self.splits[split].header);
        entered.map_err(|error| {
            let path = &self.table.files[self.splits[split].file].path;
            ConnectorError::new(format!("{}: {error}", path.display()))
        })?;
        self.current = Some(Current::Text { split, place });
        Ok(true)
    }

    /// Reads rows of the next row group that has any behind the filter; false when none is left.
    fn read_row_groups(&mut self, split: usize) -> Result<bool, ConnectorError> {
        while self.piece(split).is_some() {
            self.open(split)?;
            let FileSplit { reader, resume, .. } = &mut self.splits[split];
            let (Some(Reader::Parquet(reader)), Resume::Pieces(pieces)) = (reader, resume) else {
                unreachable!("invariant: a Parquet file is read by row groups")
            };
            let rows = reader.read()?;
            self.filtered += reader.take_filtered();
            match rows {
                Some(rows) => {
                    let piece = pieces.front_mut().expect("invariant: a row group is under way");
                    piece.from = reader.place().row as u64;
                    self.current = Some(Current::Rows { split, rows });
                    return Ok(true);
                }
                None => {
                    pieces.pop_front();
                    self.splits[split].reader = None;
                }
            }
        }
        Ok(false)
    }

    /// Reads the next block in which a record starts; its place, and whether it is the file's beginning.
    fn read_block(&mut self, split: usize) -> Result<Option<(Place, bool)>, ConnectorError> {
        while let Some(Piece { number, from }) = self.piece(split) {
            self.open(split)?;
            let FileSplit { reader, resume, .. } = &mut self.splits[split];
            let (Some(Reader::Blocks(blocks)), Resume::Pieces(pieces)) = (reader, resume) else {
                unreachable!("invariant: this file is read by blocks")
            };
            if let Some(next) = pieces.get(1) {
                blocks.read_ahead(next.number);
            }
            let text = self.text.as_mut().expect("invariant: text files have a decoder");
            if let Some(BlockRecords { offset, first }) = blocks.read(number, text.buffer())? {
                let done = usize::try_from(from.saturating_sub(offset));
                let done = done.expect("invariant: a place in a block fits memory");
                text.skip(first.max(done).min(text.filled()));
                self.bytes += text.filled() as u64;
                return Ok(Some((Place::Block { offset }, offset == 0 && from == 0)));
            }
            pieces.pop_front();
        }
        Ok(None)
    }

    /// Reads on in a stream; the place of what was read, and whether it is the file's beginning.
    fn read_stream(&mut self, split: usize) -> Result<Option<(Place, bool)>, ConnectorError> {
        self.open(split)?;
        let FileSplit { reader, resume, .. } = &mut self.splits[split];
        let Some(Reader::Stream(stream)) = reader else {
            unreachable!("invariant: this file is read as a stream")
        };
        let text = self.text.as_mut().expect("invariant: text files have a decoder");
        let Some(place) = stream.read(text.buffer())? else {
            return Ok(None);
        };
        *resume = Resume::Stream(stream.place());
        self.bytes += text.filled() as u64;
        Ok(Some((Place::Stream(place), place.offset == 0)))
    }

    /// The piece of `split` that is under way or comes next.
    fn piece(&self, split: usize) -> Option<Piece> {
        match &self.splits[split].resume {
            Resume::Pieces(pieces) => pieces.front().copied(),
            Resume::Stream(_) => None,
        }
    }

    /// What was read is used up: a block is done.
    fn finish_current(&mut self) {
        if let Some(Current::Text {
            split,
            place: Place::Block { .. },
        }) = self.current.take()
            && let Resume::Pieces(pieces) = &mut self.splits[split].resume
        {
            pieces.pop_front();
        }
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
        let reader = match (&input.content, resume) {
            (Content::Blocks, Resume::Pieces(_)) => Reader::Blocks(FileBlocks::open(
                &input.path,
                input.bytes,
                self.table.block_bytes,
            )?),
            (Content::Stream(compression), Resume::Stream(place)) => Reader::Stream(FileStream::open_at(
                &input.path,
                *compression,
                self.table.boundary(),
                *place,
            )?),
            (Content::Parquet(file), Resume::Pieces(pieces)) => {
                let piece = pieces.front().expect("invariant: a row group is left");
                let place = ParquetPlace {
                    group: 0,
                    row: piece.from as usize,
                };
                let groups = vec![piece.number as usize];
                let layout = &self.layout;
                let rows = file.read(
                    groups,
                    place,
                    &layout.physical,
                    self.filter.as_ref(),
                    &layout.key_texts,
                );
                Reader::Parquet(Box::new(rows?))
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

impl Current {
    fn split(&self) -> usize {
        match self {
            Current::Text { split, .. } | Current::Rows { split, .. } => *split,
        }
    }
}

impl Source for FilesystemSource {
    fn splits(&self) -> Vec<SplitId> {
        let open = self.splits.iter().filter(|split| !split.ended);
        open.map(|split| split.id).collect()
    }

    fn positions(&self) -> Vec<SplitPosition> {
        let position = |(split, FileSplit { file, header, .. }): (usize, &FileSplit)| {
            let input = &self.table.files[*file];
            let position = FilePosition {
                bytes: input.bytes,
                header: String::from_utf8_lossy(header).into_owned(),
                left: self.left(split),
            };
            position.write(input.path.display().to_string())
        };
        self.splits.iter().enumerate().map(position).collect()
    }

    fn restore(&mut self, positions: &[SplitPosition]) -> Result<(), ConnectorError> {
        let mut parts: BTreeMap<&str, Vec<FilePosition>> = BTreeMap::new();
        for position in positions {
            let read = FilePosition::read(position).map_err(ConnectorError::new)?;
            parts.entry(&position.split).or_default().push(read);
        }
        for (file, input) in self.table.files.iter().enumerate() {
            let Some(parts) = parts.remove(input.path.display().to_string().as_str()) else {
                // A file that has come since is read from its beginning.
                continue;
            };
            let dealt = self.deal(file, &parts).map_err(ConnectorError::new)?;
            self.splits.retain(|split| split.file != file);
            let header = parts
                .iter()
                .map(|part| part.header.as_str())
                .find(|header| !header.is_empty());
            let nothing = match input.content {
                Content::Stream(_) => Resume::Stream(StreamPlace { offset: 0, line: 1 }),
                Content::Blocks | Content::Parquet(_) => Resume::Pieces(VecDeque::new()),
            };
            self.splits.push(FileSplit {
                id: file as SplitId,
                file,
                reader: None,
                ended: dealt.is_none(),
                resume: dealt.unwrap_or(nothing),
                header: header.unwrap_or_default().as_bytes().into(),
                time: i64::MIN,
            });
        }
        self.splits.sort_by_key(|split| split.file);
        // A file that was read to its end may be gone.
        let is_read = |parts: &[FilePosition]| parts.iter().all(FilePosition::is_read);
        match parts.into_iter().find(|(_, parts)| !is_read(parts)) {
            None => Ok(()),
            Some((path, _)) => Err(ConnectorError::new(format!(
                "{path} was not read to its end when the checkpoint was taken, and is not there any more; put it back, \
                 or start with another checkpoint directory"
            ))),
        }
    }

    fn split_name(&self, split: SplitId) -> String {
        self.table.files[split as usize].path.display().to_string()
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
            self.finish_current();
            let Some(split) = self.choose() else {
                return Ok(SourcePoll::End);
            };
            if !self.read(split)? {
                let split = &mut self.splits[split];
                split.ended = true;
                split.reader = None;
                return Ok(SourcePoll::SplitEnd(split.id));
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
