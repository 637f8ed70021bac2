//! `velocore bench`: the scenarios of `examples/scenarios` on generated rows, and latency at a given
//! pace; one JSON line a run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::channel;

use clap::{Args, Subcommand};
use engine::generators::trades::Scenario;

use super::{EXIT_FAILED, EXIT_USAGE, fail};
use crate::bench::{BenchError, Dialect, LatencyCase, LatencyRun, RowSource, ScenarioRun};
use crate::cores;
use crate::events::Event;
use crate::executor::IdleMode;
use crate::run_job::{RunError, RunOptions};
use crate::signals::{self, SignalListener};
use crate::summary::RunReport;
use crate::terminal::{self, tell};

/// Where results go.
const SINK: &str = "blackhole";

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Run the five scenarios of examples/scenarios on generated rows; print one JSON line a run
    ///
    /// The rows are made before the time is taken. Peak memory is the process's during the run: with
    /// --source memory it includes the generated rows (about 50 bytes each), with a file it is the
    /// engine's own. Latency counts from a row's arrival at its source to the emission of what it
    /// brought about. The generator's rate is that of one thread that only makes the rows.
    Scenarios(ScenariosArguments),
    /// Pace generated events into a query and print percentiles of its latency as one JSON line
    ///
    /// Every event is judged by the time it was due, whether or not the generator kept its schedule. The
    /// delay of a window counts from the time at which the event was due that closed it.
    Latency(LatencyArguments),
}

#[derive(Debug, Args)]
pub(super) struct LatencyArguments {
    /// Only this case; may be given again [default: both]
    #[arg(long = "case", value_name = "CASE", value_enum)]
    cases: Vec<LatencyCase>,
    /// Events a second
    #[arg(long, value_name = "N", default_value = "200000", value_parser = parse_rows)]
    rate: u64,
    /// Different keys
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_rows)]
    keys: u64,
    /// How long each run takes
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Number of shards; more than cores is for testing [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// What an idle shard does
    #[arg(long, value_enum, default_value_t = IdleMode::Latency)]
    idle: IdleMode,
    /// Runs of each case
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Run on plain threads, without io_uring
    #[arg(long)]
    fallback: bool,
}

#[derive(Debug, Args)]
pub(super) struct ScenariosArguments {
    /// Rows of each scenario
    #[arg(long, value_name = "N", default_value = "10000000", value_parser = parse_rows)]
    rows: u64,
    /// Where the rows come from
    #[arg(long, value_enum, default_value_t)]
    source: RowSource,
    /// Number of shards; more than cores is for testing [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Only this scenario: s0, s1, s2, s3a or s3b; may be given again [default: all]
    #[arg(long = "scenario", value_name = "NAME", value_parser = parse_scenario)]
    scenarios: Vec<Scenario>,
    /// In whose words the queries are said
    #[arg(long, value_enum, default_value_t)]
    dialect: Dialect,
    /// Runs of each scenario
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// What an idle shard does
    #[arg(long, value_enum, default_value_t)]
    idle: IdleMode,
    /// Keep the generated file here, and use the one that is here [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Run on plain threads, without io_uring
    #[arg(long)]
    fallback: bool,
}

