//! Checkpoints as the user meets them: a job that failed, or whose query changed, started again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const ROWS: usize = 4_000;
const FILES: usize = 4;

/// An own folder below the target directory, emptied.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("input")).unwrap();
    folder
}

/// Rows in several files that cover the same time; row `damaged` is no JSON, but as long as it was.
fn write_input(folder: &Path, damaged: Option<usize>) {
    write_rows(folder, damaged, |number| number);
}

/// The same, each row at the second that `second_of` its number says.
fn write_rows(folder: &Path, damaged: Option<usize>, second_of: impl Fn(usize) -> usize) {
    let mut files = vec![String::new(); FILES];
    for number in 0..ROWS {
        let mut row = format!(
            "{{\"id\":{number},\"k\":{},\"ts\":\"2026-01-01 {:02}:{:02}:{:02}\"}}",
            number % 7,
            second_of(number) / 3_600,
            second_of(number) / 60 % 60,
            second_of(number) % 60
        );
        if damaged == Some(number) {
            row = "#".repeat(row.len());
        }
        files[number % FILES] += &(row + "\n");
    }
    for (number, text) in files.iter().enumerate() {
        fs::write(folder.join(format!("input/{number}.ndjson")), text).unwrap();
    }
}

fn job(size: &str) -> String {
    format!(
        "CREATE TABLE event (id BIGINT, k BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) \
         WITH ('connector' = 'filesystem', 'path' = 'input', 'format' = 'json'); \
         CREATE TABLE total (k BIGINT, window_end TIMESTAMP(3), events BIGINT, ids BIGINT) \
         WITH ('connector' = 'filesystem', 'path' = 'total', 'format' = 'json'); \
         CREATE TABLE copy (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'copy', 'format' = 'json'); \
         EXECUTE STATEMENT SET BEGIN \
         INSERT INTO total SELECT k, window_end, COUNT(*), SUM(id) \
         FROM TABLE(TUMBLE(TABLE event, DESCRIPTOR(ts), INTERVAL {size})) GROUP BY k, window_start, window_end; \
         INSERT INTO copy SELECT id FROM event WHERE k < 3; END;"
    )
}

fn run(folder: &Path, sql: &str, shards: usize, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_velocore"))
        .current_dir(folder)
        .args(["run", "--shards", &shards.to_string(), "-e", sql])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn with_checkpoints(folder: &Path, sql: &str, shards: usize, more: &[&str]) -> Output {
    let options = ["--checkpoint-dir", "state", "--checkpoint-interval", "1ms"];
    run(folder, sql, shards, &[&options, more].concat())
}

/// The lines of all visible parts, and how often each is there.
fn lines(folder: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for table in ["total", "copy"] {
        for entry in fs::read_dir(folder.join(table)).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with('.') {
                continue;
            }
            for line in fs::read_to_string(path).unwrap().lines() {
                *found.entry(format!("{table}: {line}")).or_default() += 1;
            }
        }
    }
    found
}

fn expected(name: &str) -> BTreeMap<String, usize> {
    let folder = folder(name);
    write_input(&folder, None);
    let output = run(&folder, &job("'1' MINUTE"), 1, &[]);
    check_code(&output, 0);
    lines(&folder)
}

fn check_code(output: &Output, code: i32) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).to_string();
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

#[test]
fn a_job_that_failed_goes_on_where_it_was_once_its_input_is_mended_on_any_number_of_shards() {
    let folder = folder("mended");
    let sql = job("'1' MINUTE");
    for (damaged, shards) in [(Some(1_000), 2), (Some(2_500), 3), (Some(3_996), 1)] {
        write_input(&folder, damaged);
        let errors = check_code(&with_checkpoints(&folder, &sql, shards, &[]), 1);
        assert!(errors.contains(".ndjson, line"), "{errors}");
    }
    write_input(&folder, None);
    check_code(&with_checkpoints(&folder, &sql, 2, &[]), 0);
    assert_eq!(lines(&folder), expected("mended-expected"));
}

