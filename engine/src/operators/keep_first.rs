//! Deduplication that keeps the first row of each key by event time: it comes out once the watermark has
//! passed it, and nothing of its key comes out again; with a time to live, not until that has passed.
//!
//! **Invariant.** Append-only: one row a key. A row at or behind the watermark cannot be the first any more;
//! it is dropped, and counted as late if its key has no first row yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{FieldRef, SchemaRef};

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::RankSpec;
use crate::snapshot::{StateReader, StateWriter};
use crate::state::changes::rows_of;
use crate::state::footprint::{lists_bytes, tree_bytes};
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::key_ages::KeyAges;
use crate::state::key_columns::named_keys;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::state::row_store::{NO_ROW, RowId, RowStore};
use crate::time::{WATERMARK_NONE, WatermarkUs};

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// No row yet.
    None,
    /// The first so far.
    Waiting { time: i64, row: RowId },
    /// It is out.
    Out,
}

/// The keep-first operator.
pub struct KeepFirst {
    partition: Vec<usize>,
    time_column: usize,
    output_rank: bool,
    output: SchemaRef,
    table: GroupTable,
    packer: KeyPacker,
    firsts: Vec<First>,
    store: RowStore,
    /// Keys by the event time of a row that was their first; some have an earlier one by now.
    timers: BTreeMap<i64, Vec<GroupIndex>>,
    ready: VecDeque<RowId>,
    watermark: WatermarkUs,
    late_rows: u64,
    ages: Option<KeyAges>,
}

impl KeepFirst {
    /// The operator of `spec`, which orders by event time; output = input columns, then the rank (1) if it
    /// is asked for.
    pub fn new(spec: &RankSpec, input: SchemaRef, output: SchemaRef) -> KeepFirst {
        let fields: Vec<FieldRef> = spec
            .partition
            .iter()
            .map(|&key| input.fields()[key].clone())
            .collect();
        let layout = KeyLayout::new(&fields);
        KeepFirst {
            partition: spec.partition.clone(),
            time_column: spec
                .keeps_first_by
                .expect("invariant: this rank keeps the first row by event time"),
            output_rank: spec.output_rank,
            output,
            table: GroupTable::new(layout.clone(), Vec::new()),
            packer: KeyPacker::new(layout),
            firsts: Vec::new(),
            store: RowStore::new(input),
            timers: BTreeMap::new(),
            ready: VecDeque::new(),
            watermark: WATERMARK_NONE,
            late_rows: 0,
            ages: spec.ttl_us.map(KeyAges::new),
        }
    }

    /// Keys among `groups` whose row is out, and whose time has passed, start anew.
    fn expire(&mut self, groups: &[GroupIndex], arrival_ns: u64) {
        let Some(ages) = &mut self.ages else {
            return;
        };
        ages.note_time(arrival_ns);
        ages.expire(groups, |group| {
            let first = &mut self.firsts[group as usize];
            let is_over = *first == First::Out;
            if is_over {
                *first = First::None;
            }
            is_over
        });
    }

    /// Forgets some of the keys that wait for nothing and whose time has passed.
    fn sweep(&mut self) {
        let Some(ages) = &mut self.ages else {
            return;
        };
        if self.partition.is_empty() {
            return;
        }
        ages.sweep(|group| {
            if matches!(self.firsts[group as usize], First::Waiting { .. }) {
                return false;
            }
            self.firsts.swap_remove(group as usize);
            self.table.remove(group);
            // The key that has this number now is looked for under it; what its old number leads to is
            // compared with the time that is waited for.
            if let Some(First::Waiting { time, .. }) = self.firsts.get(group as usize) {
                self.timers.entry(*time).or_default().push(group);
            }
            true
        });
    }

    /// Moves the keys whose first row the watermark has passed.
    fn take_passed(&mut self) {
        while let Some(entry) = self
            .timers
            .first_entry()
            .filter(|entry| *entry.key() <= self.watermark)
        {
            let (time, groups) = entry.remove_entry();
            for group in groups {
                match self.firsts.get(group as usize).copied() {
                    Some(First::Waiting { time: first, row }) if first == time => {
                        self.firsts[group as usize] = First::Out;
                        self.ready.push_back(row);
                    }
                    _ => {}
                }
            }
        }
    }
}

