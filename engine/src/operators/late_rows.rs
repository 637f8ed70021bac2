//! `LATE DATA TO`: says of each row, in one more column, whether every window that holds it is complete. What
//! becomes of late rows is decided behind it, by filters; it drops nothing, and counts them.
//!
//! **Invariant.** Judges as the window behind it does: a row that is not late here finds an open window
//! there, whose watermark is never ahead. Nothing is kept but the watermark.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::slices::{SliceAssigner, event_times};
use crate::operators::{Firing, Operator, OperatorStatistics, Output};
use crate::plan::LateRowsSpec;
use crate::snapshot::StateReader;
use crate::time::{EventTimeUs, WATERMARK_END, WATERMARK_NONE, WatermarkUs};

const OPERATOR: &str = "LateRows";

/// Tells late rows apart; see the file's head.
#[derive(Debug)]
pub struct LateRows {
    spec: LateRowsSpec,
    assigner: SliceAssigner,
    output: SchemaRef,
    watermark: WatermarkUs,
    late_rows: u64,
}

impl LateRows {
    /// The operator of `spec`; `output` is the input's columns and one BOOLEAN more.
    pub fn new(spec: &LateRowsSpec, input: &SchemaRef, output: SchemaRef) -> LateRows {
        assert_eq!(
            input.fields().len() + 1,
            output.fields().len(),
            "invariant: the output is the input and one column"
        );
        LateRows {
            spec: *spec,
            assigner: SliceAssigner::new(&spec.window),
            output,
            watermark: WATERMARK_NONE,
            late_rows: 0,
        }
    }

    /// Windows ending at or before this take no row any more.
    fn closed_until(&self) -> EventTimeUs {
        match self.watermark {
            WATERMARK_END => WATERMARK_END,
            watermark => watermark
                .saturating_add(self.spec.window.tick_us)
                .saturating_sub(self.spec.lateness_us),
        }
    }

    /// Whether every window that holds `time` is closed; a time that no window holds is not late.
    fn is_late(&self, time: EventTimeUs, closed_until: EventTimeUs) -> bool {
        let slice = self.assigner.slice_end(time);
        !self.assigner.is_gap(slice) && self.assigner.first_open_window(slice, closed_until).is_none()
    }
}

impl Operator for LateRows {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let times = event_times(batch.column(self.spec.window.time_column), OPERATOR)?;
        let closed_until = self.closed_until();
        // A later slice has later windows: where the earliest row has an open one, all have.
        let earliest = times.iter().copied().min().unwrap_or(EventTimeUs::MAX);
        let slice = self.assigner.slice_end(earliest);
        let late: BooleanArray = match self.assigner.first_open_window(slice, closed_until) {
            Some(_) => vec![false; batch.len()].into(),
            None => {
                let late = times.iter().map(|&time| self.is_late(time, closed_until));
                late.collect::<Vec<bool>>().into()
            }
        };
        self.late_rows += late.true_count() as u64;
        let (rows, ops, arrival_ns) = batch.into_parts();
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        columns.push(Arc::new(late));
        let rows = RecordBatch::try_new(self.output.clone(), columns)
            .map_err(|error| ExecutionError::new(OPERATOR, error.to_string()))?;
        out.emit(Batch::new(rows, ops, arrival_ns));
        Ok(())
    }

    fn advance(&mut self, watermark: WatermarkUs, _out: &mut Output) -> Result<Firing, ExecutionError> {
        assert!(watermark >= self.watermark, "invariant: watermarks never fall");
        self.watermark = watermark;
        Ok(Firing::Done)
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        OperatorStatistics {
            late_rows: self.late_rows,
            ..OperatorStatistics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    use crate::plan::lower_late::late_field;
    use crate::plan::{WindowKind, WindowSpec};

    /// Which of rows at `times` are late, with tick 1, once the watermark has come to `watermark`.
    fn late(kind: WindowKind, lateness_us: i64, watermark: WatermarkUs, times: &[i64]) -> Vec<bool> {
        let time = Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), false);
        let input = Arc::new(Schema::new(vec![time.clone()]));
        let output = Arc::new(Schema::new(vec![Arc::new(time), late_field()]));
        let window = WindowSpec {
            kind,
            offset_us: 0,
            time_column: 0,
            tick_us: 1,
        };
        let mut operator = LateRows::new(&LateRowsSpec { window, lateness_us }, &input, output);
        let mut out = Output::new();
        assert_eq!(operator.advance(watermark, &mut out).unwrap(), Firing::Done);
        let times: TimestampMicrosecondArray = times.iter().map(|&time| Some(time)).collect();
        let rows = RecordBatch::try_new(input, vec![Arc::new(times)]).unwrap();
        operator.process(0, Batch::append(rows, 0), &mut out).unwrap();
        let told = out.take().remove(0);
        let flags: Vec<bool> = told.column(1).as_boolean().values().iter().collect();
        let count = flags.iter().filter(|&&late| late).count() as u64;
        assert_eq!(operator.statistics().late_rows, count);
        flags
    }

    #[test]
    fn a_row_is_late_once_the_watermark_has_passed_the_last_tick_of_its_window() {
        let tumble = WindowKind::Tumble { size_us: 10 };
        assert_eq!(late(tumble, 0, 8, &[3, 12]), [false, false]);
        assert_eq!(late(tumble, 0, 9, &[3, 12]), [true, false]);
        assert_eq!(late(tumble, 0, WATERMARK_END, &[3, 12]), [true, true]);
    }

    #[test]
    fn allowed_lateness_keeps_a_window_open_for_longer() {
        let tumble = WindowKind::Tumble { size_us: 10 };
        assert_eq!(late(tumble, 5, 13, &[3]), [false]);
        assert_eq!(late(tumble, 5, 14, &[3]), [true]);
    }

    #[test]
    fn a_row_that_one_of_its_windows_still_takes_is_not_late() {
        let hop = WindowKind::Hop {
            size_us: 10,
            slide_us: 5,
        };
        assert_eq!(late(hop, 0, 9, &[3, 6]), [true, false]);
    }

    #[test]
    fn a_row_that_no_window_holds_is_not_late() {
        let hop = WindowKind::Hop {
            size_us: 3,
            slide_us: 5,
        };
        assert_eq!(late(hop, 0, 100, &[1, 4]), [true, false]);
    }
}
