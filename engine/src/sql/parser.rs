//! Statements: the text of a job file → [`Statement`]s, with a place for every error.
//!
//! One thin parser around sqlparser's unmodified one: it reads what streams add to SQL itself and
//! hands expressions and queries over. Each statement is parsed from its own tokens, after
//! `tokens` and `sugar` have prepared them.
//!
//! **Invariant.** Never panics, whatever the text. Every statement is read to its last token.

use sqlparser::ast::SetExpr;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Position, SqlError};
use crate::sql::dialect::StreamDialect;
use crate::sql::emit::EmitClause;
use crate::sql::group_windows::lower_windows;
use crate::sql::position::{ident_position, span_position};
use crate::sql::refusals;
use crate::sql::statement::{
    CreateAs, CreateView, Insert, Name, SetOption, Statement, StatementKind, StreamQuery,
};
use crate::sql::sugar::{self, WindowClause};
use crate::sql::tokens::{are_words, at_token, is_word, lower_first, split_statements, tokenize};
use crate::sql::unknown_statement::unknown_statement;

/// Reads all statements of `sql`.
pub fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let mut pieces = split_statements(tokenize(sql)?).into_iter();
    let mut statements = Vec::new();
    while let Some(piece) = pieces.next() {
        statements.push(statement(piece, &mut pieces)?);
    }
    Ok(statements)
}

/// Reads the statement in `piece`; a statement set takes further pieces up to its END.
fn statement(
    piece: Vec<TokenWithSpan>,
    pieces: &mut impl Iterator<Item = Vec<TokenWithSpan>>,
) -> Result<Statement, SqlError> {
    let position = token_position(&piece, 0);
    let explain = explain_length(&piece);
    if explain > 0 {
        let rest = piece[explain..].to_vec();
        if explain_length(&rest) > 0 {
            return Err(SqlError::new("EXPLAIN of EXPLAIN").at(token_position(&rest, 0)));
        }
        if rest.is_empty() {
            return Err(SqlError::new("EXPLAIN of nothing")
                .at(position)
                .hint("write EXPLAIN SELECT …"));
        }
        let explained = statement(rest, pieces)?;
        return Ok(Statement {
            position,
            kind: StatementKind::Explain(Box::new(explained)),
        });
    }
    if are_words(&piece, 0, &["EXECUTE", "STATEMENT", "SET"]) {
        if !are_words(&piece, 3, &["BEGIN"]) {
            return Err(SqlError::new("EXECUTE STATEMENT SET lacks its BEGIN").at(position));
        }
        let first = Some(piece[4..].to_vec()).filter(|first| !first.is_empty());
        return statement_set(position, first, pieces);
    }
    if are_words(&piece, 0, &["BEGIN", "STATEMENT", "SET"])
        || are_words(&piece, 0, &["STATEMENT", "SET", "BEGIN"])
    {
        let first = Some(piece[3..].to_vec()).filter(|first| !first.is_empty());
        return statement_set(position, first, pieces);
    }
    StreamParser::new(piece)?.statement(position)
}

/// How many tokens `EXPLAIN [PLAN FOR]` takes; 0 = it is none.
fn explain_length(piece: &[TokenWithSpan]) -> usize {
    if are_words(piece, 0, &["EXPLAIN", "PLAN", "FOR"]) {
        3
    } else if are_words(piece, 0, &["EXPLAIN"]) {
        1
    } else {
        0
    }
}

fn statement_set(
    position: Position,
    first: Option<Vec<TokenWithSpan>>,
    pieces: &mut impl Iterator<Item = Vec<TokenWithSpan>>,
) -> Result<Statement, SqlError> {
    let mut inserts = Vec::new();
    let mut next = first;
    loop {
        let piece = match next.take().or_else(|| pieces.next()) {
            Some(piece) => piece,
            None => {
                return Err(SqlError::new("the statement set has no END")
                    .at(position)
                    .hint("close it with END;"));
            }
        };
        if piece.len() == 1 && is_word(&piece[0], "END") {
            break;
        }
        let place = token_position(&piece, 0);
        match StreamParser::new(piece)?.statement(place)?.kind {
            StatementKind::Insert(insert) => inserts.push(insert),
            _ => {
                return Err(SqlError::new("a statement set holds INSERT INTO statements only").at(place));
            }
        }
    }
    if inserts.is_empty() {
        return Err(SqlError::new("the statement set is empty").at(position));
    }
    Ok(Statement {
        position,
        kind: StatementKind::StatementSet(inserts),
    })
}

fn token_position(tokens: &[TokenWithSpan], index: usize) -> Position {
    tokens
        .get(index)
        .and_then(|token| span_position(token.span))
        .unwrap_or_default()
}

