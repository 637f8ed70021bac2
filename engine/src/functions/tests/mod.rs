//! Every function through the planner: `check(expression, answer)`.
//!
//! An expression is evaluated over a batch of three equal rows; the three answers must be the one
//! expected, and of the type that planning promised.

mod constructed;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::display::array_value_to_string;
use sqlparser::ast::{Expr, SelectItem, SetExpr};

use crate::error::SqlError;
use crate::sql::catalog::Catalog;
use crate::sql::parser::parse;
use crate::sql::query::QueryPlanner;
use crate::sql::statement::StatementKind;

/// Three equal rows with the values that tests name by column.
fn rows() -> RecordBatch {
    let row = row();
    arrow::compute::concat_batches(&row.schema(), [&row, &row, &row]).unwrap()
}

fn row() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("s", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("nothing", DataType::Utf8, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("url", DataType::Utf8, true),
        Field::new("json", DataType::Utf8, true),
        Field::new("a", DataType::new_list(DataType::Int64, true), true),
    ]);
    let text = |value: Option<&str>| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let array = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int64Type, _, _>(vec![
        Some(vec![Some(7), Some(8)]),
    ]);
    let columns: Vec<ArrayRef> = vec![
        text(Some("hello world")),
        Arc::new(Int64Array::from(vec![42])),
        text(None),
        Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123])),
        text(Some("https://joe@h.com:80/p/q?a=1&channel_id=x%20y#ref")),
        text(Some(r#"{"a": {"b": [1, "two", null]}, "c": true}"#)),
        Arc::new(array),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn expression(sql: &str) -> Result<Expr, SqlError> {
    let statements = parse(&format!("SELECT {sql}"))?;
    let StatementKind::Select(query) = &statements[0].kind else {
        panic!("a query")
    };
    let SetExpr::Select(select) = query.query.body.as_ref() else {
        panic!("a select")
    };
    match &select.projection[0] {
        SelectItem::UnnamedExpr(expression) => Ok(expression.clone()),
        other => panic!("{other} is no expression"),
    }
}

/// The answer as text; NULL as `NULL`; errors of planning and evaluation as text too.
fn evaluate(sql: &str) -> String {
    let batch = rows();
    let catalog = Catalog::default();
    let planned = expression(sql)
        .and_then(|expression| QueryPlanner::new(&catalog).physical_expression(&expression, &batch.schema()));
    let (physical, field) = match planned {
        Ok(planned) => planned,
        Err(error) => return format!("error: {error}"),
    };
    let answer = match physical
        .evaluate(&batch)
        .and_then(|value| value.into_array(batch.num_rows()))
    {
        Ok(answer) => answer,
        Err(error) => return format!("error: {}", error.strip_backtrace()),
    };
    assert_eq!(
        answer.data_type(),
        field.data_type(),
        "the type promised for {sql}"
    );
    assert!(
        !format!("{}", answer.data_type()).contains("View"),
        "{sql} is {}",
        answer.data_type()
    );
    let text = |row: usize| match answer.is_null(row) {
        true => "NULL".to_string(),
        false => array_value_to_string(&answer, row).unwrap(),
    };
    assert!(
        (1..batch.num_rows()).all(|row| text(row) == text(0)),
        "equal rows have one answer: {sql}"
    );
    text(0)
}

fn check(sql: &str, expected: &str) {
    assert_eq!(evaluate(sql), expected, "{sql}");
}

#[test]
fn text_functions_answer_as_flink() {
    check("CONCAT('a', 'b', s)", "abhello world");
    check("CONCAT('a', nothing)", "NULL");
    check("CONCAT('n=', n)", "n=42");
    check("CONCAT_WS('-', 'a', nothing, 'b')", "a-b");
    check("'a' || nothing", "NULL");
    check("'a' || n", "a42");
    check("UPPER(s)", "HELLO WORLD");
    check("lower('ABC')", "abc");
    check("INITCAP(s)", "Hello World");
    check("REVERSE('abc')", "cba");
    check("CHAR_LENGTH(s)", "11");
    check("CHARACTER_LENGTH('é')", "1");
    check("POSITION('o' IN s)", "5");
    check("LOCATE('o', s)", "5");
    check("LOCATE('o', s, 6)", "8");
    check("LOCATE('é', 'aéé', 3)", "3");
    check("INSTR(s, 'world')", "7");
    check("INSTR(s, 'x')", "0");
    check("SUBSTRING(s FROM 7)", "world");
    check("SUBSTRING(s FROM 1 FOR 5)", "hello");
    check("SUBSTR(s, -5)", "world");
    check("SUBSTR(s, -5, 2)", "wo");
    check("LEFT(s, 2)", "he");
    check("RIGHT(s, 2)", "ld");
    check("LPAD('7', 3, '0')", "007");
    check("LPAD('hello', 3, '0')", "hel");
    check("RPAD('7', 4, 'ab')", "7aba");
    check("LPAD('7', -1, '0')", "NULL");
    check("RPAD('7', 3, '')", "NULL");
    check("LEFT(s, 4)", "hell");
    check("LEFT(s, -1)", "");
    check("RIGHT('größe', 3)", "öße");
    check("RIGHT(s, -1)", "");
    check("CAST(s AS VARCHAR(5))", "hello");
    check("CAST(n AS VARCHAR(1))", "4");
    check("CAST('ab' AS CHAR(4)) || '.'", "ab  .");
    check("TRY_CAST(n AS CHAR(1))", "4");
    check(
        "CAST(CAST(ts AS TIMESTAMP(0)) AS STRING)",
        "2023-11-14 22:13:20.000",
    );
    check("RPAD('7', 3, 'x')", "7xx");
    check("TRIM('  a ')", "a");
    check("TRIM(LEADING 'x' FROM 'xxa')", "a");
    check("REPEAT('ab', 2)", "abab");
    check("REPLACE(s, 'l', 'L')", "heLLo worLd");
    check("OVERLAY('abcdef' PLACING 'X' FROM 2 FOR 3)", "aXef");
    check("ASCII('A')", "65");
    check("CHR(65)", "A");
    check("IS_ALPHA('abc')", "true");
    check("IS_ALPHA('a1')", "false");
    check("IS_DIGIT('12')", "true");
    check("IS_DIGIT(nothing)", "false");
    check("IS_DECIMAL('1.5')", "true");
    check("HASH_CODE('hello')", "99162322");
    check("HEX(255)", "FF");
    check("HEX('ab')", "6162");
    check("BIN(n)", "101010");
    check("SPLIT_INDEX(s, ' ', 1)", "world");
    check("SPLIT_INDEX(s, 'o w', 1)", "orld");
    check("SPLIT_INDEX(s, ' ', 2)", "NULL");
    check("s LIKE 'hello%'", "true");
    check("s NOT LIKE '_ello%'", "false");
    check("'50%' LIKE '50!%' ESCAPE '!'", "true");
    check("'50x' LIKE '50!%' ESCAPE '!'", "false");
    check("s SIMILAR TO 'h(e|a)l+o%'", "true");
    check("s SIMILAR TO 'hello'", "false");
    check("s NOT SIMILAR TO 'w%'", "true");
    check("'a.c' SIMILAR TO 'a.c'", "true");
    check("'abc' SIMILAR TO 'a.c'", "false");
    check("TO_BASE64('hello')", "aGVsbG8=");
    check("FROM_BASE64('aGVsbG8=')", "hello");
    check("CHR(353)", "a");
    check("CHR(-1)", "");
    check("ELT(2, 'a', s)", "hello world");
    check("ELT(3, 'a', s)", "NULL");
    check("ELT(0, 'a', s)", "NULL");
    check("ENDSWITH(s, 'world')", "true");
    check("URL_ENCODE('a b&c=é*')", "a+b%26c%3D%C3%A9*");
    check("URL_DECODE('a+b%26c%3d%C3%A9')", "a b&c=é");
    check("URL_DECODE('50%')", "NULL");
    check("URL_DECODE('%C3')", "NULL");
    check("CAST(UNHEX('4D7953514C') AS STRING)", "MySQL");
    check("UNHEX('xy')", "NULL");
    check("HEX(CAST(UNHEX('141') AS STRING))", "0041");
}

#[test]
fn regular_expressions_answer_as_flink() {
    check("REGEXP_EXTRACT(url, '(&|^)channel_id=([^&#]*)', 2)", "x%20y");
    check("REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2)", "x%20y#ref");
    check("REGEXP_EXTRACT(url, '(&|^)missing=([^&]*)', 2)", "NULL");
    check("REGEXP_EXTRACT('foothebar', 'foo(.*?)(bar)', 1)", "the");
    check("REGEXP_EXTRACT(s, 'o.w')", "o w");
    check("REGEXP_EXTRACT_ALL(s, '(l+)(o| w)')", "[ll]");
    check("REGEXP_EXTRACT_ALL(s, 'l|o', 0)", "[l, l, o, o, l]");
    check("REGEXP_EXTRACT_ALL(s, 'l')", "NULL");
    check("REGEXP_EXTRACT_ALL(nothing, 'l')", "NULL");
    check("REGEXP(s, 'w.r')", "true");
    check("REGEXP(nothing, 'w')", "NULL");
    check("REGEXP_SUBSTR(s, 'w.*')", "world");
    check("REGEXP_REPLACE(s, '(l+)', '<$1>')", "he<ll>o wor<l>d");
    check(
        "REGEXP_EXTRACT(s, '(', 1)",
        "error: '(' is no regular expression: unclosed group (line 1, column 26)",
    );
}

#[test]
fn times_are_printed_and_read_as_flink() {
    check(
        "DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm:ss.SSS')",
        "2023-11-14 22:13:20.123",
    );
    check("DATE_FORMAT(ts, 'yyyy-MM-dd')", "2023-11-14");
    check("CAST(ts AS STRING)", "2023-11-14 22:13:20.123");
    check("CAST(ts AS VARCHAR(30))", "2023-11-14 22:13:20.123");
    check("'at ' || ts", "at 2023-11-14 22:13:20.123");
    check("CAST(n = 42 AS STRING)", "TRUE");
    check(
        "CAST('2023-11-14 22:13:20.5' AS TIMESTAMP(3)) = TIMESTAMP '2023-11-14 22:13:20.500'",
        "true",
    );
    check(
        "CAST(TO_TIMESTAMP('2023-11-14 22:13:20') AS STRING)",
        "2023-11-14 22:13:20.000",
    );
    check(
        "CAST(TO_TIMESTAMP('14/11/2023', 'dd/MM/yyyy') AS STRING)",
        "2023-11-14 00:00:00.000",
    );
    check("TO_TIMESTAMP('no time')", "NULL");
    check(
        "CAST(TO_TIMESTAMP_LTZ(1700000000123, 3) AS STRING)",
        "2023-11-14 22:13:20.123",
    );
    check(
        "CAST(TO_TIMESTAMP_LTZ(1700000000, 0) AS STRING)",
        "2023-11-14 22:13:20.000",
    );
    check("TO_DATE('2023-11-14')", "2023-11-14");
    check("UNIX_TIMESTAMP('1970-01-02 00:00:00')", "86400");
    check("FROM_UNIXTIME(86400)", "1970-01-02 00:00:00");
    check("FROM_UNIXTIME(n, 'HH:mm:ss')", "00:00:42");
}

#[test]
fn times_are_taken_apart_and_moved_as_flink() {
    check("EXTRACT(YEAR FROM ts)", "2023");
    check("EXTRACT(MONTH FROM DATE '2023-02-01')", "2");
    check("YEAR(ts)", "2023");
    check("QUARTER(ts)", "4");
    check("MONTH(ts)", "11");
    check("WEEK(ts)", "46");
    check("DAYOFYEAR(ts)", "318");
    check("DAYOFMONTH(ts)", "14");
    check("DAYOFWEEK(ts)", "3");
    check("HOUR(ts)", "22");
    check("MINUTE(ts)", "13");
    check("HOUR(TIME '10:11:12')", "10");
    check("EXTRACT(SECOND FROM TIME '10:11:12')", "12");
    check(
        "EXTRACT(DAY FROM TIME '10:11:12')",
        "error: Execution error: a TIME has no DAY",
    );
    check("SECOND(ts)", "20");
    check("CAST(FLOOR(ts TO HOUR) AS STRING)", "2023-11-14 22:00:00.000");
    check("CAST(CEIL(ts TO DAY) AS STRING)", "2023-11-15 00:00:00.000");
    check("CAST(FLOOR(ts TO MONTH) AS STRING)", "2023-11-01 00:00:00.000");
    check("FLOOR(DATE '2023-11-14' TO YEAR)", "2023-01-01");
    check("CAST(FLOOR(ts TO WEEK) AS STRING)", "2023-11-12 00:00:00.000");
    check("TIMESTAMPDIFF(HOUR, TIMESTAMP '2023-11-14 00:00:00', ts)", "22");
    check("TIMESTAMPDIFF(MONTH, DATE '2023-01-31', DATE '2023-02-28')", "1");
    check("TIMESTAMPDIFF(DAY, ts, DATE '2023-11-13')", "-1");
    check(
        "CAST(TIMESTAMPADD(MONTH, 1, TIMESTAMP '2024-01-31 10:00:00') AS STRING)",
        "2024-02-29 10:00:00.000000",
    );
    check(
        "TIMESTAMPADD(YEAR, 300000, ts)",
        "error: Arrow error: Compute error: TIMESTAMPADD of 300000 units leaves the range of TIMESTAMP",
    );
    check(
        "CAST(ts - INTERVAL '1' HOUR AS STRING)",
        "2023-11-14 21:13:20.123",
    );
    check(
        "CAST(ts + INTERVAL '1' MONTH AS STRING)",
        "2023-12-14 22:13:20.123",
    );
}

#[test]
fn conditions_answer_as_flink() {
    check("IF(n > 40, 'big', 'small')", "big");
    check("IFNULL(nothing, 'x')", "x");
    check("COALESCE(nothing, s)", "hello world");
    check("NULLIF(n, 42)", "NULL");
    check("GREATEST(1, n, 3)", "42");
    check("LEAST(1, n, 3)", "1");
    check("GREATEST(1, NULLIF(n, 42))", "NULL");
    check("CASE WHEN n > 50 THEN 'a' WHEN n > 40 THEN 'b' END", "b");
    check("CASE LOWER('Apple') WHEN 'apple' THEN '0' ELSE '1' END", "0");
    check("n BETWEEN 1 AND 42", "true");
    check("n IN (1, 2)", "false");
    check("nothing IS NULL", "true");
    check("CAST('7' AS INT) + 1", "8");
    check("TRY_CAST('x' AS INT)", "NULL");
}

#[test]
fn numbers_answer_as_flink() {
    check("MOD(n, 5)", "2");
    check("MOD(n + 1, 5)", "3");
    check("7 / 2", "3");
    check("0.908 * n", "38.136");
    check("LN(1)", "0.0");
    check("LOG(1)", "0.0");
    check("LOG10(100)", "2.0");
    check("LOG2(8)", "3.0");
    check("LOG(2, 8)", "3.0");
    check("ABS(-5)", "5");
    check("SIGN(-5.5E0)", "-1.0");
    check("ROUND(2.567, 2)", "2.57");
    check("TRUNCATE(2.567E0, 2)", "2.56");
    check("FLOOR(2.5E0)", "2.0");
    check("CEIL(2.5E0)", "3.0");
    check("FLOOR(n)", "42");
    check("E()", "2.718281828459045");
    check("POWER(2, 10)", "1024.0");
    check("SQRT(16)", "4.0");
    check("SQRT(-4)", "NaN");
    check("7.0 / 2", "3.500000000000");
    check(
        "CAST(7 AS DECIMAL(10, 2)) / CAST(3 AS DECIMAL(10, 2))",
        "2.3333333333333",
    );
    check(
        "CAST(-8 AS DECIMAL(10, 2)) / CAST(3 AS DECIMAL(10, 2))",
        "-2.6666666666667",
    );
    check("CAST(1 AS DECIMAL(38, 2)) / n", "0.023810");
    check("1.00 / (n - 42)", "error: Execution error: division by zero");
    check("CAST(1 AS DECIMAL(38, 2)) / NULLIF(n, 42)", "NULL");
    check(
        "CAST(1.5 AS DECIMAL(20, 18)) * CAST(1.5 AS DECIMAL(20, 18))",
        "2.250000000000000000000000000000000",
    );
    check(
        "CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0)) * CAST(n AS DECIMAL(38, 0))",
        "NULL",
    );
    check("LN(-1)", "NaN");
}

#[test]
fn documents_and_urls_are_taken_apart() {
    check("JSON_VALUE(json, '$.a.b[1]')", "two");
    check("JSON_VALUE(json, '$.c')", "true");
    check("JSON_VALUE(json, '$.a')", "NULL");
    check("JSON_VALUE('no json', '$.a')", "NULL");
    check("JSON_QUERY(json, '$.a.b')", r#"[1,"two",null]"#);
    check("JSON_EXISTS(json, '$.a.b[1]')", "true");
    check("JSON_EXISTS(json, '$.a.x')", "false");
    check("JSON_STRING(s)", "\"hello world\"");
    check("JSON_STRING(a)", "[7,8]");
    check("JSON_STRING(nothing)", "NULL");
    check("JSON_QUOTE('say \"a\"')", r#""say \"a\"""#);
    check("JSON_UNQUOTE(JSON_QUOTE('say \"a\"'))", "say \"a\"");
    check("JSON_UNQUOTE('no json')", "no json");
    check("STR_TO_MAP('k1=v1,k2=v2,k1=v3')['k1']", "v3");
    check("STR_TO_MAP('k1:v1;k2', ';', ':')['k1']", "v1");
    check("CARDINALITY(STR_TO_MAP('a=1,b=2'))", "2");
    check("PARSE_URL(url, 'HOST')", "h.com");
    check("PARSE_URL(url, 'PATH')", "/p/q");
    check("PARSE_URL(url, 'QUERY', 'channel_id')", "x%20y");
    check("PARSE_URL(url, 'PROTOCOL')", "https");
    check("PARSE_URL(url, 'REF')", "ref");
    check("PARSE_URL(url, 'USERINFO')", "joe");
    check("PARSE_URL(s, 'HOST')", "NULL");
}

#[test]
fn what_a_path_finds_is_wrapped_and_what_it_does_not_find_is_said() {
    check("JSON_QUERY(json, '$.a.b[0]' WITH WRAPPER)", "[1]");
    check(
        "JSON_QUERY(json, '$.a.b' WITH UNCONDITIONAL ARRAY WRAPPER)",
        r#"[[1,"two",null]]"#,
    );
    check(
        "JSON_QUERY(json, '$.a.b' WITH CONDITIONAL WRAPPER)",
        r#"[1,"two",null]"#,
    );
    check(
        "JSON_QUERY(json, '$.a' WITH CONDITIONAL ARRAY WRAPPER)",
        r#"[{"b":[1,"two",null]}]"#,
    );
    check(
        "JSON_QUERY(json, '$.a.b[1]' RETURNING STRING WITHOUT WRAPPER EMPTY ARRAY ON ERROR)",
        "[]",
    );
    check("JSON_QUERY(json, '$.a.b[1]')", "NULL");
    check(
        "JSON_QUERY(json, 'lax $.a.b[1]' EMPTY OBJECT ON EMPTY EMPTY ARRAY ON ERROR)",
        "{}",
    );
    check(
        "JSON_QUERY(json, '$.a.b[2]' EMPTY OBJECT ON EMPTY EMPTY ARRAY ON ERROR)",
        "[]",
    );
    check(
        "JSON_QUERY(json, 'lax $.x' NULL ON EMPTY EMPTY ARRAY ON ERROR)",
        "NULL",
    );
    check(
        "JSON_QUERY('no json', '$.x' EMPTY ARRAY ON EMPTY EMPTY OBJECT ON ERROR)",
        "{}",
    );
    check("JSON_EXISTS(json, '$.x' TRUE ON ERROR)", "true");
    check("JSON_EXISTS(json, 'lax $.x' TRUE ON ERROR)", "false");
    check("JSON_EXISTS('no json', '$.x' UNKNOWN ON ERROR)", "NULL");
    check("JSON_EXISTS('no json', '$.x')", "false");
    check("JSON_EXISTS(json, '$.a.b[2]')", "false");
    check("json IS JSON", "true");
    check("json IS JSON OBJECT AND json IS NOT JSON ARRAY", "true");
    check("'[1, 2]' IS JSON ARRAY", "true");
    check("'null' IS JSON SCALAR", "true");
    check("'{}' IS JSON SCALAR", "false");
    check("'[1' IS JSON VALUE", "false");
    check("CAST(NULL AS STRING) IS NOT JSON", "true");
}

#[test]
fn digests_are_hexadecimal_text() {
    check("MD5('hello')", "5d41402abc4b2a76b9719d911017c592");
    check(
        "SHA2('hello', 224)",
        "ea09ae9cc6768c50fcee903ed054556e5bfc8347907f12598aa24193",
    );
    check("SHA1('hello')", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d");
    check(
        "SHA1(REPEAT('a', 200))",
        "e61cfffe0d9195a525fc6cf06ca2d77119c24a40",
    );
    check(
        "SHA256('hello')",
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    );
}

#[test]
fn arrays_are_counted_and_indexed() {
    check("CARDINALITY(a)", "2");
    check("a[1]", "7");
    check("ARRAY_CONTAINS(a, 8)", "true");
    check("ARRAY[1, 2, 3][2]", "2");
    check("CARDINALITY(SPLIT('a,b', ','))", "2");
    check("SPLIT(',a,,b', ',')", "[, a, , b]");
    check("SPLIT('abc', '')", "[a, b, c]");
    check("SPLIT(nothing, ',')", "NULL");
    check("ARRAY_POSITION(a, 8)", "2");
    check("ARRAY_POSITION(a, 9)", "0");
    check("ARRAY_POSITION(a, NULLIF(n, 42))", "NULL");
    check("ARRAY_REMOVE(ARRAY[1, 2, 1, 3], 1)", "[2, 3]");
    check("ARRAY_REMOVE(a, NULLIF(n, 42))", "[7, 8]");
    check("ELEMENT(ARRAY[n])", "42");
    check(
        "ELEMENT(a)",
        "error: Execution error: ELEMENT needs an ARRAY with one element, not 2",
    );
    check("ARRAY_REPEAT('ab', 2)", "[ab, ab]");
}

#[test]
fn functions_that_could_make_too_much_are_bounded() {
    for (call, message) in [
        (
            "ARRAY_REPEAT('ab', 9000000000000)",
            "ARRAY_REPEAT makes more than 16777216 values",
        ),
        (
            "LPAD('ab', 16777217, 'x')",
            "16777216 characters at most, not to 16777217",
        ),
        (
            "RPAD('ab', 16777217, 'x')",
            "16777216 characters at most, not to 16777217",
        ),
    ] {
        let answer = evaluate(call);
        assert!(answer.contains(message), "{call}: {answer}");
    }
}

#[test]
fn unknown_and_refused_functions_are_named_with_a_way_out() {
    check(
        "SUBSTRNG(s, 1)",
        "error: function `SUBSTRNG` not found (line 1, column 8); did you mean `SUBSTRING`?",
    );
    check(
        "TO_TIMESTAMP(n)",
        "error: the arguments must be a STRING and, if at all, a pattern such as 'yyyy-MM-dd HH:mm:ss' \
         (line 1, column 8)",
    );
    for name in [
        "NOW()",
        "CURRENT_TIMESTAMP",
        "RAND()",
        "UUID()",
        "UNIX_TIMESTAMP()",
    ] {
        let answer = evaluate(name);
        assert!(
            answer.contains("is not supported yet: results must not depend on the clock or on chance"),
            "{answer}"
        );
    }
}
