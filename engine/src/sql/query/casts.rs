//! Types and casts as SQL has them.
//!
//! [`SqlTypes`] brings results that Arrow alone knows (unsigned integers, string views) back to SQL's
//! types, before operands are compared. [`FlinkCasts`] prints values as Flink does
//! (`2024-01-31 12:00:00.000`, `TRUE`), after types are known, so that implicit casts obey it too.

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr_rewriter::{FunctionRewrite, NamePreserver};
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Cast, Expr, ExprSchemable, LogicalPlan, TryCast, cast};
use datafusion_optimizer::AnalyzerRule;

use arrow::datatypes::DataType;

use crate::functions;

/// Casts the results of functions to types that SQL has a name for.
#[derive(Debug)]
pub(crate) struct SqlTypes;

impl SqlTypes {
    /// `expression` over columns of `schema`, its calls cast.
    pub(crate) fn rewrite_all(expression: Expr, schema: &DFSchema) -> Result<Expr> {
        expression.transform_up(|node| cast_result(node, schema)).data()
    }
}

impl FunctionRewrite for SqlTypes {
    fn name(&self) -> &str {
        "sql_types"
    }

    fn rewrite(
        &self,
        expression: Expr,
        schema: &DFSchema,
        _config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        cast_result(expression, schema)
    }
}

fn cast_result(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = &expression else {
        return Ok(Transformed::no(expression));
    };
    // Whole numbers are their own floor and ceiling, and keep their type, as in Flink.
    if let ("floor" | "ceil", [argument]) = (call.func.name(), call.args.as_slice())
        && argument
            .get_type(schema)
            .is_ok_and(|data_type| data_type.is_signed_integer())
    {
        return Ok(Transformed::yes(argument.clone()));
    }
    // A call whose arguments still await their casts has no type yet, and needs none.
    let target = match expression.get_type(schema) {
        Ok(DataType::UInt8 | DataType::UInt16 | DataType::UInt32) => DataType::Int32,
        Ok(DataType::UInt64) => DataType::Int64,
        Ok(DataType::Utf8View | DataType::LargeUtf8) => DataType::Utf8,
        Ok(DataType::BinaryView | DataType::LargeBinary) => DataType::Binary,
        _ => return Ok(Transformed::no(expression)),
    };
    Ok(Transformed::yes(cast(expression, target)))
}

/// Replaces casts to STRING that Arrow would print in its own way.
#[derive(Debug)]
pub(crate) struct FlinkCasts;

impl FlinkCasts {
    /// `expression` over columns of `schema`, its casts replaced.
    pub(crate) fn rewrite(expression: Expr, schema: &DFSchema) -> Result<Expr> {
        expression.transform_up(|node| replace(node, schema)).data()
    }
}

impl AnalyzerRule for FlinkCasts {
    fn name(&self) -> &str {
        "flink_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let mut schema = merge_schema(&node.inputs());
            if let LogicalPlan::TableScan(scan) = &node {
                schema.merge(scan.projected_schema.as_ref());
            }
            let names = NamePreserver::new(&node);
            node.map_expressions(|expression| {
                let name = names.save(&expression);
                let rewritten = expression.transform_up(|inner| replace(inner, &schema))?;
                Ok(rewritten.update_data(|expression| name.restore(expression)))
            })?
            .map_data(LogicalPlan::recompute_schema)
        })
        .data()
    }
}

fn replace(node: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (inner, target) = match &node {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            (expr, field.data_type())
        }
        _ => return Ok(Transformed::no(node)),
    };
    if target != &DataType::Utf8 {
        return Ok(Transformed::no(node));
    }
    // A column of an outer query has no type here; its cast stays Arrow's.
    match inner.get_type(schema) {
        Ok(DataType::Timestamp(..) | DataType::Boolean) => {
            let call = functions::text::value_text().call(vec![inner.as_ref().clone()]);
            Ok(Transformed::yes(call))
        }
        _ => Ok(Transformed::no(node)),
    }
}
