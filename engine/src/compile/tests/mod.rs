//! Jobs that mean nothing on a stream are refused before anything starts: what, where, and what to do.

mod patterns;
mod places;

use super::*;

const TABLES: &str = "CREATE TABLE a (id BIGINT, ts TIMESTAMP(3), k STRING, v BIGINT, WATERMARK FOR ts AS ts) \
    WITH ('connector' = 'memory');\n\
    CREATE TABLE b (id BIGINT, ts TIMESTAMP(3), k STRING, v BIGINT, WATERMARK FOR ts AS ts) \
    WITH ('connector' = 'memory');\n";

/// The lines of [`TABLES`].
const LINES: u64 = 2;

fn compiled(sql: &str) -> Result<Job, SqlError> {
    compile(&format!("{TABLES}{sql}"), &[], None)
}

/// `sql` is refused with `message` at (line, column) of `sql`, and a hint that contains `hint`.
fn check_refused(sql: &str, message: &str, (line, column): (u64, u64), hint: &str) {
    let error = compiled(sql).expect_err(sql);
    let place = error
        .position
        .map(|position| (position.line.saturating_sub(LINES), position.column));
    assert_eq!(
        (error.message.as_str(), place),
        (message, Some((line, column))),
        "{sql}"
    );
    let found = error.hint.unwrap_or_default();
    assert!(found.contains(hint), "{sql}\n{found}");
}

/// What EXPLAIN says of `sql`.
fn explained(sql: &str) -> String {
    explain::explain(&compiled(sql).expect(sql).plan)
}

#[test]
fn windows_need_the_event_time() {
    let tumble = |column: &str| {
        format!(
            "SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR({column}), INTERVAL '1' MINUTE)) \
             GROUP BY window_start, window_end"
        )
    };
    check_refused(
        &tumble("v"),
        "a window needs a time column, and `v` is BIGINT",
        (1, 69),
        "TIMESTAMP(3)",
    );
    check_refused(&tumble("tss"), "column `tss` not found", (1, 69), "`ts`");
    check_refused(
        "SELECT window_start, SUM(c) FROM TABLE(TUMBLE((SELECT MAX(ts) AS ts, COUNT(*) AS c FROM a GROUP BY k), \
         DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end",
        "a window needs the event-time column, and `ts` is none",
        (1, 40),
        "WATERMARK FOR",
    );
}

#[test]
fn over_looks_back_in_event_time() {
    check_refused(
        "SELECT COUNT(*) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) FROM a",
        "an OVER frame must end at CURRENT ROW: rows that follow have not arrived yet",
        (1, 81),
        "PRECEDING AND CURRENT ROW",
    );
    check_refused(
        "SELECT COUNT(*) OVER (PARTITION BY k ORDER BY ts DESC) FROM a",
        "OVER must be ordered by event time ascending: a stream only moves forward",
        (1, 47),
        "ORDER BY `ts`",
    );
    check_refused(
        "SELECT RANK() OVER (PARTITION BY k ORDER BY v) FROM a",
        "RANK() needs a bound on a stream",
        (1, 8),
        "Top-N",
    );
    check_refused(
        "SELECT NTILE(2) OVER (PARTITION BY k ORDER BY ts) FROM a",
        "NTILE() OVER is not supported",
        (1, 8),
        "LAG",
    );
}

#[test]
fn joins_need_something_to_join_by() {
    check_refused(
        "SELECT a.id FROM a CROSS JOIN b",
        "a join of two streams without a condition would pair every row with every other",
        (1, 20),
        "add ON",
    );
    check_refused(
        "SELECT a.id FROM a JOIN b FOR SYSTEM_TIME AS OF a.v AS r ON a.k = r.k",
        "FOR SYSTEM_TIME AS OF needs the event time of the left table, and `a.v` is not",
        (1, 49),
        "name the column that WATERMARK FOR is declared on",
    );
    check_refused(
        "SELECT id FROM a WHERE v > ALL (SELECT v FROM b)",
        "ANY and ALL of a sub-query are not supported",
        (1, 24),
        "MAX",
    );
    check_refused(
        "SELECT id, x FROM a JOIN UNNEST(ARRAY[v]) AS t (x) ON x > 3",
        "a join with UNNEST has no condition but TRUE",
        (1, 39),
        "WHERE",
    );
    check_refused(
        "SELECT id, x FROM a CROSS JOIN UNNEST(ARRAY[v]) AS t (x, y)",
        "UNNEST gives one column, and its alias names more",
        (1, 45),
        "AS t (element)",
    );
}

#[test]
fn names_and_types_are_checked() {
    check_refused(
        "SELECT k, COUNT(*) FROM a",
        "`k` is neither grouped by nor aggregated",
        (1, 8),
        "GROUP BY",
    );
    check_refused(
        "SELECT SUM(k) FROM a",
        "no function takes these arguments: sum(STRING)",
        (1, 8),
        "CAST",
    );
    check_refused(
        "SELECT id FROM a OFFSET 3",
        "OFFSET without LIMIT is not supported on a stream",
        (1, 18),
        "LIMIT",
    );
}

