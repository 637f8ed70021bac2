//! Joins of two streams without windows: regular joins, whose rows are kept for ever or for a time to
//! live, and interval joins, whose rows go when the watermark says that nothing can match them any more.
//!
//! `side` keeps the rows of a side, chained by key (`restore` takes them back from a snapshot); `emission` gathers
//! what is said. A batch is matched as
//! a whole: the rows of its keys on the other side are candidates, the condition is evaluated over all of
//! them at once, and then its rows are gone through in order. Sides that are padded with NULLs (outer), or
//! only asked about (semi, anti), count the matches of each row; the first match takes the padded row back.
//!
//! **Invariant.** Folding what a regular join emitted gives the batch join of what it was given. An interval
//! join never takes a row back: it pads a row when that row goes.

mod emission;
mod eviction;
mod restore;
mod side;

#[cfg(test)]
mod tests;

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{FieldRef, SchemaRef};

use crate::batch::{BATCH_ROWS_MAX, Batch, Op};
use crate::error::ExecutionError;
use crate::limits::JOIN_PAIRS_MAX;
use crate::operators::ingest::micros;
use crate::operators::map::{definite, evaluate};
use crate::operators::{Firing, Operator, OperatorStatistics, Output};
use crate::plan::{JoinKind, StreamJoinSpec};
use crate::snapshot::{Recorder, StateReader, StateWriter};
use crate::state::changes::rows_of;
use crate::state::group_table::{GroupIndex, GroupTable, NO_GROUP};
use crate::state::hash::hash_columns;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::state::row_store::{NO_ROW, RowId};
use crate::time::{WATERMARK_END, WATERMARK_NONE, WatermarkUs};

use emission::{Emission, NO_OWN, Shape};
use side::{Side, SideOptions};

/// The names of the sides' tables.
const SIDES: [&str; 2] = ["left", "right"];
/// Keys that are worth renumbering once most of them have no rows.
const IDLE_KEYS_MIN: usize = 4_096;

/// Rows of one side as they are met, all of the same length.
#[derive(Clone, Copy)]
struct MetRows<'b> {
    rows: &'b RecordBatch,
    /// What each row says; empty where all are added.
    ops: &'b [i8],
    groups: &'b [GroupIndex],
    /// Where each is kept.
    ids: &'b [RowId],
    hashes: &'b [u64],
}

/// The join operator of two streams.
pub struct StreamJoin {
    spec: StreamJoinSpec,
    keys: [Vec<usize>; 2],
    table: GroupTable,
    packer: KeyPacker,
    sides: [Side; 2],
    /// Left columns, then right columns: what the condition reads.
    joined: SchemaRef,
    output: SchemaRef,
    append_only: bool,
    watermark: WatermarkUs,
    late_rows: u64,
    /// Snapshots of both sides, by group.
    recorder: Recorder,
    /// What was written of groups before they got other numbers.
    recorded: StateWriter,
}

/// Candidates of a batch: pairs of its rows and rows of the other side, by row.
#[derive(Default)]
struct Pairs {
    own: Vec<u32>,
    other: Vec<RowId>,
}

impl StreamJoin {
    /// A join as `spec` says; output = left columns, then (except for semi and anti joins) right columns.
    pub fn new(
        spec: &StreamJoinSpec,
        left: SchemaRef,
        right: SchemaRef,
        output: SchemaRef,
        append_only: bool,
    ) -> Result<StreamJoin, ExecutionError> {
        let layout = key_layout(spec, &left, &right)?;
        let fields: Vec<FieldRef> = left.fields().iter().chain(right.fields()).cloned().collect();
        let fields: Vec<FieldRef> = fields
            .into_iter()
            .map(|field| std::sync::Arc::new(field.as_ref().clone().with_nullable(true)))
            .collect();
        let side = |schema: SchemaRef, number: usize| {
            Side::new(
                schema,
                SideOptions {
                    retracts: spec.retracts[number],
                    counts_matches: spec.counts_matches(number),
                    expires: spec.interval.is_some() || spec.ttl_us[number].is_some(),
                },
            )
        };
        Ok(StreamJoin {
            keys: [
                spec.equal.iter().map(|key| key.left).collect(),
                spec.equal.iter().map(|key| key.right).collect(),
            ],
            table: GroupTable::new(layout.clone(), Vec::new()),
            packer: KeyPacker::new(layout),
            sides: [side(left, 0), side(right, 1)],
            joined: std::sync::Arc::new(arrow::datatypes::Schema::new(fields)),
            output,
            append_only,
            watermark: WATERMARK_NONE,
            late_rows: 0,
            recorder: Recorder::default(),
            recorded: StateWriter::new(),
            spec: spec.clone(),
        })
    }

