//! MATCH_RECOGNIZE: rows wait until the watermark has passed them, and are matched in order of event time, each
//! partition on its own.
//!
//! `program` is the pattern in steps, `attempt` runs it over the `rows` of a partition, `conditions` says what rows
//! may be taken for (of the `values` that it looks at), `matches` holds what is found.
//!
//! A partition has one attempt under way, from its first row that may still begin a match; rows before it are let go,
//! but for those that PREV looks back at. The attempt is not part of a snapshot: it follows from the rows.
//!
//! **Invariant.** Matches depend on the rows of their partition alone, not on batches, shards or the moments at
//! which the watermark rose. No step works on more than a few quanta of rows.

mod attempt;
mod conditions;
mod matches;
mod program;
mod rows;
mod values;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn as ArrowSort, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::over_aggregate::waiting::{Ready, Waiting};
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::MatchSpec;
use crate::plan::match_spec::MatchSkip;
use crate::snapshot::{StateReader, StateWriter, leading, with_columns};
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::hash::{hash_columns, key_group};
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::state::row_store::{RowId, RowStore};
use crate::time::{WATERMARK_END, WATERMARK_NONE, WatermarkUs};

use attempt::{Attempt, Progress, Sight};
use conditions::Conditions;
use matches::Matches;
use program::Program;
use rows::{KeptRow, PartitionRows};
use values::MatchRows;

/// Steps of attempts between two moments at which others may work.
const FIRING_QUANTUM_STEPS: usize = 4 * FIRING_QUANTUM_ROWS;

/// The MATCH_RECOGNIZE operator.
pub struct MatchRecognize {
    spec: MatchSpec,
    /// How many rows in front of a match are kept.
    before: usize,
    /// The fewest rows of a match.
    rows_min: usize,
    program: Program,
    conditions: Conditions,
    /// How far conditions of rows alone look back.
    distances: Vec<usize>,
    matches: Matches,
    packer: KeyPacker,
    /// Partitions by key; their numbers are its groups.
    table: GroupTable,
    partitions: Vec<Partition>,
    waiting: Waiting,
    store: RowStore,
    /// Partitions that have something to do.
    queue: VecDeque<GroupIndex>,
    /// Partitions that may have no row left.
    unused: Vec<GroupIndex>,
    /// With WITHIN: when the attempt of a partition has no row to wait for any more.
    deadlines: BTreeSet<(i64, GroupIndex)>,
    /// By partition whose rows may already hold a match: what the output's watermark may not pass before it is out.
    holds: BTreeSet<(i64, GroupIndex)>,
    /// Rows that nothing needs once the matches found are out.
    gone: Vec<RowId>,
    /// Bytes on the heaps of partitions.
    heap_bytes: usize,
    /// At the end of the input: partitions were told.
    is_ended: bool,
    watermark: WatermarkUs,
    /// All rows up to here are in their partitions; behind the watermark while a firing is unfinished.
    taken_in: WatermarkUs,
    late_rows: u64,
}

/// The rows of a partition, and what is made of them.
#[derive(Default)]
struct Partition {
    rows: PartitionRows,
    attempt: Attempt,
    is_queued: bool,
    deadline: Option<i64>,
    hold: Option<i64>,
}

impl Partition {
    fn bytes(&self) -> usize {
        self.rows.bytes() + self.attempt.bytes()
    }
}

