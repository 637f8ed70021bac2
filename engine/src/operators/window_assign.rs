//! A window TVF without aggregation: each row once per window that holds it, with the window's
//! start, end and time appended. Windows that are complete already get no row; a row that has
//! none left is late.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::window_bounds::windows_of;
use crate::operators::{Firing, Operator, OperatorStatistics, Output};
use crate::plan::WindowSpec;
use crate::time::{WATERMARK_NONE, WatermarkUs};

/// The window assigner; keeps nothing but the watermark.
pub struct WindowAssign {
    window: WindowSpec,
    output: SchemaRef,
    watermark: WatermarkUs,
    late_rows: u64,
}

impl WindowAssign {
    /// Assigns `window`; `output` is the input's columns and three more.
    pub fn new(
        window: &WindowSpec,
        _input: SchemaRef,
        output: SchemaRef,
    ) -> Result<WindowAssign, ExecutionError> {
        Ok(WindowAssign {
            window: *window,
            output,
            watermark: WATERMARK_NONE,
            late_rows: 0,
        })
    }
}

impl Operator for WindowAssign {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let times = micros(batch.column(self.window.time_column));
        let mut rows = Vec::with_capacity(times.len());
        let (mut starts, mut ends) = (Vec::with_capacity(times.len()), Vec::with_capacity(times.len()));
        for (row, &at) in times.iter().enumerate() {
            let mut held = 0;
            let before = rows.len();
            windows_of(self.window.kind, self.window.offset_us, at, |start, end| {
                held += 1;
                if end - self.window.tick_us > self.watermark {
                    rows.push(row as u32);
                    starts.push(start);
                    ends.push(end);
                }
            });
            self.late_rows += u64::from(held > 0 && rows.len() == before);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let same_rows =
            rows.len() == batch.len() && rows.iter().enumerate().all(|(index, &row)| index as u32 == row);
        let mut columns: Vec<ArrayRef> = match same_rows {
            true => batch.rows().columns().to_vec(),
            false => {
                let rows = UInt32Array::from(rows);
                let columns = batch.rows().columns().iter();
                columns
                    .map(|column| take(column, &rows, None))
                    .collect::<Result<_, _>>()
                    .map_err(assign_error)?
            }
        };
        let bound_type = self
            .output
            .field(self.output.fields().len() - 1)
            .data_type()
            .clone();
        let window_times: Vec<i64> = ends.iter().map(|end| end - self.window.tick_us).collect();
        for bounds in [starts, ends, window_times] {
            columns.push(timestamps(bounds, &bound_type));
        }
        let rows = RecordBatch::try_new(self.output.clone(), columns).map_err(assign_error)?;
        out.emit(Batch::append(rows, batch.arrival_ns));
        Ok(())
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

/// Microseconds as a column of a timestamp type.
pub(crate) fn timestamps(micros: Vec<i64>, data_type: &DataType) -> ArrayRef {
    let DataType::Timestamp(_, zone) = data_type else {
        unreachable!("invariant: window bounds are timestamps, found {data_type}")
    };
    let column = arrow::array::PrimitiveArray::<TimestampMicrosecondType>::from(micros)
        .with_timezone_opt(zone.clone());
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Arc::new(column),
        other => cast(&column, other).expect("invariant: timestamps change their unit"),
    }
}

fn assign_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("window assign", error)
}
