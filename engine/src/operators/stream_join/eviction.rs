//! What a join gives up: rows whose time to live has passed, rows that the watermark made useless, and the numbers
//! of keys that have no rows any more.
//!
//! **Invariant.** A snapshot that is being written hears of a row's key before the row goes.

use crate::batch::Op;
use crate::error::ExecutionError;
use crate::operators::stream_join::emission::{Emission, Shape};
use crate::operators::stream_join::{IDLE_KEYS_MIN, StreamJoin};
use crate::operators::{Firing, Output};
use crate::plan::JoinKind;
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::row_store::{NO_ROW, RowId};

impl StreamJoin {
    pub(super) fn drop_aged(&mut self, now_ns: u64) -> Result<(), ExecutionError> {
        for (number, ttl) in self.spec.ttl_us.into_iter().enumerate() {
            let Some(ttl_us) = ttl else {
                continue;
            };
            let oldest_ns = now_ns.saturating_sub(ttl_us.saturating_mul(1_000));
            if self.recorder.is_active() {
                let groups = self.sides[number].groups_aged(oldest_ns);
                self.note_change(&groups)?;
            }
            self.sides[number].drop_aged(oldest_ns)?;
        }
        self.renumber_groups()
    }

    /// Forgets keys without rows once they are most of all keys.
    fn renumber_groups(&mut self) -> Result<(), ExecutionError> {
        let rows = self.sides[0].store.len() + self.sides[1].store.len();
        if self.table.len() < IDLE_KEYS_MIN || rows * 4 > self.table.len() {
            return Ok(());
        }
        let mut recorded = std::mem::take(&mut self.recorded);
        while self.write_on(&mut recorded)? == Firing::More {}
        self.recorded = recorded;
        self.recorder.forget_parts();
        let has_rows = |&group: &GroupIndex| self.sides.iter().any(|side| side.has_rows(group));
        let old: Vec<GroupIndex> = (0..self.table.len() as GroupIndex).filter(has_rows).collect();
        let mut table = GroupTable::new(self.table.layout().clone(), Vec::new());
        let mut new = Vec::with_capacity(old.len());
        table.find_or_insert_from(&self.table, &old, &mut new);
        self.table = table;
        for side in &mut self.sides {
            side.renumber(&old, &new);
        }
        Ok(())
    }

    /// Interval joins: gives up what the watermark made useless, padding what never matched.
    pub(super) fn evict(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        for number in 0..2 {
            if self.recorder.is_active() {
                let groups = self.sides[number].groups_expired(self.watermark);
                self.note_change(&groups)?;
            }
            while let Some(ids) = self.sides[number].take_expired(self.watermark) {
                let pads = match self.spec.kind {
                    JoinKind::Anti => number == 0,
                    kind => kind.preserves(number),
                };
                if pads {
                    let side = &mut self.sides[number];
                    let alone: Vec<RowId> = ids
                        .iter()
                        .copied()
                        .filter(|&id| *side.matches_mut(id) == 0)
                        .collect();
                    if !alone.is_empty() {
                        let rows = self.sides[number].store.gather(&alone)?;
                        let mut emission = Emission::default();
                        for row in 0..alone.len() as u32 {
                            emission.say(Op::Insert, row, NO_ROW);
                        }
                        let shape = Shape {
                            output: &self.output,
                            side: number,
                            left_only: self.spec.kind.is_left_only(),
                            append_only: self.append_only,
                        };
                        emission.emit(&rows, &self.sides[1 - number].store, shape, out)?;
                    }
                }
                for id in ids {
                    self.sides[number].forget(id)?;
                }
            }
        }
        self.renumber_groups()
    }
}
