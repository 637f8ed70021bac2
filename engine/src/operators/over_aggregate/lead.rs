//! LEAD: each row with a value of a row that follows it in its partition, in order of event time. Rows wait
//! until the watermark has passed them and the rows that they look at, and come out then; those without
//! followers come out at the end of the input, with the default.
//!
//! **Invariant.** A partition holds as many rows as the farthest look, at most, beside those that the watermark
//! has not passed; with IGNORE NULLS, as many rows with a value. Rows of a partition come out in order; nothing is promised between partitions, so the
//! output has no event time.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::SchemaRef;

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::over_aggregate::waiting::{Ready, Waiting};
use crate::operators::over_aggregate::{emit_in_batches, over_error};
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::{LeadCall, LeadSpec};
use crate::snapshot::{StateReader, StateWriter};
use crate::state::group_table::GroupTable;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::state::row_store::{NO_ROW, RowId, RowStore};
use crate::time::{WATERMARK_END, WATERMARK_NONE, WatermarkUs};

/// The LEAD operator.
pub struct Lead {
    spec: LeadSpec,
    output: SchemaRef,
    packer: KeyPacker,
    partitions: GroupTable,
    waiting: Waiting,
    store: RowStore,
    /// By partition: rows that wait for those behind them, in order.
    held: Vec<Held>,
    /// Numbers of rows with a value, in all partitions.
    numbers: usize,
    /// At the end: partitions before this one are told.
    told: usize,
    watermark: WatermarkUs,
    late_rows: u64,
}

/// The rows of a partition that wait.
#[derive(Default)]
struct Held {
    rows: VecDeque<RowId>,
    /// How many rows came out before them.
    told: u64,
    /// By call that ignores NULLs: the numbers of those rows that have a value, counted from the first of all.
    values: Vec<VecDeque<u64>>,
}

impl Held {
    /// The row that call `number` looks at from the oldest row: `None` if it has not come.
    fn looked_at(&self, number: usize, call: &LeadCall) -> Option<RowId> {
        if !call.ignores_nulls || call.offset == 0 {
            return self.rows.get(call.offset).copied();
        }
        let values = &self.values[number];
        let is_own = values.front() == Some(&self.told);
        let found = values.get(call.offset - usize::from(!is_own))?;
        self.rows.get((found - self.told) as usize).copied()
    }
}

/// Rows to be told, and the rows that each call looks at.
struct Telling {
    rows: Vec<RowId>,
    looked_at: Vec<Vec<RowId>>,
}

impl Lead {
    /// The operator of `spec`; output = input columns, then one per call.
    pub fn new(spec: &LeadSpec, input: SchemaRef, output: SchemaRef) -> Result<Lead, ExecutionError> {
        assert_eq!(
            input.fields().len() + spec.calls.len(),
            output.fields().len(),
            "invariant: the output is the input and one column per call"
        );
        let keys = spec.partition.iter();
        let keys: Vec<_> = keys.map(|&column| input.fields()[column].clone()).collect();
        let layout = KeyLayout::new(&keys);
        Ok(Lead {
            packer: KeyPacker::new(layout.clone()),
            partitions: GroupTable::new(layout, Vec::new()),
            waiting: Waiting::new(&input)?,
            store: RowStore::new(input),
            held: Vec::new(),
            numbers: 0,
            told: 0,
            spec: spec.clone(),
            output,
            watermark: WATERMARK_NONE,
            late_rows: 0,
        })
    }

    /// The partition of each row.
    fn partitions_of(&mut self, rows: &RecordBatch) -> Vec<u32> {
        let partitions = self
            .partitions
            .groups_of(&mut self.packer, &self.spec.partition, rows);
        let calls = self.spec.calls.len();
        self.held.resize_with(self.partitions.len(), || Held {
            values: vec![VecDeque::new(); calls],
            ..Held::default()
        });
        partitions
    }

    /// Keeps rows in their partitions, in order; calls `each` after every one.
    fn hold(
        &mut self,
        rows: &RecordBatch,
        partitions: &[u32],
        mut each: impl FnMut(&mut Lead, usize),
    ) -> Result<(), ExecutionError> {
        let mut ids = Vec::with_capacity(rows.num_rows());
        self.store.push(rows, &mut ids)?;
        let nulls = |call: &LeadCall| match call.ignores_nulls {
            true => Some(rows.column(call.argument).logical_nulls()),
            false => None,
        };
        let nulls: Vec<_> = self.spec.calls.iter().map(nulls).collect();
        for (row, (&partition, id)) in partitions.iter().zip(ids).enumerate() {
            let held = &mut self.held[partition as usize];
            let number = held.told + held.rows.len() as u64;
            held.rows.push_back(id);
            for (values, nulls) in held.values.iter_mut().zip(&nulls) {
                let counts =
                    |nulls: &Option<NullBuffer>| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                if nulls.as_ref().is_some_and(counts) {
                    values.push_back(number);
                    self.numbers += 1;
                }
            }
            each(self, partition as usize);
        }
        Ok(())
    }