#[test]
fn hints_and_timeouts_that_would_change_nothing_are_refused() {
    check_refused(
        "SELECT /*+ STATE_TTL('aa' = '1d') */ k, COUNT(*) FROM a AS aaa GROUP BY k",
        "STATE_TTL names `aa`, which this query does not read",
        (1, 1),
        "",
    );
    check_refused(
        "CREATE VIEW counts AS SELECT /*+ STATE_TTL('a' = '1d') */ k, COUNT(*) AS c FROM a GROUP BY k;\nSELECT * FROM counts",
        "STATE_TTL inside a view says nothing to the statement that reads it",
        (1, 1),
        "INSERT",
    );
    check_refused(
        "SELECT k, COUNT(*) FROM a GROUP BY k EMIT CHANGES TIMEOUT 10s",
        "EMIT … TIMEOUT has nothing to wait for: this query does not look at event time",
        (1, 51),
        "TIMEOUT",
    );
}

#[test]
fn state_that_grows_is_warned_of_until_it_has_a_time_to_live() {
    let text = explained("SELECT k, COUNT(*) FROM a GROUP BY k");
    let warning = "Merge aggregate per k grows with its input (one row per distinct (k), kept for ever); aggregate \
        over a window, or let groups expire";
    assert!(text.contains(warning), "{text}");
    let text = explained("SELECT a.id FROM a JOIN b ON a.k = b.k");
    assert!(
        text.contains("Join (inner) grows with its input (every left row and every right row"),
        "{text}"
    );

    for bounded in [
        "SET 'table.exec.state.ttl' = '1 h'; SELECT k, COUNT(*) FROM a GROUP BY k",
        "SELECT /*+ STATE_TTL('a' = '1h') */ k, COUNT(*) FROM a GROUP BY k",
        "SELECT /*+ STATE_TTL('x' = '1h') */ UPPER(k), COUNT(*) FROM a AS x WHERE v > 3 GROUP BY UPPER(k)",
    ] {
        let text = explained(bounded);
        assert!(
            text.contains("that changed within the time to live (1 h)"),
            "{text}"
        );
        assert!(!text.contains("warning"), "{text}");
    }
}

#[test]
fn the_plan_says_when_windows_are_corrected_and_when_time_goes_on() {
    let tumble = "SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) \
        GROUP BY k, window_start, window_end";
    let text = explained(&format!(
        "SET 'table.exec.emit.allow-lateness' = '10 s'; {tumble}"
    ));
    assert!(text.contains("corrected by rows up to 10 s late"), "{text}");
    let text = explained(&format!("{tumble} EMIT EVERY 5s TIMEOUT 30s"));
    assert!(
        text.contains("emits: the latest value of each changed key, every 5 s"),
        "{text}"
    );
    assert!(
        text.contains("when quiet: after 30 s event time goes on by the clock"),
        "{text}"
    );
}

#[test]
fn late_rows_need_one_window_and_a_table_that_takes_them() {
    let tumble = |more: &str| {
        format!(
            "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) \
             GROUP BY {more}"
        )
    };
    let windows = "window_start, window_end";
    check_refused(
        "SELECT COUNT(*) FROM a LATE DATA TO b",
        "LATE DATA TO belongs to a query with a window, and this one has none",
        (1, 24),
        "late",
    );
    check_refused(
        &tumble(&format!("{windows} LATE DATA TO bb")),
        "table `bb` not found",
        (1, 129),
        "`b`",
    );
    check_refused(
        &tumble(&format!("{windows} LATE DATA TO b (id, w)")),
        "rows of the window have no column `w`",
        (1, 136),
        "id",
    );
    check_refused(
        &tumble(&format!("ROLLUP (k), {windows} LATE DATA TO b")),
        "LATE DATA TO cannot be combined with GROUPING SETS, CUBE or ROLLUP",
        (1, 91),
        "one statement per set",
    );
    check_refused(
        &format!(
            "CREATE TABLE c (id BIGINT) WITH ('connector' = 'memory'); {} LATE DATA TO c",
            tumble(windows)
        ),
        "`c` has 1 columns, and rows of the window have 4: id, ts, k, v",
        (1, 187),
        "LATE DATA TO c (a, b)",
    );
    check_refused(
        "SELECT x.k FROM (SELECT * FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) x \
         JOIN (SELECT * FROM TABLE(TUMBLE(TABLE b, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) y ON x.k = y.k \
         AND x.window_start = y.window_start AND x.window_end = y.window_end LATE DATA TO b",
        "LATE DATA TO cannot tell which of 2 windows it means",
        (1, 259),
        "one window",
    );
}

#[test]
fn late_rows_are_told_apart_behind_the_exchange_that_the_window_reads() {
    let text = explained(
        "SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) \
         GROUP BY k, window_start, window_end LATE DATA TO b",
    );
    let order = [
        "Window aggregate TUMBLE(1 min) per k",
        "Tell late rows of TUMBLE(1 min)",
        "Exchange by hash of k",
        "because: the window aggregation needs all rows of `k` on one shard: LATE DATA TO writes the rows themselves",
        "reads: id, ts, k, v",
        "Query 2",
        "Sink b (memory)",
        "keeps: late",
        "Tell late rows of TUMBLE(1 min) (shared, shown above)",
    ];
    let mut rest = text.as_str();
    for expected in order {
        let found = rest.find(expected);
        rest = &rest[found.unwrap_or_else(|| panic!("{expected} in\n{text}"))..];
    }
}
