//! The hash directory of a group table: salted slots in sub-tables that split one at a time.
//!
//! Extendible hashing (Fagin et al. 1979) over linear probing: the top bits of a 32-bit hash
//! choose a sub-table of at most 32,768 slots, its low bits the slot. A full sub-table doubles or,
//! at its largest, splits in two. A slot holds the hash and the row index, so neither needs a key.
//!
//! **Invariant.** No step costs more than moving one sub-table (256 KiB), save doubling the
//! directory itself (4 bytes per sub-table).

/// Slots of the smallest sub-table.
const SLOTS_MIN: usize = 128;
/// Up to this size slots are kept three quarters empty, above half: what is that small stays in the nearest cache.
const SLOTS_SPARSE: usize = 1 << 11;

/// `hash << 32 | (row + 1)`; 0 is empty.
pub(crate) type Slot = u64;

/// Slots of rows whose hashes share their top `depth` bits.
#[derive(Debug)]
struct SubTable {
    slots: Vec<Slot>,
    used: usize,
    depth: u32,
}

use crate::limits::SUB_TABLE_SLOTS_MAX;

impl SubTable {
    fn with_slots(slots: usize, depth: u32) -> SubTable {
        SubTable {
            slots: vec![0; slots],
            used: 0,
            depth,
        }
    }

    /// Puts a slot whose row is known to be new at the first free place.
    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = (slot >> 32) as usize & mask;
        while self.slots[at & mask] != 0 {
            at += 1;
        }
        self.slots[at & mask] = slot;
        self.used += 1;
    }

    fn is_full(&self, fill: Fill) -> bool {
        let slots = self.slots.len();
        match fill {
            _ if slots <= SLOTS_SPARSE => self.used * 4 >= slots,
            Fill::Half => self.used * 2 >= slots,
            Fill::ThreeQuarters => self.used * 4 >= slots * 3,
        }
    }
}

/// How full a sub-table gets before it grows, once it is no small one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Short walks: for tables that are probed and then updated in place.
    Half,
    /// Half the memory for somewhat longer walks: for tables whose rows cost far more to reach.
    ThreeQuarters,
}

/// All slots of a table.
#[derive(Debug)]
pub(crate) struct Slots {
    fill: Fill,
    sub_tables: Vec<SubTable>,
    directory: Vec<u32>,
    depth: u32,
}

impl Slots {
    pub fn new(fill: Fill) -> Slots {
        Slots {
            fill,
            sub_tables: vec![SubTable::with_slots(SLOTS_MIN, 0)],
            directory: vec![0],
            depth: 0,
        }
    }

    /// The row with this hash for which `is_match` holds, or `None`: then [`Slots::insert`].
    #[inline(always)]
    pub fn find(&self, hash: u32, mut is_match: impl FnMut(u32) -> bool) -> Option<u32> {
        let slots = self.sub_table(hash);
        let mask = slots.len() - 1;
        let mut at = hash as usize;
        loop {
            let slot = slots[at & mask];
            if (slot >> 32) as u32 == hash && is_match((slot as u32).wrapping_sub(1)) {
                return Some(slot as u32 - 1);
            }
            if slot == 0 {
                return None;
            }
            at += 1;
        }
    }

    /// The slot that each hash leads to: the first with that hash, or an empty one.
    ///
    /// Two passes, so that cache misses overlap: loads that depend on nothing but the hash, then the
    /// walk past other hashes, which finds its slots in the nearest cache.
    pub fn find_slots(&self, hashes: &[u32], out: &mut [Slot]) {
        assert_eq!(hashes.len(), out.len(), "invariant: one slot per hash");
        self.first_slots(hashes, out);
        for (slot, &hash) in out.iter_mut().zip(hashes) {
            if *slot != 0 && (*slot >> 32) as u32 != hash {
                *slot = self.next_slot(hash);
            }
        }
    }