impl Operator for KeepFirst {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let (rows, _, _) = batch.into_parts();
        let groups = self.table.groups_of(&mut self.packer, &self.partition, &rows);
        self.firsts.resize(self.table.len(), First::None);
        self.expire(&groups, out.arrival());
        let times = micros(rows.column(self.time_column));
        // Of each key only the first row of the batch can matter: most rows are not kept at all.
        let mut better: BTreeMap<GroupIndex, u32> = BTreeMap::new();
        for (row, (&time, &group)) in (0..).zip(times.iter().zip(&groups)) {
            let first = self.firsts[group as usize];
            if time <= self.watermark {
                self.late_rows += u64::from(first == First::None);
                continue;
            }
            let is_better = match (first, better.get(&group)) {
                (First::Out, _) => false,
                (_, Some(&known)) => time < times[known as usize],
                (First::Waiting { time: known, .. }, None) => time < known,
                (First::None, None) => true,
            };
            if is_better {
                better.insert(group, row);
            }
        }
        if better.is_empty() {
            self.sweep();
            return Ok(());
        }
        if let Some(ages) = &mut self.ages {
            better.keys().for_each(|&group| ages.write(&[group]));
        }
        let indices = arrow::array::UInt32Array::from_iter_values(better.values().copied());
        let part = arrow::compute::take_record_batch(&rows, &indices)
            .map_err(|error| ExecutionError::new("deduplication", error))?;
        let mut ids = Vec::with_capacity(better.len());
        self.store.push(&part, &mut ids)?;
        for ((group, row), id) in better.into_iter().zip(ids) {
            let time = times[row as usize];
            let before =
                std::mem::replace(&mut self.firsts[group as usize], First::Waiting { time, row: id });
            if let First::Waiting { row, .. } = before {
                self.store.remove(row)?;
            }
            self.timers.entry(time).or_default().push(group);
        }
        self.sweep();
        Ok(())
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = self.watermark.max(watermark);
        self.take_passed();
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
            assert!(!ids.contains(&NO_ROW), "invariant: what is ready is stored");
            let mut columns = self.store.gather_columns(&ids)?;
            if self.output_rank {
                columns.push(Arc::new(Int64Array::from(vec![1; ids.len()])));
            }
            out.emit_rows(rows_of(&self.output, columns, ids.len())?);
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
        let waiting = self.firsts.iter().filter_map(|first| match first {
            First::Waiting { row, .. } => Some(*row),
            First::None | First::Out => None,
        });
        into.add("waiting", 0, self.store.gather(&waiting.collect::<Vec<_>>())?);
        let groups = (0..).zip(&self.firsts);
        let groups: Vec<GroupIndex> = groups
            .filter(|(_, first)| **first == First::Out)
            .map(|(group, _)| group)
            .collect();
        into.add_columns("out", 0, named_keys(&self.table, &groups), groups.len())?;
        match &self.ages {
            Some(ages) => {
                let groups = (0..).zip(&self.firsts);
                let known = groups.filter(|(_, first)| **first != First::None);
                let known: Vec<GroupIndex> = known.map(|(group, _)| group).collect();
                ages.freeze(&self.table, &known, into)
            }
            None => Ok(()),
        }
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        let out = from.rows_by("out", &self.partition)?;
        let mut groups = Vec::with_capacity(out.num_rows());
        self.table
            .find_or_insert(&mut self.packer, out.columns(), out.num_rows(), &mut groups);
        self.firsts.resize(self.table.len(), First::None);
        for group in groups {
            self.firsts[group as usize] = First::Out;
        }
        let waiting = Batch::append(from.rows("waiting")?, 0);
        self.process(0, waiting, &mut Output::new())?;
        if let Some(ages) = &mut self.ages {
            ages.restore(from, &self.partition, &mut self.table, &mut self.packer)?;
            self.firsts.resize(self.table.len(), First::None);
        }
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let bytes = self.store.allocated_bytes()
            + self.table.allocated_bytes()
            + self.firsts.capacity() * size_of::<First>()
            + self.ages.as_ref().map_or(0, KeyAges::allocated_bytes)
            + self.packer.allocated_bytes()
            + tree_bytes::<i64, Vec<GroupIndex>>(self.timers.len())
            + lists_bytes::<GroupIndex>(self.timers.len(), self.store.len());
        OperatorStatistics {
            state_bytes: bytes as u64,
            keys: self.table.len() as u64,
            late_rows: self.late_rows,
        }
    }
}
