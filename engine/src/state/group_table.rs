//! The group table: keys and accumulators of each group in one row of words, found by hash.
//!
//! Row layout (`[key words | accumulator words]`, one or two cache lines) after DuckDB's and
//! Velox's row containers: a probe touches one slot and one row. Probing is batched: pack keys,
//! hash them all, then find or add each.
//!
//! **Invariant.** Groups are numbered 0, 1, 2, … in order of first arrival and keep their number
//! until [`GroupTable::clear`], or until [`GroupTable::remove`] gives the last one another's place. The arena of rows is one `Vec`: growing it is a `realloc`, which on
//! Linux moves page-table entries and not bytes once the arena is large.

mod codes;
mod lookup;
mod removal;

pub use lookup::NO_GROUP;

use arrow::array::{Array, ArrayRef, RecordBatch};

use crate::state::footprint::make_room;
use crate::state::group_table::codes::Codes;
use crate::state::hash::folded_multiply;
use crate::state::interner::Interner;
use crate::state::keys::{KeyField, KeyLayout, KeyPacker, Place, TEXT_INTERNED};
use crate::state::slots::{Fill, Slot, Slots};

const SEED: u64 = 0x4528_21e6_38d0_1377;
const SEED_NEXT: u64 = 0xbe54_66cf_34e9_0c6d;
const MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// Keys probed together.
const PROBE_ROWS: usize = 512;

/// Rows of a table that lie in the second-level cache beside a batch, roughly.
const CACHED_BYTES: usize = 1 << 20;

/// Index of a group in its table.
pub type GroupIndex = u32;

/// A key word that may hold an id of the interner.
#[derive(Clone, Copy, Debug)]
enum InternedWord {
    /// Always.
    Always(usize),
    /// If the word behind it says so.
    Text(usize),
}

impl InternedWord {
    fn id(self, key: &[u64]) -> Option<u64> {
        match self {
            InternedWord::Always(word) => Some(key[word]),
            InternedWord::Text(word) => (key[word + 1] >> 56 == TEXT_INTERNED).then_some(key[word]),
        }
    }
}

/// Groups by key, each with a fixed number of accumulator words.
#[derive(Debug)]
pub struct GroupTable {
    layout: KeyLayout,
    /// Accumulator words of a new group.
    initial: Vec<u64>,
    stride: usize,
    slots: Slots,
    rows: Vec<u64>,
    interner: Interner,
    /// The key words that may hold an id of the interner.
    interned_words: Vec<InternedWord>,
    /// The group whose single key is NULL, where the layout has no bit for it.
    null_group: Option<GroupIndex>,
    groups: usize,
    /// Of the run that is probed: the hash of each key, and the slot it leads to.
    hashes: Vec<u32>,
    found: Vec<Slot>,
    codes: Codes,
}

impl GroupTable {
    /// An empty table; `initial` are the accumulator words of a group before its first row.
    pub fn new(layout: KeyLayout, initial: Vec<u64>) -> GroupTable {
        let stride = layout.words + initial.len();
        let text_word = |key: &KeyField| match key.place {
            Place::Text(word) => Some(InternedWord::Text(word)),
            _ => None,
        };
        let interned_words = match layout.encoded {
            true => vec![InternedWord::Always(0)],
            false => layout.fields.iter().filter_map(text_word).collect(),
        };
        // Without accumulators the groups' state lies elsewhere, and reaching it costs more than a longer walk.
        let fill = match initial.is_empty() {
            true => Fill::ThreeQuarters,
            false => Fill::Half,
        };
        GroupTable {
            interned_words,
            layout,
            initial,
            stride,
            slots: Slots::new(fill),
            rows: Vec::new(),
            interner: Interner::default(),
            null_group: None,
            groups: 0,
            hashes: Vec::new(),
            found: Vec::new(),
            codes: Codes::default(),
        }
    }

    /// Whether the rows are more than the nearest caches hold.
    pub fn is_large(&self) -> bool {
        self.rows.len() * size_of::<u64>() > CACHED_BYTES
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.groups
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.groups == 0
    }

    /// The layout of the keys.
    pub fn layout(&self) -> &KeyLayout {
        &self.layout
    }

