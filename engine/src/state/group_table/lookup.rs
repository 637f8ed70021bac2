//! Looking keys up without adding them: the probe side of a join.

use arrow::array::ArrayRef;

use crate::state::group_table::{GroupIndex, GroupTable, PROBE_ROWS, hash_words};
use crate::state::keys::KeyPacker;

/// Stands for a key that has no group.
pub const NO_GROUP: GroupIndex = GroupIndex::MAX;

impl GroupTable {
    /// The group of each of `rows` rows, [`NO_GROUP`] where there is none; no key column holds a NULL.
    pub fn find(
        &mut self,
        packer: &mut KeyPacker,
        columns: &[ArrayRef],
        rows: usize,
        groups: &mut Vec<GroupIndex>,
    ) {
        assert!(
            columns.iter().all(|column| column.logical_null_count() == 0),
            "invariant: NULL keys are not looked up"
        );
        groups.clear();
        if self.layout.words == 0 {
            groups.resize(rows, if self.groups > 0 { 0 } else { NO_GROUP });
            return;
        }
        packer.pack(columns, rows, &mut self.interner);
        match self.layout.words {
            1 => self.look_up::<1>(&packer.words, groups),
            2 => self.look_up::<2>(&packer.words, groups),
            3 => self.look_up::<3>(&packer.words, groups),
            4 => self.look_up::<4>(&packer.words, groups),
            6 => self.look_up::<6>(&packer.words, groups),
            8 => self.look_up::<8>(&packer.words, groups),
            other => unreachable!("invariant: keys have 1, 2, 3, 4, 6 or 8 words, found {other}"),
        }
    }

    fn look_up<const WORDS: usize>(&self, keys: &[u64], groups: &mut Vec<GroupIndex>) {
        let (keys, rest) = keys.as_chunks::<WORDS>();
        assert!(rest.is_empty(), "invariant: whole keys");
        groups.resize(keys.len(), NO_GROUP);
        let mut hashes = Vec::with_capacity(PROBE_ROWS);
        let mut slots = Vec::with_capacity(PROBE_ROWS);
        for (keys, groups) in keys.chunks(PROBE_ROWS).zip(groups.chunks_mut(PROBE_ROWS)) {
            hashes.clear();
            hashes.extend(keys.iter().map(hash_words));
            slots.resize(keys.len(), 0);
            self.slots.find_slots(&hashes, &mut slots);
            self.compare_keys(keys, &slots, groups);
            for (((group, key), &hash), &slot) in groups.iter_mut().zip(keys).zip(&hashes).zip(&slots) {
                // Another key has the same hash: the one that is looked for may stand behind it.
                if *group == NO_GROUP && slot != 0 {
                    let found = self.slots.find(hash, |row| self.has_key(row, key));
                    *group = found.unwrap_or(NO_GROUP);
                }
            }
        }
    }
}
