//! Statements: the text of a job file → [`Statement`]s, with a place for every error.
//!
//! One thin parser around sqlparser's unmodified one (`stream_parser`): it reads what streams add
//! to SQL itself and hands expressions and queries over. Each statement is parsed from its own tokens, after
//! `tokens` and `sugar` have prepared them.
//!
//! **Invariant.** Never panics, whatever the text. Every statement is read to its last token.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Position, SqlError};
use crate::sql::group_windows::lower_windows;
use crate::sql::position::span_position;
use crate::sql::refusals;
use crate::sql::statement::{
    CreateAs, CreateTable, CreateView, Insert, SetOption, Statement, StatementKind, StreamQuery,
};
use crate::sql::stream_parser::StreamParser;
use crate::sql::tokens::{are_words, at_token, is_word, split_statements, tokenize};
use crate::sql::unknown_statement::unknown_statement;

/// Reads all statements of `sql`.
pub fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let mut pieces = split_statements(tokenize(sql)?).into_iter();
    let mut statements = Vec::new();
    while let Some(piece) = pieces.next() {
        let next = statement(piece, &mut pieces, &statements)?;
        statements.push(next);
    }
    Ok(statements)
}

/// Reads the statement in `piece`; a statement set takes further pieces up to its END.
fn statement(
    piece: Vec<TokenWithSpan>,
    pieces: &mut impl Iterator<Item = Vec<TokenWithSpan>>,
    earlier: &[Statement],
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
        let explained = statement(rest, pieces, earlier)?;
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
    StreamParser::new(piece, earlier)?.statement(position)
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
        match StreamParser::new(piece, &[])?.statement(place)?.kind {
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

impl StreamParser<'_> {
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
        if let Some(late) = self.late {
            return Err(SqlError::new("LATE DATA TO belongs to a query").at(late.position));
        }
        if let Some(window) = self.windows.first() {
            return Err(SqlError::new("the WINDOW clause belongs to no query").at(window.position));
        }
        Ok(Statement { position, kind })
    }

    fn statement_kind(&mut self) -> Result<StatementKind, SqlError> {
        let first = self.parser.peek_token();
        let is_first = |text: &str| is_word(&first, text);
        if ["SELECT", "WITH", "VALUES"].into_iter().any(is_first) || first.token == Token::LParen {
            return Ok(StatementKind::Select(self.stream_query()?));
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
        if self.parser.peek_keyword(Keyword::LIKE) {
            let own = CreateTable {
                name,
                if_not_exists,
                columns: Vec::new(),
                watermark: None,
                primary_key: Vec::new(),
                options,
            };
            return Ok(StatementKind::CreateTable(self.like_clause(own)?));
        }
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
        if let Some(late) = &self.late {
            return Err(
                SqlError::new("a view has no rows of its own, and so none that are late")
                    .hint("put LATE DATA TO behind the statement that reads the view")
                    .at(late.position),
            );
        }
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
        refusals::check_depth(query.as_ref()).map_err(|error| error.at(position))?;
        lower_windows(&mut query, std::mem::take(&mut self.windows))?;
        refusals::check(query.as_ref(), &self.tokens).map_err(|error| error.at(position))?;
        let clause = self.emit.take();
        let emit = clause.map(|clause| clause.emit).unwrap_or_default();
        let timeout_us = clause.and_then(|clause| clause.timeout_us);
        Ok(StreamQuery {
            query,
            emit,
            timeout_us,
            late: self.late.take(),
            position,
            places: self.places.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
