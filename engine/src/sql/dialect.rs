//! The dialect that sqlparser's unmodified expression and query parser runs with.
//!
//! It presents itself as sqlparser's generic dialect where that parser asks for one by type, and
//! switches on only what Flink's SQL and DataFusion's planner both understand: what is off is a
//! parse error instead of a clause that nobody reads.

use std::any::TypeId;

use sqlparser::ast::{CastKind, Expr};
use sqlparser::dialect::{Dialect, GenericDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use crate::sql::constructors;
use crate::sql::types::parse_type;

/// Flink's SQL, as far as sqlparser's hooks can tell it.
#[derive(Debug, Clone, Copy)]
pub struct StreamDialect;

impl Dialect for StreamDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '$' || ch == '_'
    }

    /// `MAP[…]` and JSON; `CAST(x AS ROW<…>)`: sqlparser knows no ROW and no TIMESTAMP WITH LOCAL TIME ZONE.
    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let Token::Word(word) = &parser.peek_token_ref().token else {
            return None;
        };
        let word = word.clone();
        if let Some(parsed) = constructors::parse(parser, &word) {
            return Some(parsed);
        }
        let kind = match word.keyword {
            Keyword::CAST => CastKind::Cast,
            Keyword::TRY_CAST => CastKind::TryCast,
            _ => return None,
        };
        if word.quote_style.is_some() || parser.peek_nth_token_ref(1).token != Token::LParen {
            return None;
        }
        Some(parse_cast(parser, kind))
    }

    /// `a IS NOT DISTINCT FROM b AND c`: sqlparser would read `b AND c` as what `a` is compared with.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if let Some(is_json) = constructors::is_json(parser, expr) {
            return Some(Ok(is_json));
        }
        let is_distinct = [Keyword::IS, Keyword::DISTINCT, Keyword::FROM];
        let is_not_distinct = [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM];
        let negated = parser.parse_keywords(&is_not_distinct);
        if !negated && !parser.parse_keywords(&is_distinct) {
            return None;
        }
        let left = Box::new(expr.clone());
        Some(parser.parse_subexpr(precedence).map(|right| match negated {
            true => Expr::IsNotDistinctFrom(left, Box::new(right)),
            false => Expr::IsDistinctFrom(left, Box::new(right)),
        }))
    }

    /// `FOR SYSTEM_TIME AS OF`: temporal joins.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    /// `FROM t MATCH_RECOGNIZE (…)`.
    fn supports_match_recognize(&self) -> bool {
        true
    }

    /// `SELECT /*+ STATE_TTL('t' = '1d') */ …`.
    fn supports_comment_optimizer_hint(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    fn supports_extract_comma_syntax(&self) -> bool {
        true
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }
}

fn parse_cast(parser: &mut Parser, kind: CastKind) -> Result<Expr, ParserError> {
    parser.next_token();
    parser.expect_token(&Token::LParen)?;
    let expr = Box::new(parser.parse_expr()?);
    parser.expect_keyword(Keyword::AS)?;
    let data_type = parse_type(parser)?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Cast {
        kind,
        expr,
        data_type,
        array: false,
        format: None,
    })
}
