//! Values that are made of others, and the functions around them: MAP, JSON, PRINTF, zones, types.

use super::check;

#[test]
fn maps_are_made_of_pairs() {
    check("MAP['a', 1, 'b', 2]", "{a: 1, b: 2}");
    check("MAP['a', n, s, 2.5]['hello world']", "2.5");
    check("MAP['a', 1, 'a', 2]", "{a: 2}");
    check("MAP[n, nothing]", "{42: }");
    check("CARDINALITY(MAP['a', 1, 'b', 2])", "2");
    check("MAP['a', ARRAY[1, 2]]", "{a: [1, 2]}");
    check(
        "MAP['a', 1, 'b']",
        "error: MAP needs a value for each key: MAP['a', 1, 'b', 2] (line 1, column 8)",
    );
    check("MAP[nothing, 1]", "error: Execution error: a key of MAP is NULL");
}

#[test]
fn intervals_are_multiplied() {
    check("ts + INTERVAL '1' HOUR * 3", "2023-11-15T01:13:20.123");
    check("ts + 2 * INTERVAL '1' DAY", "2023-11-16T22:13:20.123");
    check("ts - INTERVAL '1' MONTH * 2", "2023-09-14T22:13:20.123");
    check("ts + n * INTERVAL '1' SECOND", "2023-11-14T22:14:02.123");
    check("ts + INTERVAL '1' HOUR * CAST(nothing AS INT)", "NULL");
}

