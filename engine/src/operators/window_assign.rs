//! A window TVF without aggregation: each row once per window that holds it, with the window's
//! start, end and time appended. Windows that are complete already get no row; a row that has
//! none left is late.
//!
//! **Invariant.** Nothing is kept but the watermark; a batch that grows by its windows goes out in parts
//! of about [`BATCH_ROWS_MAX`] rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take, take_record_batch};
use arrow::datatypes::{DataType, Int8Type, SchemaRef, TimeUnit, TimestampMicrosecondType};

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::window_bounds::windows_of;
use crate::operators::{Firing, Operator, OperatorStatistics, Output};
use crate::plan::{WindowKind, WindowSpec};
use crate::time::{WATERMARK_NONE, WatermarkUs};

/// The window assigner; keeps nothing but the watermark.
pub struct WindowAssign {
    window: WindowSpec,
    output: SchemaRef,
    watermark: WatermarkUs,
    late_rows: u64,
}

/// Rows and the windows they are assigned to, one entry per pair.
#[derive(Default)]
struct Assigned {
    rows: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
}

impl WindowAssign {
    /// Assigns `window`; `output` is the input's columns and three more.
    pub fn new(
        window: &WindowSpec,
        input: SchemaRef,
        output: SchemaRef,
    ) -> Result<WindowAssign, ExecutionError> {
        assert_eq!(
            input.fields().len() + 3,
            output.fields().len(),
            "invariant: the output is the input and three window columns"
        );
        Ok(WindowAssign {
            window: *window,
            output,
            watermark: WATERMARK_NONE,
            late_rows: 0,
        })
    }

    /// Each row's one window; `None` where one of them is complete already.
    fn tumble(&self, times: &[i64], size_us: i64) -> Option<(Vec<i64>, Vec<i64>)> {
        let mut starts = Vec::with_capacity(times.len());
        let mut ends = Vec::with_capacity(times.len());
        let mut is_open = true;
        // Neighbours mostly share a window: one division per change of window.
        let (mut start, mut end) = (0, 0);
        for &at in times {
            if at < start || at >= end {
                windows_of(
                    WindowKind::Tumble { size_us },
                    self.window.offset_us,
                    at,
                    |from, to| {
                        (start, end) = (from, to);
                    },
                );
                is_open &= end - self.window.tick_us > self.watermark;
            }
            starts.push(start);
            ends.push(end);
        }
        is_open.then_some((starts, ends))
    }

    /// The rows of `batch` named by `assigned`, with their windows.
    fn emit(&self, batch: &Batch, assigned: Assigned, out: &mut Output) -> Result<(), ExecutionError> {
        if assigned.rows.is_empty() {
            return Ok(());
        }
        let indices = UInt32Array::from(assigned.rows);
        let rows = take_record_batch(batch.rows(), &indices).map_err(assign_error)?;
        let ops = match batch.ops() {
            Some(ops) => {
                let ops = take(ops, &indices, None).map_err(assign_error)?;
                Some(ops.as_primitive::<Int8Type>().clone())
            }
            None => None,
        };
        let rows = self.with_windows(&rows, assigned.starts, assigned.ends)?;
        out.emit(Batch::new(rows, ops, batch.arrival_ns));
        Ok(())
    }

    fn with_windows(
        &self,
        rows: &RecordBatch,
        starts: Vec<i64>,
        ends: Vec<i64>,
    ) -> Result<RecordBatch, ExecutionError> {
        let width = rows.num_columns();
        let bound_type = |column: usize| self.output.field(width + column).data_type();
        let window_times = ends.iter().map(|end| end - self.window.tick_us).collect();
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        for (column, bounds) in [starts, ends, window_times].into_iter().enumerate() {
            columns.push(timestamps(bounds, bound_type(column)));
        }
        RecordBatch::try_new(self.output.clone(), columns).map_err(assign_error)
    }
}

impl Operator for WindowAssign {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let times = micros(batch.column(self.window.time_column));
        if let WindowKind::Tumble { size_us } = self.window.kind
            && let Some((starts, ends)) = self.tumble(&times, size_us)
        {
            let rows = self.with_windows(batch.rows(), starts, ends)?;
            let (_, ops, arrival_ns) = batch.into_parts();
            out.emit(Batch::new(rows, ops, arrival_ns));
            return Ok(());
        }
        let mut assigned = Assigned::default();
        for (row, &at) in times.iter().enumerate() {
            let before = assigned.rows.len();
            let mut is_held = false;
            windows_of(self.window.kind, self.window.offset_us, at, |start, end| {
                is_held = true;
                if end - self.window.tick_us > self.watermark {
                    assigned.rows.push(row as u32);
                    assigned.starts.push(start);
                    assigned.ends.push(end);
                }
            });
            self.late_rows += u64::from(is_held && assigned.rows.len() == before);
            if assigned.rows.len() >= BATCH_ROWS_MAX && !is_update_before(&batch, row) {
                self.emit(&batch, std::mem::take(&mut assigned), out)?;
            }
        }
        self.emit(&batch, assigned, out)
    }

    fn advance(&mut self, watermark: WatermarkUs, _out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = watermark;
        Ok(Firing::Done)
    }

    fn statistics(&self) -> OperatorStatistics {
        OperatorStatistics {
            late_rows: self.late_rows,
            ..OperatorStatistics::default()
        }
    }
}