    /// The group of each row; [`NO_GROUP`] for one with a NULL that equals nothing.
    fn groups_of(&mut self, side: usize, rows: &RecordBatch) -> Vec<GroupIndex> {
        let keys: Vec<ArrayRef> = self.keys[side]
            .iter()
            .map(|&key| rows.column(key).clone())
            .collect();
        let mut groups = Vec::with_capacity(rows.num_rows());
        self.table
            .find_or_insert(&mut self.packer, &keys, rows.num_rows(), &mut groups);
        let mut valid: Option<NullBuffer> = None;
        for (column, key) in keys.iter().zip(&self.spec.equal) {
            if !key.null_safe {
                valid = NullBuffer::union(valid.as_ref(), column.logical_nulls().as_ref());
            }
        }
        if let Some(valid) = valid.filter(|valid| valid.null_count() > 0) {
            for (group, is_valid) in groups.iter_mut().zip(valid.iter()) {
                if !is_valid {
                    *group = NO_GROUP;
                }
            }
        }
        groups
    }

    /// Appends candidates of rows from `start` on until there are enough; answers the row behind the last.
    fn candidates(&self, other: usize, groups: &[GroupIndex], start: usize, pairs: &mut Pairs) -> usize {
        let other = &self.sides[other];
        let mut row = start;
        while row < groups.len() && pairs.own.len() < JOIN_PAIRS_MAX {
            if groups[row] != NO_GROUP {
                pairs.other.extend(other.chain(groups[row]));
                pairs.own.resize(pairs.other.len(), row as u32);
            }
            row += 1;
        }
        row
    }

    /// Both sides' columns of these pairs.
    fn joined_rows(
        &self,
        side: usize,
        rows: &RecordBatch,
        pairs: &Pairs,
        range: Range<usize>,
    ) -> Result<RecordBatch, ExecutionError> {
        let indices = UInt32Array::from(pairs.own[range.clone()].to_vec());
        let own = take_record_batch(rows, &indices).map_err(join_error)?;
        let other = self.sides[1 - side]
            .store
            .gather_columns(&pairs.other[range.clone()])?;
        let columns = match side {
            0 => own.columns().iter().cloned().chain(other).collect(),
            _ => other.into_iter().chain(own.columns().iter().cloned()).collect(),
        };
        rows_of(&self.joined, columns, range.len())
    }

    /// Keeps the pairs that the condition is true for.
    fn retain_matching(
        &self,
        side: usize,
        rows: &RecordBatch,
        pairs: &mut Pairs,
    ) -> Result<(), ExecutionError> {
        let Some(filter) = &self.spec.filter else {
            return Ok(());
        };
        let mut kept = Pairs::default();
        for start in (0..pairs.own.len()).step_by(BATCH_ROWS_MAX) {
            let range = start..pairs.own.len().min(start + BATCH_ROWS_MAX);
            let joined = self.joined_rows(side, rows, pairs, range)?;
            let keep = evaluate(filter, &joined)?;
            let keep = definite(keep.as_boolean());
            for at in keep.values().set_indices() {
                kept.own.push(pairs.own[start + at]);
                kept.other.push(pairs.other[start + at]);
            }
        }
        *pairs = kept;
        Ok(())
    }

    /// An inner join of rows that all add: what matches comes out, nothing is counted.
    fn join_plain(
        &self,
        side: usize,
        rows: &RecordBatch,
        groups: &[GroupIndex],
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        let mut row = 0;
        while row < rows.num_rows() {
            let mut pairs = Pairs::default();
            row = self.candidates(1 - side, groups, row, &mut pairs);
            for start in (0..pairs.own.len()).step_by(BATCH_ROWS_MAX) {
                let range = start..pairs.own.len().min(start + BATCH_ROWS_MAX);
                let joined = self.joined_rows(side, rows, &pairs, range)?;
                let joined = match &self.spec.filter {
                    None => joined,
                    Some(filter) => {
                        let keep = evaluate(filter, &joined)?;
                        filter_record_batch(&joined, &definite(keep.as_boolean())).map_err(join_error)?
                    }
                };
                let count = joined.num_rows();
                let joined = rows_of(&self.output, joined.columns().to_vec(), count)?;
                match self.append_only {
                    true => out.emit_rows(joined),
                    false => out.emit_changes(joined, vec![Op::Insert.code(); count].into()),
                }
            }
        }
        Ok(())
    }

