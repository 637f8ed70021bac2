//! Operators: one per file, each the running form of one kind of plan node on one shard.
//!
//! An operator is driven by the shard loop alone: it is handed batches and watermarks, and writes
//! batches to an [`Output`]. It knows nothing of shards, rings, time or I/O.
//!
//! **Invariant.** Rows emitted for event time ≤ W come before the shard passes W on, which it does
//! once [`Operator::advance`] or [`Operator::resume`] has answered [`Firing::Done`].

pub mod build;
pub mod expand;
pub mod ingest;
pub mod keep_first;
pub mod late_rows;
pub mod map;
pub mod match_recognize;
pub mod normalize;
pub mod over_aggregate;
pub mod rank;
pub mod session_assign;
pub mod sort;
pub mod stream_join;
pub mod temporal_join;
pub mod union;
pub mod unnest;
pub mod window_assign;
pub mod window_bounds;
pub mod window_join;
pub mod window_rank;

use arrow::array::{Int8Array, RecordBatch};

use crate::batch::{ArrivalNs, Batch};
use crate::error::ExecutionError;
use crate::snapshot::{StateReader, StateWriter};
use crate::time::WatermarkUs;

pub use crate::limits::FIRING_QUANTUM_ROWS;

/// Whether a firing operator is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Firing {
    /// All rows up to the watermark are out.
    Done,
    /// More is to come: call [`Operator::resume`] soon; input may be processed in between.
    More,
}

/// The running form of a plan node on one shard.
pub trait Operator {
    /// Takes a batch from input `input`. Whether the rows are emitted at once, at a flush, or when
    /// a window ends is the operator's nature.
    fn process(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError>;

    /// The operator's watermark (the minimum over its inputs) has risen to `watermark`. Emits what
    /// is complete, a quantum at a time. Never called while a firing is unfinished.
    fn advance(&mut self, _watermark: WatermarkUs, _out: &mut Output) -> Result<Firing, ExecutionError> {
        Ok(Firing::Done)
    }

    /// Goes on with an unfinished firing.
    fn resume(&mut self, _out: &mut Output) -> Result<Firing, ExecutionError> {
        Ok(Firing::Done)
    }

    /// Input `input` has ended; others may go on.
    fn input_ended(&mut self, _input: usize, _out: &mut Output) -> Result<(), ExecutionError> {
        Ok(())
    }

    /// Whether a flush now would say little of many rows: what is held back has been combined well.
    fn flush_pays(&self) -> bool {
        true
    }

    /// Emits what is held back only to be combined: partial aggregates, changes not yet emitted.
    /// The shard calls it when its input is drained, when the flush interval has passed and it pays, when it
    /// has not paid for long, and before a barrier or the end passes.
    fn flush(&mut self, _out: &mut Output) -> Result<(), ExecutionError> {
        Ok(())
    }

    /// The watermark that its output keeps once its own has risen to `watermark`: lower where it emits
    /// rows of an earlier event time later.
    fn output_watermark(&self, watermark: WatermarkUs) -> WatermarkUs {
        watermark
    }

    /// Writes everything it holds, as tables that any number of shards can read. Called behind a barrier:
    /// after a flush, and never while a firing is unfinished.
    fn snapshot(&mut self, _into: &mut StateWriter) -> Result<(), ExecutionError> {
        Ok(())
    }

    /// Takes back this shard's part of what was written. Called once, before anything else.
    fn restore(&mut self, _from: &StateReader<'_>) -> Result<(), ExecutionError> {
        Ok(())
    }

    /// What the operator holds.
    fn statistics(&self) -> OperatorStatistics {
        OperatorStatistics::default()
    }
}

/// What an operator holds and has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorStatistics {
    /// Bytes of state.
    pub state_bytes: u64,
    /// Keys (or buffered rows) held.
    pub keys: u64,
    /// Rows dropped because their window was complete already.
    pub late_rows: u64,
}

/// Where an operator writes: batches in the order emitted.
#[derive(Debug, Default)]
pub struct Output {
    batches: Vec<Batch>,
    arrival_ns: ArrivalNs,
}

impl Output {
    /// An empty output.
    pub fn new() -> Output {
        Output::default()
    }

    /// Stamps batches emitted from now on with the arrival of the input they answer.
    pub fn set_arrival(&mut self, arrival_ns: ArrivalNs) {
        self.arrival_ns = arrival_ns;
    }

    /// The stamp given to batches emitted now.
    pub fn arrival(&self) -> ArrivalNs {
        self.arrival_ns
    }

    /// Emits a batch as it is; an empty one is dropped.
    pub fn emit(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.batches.push(batch);
        }
    }

    /// Emits rows as inserts, stamped with the current arrival.
    pub fn emit_rows(&mut self, rows: RecordBatch) {
        self.emit(Batch::append(rows, self.arrival_ns));
    }

    /// Emits changes, stamped with the current arrival.
    pub fn emit_changes(&mut self, rows: RecordBatch, ops: Int8Array) {
        self.emit(Batch::changes(rows, ops, self.arrival_ns));
    }

    /// Takes what was emitted, in order.
    pub fn take(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.batches)
    }

    /// Rows emitted and not yet taken.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(Batch::len).sum()
    }

    /// Whether nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

pub mod group_aggregate;
pub mod local_group_aggregate;

pub mod local_window_aggregate;
pub mod slices;
pub mod window_aggregate;

mod every_row;
mod expiry;
mod folder;
mod separate_windows;
mod shared_windows;
mod window_parts;

#[cfg(test)]
mod aggregate_tests;
