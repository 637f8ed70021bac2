//! The rows of each partition in order, cut off behind the last rank that anybody asks for.
//!
//! **Invariant.** A partition's rows are sorted; equal rows lie in the order in which they came. Where rows
//! only come, none is kept that is beyond the last rank.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{FieldRef, SchemaRef};

use crate::batch::Op;
use crate::error::ExecutionError;
use crate::operators::rank::sort_key::{SortKey, SortKeys};
use crate::plan::{RankFunction, RankSpec};
use crate::snapshot::{Recorder, StateReader, StateWriter};
use crate::state::footprint::lists_bytes;
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::hash::hash_columns;
use crate::state::key_ages::KeyAges;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::state::row_store::{RowId, RowStore};

/// A row in a partition.
#[derive(Clone, Debug)]
struct Entry {
    key: SortKey,
    row: RowId,
    /// Of its values; 0 where rows only come.
    hash: u64,
}

/// A row that is visible, with its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ranked {
    pub row: RowId,
    pub rank: u64,
}

/// Partitions in order.
pub(crate) struct Ranking {
    partition: Vec<usize>,
    function: RankFunction,
    first: u64,
    last: u64,
    retracts: bool,
    keys: SortKeys,
    table: GroupTable,
    packer: KeyPacker,
    partitions: Vec<Vec<Entry>>,
    pub store: RowStore,
    /// Rows given up by the batch at work; still in the store until `forget_dropped`.
    dropped: Vec<RowId>,
    entries: usize,
    /// Bytes of sort keys outside their entries.
    key_bytes: usize,
    ages: Option<KeyAges>,
    /// Snapshots of it, by partition.
    recorder: Recorder,
}

impl Ranking {
    pub fn new(spec: &RankSpec, input: &SchemaRef) -> Result<Ranking, ExecutionError> {
        let fields: Vec<FieldRef> = spec
            .partition
            .iter()
            .map(|&key| input.fields()[key].clone())
            .collect();
        let layout = KeyLayout::new(&fields);
        Ok(Ranking {
            partition: spec.partition.clone(),
            function: spec.function,
            first: spec.first,
            last: spec.last,
            retracts: spec.input_retracts,
            keys: SortKeys::new(&spec.order, input)?,
            table: GroupTable::new(layout.clone(), Vec::new()),
            packer: KeyPacker::new(layout),
            partitions: Vec::new(),
            store: RowStore::new(input.clone()),
            dropped: Vec::new(),
            entries: 0,
            key_bytes: 0,
            ages: spec.ttl_us.map(KeyAges::new),
            recorder: Recorder::default(),
        })
    }

    /// Takes the changes of a batch; `touch` is told of each partition before it changes.
    pub fn apply(
        &mut self,
        rows: &RecordBatch,
        ops: Option<&[i8]>,
        mut touch: impl FnMut(&Ranking, GroupIndex),
    ) -> Result<(), ExecutionError> {
        let groups = self.table.groups_of(&mut self.packer, &self.partition, rows);
        if self.partitions.len() < self.table.len() {
            self.partitions.resize_with(self.table.len(), Vec::new);
        }
        self.expire(&groups);
        let keys = self.keys.of(rows)?;
        let adds = |row: usize| ops.is_none_or(|ops| Op::from_code(ops[row]).is_addition());
        let enters = |row: usize| adds(row) && self.may_enter(groups[row], &keys[row]);
        let entering: Vec<u32> = (0..rows.num_rows() as u32)
            .filter(|&row| enters(row as usize))
            .collect();
        self.note_changes(&groups, &entering, adds)?;
        let mut ids = Vec::with_capacity(entering.len());
        if entering.len() == rows.num_rows() {
            self.store.push(rows, &mut ids)?;
        } else if !entering.is_empty() {
            let part = take_record_batch(rows, &UInt32Array::from(entering.clone()))
                .map_err(|error| ExecutionError::new("rank", error))?;
            self.store.push(&part, &mut ids)?;
        }
        let mut hashes = Vec::new();
        if self.retracts {
            hash_columns(rows.columns(), &mut hashes);
        }
        let hash = |row: usize| hashes.get(row).copied().unwrap_or(0);
        let mut entering = entering.into_iter().zip(ids).peekable();
        for (row, (key, &group)) in keys.into_iter().zip(&groups).enumerate() {
            if let Some((_, id)) = entering.next_if(|&(entered, _)| entered as usize == row) {
                touch(self, group);
                self.insert(group, key, id, hash(row));
            } else if !adds(row) {
                touch(self, group);
                self.take(group, &key, hash(row));
            }
        }
        Ok(())
    }

