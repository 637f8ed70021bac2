//! Finding bytes: short distances by words of eight bytes, long ones by memchr.

use memchr::{memchr, memchr2};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Words looked at before a call of memchr pays.
const WORDS: usize = 2;

/// High bits of the bytes of `word` that are zero; only the lowest one set is certain.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

#[inline]
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

/// The byte at `at`, 0 behind the end.
#[inline]
pub(super) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// Where `needle` first stands at or behind `at`; the length where it does not.
#[inline]
pub(super) fn find(bytes: &[u8], mut at: usize, needle: u8) -> usize {
    let pattern = ONES * u64::from(needle);
    for _ in 0..WORDS {
        let Some(word) = word_at(bytes, at) else { break };
        let hits = zero_bytes(word ^ pattern);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    memchr(needle, rest).map_or(bytes.len(), |found| at + found)
}

/// Where `one` or `other` first stands at or behind `at`; the length where neither does.
#[inline]
pub(super) fn find_either(bytes: &[u8], mut at: usize, one: u8, other: u8) -> usize {
    let (one_pattern, other_pattern) = (ONES * u64::from(one), ONES * u64::from(other));
    for _ in 0..WORDS {
        let Some(word) = word_at(bytes, at) else { break };
        let hits = zero_bytes(word ^ one_pattern) | zero_bytes(word ^ other_pattern);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    memchr2(one, other, rest).map_or(bytes.len(), |found| at + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_either_byte_is_found_at_every_distance() {
        for length in 0..80 {
            for place in 0..=length {
                let mut bytes = vec![b'a'; length];
                if let Some(there) = bytes.get_mut(place) {
                    *there = b'"';
                }
                if let Some(there) = bytes.get_mut(place + 3) {
                    *there = b'\\';
                }
                assert_eq!(find_either(&bytes, 0, b'"', b'\\'), place, "{length} {place}");
                assert_eq!(find_either(&bytes, 0, b'\\', b'"'), place);
                assert_eq!(find(&bytes, 0, b'"'), place);
                for from in 0..=place {
                    assert_eq!(find(&bytes, from, b'"'), place);
                }
            }
        }
        assert_eq!(
            find(b"\xa2\x22", 0, b'"'),
            1,
            "a byte that differs in its high bit is no match"
        );
    }
}
