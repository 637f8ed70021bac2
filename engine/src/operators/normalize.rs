//! Changelog normalisation: an upsert source, which says only what a key's row is now, as a changelog that
//! takes the old row back first. A change that is told twice is passed over, unless rows have a time to live:
//! then it is passed on, so that whoever keeps the row below knows that it lives. A key whose time has passed
//! starts anew.
//!
//! **Invariant.** Folding the output gives the last row of each key that was not deleted.

use arrow::array::{Int8Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{FieldRef, SchemaRef};

use crate::batch::{Batch, Op};
use crate::error::ExecutionError;
use crate::operators::{Operator, OperatorStatistics, Output};
use crate::plan::NormalizeSpec;
use crate::snapshot::{StateReader, StateWriter};
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::hash::hash_columns;
use crate::state::key_ages::KeyAges;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::state::row_store::{NO_ROW, RowId, RowStore};

/// The normalising operator.
pub struct Normalize {
    key: Vec<usize>,
    table: GroupTable,
    packer: KeyPacker,
    store: RowStore,
    /// By key: its row, and the hash of that row's values.
    rows: Vec<(RowId, u64)>,
    ages: Option<KeyAges>,
}

impl Normalize {
    /// The operator of `spec`; output = input.
    pub fn new(spec: &NormalizeSpec, input: SchemaRef) -> Normalize {
        let fields: Vec<FieldRef> = spec.key.iter().map(|&key| input.fields()[key].clone()).collect();
        let layout = KeyLayout::new(&fields);
        Normalize {
            key: spec.key.clone(),
            table: GroupTable::new(layout.clone(), Vec::new()),
            packer: KeyPacker::new(layout),
            store: RowStore::new(input),
            rows: Vec::new(),
            ages: spec.ttl_us.map(KeyAges::new),
        }
    }

    /// Forgets the rows of keys among `groups` whose time has passed.
    fn expire(&mut self, groups: &[GroupIndex], arrival_ns: u64, dropped: &mut Vec<RowId>) {
        let Some(ages) = &mut self.ages else {
            return;
        };
        ages.note_time(arrival_ns);
        ages.expire(groups, |group| {
            let (row, _) = std::mem::replace(&mut self.rows[group as usize], (NO_ROW, 0));
            dropped.extend((row != NO_ROW).then_some(row));
            true
        });
    }

    /// Forgets some of the keys whose time has passed.
    fn sweep(&mut self, dropped: &mut Vec<RowId>) {
        let Some(ages) = &mut self.ages else {
            return;
        };
        ages.sweep(|group| {
            let (row, _) = self.rows.swap_remove(group as usize);
            dropped.extend((row != NO_ROW).then_some(row));
            self.table.remove(group);
            true
        });
    }
}

impl Operator for Normalize {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let groups = self.table.groups_of(&mut self.packer, &self.key, batch.rows());
        self.rows.resize(self.table.len(), (NO_ROW, 0));
        let mut dropped = Vec::new();
        self.expire(&groups, out.arrival(), &mut dropped);
        let mut hashes = Vec::new();
        hash_columns(batch.rows().columns(), &mut hashes);
        let adding: Vec<u32> = (0..batch.len() as u32)
            .filter(|&row| batch.op(row as usize).is_addition())
            .collect();
        let mut ids = Vec::with_capacity(adding.len());
        let added = take_record_batch(batch.rows(), &UInt32Array::from(adding))
            .map_err(|error| ExecutionError::new("changelog", error))?;
        self.store.push(&added, &mut ids)?;
        let mut ids = ids.into_iter();
        let (mut ops, mut told) = (Vec::new(), Vec::new());
        let has_ttl = self.ages.is_some();
        let mut say = |op: Op, row: RowId| {
            ops.push(op.code());
            told.push(row);
        };
        for (row, (&group, &hash)) in groups.iter().zip(&hashes).enumerate() {
            if let Some(ages) = &mut self.ages {
                ages.write(&[group]);
            }
            let known = &mut self.rows[group as usize];
            match (batch.op(row), known.0) {
                (Op::Insert | Op::UpdateAfter, old) => {
                    let id = ids.next().expect("invariant: rows that add were stored");
                    if old == NO_ROW {
                        say(Op::Insert, id);
                        *known = (id, hash);
                    } else if known.1 == hash && !has_ttl {
                        dropped.push(id);
                    } else {
                        say(Op::UpdateBefore, old);
                        say(Op::UpdateAfter, id);
                        dropped.push(old);
                        *known = (id, hash);
                    }
                }
                // The old value of an update is known here; only the new one says something.
                (Op::UpdateBefore, _) | (Op::Delete, NO_ROW) => {}
                (Op::Delete, old) => {
                    say(Op::Delete, old);
                    dropped.push(old);
                    *known = (NO_ROW, 0);
                }
            }
        }
        if !ops.is_empty() {
            out.emit_changes(self.store.gather(&told)?, Int8Array::from(ops));
        }
        self.sweep(&mut dropped);
        dropped.into_iter().try_for_each(|id| self.store.remove(id))
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        let rows = self.rows.iter().map(|&(row, _)| row);
        let rows: Vec<RowId> = rows.filter(|&row| row != NO_ROW).collect();
        into.add("rows", 0, self.store.gather(&rows)?);
        let Some(ages) = &self.ages else {
            return Ok(());
        };
        let groups: Vec<GroupIndex> = (0..)
            .zip(&self.rows)
            .filter_map(|(group, &(row, _))| (row != NO_ROW).then_some(group))
            .collect();
        ages.freeze(&self.table, &groups, into)
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        // Rows of keys that are not known are kept and told; that they were told before is known here.
        let rows = Batch::append(from.rows("rows")?, 0);
        self.process(0, rows, &mut Output::new())?;
        if let Some(ages) = &mut self.ages {
            ages.restore(from, &self.key, &mut self.table, &mut self.packer)?;
        }
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let bytes = self.store.allocated_bytes()
            + self.table.allocated_bytes()
            + self.rows.capacity() * size_of::<(RowId, u64)>()
            + self.ages.as_ref().map_or(0, KeyAges::allocated_bytes);
        OperatorStatistics {
            state_bytes: bytes as u64,
            keys: self.store.len() as u64,
            late_rows: 0,
        }
    }
}
