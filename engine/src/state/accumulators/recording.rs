//! A snapshot of a state that is written while the state goes on changing: a chunk of groups at a time, and a
//! group that is about to change before it does (copy on write, a group at a time). A chunk in which nothing
//! has changed since it was last written is not written again, but kept.
//!
//! Copying a chunk at a time would be simpler, but keys come in any order: one batch touches every chunk, and
//! copying them all is the pause that this is there to avoid.
//!
//! **Invariant.** What is written or kept is the state as of the beginning: every group that was there then,
//! once, as it was.

use crate::error::ExecutionError;
use crate::limits::RECORDED_GROUPS_MAX;
use crate::snapshot::{PartNumber, StateWriter};
use crate::state::accumulators::frozen::Shared;
use crate::state::accumulators::state::GroupState;
use crate::state::group_table::GroupIndex;

/// Groups of a chunk.
const CHUNK_GROUPS: usize = RECORDED_GROUPS_MAX;

/// What is known of earlier snapshots, and how far the writing of one has come.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// By chunk, the part of a snapshot that its groups are as they were written in.
    parts: Vec<Option<PartNumber>>,
    /// The caller's columns, behind the keys.
    more: Vec<(&'static str, i64)>,
    recording: Option<Recording>,
}

/// How far the writing of a state has come.
#[derive(Debug)]
struct Recording {
    /// Groups that were there when it began have lower numbers.
    until: usize,
    /// Chunks with lower numbers are written.
    next: usize,
    /// By chunk, whether it is kept or written.
    done: Vec<bool>,
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
            let place = group as usize;
            if place < self.until && !self.done[place / CHUNK_GROUPS] && !self.is_early(group) {
                self.early[place / 64] |= 1 << (group % 64);
                claimed.push(group);
            }
        }
        claimed
    }

    /// The next chunk to write.
    fn next_chunk(&mut self) -> Option<usize> {
        let open = self.done[self.next..].iter().position(|&done| !done)?;
        self.next += open + 1;
        self.done[self.next - 1] = true;
        Some(self.next - 1)
    }
}

impl GroupState {
    /// Begins to write everything that it holds now; `more` follows the keys. [`GroupState::record`] goes on.
    pub(crate) fn begin_recording(
        &mut self,
        more: Shared<'_>,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        assert!(
            !self.is_recorded(),
            "invariant: one snapshot is written at a time"
        );
        let chunks = self.len().div_ceil(CHUNK_GROUPS);
        if self.recorder.more != more {
            self.recorder.parts.clear();
            self.recorder.more = more.to_vec();
        }
        let parts = &mut self.recorder.parts;
        parts.resize(chunks, None);
        parts.iter().flatten().for_each(|&part| into.keep(part));
        self.recorder.recording = Some(Recording {
            until: self.table.len(),
            next: 0,
            done: parts.iter().map(Option::is_some).collect(),
            early: vec![0; self.table.len().div_ceil(64)],
            written: StateWriter::new(),
        });
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
        let Some(mut recording) = self.recorder.recording.take() else {
            return Ok(true);
        };
        into.append(std::mem::take(&mut recording.written));
        let Some(chunk) = recording.next_chunk() else {
            return Ok(true);
        };
        let first = chunk * CHUNK_GROUPS;
        let end = recording.until.min(first + CHUNK_GROUPS);
        let groups = first as GroupIndex..end as GroupIndex;
        let groups: Vec<GroupIndex> = groups.filter(|&group| !recording.is_early(group)).collect();
        // Groups that changed or came since it began are not in the part as they are now.
        let is_whole = groups.len() == end - first && end == self.len().min(first + CHUNK_GROUPS);
        let more = self.recorder.more.clone();
        let part = into.together(|into| self.freeze_groups(groups, &more, into))?;
        self.recorder.parts[chunk] = part.filter(|_| is_whole);
        self.recorder.recording = Some(recording);
        Ok(false)
    }

    /// Writes all groups that are left: the state will be given up, or cannot be written in parts.
    pub(crate) fn record_rest(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        while !self.record(into)? {}
        Ok(())
    }

    /// `groups` will change: those that have not been written are.
    #[inline(always)]
    pub(super) fn note_change(&mut self, groups: &[GroupIndex]) -> Result<(), ExecutionError> {
        match self.recorder.parts.is_empty() {
            true => Ok(()),
            false => self.record_change(groups),
        }
    }

    #[inline(never)]
    fn record_change(&mut self, groups: &[GroupIndex]) -> Result<(), ExecutionError> {
        self.forget_parts(groups);
        let Some(mut recording) = self.recorder.recording.take() else {
            return Ok(());
        };
        let claimed = recording.claim(groups);
        if !claimed.is_empty() {
            let more = self.recorder.more.clone();
            self.freeze_groups(claimed, &more, &mut recording.written)?;
        }
        self.recorder.recording = Some(recording);
        Ok(())
    }

    /// The chunks of `groups` are not any more what was written of them.
    pub(super) fn forget_parts(&mut self, groups: &[GroupIndex]) {
        let parts = &mut self.recorder.parts;
        for &group in groups {
            // A group that came since belongs to no chunk yet, or to the last one.
            if let Some(part) = parts.get_mut(group as usize / CHUNK_GROUPS) {
                *part = None;
            }
        }
    }

    pub(super) fn assert_not_recorded(&self) {
        assert!(
            !self.is_recorded(),
            "invariant: a state is written whole before groups are forgotten"
        );
    }

    /// Whether a snapshot of it is being written.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorder.recording.is_some()
    }
}
