//! No text makes the parser panic: random words, mutated statements, deep nesting.

use crate::sql::parser::parse;
use crate::sql::statement::StatementKind;

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

#[test]
fn a_chain_of_operators_is_read_up_to_a_bound_and_refused_beyond() {
    let chain = " + 1".repeat(140);
    let statements = parse(&format!("SELECT a FROM t WHERE 1{chain} > 0")).unwrap();
    let StatementKind::Select(query) = &statements[0].kind else {
        panic!("a query");
    };
    assert!(query.query.to_string().len() > chain.len());
    assert_eq!(query.query.clone(), query.query);
    for sql in [
        format!("SELECT 1{}", " + 1".repeat(1_000)),
        format!("SELECT (1){}", " + (1)".repeat(100_000)),
        format!("CREATE TABLE t (a INT, b AS a{})", " + a".repeat(1_000)),
        format!(
            "SELECT COUNT(*) FROM t WINDOW TUMBLING(1s{})",
            " + 1s".repeat(1_000)
        ),
        format!("SELECT 1, 2{}", " UNION SELECT 1, 2".repeat(100_000)),
    ] {
        assert!(parse(&sql).is_err(), "{}", &sql[..40]);
    }
    assert!(parse(&format!("SELECT a FROM t WHERE a IN (1{})", ", 1".repeat(20_000))).is_ok());
    assert!(parse(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(100))).is_ok());
}
