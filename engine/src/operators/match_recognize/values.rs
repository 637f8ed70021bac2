//! The values that conditions and measures look at: of which row each is, and aggregates over rows.
//!
//! **Invariant.** A value is computed of the rows taken, and of the row that is being looked at as the last of them.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};

use crate::error::ExecutionError;
use crate::operators::match_recognize::attempt::Taken;
use crate::operators::match_recognize::match_error;
use crate::operators::match_recognize::rows::PartitionRows;
use crate::operators::over_aggregate::running::RunningAggregate;
use crate::plan::match_spec::{RowEnd, RowReference};
use crate::state::row_store::{NO_ROW, RowId, RowStore};

/// The rows of a match, or of one under way.
#[derive(Clone, Copy)]
pub(super) struct MatchRows<'a> {
    pub taken: &'a Taken,
    /// The variable for which the row behind those taken is being looked at.
    pub looked_at: Option<usize>,
    pub rows: &'a PartitionRows,
}

impl MatchRows<'_> {
    fn len(&self) -> usize {
        self.taken.len() + usize::from(self.looked_at.is_some())
    }

    /// The row that `reference` names; [`NO_ROW`] if there is none.
    pub fn row(&self, reference: &RowReference) -> RowId {
        let place = match reference.variable {
            None => pick(self.len(), reference.from, reference.offset),
            Some(variable) => {
                let places = self.taken.places(variable);
                let is_looked_at = self.looked_at == Some(variable);
                let found = pick(
                    places.len() + usize::from(is_looked_at),
                    reference.from,
                    reference.offset,
                );
                found.map(|index| {
                    places
                        .get(index)
                        .map_or(self.taken.len(), |&place| place as usize)
                })
            }
        };
        place.map_or(NO_ROW, |place| self.rows.before(place, reference.back))
    }

    /// The rows of a variable, or all of them.
    fn all(&self, variable: Option<usize>, into: &mut Vec<RowId>) {
        into.clear();
        let id = |place: usize| self.rows.before(place, 0);
        match variable {
            None => into.extend((0..self.len()).map(id)),
            Some(variable) => {
                into.extend(
                    self.taken
                        .places(variable)
                        .iter()
                        .map(|&place| id(place as usize)),
                );
                if self.looked_at == Some(variable) {
                    into.push(id(self.taken.len()));
                }
            }
        }
    }
}

/// The index that `offset` counts to, of `count` from one end.
fn pick(count: usize, from: RowEnd, offset: usize) -> Option<usize> {
    match from {
        RowEnd::First => (offset < count).then_some(offset),
        RowEnd::Last => count.checked_sub(offset + 1),
    }
}

/// An aggregate over the rows of a variable. Mostly it is asked of the same rows and one more, so it goes on from
/// the rows that it has seen.
pub(super) struct MatchAggregate {
    variable: Option<usize>,
    aggregate: RunningAggregate,
    seen: Vec<RowId>,
    last: Option<ArrayRef>,
    asked: Vec<RowId>,
}

impl MatchAggregate {
    pub fn new(variable: Option<usize>, aggregate: RunningAggregate) -> MatchAggregate {
        MatchAggregate {
            variable,
            aggregate,
            seen: Vec::new(),
            last: None,
            asked: Vec::new(),
        }
    }

    /// Rows may have got other numbers.
    pub fn forget(&mut self) {
        self.seen.clear();
        self.last = None;
        self.aggregate.reset();
    }

    /// Its value, as a column of one row.
    pub fn value(&mut self, rows: MatchRows<'_>, store: &RowStore) -> Result<ArrayRef, ExecutionError> {
        let mut asked = std::mem::take(&mut self.asked);
        rows.all(self.variable, &mut asked);
        if asked.is_empty() {
            self.asked = asked;
            return self.aggregate.of_nothing();
        }
        if !asked.starts_with(&self.seen) {
            self.forget();
        }
        if let (Some(last), true) = (&self.last, asked.len() == self.seen.len()) {
            let last = last.clone();
            self.asked = asked;
            return Ok(last);
        }
        let new = &asked[self.seen.len()..];
        let columns = self.aggregate.columns().iter();
        let columns = columns
            .map(|&column| store.gather_column(column, new))
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(new.len()));
        let schema = self.aggregate.schema().clone();
        let batch = RecordBatch::try_new_with_options(schema, columns, &options).map_err(match_error)?;
        let value = self.aggregate.add(&batch)?;
        self.seen.extend_from_slice(new);
        self.last = Some(value.clone());
        self.asked = asked;
        Ok(value)
    }
}
