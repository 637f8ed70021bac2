//! `…, LATERAL (SELECT … WHERE inner.k = outer.k ORDER BY … LIMIT n)`: the first rows of each `k`.
//!
//! DataFusion takes the correlation out of filters and aggregates, and not from below a LIMIT, where it would cut
//! all rows instead of each group's. Here the sub-query becomes a Top-N of its own, per what it is correlated by,
//! and the LATERAL a plain join.
//!
//! **Invariant.** The columns keep their names and their order; what is not of this form stays as it is.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DataFusionError, Result, ScalarValue, internal_datafusion_err};
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{
    Aggregate, BinaryExpr, Expr, ExprFunctionExt, FetchType, Join, JoinType, Limit, LogicalPlan,
    LogicalPlanBuilder, Operator, SkipType, WindowFunctionDefinition, lit,
};

use crate::error::SqlError;
use crate::functions::Functions;
use crate::sql::query::errors::external;

/// Plans every LATERAL Top-N anew.
pub(crate) fn lower(plan: LogicalPlan) -> Result<LogicalPlan> {
    let lowered = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Join(join) => match joined(join)? {
            Some(joined) => Ok(Transformed::yes(joined)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    });
    Ok(lowered?.data)
}

/// A sub-query without its correlation.
struct Free {
    plan: LogicalPlan,
    keys: Vec<Key>,
}

/// An equality that was taken out.
struct Key {
    /// Over the columns of the left side.
    outer: Expr,
    /// Over the columns of the sub-query.
    inner: Expr,
}

fn joined(join: &Join) -> Result<Option<LogicalPlan>> {
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) || !join.on.is_empty() {
        return Ok(None);
    }
    let Some(right) = lateral(&join.right)? else {
        return Ok(None);
    };
    let conditions = right.keys.into_iter().map(|key| key.outer.eq(key.inner));
    let is_true = |filter: &Expr| matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
    let filter = join.filter.clone().filter(|filter| !is_true(filter));
    let columns = join.schema.columns().into_iter().map(Expr::Column);
    let plan = LogicalPlanBuilder::from(join.left.as_ref().clone())
        .join_on(right.plan, join.join_type, conditions.chain(filter))?
        .project(columns)?
        .build()?;
    Ok(Some(plan))
}

/// The right side of a LATERAL whose sub-query is a correlated Top-N.
fn lateral(plan: &LogicalPlan) -> Result<Option<Free>> {
    match plan {
        LogicalPlan::Subquery(lateral) if !lateral.outer_ref_columns.is_empty() => top_n(&lateral.subquery),
        LogicalPlan::SubqueryAlias(alias) => match lateral(&alias.input)? {
            Some(free) => aliased(free, alias).map(Some),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

fn aliased(free: Free, alias: &datafusion_expr::SubqueryAlias) -> Result<Free> {
    let plan = LogicalPlanBuilder::from(free.plan)
        .alias(alias.alias.clone())?
        .build()?;
    let requalified = free.keys.into_iter().map(|key| {
        let Expr::Column(inner) = key.inner else {
            return Err(internal_datafusion_err!("a key of LATERAL is no column"));
        };
        Ok(Key {
            inner: Expr::Column(Column::new(Some(alias.alias.clone()), inner.name)),
            outer: key.outer,
        })
    });
    Ok(Free {
        keys: requalified.collect::<Result<_>>()?,
        plan,
    })
}

/// A plan that ends in ORDER BY … LIMIT and is correlated below.
fn top_n(plan: &LogicalPlan) -> Result<Option<Free>> {
    match plan {
        LogicalPlan::Projection(projection) => match top_n(&projection.input)? {
            Some(free) => projected(free, &projection.expr).map(Some),
            None => Ok(None),
        },
        LogicalPlan::SubqueryAlias(alias) => match top_n(&alias.input)? {
            Some(free) => aliased(free, alias).map(Some),
            None => Ok(None),
        },
        LogicalPlan::Limit(limit) => limited(limit).map(Some),
        _ => Ok(None),
    }
}

/// `expressions`, and the keys as columns that no query can name.
fn projected(free: Free, expressions: &[Expr]) -> Result<Free> {
    let name = |number: usize| format!("$key {number}");
    let keys = free.keys.iter().enumerate();
    let keys = keys.map(|(number, key)| key.inner.clone().alias(name(number)));
    let plan = LogicalPlanBuilder::from(free.plan)
        .project(expressions.iter().cloned().chain(keys))?
        .build()?;
    let keys = free.keys.into_iter().enumerate();
    let keys = keys.map(|(number, key)| Key {
        inner: Expr::Column(Column::from_name(name(number))),
        outer: key.outer,
    });
    Ok(Free {
        keys: keys.collect(),
        plan,
    })
}

/// `ORDER BY … LIMIT n OFFSET m` per key: rows whose number in their group is above `m` and at most `m + n`.
fn limited(limit: &Limit) -> Result<Free> {
    let (FetchType::Literal(Some(fetch)), SkipType::Literal(skip)) =
        (limit.get_fetch_type()?, limit.get_skip_type()?)
    else {
        return Err(refused(
            "the LIMIT of a LATERAL sub-query is a number",
            "write LIMIT 3",
        ));
    };
    let (above, sort) = match limit.input.as_ref() {
        LogicalPlan::Sort(sort) => (None, sort),
        LogicalPlan::Projection(above) => match above.input.as_ref() {
            LogicalPlan::Sort(sort) => (Some(above), sort),
            _ => return Err(unordered()),
        },
        _ => return Err(unordered()),
    };
    let free = freed(&sort.input)?;
    if free.keys.is_empty() {
        return Err(refused(
            "a LATERAL sub-query with LIMIT needs an equality with a column of the tables before it",
            "write LATERAL (SELECT … WHERE inner.k = outer.k ORDER BY … LIMIT n)",
        ));
    }
    let columns: Vec<Expr> = free
        .plan
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let row_number = Functions::library()
        .window("row_number")
        .ok_or_else(|| internal_datafusion_err!("the library has no row_number"))?;
    let call = WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number), Vec::new());
    let number = Expr::from(call)
        .partition_by(free.keys.iter().map(|key| key.inner.clone()).collect())
        .order_by(sort.expr.clone())
        .build()?;
    let numbered = Expr::Column(Column::from_name(number.schema_name().to_string()));
    let last = i64::try_from(fetch.saturating_add(skip)).unwrap_or(i64::MAX);
    let mut kept = numbered.clone().lt_eq(lit(last as u64));
    if skip > 0 {
        kept = kept.and(numbered.gt(lit(skip as u64)));
    }
    let plan = LogicalPlanBuilder::from(free.plan)
        .window([number])?
        .filter(kept)?
        .build()?;
    let keys = free.keys;
    match above {
        Some(above) => projected(Free { plan, keys }, &above.expr),
        None => {
            let is_hidden =
                |column: &Expr| matches!(column, Expr::Column(column) if column.name.starts_with("$key "));
            let visible: Vec<Expr> = columns.into_iter().filter(|column| !is_hidden(column)).collect();
            projected(Free { plan, keys }, &visible)
        }
    }
}

/// `plan` without the equalities that correlate it.
fn freed(plan: &LogicalPlan) -> Result<Free> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let free = freed(&projection.input)?;
            if free.keys.is_empty() {
                return unchanged(plan);
            }
            projected(free, &projection.expr)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let free = freed(&alias.input)?;
            if free.keys.is_empty() {
                return unchanged(plan);
            }
            aliased(free, alias)
        }
        LogicalPlan::Filter(filter) => {
            let mut free = freed(&filter.input)?;
            let mut rest = Vec::new();
            for condition in split_conjunction(&filter.predicate) {
                match key_of(condition)? {
                    Some(key) => free.keys.push(key),
                    None => rest.push(condition.clone()),
                }
            }
            if rest.iter().any(Expr::contains_outer) {
                return Err(refused(
                    "a LATERAL sub-query with LIMIT is correlated by equalities alone",
                    "write … WHERE inner.k = outer.k",
                ));
            }
            if let Some(rest) = conjunction(rest) {
                free.plan = LogicalPlanBuilder::from(free.plan).filter(rest)?.build()?;
            }
            Ok(free)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let free = freed(&aggregate.input)?;
            match free.keys.is_empty() {
                true => unchanged(plan),
                false => grouped(free, aggregate),
            }
        }
        other => unchanged(other),
    }
}

