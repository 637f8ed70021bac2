//! Logical expressions to physical ones, with one set of properties for the whole job.

use std::sync::Arc;

use datafusion_common::{DFSchema, Result};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_physical_expr::aggregate::{LoweredAggregate, LoweredAggregateBuilder};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use crate::functions::shift_timestamp::with_fast_shifts;

/// Makes physical expressions.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    properties: ExecutionProps,
    context: PhysicalPlanningContext,
}

impl Expressions {
    /// `expression` over columns of `schema`.
    pub(crate) fn physical(&self, expression: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let physical = create_physical_expr(expression, schema, &self.properties, &self.context)?;
        with_fast_shifts(physical, schema.as_arrow())
    }

    /// An aggregate call over columns of `schema`.
    pub(crate) fn aggregate(&self, call: &Expr, schema: &DFSchema) -> Result<LoweredAggregate> {
        LoweredAggregateBuilder::new(call, schema, schema.as_arrow(), &self.properties, &self.context).build()
    }
}
