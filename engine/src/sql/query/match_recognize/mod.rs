//! The relation hook of MATCH_RECOGNIZE: `FROM t MATCH_RECOGNIZE (…)` becomes a [`MatchRecognize`] node, and a
//! projection above it that computes the measures.
//!
//! `pattern` reads PATTERN and AFTER MATCH SKIP, `values` takes what DEFINE and MEASURES say of rows out of their
//! expressions.
//!
//! **Invariant.** Every clause is planned or refused, at its place.

mod pattern;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr as LogicalExpr, ExprSchemable, Extension, LogicalPlan, Projection};
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Measure, ObjectNamePart, OrderByExpr, RowsPerMatch, SymbolDefinition,
    TableAlias, TableFactor,
};

use crate::error::{Position, SqlError};
use crate::plan::match_recognize::{LogicalValue, MatchClauses, MatchOrder, MatchRecognize};
use crate::sql::interval::interval_us;
use crate::sql::match_clauses::{MATCHED_QUERY, WITHIN};
use crate::sql::position::{ident_position, position_of};
use crate::sql::query::coerce;
use crate::sql::query::errors::external;
use crate::sql::query::match_recognize::pattern::Pattern;
use crate::sql::query::match_recognize::values::{Clause, Values};

/// Plans MATCH_RECOGNIZE.
#[derive(Debug)]
pub(crate) struct MatchPlanner;

impl RelationPlanner for MatchPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::MatchRecognize {
            table,
            partition_by,
            order_by,
            measures,
            rows_per_match,
            after_match_skip,
            pattern,
            mut symbols,
            alias,
        } = relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let position = position_of(table.as_ref());
        let table = Box::new(sub_query(*table));
        check_rows_per_match(rows_per_match.as_ref(), position).map_err(external)?;
        let pattern = pattern::read(&pattern, position).map_err(external)?;
        let skip = pattern::skip(after_match_skip.as_ref(), &pattern).map_err(external)?;
        let within_us = take_within(&mut symbols).map_err(external)?;
        let input = context.plan(*table)?;
        let columns = input.schema().clone();
        let partition = partition_columns(partition_by, &columns, context)?;
        let order = order_columns(order_by, &columns, context, position)?;
        let mut values = Values {
            context,
            input: &columns,
            variables: &pattern.variables,
            found: Vec::new(),
        };
        let told = take_out_measures(measures, &mut values)?;
        let outputs: Vec<usize> = (0..values.found.len()).collect();
        let definitions = take_out_definitions(symbols, &pattern, &mut values)?;
        let found = values.found;
        let conditions = conditions(definitions, &found, context)?;
        let clauses = MatchClauses {
            variables: pattern.variables,
            pattern: pattern.pattern,
            values: found,
            outputs,
            conditions,
            within_us,
            skip,
            position: (position.line, position.column, position.length),
        };
        let node = MatchRecognize::try_new(input, partition, order, clauses)?;
        let plan = measured(node, told, context)?;
        Ok(planned(plan, alias))
    }
}

/// The query that `sql::match_clauses` has made an argument; any other relation as it is.
fn sub_query(relation: TableFactor) -> TableFactor {
    if let TableFactor::Table {
        name,
        args: Some(arguments),
        ..
    } = &relation
        && matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)] if ident.value == MATCHED_QUERY)
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(query)))] =
            arguments.args.as_slice()
    {
        return TableFactor::Derived {
            lateral: false,
            subquery: query.clone(),
            alias: None,
            sample: None,
        };
    }
    relation
}

fn planned(plan: LogicalPlan, alias: Option<TableAlias>) -> RelationPlanning {
    RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias)))
}

fn check_rows_per_match(rows: Option<&RowsPerMatch>, at: Position) -> Result<(), SqlError> {
    match rows {
        None | Some(RowsPerMatch::OneRow) => Ok(()),
        Some(_) => Err(SqlError::new("ALL ROWS PER MATCH is not supported")
            .hint("write ONE ROW PER MATCH, and name what is needed of the rows in MEASURES")
            .at(at)),
    }
}

/// The interval of WITHIN, which `sql::match_clauses` has made the first definition.
fn take_within(symbols: &mut Vec<SymbolDefinition>) -> Result<Option<i64>, SqlError> {
    let Some(first) = symbols.first().filter(|first| first.symbol.value == WITHIN) else {
        return Ok(None);
    };
    let within_us = interval_us(&first.definition)?;
    if within_us <= 0 {
        return Err(
            SqlError::new("the interval of WITHIN is longer than nothing").at(position_of(&first.definition))
        );
    }
    symbols.remove(0);
    Ok(Some(within_us))
}

