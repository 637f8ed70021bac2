//! A wrong statement is pointed at where it is wrong: one table of what, where, and what to do instead.

use super::check_refused;

/// Statement with `«…»` around what is blamed, message, part of the hint.
const WRONG: [(&str, &str, &str); 52] = [
    // Names.
    ("SELECT id, «vv» FROM a", "column `vv` not found", "`v`"),
    ("SELECT id FROM a ORDER BY «vv»", "column `vv` not found", "`v`"),
    (
        "SELECT id, SUM(v) s FROM a GROUP BY id HAVING «z» > 3",
        "column `z` not found",
        "`s`",
    ),
    ("SELECT «c.v» FROM a", "table `c` not found in FROM", "`a`"),
    ("SELECT v FROM «aa»", "table `aa` not found", "`a`"),
    (
        "SELECT «UPPERR»(k) FROM a",
        "function `UPPERR` not found",
        "`UPPER`",
    ),
    (
        "SELECT id, «SUMM»(v) FROM a GROUP BY id",
        "function `SUMM` not found",
        "`SUM`",
    ),
    (
        "SELECT «id» FROM a JOIN b ON a.id = b.id",
        "column `id` is ambiguous",
        "before it",
    ),
    (
        "SELECT a.id FROM a JOIN b ON a.id = «b.idd»",
        "column `idd` not found",
        "`id`",
    ),
    (
        "SELECT a.id FROM a JOIN b USING («idd»)",
        "column `idd` not found",
        "`id`",
    ),
    (
        "SELECT id AS x, «v AS x» FROM a",
        "two columns of the query are named `x`",
        "AS",
    ),
    (
        "INSERT INTO b (id, «tss») SELECT id, ts FROM a",
        "`b` has no column `tss` to write",
        "`ts`",
    ),
    // Types.
    (
        "SELECT id FROM a WHERE «v»",
        "WHERE needs a BOOLEAN, and `v` is BIGINT",
        "",
    ),
    (
        "SELECT id FROM a WHERE id > 0 AND «v» = ts",
        "`=` does not take BIGINT and TIMESTAMP(3)",
        "CAST",
    ),
    (
        "SELECT id FROM a WHERE «k» > INTERVAL '1' DAY",
        "`>` does not take STRING and INTERVAL",
        "CAST",
    ),
    (
        "SELECT id FROM a WHERE «v» AND id > 3",
        "`AND` does not take BIGINT and BOOLEAN",
        "CAST",
    ),
    (
        "SELECT CASE WHEN «v» THEN 1 ELSE 2 END FROM a",
        "WHEN needs a BOOLEAN, and this is BIGINT",
        "<> 0",
    ),
    (
        "SELECT SUM(v) FILTER (WHERE «k») FROM a",
        "FILTER needs a BOOLEAN, and this is STRING",
        "IS NOT NULL",
    ),
    (
        "SELECT a.id FROM a JOIN b «ON» a.id",
        "join condition must be boolean type, but got BIGINT",
        "",
    ),
    (
        "SELECT «SUM»(k) FROM a",
        "no function takes these arguments: sum(STRING)",
        "CAST",
    ),
    (
        "SELECT «ABS»(k) FROM a",
        "no function takes these arguments: abs(STRING)",
        "CAST",
    ),
    (
        "SELECT «SUBSTRING»(v) FROM a",
        "SUBSTRING needs to know from where",
        "FROM 2 FOR 3",
    ),
    (
        "SELECT -«k» FROM a",
        "- cannot be used with STRING: - can only be used with signed numeric types, intervals, and timestamps",
        "cast",
    ),
    (
        "SELECT k «LIKE» 5 FROM a",
        "there isn't a common type to coerce STRING and BIGINT in LIKE expression",
        "",
    ),
    (
        "SELECT v «BETWEEN» 'a' AND ts FROM a",
        "failed to coerce types BIGINT and TIMESTAMP(3) in BETWEEN expression",
        "",
    ),
    (
        "SELECT id FROM a WHERE id «IN» ('x', ts)",
        "can not find compatible types to compare BIGINT with [STRING, TIMESTAMP(3)]",
        "",
    ),
    (
        "SELECT id, CAST(«k» AS BLOB) FROM a",
        "unknown type BLOB",
        "BYTES",
    ),
    (
        "SELECT id FROM a «UNION» ALL SELECT id, v FROM b",
        "the sides of UNION have 1 and 2 columns",
        "same number",
    ),
    (
        "SELECT * FROM («VALUES» (1), (2, 3))",
        "the rows of VALUES have 1 and 2 columns",
        "NULL",
    ),
    (
        "SELECT * FROM (VALUES (1), («'a'»))",
        "cannot cast string 'a' to value of BIGINT type",
        "",
    ),
    // Aggregates.
    (
        "SELECT k, «id», SUM(v) FROM a GROUP BY k",
        "`id` is neither grouped by nor aggregated",
        "MAX(`id`)",
    ),
    (
        "SELECT id, SUM(SUM(«v»)) FROM a GROUP BY id",
        "aggregate function calls cannot be nested",
        "inner query",
    ),
    (
        "SELECT id FROM a «WHERE» SUM(v) > 3",
        "an aggregate in the WHERE clause, which looks at single rows",
        "HAVING",
    ),
    // Joins and sub-queries.
    (
        "SELECT a.id FROM a «CROSS» JOIN b",
        "a join of two streams without a condition would pair every row with every other",
        "ON",
    ),
    (
        "SELECT id FROM a LEFT «JOIN» b",
        "the join condition should not be empty",
        "ON a.id = b.id",
    ),
    (
        "SELECT a.id FROM a JOIN b «FOR» SYSTEM_TIME AS OF a.ts AS r ON a.v > r.v",
        "a temporal join needs an equality of keys",
        "=",
    ),
    (
        "SELECT a.id FROM a JOIN b FOR SYSTEM_TIME AS OF «a.v» AS r ON a.id = r.id",
        "FOR SYSTEM_TIME AS OF needs the event time of the left table, and `a.v` is not",
        "WATERMARK FOR",
    ),
    (
        "SELECT a.id FROM a, «LATERAL» (SELECT v FROM b WHERE b.k > a.k ORDER BY v LIMIT 1) t",
        "a LATERAL sub-query with LIMIT is correlated by equalities alone",
        "inner.k = outer.k",
    ),
    // OVER.
    (
        "SELECT id, «RANK»() OVER (PARTITION BY k ORDER BY ts) FROM a",
        "RANK() needs a bound on a stream",
        "Top-N",
    ),
    (
        "SELECT id, «NTILE»(3) OVER (PARTITION BY k ORDER BY ts) FROM a",
        "NTILE() OVER is not supported",
        "LEAD",
    ),
    (
        "SELECT id, COUNT(*) OVER (PARTITION BY k ORDER BY «v») FROM a",
        "OVER must be ordered by the event-time column",
        "WATERMARK FOR",
    ),
    (
        "SELECT id, LAG(v) «OVER» (PARTITION BY k) FROM a",
        "OVER needs ORDER BY the event-time column: a stream has no other order",
        "WATERMARK FOR",
    ),
    (
        "SELECT «LEAD»(v, 1000001) OVER (PARTITION BY k ORDER BY ts) FROM a",
        "the offset of LEAD is a number from 0 to 1000000",
        "LAG",
    ),
    (
        "SELECT «LEAD»(v, 1, k) OVER (PARTITION BY k ORDER BY ts) FROM a",
        "the default of LEAD is STRING, and its argument is BIGINT",
        "CAST",
    ),
    (
        "SELECT id, «k.x» FROM a",
        "`k` is STRING and has no field `x`",
        "only a ROW",
    ),
    (
        "SELECT t.id FROM a AS t WHERE «t.k.x» > 1",
        "`k` is STRING and has no field `x`",
        "only a ROW",
    ),
    (
        "SELECT «LEAD»(v, 1.5) OVER (PARTITION BY k ORDER BY ts) FROM a",
        "the offset of LEAD is a number from 0 to 1000000",
        "LAG looks back",
    ),
    (
        "SELECT «LAG»(v, -1) OVER (PARTITION BY k ORDER BY ts) FROM a",
        "the offset of LAG is a whole number from 0 on",
        "LEAD looks ahead",
    ),
    (
        "SELECT «NTH_VALUE»(v, 0) OVER (PARTITION BY k ORDER BY ts) FROM a",
        "the second argument of NTH_VALUE is a number from 1 on",
        "first value",
    ),
    // Clauses.
    (
        "SELECT id FROM a «OFFSET» 3",
        "OFFSET without LIMIT is not supported on a stream",
        "LIMIT n OFFSET m",
    ),
    (
        "SELECT id FROM a «EMIT» EVERY 10s",
        "EMIT EVERY has nothing to hold back: this query answers each row as it comes",
        "aggregate",
    ),
    (
        "SELECT id FROM a «QUALIFY» v > 1",
        "QUALIFY clause requires window functions in the SELECT list or QUALIFY clause",
        "",
    ),
];

