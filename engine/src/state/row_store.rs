//! The row store: whole rows that an operator keeps (sides of a join, rows of a Top-N, versions of a
//! table), named by a number that stays theirs until they are removed.
//!
//! Rows lie in segments of [`SEGMENT_ROWS`] as Arrow columns, so that they cost what their values cost
//! and come back by one gather per column. A batch that fills a segment is kept as it came; smaller ones
//! are merged with their like (as a log-structured merge does), so each row is copied a few times at most.
//! A segment without rows goes; one that has lost most of them is rewritten without the others.
//!
//! **Invariant.** A number is not given again while its row is there. `len` rows are held.

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::{concat_batches, filter_record_batch, interleave, take};
use arrow::datatypes::SchemaRef;

use crate::error::ExecutionError;

/// The number of a stored row: segment and place.
pub type RowId = u32;

/// No row: gathers as NULLs.
pub const NO_ROW: RowId = RowId::MAX;

const SEGMENT_BITS: u32 = 13;
/// Rows of a full segment.
pub const SEGMENT_ROWS: usize = 1 << SEGMENT_BITS;
const PLACE_MASK: u32 = SEGMENT_ROWS as u32 - 1;
/// A segment with fewer rows than this share of it is rewritten.
const REWRITE_SHARE: usize = 4;

/// Rows that were put in together.
#[derive(Debug)]
struct Segment {
    /// Parts with the place of their first row; one part once the segment is full.
    parts: Vec<(usize, RecordBatch)>,
    /// Places given out.
    filled: usize,
    live: usize,
    /// One bit per place; none while all rows are there.
    removed: Option<Box<[u64]>>,
    /// After a rewrite: where the row of a place lies in the one part.
    moved: Option<Box<[u16]>>,
    bytes: usize,
}

/// Rows by number.
#[derive(Debug)]
pub struct RowStore {
    schema: SchemaRef,
    segments: Vec<Option<Segment>>,
    free: Vec<u32>,
    /// The segment that is being filled.
    open: Option<u32>,
    rows: usize,
    bytes: usize,
}

impl RowStore {
    /// An empty store of rows of `schema`.
    pub fn new(schema: SchemaRef) -> RowStore {
        RowStore {
            schema,
            segments: Vec::new(),
            free: Vec::new(),
            open: None,
            rows: 0,
            bytes: 0,
        }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows held.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Numbers are below this.
    pub fn id_bound(&self) -> usize {
        self.segments.len() << SEGMENT_BITS
    }

    /// Keeps `rows`; `ids` gets their numbers behind what it holds.
    pub fn push(&mut self, rows: &RecordBatch, ids: &mut Vec<RowId>) -> Result<(), ExecutionError> {
        let mut at = 0;
        while at < rows.num_rows() {
            let number = self.open_segment();
            let segment = self.segments[number as usize]
                .as_mut()
                .expect("invariant: the open segment is there");
            let count = (rows.num_rows() - at).min(SEGMENT_ROWS - segment.filled);
            let first = number << SEGMENT_BITS | segment.filled as u32;
            ids.extend(first..first + count as u32);
            self.bytes -= segment.bytes;
            segment.append(&self.schema, rows.slice(at, count))?;
            self.bytes += segment.bytes;
            if segment.filled == SEGMENT_ROWS {
                self.open = None;
                self.tidy(number)?;
            }
            self.rows += count;
            at += count;
        }
        Ok(())
    }

    fn open_segment(&mut self) -> u32 {
        if let Some(number) = self.open {
            return number;
        }
        let segment = Segment {
            parts: Vec::new(),
            filled: 0,
            live: 0,
            removed: None,
            moved: None,
            bytes: 0,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.segments[number as usize] = Some(segment);
                number
            }
            None => {
                self.segments.push(Some(segment));
                u32::try_from(self.segments.len() - 1).expect("invariant: fewer than 2^19 segments")
            }
        };
        assert!(
            number < NO_ROW >> SEGMENT_BITS,
            "invariant: a shard keeps fewer than 2^32 rows"
        );
        self.open = Some(number);
        number
    }

    /// Gives row `id` up.
    pub fn remove(&mut self, id: RowId) -> Result<(), ExecutionError> {
        let number = id >> SEGMENT_BITS;
        let segment = self.segments[number as usize]
            .as_mut()
            .expect("invariant: a removed row was there");
        segment.remove((id & PLACE_MASK) as usize);
        self.rows -= 1;
        if self.open != Some(number) && segment.live * REWRITE_SHARE <= segment.part_rows() {
            self.tidy(number)?;
        }
        Ok(())
    }

    /// Frees or rewrites a full segment that has lost most of its rows.
    fn tidy(&mut self, number: u32) -> Result<(), ExecutionError> {
        let place = &mut self.segments[number as usize];
        let segment = place.as_mut().expect("invariant: a segment to tidy is there");
        if segment.live == 0 {
            self.bytes -= segment.bytes;
            *place = None;
            self.free.push(number);
        } else if segment.live * REWRITE_SHARE <= segment.part_rows() {
            self.bytes -= segment.bytes;
            segment.rewrite()?;
            self.bytes += segment.bytes;
        }
        Ok(())
    }

