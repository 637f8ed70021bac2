//! Hopping and cumulating windows over shared slices: a row goes into one slice; when a window ends its
//! slices are merged. Part of `window_aggregate`.
//!
//! Up to [`MERGED_SLICES_MAX`] slices, and where states cannot be taken back (extremes, float sums), a
//! hop merges all slices of a window anew. Otherwise one running state gains the newest slice and loses
//! the oldest (subtract-on-evict, on whole tables). A cumulating window keeps a running state that only
//! gains, so its slices go once merged. Two stacks of tables for long hops of extremes are not built.
//!
//! **Invariant.** Merging and emitting advance by quanta of groups. While a window fires, no row is added
//! (the operator holds rows back), so every window sees exactly the rows that came before its watermark.

use std::collections::{BTreeMap, VecDeque};

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::folder::Folder;
use crate::operators::slices::SliceAssigner;
use crate::operators::window_parts::{MERGED_SLICES_MAX, SliceId, WindowRows, window_columns};
use crate::operators::{FIRING_QUANTUM_ROWS, Output};
use crate::snapshot::StateWriter;
use crate::state::accumulators::GroupState;
use crate::state::group_table::GroupIndex;
use crate::time::EventTimeUs;

/// Groups that left a running state before it is worth rebuilding.
const EMPTY_GROUPS_MIN: usize = 1_024;

/// How a window is put together from its slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merging {
    /// All slices anew for each window.
    Anew,
    /// Gains the newest slice, loses the oldest.
    Running,
    /// Only gains, until the start changes.
    Growing,
}

/// A slice that is being merged: which, whether it is taken away, and its next group.
#[derive(Clone, Copy, Debug)]
struct Step {
    slice: EventTimeUs,
    subtract: bool,
    next: usize,
}

/// The window that fires.
#[derive(Debug)]
struct FiringWindow {
    id: SliceId,
    steps: VecDeque<Step>,
    next: usize,
    emitted: usize,
}

/// Open slices and the state of the window that fired last.
#[derive(Debug)]
pub(crate) struct SharedWindows {
    assigner: SliceAssigner,
    merging: Merging,
    slices: BTreeMap<EventTimeUs, GroupState>,
    merged: GroupState,
    /// The window whose slices `merged` holds.
    merged_window: Option<SliceId>,
    /// Windows ending at or before this have fired, or never will.
    fired_until: EventTimeUs,
    firing: Option<FiringWindow>,
    /// What was written of states that were given up before their snapshot was whole.
    recorded: StateWriter,
}

impl SharedWindows {
    /// No slice; `merged` is an empty state of the operator.
    pub fn new(assigner: SliceAssigner, merged: GroupState) -> SharedWindows {
        let layout = merged.layout();
        let merging = if assigner.is_cumulative() {
            Merging::Growing
        } else if assigner.slices_per_window() > MERGED_SLICES_MAX && layout.is_invertible() {
            Merging::Running
        } else {
            Merging::Anew
        };
        SharedWindows {
            assigner,
            merging,
            slices: BTreeMap::new(),
            merged,
            merged_window: None,
            fired_until: EventTimeUs::MIN,
            firing: None,
            recorded: StateWriter::new(),
        }
    }

    /// Folds rows of one slice in: into the slice, and into the running state if that holds it.
    pub fn fold(
        &mut self,
        slice: EventTimeUs,
        batch: &Batch,
        folder: &mut Folder,
        make: impl FnOnce() -> GroupState,
    ) -> Result<(), ExecutionError> {
        assert!(
            self.firing.is_none(),
            "invariant: rows are held back while a window fires"
        );
        let is_merged = self
            .merged_window
            .is_some_and(|(end, start)| start < slice && slice <= end);
        if is_merged && self.merging != Merging::Anew {
            folder.fold(batch, &mut self.merged, None)?;
            if self.merging == Merging::Growing {
                return Ok(());
            }
        }
        folder.fold(batch, self.slices.entry(slice).or_insert_with(make), None)
    }

    /// The next window to fire that has rows, or may have.
    fn next_window(&self) -> Option<EventTimeUs> {
        let mut slices = self.slices.keys();
        let of_slices = slices.find_map(|&slice| self.assigner.first_open_window(slice, self.fired_until));
        let grown = self.merged_window.filter(|_| self.merging == Merging::Growing);
        let of_grown = grown.and_then(|(end, _)| self.assigner.first_open_window(end, self.fired_until));
        of_slices.into_iter().chain(of_grown).min()
    }

    /// Emits about a quantum of the windows ending at or before `closed_until`; whether all are out.
    pub fn fire(
        &mut self,
        closed_until: EventTimeUs,
        rows: &WindowRows,
        out: &mut Output,
    ) -> Result<bool, ExecutionError> {
        let mut budget = FIRING_QUANTUM_ROWS;
        loop {
            if self.firing.is_none() {
                match self.next_window() {
                    Some(end) if end <= closed_until => self.begin(end)?,
                    _ => {
                        self.fired_until = self.fired_until.max(closed_until);
                        return Ok(true);
                    }
                }
            }
            self.merge(&mut budget)?;
            self.emit(&mut budget, rows, out)?;
            if budget == 0 {
                return Ok(false);
            }
        }
    }

