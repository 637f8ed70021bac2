//! Expressions with a grammar of their own, read as calls: `MAP['k', v]`, `JSON_OBJECT`, `JSON_ARRAY`, their
//! aggregates, the clauses of `JSON_VALUE`, `JSON_QUERY` and `JSON_EXISTS`, and `IS JSON`.
//!
//! sqlparser asks the dialect before it reads an expression; what is none of these is left to it.
//!
//! **Invariant.** What is read is a call of a function that the library has, so that nothing behind the parser
//! knows these spellings.

use sqlparser::ast::{CastKind, Expr, Ident, UnaryOperator, Value};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Word};

use crate::sql::query::call;
use crate::sql::types::parse_type;

type Parsed = Result<Expr, ParserError>;

/// Reads the expression that starts with `word`, the next token, if it is one of these.
pub(crate) fn parse(parser: &mut Parser, word: &Word) -> Option<Parsed> {
    if word.quote_style.is_some() {
        return None;
    }
    let behind = &parser.peek_nth_token_ref(1).token;
    let name = word.value.to_ascii_uppercase();
    match (name.as_str(), behind) {
        ("MAP", Token::LBracket) => Some(map(parser)),
        ("JSON_OBJECT", Token::LParen) => Some(json_object(parser)),
        ("JSON_ARRAY", Token::LParen) => Some(json_array(parser)),
        ("JSON_VALUE", Token::LParen) => Some(json_value(parser)),
        ("JSON_QUERY", Token::LParen) => Some(json_query(parser)),
        ("JSON_EXISTS", Token::LParen) => Some(json_exists(parser)),
        ("JSON_OBJECTAGG", Token::LParen) => Some(json_object_aggregate(parser)),
        ("JSON_ARRAYAGG", Token::LParen) => Some(json_array_aggregate(parser)),
        _ => None,
    }
}

/// The function of the next two tokens, under another name and with its place.
fn open(parser: &mut Parser, name: &str) -> Ident {
    let token = parser.next_token();
    parser.next_token();
    Ident::with_span(token.span, name)
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_string()))
}

fn null() -> Expr {
    Expr::value(Value::Null)
}

/// Consumes `word` if it is next.
fn take(parser: &mut Parser, word: &str) -> bool {
    let is_next = matches!(&parser.peek_token_ref().token, Token::Word(next)
        if next.quote_style.is_none() && next.value.eq_ignore_ascii_case(word));
    if is_next {
        parser.next_token();
    }
    is_next
}

fn expect(parser: &mut Parser, word: &str) -> Result<(), ParserError> {
    match take(parser, word) {
        true => Ok(()),
        false => parser.expected_ref(word, parser.peek_token_ref()),
    }
}

/// `MAP[key, value, …]`.
fn map(parser: &mut Parser) -> Parsed {
    let name = open(parser, "map_of");
    let arguments = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RBracket)?;
    Ok(call(name, arguments))
}

/// Whether NULLs stay: `NULL ON NULL`, `ABSENT ON NULL`, or what is usual.
fn null_clause(parser: &mut Parser, usual: bool) -> Result<bool, ParserError> {
    let keeps = match (take(parser, "NULL"), take(parser, "ABSENT")) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => return Ok(usual),
    };
    expect(parser, "ON")?;
    expect(parser, "NULL")?;
    Ok(keeps)
}

/// How a value is written: one that was made as JSON stands as it is.
fn kind_of(value: &Expr) -> char {
    match value {
        Expr::Function(function)
            if ["json_object_of", "json_array_of"].contains(&function.name.to_string().as_str()) =>
        {
            'j'
        }
        Expr::Nested(inner) => kind_of(inner),
        _ => 'v',
    }
}

