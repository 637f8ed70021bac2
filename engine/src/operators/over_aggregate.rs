//! OVER aggregation in event time: rows wait until the watermark passes them, and are answered in
//! order of event time, each with its input columns and one result per call.
//!
//! `waiting` holds and orders the rows (`ties` where partition and event time are equal), `calls`
//! shares frames between calls, `frames` slides them (`combine` says what over), `frozen` writes them for
//! snapshots, `results` meets columns;
//! `row_accumulator` adapts DataFusion's aggregates; `lead` is an operator of its own, over the same `waiting`;
//! `running` is one call over rows that come one after another.
//!
//! **Invariant.** A row's answer depends on the rows of its partition alone, not on batches, shards or
//! the moments at which the watermark rose. No step works on more than a few quanta of rows.

mod calls;
mod combine;
mod frames;
mod frozen;
pub mod lead;
mod results;
mod row_accumulator;
pub(in crate::operators) mod running;
mod ties;
pub(in crate::operators) mod waiting;

#[cfg(test)]
mod tests;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::{OverAggregateSpec, OverFrame};
use crate::snapshot::{StateReader, StateWriter, int64_column};
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::key_columns::named_keys;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::time::{WATERMARK_NONE, WatermarkUs};

use calls::Group;
use frames::OrderedRows;
use waiting::{Ready, Waiting};

/// The OVER operator.
pub struct OverAggregate {
    partition: Vec<usize>,
    time_column: usize,
    output: SchemaRef,
    packer: KeyPacker,
    /// Partitions by key; their numbers are its groups.
    partitions: GroupTable,
    groups: Vec<Group>,
    call_count: usize,
    waiting: Waiting,
    /// By partition, where frames have a bound: the event time of the last row answered.
    answered: Option<Vec<i64>>,
    watermark: WatermarkUs,
    late_rows: u64,
}

impl OverAggregate {
    /// The operator of `spec`; output = input columns, then one per call.
    pub fn new(
        spec: &OverAggregateSpec,
        input: SchemaRef,
        output: SchemaRef,
    ) -> Result<OverAggregate, ExecutionError> {
        assert_eq!(
            input.fields().len() + spec.calls.len(),
            output.fields().len(),
            "invariant: the output is the input and one column per call"
        );
        let fields = spec
            .partition
            .iter()
            .map(|&column| input.fields()[column].clone());
        let layout = KeyLayout::new(&fields.collect::<Vec<_>>());
        Ok(OverAggregate {
            partition: spec.partition.clone(),
            time_column: spec.time_column,
            packer: KeyPacker::new(layout.clone()),
            partitions: GroupTable::new(layout, Vec::new()),
            groups: calls::build(&spec.calls, spec.frame, &input)?,
            call_count: spec.calls.len(),
            waiting: Waiting::new(&input)?,
            output,
            answered: match spec.frame {
                OverFrame::Rows(None) | OverFrame::Range(None) => None,
                OverFrame::Rows(Some(_)) | OverFrame::Range(Some(_)) => Some(Vec::new()),
            },
            watermark: WATERMARK_NONE,
            late_rows: 0,
        })
    }

    /// The event time up to which rows of a partition come too late. Where frames have a bound a row may
    /// still come while no later one of its partition was answered, as in Flink.
    fn late_from(&self, partition: u32) -> i64 {
        match &self.answered {
            None => i64::MAX,
            Some(times) => times.get(partition as usize).copied().unwrap_or(WATERMARK_NONE),
        }
    }

    /// Answers rows that are in order.
    fn answer(&mut self, ready: Ready, out: &mut Output) -> Result<(), ExecutionError> {
        if let Some(times) = &mut self.answered {
            times.resize(self.partitions.len(), WATERMARK_NONE);
            for (&partition, &time) in ready.partitions.iter().zip(ready.times.iter()) {
                times[partition as usize] = time;
            }
        }
        let order = OrderedRows {
            partitions: &ready.partitions,
            partition_count: self.partitions.len(),
            times: &ready.times,
        };
        let mut results: Vec<Option<ArrayRef>> = vec![None; self.call_count];
        for group in &mut self.groups {
            let columns = group.shared.answer(&ready.rows, &order)?;
            for (&call, column) in group.calls.iter().zip(columns) {
                results[call] = Some(column);
            }
        }
        let mut columns = ready.rows.columns().to_vec();
        columns.extend(
            results
                .into_iter()
                .map(|column| column.expect("invariant: every call is in a group")),
        );
        let rows = RecordBatch::try_new(self.output.clone(), columns).map_err(over_error)?;
        emit_in_batches(&rows, out);
        Ok(())
    }
}

