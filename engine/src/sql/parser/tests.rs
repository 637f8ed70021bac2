//! One `check()`: SQL text in, statements (or the error) out as text.

use super::*;
use crate::sql::statement::{ColumnKind, Emit, Name};

/// The statements of `sql`, one line each part, or the error.
fn check(sql: &str, expected: &str) {
    let text = match parse(sql) {
        Ok(statements) => statements.iter().map(describe).collect::<Vec<_>>().join("\n"),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(text, expected, "\n{sql}");
}

fn describe(statement: &Statement) -> String {
    match &statement.kind {
        StatementKind::CreateTable(table) => describe_table(table),
        StatementKind::CreateView(view) => {
            format!(
                "view {}{:?}: {}",
                view.name.value,
                values(&view.columns),
                describe_query(&view.query)
            )
        }
        StatementKind::CreateAs(create) => {
            format!("{} as {}", create.name.value, describe_query(&create.query))
        }
        StatementKind::Insert(insert) => describe_insert(insert),
        StatementKind::Select(query) => describe_query(query),
        StatementKind::StatementSet(inserts) => {
            format!(
                "set of {}",
                inserts
                    .iter()
                    .map(describe_insert)
                    .collect::<Vec<_>>()
                    .join(" and ")
            )
        }
        StatementKind::Set(option) => format!("{} := {}", option.key, option.value),
        StatementKind::Explain(inner) => format!("explain {}", describe(inner)),
    }
}

fn values(names: &[Name]) -> Vec<&str> {
    names.iter().map(|name| name.value.as_str()).collect()
}

fn describe_insert(insert: &Insert) -> String {
    format!(
        "{}{:?} <- {}",
        insert.table.value,
        values(&insert.columns),
        describe_query(&insert.query)
    )
}

fn describe_query(query: &StreamQuery) -> String {
    match query.emit {
        Emit::Default => query.query.to_string(),
        emit => format!("{} | {emit:?}", query.query),
    }
}

fn describe_table(table: &CreateTable) -> String {
    let mut lines = vec![format!("table {}", table.name.value)];
    for column in &table.columns {
        let kind = match &column.kind {
            ColumnKind::Physical { data_type, nullable } => {
                format!("{data_type}{}", if *nullable { "" } else { " not null" })
            }
            ColumnKind::Computed(expression) => format!("= {expression}"),
            ColumnKind::Metadata {
                data_type,
                key,
                is_virtual,
            } => {
                format!(
                    "{data_type} from {key}{}",
                    if *is_virtual { " virtual" } else { "" }
                )
            }
        };
        let comment = column.comment.as_deref().map(|comment| format!(" -- {comment}"));
        lines.push(format!(
            "  {} {kind}{}",
            column.name.value,
            comment.unwrap_or_default()
        ));
    }
    if let Some(watermark) = &table.watermark {
        lines.push(format!(
            "  watermark {} = {}",
            watermark.column.value, watermark.expression
        ));
    }
    if !table.primary_key.is_empty() {
        lines.push(format!("  key {:?}", values(&table.primary_key)));
    }
    for option in &table.options {
        lines.push(format!("  {} = {}", option.key, option.value));
    }
    lines.join("\n")
}

#[test]
fn a_table_has_physical_computed_and_metadata_columns() {
    check(
        "CREATE TABLE trades (
            symbol STRING NOT NULL COMMENT 'the ticker',
            price DECIMAL(10, 2),
            `time` TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL,
            offset BIGINT METADATA,
            tags ARRAY<ROW<k STRING, v MAP<STRING, INT>>>,
            cents AS CAST(price * 100 AS BIGINT),
            ts AS TO_TIMESTAMP(symbol, 'yyyy') COMMENT 'when',
            WATERMARK FOR ts AS ts - INTERVAL '5' SECOND,
            PRIMARY KEY (symbol, `time`) NOT ENFORCED
        ) COMMENT 'all trades' WITH ('connector' = 'filesystem', 'path' = 'a''b.ndjson')",
        "table trades
  symbol Utf8 not null -- the ticker
  price Decimal128(10, 2)
  time Timestamp(ms) from timestamp virtual
  offset Int64 from offset
  tags List(Struct(\"k\": Utf8, \"v\": Map(\"entries\": non-null Struct(\"key\": non-null Utf8, \"value\": Int32), unsorted)))
  cents = CAST(price * 100 AS BIGINT)
  ts = TO_TIMESTAMP(symbol, 'yyyy') -- when
  watermark ts = ts - INTERVAL '5' SECOND
  key [\"symbol\", \"time\"]
  connector = filesystem
  path = a'b.ndjson",
    );
    check(
        "CREATE TABLE t (a INT, p AS PROCTIME())",
        "table t\n  a Int32\n  p = PROCTIME()",
    );
    check(
        "create temporary table if not exists t (id INT PRIMARY KEY NOT ENFORCED, timestamp TIMESTAMP(3), watermark STRING)",
        "table t\n  id Int32\n  timestamp Timestamp(ms)\n  watermark Utf8\n  key [\"id\"]",
    );
}

#[test]
fn a_wrong_table_says_where_and_what() {
    check(
        "CREATE TABLE t (a STRNG)",
        "error: unknown type STRNG (line 1, column 19); did you mean `STRING`?",
    );
    check(
        "CREATE TABLE t (a INT, a INT)",
        "error: the table `t` has two columns `a` (line 1, column 24)",
    );
    check(
        "CREATE TABLE t (a)",
        "error: the column `a` has no type (line 1, column 17)",
    );
    check(
        "CREATE TABLE t (price INT, WATERMARK FOR pricee AS price)",
        "error: the table `t` has no column `pricee` (line 1, column 42); did you mean `price`?",
    );
    check(
        "CREATE TABLE t (a INT, PRIMARY KEY (a))",
        "error: a primary key is declared, not enforced (line 1, column 24); write PRIMARY KEY (…) NOT ENFORCED",
    );
    check(
        "CREATE TABLE t (a INT) PARTITIONED BY (a)",
        "error: PARTITIONED BY is not supported yet (line 1, column 24); rows are distributed over shards by each query's keys",
    );
    check(
        "CREATE TABLE t (a INT) WITH ('x' = 1)",
        "error: keys and values of options are quoted texts (line 1, column 36); write WITH ('connector' = 'filesystem', …)",
    );
    check(
        "CREATE TABLE t (a INT) WITH ('x' = '1', 'x' = '2')",
        "error: the option 'x' is given twice (line 1, column 41)",
    );
    check(
        "CREATE TABLE t (a INT",
        "error: expected `)`, found the end of the statement (line 1, column 22)",
    );
    check(
        "CREATE TABLE c.t (a INT)",
        "error: names have one part: there are no catalogs and databases (line 1, column 15); write the name alone, without `c.`",
    );
    check(
        "CREATE TABLE t (b AS a + (SELECT 1), a INT)",
        "error: an expression of a table cannot contain a query (line 1, column 22)",
    );
    check(
        "CREATE TABLE t",
        "error: neither columns nor a query define the table (line 1, column 15); write CREATE TABLE name (column TYPE, …) WITH (…) or CREATE TABLE name AS SELECT …",
    );
}

#[test]
fn a_table_like_another_takes_over_what_it_does_not_say() {
    let base = "CREATE TABLE base (a INT, b STRING, c AS a + 1, ts TIMESTAMP(3), WATERMARK FOR ts AS ts, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'datagen', 'seed' = '1');\n";
    let check_like = |statement: &str, expected: &str| {
        let text = match parse(&format!("{base}{statement}")) {
            Ok(statements) => describe(&statements[1]),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(text, expected, "{statement}");
    };
    check_like(
        "CREATE TABLE t LIKE base",
        "table t\n  a Int32\n  b Utf8\n  c = a + 1\n  ts Timestamp(ms)\n  watermark ts = ts\n  key [\"a\"]\n  connector = datagen\n  seed = 1",
    );
    check_like(
        "CREATE TABLE t (c AS a + 2, d AS b, WATERMARK FOR ts AS ts - 1s) WITH ('seed' = '2') LIKE base (OVERWRITING GENERATED OVERWRITING WATERMARKS EXCLUDING CONSTRAINTS)",
        "table t\n  a Int32\n  b Utf8\n  c = a + 2\n  ts Timestamp(ms)\n  d = b\n  watermark ts = ts - INTERVAL '1' SECOND\n  connector = datagen\n  seed = 2",
    );
    check_like(
        "CREATE TABLE t WITH ('connector' = 'print') LIKE base (EXCLUDING ALL)",
        "table t\n  a Int32\n  b Utf8\n  ts Timestamp(ms)\n  connector = print",
    );
    check_like(
        "CREATE TABLE t (a STRING) LIKE base",
        "error: the table `t` has two columns `a` (line 2, column 17)",
    );
    check_like(
        "CREATE TABLE t (WATERMARK FOR ts AS ts) LIKE base",
        "error: both tables declare a watermark (line 2, column 31); write LIKE base (OVERWRITING WATERMARKS) or EXCLUDING WATERMARKS",
    );
    check_like(
        "CREATE TABLE t LIKE bas",
        "error: no earlier table is called `bas` (line 2, column 21); did you mean `base`?",
    );
    check_like(
        "CREATE TABLE t LIKE base (INCLUDING EVERYTHING)",
        "error: expected ALL, CONSTRAINTS, GENERATED, METADATA, OPTIONS, PARTITIONS, DISTRIBUTION or WATERMARKS, found `EVERYTHING` (line 2, column 37)",
    );
}

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
    let usage = "use EMIT CHANGES, EMIT CHANGES EVERY ROW or EMIT FINAL";
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
        &format!("error: this form of EMIT is not supported yet (line 1, column 17); {usage}"),
    );
    check(
        "SELECT a FROM t EMIT CHANGES EVERY 5s",
        &format!(
            "error: EMIT CHANGES EVERY with an interval is not supported yet (line 1, column 17); {usage}"
        ),
    );
    check(
        "SELECT a FROM t EMIT FINAL LATE DATA TO x",
        "error: LATE DATA TO is not supported yet (line 1, column 28); late rows are counted and shown in the summary",
    );
    check(
        "CREATE TABLE t (a INT) EMIT CHANGES",
        "error: EMIT belongs to a query (line 1, column 24)",
    );
}

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
        "error: session windows are not supported yet (line 1, column 21); use TUMBLE, HOP or CUMULATE",
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
        "SELECT COUNT(*) FROM t WINDOW SESSION(5m)",
        "error: session windows are not supported yet (line 1, column 31); use WINDOW TUMBLING(…) or WINDOW SLIDING(…)",
    );
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
        "SELECT COUNT(*) FROM t GROUP BY SESSION(ts, 5s)",
        "error: session windows are not supported yet (line 1, column 33); use TUMBLE or HOP",
    );
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

