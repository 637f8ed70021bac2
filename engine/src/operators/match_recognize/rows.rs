//! The rows of one partition that a match can still need: those from the first row of the attempt on, and as many
//! before it as PREV looks back.
//!
//! **Invariant.** Rows are in the order that ORDER BY gives them. A row that goes is handed back once.

use std::collections::VecDeque;

use crate::state::row_store::{NO_ROW, RowId};

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptRow {
    /// Its event time, microseconds.
    pub time: i64,
    /// By variable: whether the conditions hold that look at nothing but the row and those before it.
    pub variables: u64,
    pub id: RowId,
}

/// The rows of a partition.
#[derive(Debug, Default)]
pub(super) struct PartitionRows {
    rows: VecDeque<KeptRow>,
    /// The first row of the attempt; those before it are only looked back at.
    start: usize,
}

impl PartitionRows {
    /// Rows from the first of the attempt on.
    pub fn len(&self) -> usize {
        self.rows.len() - self.start
    }

    /// Whether nothing is kept.
    pub fn is_unused(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds the newest row; answers its number until rows go.
    pub fn push(&mut self, row: KeptRow) -> usize {
        self.rows.push_back(row);
        self.rows.len() - 1
    }

    /// Says what the row of that number may be taken for.
    pub fn set_variables(&mut self, number: usize, variables: u64) {
        self.rows[number].variables = variables;
    }

    /// The row at `place`, counted from the first of the attempt.
    pub fn get(&self, place: usize) -> Option<&KeptRow> {
        self.rows.get(self.start + place)
    }

    /// The row `back` rows before `place`; [`NO_ROW`] if there is none.
    pub fn before(&self, place: usize, back: usize) -> RowId {
        let index = (self.start + place).checked_sub(back);
        index
            .and_then(|index| self.rows.get(index))
            .map_or(NO_ROW, |row| row.id)
    }

    /// The row `back` rows before the newest; [`NO_ROW`] if there is none.
    pub fn newest(&self, back: usize) -> RowId {
        let index = self.rows.len().checked_sub(back + 1);
        index.map_or(NO_ROW, |index| self.rows[index].id)
    }

    /// The attempt begins `count` rows later; rows that nothing looks back at, `before` of them, go to `gone`.
    pub fn skip(&mut self, count: usize, before: usize, gone: &mut Vec<RowId>) {
        self.start += count;
        assert!(
            self.start <= self.rows.len(),
            "invariant: a match begins at a row that has come"
        );
        let unused = self.start.saturating_sub(before);
        gone.extend(self.rows.drain(..unused).map(|row| row.id));
        self.start -= unused;
    }

    /// All rows, and whether each belongs to the attempt.
    pub fn all(&self) -> impl Iterator<Item = (RowId, bool)> {
        let rows = self.rows.iter().enumerate();
        rows.map(|(index, row)| (row.id, index >= self.start))
    }

    /// Gives memory back, where much more was needed once.
    pub fn shrink(&mut self) {
        if self.rows.capacity() > 64 && self.rows.len() * 8 < self.rows.capacity() {
            self.rows.shrink_to_fit();
        }
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<KeptRow>()
    }
}
