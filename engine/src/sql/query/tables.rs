//! The event-time column of a planned relation, before it is lowered: found by following plain
//! columns down to the table's `WATERMARK FOR`.

use datafusion_common::Column;
use datafusion_expr::{Expr, LogicalPlan};

use crate::plan::match_recognize::MatchRecognize;
use crate::sql::query::context::watermark_column;

/// The event-time column among the output of `plan`, if there is one.
pub(crate) fn event_time_column(plan: &LogicalPlan) -> Option<Column> {
    event_time_index(plan).map(|index| plan.schema().columns().swap_remove(index))
}

fn event_time_index(plan: &LogicalPlan) -> Option<usize> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let column = watermark_column(scan.source.as_ref())?;
            match &scan.projection {
                Some(projection) => projection.iter().position(|&index| index == column),
                None => Some(column),
            }
        }
        LogicalPlan::SubqueryAlias(alias) => event_time_index(&alias.input),
        LogicalPlan::Filter(filter) => event_time_index(&filter.input),
        LogicalPlan::Projection(projection) => {
            let column = event_time_column(&projection.input)?;
            projection
                .expr
                .iter()
                .position(|expression| is_column(expression, &column))
        }
        LogicalPlan::Extension(extension) => {
            let is_match = extension.node.as_any().is::<MatchRecognize>();
            is_match.then(|| plan.schema().fields().len() - 1)
        }
        _ => None,
    }
}

fn is_column(expression: &Expr, column: &Column) -> bool {
    match expression {
        Expr::Column(found) => found == column,
        Expr::Alias(alias) => is_column(&alias.expr, column),
        _ => false,
    }
}
