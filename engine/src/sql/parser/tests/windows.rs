//! Window functions, WINDOW clauses, row buffers and old group windows.

use super::check;

#[test]
fn table_arguments_of_window_functions_lose_the_word_table() {
    check(
        "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '-6' SECOND)) AS w",
        "SELECT * FROM TABLE(TUMBLE(bid, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '-6' SECOND)) AS w",
    );
    check(
        "SELECT * FROM TABLE(HOP(DATA => TABLE bid, TIMECOL => DESCRIPTOR(`ts`), SLIDE => 5s, SIZE => 10s))",
        "SELECT * FROM TABLE(HOP(DATA => bid, TIMECOL => DESCRIPTOR(`ts`), SLIDE => INTERVAL '5' SECOND, SIZE => INTERVAL '10' SECOND))",
    );
    check(
        "SELECT * FROM CUMULATE((SELECT * FROM bid WHERE x > 1), DESCRIPTOR(ts), 1m, 1h)",
        "SELECT * FROM CUMULATE((SELECT * FROM bid WHERE x > 1), DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '1' HOUR)",
    );
    check(
        "SELECT * FROM TABLE(SESSION(TABLE bid PARTITION BY b, DESCRIPTOR(ts), 5s))",
        "SELECT * FROM TABLE(SESSION(bid, `$partition_keys`(b), DESCRIPTOR(ts), INTERVAL '5' SECOND))",
    );
    check(
        "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MONTH))",
        "error: the unit MONTH has no fixed length in microseconds (line 1, column 64); use WEEK, DAY, HOUR, MINUTE or SECOND",
    );
}

#[test]
fn window_clauses_become_window_functions() {
    let expected = "SELECT trader_id, symbol, COUNT(*), AVG(price) FROM TABLE(TUMBLE(market_data, DESCRIPTOR(trade_time), INTERVAL '1' MINUTE)) GROUP BY trader_id, symbol, window_start, window_end";
    let select = "SELECT trader_id, symbol, COUNT(*), AVG(price) FROM market_data";
    check(
        &format!("{select} GROUP BY trader_id, symbol WINDOW TUMBLING (trade_time, INTERVAL '1' MINUTE)"),
        expected,
    );
    check(
        &format!("{select} GROUP BY trader_id, symbol WINDOW TUMBLING (trade_time, 1m) EMIT CHANGES"),
        &format!("{expected} | Changes"),
    );
    check(
        &format!("{select} WINDOW TUMBLING (trade_time, 1m) GROUP BY trader_id, symbol"),
        expected,
    );
    check(
        "SELECT _window_start, WINDOW_END() AS e, COUNT(*) FROM m AS x WHERE a > 1 WINDOW SLIDING(5m, 1m) HAVING COUNT(*) > 2",
        "SELECT window_start AS _window_start, window_end AS e, COUNT(*) FROM TABLE(HOP((SELECT * FROM m AS x), DESCRIPTOR(), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) WHERE a > 1 GROUP BY window_start, window_end HAVING COUNT(*) > 2",
    );
    check(
        "SELECT a FROM (SELECT a FROM t GROUP BY a WINDOW TUMBLING(1m)) x GROUP BY a WINDOW TUMBLING(x.window_time, 1h)",
        "SELECT a FROM TABLE(TUMBLE((SELECT * FROM (SELECT a FROM TABLE(TUMBLE(t, DESCRIPTOR(), INTERVAL '1' MINUTE)) GROUP BY a, window_start, window_end) x), DESCRIPTOR(window_time), INTERVAL '1' HOUR)) GROUP BY a, window_start, window_end",
    );
}

#[test]
fn window_clauses_that_cannot_be_are_refused() {
    check(
        "SELECT COUNT(*) FROM t WINDOW TUMBLNG(5m)",
        "error: unknown window TUMBLNG (line 1, column 31); did you mean `TUMBLING`?",
    );
    check(
        "SELECT COUNT(*) FROM t WINDOW SLIDING(5m)",
        "error: the window has 1 lengths, not 2 (line 1, column 31); write WINDOW SLIDING(size, slide), for instance WINDOW SLIDING(5m, 1m), or with the time column first",
    );
    check(
        "SELECT COUNT(*) FROM a JOIN b ON a.x = b.x WINDOW TUMBLING(5m)",
        "error: a group window over a join is not supported (line 1, column 51); put the join into a sub-query: FROM (SELECT … FROM a JOIN b ON …) AS t GROUP BY …",
    );
    check(
        "SELECT COUNT(*) FROM t WINDOW TUMBLING(0s)",
        "error: the size of a window must be longer than zero (line 1, column 40)",
    );
    check(
        "WINDOW TUMBLING(5m)",
        "error: WINDOW stands outside of a SELECT (line 1, column 1)",
    );
}

