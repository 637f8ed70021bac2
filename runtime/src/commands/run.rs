//! `velocore run`: compiles a job, runs it on pinned shards, and tells how it went.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use engine::batch::BATCH_ROWS_MAX;
use engine::plan::warnings;
use engine::sql::option_values::parse_bytes;
use shards::shard::ShardConfig;

use super::{EXIT_FAILED, EXIT_USAGE, JobArguments, fail, print};
use crate::checkpoints::CheckpointOptions;
use crate::connectors::{ConnectorConfig, OutputFormat};
use crate::executor::IdleMode;
use crate::job::{self, Job, JobText};
use crate::limits::HISTOGRAM_INTERVAL_MS_MIN;
use crate::run_job::{Connectors, RunError, RunOptions, run_job};
use crate::summary::RunReport;
use crate::terminal::{is_watched, tell};
use crate::{cores, signals};

/// Less than this, and a job stops over its first rows.
const MEMORY_BYTES_MIN: u64 = 1 << 20;

const HISTOGRAM_INTERVAL_MIN: Duration = Duration::from_millis(HISTOGRAM_INTERVAL_MS_MIN);

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    job: JobArguments,
    /// Cores to run on, such as 0-3,6 [default: all that this process may use]
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,
    /// Number of shards; more than cores is for testing [default: one per core]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// What an idle shard does
    #[arg(long, value_enum, default_value_t)]
    idle: IdleMode,
    /// Run on plain threads, without io_uring
    #[arg(long)]
    fallback: bool,
    /// Fail where io_uring is not available, rather than run without it
    #[arg(long, conflicts_with = "fallback")]
    require_io_uring: bool,
    /// How rows appear on standard output [default: a table on a terminal, else ndjson]
    #[arg(long, value_name = "FORMAT")]
    output: Option<OutputArgument>,
    /// Write histogram logs (.hlog) into this directory
    #[arg(long, value_name = "DIR")]
    histogram_dir: Option<PathBuf>,
    /// How often, beside at the end and on SIGUSR1
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    histogram_interval: Duration,
    /// Take checkpoints into this directory, or object store (s3://, gs://, az://), and go on from the newest one
    #[arg(long, value_name = "DIR_OR_URL")]
    checkpoint_dir: Option<PathBuf>,
    /// How often [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    checkpoint_interval: Option<Duration>,
    /// Start this operator without its state if it has changed since the checkpoint; 'all' = any
    #[arg(long, value_name = "OPERATOR")]
    allow_state_loss: Vec<String>,
    /// Stop the job before its operators keep more than this, such as 4GiB; an equal part is each shard's
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,
    /// Rows that a source hands over at once, at most; fewer are for testing
    #[arg(long, value_name = "N", default_value_t = BATCH_ROWS_MAX as u64, value_parser = clap::value_parser!(u64).range(1..=BATCH_ROWS_MAX as u64))]
    batch_rows: u64,
    /// No progress and no summary on standard error
    #[arg(short, long)]
    quiet: bool,
    /// Print the summary also where standard error is no terminal
    #[arg(long, conflicts_with = "quiet")]
    summary: bool,
}

/// `--output`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OutputArgument {
    /// One JSON object a line
    Ndjson,
    /// Comma-separated values with a header
    Csv,
    /// Aligned columns
    Table,
}

