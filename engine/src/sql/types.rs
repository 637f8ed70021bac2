//! SQL types: read from tokens, and mapped to Arrow.
//!
//! [`parse_type`] adds to sqlparser's types what only Flink has (ROW, MAP with angle brackets,
//! TIMESTAMP WITH LOCAL TIME ZONE) and serves DDL and CAST alike; [`arrow_type`] is the one mapping
//! that the whole engine uses.
//!
//! **Invariant.** A type that Flink does not know is an error, never a guess. `NOT NULL` inside a
//! nested type is read and not enforced: elements and fields are nullable, the weaker promise.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, Ident, ObjectName, ObjectNamePart,
    StructBracketKind, StructField, TimezoneInfo,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use crate::error::SqlError;
use crate::limits::TYPE_NESTING_MAX;
use crate::sql::position::ident_position;
use crate::sql::suggest;

const LOCAL_ZONED: &str = "TIMESTAMP_LTZ";

/// Names that an unknown type may have meant.
const TYPE_NAMES: [&str; 24] = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "CHAR",
    "VARCHAR",
    "STRING",
    "BINARY",
    "VARBINARY",
    "BYTES",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "ARRAY",
    "MAP",
    "ROW",
];

/// Names of other systems' types, and ours.
const FOREIGN_NAMES: [(&str, &str); 20] = [
    ("TEXT", "STRING"),
    ("JSON", "STRING"),
    ("JSONB", "STRING"),
    ("UUID", "STRING"),
    ("NVARCHAR", "VARCHAR"),
    ("CLOB", "STRING"),
    ("BLOB", "BYTES"),
    ("BYTEA", "BYTES"),
    ("BOOL", "BOOLEAN"),
    ("LONG", "BIGINT"),
    ("INT8", "BIGINT"),
    ("INT64", "BIGINT"),
    ("INT4", "INT"),
    ("INT32", "INT"),
    ("INT2", "SMALLINT"),
    ("INT16", "SMALLINT"),
    ("FLOAT8", "DOUBLE"),
    ("FLOAT64", "DOUBLE"),
    ("DATETIME", "TIMESTAMP"),
    ("STRUCT", "ROW"),
];

/// Reads a type at the parser's place.
pub(crate) fn parse_type(parser: &mut Parser) -> Result<SqlType, ParserError> {
    parse_nested(parser, 0)
}

fn parse_nested(parser: &mut Parser, depth: usize) -> Result<SqlType, ParserError> {
    if depth > TYPE_NESTING_MAX {
        return Err(ParserError::RecursionLimitExceeded);
    }
    let Token::Word(word) = &parser.peek_token_ref().token else {
        return parser.parse_data_type();
    };
    if word.quote_style.is_some() {
        return parser.expected("a type", parser.peek_token());
    }
    let name = word.value.to_ascii_uppercase();
    let follower = parser.peek_nth_token_ref(1).token.clone();
    match (name.as_str(), follower) {
        ("ARRAY", Token::Lt) => {
            let element = parse_bracketed(parser, |parser| parse_element(parser, depth))?;
            Ok(SqlType::Array(ArrayElemTypeDef::AngleBracket(Box::new(element))))
        }
        ("MAP", Token::Lt) => {
            let (key, value) = parse_bracketed(parser, |parser| {
                let key = parse_element(parser, depth)?;
                parser.expect_token(&Token::Comma)?;
                Ok((key, parse_element(parser, depth)?))
            })?;
            Ok(SqlType::Map(Box::new(key), Box::new(value)))
        }
        ("ROW", Token::Lt | Token::LParen) => {
            let fields = parse_bracketed(parser, |parser| {
                parser.parse_comma_separated(|parser| parse_row_field(parser, depth))
            })?;
            Ok(SqlType::Struct(fields, StructBracketKind::AngleBrackets))
        }
        ("TIMESTAMP", _) => parse_timestamp(parser),
        _ => parser.parse_data_type(),
    }
}