#[test]
fn json_is_made_of_values() {
    check("JSON_OBJECT()", "{}");
    check(
        "JSON_OBJECT('a' VALUE n, KEY 'b' VALUE s, 'c' VALUE nothing)",
        r#"{"a":42,"b":"hello world","c":null}"#,
    );
    check(
        "JSON_OBJECT('a' VALUE 1, 'c' VALUE nothing ABSENT ON NULL)",
        r#"{"a":1}"#,
    );
    check(
        "JSON_OBJECT('a' VALUE JSON_OBJECT('b' VALUE TRUE), 'c' VALUE JSON_ARRAY(1, 'x'), 'd' VALUE '[1]')",
        r#"{"a":{"b":true},"c":[1,"x"],"d":"[1]"}"#,
    );
    check("JSON_OBJECT('a\"b' VALUE a)", r#"{"a\"b":[7,8]}"#);
    check("JSON_ARRAY()", "[]");
    check("JSON_ARRAY(1, nothing, NULL, s)", r#"[1,"hello world"]"#);
    check("JSON_ARRAY(1, nothing NULL ON NULL)", "[1,null]");
    check("JSON_ARRAY(JSON_ARRAY(n), JSON_ARRAY())", "[[42],[]]");
    check(
        "JSON_OBJECT(s VALUE 1)",
        "error: expected a key in single quotes, found s (line 1, column 20)",
    );
}

#[test]
fn json_values_are_brought_to_a_type_and_have_defaults() {
    check("JSON_VALUE(json, '$.a.b[0]' RETURNING INT) + 1", "2");
    check("JSON_VALUE(json, '$.c' RETURNING BOOLEAN)", "true");
    check("JSON_VALUE('{\"x\": 1.5}', '$.x' RETURNING DOUBLE)", "1.5");
    check("JSON_VALUE(json, '$.a.b[1]' RETURNING INT)", "NULL");
    check(
        "JSON_VALUE(json, '$.a.b[1]' RETURNING INT DEFAULT 7 ON ERROR)",
        "7",
    );
    check("JSON_VALUE(json, 'lax $.x' DEFAULT 'none' ON EMPTY)", "none");
    check(
        "JSON_VALUE(json, 'lax $.x' RETURNING BOOLEAN DEFAULT FALSE ON EMPTY)",
        "false",
    );
    check("JSON_VALUE(json, '$.x' DEFAULT 'none' ON EMPTY)", "NULL");
    check(
        "JSON_VALUE(json, 'strict $.x' NULL ON EMPTY DEFAULT s ON ERROR)",
        "hello world",
    );
    check("JSON_VALUE(json, '$.a.b[2]' DEFAULT 'null' ON EMPTY)", "null");
    check("JSON_VALUE(json, '$.a' DEFAULT 'object' ON ERROR)", "object");
    check("JSON_VALUE('{', '$.a' DEFAULT 'broken' ON ERROR)", "broken");
    check("JSON_VALUE(nothing, '$.a' DEFAULT 'broken' ON ERROR)", "NULL");
    check("JSON_VALUE('{\"a b\": 3}', '$.[''a b'']' RETURNING INT)", "3");
    check(
        "JSON_VALUE(json, '$.x' ERROR ON ERROR)",
        "error: Execution error: JSON_VALUE at '$.x': the path finds nothing",
    );
    check(
        "JSON_VALUE(json, '$.x' NULL ON ERROR NULL ON EMPTY)",
        "error: expected one ON EMPTY, then one ON ERROR, found EMPTY (line 1, column 53)",
    );
}

#[test]
fn printf_writes_by_a_format() {
    check("PRINTF('%s has %d', s, n)", "hello world has 42");
    check(
        "PRINTF('%05d|%-5d|%+d|%,d', n, n, n, 1234567)",
        "00042|42   |+42|1,234,567",
    );
    check(
        "PRINTF('%.2f %8.1f %e', 1.005E0, 2.25E0, 12345.678E0)",
        "1.00      2.2 1.234568e+04",
    );
    check(
        "PRINTF('%x %X %o %c %b %%', 255, 255, 8, 'z', TRUE)",
        "ff FF 10 z true %",
    );
    check("PRINTF('%.3s|%6s|%S', s, 'ab', 'cd')", "hel|    ab|CD");
    check("PRINTF('%s %d', nothing, n)", "null 42");
    check("PRINTF('plain')", "plain");
    check("PRINTF(nothing, 1)", "NULL");
    check("PRINTF('%d', s)", "NULL");
    check("PRINTF('%d %d', n)", "NULL");
    check("PRINTF('%y', n)", "NULL");
    check("PRINTF('%99999d', n)", "NULL");
}

#[test]
fn local_times_go_from_zone_to_zone() {
    check(
        "CONVERT_TZ('1970-01-01 00:00:00', 'UTC', 'America/Los_Angeles')",
        "1969-12-31 16:00:00",
    );
    check(
        "CONVERT_TZ('2024-07-01 12:00:00', 'Europe/Berlin', 'UTC')",
        "2024-07-01 10:00:00",
    );
    check(
        "CONVERT_TZ('2024-07-01 12:00:00', 'GMT-08:00', 'Asia/Tokyo')",
        "2024-07-02 05:00:00",
    );
    // The clock is put forward from 2 to 3, and back from 3 to 2.
    check(
        "CONVERT_TZ('2024-03-31 02:30:00', 'Europe/Berlin', 'UTC')",
        "2024-03-31 01:30:00",
    );
    check(
        "CONVERT_TZ('2024-10-27 02:30:00', 'Europe/Berlin', 'UTC')",
        "2024-10-27 00:30:00",
    );
    check("CONVERT_TZ(s, 'UTC', 'Asia/Tokyo')", "NULL");
    check("CONVERT_TZ(nothing, 'UTC', 'Asia/Tokyo')", "NULL");
    check(
        "CONVERT_TZ(s, 'UTC', 'Mars/Base')",
        "error: 'Mars/Base' is not a time zone; zones are 'UTC', 'Europe/Berlin', 'GMT-08:00' (line 1, column 29)",
    );
}

#[test]
fn typeof_names_the_type() {
    check("TYPEOF(n)", "BIGINT");
    check("TYPEOF(ts)", "TIMESTAMP(3)");
    check("TYPEOF(a)", "ARRAY<BIGINT>");
    check("TYPEOF('x')", "STRING NOT NULL");
    check("TYPEOF(CAST(n AS DECIMAL(10, 2)), TRUE)", "DECIMAL(10, 2)");
    check("TYPEOF(MAP['a', 1.5])", "MAP<STRING, DECIMAL(2, 1)> NOT NULL");
    check("TYPEOF(NULL)", "NULL");
}
