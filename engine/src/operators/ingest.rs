//! Ingest: what stands behind a source on a shard. Derives event time and the watermark of each
//! split, filters, and computes the source's output columns.
//!
//! A row sees the watermark of the rows before it in its split: where a row is at or behind that
//! watermark, the batch is cut and the watermark goes out first. So what is late does not depend on
//! how the input was cut into batches. In the good case, found by one vectorised pass, a batch
//! goes through whole and one watermark follows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMillisecondArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{
    DataType, Field, FieldRef, Int8Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion_physical_expr::PhysicalExpr;

use crate::batch::{ArrivalNs, Batch};
use crate::encoding::encoded_rows;
use crate::error::ExecutionError;
use crate::plan::{Settings, SourceSpec, SourceWatermark};
use crate::time::watermark::{InputState, WatermarkMerge};
use crate::time::{WATERMARK_END, WATERMARK_NONE, WatermarkUs};

/// What ingest hands on, in order.
#[derive(Debug)]
pub enum IngestOutput {
    /// Rows.
    Rows(Batch),
    /// The minimum over the splits has risen to this.
    Watermark(WatermarkUs),
    /// Every split is idle.
    Idle,
}

/// The state of one split.
#[derive(Debug)]
struct Split {
    input: usize,
    promised: WatermarkUs,
    active_ns: u64,
    /// What its rows have promised; while it is quiet, `promised` may run ahead of this.
    promised_by_rows: WatermarkUs,
    idle: bool,
    ended: bool,
}

/// The ingest of one source on one shard.
#[derive(Debug)]
pub struct Ingest {
    table: String,
    filter: Option<Arc<dyn PhysicalExpr>>,
    output: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    schema: SchemaRef,
    watermark: Option<SourceWatermark>,
    /// The column, the last delivered, that says what each row says.
    op_column: Option<usize>,
    has_processing_time: bool,
    idle_timeout_ns: Option<u64>,
    quiet_timeout_ns: Option<u64>,
    max_future_us: Option<u64>,
    splits: BTreeMap<u32, Split>,
    merge: WatermarkMerge,
    clamped: u64,
}

impl Ingest {
    /// The ingest of `spec`; table options win over job settings.
    pub fn new(spec: &SourceSpec, settings: &Settings) -> Ingest {
        Ingest {
            table: spec.table.name.clone(),
            filter: spec.filter.clone(),
            output: spec.output.clone(),
            schema: Arc::new(Schema::new(
                spec.output
                    .iter()
                    .map(|(_, field)| field.clone())
                    .collect::<Vec<_>>(),
            )),
            watermark: spec.watermark.clone(),
            op_column: spec.has_ops.then_some(spec.ingest.len()),
            has_processing_time: spec.has_processing_time,
            idle_timeout_ns: spec.idle_timeout_us(settings).map(|us| us * 1_000),
            quiet_timeout_ns: spec.quiet_timeout_us.map(|us| us.saturating_mul(1_000)),
            max_future_us: spec.max_future_us(settings),
            splits: BTreeMap::new(),
            merge: WatermarkMerge::new(0),
            clamped: 0,
        }
    }

    /// Makes a split known; until it speaks it holds the watermark back.
    pub fn add_split(&mut self, split: u32, now_ns: u64) {
        let merge = &mut self.merge;
        self.splits.entry(split).or_insert_with(|| Split {
            input: merge.add_input(),
            promised: WATERMARK_NONE,
            active_ns: now_ns,
            promised_by_rows: WATERMARK_NONE,
            idle: false,
            ended: false,
        });
    }

