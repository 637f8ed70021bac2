//! Each addition of the dialect beside what Flink reads in its place.

use super::*;

const TRADES: &str = "CREATE TABLE trades (ts TIMESTAMP(3), symbol STRING, price DOUBLE, WATERMARK FOR ts AS ts) \
                      WITH ('connector' = 'filesystem', 'path' = 'trades', 'format' = 'json');\n";

/// Exports a query over `trades`.
fn check(query: &str, expected: &str) {
    let sql = format!("{TRADES}{query};");
    let found = match export(&sql) {
        Ok(text) => text.strip_prefix(TRADES).map(str::to_string).unwrap_or(text),
        Err(error) => format!("error: {}", error.message),
    };
    let expected = match expected.starts_with("error") {
        true => expected.to_string(),
        false => format!("{expected};"),
    };
    assert_eq!(found, expected, "{query}");
}

#[test]
fn what_flink_understands_stays_as_it_was_written() {
    let query = "SELECT symbol, -- a comment\n       COUNT(*) AS n\nFROM trades\nGROUP BY symbol";
    check(query, query);
}

#[test]
fn durations_become_intervals_and_emit_goes() {
    check(
        "SELECT window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), 5m)) \
         GROUP BY window_start, window_end EMIT FINAL",
        "SELECT window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) \
         GROUP BY window_start, window_end",
    );
    check(
        "SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol\nEMIT CHANGES",
        "SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol",
    );
}

#[test]
fn a_window_clause_becomes_a_table_function() {
    check(
        "SELECT symbol, COUNT(*) AS n\nFROM trades\nGROUP BY symbol\nWINDOW TUMBLING(ts, 1m)",
        "SELECT symbol, COUNT(*) AS n\nFROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(`ts`), INTERVAL '1' MINUTE)) AS trades\n\
         GROUP BY symbol, window_start, window_end",
    );
    check(
        "SELECT _window_end, MAX(t.price) AS high FROM trades AS t WHERE t.price > 0 WINDOW SLIDING(1h, 5m)",
        "SELECT window_end AS _window_end, MAX(t.price) AS high FROM TABLE(HOP(TABLE trades, DESCRIPTOR(`ts`), \
         INTERVAL '5' MINUTE, INTERVAL '1' HOUR)) AS t WHERE t.price > 0 GROUP BY window_start, window_end",
    );
    check(
        "SELECT symbol, TUMBLE_START() AS s FROM trades GROUP BY symbol WINDOW SESSION(30s) EMIT FINAL",
        "SELECT symbol, window_start AS s FROM TABLE(SESSION(TABLE trades PARTITION BY symbol, DESCRIPTOR(`ts`), \
         INTERVAL '30' SECOND)) AS trades GROUP BY symbol, window_start, window_end",
    );
}

#[test]
fn a_row_buffer_becomes_a_frame() {
    check(
        "SELECT symbol, AVG(price) OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY symbol ORDER BY ts) AS a FROM trades",
        "SELECT symbol, AVG(price) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 99 PRECEDING AND CURRENT ROW) AS a \
         FROM trades",
    );
}

#[test]
fn a_stream_is_a_view_or_a_table_that_is_filled() {
    check(
        "CREATE STREAM dear AS SELECT symbol FROM trades WHERE price > 10;\nSELECT * FROM dear",
        "CREATE TEMPORARY VIEW dear AS SELECT symbol FROM trades WHERE price > 10;\nSELECT * FROM dear",
    );
    check(
        "CREATE STREAM dear WITH ('connector' = 'print') AS SELECT symbol FROM trades",
        "CREATE TABLE dear WITH ('connector' = 'print') AS SELECT symbol FROM trades",
    );
    check(
        "CREATE STREAM dear WITH ('connector' = 'print') AS SELECT symbol FROM trades; SELECT * FROM dear",
        "error: dear is written to its connector and read as a stream, which Flink cannot do under one name",
    );
}

#[test]
fn what_has_no_counterpart_is_refused() {
    check(
        "SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol WINDOW TUMBLING(1m) EMIT CHANGES",
        "error: early results of a window have no counterpart in Flink SQL",
    );
    check(
        "SELECT symbol, COUNT(*) AS n FROM trades GROUP BY symbol EMIT FINAL",
        "error: an aggregation without a window that answers once, at the end of its input, has no counterpart in \
         Flink's streaming mode",
    );
    check(
        "CREATE TABLE i (a INT) WITH ('connector' = 'stdin'); SELECT * FROM i",
        "error: Flink has no connector 'stdin'",
    );
    check(
        "CREATE TABLE i (a INT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'csv'); SELECT * FROM i",
        "error: Flink's CSV files have no header, and this table's have one",
    );
    check("SELECT nothing FROM trades", "error: column `nothing` not found");
}

#[test]
fn options_and_reserved_names_are_flinks() {
    check(
        "CREATE TABLE i (timestamp BIGINT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'csv', \
         'csv.header' = 'false');\nSELECT timestamp FROM i",
        "CREATE TABLE i (`timestamp` BIGINT) WITH ('connector' = 'filesystem', 'path' = 'x', 'format' = 'csv');\n\
         SELECT `timestamp` FROM i",
    );
}
