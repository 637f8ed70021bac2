//! Syntax that is not a plain call: `EXTRACT`, `POSITION`, `SUBSTRING`, and operators and aggregates in SQL's types.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::TreeNode;
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr};
use datafusion_expr::{Expr, ExprSchemable, cast, lit};
use sqlparser::ast::BinaryOperator;

use crate::functions::{Functions, decimal_arithmetic, interval_times};

/// Plans Flink's special syntax as calls of our functions.
#[derive(Debug)]
pub(crate) struct FlinkExpressions;

fn planned(name: &str, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
    let function = Functions::library()
        .scalar(name)
        .expect("invariant: special syntax names registered functions");
    Ok(PlannerResult::Planned(function.call(arguments)))
}

fn contains_cast(expression: &Expr) -> Result<bool> {
    expression.exists(|node| Ok(matches!(node, Expr::Cast(_) | Expr::TryCast(_))))
}

/// A whole number as Flink types it: INT if it fits.
fn short_literal(operand: Expr) -> Expr {
    match operand {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) if i32::try_from(number).is_ok() => {
            lit(number as i32)
        }
        other => other,
    }
}

impl ExprPlanner for FlinkExpressions {
    /// Aggregates whose result has a type without a name in SQL, and arguments that only a CAST tells
    /// apart: DataFusion leaves casts out of names, so that `SUM(a)` and `SUM(CAST(a AS DOUBLE))` would
    /// be one column.
    fn plan_aggregate(&self, mut call: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        for argument in &mut call.args {
            if contains_cast(argument)? {
                let name = argument.to_string();
                *argument = std::mem::take(argument).alias(name);
            }
        }
        let target = match call.func.name() {
            "string_agg" => DataType::Utf8,
            "approx_distinct" | "regr_count" => DataType::Int64,
            _ => return Ok(PlannerResult::Original(call)),
        };
        let RawAggregateExpr {
            func,
            args,
            distinct,
            filter,
            order_by,
            null_treatment,
        } = call;
        let call = AggregateFunction::new_udf(func, args, distinct, filter, order_by, null_treatment);
        Ok(PlannerResult::Planned(cast(
            Expr::AggregateFunction(call),
            target,
        )))
    }

    /// Arithmetic of DECIMALs whose type in Flink is not Arrow's; intervals, several times.
    fn plan_binary_op(
        &self,
        operation: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if operation.op == BinaryOperator::Multiply
            && let Some(product) = interval_times::product(&operation, schema)?
        {
            return Ok(PlannerResult::Planned(product));
        }
        let choose = match operation.op {
            BinaryOperator::Divide => decimal_arithmetic::division,
            BinaryOperator::Multiply => decimal_arithmetic::multiplication,
            _ => return Ok(PlannerResult::Original(operation)),
        };
        let operands = [operation.left.clone(), operation.right.clone()].map(short_literal);
        let types = (operands[0].get_type(schema)?, operands[1].get_type(schema)?);
        let Some(name) = choose(&types.0, &types.1) else {
            return Ok(PlannerResult::Original(operation));
        };
        let function = Functions::library()
            .scalar(name)
            .expect("invariant: operators name registered functions");
        Ok(PlannerResult::Planned(function.call(operands.to_vec())))
    }

    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        planned("extract", arguments)
    }

    fn plan_position(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        planned("strpos", arguments)
    }

    fn plan_substring(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        planned("substr", arguments)
    }
}
