//! SQL text → sqlparser's tokens, cleaned: no white space, durations spelled as intervals.
//!
//! First step of the front end; `sugar` lowers whole clauses afterwards, `parser` reads the result.
//!
//! **Invariant.** Every token carries the place of the text it came from, also the tokens that
//! replace others. Hints are refused here, because the tokenizer would drop them as comments.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use crate::error::{Position, SqlError};
use crate::limits::OPERAND_RUN_MAX;
use crate::limits::SET_OPERATIONS_MAX;
use crate::sql::dialect::StreamDialect;
use crate::sql::position::span_position;

/// The tokens of `sql` without white space and comments.
pub(crate) fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let dialect = StreamDialect;
    let raw = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| {
            SqlError::new(lower_first(&error.message)).at(Position {
                line: error.location.line.max(1),
                column: error.location.column.max(1),
                length: 1,
            })
        })?;
    let mut tokens = Vec::with_capacity(raw.len());
    for token in raw {
        match &token.token {
            // Hints stand behind SELECT; `sql::hints` reads them.
            Token::Whitespace(Whitespace::MultiLineComment(text)) if text.starts_with('+') => {
                if !tokens.last().is_some_and(|last| is_word(last, "SELECT")) {
                    return Err(at_token(
                        SqlError::new("a hint (/*+ … */) stands behind SELECT, and nowhere else"),
                        &token,
                    )
                    .hint("put table options into WITH (…)"));
                }
                tokens.push(token);
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => tokens.push(token),
        }
    }
    refuse_long_runs(&tokens)?;
    lower_durations(split_type_brackets(tokens))
}

/// The tokens between semicolons; empty statements are dropped.
pub(crate) fn split_statements(tokens: Vec<TokenWithSpan>) -> Vec<Vec<TokenWithSpan>> {
    let mut statements = vec![Vec::new()];
    for token in tokens {
        if token.token == Token::SemiColon {
            statements.push(Vec::new());
        } else if let Some(statement) = statements.last_mut() {
            statement.push(token);
        }
    }
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// Whether `token` is the word `text`, unquoted, in any case.
pub(crate) fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

/// Whether the tokens from `start` are these words, unquoted, in any case.
pub(crate) fn are_words(tokens: &[TokenWithSpan], start: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(offset, text)| {
        tokens
            .get(start + offset)
            .is_some_and(|token| is_word(token, text))
    })
}

/// `error` at the place of `token`.
pub(crate) fn at_token(error: SqlError, token: &TokenWithSpan) -> SqlError {
    match span_position(token.span) {
        Some(position) => error.at(position),
        None => error,
    }
}

/// A word that stands at the place of `origin`.
pub(crate) fn word(text: &str, origin: &TokenWithSpan) -> TokenWithSpan {
    TokenWithSpan::new(Token::make_keyword(text), origin.span)
}

/// A number that stands at the place of `origin`.
pub(crate) fn number(value: u64, origin: &TokenWithSpan) -> TokenWithSpan {
    TokenWithSpan::new(Token::Number(value.to_string(), false), origin.span)
}

/// The sentence with a small first letter, as our messages are.
pub(crate) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Bounds the depth of syntax trees by the tokens that make them, so that even dropping a tree
/// cannot outgrow the stack.
fn refuse_long_runs(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut runs: Vec<usize> = vec![0];
    let mut set_operations = 0;
    for token in tokens {
        match &token.token {
            Token::LParen => runs.push(0),
            Token::RParen if runs.len() > 1 => drop(runs.pop()),
            Token::Comma => runs.last_mut().into_iter().for_each(|run| *run = 0),
            Token::SemiColon => {
                runs = vec![0];
                set_operations = 0;
            }
            Token::Word(word)
                if matches!(
                    word.keyword,
                    Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT
                ) =>
            {
                set_operations += 1;
            }
            _ => {}
        }
        runs.last_mut().into_iter().for_each(|run| *run += 1);
        if runs.last().is_some_and(|run| *run > OPERAND_RUN_MAX) {
            return Err(at_token(SqlError::new("the expression is too long"), token)
                .hint("split it with parentheses or a view"));
        }
        if set_operations > SET_OPERATIONS_MAX {
            return Err(
                at_token(SqlError::new("the statement has too many set operations"), token)
                    .hint("split it with views"),
            );
        }
    }
    Ok(())
}

/// Splits `>>` into two brackets where it closes nested types: `ARRAY<MAP<STRING, INT>>`.
fn split_type_brackets(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|token| token.token == Token::ShiftRight) {
        return tokens;
    }
    let mut split = vec![false; tokens.len()];
    for start in 0..tokens.len() {
        if let Some(end) = type_end(&tokens, start) {
            for (index, flag) in split.iter_mut().enumerate().take(end + 1).skip(start) {
                *flag |= tokens[index].token == Token::ShiftRight;
            }
        }
    }
    let mut output = Vec::with_capacity(tokens.len());
    for (token, is_split) in tokens.into_iter().zip(split) {
        if is_split {
            output.push(TokenWithSpan::new(Token::Gt, token.span));
            output.push(TokenWithSpan::new(Token::Gt, token.span));
        } else {
            output.push(token);
        }
    }
    output
}