    /// The rows `ids`, in that order; [`NO_ROW`] gives NULLs.
    pub fn gather(&self, ids: &[RowId]) -> Result<RecordBatch, ExecutionError> {
        let columns = self.gather_columns(ids)?;
        let options = RecordBatchOptions::new().with_row_count(Some(ids.len()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(store_error)
    }

    /// The columns of rows `ids`, in that order; [`NO_ROW`] gives NULLs.
    pub fn gather_columns(&self, ids: &[RowId]) -> Result<Vec<ArrayRef>, ExecutionError> {
        let plan = self.gather_plan(ids);
        let column = |index: usize| plan.column(index, self.schema.field(index).data_type());
        (0..self.schema.fields().len()).map(column).collect()
    }

    /// One column of rows `ids`, in that order; [`NO_ROW`] gives NULL.
    pub fn gather_column(&self, column: usize, ids: &[RowId]) -> Result<ArrayRef, ExecutionError> {
        self.gather_plan(ids)
            .column(column, self.schema.field(column).data_type())
    }

    /// Where each row lies: a part and a place in it; part 0 is the row of NULLs.
    fn gather_plan(&self, ids: &[RowId]) -> GatherPlan<'_> {
        let mut plan = GatherPlan {
            parts: Vec::new(),
            places: Vec::with_capacity(ids.len()),
            has_nulls: false,
        };
        // Part numbers by segment, or by (segment, part) where the segment is open.
        let mut known: Vec<(u32, usize, usize)> = Vec::new();
        let mut last = (u32::MAX, usize::MAX, usize::MAX);
        let mut index_of: std::collections::HashMap<(u32, usize), usize, FixedState> =
            std::collections::HashMap::default();
        for &id in ids {
            if id == NO_ROW {
                plan.has_nulls = true;
                plan.places.push((usize::MAX, 0));
                continue;
            }
            let number = id >> SEGMENT_BITS;
            let segment = self.segments[number as usize]
                .as_ref()
                .expect("invariant: a gathered row is there");
            let (part, row) = segment.place((id & PLACE_MASK) as usize);
            if (last.0, last.1) != (number, part) {
                let index = match known.iter().find(|known| (known.0, known.1) == (number, part)) {
                    Some(known) => known.2,
                    None => {
                        let next = plan.parts.len();
                        let index = *index_of.entry((number, part)).or_insert(next);
                        if index == next {
                            plan.parts.push(&segment.parts[part].1);
                        }
                        if known.len() < 8 {
                            known.push((number, part, index));
                        }
                        index
                    }
                };
                last = (number, part, index);
            }
            plan.places.push((last.2, row));
        }
        plan
    }

    /// Bytes of the rows, and of what finds them.
    pub fn allocated_bytes(&self) -> usize {
        self.bytes + self.segments.capacity() * size_of::<Option<Segment>>()
    }
}

/// A hasher of its own: nothing observable depends on it, and nothing random is drawn.
type FixedState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

struct GatherPlan<'a> {
    parts: Vec<&'a RecordBatch>,
    places: Vec<(usize, usize)>,
    has_nulls: bool,
}

impl GatherPlan<'_> {
    fn column(
        &self,
        index: usize,
        data_type: &arrow::datatypes::DataType,
    ) -> Result<ArrayRef, ExecutionError> {
        if let ([part], false) = (self.parts.as_slice(), self.has_nulls) {
            let rows = UInt32Array::from_iter_values(self.places.iter().map(|&(_, row)| row as u32));
            return take(part.column(index), &rows, None).map_err(store_error);
        }
        let nulls = new_null_array(data_type, usize::from(self.has_nulls));
        let mut arrays: Vec<&dyn Array> = self
            .parts
            .iter()
            .map(|part| part.column(index).as_ref())
            .collect();
        if !self.has_nulls {
            if arrays.is_empty() {
                return Ok(nulls);
            }
            return interleave(&arrays, &self.places).map_err(store_error);
        }
        let null_part = arrays.len();
        arrays.push(nulls.as_ref());
        let places: Vec<(usize, usize)> = self
            .places
            .iter()
            .map(|&(part, row)| (if part == usize::MAX { null_part } else { part }, row))
            .collect();
        interleave(&arrays, &places).map_err(store_error)
    }
}

impl Segment {
    fn append(&mut self, schema: &SchemaRef, rows: RecordBatch) -> Result<(), ExecutionError> {
        let count = rows.num_rows();
        self.parts.push((self.filled, rows));
        self.filled += count;
        self.live += count;
        let is_full = self.filled == SEGMENT_ROWS;
        while let [.., (_, before), (_, last)] = self.parts.as_slice()
            && (is_full || before.num_rows() <= 2 * last.num_rows())
        {
            let from = match is_full {
                true => 0,
                false => self.parts.len() - 2,
            };
            let together = self.parts.split_off(from);
            let first = together[0].0;
            let merged =
                concat_batches(schema, together.iter().map(|(_, rows)| rows)).map_err(store_error)?;
            self.parts.push((first, merged));
        }
        if let ([(_, only)], true) = (self.parts.as_mut_slice(), is_full) {
            *only = compacted(only)?;
        }
        self.bytes = self
            .parts
            .iter()
            .map(|(_, rows)| rows.get_array_memory_size())
            .sum();
        Ok(())
    }

