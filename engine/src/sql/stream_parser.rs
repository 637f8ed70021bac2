//! sqlparser's parser over one statement's tokens, with what reading a stream's statements needs:
//! names, texts, places, and errors with a place.
//!
//! `parser`, `create_table` and `table_like` build their statements with it.
//!
//! **Invariant.** Every error has a place, at the latest the end of the statement.

use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Position, SqlError};
use crate::sql::dialect::StreamDialect;
use crate::sql::emit::EmitClause;
use crate::sql::places::Places;
use crate::sql::position::{ident_position, span_position};
use crate::sql::statement::{LateData, Name, Statement};
use crate::sql::sugar::{self, WindowClause};
use crate::sql::tokens::{at_token, is_word, lower_first};

/// One statement's tokens, sqlparser around them, and the sugar that stood among them.
pub(crate) struct StreamParser<'a> {
    /// sqlparser, unmodified.
    pub parser: Parser<'a>,
    /// What it reads, to find the places of errors.
    pub tokens: Vec<TokenWithSpan>,
    /// Where the words of the text stand, sugar included.
    pub places: Places,
    /// `WINDOW …` clauses, until the query takes them.
    pub windows: Vec<WindowClause>,
    /// `EMIT …`, until the query takes it.
    pub emit: Option<EmitClause>,
    /// `LATE DATA TO …`, until the query takes it.
    pub late: Option<LateData>,
    /// The statements before this one: what `LIKE` may name.
    pub earlier: &'a [Statement],
}

impl<'a> StreamParser<'a> {
    /// A parser at the first token, sugar lowered.
    pub fn new(tokens: Vec<TokenWithSpan>, earlier: &'a [Statement]) -> Result<StreamParser<'a>, SqlError> {
        let places = Places::of(&tokens);
        let lowered = sugar::lower(tokens)?;
        Ok(StreamParser {
            places,
            parser: Parser::new(&StreamDialect).with_tokens_with_locations(lowered.tokens.clone()),
            tokens: lowered.tokens,
            windows: lowered.windows,
            emit: lowered.emit,
            late: lowered.late,
            earlier,
        })
    }

    /// Consumes `IF NOT EXISTS` if it is next.
    pub fn if_not_exists(&mut self) -> bool {
        self.parser
            .parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS])
    }

    /// An identifier of one part.
    pub fn name(&mut self) -> Result<Name, SqlError> {
        let token = self.parser.peek_token();
        if !matches!(token.token, Token::Word(_)) {
            return Err(self.expected("a name"));
        }
        let ident = self
            .parser
            .parse_identifier()
            .map_err(|error| self.convert(error))?;
        if self.parser.peek_token_ref().token == Token::Period {
            return Err(self
                .error_here("names have one part: there are no catalogs and databases")
                .hint(format!("write the name alone, without `{}.`", ident.value)));
        }
        if ident.value.is_empty() {
            return Err(SqlError::new("the name is empty").at(ident_position(&ident)));
        }
        Ok(Name {
            position: ident_position(&ident),
            value: ident.value,
        })
    }

    /// `(a, b)`.
    pub fn name_list(&mut self) -> Result<Vec<Name>, SqlError> {
        self.expect(&Token::LParen)?;
        let mut names = vec![self.name()?];
        while self.parser.consume_token(&Token::Comma) {
            names.push(self.name()?);
        }
        self.expect(&Token::RParen)?;
        Ok(names)
    }

    /// A text in single quotes and its place.
    pub fn string(&mut self) -> Result<(String, Position), SqlError> {
        let token = self.parser.peek_token();
        match token.token {
            Token::SingleQuotedString(text) => {
                self.parser.next_token();
                Ok((text, span_position(token.span).unwrap_or_default()))
            }
            _ => Err(self.expected("a text in single quotes")),
        }
    }

    /// Consumes the unquoted word `text` if it is next.
    pub fn take_word(&mut self, text: &str) -> bool {
        let is_next = is_word(self.parser.peek_token_ref(), text);
        if is_next {
            self.parser.next_token();
        }
        is_next
    }

    /// Whether these unquoted words are next.
    pub fn at_words(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(offset, text)| is_word(self.parser.peek_nth_token_ref(offset), text))
    }

    /// Consumes `token`, or says what stands there instead.
    pub fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.parser.consume_token(token) {
            return Ok(());
        }
        Err(self.expected(&format!("`{token}`")))
    }

    /// Consumes `keyword`, or says what stands there instead.
    pub fn expect_keyword(&mut self, keyword: Keyword) -> Result<(), SqlError> {
        if self.parser.parse_keyword(keyword) {
            return Ok(());
        }
        Err(self.expected(&format!("{keyword:?}")))
    }

    /// "expected …, found …" at the next token.
    pub fn expected(&self, what: &str) -> SqlError {
        let found = match &self.parser.peek_token_ref().token {
            Token::EOF => "the end of the statement".to_string(),
            token => format!("`{token}`"),
        };
        self.error_here(&format!("expected {what}, found {found}"))
    }

    /// Where the next token stands; behind the last one at the end.
    pub fn here(&self) -> Position {
        span_position(self.parser.peek_token_ref().span).unwrap_or_else(|| self.end())
    }

    /// An error at the next token.
    pub fn error_here(&self, message: &str) -> SqlError {
        SqlError::new(message).at(self.here())
    }

    /// An error at the token just read.
    pub fn error_before(&self, message: &str) -> SqlError {
        at_token(SqlError::new(message), self.parser.get_current_token())
    }

    /// Just behind the last token.
    fn end(&self) -> Position {
        let last = self.tokens.last().map(|token| token.span.end);
        last.map_or(Position::default(), |end| Position {
            line: end.line,
            column: end.column,
            length: 1,
        })
    }

    /// sqlparser's error as ours: its place is read off the end of its text.
    pub fn convert(&self, error: ParserError) -> SqlError {
        let text = match error {
            ParserError::RecursionLimitExceeded => {
                return self
                    .error_here("the statement is nested too deeply")
                    .hint("give parts of it names with views or WITH");
            }
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        };
        let (message, place) = split_place(&text);
        let message = lower_first(message).replacen("expected: ", "expected ", 1);
        let message = message
            .replace("found: EOF", "found the end of the statement")
            .replace("found: ", "found ");
        let position = match place {
            Some((line, column)) => self.token_at(line, column),
            None => self.end(),
        };
        SqlError::new(message).at(position)
    }

    /// The place with the length of the token that starts there.
    fn token_at(&self, line: u64, column: u64) -> Position {
        let token = self
            .tokens
            .iter()
            .find(|token| token.span.start.line == line && token.span.start.column == column);
        token
            .and_then(|token| span_position(token.span))
            .unwrap_or(Position {
                line,
                column,
                length: 1,
            })
    }
}

/// `message at Line: 1, Column: 2` → the message and the place.
fn split_place(text: &str) -> (&str, Option<(u64, u64)>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return (text, None);
    };
    let numbers = place.split_once(", Column: ").and_then(|(line, column)| {
        let line = line.trim().parse().ok()?;
        let column = column.trim().parse().ok()?;
        Some((line, column))
    });
    match numbers {
        Some((0, _)) => (message, None),
        Some(place) => (message, Some(place)),
        None => (text, None),
    }
}
