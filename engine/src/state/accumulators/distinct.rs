//! DISTINCT: one set of (group, value) per argument list, shared by all calls over it.
//!
//! The set is itself a group table: its key is (group, arguments), its words count, per filter, how
//! often the pair was met. A count that leaves or reaches 0 changes the calls behind that filter.
//!
//! **Invariant.** A pair counts for a filter exactly if its word for that filter is above 0.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt32Type, UInt64Type};

use crate::error::ExecutionError;
use crate::snapshot::int64_column;
use crate::state::accumulators::inputs::counted_rows;
use crate::state::accumulators::layout::{AggregateLayout, Primitive};
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::key_columns::{key_columns, leading_key_column};
use crate::state::keys::{KeyLayout, KeyPacker};

/// The filters over one set, each with the primitives (indices) behind it.
type Filters = Vec<(Option<usize>, Vec<usize>)>;

/// The set behind all distinct calls over one argument list.
#[derive(Debug)]
pub(crate) struct DistinctSet {
    arguments: Vec<usize>,
    filters: Filters,
    table: GroupTable,
    packer: KeyPacker,
    entries: Vec<GroupIndex>,
    /// The pair that the next sweep looks at first.
    cursor: usize,
    /// Rows since the last sweep.
    met: usize,
}

/// Rows whose value entered (+1) or left (-1) the set for one filter.
#[derive(Debug, Default)]
pub(crate) struct Transitions {
    pub rows: Vec<u32>,
    /// By row of the batch; meaningful for `rows` only.
    pub signs: Vec<i64>,
}

/// The sets that the distinct primitives of `layout` need over `input`.
/// `id_type` is that of the numbers that groups are known by.
pub(crate) fn distinct_sets(layout: &AggregateLayout, input: &Schema, id_type: DataType) -> Vec<DistinctSet> {
    let mut plans: Vec<(Vec<usize>, Filters)> = Vec::new();
    let primitives = layout.primitives.iter().enumerate();
    for (index, primitive) in primitives.filter(|(_, primitive)| primitive.distinct) {
        let position = plans
            .iter()
            .position(|(arguments, _)| *arguments == primitive.arguments);
        let position = position.unwrap_or_else(|| {
            plans.push((primitive.arguments.clone(), Vec::new()));
            plans.len() - 1
        });
        let filters = &mut plans[position].1;
        match filters.iter_mut().find(|(filter, _)| *filter == primitive.filter) {
            Some((_, users)) => users.push(index),
            None => filters.push((primitive.filter, vec![index])),
        }
    }
    let set = |(arguments, filters): (Vec<usize>, Filters)| {
        let group = Arc::new(Field::new("group", id_type.clone(), false));
        let values = arguments.iter().map(|&column| {
            // NULLs never reach the set.
            Arc::new(input.field(column).clone().with_nullable(false))
        });
        let key = KeyLayout::new(&std::iter::once(group).chain(values).collect::<Vec<_>>());
        DistinctSet {
            arguments,
            table: GroupTable::new(key.clone(), vec![0; filters.len()]),
            filters,
            packer: KeyPacker::new(key),
            entries: Vec::new(),
            cursor: 0,
            met: 0,
        }
    };
    plans.into_iter().map(set).collect()
}

impl DistinctSet {
    /// Adds (or, where signs say so, takes) the values of a batch; calls `apply` for each filter
    /// with what entered and left. `ids` are the numbers of the rows' groups.
    pub fn update(
        &mut self,
        batch: &RecordBatch,
        ids: ArrayRef,
        signs: Option<&[i64]>,
        mut apply: impl FnMut(&[usize], &Transitions) -> Result<(), ExecutionError>,
    ) -> Result<(), ExecutionError> {
        let valid = self.find_entries(batch, ids);
        self.met += batch.num_rows();
        let mut transitions = Transitions::default();
        transitions.signs.resize(batch.num_rows(), 0);
        for (offset, (filter, users)) in self.filters.iter().enumerate() {
            let counted = counted_rows(&selection(&self.arguments, *filter), batch);
            transitions.rows.clear();
            let mut states = self.table.states_mut();
            let mut visit = |row: usize, entry: GroupIndex| {
                let sign = signs.map_or(1, |signs| signs[row]);
                let [count] = states.words::<1>(entry, offset);
                let before = *count as i64;
                let after = if signs.is_none() { 1 } else { before + sign };
                *count = after as u64;
                let change = i64::from(after > 0) - i64::from(before > 0);
                if change != 0 {
                    // A row enters or leaves once per filter: it is the sign that is summed.
                    transitions.rows.push(row as u32);
                    transitions.signs[row] = change;
                }
            };
            match (&valid, &counted) {
                (None, None) => self
                    .entries
                    .iter()
                    .enumerate()
                    .for_each(|(row, &entry)| visit(row, entry)),
                (None, Some(rows)) => {
                    rows.iter()
                        .for_each(|&row| visit(row as usize, self.entries[row as usize]));
                }
                (Some(valid), counted) => {
                    let mut counted = counted.iter().flatten().copied().peekable();
                    for (&row, &entry) in valid.iter().zip(&self.entries) {
                        while counted.next_if(|&next| next < row).is_some() {}
                        if counted.next_if_eq(&row).is_some() {
                            visit(row as usize, entry);
                        }
                    }
                }
            }
            apply(users, &transitions)?;
        }
        Ok(())
    }

