//! Which groups changed since the last flush, and what was last said of them.
//!
//! The dirty list with pre-images: the first touch of a group after a flush notes the group and
//! evaluates its old result, so that a flush says each changed key once, however often it changed.
//!
//! **Invariant.** Folding all changes ever drained gives, for each live group, its result at the
//! last drain. A group is in the dirty list at most once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array, RecordBatch};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, interleave};
use arrow::datatypes::SchemaRef;

use crate::batch::Op;
use crate::error::ExecutionError;
use crate::state::accumulators::{GATHERED_GROUPS, GroupState};
use crate::state::group_table::GroupIndex;

const DIRTY: u8 = 1;
const EMITTED: u8 = 2;

/// The old result of a dirty group: the chunk and the row in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OldRow {
    chunk: u32,
    row: u32,
}

/// Nothing was said of the group yet.
const NEVER: OldRow = OldRow {
    chunk: u32::MAX,
    row: u32::MAX,
};

/// What an operator wants to know of its changes.
#[derive(Clone, Copy, Debug)]
pub struct ChangeOptions {
    /// Say the old row before the new one.
    pub emit_update_before: bool,
    /// Say nothing where the new result equals the old.
    pub elide_unchanged: bool,
    /// A group without rows is deleted; otherwise every group lives for ever.
    pub deletes: bool,
}

/// Changes in the order of the groups' first touch; an update's two rows are adjacent.
#[derive(Debug)]
pub struct Changes {
    /// The group of each row.
    pub groups: Vec<GroupIndex>,
    /// One column per call.
    pub results: Vec<ArrayRef>,
    /// What each row says.
    pub ops: Vec<i8>,
    /// The position of each row's group in the order of first touch.
    pub origins: Vec<u32>,
}

/// The dirty list of one group state.
#[derive(Debug)]
pub struct ChangeTracker {
    options: ChangeOptions,
    flags: Vec<u8>,
    dirty: Vec<GroupIndex>,
    /// For each dirty group its old result in `old`, or [`NEVER`]; rising.
    previous: Vec<OldRow>,
    /// Old results in chunks of columns, of up to [`GATHERED_GROUPS`] rows.
    old: Vec<Vec<ArrayRef>>,
}

impl ChangeTracker {
    /// A tracker that has seen no change.
    pub fn new(options: ChangeOptions) -> ChangeTracker {
        ChangeTracker {
            options,
            flags: Vec::new(),
            dirty: Vec::new(),
            previous: Vec::new(),
            old: Vec::new(),
        }
    }

    /// Takes it that everything in `state` has been said, as it has behind a barrier.
    pub fn restore(&mut self, state: &GroupState) {
        assert!(
            self.is_clean(),
            "invariant: state is restored before anything else"
        );
        let groups: Vec<GroupIndex> = (0..state.len() as GroupIndex).collect();
        self.flags = match self.options.deletes {
            false => vec![EMITTED; groups.len()],
            true => {
                let counts = state.row_counts(&groups).into_iter();
                counts.map(|count| if count > 0 { EMITTED } else { 0 }).collect()
            }
        };
    }

