//! Temporal join: each left row with the right row of its key that was valid at the left row's time.
//!
//! By event time, left rows wait until the watermark has passed them; by processing time (a lookup) they wait
//! until the right input has been read to its end. Right rows are versions: a version is valid from its event
//! time until the next one of its key; a deletion is a version without a row.
//!
//! **Invariant.** A left row is joined once, when no earlier version can come any more. Of the versions that
//! the watermark has passed only the last is kept.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take_record_batch;
use arrow::datatypes::{FieldRef, Int8Type, Int64Type, Schema, SchemaRef};

use crate::batch::{BATCH_ROWS_MAX, Batch, Op};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::map::{definite, evaluate};
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::TemporalJoinSpec;
use crate::snapshot::{StateReader, StateWriter, int64_column, leading, with_columns};
use crate::state::changes::rows_of;
use crate::state::group_table::{GroupIndex, GroupTable, NO_GROUP};
use crate::state::key_columns::named_keys;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::state::row_store::{NO_ROW, RowId, RowStore};
use crate::time::{WATERMARK_END, WATERMARK_NONE, WatermarkUs};

/// A left row that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    row: RowId,
    group: GroupIndex,
    op: Op,
}

/// A version of a key's row: valid from a time on; [`NO_ROW`] = deleted.
#[derive(Clone, Copy, Debug)]
struct Version {
    from: i64,
    row: RowId,
}

/// The temporal join operator.
pub struct TemporalJoin {
    spec: TemporalJoinSpec,
    keys: [Vec<usize>; 2],
    table: GroupTable,
    packer: KeyPacker,
    left: RowStore,
    right: RowStore,
    joined: SchemaRef,
    output: SchemaRef,
    /// Left rows by event time, each moment in order of arrival.
    waiting: BTreeMap<i64, Vec<Waiting>>,
    ready: VecDeque<Waiting>,
    /// By key, in order of time.
    versions: Vec<Vec<Version>>,
    version_count: usize,
    watermark: WatermarkUs,
    /// Processing time: the right input has ended.
    right_ended: bool,
    late_rows: u64,
}

const LEFT: usize = 0;
const RIGHT: usize = 1;

impl TemporalJoin {
    /// The join of `spec`; output = left columns, then right columns.
    pub fn new(
        spec: &TemporalJoinSpec,
        left: SchemaRef,
        right: SchemaRef,
        output: SchemaRef,
    ) -> Result<TemporalJoin, ExecutionError> {
        let mut fields: Vec<FieldRef> = Vec::with_capacity(spec.equal.len());
        for key in &spec.equal {
            let (left_field, right_field) = (left.field(key.left), right.field(key.right));
            if left_field.data_type() != right_field.data_type() {
                return Err(temporal_error(format!(
                    "`{}` is {} and `{}` is {}; cast one of them",
                    left_field.name(),
                    left_field.data_type(),
                    right_field.name(),
                    right_field.data_type()
                )));
            }
            fields.push(std::sync::Arc::new(left_field.clone().with_nullable(true)));
        }
        let layout = KeyLayout::new(&fields);
        let joined = left.fields().iter().chain(right.fields());
        let joined = joined.map(|field| field.as_ref().clone().with_nullable(true));
        Ok(TemporalJoin {
            keys: [
                spec.equal.iter().map(|key| key.left).collect(),
                spec.equal.iter().map(|key| key.right).collect(),
            ],
            spec: spec.clone(),
            table: GroupTable::new(layout.clone(), Vec::new()),
            packer: KeyPacker::new(layout),
            joined: std::sync::Arc::new(Schema::new(joined.collect::<Vec<_>>())),
            left: RowStore::new(left),
            right: RowStore::new(right),
            output,
            waiting: BTreeMap::new(),
            ready: VecDeque::new(),
            versions: Vec::new(),
            version_count: 0,
            watermark: WATERMARK_NONE,
            right_ended: false,
            late_rows: 0,
        })
    }

