//! Byte strings as numbers: long texts and row encodings, interned once per group table.
//!
//! The bytes lie in chunks. A table that forgets keys gives their texts up: a chunk is freed with its last
//! text, and rewritten once most of its bytes are dead, so that no step costs more than one chunk.
//!
//! **Invariant.** Within one interner equal bytes have equal ids and different bytes different ids, so that
//! keys compare as words. An id is given anew only after its last user has released it.

use hashbrown::HashTable;

use crate::state::hash::hash_bytes;

/// Bytes of a chunk, unless a single text is longer.
const CHUNK_BYTES: usize = 1 << 16;

/// A set of byte strings, numbered from 0.
#[derive(Debug, Default)]
pub struct Interner {
    chunks: Vec<Chunk>,
    /// Chunks without a text.
    free_chunks: Vec<u32>,
    texts: Vec<Text>,
    /// Ids without a text.
    free_ids: Vec<u32>,
    ids: HashTable<(u64, u32)>,
    /// The chunk that texts are appended to.
    open: Option<u32>,
    allocated: usize,
}

/// In [`Text::chunk`]: the id has no text.
const RELEASED: u32 = u32::MAX;

/// Where a text lies.
#[derive(Clone, Copy, Debug)]
struct Text {
    chunk: u32,
    start: u32,
    length: u32,
    /// Keys that hold it.
    uses: u32,
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// The texts that were put here, some of them released or moved since.
    ids: Vec<u32>,
    live_bytes: usize,
    live_texts: usize,
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
        let (chunk, start) = self.place(bytes);
        let length = u32::try_from(bytes.len()).expect("invariant: a text is shorter than 4 GiB");
        let text = Text {
            chunk,
            start,
            length,
            uses: 0,
        };
        let id = match self.free_ids.pop() {
            Some(id) => {
                self.texts[id as usize] = text;
                id
            }
            None => {
                self.texts.push(text);
                u32::try_from(self.texts.len() - 1).expect("invariant: a table holds fewer than 2^32 texts")
            }
        };
        self.chunks[chunk as usize].ids.push(id);
        self.ids.insert_unique(hash, (hash, id), |&(hash, _)| hash);
        u64::from(id)
    }

    /// Appends `bytes` to a chunk with room for them.
    fn place(&mut self, bytes: &[u8]) -> (u32, u32) {
        let has_room = |chunk: &Chunk| chunk.bytes.len() + bytes.len() <= CHUNK_BYTES;
        let open = self
            .open
            .filter(|&open| has_room(&self.chunks[open as usize]))
            .unwrap_or_else(|| self.open_chunk());
        let chunk = &mut self.chunks[open as usize];
        let start = chunk.bytes.len();
        let before = chunk.bytes.capacity();
        chunk.bytes.extend_from_slice(bytes);
        chunk.live_bytes += bytes.len();
        chunk.live_texts += 1;
        self.allocated += chunk.bytes.capacity() - before;
        (open, u32::try_from(start).expect("invariant: chunks are small"))
    }

    fn open_chunk(&mut self) -> u32 {
        let number = self.free_chunks.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::default());
            u32::try_from(self.chunks.len() - 1).expect("invariant: fewer than 2^32 chunks")
        });
        let closed = self.open.replace(number);
        if let Some(closed) = closed {
            self.tidy(closed);
        }
        number
    }

    /// The bytes of `id`.
    pub fn get(&self, id: u64) -> &[u8] {
        let text = self.texts[id as usize];
        let start = text.start as usize;
        &self.chunks[text.chunk as usize].bytes[start..start + text.length as usize]
    }

    /// One more key holds `id`.
    pub fn retain(&mut self, id: u64) {
        self.texts[id as usize].uses += 1;
    }

    /// One key less holds `id`; without any its bytes are forgotten.
    pub fn release(&mut self, id: u64) {
        let text = &mut self.texts[id as usize];
        assert!(
            text.uses > 0,
            "invariant: only a text that a key holds is released"
        );
        text.uses -= 1;
        if text.uses > 0 {
            return;
        }
        let text = *text;
        let id = id as u32;
        let hash = hash_bytes(self.get(u64::from(id)));
        let entry = self.ids.find_entry(hash, |&(_, other)| other == id);
        entry.expect("invariant: a text that is held is found").remove();
        self.free_ids.push(id);
        self.texts[id as usize].chunk = RELEASED;
        let chunk = &mut self.chunks[text.chunk as usize];
        chunk.live_bytes -= text.length as usize;
        chunk.live_texts -= 1;
        if self.open != Some(text.chunk) {
            self.tidy(text.chunk);
        }
    }

    /// Frees a closed chunk without texts; moves the few texts of one that is nearly empty.
    fn tidy(&mut self, number: u32) {
        let chunk = &mut self.chunks[number as usize];
        if chunk.live_texts > 0 && chunk.live_bytes * 4 > chunk.bytes.len() {
            return;
        }
        let chunk = std::mem::take(chunk);
        self.allocated -= chunk.bytes.capacity();
        for id in chunk.ids {
            let text = self.texts[id as usize];
            if text.chunk != number {
                continue;
            }
            let start = text.start as usize;
            let bytes = &chunk.bytes[start..start + text.length as usize];
            let (to, start) = self.place(bytes);
            self.chunks[to as usize].ids.push(id);
            let text = &mut self.texts[id as usize];
            (text.chunk, text.start) = (to, start);
        }
        self.free_chunks.push(number);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Interner::default();
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.allocated
            + (self.texts.capacity() * size_of::<Text>())
            + self.texts.len() * size_of::<u32>()
            + self.chunks.capacity() * size_of::<Chunk>()
            + self.ids.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_whatever_was_released_and_their_memory_is_used_again() {
        let mut interner = Interner::default();
        let text = |number: u64| format!("a text that is longer than a key {number}");
        let mut held: Vec<(u64, u64)> = Vec::new();
        let mut greatest = 0;
        for round in 0..200 {
            for number in round * 100..round * 100 + 100 {
                let id = interner.intern(text(number).as_bytes());
                interner.retain(id);
                held.push((number, id));
            }
            // One text of a hundred stays for long.
            let is_kept = |number: u64| number.is_multiple_of(100) || number / 100 >= round;
            held.retain(|&(number, id)| {
                let stays = is_kept(number);
                if !stays {
                    interner.release(id);
                }
                stays
            });
            for &(number, id) in &held {
                assert_eq!(interner.get(id), text(number).as_bytes());
                assert_eq!(interner.intern(text(number).as_bytes()), id);
            }
            greatest = greatest.max(interner.allocated);
        }
        assert!(greatest < 4 * CHUNK_BYTES, "{greatest} bytes");
    }

    #[test]
    fn a_text_that_two_keys_hold_outlives_the_first() {
        let mut interner = Interner::default();
        let id = interner.intern(b"held twice");
        interner.retain(id);
        interner.retain(id);
        interner.release(id);
        assert_eq!(interner.intern(b"held twice"), id);
        interner.release(id);
        let other = interner.intern(b"another");
        assert_eq!(interner.get(other), b"another");
    }
}
