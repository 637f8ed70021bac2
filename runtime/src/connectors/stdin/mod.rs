//! `'connector' = 'stdin'`: records from standard input, decoded on all shards; or, where event time is
//! derived from them, on one: a pipe is one ordered stream, and what is late in it, or complete, must
//! not depend on which shard has come how far.
//!
//! **Invariant.** A shard never reads the descriptor: it decodes blocks that the reader thread
//! has dealt to it, in the order of the input.

use std::sync::mpsc::{Receiver, TryRecvError};

use engine::plan::SourceSpec;
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitId};

use super::decoding::{MalformedPolicy, TextRows};
use super::filesystem::compression::Compression;
use super::format::{FormatKind, RowFormat};
use super::ingest::{IngestLayout, check_metadata};
use super::options::TableOptions;
use super::records::count_lines;
use engine::error::SqlError;
use reader::{HeaderLength, InputMessage, InputQueues};

pub mod reader;

/// A table over standard input, prepared.
#[derive(Debug)]
pub struct StandardInput {
    /// How records become rows.
    pub format: RowFormat,
    policy: MalformedPolicy,
    layout: IngestLayout,
    /// How the input is compressed.
    pub compression: Compression,
    /// From the reader thread to the shards.
    pub queues: InputQueues,
}

impl StandardInput {
    /// Checks the options; nothing is read yet. The first `readers` of `shards` shards decode.
    ///
    /// # Errors
    /// A wrong option or format.
    pub fn prepare(
        options: &TableOptions<'_>,
        layout: &IngestLayout,
        shards: usize,
        readers: usize,
    ) -> Result<StandardInput, SqlError> {
        check_metadata(options.table(), &[])?;
        let FormatKind::Rows(format) = FormatKind::parse(options, Some("json"))? else {
            return Err(options
                .error(
                    "format",
                    "standard input cannot be read as Parquet, which needs a file",
                )
                .hint("use 'format' = 'json' or 'csv', or 'connector' = 'filesystem'"));
        };
        format.check(options, layout)?;
        Ok(StandardInput {
            policy: format.malformed_policy(options)?,
            layout: layout.clone(),
            compression: Compression::parse(options)?.unwrap_or(Compression::None),
            format,
            queues: InputQueues::new(shards, readers),
        })
    }
}

impl StandardInput {
    /// Tells the header of the input.
    ///
    /// # Errors
    /// When the format cannot decode a wanted column.
    pub fn header_length(&self) -> Result<HeaderLength, ConnectorError> {
        let decoder = self.format.decoder(&self.layout);
        let mut decoder = decoder.map_err(|error| ConnectorError::new(error.message))?;
        Ok(Box::new(move |bytes| decoder.start_file(bytes)))
    }
}

/// A shard's part of standard input.
#[derive(Debug)]
pub struct StandardInputSource {
    layout: IngestLayout,
    text: TextRows,
    queue: Receiver<InputMessage>,
    /// The line number that the text being decoded starts with.
    line: u64,
    bytes: u64,
}

impl StandardInputSource {
    /// Takes shard `shard`'s queue.
    ///
    /// # Errors
    /// When the queue is taken already: two sources read standard input.
    pub fn new(
        source: &SourceSpec,
        input: &StandardInput,
        shard: usize,
    ) -> Result<StandardInputSource, ConnectorError> {
        let layout = IngestLayout::new(source);
        let queue = input.queues.take_receiver(shard).ok_or_else(|| {
            ConnectorError::new("standard input can be read by one source only: it cannot be read twice")
        })?;
        let decoder = input.format.decoder(&layout);
        let decoder = decoder.map_err(|error| ConnectorError::new(error.message))?;
        Ok(StandardInputSource {
            text: TextRows::new(decoder, input.policy.clone()),
            layout,
            queue,
            line: 1,
            bytes: 0,
        })
    }
}

impl Source for StandardInputSource {
    fn splits(&self) -> Vec<SplitId> {
        vec![0]
    }

    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        loop {
            let line = self.line;
            let place = |buffer: &[u8], at: usize| {
                format!("standard input, line {}", line + count_lines(&buffer[..at]))
            };
            if let Some(rows) = self.text.next(rows_max, place)? {
                let no_metadata = |_: &str, _: &_, _: usize| unreachable!("invariant: there is no metadata");
                return Ok(SourcePoll::Rows {
                    split: 0,
                    rows: self.layout.assemble(rows, no_metadata),
                    arrival_ns: now,
                });
            }
            match self.queue.try_recv() {
                Ok(InputMessage::Header(header)) => {
                    self.text.buffer().extend_from_slice(&header);
                    let started = self.text.enter_file(true, &mut Box::default());
                    started.map_err(|error| ConnectorError::new(format!("standard input: {error}")))?;
                }
                Ok(InputMessage::Block(block)) => {
                    self.line = block.line;
                    self.bytes += block.records.len() as u64;
                    *self.text.buffer() = block.records;
                }
                Ok(InputMessage::Failure(error)) => return Err(error),
                Err(TryRecvError::Empty) => return Ok(SourcePoll::Pending { poll_at: None }),
                Err(TryRecvError::Disconnected) => return Ok(SourcePoll::End),
            }
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
