//! MATCH_RECOGNIZE: what EXPLAIN says of it, and what is refused.

use super::{check_refused, explained};

/// `SELECT * FROM a MATCH_RECOGNIZE (…)` with these clauses.
fn matching(clauses: &str) -> String {
    format!("SELECT * FROM a MATCH_RECOGNIZE ({clauses})")
}

#[test]
fn a_pattern_says_what_it_keeps() {
    let text = explained(&matching(
        "PARTITION BY k ORDER BY ts MEASURES A.id AS start, SUM(B.v * 2) AS total, MATCH_ROWTIME() AS at \
         AFTER MATCH SKIP TO LAST B PATTERN (A B{2,}? C?) WITHIN INTERVAL '1' HOUR \
         DEFINE B AS B.v > LAST(B.v, 1) AND v > 3, C AS C.v < FIRST(A.v)",
    ));
    for expected in [
        "Match A B{2,}? C? per k by ts",
        "B: LAST(B.v, 1) < B.v AND LAST(v) > 3",
        "C: FIRST(A.v) > C.v",
        "the next match begins: at the last B; shorter than 1 h",
        "event time: at",
        "state: bounded by the rows of the last 1 h",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(!text.contains("warning"), "{text}");
    let unbounded = explained(&matching(
        "PARTITION BY k ORDER BY ts MEASURES A.id AS s PATTERN (A B* C) DEFINE B AS B.v > 1, C AS C.v <= 1",
    ));
    assert!(unbounded.contains("warning: the state of"), "{unbounded}");
    assert!(unbounded.contains("WITHIN INTERVAL"), "{unbounded}");
    let short = explained(&matching(
        "PARTITION BY k ORDER BY ts MEASURES A.id AS s PATTERN (A B) DEFINE B AS B.v > A.v",
    ));
    assert!(
        short.contains("bounded by 2 rows per distinct (k) with an open match"),
        "{short}"
    );
    let looks_back = explained(&matching(
        "PARTITION BY k ORDER BY ts MEASURES A.id AS s PATTERN (A B) DEFINE B AS B.v > PREV(B.v, 3)",
    ));
    assert!(
        looks_back.contains("grows, 5 rows per distinct (k), kept for ever"),
        "{looks_back}"
    );
}

/// Clauses with `«…»` around what is blamed, message, part of the hint.
const WRONG: [(&str, &str, &str); 28] = [
    (
        "ORDER BY «v» MEASURES A.id AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "MATCH_RECOGNIZE is ordered by event time first, ascending",
        "WATERMARK FOR",
    ),
    (
        "ORDER BY «ts» DESC MEASURES A.id AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "MATCH_RECOGNIZE is ordered by event time first, ascending",
        "WATERMARK FOR",
    ),
    (
        "PARTITION BY «id + 1» ORDER BY ts MEASURES A.id AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "PARTITION BY of MATCH_RECOGNIZE names columns, and `a.id + Int64(1)` is none",
        "sub-query",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN («A»*) DEFINE A AS A.v > 1",
        "this PATTERN may match no row at all",
        "A+",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN («A» B+) DEFINE A AS A.v > 1",
        "PATTERN ends with `B+`, which takes as many rows as come: its match is over only when a row does not fit",
        "reluctant",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN («A» B{2,3} C?) DEFINE A AS A.v > 1",
        "PATTERN ends with `B{2,3}`, which takes as many rows as come: its match is over only when a row does not fit",
        "reluctant",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN («A» (B?)* C) DEFINE A AS A.v > 1",
        "`(B?)*` repeats without a bound what may take no row",
        "(A B?)*",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN («A» B{0} C) DEFINE A AS A.v > 1",
        "a quantifier of PATTERN has no number of rows that it allows",
        "{n,m}",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN ({- «B» -} A C) DEFINE A AS A.v > 1",
        "an exclusion {- … -} in PATTERN is not supported",
        "ALL ROWS PER MATCH",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN (^ «A» B) DEFINE A AS A.v > 1",
        "the anchors ^ and $ of PATTERN are not supported",
        "no first",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN (PERMUTE(«A», B)) DEFINE A AS A.v > 1",
        "PERMUTE in PATTERN is not supported",
        "A B | B A",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN (A B) DEFINE «C» AS C.v > 1",
        "DEFINE names `C`, which PATTERN does not have",
        "`A`",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN (A B) DEFINE A AS A.v > 1, «A» AS A.v < 9",
        "DEFINE says twice what `A` is",
        "AND",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s AFTER MATCH SKIP TO «D» PATTERN (A B) DEFINE A AS A.v > 1",
        "AFTER MATCH SKIP names `D`, which PATTERN does not have",
        "`A`",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s AFTER MATCH SKIP TO FIRST «A» PATTERN (A+ B) DEFINE A AS A.v > 1",
        "AFTER MATCH SKIP TO FIRST A: each match begins with that row, and would be found again for ever",
        "NEXT ROW",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s, B.id AS «s» PATTERN (A B) DEFINE A AS A.v > 1",
        "two measures are called `s`",
        "",
    ),
    (
        "ORDER BY ts MEASURES A.«idd» AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "column `idd` not found",
        "`id`",
    ),
    (
        "ORDER BY ts MEASURES «D.id» AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "table `D` not found in FROM",
        "",
    ),
    (
        "ORDER BY ts MEASURES LAST(A.id * «B.id») AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "one value is of rows of one variable, and this names `A` and `B`",
        "LAST(A.price) * LAST(B.price)",
    ),
    (
        "ORDER BY ts MEASURES «PREV»(A.id) AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "PREV is for DEFINE alone",
        "variable of its own",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN (A B) DEFINE A AS A.v > «NEXT»(A.v)",
        "NEXT in MATCH_RECOGNIZE is not supported: the row has not come yet",
        "next row",
    ),
    (
        "ORDER BY ts MEASURES «CLASSIFIER»() AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "CLASSIFIER is not supported",
        "COUNT(A.column)",
    ),
    (
        "ORDER BY ts MEASURES «LAST»(A.id, -1) AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "LAST takes a column, and how many rows it counts: a whole number",
        "LAST(A.price, 1)",
    ),
    (
        "ORDER BY ts MEASURES «COUNT»(DISTINCT A.id) AS s PATTERN (A B) DEFINE A AS A.v > 1",
        "DISTINCT aggregates inside MATCH_RECOGNIZE are not supported",
        "above",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN (A B) DEFINE A AS «A.v»",
        "a definition is a condition, and this is BIGINT",
        "compare",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN (A B) «WITHIN» INTERVAL '1' HOUR",
        "DEFINE stands behind WITHIN",
        "PATTERN",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN (A B) WITHIN INTERVAL «'0' HOUR» DEFINE A AS A.v > 1",
        "the interval of WITHIN is longer than nothing",
        "",
    ),
    (
        "ORDER BY ts MEASURES A.id AS s PATTERN (A B) «SUBSET» AB = (A, B) DEFINE A AS A.v > 1",
        "SUBSET of MATCH_RECOGNIZE is not supported",
        "each pattern variable",
    ),
];

#[test]
fn a_wrong_pattern_is_pointed_at_where_it_is_wrong() {
    for (clauses, message, hint) in WRONG {
        let marked = matching(clauses);
        let before = marked.split('«').next().unwrap_or(&marked);
        let column = before.chars().count() as u64 + 1;
        let sql = marked.replace(['«', '»'], "");
        check_refused(&sql, message, (1, column), hint);
    }
    let all_rows = "SELECT * FROM a MATCH_RECOGNIZE (ORDER BY ts MEASURES A.id AS s ALL ROWS PER MATCH \
        PATTERN (A B) DEFINE A AS A.v > 1)";
    check_refused(
        all_rows,
        "ALL ROWS PER MATCH is not supported",
        (1, 15),
        "ONE ROW PER MATCH",
    );
    let changes = "SELECT * FROM (SELECT k, MAX(ts) AS ts FROM a GROUP BY k) MATCH_RECOGNIZE (ORDER BY ts \
        MEASURES A.k AS s PATTERN (A B) DEFINE A AS A.k > 'x')";
    check_refused(
        changes,
        "MATCH_RECOGNIZE is ordered by event time first, and `ts` is none",
        (1, 85),
        "WATERMARK FOR",
    );
}

#[test]
fn patterns_are_bounded() {
    let of = |pattern: &str, offset: usize| {
        matching(&format!(
            "ORDER BY ts MEASURES LAST(A.v, {offset}) AS s PATTERN ({pattern}) DEFINE A AS A.v > 1"
        ))
    };
    assert!(super::compiled(&of("A B{4000}", 1_000_000)).is_ok());
    let column = |sql: &str, text: &str| sql.find(text).expect("it is there") as u64 + 1;
    let long = of("A B{10000}", 1);
    check_refused(
        &long,
        "PATTERN is too long: written out it has more than 10000 steps",
        (1, column(&long, "A B{")),
        "+ and *",
    );
    let many: Vec<String> = (0..64).map(|number| format!("V{number}")).collect();
    let many = of(&format!("A {}", many.join(" ")), 1);
    check_refused(
        &many,
        "PATTERN has more than 64 variables",
        (1, column(&many, "A V0")),
        "",
    );
    let far = of("A B", 1_000_001);
    check_refused(
        &far,
        "rows of a pattern are counted up to 1000000",
        (1, column(&far, "LAST")),
        "fewer",
    );
}
