//! Aggregation over tumbling, hopping, cumulating or attached windows, on the shard that owns the keys:
//! from rows, or from the partial states of `local_window_aggregate`.
//!
//! A window fires when the watermark reaches its `window_time` (end minus one tick). A row of which
//! every window has fired is late: dropped and counted; one of which some have fired counts in the rest.
//!
//! **Invariant.** Windows fire in order of their end and only with rows; their groups in order of first
//! arrival. Without EMIT CHANGES a window is emitted once, append-only.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{FieldRef, Int64Type, SchemaRef};

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::folder::Folder;
use crate::operators::local_group_aggregate::combined_well;
use crate::operators::separate_windows::{OpenWindow, SeparateWindows};
use crate::operators::shared_windows::SharedWindows;
use crate::operators::slices::{SliceAssigner, split_by};
use crate::operators::window_parts::{
    OPERATOR, SliceId, SliceSource, WINDOW_COLUMNS, WindowRows, layout_options, part_of, window_columns,
};
use crate::operators::{Firing, Operator, OperatorStatistics, Output};
use crate::plan::{WindowAggregateSpec, WindowInput};
use crate::snapshot::{StateReader, StateWriter};
use crate::sql::statement::Emit;
use crate::state::accumulators::{AggregateLayout, GroupState};
use crate::state::changes::ChangeOptions;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::time::{EventTimeUs, WATERMARK_END, WATERMARK_NONE, WatermarkUs};

/// The windows, by how they hold their state.
#[derive(Debug)]
enum Windows {
    Separate(Box<SeparateWindows>),
    Shared(Box<SharedWindows>),
}

/// Aggregates by window and key; see the file's head.
#[derive(Debug)]
pub struct WindowAggregate {
    source: SliceSource,
    /// `None` where windows come attached to the rows.
    assigner: Option<SliceAssigner>,
    rows: WindowRows,
    folder: Folder,
    /// Each row brings a change of its own, at once.
    every_row: bool,
    windows: Windows,
    layout: Arc<AggregateLayout>,
    key: KeyLayout,
    input: SchemaRef,
    /// How long a window that has fired is kept to be corrected.
    lateness_us: i64,
    watermark: WatermarkUs,
    is_firing: bool,
    /// Batches that came while a window fired.
    held_back: Vec<Batch>,
    /// Rows folded since the last flush.
    rows_held: usize,
    late_rows: u64,
}

impl WindowAggregate {
    /// The owner's phase of `spec` over `input`: rows, or what the local phase emits, which must have
    /// been made from the same spec.
    pub fn new(
        spec: &WindowAggregateSpec,
        input: SchemaRef,
        output: SchemaRef,
    ) -> Result<WindowAggregate, ExecutionError> {
        let keys: Vec<usize> = if spec.input_is_partial {
            (0..spec.keys.len()).collect()
        } else {
            spec.keys.clone()
        };
        let options = layout_options(spec);
        let layout = Arc::new(AggregateLayout::new(&spec.calls, &input, options)?);
        let fields: Vec<FieldRef> = keys
            .iter()
            .map(|&column| input.fields()[column].clone())
            .collect();
        let key = KeyLayout::new(&fields);
        let emits_changes = !matches!(spec.emit, Emit::Default | Emit::Final);
        let changes = emits_changes.then_some(ChangeOptions {
            emit_update_before: spec.emit_update_before,
            elide_unchanged: spec.emit != Emit::ChangesEveryRow,
            deletes: spec.input_retracts,
        });
        let (assigner, tick_us) = match &spec.window {
            WindowInput::Assign(window) => (Some(SliceAssigner::new(window)), window.tick_us),
            WindowInput::Attached { tick_us, .. } => (None, *tick_us),
        };
        let lateness_us = match spec.emit {
            Emit::Corrected(us) => Some(i64::try_from(us).unwrap_or(i64::MAX)),
            _ => None,
        };
        let windows = match assigner {
            Some(assigner) if assigner.is_shared() && layout.is_combinable() && changes.is_none() => {
                let merged = GroupState::new(layout.clone(), key.clone(), &input);
                Windows::Shared(Box::new(SharedWindows::new(assigner, merged)))
            }
            _ => Windows::Separate(Box::new(SeparateWindows::new(changes, lateness_us))),
        };
        Ok(WindowAggregate {
            source: SliceSource::new(spec, input.fields().len()),
            assigner,
            rows: WindowRows {
                schema: output,
                tick_us,
                skips_empty: options.count_rows || options.input_retracts,
            },
            folder: Folder::new(keys, spec.input_is_partial, KeyPacker::new(key.clone())),
            every_row: spec.emit == Emit::ChangesEveryRow,
            windows,
            layout,
            key,
            input,
            lateness_us: lateness_us.unwrap_or(0),
            watermark: WATERMARK_NONE,
            is_firing: false,
            held_back: Vec::new(),
            rows_held: 0,
            late_rows: 0,
        })
    }

    /// Column `column` of the input for rows of a state table: a key, or a bound of an attached window.
    fn partition_column(&self, rows: &RecordBatch, column: usize) -> Option<ArrayRef> {
        let keys = self.folder.keys();
        match keys.iter().position(|&key| key == column) {
            Some(key) => Some(rows.column(key).clone()),
            None => self
                .source
                .bound_of(column, &rows.columns()[keys.len()..], &self.input),
        }
    }

    /// Windows ending at or before this have fired or are firing.
    fn closed_until(&self) -> EventTimeUs {
        self.watermark.saturating_add(self.rows.tick_us)
    }

