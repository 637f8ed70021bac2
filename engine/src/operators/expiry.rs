//! The time to live of the groups of an aggregation.
//!
//! A group whose time has passed is nothing: a row that adds to it makes it anew, a row that takes back from
//! it is passed over, since what it takes was forgotten (as in Flink).
//!
//! **Invariant.** A group that changed and was not told yet never expires.

use std::collections::BTreeMap;

use arrow::array::{BooleanArray, Int8Array};
use arrow::compute::{filter, filter_record_batch};

use crate::batch::{Batch, Op};
use crate::error::ExecutionError;
use crate::state::accumulators::GroupState;
use crate::state::changes::ChangeTracker;
use crate::state::group_table::GroupIndex;
use crate::state::key_ages::KeyAges;

/// Expires the groups of one state.
#[derive(Debug)]
pub(crate) struct Expiry {
    ages: KeyAges,
    input_retracts: bool,
}

impl Expiry {
    /// Groups live for `ttl_us` microseconds after a row was added to them or taken back.
    pub fn new(ttl_us: u64, input_retracts: bool) -> Expiry {
        Expiry {
            ages: KeyAges::new(ttl_us),
            input_retracts,
        }
    }

    /// The input at hand arrived at `arrival_ns`.
    pub fn note_time(&mut self, arrival_ns: u64) {
        self.ages.note_time(arrival_ns);
    }

    /// The rows of `batch`, which are about to be folded into `groups`, are met: groups whose time has passed
    /// start anew. Answers the rows that say something of what is known, and leaves their groups.
    pub fn meet(
        &mut self,
        batch: &Batch,
        state: &mut GroupState,
        mut tracker: Option<&mut ChangeTracker>,
        groups: &mut Vec<GroupIndex>,
    ) -> Result<Batch, ExecutionError> {
        self.ages.expire(groups, |group| {
            if let Some(tracker) = tracker.as_deref_mut() {
                if tracker.is_dirty(group) {
                    return false;
                }
                tracker.reset(group);
            }
            state.reset(group);
            true
        });
        self.ages.write(groups);
        match self
            .input_retracts
            .then(|| strays(batch, state, groups))
            .flatten()
        {
            None => Ok(batch.clone()),
            Some(keep) => without_strays(batch, &keep, groups),
        }
    }

    /// Forgets some of the groups whose time has passed; nothing may be left to be told.
    pub fn sweep(&mut self, state: &mut GroupState, tracker: &mut ChangeTracker) {
        if state.has_single_group() {
            return;
        }
        self.ages.sweep(|group| {
            tracker.remove(group, state.len());
            state.remove(group);
            true
        });
        state.sweep_distinct();
    }

    /// When each group was written last.
    pub fn ages(&self) -> &KeyAges {
        &self.ages
    }

    /// The same, to take back what a snapshot says.
    pub fn ages_mut(&mut self) -> &mut KeyAges {
        &mut self.ages
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.ages.allocated_bytes()
    }
}

/// Which rows to keep, if some take back from a group without rows.
fn strays(batch: &Batch, state: &GroupState, groups: &[GroupIndex]) -> Option<Vec<bool>> {
    let ops = batch.ops()?.values();
    let adds = |&op: &i8| Op::from_code(op).is_addition();
    if ops.iter().all(adds) {
        return None;
    }
    let counts = state.row_counts(groups);
    let mut rows: BTreeMap<GroupIndex, i64> = groups.iter().copied().zip(counts).collect();
    let mut keep = Vec::with_capacity(groups.len());
    for (op, group) in ops.iter().zip(groups) {
        let count = rows.get_mut(group).expect("invariant: every group was counted");
        let is_kept = adds(op) || *count > 0;
        keep.push(is_kept);
        if is_kept {
            *count += if adds(op) { 1 } else { -1 };
        }
    }
    keep.contains(&false).then_some(keep)
}

fn without_strays(
    batch: &Batch,
    keep: &[bool],
    groups: &mut Vec<GroupIndex>,
) -> Result<Batch, ExecutionError> {
    let mut kept = keep.iter();
    groups.retain(|_| kept.next().is_some_and(|&kept| kept));
    let mask = BooleanArray::from(keep.to_vec());
    let failure = |error| ExecutionError::new("Aggregate", error);
    let rows = filter_record_batch(batch.rows(), &mask).map_err(failure)?;
    let ops = match batch.ops() {
        None => None,
        Some(ops) => Some(Int8Array::from(filter(ops, &mask).map_err(failure)?.to_data())),
    };
    Ok(Batch::new(rows, ops, batch.arrival_ns))
}
