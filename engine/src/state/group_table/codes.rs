//! Finding groups by the codes of dictionaries: where every key column lies as codes, a row's group is looked
//! up in an array by its codes, without a hash, a comparison, or a look at the text.
//!
//! **Invariant.** Only codes that a row has had lead to a group: a dictionary may hold values of no row. What is
//! known of codes holds for one set of dictionaries and until a group is forgotten.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;

use crate::encoding::codes_of;
use crate::limits::{CODES_OF_SMALL_TABLE_MAX, CODES_OF_TABLE_MAX};
use crate::state::group_table::{GroupIndex, GroupTable, NO_GROUP};
use crate::state::keys::KeyPacker;

/// Stands for codes whose first row of a batch is about to be looked up.
const PENDING: GroupIndex = NO_GROUP - 1;

/// What is known of the codes of one set of dictionaries.
#[derive(Debug, Default)]
pub(super) struct Codes {
    dictionaries: Vec<ArrayRef>,
    /// The group of each combination of codes, [`NO_GROUP`] where none was looked up.
    groups: Vec<GroupIndex>,
    /// The combination of each row of the batch at hand.
    rows: Vec<u32>,
}

impl Codes {
    /// Reads the codes of a batch; false if a column has none, or there are too many combinations of them for
    /// a table of `groups` groups.
    fn read(&mut self, columns: &[ArrayRef], groups: usize) -> bool {
        let mut combinations = 1usize;
        for column in columns {
            let Some(codes) = codes_of(column) else {
                return false;
            };
            // One more for NULL.
            combinations = combinations.saturating_mul(codes.values().len() + 1);
        }
        if columns.is_empty()
            || combinations > CODES_OF_SMALL_TABLE_MAX.max(4 * groups).min(CODES_OF_TABLE_MAX)
        {
            return false;
        }
        if !self.has_dictionaries(columns) {
            let dictionaries = columns.iter().filter_map(codes_of);
            self.dictionaries = dictionaries.map(|codes| codes.values().clone()).collect();
            self.groups.clear();
        }
        // Forgotten groups leave nothing behind.
        self.groups.resize(combinations, NO_GROUP);
        self.rows.clear();
        for (position, codes) in columns.iter().filter_map(codes_of).enumerate() {
            let null = codes.values().len() as u32;
            let keys = codes.keys();
            let has_nulls = keys.null_count() > 0;
            let code = |(row, &code): (usize, &i32)| match has_nulls && keys.is_null(row) {
                true => null,
                false => code as u32,
            };
            let values = keys.values().iter().enumerate().map(code);
            if position == 0 {
                self.rows.extend(values);
            } else {
                for (combination, code) in self.rows.iter_mut().zip(values) {
                    *combination = *combination * (null + 1) + code;
                }
            }
        }
        true
    }

    /// Whether the dictionaries of `columns` are those that the codes are known of: the same memory, which is
    /// kept here and so cannot have become another's.
    fn has_dictionaries(&self, columns: &[ArrayRef]) -> bool {
        self.dictionaries.len() == columns.len()
            && self.dictionaries.iter().zip(columns).all(|(known, column)| {
                let known = known.as_string::<i32>();
                let same = |other: &ArrayRef| {
                    let other = other.as_string::<i32>();
                    known.len() == other.len()
                        && known.value_offsets().as_ptr() == other.value_offsets().as_ptr()
                        && known.value_data().as_ptr() == other.value_data().as_ptr()
                        && known.nulls().is_none()
                        && other.nulls().is_none()
                };
                codes_of(column).is_some_and(|codes| same(codes.values()))
            })
    }

    /// The groups of the rows read; answers whether all are known.
    fn look_up(&self, groups: &mut Vec<GroupIndex>) -> bool {
        let known = self.groups.as_slice();
        groups.extend(self.rows.iter().map(|&row| known[row as usize]));
        groups.iter().all(|&group| group != NO_GROUP)
    }

    /// The first row of each combination that is not known, in the order of rows; they are pending from now on.
    fn take_unknown(&mut self, groups: &[GroupIndex]) -> Vec<u32> {
        let mut firsts = Vec::new();
        for (row, (&combination, &group)) in (0u32..).zip(self.rows.iter().zip(groups)) {
            let known = &mut self.groups[combination as usize];
            if group == NO_GROUP && *known == NO_GROUP {
                *known = PENDING;
                firsts.push(row);
            }
        }
        firsts
    }

    /// A group was forgotten, or all were.
    pub fn forget(&mut self) {
        self.groups.clear();
    }

    /// Bytes allocated; the dictionaries are the source's.
    pub fn allocated_bytes(&self) -> usize {
        (self.groups.capacity() + self.rows.capacity()) * size_of::<u32>()
    }
}

