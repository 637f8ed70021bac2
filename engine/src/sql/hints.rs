//! Hints: `SELECT /*+ STATE_TTL('orders' = '1d', 'rates' = '8h') */ …`.
//!
//! STATE_TTL says how long rows of a relation are kept in the state of joins, and the groups of a relation
//! in the state of aggregations. Of a relation that is named twice the first hint counts, as in Flink; within
//! one hint the last value.
//!
//! **Invariant.** A hint that names no relation of its query is an error: it would change nothing.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{OptimizerHint, Query, Select, TableFactor, Visitor};
use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::SqlError;
use crate::sql::option_values::parse_duration_us;
use crate::sql::suggest;
use crate::sql::walk::walk;

/// Relation names and their time to live in microseconds, of every SELECT of a query.
pub(crate) fn state_ttl(query: &Query) -> Result<Vec<(String, u64)>, SqlError> {
    let mut finder = Finder::default();
    if let ControlFlow::Break(error) = walk(query, &mut finder) {
        return Err(error);
    }
    for (name, _) in &finder.found {
        if !finder.relations.contains(name) {
            let nearest = suggest::nearest(name, finder.relations.iter().map(String::as_str));
            return Err(SqlError::new(format!(
                "STATE_TTL names `{name}`, which this query does not read"
            ))
            .hint(match nearest {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "name a table or an alias of the FROM clause".to_string(),
            }));
        }
    }
    Ok(finder.found)
}

/// The query of a view has no hints: they belong to the statement that keeps state.
pub(crate) fn refuse_in_view(query: &Query) -> Result<(), SqlError> {
    match state_ttl(query)?.is_empty() {
        true => Ok(()),
        false => Err(
            SqlError::new("STATE_TTL inside a view says nothing to the statement that reads it")
                .hint("write the hint behind the SELECT of the INSERT or query that runs"),
        ),
    }
}

#[derive(Default)]
struct Finder {
    found: Vec<(String, u64)>,
    /// Tables and aliases of FROM clauses.
    relations: BTreeSet<String>,
}

impl Visitor for Finder {
    type Break = SqlError;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<SqlError> {
        let alias = match factor {
            TableFactor::Table { name, alias, .. } => {
                self.relations.insert(name.to_string().replace('`', ""));
                alias
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => alias,
            _ => &None,
        };
        self.relations
            .extend(alias.as_ref().map(|alias| alias.name.value.clone()));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        for hint in &select.optimizer_hints {
            match read(hint) {
                Ok(entries) => self.found.extend(entries),
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    }
}

/// The entries of one comment, which may hold several hints.
pub(crate) fn read(hint: &OptimizerHint) -> Result<Vec<(String, u64)>, SqlError> {
    let wrong =
        |what: String| Err(SqlError::new(what).hint("write /*+ STATE_TTL('table' = '1d') */ behind SELECT"));
    let tokens: Vec<Token> = match Tokenizer::new(&GenericDialect {}, &hint.text).tokenize() {
        Ok(tokens) => tokens
            .into_iter()
            .filter(|token| !matches!(token, Token::Whitespace(_)))
            .collect(),
        Err(_) => return wrong(format!("the hint /*+{}*/ cannot be read", hint.text)),
    };
    let mut entries: Vec<(String, u64)> = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some((name, behind)) = rest.split_first() {
        let Token::Word(word) = name else {
            return wrong(format!("the hint /*+{}*/ cannot be read", hint.text));
        };
        if !word.value.eq_ignore_ascii_case("STATE_TTL") {
            return wrong(format!("the hint {} is not supported", word.value));
        }
        let Some(end) = behind.iter().position(|token| *token == Token::RParen) else {
            return wrong("the hint STATE_TTL has no closing parenthesis".to_string());
        };
        if behind.first() != Some(&Token::LParen) {
            return wrong("the hint STATE_TTL has no arguments".to_string());
        }
        let mut own: Vec<(String, u64)> = Vec::new();
        for entry in behind[1..end].split(|token| *token == Token::Comma) {
            match entry {
                [relation, Token::Eq, duration] => {
                    match (text(relation), text(duration).and_then(parse_duration_us)) {
                        (Some(relation), Some(ttl_us)) => {
                            own.retain(|(known, _)| known != relation);
                            own.push((relation.to_string(), ttl_us));
                        }
                        _ => return wrong(format!("STATE_TTL cannot hold {relation} = {duration}")),
                    }
                }
                _ => return wrong("STATE_TTL needs entries of the form 'table' = '1d'".to_string()),
            }
        }
        for entry in own {
            if !entries.iter().any(|(known, _)| *known == entry.0) {
                entries.push(entry);
            }
        }
        rest = &behind[end + 1..];
        if let Some((Token::Comma, behind)) = rest.split_first() {
            rest = behind;
        }
    }
    Ok(entries)
}

fn text(token: &Token) -> Option<&str> {
    match token {
        Token::SingleQuotedString(text) => Some(text),
        Token::Word(word) => Some(&word.value),
        _ => None,
    }
}