#[test]
fn each_row_is_counted_in_its_window_or_late_but_once_however_often_the_job_fails() {
    let folder = folder("late");
    let sql = "CREATE TABLE event (id BIGINT, k BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) \
         WITH ('connector' = 'filesystem', 'path' = 'input', 'format' = 'json'); \
         CREATE TABLE total (events BIGINT, ids BIGINT) \
         WITH ('connector' = 'filesystem', 'path' = 'total', 'format' = 'json'); \
         CREATE TABLE copy (id BIGINT) WITH ('connector' = 'filesystem', 'path' = 'copy', 'format' = 'json'); \
         INSERT INTO total SELECT COUNT(*), SUM(id) \
         FROM TABLE(TUMBLE(TABLE event, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY k, window_start, window_end \
         LATE DATA TO copy (id);";
    // Every ninth row is ten minutes behind.
    let second_of = |number: usize| {
        if number % 9 == 5 {
            number.saturating_sub(600)
        } else {
            number
        }
    };
    for (damaged, shards) in [(Some(1_000), 2), (Some(2_500), 3), (Some(3_996), 1), (None, 2)] {
        write_rows(&folder, damaged, second_of);
        let code = i32::from(damaged.is_some());
        check_code(&with_checkpoints(&folder, sql, shards, &[]), code);
    }
    let number = |line: &str, name: &str| -> u64 {
        let behind = line.split(&format!("\"{name}\":")).nth(1).unwrap();
        let digits = behind.split(|letter: char| !letter.is_ascii_digit());
        digits.into_iter().next().unwrap().parse().unwrap()
    };
    let (mut counted, mut summed, mut late) = (0, 0, Vec::new());
    for (line, times) in lines(&folder) {
        if line.starts_with("total: ") {
            counted += number(&line, "events") * times as u64;
            summed += number(&line, "ids") * times as u64;
        } else {
            assert_eq!(times, 1, "{line}");
            late.push(number(&line, "id"));
        }
    }
    assert!(!late.is_empty(), "rows ten minutes behind are late");
    assert!(
        late.iter().all(|id| id % 9 == 5),
        "no other row is late: {late:?}"
    );
    assert_eq!(counted + late.len() as u64, ROWS as u64);
    let all = (ROWS * (ROWS - 1) / 2) as u64;
    assert_eq!(summed + late.iter().sum::<u64>(), all);
}

#[test]
fn a_job_that_has_come_to_its_end_stays_there() {
    let folder = folder("ended");
    write_input(&folder, None);
    let sql = job("'1' MINUTE");
    for shards in [2, 1] {
        check_code(&with_checkpoints(&folder, &sql, shards, &[]), 0);
        assert_eq!(lines(&folder), expected(&format!("ended-expected-{shards}")));
    }
}

#[test]
fn a_query_whose_state_means_something_else_is_refused_by_name_unless_its_loss_is_allowed() {
    let folder = folder("changed");
    write_input(&folder, Some(2_000));
    check_code(&with_checkpoints(&folder, &job("'1' MINUTE"), 2, &[]), 1);
    write_input(&folder, None);
    let changed = job("'2' MINUTE");
    let errors = check_code(&with_checkpoints(&folder, &changed, 2, &[]), 1);
    assert!(
        errors.contains("'total: window aggregation 1' changed"),
        "{errors}"
    );
    let allowed = ["--allow-state-loss", "total: window aggregation 1"];
    check_code(&with_checkpoints(&folder, &changed, 2, &allowed), 0);
}

#[test]
fn a_damaged_checkpoint_is_told_and_never_read() {
    let folder = folder("damaged");
    write_input(&folder, Some(2_000));
    check_code(&with_checkpoints(&folder, &job("'1' MINUTE"), 2, &[]), 1);
    for entry in fs::read_dir(folder.join("state")).unwrap() {
        let manifest = entry.unwrap().path().join("manifest");
        if manifest.exists() {
            fs::write(manifest, "{}").unwrap();
        }
    }
    let errors = check_code(&with_checkpoints(&folder, &job("'1' MINUTE"), 2, &[]), 1);
    assert!(errors.contains("no checkpoint in state is whole"), "{errors}");
}