#[test]
fn errors_of_the_plan_point_at_what_is_wrong() {
    for (marked, message, hint) in WRONG {
        let before = marked.split('«').next().unwrap_or(marked);
        let column = before.chars().count() as u64 + 1;
        let sql = marked.replace(['«', '»'], "");
        check_refused(&sql, message, (1, column), hint);
        // The same on a line of its own, as a statement is written.
        check_refused(
            &sql.replacen("SELECT", "\n  SELECT", 1),
            message,
            place_below(&sql, column),
            hint,
        );
    }
}

/// Where column `column` of `sql` comes to stand when its first SELECT moves to the next line, indented by 2.
fn place_below(sql: &str, column: u64) -> (u64, u64) {
    let select = sql.find("SELECT").expect("every one has a SELECT") as u64 + 1;
    match column < select {
        true => (1, column),
        false => (2, column - select + 3),
    }
}

#[test]
fn rows_in_the_text_are_a_source_like_another() {
    let text = super::explained(
        "SELECT n + 1 AS m FROM (VALUES (1, 'x'), (2 * 3, NULL)) AS t (n, s) WHERE s IS NOT NULL",
    );
    for expected in ["Source VALUES 1 (values)", "rows: append", "Filter"] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(!text.contains("warning"), "{text}");
}

#[test]
fn behind_lead_there_is_no_event_time() {
    check_refused(
        "SELECT COUNT(*) OVER (ORDER BY ts), n FROM (SELECT ts, LEAD(v) OVER (PARTITION BY k ORDER BY ts) n FROM a)",
        "OVER must be ordered by the event-time column",
        (1, 32),
        "behind LEAD",
    );
    check_refused(
        "SELECT LEAD(v) OVER (ORDER BY ts), LEAD(v) OVER (PARTITION BY k ORDER BY ts) FROM a",
        "LEADs of one SELECT need the same PARTITION BY: behind one, rows have no order left",
        (1, 8),
        "a query of its own",
    );
}
