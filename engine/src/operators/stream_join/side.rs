//! One side of a join: its rows, chained by key, with what the join must know of each.
//!
//! A chain is a ring: the group knows its last row, the last row leads to the first. So a group costs four bytes
//! a side, and both ends of its chain are at hand: rows are added behind, and mostly go in front.
//!
//! **Invariant.** A chain holds exactly the rows of its group that are kept, in order of arrival.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::ExecutionError;
use crate::snapshot::{int64_column, with_columns};
use crate::state::footprint::{lists_bytes, resize_list, tree_bytes};
use crate::state::group_table::{GroupIndex, NO_GROUP};
use crate::state::row_store::{NO_ROW, RowId, RowStore};

/// What a side remembers of its rows besides their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SideOptions {
    /// Rows may be taken back: they are found by a hash of their values.
    pub retracts: bool,
    /// Rows know how many rows of the other side they match.
    pub counts_matches: bool,
    /// Rows go by themselves: when their time has passed, or after a while.
    pub expires: bool,
}

/// The rows of one side.
pub(super) struct Side {
    options: SideOptions,
    pub store: RowStore,
    /// The last row of each group.
    lasts: Vec<RowId>,
    /// By row: the next of its group, behind the last the first.
    next: Vec<RowId>,
    hashes: Vec<u64>,
    matches: Vec<u32>,
    groups: Vec<GroupIndex>,
    arrivals: Vec<u64>,
    /// Rows by the event time that makes them useless.
    by_time: BTreeMap<i64, Vec<RowId>>,
    /// Rows by arrival, the oldest first.
    by_arrival: VecDeque<(u64, Vec<RowId>)>,
    ids: Vec<RowId>,
}

impl Side {
    pub fn new(schema: SchemaRef, options: SideOptions) -> Side {
        Side {
            options,
            store: RowStore::new(schema),
            lasts: Vec::new(),
            next: Vec::new(),
            hashes: Vec::new(),
            matches: Vec::new(),
            groups: Vec::new(),
            arrivals: Vec::new(),
            by_time: BTreeMap::new(),
            by_arrival: VecDeque::new(),
            ids: Vec::new(),
        }
    }

    /// The last row of `group`, or [`NO_ROW`].
    #[inline(always)]
    fn last(&self, group: GroupIndex) -> RowId {
        self.lasts.get(group as usize).copied().unwrap_or(NO_ROW)
    }

