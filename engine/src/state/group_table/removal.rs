//! Forgetting groups one at a time: keys whose time to live has passed.
//!
//! **Invariant.** Numbers stay dense: the last group takes the number of the one that goes, so that whatever
//! lies beside the table goes by `swap_remove`. A step costs one row, whatever the table holds.

use crate::state::group_table::{GroupIndex, GroupTable, hash_words};

impl GroupTable {
    /// Forgets `group`; the last group has its number from now on.
    pub fn remove(&mut self, group: GroupIndex) {
        assert!(
            (group as usize) < self.groups && self.layout.words > 0,
            "invariant: only a keyed group that is there is forgotten"
        );
        self.codes.forget();
        let last = self.groups as GroupIndex - 1;
        if self.null_group == Some(group) {
            self.null_group = None;
        } else {
            self.slots.remove(self.hash_of(group), group);
        }
        for word in 0..self.interned_words.len() {
            if let Some(id) = self.interned_words[word].id(self.key_words(group)) {
                self.interner.release(id);
            }
        }
        if group != last {
            if self.null_group == Some(last) {
                self.null_group = Some(group);
            } else {
                self.slots.renumber(self.hash_of(last), last, group);
            }
            let from = last as usize * self.stride;
            self.rows
                .copy_within(from..from + self.stride, group as usize * self.stride);
        }
        self.rows.truncate(last as usize * self.stride);
        self.groups -= 1;
    }

    /// Sets the accumulator words of `group` to those of a new one.
    pub fn reset(&mut self, group: GroupIndex) {
        let start = group as usize * self.stride + self.layout.words;
        self.rows[start..start + self.initial.len()].copy_from_slice(&self.initial);
    }

    fn hash_of(&self, group: GroupIndex) -> u32 {
        match self.layout.words {
            1 => self.hash_key::<1>(group),
            2 => self.hash_key::<2>(group),
            3 => self.hash_key::<3>(group),
            4 => self.hash_key::<4>(group),
            6 => self.hash_key::<6>(group),
            8 => self.hash_key::<8>(group),
            other => unreachable!("invariant: keys have 1, 2, 3, 4, 6 or 8 words, found {other}"),
        }
    }

    fn hash_key<const WORDS: usize>(&self, group: GroupIndex) -> u32 {
        let key = self.key_words(group).as_array::<WORDS>();
        hash_words(key.expect("invariant: a key has as many words as its layout says"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, StringArray};
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::state::key_columns::key_columns;
    use crate::state::keys::{KeyLayout, KeyPacker};

    #[test]
    fn keys_that_stay_are_found_under_the_number_that_swap_remove_gives_them() {
        let field = Arc::new(Field::new("key", DataType::Utf8, true));
        let layout = KeyLayout::new(&[field]);
        let mut table = GroupTable::new(layout.clone(), vec![7]);
        let mut packer = KeyPacker::new(layout);
        // Beside the table, as an operator keeps it: the key of each group.
        let mut beside: Vec<Option<String>> = Vec::new();
        for round in 0..60u64 {
            let key = |number: u64| match number % 5 {
                0 => None,
                1 => Some(format!("short {number}")),
                _ => Some(format!("a long text, long beyond fifteen bytes {number}")),
            };
            let keys: Vec<Option<String>> = (round * 10..round * 10 + 40).map(key).collect();
            let column: ArrayRef = Arc::new(StringArray::from(keys.clone()));
            let mut groups = Vec::new();
            table.find_or_insert(&mut packer, &[column], keys.len(), &mut groups);
            for (key, &group) in keys.iter().zip(&groups) {
                match beside.get(group as usize) {
                    Some(known) => assert_eq!(known, key),
                    None => {
                        assert_eq!(group as usize, beside.len());
                        beside.push(key.clone());
                    }
                }
            }
            for victim in [0, 3, 11, 17] {
                table.remove(victim);
                beside.swap_remove(victim as usize);
            }
            let all: Vec<GroupIndex> = (0..table.len() as GroupIndex).collect();
            let columns = key_columns(&table, &all);
            let found: Vec<Option<&str>> = columns[0].as_string::<i32>().iter().collect();
            let expected: Vec<Option<&str>> = beside.iter().map(|key| key.as_deref()).collect();
            assert_eq!(found, expected);
            let distinct: BTreeMap<_, _> = found.iter().map(|key| (key, ())).collect();
            assert_eq!(distinct.len(), table.len());
        }
    }
}
