//! Reading an operator's tables: of all shards that wrote, the rows that this shard takes.
//!
//! **Invariant.** Over all shards of the reading job every row is taken exactly once, but for copied inputs,
//! whose rows every shard takes once.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, Schema};

use crate::error::ExecutionError;
use crate::snapshot::{OperatorSnapshot, Placement};
use crate::state::hash::{hash_columns, owner};
use crate::time::{WATERMARK_NONE, WatermarkUs};

/// What all shards wrote of one operator, as one shard reads it.
#[derive(Debug)]
pub struct StateReader<'a> {
    /// By the shard that wrote.
    written: Vec<&'a OperatorSnapshot>,
    /// By input.
    placements: Vec<Placement>,
    shard: usize,
    shards: usize,
}

impl<'a> StateReader<'a> {
    /// `written` by the shards of the job before, read by shard `shard` of `shards`, where inputs lie as
    /// `placements` says.
    pub fn new(
        written: Vec<&'a OperatorSnapshot>,
        placements: Vec<Placement>,
        shard: usize,
        shards: usize,
    ) -> StateReader<'a> {
        assert!(shard < shards, "invariant: a shard is one of all");
        assert!(
            written.iter().all(|snapshot| snapshot.kept.is_empty()),
            "invariant: kept parts are put back before a snapshot is read"
        );
        StateReader {
            written,
            placements,
            shard,
            shards,
        }
    }

    /// The watermark that all shards that wrote had been told.
    pub fn watermark(&self) -> WatermarkUs {
        let watermarks = self.written.iter().map(|snapshot| snapshot.watermark);
        watermarks.min().unwrap_or(WATERMARK_NONE)
    }

    /// Late rows to go on counting from: shard 0 takes those of all.
    pub fn late_rows(&self) -> u64 {
        match self.shard {
            0 => self.written.iter().map(|snapshot| snapshot.late_rows).sum(),
            _ => 0,
        }
    }

    /// The names of all tables, in the order in which they were written.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let first = self.written.first().copied();
        first
            .into_iter()
            .flat_map(|snapshot| snapshot.tables.iter().map(|table| table.name.as_str()))
    }

    /// This shard's rows of table `name`, whose first columns are the columns `columns` of the operator's
    /// input.
    pub fn rows_by(&self, name: &str, columns: &[usize]) -> Result<RecordBatch, ExecutionError> {
        together(name, &self.parts_by(name, columns)?)
    }

    /// The same rows in the parts in which they were written.
    pub fn parts_by(&self, name: &str, columns: &[usize]) -> Result<Vec<RecordBatch>, ExecutionError> {
        self.parts_where(name, |rows, column| {
            let place = columns.iter().position(|&input| input == column);
            place.map(|place| rows.column(place).clone())
        })
    }

    /// This shard's rows of table `name`, whose first columns are those of the operator's input.
    pub fn rows(&self, name: &str) -> Result<RecordBatch, ExecutionError> {
        self.rows_where(name, |rows, column| Some(rows.column(column).clone()))
    }

    /// All rows of table `name`, whatever shard they belong to.
    pub fn all_rows(&self, name: &str) -> Result<RecordBatch, ExecutionError> {
        let parts: Vec<RecordBatch> = self
            .written
            .iter()
            .filter_map(|snapshot| snapshot.table(name))
            .flat_map(|table| table.parts.iter().map(|part| part.rows.clone()))
            .collect();
        together(name, &parts)
    }

    /// This shard's rows of table `name`; `key` gives a column of the operator's input for rows of the table.
    fn rows_where(
        &self,
        name: &str,
        key: impl Fn(&RecordBatch, usize) -> Option<ArrayRef>,
    ) -> Result<RecordBatch, ExecutionError> {
        together(name, &self.parts_where(name, key)?)
    }

    /// The same rows in the parts in which they were written.
    pub fn parts_where(
        &self,
        name: &str,
        key: impl Fn(&RecordBatch, usize) -> Option<ArrayRef>,
    ) -> Result<Vec<RecordBatch>, ExecutionError> {
        let mut parts = Vec::new();
        for (writer, snapshot) in self.written.iter().enumerate() {
            let table = snapshot.table(name).ok_or_else(|| missing(name))?;
            // A job on one shard takes everything, and copies of what every shard had only once.
            let takes_all = match &self.placements[table.input] {
                Placement::Every => writer == 0,
                _ if self.shards == 1 => true,
                Placement::First => self.shard == 0,
                Placement::Any => writer % self.shards == self.shard,
                Placement::Owner(columns) => {
                    for part in &table.parts {
                        parts.push(self.owned(&part.rows, columns, &key)?);
                    }
                    continue;
                }
            };
            match takes_all {
                true => parts.extend(table.parts.iter().map(|part| part.rows.clone())),
                false => parts.push(RecordBatch::new_empty(table.schema())),
            }
        }
        Ok(parts)
    }

    fn owned(
        &self,
        rows: &RecordBatch,
        columns: &[usize],
        key: impl Fn(&RecordBatch, usize) -> Option<ArrayRef>,
    ) -> Result<RecordBatch, ExecutionError> {
        let keys: Vec<ArrayRef> = columns
            .iter()
            .map(|&column| {
                key(rows, column).expect("invariant: an operator is partitioned by columns of its key")
            })
            .collect();
        let mut hashes = Vec::new();
        hash_columns(&keys, &mut hashes);
        let is_mine: BooleanArray = hashes
            .iter()
            .map(|&hash| Some(owner(hash, self.shards) == self.shard))
            .collect();
        filter_record_batch(rows, &is_mine).map_err(|error| ExecutionError::new("restore", error))
    }
}

