//! `velocore hist`: percentiles of histogram logs, as a table and as a plot.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{EXIT_FAILED, EXIT_USAGE, fail, print};
use crate::histograms::{HistogramSet, plot, read, table};
use crate::terminal::tell;

#[derive(Debug, Args)]
pub(super) struct HistArguments {
    /// Histogram logs, merged by tag
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Also plot latency over percentile into this SVG file
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
    /// Show only tags that contain this text
    #[arg(long, value_name = "TEXT")]
    tag: Option<String>,
}

pub(super) fn run(arguments: &HistArguments) -> ExitCode {
    let mut set = HistogramSet::new();
    for file in &arguments.files {
        if let Err(error) = read::read_into(&mut set, file) {
            return fail(EXIT_FAILED, &error.to_string());
        }
    }
    if let Some(text) = &arguments.tag {
        let tags = set.keys().cloned().collect::<Vec<_>>().join(", ");
        set.retain(|tag, _| tag.contains(text));
        if set.is_empty() {
            return fail(
                EXIT_USAGE,
                &format!("no tag contains '{text}'; there are: {tags}"),
            );
        }
    }
    if let Some(path) = &arguments.svg {
        let title = format!("Latency by percentile: {}", file_names(&arguments.files));
        if let Err(error) = plot::draw(&set, &title, path) {
            return fail(EXIT_FAILED, &error.to_string());
        }
        tell(&format!("wrote {}", path.display()));
    }
    print(&table::render(&set))
}

fn file_names(files: &[PathBuf]) -> String {
    let first = files
        .first()
        .and_then(|file| file.file_name())
        .unwrap_or_default();
    let first = first.to_string_lossy();
    match files.len() {
        1 => first.into_owned(),
        more => format!("{first} and {} more", more - 1),
    }
}
