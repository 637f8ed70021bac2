//! A pattern as a program: what to try next, the preferred way first.
//!
//! Repetitions with a bound are written out, so that all there is to know of a match under way is the step it is at
//! and the rows that it has taken. This is Thompson's construction (1968), run depth first as backtracking matchers
//! do, because the conditions of a row depend on how the rows before it were taken.
//!
//! **Invariant.** Every loop takes a row: a run from row to row ends.

use crate::plan::row_pattern::RowPattern;

/// A step of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Takes the next row for a variable, if it is one.
    Row(u8),
    /// Goes on at the first, and if that leads nowhere at the second.
    Try(u32, u32),
    /// Goes on there.
    Jump(u32),
    /// The pattern is complete.
    Done,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub steps: Vec<Step>,
}

impl Program {
    /// The program of `pattern`.
    pub fn new(pattern: &RowPattern) -> Program {
        let mut program = Program { steps: Vec::new() };
        program.add(pattern);
        program.steps.push(Step::Done);
        program
    }

    fn here(&self) -> u32 {
        u32::try_from(self.steps.len()).expect("invariant: the planner bounds the steps of a pattern")
    }

    fn add(&mut self, pattern: &RowPattern) {
        match pattern {
            RowPattern::Row(variable) => {
                let variable = u8::try_from(*variable).expect("invariant: the planner bounds the variables");
                self.steps.push(Step::Row(variable));
            }
            RowPattern::Concatenation(parts) => parts.iter().for_each(|part| self.add(part)),
            RowPattern::Alternation(parts) => self.alternation(parts),
            RowPattern::Repetition {
                inner,
                least,
                most,
                greedy,
            } => {
                (0..*least).for_each(|_| self.add(inner));
                match most {
                    None => self.loop_of(inner, *greedy),
                    Some(most) => self.optional(inner, most - least, *greedy),
                }
            }
        }
    }

    fn alternation(&mut self, parts: &[RowPattern]) {
        let mut jumps = Vec::with_capacity(parts.len());
        for (number, part) in parts.iter().enumerate() {
            let is_last = number + 1 == parts.len();
            let choice = self.here();
            if !is_last {
                self.steps.push(Step::Try(choice + 1, choice));
            }
            self.add(part);
            if !is_last {
                jumps.push(self.steps.len());
                self.steps.push(Step::Jump(0));
                self.steps[choice as usize] = Step::Try(choice + 1, self.here());
            }
        }
        let end = self.here();
        jumps
            .into_iter()
            .for_each(|jump| self.steps[jump] = Step::Jump(end));
    }

    fn loop_of(&mut self, inner: &RowPattern, greedy: bool) {
        let choice = self.here();
        self.steps.push(Step::Jump(0));
        self.add(inner);
        self.steps.push(Step::Jump(choice));
        self.steps[choice as usize] = choose(choice + 1, self.here(), greedy);
    }

    /// Up to `count` times, one behind the other.
    fn optional(&mut self, inner: &RowPattern, count: u32, greedy: bool) {
        let mut choices = Vec::with_capacity(count as usize);
        for _ in 0..count {
            choices.push(self.here());
            self.steps.push(Step::Jump(0));
            self.add(inner);
        }
        let end = self.here();
        for choice in choices {
            self.steps[choice as usize] = choose(choice + 1, end, greedy);
        }
    }
}

fn choose(more: u32, end: u32, greedy: bool) -> Step {
    match greedy {
        true => Step::Try(more, end),
        false => Step::Try(end, more),
    }
}
