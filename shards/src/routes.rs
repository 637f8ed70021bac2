//! Routes: which shard owns each row of a batch, as one order that groups the rows by owner.
//!
//! A counting sort by owner that keeps the order of rows: two passes over the hashes, whatever the
//! number of shards. It never looks at anything but the hash.

use arrow::array::ArrayRef;
use engine::state::hash::hash_columns;
pub use engine::state::hash::owner;

/// Parts of a batch that are counted and placed side by side. One counter bumped row after row is a chain of
/// loads that wait for stores; four chains overlap.
const LANES: usize = 4;

/// The owners of the rows of one batch.
#[derive(Debug)]
pub struct Routes {
    shards: usize,
    hashes: Vec<u64>,
    targets: Vec<u32>,
    /// By target, then by lane: first how many rows, then where the next one goes.
    places: Vec<[u32; LANES]>,
    /// By target: how many rows.
    counts: Vec<usize>,
}

impl Routes {
    /// Routes to `shards` shards.
    pub fn new(shards: usize) -> Routes {
        Routes {
            shards,
            hashes: Vec::new(),
            targets: Vec::new(),
            places: vec![[0; LANES]; shards],
            counts: vec![0; shards],
        }
    }

    /// Finds the owner of each of `rows` rows by their key columns.
    pub fn assign(&mut self, keys: &[ArrayRef], rows: usize) {
        hash_columns(keys, &mut self.hashes);
        assert_eq!(self.hashes.len(), rows, "invariant: one hash per row");
        let shards = self.shards;
        self.targets.clear();
        self.targets
            .extend(self.hashes.iter().map(|&hash| owner(hash, shards) as u32));
        self.places.fill([0; LANES]);
        let places = &mut self.places;
        for_each_in_lanes(&self.targets, |lane, _, target| {
            places[target as usize][lane] += 1
        });
        for (count, lanes) in self.counts.iter_mut().zip(&self.places) {
            *count = lanes.iter().map(|&rows| rows as usize).sum();
        }
    }

    /// How many rows `target` owns.
    pub fn rows_of(&self, target: usize) -> usize {
        self.counts[target]
    }

    /// The target that owns all rows, if there is one.
    pub fn only_target(&self) -> Option<usize> {
        self.counts.iter().position(|&rows| rows == self.targets.len())
    }

    /// The rows, those of target 0 first, in their own order within a target. Once for each [`Routes::assign`].
    pub fn take_order(&mut self) -> Vec<u32> {
        let mut next = 0;
        for lane in self.places.iter_mut().flatten() {
            next += std::mem::replace(lane, next);
        }
        let mut order = vec![0; self.targets.len()];
        let places = &mut self.places;
        for_each_in_lanes(&self.targets, |lane, row, target| {
            let place = &mut places[target as usize][lane];
            order[*place as usize] = row;
            *place += 1;
        });
        order
    }
}

/// Each row with its lane: the lanes are consecutive parts of the batch, walked side by side.
#[inline(always)]
fn for_each_in_lanes(targets: &[u32], mut step: impl FnMut(usize, u32, u32)) {
    let length = targets.len().div_ceil(LANES);
    let (first, rest) = targets.split_at(length.min(targets.len()));
    let (second, rest) = rest.split_at(length.min(rest.len()));
    let (third, fourth) = rest.split_at(length.min(rest.len()));
    let length = length as u32;
    for (row, &target) in (0..).zip(first) {
        step(0, row, target);
        let at = row as usize;
        if let Some(&target) = second.get(at) {
            step(1, row + length, target);
        }
        if let Some(&target) = third.get(at) {
            step(2, row + 2 * length, target);
        }
        if let Some(&target) = fourth.get(at) {
            step(3, row + 3 * length, target);
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn rows_are_grouped_by_owner_and_keep_their_order() {
        for (shards, rows) in [(1, 5), (2, 0), (2, 1), (3, 2), (3, 3), (5, 6), (7, 1_001)] {
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * 7 % 101)));
            let mut hashes = Vec::new();
            hash_columns(std::slice::from_ref(&keys), &mut hashes);
            let mut expected: Vec<u32> = (0..rows as u32).collect();
            expected.sort_by_key(|&row| owner(hashes[row as usize], shards));

            let mut routes = Routes::new(shards);
            for _ in 0..2 {
                routes.assign(std::slice::from_ref(&keys), rows as usize);
                let counts: usize = (0..shards).map(|target| routes.rows_of(target)).sum();
                assert_eq!(counts, rows as usize);
                assert_eq!(routes.only_target().is_some(), rows < 2 || shards == 1);
                assert_eq!(routes.take_order(), expected, "{rows} rows to {shards} shards");
            }
        }
    }
}
