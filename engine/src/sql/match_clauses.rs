//! What Flink writes inside `MATCH_RECOGNIZE (…)` and sqlparser does not read, respelled.
//!
//! `PATTERN (…) WITHIN INTERVAL '1' HOUR DEFINE …`: the interval becomes the first definition, of a variable that no
//! query can name; `query::match_recognize` takes it out again. `SKIP TO A` is `SKIP TO LAST A`. `FINAL LAST(…)` and
//! `RUNNING LAST(…)` are `LAST(…)`: where one row is told of a match they mean the same. A sub-query that a pattern is
//! looked for in becomes the argument of a function.
//!
//! **Invariant.** The interval keeps its tokens and their places.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::SqlError;
use crate::sql::tokens::{at_token, is_word, word};

/// The variable whose definition is the interval of WITHIN.
pub(crate) const WITHIN: &str = "$within";

/// The tokens that stand for the clause at `index`, inside `MATCH_RECOGNIZE (…)`, and the index behind it; `None`
/// where no clause begins that sqlparser does not read.
pub(crate) fn respelled(
    tokens: &[TokenWithSpan],
    index: usize,
) -> Result<Option<(Vec<TokenWithSpan>, usize)>, SqlError> {
    let token = &tokens[index];
    if is_word(token, "TO") && index > 0 && is_word(&tokens[index - 1], "SKIP") {
        return Ok(variable_alone(tokens, index));
    }
    if (is_word(token, "FINAL") || is_word(token, "RUNNING")) && is_call(tokens, index + 1) {
        return Ok(Some((Vec::new(), index + 1)));
    }
    let is_clause = index > 0 && tokens[index - 1].token == Token::RParen;
    if is_clause && is_word(token, "SUBSET") {
        return Err(
            at_token(SqlError::new("SUBSET of MATCH_RECOGNIZE is not supported"), token)
                .hint("name each pattern variable where the subset would stand"),
        );
    }
    if !is_clause || !is_word(token, "WITHIN") {
        return Ok(None);
    }
    let Some(define) = definitions(tokens, index + 1) else {
        return Err(at_token(SqlError::new("DEFINE stands behind WITHIN"), token)
            .hint("write PATTERN (A B+ C) WITHIN INTERVAL '1' HOUR DEFINE B AS B.price > A.price"));
    };
    let mut variable = token.clone();
    variable.token = Token::make_word(WITHIN, Some('`'));
    let mut comma = token.clone();
    comma.token = Token::Comma;
    let mut output = vec![tokens[define].clone(), variable, word("AS", token)];
    output.extend_from_slice(&tokens[index + 1..define]);
    output.push(comma);
    Ok(Some((output, define + 1)))
}

/// The function whose argument is the sub-query that a pattern is looked for in.
pub(crate) const MATCHED_QUERY: &str = "$matched";

/// `(SELECT …)` at the end of `output`, before MATCH_RECOGNIZE → `$matched((SELECT …))`: sqlparser reads
/// MATCH_RECOGNIZE behind names and calls alone.
pub(crate) fn wrap_sub_query(output: &mut Vec<TokenWithSpan>) {
    let mut depth = 0_usize;
    let is_opening = |token: &TokenWithSpan| {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    };
    let Some(opening) = output.iter().rposition(is_opening) else {
        return;
    };
    let is_query = output[opening].token == Token::LParen
        && output
            .get(opening + 1)
            .is_some_and(|token| is_word(token, "SELECT") || is_word(token, "WITH"));
    if !is_query {
        return;
    }
    let mut function = output[opening].clone();
    function.token = Token::make_word(MATCHED_QUERY, Some('`'));
    let more = output[opening].clone();
    output.splice(opening..opening, [function, more]);
    let closing = output.last().cloned();
    output.extend(closing);
}

/// `TO A` → `TO LAST A`.
fn variable_alone(tokens: &[TokenWithSpan], index: usize) -> Option<(Vec<TokenWithSpan>, usize)> {
    let target = tokens.get(index + 1)?;
    let is_known = ["NEXT", "FIRST", "LAST"]
        .iter()
        .any(|known| is_word(target, known));
    let is_variable = !is_known || tokens.get(index + 2).is_some_and(|next| is_word(next, "PATTERN"));
    is_variable.then(|| (vec![tokens[index].clone(), word("LAST", target)], index + 1))
}

/// Whether a call of a function stands at `index`.
fn is_call(tokens: &[TokenWithSpan], index: usize) -> bool {
    let is_name = tokens
        .get(index)
        .is_some_and(|token| matches!(token.token, Token::Word(_)));
    is_name
        && tokens
            .get(index + 1)
            .is_some_and(|token| token.token == Token::LParen)
}

/// The index of the DEFINE that follows, in the same parentheses.
fn definitions(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(from) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            _ if depth == 0 && is_word(token, "DEFINE") => return Some(index),
            _ => {}
        }
    }
    None
}
