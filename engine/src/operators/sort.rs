//! `ORDER BY`: rows in order. If the order starts with the event time, rising, rows come out as the watermark
//! passes them (a temporal sort); otherwise all of them at the end of the input.
//!
//! **Invariant.** Rows come out append-only and in order. A row at or behind the last one that came out of a
//! temporal sort is late: dropped and counted; one that only the watermark has passed still finds its place.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, SchemaRef};

use crate::batch::{BATCH_ROWS_MAX, Batch, Op};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::rank::sort_key::{SortKey, SortKeys};
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::SortSpec;
use crate::snapshot::{StateReader, StateWriter, int64_column};
use crate::state::hash::hash_columns;
use crate::state::row_store::{RowId, RowStore};
use crate::time::{WATERMARK_END, WATERMARK_NONE, WatermarkUs};

/// The sort operator.
pub struct Sort {
    time_column: Option<usize>,
    retracts: bool,
    keys: SortKeys,
    store: RowStore,
    /// Rows by event time (0 without), key and order of arrival, with the hash of their values.
    waiting: BTreeMap<(i64, SortKey, u64), (RowId, u64)>,
    arrivals: u64,
    ready: VecDeque<RowId>,
    /// The event time of the last row that came out.
    last_time: i64,
    late_rows: u64,
    key_bytes: usize,
}

impl Sort {
    /// The operator of `spec`; output = input.
    pub fn new(spec: &SortSpec, input: SchemaRef) -> Result<Sort, ExecutionError> {
        Ok(Sort {
            time_column: spec.time_column,
            retracts: spec.input_retracts,
            keys: SortKeys::new(&spec.order, &input)?,
            store: RowStore::new(input),
            waiting: BTreeMap::new(),
            arrivals: 0,
            ready: VecDeque::new(),
            last_time: WATERMARK_NONE,
            late_rows: 0,
            key_bytes: 0,
        })
    }

    fn take(&mut self, time: i64, key: SortKey, hash: u64) -> Result<(), ExecutionError> {
        let range = (time, key.clone(), 0)..=(time, key, u64::MAX);
        let found = self.waiting.range(range).find(|(_, (_, found))| *found == hash);
        if let Some(place) = found.map(|(place, _)| place.clone()) {
            self.key_bytes -= place.1.heap_bytes();
            if let Some((row, _)) = self.waiting.remove(&place) {
                self.store.remove(row)?;
            }
        }
        Ok(())
    }
}

impl Operator for Sort {
    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<(), ExecutionError> {
        let (rows, ops, _) = batch.into_parts();
        let keys = self.keys.of(&rows)?;
        let times = self.time_column.map(|column| micros(rows.column(column)));
        let mut hashes = Vec::new();
        if self.retracts {
            hash_columns(rows.columns(), &mut hashes);
        }
        let mut ids = Vec::with_capacity(rows.num_rows());
        self.store.push(&rows, &mut ids)?;
        for (row, (key, id)) in keys.into_iter().zip(ids).enumerate() {
            let time = times.as_ref().map_or(0, |times| times[row]);
            let hash = hashes.get(row).copied().unwrap_or(0);
            let op = ops
                .as_ref()
                .map_or(Op::Insert, |ops| Op::from_code(ops.value(row)));
            if times.is_some() && time <= self.last_time {
                self.late_rows += 1;
                self.store.remove(id)?;
            } else if op.is_addition() {
                self.key_bytes += key.heap_bytes();
                self.arrivals += 1;
                self.waiting.insert((time, key, self.arrivals), (id, hash));
            } else {
                self.store.remove(id)?;
                self.take(time, key, hash)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        let passed = match self.time_column {
            Some(_) => watermark,
            None if watermark == WATERMARK_END => i64::MAX,
            None => return Ok(Firing::Done),
        };
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= passed) {
            let ((time, key, _), (row, _)) = entry.remove_entry();
            self.last_time = time;
            self.key_bytes -= key.heap_bytes();
            self.ready.push_back(row);
        }
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let before = out.rows();
        while !self.ready.is_empty() {
            if out.rows() - before >= FIRING_QUANTUM_ROWS {
                return Ok(Firing::More);
            }
            let count = self.ready.len().min(BATCH_ROWS_MAX);
            let ids: Vec<RowId> = self.ready.drain(..count).collect();
            out.emit_rows(self.store.gather(&ids)?);
            for id in ids {
                self.store.remove(id)?;
            }
        }
        Ok(Firing::Done)
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        assert!(
            self.ready.is_empty(),
            "invariant: no firing is unfinished at a barrier"
        );
        let rows: Vec<RowId> = self.waiting.values().map(|&(row, _)| row).collect();
        into.add("waiting", 0, self.store.gather(&rows)?);
        let last_time = int64_column([self.last_time]);
        into.add_columns("progress", 0, vec![("last time".into(), last_time)], 1)
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        // In the order of the sort, so that rows that are equal in it keep the order of their arrival.
        let waiting = Batch::append(from.rows("waiting")?, 0);
        self.process(0, waiting, &mut Output::new())?;
        let progress = from.all_rows("progress")?;
        let last_times = progress.column(0).as_primitive::<Int64Type>();
        self.last_time = last_times
            .values()
            .iter()
            .copied()
            .max()
            .unwrap_or(WATERMARK_NONE);
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        const NODE_BYTES: usize = 96;
        let bytes = self.store.allocated_bytes() + self.waiting.len() * NODE_BYTES + self.key_bytes;
        OperatorStatistics {
            state_bytes: bytes as u64,
            keys: self.store.len() as u64,
            late_rows: self.late_rows,
        }
    }
}
