//! What is refused, and what the error says.

use super::check;

#[test]
fn what_the_planner_would_ignore_is_refused() {
    check(
        "SELECT * FROM t TABLESAMPLE BERNOULLI (10)",
        "error: TABLESAMPLE is not supported (line 1, column 17); filter with WHERE",
    );
    check(
        "SELECT a FROM t FETCH FIRST 3 ROWS ONLY",
        "error: FETCH is not supported (line 1, column 17); use LIMIT",
    );
    check(
        "SELECT a FROM t FOR UPDATE",
        "error: FOR UPDATE / FOR SHARE is not supported (line 1, column 17); a stream has no locks",
    );
    check(
        "SELECT DISTINCT ON (a) a FROM t",
        "error: DISTINCT ON is not supported (line 1, column 8); use ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) = 1",
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
        "error: WITH (…) behind a table is not supported (line 1, column 17); the options of CREATE TABLE … AS stand before AS",
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

#[test]
fn clauses_of_other_databases_are_refused() {
    check(
        "SELECT f(1)(2) FROM t",
        "error: f has two lists of arguments (line 1, column 8)",
    );
    check(
        "SELECT * FROM TABLE(f(1)) AS x (a INT)",
        "error: a column alias has no type (line 1, column 33)",
    );
    check(
        "WITH RECURSIVE q AS (SELECT 1) SELECT * FROM q",
        "error: WITH RECURSIVE is not supported (line 1, column 1)",
    );
    check(
        "SELECT TOP 3 a FROM t",
        "error: TOP is not supported (line 1, column 8); use LIMIT",
    );
    check(
        "SELECT a INTO u FROM t",
        "error: SELECT INTO is not supported (line 1, column 1); use INSERT INTO t SELECT …",
    );
}