impl MatchRecognize {
    /// The operator of `spec`; output = partition columns, values, event time.
    pub fn new(
        spec: &MatchSpec,
        input: SchemaRef,
        output: SchemaRef,
    ) -> Result<MatchRecognize, ExecutionError> {
        let keys = spec.partition.iter();
        let keys: Vec<_> = keys.map(|&column| input.fields()[column].clone()).collect();
        let layout = KeyLayout::new(&keys);
        let conditions = Conditions::new(spec, &input);
        let rows_min = usize::try_from(spec.pattern.rows_min()).unwrap_or(usize::MAX);
        assert!(rows_min > 0, "invariant: a match has a row");
        Ok(MatchRecognize {
            before: spec.rows_before(),
            rows_min,
            program: Program::new(&spec.pattern),
            distances: conditions.distances(),
            conditions,
            matches: Matches::new(spec, &input, output),
            packer: KeyPacker::new(layout.clone()),
            table: GroupTable::new(layout, Vec::new()),
            partitions: Vec::new(),
            waiting: Waiting::new(&input)?,
            store: RowStore::new(input),
            queue: VecDeque::new(),
            unused: Vec::new(),
            deadlines: BTreeSet::new(),
            holds: BTreeSet::new(),
            gone: Vec::new(),
            heap_bytes: 0,
            is_ended: false,
            spec: spec.clone(),
            watermark: WATERMARK_NONE,
            taken_in: WATERMARK_NONE,
            late_rows: 0,
        })
    }

    /// Numbers that are equal for rows of one partition: waiting rows have no group yet, it might be forgotten
    /// before they come out.
    fn classes_of(&self, rows: &RecordBatch) -> Vec<u32> {
        if self.spec.partition.is_empty() {
            return vec![0; rows.num_rows()];
        }
        let keys: Vec<ArrayRef> = self
            .spec
            .partition
            .iter()
            .map(|&key| rows.column(key).clone())
            .collect();
        let mut hashes = Vec::with_capacity(rows.num_rows());
        hash_columns(&keys, &mut hashes);
        hashes.into_iter().map(|hash| key_group(hash) as u32).collect()
    }