    /// Whether nothing changed since the last drain.
    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty()
    }

    /// The number of groups that changed since the last drain.
    pub fn dirty(&self) -> usize {
        self.dirty.len()
    }

    /// Whether `group` changed since the last drain.
    pub fn is_dirty(&self, group: GroupIndex) -> bool {
        self.flags
            .get(group as usize)
            .is_some_and(|flags| flags & DIRTY != 0)
    }

    /// Nothing was said of `group` yet, as far as whoever comes next is concerned.
    pub fn reset(&mut self, group: GroupIndex) {
        assert!(!self.is_dirty(group), "invariant: what changed is told first");
        if let Some(flags) = self.flags.get_mut(group as usize) {
            *flags = 0;
        }
    }

    /// Forgets `group` of `groups`; the last one has its number from now on.
    pub fn remove(&mut self, group: GroupIndex, groups: usize) {
        assert!(self.is_clean(), "invariant: what changed is told first");
        self.flags.resize(groups.max(self.flags.len()), 0);
        self.flags.truncate(groups);
        self.flags.swap_remove(group as usize);
    }

    /// Notes that `groups` are about to be updated; must come before the update.
    pub fn touch(&mut self, state: &mut GroupState, groups: &[GroupIndex]) -> Result<(), ExecutionError> {
        self.flags.resize(state.len().max(self.flags.len()), 0);
        let flags = self.flags.as_slice();
        if groups.iter().all(|&group| flags[group as usize] & DIRTY != 0) {
            return Ok(());
        }
        let wants_old =
            self.options.emit_update_before || self.options.elide_unchanged || self.options.deletes;
        let mut read = Vec::new();
        let chunks = self.old.len();
        for &group in groups {
            let flags = &mut self.flags[group as usize];
            if *flags & DIRTY != 0 {
                continue;
            }
            let was_emitted = *flags & EMITTED != 0;
            *flags |= DIRTY;
            self.dirty.push(group);
            if was_emitted {
                self.previous.push(OldRow {
                    chunk: (chunks + read.len() / GATHERED_GROUPS) as u32,
                    row: (read.len() % GATHERED_GROUPS) as u32,
                });
                read.push(group);
            } else {
                self.previous.push(NEVER);
            }
        }
        if wants_old {
            for part in read.chunks(GATHERED_GROUPS) {
                self.old.push(state.evaluate(part)?);
            }
        }
        Ok(())
    }

    /// The changes since the last drain; the tracker is clean afterwards.
    pub fn drain(&mut self, state: &mut GroupState) -> Result<Changes, ExecutionError> {
        assert!(!self.is_clean(), "invariant: only changes are drained");
        let dirty = std::mem::take(&mut self.dirty);
        let previous = std::mem::take(&mut self.previous);
        let old = std::mem::take(&mut self.old);
        let parts = dirty.chunks(GATHERED_GROUPS);
        let new: Result<Vec<_>, _> = parts.map(|part| state.evaluate(part)).collect();
        let results = ResultChunks { old, new: new? };
        let counts = self.options.deletes.then(|| state.row_counts(&dirty));
        let is_changed = self.changed(&previous, &results)?;
        let mut changes = Changes {
            groups: Vec::new(),
            results: Vec::new(),
            ops: Vec::new(),
            origins: Vec::new(),
        };
        let mut sources: Vec<Source> = Vec::with_capacity(dirty.len() * 2);
        for (position, (&group, &previous)) in dirty.iter().zip(&previous).enumerate() {
            let is_live = counts.as_ref().is_none_or(|counts| counts[position] > 0);
            let was_emitted = previous != NEVER;
            let mut say = |op: Op, source: Source| {
                changes.groups.push(group);
                changes.ops.push(op.code());
                changes.origins.push(position as u32);
                sources.push(source);
            };
            let (old_row, new_row) = (previous.source(), results.source_of_new(position));
            match (was_emitted, is_live) {
                (false, true) => say(Op::Insert, new_row),
                (true, false) => say(Op::Delete, old_row),
                (true, true) if is_changed.as_ref().is_none_or(|changed| changed[position]) => {
                    if self.options.emit_update_before {
                        say(Op::UpdateBefore, old_row);
                    }
                    say(Op::UpdateAfter, new_row);
                }
                (true, true) | (false, false) => {}
            }
            self.flags[group as usize] = if is_live { EMITTED } else { 0 };
        }
        changes.results = results.gather(&sources)?;
        Ok(changes)
    }

    /// For each dirty group whether its new result differs from the old; `None` where that is not asked.
    fn changed(
        &self,
        previous: &[OldRow],
        results: &ResultChunks,
    ) -> Result<Option<Vec<bool>>, ExecutionError> {
        if !self.options.elide_unchanged {
            return Ok(None);
        }
        let told = || previous.iter().enumerate().filter(|&(_, &row)| row != NEVER);
        let old: Vec<Source> = told().map(|(_, row)| row.source()).collect();
        let new: Vec<Source> = told()
            .map(|(position, _)| results.source_of_new(position))
            .collect();
        let mut equal = BooleanArray::from(vec![true; old.len()]);
        for (old, new) in results.gather(&old)?.iter().zip(results.gather(&new)?) {
            let compared = not_distinct(old, &new);
            match compared.and_then(|compared| and(&equal, &compared)) {
                Ok(both) => equal = both,
                // Nested types have no comparison kernel: every touch counts as a change.
                Err(_) => equal = BooleanArray::from(vec![false; equal.len()]),
            }
        }
        let mut changed = vec![true; previous.len()];
        for ((position, _), equal) in told().zip(equal.iter()) {
            changed[position] = equal == Some(false);
        }
        Ok(Some(changed))
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let old = self
            .old
            .iter()
            .flatten()
            .map(|column| column.get_array_memory_size());
        self.flags.capacity()
            + self.dirty.capacity() * size_of::<GroupIndex>()
            + self.previous.capacity() * size_of::<OldRow>()
            + old.sum::<usize>()
    }
}

/// Where a result lies: chunk, old ones before new ones, and row.
type Source = (usize, usize);

impl OldRow {
    fn source(self) -> Source {
        (self.chunk as usize, self.row as usize)
    }
}

/// Results in chunks of one column per call: those of dirty groups before they changed, and now.
struct ResultChunks {
    old: Vec<Vec<ArrayRef>>,
    new: Vec<Vec<ArrayRef>>,
}

impl ResultChunks {
    /// The new result of the dirty group at `position`.
    fn source_of_new(&self, position: usize) -> Source {
        (
            self.old.len() + position / GATHERED_GROUPS,
            position % GATHERED_GROUPS,
        )
    }

    /// The results at `sources`, one column per call.
    fn gather(&self, sources: &[Source]) -> Result<Vec<ArrayRef>, ExecutionError> {
        let calls = self.new.first().map_or(0, Vec::len);
        let column = |call: usize| {
            let chunks = self.old.iter().chain(&self.new);
            let chunks: Vec<&dyn Array> = chunks.map(|chunk| chunk[call].as_ref()).collect();
            interleave(&chunks, sources).map_err(|error| ExecutionError::new("Aggregate", error))
        };
        (0..calls).map(column).collect()
    }
}

impl Changes {
    /// The rows (keys, results, then `more` columns) and their ops.
    pub fn into_rows(
        self,
        state: &GroupState,
        schema: &SchemaRef,
        more: Vec<ArrayRef>,
    ) -> Result<(RecordBatch, Int8Array), ExecutionError> {
        let mut columns = state.keys(&self.groups);
        columns.extend(self.results);
        columns.extend(more);
        let rows = rows_of(schema, columns, self.ops.len())?;
        Ok((rows, Int8Array::from(self.ops)))
    }
}

/// A batch of `rows` rows of `columns`, which may be none.
pub fn rows_of(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, ExecutionError> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| ExecutionError::new("Aggregate", error))
}