    /// Finds the entry of each row without NULLs; answers those rows unless they are all.
    fn find_entries(&mut self, batch: &RecordBatch, ids: ArrayRef) -> Option<Vec<u32>> {
        let valid = counted_rows(&selection(&self.arguments, None), batch);
        let arguments = self.arguments.iter().map(|&column| batch.column(column).clone());
        let mut columns: Vec<ArrayRef> = std::iter::once(ids).chain(arguments).collect();
        if let Some(rows) = &valid {
            let rows = UInt32Array::from(rows.clone());
            for column in &mut columns {
                *column = take(column, &rows, None).expect("invariant: row numbers lie within the batch");
            }
        }
        let rows = columns[0].len();
        self.table
            .find_or_insert(&mut self.packer, &columns, rows, &mut self.entries);
        valid
    }

    /// The group of each pair, with the columns of its values and of its counts per filter; `group_of` knows
    /// the groups by their ids, but for those that are no more.
    pub fn freeze(
        &self,
        group_of: impl Fn(u64) -> Option<GroupIndex>,
    ) -> (Vec<GroupIndex>, Vec<(String, ArrayRef)>) {
        let counts = |&entry: &GroupIndex| self.table.state(entry);
        let mut entries: Vec<GroupIndex> = (0..self.table.len() as GroupIndex).collect();
        entries.retain(|entry| counts(entry).iter().any(|&count| count != 0));
        let groups = |entries: &[GroupIndex]| -> Vec<Option<GroupIndex>> {
            let ids = leading_key_column(&self.table, entries);
            match ids.data_type() {
                DataType::UInt32 => {
                    let ids = ids.as_primitive::<UInt32Type>().values().iter();
                    ids.map(|&id| group_of(u64::from(id))).collect()
                }
                _ => {
                    let ids = ids.as_primitive::<UInt64Type>().values().iter();
                    ids.map(|&id| group_of(id)).collect()
                }
            }
        };
        let mut known = groups(&entries).into_iter();
        entries.retain(|_| known.next().flatten().is_some());
        let groups = groups(&entries).into_iter().flatten().collect();
        let keys = key_columns(&self.table, &entries).into_iter().skip(1);
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for (number, values) in (0..).zip(keys) {
            columns.push((format!("value {number}"), values));
        }
        for filter in 0..self.filters.len() {
            let numbers = entries.iter().map(|entry| counts(entry)[filter] as i64);
            columns.push((format!("count {filter}"), int64_column(numbers)));
        }
        (groups, columns)
    }

    /// Takes back what `freeze` gave, of groups that have these ids now.
    pub fn thaw(&mut self, columns: &[ArrayRef], ids: ArrayRef) {
        let (values, counts) = columns.split_at(self.arguments.len());
        let rows = ids.len();
        let keys: Vec<ArrayRef> = std::iter::once(ids).chain(values.iter().cloned()).collect();
        self.table
            .find_or_insert(&mut self.packer, &keys, rows, &mut self.entries);
        for (filter, counts) in counts.iter().enumerate() {
            let counts = counts.as_primitive::<Int64Type>().values();
            let mut states = self.table.states_mut();
            for (&entry, &count) in self.entries.iter().zip(counts) {
                states.words::<1>(entry, filter)[0] = count as u64;
            }
        }
    }

    /// Looks at the next pairs and forgets those whose group is no more.
    pub fn sweep(&mut self, is_live: impl Fn(u64) -> bool) {
        const SWEEP_MIN: usize = 256;
        if self.cursor >= self.table.len() {
            self.cursor = 0;
        }
        let count = 2 * std::mem::take(&mut self.met) + SWEEP_MIN;
        let end = self.table.len().min(self.cursor + count);
        let pairs: Vec<GroupIndex> = (self.cursor as GroupIndex..end as GroupIndex).collect();
        let ids = leading_key_column(&self.table, &pairs);
        let ids = ids.as_primitive::<UInt64Type>();
        self.cursor = end;
        // From behind, so that what takes a removed pair's number was looked at, or lies behind all of these.
        for (&pair, &id) in pairs.iter().zip(ids.values()).rev() {
            if !is_live(id) {
                self.table.remove(pair);
                self.cursor -= 1;
            }
        }
    }

    /// Forgets all pairs.
    pub fn clear(&mut self) {
        self.table.clear();
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.table.allocated_bytes()
            + self.packer.allocated_bytes()
            + self.entries.capacity() * size_of::<GroupIndex>()
    }
}

/// A primitive that stands for "these arguments not NULL, this filter true".
fn selection(arguments: &[usize], filter: Option<usize>) -> Primitive {
    Primitive {
        kind: crate::state::accumulators::layout::Kind::Count,
        arguments: arguments.to_vec(),
        argument_type: DataType::Null,
        filter,
        distinct: false,
        place: 0,
    }
}
