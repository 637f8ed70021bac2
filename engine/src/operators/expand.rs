//! Expand: each row once per grouping set, the keys that the set leaves out NULL, with the set's id; the
//! aggregation behind it groups by keys and id (GROUPING SETS, CUBE, ROLLUP).

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::map::evaluate;
use crate::operators::{Operator, Output};
use crate::plan::ExpandSpec;
use crate::state::changes::rows_of;

/// The expand operator; keeps nothing.
pub struct Expand {
    spec: ExpandSpec,
    output: SchemaRef,
}

impl Expand {
    /// The operator of `spec`; output = input columns, then the keys, then the id.
    pub fn new(spec: &ExpandSpec, output: SchemaRef) -> Expand {
        Expand {
            spec: spec.clone(),
            output,
        }
    }
}

impl Operator for Expand {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let (rows, ops, arrival_ns) = batch.into_parts();
        let count = rows.num_rows();
        let keys = self.spec.keys.iter().map(|key| evaluate(key, &rows));
        let keys: Vec<ArrayRef> = keys.collect::<Result<_, _>>()?;
        let id_type = self.output.field(self.output.fields().len() - 1).data_type();
        for set in &self.spec.sets {
            let mut columns = rows.columns().to_vec();
            for (key, &is_kept) in keys.iter().zip(&set.keeps) {
                columns.push(match is_kept {
                    true => key.clone(),
                    false => new_null_array(key.data_type(), count),
                });
            }
            let ids: ArrayRef = Arc::new(UInt64Array::from(vec![set.id; count]));
            columns.push(cast(&ids, id_type).map_err(|error| ExecutionError::new("grouping sets", error))?);
            out.emit(Batch::new(
                rows_of(&self.output, columns, count)?,
                ops.clone(),
                arrival_ns,
            ));
        }
        Ok(())
    }
}
