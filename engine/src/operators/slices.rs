//! Slices: the stretches of event time that windows are made of (Li et al. 2005, "No pane, no gain";
//! Flink's slice assigners). A row touches one slice; a window is one or several slices.
//!
//! Tumble: the slice is the window. Hop: slices of gcd(size, slide). Cumulate: slices of the step.
//! Slices and windows are named by their exclusive end. Pure arithmetic: no state.
//!
//! **Invariant.** Every window is a whole number of slices, and `windows_of(slice)` lists exactly the
//! windows whose `slices` contain it.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};

use crate::error::ExecutionError;
use crate::plan::{WindowKind, WindowSpec};
use crate::time::EventTimeUs;

/// Assigns rows to slices and slices to windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceAssigner {
    /// Length of a slice.
    pub slice_us: i64,
    size_us: i64,
    /// Distance between the ends of neighbouring windows.
    period_us: i64,
    offset_us: i64,
    kind: WindowKind,
}

impl SliceAssigner {
    /// The slices of these windows.
    pub fn new(window: &WindowSpec) -> SliceAssigner {
        let (size_us, period_us, slice_us) = match window.kind {
            WindowKind::Tumble { size_us } => (size_us, size_us, size_us),
            WindowKind::Hop { size_us, slide_us } => (size_us, slide_us, gcd(size_us, slide_us)),
            WindowKind::Cumulate { size_us, step_us } => (size_us, step_us, step_us),
            WindowKind::Session { .. } => unreachable!("invariant: sessions have no slices"),
        };
        assert!(
            slice_us > 0 && size_us > 0,
            "invariant: the planner refuses empty windows"
        );
        SliceAssigner {
            slice_us,
            size_us,
            period_us,
            offset_us: window.offset_us,
            kind: window.kind,
        }
    }

    /// The end of the slice that holds an event at `time`.
    #[inline(always)]
    pub fn slice_end(&self, time: EventTimeUs) -> EventTimeUs {
        let start = floor_to(time, self.slice_us, self.offset_us);
        start.saturating_add(self.slice_us)
    }

    /// The first window to end that holds slice `slice_end`.
    pub fn first_window(&self, slice_end: EventTimeUs) -> EventTimeUs {
        match self.kind {
            WindowKind::Tumble { .. } | WindowKind::Cumulate { .. } | WindowKind::Session { .. } => slice_end,
            // The least `offset + k·slide + size` that is not before the slice's end.
            WindowKind::Hop { slide_us, .. } => {
                let phase = self.offset_us.saturating_add(self.size_us);
                let before = floor_to(slice_end.saturating_sub(1), slide_us, phase);
                before.saturating_add(slide_us)
            }
        }
    }

    /// The last window to end that holds slice `slice_end`; before [`SliceAssigner::first_window`] if no
    /// window does (hops that leave gaps).
    pub fn last_window(&self, slice_end: EventTimeUs) -> EventTimeUs {
        let slice_start = slice_end.saturating_sub(self.slice_us);
        match self.kind {
            WindowKind::Tumble { .. } | WindowKind::Session { .. } => slice_end,
            WindowKind::Hop { slide_us, .. } => {
                floor_to(slice_start, slide_us, self.offset_us).saturating_add(self.size_us)
            }
            WindowKind::Cumulate { .. } => {
                floor_to(slice_start, self.size_us, self.offset_us).saturating_add(self.size_us)
            }
        }
    }

    /// Whether no window holds slice `slice_end`: hops that are longer than their windows leave gaps.
    pub fn is_gap(&self, slice_end: EventTimeUs) -> bool {
        self.last_window(slice_end) < self.first_window(slice_end)
    }

