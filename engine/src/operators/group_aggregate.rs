//! Aggregation without a window, on the shard that owns the keys: incremental, from rows or from the
//! partial states of `local_group_aggregate`. Emits changes at a flush, for every row, or (EMIT FINAL)
//! all groups at the end. With a time to live, a group that nothing was added to for that long is
//! forgotten: what was said of it stays, and its key starts anew when it comes again.
//!
//! **Invariant.** Folding the changes emitted gives the batch answer over the rows processed, as of
//! the last flush. Groups are emitted in order of first arrival, never in hash order.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::expiry::Expiry;
use crate::operators::folder::Folder;
use crate::operators::local_group_aggregate::combined_well;
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::GroupAggregateSpec;
use crate::snapshot::{StateReader, StateWriter};
use crate::sql::statement::Emit;
use crate::state::accumulators::layout::LayoutOptions;
use crate::state::accumulators::{AggregateLayout, GroupState};
use crate::state::changes::{ChangeOptions, ChangeTracker, Changes, rows_of};
use crate::state::group_table::GroupIndex;
use crate::state::key_ages::AGES;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::time::{WATERMARK_END, WatermarkUs};

const OPERATOR: &str = "GroupAggregate";

/// Aggregates by key; see the file's head.
#[derive(Debug)]
pub struct GroupAggregate {
    keyed: bool,
    output: SchemaRef,
    emit: Emit,
    retracts: bool,
    emit_empty_global: bool,
    state: GroupState,
    tracker: ChangeTracker,
    folder: Folder,
    /// Rows folded since the last flush.
    rows_held: usize,
    /// EMIT FINAL: the next group to emit, once the end has come.
    next: Option<usize>,
}

impl GroupAggregate {
    /// The owner's phase of `spec` over `input` (rows, or what the local phase emits, which must have
    /// been made from the same calls). With `emit_empty_global` a keyless aggregate that met no row
    /// emits its one row at the end: exactly one shard must do so.
    pub fn new(
        spec: &GroupAggregateSpec,
        input: SchemaRef,
        output: SchemaRef,
        emit_empty_global: bool,
    ) -> Result<GroupAggregate, ExecutionError> {
        let keys: Vec<usize> = if spec.input_is_partial {
            (0..spec.keys.len()).collect()
        } else {
            spec.keys.clone()
        };
        let options = LayoutOptions {
            input_is_partial: spec.input_is_partial,
            keys: keys.len(),
            input_retracts: spec.input_retracts,
            count_rows: false,
        };
        let layout = Arc::new(AggregateLayout::new(&spec.calls, &input, options)?);
        let fields: Vec<_> = keys
            .iter()
            .map(|&column| input.fields()[column].clone())
            .collect();
        let key = KeyLayout::new(&fields);
        let every_row = spec.emit == Emit::ChangesEveryRow;
        let tracker = ChangeTracker::new(ChangeOptions {
            emit_update_before: spec.emit_update_before,
            // With a time to live, what stays as it was is told as well, so that whoever keeps it below knows
            // that it lives.
            elide_unchanged: !every_row && !layout.always_changes() && spec.ttl_us.is_none(),
            // The one row of a keyless aggregate stays, as in batch SQL.
            deletes: spec.input_retracts && !keys.is_empty(),
        });
        let expiry = spec.ttl_us.map(|ttl_us| Expiry::new(ttl_us, spec.input_retracts));
        let state = match &expiry {
            None => GroupState::new(layout, key.clone(), &input),
            Some(_) => GroupState::with_removal(layout, key.clone(), &input),
        };
        Ok(GroupAggregate {
            keyed: !keys.is_empty(),
            output,
            emit: spec.emit,
            retracts: spec.input_retracts,
            emit_empty_global,
            folder: Folder::new(keys, spec.input_is_partial, KeyPacker::new(key)).with_expiry(expiry),
            state,
            tracker,
            rows_held: 0,
            next: None,
        })
    }

    fn fold(&mut self, batch: &Batch) -> Result<(), ExecutionError> {
        self.rows_held += batch.len();
        let tracker = (self.emit != Emit::Final).then_some(&mut self.tracker);
        self.folder.fold(batch, &mut self.state, tracker)
    }

    /// One change for each input row, in input order.
    fn fold_every_row(&mut self, batch: &Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let changes = self
            .folder
            .fold_every_row(batch, &mut self.state, &mut self.tracker, OPERATOR)?;
        self.emit_changes(changes, out)?;
        if let Some(expiry) = self.folder.expiry_mut() {
            expiry.sweep(&mut self.state, &mut self.tracker);
        }
        Ok(())
    }

