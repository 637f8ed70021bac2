//! `CROSS JOIN UNNEST(array) AS t (x)`: each row once per element, and, for LEFT JOIN, once where there is
//! none. The logical node, and its lowering.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference, plan_err};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion_physical_expr::expressions::Column as PhysicalColumn;

use crate::error::SqlError;
use crate::plan::builder::{Builder, MapOutput, planning_error};
use crate::plan::lowered::{ColumnSource, Lowered, schema_of};
use crate::plan::{NodeKind, PlanNode, StateGrowth, UnnestSpec};
use crate::sql::statement::Emit;

/// What the new columns are called, where a query names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UnnestNames {
    /// The alias of UNNEST.
    pub relation: String,
    /// Its columns: the element, then its place.
    pub columns: Vec<String>,
}

/// Rows of `input` once per element of `array`; output = input columns, the element, then its place if asked
/// for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unnest {
    input: LogicalPlan,
    array: Expr,
    names: Option<UnnestNames>,
    keeps_empty: bool,
    has_ordinality: bool,
    schema: DFSchemaRef,
}

impl Unnest {
    /// The node; an error if `array` is none.
    pub(crate) fn try_new(
        input: LogicalPlan,
        array: Expr,
        names: Option<UnnestNames>,
        keeps_empty: bool,
        has_ordinality: bool,
    ) -> Result<Unnest> {
        let element = match array.get_type(input.schema().as_ref())? {
            DataType::List(element) => element.data_type().clone(),
            other => {
                return plan_err!(
                    "UNNEST needs an array, and `{array}` is {}",
                    crate::plan::explain::sql_type(&other)
                );
            }
        };
        let qualifier = TableReference::bare(
            names
                .as_ref()
                .map_or("$unnested", |names| names.relation.as_str()),
        );
        let name = |place: usize, default: &str| {
            let names = names.as_ref().and_then(|names| names.columns.get(place));
            names.map_or(default.to_string(), Clone::clone)
        };
        let mut fields: Vec<(Option<TableReference>, FieldRef)> = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), field.clone()))
            .collect();
        fields.push((
            Some(qualifier.clone()),
            Arc::new(Field::new(name(0, "EXPR$0"), element, true)),
        ));
        if has_ordinality {
            let place = Field::new(name(1, "ORDINALITY"), DataType::Int32, keeps_empty);
            fields.push((Some(qualifier), Arc::new(place)));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Unnest {
            input,
            array,
            names,
            keeps_empty,
            has_ordinality,
            schema,
        })
    }
}

impl PartialOrd for Unnest {
    fn partial_cmp(&self, other: &Unnest) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Unnest {
    fn name(&self) -> &str {
        "Unnest"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.array.clone()]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unnest: {}", self.array)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Unnest> {
        Unnest::try_new(
            inputs.swap_remove(0),
            exprs.swap_remove(0),
            self.names.clone(),
            self.keeps_empty,
            self.has_ordinality,
        )
    }

    /// Filters on the relation's own columns may move below; those on the new columns may not.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let width = self.input.schema().fields().len();
        let new = self.schema.fields().iter().skip(width);
        new.map(|field| field.name().clone()).collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let width = schema.fields().len();
        let mut needed: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|&index| index < width)
            .collect();
        let read = self.array.column_refs();
        needed.extend(
            read.into_iter()
                .filter_map(|column| schema.maybe_index_of_column(column)),
        );
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

impl Builder<'_> {
    pub(crate) fn lower_unnest(&mut self, unnest: &Unnest) -> std::result::Result<Lowered, SqlError> {
        let logical = unnest.input.schema();
        let input = self.lower(&unnest.input, Emit::Default)?;
        let input = self.materialise_if_used(input, logical, [&unnest.array].into_iter())?;
        let input = self.materialise(input);
        let physical = self.physical_schema(logical, &input);
        let array = self
            .expressions
            .physical(&unnest.array, &physical)
            .map_err(planning_error)?;
        let field = array.return_field(physical.as_arrow()).map_err(planning_error)?;
        let mut output = MapOutput::default();
        let schema = self.nodes[input.node].schema.clone();
        for (index, field) in schema.fields().iter().enumerate() {
            let column = PhysicalColumn::new(field.name(), index);
            output.columns.push((Arc::new(column), field.clone()));
        }
        let array = output.add(array, field);
        let columns = input.columns.clone();
        let input = match output.columns.len() > schema.fields().len() {
            true => self.add_projection(input, columns, output),
            false => input,
        };
        let below = self.nodes[input.node].clone();
        let width = below.schema.fields().len();
        let mut fields: Vec<FieldRef> = below.schema.fields().to_vec();
        let new = unnest.schema.fields().iter().skip(logical.fields().len());
        fields.extend(new.cloned());
        let added = fields.len() - width;
        let node = self.add(PlanNode {
            kind: NodeKind::Unnest(UnnestSpec {
                array,
                keeps_empty: unnest.keeps_empty,
                has_ordinality: unnest.has_ordinality,
            }),
            inputs: vec![below.id],
            schema: schema_of(fields),
            growth: StateGrowth::Stateless,
            ..below
        });
        let mut columns = input.columns.clone();
        columns.extend((width..width + added).map(ColumnSource::Physical));
        Ok(Lowered {
            node,
            columns,
            ..input
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion_expr::{LogicalPlanBuilder, lit};

    #[test]
    fn only_arrays_are_unnested() {
        let input = LogicalPlanBuilder::empty(true).build().unwrap();
        let error = Unnest::try_new(input, lit(1i64), None, false, false).unwrap_err();
        assert!(error.to_string().contains("UNNEST needs an array"), "{error}");
    }

    #[test]
    fn the_new_columns_carry_the_names_of_the_alias() {
        let input = LogicalPlanBuilder::empty(true).build().unwrap();
        let element = Arc::new(Field::new("item", DataType::Int64, true));
        let array = Expr::Literal(
            datafusion_common::ScalarValue::try_new_null(&DataType::List(element)).unwrap(),
            None,
        );
        let names = UnnestNames {
            relation: "t".to_string(),
            columns: vec!["x".to_string(), "place".to_string()],
        };
        let node = Unnest::try_new(input, array, Some(names), true, true).unwrap();
        let names: Vec<String> = node.schema.columns().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["t.x", "t.place"]);
    }
}
