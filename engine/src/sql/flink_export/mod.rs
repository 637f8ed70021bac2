//! A job file in Flink SQL's own words: what this dialect adds is lowered in the text, all else stays as it was
//! written, comments and line breaks included.
//!
//! The statements are read as always; then each extension's tokens become edits of the text: durations and EMIT here,
//! window clauses and row buffers in `clauses`, table options and settings in `options`; `edits` applies them.
//!
//! **Invariant.** What has no counterpart in Flink SQL is an error: an exported file asks the same question as the
//! file it was made from.

mod clauses;
mod edits;
mod options;
#[cfg(test)]
mod tests;

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::compile::compile_apart;
use crate::error::SqlError;
use crate::plan::{NodeKind, StreamPlan};
use crate::sql::emit::take_emit;
use crate::sql::parser;
use crate::sql::statement::{Emit, StatementKind};
use crate::sql::tokens::{are_words, at_token, is_word, split_statements, tokenize};
use edits::Edits;

/// The text of `sql` as Flink reads it.
///
/// # Errors
/// The file cannot be compiled, or says what Flink cannot: with the place and what to do.
pub fn export(sql: &str) -> Result<String, SqlError> {
    let pieces = split_statements(tokenize(sql)?);
    for piece in &pieces {
        if let Some(late) = (0..piece.len()).find(|&at| are_words(piece, at, &["LATE", "DATA", "TO"])) {
            return Err(at_token(
                SqlError::new("LATE DATA TO has no counterpart in Flink SQL"),
                &piece[late],
            )
            .hint("leave it out: Flink drops late rows"));
        }
    }
    for (plan, position) in compile_apart(sql)? {
        check_emission(&plan).map_err(|error| error.at(position))?;
    }
    let statements = parser::parse(sql)?;
    let mut edits = Edits::new(sql);
    options::export_options(&statements, &mut edits)?;
    let columns: Vec<String> = statements
        .iter()
        .filter_map(|statement| match &statement.kind {
            StatementKind::CreateTable(table) => Some(table.columns.iter()),
            _ => None,
        })
        .flatten()
        .map(|column| column.name.value.clone())
        .collect();
    let event_times = clauses::event_times(&statements);
    for (number, piece) in pieces.iter().enumerate() {
        let (kept, emit) = take_emit(piece.clone())?;
        if let Some(timeout) = piece[kept.len()..].iter().find(|token| is_word(token, "TIMEOUT")) {
            return Err(at_token(
                SqlError::new("EMIT … TIMEOUT has no counterpart in Flink SQL"),
                timeout,
            )
            .hint("leave it out; SET 'table.exec.source.idle-timeout' lets other sources go on"));
        }
        if let (Some(_), Some(first), Some(last)) = (emit, kept.last(), piece.last()) {
            edits.replace(first.span.end, last.span.end, "");
        }
        durations(&kept, &mut edits);
        clauses::export_clauses(&kept, &event_times, &mut edits)?;
        create_as(&kept, &pieces[number + 1..], &mut edits)?;
        quote_names(&kept, &columns, &mut edits);
    }
    Ok(edits.apply())
}

/// Refuses what Flink never emits.
fn check_emission(plan: &StreamPlan) -> Result<(), SqlError> {
    for node in &plan.nodes {
        match &node.kind {
            NodeKind::WindowAggregate(spec) if !matches!(spec.emit, Emit::Default | Emit::Final) => {
                return Err(
                    SqlError::new("early results of a window have no counterpart in Flink SQL")
                        .hint("leave EMIT out: the window answers once, when it is complete"),
                );
            }
            NodeKind::GroupAggregate(spec)
                if !matches!(spec.emit, Emit::Default | Emit::Changes | Emit::ChangesEveryRow) =>
            {
                return Err(no_final("an aggregation without a window"));
            }
            NodeKind::Rank(spec) if spec.emit == Emit::Final && spec.window.is_none() => {
                return Err(no_final("a Top-N without a window"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn no_final(what: &str) -> SqlError {
    SqlError::new(format!(
        "{what} that answers once, at the end of its input, has no counterpart in Flink's streaming mode"
    ))
    .hint("leave EMIT FINAL out, and run the file on Flink with SET 'execution.runtime-mode' = 'batch'")
}

/// `5m` is three tokens in one place.
fn durations(tokens: &[TokenWithSpan], edits: &mut Edits<'_>) {
    for triple in tokens.windows(3) {
        let [interval, value, unit] = triple else {
            continue;
        };
        let one_place = interval.span == value.span && value.span == unit.span;
        if one_place && is_word(interval, "INTERVAL") {
            let text = format!("{} {} {}", interval.token, value.token, unit.token);
            edits.replace(interval.span.start, interval.span.end, &text);
        }
    }
}

/// `CREATE STREAM name AS` names a query; with a connector it also fills a table.
fn create_as(
    tokens: &[TokenWithSpan],
    later: &[Vec<TokenWithSpan>],
    edits: &mut Edits<'_>,
) -> Result<(), SqlError> {
    let is_create = are_words(tokens, 0, &["CREATE", "STREAM"]) || are_words(tokens, 0, &["CREATE", "TABLE"]);
    let (true, Some(name), Some(next)) = (is_create, tokens.get(2), tokens.get(3)) else {
        return Ok(());
    };
    if is_word(next, "AS") {
        edits.replace(tokens[0].span.start, tokens[1].span.end, "CREATE TEMPORARY VIEW");
        return Ok(());
    }
    if !is_word(next, "WITH") {
        return Ok(());
    }
    if is_word(&tokens[1], "STREAM") {
        edits.replace(tokens[1].span.start, tokens[1].span.end, "TABLE");
    }
    // Flink would read what the connector holds, not the stream.
    let reader = later.iter().flatten().find(|token| token.token == name.token);
    match (reader, tokens.iter().any(|token| is_word(token, "AS"))) {
        (Some(reader), true) => Err(at_token(
            SqlError::new(format!(
                "{} is written to its connector and read as a stream, which Flink cannot do under one name",
                name.token
            )),
            reader,
        )
        .hint("name the query with CREATE TEMPORARY VIEW, and write it with INSERT INTO")),
        _ => Ok(()),
    }
}

/// Words that Flink reserves and this dialect takes for the name of a column.
const RESERVED: [&str; 12] = [
    "timestamp",
    "date",
    "time",
    "value",
    "user",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "position",
];

/// Quotes columns whose names Flink reserves.
fn quote_names(tokens: &[TokenWithSpan], columns: &[String], edits: &mut Edits<'_>) {
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(word) = &token.token else {
            continue;
        };
        let is_name = word.quote_style.is_none()
            && columns.contains(&word.value)
            && RESERVED.contains(&word.value.to_lowercase().as_str());
        let before = at.checked_sub(1).map(|before| &tokens[before].token);
        let is_unit = matches!(before, Some(Token::SingleQuotedString(_)));
        let is_type = at > 0 && is_word(&tokens[at - 1], "AS");
        let follows = tokens.get(at + 1).map(|next| &next.token);
        let is_call = matches!(follows, Some(Token::LParen | Token::SingleQuotedString(_)));
        if is_name && !is_unit && !is_type && !is_call {
            edits.replace(token.span.start, token.span.end, &format!("`{}`", word.value));
        }
    }
}