    /// Takes rows of `split`; appends what comes of them to `out`.
    pub fn ingest(
        &mut self,
        split: u32,
        rows: RecordBatch,
        arrival_ns: ArrivalNs,
        wall_us: i64,
        now_ns: u64,
        out: &mut Vec<IngestOutput>,
    ) -> Result<(), ExecutionError> {
        self.add_split(split, now_ns);
        let rows = match self.has_processing_time {
            true => self.with_processing_time(&rows, wall_us)?,
            false => rows,
        };
        let Some(watermark) = &self.watermark else {
            return self.emit_rows(rows, arrival_ns, out);
        };
        let event_times = self.evaluate_time(&watermark.event_time, &rows)?;
        let mut implied = self.evaluate_time(&watermark.watermark, &rows)?;
        let highest = implied.iter().copied().max().unwrap_or(WATERMARK_NONE);
        if let Some(cap) = self
            .max_future_us
            .map(|future| wall_us.saturating_add_unsigned(future))
            && highest > cap
        {
            self.clamped += implied.iter().filter(|&&watermark| watermark > cap).count() as u64;
            implied = implied.iter().map(|&watermark| watermark.min(cap)).collect();
        }
        let state = self
            .splits
            .get_mut(&split)
            .expect("invariant: the split was added");
        state.active_ns = now_ns;
        state.idle = false;
        let told = Told {
            promised: state.promised,
            merged: self.merge.merged(),
            limit: self.merge.minimum_without(state.input),
        };
        for (start, end, watermark) in cuts(&event_times, &implied, told) {
            let part = if end - start == rows.num_rows() {
                rows.clone()
            } else {
                rows.slice(start, end - start)
            };
            self.emit_rows(part, arrival_ns, out)?;
            self.promise(split, watermark, out);
        }
        let state = self.splits.get_mut(&split);
        let state = state.expect("invariant: the split was added");
        state.promised_by_rows = state.promised;
        Ok(())
    }

    /// The split promises `watermark` without a row that implies it.
    pub fn raise_watermark(
        &mut self,
        split: u32,
        watermark: WatermarkUs,
        now_ns: u64,
        out: &mut Vec<IngestOutput>,
    ) {
        self.add_split(split, now_ns);
        self.promise(split, watermark, out);
    }

    /// The split has ended and holds nothing back any more.
    pub fn end_split(&mut self, split: u32, now_ns: u64, out: &mut Vec<IngestOutput>) {
        self.add_split(split, now_ns);
        let state = self.splits.get_mut(&split);
        let state = state.expect("invariant: the split was added");
        state.ended = true;
        let risen = self.merge.update(state.input, InputState::Ended);
        // The end of all input is the shard's to tell.
        out.extend(
            risen
                .filter(|&watermark| watermark < WATERMARK_END)
                .map(IngestOutput::Watermark),
        );
    }

    /// Leaves splits out that have been silent for too long. While the shard is `held_back` by
    /// backpressure, silence is its own doing and does not count.
    pub fn tick(&mut self, now_ns: u64, held_back: bool, out: &mut Vec<IngestOutput>) {
        self.move_quiet_splits_on(now_ns, held_back, out);
        let Some(timeout) = self.idle_timeout_ns.filter(|_| self.watermark.is_some()) else {
            return;
        };
        let mut fell_idle = false;
        for split in self.splits.values_mut() {
            if held_back {
                split.active_ns = now_ns;
            } else if !split.idle && now_ns.saturating_sub(split.active_ns) >= timeout {
                split.idle = true;
                fell_idle = true;
                out.extend(
                    self.merge
                        .update(split.input, InputState::Idle)
                        .map(IngestOutput::Watermark),
                );
            }
        }
        if fell_idle && self.merge.is_idle() {
            out.push(IngestOutput::Idle);
        }
    }

    /// Split `split` had promised `watermark` when a snapshot was taken; it is told once more.
    pub fn restore_split(&mut self, split: u32, watermark: WatermarkUs, out: &mut Vec<IngestOutput>) {
        if watermark != WATERMARK_NONE {
            self.promise(split, watermark, out);
        }
    }

