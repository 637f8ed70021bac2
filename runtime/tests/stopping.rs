//! How a job is stopped, as its user meets it: signals, checkpoints, and a reader that has gone to sleep.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more rows than a pipe and the queue before it hold.
const ENDLESS: &str = "CREATE TABLE bid (auction BIGINT, price BIGINT) \
                       WITH ('connector' = 'nexmark', 'nexmark.table' = 'bid', 'events' = '2000000000'); \
                       SELECT auction, price FROM bid;";

/// An own folder below the target directory, emptied.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn start(folder: &Path, shards: &str, sql: &str, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_velocore"))
        .current_dir(folder)
        .args(["run", "--shards", shards, "-e", sql])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

/// Waits for the first line, so that the job is known to run; the pipe fills up behind it.
fn first_line(child: &mut Child) -> BufReader<std::process::ChildStdout> {
    let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with('{'), "{line}");
    reader
}

fn errors_of(child: &mut Child) -> String {
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    errors
}

#[test]
fn one_signal_ends_a_job_whose_reader_has_gone_to_sleep() {
    let folder = folder("stuck_reader");
    let mut child = start(&folder, "2", ENDLESS, &[]);
    let reader = first_line(&mut child);
    signal(&child, "INT");
    // The pipe stays open and nobody reads.
    let errors = errors_of(&mut child);
    assert_eq!(child.wait().unwrap().code(), Some(130), "{errors}");
    assert!(
        errors.contains("standard output took nothing for 5 s"),
        "{errors}"
    );
    drop(reader);
}

#[test]
fn a_second_signal_ends_the_job_at_once() {
    let folder = folder("second_signal");
    let mut child = start(&folder, "2", ENDLESS, &[]);
    let reader = first_line(&mut child);
    signal(&child, "TERM");
    let status = loop {
        // Those that come right behind the first one count as the same.
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        signal(&child, "TERM");
    };
    assert_eq!(status.code(), Some(143));
    let errors = errors_of(&mut child);
    assert_eq!(errors, "", "it did not wait for its reader");
    drop(reader);
}

/// Numbered rows into files; the job ends only when it is told to.
fn endless_rows() -> String {
    "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'fields.id.kind' = 'sequence', \
         'fields.id.start' = '0', 'fields.id.end' = '100000000', 'rows-per-second' = '20000'); \
         CREATE TABLE copy (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'copy', 'format' = 'json'); \
         INSERT INTO copy SELECT id FROM n;"
        .to_owned()
}

/// Ids in the visible files of `table`, each once.
fn ids(table: &Path) -> BTreeSet<u64> {
    let mut ids = BTreeSet::new();
    let parts = fs::read_dir(table).unwrap().map(|entry| entry.unwrap());
    for part in parts.filter(|part| !part.file_name().to_string_lossy().starts_with('.')) {
        for line in fs::read_to_string(part.path()).unwrap().lines() {
            let digits = line.trim_matches(|letter: char| !letter.is_ascii_digit());
            assert!(ids.insert(digits.parse().unwrap()), "{line} is there twice");
        }
    }
    ids
}

/// How many visible files there are.
fn visible(table: &Path) -> usize {
    let parts = fs::read_dir(table).into_iter().flatten().flatten();
    parts
        .filter(|part| !part.file_name().to_string_lossy().starts_with('.'))
        .count()
}

#[test]
fn with_checkpoints_a_signal_is_a_last_epoch_and_success() {
    let folder = folder("last_epoch");
    let options = ["--checkpoint-dir", "state", "--checkpoint-interval", "50ms"];
    let copy = folder.join("copy");
    let (mut before, mut parts) = (BTreeSet::new(), 0);
    for name in ["INT", "TERM"] {
        let mut child = start(&folder, "1", &endless_rows(), &options);
        // Once an epoch has been committed the job listens to signals.
        while visible(&copy) == parts {
            assert_eq!(child.try_wait().unwrap(), None, "it runs until it is stopped");
            std::thread::yield_now();
        }
        signal(&child, name);
        let errors = errors_of(&mut child);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{errors}");
        let after = ids(&copy);
        assert!(after.is_superset(&before) && after.len() > before.len());
        let rows_without_gap: BTreeSet<u64> = (0..after.len() as u64).collect();
        assert!(after == rows_without_gap, "nothing that was read is missing");
        (before, parts) = (after, visible(&copy));
        let all = fs::read_dir(&copy).unwrap().count();
        assert_eq!(all, parts, "everything that was written is shown");
    }
}

/// Whether a checkpoint with rows in it has been made.
fn has_checkpoint(state: &Path) -> bool {
    let mut epochs = fs::read_dir(state).into_iter().flatten().flatten();
    // The first may have been made before the first row.
    epochs.any(|epoch| epoch.file_name() > *"epoch-0000000002" && epoch.path().join("manifest").exists())
}

#[test]
fn rows_before_a_checkpoint_have_left_the_process() {
    let folder = folder("at_least_once");
    // Rows are long, so that pipe and queue hold a small part of them.
    const ROWS: usize = 150_000;
    let padding = "x".repeat(100);
    let sql = format!(
        "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'fields.id.kind' = 'sequence', \
         'fields.id.start' = '1', 'fields.id.end' = '{ROWS}'); SELECT id, '{padding}' AS x FROM n;"
    );
    let options = [
        "--checkpoint-dir",
        "state",
        "--checkpoint-interval",
        "1ms",
        "--batch-rows",
        "256",
    ];
    let mut child = start(&folder, "2", &sql, &options);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    // The job is ahead of its reader by all that pipe and queue hold, and takes checkpoints all the time.
    while !has_checkpoint(&folder.join("state")) {
        assert!(
            output.read_line(&mut text).unwrap() > 0,
            "it ended without a checkpoint"
        );
    }
    // Now the reader stops for as long as many checkpoints take: none may count whose rows it has not got.
    let stalled = Instant::now();
    while stalled.elapsed() < Duration::from_millis(300) {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut text).unwrap();
    let again = start(&folder, "2", &sql, &options).wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(0), "{errors}");
    let lines_again = again.stdout.iter().filter(|&&byte| byte == b'\n').count();
    assert!(lines_again < ROWS, "it goes on from a checkpoint");
    // The line that the kill cut short has no end of its own.
    text += "\n";
    text += &String::from_utf8(again.stdout).unwrap();
    let found: BTreeSet<usize> = text
        .lines()
        .filter(|line| line.ends_with('}'))
        .filter_map(|line| line.strip_prefix("{\"id\":")?.split(',').next()?.parse().ok())
        .collect();
    assert_eq!(found.len(), ROWS, "no row is lost");
}
