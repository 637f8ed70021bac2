//! Tests as their users write them: folders of files, and what is told of them.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const TRADES: &str = "CREATE TABLE trades (ts TIMESTAMP(3), symbol STRING, quantity BIGINT, WATERMARK FOR ts AS ts) \
                      WITH ('connector' = 'stdin', 'format' = 'json');\n";
const PER_MINUTE: &str = "SELECT symbol, window_start, SUM(quantity) AS volume \
                          FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) \
                          GROUP BY symbol, window_start, window_end;";

/// A test folder that goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("velocore-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        Folder(path)
    }

    fn run(&self) -> Outcome {
        run(&self.0, &TestOptions::default())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a test of these files; passes if `told` is empty, else its failure must hold each text.
fn check(files: &[(&str, &str)], told: &[&str]) {
    let outcome = Folder::new(files).run();
    match outcome.verdict {
        Verdict::Failed(text) => {
            assert!(!told.is_empty(), "{text}");
            for part in told {
                assert!(text.contains(part), "`{part}` is missing in:\n{text}");
            }
        }
        other => assert!(told.is_empty(), "{other:?} instead of {told:?}"),
    }
}

#[test]
fn the_examples_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/tests");
    let tests = find(&root).unwrap();
    assert_eq!(tests.len(), 3);
    for test in tests {
        let outcome = run(&test, &TestOptions::default());
        assert_eq!(outcome.verdict, Verdict::Passed, "{}", test.display());
    }
}

#[test]
fn a_wrong_result_is_shown_beside_what_is_expected() {
    check(
        &[
            ("query.sql", &format!("{TRADES}{PER_MINUTE}")),
            (
                "input.trades.csv",
                "ts,symbol,quantity\n2024-05-01 10:00:00,ADA,3\n",
            ),
            (
                "expected.csv",
                "symbol,window_start,volume\nADA,2024-05-01 10:00:00,4\n",
            ),
        ],
        &["on 1 shard:\nexpected.csv\n", "volume: 4 expected, 3 found"],
    );
}

#[test]
fn a_watermark_that_is_written_down_closes_windows_and_makes_rows_late() {
    let input = "{\"ts\": \"2024-05-01 10:00:00\", \"symbol\": \"ADA\", \"quantity\": 3}\n\
                 {\"$watermark\": \"2024-05-01 10:01:00\"}\n\
                 {\"ts\": \"2024-05-01 10:00:59\", \"symbol\": \"ADA\", \"quantity\": 4}\n";
    let query = format!("{TRADES}{PER_MINUTE}");
    let expected = "{\"symbol\": \"ADA\", \"window_start\": \"2024-05-01 10:00:00\", \"volume\": 3}\n";
    let files = [
        ("query.sql", query.as_str()),
        ("input.trades.ndjson", input),
        ("expected.ndjson", expected),
        ("test.toml", "late-rows = 1"),
    ];
    check(&files, &[]);
    let mut wrong = files;
    wrong[3] = ("test.toml", "late-rows = 2");
    check(&wrong, &["late rows: 2 expected, 1 found"]);
}

#[test]
fn a_shard_whose_sources_are_idle_gives_its_share_of_a_window_that_others_close() {
    // With two shards `a` is read by the first and `b` by the second: when `a` is idle the first shard holds
    // rows of a window, and nothing of its own will ever close it.
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (ts TIMESTAMP(3), n BIGINT, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', \
             'path' = '{name}.ndjson', 'format' = 'json', 'scan.watermark.idle-timeout' = '1 s');\n"
        )
    };
    let query = format!(
        "{}{}CREATE TEMPORARY VIEW both_tables AS SELECT * FROM a UNION ALL SELECT * FROM b;\n\
         SELECT window_start, SUM(n) AS total FROM TABLE(TUMBLE(TABLE both_tables, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) \
         GROUP BY window_start, window_end;",
        table("a"),
        table("b")
    );
    let input = "{\"$table\": \"a\", \"ts\": \"2024-05-01 10:00:01\", \"n\": 1}\n\
                 {\"$table\": \"a\", \"ts\": \"2024-05-01 10:00:02\", \"n\": 2}\n\
                 {\"$table\": \"b\", \"ts\": \"2024-05-01 10:00:03\", \"n\": 4}\n\
                 {\"$advance\": \"2 s\"}\n\
                 {\"$table\": \"b\", \"ts\": \"2024-05-01 10:02:00\", \"n\": 8}\n\
                 {\"$table\": \"a\", \"ts\": \"2024-05-01 10:00:59\", \"n\": 16}\n";
    check(
        &[
            ("query.sql", &query),
            ("input.ndjson", input),
            (
                "expected.csv",
                "window_start,total\n2024-05-01 10:00:00,7\n2024-05-01 10:02:00,8\n",
            ),
            ("test.toml", "late-rows = 1\nshards = [1, 2, 3]"),
        ],
        &[],
    );
}

