//! The routing hash: one seeded, stable 64-bit hash per row over key columns.
//!
//! The exchange takes the key group from its top bits ([`key_group`]); group tables hash with a
//! seed of their own, so that the rows of one shard still spread over a table.
//!
//! **Invariant.** The hash depends on the values alone: not on the process, the batch, the slice,
//! dictionary encoding, or the width of an integer. It may never change within a format version
//! of snapshots, because key groups are derived from it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, downcast_dictionary_array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, IntervalMonthDayNanoType};
use arrow_row::{RowConverter, SortField};

use crate::state::words::append_words;

/// Bits of a hash that choose the key group.
pub const KEY_GROUP_BITS: u32 = 12;

/// Key groups: the unit that moves between shards when their number changes.
pub const KEY_GROUPS: usize = 1 << KEY_GROUP_BITS;

const SEED_ROW: u64 = 0x243f_6a88_85a3_08d3;
const SEED_NEXT: u64 = 0x1319_8a2e_0370_7344;
const SEED_BYTES: u64 = 0xa409_3822_299f_31d0;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLIER_BYTES: u64 = 0xc2b2_ae3d_27d4_eb4f;
/// Stands for a NULL; that it equals the word of some integer only costs a collision.
const NULL_WORD: u64 = 0x0801_f2e2_858e_fc16;

/// The key group of a hash, `0..KEY_GROUPS`.
pub fn key_group(hash: u64) -> usize {
    (hash >> (64 - KEY_GROUP_BITS)) as usize
}

/// The shard that owns a hash: key groups lie over the shards in ranges.
#[inline]
pub fn owner(hash: u64, shards: usize) -> usize {
    key_group(hash) * shards / KEY_GROUPS
}

/// Both halves of the 128-bit product, folded: one multiplication that mixes all bits.
#[inline(always)]
pub(crate) fn folded_multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A 64-bit hash of bytes; equal bytes give equal hashes, everywhere.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let mut state = SEED_BYTES ^ length as u64;
    let (low, high) = if length > 16 {
        let mut chunks = bytes.chunks_exact(16);
        for chunk in &mut chunks {
            let (low, high) = (read_word(chunk, 0), read_word(chunk, 8));
            state = folded_multiply(low ^ state, high ^ MULTIPLIER_BYTES);
        }
        (read_word(bytes, length - 16), read_word(bytes, length - 8))
    } else if length >= 8 {
        (read_word(bytes, 0), read_word(bytes, length - 8))
    } else if length >= 4 {
        (read_half(bytes, 0), read_half(bytes, length - 4))
    } else if length > 0 {
        let ends = u64::from(bytes[0]) | u64::from(bytes[length - 1]) << 8;
        (ends, u64::from(bytes[length / 2]))
    } else {
        (0, 0)
    };
    folded_multiply(low ^ state, high ^ MULTIPLIER_BYTES)
}

#[inline(always)]
fn read_word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[inline(always)]
fn read_half(bytes: &[u8], at: usize) -> u64 {
    let mut half = [0; 4];
    half.copy_from_slice(&bytes[at..at + 4]);
    u64::from(u32::from_le_bytes(half))
}

/// Hashes each row over `columns` into `out` (cleared first; one hash per row). No columns give
/// no hashes: there is no row count to be had from them.
///
/// # Panics
///
/// If the columns differ in length, or hold a type that no SQL type maps to.
pub fn hash_columns(columns: &[ArrayRef], out: &mut Vec<u64>) {
    out.clear();
    let mut words = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        words.clear();
        column_words(column, &mut words);
        if index == 0 {
            out.extend(
                words
                    .iter()
                    .map(|&word| folded_multiply(word ^ SEED_ROW, MULTIPLIER)),
            );
        } else {
            assert_eq!(
                words.len(),
                out.len(),
                "invariant: key columns have equal lengths"
            );
            for (hash, word) in out.iter_mut().zip(&words) {
                *hash = folded_multiply(hash.rotate_left(23) ^ word, SEED_NEXT ^ MULTIPLIER);
            }
        }
    }
}

/// Appends one word per row of `column`, NULLs included.
fn column_words(column: &ArrayRef, out: &mut Vec<u64>) {
    if !append_words(column, out) {
        match column.data_type() {
            DataType::Utf8 => out.extend(column.as_string::<i32>().iter().map(optional_bytes)),
            DataType::LargeUtf8 => out.extend(column.as_string::<i64>().iter().map(optional_bytes)),
            DataType::Utf8View => out.extend(column.as_string_view().iter().map(optional_bytes)),
            DataType::Binary => out.extend(column.as_binary::<i32>().iter().map(optional_bytes)),
            DataType::LargeBinary => out.extend(column.as_binary::<i64>().iter().map(optional_bytes)),
            DataType::BinaryView => out.extend(column.as_binary_view().iter().map(optional_bytes)),
            DataType::FixedSizeBinary(_) => {
                out.extend(column.as_fixed_size_binary().iter().map(optional_bytes));
            }
            DataType::Null => out.extend(std::iter::repeat_n(NULL_WORD, column.len())),
            DataType::Decimal128(_, _) => {
                let values = column.as_primitive::<Decimal128Type>().values();
                out.extend(values.iter().map(|&value| hash_i128(value)));
            }
            DataType::Decimal256(_, _) => {
                let values = column.as_primitive::<Decimal256Type>().values();
                out.extend(values.iter().map(|value| hash_bytes(&value.to_le_bytes())));
            }
            DataType::Interval(_) if column.as_primitive_opt::<IntervalMonthDayNanoType>().is_some() => {
                let values = column.as_primitive::<IntervalMonthDayNanoType>().values();
                out.extend(values.iter().map(|value| {
                    let days = (value.months as u64) << 32 | u64::from(value.days as u32);
                    folded_multiply(days ^ SEED_BYTES, MULTIPLIER) ^ value.nanoseconds as u64
                }));
            }
            DataType::Dictionary(_, _) => dictionary_words(column, out),
            _ => nested_words(column, out),
        }
    }
    if let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        let start = out.len() - column.len();
        for (word, valid) in out[start..].iter_mut().zip(nulls.iter()) {
            *word = if valid { *word } else { NULL_WORD };
        }
    }
}

