//! `LATE DATA TO table [(columns)]`: the last clause of a statement, cut off before sqlparser can read it as an
//! alias.
//!
//! **Invariant.** The words `LATE DATA TO` are never left in the tokens: they are the statement's last clause,
//! or an error.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Position, SqlError};
use crate::sql::dialect::StreamDialect;
use crate::sql::emit::is_at_top;
use crate::sql::places::Places;
use crate::sql::position::span_position;
use crate::sql::statement::{LateData, Name};
use crate::sql::stream_parser::StreamParser;
use crate::sql::tokens::{are_words, at_token, is_word};

const WORDS: [&str; 3] = ["LATE", "DATA", "TO"];
const USAGE: &str = "write LATE DATA TO late_rows, or LATE DATA TO late_rows (a, b), behind EMIT and TIMEOUT";

/// The statement's tokens without the clause, and the clause.
pub(crate) fn take_late_data(
    mut tokens: Vec<TokenWithSpan>,
) -> Result<(Vec<TokenWithSpan>, Option<LateData>), SqlError> {
    let Some(start) = (0..tokens.len()).find(|&index| are_words(&tokens, index, &WORDS)) else {
        return Ok((tokens, None));
    };
    if !is_at_top(&tokens, start) {
        let message = "LATE DATA TO stands inside parentheses; it is a clause of the whole statement";
        return Err(at_token(SqlError::new(message), &tokens[start]).hint(USAGE));
    }
    let rest = tokens.split_off(start);
    let position = span_position(rest[0].span).unwrap_or_default();
    let clause = clause(rest, position).map_err(|error| error.at(position))?;
    Ok((tokens, Some(clause)))
}

/// Reads the clause.
fn clause(tokens: Vec<TokenWithSpan>, position: Position) -> Result<LateData, SqlError> {
    let mut reader = StreamParser {
        places: Places::default(),
        parser: Parser::new(&StreamDialect).with_tokens_with_locations(tokens[WORDS.len()..].to_vec()),
        tokens,
        windows: Vec::new(),
        emit: None,
        late: None,
        earlier: &[],
    };
    let table = reader.name()?;
    let columns: Vec<Name> = match reader.parser.peek_token_ref().token {
        Token::LParen => reader.name_list()?,
        _ => Vec::new(),
    };
    let behind = reader.parser.peek_token_ref();
    if behind.token == Token::EOF {
        return Ok(LateData {
            table,
            columns,
            position,
        });
    }
    let message = match is_word(behind, "EMIT") {
        true => "EMIT stands before LATE DATA TO",
        false => "nothing may follow LATE DATA TO",
    };
    Err(at_token(SqlError::new(message), behind).hint(USAGE))
}
