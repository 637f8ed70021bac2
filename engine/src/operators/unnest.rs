//! UNNEST: each row once per element of its array, with the element and, where asked for, its place from 1.
//!
//! **Invariant.** What a row says, its elements say: an array that is taken back takes its rows back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{Int8Type, SchemaRef};

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::{Operator, Output};
use crate::plan::UnnestSpec;
use crate::state::changes::rows_of;

/// The unnesting operator; keeps nothing.
pub struct Unnest {
    spec: UnnestSpec,
    output: SchemaRef,
}

/// Rows to emit: which input row, which element of all, and its place in the row's array.
#[derive(Default)]
struct Elements {
    rows: Vec<u32>,
    elements: Vec<Option<u32>>,
    places: Vec<Option<i32>>,
}

impl Unnest {
    /// The operator of `spec`; output = input columns, the element, then its place.
    pub fn new(spec: &UnnestSpec, output: SchemaRef) -> Unnest {
        Unnest { spec: *spec, output }
    }

    fn emit(&self, batch: &Batch, found: &mut Elements, out: &mut Output) -> Result<(), ExecutionError> {
        let found = std::mem::take(found);
        let count = found.rows.len();
        if count == 0 {
            return Ok(());
        }
        let rows = UInt32Array::from(found.rows);
        let values = batch.column(self.spec.array).as_list::<i32>().values();
        let mut columns = take_record_batch(batch.rows(), &rows)
            .map_err(unnest_error)?
            .columns()
            .to_vec();
        columns.push(take(values, &UInt32Array::from(found.elements), None).map_err(unnest_error)?);
        if self.spec.has_ordinality {
            columns.push(Arc::new(Int32Array::from(found.places)) as ArrayRef);
        }
        let ops = match batch.ops() {
            None => None,
            Some(ops) => Some(
                take(ops, &rows, None)
                    .map_err(unnest_error)?
                    .as_primitive::<Int8Type>()
                    .clone(),
            ),
        };
        out.emit(Batch::new(
            rows_of(&self.output, columns, count)?,
            ops,
            batch.arrival_ns,
        ));
        Ok(())
    }
}

impl Operator for Unnest {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let arrays = batch.column(self.spec.array).as_list::<i32>().clone();
        let mut found = Elements::default();
        for row in 0..batch.len() {
            let offsets = arrays.value_offsets();
            let range = match arrays.is_valid(row) {
                true => offsets[row]..offsets[row + 1],
                false => 0..0,
            };
            if range.is_empty() && self.spec.keeps_empty {
                found.rows.push(row as u32);
                found.elements.push(None);
                found.places.push(None);
            }
            for (place, element) in (1..).zip(range) {
                found.rows.push(row as u32);
                found.elements.push(Some(element as u32));
                found.places.push(Some(place));
                if found.rows.len() >= BATCH_ROWS_MAX {
                    self.emit(&batch, &mut found, out)?;
                }
            }
        }
        self.emit(&batch, &mut found, out)
    }
}

fn unnest_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("UNNEST", error)
}