    /// The groups of `rows` by the columns `keys` of them, found or added.
    pub(crate) fn groups_of(
        &mut self,
        packer: &mut KeyPacker,
        keys: &[usize],
        rows: &RecordBatch,
    ) -> Vec<GroupIndex> {
        let columns: Vec<ArrayRef> = keys.iter().map(|&key| rows.column(key).clone()).collect();
        let mut groups = Vec::with_capacity(rows.num_rows());
        self.find_or_insert(packer, &columns, rows.num_rows(), &mut groups);
        groups
    }

    /// Finds or adds the group of each of `rows` rows; `groups` gets one index per row.
    pub fn find_or_insert(
        &mut self,
        packer: &mut KeyPacker,
        columns: &[ArrayRef],
        rows: usize,
        groups: &mut Vec<GroupIndex>,
    ) {
        groups.clear();
        if self.layout.words == 0 {
            self.insert_global(rows, groups);
            return;
        }
        if self.find_by_codes(packer, columns, groups) {
            return;
        }
        packer.pack(columns, rows, &mut self.interner);
        let nulls = columns[0]
            .logical_nulls()
            .filter(|nulls| self.layout.null_row && nulls.null_count() > 0);
        match nulls {
            Some(nulls) => {
                for (row, &key) in packer.words.iter().enumerate() {
                    let group = if nulls.is_valid(row) {
                        self.find_or_insert_one(&[key])
                    } else {
                        self.null_group()
                    };
                    groups.push(group);
                }
            }
            None => self.find_or_insert_words(&packer.words, groups),
        }
    }

    fn insert_global(&mut self, rows: usize, groups: &mut Vec<GroupIndex>) {
        if rows > 0 && self.groups == 0 {
            self.push_row(&[]);
        }
        groups.resize(groups.len() + rows, 0);
    }

    /// Finds or adds the groups of `keys`, packed with ids of this table's interner.
    fn find_or_insert_words(&mut self, keys: &[u64], groups: &mut Vec<GroupIndex>) {
        match self.layout.words {
            1 => self.probe::<1>(keys, groups),
            2 => self.probe::<2>(keys, groups),
            3 => self.probe::<3>(keys, groups),
            4 => self.probe::<4>(keys, groups),
            6 => self.probe::<6>(keys, groups),
            8 => self.probe::<8>(keys, groups),
            other => unreachable!("invariant: keys have 1, 2, 3, 4, 6 or 8 words, found {other}"),
        }
    }

    /// Probes in runs short enough for their hashes, slots and rows to stay in a near cache. Each step of a
    /// run is a loop of independent loads, so that the cache misses of many rows overlap.
    fn probe<const WORDS: usize>(&mut self, keys: &[u64], groups: &mut Vec<GroupIndex>) {
        let (keys, rest) = keys.as_chunks::<WORDS>();
        assert!(rest.is_empty(), "invariant: whole keys");
        assert!(groups.is_empty(), "invariant: groups are those of these keys");
        groups.resize(keys.len(), NO_GROUP);
        if let Some(slots) = self.slots.only_sub_table() {
            self.probe_near(slots, keys, groups);
            for (group, key) in groups.iter_mut().zip(keys) {
                if *group == NO_GROUP {
                    *group = self.find_or_add(hash_words(key), key);
                }
            }
            return;
        }
        let mut hashes = std::mem::take(&mut self.hashes);
        let mut slots = std::mem::take(&mut self.found);
        for (keys, groups) in keys.chunks(PROBE_ROWS).zip(groups.chunks_mut(PROBE_ROWS)) {
            hashes.clear();
            hashes.extend(keys.iter().map(hash_words));
            slots.resize(keys.len(), 0);
            self.slots.find_slots(&hashes, &mut slots);
            self.compare_keys(keys, &slots, groups);
            for ((group, key), &hash) in groups.iter_mut().zip(keys).zip(&hashes) {
                if *group == NO_GROUP {
                    *group = self.find_or_add(hash, key);
                }
            }
        }
        self.hashes = hashes;
        self.found = slots;
    }