    /// The first window ending after `closed_until` that holds slice `slice_end`.
    pub fn first_open_window(
        &self,
        slice_end: EventTimeUs,
        closed_until: EventTimeUs,
    ) -> Option<EventTimeUs> {
        let first = self.first_window(slice_end);
        let window = if first > closed_until {
            first
        } else {
            let periods = closed_until.saturating_sub(first) / self.period_us + 1;
            first.saturating_add(periods.saturating_mul(self.period_us))
        };
        (window <= self.last_window(slice_end)).then_some(window)
    }

    /// The window after `window`.
    pub fn next_window(&self, window: EventTimeUs) -> EventTimeUs {
        window.saturating_add(self.period_us)
    }

    /// Where window `window_end` starts.
    pub fn window_start(&self, window_end: EventTimeUs) -> EventTimeUs {
        match self.kind {
            WindowKind::Tumble { .. } | WindowKind::Hop { .. } | WindowKind::Session { .. } => {
                window_end.saturating_sub(self.size_us)
            }
            WindowKind::Cumulate { .. } => {
                floor_to(window_end.saturating_sub(1), self.size_us, self.offset_us)
            }
        }
    }

    /// Slices in the longest window.
    pub fn slices_per_window(&self) -> i64 {
        self.size_us / self.slice_us
    }

    /// Whether windows share slices.
    pub fn is_shared(&self) -> bool {
        !matches!(self.kind, WindowKind::Tumble { .. })
    }

    /// Whether windows grow from a common start.
    pub fn is_cumulative(&self) -> bool {
        matches!(self.kind, WindowKind::Cumulate { .. })
    }
}

/// The greatest `offset + k·unit` not after `time`.
#[inline(always)]
fn floor_to(time: i64, unit: i64, offset: i64) -> i64 {
    let shifted = time.saturating_sub(offset);
    (shifted - shifted.rem_euclid(unit)).saturating_add(offset)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Event times of a TIMESTAMP column in microseconds; a NULL is an error, as in Flink.
pub fn event_times(column: &ArrayRef, operator: &str) -> Result<ScalarBuffer<i64>, ExecutionError> {
    if column.null_count() > 0 {
        let message = "an event time is NULL; filter such rows out (WHERE time_column IS NOT NULL)";
        return Err(ExecutionError::new(operator, message));
    }
    let scaled = |values: &ScalarBuffer<i64>, factor: i64| -> ScalarBuffer<i64> {
        values.iter().map(|value| value.saturating_mul(factor)).collect()
    };
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(column.as_primitive::<TimestampSecondType>().values(), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            scaled(column.as_primitive::<TimestampMillisecondType>().values(), 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().values().clone()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = column.as_primitive::<TimestampNanosecondType>().values();
            values.iter().map(|value| value.div_euclid(1_000)).collect()
        }
        other => {
            let message = format!("the event time has type {other}; it must be a TIMESTAMP");
            return Err(ExecutionError::new(operator, message));
        }
    })
}

