//! The binary as its user meets it: pipes, signals, wrong input, exit codes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const BIDS: &str = "CREATE TABLE bid (auction BIGINT, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) \
                    WITH ('connector' = 'filesystem', 'path' = 'bids.ndjson', 'format' = 'json');";

/// An own folder below the target directory, emptied.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn velocore(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velocore"));
    command
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(folder: &Path, sql: &str) -> Output {
    velocore(folder, &["run", "--shards", "2", "-e", sql])
        .output()
        .unwrap()
}

/// Runs `sql` and expects it to fail with `code` and a message that holds all `parts`.
fn check_failure(folder: &Path, sql: &str, code: i32, parts: &[&str]) -> Output {
    let output = run(folder, sql);
    let errors = String::from_utf8_lossy(&output.stderr).to_string();
    assert_eq!(output.status.code(), Some(code), "{sql}\n{errors}");
    for part in parts {
        assert!(errors.contains(part), "`{part}` is missing in:\n{errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
    output
}

fn bids(folder: &Path, lines: &[&str]) {
    fs::write(folder.join("bids.ndjson"), lines.join("\n") + "\n").unwrap();
}

#[test]
fn a_query_is_a_filter_in_a_pipe() {
    let folder = folder("pipe");
    let sql = "CREATE TABLE bid (auction BIGINT, price BIGINT) WITH ('connector' = 'stdin', 'format' = 'json'); \
               SELECT auction FROM bid WHERE price > 10;";
    let mut child = velocore(&folder, &["run", "--shards", "2", "-e", sql])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for price in 0..100 {
        writeln!(input, "{{\"auction\": {price}, \"price\": {price}}}").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut found: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_string)
        .collect();
    found.sort();
    let mut expected: Vec<String> = (11..100)
        .map(|auction| format!("{{\"auction\":{auction}}}"))
        .collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_reader_that_closes_the_pipe_early_ends_the_job_quietly() {
    let folder = folder("closed_pipe");
    let sql = "CREATE TABLE bid (auction BIGINT, price BIGINT) \
               WITH ('connector' = 'nexmark', 'nexmark.table' = 'bid', 'events' = '20000000'); \
               SELECT auction, price FROM bid;";
    let mut child = velocore(&folder, &["run", "--shards", "2", "-e", sql])
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    assert!(first.starts_with("{\"auction\":"), "{first}");
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert_eq!(errors, "");
}

/// Starts a windowed query over a followed file and waits for its first result.
fn start_followed(folder: &Path) -> (Child, BufReader<std::process::ChildStdout>, String) {
    let sql = "CREATE TABLE bid (auction BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = \
               'filesystem', 'path' = 'bids.ndjson', 'format' = 'json', 'source.monitor-interval' = '20 ms'); \
               SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
               GROUP BY window_start, window_end;";
    let mut child = velocore(folder, &["run", "--shards", "1", "-e", sql])
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    (child, reader, first)
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn an_interrupt_in_the_middle_of_a_followed_file_leaves_whole_lines_of_complete_windows() {
    let folder = folder("interrupt");
    bids(
        &folder,
        &[
            r#"{"auction": 1, "ts": "2024-01-01 00:00:01.000"}"#,
            r#"{"auction": 2, "ts": "2024-01-01 00:00:09.000"}"#,
            r#"{"auction": 3, "ts": "2024-01-01 00:00:12.000"}"#,
            r#"{"auction": 4, "ts": "2024-01-01 00:00:23.000"}"#,
        ],
    );
    let (mut child, mut reader, first) = start_followed(&folder);
    signal(&child, "INT");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let expected = "{\"window_start\":\"2024-01-01 00:00:00.000\",\"n\":2}\n\
                    {\"window_start\":\"2024-01-01 00:00:10.000\",\"n\":1}\n";
    assert_eq!(
        first + &rest,
        expected,
        "the window from 00:00:20 is not complete"
    );
}

#[test]
fn a_followed_file_yields_rows_that_are_appended() {
    let folder = folder("followed");
    bids(
        &folder,
        &[
            r#"{"auction": 1, "ts": "2024-01-01 00:00:01.000"}"#,
            r#"{"auction": 2, "ts": "2024-01-01 00:00:11.000"}"#,
        ],
    );
    let (mut child, mut reader, first) = start_followed(&folder);
    assert!(first.contains("00:00:00.000"), "{first}");
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(folder.join("bids.ndjson"))
        .unwrap();
    // A line that arrives in two parts is one line.
    file.write_all(br#"{"auction": 3, "ts": "2024-01-01 00:"#)
        .unwrap();
    file.flush().unwrap();
    file.write_all(b"00:25.000\"}\n").unwrap();
    let mut second = String::new();
    reader.read_line(&mut second).unwrap();
    assert!(second.contains("00:00:10.000"), "{second}");
    signal(&child, "TERM");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn windows_over_a_pipe_come_out_while_it_is_open_on_any_number_of_shards() {
    let folder = folder("open_pipe");
    let sql = "CREATE TABLE bid (auction BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) \
               WITH ('connector' = 'stdin', 'format' = 'json'); \
               SELECT window_start, auction, COUNT(*) AS n \
               FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
               GROUP BY window_start, window_end, auction;";
    for shards in ["1", "2", "5"] {
        let mut child = velocore(&folder, &["run", "--shards", shards, "-e", sql])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut results = BufReader::new(child.stdout.take().unwrap()).lines();
        for start in [10, 20, 30] {
            for auction in 0..20 {
                writeln!(
                    input,
                    r#"{{"auction": {auction}, "ts": "2024-01-01 00:00:{start}.000"}}"#
                )
                .unwrap();
            }
            input.flush().unwrap();
            // The window before is complete; this one is not.
            let complete = if start == 10 { 0 } else { 20 };
            let mut found: Vec<String> = results.by_ref().take(complete).map(Result::unwrap).collect();
            found.sort();
            let before = start - 10;
            let mut expected: Vec<String> = (0..complete)
                .map(|auction| {
                    let start = format!("2024-01-01 00:00:{before}.000");
                    format!(r#"{{"window_start":"{start}","auction":{auction},"n":1}}"#)
                })
                .collect();
            expected.sort();
            assert_eq!(found, expected, "{shards} shards");
        }
        drop(input);
        assert_eq!(results.count(), 20, "{shards} shards");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_missing_file_is_named() {
    check_failure(
        &folder("missing"),
        &format!("{BIDS} SELECT auction FROM bid;"),
        1,
        &["bids.ndjson"],
    );
}

#[test]
fn an_empty_file_has_no_rows() {
    let folder = folder("empty");
    fs::write(folder.join("bids.ndjson"), "").unwrap();
    let output = run(&folder, &format!("{BIDS} SELECT auction FROM bid;"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_value_of_the_wrong_type_stops_the_job_after_what_was_complete() {
    let folder = folder("wrong_type");
    bids(
        &folder,
        &[
            r#"{"auction": 1, "price": 5, "ts": "2024-01-01 00:00:01.000"}"#,
            r#"{"auction": "x", "price": 5, "ts": "2024-01-01 00:00:02.000"}"#,
            r#"{"auction": 3, "price": 5, "ts": "2024-01-01 00:00:03.000"}"#,
        ],
    );
    let output = check_failure(
        &folder,
        &format!("{BIDS} SELECT auction FROM bid;"),
        1,
        &["bids.ndjson", "line 2", "auction"],
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"auction\":1}\n");
}

#[test]
fn malformed_records_may_be_skipped_or_set_aside() {
    let folder = folder("skipped");
    bids(&folder, &[r#"{"auction": 1}"#, "not json", r#"{"auction": 3}"#]);
    let skipping = "CREATE TABLE bid (auction BIGINT) WITH ('connector' = 'filesystem', 'path' = 'bids.ndjson', \
                    'format' = 'json', 'json.dead-letter-file' = 'dead.ndjson'); SELECT auction FROM bid;";
    let output = run(&folder, skipping);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "{\"auction\":1}\n{\"auction\":3}\n"
    );
    assert!(
        fs::read_to_string(folder.join("dead.ndjson"))
            .unwrap()
            .contains("not json")
    );
}

#[test]
fn bytes_that_are_not_utf8_are_told_with_their_line() {
    let folder = folder("utf8");
    fs::write(
        folder.join("bids.ndjson"),
        b"{\"name\": \"a\"}\n{\"name\": \"\xff\xfe\"}\n",
    )
    .unwrap();
    let sql = "CREATE TABLE bid (name STRING) WITH ('connector' = 'filesystem', 'path' = 'bids.ndjson', 'format' = 'json'); \
               SELECT name FROM bid;";
    check_failure(&folder, sql, 1, &["bids.ndjson", "line 2", "UTF-8"]);
}

#[test]
fn a_line_of_100_megabytes_is_refused_in_bounded_memory() {
    let folder = folder("long_line");
    let mut file = fs::File::create(folder.join("bids.ndjson")).unwrap();
    file.write_all(b"{\"auction\": 1, \"extra\": \"").unwrap();
    for _ in 0..100 {
        file.write_all(&vec![b'x'; 1 << 20]).unwrap();
    }
    file.write_all(b"\"}\n").unwrap();
    drop(file);
    check_failure(
        &folder,
        &format!("{BIDS} SELECT auction FROM bid;"),
        1,
        &["bids.ndjson", "byte 0", "longer than 16 MiB"],
    );
}

#[test]
fn a_truncated_parquet_file_is_named() {
    let folder = folder("truncated");
    fs::write(
        folder.join("bids.parquet"),
        b"PAR1 this is where the file was cut",
    )
    .unwrap();
    let sql = "CREATE TABLE bid (auction BIGINT) WITH ('connector' = 'filesystem', 'path' = 'bids.parquet', \
               'format' = 'parquet'); SELECT auction FROM bid;";
    check_failure(&folder, sql, 1, &["bids.parquet"]);
}

#[test]
fn mistakes_in_sql_are_pointed_at() {
    let folder = folder("mistakes");
    bids(&folder, &[r#"{"auction": 1}"#]);
    let check = |sql: &str, parts: &[&str]| {
        check_failure(&folder, sql, 2, parts);
    };
    check(
        &format!("{BIDS}\nSELECT auctoin FROM bid;"),
        &["auctoin", ":2:8", "auction"],
    );
    check(
        &format!("{BIDS}\nSELECT auction FROM bids;"),
        &["bids", ":2:21", "bid"],
    );
    check(&format!("{BIDS}\n{BIDS}"), &["bid", ":2:14"]);
    check(
        "CREATE TABLE t (a BIGINT) WITH ('connector' = 'filesystem', 'pfad' = 'x');",
        &["pfad", ":1:61", "path"],
    );
    check(
        "CREATE TABLE t (a BIGINT, WATERMARK FOR a AS a) WITH ('connector' = 'stdin');",
        &["`a`", ":1:41"],
    );
    check(
        "CREATE TABLE t (a BIGNT) WITH ('connector' = 'stdin');",
        &["BIGNT", "BIGINT", ":1:19"],
    );
    check(
        &format!("{BIDS}\nSELECT auction FROM bid TABLESAMPLE BERNOULLI (10);"),
        &["TABLESAMPLE", ":2:"],
    );
    check("UPDATE bid SET auction = 1;", &["UPDATE", ":1:1"]);
}

#[test]
fn more_cores_than_allowed_are_refused() {
    let folder = folder("cores");
    let output = velocore(&folder, &["run", "--cores", "0-4095", "-e", "SELECT 1;"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("allowed"), "{errors}");
}

#[test]
fn a_small_limit_of_locked_memory_is_told_with_its_remedy() {
    let folder = folder("locked_memory");
    bids(&folder, &[r#"{"auction": 1}"#]);
    let binary = env!("CARGO_BIN_EXE_velocore");
    let command = format!("ulimit -l 64 && exec {binary} run -e \"$0\"");
    let sql = format!("{BIDS} SELECT auction FROM bid;");
    let output = Command::new("bash")
        .current_dir(&folder)
        .args(["-c", &command, &sql])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("ulimit -l"), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"auction\":1}\n");
}

#[test]
fn a_job_that_keeps_more_than_its_memory_stops_and_names_who_keeps_it() {
    let folder = folder("memory");
    let sql = "CREATE TABLE numbers (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '300000', \
               'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '299999'); \
               CREATE TABLE counts WITH ('connector' = 'blackhole') AS SELECT id, COUNT(*) AS n FROM numbers GROUP BY id;";
    let run = |memory: &str| {
        velocore(&folder, &["run", "--shards", "2", "--memory", memory, "-e", sql])
            .output()
            .unwrap()
    };
    let output = run("4MiB");
    let errors = String::from_utf8_lossy(&output.stderr).to_string();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for part in [
        "over the memory budget: the operators of shard",
        "may keep 2.0 MiB and keep",
        "aggregate per id`",
        "(--memory)",
    ] {
        assert!(errors.contains(part), "`{part}` is missing in:\n{errors}");
    }
    assert!(run("1 GiB").status.success());
    let output = run("many");
    assert_eq!(output.status.code(), Some(2));
}
