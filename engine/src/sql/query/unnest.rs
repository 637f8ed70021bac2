//! `FROM a CROSS JOIN UNNEST(a.items) AS t (item)`: the array is one of the rows to the left, so the join is
//! planned together with them.
//!
//! On the syntax tree each UNNEST takes what stands left of it into parentheses; [`UnnestPlanner`] plans such a
//! pair as one [`Unnest`] node.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Extension, LogicalPlan};
use sqlparser::ast::{
    Expr, Join, JoinConstraint, JoinOperator, Query, Select, TableAlias, TableFactor, TableWithJoins, Value,
    VisitorMut,
};

use crate::error::SqlError;
use crate::plan::lower_unnest::{Unnest, UnnestNames};
use crate::sql::position::position_of;
use crate::sql::query::errors::external;
use crate::sql::walk::walk_mut;

/// Groups every UNNEST of `query` with what stands left of it.
pub(crate) fn lower(query: &mut Query) {
    let ControlFlow::Continue(()) = walk_mut(query, &mut Grouping);
}

struct Grouping;

impl VisitorMut for Grouping {
    type Break = std::convert::Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<std::convert::Infallible> {
        let mut from: Vec<TableWithJoins> = Vec::with_capacity(select.from.len());
        for item in std::mem::take(&mut select.from) {
            match (is_unnest(&item.relation), from.last_mut()) {
                // A comma is a cross join.
                (true, Some(before)) => {
                    before.joins.push(Join {
                        relation: item.relation,
                        global: false,
                        join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
                    });
                    before.joins.extend(item.joins);
                }
                _ => from.push(item),
            }
        }
        select.from = from.into_iter().map(grouped).collect();
        ControlFlow::Continue(())
    }
}

fn is_unnest(relation: &TableFactor) -> bool {
    matches!(relation, TableFactor::UNNEST { .. })
}

/// Each UNNEST with the relations before it becomes one relation.
fn grouped(item: TableWithJoins) -> TableWithJoins {
    let mut grouped = TableWithJoins {
        relation: item.relation,
        joins: Vec::new(),
    };
    for join in item.joins {
        let ends_group = is_unnest(&join.relation);
        grouped.joins.push(join);
        if ends_group {
            grouped = TableWithJoins {
                relation: TableFactor::NestedJoin {
                    table_with_joins: Box::new(grouped),
                    alias: None,
                },
                joins: Vec::new(),
            };
        }
    }
    grouped
}

/// Plans relations whose last join is an UNNEST.
#[derive(Debug)]
pub(crate) struct UnnestPlanner;

impl RelationPlanner for UnnestPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let original = relation.clone();
        let TableFactor::NestedJoin {
            mut table_with_joins,
            alias: None,
        } = relation
        else {
            return Ok(RelationPlanning::Original(Box::new(original)));
        };
        let Some(join) = table_with_joins.joins.pop_if(|join| is_unnest(&join.relation)) else {
            return Ok(RelationPlanning::Original(Box::new(original)));
        };
        let left = match table_with_joins.joins.is_empty() {
            true => table_with_joins.relation,
            false => TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            },
        };
        let keeps_empty = keeps_empty(&join).map_err(external)?;
        let place = position_of(&join.relation);
        let TableFactor::UNNEST {
            alias,
            array_exprs,
            with_ordinality,
            ..
        } = join.relation
        else {
            unreachable!("invariant: the last join is an UNNEST")
        };
        let [array] = <[Expr; 1]>::try_from(array_exprs).map_err(|_| {
            external(
                SqlError::new("UNNEST takes one array")
                    .hint("write one CROSS JOIN UNNEST(…) for each array")
                    .at(place),
            )
        })?;
        let names = alias.map(|alias| names_of(&alias));
        let expected = 1 + usize::from(with_ordinality);
        if names.as_ref().is_some_and(|names| names.columns.len() > expected) {
            return Err(external(
                SqlError::new("UNNEST gives one column, and its alias names more")
                    .hint("name the element alone, AS t (element), and read its fields from it")
                    .at(place),
            ));
        }
        let left = context.plan(left)?;
        let array = context.sql_to_expr(array, left.schema())?;
        let node = Unnest::try_new(left, array, names, keeps_empty, with_ordinality)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, None,
        ))))
    }
}

/// Whether rows without an element stay.
fn keeps_empty(join: &Join) -> Result<bool, SqlError> {
    let (constraint, keeps_empty) = match &join.join_operator {
        JoinOperator::CrossJoin(constraint)
        | JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint) => (constraint, false),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (constraint, true),
        _ => {
            return Err(SqlError::new("UNNEST stands behind CROSS JOIN or LEFT JOIN")
                .at(position_of(&join.relation))
                .hint("write CROSS JOIN UNNEST(items) AS t (item)"));
        }
    };
    let is_true =
        |condition: &Expr| matches!(condition, Expr::Value(value) if value.value == Value::Boolean(true));
    match constraint {
        JoinConstraint::None => Ok(keeps_empty),
        JoinConstraint::On(condition) if is_true(condition) => Ok(keeps_empty),
        _ => Err(SqlError::new("a join with UNNEST has no condition but TRUE")
            .at(position_of(&join.relation))
            .hint("filter its rows with WHERE")),
    }
}

fn names_of(alias: &TableAlias) -> UnnestNames {
    UnnestNames {
        relation: alias.name.value.clone(),
        columns: alias
            .columns
            .iter()
            .map(|column| column.name.value.clone())
            .collect(),
    }
}
