//! What a job did, told at its end: rows, time, rates, resources and latency.

use std::time::Duration;

use hdrhistogram::Histogram;
use shards::epoch::Epoch;

use crate::figures::{grouped, mebibytes, nanoseconds, per_second, seconds, short};
use crate::histograms::HistogramSet;
use crate::progress::Progress;

/// The tag of the latency from a row's arrival to the emission of what it brought about.
pub const EVENT_LATENCY: &str = "event-latency";
/// The tag of the delay from the watermark that completes a window to its emission.
pub const WINDOW_DELAY: &str = "window-delay";
/// The tag of the time that a shard spends at once on writing state into a snapshot.
pub const SNAPSHOT: &str = "snapshot";

/// What a job did and what it took.
#[derive(Clone, Debug, Default)]
pub struct RunReport {
    /// Rows in and out, late and malformed ones.
    pub progress: Progress,
    /// From the first shard's start to the last one's end.
    pub elapsed: Duration,
    /// CPU time of the whole process in that time.
    pub cpu: Duration,
    /// The process's peak memory; `None` where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// Everything measured, by tag, in nanoseconds.
    pub histograms: HistogramSet,
    /// How many shards there were.
    pub shards: usize,
    /// The signal that stopped the job gracefully.
    pub stopped_by: Option<i32>,
    /// Whether the reader of standard output went away.
    pub output_closed: bool,
    /// Whether a graceful stop was given up because standard output took nothing any more.
    pub output_stuck: bool,
    /// Whether the job has checkpoints and all it did is in the last of them.
    pub last_epoch_committed: bool,
    /// The checkpoint that the job went on from, and how long it took until all shards could work.
    pub restored: Option<(Epoch, Duration)>,
}

impl RunReport {
    /// The histogram of `tag` over all shards, if anything was measured.
    pub fn histogram(&self, tag: &str) -> Option<&Histogram<u64>> {
        self.histograms.get(tag)
    }

    /// Rows read per second.
    pub fn rows_per_second(&self) -> f64 {
        per_second(self.progress.rows_in, self.elapsed)
    }

    /// The summary for a terminal: a few lines.
    pub fn render(&self) -> String {
        let progress = &self.progress;
        let mut text = format!(
            "{} rows in, {} rows out in {}: {} rows/s on {} {}; CPU {}, peak memory {}\n",
            grouped(progress.rows_in),
            grouped(progress.rows_out),
            seconds(self.elapsed),
            short(self.rows_per_second()),
            self.shards,
            if self.shards == 1 { "shard" } else { "shards" },
            seconds(self.cpu),
            self.peak_memory_bytes.map_or_else(|| "unknown".into(), mebibytes),
        );
        text += &format!(
            "late rows {}, malformed records {}",
            grouped(progress.late_rows),
            grouped(progress.malformed)
        );
        if progress.clamped > 0 {
            text += &format!(", event times clamped {}", grouped(progress.clamped));
        }
        if progress.state_bytes > 0 {
            text += &format!(", state kept at the end {}", mebibytes(progress.state_bytes));
        }
        text.push('\n');
        if let Some((epoch, after)) = self.restored {
            text += &format!("went on from checkpoint {epoch} after {}\n", seconds(after));
        }
        for (tag, name) in [
            (EVENT_LATENCY, "event latency"),
            (WINDOW_DELAY, "window delay"),
            (SNAPSHOT, "pause for snapshots"),
        ] {
            if let Some(histogram) = self.histogram(tag) {
                text += &latency_line(name, histogram);
            }
        }
        text
    }
}

fn latency_line(name: &str, histogram: &Histogram<u64>) -> String {
    let at = |quantile| nanoseconds(histogram.value_at_quantile(quantile));
    format!(
        "{name}: p50 {}, p99 {}, p99.99 {}, max {} ({} samples)\n",
        at(0.5),
        at(0.99),
        at(0.9999),
        nanoseconds(histogram.max()),
        grouped(histogram.len())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_rows_rates_resources_and_latency() {
        let mut histogram = Histogram::new(3).expect("digits");
        histogram.record_n(1_000_000, 99).expect("grows");
        let report = RunReport {
            restored: Some((7, Duration::from_millis(250))),
            progress: Progress {
                rows_in: 3_000_000,
                rows_out: 12,
                late_rows: 4,
                state_bytes: 3 << 20,
                ..Progress::default()
            },
            elapsed: Duration::from_millis(1500),
            cpu: Duration::from_millis(2900),
            peak_memory_bytes: Some(100 << 20),
            histograms: HistogramSet::from([(EVENT_LATENCY.to_owned(), histogram)]),
            shards: 2,
            stopped_by: None,
            output_closed: false,
            output_stuck: false,
            last_epoch_committed: false,
        };
        assert_eq!(
            report.render(),
            "3,000,000 rows in, 12 rows out in 1.500 s: 2.00 M rows/s on 2 shards; CPU 2.900 s, peak memory 100.0 MiB\n\
             late rows 4, malformed records 0, state kept at the end 3.0 MiB\n\
             went on from checkpoint 7 after 0.250 s\n\
             event latency: p50 1.00 ms, p99 1.00 ms, p99.99 1.00 ms, max 1.00 ms (99 samples)\n"
        );
    }
}