/// `JSON_OBJECT([KEY] 'a' VALUE x, … [NULL | ABSENT ON NULL])` → `json_object_of('n' and a kind per value, keys
/// and values)`; NULLs stay unless said otherwise.
fn json_object(parser: &mut Parser) -> Parsed {
    let name = open(parser, "json_object_of");
    let mut kinds = String::new();
    let mut arguments = Vec::new();
    let is_empty = parser.peek_token_ref().token == Token::RParen;
    while !is_empty && !at_null_clause(parser) {
        take(parser, "KEY");
        if !matches!(parser.peek_token_ref().token, Token::SingleQuotedString(_)) {
            return parser.expected_ref("a key in single quotes", parser.peek_token_ref());
        }
        arguments.push(Expr::Value(parser.parse_value()?));
        expect(parser, "VALUE")?;
        let value = parser.parse_expr()?;
        kinds.push(kind_of(&value));
        arguments.push(value);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    let keeps = null_clause(parser, true)?;
    parser.expect_token(&Token::RParen)?;
    arguments.insert(0, text(&format!("{}{kinds}", if keeps { 'n' } else { 'a' })));
    Ok(call(name, arguments))
}

/// Whether `NULL ON` or `ABSENT ON` is next, rather than a value.
fn at_null_clause(parser: &Parser) -> bool {
    let is = |offset: usize, words: &[&str]| {
        matches!(&parser.peek_nth_token_ref(offset).token, Token::Word(word)
            if words.iter().any(|known| word.value.eq_ignore_ascii_case(known)))
    };
    is(0, &["NULL", "ABSENT"]) && is(1, &["ON"])
}

/// `JSON_ARRAY(x, … [NULL | ABSENT ON NULL])`, alike; NULLs are left out unless said otherwise.
fn json_array(parser: &mut Parser) -> Parsed {
    let name = open(parser, "json_array_of");
    let mut kinds = String::new();
    let mut arguments = Vec::new();
    let is_empty = parser.peek_token_ref().token == Token::RParen;
    while !is_empty && !at_null_clause(parser) {
        let value = parser.parse_expr()?;
        kinds.push(kind_of(&value));
        arguments.push(value);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    let keeps = null_clause(parser, false)?;
    parser.expect_token(&Token::RParen)?;
    arguments.insert(0, text(&format!("{}{kinds}", if keeps { 'n' } else { 'a' })));
    Ok(call(name, arguments))
}

/// `JSON_VALUE(json, path [RETURNING type] [… ON EMPTY] [… ON ERROR])` → `json_value_of(json, path, type, mode
/// and default ON EMPTY, mode and default ON ERROR)`, brought to its type; without clauses a plain call.
fn json_value(parser: &mut Parser) -> Parsed {
    let name = open(parser, "json_value");
    let mut arguments = parser.parse_comma_separated(Parser::parse_expr)?;
    let returning = match take(parser, "RETURNING") {
        true => Some(parse_type(parser)?),
        false => None,
    };
    let [on_empty, on_error] = behaviours(parser, behaviour)?;
    if returning.is_none() && on_empty.is_none() && on_error.is_none() {
        return Ok(call(name, arguments));
    }
    let wanted = returning
        .as_ref()
        .map_or("STRING".to_string(), ToString::to_string);
    arguments.push(text(&wanted));
    for behaviour in [on_empty, on_error] {
        let (mode, default) = behaviour.unwrap_or(("null", null()));
        arguments.extend([text(mode), default]);
    }
    let name = Ident::with_span(name.span, "json_value_of");
    let value = call(name, arguments);
    Ok(match returning {
        None => value,
        Some(data_type) => Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(value),
            data_type,
            array: false,
            format: None,
        },
    })
}

/// `NULL`, `ERROR` or `DEFAULT x`.
fn behaviour(parser: &mut Parser) -> Result<(&'static str, Expr), ParserError> {
    if take(parser, "NULL") {
        return Ok(("null", null()));
    }
    if take(parser, "ERROR") {
        return Ok(("error", null()));
    }
    if parser.parse_keyword(Keyword::DEFAULT) {
        return Ok(("default", parser.parse_expr()?));
    }
    parser.expected_ref("NULL, ERROR or DEFAULT", parser.peek_token_ref())
}

/// What stands in front of ON EMPTY and ON ERROR, once each and in that order; `None` where it is not said.
fn behaviours<B>(
    parser: &mut Parser,
    behaviour: fn(&mut Parser) -> Result<B, ParserError>,
) -> Result<[Option<B>; 2], ParserError> {
    let (mut on_empty, mut on_error) = (None, None);
    while parser.peek_token_ref().token != Token::RParen {
        let behaviour = behaviour(parser)?;
        expect(parser, "ON")?;
        let place = if on_error.is_none() && on_empty.is_none() && take(parser, "EMPTY") {
            &mut on_empty
        } else if on_error.is_none() && take(parser, "ERROR") {
            &mut on_error
        } else {
            return parser.expected_ref("one ON EMPTY, then one ON ERROR", parser.peek_token_ref());
        };
        *place = Some(behaviour);
    }
    parser.expect_token(&Token::RParen)?;
    Ok([on_empty, on_error])
}

/// `JSON_QUERY(json, path [… WRAPPER] [… ON EMPTY] [… ON ERROR])` → `json_query_of(json, path, wrapper, mode ON
/// EMPTY, mode ON ERROR)`; without clauses a plain call.
fn json_query(parser: &mut Parser) -> Parsed {
    let name = open(parser, "json_query");
    let mut arguments = parser.parse_comma_separated(Parser::parse_expr)?;
    if take(parser, "RETURNING") && !take(parser, "STRING") {
        return parser.expected_ref(
            "STRING, the type that JSON_QUERY returns",
            parser.peek_token_ref(),
        );
    }
    let wrapper = wrapper(parser)?;
    let [on_empty, on_error] = behaviours(parser, query_behaviour)?;
    if wrapper.is_none() && on_empty.is_none() && on_error.is_none() {
        return Ok(call(name, arguments));
    }
    arguments.push(text(wrapper.unwrap_or("without")));
    arguments.extend([on_empty, on_error].map(|mode| text(mode.unwrap_or("null"))));
    Ok(call(Ident::with_span(name.span, "json_query_of"), arguments))
}

/// `WITHOUT | WITH [CONDITIONAL | UNCONDITIONAL] [ARRAY] WRAPPER`.
fn wrapper(parser: &mut Parser) -> Result<Option<&'static str>, ParserError> {
    let wrapper = if take(parser, "WITHOUT") {
        "without"
    } else if take(parser, "WITH") {
        match take(parser, "CONDITIONAL") {
            true => "conditional",
            false => {
                take(parser, "UNCONDITIONAL");
                "unconditional"
            }
        }
    } else {
        return Ok(None);
    };
    take(parser, "ARRAY");
    expect(parser, "WRAPPER")?;
    Ok(Some(wrapper))
}