    /// The part and the row in it behind a place.
    fn place(&self, place: usize) -> (usize, usize) {
        if let Some(moved) = &self.moved {
            return (0, usize::from(moved[place]));
        }
        if self.parts.len() == 1 {
            return (0, place);
        }
        let part = self.parts.partition_point(|&(first, _)| first <= place) - 1;
        (part, place - self.parts[part].0)
    }

    fn part_rows(&self) -> usize {
        self.parts.iter().map(|(_, rows)| rows.num_rows()).sum()
    }

    fn remove(&mut self, place: usize) {
        let words = SEGMENT_ROWS / 64;
        let removed = self.removed.get_or_insert_with(|| vec![0; words].into());
        let bit = 1u64 << (place % 64);
        assert_eq!(removed[place / 64] & bit, 0, "invariant: a row is removed once");
        removed[place / 64] |= bit;
        self.live -= 1;
    }

    /// Keeps only the rows that are there.
    fn rewrite(&mut self) -> Result<(), ExecutionError> {
        let [(_, rows)] = self.parts.as_slice() else {
            unreachable!("invariant: only full segments are rewritten")
        };
        let removed = self.removed.as_ref().expect("invariant: rows were removed");
        let mut keep = vec![false; rows.num_rows()];
        let mut moved = vec![u16::MAX; SEGMENT_ROWS];
        let mut kept = 0;
        for place in 0..self.filled {
            if removed[place / 64] & 1 << (place % 64) != 0 {
                continue;
            }
            keep[self.place(place).1] = true;
            moved[place] = kept;
            kept += 1;
        }
        let rows = filter_record_batch(rows, &BooleanArray::from(keep)).map_err(store_error)?;
        self.bytes = rows.get_array_memory_size() + SEGMENT_ROWS * size_of::<u16>();
        self.parts = vec![(0, rows)];
        self.moved = Some(moved.into());
        Ok(())
    }
}

/// The same rows in buffers of their own, where they lie in much larger ones.
fn compacted(rows: &RecordBatch) -> Result<RecordBatch, ExecutionError> {
    let own: usize = rows
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX))
        .fold(0, usize::saturating_add);
    if rows.get_array_memory_size() <= own.saturating_mul(3) / 2 {
        return Ok(rows.clone());
    }
    let columns = rows
        .columns()
        .iter()
        .map(|column| {
            let data = column.to_data();
            let mut copy = arrow::array::MutableArrayData::new(vec![&data], false, column.len());
            copy.try_extend(0, 0, column.len()).map_err(store_error)?;
            Ok(arrow::array::make_array(copy.freeze()))
        })
        .collect::<Result<_, ExecutionError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(rows.schema(), columns, &options).map_err(store_error)
}

fn store_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("stored rows", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("number", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
        ]))
    }

    fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
        let texts: StringArray = numbers
            .clone()
            .map(|number| Some(format!("row {number}")))
            .collect();
        let numbers: Int64Array = numbers.map(Some).collect();
        RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
    }

    #[test]
    fn rows_come_back_by_number_whatever_was_removed() {
        let mut store = RowStore::new(schema());
        let mut held: BTreeMap<i64, RowId> = BTreeMap::new();
        let mut next = 0;
        for round in 0..400i64 {
            let count = [1, 3, 700, 9_000][(round % 4) as usize];
            let mut ids = Vec::new();
            store.push(&rows(next..next + count), &mut ids).unwrap();
            held.extend((next..next + count).zip(ids));
            next += count;
            // Old rows go first, most of them; a few of each segment stay.
            let gone: Vec<i64> = held
                .keys()
                .copied()
                .filter(|number| number % 97 != round % 97)
                .collect();
            for number in gone.iter().take(count as usize * 9 / 10) {
                store.remove(held.remove(number).unwrap()).unwrap();
            }
            assert_eq!(store.len(), held.len());
        }
        let ids: Vec<RowId> = held.values().copied().rev().chain([NO_ROW]).collect();
        let found = store.gather(&ids).unwrap();
        let numbers: Vec<Option<i64>> = found.column(0).as_primitive::<Int64Type>().iter().collect();
        let expected: Vec<Option<i64>> = held.keys().copied().rev().map(Some).chain([None]).collect();
        assert_eq!(numbers, expected);
        assert_eq!(
            found.column(1).as_string::<i32>().value(0),
            format!("row {}", held.keys().last().unwrap())
        );
        for id in held.into_values() {
            store.remove(id).unwrap();
        }
        assert!(store.is_empty());
    }
}