    /// What each split has promised so far.
    pub fn promised(&self) -> impl Iterator<Item = (u32, WatermarkUs)> + '_ {
        self.splits.iter().map(|(&split, state)| (split, state.promised))
    }

    /// `EMIT … TIMEOUT`: in a split that has been quiet for that long, event time goes on by the clock, so
    /// that its windows close. A split that never spoke holds nothing back.
    fn move_quiet_splits_on(&mut self, now_ns: u64, held_back: bool, out: &mut Vec<IngestOutput>) {
        let Some(timeout) = self.quiet_timeout_ns.filter(|_| self.watermark.is_some()) else {
            return;
        };
        let mut fell_idle = false;
        let step_us = i64::try_from(quiet_step_ns(timeout) / 1_000).unwrap_or(i64::MAX);
        for split in self.splits.values_mut().filter(|split| !split.ended) {
            if held_back {
                split.active_ns = now_ns;
                continue;
            }
            let quiet_ns = now_ns.saturating_sub(split.active_ns);
            if quiet_ns < timeout {
                continue;
            }
            if split.promised_by_rows == WATERMARK_NONE {
                if !split.idle {
                    split.idle = true;
                    fell_idle = true;
                    out.extend(
                        self.merge
                            .update(split.input, InputState::Idle)
                            .map(IngestOutput::Watermark),
                    );
                }
                continue;
            }
            let moved = split.promised_by_rows.saturating_add_unsigned(quiet_ns / 1_000);
            if moved >= split.promised.saturating_add(step_us) {
                split.promised = moved;
                out.extend(
                    self.merge
                        .update(split.input, InputState::Active(moved))
                        .map(IngestOutput::Watermark),
                );
            }
        }
        if fell_idle && self.merge.is_idle() {
            out.push(IngestOutput::Idle);
        }
    }

    /// When `tick` has something to do next, if no row comes before.
    pub fn next_tick(&self, now_ns: u64) -> Option<u64> {
        self.watermark.as_ref()?;
        let splits = || self.splits.values().filter(|split| !split.ended);
        let idle = self.idle_timeout_ns.and_then(|timeout| {
            let active = splits().filter(|split| !split.idle);
            active.map(|split| split.active_ns.saturating_add(timeout)).min()
        });
        let quiet = self.quiet_timeout_ns.and_then(|timeout| {
            let speaking = splits().filter(|split| !split.idle);
            let at = |split: &Split| split.active_ns.saturating_add(timeout);
            let next = now_ns.saturating_add(quiet_step_ns(timeout));
            speaking
                .map(|split| if at(split) > now_ns { at(split) } else { next })
                .min()
        });
        idle.into_iter().chain(quiet).min()
    }

    /// The merged watermark; `None` if the source has none.
    pub fn watermark(&self) -> Option<WatermarkUs> {
        self.watermark.as_ref().map(|_| self.merge.merged())
    }

    /// Event times too far in the future, which were not trusted.
    pub fn clamped(&self) -> u64 {
        self.clamped
    }

    fn promise(&mut self, split: u32, watermark: WatermarkUs, out: &mut Vec<IngestOutput>) {
        let state = self
            .splits
            .get_mut(&split)
            .expect("invariant: the split was added");
        state.promised = state.promised.max(watermark);
        let risen = self.merge.update(state.input, InputState::Active(state.promised));
        out.extend(risen.map(IngestOutput::Watermark));
    }

    fn emit_rows(
        &self,
        rows: RecordBatch,
        arrival_ns: ArrivalNs,
        out: &mut Vec<IngestOutput>,
    ) -> Result<(), ExecutionError> {
        let rows = match &self.filter {
            Some(filter) => {
                let keep = self.evaluate(filter, &rows)?;
                let keep = keep.as_boolean();
                match keep.true_count() {
                    0 => return Ok(()),
                    count if count == rows.num_rows() => rows,
                    _ => filter_record_batch(&rows, keep).map_err(|error| self.error(error))?,
                }
            }
            None => rows,
        };
        let ops = self
            .op_column
            .map(|column| rows.column(column).as_primitive::<Int8Type>().clone());
        let columns = self
            .output
            .iter()
            .map(|(expression, _)| self.evaluate(expression, &rows))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = encoded_rows(&self.schema, columns, rows.num_rows()).map_err(|error| self.error(error))?;
        if rows.num_rows() > 0 {
            out.push(IngestOutput::Rows(Batch::new(rows, ops, arrival_ns)));
        }
        Ok(())
    }

    /// The rows with when they were read as their last column.
    fn with_processing_time(&self, rows: &RecordBatch, wall_us: i64) -> Result<RecordBatch, ExecutionError> {
        let time = TimestampMillisecondArray::from(vec![wall_us.div_euclid(1_000); rows.num_rows()]);
        let time = time.with_timezone("UTC");
        let mut fields = rows.schema().fields().to_vec();
        fields.push(Arc::new(Field::new(
            "processing time",
            time.data_type().clone(),
            false,
        )));
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(time));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| self.error(error))
    }

    fn evaluate(
        &self,
        expression: &Arc<dyn PhysicalExpr>,
        rows: &RecordBatch,
    ) -> Result<ArrayRef, ExecutionError> {
        expression
            .evaluate(rows)
            .and_then(|value| value.into_array(rows.num_rows()))
            .map_err(|error| self.error(error.strip_backtrace()))
    }

    fn evaluate_time(
        &self,
        expression: &Arc<dyn PhysicalExpr>,
        rows: &RecordBatch,
    ) -> Result<ScalarBuffer<i64>, ExecutionError> {
        let times = self.evaluate(expression, rows)?;
        if times.null_count() > 0 {
            return Err(self.error(format!(
                "the event time `{expression}` is NULL in {} of {} rows; filter such rows out of the input, or derive \
                 the column with COALESCE",
                times.null_count(),
                rows.num_rows()
            )));
        }
        Ok(micros(&times))
    }

    fn error(&self, message: impl std::fmt::Display) -> ExecutionError {
        ExecutionError::new(format!("source {}", self.table), message)
    }
}

