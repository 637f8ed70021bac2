//! One aggregate call over rows that come one after another: what it is of all rows so far.
//!
//! **Invariant.** Rows are never taken back: who needs fewer begins anew.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::ScalarValue;

use crate::error::ExecutionError;
use crate::operators::over_aggregate::calls::{self, Group};
use crate::operators::over_aggregate::frames::OrderedRows;
use crate::operators::over_aggregate::over_error;
use crate::plan::{AggregateCall, AggregateFunction, OverFrame};

/// A call over the columns that it reads.
pub(in crate::operators) struct RunningAggregate {
    call: AggregateCall,
    /// The columns of the input that rows must be given with, in order.
    columns: Vec<usize>,
    schema: SchemaRef,
    running: Option<Group>,
}

impl RunningAggregate {
    /// No rows yet, of columns `input`.
    pub fn new(call: &AggregateCall, input: &Schema) -> RunningAggregate {
        let columns: Vec<usize> = call.arguments.iter().chain(&call.filter).copied().collect();
        let arguments = call.arguments.len();
        let fields = columns.iter().map(|&column| input.fields()[column].clone());
        RunningAggregate {
            call: AggregateCall {
                arguments: (0..arguments).collect(),
                filter: call.filter.map(|_| arguments),
                ..call.clone()
            },
            schema: SchemaRef::new(Schema::new(fields.collect::<Vec<_>>())),
            columns,
            running: None,
        }
    }

    /// The columns of the input that it reads.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The columns that it reads, as rows are given.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Forgets all rows.
    pub fn reset(&mut self) {
        self.running = None;
    }

    /// Takes `rows`, one at least; the result of all rows so far, as a column of one row.
    pub fn add(&mut self, rows: &RecordBatch) -> Result<ArrayRef, ExecutionError> {
        let count = rows.num_rows();
        assert!(count > 0, "invariant: rows are added");
        if self.running.is_none() {
            let frame = OverFrame::Rows(None);
            self.running = calls::build(std::slice::from_ref(&self.call), frame, &self.schema)?.pop();
        }
        let running = self.running.as_mut().expect("invariant: a call has a group");
        let order = OrderedRows {
            partitions: &vec![0; count],
            partition_count: 1,
            times: &vec![0; count],
        };
        let mut columns = running.shared.answer(rows, &order)?;
        let results = columns.pop().expect("invariant: a call has a result");
        Ok(results.slice(count - 1, 1))
    }

    /// The result of no rows, as a column of one row.
    pub fn of_nothing(&self) -> Result<ArrayRef, ExecutionError> {
        let result = match &self.call.function {
            AggregateFunction::CountStar | AggregateFunction::Count => Ok(ScalarValue::Int64(Some(0))),
            AggregateFunction::Other(function) => {
                let accumulator = function.create_accumulator();
                accumulator.and_then(|mut accumulator| accumulator.evaluate())
            }
            AggregateFunction::Sum
            | AggregateFunction::Min
            | AggregateFunction::Max
            | AggregateFunction::Avg => ScalarValue::try_new_null(self.call.output.data_type()),
        };
        let result = result.and_then(|result| result.cast_to(self.call.output.data_type()));
        result.and_then(|result| result.to_array()).map_err(over_error)
    }
}