fn optional_bytes(value: Option<impl AsRef<[u8]>>) -> u64 {
    value.map_or(NULL_WORD, |bytes| hash_bytes(bytes.as_ref()))
}

/// A decimal that fits 64 bits hashes as that integer would.
fn hash_i128(value: i128) -> u64 {
    match i64::try_from(value) {
        Ok(small) => small as u64,
        Err(_) => folded_multiply(value as u64 ^ SEED_BYTES, (value >> 64) as u64 ^ MULTIPLIER),
    }
}

/// Hashes the values of a dictionary once and looks the rows up.
fn dictionary_words(column: &ArrayRef, out: &mut Vec<u64>) {
    let column: &dyn Array = column;
    downcast_dictionary_array! {
        column => {
            let mut words = Vec::new();
            column_words(&Arc::clone(column.values()), &mut words);
            out.extend(column.keys_iter().map(|key| key.map_or(NULL_WORD, |key| words[key])));
        }
        other => unreachable!("invariant: a dictionary column, found {other}"),
    }
}

/// Lists, structs and maps: the hash of their row encoding.
fn nested_words(column: &ArrayRef, out: &mut Vec<u64>) {
    let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])
        .expect("invariant: SQL types have a row encoding");
    let rows = converter
        .convert_columns(std::slice::from_ref(column))
        .expect("invariant: the converter was made for this type");
    out.extend(rows.iter().map(|row| hash_bytes(row.as_ref())));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow::array::{
        DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray,
        TimestampMillisecondArray,
    };
    use arrow::datatypes::{Int32Type, Int64Type};

    use super::*;

    fn hashes(columns: &[ArrayRef]) -> Vec<u64> {
        let mut out = vec![7];
        hash_columns(columns, &mut out);
        out
    }

    #[test]
    fn equal_values_hash_equally_in_slices_dictionaries_and_other_widths() {
        let texts = [
            "",
            "a",
            "ab",
            "abcd",
            "abcdefgh",
            "abcdefghijklmnopq",
            "a longer text than two words",
        ];
        let plain: ArrayRef = Arc::new(StringArray::from_iter(
            texts.iter().map(Some).chain(std::iter::once(None)),
        ));
        let dictionary: DictionaryArray<Int32Type> = texts.iter().copied().map(Some).chain([None]).collect();
        let dictionary: ArrayRef = Arc::new(dictionary);
        let expected = hashes(std::slice::from_ref(&plain));
        assert_eq!(expected, hashes(&[dictionary]));
        assert_eq!(expected[2..5], hashes(&[plain.slice(2, 3)]));
        assert_eq!(expected.iter().collect::<HashSet<_>>().len(), expected.len());

        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(-3), None, Some(70_000)]));
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(-3), None, Some(70_000)]));
        assert_eq!(hashes(&[wide]), hashes(&[narrow]));
    }

    #[test]
    fn a_null_hashes_the_same_whatever_lies_in_the_buffer() {
        let nulls = arrow::buffer::NullBuffer::from(vec![false, true]);
        let one: ArrayRef = Arc::new(Int64Array::new(vec![1, 5].into(), Some(nulls.clone())));
        let other: ArrayRef = Arc::new(Int64Array::new(vec![2, 5].into(), Some(nulls)));
        assert_eq!(hashes(&[one]), hashes(&[other]));
    }

    #[test]
    fn the_zeros_are_one_value_and_so_are_the_nans() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        let hashes = hashes(&[floats]);
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(hashes[2], hashes[3]);
    }

    #[test]
    fn hashes_never_change_between_builds() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["ACME", "velocore"]));
        let both = hashes(&[numbers.clone(), texts.clone()]);
        assert_ne!(both, hashes(&[texts, numbers]));
        assert_eq!(both, [2375414010388905614, 3008640396497651069]);
    }

    #[test]
    fn key_groups_are_evenly_used_by_sequential_keys_of_every_kind() {
        let count = 64 * KEY_GROUPS as i64;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(
            (0..count).map(|at| 1_700_000_000_000 + at * 60_000),
        ));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..count).map(|number| format!("user-{number}")),
        ));
        for column in [numbers, times, texts] {
            let mut used = vec![0u32; KEY_GROUPS];
            for hash in hashes(&[column]) {
                used[key_group(hash)] += 1;
            }
            let worst = used.iter().max().copied().unwrap_or(0);
            assert!(worst < 160, "a key group got {worst} of 64 expected keys");
            let empty = used.iter().filter(|&&keys| keys == 0).count();
            assert_eq!(empty, 0, "key groups without keys");
        }
    }

    #[test]
    fn nested_values_hash_by_content() {
        let lists = [
            Some(vec![Some(1), Some(2)]),
            Some(vec![]),
            None,
            Some(vec![Some(1), Some(2)]),
        ];
        let column: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let hashes = hashes(&[column]);
        assert_eq!(hashes[0], hashes[3]);
        assert_ne!(hashes[0], hashes[1]);
    }
}
