//! Inner join of two inputs that carry the same windows: rows are kept by window end and joined
//! when the watermark passes it; then the window is dropped.
//!
//! `matching` joins one complete window: a hash table over the smaller side's equal columns, probed by
//! the larger side, a quantum at a time. NULL equals nothing, so rows with a NULL key are not kept.
//!
//! **Invariant.** A window is joined once, when both sides are complete; nothing is emitted before.

mod matching;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::WindowJoinSpec;
use crate::state::keys::KeyLayout;
use crate::time::{WATERMARK_NONE, WatermarkUs};

use matching::Matching;

const SIDES: [&str; 2] = ["left", "right"];

/// What is fixed for all windows.
struct Join {
    /// Equal columns of each side, without the window end, which all rows of a window share.
    keys: [Vec<usize>; 2],
    layout: KeyLayout,
    filter: Option<Arc<dyn PhysicalExpr>>,
    inputs: [SchemaRef; 2],
    output: SchemaRef,
}

/// The window join operator.
pub struct WindowJoin {
    join: Join,
    window_end: [usize; 2],
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
        let pairs = spec.equal.iter().filter(|&&pair| pair != spec.window_end);
        let (left_keys, right_keys): (Vec<usize>, Vec<usize>) = pairs.copied().unzip();
        let mut fields: Vec<FieldRef> = Vec::with_capacity(left_keys.len());
        for (&left_key, &right_key) in left_keys.iter().zip(&right_keys) {
            let (left_field, right_field) = (left.field(left_key), right.field(right_key));
            if left_field.data_type() != right_field.data_type() {
                return Err(join_error(format!(
                    "`{}` is {} and `{}` is {}; cast one of them",
                    left_field.name(),
                    left_field.data_type(),
                    right_field.name(),
                    right_field.data_type()
                )));
            }
            fields.push(Arc::new(left_field.clone().with_nullable(false)));
        }
        Ok(WindowJoin {
            join: Join {
                keys: [left_keys, right_keys],
                layout: KeyLayout::new(&fields),
                filter: spec.filter.clone(),
                inputs: [left, right],
                output,
            },
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

    /// Keeps rows of one side and one window.
    fn keep(&mut self, side: usize, end: i64, rows: RecordBatch) {
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
        kept.batches.push(rows);
    }

    /// The next complete window, as a join under way.
    fn next_window(&mut self) -> Option<Matching> {
        loop {
            let sides = self.complete.pop_front()?;
            for side in &sides {
                self.rows -= side.rows as u64;
                self.bytes -= side.bytes as u64;
            }
            if sides.iter().all(|side| side.rows > 0) {
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
        let rows = with_keys(rows, &self.join.keys[input], self.window_end[input])?;
        let ends = micros(rows.column(self.window_end[input]));
        let Some(&first) = ends.first() else {
            return Ok(());
        };
        if ends.iter().all(|&end| end == first) {
            self.keep(input, first, rows);
            return Ok(());
        }
        let mut order: Vec<u32> = (0..ends.len() as u32).collect();
        order.sort_by_key(|&row| ends[row as usize]);
        for window in order.chunk_by(|&left, &right| ends[left as usize] == ends[right as usize]) {
            let indices = UInt32Array::from(window.to_vec());
            let part = take_record_batch(&rows, &indices).map_err(join_error)?;
            self.keep(input, ends[window[0] as usize], part);
        }
        Ok(())
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

    fn statistics(&self) -> OperatorStatistics {
        let joining = self.matching.as_ref().map_or(0, Matching::bytes);
        OperatorStatistics {
            state_bytes: self.bytes + joining as u64,
            keys: self.rows,
            late_rows: self.late_rows,
        }
    }
}

/// The rows whose equal columns and window end are all not NULL.
fn with_keys(rows: RecordBatch, keys: &[usize], window_end: usize) -> Result<RecordBatch, ExecutionError> {
    let mut valid: Option<NullBuffer> = None;
    for &column in keys.iter().chain([&window_end]) {
        valid = NullBuffer::union(valid.as_ref(), rows.column(column).logical_nulls().as_ref());
    }
    match valid.filter(|valid| valid.null_count() > 0) {
        None => Ok(rows),
        Some(valid) => {
            let keep = BooleanArray::new(valid.into_inner(), None);
            filter_record_batch(&rows, &keep).map_err(join_error)
        }
    }
}

fn join_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("window join", error)
}
