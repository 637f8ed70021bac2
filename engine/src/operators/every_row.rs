//! EMIT CHANGES EVERY ROW: folds a batch so that each of its rows brings one change, in input order.
//! Part of `group_aggregate` and `window_aggregate`.
//!
//! The batch is folded in rounds in which no key appears twice, so every round is one vectorised pass;
//! then the changes of all rounds are put back into the order of their rows.

use arrow::array::{Array, ArrayRef, Int8Array, UInt32Array};
use arrow::compute::{concat, take, take_record_batch};

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::expiry::Expiry;
use crate::state::accumulators::{GroupState, signs};
use crate::state::changes::{ChangeTracker, Changes};
use crate::state::group_table::GroupIndex;
use crate::state::keys::KeyPacker;

/// How rows are to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EveryRow<'a> {
    /// Their key columns.
    pub keys: &'a [usize],
    /// Whether they are partial states rather than rows.
    pub input_is_partial: bool,
    /// The operator's name in errors.
    pub operator: &'static str,
}

impl EveryRow<'_> {
    /// Folds `batch` into `state`; one change (or update pair) for each row.
    pub fn fold(
        &self,
        batch: &Batch,
        packer: &mut KeyPacker,
        state: &mut GroupState,
        tracker: &mut ChangeTracker,
        expiry: Option<&mut Expiry>,
    ) -> Result<Changes, ExecutionError> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|&key| batch.column(key).clone()).collect();
        let mut groups = Vec::new();
        state.find_or_insert(packer, &keys, batch.len(), &mut groups);
        let known;
        let batch = match expiry {
            None => batch,
            Some(expiry) => {
                known = expiry.meet(batch, state, Some(tracker), &mut groups)?;
                &known
            }
        };
        let mut rounds = Vec::new();
        for round in rounds_of(&groups, state.len()) {
            let rows = UInt32Array::from(round);
            self.fold_round(batch, &rows, &groups, state, tracker)?;
            let mut changes = tracker.drain(state)?;
            for origin in &mut changes.origins {
                *origin = rows.value(*origin as usize);
            }
            rounds.push(changes);
        }
        self.in_row_order(rounds)
    }

    fn fold_round(
        &self,
        batch: &Batch,
        rows: &UInt32Array,
        groups: &[GroupIndex],
        state: &mut GroupState,
        tracker: &mut ChangeTracker,
    ) -> Result<(), ExecutionError> {
        let part = take_record_batch(batch.rows(), rows).map_err(|error| self.failure(error))?;
        let groups: Vec<GroupIndex> = rows.values().iter().map(|&row| groups[row as usize]).collect();
        tracker.touch(state, &groups)?;
        if self.input_is_partial {
            return state.merge(&part, self.keys.len(), &groups);
        }
        let ops = batch
            .ops()
            .map(|ops| take(ops, rows, None))
            .transpose()
            .map_err(|error| self.failure(error))?;
        let ops = ops.map(|ops| Int8Array::from(ops.to_data()));
        state.update(&part, &groups, signs(ops.as_ref()).as_deref())
    }

    /// The changes of all rounds, ordered by input row; an update's rows stay adjacent.
    fn in_row_order(&self, rounds: Vec<Changes>) -> Result<Changes, ExecutionError> {
        let origins: Vec<u32> = rounds
            .iter()
            .flat_map(|changes| changes.origins.iter().copied())
            .collect();
        let groups: Vec<GroupIndex> = rounds
            .iter()
            .flat_map(|changes| changes.groups.iter().copied())
            .collect();
        let ops: Vec<i8> = rounds
            .iter()
            .flat_map(|changes| changes.ops.iter().copied())
            .collect();
        let mut order: Vec<u32> = (0..origins.len() as u32).collect();
        order.sort_by_key(|&position| origins[position as usize]);
        let calls = rounds.first().map_or(0, |changes| changes.results.len());
        let indices = UInt32Array::from(order.clone());
        let column = |call: usize| -> Result<ArrayRef, ExecutionError> {
            let parts: Vec<&dyn Array> = rounds
                .iter()
                .map(|changes| changes.results[call].as_ref())
                .collect();
            let all = concat(&parts).map_err(|error| self.failure(error))?;
            take(&all, &indices, None).map_err(|error| self.failure(error))
        };
        let results = (0..calls).map(column).collect::<Result<_, _>>()?;
        let by_order = |position: &u32| *position as usize;
        Ok(Changes {
            groups: order
                .iter()
                .map(by_order)
                .map(|position| groups[position])
                .collect(),
            results,
            ops: order.iter().map(by_order).map(|position| ops[position]).collect(),
            origins: order
                .iter()
                .map(by_order)
                .map(|position| origins[position])
                .collect(),
        })
    }

    fn failure(&self, error: impl std::fmt::Display) -> ExecutionError {
        ExecutionError::new(self.operator, error)
    }
}

/// Rows by how often their group appeared before in the batch: no group twice in a round.
fn rounds_of(groups: &[GroupIndex], count: usize) -> Vec<Vec<u32>> {
    let mut seen = vec![0usize; count];
    let mut rounds: Vec<Vec<u32>> = Vec::new();
    for (row, &group) in groups.iter().enumerate() {
        let round = seen[group as usize];
        seen[group as usize] += 1;
        if round == rounds.len() {
            rounds.push(Vec::new());
        }
        rounds[round].push(row as u32);
    }
    rounds
}
