//! Top-N of each window: the first rows of each partition of a window, emitted once the watermark has
//! passed it. Window deduplication is the same with one row.
//!
//! **Invariant.** A window is emitted once, append-only, in the order of its rows by rank.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::rank::ranked_columns;
use crate::operators::rank::ranking::Ranking;
use crate::operators::slices::split_by;
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::{RankSpec, RankWindow};
use crate::snapshot::{StateReader, StateWriter};
use crate::state::changes::rows_of;
use crate::state::group_table::GroupIndex;
use crate::time::{WATERMARK_NONE, WatermarkUs};

/// The window Top-N operator.
pub struct WindowRank {
    spec: RankSpec,
    window: RankWindow,
    input: SchemaRef,
    output: SchemaRef,
    /// Open windows by end.
    windows: BTreeMap<i64, Ranking>,
    /// The window that is being emitted, with its next partition.
    firing: Option<(Ranking, usize)>,
    watermark: WatermarkUs,
    late_rows: u64,
}

impl WindowRank {
    /// The operator of `spec`, which has a window; output = input columns, then the rank if asked for.
    pub fn new(spec: &RankSpec, input: SchemaRef, output: SchemaRef) -> Result<WindowRank, ExecutionError> {
        let window = spec.window.expect("invariant: a window rank has a window");
        assert!(
            !spec.input_retracts,
            "invariant: a window rank reads an append-only input"
        );
        Ok(WindowRank {
            spec: spec.clone(),
            window,
            input,
            output,
            windows: BTreeMap::new(),
            firing: None,
            watermark: WATERMARK_NONE,
            late_rows: 0,
        })
    }

    /// Emits about a quantum of the window at work.
    fn emit_some(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        let Some((ranking, next)) = &mut self.firing else {
            return Ok(());
        };
        let (mut rows, mut ranks) = (Vec::new(), Vec::new());
        while *next < ranking.partitions() && rows.len() < FIRING_QUANTUM_ROWS {
            for ranked in ranking.visible(*next as GroupIndex) {
                rows.push(ranked.row);
                ranks.push(ranked.rank as i64);
            }
            *next += 1;
        }
        for start in (0..rows.len()).step_by(BATCH_ROWS_MAX) {
            let range = start..rows.len().min(start + BATCH_ROWS_MAX);
            let ranks = self.spec.output_rank.then(|| &ranks[range.clone()]);
            let columns = ranked_columns(&ranking.store, &rows[range.clone()], ranks)?;
            out.emit_rows(rows_of(&self.output, columns, range.len())?);
        }
        if *next == ranking.partitions() {
            self.firing = None;
        }
        Ok(())
    }
}

impl Operator for WindowRank {
    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<(), ExecutionError> {
        let (rows, _, _) = batch.into_parts();
        let ends = micros(rows.column(self.window.end_column));
        for (end, part) in split_by(&ends) {
            let count = part.as_ref().map_or(rows.num_rows(), Vec::len);
            if end.saturating_sub(self.window.tick_us) <= self.watermark {
                self.late_rows += count as u64;
                continue;
            }
            let part = match part {
                None => rows.clone(),
                Some(part) => take_record_batch(&rows, &UInt32Array::from(part))
                    .map_err(|error| ExecutionError::new("window rank", error))?,
            };
            let ranking = match self.windows.entry(end) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(Ranking::new(&self.spec, &self.input)?)
                }
            };
            ranking.apply(&part, None, |_, _| {})?;
            ranking.forget_dropped()?;
        }
        Ok(())
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = self.watermark.max(watermark);
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let before = out.rows();
        while out.rows() - before < FIRING_QUANTUM_ROWS {
            if self.firing.is_none() {
                let complete = self.windows.first_key_value().map(|(&end, _)| end);
                let complete =
                    complete.filter(|end| end.saturating_sub(self.window.tick_us) <= self.watermark);
                let Some(ranking) = complete.and_then(|end| self.windows.remove(&end)) else {
                    return Ok(Firing::Done);
                };
                self.firing = Some((ranking, 0));
            }
            self.emit_some(out)?;
        }
        Ok(Firing::More)
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        assert!(self.firing.is_none(), "invariant: no window fires at a barrier");
        into.add("rows", 0, RecordBatch::new_empty(self.input.clone()));
        for ranking in self.windows.values() {
            into.add("rows", 0, ranking.rows()?);
        }
        Ok(())
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        let rows = Batch::append(from.rows("rows")?, 0);
        self.process(0, rows, &mut Output::new())?;
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let firing = self.firing.as_ref().map(|(ranking, _)| ranking);
        let all = || self.windows.values().chain(firing);
        OperatorStatistics {
            state_bytes: all().map(Ranking::bytes).sum::<usize>() as u64,
            keys: all().map(|ranking| ranking.store.len()).sum::<usize>() as u64,
            late_rows: self.late_rows,
        }
    }
}
