//! `WINDOW TUMBLING(…)` becomes a window TVF in FROM, `ROWS WINDOW BUFFER n ROWS` a frame: in the text.
//!
//! The same lowering happens on the syntax tree when a job is compiled (`sugar`, `group_windows`); here it must
//! leave the text readable, so only the clause, its relation and its GROUP BY are touched.

use std::collections::BTreeMap;

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::edits::Edits;
use crate::error::SqlError;
use crate::sql::statement::{Statement, StatementKind};
use crate::sql::tokens::{are_words, at_token, is_word};

const CLAUSES: [&str; 11] = [
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "WINDOW",
    "ORDER",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "QUALIFY",
];

/// The event-time column of each table.
pub(super) fn event_times(statements: &[Statement]) -> BTreeMap<String, String> {
    let mut times = BTreeMap::new();
    for statement in statements {
        if let StatementKind::CreateTable(table) = &statement.kind
            && let Some(watermark) = &table.watermark
        {
            times.insert(table.name.value.clone(), watermark.column.value.clone());
        }
    }
    times
}

/// Lowers the window clauses and row buffers of a statement.
pub(super) fn export_clauses(
    tokens: &[TokenWithSpan],
    event_times: &BTreeMap<String, String>,
    edits: &mut Edits<'_>,
) -> Result<(), SqlError> {
    for at in 0..tokens.len() {
        let sugar = ["TUMBLING", "SLIDING", "SESSION"]
            .into_iter()
            .find(|name| are_words(tokens, at, &["WINDOW", name]));
        if let Some(name) = sugar
            && tokens
                .get(at + 2)
                .is_some_and(|token| token.token == Token::LParen)
        {
            Window::read(tokens, at, name, event_times)?.export(edits)?;
        }
        if are_words(tokens, at, &["ROWS", "WINDOW", "BUFFER"]) {
            export_buffer(tokens, at, edits);
        }
    }
    Ok(())
}

/// A window clause and the SELECT around it.
struct Window<'a> {
    tokens: &'a [TokenWithSpan],
    /// The clause, from WINDOW to its parenthesis.
    clause: (usize, usize),
    /// TUMBLE, HOP or SESSION.
    function: &'static str,
    time: String,
    lengths: Vec<String>,
    /// The tokens of the relation.
    relation: (usize, usize),
    /// The items of the select list.
    items: (usize, usize),
    /// The keys behind GROUP BY.
    keys: Option<(usize, usize)>,
}