#[test]
fn sessions_hops_and_final_answers_can_be_expected() {
    let job = format!(
        "{TRADES}\
         CREATE TABLE sessions (symbol STRING, started TIMESTAMP(3), volume BIGINT) WITH ('connector' = 'blackhole');\n\
         CREATE TABLE hops (ended TIMESTAMP(3), volume BIGINT) WITH ('connector' = 'blackhole');\n\
         CREATE TABLE totals (symbol STRING, volume BIGINT) WITH ('connector' = 'blackhole');\n\
         INSERT INTO sessions SELECT symbol, window_start, SUM(quantity) FROM TABLE(SESSION(TABLE trades PARTITION BY \
         symbol, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY symbol, window_start, window_end;\n\
         INSERT INTO hops SELECT window_end, SUM(quantity) FROM TABLE(HOP(TABLE trades, DESCRIPTOR(ts), INTERVAL '30' \
         SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;\n\
         INSERT INTO totals SELECT symbol, SUM(quantity) FROM trades GROUP BY symbol EMIT FINAL;"
    );
    check(
        &[
            ("query.sql", &job),
            (
                "input.trades.csv",
                "ts,symbol,quantity\n2024-05-01 10:00:00,ADA,1\n2024-05-01 10:00:05,ADA,2\n2024-05-01 10:00:40,ADA,4\n",
            ),
            (
                "expected.sessions.csv",
                "symbol,started,volume\nADA,2024-05-01 10:00:00,3\nADA,2024-05-01 10:00:40,4\n",
            ),
            (
                "expected.hops.csv",
                "ended,volume\n2024-05-01 10:00:30,3\n2024-05-01 10:01:00,7\n2024-05-01 10:01:30,4\n",
            ),
            (
                "expected.totals.ndjson",
                "{\"op\": \"+I\", \"symbol\": \"ADA\", \"volume\": 7}\n",
            ),
        ],
        &[],
    );
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let query = format!("{TRADES}{PER_MINUTE}");
    let with_input = |input: &str, told: &[&str]| {
        check(
            &[
                ("query.sql", query.as_str()),
                ("input.trades.ndjson", input),
                ("expected.ndjson", ""),
            ],
            told,
        );
    };
    with_input(
        "{\"ts\": \"2024-05-01 10:00:00\", \"symbl\": \"ADA\"}",
        &[
            "input.trades.ndjson, line 1: table 'trades' has no column 'symbl'",
            "did you mean `symbol`?",
        ],
    );
    with_input(
        "\n{\"ts\": \"noon\", \"symbol\": \"ADA\"}",
        &["input.trades.ndjson, line 2: "],
    );
    with_input(
        "ADA",
        &["input.trades.ndjson, line 1: the line is not a JSON object"],
    );
    check(
        &[("query.sql", &query), ("expected.ndjson", "")],
        &[
            "table 'trades' reads from 'stdin', which a test cannot wait for",
            "input.trades.ndjson",
        ],
    );
    check(
        &[
            ("query.sql", &query),
            ("input.trade.csv", "ts\n"),
            ("expected.ndjson", ""),
        ],
        &["reads from 'stdin'"],
    );
    check(
        &[
            ("query.sql", &query),
            ("input.trades.csv", "ts,symbol,quantity\n"),
            ("expected.volume.csv", "a\n"),
        ],
        &[
            "expected.volume.csv: the job has no result 'volume'",
            "the bare SELECT",
        ],
    );
    check(
        &[
            ("query.sql", &query),
            ("input.trades.csv", "ts,symbol,quantity\n"),
        ],
        &["nothing is expected: write expected.ndjson"],
    );
    check(&[("query.sql", "SELEC 1;")], &["query.sql:1:1"]);
}

#[test]
fn update_writes_what_is_found() {
    let folder = Folder::new(&[
        ("query.sql", &format!("{TRADES}{PER_MINUTE}")),
        (
            "input.trades.csv",
            "ts,symbol,quantity\n2024-05-01 10:00:00,ADA,3\n",
        ),
    ]);
    let options = TestOptions {
        update: true,
        ..TestOptions::default()
    };
    let file = folder.0.join("expected.ndjson");
    assert_eq!(
        run(&folder.0, &options).verdict,
        Verdict::Updated(vec![file.clone()])
    );
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "{\"symbol\":\"ADA\",\"window_start\":\"2024-05-01 10:00:00.000\",\"volume\":3}\n"
    );
    assert_eq!(folder.run().verdict, Verdict::Passed);
}