    /// The group of each row, [`NO_GROUP`] where a key is NULL.
    fn groups_of(&mut self, side: usize, rows: &RecordBatch) -> Vec<GroupIndex> {
        let keys: Vec<ArrayRef> = self.keys[side]
            .iter()
            .map(|&key| rows.column(key).clone())
            .collect();
        let mut groups = Vec::with_capacity(rows.num_rows());
        self.table
            .find_or_insert(&mut self.packer, &keys, rows.num_rows(), &mut groups);
        self.versions.resize_with(self.table.len(), Vec::new);
        let valid = keys.iter().fold(None, |valid: Option<NullBuffer>, column| {
            NullBuffer::union(valid.as_ref(), column.logical_nulls().as_ref())
        });
        if let Some(valid) = valid.filter(|valid| valid.null_count() > 0) {
            for (group, is_valid) in groups.iter_mut().zip(valid.iter()) {
                *group = if is_valid { *group } else { NO_GROUP };
            }
        }
        groups
    }

    fn take_left(&mut self, batch: &Batch) -> Result<(), ExecutionError> {
        let groups = self.groups_of(LEFT, batch.rows());
        let mut ids = Vec::with_capacity(batch.len());
        self.left.push(batch.rows(), &mut ids)?;
        let times = self.spec.times.map(|(left, _)| micros(batch.column(left)));
        for (row, (id, group)) in ids.into_iter().zip(groups).enumerate() {
            let waiting = Waiting {
                row: id,
                group,
                op: batch.op(row),
            };
            match &times {
                None => self.ready.push_back(waiting),
                // A late row is joined as well, with the version of its time or, if that is gone, the next
                // one; it comes out when the watermark rises again.
                Some(times) => {
                    self.late_rows += u64::from(times[row] <= self.watermark);
                    self.waiting.entry(times[row]).or_default().push(waiting);
                }
            }
        }
        Ok(())
    }

    fn take_right(&mut self, batch: &Batch) -> Result<(), ExecutionError> {
        let groups = self.groups_of(RIGHT, batch.rows());
        let times = self.spec.times.map(|(_, right)| micros(batch.column(right)));
        let valid = |row: usize| groups[row] != NO_GROUP && batch.op(row) != Op::UpdateBefore;
        let kept: Vec<u32> = (0..batch.len() as u32)
            .filter(|&row| valid(row as usize))
            .collect();
        let part =
            take_record_batch(batch.rows(), &UInt32Array::from(kept.clone())).map_err(temporal_error)?;
        let mut ids = Vec::with_capacity(kept.len());
        self.right.push(&part, &mut ids)?;
        for (row, id) in kept.into_iter().map(|row| row as usize).zip(ids) {
            // Without a time every version is valid from the beginning, and the last one stays.
            let from = times.as_ref().map_or(i64::MIN, |times| times[row]);
            let is_gone = batch.op(row) == Op::Delete;
            if is_gone {
                self.right.remove(id)?;
            }
            let version = Version {
                from,
                row: if is_gone { NO_ROW } else { id },
            };
            self.add_version(groups[row], version)?;
        }
        Ok(())
    }

    fn add_version(&mut self, group: GroupIndex, version: Version) -> Result<(), ExecutionError> {
        let versions = &mut self.versions[group as usize];
        let at = versions.partition_point(|known| known.from <= version.from);
        let replaced = match at.checked_sub(1).map(|before| &mut versions[before]) {
            Some(before) if before.from == version.from && self.spec.times.is_some() => {
                Some(std::mem::replace(before, version))
            }
            _ => {
                versions.insert(at, version);
                self.version_count += 1;
                None
            }
        };
        if let Some(Version { row, .. }) = replaced
            && row != NO_ROW
        {
            self.right.remove(row)?;
        }
        self.drop_passed(group)
    }

    /// A lookup table may have several rows with one key, and gives all of them.
    fn is_multiple(&self) -> bool {
        self.spec.times.is_none()
    }

    /// Of the versions that the watermark has passed, keeps the last.
    fn drop_passed(&mut self, group: GroupIndex) -> Result<(), ExecutionError> {
        if self.is_multiple() {
            return Ok(());
        }
        let versions = &mut self.versions[group as usize];
        let first_waiting = self.waiting.first_key_value().map_or(i64::MAX, |(&time, _)| time);
        let needed_from = self.watermark.min(first_waiting);
        let passed = versions.partition_point(|version| version.from <= needed_from);
        if self.ready.is_empty() && passed > 1 {
            for version in versions.drain(..passed - 1) {
                self.version_count -= 1;
                if version.row != NO_ROW {
                    self.right.remove(version.row)?;
                }
            }
        }
        Ok(())
    }

