//! What a query's output amounts to: the multiset of rows that its changes leave.

use std::collections::BTreeMap;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::batch::{Batch, Op};
use engine::changelog::Changelog;

/// Rows and how often each is there; by key where the changelog is an upsert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    counts: BTreeMap<String, i64>,
    keys: Vec<usize>,
    by_key: BTreeMap<String, String>,
}

impl Answer {
    /// The answer of an output that speaks `changelog`.
    pub fn new(changelog: &Changelog) -> Answer {
        let keys = match changelog {
            Changelog::Upsert(keys) => keys.clone(),
            Changelog::Append | Changelog::Retract => Vec::new(),
        };
        Answer {
            keys,
            ..Answer::default()
        }
    }

    /// An empty answer of the same kind of output.
    pub fn empty(&self) -> Answer {
        Answer {
            keys: self.keys.clone(),
            ..Answer::default()
        }
    }

    /// Applies the changes of a batch, in order.
    ///
    /// # Errors
    /// A row is taken back that is not there.
    pub fn fold(&mut self, batch: &Batch) -> Result<(), String> {
        let options = FormatOptions::default().with_null("NULL");
        let columns = batch.rows().columns();
        let formatters: Vec<ArrayFormatter<'_>> = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let text = |row: usize, formatter: &ArrayFormatter<'_>| formatter.value(row).to_string();
        for row in 0..batch.len() {
            let cells: Vec<String> = formatters.iter().map(|formatter| text(row, formatter)).collect();
            if self.keys.is_empty() {
                self.change(cells.join(" | "), batch.op(row))?;
            } else {
                let key: Vec<&str> = self.keys.iter().map(|&key| cells[key].as_str()).collect();
                self.replace(key.join(" | "), cells.join(" | "), batch.op(row))?;
            }
        }
        Ok(())
    }

    fn change(&mut self, row: String, op: Op) -> Result<(), String> {
        let count = self.counts.entry(row.clone()).or_default();
        *count += if op.is_addition() { 1 } else { -1 };
        if *count < 0 {
            return Err(format!(
                "{} takes back a row that is not there: {row}",
                op.short_name()
            ));
        }
        if *count == 0 {
            self.counts.remove(&row);
        }
        Ok(())
    }

    fn replace(&mut self, key: String, row: String, op: Op) -> Result<(), String> {
        let known = match op {
            Op::Delete => self.by_key.remove(&key),
            _ => self.by_key.insert(key, row.clone()),
        };
        if let Some(known) = known {
            self.change(known, Op::Delete)?;
        } else if op == Op::Delete {
            return Err(format!("-D of a key that is not there: {row}"));
        }
        match op {
            Op::Delete => Ok(()),
            _ => self.change(row, Op::Insert),
        }
    }

    /// Adds the rows of another shard.
    pub fn add(&mut self, other: &Answer) {
        for (row, count) in &other.counts {
            *self.counts.entry(row.clone()).or_default() += count;
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> i64 {
        self.counts.values().sum()
    }

    /// The first row that `self` holds more often than `other` does, and how often each does.
    pub fn first_excess(&self, other: &Answer) -> Option<String> {
        self.counts.iter().find_map(|(row, &count)| {
            let expected = other.counts.get(row).copied().unwrap_or(0);
            (count > expected).then(|| format!("{row} (there {count} times instead of {expected})"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{Int8Array, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    fn changes(values: &[i64], ops: &[Op]) -> Batch {
        let schema = Schema::new(vec![Field::new("v", DataType::Int64, true)]);
        let column = Arc::new(Int64Array::from(values.to_vec()));
        let rows = RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column");
        let ops = Int8Array::from(ops.iter().map(|op| op.code()).collect::<Vec<_>>());
        Batch::changes(rows, ops, 0)
    }

    #[test]
    fn changes_fold_to_the_rows_they_leave() {
        let mut answer = Answer::new(&Changelog::Retract);
        let batch = changes(&[1, 1, 2], &[Op::Insert, Op::UpdateBefore, Op::UpdateAfter]);
        answer.fold(&batch).expect("consistent");
        let mut expected = Answer::new(&Changelog::Retract);
        expected.fold(&changes(&[2], &[Op::Insert])).expect("consistent");
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_row_that_is_not_there_cannot_be_taken_back() {
        let mut answer = Answer::new(&Changelog::Retract);
        assert!(answer.fold(&changes(&[1], &[Op::Delete])).is_err());
    }
}