    /// Orders rows of one event time by what ORDER BY names behind it.
    fn in_order(&self, ready: Ready) -> Result<Ready, ExecutionError> {
        if self.spec.order.is_empty() {
            return Ok(ready);
        }
        let column = |values: ArrayRef, descending: bool, nulls_first: bool| ArrowSort {
            values,
            options: Some(SortOptions {
                descending,
                nulls_first,
            }),
        };
        let count = ready.rows.num_rows();
        let times: ArrayRef = Arc::new(Int64Array::new(ready.times.clone(), None));
        let mut columns = vec![column(times, false, true)];
        for sort in &self.spec.order {
            let values = ready.rows.column(sort.column).clone();
            columns.push(column(values, sort.descending, sort.nulls_first));
        }
        let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..count as u32));
        columns.push(column(places, false, true));
        let indices = lexsort_to_indices(&columns, None).map_err(match_error)?;
        let at = |row: &u32| *row as usize;
        Ok(Ready {
            rows: take_record_batch(&ready.rows, &indices).map_err(match_error)?,
            times: indices.values().iter().map(|row| ready.times[at(row)]).collect(),
            partitions: indices
                .values()
                .iter()
                .map(|row| ready.partitions[at(row)])
                .collect(),
        })
    }

    /// Takes rows that are in order to their partitions.
    fn take_in(&mut self, rows: &RecordBatch, times: &[i64]) -> Result<Vec<GroupIndex>, ExecutionError> {
        let groups = self.table.groups_of(&mut self.packer, &self.spec.partition, rows);
        self.partitions.resize_with(self.table.len(), Partition::default);
        let mut ids = Vec::with_capacity(rows.num_rows());
        self.store.push(rows, &mut ids)?;
        let mut before: Vec<(usize, Vec<RowId>)> = self
            .distances
            .iter()
            .map(|&back| (back, Vec::with_capacity(ids.len())))
            .collect();
        let mut places = Vec::with_capacity(ids.len());
        for ((&group, &time), id) in groups.iter().zip(times).zip(ids) {
            let partition = &mut self.partitions[group as usize];
            for (back, ids) in &mut before {
                ids.push(partition.rows.newest(*back - 1));
            }
            self.heap_bytes -= partition.bytes();
            places.push(partition.rows.push(KeptRow {
                time,
                variables: u64::MAX,
                id,
            }));
            self.heap_bytes += partition.bytes();
            if !std::mem::replace(&mut partition.is_queued, true) {
                self.queue.push_back(group);
            }
        }
        let variables = self.conditions.variables_of(rows, &before, &self.store)?;
        for ((&group, place), variables) in groups.iter().zip(places).zip(variables) {
            self.partitions[group as usize]
                .rows
                .set_variables(place, variables);
        }
        Ok(groups)
    }

    /// Matches the rows of a partition as far as they lead; false if the budget ends before.
    fn run(&mut self, group: GroupIndex, budget: &mut usize) -> Result<bool, ExecutionError> {
        let heap_before = self.partitions[group as usize].bytes();
        let is_done = self.run_attempts(group, budget)?;
        let partition = &mut self.partitions[group as usize];
        if partition.rows.len() == 0 {
            partition.attempt.release();
        }
        partition.rows.shrink();
        self.heap_bytes = self.heap_bytes + partition.bytes() - heap_before;
        if is_done {
            partition.is_queued = false;
            if partition.rows.is_unused() {
                self.unused.push(group);
            }
            self.note_times(group);
        }
        Ok(is_done)
    }

    fn run_attempts(&mut self, group: GroupIndex, budget: &mut usize) -> Result<bool, ExecutionError> {
        let within_us = self.spec.within_us;
        let Partition { rows, attempt, .. } = &mut self.partitions[group as usize];
        while let Some(&first) = rows.get(0) {
            let sight = Sight {
                program: &self.program,
                rows: rows.len(),
                is_closed: self.taken_in == WATERMARK_END
                    || within_us.is_some_and(|within_us| self.taken_in >= last_time(first.time, within_us)),
            };
            let (conditions, store) = (&mut self.conditions, &self.store);
            let accepts = |variable: usize, place: usize, taken: &attempt::Taken| {
                let row = rows
                    .get(place)
                    .expect("invariant: a row that is looked at is there");
                let is_in_time =
                    within_us.is_none_or(|within_us| row.time <= last_time(first.time, within_us));
                if !is_in_time || row.variables & (1 << variable) == 0 {
                    return Ok(false);
                }
                let looked_at = Some(variable);
                conditions.hold(
                    variable,
                    MatchRows {
                        taken,
                        looked_at,
                        rows,
                    },
                    store,
                )
            };
            let skipped = match attempt.go_on(&sight, budget, accepts)? {
                Progress::Waits => return Ok(true),
                Progress::Tired => return Ok(false),
                Progress::Failed => 1,
                Progress::Matched => {
                    let taken = attempt.taken();
                    let looked_at = None;
                    self.matches.add(
                        MatchRows {
                            taken,
                            looked_at,
                            rows,
                        },
                        &self.store,
                    )?;
                    skipped(&self.spec, taken)?
                }
            };
            attempt.restart();
            rows.skip(skipped, self.before, &mut self.gone);
        }
        Ok(true)
    }

    /// Notes until when a partition waits, and how long its matches may hold the watermark back.
    fn note_times(&mut self, group: GroupIndex) {
        let partition = &mut self.partitions[group as usize];
        let deadline = match (self.spec.within_us, partition.rows.get(0)) {
            (Some(within_us), Some(first)) => Some(last_time(first.time, within_us)),
            _ => None,
        };
        let hold = partition.rows.get(self.rows_min - 1).map(|row| row.time - 1);
        replace(&mut self.deadlines, &mut partition.deadline, deadline, group);
        replace(&mut self.holds, &mut partition.hold, hold, group);
    }

    /// Emits the matches found, and lets rows go that nothing needs any more.
    fn emit(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        if self.matches.len() > 0 {
            let rows = self.matches.take(&self.store)?;
            for start in (0..rows.num_rows()).step_by(BATCH_ROWS_MAX) {
                out.emit_rows(rows.slice(start, BATCH_ROWS_MAX.min(rows.num_rows() - start)));
            }
        }
        if !self.gone.is_empty() {
            for id in self.gone.drain(..) {
                self.store.remove(id)?;
            }
            self.conditions.forget_rows();
        }
        Ok(())
    }

    /// Forgets partitions without rows. Nothing may be queued: the last partition takes the number of one that goes.
    fn forget_unused(&mut self) {
        let mut unused = std::mem::take(&mut self.unused);
        unused.sort_unstable();
        unused.dedup();
        while let Some(group) = unused.pop() {
            let is_unused = self.partitions[group as usize].rows.is_unused();
            if self.spec.partition.is_empty() || !is_unused {
                continue;
            }
            let last = self.partitions.len() as GroupIndex - 1;
            self.table.remove(group);
            let gone = self.partitions.swap_remove(group as usize);
            self.heap_bytes -= gone.bytes();
            if let Some(moved) = self.partitions.get_mut(group as usize) {
                renumber(&mut self.deadlines, moved.deadline, last, group);
                renumber(&mut self.holds, moved.hold, last, group);
            }
        }
        self.unused = unused;
    }

    /// All rows that the watermark has passed are in their partitions: queues those that have waited long enough;
    /// false if there are none.
    fn queue_due(&mut self) -> bool {
        self.taken_in = self.watermark;
        if self.taken_in == WATERMARK_END && !std::mem::replace(&mut self.is_ended, true) {
            for (group, partition) in (0..).zip(&mut self.partitions) {
                if partition.rows.len() > 0 {
                    partition.is_queued = true;
                    self.queue.push_back(group);
                }
            }
        }
        while let Some(&(deadline, group)) = self.deadlines.first()
            && deadline <= self.taken_in
            && self.queue.len() < BATCH_ROWS_MAX
        {
            self.deadlines.pop_first();
            let partition = &mut self.partitions[group as usize];
            partition.deadline = None;
            if !std::mem::replace(&mut partition.is_queued, true) {
                self.queue.push_back(group);
            }
        }
        !self.queue.is_empty()
    }
}

