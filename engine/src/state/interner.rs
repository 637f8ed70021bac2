//! Byte strings as numbers: long texts and row encodings, interned once per group table.
//!
//! **Invariant.** Within one interner equal bytes have equal ids and different bytes different
//! ids, so that keys compare as words. Ids count up in order of first arrival and are never reused.

use hashbrown::HashTable;

use crate::state::hash::hash_bytes;

/// A set of byte strings, numbered from 0.
#[derive(Debug, Default)]
pub struct Interner {
    bytes: Vec<u8>,
    /// `ends[id]` is where string `id` ends; it begins where the one before ends.
    ends: Vec<usize>,
    ids: HashTable<(u64, u32)>,
}

impl Interner {
    /// The id of `bytes`, given now if they are new.
    pub fn intern(&mut self, bytes: &[u8]) -> u64 {
        let hash = hash_bytes(bytes);
        let found = self.ids.find(hash, |&(other, id)| {
            other == hash && self.get(u64::from(id)) == bytes
        });
        if let Some(&(_, id)) = found {
            return u64::from(id);
        }
        let id = u32::try_from(self.ends.len()).expect("invariant: a table holds fewer than 2^32 texts");
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.ids.insert_unique(hash, (hash, id), |&(hash, _)| hash);
        u64::from(id)
    }

    /// The bytes of `id`.
    pub fn get(&self, id: u64) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..self.ends[id]]
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.ids.clear();
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>() + self.ids.allocation_size()
    }
}
