//! Rows that share partition and event time: ordered by their own bytes.
//!
//! **Invariant.** Two rows that this leaves in the order they came are equal in every column, so
//! which of them is answered first cannot be seen.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow_row::{RowConverter, SortField};

use crate::error::ExecutionError;
use crate::operators::over_aggregate::over_error;
use crate::operators::over_aggregate::waiting::Run;
use crate::state::accumulators::inputs::ordered_values;
use crate::state::words::word_bits;

/// A row on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub time: i64,
    pub partition: u32,
    /// Which run it comes from, and its row there.
    pub run: u32,
    pub row: u32,
}

/// The columns that fit a word, of each run, NULLs as 0.
type WordColumns = Vec<Vec<ScalarBuffer<i64>>>;

/// By partition, then by the columns that fit a word.
fn compare_words(columns: &WordColumns, left: &Entry, right: &Entry) -> Ordering {
    let left_columns = columns[left.run as usize].iter();
    let right_columns = columns[right.run as usize].iter();
    let words = left_columns
        .zip(right_columns)
        .map(|(left_words, right_words)| left_words[left.row as usize].cmp(&right_words[right.row as usize]));
    let partitions = std::iter::once(left.partition.cmp(&right.partition));
    partitions
        .chain(words)
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Finds and orders ties.
pub(super) struct Ties {
    converter: RowConverter,
    /// Columns that the converter can encode: all but maps.
    encoded: Vec<usize>,
    /// Columns whose values fit a word: compared before whole rows are encoded.
    words: Vec<usize>,
    /// For each partition the pass in which it was last seen.
    seen: Vec<u64>,
    pass: u64,
}

impl Ties {
    /// For rows of columns `input`.
    pub fn new(input: &SchemaRef) -> Result<Ties, ExecutionError> {
        let sort_field = |column: usize| SortField::new(input.field(column).data_type().clone());
        let columns = 0..input.fields().len();
        let encoded: Vec<usize> = columns
            .clone()
            .filter(|&column| RowConverter::supports_fields(&[sort_field(column)]))
            .collect();
        let fields = encoded.iter().map(|&column| sort_field(column)).collect();
        Ok(Ties {
            converter: RowConverter::new(fields).map_err(over_error)?,
            encoded,
            words: columns
                .filter(|&column| word_bits(input.field(column).data_type()).is_some())
                .collect(),
            seen: Vec::new(),
            pass: 0,
        })
    }

    /// Whether two rows share partition and event time; `times` are in order.
    pub fn exist(&mut self, times: &[i64], partitions: &[u32]) -> bool {
        let mut start = 0;
        times.chunk_by(|left, right| left == right).any(|peers| {
            let peer_partitions = &partitions[start..start + peers.len()];
            start += peers.len();
            peers.len() > 1 && self.repeats(peer_partitions.iter().copied())
        })
    }

    fn repeats(&mut self, partitions: impl Iterator<Item = u32>) -> bool {
        self.pass += 1;
        let pass = self.pass;
        for partition in partitions {
            let partition = partition as usize;
            if self.seen.len() <= partition {
                self.seen.resize(partition + 1, 0);
            }
            if std::mem::replace(&mut self.seen[partition], pass) == pass {
                return true;
            }
        }
        false
    }

    /// Orders ties among `entries`, which are in order of event time.
    pub fn order(&mut self, entries: &mut [Entry], runs: &[Run]) -> Result<(), ExecutionError> {
        let mut columns: Option<WordColumns> = None;
        let mut start = 0;
        let mut equal_words = Vec::new();
        while start < entries.len() {
            let time = entries[start].time;
            let length = entries[start..]
                .iter()
                .take_while(|entry| entry.time == time)
                .count();
            let end = start + length;
            let peers = &mut entries[start..end];
            if length > 1 && self.repeats(peers.iter().map(|entry| entry.partition)) {
                let columns = columns.get_or_insert_with(|| self.word_columns(runs));
                let compare = |left: &Entry, right: &Entry| compare_words(columns, left, right);
                peers.sort_by(compare);
                let mut from = start;
                for equal in peers.chunk_by(|left, right| compare(left, right).is_eq()) {
                    if equal.len() > 1 {
                        equal_words.push(from..from + equal.len());
                    }
                    from += equal.len();
                }
            }
            start = end;
        }
        self.order_by_bytes(entries, &equal_words, runs)
    }

    fn word_columns(&self, runs: &[Run]) -> WordColumns {
        let column = |rows: &RecordBatch, index: usize| {
            let column = rows.column(index);
            let words = ordered_values(column);
            match column.nulls() {
                Some(nulls) if nulls.null_count() > 0 => words
                    .iter()
                    .zip(nulls)
                    .map(|(&word, valid)| if valid { word } else { 0 })
                    .collect(),
                _ => words,
            }
        };
        let columns = |run: &Run| self.words.iter().map(|&index| column(&run.rows, index)).collect();
        runs.iter().map(columns).collect()
    }

    /// Orders each of `ranges` by the encoding of whole rows.
    fn order_by_bytes(
        &self,
        entries: &mut [Entry],
        ranges: &[std::ops::Range<usize>],
        runs: &[Run],
    ) -> Result<(), ExecutionError> {
        if ranges.is_empty() {
            return Ok(());
        }
        let tied = ranges.iter().flat_map(|range| &entries[range.clone()]);
        let indices: Vec<(usize, usize)> = tied
            .map(|entry| (entry.run as usize, entry.row as usize))
            .collect();
        let batches: Vec<&RecordBatch> = runs.iter().map(|run| &run.rows).collect();
        let rows = interleave_record_batch(&batches, &indices).map_err(over_error)?;
        let columns: Vec<ArrayRef> = self
            .encoded
            .iter()
            .map(|&index| rows.column(index).clone())
            .collect();
        let encoded = self.converter.convert_columns(&columns).map_err(over_error)?;
        let mut offset = 0;
        for range in ranges {
            let mut order: Vec<usize> = (0..range.len()).collect();
            order.sort_by(|&left, &right| encoded.row(offset + left).cmp(&encoded.row(offset + right)));
            let sorted: Vec<Entry> = order.iter().map(|&at| entries[range.start + at]).collect();
            entries[range.clone()].copy_from_slice(&sorted);
            offset += range.len();
        }
        Ok(())
    }
}
