//! A snapshot of a state that is written while the state goes on changing: some groups at a time, and a group
//! that is about to change before it does (copy on write, a group at a time).
//!
//! A page at a time would be simpler, but keys come in any order: one batch touches every page, and copying
//! them all is the pause that this is there to avoid.
//!
//! **Invariant.** What is written is the state as of the beginning: every group that was there then, once, as it
//! was.

use crate::error::ExecutionError;
use crate::limits::RECORDED_GROUPS_MAX;
use crate::snapshot::StateWriter;
use crate::state::accumulators::frozen::Shared;
use crate::state::accumulators::state::GroupState;
use crate::state::group_table::GroupIndex;

/// How far the writing of a state has come.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The caller's columns, behind the keys.
    more: Vec<(&'static str, i64)>,
    /// Groups that were there when it began have lower numbers.
    until: usize,
    /// Groups with lower numbers are written.
    next: usize,
    /// A bit for each group that was written before its turn.
    early: Vec<u64>,
    /// What was written before its turn.
    written: StateWriter,
}

impl Recording {
    fn is_early(&self, group: GroupIndex) -> bool {
        self.early[group as usize / 64] & 1 << (group % 64) != 0
    }

    /// Those of `groups` that must be written before they change, each once.
    fn claim(&mut self, groups: &[GroupIndex]) -> Vec<GroupIndex> {
        let mut claimed = Vec::new();
        for &group in groups {
            let is_pending = (self.next..self.until).contains(&(group as usize));
            if is_pending && !self.is_early(group) {
                self.early[group as usize / 64] |= 1 << (group % 64);
                claimed.push(group);
            }
        }
        claimed
    }
}

impl GroupState {
    /// Begins to write everything that it holds now; `more` follows the keys. [`GroupState::record`] goes on.
    pub(crate) fn begin_recording(
        &mut self,
        more: Shared<'_>,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        self.assert_not_recorded();
        self.recording = Some(Box::new(Recording {
            more: more.to_vec(),
            until: self.len(),
            next: 0,
            early: vec![0; self.len().div_ceil(64)],
            written: StateWriter::new(),
        }));
        if self.distinct.is_empty() {
            return self.freeze_groups(Vec::new(), more, into);
        }
        // DISTINCT values do not lie by group: with them all is written at once.
        self.record_rest(into)?;
        self.freeze_values(more, into)
    }

    /// Writes the next groups; answers whether all are written.
    pub(crate) fn record(&mut self, into: &mut StateWriter) -> Result<bool, ExecutionError> {
        let Some(mut recording) = self.recording.take() else {
            return Ok(true);
        };
        into.append(std::mem::take(&mut recording.written));
        let end = recording.until.min(recording.next + RECORDED_GROUPS_MAX);
        let groups = recording.next as GroupIndex..end as GroupIndex;
        let groups = groups.filter(|&group| !recording.is_early(group)).collect();
        self.freeze_groups(groups, &recording.more, into)?;
        recording.next = end;
        if end == recording.until {
            return Ok(true);
        }
        self.recording = Some(recording);
        Ok(false)
    }

    /// Writes all groups that are left: the state will be given up, or cannot be written in parts.
    pub(crate) fn record_rest(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        while !self.record(into)? {}
        Ok(())
    }

    /// Writes those of `groups` that have not been written: they will change.
    #[inline(always)]
    pub(super) fn record_early(&mut self, groups: &[GroupIndex]) -> Result<(), ExecutionError> {
        match &self.recording {
            None => Ok(()),
            Some(_) => self.record_claimed(groups),
        }
    }

    #[cold]
    fn record_claimed(&mut self, groups: &[GroupIndex]) -> Result<(), ExecutionError> {
        let Some(mut recording) = self.recording.take() else {
            return Ok(());
        };
        let claimed = recording.claim(groups);
        if !claimed.is_empty() {
            self.freeze_groups(claimed, &recording.more, &mut recording.written)?;
        }
        self.recording = Some(recording);
        Ok(())
    }

    /// Whether a snapshot of it is being written.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    pub(super) fn assert_not_recorded(&self) {
        assert!(
            self.recording.is_none(),
            "invariant: a state is written whole before groups are forgotten"
        );
    }
}
