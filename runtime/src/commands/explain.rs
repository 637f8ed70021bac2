//! `velocore explain`: the plan of a job, before anything starts.

use std::process::ExitCode;

use clap::Args;

use super::{JobArguments, print};
use crate::job;

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    job: JobArguments,
}

pub(super) fn run(arguments: &ExplainArguments) -> ExitCode {
    match arguments.job.compile() {
        Ok((_, job)) => print(&job::explain(&job)),
        Err(code) => code,
    }
}