    /// The partitions of rows that enter or are taken back will change: those that a snapshot still lacks are
    /// written.
    fn note_changes(
        &mut self,
        groups: &[GroupIndex],
        entering: &[u32],
        adds: impl Fn(usize) -> bool,
    ) -> Result<(), ExecutionError> {
        if !self.recorder.is_active() {
            return Ok(());
        }
        let entering = entering.iter().map(|&row| groups[row as usize]);
        let taken = (0..groups.len()).filter(|&row| !adds(row)).map(|row| groups[row]);
        let changed: Vec<GroupIndex> = entering.chain(taken).collect();
        let mut recorder = std::mem::take(&mut self.recorder);
        let written = recorder.change(&changed, |groups, into| self.write(&groups, into));
        self.recorder = recorder;
        written
    }

    /// Whether a row with that key may be visible, as far as the rows before this batch tell.
    fn may_enter(&self, group: GroupIndex, key: &SortKey) -> bool {
        if self.retracts {
            return true;
        }
        let entries = &self.partitions[group as usize];
        match entries.last() {
            None => true,
            Some(last) if key < &last.key => true,
            Some(last) => match self.function {
                RankFunction::RowNumber => (entries.len() as u64) < self.last,
                RankFunction::Rank => key == &last.key || (entries.len() as u64) < self.last,
                RankFunction::DenseRank => key == &last.key || self.distinct(entries) < self.last,
            },
        }
    }

    fn distinct(&self, entries: &[Entry]) -> u64 {
        entries.chunk_by(|left, right| left.key == right.key).count() as u64
    }

    fn insert(&mut self, group: GroupIndex, key: SortKey, row: RowId, hash: u64) {
        self.note_change(group);
        let entries = &mut self.partitions[group as usize];
        let at = match entries.last() {
            Some(last) if last.key <= key => entries.len(),
            _ => entries.partition_point(|entry| entry.key <= key),
        };
        self.entries += 1;
        self.key_bytes += key.heap_bytes();
        entries.insert(at, Entry { key, row, hash });
        if !self.retracts {
            self.cut(group);
        }
    }

    /// Drops the rows behind the last rank.
    fn cut(&mut self, group: GroupIndex) {
        let entries = &self.partitions[group as usize];
        let keep = match self.function {
            RankFunction::RowNumber => entries
                .len()
                .min(usize::try_from(self.last).unwrap_or(usize::MAX)),
            _ if (entries.len() as u64) <= self.last => return,
            _ => self.count_until(entries, self.last),
        };
        let entries = &mut self.partitions[group as usize];
        for entry in entries.drain(keep..) {
            self.entries -= 1;
            self.key_bytes -= entry.key.heap_bytes();
            self.dropped.push(entry.row);
        }
    }

    /// How many rows have a rank up to `last`.
    fn count_until(&self, entries: &[Entry], last: u64) -> usize {
        let mut count = 0;
        for (distinct, peers) in (1..).zip(entries.chunk_by(|left, right| left.key == right.key)) {
            let rank = match self.function {
                RankFunction::RowNumber | RankFunction::Rank => count as u64 + 1,
                RankFunction::DenseRank => distinct,
            };
            if rank > last {
                break;
            }
            count += peers.len();
        }
        count
    }

    fn take(&mut self, group: GroupIndex, key: &SortKey, hash: u64) {
        let entries = &mut self.partitions[group as usize];
        let from = entries.partition_point(|entry| &entry.key < key);
        let peers = entries[from..].iter().take_while(|entry| &entry.key == key);
        let found = peers
            .enumerate()
            .find(|(_, entry)| entry.hash == hash)
            .map(|(at, _)| from + at);
        // A row that never came cannot be taken back.
        if let Some(at) = found {
            self.note_change(group);
            let entries = &mut self.partitions[group as usize];
            let entry = entries.remove(at);
            self.entries -= 1;
            self.key_bytes -= entry.key.heap_bytes();
            self.dropped.push(entry.row);
        }
    }

    /// The input at hand arrived at `arrival_ns`.
    pub fn note_time(&mut self, arrival_ns: u64) {
        if let Some(ages) = &mut self.ages {
            ages.note_time(arrival_ns);
        }
    }

    fn note_change(&mut self, group: GroupIndex) {
        if let Some(ages) = &mut self.ages {
            ages.write(&[group]);
        }
    }