pub(super) fn run(command: &BenchCommand) -> ExitCode {
    let done = match command {
        BenchCommand::Scenarios(arguments) => run_scenarios(arguments),
        BenchCommand::Latency(arguments) => run_latency(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}

/// Runs the cases that were asked for; an error has been told and is an exit code.
fn run_latency(arguments: &LatencyArguments) -> Result<(), ExitCode> {
    let options = RunOptions {
        fallback: arguments.fallback,
        idle: arguments.idle,
        ..RunOptions::on_cores(place(arguments.shards)?)
    };
    let directory = Directory::new(None);
    let _listener = end_on_signals(&directory)?;
    let cases = match arguments.cases.as_slice() {
        [] => LatencyCase::ALL.as_slice(),
        named => named,
    };
    for &case in cases {
        let run = LatencyRun {
            case,
            rate: arguments.rate,
            keys: arguments.keys,
            seconds: arguments.seconds,
        };
        for _ in 0..arguments.repeat {
            let line = run.run(&options).map_err(|error| failed(case.name(), &error))?;
            print(&line)?;
        }
    }
    Ok(())
}

/// The core of each shard.
fn place(shards: Option<usize>) -> Result<Vec<usize>, ExitCode> {
    let placement = cores::allowed()
        .and_then(|allowed| cores::place(None, shards, allowed))
        .map_err(|error| fail(EXIT_USAGE, &error.to_string()))?;
    if let Some(note) = &placement.note {
        tell(&format!("note: {note}"));
    }
    if cfg!(debug_assertions) {
        tell("note: this is a development build; measure with one made by cargo build --release");
    }
    Ok(placement.cores)
}

fn print(line: &str) -> Result<(), ExitCode> {
    terminal::print(line)
        .map_err(|error| fail(EXIT_FAILED, &format!("cannot write to standard output: {error}")))
}

/// Runs what was asked for; an error has been told and is an exit code.
fn run_scenarios(arguments: &ScenariosArguments) -> Result<(), ExitCode> {
    if arguments.directory.is_some() && arguments.source == RowSource::Memory {
        let message = "--directory is where files are kept; add --source parquet or --source ndjson";
        return Err(fail(EXIT_USAGE, message));
    }
    let cores = place(arguments.shards)?;
    let directory = Directory::new(arguments.directory.clone());
    let _listener = end_on_signals(&directory)?;
    let options = RunOptions {
        fallback: arguments.fallback,
        idle: arguments.idle,
        ..RunOptions::on_cores(cores)
    };
    let scenarios = match arguments.scenarios.as_slice() {
        [] => Scenario::ALL.as_slice(),
        named => named,
    };
    for &scenario in scenarios {
        let (dialect, source, rows) = (arguments.dialect, arguments.source, arguments.rows);
        let prepared = ScenarioRun::prepare(
            scenario,
            dialect,
            source,
            rows,
            options.cores.len(),
            directory.path(),
            SINK,
        );
        let prepared = prepared.map_err(|error| failed(scenario.name(), &error))?;
        for _ in 0..arguments.repeat {
            let (report, measurement) = prepared
                .run(&options)
                .map_err(|error| failed(scenario.name(), &error))?;
            warn_of_lost_rows(scenario, rows, &report);
            print(&measurement.line())?;
        }
    }
    Ok(())
}

/// A scenario's data is complete and in order: rows that are left out would make it look fast.
fn warn_of_lost_rows(scenario: Scenario, rows: u64, report: &RunReport) {
    let progress = &report.progress;
    if progress.rows_in != rows || progress.late_rows > 0 || progress.malformed > 0 {
        tell(&format!(
            "warning: {}: of {rows} rows, {} were read, {} late and {} malformed ones left out; \
             if the file in --directory is damaged, remove it",
            scenario.name(),
            progress.rows_in,
            progress.late_rows,
            progress.malformed
        ));
    }
}

fn failed(name: &str, error: &BenchError) -> ExitCode {
    let code = match error {
        BenchError::Run(RunError::Usage(_)) => EXIT_USAGE,
        BenchError::Run(_) | BenchError::Rows(_) => EXIT_FAILED,
    };
    fail(code, &format!("{name}: {error}"))
}

/// The directory of generated files: the user's, or one that goes with the process.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    is_temporary: bool,
}

impl Directory {
    fn new(named: Option<PathBuf>) -> Directory {
        let is_temporary = named.is_none();
        let path = named
            .unwrap_or_else(|| std::env::temp_dir().join(format!("velocore-bench-{}", std::process::id())));
        Directory { path, is_temporary }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_temporary {
            remove(&self.path);
        }
    }
}

/// Removes a temporary directory, which is there if a file was written.
fn remove(path: &Path) {
    let _ = std::fs::remove_dir_all(path);
}

/// A measurement that is cut short says nothing: a signal ends the process at once, and takes the
/// temporary files with it.
fn end_on_signals(directory: &Directory) -> Result<SignalListener, ExitCode> {
    let (events, receiver) = channel();
    let path = directory.path.clone();
    let is_temporary = directory.is_temporary;
    let end = move || {
        for event in receiver {
            if let Event::Signal(signal) = event
                && signals::asks_to_stop(signal)
            {
                if is_temporary {
                    remove(&path);
                }
                std::process::exit(i32::from(signals::exit_code(signal)));
            }
        }
    };
    let cannot = |error| fail(EXIT_FAILED, &format!("cannot listen to signals: {error}"));
    std::thread::Builder::new()
        .name("bench-signals".into())
        .spawn(end)
        .map_err(cannot)?;
    SignalListener::start(events).map_err(cannot)
}

/// A number of rows; `10_000_000` is as good as `10000000`.
fn parse_rows(text: &str) -> Result<u64, String> {
    match text.replace('_', "").parse() {
        Ok(0) => Err("a scenario has at least one row; write for example --rows 1000000".into()),
        Ok(rows) => Ok(rows),
        Err(_) => Err("write a whole number, for example --rows 1000000".into()),
    }
}

fn parse_scenario(name: &str) -> Result<Scenario, String> {
    Scenario::from_name(name).ok_or_else(|| {
        let names = Scenario::ALL.map(Scenario::name).join(", ");
        format!("there is no such scenario; there are {names}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_a_number_above_zero() {
        assert_eq!(parse_rows("10_000"), Ok(10_000));
        for wrong in ["0", "-1", "many", "", "_"] {
            let error = parse_rows(wrong).expect_err(wrong);
            assert!(error.contains("--rows 1000000"), "{error}");
        }
    }

    #[test]
    fn an_unknown_scenario_is_refused_with_those_that_there_are() {
        assert_eq!(parse_scenario("s3b"), Ok(Scenario::S3b));
        let error = parse_scenario("s4").expect_err("unknown");
        assert_eq!(error, "there is no such scenario; there are s0, s1, s2, s3a, s3b");
    }
}