    /// The groups of a table that lies in the nearest caches, in one pass; [`NO_GROUP`] where there is none,
    /// or where another key has the same hash.
    fn probe_near<const WORDS: usize>(
        &self,
        slots: &[Slot],
        keys: &[[u64; WORDS]],
        groups: &mut [GroupIndex],
    ) {
        let (rows, stride, mask) = (self.rows.as_slice(), self.stride, slots.len() - 1);
        for (group, key) in groups.iter_mut().zip(keys) {
            let hash = hash_words(key);
            let mut at = hash as usize & mask;
            while slots[at] != 0 && (slots[at] >> 32) as u32 != hash {
                at = (at + 1) & mask;
            }
            let found = (slots[at] as GroupIndex).wrapping_sub(1);
            let start = found as usize * stride;
            let has_key = rows.get(start..start + WORDS).is_some_and(|words| words == key);
            *group = if has_key { found } else { NO_GROUP };
        }
    }

    /// The group that each slot names, if it has the key; [`NO_GROUP`] otherwise.
    fn compare_keys<const WORDS: usize>(
        &self,
        keys: &[[u64; WORDS]],
        slots: &[Slot],
        groups: &mut [GroupIndex],
    ) {
        let (rows, stride) = (self.rows.as_slice(), self.stride);
        for ((group, key), &slot) in groups.iter_mut().zip(keys).zip(slots) {
            // Of an empty slot this is no row at all.
            let found = (slot as GroupIndex).wrapping_sub(1);
            let start = found as usize * stride;
            let has_key = rows.get(start..start + WORDS).is_some_and(|words| words == key);
            *group = if has_key { found } else { NO_GROUP };
        }
    }

    #[inline(always)]
    fn has_key<const WORDS: usize>(&self, group: GroupIndex, key: &[u64; WORDS]) -> bool {
        let start = group as usize * self.stride;
        self.rows
            .get(start..start + WORDS)
            .is_some_and(|words| words == key)
    }

    /// Looks again, whatever was added since the slots were read.
    #[inline(never)]
    fn find_or_add<const WORDS: usize>(&mut self, hash: u32, key: &[u64; WORDS]) -> GroupIndex {
        let found = self.slots.find(hash, |row| self.has_key(row, key));
        found.unwrap_or_else(|| self.add(hash, key))
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, hash: u32, key: &[u64]) -> GroupIndex {
        let group = self.push_row(key);
        self.slots.insert(hash, group);
        group
    }

    fn push_row(&mut self, key: &[u64]) -> GroupIndex {
        let group =
            GroupIndex::try_from(self.groups).expect("invariant: a table holds fewer than 2^32 groups");
        for id in self.interned_words.iter().filter_map(|word| word.id(key)) {
            self.interner.retain(id);
        }
        if self.initial.is_empty() {
            // A few bytes a key beside state that lies elsewhere: moved more often, they leave less unused.
            make_room(&mut self.rows, key.len());
        }
        self.rows.extend_from_slice(key);
        self.rows.extend_from_slice(&self.initial);
        self.groups += 1;
        group
    }

    /// Makes room for so many more groups at once.
    pub fn reserve(&mut self, groups: usize) {
        self.rows.reserve(groups * self.stride);
    }

    /// Adds `rows` groups that no key leads to.
    pub fn push_unkeyed(&mut self, rows: usize) {
        assert_eq!(
            self.layout.words, 0,
            "invariant: a keyed group is found by its key"
        );
        let words = self.initial.iter().copied();
        self.rows.extend(words.cycle().take(rows * self.initial.len()));
        self.groups += rows;
    }

    fn find_or_insert_one(&mut self, key: &[u64; 1]) -> GroupIndex {
        self.find_or_add(hash_words(key), key)
    }

    fn null_group(&mut self) -> GroupIndex {
        if let Some(group) = self.null_group {
            return group;
        }
        let group = self.push_row(&[0]);
        self.null_group = Some(group);
        group
    }

    /// Finds or adds the groups that groups `from` of `other`, a table of the same layout, have
    /// the keys of.
    pub fn find_or_insert_from(
        &mut self,
        other: &GroupTable,
        from: &[GroupIndex],
        groups: &mut Vec<GroupIndex>,
    ) {
        assert_eq!(
            self.layout.words, other.layout.words,
            "invariant: tables of one operator"
        );
        groups.clear();
        if self.layout.words == 0 {
            self.insert_global(from.len(), groups);
            return;
        }
        let mut keys = Vec::with_capacity(from.len() * self.layout.words);
        for &group in from {
            keys.extend_from_slice(other.key_words(group));
        }
        self.translate(&mut keys, &other.interner);
        match other.null_group.filter(|group| from.contains(group)) {
            None => self.find_or_insert_words(&keys, groups),
            Some(null_group) => {
                for (&group, &key) in from.iter().zip(&keys) {
                    let found = if group == null_group {
                        self.null_group()
                    } else {
                        self.find_or_insert_one(&[key])
                    };
                    groups.push(found);
                }
            }
        }
    }