    fn emit_changes(&mut self, changes: Changes, out: &mut Output) -> Result<(), ExecutionError> {
        let (rows, ops) = changes.into_rows(&self.state, &self.output, Vec::new())?;
        let mut at = 0;
        while at < rows.num_rows() {
            let count = BATCH_ROWS_MAX.min(rows.num_rows() - at);
            out.emit_changes(rows.slice(at, count), ops.slice(at, count));
            at += count;
        }
        Ok(())
    }

    /// EMIT FINAL: the next quantum of groups.
    fn emit_final(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let Some(start) = self.next else {
            return Ok(Firing::Done);
        };
        let end = self.state.len().min(start + FIRING_QUANTUM_ROWS);
        let groups: Vec<GroupIndex> = (start as GroupIndex..end as GroupIndex).collect();
        for groups in groups.chunks(BATCH_ROWS_MAX) {
            let mut live = groups.to_vec();
            if self.retracts && self.keyed {
                let mut counts = self.state.row_counts(groups).into_iter();
                live.retain(|_| counts.next().is_some_and(|count| count > 0));
            }
            let mut columns = self.state.keys(&live);
            columns.extend(self.state.evaluate(&live)?);
            out.emit_rows(rows_of(&self.output, columns, live.len())?);
        }
        self.next = (end < self.state.len()).then_some(end);
        Ok(if self.next.is_some() {
            Firing::More
        } else {
            Firing::Done
        })
    }
}

impl Operator for GroupAggregate {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        if let Some(expiry) = self.folder.expiry_mut() {
            expiry.note_time(out.arrival());
        }
        match self.emit {
            Emit::ChangesEveryRow => self.fold_every_row(&batch, out),
            Emit::Default | Emit::Changes | Emit::Every(_) | Emit::Corrected(_) | Emit::Final => {
                self.fold(&batch)
            }
        }
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        if watermark != WATERMARK_END {
            return Ok(Firing::Done);
        }
        if !self.keyed && self.emit_empty_global && self.state.is_empty() {
            self.state.ensure_global_group();
            self.tracker.touch(&mut self.state, &[0])?;
        }
        if self.emit == Emit::Final {
            self.next = Some(0);
            return self.emit_final(out);
        }
        if !self.tracker.is_clean() {
            let changes = self.tracker.drain(&mut self.state)?;
            self.emit_changes(changes, out)?;
        }
        Ok(Firing::Done)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.emit_final(out)
    }

    fn flush_pays(&self) -> bool {
        combined_well(self.rows_held, self.tracker.dirty())
    }

    fn flush(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        self.rows_held = 0;
        if self.emit == Emit::Final || self.tracker.is_clean() {
            return Ok(());
        }
        let changes = self.tracker.drain(&mut self.state)?;
        self.emit_changes(changes, out)?;
        if let Some(expiry) = self.folder.expiry_mut() {
            expiry.sweep(&mut self.state, &mut self.tracker);
        }
        Ok(())
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        assert!(
            self.tracker.is_clean() && self.next.is_none(),
            "invariant: an operator is flushed before its snapshot"
        );
        self.state.begin_recording(&[], into)?;
        if let Some(expiry) = self.folder.expiry() {
            // Groups that may be forgotten one at a time are written at once, with their ages.
            self.state.record_rest(into)?;
            self.state.freeze_ages(expiry.ages(), into)?;
        }
        Ok(())
    }

    fn record(&mut self, into: &mut StateWriter) -> Result<Firing, ExecutionError> {
        Ok(Firing::done_if(self.state.record(into)?))
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        for name in from.names() {
            let parts = from.parts_by(name, self.folder.keys())?;
            if self.state.is_empty() {
                self.state.reserve(parts.iter().map(RecordBatch::num_rows).sum());
            }
            for rows in parts {
                match name {
                    AGES => self.folder.thaw_ages(&rows, &mut self.state),
                    name => self.folder.thaw(name, &rows, 0, &mut self.state)?,
                }
            }
        }
        if self.emit != Emit::Final {
            self.tracker.restore(&self.state);
        }
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let bytes =
            self.state.allocated_bytes() + self.tracker.allocated_bytes() + self.folder.allocated_bytes();
        OperatorStatistics {
            state_bytes: bytes as u64,
            keys: self.state.len() as u64,
            late_rows: 0,
        }
    }
}