/// One statement's tokens, sqlparser around them, and the sugar that stood among them.
pub(crate) struct StreamParser<'a> {
    /// sqlparser, unmodified.
    pub parser: Parser<'a>,
    tokens: Vec<TokenWithSpan>,
    windows: Vec<WindowClause>,
    emit: Option<EmitClause>,
}

impl StreamParser<'_> {
    fn new(tokens: Vec<TokenWithSpan>) -> Result<StreamParser<'static>, SqlError> {
        let lowered = sugar::lower(tokens)?;
        Ok(StreamParser {
            parser: Parser::new(&StreamDialect).with_tokens_with_locations(lowered.tokens.clone()),
            tokens: lowered.tokens,
            windows: lowered.windows,
            emit: lowered.emit,
        })
    }

    fn statement(mut self, position: Position) -> Result<Statement, SqlError> {
        let kind = self.statement_kind()?;
        let rest = self.parser.peek_token();
        if rest.token != Token::EOF {
            return Err(
                at_token(SqlError::new(format!("unexpected `{}`", rest.token)), &rest)
                    .hint("the statement is complete before it; statements are separated by semicolons"),
            );
        }
        if let Some(emit) = self.emit {
            return Err(SqlError::new("EMIT belongs to a query").at(emit.position));
        }
        if let Some(window) = self.windows.first() {
            return Err(SqlError::new("the WINDOW clause belongs to no query").at(window.position));
        }
        Ok(Statement { position, kind })
    }

    fn statement_kind(&mut self) -> Result<StatementKind, SqlError> {
        let first = self.parser.peek_token();
        let is_first = |text: &str| is_word(&first, text);
        if is_first("SELECT") || is_first("WITH") || first.token == Token::LParen {
            return Ok(StatementKind::Select(self.stream_query()?));
        }
        if is_first("VALUES") {
            return Err(at_token(SqlError::new("VALUES alone is not a statement"), &first)
                .hint("write SELECT * FROM (VALUES …) AS t (a, b)"));
        }
        if is_first("CREATE") {
            return self.create();
        }
        if is_first("INSERT") {
            return self.insert().map(StatementKind::Insert);
        }
        if is_first("SET") {
            return self.set().map(StatementKind::Set);
        }
        Err(unknown_statement(&self.tokens))
    }

    fn create(&mut self) -> Result<StatementKind, SqlError> {
        self.parser.next_token();
        if self.parser.peek_keyword(Keyword::OR) {
            return Err(self
                .error_here("CREATE OR REPLACE is not supported")
                .hint("a job file starts from an empty catalog: write CREATE"));
        }
        let temporary =
            self.parser.parse_keyword(Keyword::TEMPORARY) || self.parser.parse_keyword(Keyword::TEMP);
        if temporary && self.take_word("SYSTEM") {
            return Err(unknown_statement(&self.tokens));
        }
        if self.parser.parse_keyword(Keyword::VIEW) {
            return self.create_view().map(StatementKind::CreateView);
        }
        let is_stream = !temporary && self.take_word("STREAM");
        if !is_stream && !self.parser.parse_keyword(Keyword::TABLE) {
            return Err(unknown_statement(&self.tokens));
        }
        let if_not_exists = self.if_not_exists();
        let name = self.name()?;
        if self.parser.peek_token_ref().token == Token::LParen {
            return Ok(StatementKind::CreateTable(
                self.create_table(name, if_not_exists)?,
            ));
        }
        let options = self.with_options()?;
        if !self.parser.parse_keyword(Keyword::AS) {
            return Err(self
                .error_here("neither columns nor a query define the table")
                .hint("write CREATE TABLE name (column TYPE, …) WITH (…) or CREATE TABLE name AS SELECT …"));
        }
        if if_not_exists {
            return Err(SqlError::new("IF NOT EXISTS cannot be combined with AS SELECT").at(name.position));
        }
        let query = self.stream_query()?;
        Ok(StatementKind::CreateAs(CreateAs { name, options, query }))
    }

    fn create_view(&mut self) -> Result<CreateView, SqlError> {
        let if_not_exists = self.if_not_exists();
        let name = self.name()?;
        let mut columns = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            loop {
                columns.push(self.name()?);
                if self.parser.parse_keyword(Keyword::COMMENT) {
                    self.string()?;
                }
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.expect(&Token::RParen)?;
        }
        if self.parser.parse_keyword(Keyword::COMMENT) {
            self.string()?;
        }
        self.expect_keyword(Keyword::AS)?;
        Ok(CreateView {
            name,
            if_not_exists,
            columns,
            query: self.stream_query()?,
        })
    }

    fn insert(&mut self) -> Result<Insert, SqlError> {
        self.parser.next_token();
        if self.take_word("OVERWRITE") {
            return Err(self
                .error_before("INSERT OVERWRITE is not supported")
                .hint("write INSERT INTO"));
        }
        self.expect_keyword(Keyword::INTO)?;
        let table = self.name()?;
        if self.parser.peek_keyword(Keyword::PARTITION) {
            return Err(self.error_here("INSERT INTO … PARTITION is not supported"));
        }
        let columns = if self.opens_column_list() {
            self.name_list()?
        } else {
            Vec::new()
        };
        if self.parser.peek_keyword(Keyword::VALUES) {
            return Err(self
                .error_here("INSERT INTO … VALUES is not supported: rows come from sources")
                .hint("write INSERT INTO t SELECT … FROM source"));
        }
        let query = self.stream_query()?;
        Ok(Insert {
            table,
            columns,
            query,
        })
    }

    /// Whether `(` opens `(a, b)` rather than a query in parentheses.
    fn opens_column_list(&self) -> bool {
        let inner = self.parser.peek_nth_token(1);
        let is_query = ["SELECT", "WITH", "VALUES"]
            .iter()
            .any(|word| is_word(&inner, word));
        self.parser.peek_token_ref().token == Token::LParen
            && matches!(inner.token, Token::Word(_))
            && !is_query
    }

    fn set(&mut self) -> Result<SetOption, SqlError> {
        self.parser.next_token();
        let wrong = self
            .error_here("SET takes a quoted key and a quoted value")
            .hint("write SET 'key' = 'value'");
        let (key, key_position) = self.string().map_err(|_| wrong.clone())?;
        self.expect(&Token::Eq)?;
        let (value, value_position) = self.string().map_err(|_| wrong)?;
        Ok(SetOption {
            key,
            key_position,
            value,
            value_position,
        })
    }

    /// The query that ends a statement, lowered and checked, with its EMIT.
    fn stream_query(&mut self) -> Result<StreamQuery, SqlError> {
        let position = self.here();
        let mut query = self.parser.parse_query().map_err(|error| self.convert(error))?;
        if let SetExpr::Values(_) = query.body.as_ref() {
            return Err(SqlError::new("VALUES alone is not a query")
                .at(position)
                .hint("write SELECT * FROM (VALUES …) AS t (a, b)"));
        }
        lower_windows(&mut query, std::mem::take(&mut self.windows))?;
        refusals::check(query.as_ref()).map_err(|error| error.at(position))?;
        let emit = self.emit.take().map(|clause| clause.emit).unwrap_or_default();
        Ok(StreamQuery {
            query,
            emit,
            position,
        })
    }

    fn if_not_exists(&mut self) -> bool {
        self.parser
            .parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS])
    }

    /// An identifier of one part.
    pub(crate) fn name(&mut self) -> Result<Name, SqlError> {
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
    pub(crate) fn name_list(&mut self) -> Result<Vec<Name>, SqlError> {
        self.expect(&Token::LParen)?;
        let mut names = vec![self.name()?];
        while self.parser.consume_token(&Token::Comma) {
            names.push(self.name()?);
        }
        self.expect(&Token::RParen)?;
        Ok(names)
    }

    /// A text in single quotes and its place.
    pub(crate) fn string(&mut self) -> Result<(String, Position), SqlError> {
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
    pub(crate) fn take_word(&mut self, text: &str) -> bool {
        let is_next = is_word(self.parser.peek_token_ref(), text);
        if is_next {
            self.parser.next_token();
        }
        is_next
    }

    /// Whether these unquoted words are next.
    pub(crate) fn at_words(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(offset, text)| is_word(self.parser.peek_nth_token_ref(offset), text))
    }

    pub(crate) fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.parser.consume_token(token) {
            return Ok(());
        }
        Err(self.expected(&format!("`{token}`")))
    }

    pub(crate) fn expect_keyword(&mut self, keyword: Keyword) -> Result<(), SqlError> {
        if self.parser.parse_keyword(keyword) {
            return Ok(());
        }
        Err(self.expected(&format!("{keyword:?}")))
    }

    fn expected(&self, what: &str) -> SqlError {
        let found = match &self.parser.peek_token_ref().token {
            Token::EOF => "the end of the statement".to_string(),
            token => format!("`{token}`"),
        };
        self.error_here(&format!("expected {what}, found {found}"))
    }

    /// Where the next token stands; behind the last one at the end.
    pub(crate) fn here(&self) -> Position {
        span_position(self.parser.peek_token_ref().span).unwrap_or_else(|| self.end())
    }

    /// An error at the next token.
    pub(crate) fn error_here(&self, message: &str) -> SqlError {
        SqlError::new(message).at(self.here())
    }

    /// An error at the token just read.
    fn error_before(&self, message: &str) -> SqlError {
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
    pub(crate) fn convert(&self, error: ParserError) -> SqlError {
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
        Some((line, _)) if line == 0 => (message, None),
        Some(place) => (message, Some(place)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests;