    /// Any other join: rows in order, with their matches counted.
    fn join_counted(
        &mut self,
        side: usize,
        met: MetRows<'_>,
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        let MetRows {
            rows,
            ops,
            groups,
            ids,
            hashes,
        } = met;
        let mut row = 0;
        while row < rows.num_rows() {
            let mut pairs = Pairs::default();
            let end = self.candidates(1 - side, groups, row, &mut pairs);
            self.retain_matching(side, rows, &mut pairs)?;
            let mut emission = Emission::default();
            let mut at = 0;
            for row in row..end {
                let first = at;
                while at < pairs.own.len() && pairs.own[at] as usize == row {
                    at += 1;
                }
                let others = &pairs.other[first..at];
                let is_addition = ops.get(row).is_none_or(|&op| Op::from_code(op).is_addition());
                if is_addition {
                    self.add_row(side, row as u32, ids[row], others, &mut emission);
                } else {
                    self.take_row(side, row as u32, groups[row], hashes[row], others, &mut emission)?;
                }
            }
            row = end;
            let shape = Shape {
                output: &self.output,
                side,
                left_only: self.spec.kind.is_left_only(),
                append_only: self.append_only,
            };
            if emission.len() > 0 {
                emission.emit(rows, &self.sides[1 - side].store, shape, out)?;
            }
        }
        Ok(())
    }

    /// A row is added that matches `others`.
    fn add_row(&mut self, side: usize, own: u32, id: RowId, others: &[RowId], emission: &mut Emission) {
        let kind = self.spec.kind;
        let pads_at_once = self.spec.interval.is_none();
        if self.spec.counts_matches(side) && id != NO_ROW {
            *self.sides[side].matches_mut(id) = others.len() as u32;
        }
        let is_alone = others.is_empty();
        let may_pad = pads_at_once || id == NO_ROW;
        match (kind, side) {
            (JoinKind::Semi, 0) if !is_alone => emission.say(Op::Insert, own, NO_ROW),
            (JoinKind::Anti, 0) if is_alone && may_pad => emission.say(Op::Insert, own, NO_ROW),
            (JoinKind::Semi | JoinKind::Anti, 0) => {}
            _ if is_alone && kind.preserves(side) && may_pad => emission.say(Op::Insert, own, NO_ROW),
            _ => {}
        }
        let counts = self.spec.counts_matches(1 - side);
        for &other in others {
            let is_first = counts && {
                let matches = self.sides[1 - side].matches_mut(other);
                *matches += 1;
                *matches == 1
            };
            match kind {
                JoinKind::Semi if side == 1 && is_first => emission.say(Op::Insert, NO_OWN, other),
                JoinKind::Anti if side == 1 && is_first && pads_at_once => {
                    emission.say(Op::Delete, NO_OWN, other);
                }
                JoinKind::Semi | JoinKind::Anti => {}
                _ => {
                    if is_first && kind.preserves(1 - side) && pads_at_once {
                        emission.say(Op::Delete, NO_OWN, other);
                    }
                    emission.say(Op::Insert, own, other);
                }
            }
        }
    }