/// The groups of each key; without GROUP BY the one row that is told of no rows as well would be missing.
fn grouped(free: Free, aggregate: &Aggregate) -> Result<Free> {
    let is_plain = |group: &Expr| !matches!(group, Expr::GroupingSet(_));
    if aggregate.group_expr.is_empty() || !aggregate.group_expr.iter().all(is_plain) {
        return Err(refused(
            "LIMIT in a LATERAL sub-query needs plain GROUP BY columns where it aggregates",
            "leave LIMIT out: an aggregate without GROUP BY is one row",
        ));
    }
    let name = |number: usize| format!("$group {number}");
    let keys = free.keys.iter().enumerate();
    let keys = keys.map(|(number, key)| key.inner.clone().alias(name(number)));
    let groups = aggregate.group_expr.iter().cloned().chain(keys);
    let plan = LogicalPlanBuilder::from(free.plan)
        .aggregate(groups, aggregate.aggr_expr.clone())?
        .build()?;
    let keys = free.keys.into_iter().enumerate().map(|(number, key)| Key {
        inner: Expr::Column(Column::from_name(name(number))),
        outer: key.outer,
    });
    let keys = keys.collect();
    let columns: Vec<Expr> = aggregate.schema.columns().into_iter().map(Expr::Column).collect();
    projected(Free { plan, keys }, &columns)
}

fn unchanged(plan: &LogicalPlan) -> Result<Free> {
    if !plan.all_out_ref_exprs().is_empty() {
        return Err(refused(
            "a LATERAL sub-query with LIMIT is correlated in its own WHERE",
            "compare with the outer column in the WHERE beside ORDER BY … LIMIT",
        ));
    }
    Ok(Free {
        plan: plan.clone(),
        keys: Vec::new(),
    })
}

/// `inner = outer`, in either order; `None` for any other condition.
fn key_of(condition: &Expr) -> Result<Option<Key>> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return Ok(None);
    };
    let (inner, outer) = match (left.contains_outer(), right.contains_outer()) {
        (false, true) => (left, right),
        (true, false) => (right, left),
        _ => return Ok(None),
    };
    if !outer.column_refs().is_empty() || inner.column_refs().is_empty() {
        return Ok(None);
    }
    let outer = outer.as_ref().clone().transform(|part| match part {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        part => Ok(Transformed::no(part)),
    })?;
    Ok(Some(Key {
        outer: outer.data,
        inner: inner.as_ref().clone(),
    }))
}

fn unordered() -> DataFusionError {
    refused(
        "LIMIT in a LATERAL sub-query needs ORDER BY: without an order no row is the first",
        "write ORDER BY … LIMIT n",
    )
}

fn refused(message: &str, hint: &str) -> DataFusionError {
    external(SqlError::new(message).hint(hint))
}
