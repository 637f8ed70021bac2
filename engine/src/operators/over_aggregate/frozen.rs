//! Values of frames as bytes of a snapshot: little-endian numbers, lists behind their length.
//!
//! **Invariant.** Reading what was written gives the same value, floats to the last bit; bytes that end early
//! give nothing.

use std::sync::Arc;

/// A value that can be written and read.
pub(super) trait Frozen: Sized {
    /// Appends the value.
    fn freeze(&self, bytes: &mut Vec<u8>);

    /// Takes a value off the front; `None` if it is not whole.
    fn thaw(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Frozen for $type {
            fn freeze(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn thaw(bytes: &mut &[u8]) -> Option<$type> {
                let (number, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(<$type>::from_le_bytes(*number))
            }
        }
    )*};
}

number!(u64, i64, i128, f64);

impl Frozen for () {
    fn freeze(&self, _bytes: &mut Vec<u8>) {}

    fn thaw(_bytes: &mut &[u8]) -> Option<()> {
        Some(())
    }
}

impl<A: Frozen, B: Frozen> Frozen for (A, B) {
    fn freeze(&self, bytes: &mut Vec<u8>) {
        self.0.freeze(bytes);
        self.1.freeze(bytes);
    }

    fn thaw(bytes: &mut &[u8]) -> Option<(A, B)> {
        Some((A::thaw(bytes)?, B::thaw(bytes)?))
    }
}

impl<V: Frozen> Frozen for Vec<V> {
    fn freeze(&self, bytes: &mut Vec<u8>) {
        (self.len() as u64).freeze(bytes);
        self.iter().for_each(|value| value.freeze(bytes));
    }

    fn thaw(bytes: &mut &[u8]) -> Option<Vec<V>> {
        let length = u64::thaw(bytes)?;
        // A length that is not true ends the loop at the first value that is missing; `()` takes no bytes and
        // no memory.
        let mut values = Vec::new();
        for _ in 0..length {
            values.push(V::thaw(bytes)?);
        }
        Some(values)
    }
}

/// A text, or none: 0, or 1 and the bytes behind their length.
impl Frozen for Option<Arc<[u8]>> {
    fn freeze(&self, bytes: &mut Vec<u8>) {
        (self.is_some() as u64).freeze(bytes);
        if let Some(text) = self {
            (text.len() as u64).freeze(bytes);
            bytes.extend_from_slice(text);
        }
    }

    fn thaw(bytes: &mut &[u8]) -> Option<Option<Arc<[u8]>>> {
        if u64::thaw(bytes)? == 0 {
            return Some(None);
        }
        let length = usize::try_from(u64::thaw(bytes)?).ok()?;
        let (text, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(Some(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<V: Frozen + PartialEq + std::fmt::Debug>(value: V) {
        let mut bytes = Vec::new();
        value.freeze(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(V::thaw(&mut rest), Some(value));
        assert!(rest.is_empty());
        for length in 0..bytes.len() {
            assert!(V::thaw(&mut &bytes[..length]).is_none(), "cut at {length}");
        }
    }

    #[test]
    fn what_was_written_is_read_and_what_was_cut_is_not() {
        check(-7i64);
        check((1.5f64, i128::MIN));
        check(vec![(3i64, None), (4, Some(Arc::from(b"text".as_slice())))]);
    }
}
