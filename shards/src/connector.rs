//! What a shard asks of a source and a sink. The runtime's connectors implement these; so do the
//! simulator's.
//!
//! **Invariant.** No method blocks: a source without rows says so, a sink that cannot take more
//! says so before it is written to.

use arrow::array::RecordBatch;
use engine::batch::Batch;
use thiserror::Error;

use crate::clock::Nanos;

/// A split of a source (a file, a block series of a file, a generator's share), numbered within
/// one shard's source. Watermarks are kept per split.
pub type SplitId = u32;

/// A source or a sink failed; the job stops with this message.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct ConnectorError {
    /// What happened, where (file, line), and what to do.
    pub message: String,
}

impl ConnectorError {
    /// A failure told by `message`.
    pub fn new(message: impl Into<String>) -> ConnectorError {
        ConnectorError {
            message: message.into(),
        }
    }
}

/// Where a split is to be read on, in the words of its connector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SplitPosition {
    /// The split's name: the same in every run and for every number of shards. Parts of one split that
    /// several shards read have the same name and a position each.
    pub split: String,
    /// The position.
    pub position: String,
}

/// Output that has been written and is not seen yet, in the words of its connector: enough to show it, also
/// after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prepared(pub String);

/// What a poll of a source found.
#[derive(Debug)]
pub enum SourcePoll {
    /// Rows of one split, with exactly the columns of `SourceSpec::ingest`, in that order and with
    /// the declared types.
    Rows {
        /// Whose rows.
        split: SplitId,
        /// The rows; at most the budget, at least one.
        rows: RecordBatch,
        /// When they arrived: the clock when their bytes were read, or the scheduled time of a
        /// paced generator (no coordinated omission).
        arrival_ns: Nanos,
    },
    /// The split promises that no row at or before this event time will come: a watermark beside those
    /// that its rows imply.
    Watermark {
        /// Whose promise.
        split: SplitId,
        /// Event time, microseconds.
        watermark_us: i64,
    },
    /// The split has ended; it no longer holds the watermark back.
    SplitEnd(SplitId),
    /// Nothing now; poll again when the shard's waker fires, or at `poll_at`, whichever is first.
    Pending {
        /// When to look again without being woken.
        poll_at: Option<Nanos>,
    },
    /// Nothing will ever come again.
    End,
}

/// A source's part on one shard.
pub trait Source {
    /// The splits this part starts with; a split may also appear later, with its first rows.
    /// A split that is known but silent holds the watermark back.
    fn splits(&self) -> Vec<SplitId>;

    /// Whether splits may come at any time. Where there is none yet, others' watermarks do not wait for this part;
    /// of a part that will not have any they wait for its end, which comes at once.
    fn may_grow(&self) -> bool {
        false
    }

    /// Rows that are there, at most `rows_max` of them; does not block.
    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError>;

    /// Where this part's splits are to be read on, those that have ended included; rows that were handed out
    /// are behind it, all others before. Empty where a source cannot go back: then what was read is lost
    /// with the process.
    fn positions(&self) -> Vec<SplitPosition> {
        Vec::new()
    }

    /// Goes on from `positions`, those of all parts on all shards of the job before, whose number may have
    /// been another. Called once, before anything else.
    ///
    /// # Errors
    /// What was read then is not there any more.
    fn restore(&mut self, _positions: &[SplitPosition]) -> Result<(), ConnectorError> {
        Ok(())
    }

    /// The name of a split of this part, as in its positions.
    fn split_name(&self, split: SplitId) -> String {
        split.to_string()
    }

    /// What it has read so far.
    fn statistics(&self) -> SourceStatistics {
        SourceStatistics::default()
    }
}

/// What a source has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceStatistics {
    /// Bytes read (before decompression).
    pub bytes: u64,
    /// Records that could not be decoded and were skipped or sent to the dead-letter file.
    pub malformed: u64,
    /// Rows that it left out because the query's filter does not want them.
    pub filtered: u64,
}

/// A sink's part on one shard.
pub trait Sink {
    /// Whether a batch may be written now. While it says no, the shard holds back what leads here.
    fn ready(&mut self) -> bool;

    /// Takes a batch. Only called after `ready` said yes in this step; may then be called several
    /// times (a firing emits more than one batch).
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError>;

    /// Hands on what is buffered: called when the shard has nothing else to do, and at intervals.
    fn flush(&mut self) -> Result<(), ConnectorError>;

    /// The end of an epoch: what was written since the last one is complete on its medium and will be seen
    /// once it is committed. Answers what must be committed; nothing where rows are seen as they are written.
    /// Called behind `flush`; once more after `close` where the input has ended.
    ///
    /// # Errors
    /// The medium refuses; the job stops.
    fn prepare(&mut self) -> Result<Vec<Prepared>, ConnectorError> {
        self.flush()?;
        Ok(Vec::new())
    }

    /// Whether everything written before the last `prepare` is where a crash of this process cannot take it any
    /// more. Asked behind `prepare` until it answers true: only then the epoch counts. A sink that says no
    /// wakes its shard when it is time to ask again.
    ///
    /// # Errors
    /// The medium refuses; the job stops.
    fn is_settled(&mut self) -> Result<bool, ConnectorError> {
        Ok(true)
    }

    /// The input has ended or the job stops gracefully: everything written becomes final. Called
    /// until it answers true, then never again.
    fn close(&mut self) -> Result<bool, ConnectorError>;
}
