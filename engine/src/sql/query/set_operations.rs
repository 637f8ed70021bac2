//! `INTERSECT ALL` and `EXCEPT ALL`: how often a row stands on each side decides how often it comes out.
//!
//! DataFusion plans them as a semi or anti join, which says only whether a row stands on the other side. Here
//! the rows of both sides are counted together, and each comes out `min(left, right)` or `left − right` times
//! (as Flink's RewriteIntersectAllRule and RewriteMinusAllRule do).

use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, JoinType, NullEquality, Result, TableReference, internal_datafusion_err};
use datafusion_expr::{Expr, Extension, Join, LogicalPlan, LogicalPlanBuilder, lit, when};

use crate::functions::Functions;
use crate::plan::lower_unnest::Unnest;

/// Qualifies what is counted; no query can write it.
const COUNTED: &str = "$counted";

/// Plans every INTERSECT ALL and EXCEPT ALL anew.
pub(crate) fn lower(plan: LogicalPlan) -> Result<LogicalPlan> {
    let lowered = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) if is_set_operation(&join) => counted(&join).map(Transformed::yes),
        node => Ok(Transformed::no(node)),
    });
    Ok(lowered?.data)
}

/// Before optimisation only a set operation makes a join of all columns that finds NULL equal to NULL;
/// without ALL its left side is distinct.
fn is_set_operation(join: &Join) -> bool {
    let widths = [&join.left, &join.right].map(|side| side.schema().fields().len());
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && widths == [join.on.len(); 2]
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(_))
}

fn counted(join: &Join) -> Result<LogicalPlan> {
    let side = |plan: &LogicalPlan, left: i64| {
        let columns = plan.schema().columns();
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(number, column)| Expr::Column(column).alias(format!("c{number}")));
        let side = lit(left).alias("left_rows");
        LogicalPlanBuilder::from(plan.clone()).project(columns.chain([side]))
    };
    let width = join.left.schema().fields().len();
    let function = |name: &str| {
        let found = Functions::library().aggregate(name);
        found.ok_or_else(|| internal_datafusion_err!("the library has no {name}"))
    };
    let left_rows = Expr::Column(Column::from_name("left_rows"));
    let is_left = || left_rows.clone().eq(lit(1i64));
    let number = |condition: Expr| when(condition, lit(1i64)).otherwise(lit(0i64));
    let sum = function("sum")?;
    let keys = (0..width).map(|number| Expr::Column(Column::from_name(format!("c{number}"))));
    let counts = side(&join.left, 1)?
        .union(side(&join.right, 0)?.build()?)?
        .aggregate(
            keys,
            vec![
                sum.call(vec![number(is_left())?]).alias("on_left"),
                sum.call(vec![number(left_rows.clone().not_eq(lit(1i64)))?])
                    .alias("on_right"),
            ],
        )?
        .alias(COUNTED)?
        .build()?;
    let column = |name: &str| Expr::Column(Column::new(Some(TableReference::bare(COUNTED)), name));
    let (left, right) = (column("on_left"), column("on_right"));
    let times = match join.join_type {
        JoinType::LeftSemi => when(left.clone().lt(right.clone()), left).otherwise(right)?,
        _ => left - right,
    };
    let counts = LogicalPlanBuilder::from(counts)
        .filter(times.clone().gt(lit(0i64)))?
        .build()?;
    let repeat = Functions::library()
        .scalar("array_repeat")
        .ok_or_else(|| internal_datafusion_err!("the library has no array_repeat"))?;
    let copies = Unnest::try_new(counts, repeat.call(vec![lit(1i32), times]), None, false, false)?;
    let plan = LogicalPlan::Extension(Extension {
        node: Arc::new(copies),
    });
    let names = join.left.schema().iter();
    let columns = names.enumerate().map(|(number, (qualifier, field))| {
        column(&format!("c{number}")).alias_qualified(qualifier.cloned(), field.name())
    });
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