pub(super) fn run(arguments: &RunArguments) -> ExitCode {
    let placement = match place(arguments) {
        Ok(placement) => placement,
        Err(error) => return fail(EXIT_USAGE, &error.to_string()),
    };
    let (text, job) = match arguments.job.compile(Some(placement.cores.len())) {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    if !job.explanations.is_empty() {
        print(&job.explanations.join("\n"));
    }
    if job::queries(&job) == 0 {
        return nothing_to_run(&text, &job);
    }
    if let Some(note) = placement
        .note
        .as_ref()
        .filter(|_| is_watched() && !arguments.quiet)
    {
        tell(&format!("note: {note}"));
    }
    if !arguments.quiet {
        warn(&job);
    }
    let watched = is_watched() && !arguments.quiet;
    // A progress line between rows on one screen would spoil both.
    let rows_on_screen = job::prints(&job) && std::io::stdout().is_terminal();
    let mut options = options(arguments, placement, watched && !rows_on_screen);
    options.checkpoints.sql = text.sql.clone();
    let result = run_job(&job, &options);
    finish(&text, result, watched || arguments.summary)
}

/// State that grows for as long as a source that has no end goes on.
fn warn(job: &Job) {
    for warning in warnings::warnings(&job.plan) {
        if warning.is_endless {
            tell(&format!("warning: {warning}"));
        }
    }
}

fn place(arguments: &RunArguments) -> Result<cores::Placement, cores::CoresError> {
    cores::place(arguments.cores.as_deref(), arguments.shards, cores::allowed()?)
}

fn options(arguments: &RunArguments, placement: cores::Placement, progress: bool) -> RunOptions {
    let output = match arguments.output {
        None => OutputFormat::Automatic,
        Some(OutputArgument::Ndjson) => OutputFormat::Ndjson,
        Some(OutputArgument::Csv) => OutputFormat::Csv,
        Some(OutputArgument::Table) => OutputFormat::Table,
    };
    RunOptions {
        idle: arguments.idle,
        fallback: arguments.fallback,
        require_io_uring: arguments.require_io_uring,
        progress,
        signals: true,
        shard: ShardConfig {
            poll_rows: arguments.batch_rows as usize,
            memory_bytes: arguments.memory.map(|bytes| bytes / placement.cores.len() as u64),
        },
        cores: placement.cores,
        histogram_directory: arguments.histogram_dir.clone(),
        histogram_interval: arguments.histogram_interval,
        connectors: Connectors::Configured(ConnectorConfig {
            output,
            ..ConnectorConfig::default()
        }),
        checkpoints: CheckpointOptions {
            directory: arguments.checkpoint_dir.clone(),
            interval: arguments.checkpoint_interval,
            allow_state_loss: arguments.allow_state_loss.clone(),
            sql: String::new(),
        },
    }
}

/// A file that only explains has done its work; one that only declares has forgotten its query.
fn nothing_to_run(text: &JobText, job: &Job) -> ExitCode {
    if !job.explanations.is_empty() {
        return ExitCode::SUCCESS;
    }
    let message = format!("{} holds no query; add a SELECT or an INSERT INTO", text.name);
    fail(EXIT_USAGE, &message)
}

fn finish(text: &JobText, result: Result<RunReport, RunError>, summary: bool) -> ExitCode {
    match result {
        Ok(report) => {
            if summary {
                tell(report.render().trim_end());
            }
            // A pipe that was closed is an end like any other, and so is a stop that lost nothing.
            match report.stopped_by {
                Some(signal) if !report.last_epoch_committed => ExitCode::from(signals::exit_code(signal)),
                _ => ExitCode::SUCCESS,
            }
        }
        Err(RunError::Sql(error)) => {
            tell(&text.render(&error));
            ExitCode::from(EXIT_USAGE)
        }
        Err(RunError::Path(error)) => {
            tell(&text.render(&error));
            ExitCode::from(EXIT_FAILED)
        }
        Err(RunError::Usage(message)) => fail(EXIT_USAGE, &message),
        Err(RunError::Start(message)) => fail(EXIT_FAILED, &message),
        Err(RunError::Failed { message, report }) => {
            let code = fail(EXIT_FAILED, &message);
            if summary {
                tell(report.render().trim_end());
            }
            code
        }
    }
}

/// An interval between histograms.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_interval(text)?;
    if duration < HISTOGRAM_INTERVAL_MIN {
        return Err(format!("at least {} ms", HISTOGRAM_INTERVAL_MIN.as_millis()));
    }
    Ok(duration)
}

/// `512MiB`, `4GiB`: enough for what every shard needs anyway.
fn parse_memory(text: &str) -> Result<u64, String> {
    match parse_bytes(text) {
        Some(bytes) if bytes >= MEMORY_BYTES_MIN => Ok(bytes),
        Some(_) => Err(format!("at least {} MiB", MEMORY_BYTES_MIN >> 20)),
        None => Err("write a size such as 512MiB or 4GiB".to_owned()),
    }
}

/// `10s`, `500ms`, `2m`, `1h`; not nothing.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u32 = text[..digits]
        .parse()
        .map_err(|_| "write a duration such as 10s".to_owned())?;
    let unit = match text[digits..].trim() {
        "ms" => Duration::from_millis(1),
        "s" | "" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        other => return Err(format!("there is no unit '{other}'; use ms, s, m or h")),
    };
    let duration = unit * number;
    match duration.is_zero() {
        true => Err("write a duration above zero".to_owned()),
        false => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("500 ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_secs(7)));
        for wrong in ["", "s", "10 parsecs", "0s", "-1s", "99 ms"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
