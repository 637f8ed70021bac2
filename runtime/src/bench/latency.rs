//! The benchmark of latency: a paced generator into a query, every event judged by the time it was due.
//!
//! A source that falls behind its schedule is late for all events of that time, not for one (no
//! coordinated omission, Tene 2013). Nothing here reads a clock: the shards measure, as in any job.

use engine::compile::compile;
use engine::error::SqlError;
use serde::Serialize;

use super::BenchError;
use super::measurement::{Latency, rounded};
use crate::job::Job;
use crate::run_job::{RunOptions, run_job};
use crate::summary::{EVENT_LATENCY, RunReport, WINDOW_DELAY};

/// What the events go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LatencyCase {
    /// A window of ten seconds that slides by ten milliseconds, all keys in each result
    Window,
    /// A running aggregation that emits every change
    Changes,
}

impl LatencyCase {
    /// Both.
    pub const ALL: [LatencyCase; 2] = [LatencyCase::Window, LatencyCase::Changes];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            LatencyCase::Window => "window",
            LatencyCase::Changes => "changes",
        }
    }

    fn query(self) -> &'static str {
        match self {
            LatencyCase::Window => {
                "SELECT k, window_end, COUNT(*) AS n, SUM(v) AS total \
                 FROM TABLE(HOP(TABLE events, DESCRIPTOR(due), INTERVAL '0.010' SECOND, INTERVAL '10' SECOND)) \
                 GROUP BY k, window_start, window_end"
            }
            LatencyCase::Changes => {
                "SELECT k, COUNT(*) AS n, SUM(v) AS total FROM events GROUP BY k EMIT CHANGES"
            }
        }
    }
}

/// A case, with how much comes how fast.
#[derive(Clone, Copy, Debug)]
pub struct LatencyRun {
    /// What the events go through.
    pub case: LatencyCase,
    /// Events a second, over all shards.
    pub rate: u64,
    /// Different keys.
    pub keys: u64,
    /// How long.
    pub seconds: u64,
}

/// One run; the JSON line has these fields in this order.
#[derive(Clone, Debug, Serialize)]
struct LatencyMeasurement {
    case: &'static str,
    shards: usize,
    rate: u64,
    keys: u64,
    seconds: f64,
    rows: u64,
    output_rows: u64,
    cpu_seconds: f64,
    peak_memory_bytes: Option<u64>,
    /// From the time at which the event was due that moved the watermark past the window's end, to the
    /// emission of the window's rows.
    window_delay_ns: Option<Latency>,
    /// From the time at which an event was due to the emission of what it brought about.
    latency_ns: Option<Latency>,
}

impl LatencyRun {
    /// The job: generated events, the query, into nothing.
    ///
    /// # Errors
    /// Never for the cases there are; a test compiles them.
    pub fn job(&self, shards: usize) -> Result<Job, SqlError> {
        assert!(
            self.keys > 0 && self.rate > 0,
            "invariant: there are events, and keys for them"
        );
        let LatencyRun { rate, keys, .. } = self;
        let events = self.rate * self.seconds;
        let query = self.case.query();
        let sql = format!(
            "CREATE TABLE events (k BIGINT, v BIGINT, due TIMESTAMP(6), WATERMARK FOR due AS due) \
             WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}', 'number-of-rows' = '{events}', \
                   'fields.k.min' = '0', 'fields.k.max' = '{}', 'fields.v.min' = '0', 'fields.v.max' = '1000');\n\
             CREATE TABLE results WITH ('connector' = 'blackhole') AS {query};",
            keys - 1
        );
        compile(&sql, &[], Some(shards))
    }

    /// Runs it and answers the line that is printed.
    ///
    /// # Errors
    /// See [`crate::run_job::RunError`].
    pub fn run(&self, options: &RunOptions) -> Result<String, BenchError> {
        let job = self
            .job(options.cores.len())
            .unwrap_or_else(|error| panic!("invariant: the job of a latency case compiles: {error}"));
        let report = run_job(&job, options)?;
        Ok(self.line(&report))
    }

    fn line(&self, report: &RunReport) -> String {
        let percentiles = |tag| report.histogram(tag).and_then(Latency::of);
        let measurement = LatencyMeasurement {
            case: self.case.name(),
            shards: report.shards,
            rate: self.rate,
            keys: self.keys,
            seconds: rounded(report.elapsed.as_secs_f64()),
            rows: report.progress.rows_in,
            output_rows: report.progress.rows_out,
            cpu_seconds: rounded(report.cpu.as_secs_f64()),
            peak_memory_bytes: report.peak_memory_bytes,
            window_delay_ns: percentiles(WINDOW_DELAY),
            latency_ns: percentiles(EVENT_LATENCY),
        };
        serde_json::to_string(&measurement).expect("invariant: numbers and names are JSON") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores;

    #[test]
    fn each_case_runs_and_tells_its_percentiles() {
        let core = cores::allowed().expect("allowed")[0];
        for case in LatencyCase::ALL {
            let run = LatencyRun {
                case,
                rate: 2_000,
                keys: 10,
                seconds: 1,
            };
            let options = RunOptions {
                fallback: true,
                ..RunOptions::on_cores(vec![core; 2])
            };
            let line = run.run(&options).expect("ran");
            assert!(
                line.contains("\"rows\":2000,") && line.contains("\"p99.99\":"),
                "{line}"
            );
            let has_windows = !line.contains("\"window_delay_ns\":null");
            assert_eq!(has_windows, case == LatencyCase::Window, "{line}");
        }
    }
}