/// The last event time of a row that may belong to a match whose first row has this one.
fn last_time(first: i64, within_us: i64) -> i64 {
    first.saturating_add(within_us - 1)
}

/// How many rows behind the first of the match the next attempt begins.
fn skipped(spec: &MatchSpec, taken: &attempt::Taken) -> Result<usize, ExecutionError> {
    let (variable, place) = match spec.skip {
        MatchSkip::PastLastRow => return Ok(taken.len()),
        MatchSkip::ToNextRow => return Ok(1),
        MatchSkip::ToFirst(variable) => (variable, taken.places(variable).first()),
        MatchSkip::ToLast(variable) => (variable, taken.places(variable).last()),
    };
    let name = &spec.variables[variable];
    match place {
        Some(0) => Err(match_error(format!(
            "AFTER MATCH SKIP to {name}: a match begins with that row, and would be found again for ever; use SKIP TO NEXT ROW"
        ))),
        Some(&place) => Ok(place as usize),
        None => Err(match_error(format!(
            "AFTER MATCH SKIP to {name}: a match has no row for {name}; skip to a variable that every match has"
        ))),
    }
}

fn replace(
    set: &mut BTreeSet<(i64, GroupIndex)>,
    known: &mut Option<i64>,
    time: Option<i64>,
    group: GroupIndex,
) {
    if *known == time {
        return;
    }
    if let Some(known) = std::mem::replace(known, time) {
        set.remove(&(known, group));
    }
    set.extend(time.map(|time| (time, group)));
}

fn renumber(set: &mut BTreeSet<(i64, GroupIndex)>, time: Option<i64>, from: GroupIndex, to: GroupIndex) {
    if let Some(time) = time
        && from != to
    {
        set.remove(&(time, from));
        set.insert((time, to));
    }
}

