//! Syntax that is not a plain call: `EXTRACT`, `POSITION`, `SUBSTRING`, and aggregates in SQL's types.

use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_common::tree_node::TreeNode;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr};
use datafusion_expr::{Expr, cast};

use crate::functions::Functions;

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