/// `< inner >` or `( inner )` behind the name of a nested type.
fn parse_bracketed<T>(
    parser: &mut Parser,
    inner: impl FnOnce(&mut Parser) -> Result<T, ParserError>,
) -> Result<T, ParserError> {
    parser.next_token();
    let closing = match parser.next_token().token {
        Token::Lt => Token::Gt,
        _ => Token::RParen,
    };
    let value = inner(parser)?;
    parser.expect_token(&closing)?;
    Ok(value)
}

fn parse_element(parser: &mut Parser, depth: usize) -> Result<SqlType, ParserError> {
    let element = parse_nested(parser, depth + 1)?;
    // NULL and NOT NULL of an element are read and not enforced, see the head of this file.
    let _ = parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) || parser.parse_keyword(Keyword::NULL);
    Ok(element)
}

fn parse_row_field(parser: &mut Parser, depth: usize) -> Result<StructField, ParserError> {
    let field_name = Some(parser.parse_identifier()?);
    let field_type = parse_element(parser, depth)?;
    if matches!(parser.peek_token_ref().token, Token::SingleQuotedString(_)) {
        parser.next_token();
    }
    Ok(StructField {
        field_name,
        field_type,
        options: None,
    })
}

/// `TIMESTAMP [(p)] [WITHOUT TIME ZONE | WITH [LOCAL] TIME ZONE]`.
fn parse_timestamp(parser: &mut Parser) -> Result<SqlType, ParserError> {
    let token = parser.next_token();
    let precision = parser.parse_optional_precision()?;
    if parser.parse_keyword(Keyword::WITHOUT) {
        parser.expect_keywords(&[Keyword::TIME, Keyword::ZONE])?;
        return Ok(SqlType::Timestamp(precision, TimezoneInfo::WithoutTimeZone));
    }
    if !parser.parse_keyword(Keyword::WITH) {
        return Ok(SqlType::Timestamp(precision, TimezoneInfo::None));
    }
    if parser.parse_keyword(Keyword::LOCAL) {
        parser.expect_keywords(&[Keyword::TIME, Keyword::ZONE])?;
        let mut name = Ident::new(LOCAL_ZONED);
        name.span = token.span;
        let digits = precision.map(|precision| precision.to_string());
        return Ok(SqlType::Custom(
            ObjectName::from(vec![name]),
            digits.into_iter().collect(),
        ));
    }
    parser.expect_keywords(&[Keyword::TIME, Keyword::ZONE])?;
    Ok(SqlType::Timestamp(precision, TimezoneInfo::WithTimeZone))
}

/// The Arrow type of a SQL type, in DDL and in CAST.
pub fn arrow_type(sql_type: &SqlType) -> Result<DataType, SqlError> {
    match sql_type {
        SqlType::Boolean => Ok(DataType::Boolean),
        SqlType::TinyInt(None) => Ok(DataType::Int8),
        SqlType::SmallInt(None) => Ok(DataType::Int16),
        SqlType::Int(None) | SqlType::Integer(None) => Ok(DataType::Int32),
        SqlType::BigInt(None) => Ok(DataType::Int64),
        SqlType::Float(ExactNumberInfo::None) | SqlType::Real => Ok(DataType::Float32),
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision => Ok(DataType::Float64),
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => decimal(info),
        SqlType::Char(_)
        | SqlType::Character(_)
        | SqlType::Varchar(_)
        | SqlType::CharVarying(_)
        | SqlType::CharacterVarying(_)
        | SqlType::String(None) => Ok(DataType::Utf8),
        SqlType::Bytes(None) | SqlType::Binary(_) | SqlType::Varbinary(_) => Ok(DataType::Binary),
        SqlType::Date => Ok(DataType::Date32),
        SqlType::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => time(*precision),
        SqlType::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            Ok(DataType::Timestamp(timestamp_unit(*precision)?, None))
        }
        SqlType::Timestamp(precision, TimezoneInfo::WithTimeZone) => Ok(DataType::Timestamp(
            timestamp_unit(*precision)?,
            Some("UTC".into()),
        )),
        SqlType::Interval { .. } => Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
        SqlType::Array(ArrayElemTypeDef::AngleBracket(element)) => Ok(DataType::List(Arc::new(
            Field::new_list_field(arrow_type(element)?, true),
        ))),
        SqlType::Map(key, value) => map(key, value),
        SqlType::Struct(fields, _) => row(fields),
        SqlType::Custom(name, modifiers) => custom(name, modifiers),
        other => Err(unknown(&other.to_string())),
    }
}