/// How far event time goes on at once while a split is quiet.
fn quiet_step_ns(timeout_ns: u64) -> u64 {
    (timeout_ns / 10).clamp(10_000_000, 1_000_000_000)
}

/// What rows of a split are held against.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The watermark that rows of the split have implied so far.
    promised: WatermarkUs,
    /// The watermark that has gone out.
    merged: WatermarkUs,
    /// What the other splits hold it back to.
    limit: WatermarkUs,
}

/// Splits `0..n` where a row is at or behind a watermark that rows before it raise: (start, end,
/// watermark that the split has implied behind the part).
fn cuts(event_times: &[i64], implied: &[i64], told: Told) -> Vec<(usize, usize, WatermarkUs)> {
    assert_eq!(
        event_times.len(),
        implied.len(),
        "invariant: every row implies a watermark"
    );
    let earliest = event_times.iter().copied().min().unwrap_or(i64::MAX);
    let highest = implied.iter().copied().max().unwrap_or(WATERMARK_NONE);
    let highest = highest.max(told.promised);
    let risen = highest.min(told.limit);
    if earliest > risen || risen <= told.merged {
        return vec![(0, event_times.len(), highest)];
    }
    let mut parts = Vec::new();
    let mut start = 0;
    let mut merged = told.merged;
    let mut running = told.promised;
    for (row, (&event_time, &watermark)) in event_times.iter().zip(implied).enumerate() {
        let risen = running.min(told.limit);
        if event_time <= risen && risen > merged {
            parts.push((start, row, running));
            start = row;
            merged = risen;
        }
        running = running.max(watermark);
    }
    parts.push((start, event_times.len(), running));
    parts
}