    fn fold(&mut self, batch: &Batch, out: &mut Output) -> Result<(), ExecutionError> {
        self.rows_held += batch.len();
        for (id, rows) in self.source.split(batch)? {
            let count = rows.as_ref().map_or(batch.len(), Vec::len);
            let windows = self.open_windows(id);
            if windows.is_empty() {
                let is_gap = self.assigner.is_some_and(|assigner| assigner.is_gap(id.0));
                self.late_rows += if is_gap { 0 } else { count as u64 };
                continue;
            }
            let part = part_of(batch, rows.as_deref())?;
            let make = || GroupState::new(self.layout.clone(), self.key.clone(), &self.input);
            match &mut self.windows {
                Windows::Shared(shared) => shared.fold(id.0, &part, &mut self.folder, make)?,
                Windows::Separate(separate) => {
                    for id in windows {
                        let OpenWindow { state, tracker } = separate.window(id, make);
                        match tracker {
                            Some(tracker) if self.every_row => {
                                let changes = self.folder.fold_every_row(&part, state, tracker, OPERATOR)?;
                                self.rows.emit_drained(state, changes, id, out)?;
                            }
                            tracker => self.folder.fold(&part, state, tracker.as_mut())?,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes rows of table `name` of a snapshot back, each into its window or slice.
    fn thaw(&mut self, name: &str, rows: &RecordBatch) -> Result<(), ExecutionError> {
        let keys = self.folder.keys().len();
        let bounds = |column: usize| rows.column(keys + column).as_primitive::<Int64Type>().values();
        let ids: Vec<SliceId> = bounds(0).iter().copied().zip(bounds(1).iter().copied()).collect();
        for (id, part) in split_by(&ids) {
            let part = part_of(&Batch::append(rows.clone(), 0), part.as_deref())?;
            let make = || GroupState::new(self.layout.clone(), self.key.clone(), &self.input);
            let state = match &mut self.windows {
                Windows::Separate(separate) => &mut separate.window(id, make).state,
                Windows::Shared(shared) => shared.slice(id.0, make),
            };
            self.folder.thaw(name, part.rows(), WINDOW_COLUMNS, state)?;
        }
        Ok(())
    }

    /// The windows that hold slice `id` and have not fired, or may be corrected; of shared windows only the
    /// first.
    fn open_windows(&self, id: SliceId) -> Vec<SliceId> {
        let mut closed = match self.watermark {
            WATERMARK_END => WATERMARK_END,
            _ => self.closed_until().saturating_sub(self.lateness_us),
        };
        let Some(assigner) = self.assigner else {
            return if id.0 > closed { vec![id] } else { Vec::new() };
        };
        let mut windows = Vec::new();
        while let Some(end) = assigner.first_open_window(id.0, closed) {
            windows.push((end, assigner.window_start(end)));
            if matches!(self.windows, Windows::Shared(_)) {
                break;
            }
            closed = end;
        }
        windows
    }

    fn fire(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let closed_until = self.closed_until();
        let is_done = match &mut self.windows {
            Windows::Shared(shared) => shared.fire(closed_until, &self.rows, out)?,
            Windows::Separate(separate) => separate.fire(closed_until, &self.rows, out)?,
        };
        self.is_firing = !is_done;
        if !is_done {
            return Ok(Firing::More);
        }
        for batch in std::mem::take(&mut self.held_back) {
            self.fold(&batch, out)?;
        }
        Ok(Firing::Done)
    }
}

impl Operator for WindowAggregate {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        if self.is_firing {
            self.held_back.push(batch);
            return Ok(());
        }
        self.fold(&batch, out)
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        assert!(
            !self.is_firing,
            "invariant: no watermark comes while a firing is unfinished"
        );
        assert!(watermark >= self.watermark, "invariant: watermarks never fall");
        self.watermark = watermark;
        self.fire(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.fire(out)
    }

    fn flush_pays(&self) -> bool {
        match &self.windows {
            Windows::Separate(separate) => combined_well(self.rows_held, separate.changed()),
            Windows::Shared(_) => true,
        }
    }

    fn flush(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        self.rows_held = 0;
        match &mut self.windows {
            Windows::Separate(separate) => separate.flush(&self.rows, out),
            Windows::Shared(_) => Ok(()),
        }
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        assert!(
            !self.is_firing && self.held_back.is_empty(),
            "invariant: no firing is unfinished at a barrier"
        );
        let mut empty = GroupState::new(self.layout.clone(), self.key.clone(), &self.input);
        empty.begin_recording(&window_columns((0, 0)), into)?;
        match &mut self.windows {
            Windows::Separate(separate) => separate.begin_recording(into),
            Windows::Shared(shared) => shared.begin_recording(into),
        }
    }

    fn record(&mut self, into: &mut StateWriter) -> Result<Firing, ExecutionError> {
        let is_done = match &mut self.windows {
            Windows::Separate(separate) => separate.record(into)?,
            Windows::Shared(shared) => shared.record(into)?,
        };
        Ok(Firing::done_if(is_done))
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        for name in from.names() {
            for rows in from.parts_where(name, |rows, column| self.partition_column(rows, column))? {
                self.thaw(name, &rows)?;
            }
        }
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        let closed_until = self.closed_until();
        match &mut self.windows {
            Windows::Separate(separate) => separate.note_told(closed_until)?,
            Windows::Shared(shared) => shared.note_fired(self.watermark.saturating_add(self.rows.tick_us)),
        }
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let (groups, bytes) = match &self.windows {
            Windows::Separate(separate) => (separate.groups(), separate.allocated_bytes()),
            Windows::Shared(shared) => (shared.groups(), shared.allocated_bytes()),
        };
        let held_back: usize = self.held_back.iter().map(Batch::bytes).sum();
        OperatorStatistics {
            state_bytes: (bytes + held_back + self.folder.allocated_bytes()) as u64,
            keys: groups as u64,
            late_rows: self.late_rows,
        }
    }
}
