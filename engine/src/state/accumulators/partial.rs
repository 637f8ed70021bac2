//! Partial states, which a local phase exports as columns (`export`): merged by the owner, and combined between
//! the tables of window slices.
//!
//! **Invariant.** Merging exported states gives the words that updating with their rows would have
//! given (float sums: up to the last digits).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Float64Type, Int64Type};

use crate::error::ExecutionError;
use crate::state::accumulators::inputs::{Rows, Values};
use crate::state::accumulators::layout::{Kind, Primitive};
use crate::state::accumulators::side::{Side, add_to_multiset, bytes_at, improve_bytes};
use crate::state::accumulators::state::{GroupState, overflow};
use crate::state::accumulators::update::{Overflow, Update, add_float, split, wide};
use crate::state::group_table::GroupIndex;

impl GroupState {
    /// Merges partial states, one per row of `batch`, whose columns start at `first`.
    pub fn merge(
        &mut self,
        batch: &RecordBatch,
        first: usize,
        groups: &[GroupIndex],
    ) -> Result<(), ExecutionError> {
        self.note_change(groups)?;
        let layout = Arc::clone(&self.layout);
        let mut column = first;
        for primitive in &layout.primitives {
            let values = batch.column(column);
            column += if primitive.kind == Kind::SumFloat { 2 } else { 1 };
            let is_single = self.has_single_group();
            let update = Update {
                groups,
                rows: Rows::All,
                signs: None,
                is_single,
            };
            let states = &mut self.table.states_mut();
            match primitive.kind {
                Kind::Count => {
                    let values = values.as_primitive::<Int64Type>().values();
                    update.fold::<1, i64>(states, primitive.place, values, |state, value, _| {
                        state[0] = state[0].wrapping_add(value as u64);
                        true
                    });
                }
                Kind::SumFloat => {
                    let sums = values.as_primitive::<Float64Type>().values();
                    let rest = batch.column(column - 1).as_primitive::<Float64Type>().values();
                    let pairs: Vec<(f64, f64)> = sums.iter().copied().zip(rest.iter().copied()).collect();
                    update.fold::<2, (f64, f64)>(states, primitive.place, &pairs, |state, (sum, rest), _| {
                        *state = add_float(add_float(*state, sum), rest);
                        true
                    });
                }
                Kind::MinBytes | Kind::MaxBytes => {
                    self.merge_bytes(primitive, values, groups);
                }
                kind => {
                    let values = match kind {
                        Kind::MinWord | Kind::MaxWord => {
                            Values::Integers(values.as_primitive::<Int64Type>().values().clone())
                        }
                        _ => Values::Wides(values.as_primitive::<Decimal128Type>().values().clone()),
                    };
                    update
                        .values(kind, states, primitive.place, &values)
                        .map_err(|Overflow| overflow(&layout, primitive))?;
                }
            }
        }
        Ok(())
    }

    fn merge_bytes(&mut self, primitive: &Primitive, values: &ArrayRef, groups: &[GroupIndex]) {
        let Side::Bytes(entries) = &mut self.sides[primitive.place] else {
            unreachable!("invariant: the layout gave this place to texts")
        };
        for (row, &group) in groups.iter().enumerate().filter(|&(row, _)| values.is_valid(row)) {
            let is_max = primitive.kind == Kind::MaxBytes;
            improve_bytes(&mut entries[group as usize], bytes_at(values, row), is_max);
        }
    }

    /// Adds groups `from` of `other` (a state of the same layout) to the groups with their keys; with
    /// `subtract`, takes them away.
    ///
    /// # Panics
    ///
    /// If the layout is not combinable, or not invertible though it is to subtract.
    pub fn combine(
        &mut self,
        other: &GroupState,
        from: &[GroupIndex],
        subtract: bool,
    ) -> Result<(), ExecutionError> {
        let layout = Arc::clone(&self.layout);
        assert!(
            layout.is_combinable(),
            "invariant: the window operator shares slices only if it can"
        );
        assert!(
            !subtract || layout.is_invertible(),
            "invariant: only sums and counts are taken back"
        );
        let mut groups = Vec::with_capacity(from.len());
        self.table.find_or_insert_from(&other.table, from, &mut groups);
        self.grow_sides();
        self.note_change(&groups)?;
        for primitive in &layout.primitives {
            if primitive.kind.words() == 0 {
                self.combine_side(primitive, other, from, &groups);
                continue;
            }
            let mut fits = true;
            let place = primitive.place;
            let mut states = self.table.states_mut();
            for (&source, &target) in from.iter().zip(&groups) {
                let read = other.table.state(source);
                fits &= combine_words(primitive.kind, states.all(target), read, place, subtract);
            }
            if !fits {
                return Err(overflow(&layout, primitive));
            }
        }
        Ok(())
    }

    fn combine_side(
        &mut self,
        primitive: &Primitive,
        other: &GroupState,
        from: &[GroupIndex],
        groups: &[GroupIndex],
    ) {
        let pairs = from
            .iter()
            .zip(groups)
            .map(|(&source, &target)| (source as usize, target as usize));
        match (&mut self.sides[primitive.place], &other.sides[primitive.place]) {
            (Side::Bytes(into), Side::Bytes(read)) => {
                let is_max = primitive.kind == Kind::MaxBytes;
                for (source, target) in pairs {
                    if let Some(bytes) = &read[source] {
                        improve_bytes(&mut into[target], bytes, is_max);
                    }
                }
            }
            (Side::Multisets(into), Side::Multisets(read)) => {
                for (source, target) in pairs {
                    for (value, &count) in &read[source] {
                        add_to_multiset(&mut into[target], value.clone(), count);
                    }
                }
            }
            _ => unreachable!("invariant: a combinable layout has texts and multisets aside"),
        }
    }
}

/// Combines one primitive of one group; whether the sum fits.
#[inline(always)]
fn combine_words(kind: Kind, into: &mut [u64], read: &[u64], place: usize, subtract: bool) -> bool {
    let pair = |words: &[u64]| [words[place], words[place + 1]];
    let mut fits = true;
    match kind {
        Kind::Count if subtract => into[place] = into[place].wrapping_sub(read[place]),
        Kind::Count => into[place] = into[place].wrapping_add(read[place]),
        Kind::MinWord => into[place] = (into[place] as i64).min(read[place] as i64) as u64,
        Kind::MaxWord => into[place] = (into[place] as i64).max(read[place] as i64) as u64,
        Kind::SumFloat => {
            let read = pair(read).map(f64::from_bits);
            let sum = add_float(add_float(pair(into), read[0]), read[1]);
            into[place..place + 2].copy_from_slice(&sum);
        }
        _ => {
            let (mine, theirs) = (wide(pair(into)), wide(pair(read)));
            let result = match kind {
                Kind::MinDecimal => mine.min(theirs),
                Kind::MaxDecimal => mine.max(theirs),
                _ => {
                    let (sum, overflows) = if subtract {
                        mine.overflowing_sub(theirs)
                    } else {
                        mine.overflowing_add(theirs)
                    };
                    fits = !overflows;
                    sum
                }
            };
            into[place..place + 2].copy_from_slice(&split(result));
        }
    }
    fits
}
