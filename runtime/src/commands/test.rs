//! `velocore test`: runs the tests below a folder and tells what differs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{EXIT_FAILED, EXIT_USAGE, fail, print};
use crate::job_test::{self, TestOptions, Verdict};
use crate::terminal::tell;

#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// A test, or a folder with tests at any depth: each is a folder with a query.sql or a test.toml
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// Numbers of shards to run each test on, such as 1,3 [default: what the test says, else 1,3]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_shards)]
    shards: Option<Vec<usize>>,
    /// Only tests whose path contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write what is found into the expected files; read the difference before you keep it
    #[arg(long)]
    update: bool,
}

pub(super) fn run(arguments: &TestArguments) -> ExitCode {
    let tests = match tests(arguments) {
        Ok(tests) => tests,
        Err(message) => return fail(EXIT_USAGE, &message),
    };
    let options = TestOptions {
        shards: arguments.shards.clone(),
        update: arguments.update,
    };
    let (mut passed, mut failed) = (0, 0);
    for path in &tests {
        let outcome = job_test::run(path, &options);
        let line = match &outcome.verdict {
            Verdict::Passed => format!("ok      {}", path.display()),
            Verdict::Updated(files) => format!("updated {} ({} files)", path.display(), files.len()),
            Verdict::Failed(_) => format!("FAILED  {}", path.display()),
        };
        let mut text = format!("{line}\n");
        text.extend(outcome.notes.iter().map(|note| format!("        note: {note}\n")));
        match &outcome.verdict {
            Verdict::Failed(told) => {
                failed += 1;
                text.extend(told.lines().map(|line| format!("        {line}\n")));
            }
            _ => passed += 1,
        }
        print(&text);
    }
    print(&format!("{passed} passed, {failed} failed\n"));
    if failed > 0 && !arguments.update {
        tell("hint: if the results are right, --update writes them into the expected files");
    }
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_FAILED),
    }
}

/// The tests that were asked for.
fn tests(arguments: &TestArguments) -> Result<Vec<PathBuf>, String> {
    let mut tests = Vec::new();
    for folder in &arguments.folders {
        tests.extend(job_test::find(folder)?);
    }
    let is_wanted = |path: &Path| match &arguments.only {
        Some(text) => path.to_string_lossy().contains(text.as_str()),
        None => true,
    };
    let count = tests.len();
    tests.retain(|path| is_wanted(path));
    let folders: Vec<String> = arguments
        .folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    match (tests.is_empty(), count, &arguments.only) {
        (false, ..) => Ok(tests),
        (true, 0, _) | (true, _, None) => Err(format!(
            "no test in {}: a test is a folder with a query.sql or a test.toml",
            folders.join(", ")
        )),
        (true, count, Some(text)) => Err(format!("none of {count} tests has '{text}' in its path")),
    }
}

fn parse_shards(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err("write numbers of shards from 1, for example --shards 1,3".to_string()),
        Ok(shards) => Ok(shards),
    }
}
