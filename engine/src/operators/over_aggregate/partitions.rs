//! Partition keys as dense numbers, in order of first arrival.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow_row::{RowConverter, SortField};
use hashbrown::HashTable;

use crate::error::ExecutionError;
use crate::operators::over_aggregate::over_error;
use crate::state::hash::hash_bytes;

/// The partitions met so far.
pub(super) struct Partitions {
    columns: Vec<usize>,
    converter: Option<RowConverter>,
    /// Numbers of partitions by hash of their key.
    numbers: HashTable<u32>,
    keys: Vec<Box<[u8]>>,
    hashes: Vec<u64>,
    key_bytes: usize,
    /// The event time at which `has_ties` last saw each partition, and in which pass.
    seen: Vec<(u64, i64)>,
    pass: u64,
}

impl Partitions {
    pub(super) fn new(columns: &[usize], input: &SchemaRef) -> Result<Partitions, ExecutionError> {
        let by_text = matches!(columns, [only] if input.field(*only).data_type() == &DataType::Utf8);
        let converter = match columns.is_empty() || by_text {
            true => None,
            false => {
                let fields = columns
                    .iter()
                    .map(|&column| SortField::new(input.field(column).data_type().clone()))
                    .collect();
                Some(RowConverter::new(fields).map_err(over_error)?)
            }
        };
        Ok(Partitions {
            columns: columns.to_vec(),
            converter,
            numbers: HashTable::new(),
            keys: Vec::new(),
            hashes: Vec::new(),
            key_bytes: 0,
            seen: Vec::new(),
            pass: 0,
        })
    }

    /// The number of each row's partition.
    pub(super) fn ids(&mut self, rows: &RecordBatch) -> Result<Vec<u32>, ExecutionError> {
        if self.columns.is_empty() {
            if self.keys.is_empty() {
                self.intern(&[]);
            }
            return Ok(vec![0; rows.num_rows()]);
        }
        let mut ids = Vec::with_capacity(rows.num_rows());
        if self.converter.is_none() {
            let text = rows.column(self.columns[0]).as_string::<i32>().clone();
            let mut key = Vec::new();
            for row in 0..text.len() {
                // A leading byte tells NULL from the empty string.
                key.clear();
                if text.is_valid(row) {
                    key.push(1);
                    key.extend_from_slice(text.value(row).as_bytes());
                }
                ids.push(self.intern(&key));
            }
            return Ok(ids);
        }
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|&column| rows.column(column).clone())
            .collect();
        let converter = self
            .converter
            .as_ref()
            .expect("invariant: more than text has a converter");
        let encoded = converter.convert_columns(&columns).map_err(over_error)?;
        for key in encoded.iter() {
            ids.push(self.intern(key.as_ref()));
        }
        Ok(ids)
    }

    fn intern(&mut self, key: &[u8]) -> u32 {
        let hash = hash_bytes(key);
        let keys = &self.keys;
        if let Some(&number) = self
            .numbers
            .find(hash, |&number| keys[number as usize].as_ref() == key)
        {
            return number;
        }
        let number = u32::try_from(self.keys.len()).expect("invariant: fewer than 2^32 partitions");
        self.keys.push(key.into());
        self.hashes.push(hash);
        self.key_bytes += key.len();
        self.seen.push((0, 0));
        let hashes = &self.hashes;
        self.numbers
            .insert_unique(hash, number, |&number| hashes[number as usize]);
        number
    }

    /// Whether two rows of one partition share an event time; `order` sorts rows by time.
    pub(super) fn has_ties(&mut self, ids: &[u32], order: &[u32], times: &[i64]) -> bool {
        self.pass += 1;
        order.iter().any(|&row| {
            let now = (self.pass, times[row as usize]);
            std::mem::replace(&mut self.seen[ids[row as usize] as usize], now) == now
        })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.key_bytes + self.keys.capacity() * 48
    }
}
