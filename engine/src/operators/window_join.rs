//! Join of two inputs that carry the same windows: rows are kept by window end and joined
//! when the watermark passes it; then the window is dropped.
//!
//! `matching` joins one complete window: a hash table over the smaller side's equal columns, probed by
//! the larger side, a quantum at a time. NULL equals nothing (unless the join says so), so rows with a NULL
//! key are kept only where they come out alone.
//!
//! **Invariant.** A window is joined once, when both sides are complete; nothing is emitted before.

mod matching;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::{JoinKind, WindowJoinSpec};
use crate::snapshot::{StateReader, StateWriter};
use crate::state::keys::KeyLayout;
use crate::time::{WATERMARK_NONE, WatermarkUs};

use matching::Matching;

const SIDES: [&str; 2] = ["left", "right"];

/// What is fixed for all windows.
struct Join {
    kind: JoinKind,
    /// Some NULLs equal each other.
    null_safe: bool,
    /// Equal columns of each side, without the window end, which all rows of a window share.
    keys: [Vec<usize>; 2],
    layout: KeyLayout,
    filter: Option<Arc<dyn PhysicalExpr>>,
    inputs: [SchemaRef; 2],
    /// Left columns, then right columns.
    joined: SchemaRef,
    output: SchemaRef,
}

impl Join {
    /// Whether it matters which rows of `side` match nothing, or something at all.
    fn tracks(&self, side: usize) -> bool {
        self.kind.preserves(side) || (self.kind.is_left_only() && side == 0)
    }

    /// Whether rows of `side` come out if they match nothing.
    fn keeps_alone(&self, side: usize) -> bool {
        self.kind.preserves(side) || (self.kind == JoinKind::Anti && side == 0)
    }
}

/// The window join operator.
pub struct WindowJoin {
    join: Join,
    window_end: [usize; 2],
    /// Columns of each side in which a NULL equals nothing.
    strict: [Vec<usize>; 2],
    tick_us: i64,
    /// Open windows by end: the rows of each side.
    windows: BTreeMap<i64, [Side; 2]>,
    /// Complete windows that are not joined yet, the earliest first.
    complete: VecDeque<[Side; 2]>,
    matching: Option<Matching>,
    watermark: WatermarkUs,
    rows: u64,
    bytes: u64,
    late_rows: u64,
}

