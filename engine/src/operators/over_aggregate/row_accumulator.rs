//! Any other aggregate over a frame, through DataFusion's row accumulators: rows go in and, where the
//! function can, are taken back; where it cannot, a frame that lost rows is accumulated anew.
//!
//! **Invariant.** A frame without a bound keeps its accumulator alone, no rows.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_empty_array, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, FieldRef, Int64Type, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use crate::error::ExecutionError;
use crate::operators::over_aggregate::calls::{SharedCalls, counted};
use crate::operators::over_aggregate::frames::OrderedRows;
use crate::operators::over_aggregate::over_error;
use crate::plan::{AggregateCall, OverFrame};
use crate::snapshot::{StateWriter, int64_column};
use crate::state::accumulators::frozen::scalar_column;
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::key_columns::named_keys;

/// Arguments of one row; `None` where the filter leaves it out.
type Arguments = Option<Vec<ArrayRef>>;

/// A call through row accumulators.
pub(super) struct RowAccumulatorCall {
    function: Arc<AggregateFunctionExpr>,
    arguments: Vec<usize>,
    /// Of the arguments.
    types: Vec<DataType>,
    filter: Option<usize>,
    output: FieldRef,
    frame: OverFrame,
    partitions: Vec<Option<Frame>>,
}

/// The frame of one partition.
struct Frame {
    accumulator: Box<dyn Accumulator>,
    /// (event time, arguments) of the rows in a frame with a bound.
    rows: VecDeque<(i64, Arguments)>,
    /// How many of them have no NULL among their arguments.
    valid_rows: usize,
}

fn is_valid(arguments: &Arguments) -> bool {
    let columns = arguments.as_ref();
    columns.is_some_and(|columns| columns.iter().all(|column| column.logical_null_count() == 0))
}

impl RowAccumulatorCall {
    pub(super) fn new(
        call: &AggregateCall,
        function: Arc<AggregateFunctionExpr>,
        frame: OverFrame,
        input: &SchemaRef,
    ) -> RowAccumulatorCall {
        RowAccumulatorCall {
            function,
            types: call
                .arguments
                .iter()
                .map(|&column| input.field(column).data_type().clone())
                .collect(),
            arguments: call.arguments.clone(),
            filter: call.filter,
            output: call.output.clone(),
            frame,
            partitions: Vec::new(),
        }
    }

    fn empty_frame(&self) -> Result<Frame, ExecutionError> {
        Ok(Frame {
            accumulator: self.accumulator()?,
            rows: VecDeque::new(),
            valid_rows: 0,
        })
    }

    /// A fresh accumulator; where rows leave the frame, one that takes them back if there is one.
    fn accumulator(&self) -> Result<Box<dyn Accumulator>, ExecutionError> {
        let sliding = match self.frame {
            OverFrame::Rows(None) | OverFrame::Range(None) => None,
            _ => self.function.create_sliding_accumulator().ok(),
        };
        match sliding {
            Some(accumulator) => Ok(accumulator),
            None => self.function.create_accumulator().map_err(over_error),
        }
    }

    /// A row enters the frame of `partition`, and what left it goes.
    fn enter(&mut self, partition: usize, time: i64, arguments: Arguments) -> Result<(), ExecutionError> {
        let mut frame = match self.partitions[partition].take() {
            Some(frame) => frame,
            None => self.empty_frame()?,
        };
        if let Some(arguments) = &arguments {
            frame.accumulator.update_batch(arguments).map_err(over_error)?;
        }
        let keep = |rows: &VecDeque<(i64, Arguments)>| match self.frame {
            OverFrame::Rows(Some(preceding)) => rows.len() as u64 <= preceding.saturating_add(1),
            OverFrame::Range(Some(distance)) => rows
                .front()
                .is_none_or(|&(first, _)| first >= time.saturating_sub(distance)),
            OverFrame::Rows(None) | OverFrame::Range(None) => true,
        };
        if !matches!(self.frame, OverFrame::Rows(None) | OverFrame::Range(None)) {
            frame.valid_rows += usize::from(is_valid(&arguments));
            frame.rows.push_back((time, arguments));
        }
        let mut is_stale = false;
        while !keep(&frame.rows) {
            let left = frame.rows.pop_front().and_then(|(_, arguments)| arguments);
            if let Some(left) = left {
                if frame.accumulator.supports_retract_batch() {
                    frame.accumulator.retract_batch(&left).map_err(over_error)?;
                } else {
                    is_stale = true;
                }
                if is_valid(&Some(left)) {
                    frame.valid_rows -= 1;
                    // Some functions answer 0 instead of NULL once their last value was taken back.
                    is_stale |= frame.valid_rows == 0;
                }
            }
        }
        if is_stale {
            frame.accumulator = self.accumulator()?;
            for arguments in frame.rows.iter().filter_map(|(_, arguments)| arguments.as_ref()) {
                frame.accumulator.update_batch(arguments).map_err(over_error)?;
            }
        }
        self.partitions[partition] = Some(frame);
        Ok(())
    }

    /// Frames without a bound: a row per partition with the state of its accumulator.
    fn freeze_accumulators(
        &mut self,
        name: &str,
        partitions: &GroupTable,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        let fields = self.function.state_fields().map_err(over_error)?;
        let mut states: Vec<Vec<ScalarValue>> = vec![Vec::new(); fields.len()];
        let mut groups: Vec<GroupIndex> = Vec::new();
        for partition in 0..self.partitions.len() {
            let Some(mut frame) = self.partitions[partition].take() else {
                continue;
            };
            let state = frame.accumulator.state().map_err(over_error)?;
            let columns = state.iter().map(ScalarValue::to_array);
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(over_error)?;
            // Giving its state away may have emptied it: a new one goes on from there.
            frame.accumulator = self.accumulator()?;
            frame.accumulator.merge_batch(&columns).map_err(over_error)?;
            self.partitions[partition] = Some(frame);
            groups.push(partition as GroupIndex);
            states
                .iter_mut()
                .zip(state)
                .for_each(|(column, value)| column.push(value));
        }
        let mut columns = named_keys(partitions, &groups);
        for (field, values) in fields.iter().zip(states) {
            columns.push((field.name().clone(), scalar_column(field.data_type(), values)?));
        }
        into.add_columns(name, 0, columns, groups.len())
    }

