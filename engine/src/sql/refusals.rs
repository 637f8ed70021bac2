//! What sqlparser reads and the query planner would pass over in silence: refused here.
//!
//! Runs on every query and every free-standing expression after windows are lowered.
//!
//! **Invariant.** A query that passes has no clause that nobody reads: an unread clause is a wrong
//! answer.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, Expr, Function, FunctionArguments, JoinOperator, ObjectNamePart, Query, Select, SelectFlavor,
    SetExpr, TableAlias, TableFactor, TableVersion, Value, ValueWithSpan, Visit, Visitor,
};
use sqlparser::tokenizer::TokenWithSpan;

use crate::error::{Position, SqlError};
use crate::limits::EXPRESSION_DEPTH_MAX;
use crate::sql::hints;
use crate::sql::position::{ident_position, position_of, span_position};
use crate::sql::tokens::are_words;
use crate::sql::types::arrow_type;
use crate::sql::walk::walk;
use crate::sql::window_call::window_call;

/// Refuses what nobody would read in `node`, a query or an expression made of `tokens`.
pub(crate) fn check(node: &impl Visit, tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    match walk(node, &mut Refusals { tokens }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Refuses expressions that nest too deeply. Runs before anything else looks at a parsed tree.
pub(crate) fn check_depth(node: &impl Visit) -> Result<(), SqlError> {
    match walk(node, &mut Depth { levels: 0 }) {
        ControlFlow::Break(()) => Err(SqlError::new(format!(
            "an expression nests deeper than {EXPRESSION_DEPTH_MAX} operators"
        ))
        .hint("use IN (…) for long lists of alternatives, or balance it with parentheses")),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Depth {
    levels: usize,
}

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<()> {
        self.levels += 1;
        if self.levels > EXPRESSION_DEPTH_MAX {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<()> {
        self.levels -= 1;
        ControlFlow::Continue(())
    }
}

/// The same for an expression of a table's own, which cannot hold a query.
pub(crate) fn check_free_expression(expression: &Expr, tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    check(expression, tokens)?;
    match walk(expression, &mut FindQuery) {
        ControlFlow::Break(()) => Err(SqlError::new("an expression of a table cannot contain a query")),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct FindQuery;

impl Visitor for FindQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

struct Refusals<'a> {
    /// The statement's tokens: the tree does not know where its clauses stand.
    tokens: &'a [TokenWithSpan],
}

impl Refusals<'_> {
    /// The place of the clause that starts with the capital words of `name`, at or behind `from`.
    fn clause_position(&self, name: &str, from: Position) -> Position {
        let words: Vec<&str> = name
            .split(' ')
            .take_while(|word| {
                word.chars()
                    .all(|letter| letter.is_ascii_uppercase() || letter == '_')
            })
            .collect();
        let found = (0..self.tokens.len()).find(|&index| {
            let start = self.tokens[index].span.start;
            (start.line, start.column) >= (from.line, from.column) && are_words(self.tokens, index, &words)
        });
        match found {
            Some(index) if !words.is_empty() => span_position(self.tokens[index].span).unwrap_or(from),
            _ => from,
        }
    }

    /// The first clause of `clauses` that is there, as an error at its place, or at `from`.
    fn refuse_first(&self, from: Position, clauses: &[(bool, &str, &str)]) -> Result<(), SqlError> {
        let Some((_, name, hint)) = clauses.iter().find(|(is_there, ..)| *is_there) else {
            return Ok(());
        };
        let error = SqlError::new(format!("{name} is not supported")).at(self.clause_position(name, from));
        Err(if hint.is_empty() { error } else { error.hint(*hint) })
    }
}

fn flow(result: Result<(), SqlError>) -> ControlFlow<SqlError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl Visitor for Refusals<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        flow(self.check_query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        flow(self.check_select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<SqlError> {
        flow(self.check_relation(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        flow(self.check_expression(expr))
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<SqlError> {
        let Value::Placeholder(name) = &value.value else {
            return ControlFlow::Continue(());
        };
        let error =
            SqlError::new(format!("the parameter {name} has no value")).hint("write the value itself");
        flow(Err(match span_position(value.span) {
            Some(position) => error.at(position),
            None => error,
        }))
    }
}

impl Refusals<'_> {
    fn check_query(&self, query: &Query) -> Result<(), SqlError> {
        self.refuse_first(
            position_of(query),
            &[
                (query.fetch.is_some(), "FETCH", "use LIMIT"),
                (
                    !query.locks.is_empty(),
                    "FOR UPDATE / FOR SHARE",
                    "a stream has no locks",
                ),
                (query.for_clause.is_some(), "FOR XML / FOR JSON", ""),
                (query.settings.is_some(), "SETTINGS", "use SET 'key' = 'value'"),
                (query.format_clause.is_some(), "FORMAT", "use WITH ('format' = …)"),
                (!query.pipe_operators.is_empty(), "the pipe syntax", ""),
                (
                    query.with.as_ref().is_some_and(|with| with.recursive),
                    "WITH RECURSIVE",
                    "",
                ),
                (
                    matches!(
                        query.body.as_ref(),
                        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
                    ),
                    "a statement that changes tables inside a query",
                    "",
                ),
                (
                    matches!(query.body.as_ref(), SetExpr::Table(_)),
                    "TABLE t as a query",
                    "write SELECT * FROM t",
                ),
            ],
        )
    }

    fn check_select(&self, select: &Select) -> Result<(), SqlError> {
        self.refuse_first(
            position_of(select),
            &[
                (
                    matches!(select.distinct, Some(Distinct::On(_))),
                    "DISTINCT ON",
                    "use ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) = 1",
                ),
                (select.top.is_some(), "TOP", "use LIMIT"),
                (select.into.is_some(), "SELECT INTO", "use INSERT INTO t SELECT …"),
                (
                    !select.lateral_views.is_empty(),
                    "LATERAL VIEW",
                    "use CROSS JOIN UNNEST(…)",
                ),
                (select.prewhere.is_some(), "PREWHERE", "use WHERE"),
                (!select.connect_by.is_empty(), "CONNECT BY", ""),
                (!select.cluster_by.is_empty(), "CLUSTER BY", ""),
                (
                    !select.distribute_by.is_empty(),
                    "DISTRIBUTE BY",
                    "rows are distributed by the plan",
                ),
                (!select.sort_by.is_empty(), "SORT BY", "use ORDER BY"),
                (select.select_modifiers.is_some(), "a SELECT modifier", ""),
                (
                    select.value_table_mode.is_some(),
                    "SELECT AS VALUE / AS STRUCT",
                    "",
                ),
                (select.exclude.is_some(), "EXCLUDE behind the select list", ""),
                (
                    select.flavor != SelectFlavor::Standard,
                    "a query that starts with FROM",
                    "write SELECT * FROM t",
                ),
                (
                    select.projection.is_empty(),
                    "an empty select list",
                    "write SELECT *",
                ),
            ],
        )?;
        for hint in &select.optimizer_hints {
            hints::read(hint).map_err(|error| error.at(position_of(select)))?;
        }
        for join in select.from.iter().flat_map(|from| &from.joins) {
            let unread = join.global
                || matches!(
                    join.join_operator,
                    JoinOperator::AsOf { .. }
                        | JoinOperator::CrossApply
                        | JoinOperator::OuterApply
                        | JoinOperator::StraightJoin(_)
                        | JoinOperator::ArrayJoin
                        | JoinOperator::LeftArrayJoin
                        | JoinOperator::InnerArrayJoin
                );
            if unread {
                return Err(
                    SqlError::new("this kind of join is not supported").at(position_of(&join.relation))
                );
            }
        }
        Ok(())
    }

    fn check_relation(&self, factor: &TableFactor) -> Result<(), SqlError> {
        if let Some(call) = window_call(factor) {
            call?;
        }
        let at = position_of(factor);
        if let Some(alias) = alias_of(factor)
            && let Some(column) = alias.columns.iter().find(|column| column.data_type.is_some())
        {
            return Err(SqlError::new("a column alias has no type").at(ident_position(&column.name)));
        }
        match factor {
            TableFactor::Table {
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => {
                if let Some(version) = version
                    .as_ref()
                    .filter(|version| !matches!(version, TableVersion::ForSystemTimeAsOf(_)))
                {
                    return Err(
                        SqlError::new(format!("the table version {version} is not supported"))
                            .at(self.clause_position("FOR SYSTEM_TIME", at)),
                    );
                }
                self.refuse_first(
                    at,
                    &[
                        (sample.is_some(), "TABLESAMPLE", "filter with WHERE"),
                        (
                            !with_hints.is_empty(),
                            "WITH (…) behind a table",
                            "the options of CREATE TABLE … AS stand before AS",
                        ),
                        (!index_hints.is_empty(), "a table hint", ""),
                        (
                            !partitions.is_empty(),
                            "PARTITION (…) behind a table",
                            "filter with WHERE",
                        ),
                        (json_path.is_some(), "a path behind a table", ""),
                        (*with_ordinality, "WITH ORDINALITY", ""),
                    ],
                )
            }
            TableFactor::Derived { sample, .. } => {
                self.refuse_first(at, &[(sample.is_some(), "TABLESAMPLE", "filter with WHERE")])
            }
            TableFactor::UNNEST { with_offset, .. } => {
                self.refuse_first(at, &[(*with_offset, "WITH OFFSET", "use WITH ORDINALITY")])
            }
            TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => {
                Err(SqlError::new("PIVOT and UNPIVOT are not supported").at(at))
            }
            TableFactor::JsonTable { .. }
            | TableFactor::OpenJsonTable { .. }
            | TableFactor::XmlTable { .. }
            | TableFactor::SemanticView { .. } => {
                Err(SqlError::new("this table function is not supported").at(at))
            }
            TableFactor::MatchRecognize { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::Function { .. }
            | TableFactor::NestedJoin { .. } => Ok(()),
        }
    }

    fn check_expression(&self, expr: &Expr) -> Result<(), SqlError> {
        let at = || position_of(expr);
        match expr {
            Expr::Cast {
                data_type,
                array,
                format,
                ..
            } => {
                self.refuse_first(
                    at(),
                    &[
                        (*array, "CAST … ARRAY", ""),
                        (
                            format.is_some(),
                            "CAST … FORMAT",
                            "use TO_TIMESTAMP or DATE_FORMAT",
                        ),
                    ],
                )?;
                arrow_type(data_type).map(|_| ()).map_err(|error| error.at(at()))
            }
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }
                if matches!(right.as_ref(), Expr::Subquery(_)) =>
            {
                Err(SqlError::new("ANY and ALL of a sub-query are not supported")
                    .at(at())
                    .hint("compare with (SELECT MIN(…) …) or (SELECT MAX(…) …), or use IN"))
            }
            Expr::Function(function) => check_function(function),
            _ => Ok(()),
        }
    }
}

fn alias_of(factor: &TableFactor) -> Option<&TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
        _ => None,
    }
}

/// Window functions in a place where no window is.
fn check_function(function: &Function) -> Result<(), SqlError> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else {
        return Ok(());
    };
    if function.parameters != FunctionArguments::None {
        return Err(SqlError::new(format!("{name} has two lists of arguments")).at(ident_position(name)));
    }
    let upper = name.value.to_ascii_uppercase();
    let auxiliary = upper.rsplit_once('_').is_some_and(|(family, part)| {
        matches!(family, "TUMBLE" | "HOP" | "SESSION")
            && matches!(part, "START" | "END" | "ROWTIME" | "PROCTIME")
    });
    if auxiliary {
        return Err(
            SqlError::new(format!("{name} stands in a query without that window"))
                .at(ident_position(name))
                .hint(
                    "group by TUMBLE(ts, size) or HOP(ts, slide, size), or read window_start of a window TVF",
                ),
        );
    }
    if matches!(upper.as_str(), "PROCTIME" | "CURRENT_WATERMARK") {
        return Err(SqlError::new(format!("{name} is not supported yet"))
            .at(ident_position(name))
            .hint("queries run on event time only"));
    }
    Ok(())
}
