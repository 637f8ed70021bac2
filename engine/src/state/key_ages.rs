//! When each key was written last, for state with a time to live.
//!
//! Time is that of arrival, as the shard tells it; it never goes back. A key whose time has passed is found
//! out in two ways: when it is met again (`expire`: it starts anew), and by a sweep that looks at a few
//! keys at a time, so that keys which are never met again go as well (`sweep`).
//!
//! **Invariant.** `written` has one entry per key that was ever expired or written, numbered as in the
//! operator's group table; a sweep costs in proportion to the rows since the one before.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::error::ExecutionError;
use crate::snapshot::{StateReader, StateWriter, int64_column};
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::key_columns::named_keys;
use crate::state::keys::KeyPacker;

/// The snapshot's table of ages: keys, then when they were written, nanoseconds of the process's clock,
/// which starts at the wall clock.
pub(crate) const AGES: &str = "ages";

/// Keys that a sweep looks at, at least.
const SWEEP_MIN: usize = 256;

/// The ages of the keys of one operator.
#[derive(Debug)]
pub struct KeyAges {
    ttl_ns: u64,
    now_ns: u64,
    written: Vec<u64>,
    /// The key that the next sweep looks at first.
    cursor: usize,
    /// Rows since the last sweep.
    met: usize,
}

impl KeyAges {
    /// Ages of keys that live for `ttl_us` microseconds after they were written.
    pub fn new(ttl_us: u64) -> KeyAges {
        KeyAges {
            ttl_ns: ttl_us.saturating_mul(1_000),
            now_ns: 0,
            written: Vec::new(),
            cursor: 0,
            met: 0,
        }
    }

    /// The input at hand arrived at `arrival_ns`.
    pub fn note_time(&mut self, arrival_ns: u64) {
        self.now_ns = self.now_ns.max(arrival_ns);
    }

    /// `groups` are met: calls `forget` for each whose time has passed, once. It answers whether the key
    /// starts anew, which then counts as written; keys met for the first time do so too.
    pub fn expire(&mut self, groups: &[GroupIndex], mut forget: impl FnMut(GroupIndex) -> bool) {
        self.met += groups.len();
        for &group in groups {
            let group_number = group as usize;
            if group_number >= self.written.len() {
                self.written.resize(group_number + 1, self.now_ns);
            } else if self.is_over(group_number) && forget(group) {
                self.written[group_number] = self.now_ns;
            }
        }
    }

    /// `groups`, which were told to `expire`, are written.
    pub fn write(&mut self, groups: &[GroupIndex]) {
        for &group in groups {
            self.written[group as usize] = self.now_ns;
        }
    }

    /// Looks at the next keys and calls `remove` for each whose time has passed. It answers whether the key
    /// is gone; then the last one has its number, in the operator as here.
    pub fn sweep(&mut self, mut remove: impl FnMut(GroupIndex) -> bool) {
        let count = (2 * std::mem::take(&mut self.met) + SWEEP_MIN).min(self.written.len());
        for _ in 0..count {
            if self.cursor >= self.written.len() {
                self.cursor = 0;
            }
            if self.cursor < self.written.len()
                && self.is_over(self.cursor)
                && remove(self.cursor as GroupIndex)
            {
                self.written.swap_remove(self.cursor);
            } else {
                self.cursor += 1;
            }
        }
    }

    /// Writes the ages of the keys `groups` of `table`.
    pub(crate) fn freeze(
        &self,
        table: &GroupTable,
        groups: &[GroupIndex],
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        let written = |group: &GroupIndex| self.written.get(*group as usize).copied().unwrap_or(self.now_ns);
        let mut columns = named_keys(table, groups);
        let written = groups.iter().map(|group| written(group) as i64);
        columns.push(("written".to_string(), int64_column(written)));
        into.add_columns(AGES, 0, columns, groups.len())
    }

    /// Takes back ages that `freeze` wrote; `groups` are the numbers that the keys of these rows have now.
    pub(crate) fn thaw(&mut self, rows: &RecordBatch, groups: &[GroupIndex]) {
        let written = rows.column(rows.num_columns() - 1).as_primitive::<Int64Type>();
        for (&group, &written) in groups.iter().zip(written.values()) {
            let group = group as usize;
            if group >= self.written.len() {
                self.written.resize(group + 1, 0);
            }
            self.written[group] = written as u64;
        }
    }

    /// Takes back the ages in a snapshot of an operator whose keys are at `key_columns` of its input; `table` and
    /// `packer` number the keys.
    pub(crate) fn restore(
        &mut self,
        from: &StateReader<'_>,
        key_columns: &[usize],
        table: &mut GroupTable,
        packer: &mut KeyPacker,
    ) -> Result<(), ExecutionError> {
        let rows = from.rows_by(AGES, key_columns)?;
        let keys = &rows.columns()[..key_columns.len()];
        let mut groups = Vec::with_capacity(rows.num_rows());
        table.find_or_insert(packer, keys, rows.num_rows(), &mut groups);
        self.thaw(&rows, &groups);
        Ok(())
    }

    fn is_over(&self, group: usize) -> bool {
        self.written[group].saturating_add(self.ttl_ns) <= self.now_ns
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.written.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_key_lives_for_its_time_after_it_was_written_last() {
        let mut ages = KeyAges::new(1_000_000);
        let mut expired = Vec::new();
        let mut meet = |ages: &mut KeyAges, now: u64, groups: &[GroupIndex]| {
            ages.note_time(now);
            ages.expire(groups, |group| {
                expired.push((now, group));
                true
            });
        };
        meet(&mut ages, 0, &[0, 1, 2]);
        meet(&mut ages, SECOND_NS - 1, &[0, 1]);
        ages.write(&[0]);
        meet(&mut ages, SECOND_NS, &[0, 1, 1]);
        // Time that seems to go back does not make keys older than they are.
        meet(&mut ages, SECOND_NS / 2, &[0, 1]);
        meet(&mut ages, 2 * SECOND_NS - 1, &[0]);
        assert_eq!(expired, [(SECOND_NS, 1), (2 * SECOND_NS - 1, 0)]);
    }

    #[test]
    fn keys_that_are_never_met_again_are_swept() {
        let mut ages = KeyAges::new(1_000_000);
        let mut keys: Vec<u64> = Vec::new();
        let mut greatest = 0;
        for second in 0..100 {
            ages.note_time(second * SECOND_NS / 10);
            let new: Vec<GroupIndex> = (0..1_000).map(|n| keys.len() as GroupIndex + n).collect();
            keys.resize(keys.len() + 1_000, second);
            ages.expire(&new, |_| unreachable!("new keys are not over"));
            ages.sweep(|group| {
                assert!(keys[group as usize] + 10 <= second, "only what is over goes");
                keys.swap_remove(group as usize);
                true
            });
            greatest = greatest.max(keys.len());
        }
        assert!(greatest <= 20_000, "{greatest} keys at once");
    }
}
