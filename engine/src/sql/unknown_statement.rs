//! Statements that Velocore does not have, each with what to write instead.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::SqlError;
use crate::sql::position::span_position;
use crate::sql::suggest;
use crate::sql::tokens::{are_words, at_token};

/// What a statement may start with.
const KNOWN: [&str; 8] = [
    "CREATE", "INSERT", "SELECT", "WITH", "SET", "EXPLAIN", "EXECUTE", "BEGIN",
];

const CREATE_TABLE: &str = "use CREATE TABLE … WITH ('connector' = …)";
const FRESH: &str = "a job file starts from an empty catalog and describes all it needs";
const APPEND: &str = "a stream is never changed in place: write INSERT INTO t SELECT …";

/// First words of statements that others have, and what to do here. Longer phrases stand first.
const FOREIGN: [(&[&str], &str); 42] = [
    (&["CREATE", "SOURCE"], CREATE_TABLE),
    (&["CREATE", "SINK"], CREATE_TABLE),
    (&["CREATE", "EXTERNAL"], CREATE_TABLE),
    (&["CREATE", "CONNECTOR"], CREATE_TABLE),
    (&["CREATE", "CONNECTION"], CREATE_TABLE),
    (
        &["CREATE", "MATERIALIZED"],
        "use CREATE TABLE name AS SELECT …, or CREATE VIEW",
    ),
    (
        &["CREATE", "CATALOG"],
        "there are no catalogs: leave the statement out",
    ),
    (
        &["CREATE", "DATABASE"],
        "there are no databases: leave the statement out",
    ),
    (
        &["CREATE", "SCHEMA"],
        "there are no schemas: leave the statement out",
    ),
    (
        &["CREATE", "FUNCTION"],
        "functions cannot be added yet; the built-in ones are documented",
    ),
    (
        &["CREATE", "TEMPORARY", "FUNCTION"],
        "functions cannot be added yet",
    ),
    (
        &["CREATE", "TEMPORARY", "SYSTEM"],
        "functions cannot be added yet",
    ),
    (&["CREATE", "MODEL"], "models are not supported"),
    (
        &["CREATE", "INDEX"],
        "a stream has no indexes: keys come from the queries",
    ),
    (&["CREATE", "JOB"], "a file is a job: run it with `velocore run`"),
    (&["UPDATE"], APPEND),
    (&["DELETE"], APPEND),
    (&["MERGE"], APPEND),
    (&["UPSERT"], APPEND),
    (&["REPLACE"], APPEND),
    (&["TRUNCATE"], APPEND),
    (&["DROP"], FRESH),
    (&["ALTER"], FRESH),
    (
        &["USE"],
        "there are no catalogs and databases: leave the statement out",
    ),
    (&["SHOW"], "read the file, or run `velocore explain` on it"),
    (&["DESCRIBE"], "read the file, or run `velocore explain` on it"),
    (&["DESC"], "read the file, or run `velocore explain` on it"),
    (
        &["ANALYZE"],
        "plans do not need statistics: leave the statement out",
    ),
    (&["RESET"], "settings hold for the file: leave the SET out"),
    (&["CALL"], "there are no procedures"),
    (&["LOAD"], "there are no modules: leave the statement out"),
    (&["UNLOAD"], "there are no modules: leave the statement out"),
    (&["ADD"], "code cannot be added: leave the statement out"),
    (&["REMOVE"], "code cannot be added: leave the statement out"),
    (&["COMPILE"], "use EXPLAIN"),
    (&["EXECUTE", "PLAN"], "run the SQL itself"),
    (&["EXECUTE"], "use EXECUTE STATEMENT SET BEGIN … END"),
    (
        &["BEGIN"],
        "there are no transactions; use EXECUTE STATEMENT SET BEGIN … END to run inserts as one job",
    ),
    (&["END"], "it closes no statement set"),
    (&["START"], "a file is a job: run it with `velocore run`"),
    (&["STOP"], "stop the process with SIGINT or SIGTERM"),
    (&["GRANT"], "there are no users"),
];

/// The error for a statement that starts with `tokens`.
pub(crate) fn unknown_statement(tokens: &[TokenWithSpan]) -> SqlError {
    let Some(first) = tokens.first() else {
        return SqlError::new("the statement is empty");
    };
    if let Some((words, advice)) = FOREIGN.iter().find(|(words, _)| are_words(tokens, 0, words)) {
        let error = SqlError::new(format!("{} is not a statement here", words.join(" "))).hint(*advice);
        return at_words(error, tokens, words.len());
    }
    let Token::Word(word) = &first.token else {
        return at_token(
            SqlError::new(format!("a statement cannot start with `{}`", first.token)),
            first,
        )
        .hint(format!("statements start with {}", KNOWN.join(", ")));
    };
    if are_words(tokens, 0, &["CREATE"]) {
        let (what, last) = match tokens.get(1) {
            Some(second) => (format!("CREATE {}", second.token), 2),
            None => ("CREATE alone".to_string(), 1),
        };
        let error = SqlError::new(format!("{what} is not a statement"));
        let known = ["TABLE", "STREAM", "VIEW", "TEMPORARY"];
        let written = tokens
            .get(1)
            .map(|second| second.token.to_string())
            .unwrap_or_default();
        return at_words(error, tokens, last).hint(suggest::hint(&written, known, "what can be created:"));
    }
    at_token(SqlError::new(format!("{} is not a statement", word.value)), first).hint(suggest::hint(
        &word.value,
        KNOWN,
        "statements start with",
    ))
}

/// The error at the first `count` tokens, where they stand on one line.
fn at_words(error: SqlError, tokens: &[TokenWithSpan], count: usize) -> SqlError {
    let (Some(first), Some(last)) = (tokens.first(), tokens.get(count.saturating_sub(1))) else {
        return error;
    };
    let mut span = first.span;
    span.end = last.span.end;
    match span_position(span) {
        Some(position) => error.at(position),
        None => error,
    }
}