impl<'a> Window<'a> {
    fn read(
        tokens: &'a [TokenWithSpan],
        at: usize,
        name: &str,
        event_times: &BTreeMap<String, String>,
    ) -> Result<Window<'a>, SqlError> {
        let select = (0..at)
            .rev()
            .find(|&index| is_word(&tokens[index], "SELECT") && is_level(tokens, index, at))
            .ok_or_else(|| at_token(SqlError::new("WINDOW stands outside of a SELECT"), &tokens[at]))?;
        let closing = closing(tokens, at + 2);
        let end = end_of_level(tokens, at);
        let part = |word: &str| {
            let start = (select..end)
                .find(|&index| is_word(&tokens[index], word) && same_level(tokens, select, index))?;
            let stop = (start + 1..end).find(|&index| {
                same_level(tokens, select, index)
                    && CLAUSES.iter().any(|clause| is_word(&tokens[index], clause))
            });
            Some((start, stop.unwrap_or(end)))
        };
        let from = part("FROM")
            .ok_or_else(|| at_token(SqlError::new("the query has a window and no FROM"), &tokens[at]))?;
        let relation = (from.0 + 1, from.1);
        let mut arguments = split(tokens, at + 3, closing);
        let time = match arguments.first() {
            Some(first) if !first.starts_with("INTERVAL") => {
                format!("`{}`", arguments.remove(0).trim_matches('`'))
            }
            _ => time_of(&tokens[relation.0], event_times)?,
        };
        // SLIDING(size, slide) is HOP(slide, size).
        arguments.reverse();
        Ok(Window {
            tokens,
            clause: (at, closing),
            function: match name {
                "TUMBLING" => "TUMBLE",
                "SLIDING" => "HOP",
                _ => "SESSION",
            },
            time,
            lengths: arguments,
            relation,
            items: (select + 1, from.0),
            keys: part("GROUP").map(|(start, stop)| (start + 2, stop)),
        })
    }

    fn export(&self, edits: &mut Edits<'_>) -> Result<(), SqlError> {
        let (name, alias) = self.table()?;
        let keys: Vec<String> = self
            .keys
            .map_or(Vec::new(), |(start, end)| split(self.tokens, start, end));
        let others: Vec<&str> = keys
            .iter()
            .map(String::as_str)
            .filter(|key| !matches!(*key, "window_start" | "window_end"))
            .collect();
        let partition = match (self.function, others.is_empty()) {
            ("SESSION", false) => format!(" PARTITION BY {}", others.join(", ")),
            _ => String::new(),
        };
        let text = format!(
            "TABLE({}(TABLE {name}{partition}, DESCRIPTOR({}), {})) AS {alias}",
            self.function,
            self.time,
            self.lengths.join(", ")
        );
        self.bounds(edits)?;
        let missing = ["window_start", "window_end"]
            .into_iter()
            .filter(|bound| !keys.iter().any(|key| key == bound));
        let missing = missing.collect::<Vec<_>>().join(", ");
        let (clause, closing) = (&self.tokens[self.clause.0], &self.tokens[self.clause.1]);
        match self.keys {
            Some((_, end)) => {
                if !missing.is_empty() {
                    edits.insert(self.tokens[end - 1].span.end, &format!(", {missing}"));
                }
                // With the space in front, so that no line ends in one.
                let before = self.tokens[self.clause.0 - 1].span.end;
                edits.replace(before, closing.span.end, "");
            }
            None => edits.replace(
                clause.span.start,
                closing.span.end,
                &format!("GROUP BY {missing}"),
            ),
        }
        let (first, last) = (&self.tokens[self.relation.0], &self.tokens[self.relation.1 - 1]);
        edits.replace(first.span.start, last.span.end, &text);
        Ok(())
    }

    /// Name and alias of the relation, which must be a table.
    fn table(&self) -> Result<(String, String), SqlError> {
        let (start, end) = self.relation;
        let words: Vec<&TokenWithSpan> = self.tokens[start..end].iter().collect();
        let is_name = |token: &TokenWithSpan| matches!(token.token, Token::Word(_));
        let name = |token: &TokenWithSpan| token.token.to_string();
        match words.as_slice() {
            [table] if is_name(table) => Ok((name(table), name(table))),
            [table, alias] if is_name(table) && is_name(alias) => Ok((name(table), name(alias))),
            [table, word, alias] if is_name(table) && is_word(word, "AS") && is_name(alias) => {
                Ok((name(table), name(alias)))
            }
            _ => Err(at_token(
                SqlError::new("a WINDOW clause is exported over a table or a view, and not over a query"),
                &self.tokens[start],
            )
            .hint("name the query first: CREATE TEMPORARY VIEW v AS SELECT …")),
        }
    }

    /// `_window_start`, `TUMBLE_START(…)` and their like in the select list become the TVF's columns.
    fn bounds(&self, edits: &mut Edits<'_>) -> Result<(), SqlError> {
        let (start, end) = self.items;
        let mut at = start;
        while at < end {
            let token = &self.tokens[at];
            let Token::Word(word) = &token.token else {
                at += 1;
                continue;
            };
            let upper = word.value.to_ascii_uppercase();
            let is_call = self.tokens[at + 1].token == Token::LParen;
            let column = match upper.as_str() {
                "_WINDOW_START" => "window_start",
                "_WINDOW_END" => "window_end",
                "TUMBLE_START" | "HOP_START" | "SESSION_START" | "WINDOW_START" if is_call => "window_start",
                "TUMBLE_END" | "HOP_END" | "SESSION_END" | "WINDOW_END" if is_call => "window_end",
                "TUMBLE_ROWTIME" | "HOP_ROWTIME" | "SESSION_ROWTIME" if is_call => {
                    return Err(at_token(
                        SqlError::new(format!("{} of a WINDOW clause is not exported", word.value)),
                        token,
                    )
                    .hint("write the window as a TVF in FROM, and select window_time"));
                }
                _ => {
                    at += 1;
                    continue;
                }
            };
            let last = if is_call { closing(self.tokens, at + 1) } else { at };
            let is_item = |token: &Token| matches!(token, Token::Comma);
            let begins = at == start || is_item(&self.tokens[at - 1].token);
            let ends = last + 1 == end || is_item(&self.tokens[last + 1].token);
            // An item without a name keeps the one that it was written with.
            let text = match begins && ends && !is_call {
                true => format!("{column} AS {}", word.value),
                false => column.to_string(),
            };
            edits.replace(token.span.start, self.tokens[last].span.end, &text);
            at = last + 1;
        }
        Ok(())
    }
}

