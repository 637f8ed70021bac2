//! LEAD behind every other OVER of its SELECT: rows come out of it late, without event time, and the others need
//! event time.
//!
//! Runs before the optimizer, while the windows of one SELECT still stand directly on one another.
//!
//! **Invariant.** The columns keep their names and their order.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::Transformed;
use datafusion_expr::{Expr, LogicalPlan, Projection, Window};

use crate::plan::lower_lead::is_lead;

/// Moves windows that hold a LEAD above those without.
pub(crate) fn lower(plan: LogicalPlan) -> Result<LogicalPlan> {
    let moved = plan.transform_down_with_subqueries(|plan| match &plan {
        LogicalPlan::Window(window) => match reordered(window)? {
            Some(moved) => Ok(Transformed::yes(moved)),
            None => Ok(Transformed::no(plan)),
        },
        _ => Ok(Transformed::no(plan)),
    })?;
    Ok(moved.data)
}

/// The windows that end in `window` in another order; `None` where theirs is right.
fn reordered(window: &Window) -> Result<Option<LogicalPlan>> {
    let mut windows = vec![window];
    while let LogicalPlan::Window(below) = windows[windows.len() - 1].input.as_ref() {
        windows.push(below);
    }
    // The first one to run comes first.
    windows.reverse();
    if windows.is_sorted_by_key(|window| has_lead(window)) {
        return Ok(None);
    }
    let base = Arc::clone(&windows[0].input);
    windows.sort_by_key(|window| has_lead(window));
    let mut plan = base;
    for window in &windows {
        let above = Window::try_new(window.window_expr.clone(), plan)?;
        plan = Arc::new(LogicalPlan::Window(above));
    }
    let columns = window.schema.columns().into_iter().map(Expr::Column).collect();
    Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, plan)?)))
}

fn has_lead(window: &Window) -> bool {
    window.window_expr.iter().any(is_lead_call)
}

fn is_lead_call(call: &Expr) -> bool {
    match call {
        Expr::Alias(alias) => is_lead_call(&alias.expr),
        Expr::WindowFunction(function) => is_lead(function),
        _ => false,
    }
}
