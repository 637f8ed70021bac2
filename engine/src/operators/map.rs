//! Filter, then project, by DataFusion's physical expressions.
//!
//! On a changelog a filter sees old and new value of an update on their own: where only the old
//! one passes, the update is a delete; where only the new one does, it is an insert (FLINK-9528).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int8Array, RecordBatch};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use crate::batch::{Batch, Op};
use crate::encoding::encoded_rows;
use crate::error::ExecutionError;
use crate::operators::{Operator, Output};
use crate::plan::MapSpec;

/// The map operator; keeps nothing between batches.
pub struct Map {
    filter: Option<Arc<dyn PhysicalExpr>>,
    projection: Option<Vec<(Arc<dyn PhysicalExpr>, FieldRef)>>,
    output: SchemaRef,
}

impl Map {
    /// A map as `spec` says, with columns `output`.
    pub fn new(spec: &MapSpec, _input: SchemaRef, output: SchemaRef) -> Result<Map, ExecutionError> {
        Ok(Map {
            filter: spec.filter.clone(),
            projection: spec.projection.clone(),
            output,
        })
    }

    fn keep(
        &self,
        rows: RecordBatch,
        ops: Option<Int8Array>,
    ) -> Result<(RecordBatch, Option<Int8Array>), ExecutionError> {
        let Some(predicate) = &self.filter else {
            return Ok((rows, ops));
        };
        let keep = evaluate(predicate, &rows)?;
        let keep = definite(keep.as_boolean());
        if keep.true_count() == rows.num_rows() {
            return Ok((rows, ops));
        }
        let kept = filter_record_batch(&rows, &keep).map_err(map_error)?;
        let ops = match ops {
            Some(ops) => {
                let split = split_updates(&ops, &keep);
                let kept = filter(&split, &keep).map_err(map_error)?;
                Some(kept.as_primitive().clone())
            }
            None => None,
        };
        Ok((kept, ops))
    }
}

impl Operator for Map {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let (rows, ops, arrival_ns) = batch.into_parts();
        let (rows, ops) = self.keep(rows, ops)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = match &self.projection {
            None => rows,
            Some(projection) => {
                let columns = projection
                    .iter()
                    .map(|(value, _)| evaluate(value, &rows))
                    .collect::<Result<Vec<_>, _>>()?;
                encoded_rows(&self.output, columns, rows.num_rows()).map_err(map_error)?
            }
        };
        out.emit(Batch::new(rows, ops, arrival_ns));
        Ok(())
    }
}

/// The value of `expression` for every row.
pub(crate) fn evaluate(
    expression: &Arc<dyn PhysicalExpr>,
    rows: &RecordBatch,
) -> Result<ArrayRef, ExecutionError> {
    expression
        .evaluate(rows)
        .and_then(|value| value.into_array(rows.num_rows()))
        .map_err(|error| ExecutionError::new(format!("`{expression}`"), error.strip_backtrace()))
}

/// NULL does not pass a filter.
pub(crate) fn definite(keep: &BooleanArray) -> BooleanArray {
    match keep.null_count() {
        0 => keep.clone(),
        _ => arrow::compute::prep_null_mask_filter(keep),
    }
}

/// The ops after a filter that keeps only one row of some update pairs.
fn split_updates(ops: &Int8Array, keep: &BooleanArray) -> Int8Array {
    let mut codes = ops.values().to_vec();
    for row in 1..codes.len() {
        let pair = codes[row - 1] == Op::UpdateBefore.code() && codes[row] == Op::UpdateAfter.code();
        match (pair, keep.value(row - 1), keep.value(row)) {
            (true, true, false) => codes[row - 1] = Op::Delete.code(),
            (true, false, true) => codes[row] = Op::Insert.code(),
            _ => {}
        }
    }
    Int8Array::from(codes)
}

fn map_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("filter and project", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion_common::ScalarValue;
    use datafusion_expr::Operator as SqlOperator;
    use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};

    /// Rows of one BIGINT column with ops, filtered by `v > 10`.
    fn check(input: &[(Op, Option<i64>)], expected: &[(Op, i64)]) {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
        let ten = Arc::new(Literal::new(ScalarValue::Int64(Some(10))));
        let filter = Arc::new(BinaryExpr::new(
            Arc::new(Column::new("v", 0)),
            SqlOperator::Gt,
            ten,
        ));
        let spec = MapSpec {
            filter: Some(filter),
            projection: None,
        };
        let mut map = Map::new(&spec, schema.clone(), schema.clone()).unwrap();
        let values: Int64Array = input.iter().map(|(_, value)| *value).collect();
        let ops: Int8Array = input.iter().map(|(op, _)| Some(op.code())).collect();
        let rows = RecordBatch::try_new(schema, vec![Arc::new(values)]).unwrap();
        let mut out = Output::new();
        map.process(0, Batch::changes(rows, ops, 0), &mut out).unwrap();
        let found: Vec<(Op, i64)> = out
            .take()
            .iter()
            .flat_map(|batch| {
                let values = batch
                    .column(0)
                    .as_primitive::<arrow::datatypes::Int64Type>()
                    .clone();
                (0..batch.len())
                    .map(|row| (batch.op(row), values.value(row)))
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_update_that_leaves_the_filter_is_a_delete() {
        check(
            &[(Op::UpdateBefore, Some(12)), (Op::UpdateAfter, Some(3))],
            &[(Op::Delete, 12)],
        );
    }

    #[test]
    fn an_update_that_enters_the_filter_is_an_insert() {
        check(
            &[(Op::UpdateBefore, Some(3)), (Op::UpdateAfter, Some(12))],
            &[(Op::Insert, 12)],
        );
    }

    #[test]
    fn null_does_not_pass() {
        check(
            &[(Op::Insert, None), (Op::Insert, Some(11)), (Op::Delete, Some(12))],
            &[(Op::Insert, 11), (Op::Delete, 12)],
        );
    }
}
