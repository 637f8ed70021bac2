//! `velocore validate`: whether a job can run, by exit code.

use std::process::ExitCode;

use clap::Args;

use super::{EXIT_USAGE, JobArguments, print};
use crate::connectors::ConnectorContext;
use crate::terminal::tell;

#[derive(Debug, Args)]
pub(super) struct ValidateArguments {
    #[command(flatten)]
    job: JobArguments,
}

pub(super) fn run(arguments: &ValidateArguments) -> ExitCode {
    let (text, job) = match arguments.job.compile() {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    // Connector options and paths are part of what can be wrong; nothing is started by this.
    if let Err(error) = ConnectorContext::prepare_with(&job.plan, 1, Default::default()) {
        tell(&text.render(&error));
        return ExitCode::from(EXIT_USAGE);
    }
    print(&format!(
        "{}: valid, {} {}\n",
        text.name,
        job.queries(),
        if job.queries() == 1 { "query" } else { "queries" }
    ))
}
