//! CREATE TABLE: columns, watermark, key, options, LIKE.

use super::{check, describe};
use crate::sql::parser::parse;

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
