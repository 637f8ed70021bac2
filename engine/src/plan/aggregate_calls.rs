//! Aggregate calls: DataFusion's expression → an [`AggregateCall`] over columns.
//!
//! The five aggregates with a layout of their own are recognised by name and argument type; every
//! other function becomes DataFusion's row accumulator behind [`AggregateFunction::Other`].

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::DFSchema;
use datafusion_expr::Expr;
use datafusion_expr::expr::{AggregateFunction as LogicalCall, AggregateFunctionParams};

use crate::error::SqlError;
use crate::plan::builder::{MapOutput, planning_error};
use crate::plan::display;
use crate::plan::expressions::Expressions;
use crate::plan::{AggregateCall, AggregateFunction};

/// Lowers the calls of one operator; their arguments become columns of `output`.
pub(crate) struct CallLowering<'a> {
    pub(crate) expressions: &'a Expressions,
    pub(crate) physical: &'a DFSchema,
    pub(crate) output: &'a mut MapOutput,
    /// Whether the calls look at frames: their own layouts do not know DISTINCT.
    pub(crate) over_frames: bool,
}

impl CallLowering<'_> {
    /// Lowers one call whose result is `result`.
    pub(crate) fn lower(&mut self, call: &Expr, result: &FieldRef) -> Result<AggregateCall, SqlError> {
        let call = match call {
            Expr::Alias(alias) => return self.lower(&alias.expr, result),
            Expr::AggregateFunction(call) => call,
            other => return Err(SqlError::new(format!("`{other}` is not an aggregate"))),
        };
        let LogicalCall { func, params } = call;
        let AggregateFunctionParams {
            args,
            distinct,
            filter,
            order_by,
            ..
        } = params;
        if !order_by.is_empty() && !func.supports_within_group_clause() {
            return Err(SqlError::new(format!(
                "ORDER BY inside {} is not supported yet",
                func.name().to_uppercase()
            ))
            .hint("the order of a stream's rows is that of their event time; leave ORDER BY out"));
        }
        let filter = match filter {
            Some(filter) => Some(self.column(filter)?),
            None => None,
        };
        let count_star = func.name() == "count" && !distinct && args.iter().all(counts_rows);
        let arguments = match count_star {
            true => Vec::new(),
            false => args
                .iter()
                .map(|argument| self.column(argument))
                .collect::<Result<_, _>>()?,
        };
        let counts_values_once = |function: &AggregateFunction| {
            self.over_frames
                && *distinct
                && !matches!(function, AggregateFunction::Min | AggregateFunction::Max)
        };
        let function = match self.own_layout(call, count_star, result)? {
            Some(function) if !counts_values_once(&function) => function,
            _ => self.other(call)?,
        };
        // DISTINCT changes nothing for MIN and MAX, and is part of the accumulator of others.
        let distinct = *distinct
            && !matches!(
                function,
                AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::Other(_)
            );
        Ok(AggregateCall {
            function,
            arguments,
            distinct,
            filter,
            output: result.clone(),
        })
    }

    /// The call as one of the aggregates with a layout of their own, if its types allow.
    fn own_layout(
        &self,
        call: &LogicalCall,
        count_star: bool,
        result: &FieldRef,
    ) -> Result<Option<AggregateFunction>, SqlError> {
        if count_star {
            return Ok(Some(AggregateFunction::CountStar));
        }
        let [argument] = call.params.args.as_slice() else {
            return Ok(None);
        };
        let argument =
            datafusion_expr::ExprSchemable::get_type(argument, self.physical).map_err(planning_error)?;
        let sums = matches!(
            argument,
            DataType::Float64 | DataType::Float32 | DataType::Decimal128(..)
        ) || argument.is_signed_integer();
        let same = &argument == result.data_type();
        Ok(match call.func.name() {
            "count" => Some(AggregateFunction::Count),
            "sum" if sums => Some(AggregateFunction::Sum),
            "avg" if sums => Some(AggregateFunction::Avg),
            "min" if same && is_ordered(&argument) => Some(AggregateFunction::Min),
            "max" if same && is_ordered(&argument) => Some(AggregateFunction::Max),
            _ => None,
        })
    }

    /// Any other function, over the columns its arguments were put into.
    fn other(&self, call: &LogicalCall) -> Result<AggregateFunction, SqlError> {
        let mut call = call.clone();
        call.params.filter = None;
        let lowered = self
            .expressions
            .aggregate(&Expr::AggregateFunction(call), self.physical)
            .map_err(planning_error)?;
        Ok(AggregateFunction::Other(lowered.aggregate))
    }

    fn column(&mut self, expression: &Expr) -> Result<usize, SqlError> {
        let physical = self
            .expressions
            .physical(expression, self.physical)
            .map_err(planning_error)?;
        let field = physical
            .return_field(self.physical.as_arrow())
            .map_err(planning_error)?;
        let name = display::expression(&physical);
        let field = field.as_ref().clone().with_name(name).with_nullable(true);
        Ok(self.output.add(physical, std::sync::Arc::new(field)))
    }
}

/// `COUNT(1)` counts rows as `COUNT(*)` does.
#[expect(
    deprecated,
    reason = "the SQL planner still makes a wildcard of COUNT(*) OVER"
)]
fn counts_rows(argument: &Expr) -> bool {
    match argument {
        Expr::Literal(value, _) => !value.is_null(),
        Expr::Wildcard { .. } => true,
        _ => false,
    }
}

/// Types whose order the fixed layout (or its string side table) knows.
fn is_ordered(data_type: &DataType) -> bool {
    data_type.is_signed_integer()
        || matches!(
            data_type,
            DataType::Float32
                | DataType::Float64
                | DataType::Decimal128(..)
                | DataType::Date32
                | DataType::Time32(_)
                | DataType::Time64(_)
                | DataType::Timestamp(..)
                | DataType::Utf8
                | DataType::Boolean
        )
}