    /// The rows of `group` in order of arrival.
    #[inline(always)]
    pub fn chain(&self, group: GroupIndex) -> Chain<'_> {
        Chain::new(&self.next, self.last(group))
    }

    /// How many rows of the other side row `id` matches.
    pub fn matches_mut(&mut self, id: RowId) -> &mut u32 {
        &mut self.matches[id as usize]
    }

    /// Keeps `rows`, each in its group; hashes are those of their values where rows may be taken back.
    pub fn insert(
        &mut self,
        rows: &RecordBatch,
        groups: &[GroupIndex],
        hashes: &[u64],
        arrival_ns: u64,
    ) -> Result<&[RowId], ExecutionError> {
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        self.store.push(rows, &mut ids)?;
        let bound = self.store.id_bound();
        if self.next.len() < bound {
            resize_list(&mut self.next, bound, NO_ROW);
            if self.options.retracts {
                resize_list(&mut self.hashes, bound, 0);
            }
            if self.options.counts_matches {
                resize_list(&mut self.matches, bound, 0);
            }
            if self.options.expires {
                resize_list(&mut self.groups, bound, NO_GROUP);
                resize_list(&mut self.arrivals, bound, 0);
            }
        }
        for (row, (&id, &group)) in ids.iter().zip(groups).enumerate() {
            self.append(id, group);
            if self.options.retracts {
                self.hashes[id as usize] = hashes[row];
            }
            if self.options.counts_matches {
                self.matches[id as usize] = 0;
            }
            if self.options.expires {
                self.groups[id as usize] = group;
                self.arrivals[id as usize] = arrival_ns;
            }
        }
        self.ids = ids;
        Ok(&self.ids)
    }

    fn append(&mut self, id: RowId, group: GroupIndex) {
        let group = group as usize;
        if self.lasts.len() <= group {
            resize_list(&mut self.lasts, group + 1, NO_ROW);
        }
        let last = std::mem::replace(&mut self.lasts[group], id);
        self.next[id as usize] = match last {
            NO_ROW => id,
            last => std::mem::replace(&mut self.next[last as usize], id),
        };
    }

    /// The row of `group` with that hash, the oldest where there are several.
    pub fn find(&self, group: GroupIndex, hash: u64) -> Option<RowId> {
        self.chain(group).find(|&id| self.hashes[id as usize] == hash)
    }

    /// Takes row `id` out of its group; the store still has it until `forget`.
    pub fn unlink(&mut self, id: RowId, group: GroupIndex) {
        let last = self.last(group);
        assert_ne!(last, NO_ROW, "invariant: a kept row is in its group's chain");
        let mut before = last;
        while self.next[before as usize] != id {
            before = self.next[before as usize];
            assert_ne!(before, last, "invariant: a kept row is in its group's chain");
        }
        self.next[before as usize] = self.next[id as usize];
        if id == last {
            // A row that leads to itself was alone.
            self.lasts[group as usize] = if before == id { NO_ROW } else { before };
        }
    }

    /// Gives an unlinked row up.
    pub fn forget(&mut self, id: RowId) -> Result<(), ExecutionError> {
        self.store.remove(id)
    }

    /// Row `id` is useless once the watermark has reached `time`.
    pub fn expire_at(&mut self, id: RowId, time: i64) {
        self.by_time.entry(time).or_default().push(id);
    }

    /// Unlinks the rows that `watermark` made useless, a few thousand at most; `None` if none is left.
    pub fn take_expired(&mut self, watermark: i64) -> Option<Vec<RowId>> {
        let (&time, _) = self
            .by_time
            .first_key_value()
            .filter(|&(&time, _)| time <= watermark)?;
        let ids = self
            .by_time
            .remove(&time)
            .expect("invariant: the first entry is there");
        for &id in &ids {
            self.unlink(id, self.groups[id as usize]);
        }
        Some(ids)
    }

    /// Rows `ids`, just inserted, go when `take_aged` is asked for their arrival.
    pub fn note_arrival(&mut self, arrival_ns: u64) {
        let ids = self.ids.clone();
        self.by_arrival.push_back((arrival_ns, ids));
    }

    /// Gives up the rows that arrived before `oldest_ns`.
    pub fn drop_aged(&mut self, oldest_ns: u64) -> Result<(), ExecutionError> {
        while self
            .by_arrival
            .front()
            .is_some_and(|&(arrival, _)| arrival < oldest_ns)
        {
            let Some((arrival, ids)) = self.by_arrival.pop_front() else {
                break;
            };
            for id in ids {
                // A number given anew belongs to a younger row; one in no group was taken back.
                let group = self.groups[id as usize];
                if self.arrivals[id as usize] == arrival && group != NO_GROUP {
                    self.unlink(id, group);
                    self.groups[id as usize] = NO_GROUP;
                    self.forget(id)?;
                }
            }
        }
        Ok(())
    }

    /// Notes that row `id` was taken back, so that it does not expire as well.
    pub fn was_taken_back(&mut self, id: RowId) {
        if self.options.expires {
            self.groups[id as usize] = NO_GROUP;
        }
    }

    /// Whether a group has rows.
    pub fn has_rows(&self, group: GroupIndex) -> bool {
        self.last(group) != NO_ROW
    }

    /// Renumbers groups: `old[i]` becomes `new[i]`; all others have no rows.
    pub fn renumber(&mut self, old: &[GroupIndex], new: &[GroupIndex]) {
        let count = new.iter().max().map_or(0, |&greatest| greatest as usize + 1);
        let mut lasts = vec![NO_ROW; count];
        for (&old, &new) in old.iter().zip(new) {
            let last = self.last(old);
            lasts[new as usize] = last;
            if self.options.expires {
                Chain::new(&self.next, last).for_each(|id| self.groups[id as usize] = new);
            }
        }
        self.lasts = lasts;
    }

    /// The groups of rows that `watermark` makes useless.
    pub fn groups_expired(&self, watermark: i64) -> Vec<GroupIndex> {
        let ids = self.by_time.range(..=watermark).flat_map(|(_, ids)| ids);
        ids.map(|&id| self.groups[id as usize]).collect()
    }

    /// The groups of rows that arrived before `oldest_ns`.
    pub fn groups_aged(&self, oldest_ns: u64) -> Vec<GroupIndex> {
        let aged = self.by_arrival.iter();
        let aged = aged.take_while(|&&(arrival, _)| arrival < oldest_ns);
        let ids = aged.flat_map(|(_, ids)| ids);
        ids.map(|&id| self.groups[id as usize]).collect()
    }

    /// The rows of `groups` in the order of their chains, with what is known of them: matches, arrival.
    pub fn freeze(&self, groups: &[GroupIndex]) -> Result<RecordBatch, ExecutionError> {
        let ids: Vec<RowId> = groups.iter().flat_map(|&group| self.chain(group)).collect();
        let matches = ids
            .iter()
            .map(|&id| self.matches.get(id as usize).map_or(0, |&count| i64::from(count)));
        let arrivals = ids.iter().map(|&id| {
            self.arrivals
                .get(id as usize)
                .map_or(0, |&arrival| arrival as i64)
        });
        let known = vec![
            ("matches", int64_column(matches)),
            ("arrival", int64_column(arrivals)),
        ];
        with_columns(&self.store.gather(&ids)?, known)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.store.allocated_bytes()
            + (self.lasts.capacity() + self.next.capacity()) * size_of::<RowId>()
            + (self.groups.capacity() + self.matches.capacity()) * size_of::<u32>()
            + (self.hashes.capacity() + self.arrivals.capacity()) * size_of::<u64>()
            + tree_bytes::<i64, Vec<RowId>>(self.by_time.len())
            + lists_bytes::<RowId>(
                self.by_time.len(),
                self.store.len() * usize::from(!self.by_time.is_empty()),
            )
            + self
                .by_arrival
                .iter()
                .map(|(_, ids)| ids.capacity() * 4 + 32)
                .sum::<usize>()
    }
}

/// The rows of a group, from the first to the last.
pub(super) struct Chain<'s> {
    next: &'s [RowId],
    /// The row before the next one.
    at: RowId,
    /// [`NO_ROW`] behind the last.
    last: RowId,
}

impl<'s> Chain<'s> {
    /// The chain that ends with `last`; an empty one for [`NO_ROW`].
    #[inline(always)]
    fn new(next: &'s [RowId], last: RowId) -> Chain<'s> {
        Chain { next, at: last, last }
    }
}

impl Iterator for Chain<'_> {
    type Item = RowId;

    #[inline(always)]
    fn next(&mut self) -> Option<RowId> {
        if self.last == NO_ROW {
            return None;
        }
        self.at = self.next[self.at as usize];
        if self.at == self.last {
            self.last = NO_ROW;
        }
        Some(self.at)
    }
}