impl Operator for MatchRecognize {
    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<(), ExecutionError> {
        assert!(
            batch.ops().is_none(),
            "invariant: MATCH_RECOGNIZE reads an append-only input"
        );
        let (rows, _, _) = batch.into_parts();
        let arrived = Ready {
            times: micros(rows.column(self.spec.time_column)),
            partitions: self.classes_of(&rows),
            rows,
        };
        let (arrived, late) = arrived.in_time(|time, _| time <= self.watermark)?;
        self.late_rows += late;
        self.waiting.push(arrived.rows, arrived.times, arrived.partitions)
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = self.watermark.max(watermark);
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let before = out.rows();
        let mut budget = FIRING_QUANTUM_STEPS;
        loop {
            while let Some(&group) = self.queue.front() {
                if !self.run(group, &mut budget)? {
                    self.emit(out)?;
                    return Ok(Firing::More);
                }
                self.queue.pop_front();
                if self.matches.len() >= BATCH_ROWS_MAX {
                    self.emit(out)?;
                }
            }
            self.emit(out)?;
            self.forget_unused();
            if budget == 0 || out.rows() - before >= FIRING_QUANTUM_ROWS {
                return Ok(Firing::More);
            }
            match self.waiting.take(self.watermark, BATCH_ROWS_MAX)? {
                Some(ready) => {
                    budget = budget.saturating_sub(ready.rows.num_rows());
                    let ready = self.in_order(ready)?;
                    self.take_in(&ready.rows, &ready.times)?;
                }
                None if self.queue_due() => {}
                None => return Ok(Firing::Done),
            }
        }
    }

    /// A match may come out after the watermark has passed its last row: another way, preferred to it, had to fail
    /// first.
    fn output_watermark(&self, watermark: WatermarkUs) -> WatermarkUs {
        match self.holds.first() {
            Some(&(hold, _)) if watermark != WATERMARK_END => watermark.min(hold),
            _ => watermark,
        }
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        into.add("waiting", 0, self.waiting.rows()?);
        let kept = self.partitions.iter().flat_map(|partition| partition.rows.all());
        let (ids, is_open): (Vec<RowId>, Vec<bool>) = kept.unzip();
        let rows = self.store.gather(&ids)?;
        let is_open: ArrayRef = Arc::new(BooleanArray::from(is_open));
        into.add("rows", 0, with_columns(&rows, vec![("is open", is_open)])?);
        Ok(())
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        let kept = from.rows("rows")?;
        let rows = leading(&kept, self.store.schema())?;
        let is_open = kept.column(rows.num_columns()).as_boolean();
        let times = micros(rows.column(self.spec.time_column));
        let groups = self.take_in(&rows, &times)?;
        let mut behind = vec![0; self.partitions.len()];
        for (row, group) in groups.into_iter().enumerate() {
            behind[group as usize] += usize::from(!is_open.value(row));
        }
        for (partition, behind) in self.partitions.iter_mut().zip(behind) {
            partition.rows.skip(behind, self.before, &mut self.gone);
        }
        assert!(
            self.gone.is_empty(),
            "invariant: a snapshot holds no more rows in front of a match than are looked at"
        );
        let waiting = Batch::append(from.rows("waiting")?, 0);
        self.process(0, waiting, &mut Output::new())?;
        self.watermark = from.watermark();
        self.taken_in = self.watermark;
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let partitions = self.partitions.capacity() * size_of::<Partition>() + self.heap_bytes;
        let numbers = (self.queue.capacity() + self.unused.capacity()) * size_of::<GroupIndex>()
            + self.gone.capacity() * size_of::<RowId>();
        // A node of a B-tree is three quarters full, mostly.
        let times = (self.deadlines.len() + self.holds.len()) * size_of::<(i64, GroupIndex)>() * 4 / 3;
        let keys = self.table.allocated_bytes() + self.packer.allocated_bytes();
        let rows = self.waiting.bytes() + self.store.allocated_bytes();
        OperatorStatistics {
            state_bytes: (rows + partitions + numbers + times + keys) as u64,
            keys: self.partitions.len() as u64,
            late_rows: self.late_rows,
        }
    }
}

fn match_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("pattern", error)
}