fn together(name: &str, parts: &[RecordBatch]) -> Result<RecordBatch, ExecutionError> {
    let first = parts.first().ok_or_else(|| missing(name))?;
    concat_batches(&first.schema(), parts).map_err(|error| ExecutionError::new("restore", error))
}

fn missing(name: &str) -> ExecutionError {
    ExecutionError::new("restore", format!("the snapshot has no table '{name}'"))
}

/// The first `width` columns of `rows` as a batch of `schema`.
pub(crate) fn leading(rows: &RecordBatch, schema: &Arc<Schema>) -> Result<RecordBatch, ExecutionError> {
    let columns = rows.columns()[..schema.fields().len()].to_vec();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| ExecutionError::new("restore", error))
}

/// Whether what was `written` has the layout of what a new operator writes.
///
/// # Errors
/// It has not; the message says where.
pub fn check_layout(expected: &OperatorSnapshot, written: &OperatorSnapshot) -> Result<(), String> {
    let names = |snapshot: &OperatorSnapshot| {
        let names = snapshot.tables.iter().map(|table| table.name.clone());
        names.collect::<Vec<_>>().join(", ")
    };
    if expected.tables.len() != written.tables.len() {
        return Err(format!(
            "it keeps ({}), not ({})",
            names(expected),
            names(written)
        ));
    }
    for (expected, written) in expected.tables.iter().zip(&written.tables) {
        let columns = |schema: &Schema| {
            let column = |field: &Arc<Field>| format!("{} {}", field.name(), field.data_type());
            schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
        };
        let (mine, theirs) = (columns(&expected.schema()), columns(&written.schema()));
        if expected.name != written.name || expected.input != written.input || mine != theirs {
            return Err(format!(
                "it keeps {} ({mine}), not {} ({theirs})",
                expected.name, written.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{StatePart, StateTable};

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Int64Type};

    fn snapshot(keys: std::ops::Range<i64>) -> OperatorSnapshot {
        let schema = Schema::new(vec![Field::new("key", DataType::Int64, true)]);
        let watermark = keys.start;
        let keys = Arc::new(Int64Array::from_iter_values(keys));
        OperatorSnapshot {
            watermark,
            late_rows: 1,
            tables: vec![StateTable {
                name: "rows".into(),
                input: 0,
                parts: vec![StatePart {
                    number: None,
                    rows: RecordBatch::try_new(Arc::new(schema), vec![keys]).unwrap(),
                }],
            }],
            kept: Vec::new(),
        }
    }

    /// What each of three shards takes of the rows 0..50 and 50..100 that two shards wrote.
    fn check(placement: &Placement) -> Vec<Vec<i64>> {
        let written = [snapshot(0..50), snapshot(50..100)];
        let read = |shard: usize| {
            let reader = StateReader::new(written.iter().collect(), vec![placement.clone()], shard, 3);
            assert_eq!(reader.watermark(), 0, "the lowest");
            assert_eq!(reader.late_rows(), if shard == 0 { 2 } else { 0 });
            let rows = reader.rows("rows").unwrap();
            rows.column(0).as_primitive::<Int64Type>().values().to_vec()
        };
        (0..3).map(read).collect()
    }

    #[test]
    fn every_row_is_taken_by_the_one_shard_that_owns_its_key() {
        let taken = check(&Placement::Owner(vec![0]));
        assert!(taken.iter().all(|rows| !rows.is_empty()));
        let mut all = taken.concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn rows_without_an_owner_stay_together_go_to_shard_0_or_are_copied() {
        let (first, second): (Vec<i64>, Vec<i64>) = ((0..50).collect(), (50..100).collect());
        assert_eq!(check(&Placement::Any), [first.clone(), second.clone(), vec![]]);
        assert_eq!(check(&Placement::First), [(0..100).collect(), vec![], vec![]]);
        assert_eq!(check(&Placement::Every), [first.clone(), first.clone(), first]);
    }

    #[test]
    fn a_layout_that_differs_is_told_by_its_columns() {
        let mut other = snapshot(0..1);
        other.tables[0].name = "groups".into();
        assert_eq!(check_layout(&snapshot(0..9), &snapshot(3..4)), Ok(()));
        let error = check_layout(&snapshot(0..9), &other).unwrap_err();
        assert_eq!(error, "it keeps rows (key Int64), not groups (key Int64)");
    }
}
