//! `velocore export --flink`: a job file in Flink SQL's own words.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use engine::sql::flink_export;

use super::{EXIT_USAGE, fail, print};
use crate::job::JobText;
use crate::terminal::tell;

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The job file; - reads it from standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For Apache Flink: the one dialect that there is so far
    #[arg(long, required = true)]
    flink: bool,
}

pub(super) fn run(arguments: &ExportArguments) -> ExitCode {
    assert!(arguments.flink, "invariant: the command line requires it");
    let text = match JobText::read(&arguments.file) {
        Ok(text) => text,
        Err(message) => return fail(EXIT_USAGE, &message),
    };
    match flink_export::export(&text.sql) {
        Ok(exported) => print(&exported),
        Err(error) => {
            tell(&text.render(&error));
            ExitCode::from(EXIT_USAGE)
        }
    }
}
