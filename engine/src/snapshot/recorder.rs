//! A snapshot of keyed state that is written while the state goes on changing: a chunk of groups at a time, and a
//! group that is about to change before it does (copy on write, a group at a time). A chunk in which nothing
//! has changed since it was last written is not written again, but kept.
//!
//! Copying a chunk at a time would be simpler, but keys come in any order: one batch touches every chunk, and
//! copying them all is the pause that this is there to avoid.
//!
//! The recorder keeps the books; what a group's rows are is its owner's business, who tells it of every change
//! before it makes it.
//!
//! **Invariant.** What is written or kept is the state as of the beginning: every group that was there then,
//! once, as it was.

use crate::limits::{RECORDED_CHUNKS_MAX, RECORDED_GROUPS_MAX};
use crate::snapshot::{PartNumber, StateWriter};
use crate::state::group_table::{GroupIndex, NO_GROUP};

/// Groups of a chunk.
const CHUNK_GROUPS: usize = RECORDED_GROUPS_MAX;
/// A state is written in so many steps, if that takes no more than [`RECORDED_CHUNKS_MAX`] chunks a step: of a large
/// one more at once, so that fewer of its groups change before their turn and are gathered from all over it.
const STEPS: usize = 64;

/// What is known of earlier snapshots, and how far the writing of one has come.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// By chunk, the part of a snapshot that its groups are as they were written in.
    parts: Vec<Option<PartNumber>>,
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

    /// The groups of a chunk that were not written before their turn; and whether they are all that it has now,
    /// of `groups` groups, so that a part with them holds the chunk as it is.
    fn groups_left(&self, chunk: usize, groups: usize) -> (Vec<GroupIndex>, bool) {
        let first = chunk * CHUNK_GROUPS;
        let end = self.until.min(first + CHUNK_GROUPS);
        let all = first as GroupIndex..end as GroupIndex;
        let left: Vec<GroupIndex> = all.filter(|&group| !self.is_early(group)).collect();
        let is_whole = left.len() == end - first && end == groups.min(first + CHUNK_GROUPS);
        (left, is_whole)
    }
}

impl Recorder {
    /// Begins to write all of `groups` groups; [`Recorder::record`] goes on.
    pub fn begin(&mut self, groups: usize, into: &mut StateWriter) {
        assert!(
            !self.is_recording(),
            "invariant: one snapshot is written at a time"
        );
        self.parts.resize(groups.div_ceil(CHUNK_GROUPS), None);
        self.parts.iter().flatten().for_each(|&part| into.keep(part));
        self.recording = Some(Recording {
            until: groups,
            next: 0,
            done: self.parts.iter().map(Option::is_some).collect(),
            early: vec![0; groups.div_ceil(64)],
            written: StateWriter::new(),
        });
    }

    /// Writes the next groups of the `groups` that there are now by `write`; answers whether all are written.
    pub fn record<E>(
        &mut self,
        groups: usize,
        into: &mut StateWriter,
        mut write: impl FnMut(Vec<GroupIndex>, &mut StateWriter) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(recording) = &mut self.recording else {
            return Ok(true);
        };
        into.append(std::mem::take(&mut recording.written));
        let chunks = recording.done.len().div_ceil(STEPS).clamp(1, RECORDED_CHUNKS_MAX);
        for _ in 0..chunks {
            let Some(chunk) = recording.next_chunk() else {
                self.recording = None;
                return Ok(true);
            };
            let (left, is_whole) = recording.groups_left(chunk, groups);
            let part = into.together(|into| write(left, into))?;
            self.parts[chunk] = part.filter(|_| is_whole);
        }
        Ok(false)
    }

    /// `groups` will change: `write` gets those that have not been written.
    #[inline(always)]
    pub fn change<E>(
        &mut self,
        groups: &[GroupIndex],
        write: impl FnOnce(Vec<GroupIndex>, &mut StateWriter) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.parts.is_empty() {
            true => Ok(()),
            false => self.note_change(groups, write),
        }
    }

    #[inline(never)]
    fn note_change<E>(
        &mut self,
        groups: &[GroupIndex],
        write: impl FnOnce(Vec<GroupIndex>, &mut StateWriter) -> Result<(), E>,
    ) -> Result<(), E> {
        for &group in groups {
            // A group that came since belongs to no chunk yet, or to the last one.
            if group != NO_GROUP
                && let Some(part) = self.parts.get_mut(group as usize / CHUNK_GROUPS)
            {
                *part = None;
            }
        }
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        let claimed = recording.claim(groups);
        match claimed.is_empty() {
            true => Ok(()),
            false => write(claimed, &mut recording.written),
        }
    }

    /// Whether changes matter to it.
    pub fn is_active(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Whether a snapshot is being written.
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Groups get other numbers, or other columns stand beside them: nothing that was written can be kept.
    pub fn forget_parts(&mut self) {
        assert!(
            !self.is_recording(),
            "invariant: a state is written whole before its groups are renumbered"
        );
        self.parts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_large_state_several_chunks_are_written_at_once() {
        for (chunks, at_once) in [
            (1, 1),
            (STEPS, 1),
            (3 * STEPS - 1, 3),
            (40 * STEPS, RECORDED_CHUNKS_MAX),
        ] {
            let groups = chunks * CHUNK_GROUPS - 1;
            let (mut recorder, mut into) = (Recorder::default(), StateWriter::new());
            recorder.begin(groups, &mut into);
            let mut written = Vec::new();
            let mut is_done = false;
            while !is_done {
                let before = written.len();
                let write = |groups: Vec<GroupIndex>, _: &mut StateWriter| {
                    written.extend(groups);
                    Ok::<(), ()>(())
                };
                is_done = recorder.record(groups, &mut into, write).expect("nothing fails");
                assert!(written.len() - before <= at_once * CHUNK_GROUPS);
                assert!(
                    is_done || written.len() == groups || written.len() - before == at_once * CHUNK_GROUPS
                );
            }
            assert!(written.into_iter().eq(0..groups as GroupIndex), "each once");
        }
    }
}
