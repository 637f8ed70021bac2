//! `x NOT IN (SELECT y …)` with NULLs: true where nothing was selected; otherwise where x is not NULL, no y
//! is NULL, and none equals x.
//!
//! The join behind NOT IN only looks for what equals. Where x or y may be NULL, a condition is added that
//! looks at one number more: whether the sub-query selects anything, and a NULL among it. It changes at most
//! twice, so that a stream is hardly ever corrected because of it.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, Result};
use datafusion_expr::expr::{Case, InSubquery};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Subquery, lit, when};

use crate::functions::Functions;

/// Adds to every NOT IN of a filter what NULLs mean for it.
pub(crate) fn lower(plan: LogicalPlan) -> Result<LogicalPlan> {
    let lowered = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else {
            return Ok(Transformed::no(node));
        };
        let input = filter.input.clone();
        let predicate = filter.predicate.clone().transform_up(|expression| {
            let Some(not_in) = not_in(&expression) else {
                return Ok(Transformed::no(expression));
            };
            match null_condition(&not_in, &input)? {
                None => Ok(Transformed::no(expression)),
                Some(condition) => Ok(Transformed::yes(Expr::InSubquery(not_in).and(condition))),
            }
        })?;
        match predicate.transformed {
            false => Ok(Transformed::no(LogicalPlan::Filter(filter))),
            true => Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(
                predicate.data,
                input,
            )?))),
        }
    });
    Ok(lowered?.data)
}

/// `x NOT IN (…)`, also written `NOT x IN (…)`.
fn not_in(expression: &Expr) -> Option<InSubquery> {
    match expression {
        Expr::InSubquery(found) if found.negated => Some(found.clone()),
        Expr::Not(inner) => match inner.as_ref() {
            Expr::InSubquery(found) if !found.negated => Some(InSubquery {
                negated: true,
                ..found.clone()
            }),
            _ => None,
        },
        _ => None,
    }
}

/// What must hold besides; nothing where neither side can be NULL.
fn null_condition(not_in: &InSubquery, input: &LogicalPlan) -> Result<Option<Expr>> {
    let selected = not_in.subquery.subquery.as_ref();
    let (qualifier, field) = selected.schema().qualified_field(0);
    let column = Column::new(qualifier.cloned(), field.name());
    let may_select_null = field.is_nullable() && !excludes_null(selected, &column);
    if !may_select_null && !not_in.expr.nullable(input.schema().as_ref())? {
        return Ok(None);
    }
    let max = Functions::library()
        .aggregate("max")
        .expect("invariant: the library has MAX");
    let is_null = match may_select_null {
        true => when(Expr::Column(column).is_null(), lit(1i32)).otherwise(lit(0i32))?,
        false => lit(0i32),
    };
    let holds_null = max.call(vec![is_null]).alias("$holds_null");
    let plan = LogicalPlanBuilder::from(selected.clone())
        .aggregate(Vec::<Expr>::new(), vec![holds_null])?
        .build()?;
    let number = Expr::ScalarSubquery(Subquery {
        subquery: plan.into(),
        ..not_in.subquery.clone()
    });
    let cases = vec![
        (Box::new(lit(1i32)), Box::new(lit(false))),
        (
            Box::new(lit(0i32)),
            Box::new(not_in.expr.as_ref().clone().is_not_null()),
        ),
    ];
    Ok(Some(Expr::Case(Case::new(
        Some(Box::new(number)),
        cases,
        Some(Box::new(lit(true))),
    ))))
}

/// Whether the query itself says that the column is not NULL.
fn excludes_null(plan: &LogicalPlan, column: &Column) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate)
            .iter()
            .any(|condition| matches!(condition, Expr::IsNotNull(inner) if matches!(inner.as_ref(), Expr::Column(found) if found == column))),
        LogicalPlan::Projection(projection) => projection.expr.iter().any(|expression| {
            matches!(expression, Expr::Column(found) if found == column)
        }) && excludes_null(&projection.input, column),
        _ => false,
    }
}
