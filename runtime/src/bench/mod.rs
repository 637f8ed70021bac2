//! The benchmark of the five scenarios: the queries of `examples/scenarios`, unchanged, over
//! generated rows in memory or in files, into nothing. [`latency`] is the other benchmark.
//!
//! `commands/bench` reads the command line and prints; here a scenario is prepared
//! ([`ScenarioRun::prepare`]: its rows are made before any time is taken) and run.
//!
//! **Invariant.** Only where rows come from and go to differs from the job file: plan, options of
//! the query and shard loop are those that `velocore run` uses.

use std::path::Path;
use std::time::Instant;

use engine::generators::trades::{Scenario, ScenarioData};
use thiserror::Error;

use crate::connectors::ConnectorConfig;
use crate::figures::per_second;
use crate::job::Job;
use crate::resources;
use crate::run_job::{Connectors, RunError, RunOptions, run_job};
use crate::summary::RunReport;

pub mod latency;
pub mod measurement;
pub mod scenario_job;
pub mod scenario_rows;

pub use latency::{LatencyCase, LatencyRun};
pub use measurement::Measurement;
pub use scenario_job::Dialect;
pub use scenario_rows::RowSource;

/// One seed, one data set: runs on different machines read the same rows.
const SEED: u64 = 1;
/// Rows over which the generator's own rate is measured, at most.
const CEILING_ROWS_MAX: u64 = 2_000_000;

/// A scenario could not be prepared or run; says what to do.
#[derive(Debug, Error)]
pub enum BenchError {
    /// Its file could not be written.
    #[error("{0}")]
    Rows(String),
    /// The job failed.
    #[error("{0}")]
    Run(#[from] RunError),
}

/// A scenario whose rows are there, ready to be run.
pub struct ScenarioRun {
    scenario: Scenario,
    dialect: Dialect,
    source: RowSource,
    job: Job,
    connectors: ConnectorConfig,
    generator_rows_per_second: f64,
}

impl ScenarioRun {
    /// Compiles the scenario and makes its rows: in memory, or as a file in `directory` unless
    /// that file is there already. Results go to a `sink` table (`blackhole`, `memory`).
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn prepare(
        scenario: Scenario,
        dialect: Dialect,
        source: RowSource,
        rows: u64,
        shards: usize,
        directory: &Path,
        sink: &str,
    ) -> Result<ScenarioRun, BenchError> {
        assert!(rows > 0, "invariant: a scenario has rows");
        let job = scenario_job::compile(scenario, dialect, shards);
        let data = ScenarioData::new(scenario, SEED);
        let wanted = scenario_rows::project(&data, scenario_job::wanted_columns(&job));
        let mut connectors = ConnectorConfig::default();
        let options = match source {
            RowSource::Memory => {
                let batches = scenario_rows::batches(&wanted.encoded(), rows).collect();
                connectors
                    .memory_tables
                    .insert(scenario.table_name().to_owned(), batches);
                vec![("connector", "memory".to_owned())]
            }
            RowSource::Parquet | RowSource::Ndjson => {
                let declared = scenario_rows::project(&data, scenario_job::declared_columns(&job));
                let path = scenario_rows::file(scenario, &declared, source, rows, directory)
                    .map_err(BenchError::Rows)?;
                vec![
                    ("connector", "filesystem".to_owned()),
                    ("path", path.display().to_string()),
                    ("format", source.format().to_owned()),
                ]
            }
        };
        Ok(ScenarioRun {
            scenario,
            dialect,
            source,
            job: scenario_job::reconnect(&job, &options, sink),
            connectors,
            generator_rows_per_second: generator_ceiling(&wanted, rows),
        })
    }

    /// The job as it runs, and what its connectors are prepared with.
    pub fn job(&self) -> (&Job, ConnectorConfig) {
        (&self.job, self.connectors.clone())
    }

    /// Runs it once as `options` say; their connectors are replaced by the scenario's.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run(&self, options: &RunOptions) -> Result<(RunReport, Measurement), BenchError> {
        let options = RunOptions {
            connectors: Connectors::Configured(self.connectors.clone()),
            ..options.clone()
        };
        resources::reset_peak_memory();
        let report = run_job(&self.job, &options)?;
        let measurement = Measurement::new(self, &report);
        Ok((report, measurement))
    }
}

/// Rows a second that one thread generates, of the columns that the query needs: a source that
/// makes its rows while it runs is no faster.
fn generator_ceiling(data: &ScenarioData, rows: u64) -> f64 {
    let rows = rows.min(CEILING_ROWS_MAX);
    let start = Instant::now();
    for batch in scenario_rows::batches(data, rows) {
        std::hint::black_box(batch);
    }
    per_second(rows, start.elapsed())
}

#[cfg(test)]
mod tests;