fn time_of(relation: &TokenWithSpan, event_times: &BTreeMap<String, String>) -> Result<String, SqlError> {
    let name = match &relation.token {
        Token::Word(word) => word.value.as_str(),
        _ => "",
    };
    match event_times.get(name) {
        Some(column) => Ok(format!("`{column}`")),
        None => Err(at_token(
            SqlError::new(format!(
                "the event time of {} is not declared here",
                relation.token
            )),
            relation,
        )
        .hint("name it in the clause, for instance WINDOW TUMBLING(ts, 1m)")),
    }
}

/// `OVER (ROWS WINDOW BUFFER n ROWS …)`: the frame stands at the end.
fn export_buffer(tokens: &[TokenWithSpan], at: usize, edits: &mut Edits<'_>) {
    let end = end_of_level(tokens, at);
    let (Some(number), Some(behind), Some(close)) = (tokens.get(at + 3), tokens.get(at + 5), tokens.get(end))
    else {
        return;
    };
    edits.replace(tokens[at].span.start, behind.span.start, "");
    let has_frame = (at + 5..end).any(|index| {
        same_level(tokens, at, index) && (is_word(&tokens[index], "ROWS") || is_word(&tokens[index], "RANGE"))
    });
    let rows: u64 = match &number.token {
        Token::Number(digits, _) => digits.parse().unwrap_or(1),
        _ => 1,
    };
    if !has_frame {
        let frame = format!(
            " ROWS BETWEEN {} PRECEDING AND CURRENT ROW",
            rows.saturating_sub(1)
        );
        edits.insert(close.span.start, &frame);
    }
}

/// The texts between commas.
fn split(tokens: &[TokenWithSpan], start: usize, end: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for token in &tokens[start..end] {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            if !part.is_empty() {
                part.push(' ');
            }
            part.push_str(&token.token.to_string());
        }
    }
    parts
}

/// The index of the parenthesis that closes the one at `opening`; the last token where none does.
fn closing(tokens: &[TokenWithSpan], opening: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(opening) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

/// Where the parentheses around `at` close, or the statement ends.
fn end_of_level(tokens: &[TokenWithSpan], at: usize) -> usize {
    let mut depth = 0_i64;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return index;
        }
    }
    tokens.len()
}

/// Whether no parenthesis stands between both.
fn same_level(tokens: &[TokenWithSpan], from: usize, to: usize) -> bool {
    is_level(tokens, from.min(to), from.max(to))
}

/// Whether all parentheses from `from` up to `to` close again, and none closes that was open before.
fn is_level(tokens: &[TokenWithSpan], from: usize, to: usize) -> bool {
    let mut depth = 0_i64;
    for token in &tokens[from..to] {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0
}
