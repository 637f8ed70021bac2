//! The update loops: one primitive over all rows of a batch, monomorphised by type.
//!
//! **Invariant.** No loop allocates, and none looks at a type per row.

use crate::state::accumulators::inputs::{Rows, Values, ordered_float};
use crate::state::accumulators::layout::Kind;
use crate::state::group_table::{GroupIndex, StatesMut};
use crate::state::words::float_word;

/// A sum left the 128 bits it is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// The rows of one batch, as a primitive sees them.
pub(crate) struct Update<'a> {
    /// The group of each row.
    pub groups: &'a [GroupIndex],
    /// The rows that count.
    pub rows: Rows<'a>,
    /// +1 or -1 for each row; `None` = all +1.
    pub signs: Option<&'a [i64]>,
    /// All rows belong to group 0.
    pub is_single: bool,
}

impl Update<'_> {
    /// Counts rows.
    pub fn count(&self, states: &mut StatesMut<'_>, offset: usize) {
        let nothing = vec![(); self.groups.len()];
        self.fold::<1, ()>(states, offset, &nothing, |state, (), sign| {
            state[0] = state[0].wrapping_add(sign as u64);
            true
        });
    }

    /// Folds `values` in.
    pub fn values(
        &self,
        kind: Kind,
        states: &mut StatesMut<'_>,
        offset: usize,
        values: &Values,
    ) -> Result<(), Overflow> {
        let fits = match (kind, values) {
            (Kind::SumInteger, Values::Integers(values)) => {
                self.fold::<2, i64>(states, offset, values, |state, value, sign| {
                    let sum = wide(*state).wrapping_add(i128::from(value) * i128::from(sign));
                    *state = split(sum);
                    true
                })
            }
            (Kind::SumInteger | Kind::SumDecimal, Values::Wides(values)) => {
                self.fold::<2, i128>(states, offset, values, |state, value, sign| {
                    let change = if sign < 0 { value.wrapping_neg() } else { value };
                    let (sum, overflows) = wide(*state).overflowing_add(change);
                    *state = split(sum);
                    !overflows
                })
            }
            (Kind::SumFloat, Values::Floats(values)) => {
                self.fold::<2, f64>(states, offset, values, |state, value, sign| {
                    *state = add_float(*state, value * sign as f64);
                    true
                })
            }
            (Kind::MinWord, Values::Integers(values)) => {
                self.fold::<1, i64>(states, offset, values, |state, value, _| {
                    state[0] = (state[0] as i64).min(value) as u64;
                    true
                })
            }
            (Kind::MaxWord, Values::Integers(values)) => {
                self.fold::<1, i64>(states, offset, values, |state, value, _| {
                    state[0] = (state[0] as i64).max(value) as u64;
                    true
                })
            }
            (Kind::MinDecimal, Values::Wides(values)) => {
                self.fold::<2, i128>(states, offset, values, |state, value, _| {
                    *state = split(wide(*state).min(value));
                    true
                })
            }
            (Kind::MaxDecimal, Values::Wides(values)) => {
                self.fold::<2, i128>(states, offset, values, |state, value, _| {
                    *state = split(wide(*state).max(value));
                    true
                })
            }
            (kind, values) => unreachable!("invariant: {kind:?} does not read {values:?}"),
        };
        if fits { Ok(()) } else { Err(Overflow) }
    }

    /// Adds `values` to a sum and counts them in the word behind it: one pass for both.
    pub fn sum_and_count(&self, states: &mut StatesMut<'_>, offset: usize, values: &Values) {
        match values {
            Values::Integers(values) => {
                self.fold::<3, i64>(states, offset, values, |state, value, sign| {
                    *state = add_integer(*state, value, sign);
                    true
                });
            }
            Values::Floats(values) => {
                self.fold::<3, f64>(states, offset, values, |state, value, sign| {
                    *state = add_float_counted(*state, value, sign);
                    true
                });
            }
            Values::Wides(_) => unreachable!("invariant: sums that may overflow are counted apart"),
        }
    }

    /// Adds `values` to a sum at `offset`, counts them in the word behind it, and keeps the least and the greatest at
    /// `extremes`: one pass for all.
    pub fn sum_and_extremes(
        &self,
        states: &mut StatesMut<'_>,
        offset: usize,
        [least, greatest]: [usize; 2],
        values: &Values,
    ) {
        let improve = |states: &mut StatesMut<'_>, group: GroupIndex, value: i64| {
            let [word] = states.words::<1>(group, least);
            *word = (*word as i64).min(value) as u64;
            let [word] = states.words::<1>(group, greatest);
            *word = (*word as i64).max(value) as u64;
        };
        match values {
            Values::Integers(values) => self.for_each(states, values, |states, group, value, sign| {
                let state = states.words(group, offset);
                *state = add_integer(*state, value, sign);
                improve(states, group, value);
            }),
            Values::Floats(values) => self.for_each(states, values, |states, group, value, sign| {
                let state = states.words(group, offset);
                *state = add_float_counted(*state, value, sign);
                improve(states, group, ordered_float(float_word(value)));
            }),
            Values::Wides(_) => unreachable!("invariant: sums that may overflow are counted apart"),
        }
    }

    /// Shows `step` each counted row: the states, its group, value and sign.
    #[inline(always)]
    fn for_each<V: Copy>(
        &self,
        states: &mut StatesMut<'_>,
        values: &[V],
        mut step: impl FnMut(&mut StatesMut<'_>, GroupIndex, V, i64),
    ) {
        assert_eq!(values.len(), self.groups.len(), "invariant: one value per row");
        let mut states = states.reborrow();
        match (self.rows, self.signs) {
            (Rows::All, None) => {
                for (&group, &value) in self.groups.iter().zip(values) {
                    step(&mut states, group, value, 1);
                }
            }
            (Rows::All, Some(signs)) => {
                for ((&group, &value), &sign) in self.groups.iter().zip(values).zip(signs) {
                    step(&mut states, group, value, sign);
                }
            }
            (Rows::Some(rows), signs) => {
                for &row in rows {
                    let row = row as usize;
                    let sign = signs.map_or(1, |signs| signs[row]);
                    step(&mut states, self.groups[row], values[row], sign);
                }
            }
        }
    }

    /// Applies `step` to the state of each counted row; whether all steps held.
    #[inline(always)]
    pub fn fold<const WORDS: usize, V: Copy>(
        &self,
        states: &mut StatesMut<'_>,
        offset: usize,
        values: &[V],
        step: impl Fn(&mut [u64; WORDS], V, i64) -> bool,
    ) -> bool {
        assert_eq!(values.len(), self.groups.len(), "invariant: one value per row");
        let mut holds = true;
        let mut states = states.reborrow();
        match (self.rows, self.signs) {
            (Rows::All, None) if self.is_single && !values.is_empty() => {
                // One group: its state stays in registers.
                let mut state = *states.words::<WORDS>(0, offset);
                for &value in values {
                    holds &= step(&mut state, value, 1);
                }
                *states.words::<WORDS>(0, offset) = state;
            }
            (Rows::All, None) => {
                for (&group, &value) in self.groups.iter().zip(values) {
                    holds &= step(states.words(group, offset), value, 1);
                }
            }
            (Rows::All, Some(signs)) => {
                for ((&group, &value), &sign) in self.groups.iter().zip(values).zip(signs) {
                    holds &= step(states.words(group, offset), value, sign);
                }
            }
            (Rows::Some(rows), None) => {
                for &row in rows {
                    let row = row as usize;
                    holds &= step(states.words(self.groups[row], offset), values[row], 1);
                }
            }
            (Rows::Some(rows), Some(signs)) => {
                for &row in rows {
                    let row = row as usize;
                    holds &= step(states.words(self.groups[row], offset), values[row], signs[row]);
                }
            }
        }
        holds
    }
}