    /// Everything is read from locals: a field read again after each store to `out` would wait for it.
    fn first_slots(&self, hashes: &[u32], out: &mut [Slot]) {
        let (sub_tables, directory) = (self.sub_tables.as_slice(), self.directory.as_slice());
        let shift = 32 - self.depth;
        for (slot, &hash) in out.iter_mut().zip(hashes) {
            let index = (u64::from(hash) >> shift) as usize;
            let slots = &sub_tables[directory[index] as usize].slots;
            *slot = slots[hash as usize & (slots.len() - 1)];
        }
    }

    /// The slot behind the first that has this hash or is empty.
    fn next_slot(&self, hash: u32) -> Slot {
        let slots = self.sub_table(hash);
        let mask = slots.len() - 1;
        let mut at = hash as usize + 1;
        loop {
            let slot = slots[at & mask];
            if slot == 0 || (slot >> 32) as u32 == hash {
                return slot;
            }
            at += 1;
        }
    }

    /// The slots of a table so small that it has one sub-table; their number is a power of two.
    pub fn only_sub_table(&self) -> Option<&[Slot]> {
        match self.sub_tables.as_slice() {
            [only] => Some(&only.slots),
            _ => None,
        }
    }

    /// The slots in which `hash` is looked for; their number is a power of two.
    #[inline(always)]
    fn sub_table(&self, hash: u32) -> &[Slot] {
        let index = (u64::from(hash) >> (32 - self.depth)) as usize;
        &self.sub_tables[self.directory[index] as usize].slots
    }

    /// Adds a row that [`Slots::find`] did not find.
    pub fn insert(&mut self, hash: u32, row: u32) {
        assert_ne!(hash, 0, "invariant: hash 0 stands for an empty slot");
        let slot = u64::from(hash) << 32 | u64::from(row + 1);
        loop {
            let index = (u64::from(hash) >> (32 - self.depth)) as usize;
            let sub_table = self.directory[index] as usize;
            if !self.sub_tables[sub_table].is_full(self.fill) {
                self.sub_tables[sub_table].place(slot);
                return;
            }
            self.grow(sub_table);
        }
    }