    /// The right rows that a left row is joined with.
    fn valid_rows(&self, group: GroupIndex, time: i64) -> Vec<RowId> {
        let Some(versions) = self.versions.get(group as usize) else {
            return Vec::new();
        };
        let rows = match self.is_multiple() {
            true => versions.as_slice(),
            false => {
                let passed = versions.partition_point(|version| version.from <= time);
                &versions[passed.saturating_sub(1)..passed]
            }
        };
        rows.iter()
            .map(|version| version.row)
            .filter(|&row| row != NO_ROW)
            .collect()
    }

    /// Joins the next left rows that are ready.
    fn join_some(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        let count = self.ready.len().min(BATCH_ROWS_MAX);
        let rows: Vec<Waiting> = self.ready.drain(..count).collect();
        let ids: Vec<RowId> = rows.iter().map(|waiting| waiting.row).collect();
        let left = self.left.gather(&ids)?;
        let times = self.spec.times.map(|(column, _)| micros(left.column(column)));
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for (row, waiting) in rows.iter().enumerate() {
            let time = times.as_ref().map_or(i64::MAX, |times| times[row]);
            for id in self.valid_rows(waiting.group, time) {
                own.push(row as u32);
                other.push(id);
            }
        }
        let keep = self.matching(&left, &own, &other)?;
        let (mut told, mut partner, mut next) = (Vec::new(), Vec::new(), 0);
        for row in 0..rows.len() as u32 {
            let before = told.len();
            while next < own.len() && own[next] == row {
                if keep.as_ref().is_none_or(|keep| keep[next]) {
                    told.push(row);
                    partner.push(other[next]);
                }
                next += 1;
            }
            if told.len() == before && self.spec.keeps_left {
                told.push(row);
                partner.push(NO_ROW);
            }
        }
        self.emit(&left, &rows, &told, &partner, out)?;
        ids.into_iter().try_for_each(|id| self.left.remove(id))
    }

    /// Which pairs the condition is true for; `None` = all.
    fn matching(
        &self,
        left: &RecordBatch,
        own: &[u32],
        other: &[RowId],
    ) -> Result<Option<Vec<bool>>, ExecutionError> {
        let Some(filter) = &self.spec.filter else {
            return Ok(None);
        };
        let joined = self.columns(left, own, other)?;
        let joined = rows_of(&self.joined, joined, own.len())?;
        let keep = evaluate(filter, &joined)?;
        Ok(Some(definite(keep.as_boolean()).values().iter().collect()))
    }

    fn columns(
        &self,
        left: &RecordBatch,
        own: &[u32],
        other: &[RowId],
    ) -> Result<Vec<ArrayRef>, ExecutionError> {
        let own = take_record_batch(left, &UInt32Array::from(own.to_vec())).map_err(temporal_error)?;
        let other = self.right.gather_columns(other)?;
        Ok(own.columns().iter().cloned().chain(other).collect())
    }

    fn emit(
        &self,
        left: &RecordBatch,
        rows: &[Waiting],
        told: &[u32],
        partner: &[RowId],
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        for start in (0..told.len()).step_by(BATCH_ROWS_MAX) {
            let range = start..told.len().min(start + BATCH_ROWS_MAX);
            let columns = self.columns(left, &told[range.clone()], &partner[range.clone()])?;
            let joined = rows_of(&self.output, columns, range.len())?;
            if self.spec.retracts[LEFT] {
                let ops = told[range]
                    .iter()
                    .map(|&row| match rows[row as usize].op.is_addition() {
                        true => Some(Op::Insert.code()),
                        false => Some(Op::Delete.code()),
                    });
                out.emit_changes(joined, ops.collect::<Int8Array>());
            } else {
                out.emit_rows(joined);
            }
        }
        Ok(())
    }
}

