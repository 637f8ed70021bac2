//! Sugar that sqlparser cannot read, taken out of a statement's tokens or respelled.
//!
//! Stands between `tokens` and `parser`: `EMIT …` is cut off, `WINDOW TUMBLING(…)` is cut out and
//! remembered with the SELECT it belongs to (`group_windows` applies it), `ROWS WINDOW BUFFER n
//! ROWS` becomes a frame, `TABLE t` inside a window TVF becomes `t`, WITHIN of a pattern a definition
//! (`match_clauses`).
//!
//! **Invariant.** Nothing is dropped: each clause is lowered, remembered, or refused.

use sqlparser::ast::Expr;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};

use crate::error::{Position, SqlError};
use crate::sql::dialect::StreamDialect;
use crate::sql::emit::{EmitClause, take_emit};
use crate::sql::late_data::take_late_data;
use crate::sql::match_clauses;
use crate::sql::position::span_position;
use crate::sql::refusals::check_depth;
use crate::sql::statement::LateData;
use crate::sql::suggest;
use crate::sql::tokens::{are_words, at_token, is_word, number, word};
use crate::sql::window_call::PARTITION_KEYS;

const WINDOW_FUNCTIONS: [&str; 4] = ["TUMBLE", "HOP", "CUMULATE", "SESSION"];
const SUGAR_NAMES: [&str; 3] = ["TUMBLING", "SLIDING", "SESSION"];

/// A statement's tokens without sugar, and what the sugar said.
#[derive(Debug)]
pub(crate) struct Lowered {
    /// What sqlparser reads.
    pub tokens: Vec<TokenWithSpan>,
    /// `WINDOW …` clauses, each with its SELECT.
    pub windows: Vec<WindowClause>,
    /// `EMIT …` at the end.
    pub emit: Option<EmitClause>,
    /// `LATE DATA TO …` behind it.
    pub late: Option<LateData>,
}

/// The windows of the `WINDOW …` clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SugarWindow {
    /// Side by side.
    Tumbling,
    /// Overlapping.
    Sliding,
    /// As long as rows follow each other.
    Session,
}

impl SugarWindow {
    /// How it is written.
    pub fn usage(self) -> &'static str {
        match self {
            SugarWindow::Tumbling => {
                "write WINDOW TUMBLING(size), for instance WINDOW TUMBLING(1m), or with the time column first"
            }
            SugarWindow::Sliding => {
                "write WINDOW SLIDING(size, slide), for instance WINDOW SLIDING(5m, 1m), or with the time column first"
            }
            SugarWindow::Session => {
                "write WINDOW SESSION(gap), for instance WINDOW SESSION(30s), or with the time column first"
            }
        }
    }

    /// The TVF that it is.
    pub fn function(self) -> &'static str {
        match self {
            SugarWindow::Tumbling => "TUMBLE",
            SugarWindow::Sliding => "HOP",
            SugarWindow::Session => "SESSION",
        }
    }
}

/// `WINDOW TUMBLING(…)`, `WINDOW SLIDING(…)` or `WINDOW SESSION(…)`.
#[derive(Debug)]
pub(crate) struct WindowClause {
    /// Where the `SELECT` that it belongs to stands.
    pub select: Location,
    /// Which window.
    pub kind: SugarWindow,
    /// Its arguments.
    pub arguments: Vec<Expr>,
    /// Where the kind stands.
    pub position: Position,
    /// The same, as sqlparser says it.
    pub span: Span,
}

/// Lowers all token sugar of one statement.
pub(crate) fn lower(tokens: Vec<TokenWithSpan>) -> Result<Lowered, SqlError> {
    let (tokens, late) = take_late_data(tokens)?;
    let (tokens, emit) = take_emit(tokens)?;
    let mut walk = Walk {
        tokens: &tokens,
        output: Vec::with_capacity(tokens.len()),
        windows: Vec::new(),
        levels: vec![Level::default()],
    };
    let mut index = 0;
    while index < tokens.len() {
        index = walk.step(index)?;
    }
    Ok(Lowered {
        windows: walk.windows,
        tokens: walk.output,
        emit,
        late,
    })
}

/// What is known inside one pair of parentheses.
#[derive(Default)]
struct Level {
    /// The last SELECT met.
    select: Option<Location>,
    /// The word before the parenthesis.
    opener: Option<String>,
    /// `ROWS WINDOW BUFFER n ROWS` met, and its first token.
    buffer: Option<(u64, TokenWithSpan)>,
    /// An explicit frame: its preceding rows, where it says a number of ROWS.
    frame: Option<Option<u64>>,
}

struct Walk<'a> {
    tokens: &'a [TokenWithSpan],
    output: Vec<TokenWithSpan>,
    windows: Vec<WindowClause>,
    levels: Vec<Level>,
}