#[test]
fn what_the_planner_would_ignore_is_refused() {
    check(
        "SELECT * FROM o JOIN r FOR SYSTEM_TIME AS OF o.ts AS r2 ON o.c = r2.c",
        "error: FOR SYSTEM_TIME AS OF (a temporal join) is not supported yet (line 1, column 22)",
    );
    check(
        "SELECT * FROM t TABLESAMPLE BERNOULLI (10)",
        "error: TABLESAMPLE is not supported (line 1, column 15); filter with WHERE",
    );
    check(
        "SELECT a FROM t FETCH FIRST 3 ROWS ONLY",
        "error: FETCH is not supported (line 1, column 1); use LIMIT",
    );
    check(
        "SELECT a FROM t FOR UPDATE",
        "error: FOR UPDATE / FOR SHARE is not supported (line 1, column 1); a stream has no locks",
    );
    check(
        "SELECT DISTINCT ON (a) a FROM t",
        "error: DISTINCT ON is not supported (line 1, column 1); use ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) = 1",
    );
    check(
        "SELECT a FROM t MATCH_RECOGNIZE (PARTITION BY a ORDER BY b MEASURES A.x AS y PATTERN (A) DEFINE A AS A.x > 1)",
        "error: MATCH_RECOGNIZE is not supported yet (line 1, column 15)",
    );
    check(
        "SELECT a FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1",
        "error: QUALIFY is not supported (line 1, column 1); put the window function into a sub-query and use WHERE",
    );
    check(
        "SELECT a FROM t WHERE b = ?",
        "error: the parameter ? has no value (line 1, column 27); write the value itself",
    );
    check(
        "SELECT CAST(a AS TEXT) FROM t",
        "error: unknown type TEXT (line 1, column 13); use STRING",
    );
    check(
        "SELECT a, PROCTIME() FROM t",
        "error: PROCTIME is not supported yet (line 1, column 11); queries run on event time only",
    );
    check(
        "SELECT a FROM t WITH (NOLOCK)",
        "error: a table hint is not supported (line 1, column 15)",
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
fn unknown_statements_say_what_to_write() {
    check(
        "CREATE SOURCE s (a INT)",
        "error: CREATE SOURCE is not a statement here (line 1, column 1); use CREATE TABLE … WITH ('connector' = …)",
    );
    check(
        "SELECT 1;\n  UPDATE t SET a = 1",
        "error: UPDATE is not a statement here (line 2, column 3); a stream is never changed in place: write INSERT INTO t SELECT …",
    );
    check(
        "SELCT 1",
        "error: SELCT is not a statement (line 1, column 1); did you mean `SELECT`?",
    );
    check(
        "CREATE TABEL t (a INT)",
        "error: CREATE TABEL is not a statement (line 1, column 1); did you mean `TABLE`?",
    );
    check(
        "DROP TABLE t",
        "error: DROP is not a statement here (line 1, column 1); a job file starts from an empty catalog and describes all it needs",
    );
    check(
        "42",
        "error: a statement cannot start with `42` (line 1, column 1); statements start with CREATE, INSERT, SELECT, WITH, SET, EXPLAIN, EXECUTE, BEGIN",
    );
    check(
        "INSERT INTO t VALUES (1)",
        "error: INSERT INTO … VALUES is not supported: rows come from sources (line 1, column 15); write INSERT INTO t SELECT … FROM source",
    );
    check(
        "SET a = 'b'",
        "error: SET takes a quoted key and a quoted value (line 1, column 5); write SET 'key' = 'value'",
    );
}

#[test]
fn syntax_errors_point_at_the_token() {
    check(
        "SELECT a FROM t WHERE",
        "error: expected an expression, found the end of the statement (line 1, column 22)",
    );
    check(
        "SELECT a\nFROM t GROUP a",
        "error: unexpected `GROUP` (line 2, column 8); the statement is complete before it; statements are separated by semicolons",
    );
    check(
        "SELECT (1",
        "error: expected ), found the end of the statement (line 1, column 10)",
    );
    check(
        "SELECT 1 SELECT 2",
        "error: unexpected `SELECT` (line 1, column 10); the statement is complete before it; statements are separated by semicolons",
    );
}

/// Words that open, close and mix every clause, for the fuzzer.
const FUZZ_WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "HAVING",
    "CREATE",
    "TABLE",
    "VIEW",
    "STREAM",
    "TEMPORARY",
    "INSERT",
    "INTO",
    "SET",
    "EXPLAIN",
    "PLAN",
    "FOR",
    "EXECUTE",
    "STATEMENT",
    "BEGIN",
    "END",
    "EMIT",
    "CHANGES",
    "EVERY",
    "ROW",
    "ROWS",
    "FINAL",
    "WINDOW",
    "TUMBLING",
    "SLIDING",
    "BUFFER",
    "OVER",
    "PARTITION",
    "ORDER",
    "WATERMARK",
    "AS",
    "METADATA",
    "VIRTUAL",
    "PRIMARY",
    "KEY",
    "NOT",
    "ENFORCED",
    "NULL",
    "WITH",
    "LIKE",
    "INTERVAL",
    "SECOND",
    "MINUTE",
    "TO",
    "DAY",
    "CAST",
    "ARRAY",
    "MAP",
    "TIMESTAMP",
    "LOCAL",
    "TIME",
    "ZONE",
    "INT",
    "STRING",
    "DECIMAL",
    "TUMBLE",
    "HOP",
    "CUMULATE",
    "DESCRIPTOR",
    "TUMBLE_START",
    "DATA",
    "SIZE",
    "UNION",
    "ALL",
    "JOIN",
    "ON",
    "BETWEEN",
    "AND",
    "PRECEDING",
    "CURRENT",
    "a",
    "b",
    "t",
    "`q`",
    "\"r\"",
    "'1'",
    "'1:30'",
    "'-x'",
    "''",
    "0",
    "1",
    "100",
    "1.5",
    "5m",
    "100ms",
    "9e9s",
    "(",
    ")",
    "(",
    ")",
    ",",
    ",",
    ";",
    ".",
    "*",
    "<",
    ">",
    ">>",
    "=",
    "=>",
    "-",
    "+",
    "::",
    "[",
    "]",
    "'unclosed",
    "/* c */",
    "/*+ h */",
    "-- c\n",
    "é",
    "\u{0}",
    "😀",
    "\n",
    "?",
    "LATERAL",
    "UNNEST",
    "VALUES",
    "CASE",
    "WHEN",
    "EXISTS",
    "IN",
    "CONSTRAINT",
    "COMMENT",
    "IF",
    "MATCH_RECOGNIZE",
    "LIMIT",
    "INCLUDING",
    "OPTIONS",
];

#[test]
fn no_text_makes_the_parser_panic() {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    let seeds = [
        "CREATE TABLE t ( a INT NOT NULL , ts TIMESTAMP ( 3 ) METADATA FROM 'x' VIRTUAL , c AS CAST ( a AS ROW < x ARRAY < INT >> ) , WATERMARK FOR ts AS ts - INTERVAL '1:30' MINUTE TO SECOND , PRIMARY KEY ( a ) NOT ENFORCED ) WITH ( 'a' = 'b' )",
        "SELECT a , TUMBLE_START ( ts , 5m ) FROM t AS x GROUP BY a , TUMBLE ( ts , 5m ) HAVING COUNT ( * ) > 1 EMIT CHANGES EVERY ROW",
        "SELECT SUM ( a ) OVER ( ROWS WINDOW BUFFER 5 ROWS PARTITION BY b ORDER BY ts ) FROM TABLE ( HOP ( DATA => TABLE t , TIMECOL => DESCRIPTOR ( ts ) , SLIDE => 1s , SIZE => 5s ) ) WINDOW SLIDING ( ts , 5m , 1m )",
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a ( x , y ) SELECT 1 ; INSERT INTO b ( SELECT 1 ) ; END ; SET 'a' = 'b' ; EXPLAIN PLAN FOR SELECT 1",
    ];
    let mut random = SmallRng::seed_from_u64(7);
    let mut accepted = 0;
    for round in 0..4_000 {
        let mut words: Vec<&str> = match round % 5 {
            0 => (0..random.random_range(0..40))
                .map(|_| FUZZ_WORDS[random.random_range(0..FUZZ_WORDS.len())])
                .collect(),
            kind => seeds[kind - 1].split(' ').collect(),
        };
        for _ in 0..random.random_range(0..4) {
            let index = random.random_range(0..=words.len());
            let word = FUZZ_WORDS[random.random_range(0..FUZZ_WORDS.len())];
            match random.random_range(0..3) {
                0 => words.insert(index, word),
                1 if index < words.len() => drop(words.remove(index)),
                _ if index < words.len() => words[index] = word,
                _ => words.push(word),
            }
        }
        let sql = words.join(if random.random_bool(0.9) { " " } else { "" });
        match parse(&sql) {
            Ok(_) => accepted += 1,
            Err(error) => assert!(!error.render("job.sql", &sql).is_empty()),
        }
    }
    assert!(
        accepted > 300,
        "the fuzzer must reach valid statements too, and reached {accepted}"
    );
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    for (open, close) in [
        ("(", ")"),
        ("CAST(", " AS INT)"),
        ("NOT ", ""),
        ("- ", ""),
        ("CASE WHEN ", " THEN 1 END"),
    ] {
        let sql = format!("SELECT {}1{}", open.repeat(2_000), close.repeat(2_000));
        assert!(parse(&sql).is_err(), "{open}");
    }
    let query = format!(
        "SELECT * FROM {}t{}",
        "(SELECT * FROM ".repeat(500),
        ")".repeat(500)
    );
    assert!(parse(&query).is_err());
    let nested = format!(
        "CREATE TABLE t (a {}INT{})",
        "ARRAY<".repeat(500),
        ">".repeat(500)
    );
    assert!(parse(&nested).is_err());
}
