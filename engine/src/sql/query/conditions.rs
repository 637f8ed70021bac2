//! Types that an analysed plan no longer shows: conditions must be BOOLEAN, and what is compared must go together.
//!
//! DataFusion casts whatever stands in FILTER or WHEN to BOOLEAN, and says of what does not go together only the
//! types. Here the expressions still have the places of their columns.
//!
//! **Invariant.** Changes nothing; a plan that passes is refused by coercion only for other reasons.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan};

use arrow::datatypes::DataType;

use crate::error::SqlError;
use crate::plan::display::sql_types;
use crate::sql::places::column_position;
use crate::sql::query::errors::external;

/// Refuses conditions that are none, and comparisons of what cannot be compared.
pub(crate) fn check(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                check_expression(expression, &schema)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(plan)
}

fn check_expression(expression: &Expr, schema: &DFSchema) -> Result<()> {
    match expression {
        Expr::AggregateFunction(call) => match &call.params.filter {
            Some(filter) => check_condition("FILTER", filter, schema),
            None => Ok(()),
        },
        Expr::Case(case) if case.expr.is_none() => {
            let conditions = case.when_then_expr.iter().map(|(when, _)| when);
            conditions
                .into_iter()
                .try_for_each(|when| check_condition("WHEN", when, schema))
        }
        Expr::BinaryExpr(binary) => {
            // What cannot be typed here (columns of an outer query) is checked by coercion.
            let (Ok(left), Ok(right)) = (binary.left.get_type(schema), binary.right.get_type(schema)) else {
                return Ok(());
            };
            match BinaryTypeCoercer::new(&left, &binary.op, &right).get_input_types() {
                Ok(_) => Ok(()),
                Err(_) => {
                    let types = [left, right].map(|side| sql_types(&side.to_string()));
                    let error = SqlError::new(format!(
                        "`{}` does not take {} and {}",
                        binary.op, types[0], types[1]
                    ))
                    .hint("bring one to the type of the other with CAST(… AS …)");
                    Err(external(located(error, expression)))
                }
            }
        }
        _ => Ok(()),
    }
}

fn check_condition(place: &str, condition: &Expr, schema: &DFSchema) -> Result<()> {
    match condition.get_type(schema) {
        Ok(DataType::Boolean | DataType::Null) | Err(_) => Ok(()),
        Ok(found) => {
            let error = SqlError::new(format!(
                "{place} needs a BOOLEAN, and this is {}",
                sql_types(&found.to_string())
            ))
            .hint("compare it: … IS NOT NULL, … <> 0, … = 'text'");
            Err(external(located(error, condition)))
        }
    }
}

fn located(error: SqlError, expression: &Expr) -> SqlError {
    match column_position(expression) {
        Some(place) => error.at(place),
        None => error,
    }
}
