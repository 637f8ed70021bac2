//! The keys of JSON objects that come in the same order time after time.
//!
//! An object's keys are compared with those of the object before it, at the place expected; only a
//! key that is not there is looked up by name.

use crate::limits::OBJECT_KEYS_MAX;
use arrow::datatypes::Fields;

use super::scan::byte;

/// The names of an object's columns, and the keys of the object before.
#[derive(Debug)]
pub(super) struct ObjectKeys {
    /// Names by column.
    names: Vec<Box<[u8]>>,
    /// The keys of the object before, in their order.
    order: Vec<KnownKey>,
}

/// A key as it stands in the text, and the column it belongs to.
#[derive(Debug)]
struct KnownKey {
    /// `"name":`.
    pattern: Box<[u8]>,
    /// The first 16 bytes of the pattern, and which bits of 16 bytes of text must equal them.
    head: u128,
    head_mask: u128,
    column: Option<usize>,
}

impl KnownKey {
    fn new(name: &[u8], column: Option<usize>) -> KnownKey {
        let pattern = [b"\"", name, b"\":"].concat();
        let mut head = [0; 16];
        let length = pattern.len().min(16);
        head[..length].copy_from_slice(&pattern[..length]);
        KnownKey {
            pattern: pattern.into(),
            head: u128::from_le_bytes(head),
            head_mask: u128::MAX >> (128 - 8 * length),
            column,
        }
    }

    #[inline]
    fn stands_at(&self, text: &[u8], at: usize) -> bool {
        let Some(rest) = text.get(at..) else {
            return false;
        };
        match rest.split_first_chunk::<16>() {
            Some((head, tail)) => {
                (u128::from_le_bytes(*head) ^ self.head) & self.head_mask == 0
                    && (self.pattern.len() <= 16 || tail.starts_with(&self.pattern[16..]))
            }
            None => rest.starts_with(&self.pattern),
        }
    }
}

impl ObjectKeys {
    /// The keys of objects with these columns.
    pub(super) fn new(fields: &Fields) -> ObjectKeys {
        ObjectKeys {
            names: fields
                .iter()
                .map(|field| field.name().as_bytes().into())
                .collect(),
            order: Vec::new(),
        }
    }

    /// Whether the key number `place` of the object before stands at `at`: its column, and where
    /// its value begins.
    #[inline]
    pub(super) fn expected(&self, place: usize, text: &[u8], at: usize) -> Option<(Option<usize>, usize)> {
        let key = self.order.get(place)?;
        key.stands_at(text, at)
            .then_some((key.column, at + key.pattern.len()))
    }

    /// The column of a key that was not expected at `place`, and the place behind it. The key is
    /// expected there from now on, unless it stood further on in the object before.
    pub(super) fn look_up(&mut self, place: usize, name: &[u8]) -> (Option<usize>, usize) {
        let known = self.order.iter().skip(place).position(|key| key.name() == name);
        if let Some(distance) = known {
            return (self.order[place + distance].column, place + distance + 1);
        }
        let column = self.names.iter().position(|known| **known == *name);
        // A name with an escape would never be found as it stands.
        let is_plain = name
            .iter()
            .all(|&letter| letter != b'"' && letter != b'\\' && letter >= b' ');
        if place < OBJECT_KEYS_MAX && is_plain {
            let key = KnownKey::new(name, column);
            match self.order.get_mut(place) {
                Some(expected) => *expected = key,
                None => self.order.push(key),
            }
        }
        (column, place + 1)
    }
}

impl KnownKey {
    fn name(&self) -> &[u8] {
        &self.pattern[1..self.pattern.len() - 2]
    }
}

/// Where the first byte stands at or behind `at` that is not a blank.
#[inline]
pub(super) fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while matches!(byte(text, at), b' ' | b'\t' | b'\r' | b'\n') {
        at += 1;
    }
    at
}