/// The values of a timestamp column in microseconds.
pub fn micros(times: &ArrayRef) -> ScalarBuffer<i64> {
    let scaled =
        |values: &ScalarBuffer<i64>, factor: i64| values.iter().map(|value| value * factor).collect();
    match times.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(times.as_primitive::<TimestampSecondType>().values(), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            scaled(times.as_primitive::<TimestampMillisecondType>().values(), 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            times.as_primitive::<TimestampMicrosecondType>().values().clone()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = times.as_primitive::<TimestampNanosecondType>().values();
            values.iter().map(|value| value.div_euclid(1_000)).collect()
        }
        other => unreachable!("invariant: event time is a timestamp, found {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use datafusion_common::ScalarValue;
    use datafusion_expr::Operator as SqlOperator;
    use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};

    use crate::error::Position;
    use crate::sql::catalog::TableDefinition;

    /// The ingest of a table (ts, v) WATERMARK FOR ts AS ts, WHERE v > 0, SELECT v + 1.
    fn ingest(settings: &Settings) -> Ingest {
        let column = |name: &str, index| Arc::new(Column::new(name, index));
        let number = |value| Arc::new(Literal::new(ScalarValue::Int64(Some(value))));
        let positive = BinaryExpr::new(column("v", 1), SqlOperator::Gt, number(0));
        let next: Arc<dyn PhysicalExpr> =
            Arc::new(BinaryExpr::new(column("v", 1), SqlOperator::Plus, number(1)));
        let spec = SourceSpec {
            quiet_timeout_us: None,
            table: Arc::new(TableDefinition {
                name: "events".to_string(),
                position: Position::default(),
                columns: Vec::new(),
                watermark: None,
                primary_key: Vec::new(),
                options: Vec::new(),
                rows: None,
            }),
            ingest: vec![0, 1],
            key_texts: Vec::new(),
            has_ops: false,
            has_processing_time: false,
            output: vec![(next, Arc::new(Field::new("next", DataType::Int64, true)))],
            watermark: Some(SourceWatermark {
                event_time: column("ts", 0),
                watermark: column("ts", 0),
            }),
            filter: Some(Arc::new(positive)),
        };
        Ingest::new(&spec, settings)
    }

    fn rows(values: &[(Option<i64>, i64)]) -> RecordBatch {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let schema = Schema::new(vec![
            Field::new("ts", time, true),
            Field::new("v", DataType::Int64, false),
        ]);
        let times: TimestampMicrosecondArray = values.iter().map(|(time, _)| *time).collect();
        let numbers: Int64Array = values.iter().map(|(_, number)| Some(*number)).collect();
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times), Arc::new(numbers)]).unwrap()
    }

    /// Outputs in text: rows as `[1, 2]`, watermarks as `W7`.
    fn told(outputs: Vec<IngestOutput>) -> String {
        let mut text = String::new();
        for output in outputs {
            match output {
                IngestOutput::Rows(batch) => {
                    let numbers = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
                    write!(text, "{:?} ", numbers.values().to_vec()).unwrap();
                }
                IngestOutput::Watermark(watermark) => write!(text, "W{watermark} ").unwrap(),
                IngestOutput::Idle => text.push_str("idle "),
            }
        }
        text.trim_end().to_string()
    }

    /// What comes of rows of split 0 at wall clock 0.
    fn after(ingest: &mut Ingest, split: u32, values: &[(Option<i64>, i64)]) -> String {
        let mut out = Vec::new();
        ingest.ingest(split, rows(values), 0, 0, 0, &mut out).unwrap();
        told(out)
    }

    #[test]
    fn rows_that_are_filtered_out_still_move_time_forward() {
        let mut ingest = ingest(&Settings::default());
        assert_eq!(after(&mut ingest, 0, &[(Some(5), 1), (Some(9), -1)]), "[2] W9");
        assert_eq!(after(&mut ingest, 0, &[(Some(12), 0)]), "W12");
    }

    #[test]
    fn the_watermark_goes_out_before_a_row_that_is_behind_it() {
        let mut ingest = ingest(&Settings::default());
        let values = [(Some(5), 1), (Some(9), 2), (Some(7), 3), (Some(10), 4)];
        assert_eq!(after(&mut ingest, 0, &values), "[2, 3] W9 [4, 5] W10");
    }

    #[test]
    fn the_slowest_split_holds_the_watermark_back_until_it_ends_or_falls_idle() {
        let settings = Settings {
            idle_timeout_us: Some(1),
            ..Settings::default()
        };
        let mut ingest = ingest(&settings);
        for split in 0..3 {
            ingest.add_split(split, 0);
        }
        assert_eq!(after(&mut ingest, 0, &[(Some(20), 1), (Some(10), 1)]), "[2, 2]");
        assert_eq!(after(&mut ingest, 1, &[(Some(8), 1)]), "[2]");
        let mut out = Vec::new();
        ingest.end_split(2, 0, &mut out);
        assert_eq!(told(out), "W8");
        let mut out = Vec::new();
        ingest.tick(2_000, true, &mut out);
        assert_eq!(told(out), "", "silence under backpressure does not count");
        let mut out = Vec::new();
        ingest
            .ingest(0, rows(&[(Some(30), 1)]), 0, 0, 2_900, &mut out)
            .unwrap();
        ingest.tick(3_000, false, &mut out);
        assert_eq!(told(out), "[2] W30");
        let mut out = Vec::new();
        ingest.tick(9_000, false, &mut out);
        assert_eq!(told(out), "idle");
    }

    #[test]
    fn a_time_too_far_in_the_future_is_not_trusted() {
        let settings = Settings {
            max_future_us: Some(100),
            ..Settings::default()
        };
        let mut ingest = ingest(&settings);
        assert_eq!(
            after(&mut ingest, 0, &[(Some(5_000), 1), (Some(60), 1)]),
            "[2] W100 [2]"
        );
        assert_eq!(ingest.clamped(), 1);
    }

    #[test]
    fn an_event_time_of_null_stops_the_job_with_its_place() {
        let mut ingest = ingest(&Settings::default());
        let error = ingest
            .ingest(0, rows(&[(None, 1)]), 0, 0, 0, &mut Vec::new())
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("source events: the event time `ts@0` is NULL in 1 of 1 rows"),
            "{text}"
        );
    }

    /// A split on its own that has promised `promised`.
    fn alone(promised: WatermarkUs) -> Told {
        Told {
            promised,
            merged: promised,
            limit: WATERMARK_END,
        }
    }

    #[test]
    fn rows_in_order_are_one_part() {
        assert_eq!(
            cuts(&[10, 11, 12], &[5, 6, 7], alone(WATERMARK_NONE)),
            [(0, 3, 7)]
        );
    }

    #[test]
    fn a_row_behind_the_watermark_of_earlier_rows_starts_a_part() {
        assert_eq!(
            cuts(&[10, 20, 4, 21], &[10, 20, 4, 21], alone(WATERMARK_NONE)),
            [(0, 2, 20), (2, 4, 21)]
        );
    }

    #[test]
    fn rows_behind_what_was_promised_already_need_no_cut() {
        assert_eq!(cuts(&[3, 4, 30], &[3, 4, 30], alone(20)), [(0, 3, 30)]);
    }

    #[test]
    fn a_watermark_that_other_splits_hold_back_cuts_nothing() {
        let told = |limit| Told {
            promised: WATERMARK_NONE,
            merged: 2,
            limit,
        };
        let times = [10, 20, 4, 21];
        assert_eq!(cuts(&times, &times, told(2)), [(0, 4, 21)]);
        assert_eq!(cuts(&times, &times, told(3)), [(0, 4, 21)], "no row is behind 3");
        assert_eq!(cuts(&times, &times, told(5)), [(0, 2, 20), (2, 4, 21)]);
    }

    #[test]
    fn cutting_the_input_elsewhere_leaves_the_same_watermark_before_each_row() {
        let times = [5, 9, 7, 12, 11, 3, 20, 19, 18, 25];
        let before_each_row = |lengths: &[usize]| {
            let mut seen = Vec::new();
            let mut promised = WATERMARK_NONE;
            let mut offset = 0;
            for &length in lengths {
                let part = &times[offset..offset + length];
                for (start, end, watermark) in cuts(part, part, alone(promised)) {
                    seen.extend(part[start..end].iter().map(|&time| time <= promised));
                    promised = promised.max(watermark);
                }
                offset += length;
            }
            seen
        };
        assert_eq!(before_each_row(&[10]), before_each_row(&[1; 10]));
        assert_eq!(before_each_row(&[10]), before_each_row(&[3, 3, 4]));
    }
}