fn unknown(name: &str) -> SqlError {
    let error = SqlError::new(format!("unknown type {name}"));
    let word = name
        .split(['(', ' ', '<'])
        .next()
        .unwrap_or(name)
        .to_ascii_uppercase();
    if let Some((_, ours)) = FOREIGN_NAMES.iter().find(|(foreign, _)| *foreign == word) {
        return error.hint(format!("use {ours}"));
    }
    error.hint(suggest::hint(&word, TYPE_NAMES, "known types are"))
}

fn custom(name: &ObjectName, modifiers: &[String]) -> Result<DataType, SqlError> {
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return Err(unknown(&name.to_string()));
    };
    if !ident.value.eq_ignore_ascii_case(LOCAL_ZONED) || ident.quote_style.is_some() {
        return Err(unknown(&ident.value).at(ident_position(ident)));
    }
    let precision = match modifiers {
        [] => None,
        [digits] => Some(digits.parse::<u64>().map_err(|_| {
            SqlError::new(format!("{LOCAL_ZONED}({digits}) has no valid precision")).at(ident_position(ident))
        })?),
        _ => {
            return Err(SqlError::new(format!("{LOCAL_ZONED} has one precision")).at(ident_position(ident)));
        }
    };
    Ok(DataType::Timestamp(
        timestamp_unit(precision)?,
        Some("UTC".into()),
    ))
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType, SqlError> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let valid = (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if valid => Ok(DataType::Decimal128(precision, scale)),
        _ => Err(
            SqlError::new(format!("DECIMAL({precision}, {scale}) is out of range"))
                .hint("the precision is 1 to 38, the scale 0 to the precision"),
        ),
    }
}

fn timestamp_unit(precision: Option<u64>) -> Result<TimeUnit, SqlError> {
    match precision.unwrap_or(6) {
        0..=3 => Ok(TimeUnit::Millisecond),
        4..=6 => Ok(TimeUnit::Microsecond),
        7..=9 => Ok(TimeUnit::Nanosecond),
        more => Err(SqlError::new(format!(
            "a timestamp has at most 9 fractional digits, not {more}"
        ))),
    }
}

fn time(precision: Option<u64>) -> Result<DataType, SqlError> {
    match precision.unwrap_or(0) {
        0..=3 => Ok(DataType::Time32(TimeUnit::Millisecond)),
        4..=6 => Ok(DataType::Time64(TimeUnit::Microsecond)),
        7..=9 => Ok(DataType::Time64(TimeUnit::Nanosecond)),
        more => Err(SqlError::new(format!(
            "a time has at most 9 fractional digits, not {more}"
        ))),
    }
}

fn map(key: &SqlType, value: &SqlType) -> Result<DataType, SqlError> {
    let entries = Fields::from(vec![
        Field::new("key", arrow_type(key)?, false),
        Field::new("value", arrow_type(value)?, true),
    ]);
    let entry = Field::new("entries", DataType::Struct(entries), false);
    Ok(DataType::Map(Arc::new(entry), false))
}