#[test]
fn row_buffers_become_frames() {
    check(
        "SELECT symbol, AVG(price) OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY symbol ORDER BY timestamp) AS moving_avg FROM market_data",
        "SELECT symbol, AVG(price) OVER (PARTITION BY symbol ORDER BY timestamp ROWS BETWEEN 99 PRECEDING AND CURRENT ROW) AS moving_avg FROM market_data",
    );
    check(
        "SELECT AVG(p) OVER (PARTITION BY s ORDER BY t ROWS WINDOW BUFFER 1 ROWS) FROM m",
        "SELECT AVG(p) OVER (PARTITION BY s ORDER BY t ROWS BETWEEN 0 PRECEDING AND CURRENT ROW) FROM m",
    );
    check(
        "SELECT AVG(p) OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY s ORDER BY t ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) FROM m",
        "SELECT AVG(p) OVER (PARTITION BY s ORDER BY t ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) FROM m",
    );
    check(
        "SELECT AVG(p) OVER (ROWS WINDOW BUFFER 5 ROWS ORDER BY t ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) FROM m",
        "error: the frame reaches beyond the ROWS WINDOW BUFFER (line 1, column 21); use at most ROWS BETWEEN 4 PRECEDING AND CURRENT ROW",
    );
    check(
        "SELECT AVG(p) OVER (ROWS WINDOW BUFFER 0 ROWS ORDER BY t) FROM m",
        "error: ROWS WINDOW BUFFER lacks its number of rows (line 1, column 21); write OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY … ORDER BY …)",
    );
    check(
        "SELECT SUM(a) OVER w FROM t WINDOW w AS (PARTITION BY b ORDER BY c)",
        "SELECT SUM(a) OVER w FROM t WINDOW w AS (PARTITION BY b ORDER BY c)",
    );
}

#[test]
fn old_group_windows_become_window_functions() {
    check(
        "SELECT name, TUMBLE_START(ts, INTERVAL '1' HOUR) AS s, TUMBLE_END(ts, INTERVAL '1' HOUR), COUNT(*) FROM t WHERE x > 0 GROUP BY name, TUMBLE(ts, INTERVAL '1' HOUR) HAVING TUMBLE_START(ts, INTERVAL '1' HOUR) > a",
        "SELECT name, window_start AS s, window_end, COUNT(*) FROM TABLE(TUMBLE(t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) WHERE x > 0 GROUP BY name, window_start, window_end HAVING window_start > a",
    );
    check(
        "INSERT INTO sink_t SELECT name, COUNT(*) FROM source_t GROUP BY name, HOP(rowtime, INTERVAL '5' SECOND, INTERVAL '10' SECOND)",
        "sink_t[] <- SELECT name, COUNT(*) FROM TABLE(HOP(source_t, DESCRIPTOR(rowtime), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY name, window_start, window_end",
    );
    check(
        "SELECT HOP_ROWTIME(b.ts, 1s, 2s) FROM (SELECT * FROM bid) AS b GROUP BY HOP(b.ts, 1s, 2s)",
        "SELECT window_time FROM TABLE(HOP((SELECT * FROM (SELECT * FROM bid) AS b), DESCRIPTOR(ts), INTERVAL '1' SECOND, INTERVAL '2' SECOND)) GROUP BY window_start, window_end, window_time",
    );
}

#[test]
fn old_group_windows_that_cannot_be_are_refused() {
    check(
        "SELECT TUMBLE_START(ts, 2s) FROM t GROUP BY TUMBLE(ts, 1s)",
        "error: TUMBLE_START does not repeat the query's window (line 1, column 8); give it the same arguments as the window in GROUP BY",
    );
    check(
        "SELECT TUMBLE_START(ts, 2s) FROM t",
        "error: TUMBLE_START stands in a query without that window (line 1, column 8); group by TUMBLE(ts, size) or HOP(ts, slide, size), or read window_start of a window TVF",
    );
    check(
        "SELECT COUNT(*) FROM t GROUP BY TUMBLE(PROCTIME(), 1s)",
        "error: `PROCTIME()` is not an event-time column of the window's relation (line 1, column 33); name the column that WATERMARK FOR is declared on; processing time is not supported yet",
    );
    check(
        "SELECT COUNT(*) FROM t GROUP BY TUMBLE(ts)",
        "error: TUMBLE in GROUP BY has 1 arguments (line 1, column 33); write TUMBLE(ts, size)",
    );
}
