//! `EMIT …`: cut off the end of a statement before sqlparser can read it as an alias.
//!
//! **Invariant.** `EMIT` followed by one of its words is never left in the tokens: it is the
//! statement's last clause, or an error.

use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Position, SqlError};
use crate::sql::dialect::StreamDialect;
use crate::sql::interval::interval_us;
use crate::sql::position::span_position;
use crate::sql::statement::Emit;
use crate::sql::tokens::{are_words, at_token, is_word};

/// What `EMIT` said, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EmitClause {
    /// What it said.
    pub emit: Emit,
    /// `TIMEOUT interval`, microseconds.
    pub timeout_us: Option<u64>,
    /// Where `EMIT` stands.
    pub position: Position,
}

const EMIT_USAGE: &str = "use EMIT CHANGES, EMIT EVERY 10s, EMIT CHANGES EVERY ROW or EMIT FINAL, and TIMEOUT 30s \
     behind any of them";

/// Cuts `EMIT …` off the end of a statement.
pub(crate) fn take_emit(
    mut tokens: Vec<TokenWithSpan>,
) -> Result<(Vec<TokenWithSpan>, Option<EmitClause>), SqlError> {
    let Some(start) = (0..tokens.len()).find(|&index| opens_emit(&tokens, index)) else {
        return Ok((tokens, None));
    };
    if !is_at_top(&tokens, start) {
        return Err(refuse(&tokens, start));
    }
    let end = (start..tokens.len())
        .find(|&index| is_word(&tokens[index], "TIMEOUT"))
        .unwrap_or(tokens.len());
    let timeout_us = match end < tokens.len() {
        true => Some(interval(&tokens, end + 1)?),
        false => None,
    };
    let rest = &tokens[start..end];
    let emit = match rest.len() {
        1 if timeout_us.is_some() => Emit::Default,
        2 if is_word(&rest[1], "CHANGES") => Emit::Changes,
        2 if is_word(&rest[1], "FINAL") => Emit::Final,
        4 if are_words(rest, 1, &["CHANGES", "EVERY", "ROW"]) => Emit::ChangesEveryRow,
        3.. if is_word(&rest[1], "EVERY") => Emit::Every(interval(rest, 2)?),
        4.. if are_words(rest, 1, &["CHANGES", "EVERY"]) && !is_word(&rest[3], "ROW") => {
            Emit::Every(interval(rest, 3)?)
        }
        _ => return Err(refuse(&tokens, start)),
    };
    let position = span_position(tokens[start].span).unwrap_or_default();
    tokens.truncate(start);
    let clause = EmitClause {
        emit,
        timeout_us,
        position,
    };
    Ok((tokens, Some(clause)))
}

/// Whether the token is the word EMIT in the place of a clause rather than a name.
fn opens_emit(tokens: &[TokenWithSpan], index: usize) -> bool {
    if !is_word(&tokens[index], "EMIT") {
        return false;
    }
    let Some(before) = index.checked_sub(1).map(|before| &tokens[before].token) else {
        return false;
    };
    if matches!(before, Token::Period) || is_word(&tokens[index - 1], "AS") {
        return false;
    }
    match tokens.get(index + 1) {
        Some(next) => ["CHANGES", "FINAL", "EVERY", "TIMEOUT", "EARLY", "ON", "AFTER"]
            .iter()
            .any(|follower| is_word(next, follower)),
        // A last word EMIT behind a name or a parenthesis would be read as an alias.
        None => match before {
            Token::RParen => true,
            Token::Word(word) => word.quote_style.is_some() || word.keyword == Keyword::NoKeyword,
            _ => false,
        },
    }
}

/// Whether the token stands outside of parentheses: what ends a statement is a clause of all of it.
pub(crate) fn is_at_top(tokens: &[TokenWithSpan], start: usize) -> bool {
    let depth = tokens[..start]
        .iter()
        .fold(0_i64, |depth, token| match token.token {
            Token::LParen => depth + 1,
            Token::RParen => depth - 1,
            _ => depth,
        });
    depth <= 0
}

/// The tokens from `start` on as an interval, in microseconds.
fn interval(tokens: &[TokenWithSpan], start: usize) -> Result<u64, SqlError> {
    let place = tokens.get(start).unwrap_or(&tokens[tokens.len() - 1]);
    let wrong =
        |message: &str| at_token(SqlError::new(message), place).hint("write for instance EMIT EVERY 10s");
    let rest: Vec<TokenWithSpan> = tokens.get(start..).unwrap_or_default().to_vec();
    let mut parser = Parser::new(&StreamDialect).with_tokens_with_locations(rest);
    let expression = parser
        .parse_expr()
        .map_err(|_| wrong("EMIT needs an interval here"))?;
    if parser.peek_token_ref().token != Token::EOF {
        return Err(
            at_token(SqlError::new("nothing may follow EMIT"), parser.peek_token_ref()).hint(EMIT_USAGE),
        );
    }
    let us = interval_us(&expression)?;
    u64::try_from(us)
        .ok()
        .filter(|&us| us > 0)
        .ok_or_else(|| wrong("an interval of EMIT is longer than nothing"))
}

fn refuse(tokens: &[TokenWithSpan], start: usize) -> SqlError {
    let says = |words: &[&str]| are_words(tokens, start + 1, words);
    let every_row = says(&["CHANGES", "EVERY", "ROW"]);
    let (message, place) = if !is_at_top(tokens, start) {
        (
            "EMIT stands inside parentheses; only the whole statement can say when it emits",
            start,
        )
    } else if every_row && tokens.len() > start + 4 {
        ("nothing may follow EMIT CHANGES EVERY ROW", start + 4)
    } else if says(&["CHANGES"]) || says(&["FINAL"]) {
        ("nothing may follow EMIT", start + 2)
    } else if ["EARLY", "AFTER", "ON"].iter().any(|word| says(&[word])) {
        ("this form of EMIT is not supported yet", start)
    } else {
        ("EMIT does not say what", start)
    };
    let token = tokens.get(place).unwrap_or(&tokens[start]);
    at_token(SqlError::new(message), token).hint(EMIT_USAGE)
}