fn row(fields: &[StructField]) -> Result<DataType, SqlError> {
    let mut mapped: Vec<Field> = Vec::with_capacity(fields.len());
    for field in fields {
        let Some(name) = &field.field_name else {
            return Err(SqlError::new("a field of a ROW has no name").hint("write ROW<name TYPE, …>"));
        };
        if mapped.iter().any(|earlier| *earlier.name() == name.value) {
            return Err(
                SqlError::new(format!("the ROW has two fields `{}`", name.value)).at(ident_position(name))
            );
        }
        mapped.push(Field::new(&name.value, arrow_type(&field.field_type)?, true));
    }
    Ok(DataType::Struct(Fields::from(mapped)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::dialect::StreamDialect;
    use crate::sql::tokens::tokenize;

    /// The Arrow type of a SQL type, or the error.
    fn check(sql: &str, expected: &str) {
        let tokens = tokenize(sql).unwrap();
        let mut parser = Parser::new(&StreamDialect).with_tokens_with_locations(tokens);
        let text = match parse_type(&mut parser) {
            Ok(sql_type) => match arrow_type(&sql_type) {
                Ok(data_type) => data_type.to_string(),
                Err(error) => format!("error: {error}"),
            },
            Err(error) => format!("parser: {error}"),
        };
        assert_eq!(text, expected, "{sql}");
        assert_eq!(parser.peek_token_ref().token, Token::EOF, "{sql}");
    }

    #[test]
    fn simple_types_map_to_arrow() {
        check("BOOLEAN", "Boolean");
        check("TINYINT", "Int8");
        check("smallint", "Int16");
        check("INT", "Int32");
        check("INTEGER", "Int32");
        check("BIGINT", "Int64");
        check("FLOAT", "Float32");
        check("REAL", "Float32");
        check("DOUBLE", "Float64");
        check("DOUBLE PRECISION", "Float64");
        check("CHAR(3)", "Utf8");
        check("VARCHAR(255)", "Utf8");
        check("VARCHAR", "Utf8");
        check("STRING", "Utf8");
        check("BYTES", "Binary");
        check("BINARY(4)", "Binary");
        check("VARBINARY(40)", "Binary");
        check("DATE", "Date32");
        check("INTERVAL DAY TO SECOND", "Interval(MonthDayNano)");
    }

    #[test]
    fn precision_chooses_the_unit() {
        check("DECIMAL", "Decimal128(10, 0)");
        check("NUMERIC(12)", "Decimal128(12, 0)");
        check("DECIMAL(38, 10)", "Decimal128(38, 10)");
        check("TIME", "Time32(ms)");
        check("TIME(6)", "Time64(µs)");
        check("TIMESTAMP", "Timestamp(µs)");
        check("TIMESTAMP(3)", "Timestamp(ms)");
        check("TIMESTAMP(9)", "Timestamp(ns)");
        check("TIMESTAMP(3) WITHOUT TIME ZONE", "Timestamp(ms)");
        check("TIMESTAMP_LTZ(3)", "Timestamp(ms, \"UTC\")");
        check("TIMESTAMP_LTZ", "Timestamp(µs, \"UTC\")");
        check("TIMESTAMP(3) WITH LOCAL TIME ZONE", "Timestamp(ms, \"UTC\")");
    }

    #[test]
    fn nested_types_nest() {
        check("ARRAY<INT NOT NULL>", "List(Int32)");
        check("ARRAY<ARRAY<BIGINT>>", "List(List(Int64))");
        check(
            "MAP<STRING, ARRAY<INT>>",
            "Map(\"entries\": non-null Struct(\"key\": non-null Utf8, \"value\": List(Int32)), unsorted)",
        );
        check(
            "ROW<id BIGINT, `inner` ROW(x DOUBLE, y DOUBLE NOT NULL)>",
            "Struct(\"id\": Int64, \"inner\": Struct(\"x\": Float64, \"y\": Float64))",
        );
    }

    #[test]
    fn unknown_types_name_the_nearest() {
        check(
            "STRNG",
            "error: unknown type STRNG (line 1, column 1); did you mean `STRING`?",
        );
        check("TEXT", "error: unknown type TEXT; use STRING");
        check(
            "BIGINT UNSIGNED",
            "error: unknown type BIGINT UNSIGNED; did you mean `BIGINT`?",
        );
        check(
            "DECIMAL(40, 2)",
            "error: DECIMAL(40, 2) is out of range; the precision is 1 to 38, the scale 0 to the precision",
        );
        check(
            "TIMESTAMP(12)",
            "error: a timestamp has at most 9 fractional digits, not 12",
        );
        check(
            "ROW<a INT, a INT>",
            "error: the ROW has two fields `a` (line 1, column 12)",
        );
    }
}
