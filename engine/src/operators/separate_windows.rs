//! Windows with a state each: tumbling and attached windows, and overlapping ones whose state cannot
//! be shared (DISTINCT, rare functions), is read before the end (EMIT CHANGES) or after it (allowed
//! lateness). Part of `window_aggregate`.
//!
//! **Invariant.** Windows fire in order of their end (then start); a window is dropped whole once fired, or
//! once no row may correct it any more. What may be corrected says nothing before it has fired.

use std::collections::{BTreeMap, VecDeque};

use crate::error::ExecutionError;
use crate::operators::window_parts::{SliceId, WindowRows, window_columns};
use crate::operators::{FIRING_QUANTUM_ROWS, Output};
use crate::snapshot::StateWriter;
use crate::state::accumulators::GroupState;
use crate::state::changes::{ChangeOptions, ChangeTracker};
use crate::state::group_table::GroupIndex;
use crate::time::EventTimeUs;

/// A window that has rows and has not fired.
#[derive(Debug)]
pub(crate) struct OpenWindow {
    pub state: GroupState,
    pub tracker: Option<ChangeTracker>,
}

/// The open windows.
#[derive(Debug)]
pub(crate) struct SeparateWindows {
    changes: Option<ChangeOptions>,
    /// How long windows that have fired are kept to be corrected.
    lateness_us: Option<i64>,
    /// Windows ending at or before this have fired.
    fired_until: EventTimeUs,
    open: BTreeMap<SliceId, OpenWindow>,
    /// The window that fires, and its next group.
    firing: Option<(SliceId, OpenWindow, usize)>,
    /// Cleared states kept for the next windows, so that a new window allocates nothing.
    spare: VecDeque<GroupState>,
    /// What was written of windows that fired before their snapshot was whole.
    recorded: StateWriter,
}

impl SeparateWindows {
    /// Most cleared states kept.
    const SPARE_MAX: usize = 2;
    /// A state with more groups is dropped instead: clearing it would be one long step.
    const SPARE_GROUPS_MAX: usize = 1 << 15;

    /// No window; with `changes` results are emitted before the end, too, or with `lateness_us` behind it
    /// instead.
    pub fn new(changes: Option<ChangeOptions>, lateness_us: Option<i64>) -> SeparateWindows {
        SeparateWindows {
            changes,
            lateness_us,
            fired_until: EventTimeUs::MIN,
            open: BTreeMap::new(),
            firing: None,
            spare: VecDeque::new(),
            recorded: StateWriter::new(),
        }
    }

    /// The window `id`, opened with a state of `make` if need be.
    pub fn window(&mut self, id: SliceId, make: impl FnOnce() -> GroupState) -> &mut OpenWindow {
        let (changes, spare) = (self.changes, &mut self.spare);
        self.open.entry(id).or_insert_with(|| OpenWindow {
            state: spare.pop_front().unwrap_or_else(make),
            tracker: changes.map(ChangeTracker::new),
        })
    }

    /// Emits about a quantum of the windows ending at or before `closed_until`; whether all are out.
    pub fn fire(
        &mut self,
        closed_until: EventTimeUs,
        rows: &WindowRows,
        out: &mut Output,
    ) -> Result<bool, ExecutionError> {
        let mut budget = FIRING_QUANTUM_ROWS;
        let dropped_until = match self.lateness_us {
            None => closed_until,
            Some(lateness_us) => {
                if !self.fire_to_be_corrected(closed_until, rows, out)? {
                    return Ok(false);
                }
                closed_until.saturating_sub(lateness_us)
            }
        };
        loop {
            if self.firing.is_none() {
                self.firing = match self.open.first_key_value() {
                    Some((&(end, _), _)) if end <= dropped_until => {
                        self.open.pop_first().map(|(id, window)| (id, window, 0))
                    }
                    _ => return Ok(true),
                };
            }
            let Some((id, mut window, next)) = self.firing.take() else {
                return Ok(true);
            };
            window.state.record_rest(&mut self.recorded)?;
            let end = window.state.len().min(next + budget);
            match &mut window.tracker {
                Some(tracker) => rows.emit_changes(&mut window.state, tracker, id, out)?,
                None if end < window.state.len() => {
                    rows.emit(&mut window.state, id, next..end, out)?;
                    self.firing = Some((id, window, end));
                    return Ok(false);
                }
                None => {
                    rows.emit(&mut window.state, id, next..end, out)?;
                }
            }
            budget = budget.saturating_sub(end - next);
            if self.spare.len() < Self::SPARE_MAX && window.state.len() <= Self::SPARE_GROUPS_MAX {
                window.state.clear();
                self.spare.push_back(window.state);
            }
            if budget == 0 {
                return Ok(false);
            }
        }
    }

