//! `velocore validate`: whether a job can run, by exit code.

use std::process::ExitCode;

use clap::Args;

use super::{EXIT_USAGE, JobArguments, print};
use crate::connectors::ConnectorContext;
use crate::job;
use crate::run_job::blames_a_path;
use crate::terminal::tell;

#[derive(Debug, Args)]
pub(super) struct ValidateArguments {
    #[command(flatten)]
    job: JobArguments,
}

pub(super) fn run(arguments: &ValidateArguments) -> ExitCode {
    let (text, job) = match arguments.job.compile(None) {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    // Connector options are part of what can be wrong; nothing is started by this.
    match ConnectorContext::prepare_with(&job.plan, 1, Default::default()) {
        Ok(_) => {}
        // The text may be right on another machine, where the file is.
        Err(error) if blames_a_path(&job.plan, &error) => tell(&format!("note: {error}")),
        Err(error) => {
            tell(&text.render(&error));
            return ExitCode::from(EXIT_USAGE);
        }
    }
    let queries = job::queries(&job);
    print(&format!(
        "{}: valid, {} {}\n",
        text.name,
        queries,
        if queries == 1 { "query" } else { "queries" }
    ))
}