    /// Whether all rows are there that the oldest of a partition looks at.
    fn is_oldest_ready(&self, partition: usize) -> bool {
        let held = &self.held[partition];
        let mut calls = self.spec.calls.iter().enumerate();
        !held.rows.is_empty() && calls.all(|(number, call)| held.looked_at(number, call).is_some())
    }

    fn telling(&self) -> Telling {
        Telling {
            rows: Vec::new(),
            looked_at: vec![Vec::new(); self.spec.calls.len()],
        }
    }

    /// Moves the oldest row of a partition to those that are told.
    fn take_oldest(&mut self, partition: usize, telling: &mut Telling) {
        let held = &mut self.held[partition];
        let calls = self.spec.calls.iter().enumerate();
        for ((number, call), looked_at) in calls.zip(&mut telling.looked_at) {
            looked_at.push(held.looked_at(number, call).unwrap_or(NO_ROW));
        }
        telling.rows.extend(held.rows.pop_front());
        for values in &mut held.values {
            if values.front() == Some(&held.told) {
                values.pop_front();
                self.numbers -= 1;
            }
        }
        held.told += 1;
    }

    /// Takes rows that are in order; tells those that have seen what they look at.
    fn answer(&mut self, ready: Ready, out: &mut Output) -> Result<(), ExecutionError> {
        let mut telling = self.telling();
        self.hold(&ready.rows, &ready.partitions, |lead, partition| {
            while lead.is_oldest_ready(partition) {
                lead.take_oldest(partition, &mut telling);
            }
        })?;
        self.tell(telling, out)
    }

    /// At the end of the input: tells rows that nothing will follow, a batch at most; false if there are none.
    fn answer_last(&mut self, out: &mut Output) -> Result<bool, ExecutionError> {
        let mut telling = self.telling();
        while self.told < self.held.len() && telling.rows.len() < BATCH_ROWS_MAX {
            match self.held[self.told].rows.is_empty() {
                true => self.told += 1,
                false => self.take_oldest(self.told, &mut telling),
            }
        }
        let has_told = !telling.rows.is_empty();
        self.tell(telling, out)?;
        Ok(has_told)
    }

    fn tell(&mut self, telling: Telling, out: &mut Output) -> Result<(), ExecutionError> {
        if telling.rows.is_empty() {
            return Ok(());
        }
        let mut columns = self.store.gather_columns(&telling.rows)?;
        let width = columns.len();
        for (call, looked_at) in self.spec.calls.iter().zip(&telling.looked_at) {
            let found = self.store.gather_column(call.argument, looked_at)?;
            columns.push(match call.default {
                Some(default) => {
                    debug_assert!(default < width, "invariant: defaults are columns of the input");
                    let is_there: BooleanArray = looked_at.iter().map(|&id| Some(id != NO_ROW)).collect();
                    zip(&is_there, &found, &columns[default]).map_err(over_error)?
                }
                None => found,
            });
        }
        for &id in &telling.rows {
            self.store.remove(id)?;
        }
        let rows = RecordBatch::try_new(Arc::clone(&self.output), columns).map_err(over_error)?;
        emit_in_batches(&rows, out);
        Ok(())
    }
}