    /// A row is taken back that matches `others`.
    fn take_row(
        &mut self,
        side: usize,
        own: u32,
        group: GroupIndex,
        hash: u64,
        others: &[RowId],
        emission: &mut Emission,
    ) -> Result<(), ExecutionError> {
        let kind = self.spec.kind;
        if group != NO_GROUP {
            // A row that has expired was forgotten, and what it made stays.
            let Some(id) = self.sides[side].find(group, hash) else {
                return Ok(());
            };
            self.sides[side].unlink(id, group);
            self.sides[side].was_taken_back(id);
            self.sides[side].forget(id)?;
        }
        let is_alone = others.is_empty();
        match (kind, side) {
            (JoinKind::Semi, 0) if !is_alone => emission.say(Op::Delete, own, NO_ROW),
            (JoinKind::Anti, 0) if is_alone => emission.say(Op::Delete, own, NO_ROW),
            (JoinKind::Semi | JoinKind::Anti, 0) => {}
            _ if is_alone && kind.preserves(side) => emission.say(Op::Delete, own, NO_ROW),
            _ => {}
        }
        let counts = self.spec.counts_matches(1 - side);
        for &other in others {
            let is_last = counts && {
                let matches = self.sides[1 - side].matches_mut(other);
                *matches -= 1;
                *matches == 0
            };
            match kind {
                JoinKind::Semi if side == 1 && is_last => emission.say(Op::Delete, NO_OWN, other),
                JoinKind::Anti if side == 1 && is_last => emission.say(Op::Insert, NO_OWN, other),
                JoinKind::Semi | JoinKind::Anti => {}
                _ => {
                    emission.say(Op::Delete, own, other);
                    if is_last && kind.preserves(1 - side) {
                        emission.say(Op::Insert, NO_OWN, other);
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps the rows that add and that something may still match; answers a number for each row.
    fn keep(
        &mut self,
        side: usize,
        rows: &RecordBatch,
        ops: &[i8],
        groups: &[GroupIndex],
        hashes: &[u64],
        out: &Output,
    ) -> Result<Vec<RowId>, ExecutionError> {
        let useless_at = self.useless_at(side, rows);
        let is_kept = |row: usize| {
            groups[row] != NO_GROUP
                && ops.get(row).is_none_or(|&op| Op::from_code(op).is_addition())
                && useless_at
                    .as_ref()
                    .is_none_or(|times| times[row] > self.watermark)
        };
        let kept: Vec<u32> = (0..rows.num_rows() as u32)
            .filter(|&row| is_kept(row as usize))
            .collect();
        let mut numbers = vec![NO_ROW; rows.num_rows()];
        if kept.is_empty() {
            return Ok(numbers);
        }
        let side = &mut self.sides[side];
        let arrival = out.arrival();
        let all = kept.len() == rows.num_rows();
        let ids = if all {
            side.insert(rows, groups, hashes, arrival)?
        } else {
            let part = take_record_batch(rows, &UInt32Array::from(kept.clone())).map_err(join_error)?;
            let pick_groups: Vec<GroupIndex> = kept.iter().map(|&row| groups[row as usize]).collect();
            let pick_hashes: Vec<u64> = match hashes.is_empty() {
                true => Vec::new(),
                false => kept.iter().map(|&row| hashes[row as usize]).collect(),
            };
            side.insert(&part, &pick_groups, &pick_hashes, arrival)?
        };
        for (&row, &id) in kept.iter().zip(ids) {
            numbers[row as usize] = id;
        }
        if let Some(times) = &useless_at {
            for &row in &kept {
                side.expire_at(numbers[row as usize], times[row as usize]);
            }
        }
        Ok(numbers)
    }

    /// By row, the watermark from which on nothing can match it; `None` if rows are kept otherwise.
    fn useless_at(&self, side: usize, rows: &RecordBatch) -> Option<Vec<i64>> {
        let interval = self.spec.interval.as_ref()?;
        let (column, distance) = match side {
            0 => (interval.times.0, interval.lower_us.saturating_neg()),
            _ => (interval.times.1, interval.upper_us),
        };
        let grain = match self.spec.kind {
            // What is padded is padded when its time has come.
            JoinKind::Inner | JoinKind::Semi => ((interval.upper_us - interval.lower_us) / 128).max(1),
            _ => 1,
        };
        let times = micros(rows.column(column));
        let up = |time: i64| time.div_euclid(grain).saturating_add(1).saturating_mul(grain);
        Some(
            times
                .iter()
                .map(|time| {
                    let time = time.saturating_add(distance);
                    if grain == 1 { time } else { up(time) }
                })
                .collect(),
        )
    }

    /// Rows of `groups` will come or go, or match others: those that a snapshot still lacks are written.
    fn note_change(&mut self, groups: &[GroupIndex]) -> Result<(), ExecutionError> {
        let sides = &self.sides;
        self.recorder
            .change(groups, |groups, into| write_groups(sides, &groups, into))
    }

    /// Writes the rows of more groups.
    fn write_on(&mut self, into: &mut StateWriter) -> Result<Firing, ExecutionError> {
        into.append(std::mem::take(&mut self.recorded));
        let sides = &self.sides;
        let is_done = self.recorder.record(self.table.len(), into, |groups, into| {
            write_groups(sides, &groups, into)
        })?;
        Ok(Firing::done_if(is_done))
    }
}

impl Operator for StreamJoin {
    fn process(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        if self.spec.ttl_us.iter().any(Option::is_some) {
            self.drop_aged(out.arrival())?;
        }
        let (rows, ops, _) = batch.into_parts();
        if let Some(interval) = &self.spec.interval {
            let column = if input == 0 {
                interval.times.0
            } else {
                interval.times.1
            };
            refuse_null_times(&rows, column)?;
            let times = micros(rows.column(column));
            self.late_rows += times.iter().filter(|&&time| time <= self.watermark).count() as u64;
        }
        let groups = self.groups_of(input, &rows);
        self.note_change(&groups)?;
        let mut hashes = Vec::new();
        if self.spec.retracts[input] {
            hash_columns(rows.columns(), &mut hashes);
        }
        let ops: &[i8] = ops.as_ref().map_or(&[], |ops| ops.values());
        let all_add = ops.iter().all(|&op| Op::from_code(op).is_addition());
        if all_add {
            let ids = self.keep(input, &rows, ops, &groups, &hashes, out)?;
            if self.spec.ttl_us[input].is_some() {
                self.sides[input].note_arrival(out.arrival());
            }
            if self.spec.kind == JoinKind::Inner {
                return self.join_plain(input, &rows, &groups, out);
            }
            let met = MetRows {
                rows: &rows,
                ops,
                groups: &groups,
                ids: &ids,
                hashes: &hashes,
            };
            return self.join_counted(input, met, out);
        }
        // Rows that add are kept as they are met, so that a later row of the batch can take them back.
        for (start, end) in runs(ops) {
            let part = rows.slice(start, end - start);
            let (ops, groups) = (&ops[start..end], &groups[start..end]);
            let hashes = &hashes[start..end];
            let ids = self.keep(input, &part, ops, groups, hashes, out)?;
            if self.spec.ttl_us[input].is_some() {
                self.sides[input].note_arrival(out.arrival());
            }
            let met = MetRows {
                rows: &part,
                ops,
                groups,
                ids: &ids,
                hashes,
            };
            self.join_counted(input, met, out)?;
        }
        Ok(())
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = self.watermark.max(watermark);
        if self.spec.interval.is_some() {
            self.evict(out)?;
        }
        Ok(Firing::Done)
    }

    fn output_watermark(&self, watermark: WatermarkUs) -> WatermarkUs {
        match &self.spec.interval {
            Some(interval) if watermark != WATERMARK_END => {
                let delay = interval.lower_us.saturating_neg().max(interval.upper_us).max(0);
                watermark.saturating_sub(delay)
            }
            _ => watermark,
        }
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        self.recorder.begin(self.table.len(), into);
        write_groups(&self.sides, &[], into)
    }

    fn record(&mut self, into: &mut StateWriter) -> Result<Firing, ExecutionError> {
        self.write_on(into)
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        for (number, name) in SIDES.into_iter().enumerate() {
            self.restore_side(number, &from.rows(name)?)?;
        }
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let bytes = self.table.allocated_bytes() + self.sides.iter().map(Side::bytes).sum::<usize>();
        OperatorStatistics {
            state_bytes: bytes as u64,
            keys: (self.sides[0].store.len() + self.sides[1].store.len()) as u64,
            late_rows: self.late_rows,
        }
    }
}

/// Writes the rows of `groups` of both sides into a snapshot.
fn write_groups(
    sides: &[Side; 2],
    groups: &[GroupIndex],
    into: &mut StateWriter,
) -> Result<(), ExecutionError> {
    for (number, name) in SIDES.into_iter().enumerate() {
        into.add(name, number, sides[number].freeze(groups)?);
    }
    Ok(())
}

/// Stretches of rows that all add or all take back.
fn runs(ops: &[i8]) -> Vec<(usize, usize)> {
    let adds = |op: &i8| Op::from_code(*op).is_addition();
    let mut runs = Vec::new();
    let mut start = 0;
    for run in ops.chunk_by(|left, right| adds(left) == adds(right)) {
        runs.push((start, start + run.len()));
        start += run.len();
    }
    runs
}

/// One layout for the keys of both sides, which have equal types.
fn key_layout(
    spec: &StreamJoinSpec,
    left: &SchemaRef,
    right: &SchemaRef,
) -> Result<KeyLayout, ExecutionError> {
    let mut fields: Vec<FieldRef> = Vec::with_capacity(spec.equal.len());
    for key in &spec.equal {
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
        let nullable = left_field.is_nullable() || right_field.is_nullable();
        fields.push(std::sync::Arc::new(left_field.clone().with_nullable(nullable)));
    }
    Ok(KeyLayout::new(&fields))
}

fn refuse_null_times(rows: &RecordBatch, column: usize) -> Result<(), ExecutionError> {
    match rows.column(column).null_count() {
        0 => Ok(()),
        count => Err(join_error(format!(
            "the event time `{}` is NULL in {count} rows; filter such rows out",
            rows.schema().field(column).name()
        ))),
    }
}

fn join_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("join", error)
}
