//! EXISTS where no join can answer it: a sub-query that says nothing of the row it is asked for, and EXISTS as
//! a part of a condition (`EXISTS (…) OR …`). It becomes a number, `(SELECT MAX(1) …) IS NOT NULL`, which changes
//! at most twice.
//!
//! EXISTS as a condition of its own, about the row, stays: it is a semi or anti join.

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::expr::Exists;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Subquery, lit};

use crate::functions::Functions;

/// Makes a number of every EXISTS in a filter that is not a join.
pub(crate) fn lower(plan: LogicalPlan) -> Result<LogicalPlan> {
    let lowered = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) => {
            let conditions = split_conjunction_owned(filter.predicate.clone())
                .into_iter()
                .map(|condition| match is_join(&condition) {
                    true => Ok(condition),
                    false => numbered(condition),
                })
                .collect::<Result<Vec<Expr>>>()?;
            let predicate = conjunction(conditions).unwrap_or_else(|| lit(true));
            match predicate == filter.predicate {
                true => Ok(Transformed::no(LogicalPlan::Filter(filter))),
                false => Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(
                    predicate,
                    filter.input,
                )?))),
            }
        }
        node => Ok(Transformed::no(node)),
    });
    Ok(lowered?.data)
}

/// EXISTS, or NOT EXISTS, about the row.
fn is_join(condition: &Expr) -> bool {
    match condition {
        Expr::Exists(exists) => !exists.subquery.outer_ref_columns.is_empty(),
        Expr::Not(inner) => is_join(inner),
        _ => false,
    }
}

fn numbered(condition: Expr) -> Result<Expr> {
    let numbered = condition.transform_up(|expression| match expression {
        Expr::Exists(Exists { subquery, negated }) => {
            let number = number(&subquery)?;
            Ok(Transformed::yes(match negated {
                true => number.is_null(),
                false => number.is_not_null(),
            }))
        }
        expression => Ok(Transformed::no(expression)),
    });
    Ok(numbered?.data)
}

/// `(SELECT MAX(1) FROM …)`: NULL where nothing is selected.
fn number(subquery: &Subquery) -> Result<Expr> {
    let max = Functions::library()
        .aggregate("max")
        .expect("invariant: the library has MAX");
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .aggregate(
            Vec::<Expr>::new(),
            vec![max.call(vec![lit(1i32)]).alias("$exists")],
        )?
        .build()?;
    Ok(Expr::ScalarSubquery(Subquery {
        subquery: plan.into(),
        ..subquery.clone()
    }))
}