impl GroupTable {
    /// Finds or adds the groups of all rows by their codes; false if that is not possible.
    pub(super) fn find_by_codes(
        &mut self,
        packer: &mut KeyPacker,
        columns: &[ArrayRef],
        groups: &mut Vec<GroupIndex>,
    ) -> bool {
        if !self.codes.read(columns, self.groups) {
            return false;
        }
        if self.codes.look_up(groups) {
            return true;
        }
        let firsts = self.codes.take_unknown(groups);
        let rows = UInt32Array::from(firsts);
        let first = |column: &ArrayRef| {
            take(column, &rows, None).expect("invariant: rows of the batch, of a type that can be taken")
        };
        let keys: Vec<ArrayRef> = columns.iter().map(first).collect();
        let mut found = Vec::with_capacity(rows.len());
        packer.pack(&keys, rows.len(), &mut self.interner);
        self.find_or_insert_words(&packer.words, &mut found);
        for (&row, &group) in rows.values().iter().zip(&found) {
            let combination = self.codes.rows[row as usize];
            self.codes.groups[combination as usize] = group;
        }
        groups.clear();
        let all = self.codes.look_up(groups);
        assert!(all, "invariant: every row's codes were looked up");
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int32Type};

    use super::*;
    use crate::encoding::plain;
    use crate::state::keys::KeyLayout;

    fn table(columns: usize) -> (GroupTable, KeyPacker) {
        let field = |number: usize| Arc::new(Field::new(format!("k{number}"), DataType::Utf8, true));
        let layout = KeyLayout::new(&(0..columns).map(field).collect::<Vec<_>>());
        (GroupTable::new(layout.clone(), vec![0]), KeyPacker::new(layout))
    }

    fn column(dictionary: &ArrayRef, codes: &[Option<i32>]) -> ArrayRef {
        let codes = Int32Array::from(codes.to_vec());
        Arc::new(DictionaryArray::<Int32Type>::try_new(codes, dictionary.clone()).unwrap())
    }

    /// Two tables, one fed with codes and one with texts, number all rows alike.
    fn check(batches: &[Vec<ArrayRef>]) {
        let (mut by_codes, mut packer) = table(batches[0].len());
        let (mut by_texts, mut text_packer) = table(batches[0].len());
        for (number, columns) in batches.iter().enumerate() {
            let rows = columns[0].len();
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            by_codes.find_or_insert(&mut packer, columns, rows, &mut found);
            let texts: Vec<ArrayRef> = columns.iter().map(|column| plain(column).unwrap()).collect();
            by_texts.find_or_insert(&mut text_packer, &texts, rows, &mut expected);
            assert_eq!(found, expected, "batch {number}");
            if number == 2 {
                by_codes.clear();
                by_texts.clear();
            }
            if number == 4 {
                by_codes.remove(0);
                by_texts.remove(0);
            }
        }
        assert_eq!(by_codes.len(), by_texts.len());
    }

    #[test]
    fn rows_are_numbered_as_their_texts_are_whatever_the_dictionary() {
        let first: ArrayRef = Arc::new(StringArray::from(vec![
            "never used",
            "b",
            "a",
            "a text of more than fifteen bytes",
        ]));
        // Another order of the same texts, a text twice, and one that is NULL.
        let second: ArrayRef = Arc::new(StringArray::from(vec![
            Some("a"),
            None,
            Some("c"),
            Some("b"),
            Some("a"),
        ]));
        let batch = |dictionary: &ArrayRef, codes: &[Option<i32>]| column(dictionary, codes);
        let rows = [
            batch(&first, &[Some(2), Some(1), None, Some(3), Some(2)]),
            batch(&first, &[Some(1), Some(3), None]),
            batch(&second, &[Some(4), Some(0), Some(1), None, Some(2), Some(3)]),
            batch(&first, &[Some(3), Some(1)]),
            batch(&first, &[Some(2), Some(1)]),
            batch(&first, &[Some(1), Some(3), Some(2)]),
        ];
        check(&rows.clone().map(|column| vec![column]));
        // Rows of two columns, of other dictionaries and other orders.
        let pairs = rows.map(|column| {
            let turned: Vec<Option<i32>> = (0..column.len() as i32)
                .map(|row| (row % 2 == 0).then_some(row % 4))
                .collect();
            vec![column, batch(&first, &turned)]
        });
        check(&pairs);
    }

    #[test]
    fn too_many_combinations_and_plain_columns_are_packed() {
        let many: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..200).map(|number| format!("value {number}")),
        ));
        let codes: Vec<Option<i32>> = (0..200).map(Some).collect();
        let coded = column(&many, &codes);
        check(&[vec![coded.clone(), coded.clone()]]);
        check(&[vec![coded.clone(), plain(&coded).unwrap()]]);
        let (mut table, mut packer) = table(2);
        let pair = [coded.clone(), coded.clone()];
        assert!(!table.find_by_codes(&mut packer, &pair, &mut Vec::new()));
        // A table of many groups keeps the groups of more codes, up to a bound.
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..40_000).map(|number| format!("value {number}")),
        ));
        table.find_or_insert(&mut packer, &[texts.clone(), texts], 40_000, &mut Vec::new());
        assert!(table.find_by_codes(&mut packer, &pair, &mut Vec::new()));
        let more: ArrayRef = Arc::new(StringArray::from_iter_values(
            (0..400).map(|number| format!("value {number}")),
        ));
        let more = column(&more, &codes);
        assert!(!table.find_by_codes(&mut packer, &[coded, more], &mut Vec::new()));
    }
}
