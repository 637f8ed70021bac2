//! Folding a batch into a state: rows, or partial states, found by key and then updated.
//!
//! Shared by the keyed aggregations. It never emits.

use arrow::array::{ArrayRef, RecordBatch};

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::every_row::EveryRow;
use crate::operators::expiry::Expiry;
use crate::state::accumulators::{GroupState, signs};
use crate::state::changes::{ChangeTracker, Changes};
use crate::state::group_table::GroupIndex;
use crate::state::keys::KeyPacker;

/// Rows that are found and updated together where the states are many.
const PART_ROWS: usize = 1_024;

/// Folds rows, or partial states, into group states.
#[derive(Debug)]
pub(crate) struct Folder {
    keys: Vec<usize>,
    input_is_partial: bool,
    packer: KeyPacker,
    groups: Vec<GroupIndex>,
    expiry: Option<Expiry>,
}

impl Folder {
    /// A folder for rows whose keys are in columns `keys`; partial states have them in front.
    pub fn new(keys: Vec<usize>, input_is_partial: bool, packer: KeyPacker) -> Folder {
        Folder {
            keys,
            input_is_partial,
            packer,
            groups: Vec::new(),
            expiry: None,
        }
    }

    /// The columns of the input that are keys.
    pub fn keys(&self) -> &[usize] {
        &self.keys
    }

    /// Reads the part of a snapshot's table `name` into `state`; `more` columns follow the keys.
    pub fn thaw(
        &mut self,
        name: &str,
        rows: &RecordBatch,
        more: usize,
        state: &mut GroupState,
    ) -> Result<(), ExecutionError> {
        state.thaw(name, rows, more, &mut self.packer)
    }

    /// Reads the part of a snapshot's table of ages.
    pub fn thaw_ages(&mut self, rows: &RecordBatch, state: &mut GroupState) {
        let Some(expiry) = &mut self.expiry else {
            return;
        };
        let mut groups = Vec::with_capacity(rows.num_rows());
        let keys = &rows.columns()[..self.keys.len()];
        state.find_or_insert(&mut self.packer, keys, rows.num_rows(), &mut groups);
        expiry.ages_mut().thaw(rows, &groups);
    }

    /// What groups' time to live has passed by, if they have one.
    pub fn expiry(&self) -> Option<&Expiry> {
        self.expiry.as_ref()
    }

    /// The same, for groups with a time to live.
    pub fn with_expiry(mut self, expiry: Option<Expiry>) -> Folder {
        self.expiry = expiry;
        self
    }

    /// What groups' time to live has passed by, if they have one.
    pub fn expiry_mut(&mut self) -> Option<&mut Expiry> {
        self.expiry.as_mut()
    }

    /// Folds all rows of `batch` into `state`, noting in `tracker` what changes.
    pub fn fold(
        &mut self,
        batch: &Batch,
        state: &mut GroupState,
        mut tracker: Option<&mut ChangeTracker>,
    ) -> Result<(), ExecutionError> {
        if !state.is_large() {
            return self.fold_part(batch, state, tracker);
        }
        // The states that a part has found are still near when it updates them.
        let mut at = 0;
        while at < batch.len() {
            let length = PART_ROWS.min(batch.len() - at);
            self.fold_part(&batch.slice(at, length), state, tracker.as_deref_mut())?;
            at += length;
        }
        Ok(())
    }

    fn fold_part(
        &mut self,
        batch: &Batch,
        state: &mut GroupState,
        mut tracker: Option<&mut ChangeTracker>,
    ) -> Result<(), ExecutionError> {
        let keys: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|&column| batch.column(column).clone())
            .collect();
        state.find_or_insert(&mut self.packer, &keys, batch.len(), &mut self.groups);
        let known;
        let batch = match &mut self.expiry {
            None => batch,
            Some(expiry) => {
                known = expiry.meet(batch, state, tracker.as_deref_mut(), &mut self.groups)?;
                &known
            }
        };
        if let Some(tracker) = tracker {
            tracker.touch(state, &self.groups)?;
        }
        if self.input_is_partial {
            state.merge(batch.rows(), self.keys.len(), &self.groups)
        } else {
            state.update(batch.rows(), &self.groups, signs(batch.ops()).as_deref())
        }
    }

    /// Folds all rows of `batch` into `state`; one change for each of them.
    pub fn fold_every_row(
        &mut self,
        batch: &Batch,
        state: &mut GroupState,
        tracker: &mut ChangeTracker,
        operator: &'static str,
    ) -> Result<Changes, ExecutionError> {
        let fold = EveryRow {
            keys: &self.keys,
            input_is_partial: self.input_is_partial,
            operator,
        };
        fold.fold(batch, &mut self.packer, state, tracker, self.expiry.as_mut())
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.packer.allocated_bytes()
            + self.groups.capacity() * size_of::<GroupIndex>()
            + self.expiry.as_ref().map_or(0, Expiry::allocated_bytes)
    }
}