impl Operator for TemporalJoin {
    fn process(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        match input {
            LEFT => self.take_left(&batch)?,
            _ => self.take_right(&batch)?,
        }
        if self.right_ended {
            while !self.ready.is_empty() {
                self.join_some(out)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = self.watermark.max(watermark);
        if self.spec.times.is_none() && watermark != WATERMARK_END && !self.right_ended {
            return Ok(Firing::Done);
        }
        while let Some(entry) = self
            .waiting
            .first_entry()
            .filter(|entry| *entry.key() <= watermark)
        {
            self.ready.extend(entry.remove());
        }
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let before = out.rows();
        while !self.ready.is_empty() {
            if out.rows() - before >= FIRING_QUANTUM_ROWS {
                return Ok(Firing::More);
            }
            self.join_some(out)?;
        }
        Ok(Firing::Done)
    }

    fn input_ended(&mut self, input: usize, out: &mut Output) -> Result<(), ExecutionError> {
        if self.spec.times.is_none() && input == RIGHT {
            self.right_ended = true;
            while !self.ready.is_empty() {
                self.join_some(out)?;
            }
        }
        Ok(())
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        // A lookup's left rows wait without a time until the right input has ended.
        let waiting: Vec<Waiting> = self
            .ready
            .iter()
            .chain(self.waiting.values().flatten())
            .copied()
            .collect();
        let ids: Vec<RowId> = waiting.iter().map(|waiting| waiting.row).collect();
        let ops = Int8Array::from_iter_values(waiting.iter().map(|waiting| waiting.op.code()));
        let ops: Vec<(&str, ArrayRef)> = vec![("op", std::sync::Arc::new(ops))];
        into.add("left", LEFT, with_columns(&self.left.gather(&ids)?, ops)?);
        let (mut rows, mut from) = (Vec::new(), Vec::new());
        let (mut deleted, mut deleted_from) = (Vec::new(), Vec::new());
        for (group, versions) in (0..).zip(&self.versions) {
            for version in versions {
                if version.row == NO_ROW {
                    deleted.push(group);
                    deleted_from.push(version.from);
                } else {
                    rows.push(version.row);
                    from.push(version.from);
                }
            }
        }
        let from = vec![("valid from", int64_column(from))];
        into.add("right", RIGHT, with_columns(&self.right.gather(&rows)?, from)?);
        let mut columns = named_keys(&self.table, &deleted);
        columns.push(("valid from".into(), int64_column(deleted_from)));
        into.add_columns("deleted", RIGHT, columns, deleted.len())
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        let left = from.rows("left")?;
        let width = self.left.schema().fields().len();
        let ops = left.column(width).as_primitive::<Int8Type>().clone();
        self.take_left(&Batch::changes(leading(&left, self.left.schema())?, ops, 0))?;
        let right = from.rows("right")?;
        let width = self.right.schema().fields().len();
        let valid_from = right.column(width).as_primitive::<Int64Type>();
        let rows = leading(&right, self.right.schema())?;
        let groups = self.groups_of(RIGHT, &rows);
        let mut ids = Vec::with_capacity(groups.len());
        self.right.push(&rows, &mut ids)?;
        for (at, (group, row)) in groups.into_iter().zip(ids).enumerate() {
            let from = valid_from.value(at);
            self.add_version(group, Version { from, row })?;
        }
        let deleted = from.rows_by("deleted", &self.keys[RIGHT])?;
        let (valid_from, keys) = deleted
            .columns()
            .split_last()
            .expect("invariant: the last column is the time");
        let mut groups = Vec::with_capacity(deleted.num_rows());
        self.table
            .find_or_insert(&mut self.packer, keys, deleted.num_rows(), &mut groups);
        self.versions.resize_with(self.table.len(), Vec::new);
        for (group, &from) in groups
            .into_iter()
            .zip(valid_from.as_primitive::<Int64Type>().values())
        {
            self.add_version(group, Version { from, row: NO_ROW })?;
        }
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let bytes = self.left.allocated_bytes()
            + self.right.allocated_bytes()
            + self.table.allocated_bytes()
            + self.versions.capacity() * size_of::<Vec<Version>>()
            + self.version_count * size_of::<Version>();
        OperatorStatistics {
            state_bytes: bytes as u64,
            keys: (self.left.len() + self.right.len()) as u64,
            late_rows: self.late_rows,
        }
    }
}

fn temporal_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("temporal join", error)
}