impl Operator for Lead {
    fn process(&mut self, _input: usize, batch: Batch, _out: &mut Output) -> Result<(), ExecutionError> {
        assert!(
            batch.ops().is_none(),
            "invariant: LEAD reads an append-only input"
        );
        let (rows, _, _) = batch.into_parts();
        let arrived = Ready {
            times: micros(rows.column(self.spec.time_column)),
            partitions: self.partitions_of(&rows),
            rows,
        };
        let (arrived, late) = arrived.in_time(|time, _| time <= self.watermark)?;
        self.late_rows += late;
        self.waiting.push(arrived.rows, arrived.times, arrived.partitions)
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = self.watermark.max(watermark);
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let before = out.rows();
        // Rows that are only taken in are work as well.
        let mut taken = 0;
        while taken + (out.rows() - before) < FIRING_QUANTUM_ROWS {
            match self.waiting.take(self.watermark, BATCH_ROWS_MAX)? {
                Some(ready) => {
                    taken += ready.rows.num_rows();
                    self.answer(ready, out)?;
                }
                None if self.watermark == WATERMARK_END && self.answer_last(out)? => {}
                None => return Ok(Firing::Done),
            }
        }
        Ok(Firing::More)
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        into.add("waiting", 0, self.waiting.rows()?);
        let held: Vec<RowId> = self.held.iter().flat_map(|held| &held.rows).copied().collect();
        into.add("held", 0, self.store.gather(&held)?);
        Ok(())
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        let held = from.rows("held")?;
        let partitions = self.partitions_of(&held);
        self.hold(&held, &partitions, |_, _| {})?;
        let waiting = Batch::append(from.rows("waiting")?, 0);
        self.process(0, waiting, &mut Output::new())?;
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let calls = self.spec.calls.len() * size_of::<VecDeque<u64>>();
        let held = self.held.capacity() * (size_of::<Held>() + calls)
            + self.store.len() * size_of::<RowId>()
            + self.numbers * size_of::<u64>();
        let keys = self.partitions.allocated_bytes() + self.packer.allocated_bytes();
        OperatorStatistics {
            state_bytes: (self.waiting.bytes() + self.store.allocated_bytes() + held + keys) as u64,
            keys: self.partitions.len() as u64,
            late_rows: self.late_rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};

    /// (key, time); the value of a row is its time.
    type Row = (i64, i64);

    /// LEAD(v) and LEAD(v, 2, -key) by key.
    fn lead() -> Lead {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mut fields = vec![
            Field::new("key", DataType::Int64, false),
            Field::new("ts", time, false),
            Field::new("v", DataType::Int64, false),
            Field::new("default", DataType::Int64, false),
        ];
        let input = Arc::new(Schema::new(fields.clone()));
        let call = |offset, default| LeadCall {
            argument: 2,
            offset,
            default,
            ignores_nulls: false,
            output: Arc::new(Field::new(format!("lead {offset}"), DataType::Int64, true)),
        };
        let calls = vec![call(1, None), call(2, Some(3))];
        fields.extend(calls.iter().map(|call| call.output.as_ref().clone()));
        let spec = LeadSpec {
            partition: vec![0],
            time_column: 1,
            calls,
        };
        Lead::new(&spec, input, Arc::new(Schema::new(fields))).unwrap()
    }

    fn process(lead: &mut Lead, rows: &[Row]) {
        let numbers = |of: fn(&Row) -> i64| Arc::new(rows.iter().map(of).map(Some).collect::<Int64Array>());
        let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.1)).collect();
        let columns: Vec<ArrayRef> = vec![
            numbers(|row| row.0),
            Arc::new(times),
            numbers(|row| row.1),
            numbers(|row| -row.0),
        ];
        let rows = RecordBatch::try_new(lead.store.schema().clone(), columns).unwrap();
        lead.process(0, Batch::append(rows, 0), &mut Output::new())
            .unwrap();
    }

    /// `key:v>lead/lead 2` of the rows that come out until `watermark`.
    fn told(lead: &mut Lead, watermark: WatermarkUs) -> String {
        let mut out = Output::new();
        let mut firing = lead.advance(watermark, &mut out).unwrap();
        while firing == Firing::More {
            firing = lead.resume(&mut out).unwrap();
        }
        let mut told = Vec::new();
        for batch in out.take() {
            let numbers = |column: usize| batch.column(column).as_primitive::<Int64Type>();
            for row in 0..batch.len() {
                let next = numbers(4).iter().nth(row).unwrap();
                let next = next.map_or("-".to_string(), |next| next.to_string());
                let (key, value, second) = (numbers(0), numbers(2), numbers(5));
                told.push(format!(
                    "{}:{}>{next}/{}",
                    key.value(row),
                    value.value(row),
                    second.value(row)
                ));
            }
        }
        told.join(" ")
    }

    #[test]
    fn a_row_comes_out_once_the_rows_that_it_looks_at_are_passed() {
        let mut lead = lead();
        process(&mut lead, &[(1, 30), (1, 10), (2, 15), (1, 20)]);
        assert_eq!(told(&mut lead, 20), "");
        assert_eq!(told(&mut lead, 30), "1:10>20/30");
        assert_eq!(lead.statistics().keys, 2);
    }

    #[test]
    fn at_the_end_rows_without_followers_get_null_or_the_default() {
        let mut lead = lead();
        process(&mut lead, &[(1, 10), (2, 15), (1, 20)]);
        assert_eq!(told(&mut lead, WATERMARK_END), "1:10>20/-1 1:20>-/-1 2:15>-/-2");
        assert_eq!(lead.store.len(), 0);
    }

    #[test]
    fn a_row_behind_the_watermark_is_late() {
        let mut lead = lead();
        process(&mut lead, &[(1, 10)]);
        assert_eq!(told(&mut lead, 12), "");
        process(&mut lead, &[(1, 12), (1, 13)]);
        assert_eq!(lead.statistics().late_rows, 1);
        assert_eq!(told(&mut lead, WATERMARK_END), "1:10>13/-1 1:13>-/-1");
    }

    #[test]
    fn what_is_held_survives_a_snapshot() {
        let mut before = lead();
        process(&mut before, &[(1, 10), (2, 15), (1, 20), (1, 40)]);
        assert_eq!(told(&mut before, 30), "");
        let mut writer = StateWriter::new();
        before.snapshot(&mut writer).unwrap();
        let written = writer.finish(30, 0);
        let mut after = lead();
        let placement = vec![crate::snapshot::Placement::Any];
        after
            .restore(&StateReader::new(vec![&written], placement, 0, 1))
            .unwrap();
        process(&mut after, &[(1, 29), (2, 50)]);
        assert_eq!(after.statistics().late_rows, 1);
        assert_eq!(
            told(&mut after, WATERMARK_END),
            "1:10>20/40 1:20>40/-1 1:40>-/-1 2:15>50/-2 2:50>-/-2"
        );
    }
}
