//! What one run of a scenario measured, as the line that is printed.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::ScenarioRun;
use crate::summary::{EVENT_LATENCY, RunReport};

/// One run of one scenario; the JSON line has these fields in this order.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    scenario: &'static str,
    dialect: &'static str,
    source: &'static str,
    shards: usize,
    rows: u64,
    seconds: f64,
    rows_per_second: u64,
    cpu_seconds: f64,
    peak_memory_bytes: Option<u64>,
    output_rows: u64,
    /// From a row's arrival at its source to the emission of what it brought about.
    latency_ns: Option<Latency>,
    generator_rows_per_second: u64,
}

/// Percentiles, nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Latency {
    p50: u64,
    p99: u64,
    #[serde(rename = "p99.99")]
    p99_99: u64,
    max: u64,
}

impl Measurement {
    pub(super) fn new(run: &ScenarioRun, report: &RunReport) -> Measurement {
        let latency = report.histogram(EVENT_LATENCY);
        Measurement {
            scenario: run.scenario.name(),
            dialect: run.dialect.name(),
            source: run.source.name(),
            shards: report.shards,
            rows: report.progress.rows_in,
            seconds: rounded(report.elapsed.as_secs_f64()),
            rows_per_second: report.rows_per_second() as u64,
            cpu_seconds: rounded(report.cpu.as_secs_f64()),
            peak_memory_bytes: report.peak_memory_bytes,
            output_rows: report.progress.rows_out,
            latency_ns: latency.and_then(Latency::of),
            generator_rows_per_second: run.generator_rows_per_second as u64,
        }
    }

    /// One JSON object and a line break.
    pub fn line(&self) -> String {
        let object = serde_json::to_string(self).expect("invariant: numbers and names are JSON");
        object + "\n"
    }
}

impl Latency {
    /// Those of a histogram that holds something.
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Latency> {
        (!histogram.is_empty()).then(|| Latency {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p99_99: histogram.value_at_quantile(0.9999),
            max: histogram.max(),
        })
    }
}

/// Microseconds are as much as a clock tells.
pub(super) fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}