    /// Frames with a bound: their rows, from which accumulators are made anew.
    fn freeze_rows(
        &mut self,
        name: &str,
        partitions: &GroupTable,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        let nothing: Vec<ArrayRef> = self.types.iter().map(|of| new_null_array(of, 1)).collect();
        let (mut groups, mut times, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        let mut arguments: Vec<Vec<&dyn Array>> = vec![Vec::new(); self.types.len()];
        for (partition, frame) in (0..).zip(&self.partitions) {
            for (time, row) in frame.iter().flat_map(|frame| &frame.rows) {
                groups.push(partition);
                times.push(*time);
                counts.push(row.is_some());
                let values = row.as_ref().unwrap_or(&nothing);
                for (column, value) in arguments.iter_mut().zip(values) {
                    column.push(value.as_ref());
                }
            }
        }
        let mut columns = named_keys(partitions, &groups);
        columns.push(("time".into(), int64_column(times)));
        columns.push(("counts".into(), Arc::new(BooleanArray::from(counts))));
        for ((number, of), values) in (0..).zip(&self.types).zip(arguments) {
            let column = match values.is_empty() {
                true => new_empty_array(of),
                false => concat(&values).map_err(over_error)?,
            };
            columns.push((format!("argument {number}"), column));
        }
        into.add_columns(name, 0, columns, groups.len())
    }

    fn result(&mut self, partition: u32) -> Result<ScalarValue, ExecutionError> {
        let frame = self.partitions[partition as usize].as_mut();
        let frame = frame.expect("invariant: a row has entered");
        frame.accumulator.evaluate().map_err(over_error)
    }
}

impl SharedCalls for RowAccumulatorCall {
    fn answer(
        &mut self,
        rows: &RecordBatch,
        order: &OrderedRows<'_>,
    ) -> Result<Vec<ArrayRef>, ExecutionError> {
        self.partitions.resize_with(order.partition_count, || None);
        let filter = self.filter.map(|filter| rows.column(filter));
        let passes = counted(None, filter);
        let columns: Vec<&ArrayRef> = self.arguments.iter().map(|&column| rows.column(column)).collect();
        let by_rows = matches!(self.frame, OverFrame::Rows(_));
        let mut results = Vec::with_capacity(rows.num_rows());
        let mut start = 0;
        for peers in order.times.chunk_by(|left, right| left == right) {
            let partitions = &order.partitions[start..start + peers.len()];
            for (row, &partition) in (start..).zip(partitions) {
                let passes = passes.as_ref().is_none_or(|passes| passes[row]);
                let arguments = passes.then(|| columns.iter().map(|column| column.slice(row, 1)).collect());
                self.enter(partition as usize, order.times[row], arguments)?;
                if by_rows {
                    results.push(self.result(partition)?);
                }
            }
            if !by_rows {
                for &partition in partitions {
                    results.push(self.result(partition)?);
                }
            }
            start += peers.len();
        }
        let column = if results.iter().all(ScalarValue::is_null) {
            new_null_array(self.output.data_type(), results.len())
        } else {
            ScalarValue::iter_to_array(results).map_err(over_error)?
        };
        if column.data_type() == self.output.data_type() {
            return Ok(vec![column]);
        }
        Ok(vec![cast(&column, self.output.data_type()).map_err(over_error)?])
    }

    fn freeze(
        &mut self,
        name: &str,
        partitions: &GroupTable,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        match self.frame {
            OverFrame::Rows(None) | OverFrame::Range(None) => {
                self.freeze_accumulators(name, partitions, into)
            }
            _ => self.freeze_rows(name, partitions, into),
        }
    }

    fn thaw(
        &mut self,
        columns: &[ArrayRef],
        partitions: &[GroupIndex],
        count: usize,
    ) -> Result<(), ExecutionError> {
        self.partitions
            .resize_with(count.max(self.partitions.len()), || None);
        for (row, &partition) in partitions.iter().enumerate() {
            let values = |columns: &[ArrayRef]| {
                columns
                    .iter()
                    .map(|column| column.slice(row, 1))
                    .collect::<Vec<_>>()
            };
            if matches!(self.frame, OverFrame::Rows(None) | OverFrame::Range(None)) {
                let mut frame = self.empty_frame()?;
                frame
                    .accumulator
                    .merge_batch(&values(columns))
                    .map_err(over_error)?;
                self.partitions[partition as usize] = Some(frame);
                continue;
            }
            let time = columns[0].as_primitive::<Int64Type>().value(row);
            let counts = columns[1].as_boolean().value(row);
            self.enter(partition as usize, time, counts.then(|| values(&columns[2..])))?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let row = |(_, arguments): &(i64, Arguments)| {
            let columns = arguments.iter().flatten();
            size_of::<(i64, Arguments)>()
                + columns
                    .map(|column| column.to_data().len() * 8 + 64)
                    .sum::<usize>()
        };
        let frame = |frame: &Frame| frame.accumulator.size() + frame.rows.iter().map(row).sum::<usize>();
        self.partitions.iter().flatten().map(frame).sum()
    }
}