    /// Takes out the slot of `row`; those behind it move up, so that no walk ends too early.
    pub fn remove(&mut self, hash: u32, row: u32) {
        let sub_table = self.sub_table_mut(hash);
        let slots = &mut sub_table.slots;
        let mask = slots.len() - 1;
        let mut hole = position_of(slots, hash, row);
        let mut next = (hole + 1) & mask;
        while slots[next] != 0 {
            let home = (slots[next] >> 32) as usize & mask;
            let walked = next.wrapping_sub(home) & mask;
            if walked >= next.wrapping_sub(hole) & mask {
                slots[hole] = slots[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        slots[hole] = 0;
        sub_table.used -= 1;
    }

    /// Row `from` has the number `to` from now on.
    pub fn renumber(&mut self, hash: u32, from: u32, to: u32) {
        let slots = &mut self.sub_table_mut(hash).slots;
        let at = position_of(slots, hash, from);
        slots[at] = u64::from(hash) << 32 | u64::from(to + 1);
    }

    fn sub_table_mut(&mut self, hash: u32) -> &mut SubTable {
        let index = (u64::from(hash) >> (32 - self.depth)) as usize;
        &mut self.sub_tables[self.directory[index] as usize]
    }

    fn grow(&mut self, index: usize) {
        let full = &mut self.sub_tables[index];
        if full.slots.len() < SUB_TABLE_SLOTS_MAX || full.depth >= 16 {
            // Beyond 2^16 sub-tables (two billion slots) sub-tables grow instead of splitting.
            let mut larger = SubTable::with_slots(full.slots.len() * 2, full.depth);
            full.slots
                .iter()
                .filter(|&&slot| slot != 0)
                .for_each(|&slot| larger.place(slot));
            *full = larger;
            return;
        }
        let depth = full.depth + 1;
        let mut halves = [
            SubTable::with_slots(SUB_TABLE_SLOTS_MAX, depth),
            SubTable::with_slots(SUB_TABLE_SLOTS_MAX, depth),
        ];
        for &slot in full.slots.iter().filter(|&&slot| slot != 0) {
            halves[(slot >> (64 - depth)) as usize & 1].place(slot);
        }
        let [low, high] = halves;
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|&entry| [entry, entry]).collect();
            self.depth = depth;
        }
        let added = self.sub_tables.len() as u32;
        self.sub_tables[index] = low;
        self.sub_tables.push(high);
        for (position, entry) in self.directory.iter_mut().enumerate() {
            if *entry as usize == index && position >> (self.depth - depth) & 1 == 1 {
                *entry = added;
            }
        }
    }

    /// Forgets all rows; keeps the memory if a good part of it was used.
    pub fn clear(&mut self) {
        let used: usize = self.sub_tables.iter().map(|sub_table| sub_table.used).sum();
        let slots: usize = self
            .sub_tables
            .iter()
            .map(|sub_table| sub_table.slots.len())
            .sum();
        if used * 16 < slots {
            *self = Slots::new(self.fill);
            return;
        }
        for sub_table in &mut self.sub_tables {
            sub_table.slots.fill(0);
            sub_table.used = 0;
        }
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let slots: usize = self
            .sub_tables
            .iter()
            .map(|sub_table| sub_table.slots.capacity())
            .sum();
        slots * size_of::<Slot>()
            + self.sub_tables.capacity() * size_of::<SubTable>()
            + self.directory.capacity() * size_of::<u32>()
    }
}

/// Where the slot of `row` is.
fn position_of(slots: &[Slot], hash: u32, row: u32) -> usize {
    let slot = u64::from(hash) << 32 | u64::from(row + 1);
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    while slots[at] != slot {
        assert_ne!(
            slots[at], 0,
            "invariant: the slot of a row that is there is found"
        );
        at = (at + 1) & mask;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found_while_rows_go_and_are_renumbered() {
        let mut slots = Slots::new(Fill::Half);
        // Few different hashes: long walks, with holes in them.
        let hash = |row: u32| (((row % 97) << 24) | (row % 7)).max(1);
        for row in 0..10_000 {
            slots.insert(hash(row), row);
        }
        for row in (0..10_000).step_by(3) {
            slots.remove(hash(row), row);
        }
        for row in (1..10_000).step_by(3) {
            slots.renumber(hash(row), row, row + 20_000);
        }
        for row in 0..10_000 {
            let found = |wanted: u32| slots.find(hash(row), |found| found == wanted).is_some();
            assert_eq!(found(row), row % 3 == 2, "row {row}");
            assert_eq!(found(row + 20_000), row % 3 == 1, "row {row}");
        }
    }

    #[test]
    fn every_row_is_found_again_while_sub_tables_grow_and_split() {
        for (fill, depth) in [(Fill::Half, 3), (Fill::ThreeQuarters, 2)] {
            fill_and_find(fill, depth);
        }
    }

    /// At least `depth` bits choose a sub-table in the end.
    fn fill_and_find(fill: Fill, depth: u32) {
        let mut slots = Slots::new(fill);
        let hash = |row: u32| (row.wrapping_mul(0x9e37_79b9) ^ row >> 3).max(1);
        for row in 0..100_000 {
            assert_eq!(slots.find(hash(row), |found| found == row), None);
            slots.insert(hash(row), row);
        }
        for row in 0..100_000 {
            assert_eq!(slots.find(hash(row), |found| found == row), Some(row));
        }
        assert!(
            slots.depth >= depth
                && slots
                    .sub_tables
                    .iter()
                    .all(|sub| sub.slots.len() <= SUB_TABLE_SLOTS_MAX)
        );
        let hashes: Vec<u32> = (0..200_000).map(hash).collect();
        let mut found = vec![0; hashes.len()];
        slots.find_slots(&hashes, &mut found);
        for (row, (&slot, &hash)) in (0..).zip(found.iter().zip(&hashes)) {
            let is_there = slots.find(hash, |_| true).is_some();
            assert_eq!(slot != 0, is_there, "row {row}");
            assert!(slot == 0 || (slot >> 32) as u32 == hash, "row {row}");
        }
        slots.clear();
        assert_eq!(slots.find(hash(1), |_| true), None);
    }
}
