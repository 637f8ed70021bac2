//! A snapshot of a state that is written while the state goes on changing; see `snapshot/recorder`.
//!
//! **Invariant.** The recorder hears of groups before they change.

use crate::error::ExecutionError;
use crate::snapshot::StateWriter;
use crate::state::accumulators::frozen::Shared;
use crate::state::accumulators::state::GroupState;
use crate::state::group_table::GroupIndex;

impl GroupState {
    /// Begins to write everything that it holds now; `more` follows the keys. [`GroupState::record`] goes on.
    pub(crate) fn begin_recording(
        &mut self,
        more: Shared<'_>,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        if self.recorded_with != more {
            self.recorder.forget_parts();
            self.recorded_with = more.to_vec();
        }
        self.recorder.begin(self.table.len(), into);
        self.freeze_groups(Vec::new(), more, into)?;
        if self.distinct.is_empty() {
            return Ok(());
        }
        // DISTINCT values do not lie by group: with them all is written at once.
        self.record_rest(into)?;
        self.freeze_values(more, into)
    }

    /// Writes the next groups; answers whether all are written.
    pub(crate) fn record(&mut self, into: &mut StateWriter) -> Result<bool, ExecutionError> {
        let mut recorder = std::mem::take(&mut self.recorder);
        let more = self.recorded_with.clone();
        let groups = self.len();
        let is_done = recorder.record(groups, into, |groups, into| {
            self.freeze_groups(groups, &more, into)
        });
        self.recorder = recorder;
        is_done
    }

    /// Writes all groups that are left: the state will be given up, or cannot be written in parts.
    pub(crate) fn record_rest(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        while !self.record(into)? {}
        Ok(())
    }

    /// `groups` will change: those that have not been written are.
    #[inline(always)]
    pub(super) fn note_change(&mut self, groups: &[GroupIndex]) -> Result<(), ExecutionError> {
        match self.recorder.is_active() {
            true => self.record_change(groups),
            false => Ok(()),
        }
    }

    #[inline(never)]
    fn record_change(&mut self, groups: &[GroupIndex]) -> Result<(), ExecutionError> {
        let mut recorder = std::mem::take(&mut self.recorder);
        let more = self.recorded_with.clone();
        let written = recorder.change(groups, |groups, into| self.freeze_groups(groups, &more, into));
        self.recorder = recorder;
        written
    }

    /// Whether a snapshot of it is being written.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorder.is_recording()
    }

    /// Groups `groups` are forgotten or begun anew, which no snapshot that is being written would see.
    pub(super) fn forget_recorded(&mut self, groups: &[GroupIndex]) {
        assert!(
            !self.is_recorded(),
            "invariant: a state is written whole before groups are forgotten"
        );
        let changed = self.recorder.change(groups, |_, _| Ok::<(), ExecutionError>(()));
        assert!(changed.is_ok(), "invariant: nothing is written");
    }
}