    /// Emits windows that end at or before `closed_until` and stay open for corrections, about a quantum of
    /// them; whether all are out.
    fn fire_to_be_corrected(
        &mut self,
        closed_until: EventTimeUs,
        rows: &WindowRows,
        out: &mut Output,
    ) -> Result<bool, ExecutionError> {
        let emitted = out.rows();
        let due = (self.fired_until.saturating_add(1), EventTimeUs::MIN)..=(closed_until, EventTimeUs::MAX);
        if due.start() > due.end() {
            return Ok(true);
        }
        for (&id, window) in self.open.range_mut(due) {
            if out.rows() - emitted >= FIRING_QUANTUM_ROWS && id.0 > self.fired_until {
                return Ok(false);
            }
            if let Some(tracker) = &mut window.tracker {
                rows.emit_changes(&mut window.state, tracker, id, out)?;
            }
            self.fired_until = id.0.saturating_sub(1).max(self.fired_until);
        }
        self.fired_until = closed_until;
        Ok(true)
    }

    /// Emits what changed in every open window, or in those that are being corrected.
    pub fn flush(&mut self, rows: &WindowRows, out: &mut Output) -> Result<(), ExecutionError> {
        let until = match self.lateness_us {
            None => EventTimeUs::MAX,
            Some(_) => self.fired_until,
        };
        for (&id, window) in self.open.range_mut(..=(until, EventTimeUs::MAX)) {
            if let Some(tracker) = &mut window.tracker {
                rows.emit_changes(&mut window.state, tracker, id, out)?;
            }
        }
        Ok(())
    }

    /// Groups that changed since the last flush.
    pub fn changed(&self) -> usize {
        let trackers = self.open.values().filter_map(|window| window.tracker.as_ref());
        trackers.map(ChangeTracker::dirty).sum()
    }

    /// Begins to write every open window.
    pub fn begin_recording(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        assert!(self.firing.is_none(), "invariant: no window fires at a barrier");
        for (&id, window) in &mut self.open {
            window.state.begin_recording(&window_columns(id), into)?;
        }
        Ok(())
    }

    /// Writes a quantum more, of the window that ends first; answers whether all is written.
    pub fn record(&mut self, into: &mut StateWriter) -> Result<bool, ExecutionError> {
        into.append(std::mem::take(&mut self.recorded));
        let mut states = self.open.values_mut().map(|window| &mut window.state);
        match states.find(|state| state.is_recorded()) {
            Some(state) => state.record(into).map(|_| false),
            None => Ok(true),
        }
    }

    /// Takes it that everything in the open windows has been said, since they were written behind a flush;
    /// of windows to be corrected only in those that end at or before `closed_until`, which have fired.
    pub fn note_told(&mut self, closed_until: EventTimeUs) -> Result<(), ExecutionError> {
        let told_until = match self.lateness_us {
            None => EventTimeUs::MAX,
            Some(_) => closed_until,
        };
        self.fired_until = closed_until;
        for (&(end, _), window) in &mut self.open {
            let Some(tracker) = &mut window.tracker else {
                continue;
            };
            if end <= told_until {
                tracker.restore(&window.state);
            } else {
                let groups: Vec<GroupIndex> = (0..window.state.len() as GroupIndex).collect();
                tracker.touch(&mut window.state, &groups)?;
            }
        }
        Ok(())
    }

    /// Groups in all windows.
    pub fn groups(&self) -> usize {
        let firing = self.firing.iter().map(|(_, window, _)| window);
        self.open
            .values()
            .chain(firing)
            .map(|window| window.state.len())
            .sum()
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let firing = self.firing.iter().map(|(_, window, _)| window);
        let windows = self.open.values().chain(firing).map(|window| {
            let tracker = window.tracker.as_ref().map_or(0, ChangeTracker::allocated_bytes);
            window.state.allocated_bytes() + tracker
        });
        windows.sum::<usize>() + self.spare.iter().map(GroupState::allocated_bytes).sum::<usize>()
    }
}