/// The index of the token that closes the nested type which starts at `start`.
fn type_end(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    let opens = ["ARRAY", "MAP", "ROW", "MULTISET"]
        .iter()
        .any(|name| is_word(&tokens[start], name));
    if !opens || tokens.get(start + 1)?.token != Token::Lt {
        return None;
    }
    let mut depth = 0_usize;
    for (offset, token) in tokens[start + 1..].iter().take(OPERAND_RUN_MAX).enumerate() {
        match &token.token {
            Token::Lt => depth += 1,
            Token::Gt => depth = depth.checked_sub(1)?,
            Token::ShiftRight => depth = depth.checked_sub(2)?,
            Token::Word(_)
            | Token::Comma
            | Token::LParen
            | Token::RParen
            | Token::Number(..)
            | Token::SingleQuotedString(_) => {}
            _ => return None,
        }
        if depth == 0 {
            return Some(start + 1 + offset);
        }
    }
    None
}

/// `5m` (number and unit touching) → `INTERVAL '5' MINUTE`.
fn lower_durations(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut output = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let unit = match (&token.token, rest.peek()) {
            (Token::Number(..), Some(next)) if next.span.start == token.span.end => {
                duration_unit(&next.token)
            }
            _ => None,
        };
        let (Token::Number(value, _), Some((unit, divisor_digits))) = (&token.token, unit) else {
            output.push(token);
            continue;
        };
        let text = shift_decimal(value, divisor_digits).ok_or_else(|| {
            at_token(
                SqlError::new(format!("`{value}` is not the number of a duration")),
                &token,
            )
            .hint("write for instance 500ms, 30s, 5m, 1h or 2d")
        })?;
        let mut origin = token.clone();
        if let Some(unit_token) = rest.next() {
            origin.span.end = unit_token.span.end;
        }
        output.push(word("INTERVAL", &origin));
        output.push(TokenWithSpan::new(Token::SingleQuotedString(text), origin.span));
        output.push(word(unit, &origin));
    }
    Ok(output)
}

/// The SQL unit of a duration's suffix, and by how many decimal places its number shrinks.
fn duration_unit(token: &Token) -> Option<(&'static str, usize)> {
    let Token::Word(Word {
        value,
        quote_style: None,
        ..
    }) = token
    else {
        return None;
    };
    match value.as_str() {
        "ms" => Some(("SECOND", 3)),
        "s" => Some(("SECOND", 0)),
        "m" => Some(("MINUTE", 0)),
        "h" => Some(("HOUR", 0)),
        "d" => Some(("DAY", 0)),
        _ => None,
    }
}

/// `digits[.digits]` divided by 10^places, as text.
fn shift_decimal(value: &str, places: usize) -> Option<String> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    if places == 0 {
        return Some(value.to_string());
    }
    let padded = format!("{}{whole}", "0".repeat(places + 1));
    let (before, after) = padded.split_at(padded.len() - places);
    let before = before.trim_start_matches('0');
    let before = if before.is_empty() { "0" } else { before };
    let text = format!("{before}.{after}{fraction}");
    Some(text.trim_end_matches('0').trim_end_matches('.').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of `sql`, joined by spaces.
    fn check(sql: &str, expected: &str) {
        let text = match tokenize(sql) {
            Ok(tokens) => {
                let words: Vec<String> = tokens.iter().map(|token| token.token.to_string()).collect();
                words.join(" ")
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(text, expected, "{sql}");
    }

    #[test]
    fn durations_become_intervals_when_number_and_unit_touch() {
        check("5m", "INTERVAL '5' MINUTE");
        check("100ms", "INTERVAL '0.1' SECOND");
        check("1500ms", "INTERVAL '1.5' SECOND");
        check("0ms", "INTERVAL '0' SECOND");
        check("f(1h,2d)", "f ( INTERVAL '1' HOUR , INTERVAL '2' DAY )");
        check("1.5s", "INTERVAL '1.5' SECOND");
        check("SELECT 5 m", "SELECT 5 m");
        check("SELECT 5 AS m", "SELECT 5 AS m");
        check(
            "1e3s",
            "error: `1e3` is not the number of a duration (line 1, column 1); write for instance 500ms, 30s, 5m, 1h or 2d",
        );
    }

    #[test]
    fn comments_vanish_and_hints_stand_behind_select() {
        check("a -- b\n/* c */ d", "a d");
        check(
            "SELECT *\nFROM t /*+ OPTIONS('a'='b') */",
            "error: a hint (/*+ … */) stands behind SELECT, and nowhere else (line 2, column 8); put table options into WITH (…)",
        );
        check("/*! a */ b", "b");
    }

    #[test]
    fn closing_brackets_of_nested_types_are_split_and_shifts_are_not() {
        check("ARRAY<MAP<STRING, INT>>", "ARRAY < MAP < STRING , INT > >");
        check(
            "ROW<a ARRAY<ARRAY<INT>>> >> b",
            "ROW < a ARRAY < ARRAY < INT > > > >> b",
        );
        check("row < 5 and x >> 2", "row < 5 and x >> 2");
        check("a >> b", "a >> b");
    }

    #[test]
    fn unclosed_text_says_where() {
        check(
            "SELECT 'abc",
            "error: unterminated string literal (line 1, column 8)",
        );
        check(
            "SELECT /* abc",
            "error: unexpected EOF while in a multi-line comment (line 1, column 14)",
        );
    }

    #[test]
    fn an_expression_too_deep_for_the_stack_is_refused() {
        let sql = format!("SELECT 1{}", " + 1".repeat(5_000));
        assert!(tokenize(&sql).unwrap_err().message.contains("too long"));
    }
}