/// `value_us` in the unit of a TIMESTAMP type.
pub fn time_in_unit(data_type: &DataType, value_us: EventTimeUs) -> i64 {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => value_us.div_euclid(1_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => value_us.div_euclid(1_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => value_us.saturating_mul(1_000),
        _ => value_us,
    }
}

/// The end of the slice of each row, split: slices in rising order with the rows in them, or `None` for
/// all rows, which is the usual case: its check is one pass without a division.
pub fn split_by_slice(
    assigner: &SliceAssigner,
    times: &[EventTimeUs],
) -> Vec<(EventTimeUs, Option<Vec<u32>>)> {
    let (Some(&least), Some(&greatest)) = (times.iter().min(), times.iter().max()) else {
        return Vec::new();
    };
    let first = assigner.slice_end(least);
    if first == assigner.slice_end(greatest) {
        return vec![(first, None)];
    }
    // Neighbouring rows nearly always share a slice: divide only where they do not.
    let mut slice = first;
    let ends = times.iter().map(|&time| {
        if time >= slice || time < slice.saturating_sub(assigner.slice_us) {
            slice = assigner.slice_end(time);
        }
        slice
    });
    split_by(&ends.collect::<Vec<_>>())
}

/// Rows by what is said of each: the values in rising order with the rows that have them, or `None`
/// for all rows.
pub fn split_by<T: Copy + Ord>(values: &[T]) -> Vec<(T, Option<Vec<u32>>)> {
    let Some(&first) = values.first() else {
        return Vec::new();
    };
    if values.iter().all(|&value| value == first) {
        return vec![(first, None)];
    }
    let mut parts = BTreeMap::<T, Vec<u32>>::new();
    for run in (0u32..)
        .zip(values)
        .collect::<Vec<_>>()
        .chunk_by(|left, right| left.1 == right.1)
    {
        parts
            .entry(*run[0].1)
            .or_default()
            .extend(run.iter().map(|&(row, _)| row));
    }
    parts
        .into_iter()
        .map(|(value, rows)| (value, Some(rows)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigner(kind: WindowKind, offset_us: i64) -> SliceAssigner {
        SliceAssigner::new(&WindowSpec {
            kind,
            offset_us,
            time_column: 0,
            tick_us: 1,
        })
    }

    /// The windows (start, end) that hold `time`, by their definition.
    fn windows_by_definition(kind: WindowKind, offset: i64, time: i64) -> Vec<(i64, i64)> {
        let mut windows = Vec::new();
        for k in -60..60 {
            match kind {
                WindowKind::Tumble { size_us } => {
                    windows.push((offset + k * size_us, offset + (k + 1) * size_us))
                }
                WindowKind::Hop { size_us, slide_us } => {
                    windows.push((offset + k * slide_us, offset + k * slide_us + size_us));
                }
                WindowKind::Cumulate { size_us, step_us } => {
                    let start = offset + k * size_us;
                    windows.extend((1..=size_us / step_us).map(|step| (start, start + step * step_us)));
                }
                WindowKind::Session { .. } => unreachable!("sessions have no slices"),
            }
        }
        windows.retain(|&(start, end)| start <= time && time < end);
        windows.sort_by_key(|&(_, end)| end);
        windows
    }

    #[test]
    fn the_windows_of_a_slice_are_those_that_hold_its_rows() {
        let kinds = [
            WindowKind::Tumble { size_us: 7 },
            WindowKind::Hop {
                size_us: 10,
                slide_us: 4,
            },
            WindowKind::Hop {
                size_us: 6,
                slide_us: 2,
            },
            WindowKind::Hop {
                size_us: 3,
                slide_us: 5,
            },
            WindowKind::Cumulate {
                size_us: 12,
                step_us: 3,
            },
        ];
        for kind in kinds {
            for offset in [0, 1, -2] {
                let assigner = assigner(kind, offset);
                for time in -40..40 {
                    let slice = assigner.slice_end(time);
                    let mut found = Vec::new();
                    let mut closed = i64::MIN / 4;
                    while let Some(window) = assigner.first_open_window(slice, closed) {
                        found.push((assigner.window_start(window), window));
                        closed = window;
                    }
                    assert_eq!(
                        found,
                        windows_by_definition(kind, offset, time),
                        "{kind:?} {offset} {time}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_are_split_by_the_slice_of_their_time() {
        let assigner = assigner(WindowKind::Tumble { size_us: 10 }, 0);
        assert_eq!(split_by_slice(&assigner, &[3, 9, 0]), [(10, None)]);
        let parts = split_by_slice(&assigner, &[3, 12, 19, 9, -1]);
        assert_eq!(
            parts,
            [(0, Some(vec![4])), (10, Some(vec![0, 3])), (20, Some(vec![1, 2]))]
        );
    }

    #[test]
    fn rows_of_one_slice_are_not_split() {
        assert_eq!(split_by(&[3, 3, 3]), [(3, None)]);
        let parts = split_by(&[5, 3, 5]);
        assert_eq!(parts, [(3, Some(vec![1])), (5, Some(vec![0, 2]))]);
    }
}