    /// Replaces ids of another table's interner by ids of this one's.
    fn translate(&mut self, keys: &mut [u64], from: &Interner) {
        let interner = &mut self.interner;
        if self.layout.encoded {
            keys.iter_mut()
                .for_each(|id| *id = interner.intern(from.get(*id)));
            return;
        }
        for key in &self.layout.fields {
            if let Place::Text(word) = key.place {
                for row in keys.chunks_exact_mut(self.layout.words) {
                    if row[word + 1] >> 56 == TEXT_INTERNED {
                        row[word] = interner.intern(from.get(row[word]));
                    }
                }
            }
        }
    }

    /// The key words of a group.
    pub(crate) fn key_words(&self, group: GroupIndex) -> &[u64] {
        let start = group as usize * self.stride;
        &self.rows[start..start + self.layout.words]
    }

    /// The text or row encoding interned as `id`.
    pub(crate) fn interned(&self, id: u64) -> &[u8] {
        self.interner.get(id)
    }

    /// Whether the group's key is the NULL that has no bit.
    pub(crate) fn is_null_group(&self, group: GroupIndex) -> bool {
        self.null_group == Some(group)
    }

    /// The accumulator words of all groups, to be updated.
    pub(crate) fn states_mut(&mut self) -> StatesMut<'_> {
        StatesMut {
            rows: &mut self.rows,
            stride: self.stride,
            start: self.layout.words,
        }
    }

    /// The accumulator words of a group.
    #[inline(always)]
    pub(crate) fn state(&self, group: GroupIndex) -> &[u64] {
        let start = group as usize * self.stride;
        &self.rows[start + self.layout.words..start + self.stride]
    }

    /// Forgets all groups.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.rows.clear();
        self.interner.clear();
        self.codes.forget();
        self.null_group = None;
        self.groups = 0;
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.slots.allocated_bytes()
            + self.rows.capacity() * size_of::<u64>()
            + self.hashes.capacity() * size_of::<u32>()
            + self.found.capacity() * size_of::<u64>()
            + self.codes.allocated_bytes()
            + self.interner.allocated_bytes()
    }
}

/// The accumulator words of all groups of a table.
pub(crate) struct StatesMut<'a> {
    rows: &'a mut [u64],
    stride: usize,
    start: usize,
}

impl StatesMut<'_> {
    /// The same, as a local of a loop: fields behind a reference would be read again after each store.
    #[inline(always)]
    pub fn reborrow(&mut self) -> StatesMut<'_> {
        StatesMut {
            rows: self.rows,
            stride: self.stride,
            start: self.start,
        }
    }

    /// Words `offset..offset + WORDS` of a group.
    #[inline(always)]
    pub fn words<const WORDS: usize>(&mut self, group: GroupIndex, offset: usize) -> &mut [u64; WORDS] {
        let start = group as usize * self.stride + self.start + offset;
        let words = self.rows.get_mut(start..start + WORDS);
        words
            .and_then(|words| words.as_mut_array())
            .expect("invariant: accumulator words lie within the row")
    }

    /// All words of a group.
    pub fn all(&mut self, group: GroupIndex) -> &mut [u64] {
        let start = group as usize * self.stride;
        &mut self.rows[start + self.start..start + self.stride]
    }
}

/// The table's own hash: never 0.
#[inline(always)]
fn hash_words<const WORDS: usize>(key: &[u64; WORDS]) -> u32 {
    let mut hash = if WORDS == 1 {
        folded_multiply(key[0] ^ SEED, MULTIPLIER)
    } else {
        folded_multiply(key[0] ^ SEED, key[1] ^ SEED_NEXT)
    };
    for &word in key.iter().skip(2) {
        hash = folded_multiply(hash.rotate_left(29) ^ word, MULTIPLIER);
    }
    ((hash >> 32) as u32).max(1)
}
