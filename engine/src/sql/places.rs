//! Where the words of a statement stand: for errors of the plan, which knows no text.
//!
//! **Invariant.** Never invents a place: a word that is not there has none.

use std::sync::Arc;

use datafusion_expr::Expr;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::Position;
use crate::sql::position::span_position;

/// The words of one statement, in order, each with its place.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<[(String, Position)]>);

impl Places {
    /// The words of `tokens`.
    pub(crate) fn of(tokens: &[TokenWithSpan]) -> Places {
        let place = |token: &TokenWithSpan| {
            let text = match &token.token {
                Token::Word(word) => word.value.clone(),
                other => other.to_string(),
            };
            span_position(token.span).map(|position| (text, position))
        };
        Places(tokens.iter().filter_map(place).collect())
    }

    /// The first place where `words`, separated by spaces, follow one another, in any case.
    pub(crate) fn find(&self, words: &str) -> Option<Position> {
        let words: Vec<&str> = words.split(' ').collect();
        let is_there = |found: &[(String, Position)]| {
            words
                .iter()
                .zip(found)
                .all(|(word, (text, _))| word.eq_ignore_ascii_case(text))
        };
        let found = self.0.windows(words.len()).find(|found| is_there(found))?;
        Some(found[0].1)
    }

    /// The first place of the first of `alternatives` that is there.
    pub(crate) fn find_any(&self, alternatives: &[&str]) -> Option<Position> {
        alternatives.iter().find_map(|words| self.find(words))
    }
}

/// Where the first column of `expression` stands that knows it.
pub(crate) fn column_position(expression: &Expr) -> Option<Position> {
    let columns = expression.column_refs();
    let starts = columns.iter().filter_map(|column| column.spans().first());
    let first = starts.min_by_key(|span| (span.start.line, span.start.column))?;
    let length = match first.start.line == first.end.line {
        true => first.end.column.saturating_sub(first.start.column).max(1),
        false => 1,
    };
    (first.start.line > 0).then_some(Position {
        line: first.start.line,
        column: first.start.column,
        length,
    })
}