    /// Plans which slices window `end` gains and loses.
    fn begin(&mut self, end: EventTimeUs) -> Result<(), ExecutionError> {
        let start = self.assigner.window_start(end);
        let kept = self
            .merged_window
            .filter(|&(merged_end, merged_start)| match self.merging {
                Merging::Anew => false,
                Merging::Running => start < merged_end,
                Merging::Growing => start == merged_start,
            });
        let mut steps = VecDeque::new();
        let mut plan = |from: EventTimeUs, to: EventTimeUs, subtract: bool| {
            let slices = self
                .slices
                .range(from.saturating_add(1)..=to.max(from.saturating_add(1)));
            let slices = slices.filter(|&(&slice, _)| slice <= to);
            steps.extend(slices.map(|(&slice, _)| Step {
                slice,
                subtract,
                next: 0,
            }));
        };
        match kept {
            Some((merged_end, merged_start)) => {
                plan(merged_start, start, true);
                plan(merged_end, end, false);
            }
            None => {
                plan(start, end, false);
                self.merged.record_rest(&mut self.recorded)?;
                self.merged.clear();
            }
        }
        self.merged_window = Some((end, start));
        self.firing = Some(FiringWindow {
            id: (end, start),
            steps,
            next: 0,
            emitted: 0,
        });
        Ok(())
    }

    /// Merges planned slices while the budget lasts.
    fn merge(&mut self, budget: &mut usize) -> Result<(), ExecutionError> {
        let Some(firing) = &mut self.firing else {
            return Ok(());
        };
        while *budget > 0
            && let Some(step) = firing.steps.front_mut()
        {
            let slice = self
                .slices
                .get(&step.slice)
                .expect("invariant: a planned slice is open");
            let end = slice.len().min(step.next + *budget);
            let groups: Vec<GroupIndex> = (step.next as GroupIndex..end as GroupIndex).collect();
            self.merged.combine(slice, &groups, step.subtract)?;
            *budget -= end - step.next;
            step.next = end;
            if end == slice.len() {
                let done = step.slice;
                // A growing window never reads a merged slice again, nor a running one what it lost.
                if step.subtract || self.merging == Merging::Growing {
                    give_up(self.slices.remove(&done), &mut self.recorded)?;
                }
                firing.steps.pop_front();
            }
        }
        Ok(())
    }

    /// Emits merged groups while the budget lasts; ends the firing with the last one.
    fn emit(
        &mut self,
        budget: &mut usize,
        rows: &WindowRows,
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        let Some(firing) = self.firing.as_mut().filter(|firing| firing.steps.is_empty()) else {
            return Ok(());
        };
        let groups = self.merged.len();
        let end = groups.min(firing.next + *budget);
        firing.emitted += rows.emit(&mut self.merged, firing.id, firing.next..end, out)?;
        *budget -= end - firing.next;
        firing.next = end;
        if end < groups {
            return Ok(());
        }
        let (window_end, _) = firing.id;
        let is_sparse = groups - firing.emitted > EMPTY_GROUPS_MIN.max(firing.emitted);
        self.firing = None;
        self.fired_until = self.fired_until.max(window_end);
        if self.merging == Merging::Running && is_sparse {
            // More groups have left than are there: the next window is merged anew.
            self.merged_window = None;
        }
        self.drop_slices()
    }

    /// Drops slices that no window to come reads and the running state does not hold.
    fn drop_slices(&mut self) -> Result<(), ExecutionError> {
        let held = self.merged_window.filter(|_| self.merging == Merging::Running);
        while let Some((&slice, _)) = self.slices.first_key_value() {
            let is_held = held.is_some_and(|(end, start)| start < slice && slice <= end);
            if is_held || self.assigner.last_window(slice) > self.fired_until {
                return Ok(());
            }
            let dropped = self.slices.pop_first();
            give_up(dropped.map(|(_, state)| state), &mut self.recorded)?;
        }
        Ok(())
    }

    /// Begins to write every slice; what a growing window has merged counts as its newest slice. A running state is put
    /// together from its slices again.
    pub fn begin_recording(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        assert!(self.firing.is_none(), "invariant: no window fires at a barrier");
        for (&slice, state) in &mut self.slices {
            state.begin_recording(&window_columns((slice, slice)), into)?;
        }
        let grown = self.merged_window.filter(|_| self.merging == Merging::Growing);
        match grown.filter(|&(end, _)| self.assigner.last_window(end) > self.fired_until) {
            Some((end, _)) => self.merged.begin_recording(&window_columns((end, end)), into),
            None => Ok(()),
        }
    }

    /// Writes a quantum more, of the slice that goes first; answers whether all is written.
    pub fn record(&mut self, into: &mut StateWriter) -> Result<bool, ExecutionError> {
        into.append(std::mem::take(&mut self.recorded));
        let mut states = self.slices.values_mut().chain([&mut self.merged]);
        match states.find(|state| state.is_recorded()) {
            Some(state) => state.record(into).map(|_| false),
            None => Ok(true),
        }
    }

    /// The state of slice `slice`, to be restored.
    pub fn slice(&mut self, slice: EventTimeUs, make: impl FnOnce() -> GroupState) -> &mut GroupState {
        self.slices.entry(slice).or_insert_with(make)
    }

    /// Windows ending at or before `fired_until` fired before the snapshot.
    pub fn note_fired(&mut self, fired_until: EventTimeUs) {
        self.fired_until = fired_until;
    }

    /// Groups in all slices.
    pub fn groups(&self) -> usize {
        self.slices.values().map(GroupState::len).sum::<usize>() + self.merged.len()
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let slices = self.slices.values().map(GroupState::allocated_bytes);
        slices.sum::<usize>() + self.merged.allocated_bytes()
    }
}

/// Writes what is left to write of a state that goes.
fn give_up(state: Option<GroupState>, recorded: &mut StateWriter) -> Result<(), ExecutionError> {
    match state {
        Some(mut state) => state.record_rest(recorded),
        None => Ok(()),
    }
}
