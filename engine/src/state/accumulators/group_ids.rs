//! What DISTINCT sets know groups by, where groups are forgotten one at a time: a number that no other group
//! ever has, so that the values of a forgotten group, which go later, are never those of another.
//!
//! **Invariant.** `of` has one id per group; `live` holds exactly those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};

use crate::state::group_table::GroupIndex;

/// The ids of the groups of one state.
#[derive(Debug, Default)]
pub(crate) struct GroupIds {
    of: Vec<u64>,
    live: BTreeSet<u64>,
    next: u64,
}

impl GroupIds {
    fn take_next(&mut self) -> u64 {
        self.next += 1;
        self.live.insert(self.next);
        self.next
    }

    /// Makes ids up to `groups`.
    pub fn grow(&mut self, groups: usize) {
        while self.of.len() < groups {
            let id = self.take_next();
            self.of.push(id);
        }
    }

    /// `group` starts anew.
    pub fn reset(&mut self, group: GroupIndex) {
        self.live.remove(&self.of[group as usize]);
        self.of[group as usize] = self.take_next();
    }

    /// Forgets `group`; the last one has its number from now on.
    pub fn remove(&mut self, group: GroupIndex) {
        let id = self.of.swap_remove(group as usize);
        self.live.remove(&id);
    }

    /// The ids of `groups`.
    pub fn column(&self, groups: &[GroupIndex]) -> ArrayRef {
        let ids = groups.iter().map(|&group| self.of[group as usize]);
        Arc::new(UInt64Array::from_iter_values(ids))
    }

    /// The groups by their ids.
    pub fn groups(&self) -> BTreeMap<u64, GroupIndex> {
        self.of.iter().copied().zip(0..).collect()
    }

    /// Whether the group with this id is still there.
    pub fn is_live(&self, id: u64) -> bool {
        self.live.contains(&id)
    }

    /// Bytes allocated, estimated for the nodes of the set.
    pub fn allocated_bytes(&self) -> usize {
        self.of.capacity() * size_of::<u64>() + self.live.len() * size_of::<u64>() * 3 / 2
    }
}
