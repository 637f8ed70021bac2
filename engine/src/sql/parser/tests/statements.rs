//! Every other statement, EMIT, casts and intervals.

use super::check;
use crate::sql::parser::parse;
use crate::sql::statement::{Emit, StatementKind};

#[test]
fn statements_of_a_file_are_read_in_order() {
    check(
        "SET 'parallelism.default' = '2'; -- a comment
         CREATE VIEW v (x, y) AS SELECT a, b FROM t;;
         CREATE TEMPORARY VIEW w AS WITH q AS (SELECT 1) SELECT * FROM q;
         CREATE STREAM s WITH ('connector' = 'print') AS SELECT * FROM v EMIT CHANGES;
         INSERT INTO s (x, y) SELECT x, y FROM v;
         INSERT INTO s (SELECT x FROM v) UNION ALL (SELECT y FROM v)
         ; EXPLAIN PLAN FOR INSERT INTO s SELECT 1; EXPLAIN SELECT 1",
        "parallelism.default := 2
view v[\"x\", \"y\"]: SELECT a, b FROM t
view w[]: WITH q AS (SELECT 1) SELECT * FROM q
s as SELECT * FROM v | Changes
s[\"x\", \"y\"] <- SELECT x, y FROM v
s[] <- (SELECT x FROM v) UNION ALL (SELECT y FROM v)
explain s[] <- SELECT 1
explain SELECT 1",
    );
    check("", "");
    check(" ;; -- nothing", "");
}

#[test]
fn statement_sets_have_both_forms() {
    let expected = "set of a[] <- SELECT 1 and b[] <- SELECT CASE WHEN x THEN 1 END FROM t\nSELECT 2";
    let inserts = "INSERT INTO a SELECT 1; INSERT INTO b SELECT CASE WHEN x THEN 1 END FROM t; END; SELECT 2";
    check(&format!("EXECUTE STATEMENT SET BEGIN {inserts}"), expected);
    check(&format!("BEGIN STATEMENT SET; {inserts}"), expected);
    check(
        "EXPLAIN STATEMENT SET BEGIN INSERT INTO a SELECT 1; END",
        "explain set of a[] <- SELECT 1",
    );
    check(
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1;",
        "error: the statement set has no END (line 1, column 1); close it with END;",
    );
    check(
        "BEGIN STATEMENT SET; SELECT 1; END",
        "error: a statement set holds INSERT INTO statements only (line 1, column 22)",
    );
    check(
        "BEGIN STATEMENT SET; END",
        "error: the statement set is empty (line 1, column 1)",
    );
}

#[test]
fn emit_ends_a_statement_and_is_never_an_alias() {
    check("SELECT a FROM t EMIT CHANGES", "SELECT a FROM t | Changes");
    check(
        "SELECT a FROM t emit changes every row;",
        "SELECT a FROM t | ChangesEveryRow",
    );
    check("SELECT a FROM t x EMIT FINAL", "SELECT a FROM t x | Final");
    check(
        "INSERT INTO s SELECT a FROM t GROUP BY a EMIT FINAL",
        "s[] <- SELECT a FROM t GROUP BY a | Final",
    );
    check(
        "SELECT emit FROM t ORDER BY emit",
        "SELECT emit FROM t ORDER BY emit",
    );
    check("SELECT a AS emit, b FROM t", "SELECT a AS emit, b FROM t");
    let usage = "use EMIT CHANGES, EMIT EVERY 10s, EMIT CHANGES EVERY ROW or EMIT FINAL, and TIMEOUT 30s behind any of them";
    check(
        "SELECT a FROM t EMIT",
        &format!("error: EMIT does not say what (line 1, column 17); {usage}"),
    );
    check(
        "SELECT * FROM (SELECT a FROM t EMIT CHANGES) x",
        &format!(
            "error: EMIT stands inside parentheses; only the whole statement can say when it emits (line 1, column 32); {usage}"
        ),
    );
    check(
        "SELECT a FROM t EMIT CHANGES LIMIT 3",
        &format!("error: nothing may follow EMIT (line 1, column 30); {usage}"),
    );
    check(
        "SELECT a FROM t EMIT EVERY INTERVAL '1' SECOND",
        "SELECT a FROM t | Every(1000000)",
    );
    check(
        "SELECT a FROM t EMIT CHANGES EVERY 5s",
        "SELECT a FROM t | Every(5000000)",
    );
    check(
        "SELECT a FROM t EMIT EVERY 5s x",
        &format!("error: nothing may follow EMIT (line 1, column 31); {usage}"),
    );
    check(
        "SELECT a FROM t EMIT EVERY INTERVAL '-1' SECOND",
        "error: an interval of EMIT is longer than nothing (line 1, column 28); write for instance EMIT EVERY 10s",
    );
    check(
        "SELECT a FROM t EMIT EARLY",
        &format!("error: this form of EMIT is not supported yet (line 1, column 17); {usage}"),
    );
    check(
        "CREATE TABLE t (a INT) EMIT CHANGES",
        "error: EMIT belongs to a query (line 1, column 24)",
    );
}

#[test]
fn late_data_ends_a_statement() {
    let usage = "write LATE DATA TO late_rows, or LATE DATA TO late_rows (a, b), behind EMIT and TIMEOUT";
    let late = |sql: &str| match parse(sql).unwrap().remove(0).kind {
        StatementKind::Select(query) => {
            let late = query.late.unwrap();
            let columns: Vec<String> = late.columns.into_iter().map(|name| name.value).collect();
            (query.emit, late.table.value, columns.join(" "))
        }
        other => panic!("{other:?}"),
    };
    let found = late("SELECT a FROM t EMIT FINAL LATE DATA TO x");
    assert_eq!(found, (Emit::Final, "x".to_string(), String::new()));
    let found = late("SELECT a FROM t late data to `x` (a, b)");
    assert_eq!(found, (Emit::Default, "x".to_string(), "a b".to_string()));
    check(
        "SELECT a FROM t LATE DATA TO x EMIT FINAL",
        &format!("error: EMIT stands before LATE DATA TO (line 1, column 32); {usage}"),
    );
    check(
        "SELECT a FROM t LATE DATA TO x WHERE a",
        &format!("error: nothing may follow LATE DATA TO (line 1, column 32); {usage}"),
    );
    check(
        "SELECT a FROM t LATE DATA TO",
        "error: expected a name, found the end of the statement (line 1, column 29)",
    );
    check(
        "SELECT a FROM (SELECT a FROM t LATE DATA TO x)",
        &format!(
            "error: LATE DATA TO stands inside parentheses; it is a clause of the whole statement (line 1, column 32); {usage}"
        ),
    );
    check(
        "CREATE TABLE t (a INT) LATE DATA TO x",
        "error: LATE DATA TO belongs to a query (line 1, column 24)",
    );
    check(
        "CREATE VIEW v AS SELECT a FROM t LATE DATA TO x",
        "error: a view has no rows of its own, and so none that are late (line 1, column 34); put LATE DATA TO behind the \
         statement that reads the view",
    );
}

#[test]
fn distinctness_binds_as_a_comparison_does() {
    check(
        "SELECT * FROM t WHERE a IS NOT DISTINCT FROM b AND c IS DISTINCT FROM d + 1 OR e",
        "SELECT * FROM t WHERE a IS NOT DISTINCT FROM b AND c IS DISTINCT FROM d + 1 OR e",
    );
    let tree = |sql: &str| format!("{:?}", parse(sql));
    assert!(tree("SELECT * FROM t WHERE a IS NOT DISTINCT FROM b AND c").contains("op: And"));
    assert!(
        !tree("SELECT * FROM t WHERE a IS NOT DISTINCT FROM (b AND c)").contains("selection: Some(BinaryOp")
    );
    assert!(
        tree("SELECT * FROM t WHERE a IS NOT DISTINCT FROM b AND c").contains("selection: Some(BinaryOp")
    );
}

#[test]
fn casts_know_all_types() {
    check(
        "SELECT CAST(a AS ROW<x INT, y ARRAY<STRING>>), TRY_CAST(b AS TIMESTAMP_LTZ(3)), CAST(c AS DECIMAL(10, 2)) FROM t",
        "SELECT CAST(a AS STRUCT<x INT, y ARRAY<STRING>>), TRY_CAST(b AS TIMESTAMP_LTZ(3)), CAST(c AS DECIMAL(10,2)) FROM t",
    );
}

#[test]
fn intervals_over_several_units_become_one_unit() {
    check(
        "SELECT a - INTERVAL '1:30' MINUTE TO SECOND, INTERVAL '1-6' YEAR TO MONTH, INTERVAL '10' DAY(3), INTERVAL '1 2:00:00.5' DAY TO SECOND(3) FROM t",
        "SELECT a - INTERVAL '90' SECOND, INTERVAL '18' MONTH, INTERVAL '10' DAY, INTERVAL '93600.5' SECOND FROM t",
    );
}

#[test]
fn the_five_scenarios_are_read_in_velostream_s_words() {
    check(
        "SELECT order_id, customer_id, order_date, total_amount FROM orders WHERE total_amount > 100",
        "SELECT order_id, customer_id, order_date, total_amount FROM orders WHERE total_amount > 100",
    );
    check(
        "SELECT symbol, COUNT(*), AVG(price), MIN(price), MAX(price), SUM(quantity) FROM market_data GROUP BY symbol",
        "SELECT symbol, COUNT(*), AVG(price), MIN(price), MAX(price), SUM(quantity) FROM market_data GROUP BY symbol",
    );
    let tumbling = "SELECT trader_id, symbol, COUNT(*), AVG(price), SUM(quantity), SUM(price * quantity) FROM market_data GROUP BY trader_id, symbol WINDOW TUMBLING (trade_time, INTERVAL '1' MINUTE)";
    let lowered = "SELECT trader_id, symbol, COUNT(*), AVG(price), SUM(quantity), SUM(price * quantity) FROM TABLE(TUMBLE(market_data, DESCRIPTOR(trade_time), INTERVAL '1' MINUTE)) GROUP BY trader_id, symbol, window_start, window_end";
    check(tumbling, lowered);
    check(
        &format!("{tumbling} EMIT CHANGES"),
        &format!("{lowered} | Changes"),
    );
}

#[test]
fn expressions_of_flink_are_read() {
    for expression in [
        "CASE WHEN lower(channel) = 'apple' THEN '0' ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END",
        "EXTRACT(HOUR FROM ts)",
        "TRIM(BOTH ' ' FROM x)",
        "SUBSTRING(x FROM 1 FOR 2)",
        "POSITION('a' IN x)",
        "x IS NOT DISTINCT FROM y",
        "x SIMILAR TO 'a%'",
        "x LIKE 'a!%' ESCAPE '!'",
        "COUNT(DISTINCT x) FILTER (WHERE y > 1)",
        "DATE '2020-01-01'",
        "TIMESTAMP '2020-01-01 00:00:00'",
        "a[1]",
        "m['k']",
        "r.f.g",
        "ARRAY[1, 2]",
        "IF(a = 3, CAST(NULL AS INT), a)",
        "JSON_VALUE(x, '$.a')",
        "x || 'b'",
        "FIRST_VALUE(x) IGNORE NULLS OVER (PARTITION BY a ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "SUM(a) OVER (PARTITION BY b ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW)",
        "ROW_NUMBER() OVER (PARTITION BY a ORDER BY b DESC)",
        "LAG(b, 1) OVER (ORDER BY ts)",
        "x IN (SELECT y FROM u)",
        "LISTAGG(a, ',')",
        "FLOOR(ts TO HOUR)",
        "TIMESTAMPDIFF(DAY, a, b)",
        "CAST(a AS VARCHAR)",
        "CURRENT_TIMESTAMP",
        "MOD(auction, 123) = 0",
        "auction % 123",
        "payload -> 'a' ->> 'b'",
        "x::INT",
        "ROW(1, 'a')",
        "TIMESTAMPADD(DAY, 1, ts)",
        "OVERLAY(a PLACING 'b' FROM 2)",
        "a IS TRUE AND b IS NOT UNKNOWN",
        "GROUPING(a)",
        "JSON_OBJECT('a' VALUE 1)",
        "TIME '10:00:00'",
        "x NOT IN (1, 2)",
        "EXISTS (SELECT 1 FROM u)",
        "U&'\\00e9'",
    ] {
        let parsed = parse(&format!("SELECT {expression} FROM t"));
        assert!(parsed.is_ok(), "{expression}: {}", parsed.unwrap_err());
    }
}

#[test]
fn flink_s_spellings_are_respelled() {
    check(
        "SELECT FLOOR(ts TO HOUR), FLOOR(x), TIMESTAMPDIFF(DAY, a, b) FROM t",
        "SELECT floor_time('HOUR', ts), FLOOR(x), TIMESTAMPDIFF('DAY', a, b) FROM t",
    );
    check(
        "SELECT FLOOR(ts TO DOW) FROM t",
        "error: `DOW` is not a unit to round to (line 1, column 14); use YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND",
    );
    check(
        "SELECT TIMESTAMPDIFF(DAYS, a, b) FROM t",
        "error: `DAYS` is not a unit of time (line 1, column 22); units are SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER, YEAR",
    );
}