fn partition_columns(
    keys: Vec<Expr>,
    columns: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> Result<Vec<LogicalExpr>> {
    let mut partition: Vec<LogicalExpr> = Vec::with_capacity(keys.len());
    for key in keys {
        let at = position_of(&key);
        let planned = context.sql_to_expr(key, columns)?;
        let refuse = |message: String, hint: &str| Err(external(SqlError::new(message).hint(hint).at(at)));
        if !matches!(planned, LogicalExpr::Column(_)) {
            return refuse(
                format!("PARTITION BY of MATCH_RECOGNIZE names columns, and `{planned}` is none"),
                "compute it in a sub-query below",
            );
        }
        if partition.contains(&planned) {
            return refuse(format!("PARTITION BY names `{planned}` twice"), "name it once");
        }
        partition.push(planned);
    }
    Ok(partition)
}

fn order_columns(
    order_by: Vec<OrderByExpr>,
    columns: &DFSchema,
    context: &mut dyn RelationPlannerContext,
    at: Position,
) -> Result<Vec<MatchOrder>> {
    let mut order = Vec::with_capacity(order_by.len());
    for item in order_by {
        let place = position_of(&item.expr);
        let descending = item.options.asc == Some(false);
        let expression = context.sql_to_expr(item.expr, columns)?;
        let is_time = matches!(expression.get_type(columns)?, DataType::Timestamp(..));
        if order.is_empty() && (descending || !is_time) {
            return Err(external(
                SqlError::new("MATCH_RECOGNIZE is ordered by event time first, ascending")
                    .hint("write ORDER BY the column that WATERMARK FOR is declared on; other columns may follow it")
                    .at(place),
            ));
        }
        order.push(MatchOrder {
            expression,
            descending,
            nulls_first: item.options.nulls_first.unwrap_or(!descending),
        });
    }
    match order.is_empty() {
        false => Ok(order),
        true => Err(external(
            SqlError::new("MATCH_RECOGNIZE needs ORDER BY: a stream has no order but that of event time")
                .hint("write ORDER BY the column that WATERMARK FOR is declared on")
                .at(at),
        )),
    }
}

/// The measures over the columns of values: names and expressions.
fn take_out_measures(measures: Vec<Measure>, values: &mut Values<'_>) -> Result<Vec<(String, Expr)>> {
    let mut told: Vec<(String, Expr)> = Vec::with_capacity(measures.len());
    for Measure { mut expr, alias } in measures {
        if told.iter().any(|(name, _)| *name == alias.value) {
            return Err(external(
                SqlError::new(format!("two measures are called `{}`", alias.value))
                    .at(ident_position(&alias)),
            ));
        }
        values.take_out(&mut expr, Clause::Measures)?;
        told.push((alias.value, expr));
    }
    Ok(told)
}

/// Variables and their definitions, over the columns of values.
fn take_out_definitions(
    symbols: Vec<SymbolDefinition>,
    pattern: &Pattern,
    values: &mut Values<'_>,
) -> Result<Vec<(usize, Expr)>> {
    let mut seen = BTreeSet::new();
    let mut definitions = Vec::with_capacity(symbols.len());
    for SymbolDefinition {
        symbol,
        mut definition,
    } in symbols
    {
        let variable = pattern.variable(&symbol, "DEFINE").map_err(external)?;
        if !seen.insert(variable) {
            return Err(external(
                SqlError::new(format!("DEFINE says twice what `{}` is", symbol.value))
                    .hint("write one condition, with AND")
                    .at(ident_position(&symbol)),
            ));
        }
        values.take_out(&mut definition, Clause::Define)?;
        definitions.push((variable, definition));
    }
    Ok(definitions)
}

/// The definitions as expressions over the columns of values.
fn conditions(
    definitions: Vec<(usize, Expr)>,
    values: &[LogicalValue],
    context: &mut dyn RelationPlannerContext,
) -> Result<Vec<(usize, LogicalExpr)>> {
    let schema = MatchRecognize::value_schema(values)?;
    let mut conditions = Vec::with_capacity(definitions.len());
    for (variable, definition) in definitions {
        let at = position_of(&definition);
        let planned = context.sql_to_expr(definition, &schema)?;
        let condition = coerce(planned, &schema)?;
        let found = condition.get_type(&schema)?;
        if found != DataType::Boolean && found != DataType::Null {
            return Err(external(
                SqlError::new(format!(
                    "a definition is a condition, and this is {}",
                    crate::plan::explain::sql_type(&found)
                ))
                .hint("compare it with something")
                .at(at),
            ));
        }
        conditions.push((variable, condition));
    }
    Ok(conditions)
}

/// The partition columns and the measures of each match.
fn measured(
    node: MatchRecognize,
    told: Vec<(String, Expr)>,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let keys = node.partition.len();
    let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    let schema = plan.schema().clone();
    let mut columns: Vec<LogicalExpr> = schema
        .columns()
        .into_iter()
        .take(keys)
        .map(LogicalExpr::Column)
        .collect();
    for (name, expression) in told {
        columns.push(context.sql_to_expr(expression, &schema)?.alias(name));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(
        columns,
        Arc::new(plan),
    )?))
}
