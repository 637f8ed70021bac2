//! Golden files: each folder of tests/golden holds `query.sql`, its input files and `expected.ndjson`.
//!
//! Every query runs at several shard counts, with and without two-phase aggregation and io_uring;
//! its folded output must be the expected multiset each time. The folders are also tests of `velocore
//! test` (docs/testing.md); `velocore test tests/golden --update` writes the expected files anew: read
//! the difference before committing. Folders without `expected.ndjson` need input that only `velocore test` can
//! give (a watermark that is written down) or write to tables, and are run by it alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs the folder's query and folds what it prints.
fn run(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_velocore"))
        .current_dir(folder)
        .arg("run")
        .arg("query.sql")
        .args(arguments)
        .output()
        .expect("velocore starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} {arguments:?} failed:\n{errors}",
        folder.display()
    );
    fold(&String::from_utf8(output.stdout).expect("output is UTF-8"))
}

/// The multiset of rows that a changelog leaves, sorted.
fn fold(text: &str) -> Vec<String> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for line in text.lines() {
        let (weight, row) = match line.strip_prefix("{\"op\":\"") {
            None => (1, line.to_string()),
            Some(rest) => {
                let weight = if rest.starts_with('+') { 1 } else { -1 };
                (weight, format!("{{{}", rest[2..].trim_start_matches("\",")))
            }
        };
        *counts.entry(row).or_default() += weight;
    }
    let mut rows = Vec::new();
    for (row, count) in counts {
        assert!(count >= 0, "{row} was taken back more often than given");
        rows.extend((0..count).map(|_| row.clone()));
    }
    rows
}

fn folders() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut folders: Vec<PathBuf> = fs::read_dir(golden)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "there are golden folders");
    folders
}

/// Checks every folder under these arguments.
fn check(arguments: &[&str]) {
    for folder in folders() {
        let expected_file = folder.join("expected.ndjson");
        if !expected_file.exists() {
            continue;
        }
        let found = run(&folder, arguments);
        let expected = fs::read_to_string(&expected_file).unwrap();
        let expected: Vec<&str> = expected.lines().collect();
        assert_eq!(found, expected, "{} with {arguments:?}", folder.display());
    }
}

#[test]
fn golden_folders_pass_as_tests_of_the_command_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_velocore"))
        .args(["test", "tests/golden", "--shards", "1,2,7"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .expect("velocore starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(
        told.ends_with(&format!("{} passed, 0 failed\n", folders().len())),
        "{told}"
    );
}

#[test]
fn golden_files_hold_on_one_shard() {
    check(&["--shards", "1"]);
}

#[test]
fn golden_files_hold_on_two_shards() {
    check(&["--shards", "2"]);
}

#[test]
fn golden_files_hold_on_seven_shards_without_io_uring() {
    check(&["--shards", "7", "--fallback"]);
}

#[test]
fn golden_files_hold_in_one_phase_on_three_shards() {
    check(&[
        "--shards",
        "3",
        "--set",
        "table.optimizer.agg-phase-strategy=ONE_PHASE",
    ]);
}
