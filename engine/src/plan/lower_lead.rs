//! `LEAD(x [, offset [, default]]) OVER (PARTITION BY … ORDER BY event time)`: an operator that holds rows back
//! until the rows that they look at have come.
//!
//! **Invariant.** It stands behind every other OVER of its SELECT: rows come out of it late, without event time.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::DFSchema;
use datafusion_expr::expr::{NullTreatment, WindowFunction};
use datafusion_expr::{Expr, ExprSchemable, WindowFunctionDefinition, cast};
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::limits::LEAD_OFFSET_MAX;
use crate::plan::builder::{Builder, MapOutput, planning_error};
use crate::plan::display::sql_types;
use crate::plan::lower_over::{PartitionedInput, whole_number};
use crate::plan::lowered::{Lowered, schema_of};
use crate::plan::{LeadCall, LeadSpec, NodeKind, PlanNode, StateGrowth};

/// Whether the function is LEAD.
pub(crate) fn is_lead(function: &WindowFunction) -> bool {
    matches!(&function.fun, WindowFunctionDefinition::WindowUDF(udf) if udf.name() == "lead")
}

impl Builder<'_> {
    /// Adds one operator for LEADs that share partition and order; answers their columns.
    pub(super) fn add_lead(
        &mut self,
        input: Lowered,
        logical: &DFSchema,
        functions: &[&WindowFunction],
        results: &[FieldRef],
    ) -> Result<(Lowered, Vec<usize>), SqlError> {
        let params = &functions[0].params;
        if self.is_behind_lead(input.node) {
            return Err(self
                .error_at(
                    &["LEAD"],
                    "LEADs of one SELECT need the same PARTITION BY: behind one, rows have no order left",
                )
                .hint("write the other LEAD in a query of its own, and join the two"));
        }
        let time_column = self.over_time_column(&input, logical, &params.order_by)?;
        let physical = self.physical_schema(logical, &input);
        let node_schema = self.nodes[input.node].schema.clone();
        let mut output = MapOutput::default();
        for (index, field) in node_schema.fields().iter().enumerate() {
            output
                .columns
                .push((Arc::new(Column::new(field.name(), index)), field.clone()));
        }
        let mut column = |expression: &Expr| {
            let computed = self.expressions.physical(expression, &physical);
            let computed = computed.map_err(planning_error)?;
            let field = computed
                .return_field(physical.as_arrow())
                .map_err(planning_error)?;
            Ok(output.add(computed, field))
        };
        let keys = params.partition_by.iter().map(&mut column);
        let partition = keys.collect::<Result<Vec<usize>, SqlError>>()?;
        let mut calls = Vec::with_capacity(functions.len());
        for (function, result) in functions.iter().zip(results) {
            let arguments = &function.params.args;
            let default = match arguments.get(2) {
                Some(Expr::Literal(value, _)) if value.is_null() => None,
                Some(default) => {
                    self.check_lead_default(default, logical, result.data_type())?;
                    Some(column(&cast(default.clone(), result.data_type().clone()))?)
                }
                None => None,
            };
            calls.push(LeadCall {
                argument: column(&cast(arguments[0].clone(), result.data_type().clone()))?,
                offset: self.lead_offset(arguments.get(1))?,
                default,
                ignores_nulls: function.params.null_treatment == Some(NullTreatment::IgnoreNulls),
                output: Arc::new(result.as_ref().clone().with_nullable(true)),
            });
        }
        let PartitionedInput {
            mut lowered,
            below,
            key_names,
        } = self.partitioned_input(
            input,
            output,
            &partition,
            "LEAD",
            "a row's answer depends on the rows behind it",
        )?;
        let mut fields = self.nodes[below].schema.fields().to_vec();
        let width = fields.len();
        fields.extend(calls.iter().map(|call| call.output.clone()));
        let columns = (width..width + calls.len()).collect();
        let reach = calls.iter().map(|call| call.offset).max().unwrap_or(0);
        let growth = format!(
            "{reach} rows per distinct ({}), until others follow",
            key_names.join(", ")
        );
        let lead = PlanNode {
            kind: NodeKind::Lead(LeadSpec {
                partition,
                time_column,
                calls,
            }),
            inputs: vec![below],
            schema: schema_of(fields),
            changelog: Changelog::Append,
            event_time: None,
            growth: StateGrowth::PerKey(growth),
            ..self.nodes[below].clone()
        };
        lowered.node = self.add(lead);
        lowered.attached = None;
        Ok((lowered, columns))
    }

    /// The default is of the argument's kind: a text that is no number would fail in the middle of a stream.
    fn check_lead_default(
        &self,
        default: &Expr,
        logical: &DFSchema,
        wanted: &DataType,
    ) -> Result<(), SqlError> {
        let found = default.get_type(logical).map_err(planning_error)?;
        let fits = found == *wanted || (found.is_numeric() && wanted.is_numeric());
        match fits {
            true => Ok(()),
            false => Err(self
                .error_at(
                    &["LEAD"],
                    format!(
                        "the default of LEAD is {}, and its argument is {}",
                        sql_types(&found.to_string()),
                        sql_types(&wanted.to_string())
                    ),
                )
                .hint("bring it to the argument's type with CAST(… AS …)")),
        }
    }

    fn lead_offset(&self, argument: Option<&Expr>) -> Result<usize, SqlError> {
        let offset = match argument {
            None => Some(1),
            Some(Expr::Literal(value, _)) => whole_number(value),
            Some(_) => None,
        };
        let offset = offset.filter(|offset| (0..=LEAD_OFFSET_MAX).contains(offset));
        offset.map(|offset| offset as usize).ok_or_else(|| {
            self.error_at(
                &["LEAD"],
                format!("the offset of LEAD is a number from 0 to {LEAD_OFFSET_MAX}"),
            )
            .hint("LEAD looks ahead and LAG looks back")
        })
    }
}