impl Walk<'_> {
    /// Handles the token at `index` and returns the index to go on with.
    fn step(&mut self, index: usize) -> Result<usize, SqlError> {
        let token = &self.tokens[index];
        match &token.token {
            Token::LParen => self.levels.push(Level {
                opener: self.output.last().and_then(plain_word),
                ..Level::default()
            }),
            Token::RParen => self.close(token)?,
            Token::Word(Word {
                quote_style: None, ..
            }) => {
                if let Some(next) = self.word(index)? {
                    return Ok(next);
                }
            }
            _ => {}
        }
        self.output.push(token.clone());
        Ok(index + 1)
    }

    /// Handles a word that may open sugar; `None` = an ordinary word.
    fn word(&mut self, index: usize) -> Result<Option<usize>, SqlError> {
        let token = &self.tokens[index];
        if is_word(token, "SELECT") {
            self.level().select = Some(token.span.start);
        } else if is_word(token, "WINDOW") {
            return self.window_clause(index);
        } else if are_words(self.tokens, index, &["ROWS", "WINDOW", "BUFFER"]) {
            return self.rows_buffer(index).map(Some);
        } else if is_word(token, "TABLE") && self.is_table_argument(index) {
            return Ok(Some(index + 1));
        } else if are_words(self.tokens, index, &["PARTITION", "BY"])
            && matches!(&self.level().opener, Some(name) if WINDOW_FUNCTIONS.contains(&name.as_str()))
        {
            return Ok(Some(self.partition_of_session(index)));
        } else if is_word(token, "ROWS") || is_word(token, "RANGE") {
            self.note_frame(index);
        } else if is_word(token, "MATCH_RECOGNIZE") {
            match_clauses::wrap_sub_query(&mut self.output);
        } else if self.level().opener.as_deref() == Some("MATCH_RECOGNIZE")
            && let Some((respelled, next)) = match_clauses::respelled(self.tokens, index)?
        {
            self.output.extend(respelled);
            return Ok(Some(next));
        }
        Ok(None)
    }

    /// `SESSION(TABLE t PARTITION BY a, b, DESCRIPTOR(ts), …)`: the keys become an argument of their own.
    fn partition_of_session(&mut self, index: usize) -> usize {
        let origin = &self.tokens[index];
        let mut end = index + 2;
        // The keys end where the next argument begins: DESCRIPTOR(…), or a named one.
        while let Some(token) = self.tokens.get(end) {
            let begins = |offset: usize| self.tokens.get(end + offset).map(|token| &token.token);
            let next_argument = token.token == Token::Comma
                && (self
                    .tokens
                    .get(end + 1)
                    .is_some_and(|next| is_word(next, "DESCRIPTOR"))
                    || begins(2) == Some(&Token::RArrow));
            if next_argument || token.token == Token::RParen {
                break;
            }
            end += 1;
        }
        let mut put = |token: Token| {
            let mut placed = origin.clone();
            placed.token = token;
            self.output.push(placed);
        };
        put(Token::Comma);
        // Among named arguments it needs a name as well.
        let is_named = self.tokens[index.saturating_sub(4)..index]
            .iter()
            .any(|token| token.token == Token::RArrow);
        if is_named {
            put(Token::make_word("PARTITION_BY", None));
            put(Token::RArrow);
        }
        put(Token::make_word(PARTITION_KEYS, Some('`')));
        put(Token::LParen);
        self.output.extend_from_slice(&self.tokens[index + 2..end]);
        let mut closing = origin.clone();
        closing.token = Token::RParen;
        self.output.push(closing);
        end
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    /// `WINDOW NAME (…)`; a named window (`WINDOW w AS (…)`) is not ours.
    fn window_clause(&mut self, index: usize) -> Result<Option<usize>, SqlError> {
        let (Some(kind), Some(opening)) = (self.tokens.get(index + 1), self.tokens.get(index + 2)) else {
            return Ok(None);
        };
        let (Some(name), Token::LParen) = (plain_word(kind), &opening.token) else {
            return Ok(None);
        };
        let kind_name = match name.as_str() {
            "TUMBLING" => SugarWindow::Tumbling,
            "SLIDING" => SugarWindow::Sliding,
            "SESSION" => SugarWindow::Session,
            _ => {
                return Err(at_token(SqlError::new(format!("unknown window {name}")), kind)
                    .hint(suggest::hint(&name, SUGAR_NAMES, "known are")));
            }
        };
        let Some(select) = self.level().select else {
            return Err(at_token(
                SqlError::new("WINDOW stands outside of a SELECT"),
                &self.tokens[index],
            ));
        };
        if self.windows.iter().any(|window| window.select == select) {
            return Err(at_token(
                SqlError::new("the SELECT has two WINDOW clauses"),
                &self.tokens[index],
            ));
        }
        let Some(closing) = matching_parenthesis(self.tokens, index + 2) else {
            return Err(at_token(
                SqlError::new("the parenthesis is never closed"),
                opening,
            ));
        };
        let arguments = parse_arguments(&self.tokens[index + 3..closing])
            .map_err(|error| at_token(error, kind).hint(kind_name.usage()))?;
        self.windows.push(WindowClause {
            select,
            kind: kind_name,
            arguments,
            position: span_position(kind.span).unwrap_or_default(),
            span: kind.span,
        });
        Ok(Some(closing + 1))
    }

    /// `ROWS WINDOW BUFFER n ROWS` inside `OVER (…)`.
    fn rows_buffer(&mut self, index: usize) -> Result<usize, SqlError> {
        let start = &self.tokens[index];
        let wrong = || {
            at_token(
                SqlError::new("ROWS WINDOW BUFFER lacks its number of rows"),
                start,
            )
            .hint("write OVER (ROWS WINDOW BUFFER 100 ROWS PARTITION BY … ORDER BY …)")
        };
        let count = match self.tokens.get(index + 3).map(|token| &token.token) {
            Some(Token::Number(digits, _)) => digits.parse::<u64>().map_err(|_| wrong())?,
            _ => return Err(wrong()),
        };
        if count == 0 || !are_words(self.tokens, index + 4, &["ROWS"]) {
            return Err(wrong());
        }
        let level = self.level();
        if !matches!(level.opener.as_deref(), Some("OVER" | "AS")) {
            return Err(at_token(
                SqlError::new("ROWS WINDOW BUFFER stands outside of OVER (…)"),
                start,
            ));
        }
        if level.buffer.replace((count, start.clone())).is_some() {
            return Err(at_token(SqlError::new("the OVER has two buffers"), start));
        }
        Ok(index + 5)
    }

    /// Whether the word TABLE at `index` marks a table argument of a window TVF.
    fn is_table_argument(&mut self, index: usize) -> bool {
        let in_function =
            matches!(&self.level().opener, Some(name) if WINDOW_FUNCTIONS.contains(&name.as_str()));
        let starts_argument = matches!(
            self.output.last().map(|token| &token.token),
            Some(Token::LParen | Token::Comma | Token::RArrow)
        );
        let names_table = matches!(
            self.tokens.get(index + 1).map(|token| &token.token),
            Some(Token::Word(_))
        );
        in_function && starts_argument && names_table
    }

    /// Remembers an explicit frame, in case a buffer stands beside it.
    fn note_frame(&mut self, index: usize) {
        let follows = |offset: usize| self.tokens.get(index + offset).map(|token| &token.token);
        let preceding = match (follows(1), follows(2)) {
            (Some(Token::Number(digits, _)), _) => digits.parse().ok(),
            (Some(Token::Word(between)), Some(Token::Number(digits, _)))
                if between.value.eq_ignore_ascii_case("BETWEEN")
                    && are_words(self.tokens, index + 3, &["PRECEDING", "AND", "CURRENT", "ROW"]) =>
            {
                digits.parse().ok()
            }
            _ => None,
        };
        let is_frame = ["BETWEEN", "UNBOUNDED", "CURRENT"]
            .iter()
            .any(|next| are_words(self.tokens, index + 1, &[next]));
        if is_frame || preceding.is_some() {
            let rows = is_word(&self.tokens[index], "ROWS");
            self.level().frame = Some(preceding.filter(|_| rows));
        }
    }

    /// Closes a parenthesis: the buffer that stood in it becomes a frame at its end.
    fn close(&mut self, token: &TokenWithSpan) -> Result<(), SqlError> {
        let Some(level) = self.levels.pop() else {
            return Ok(());
        };
        let Some((count, origin)) = level.buffer else {
            return Ok(());
        };
        match level.frame {
            None => {}
            // The frame looks at no more rows than the buffer holds: it alone decides.
            Some(Some(preceding)) if preceding < count => return Ok(()),
            Some(_) => {
                return Err(at_token(
                    SqlError::new("the frame reaches beyond the ROWS WINDOW BUFFER"),
                    &origin,
                )
                .hint(format!(
                    "use at most ROWS BETWEEN {} PRECEDING AND CURRENT ROW",
                    count - 1
                )));
            }
        }
        let mut at = origin;
        at.span = token.span;
        for text in ["ROWS", "BETWEEN"] {
            self.output.push(word(text, &at));
        }
        self.output.push(number(count - 1, &at));
        for text in ["PRECEDING", "AND", "CURRENT", "ROW"] {
            self.output.push(word(text, &at));
        }
        Ok(())
    }
}

/// The unquoted word that a token is, in capitals.
fn plain_word(token: &TokenWithSpan) -> Option<String> {
    match &token.token {
        Token::Word(Word {
            value,
            quote_style: None,
            ..
        }) => Some(value.to_ascii_uppercase()),
        _ => None,
    }
}

/// The index of the parenthesis that closes the one at `opening`.
fn matching_parenthesis(tokens: &[TokenWithSpan], opening: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(opening) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

fn parse_arguments(tokens: &[TokenWithSpan]) -> Result<Vec<Expr>, SqlError> {
    let mut parser = Parser::new(&StreamDialect).with_tokens_with_locations(tokens.to_vec());
    let arguments = parser
        .parse_comma_separated(Parser::parse_expr)
        .map_err(|_| SqlError::new("the window's arguments cannot be read"))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(at_token(
            SqlError::new("the window's arguments cannot be read"),
            &rest,
        ));
    }
    check_depth(&arguments)?;
    Ok(arguments)
}
