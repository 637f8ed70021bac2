//! An attempt to match from one row on: depth first, in the order of preference, and set aside where the next row has
//! not come yet.
//!
//! The first way that completes the pattern is the preferred one, so nothing is ever tried that could not be the
//! answer; and where the preferred way waits for a row, all others have to wait as well.
//!
//! **Invariant.** What an attempt answers depends on the rows alone, not on when it was set aside.

use crate::error::ExecutionError;
use crate::operators::match_recognize::program::{Program, Step};

/// The rows taken so far, by what they were taken for.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// By row: the variable.
    variables: Vec<u8>,
    /// By variable: its rows, in order.
    places: Vec<Vec<u32>>,
}

impl Taken {
    /// How many rows are taken.
    pub fn len(&self) -> usize {
        self.variables.len()
    }

    /// The rows of a variable, counted from the first row of the attempt; empty if it has none.
    pub fn places(&self, variable: usize) -> &[u32] {
        self.places.get(variable).map_or(&[], Vec::as_slice)
    }

    fn push(&mut self, variable: u8) {
        let place = u32::try_from(self.variables.len()).expect("invariant: a match has fewer than 2^32 rows");
        let variable_index = usize::from(variable);
        if self.places.len() <= variable_index {
            self.places.resize_with(variable_index + 1, Vec::new);
        }
        self.places[variable_index].push(place);
        self.variables.push(variable);
    }

    fn truncate(&mut self, rows: usize) {
        for variable in self.variables.drain(rows..) {
            self.places[usize::from(variable)].pop();
        }
    }
}

/// Another way, to be tried if the present one leads nowhere.
#[derive(Clone, Copy, Debug)]
struct Choice {
    step: u32,
    rows: u32,
}

/// How an attempt went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The pattern is complete.
    Matched,
    /// It cannot be completed from this row.
    Failed,
    /// It waits for a row.
    Waits,
    /// It has had its share of work.
    Tired,
}

/// What an attempt sees of its rows.
pub(super) struct Sight<'a> {
    pub program: &'a Program,
    /// The rows that are there, from the first of the attempt on.
    pub rows: usize,
    /// Whether no row will come that could still belong to the match.
    pub is_closed: bool,
}

/// An attempt.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    step: u32,
    taken: Taken,
    choices: Vec<Choice>,
}

impl Attempt {
    /// The rows taken so far.
    pub fn taken(&self) -> &Taken {
        &self.taken
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        self.step = 0;
        self.taken.truncate(0);
        self.choices.clear();
    }

    /// Gives back what it has allocated, where nothing is under way.
    pub fn release(&mut self) {
        *self = Attempt::default();
    }

    /// Goes on, at most `budget` steps; `accepts` says whether the row at a place is one for a variable, the rows
    /// before it having been taken like that.
    pub fn go_on(
        &mut self,
        sight: &Sight<'_>,
        budget: &mut usize,
        mut accepts: impl FnMut(usize, usize, &Taken) -> Result<bool, ExecutionError>,
    ) -> Result<Progress, ExecutionError> {
        loop {
            if *budget == 0 {
                return Ok(Progress::Tired);
            }
            *budget -= 1;
            let leads_on = match sight.program.steps[self.step as usize] {
                Step::Done => return Ok(Progress::Matched),
                Step::Jump(step) => {
                    self.step = step;
                    true
                }
                Step::Try(first, second) => {
                    self.choices.push(Choice {
                        step: second,
                        rows: self.taken.len() as u32,
                    });
                    self.step = first;
                    true
                }
                Step::Row(_) if self.taken.len() == sight.rows && !sight.is_closed => {
                    return Ok(Progress::Waits);
                }
                Step::Row(_) if self.taken.len() == sight.rows => false,
                Step::Row(variable) => {
                    let is_one = accepts(usize::from(variable), self.taken.len(), &self.taken)?;
                    if is_one {
                        self.taken.push(variable);
                        self.step += 1;
                    }
                    is_one
                }
            };
            if !leads_on && !self.turn_back() {
                return Ok(Progress::Failed);
            }
        }
    }

    /// Takes the last choice that is left; false if there is none.
    fn turn_back(&mut self) -> bool {
        let Some(choice) = self.choices.pop() else {
            return false;
        };
        self.step = choice.step;
        self.taken.truncate(choice.rows as usize);
        true
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        let places: usize = self
            .taken
            .places
            .iter()
            .map(|places| places.capacity() * size_of::<u32>())
            .sum();
        self.taken.variables.capacity()
            + places
            + self.taken.places.capacity() * size_of::<Vec<u32>>()
            + self.choices.capacity() * size_of::<Choice>()
    }
}