/// Two words as one number, low word first.
#[inline(always)]
pub(crate) fn wide(words: [u64; 2]) -> i128 {
    (u128::from(words[0]) | u128::from(words[1]) << 64) as i128
}

/// A number as two words, low word first.
#[inline(always)]
pub(crate) fn split(value: i128) -> [u64; 2] {
    [value as u64, (value >> 64) as u64]
}

/// Adds to a 128-bit sum and to the count behind it.
#[inline(always)]
fn add_integer([low, high, count]: [u64; 3], value: i64, sign: i64) -> [u64; 3] {
    let change = i128::from(value) * i128::from(sign);
    let [low, high] = split(wide([low, high]).wrapping_add(change));
    [low, high, count.wrapping_add(sign as u64)]
}

/// Adds to a compensated sum and to the count behind it.
#[inline(always)]
fn add_float_counted([sum, rest, count]: [u64; 3], value: f64, sign: i64) -> [u64; 3] {
    let [sum, rest] = add_float([sum, rest], value * sign as f64);
    [sum, rest, count.wrapping_add(sign as u64)]
}

/// Adds to a compensated sum: Knuth's branch-free two-sum finds what rounding lost.
#[inline(always)]
pub(crate) fn add_float(state: [u64; 2], value: f64) -> [u64; 2] {
    let (sum, lost) = (f64::from_bits(state[0]), f64::from_bits(state[1]));
    let total = sum + value;
    let arrived = total - sum;
    let error = (sum - (total - arrived)) + (value - arrived);
    [total.to_bits(), (lost + error).to_bits()]
}

/// The value of a compensated sum; one that is infinite or NaN has no compensation.
pub(crate) fn float_sum(state: [u64; 2]) -> f64 {
    let sum = f64::from_bits(state[0]);
    if sum.is_finite() {
        sum + f64::from_bits(state[1])
    } else {
        sum
    }
}
