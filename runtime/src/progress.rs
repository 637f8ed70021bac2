//! How far a job has come: the figures, and the line on standard error that shows them.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use engine::time::{WATERMARK_END, WATERMARK_NONE, WatermarkUs};

use crate::figures;

/// How often the line is renewed.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// What all shards together have done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Rows read by sources.
    pub rows_in: u64,
    /// Rows written by sinks.
    pub rows_out: u64,
    /// Rows that came after their window was complete.
    pub late_rows: u64,
    /// Records that could not be decoded and were skipped.
    pub malformed: u64,
    /// Event times too far in the future, clamped.
    pub clamped: u64,
    /// What operators keep, bytes.
    pub state_bytes: u64,
    /// The slowest source watermark over all shards; [`WATERMARK_NONE`] before the first.
    pub watermark_us: WatermarkUs,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            rows_in: 0,
            rows_out: 0,
            late_rows: 0,
            malformed: 0,
            clamped: 0,
            state_bytes: 0,
            watermark_us: WATERMARK_NONE,
        }
    }
}

/// The line of a running job, rewritten in place; silent where nobody watches.
#[derive(Debug)]
pub struct ProgressLine {
    shown: bool,
    last: Option<(Duration, u64)>,
    visible: bool,
}

impl ProgressLine {
    /// A line that is shown if `wanted` and standard error is a terminal.
    pub fn new(wanted: bool) -> ProgressLine {
        ProgressLine {
            shown: wanted && std::io::stderr().is_terminal(),
            last: None,
            visible: false,
        }
    }

    /// Whether the line is shown and its interval has passed.
    pub fn is_due(&self, elapsed: Duration) -> bool {
        let since = self.last.map_or(Duration::ZERO, |(since, _)| since);
        self.shown && elapsed.saturating_sub(since) >= PROGRESS_INTERVAL
    }

    /// Shows the state at `elapsed` since the start; `wall_us` is the time of day.
    pub fn renew(&mut self, progress: &Progress, elapsed: Duration, wall_us: i64) {
        assert!(self.shown, "invariant: only a line that is shown is renewed");
        let (since, rows_before) = self.last.unwrap_or_default();
        let rate = figures::per_second(
            progress.rows_in.saturating_sub(rows_before),
            elapsed.saturating_sub(since),
        );
        self.last = Some((elapsed, progress.rows_in));
        self.visible = true;
        let text = render(progress, rate, wall_us);
        let mut stderr = std::io::stderr().lock();
        // The terminal may be gone; the job goes on.
        let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
    }

    /// Takes the line off the screen, before something else is written there.
    pub fn clear(&mut self) {
        if self.visible {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
            self.visible = false;
        }
    }
}

/// The line's text.
fn render(progress: &Progress, rate: f64, wall_us: i64) -> String {
    let mut text = format!(
        "in {}  out {}  {} rows/s",
        figures::grouped(progress.rows_in),
        figures::grouped(progress.rows_out),
        figures::short(rate)
    );
    if progress.watermark_us != WATERMARK_NONE && progress.watermark_us != WATERMARK_END {
        let lag = Duration::from_micros(u64::try_from(wall_us - progress.watermark_us).unwrap_or(0));
        text += &format!(
            "  watermark {}  lag {}",
            figures::timestamp(progress.watermark_us),
            lag_text(lag)
        );
    }
    if progress.state_bytes > 0 {
        text += &format!("  state {}", figures::mebibytes(progress.state_bytes));
    }
    for (count, name) in [
        (progress.late_rows, "late"),
        (progress.malformed, "malformed"),
        (progress.clamped, "clamped"),
    ] {
        if count > 0 {
            text += &format!("  {name} {}", figures::grouped(count));
        }
    }
    text
}

/// Lag in the unit that fits; old files lag by years.
fn lag_text(lag: Duration) -> String {
    match lag.as_secs() {
        seconds if seconds >= 2 * 86_400 => format!("{} d", seconds / 86_400),
        seconds if seconds >= 2 * 3_600 => format!("{} h", seconds / 3_600),
        seconds if seconds >= 120 => format!("{} min", seconds / 60),
        _ => figures::nanoseconds(u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_rows_rate_watermark_and_lag() {
        let progress = Progress {
            rows_in: 1_234_567,
            rows_out: 89,
            watermark_us: 1_356_998_400_000_000,
            state_bytes: 5 << 20,
            ..Progress::default()
        };
        assert_eq!(
            render(&progress, 2_500_000.0, 1_356_998_401_500_000),
            "in 1,234,567  out 89  2.50 M rows/s  watermark 2013-01-01 00:00:00.000  lag 1.50 s  state 5.0 MiB"
        );
    }

    #[test]
    fn what_went_wrong_is_shown_only_when_it_did() {
        let progress = Progress {
            late_rows: 3,
            malformed: 1,
            ..Progress::default()
        };
        assert_eq!(
            render(&progress, 0.0, 0),
            "in 0  out 0  0 rows/s  late 3  malformed 1"
        );
    }

    #[test]
    fn lag_is_told_in_the_unit_that_fits() {
        assert_eq!(lag_text(Duration::from_millis(3)), "3.00 ms");
        assert_eq!(lag_text(Duration::from_secs(600)), "10 min");
        assert_eq!(lag_text(Duration::from_secs(400 * 86_400)), "400 d");
    }
}
