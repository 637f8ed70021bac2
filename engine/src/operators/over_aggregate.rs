//! OVER aggregation in event time: rows wait until the watermark passes them, and are answered in
//! order of event time, each with its input columns and one result per call.
//!
//! Rows of one partition with equal event time are ordered by their own bytes, so that results do
//! not depend on how rows came together from shards and batches. Calls run one after the other
//! over a whole sorted batch, each with state per partition (`over/`).

mod call;
mod history;
mod partitions;
mod row_accumulator;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::SchemaRef;
use arrow_row::{RowConverter, SortField};

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::OverAggregateSpec;
use crate::time::{WATERMARK_NONE, WatermarkUs};

use call::OverCall;
use partitions::Partitions;

/// The OVER operator.
pub struct OverAggregate {
    time_column: usize,
    output: SchemaRef,
    input: SchemaRef,
    partitions: Partitions,
    calls: Vec<Box<dyn OverCall>>,
    /// Rows that the watermark has not passed.
    waiting: Vec<Waiting>,
    /// Rows that it has passed, in order, and the next to be answered.
    ready: Option<(RecordBatch, usize)>,
    watermark: WatermarkUs,
    late_rows: u64,
}

/// A batch of waiting rows with its earliest and latest event time.
struct Waiting {
    rows: RecordBatch,
    times: Vec<i64>,
    earliest: i64,
    latest: i64,
}

impl OverAggregate {
    /// The operator of `spec`; output = input columns, then one per call.
    pub fn new(
        spec: &OverAggregateSpec,
        input: SchemaRef,
        output: SchemaRef,
    ) -> Result<OverAggregate, ExecutionError> {
        let calls = spec
            .calls
            .iter()
            .map(|call| call::build(call, spec.frame, &input))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(OverAggregate {
            time_column: spec.time_column,
            partitions: Partitions::new(&spec.partition, &input)?,
            output,
            input,
            calls,
            waiting: Vec::new(),
            ready: None,
            watermark: WATERMARK_NONE,
            late_rows: 0,
        })
    }

    /// Takes the waiting rows that the watermark has passed, in order of event time.
    fn take_ready(&mut self) -> Result<Option<RecordBatch>, ExecutionError> {
        let watermark = self.watermark;
        let mut ready = Vec::new();
        let mut waiting = Vec::with_capacity(self.waiting.len());
        for batch in std::mem::take(&mut self.waiting) {
            if batch.latest <= watermark {
                ready.push(batch.rows);
            } else if batch.earliest > watermark {
                waiting.push(batch);
            } else {
                let (passed, left): (Vec<u32>, Vec<u32>) =
                    (0..batch.times.len() as u32).partition(|&row| batch.times[row as usize] <= watermark);
                ready.push(take_rows(&batch.rows, passed)?);
                waiting.extend(Waiting::new(take_rows(&batch.rows, left)?, self.time_column));
            }
        }
        self.waiting = waiting;
        if ready.is_empty() {
            return Ok(None);
        }
        let rows = concat_batches(&self.input, &ready).map_err(over_error)?;
        self.in_order(rows).map(Some)
    }

    /// The rows in order of event time, ties of one partition by their bytes.
    fn in_order(&mut self, rows: RecordBatch) -> Result<RecordBatch, ExecutionError> {
        let times = micros(rows.column(self.time_column));
        let sorted = times.is_sorted();
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        if !sorted {
            order.sort_by_key(|&row| times[row as usize]);
        }
        let ids = self.partitions.ids(&rows)?;
        let tied = self.partitions.has_ties(&ids, &order, &times);
        if tied {
            let fields = rows
                .schema()
                .fields()
                .iter()
                .map(|field| SortField::new(field.data_type().clone()))
                .collect();
            let converter = RowConverter::new(fields).map_err(over_error)?;
            let encoded = converter.convert_columns(rows.columns()).map_err(over_error)?;
            for run in order.chunk_by_mut(|&a, &b| times[a as usize] == times[b as usize]) {
                if run.len() > 1 {
                    run.sort_by(|&a, &b| encoded.row(a as usize).cmp(&encoded.row(b as usize)));
                }
            }
        }
        if sorted && !tied {
            Ok(rows)
        } else {
            take_rows(&rows, order)
        }
    }

    /// Answers the next rows that are ready; a run of equal event times is never cut.
    fn answer_some(&mut self, out: &mut Output) -> Result<bool, ExecutionError> {
        let Some((rows, start)) = self.ready.take() else {
            return Ok(true);
        };
        let times = micros(rows.column(self.time_column));
        let mut end = (start + BATCH_ROWS_MAX).min(rows.num_rows());
        while end < rows.num_rows() && times[end] == times[end - 1] {
            end += 1;
        }
        let part = rows.slice(start, end - start);
        let ids = self.partitions.ids(&part)?;
        let mut columns: Vec<ArrayRef> = part.columns().to_vec();
        for call in &mut self.calls {
            columns.push(call.answer(&part, &ids, self.partitions.len(), &times[start..end])?);
        }
        out.emit_rows(RecordBatch::try_new(self.output.clone(), columns).map_err(over_error)?);
        let done = end == rows.num_rows();
        if !done {
            self.ready = Some((rows, end));
        }
        Ok(done)
    }
}

impl Operator for OverAggregate {
    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<(), ExecutionError> {
        let times = micros(batch.column(self.time_column));
        let late = times.iter().filter(|&&time| time <= self.watermark).count();
        let rows = match late {
            0 => batch.rows().clone(),
            late => {
                self.late_rows += late as u64;
                let in_time = (0..times.len() as u32)
                    .filter(|&row| times[row as usize] > self.watermark)
                    .collect();
                take_rows(batch.rows(), in_time)?
            }
        };
        self.waiting.extend(Waiting::new(rows, self.time_column));
        Ok(())
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        assert!(
            self.ready.is_none(),
            "invariant: a firing is finished before the next"
        );
        self.watermark = watermark;
        self.ready = self.take_ready()?.map(|rows| (rows, 0));
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        while out.rows() < FIRING_QUANTUM_ROWS {
            if self.answer_some(out)? {
                return Ok(Firing::Done);
            }
        }
        Ok(Firing::More)
    }

    fn statistics(&self) -> OperatorStatistics {
        let waiting: usize = self
            .waiting
            .iter()
            .map(|batch| batch.rows.get_array_memory_size())
            .sum();
        let state: usize = self.calls.iter().map(|call| call.bytes()).sum();
        OperatorStatistics {
            state_bytes: (waiting + state + self.partitions.bytes()) as u64,
            keys: self.partitions.len() as u64,
            late_rows: self.late_rows,
        }
    }
}

impl Waiting {
    fn new(rows: RecordBatch, time_column: usize) -> Option<Waiting> {
        let times = micros(rows.column(time_column)).to_vec();
        let earliest = *times.iter().min()?;
        let latest = *times.iter().max()?;
        Some(Waiting {
            rows,
            times,
            earliest,
            latest,
        })
    }
}

fn take_rows(rows: &RecordBatch, indices: Vec<u32>) -> Result<RecordBatch, ExecutionError> {
    let indices = UInt32Array::from(indices);
    let columns = rows.columns().iter().map(|column| take(column, &indices, None));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(over_error)?;
    RecordBatch::try_new(rows.schema(), columns).map_err(over_error)
}

pub(super) fn over_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("over aggregate", error)
}