/// `NULL`, `ERROR`, `EMPTY ARRAY` or `EMPTY OBJECT`.
fn query_behaviour(parser: &mut Parser) -> Result<&'static str, ParserError> {
    if take(parser, "NULL") {
        return Ok("null");
    }
    if take(parser, "ERROR") {
        return Ok("error");
    }
    if take(parser, "EMPTY") {
        if take(parser, "ARRAY") {
            return Ok("array");
        }
        expect(parser, "OBJECT")?;
        return Ok("object");
    }
    parser.expected_ref(
        "NULL, ERROR, EMPTY ARRAY or EMPTY OBJECT",
        parser.peek_token_ref(),
    )
}

/// `JSON_EXISTS(json, path [TRUE | FALSE | UNKNOWN | ERROR ON ERROR])` → `json_exists_of(json, path, mode)`.
fn json_exists(parser: &mut Parser) -> Parsed {
    let name = open(parser, "json_exists_of");
    let mut arguments = parser.parse_comma_separated(Parser::parse_expr)?;
    let modes = ["true", "false", "unknown", "error"];
    let mode = modes.into_iter().find(|mode| take(parser, mode));
    if mode.is_some() {
        expect(parser, "ON")?;
        expect(parser, "ERROR")?;
    }
    parser.expect_token(&Token::RParen)?;
    arguments.push(text(mode.unwrap_or("false")));
    Ok(call(name, arguments))
}

/// A value as a text that is JSON.
fn as_json(value: Expr) -> Expr {
    match kind_of(&value) {
        'j' => value,
        _ => call(Ident::new("json_string"), vec![value]),
    }
}

/// `JSON_OBJECTAGG([KEY] k VALUE v [NULL | ABSENT ON NULL])`; NULLs stay unless said otherwise.
fn json_object_aggregate(parser: &mut Parser) -> Parsed {
    let name = open(parser, "json_objectagg_null");
    take(parser, "KEY");
    let key = parser.parse_expr()?;
    expect(parser, "VALUE")?;
    let value = as_json(parser.parse_expr()?);
    let names = ["json_objectagg_null", "json_objectagg_absent"];
    json_aggregate(parser, name, names, true, vec![key, value])
}

/// `JSON_ARRAYAGG(x [NULL | ABSENT ON NULL])`; NULLs are left out unless said otherwise.
fn json_array_aggregate(parser: &mut Parser) -> Parsed {
    let name = open(parser, "json_arrayagg_absent");
    let value = as_json(parser.parse_expr()?);
    let names = ["json_arrayagg_null", "json_arrayagg_absent"];
    json_aggregate(parser, name, names, false, vec![value])
}

/// The rest of an aggregate: what becomes of NULLs, and FILTER.
fn json_aggregate(
    parser: &mut Parser,
    name: Ident,
    [keeps_null, leaves_out]: [&str; 2],
    usual: bool,
    arguments: Vec<Expr>,
) -> Parsed {
    let keeps = null_clause(parser, usual)?;
    parser.expect_token(&Token::RParen)?;
    let function = if keeps { keeps_null } else { leaves_out };
    let mut aggregate = call(Ident::with_span(name.span, function), arguments);
    if let Expr::Function(function) = &mut aggregate
        && parser.parse_keyword(Keyword::FILTER)
    {
        parser.expect_token(&Token::LParen)?;
        parser.expect_keyword_is(Keyword::WHERE)?;
        function.filter = Some(Box::new(parser.parse_expr()?));
        parser.expect_token(&Token::RParen)?;
    }
    Ok(aggregate)
}

/// `x IS [NOT] JSON [VALUE | SCALAR | ARRAY | OBJECT]`, if that is what follows `x`.
pub(crate) fn is_json(parser: &mut Parser, operand: &Expr) -> Option<Expr> {
    let word = |offset: usize| match &parser.peek_nth_token_ref(offset).token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    let is_negated = word(1) == "NOT";
    if word(0) != "IS" || word(1 + usize::from(is_negated)) != "JSON" {
        return None;
    }
    let place = parser.peek_token_ref().span;
    (0..2 + usize::from(is_negated)).for_each(|_| drop(parser.next_token()));
    let kinds = ["VALUE", "SCALAR", "ARRAY", "OBJECT"];
    let kind = kinds.into_iter().find(|kind| take(parser, kind));
    let arguments = vec![operand.clone(), text(kind.unwrap_or("VALUE"))];
    let is_json = call(Ident::with_span(place, "is_json"), arguments);
    Some(match is_negated {
        false => is_json,
        true => Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(is_json),
        },
    })
}