/// The rows of one side in one window.
#[derive(Default)]
struct Side {
    batches: Vec<RecordBatch>,
    /// Rows with a NULL key, which come out alone.
    alone: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl WindowJoin {
    /// A join as `spec` says; output = left columns, then right columns.
    pub fn new(
        spec: &WindowJoinSpec,
        left: SchemaRef,
        right: SchemaRef,
        output: SchemaRef,
    ) -> Result<WindowJoin, ExecutionError> {
        let pairs = spec
            .equal
            .iter()
            .filter(|key| (key.left, key.right) != spec.window_end);
        let mut keys = [Vec::new(), Vec::new()];
        let mut strict = [Vec::new(), Vec::new()];
        let mut fields: Vec<FieldRef> = Vec::new();
        for key in pairs {
            let (left_field, right_field) = (left.field(key.left), right.field(key.right));
            if left_field.data_type() != right_field.data_type() {
                return Err(join_error(format!(
                    "`{}` is {} and `{}` is {}; cast one of them",
                    left_field.name(),
                    left_field.data_type(),
                    right_field.name(),
                    right_field.data_type()
                )));
            }
            fields.push(Arc::new(left_field.clone().with_nullable(key.null_safe)));
            for (side, column) in [key.left, key.right].into_iter().enumerate() {
                keys[side].push(column);
                if !key.null_safe {
                    strict[side].push(column);
                }
            }
        }
        let joined: Vec<FieldRef> = left.fields().iter().chain(right.fields()).cloned().collect();
        Ok(WindowJoin {
            join: Join {
                kind: spec.kind,
                null_safe: spec.equal.iter().any(|key| key.null_safe),
                keys,
                layout: KeyLayout::new(&fields),
                filter: spec.filter.clone(),
                inputs: [left, right],
                joined: Arc::new(arrow::datatypes::Schema::new(joined)),
                output,
            },
            strict,
            window_end: [spec.window_end.0, spec.window_end.1],
            tick_us: spec.tick_us,
            windows: BTreeMap::new(),
            complete: VecDeque::new(),
            matching: None,
            watermark: WATERMARK_NONE,
            rows: 0,
            bytes: 0,
            late_rows: 0,
        })
    }

    /// Keeps rows of one side and one window; `alone` where they match nothing.
    fn keep(&mut self, side: usize, end: i64, rows: RecordBatch, alone: bool) {
        if end.saturating_sub(self.tick_us) <= self.watermark {
            self.late_rows += rows.num_rows() as u64;
            return;
        }
        let kept = &mut self.windows.entry(end).or_default()[side];
        let bytes = rows.get_array_memory_size();
        kept.rows += rows.num_rows();
        kept.bytes += bytes;
        self.rows += rows.num_rows() as u64;
        self.bytes += bytes as u64;
        match alone {
            true => kept.alone.push(rows),
            false => kept.batches.push(rows),
        }
    }

    /// Keeps rows of one side, window by window.
    fn keep_all(&mut self, side: usize, rows: RecordBatch, alone: bool) -> Result<(), ExecutionError> {
        let ends = micros(rows.column(self.window_end[side]));
        let Some(&first) = ends.first() else {
            return Ok(());
        };
        if ends.iter().all(|&end| end == first) {
            self.keep(side, first, rows, alone);
            return Ok(());
        }
        let mut order: Vec<u32> = (0..ends.len() as u32).collect();
        order.sort_by_key(|&row| ends[row as usize]);
        for window in order.chunk_by(|left, right| ends[*left as usize] == ends[*right as usize]) {
            let indices = UInt32Array::from(window.to_vec());
            let part = take_record_batch(&rows, &indices).map_err(join_error)?;
            self.keep(side, ends[window[0] as usize], part, alone);
        }
        Ok(())
    }

    /// The next complete window, as a join under way.
    fn next_window(&mut self) -> Option<Matching> {
        loop {
            let sides = self.complete.pop_front()?;
            for side in &sides {
                self.rows -= side.rows as u64;
                self.bytes -= side.bytes as u64;
            }
            let is_needed = |side: usize| sides[side].rows > 0 && self.join.keeps_alone(side);
            if sides.iter().all(|side| side.rows > 0) || is_needed(0) || is_needed(1) {
                return Some(Matching::new(&self.join, sides));
            }
        }
    }
}

impl Operator for WindowJoin {
    fn process(&mut self, input: usize, batch: Batch, _out: &mut Output) -> Result<(), ExecutionError> {
        assert!(
            batch.ops().is_none(),
            "invariant: a window join reads append-only inputs ({})",
            SIDES[input]
        );
        let (rows, _, _) = batch.into_parts();
        let (rows, alone) = split_by_keys(rows, &self.strict[input], self.window_end[input])?;
        if let Some(alone) = alone.filter(|_| self.join.keeps_alone(input)) {
            self.keep_all(input, alone, true)?;
        }
        self.keep_all(input, rows, false)
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = self.watermark.max(watermark);
        let first_open = self.watermark.saturating_add(self.tick_us).saturating_add(1);
        let open = self.windows.split_off(&first_open);
        let complete = std::mem::replace(&mut self.windows, open);
        self.complete.extend(complete.into_values());
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let before = out.rows();
        let mut steps = 0;
        while out.rows() - before < FIRING_QUANTUM_ROWS && steps < FIRING_QUANTUM_ROWS {
            let Some(matching) = &mut self.matching else {
                self.matching = self.next_window();
                if self.matching.is_none() {
                    return Ok(Firing::Done);
                }
                continue;
            };
            let (looked_at, is_done) = matching.step(&self.join, out)?;
            steps += looked_at;
            if is_done {
                self.matching = None;
            }
        }
        Ok(Firing::More)
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        assert!(
            self.matching.is_none() && self.complete.is_empty(),
            "invariant: no window is joined at a barrier"
        );
        for (number, name) in SIDES.into_iter().enumerate() {
            into.add(
                name,
                number,
                RecordBatch::new_empty(self.join.inputs[number].clone()),
            );
            for sides in self.windows.values() {
                let side = &sides[number];
                for rows in side.batches.iter().chain(&side.alone) {
                    into.add(name, number, rows.clone());
                }
            }
        }
        Ok(())
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        for (number, name) in SIDES.into_iter().enumerate() {
            let rows = Batch::append(from.rows(name)?, 0);
            self.process(number, rows, &mut Output::new())?;
        }
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let joining = self.matching.as_ref().map_or(0, Matching::bytes);
        OperatorStatistics {
            state_bytes: self.bytes + joining as u64,
            keys: self.rows,
            late_rows: self.late_rows,
        }
    }
}

/// Rows of a window whose key columns are all not NULL, and the others.
fn split_by_keys(
    rows: RecordBatch,
    keys: &[usize],
    window_end: usize,
) -> Result<(RecordBatch, Option<RecordBatch>), ExecutionError> {
    let in_window = rows.column(window_end).logical_nulls();
    let rows = filtered(
        &rows,
        in_window
            .filter(|nulls| nulls.null_count() > 0)
            .map(NullBuffer::into_inner),
    )?;
    let mut valid: Option<NullBuffer> = None;
    for &column in keys {
        valid = NullBuffer::union(valid.as_ref(), rows.column(column).logical_nulls().as_ref());
    }
    match valid.filter(|valid| valid.null_count() > 0) {
        None => Ok((rows, None)),
        Some(valid) => {
            let valid = valid.into_inner();
            let alone = filtered(&rows, Some(!&valid))?;
            Ok((filtered(&rows, Some(valid))?, Some(alone)))
        }
    }
}

fn filtered(rows: &RecordBatch, keep: Option<BooleanBuffer>) -> Result<RecordBatch, ExecutionError> {
    match keep {
        None => Ok(rows.clone()),
        Some(keep) => filter_record_batch(rows, &BooleanArray::new(keep, None)).map_err(join_error),
    }
}

fn join_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("window join", error)
}