impl Operator for OverAggregate {
    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<(), ExecutionError> {
        assert!(
            batch.ops().is_none(),
            "invariant: OVER reads an append-only input"
        );
        let (rows, _, _) = batch.into_parts();
        let arrived = Ready {
            times: micros(rows.column(self.time_column)),
            partitions: self
                .partitions
                .groups_of(&mut self.packer, &self.partition, &rows),
            rows,
        };
        let is_late = |time: i64, partition: u32| time <= self.watermark && time <= self.late_from(partition);
        let (arrived, late) = arrived.in_time(is_late)?;
        self.late_rows += late;
        self.waiting.push(arrived.rows, arrived.times, arrived.partitions)
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = self.watermark.max(watermark);
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let before = out.rows();
        while out.rows() - before < FIRING_QUANTUM_ROWS {
            match self.waiting.take(self.watermark, BATCH_ROWS_MAX)? {
                Some(ready) => self.answer(ready, out)?,
                None => return Ok(Firing::Done),
            }
        }
        Ok(Firing::More)
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        into.add("waiting", 0, self.waiting.rows()?);
        if let Some(times) = &self.answered {
            let answered = (0..).zip(times).filter(|&(_, &time)| time != WATERMARK_NONE);
            let (groups, times): (Vec<GroupIndex>, Vec<i64>) =
                answered.map(|(group, &time)| (group, time)).unzip();
            let mut columns = named_keys(&self.partitions, &groups);
            columns.push(("last time".into(), int64_column(times)));
            into.add_columns("answered", 0, columns, groups.len())?;
        }
        for (number, group) in self.groups.iter_mut().enumerate() {
            group
                .shared
                .freeze(&format!("frames {number}"), &self.partitions, into)?;
        }
        Ok(())
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        let waiting = Batch::append(from.rows("waiting")?, 0);
        self.process(0, waiting, &mut Output::new())?;
        let names = from.names().filter(|name| *name != "waiting");
        for name in names {
            let rows = from.rows_by(name, &self.partition)?;
            let (keys, columns) = rows.columns().split_at(self.partition.len());
            let mut partitions = Vec::with_capacity(rows.num_rows());
            self.partitions
                .find_or_insert(&mut self.packer, keys, rows.num_rows(), &mut partitions);
            match (name.strip_prefix("frames "), &mut self.answered) {
                (Some(number), _) => {
                    let number: usize = number.parse().map_err(over_error)?;
                    let shared = &mut self.groups[number].shared;
                    shared.thaw(columns, &partitions, self.partitions.len())?;
                }
                (None, answered) => {
                    let answered = answered.get_or_insert_default();
                    answered.resize(self.partitions.len(), WATERMARK_NONE);
                    let times = columns[0].as_primitive::<Int64Type>().values();
                    for (partition, &time) in partitions.into_iter().zip(times) {
                        answered[partition as usize] = time;
                    }
                }
            }
        }
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let frames: usize = self.groups.iter().map(|group| group.shared.bytes()).sum();
        let answered = self.answered.as_ref().map_or(0, Vec::capacity) * size_of::<i64>();
        let keys = self.partitions.allocated_bytes() + self.packer.allocated_bytes() + answered;
        OperatorStatistics {
            state_bytes: (self.waiting.bytes() + frames + keys) as u64,
            keys: self.partitions.len() as u64,
            late_rows: self.late_rows,
        }
    }
}

/// Emits rows, as many batches as they are.
fn emit_in_batches(rows: &RecordBatch, out: &mut Output) {
    for start in (0..rows.num_rows()).step_by(BATCH_ROWS_MAX) {
        out.emit_rows(rows.slice(start, BATCH_ROWS_MAX.min(rows.num_rows() - start)));
    }
}

fn over_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("over aggregate", error)
}
