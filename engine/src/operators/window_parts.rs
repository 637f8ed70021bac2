//! What the window operators share: which slice or window a row belongs to, and the rows that a
//! window emits.
//!
//! **Invariant.** A row is folded once into every state it belongs to, with the keys, arguments and
//! sign that it came with.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int8Array, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::Output;
use crate::operators::slices::{SliceAssigner, event_times, split_by, split_by_slice, time_in_unit};
use crate::plan::{WindowAggregateSpec, WindowInput, WindowKind};
use crate::state::accumulators::GroupState;
use crate::state::accumulators::layout::LayoutOptions;
use crate::state::changes::{ChangeTracker, Changes, rows_of};
use crate::state::group_table::GroupIndex;
use crate::state::key_columns::word_column;
use crate::time::EventTimeUs;

pub(crate) const OPERATOR: &str = "WindowAggregate";

/// Most slices of a window that are merged anew for each window; above, a running state is kept.
pub(crate) const MERGED_SLICES_MAX: i64 = 8;

/// A slice, or (where windows come with the rows) a window: (end, start).
pub(crate) type SliceId = (EventTimeUs, EventTimeUs);

/// A slice and the rows of a batch that lie in it; `None`: all.
pub(crate) type SlicePart = (SliceId, Option<Vec<u32>>);

/// Where a row's slice is read from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SliceSource {
    /// From the event time in this column.
    Time(usize, SliceAssigner),
    /// From window bounds in TIMESTAMP columns.
    Bounds { start: usize, end: usize },
    /// From BIGINT columns of the local phase: the end, and the start if windows were attached.
    Partial { end: usize, start: Option<usize> },
}

impl SliceSource {
    /// Where `spec` finds the slice of a row that has `columns` columns.
    pub fn new(spec: &WindowAggregateSpec, columns: usize) -> SliceSource {
        match (&spec.window, spec.input_is_partial) {
            (WindowInput::Assign(window), false) => {
                SliceSource::Time(window.time_column, SliceAssigner::new(window))
            }
            (WindowInput::Assign(_), true) => SliceSource::Partial {
                end: columns - 1,
                start: None,
            },
            (
                &WindowInput::Attached {
                    start_column,
                    end_column,
                    ..
                },
                false,
            ) => SliceSource::Bounds {
                start: start_column,
                end: end_column,
            },
            (WindowInput::Attached { .. }, true) => SliceSource::Partial {
                end: columns - 2,
                start: Some(columns - 1),
            },
        }
    }

    /// Column `column` of the input if it is a bound of a window, from the end and the start in microseconds
    /// that a snapshot keeps.
    pub fn bound_of(&self, column: usize, bounds: &[ArrayRef], input: &Schema) -> Option<ArrayRef> {
        let (end, start) = match *self {
            SliceSource::Time(..) => return None,
            SliceSource::Bounds { start, end } => (end, Some(start)),
            SliceSource::Partial { end, start } => (end, start),
        };
        let kept = if column == end {
            &bounds[0]
        } else if Some(column) == start {
            &bounds[1]
        } else {
            return None;
        };
        let data_type = input.field(column).data_type();
        if kept.data_type() == data_type {
            return Some(kept.clone());
        }
        let times = kept.as_primitive::<Int64Type>().values().iter();
        let words = times.map(|&time| time_in_unit(data_type, time) as u64);
        Some(word_column(data_type, words, None))
    }

    /// The slices of a batch in rising order, each with its rows (`None`: all).
    pub fn split(&self, batch: &Batch) -> Result<Vec<SlicePart>, ExecutionError> {
        let integers = |column: usize| batch.column(column).as_primitive::<Int64Type>().values().clone();
        let (ends, starts) = match *self {
            SliceSource::Time(column, assigner) => {
                let times = event_times(batch.column(column), OPERATOR)?;
                let parts = split_by_slice(&assigner, &times).into_iter();
                return Ok(parts
                    .map(|(end, rows)| ((end, end - assigner.slice_us), rows))
                    .collect());
            }
            SliceSource::Bounds { start, end } => {
                let ends = event_times(batch.column(end), OPERATOR)?;
                (ends, Some(event_times(batch.column(start), OPERATOR)?))
            }
            SliceSource::Partial { end, start } => (integers(end), start.map(integers)),
        };
        let ids: Vec<SliceId> = match starts {
            Some(starts) => ends.iter().copied().zip(starts.iter().copied()).collect(),
            None => ends.iter().map(|&end| (end, end)).collect(),
        };
        Ok(split_by(&ids))
    }
}

