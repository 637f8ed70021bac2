//! The command line: one file per subcommand; here the dispatch, exit codes and standard output.
//!
//! Exit codes: 0 the job ended, or its reader closed the pipe; 1 the job failed while it ran;
//! 2 the command line, the SQL text or a connector option is wrong; 130 and 143 a stop by SIGINT and
//! SIGTERM, but 0 where a last checkpoint holds everything that was done.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use engine::sql::statement::SetOption;
use tracing_subscriber::EnvFilter;

use crate::job::{self, Job, JobText};
use crate::terminal::{self, tell};

mod bench;
mod explain;
mod export;
mod hist;
mod limits;
mod run;
mod test;
mod validate;

/// The job failed while it ran.
pub const EXIT_FAILED: u8 = 1;
/// The command line or the SQL text is wrong.
pub const EXIT_USAGE: u8 = 2;

/// Continuous SQL over event streams in one pinned process.
#[derive(Debug, Parser)]
#[command(name = "velocore", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a job until its input ends or it is stopped
    Run(Box<run::RunArguments>),
    /// Print the plan of a job; nothing is read or started
    Explain(explain::ExplainArguments),
    /// Check a job: exit code 0 when it can run, 2 with an error when not
    Validate(validate::ValidateArguments),
    /// Print a job file in Flink SQL's own words
    Export(export::ExportArguments),
    /// Run jobs over the rows of test files and compare their results with expected ones
    Test(test::TestArguments),
    /// Print percentiles of histogram logs (.hlog), and plot them
    Hist(hist::HistArguments),
    /// Print every internal limit: its value, and what happens when it is reached
    Limits,
    /// Measure this machine
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

/// Where the SQL text comes from.
#[derive(Debug, Args)]
struct JobArguments {
    /// The job file; - reads it from standard input
    #[arg(
        value_name = "FILE",
        required_unless_present = "execute",
        conflicts_with = "execute"
    )]
    file: Option<PathBuf>,
    /// The SQL text itself, instead of a file
    #[arg(short, long, value_name = "SQL", allow_hyphen_values = true)]
    execute: Option<String>,
    /// A setting, as SET 'KEY' = 'VALUE' at the end of the job would give it
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = job::parse_override)]
    settings: Vec<SetOption>,
}

impl JobArguments {
    /// The job, compiled for `shards` or for any number, and its text; an error has been told and is an exit code.
    fn compile(&self, shards: Option<usize>) -> Result<(JobText, Job), ExitCode> {
        let text = match (&self.execute, &self.file) {
            (Some(sql), _) => Ok(JobText::from_argument(sql)),
            (None, Some(path)) => JobText::read(path),
            (None, None) => Err("name a job file or give --execute".to_owned()),
        };
        let text = text.map_err(|message| fail(EXIT_USAGE, &message))?;
        match text.compile(&self.settings, shards) {
            Ok(job) => Ok((text, job)),
            Err(error) => {
                tell(&text.render(&error));
                Err(ExitCode::from(EXIT_USAGE))
            }
        }
    }
}

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    start_tracing();
    match command_line.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Hist(arguments) => hist::run(&arguments),
        Command::Limits => limits::run(),
        Command::Bench(command) => bench::run(&command),
    }
}

/// Diagnostics on standard error: `VELOCORE_LOG`, else `RUST_LOG`, else warnings.
fn start_tracing() {
    let filter = ["VELOCORE_LOG", "RUST_LOG"]
        .iter()
        .find_map(|name| EnvFilter::try_from_env(name).ok())
        .unwrap_or_else(|| EnvFilter::new("warn"));
    // A program that embeds the command line may have its own subscriber already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}

/// Tells an error and gives its exit code.
fn fail(code: u8, message: &str) -> ExitCode {
    tell(&format!("error: {message}"));
    ExitCode::from(code)
}

/// Text on standard output, and the exit code.
fn print(text: &str) -> ExitCode {
    match terminal::print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(EXIT_FAILED, &format!("cannot write to standard output: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_job_is_a_file_or_a_text_and_not_both() {
        assert!(CommandLine::try_parse_from(["velocore", "validate", "a.sql"]).is_ok());
        assert!(CommandLine::try_parse_from(["velocore", "validate", "-"]).is_ok());
        assert!(CommandLine::try_parse_from(["velocore", "validate", "-e", "SELECT 1"]).is_ok());
        assert!(CommandLine::try_parse_from(["velocore", "validate"]).is_err());
        assert!(CommandLine::try_parse_from(["velocore", "validate", "a.sql", "-e", "SELECT 1"]).is_err());
    }
}