/// Whether the row's pair is still to come.
fn is_update_before(batch: &Batch, row: usize) -> bool {
    batch.ops().is_some() && batch.op(row) == crate::batch::Op::UpdateBefore
}

/// Microseconds as a column of a timestamp type.
pub(crate) fn timestamps(micros: Vec<i64>, data_type: &DataType) -> ArrayRef {
    let DataType::Timestamp(_, zone) = data_type else {
        unreachable!("invariant: window bounds are timestamps, found {data_type}")
    };
    let column = PrimitiveArray::<TimestampMicrosecondType>::from(micros).with_timezone_opt(zone.clone());
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Arc::new(column),
        other => cast(&column, other).expect("invariant: timestamps change their unit"),
    }
}

fn assign_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("window assign", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, TimestampMillisecondArray};
    use arrow::datatypes::{Field, Schema, TimestampMillisecondType};

    fn schema(columns: &[&str]) -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let mut fields = vec![Field::new("number", DataType::Int64, false)];
        fields.extend(columns.iter().map(|name| Field::new(*name, time.clone(), false)));
        Arc::new(Schema::new(fields))
    }

    /// Assigns windows (sizes in ms) to rows at `times` once the watermark is at `watermark_ms`:
    /// (number of the row, start, end, time) of what comes out, and the late rows.
    fn assign(kind: WindowKind, watermark_ms: i64, times: &[i64]) -> (Vec<(i64, i64, i64, i64)>, u64) {
        let input = schema(&["ts"]);
        let output = schema(&["ts", "window_start", "window_end", "window_time"]);
        let window = WindowSpec {
            kind,
            offset_us: 0,
            time_column: 1,
            tick_us: 1_000,
        };
        let mut operator = WindowAssign::new(&window, input.clone(), output).unwrap();
        let mut out = Output::new();
        assert_eq!(
            operator.advance(watermark_ms * 1_000, &mut out).unwrap(),
            Firing::Done
        );
        let numbers = Int64Array::from_iter_values(0..times.len() as i64);
        let times = TimestampMillisecondArray::from(times.to_vec());
        let rows = RecordBatch::try_new(input, vec![Arc::new(numbers), Arc::new(times)]).unwrap();
        operator.process(0, Batch::append(rows, 0), &mut out).unwrap();
        let mut found = Vec::new();
        for batch in out.take() {
            assert!(batch.len() < 2 * BATCH_ROWS_MAX);
            let numbers = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
            let bound = |column: usize| batch.column(column).as_primitive::<TimestampMillisecondType>();
            found.extend((0..batch.len()).map(|row| {
                let bounds = [2, 3, 4].map(|column| bound(column).value(row));
                (numbers.value(row), bounds[0], bounds[1], bounds[2])
            }));
        }
        (found, operator.statistics().late_rows)
    }

    const TUMBLE: WindowKind = WindowKind::Tumble { size_us: 10_000 };
    const HOP: WindowKind = WindowKind::Hop {
        size_us: 10_000,
        slide_us: 5_000,
    };

    #[test]
    fn a_row_gets_its_tumbling_window() {
        let (found, late_rows) = assign(TUMBLE, -100, &[3, 9, 10, -1]);
        assert_eq!(
            found,
            [(0, 0, 10, 9), (1, 0, 10, 9), (2, 10, 20, 19), (3, -10, 0, -1)]
        );
        assert_eq!(late_rows, 0);
    }

    #[test]
    fn rows_of_complete_windows_are_late() {
        let (found, late_rows) = assign(TUMBLE, 9, &[3, 12, 9, 25]);
        assert_eq!(found, [(1, 10, 20, 19), (3, 20, 30, 29)]);
        assert_eq!(late_rows, 2);
    }

    #[test]
    fn a_row_gets_only_those_overlapping_windows_that_are_open() {
        let (found, late_rows) = assign(HOP, 9, &[7, 12, 3]);
        assert_eq!(found, [(0, 5, 15, 14), (1, 5, 15, 14), (1, 10, 20, 19)]);
        assert_eq!(late_rows, 1, "both windows of the row at 3 are complete");
    }

    #[test]
    fn a_batch_that_grows_goes_out_in_parts() {
        let kind = WindowKind::Cumulate {
            size_us: 1_000_000,
            step_us: 1_000,
        };
        let (found, _) = assign(kind, -100, &[0; 50]);
        assert_eq!(found.len(), 50_000);
    }
}