/// The layout options of both phases of `spec`: they must agree.
pub(crate) fn layout_options(spec: &WindowAggregateSpec) -> LayoutOptions {
    let counts = match &spec.window {
        // A running state must tell when a key has left the window.
        WindowInput::Assign(window) if matches!(window.kind, WindowKind::Hop { .. }) => {
            SliceAssigner::new(window).slices_per_window() > MERGED_SLICES_MAX
        }
        _ => false,
    };
    LayoutOptions {
        input_is_partial: spec.input_is_partial,
        keys: spec.keys.len(),
        input_retracts: spec.input_retracts,
        count_rows: counts,
    }
}

/// Columns of a snapshot's tables that say which window, or slice, a state belongs to.
pub(crate) const WINDOW_COLUMNS: usize = 2;

/// Those columns for window `id`.
pub(crate) fn window_columns((end, start): SliceId) -> [(&'static str, i64); WINDOW_COLUMNS] {
    [("window end", end), ("window start", start)]
}

/// The rows of `batch` in `rows`; all of it, without a copy, for `None`.
pub(crate) fn part_of(batch: &Batch, rows: Option<&[u32]>) -> Result<Batch, ExecutionError> {
    let Some(rows) = rows else {
        return Ok(batch.clone());
    };
    let rows = UInt32Array::from(rows.to_vec());
    let part = take_record_batch(batch.rows(), &rows).map_err(failure)?;
    let ops = batch
        .ops()
        .map(|ops| take(ops, &rows, None))
        .transpose()
        .map_err(failure)?;
    let ops: Option<Int8Array> = ops.map(|ops| ops.as_primitive().clone());
    Ok(Batch::new(part, ops, batch.arrival_ns))
}

fn failure(error: arrow::error::ArrowError) -> ExecutionError {
    ExecutionError::new(OPERATOR, error)
}

/// How a window's groups become rows.
#[derive(Clone, Debug)]
pub(crate) struct WindowRows {
    /// Keys, calls, `window_start`, `window_end`, `window_time`.
    pub schema: SchemaRef,
    /// Distance of `window_time` from the window's end.
    pub tick_us: i64,
    /// Groups may have lost all their rows: those are left out.
    pub skips_empty: bool,
}

impl WindowRows {
    /// The three window columns, `rows` rows long.
    pub fn bounds(&self, (end, start): SliceId, rows: usize) -> Vec<ArrayRef> {
        let first = self.schema.fields().len() - 3;
        let times = [start, end, end.saturating_sub(self.tick_us)];
        let columns = times.iter().zip(&self.schema.fields()[first..]);
        let column = |(&time, field): (&i64, &Arc<arrow::datatypes::Field>)| {
            let word = time_in_unit(field.data_type(), time) as u64;
            word_column(field.data_type(), std::iter::repeat_n(word, rows), None)
        };
        columns.map(column).collect()
    }

    /// Emits groups `range` of `state` as rows of `window`; answers how many were emitted.
    pub fn emit(
        &self,
        state: &mut GroupState,
        window: SliceId,
        range: std::ops::Range<usize>,
        out: &mut Output,
    ) -> Result<usize, ExecutionError> {
        let mut emitted = 0;
        let groups: Vec<GroupIndex> = (range.start as GroupIndex..range.end as GroupIndex).collect();
        for groups in groups.chunks(BATCH_ROWS_MAX) {
            let mut live = groups.to_vec();
            if self.skips_empty {
                let mut counts = state.row_counts(groups).into_iter();
                live.retain(|_| counts.next().is_some_and(|count| count > 0));
            }
            let mut columns = state.keys(&live);
            columns.extend(state.evaluate(&live)?);
            columns.extend(self.bounds(window, live.len()));
            out.emit_rows(rows_of(&self.schema, columns, live.len())?);
            emitted += live.len();
        }
        Ok(emitted)
    }

    /// Emits what changed in `state` since its tracker was last drained.
    pub fn emit_changes(
        &self,
        state: &mut GroupState,
        tracker: &mut ChangeTracker,
        window: SliceId,
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        if tracker.is_clean() {
            return Ok(());
        }
        let changes = tracker.drain(state)?;
        self.emit_drained(state, changes, window, out)
    }

    /// Emits changes of `state`.
    pub fn emit_drained(
        &self,
        state: &GroupState,
        changes: Changes,
        window: SliceId,
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        let bounds = self.bounds(window, changes.ops.len());
        let (rows, ops) = changes.into_rows(state, &self.schema, bounds)?;
        let mut at = 0;
        while at < rows.num_rows() {
            let count = BATCH_ROWS_MAX.min(rows.num_rows() - at);
            out.emit_changes(rows.slice(at, count), ops.slice(at, count));
            at += count;
        }
        Ok(())
    }
}
