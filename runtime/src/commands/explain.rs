//! `velocore explain`: the plan of a job, before anything starts.

use std::process::ExitCode;

use clap::Args;

use super::{JobArguments, print};
use crate::job;

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    job: JobArguments,
    /// The plan for this number of shards; on one, nothing is exchanged [default: the plan for several]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
}

pub(super) fn run(arguments: &ExplainArguments) -> ExitCode {
    match arguments.job.compile(arguments.shards) {
        Ok((_, job)) => print(&job::explain(&job)),
        Err(code) => code,
    }
}
