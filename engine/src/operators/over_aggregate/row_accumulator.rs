//! Any other aggregate over a frame, through DataFusion's row accumulator: it takes rows in and,
//! where the function can, takes them back; otherwise the frame is accumulated anew per row.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat;
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use crate::error::ExecutionError;
use crate::operators::over_aggregate::call::OverCall;
use crate::operators::over_aggregate::over_error;
use crate::plan::{AggregateCall, OverFrame};

/// A call through row accumulators.
pub(super) struct RowAccumulatorCall {
    function: Arc<AggregateFunctionExpr>,
    arguments: Vec<usize>,
    filter: Option<usize>,
    frame: OverFrame,
    partitions: Vec<Frame>,
}

/// The frame of one partition.
#[derive(Default)]
struct Frame {
    accumulator: Option<Box<dyn Accumulator>>,
    /// (event time, arguments, one row each) of the rows in the frame.
    rows: VecDeque<(i64, Vec<ArrayRef>)>,
}

impl RowAccumulatorCall {
    pub(super) fn new(
        call: &AggregateCall,
        function: Arc<AggregateFunctionExpr>,
        frame: OverFrame,
    ) -> RowAccumulatorCall {
        RowAccumulatorCall {
            function,
            arguments: call.arguments.clone(),
            filter: call.filter,
            frame,
            partitions: Vec::new(),
        }
    }

    /// The row enters the frame of partition `id`, and what left it goes.
    fn enter(
        &mut self,
        id: usize,
        time: i64,
        arguments: Option<Vec<ArrayRef>>,
    ) -> Result<(), ExecutionError> {
        let frame = &mut self.partitions[id];
        if frame.accumulator.is_none() {
            frame.accumulator = Some(self.function.create_sliding_accumulator().map_err(over_error)?);
        }
        let accumulator = frame.accumulator.as_mut().expect("invariant: it was just made");
        // A row that the filter leaves out still takes a place in a frame by rows.
        if let Some(arguments) = &arguments {
            accumulator.update_batch(arguments).map_err(over_error)?;
        }
        frame.rows.push_back((time, arguments.unwrap_or_default()));
        let leaves = |rows: &VecDeque<(i64, Vec<ArrayRef>)>| match self.frame {
            OverFrame::Rows(Some(count)) => rows.len() as u64 > count.saturating_add(1),
            OverFrame::Range(Some(distance)) => rows[0].0 < time.saturating_sub(distance),
            OverFrame::Rows(None) | OverFrame::Range(None) => false,
        };
        let mut anew = false;
        while leaves(&frame.rows) {
            let (_, left) = frame
                .rows
                .pop_front()
                .expect("invariant: the frame holds the row");
            if left.is_empty() {
                continue;
            }
            match accumulator.supports_retract_batch() {
                true => accumulator.retract_batch(&left).map_err(over_error)?,
                false => anew = true,
            }
        }
        if anew {
            *accumulator = self.function.create_accumulator().map_err(over_error)?;
            for (_, arguments) in frame.rows.iter().filter(|(_, arguments)| !arguments.is_empty()) {
                accumulator.update_batch(arguments).map_err(over_error)?;
            }
        }
        Ok(())
    }

    fn result(&mut self, id: usize) -> Result<ScalarValue, ExecutionError> {
        let accumulator = self.partitions[id]
            .accumulator
            .as_mut()
            .expect("invariant: a row has entered");
        accumulator.evaluate().map_err(over_error)
    }
}

impl OverCall for RowAccumulatorCall {
    fn answer(
        &mut self,
        rows: &RecordBatch,
        ids: &[u32],
        partitions: usize,
        times: &[i64],
    ) -> Result<ArrayRef, ExecutionError> {
        self.partitions.resize_with(partitions, Frame::default);
        let passes = self.filter.map(|filter| rows.column(filter).as_boolean().clone());
        let mut results = Vec::with_capacity(ids.len());
        let by_rows = matches!(self.frame, OverFrame::Rows(_));
        let mut start = 0;
        for run in times.chunk_by(|a, b| a == b) {
            for row in start..start + run.len() {
                let passes = passes
                    .as_ref()
                    .is_none_or(|passes| passes.is_valid(row) && passes.value(row));
                let arguments = passes.then(|| {
                    self.arguments
                        .iter()
                        .map(|&column| rows.column(column).slice(row, 1))
                        .collect()
                });
                self.enter(ids[row] as usize, times[row], arguments)?;
                if by_rows {
                    results.push(self.result(ids[row] as usize)?.to_array().map_err(over_error)?);
                }
            }
            if !by_rows {
                for row in start..start + run.len() {
                    results.push(self.result(ids[row] as usize)?.to_array().map_err(over_error)?);
                }
            }
            start += run.len();
        }
        let results: Vec<&dyn Array> = results.iter().map(|result| result.as_ref()).collect();
        concat(&results).map_err(over_error)
    }

    fn bytes(&self) -> usize {
        let frame = |frame: &Frame| {
            let rows: usize = frame.rows.iter().map(|(_, arguments)| 64 * arguments.len()).sum();
            rows + frame
                .accumulator
                .as_ref()
                .map_or(0, |accumulator| accumulator.size())
        };
        self.partitions.iter().map(frame).sum()
    }
}