    /// Empties the partitions among `groups` whose time has passed.
    fn expire(&mut self, groups: &[GroupIndex]) {
        let Some(mut ages) = self.ages.take() else {
            return;
        };
        ages.expire(groups, |group| {
            let entries = std::mem::take(&mut self.partitions[group as usize]);
            self.drop_entries(entries);
            true
        });
        self.ages = Some(ages);
    }

    /// Forgets some of the partitions whose time has passed.
    pub fn sweep(&mut self) {
        let Some(mut ages) = self.ages.take() else {
            return;
        };
        if !self.partition.is_empty() {
            ages.sweep(|group| {
                let entries = self.partitions.swap_remove(group as usize);
                self.drop_entries(entries);
                self.table.remove(group);
                true
            });
        }
        self.ages = Some(ages);
    }

    /// Begins to write all rows, partition by partition in their order: [`Ranking::apply`] makes the same ranking of
    /// them. [`Ranking::record`] goes on.
    pub fn begin_recording(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        self.recorder.begin(self.partitions.len(), into);
        self.write(&[], into)?;
        if self.ages.is_none() {
            return Ok(());
        }
        // Partitions that may be forgotten one at a time are written at once, with their ages.
        while !self.record(into)? {}
        self.recorder.forget_parts();
        self.freeze_ages(into)
    }

    /// Writes more partitions; answers whether all are written.
    pub fn record(&mut self, into: &mut StateWriter) -> Result<bool, ExecutionError> {
        let mut recorder = std::mem::take(&mut self.recorder);
        let is_done = recorder.record(self.partitions.len(), into, |groups, into| {
            self.write(&groups, into)
        });
        self.recorder = recorder;
        is_done
    }

    fn write(&self, groups: &[GroupIndex], into: &mut StateWriter) -> Result<(), ExecutionError> {
        let entries = groups.iter().flat_map(|&group| &self.partitions[group as usize]);
        let rows: Vec<RowId> = entries.map(|entry| entry.row).collect();
        into.add("rows", 0, self.store.gather(&rows)?);
        Ok(())
    }

    /// Writes how old the partitions with rows are, if they have a time to live.
    fn freeze_ages(&self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        let Some(ages) = &self.ages else {
            return Ok(());
        };
        let partitions = (0..).zip(&self.partitions);
        let filled = partitions.filter(|(_, entries)| !entries.is_empty());
        let groups: Vec<GroupIndex> = filled.map(|(group, _)| group).collect();
        ages.freeze(&self.table, &groups, into)
    }

    /// Takes back what `freeze_ages` wrote.
    pub fn thaw_ages(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        let Some(ages) = &mut self.ages else {
            return Ok(());
        };
        ages.restore(from, &self.partition, &mut self.table, &mut self.packer)?;
        self.partitions.resize_with(self.table.len(), Vec::new);
        Ok(())
    }

    fn drop_entries(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.entries -= 1;
            self.key_bytes -= entry.key.heap_bytes();
            self.dropped.push(entry.row);
        }
    }

    /// The visible rows of a partition, in order.
    pub fn visible(&self, group: GroupIndex) -> Vec<Ranked> {
        let entries = &self.partitions[group as usize];
        let mut visible = Vec::new();
        let mut before = 0;
        for (distinct, peers) in (1..).zip(entries.chunk_by(|left, right| left.key == right.key)) {
            for (place, entry) in (0..).zip(peers) {
                let rank = match self.function {
                    RankFunction::RowNumber => before + place + 1,
                    RankFunction::Rank => before + 1,
                    RankFunction::DenseRank => distinct,
                };
                if rank > self.last {
                    return visible;
                }
                if rank >= self.first {
                    visible.push(Ranked { row: entry.row, rank });
                }
            }
            before += peers.len() as u64;
        }
        visible
    }

    /// The number of partitions that were ever met.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Gives up, for good, what left its partition.
    pub fn forget_dropped(&mut self) -> Result<(), ExecutionError> {
        for row in std::mem::take(&mut self.dropped) {
            self.store.remove(row)?;
        }
        Ok(())
    }

    /// All rows, partition by partition in their order: [`Ranking::apply`] makes the same ranking of them.
    pub fn rows(&self) -> Result<RecordBatch, ExecutionError> {
        let entries = self.partitions.iter().flatten();
        self.store
            .gather(&entries.map(|entry| entry.row).collect::<Vec<_>>())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.store.allocated_bytes()
            + self.table.allocated_bytes()
            + self.packer.allocated_bytes()
            + lists_bytes::<Entry>(self.table.len(), self.entries)
            + self.key_bytes
            + self.ages.as_ref().map_or(0, KeyAges::allocated_bytes)
            + self.partitions.capacity() * size_of::<Vec<Entry>>()
    }
}
