//! Query planning: a parsed query → an optimised logical plan, by DataFusion's planner crates.
//!
//! `syntax` lowers Flink's spellings, `context` answers what tables and functions there are, `relations` plans
//! window TVFs, `match_recognize` patterns of rows, `unnest` arrays, `temporal` marks temporal joins, `types` the types of CAST, `casts` prints values as
//! Flink does, `set_operations`, `exists` and `not_in` mend what DataFusion means differently, `late_data` splits off what `LATE DATA TO` asks for, `lead_last` orders OVERs, `lateral_top_n` plans LATERAL with LIMIT, `optimizer` holds the hand-picked
//! rules, `conditions` looks at types, `errors` turns DataFusion's errors into ours, with a place in the text that `blame` finds if nobody else does.

pub(crate) mod blame;
mod casts;
mod conditions;
mod context;
pub(crate) mod errors;
mod exists;
mod fields;
mod inserts;
pub(crate) mod late_data;
mod lateral_top_n;
mod lead_last;
mod match_recognize;
mod not_in;
mod optimizer;
mod relations;
mod rows_in;
mod set_operations;
mod sized_casts;
mod syntax;
mod tables;
mod temporal;
mod types;
mod unnest;

pub(crate) use syntax::call;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::DFSchema;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr as LogicalExpr, ExprSchemable, LogicalPlan};
use datafusion_optimizer::Analyzer;
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use sqlparser::ast::{Expr, Statement};

use crate::error::SqlError;
use crate::functions::{self, shift_timestamp::with_fast_shifts};
use crate::sql::catalog::Catalog;
use crate::sql::places::Places;
use crate::sql::query::context::CatalogContext;
use crate::sql::query::errors::sql_error;
use crate::sql::statement::StreamQuery;

/// Plans queries over the tables and views of a catalog.
pub struct QueryPlanner<'a> {
    catalog: &'a Catalog,
    context: CatalogContext<'a>,
}

impl<'a> QueryPlanner<'a> {
    /// A planner over `catalog`.
    pub fn new(catalog: &'a Catalog) -> QueryPlanner<'a> {
        QueryPlanner {
            catalog,
            context: CatalogContext::new(catalog),
        }
    }

    /// The optimised logical plan of `query`.
    pub fn plan(&self, query: &StreamQuery) -> Result<LogicalPlan, SqlError> {
        functions::refuse_clock_and_chance(query.query.as_ref())?;
        let mut lowered = query.query.clone();
        temporal::lower(lowered.as_mut(), self.catalog)?;
        syntax::lower(lowered.as_mut())?;
        unnest::lower(lowered.as_mut());
        let planned = self.sql_to_rel().sql_statement_to_plan(Statement::Query(lowered));
        planned
            .and_then(conditions::check)
            .and_then(lateral_top_n::lower)
            .and_then(set_operations::lower)
            .and_then(exists::lower)
            .and_then(not_in::lower)
            .and_then(lead_last::lower)
            .and_then(|plan| late_data::mark(plan, query.late.as_ref()))
            .and_then(analyze)
            .and_then(optimizer::optimize)
            .map_err(|error| sql_error(error, query.query.as_ref(), &query.places).at(query.position))
    }

    /// `expression` over columns of `schema`, for computed columns and watermarks; and its field.
    pub fn physical_expression(
        &self,
        expression: &Expr,
        schema: &Schema,
    ) -> Result<(Arc<dyn PhysicalExpr>, FieldRef), SqlError> {
        functions::refuse_clock_and_chance(expression)?;
        let mut lowered = expression.clone();
        syntax::lower(&mut lowered)?;
        let plan = || {
            let schema = DFSchema::try_from(schema.clone())?;
            let planned = self
                .sql_to_rel()
                .sql_to_expr(lowered, &schema, &mut PlannerContext::new())?;
            let coerced = coerce(planned, &schema)?;
            let field = coerced.to_field(&schema)?.1;
            let physical = create_physical_expr(
                &coerced,
                &schema,
                &ExecutionProps::new(),
                &PhysicalPlanningContext::default(),
            )?;
            Ok((with_fast_shifts(physical, schema.as_arrow())?, field))
        };
        plan().map_err(|error| sql_error(error, expression, &Places::default()))
    }

    fn sql_to_rel(&self) -> SqlToRel<'_, CatalogContext<'a>> {
        let options = ParserOptions {
            // 0.908 is DECIMAL(4, 3) in Flink.
            parse_float_as_decimal: true,
            enable_ident_normalization: false,
            support_varchar_with_length: true,
            enable_options_value_normalization: false,
            collect_spans: true,
            map_string_types_to_utf8view: false,
            default_null_ordering: NullOrdering::NullsMin,
        };
        SqlToRel::new_with_options(&self.context, options)
    }
}

/// Types are coerced, wildcards expanded.
fn analyze(plan: LogicalPlan) -> datafusion_common::Result<LogicalPlan> {
    let mut analyzer = Analyzer::new();
    analyzer.add_function_rewrite(Arc::new(casts::SqlTypes));
    analyzer.rules.push(Arc::new(casts::FlinkCasts));
    analyzer.execute_and_check(plan, &ConfigOptions::default(), |_, _| {})
}

/// Inserts the casts that a lone expression needs, and folds constants.
fn coerce(expression: LogicalExpr, schema: &DFSchema) -> datafusion_common::Result<LogicalExpr> {
    let context = datafusion_expr::simplify::SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    let typed = casts::SqlTypes::rewrite_all(expression, schema)?;
    let coerced = simplifier.coerce(typed, schema)?;
    simplifier.simplify(casts::FlinkCasts::rewrite(coerced, schema)?)
}

/// A nullable field without a name: the type of an expression.
pub(crate) fn type_field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("", data_type, true))
}

#[cfg(test)]
mod tests;
