//! `MATCH_RECOGNIZE`: the logical node → the operator's specification, behind the exchange that brings the rows of
//! each partition together.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion_common::{DFSchema, DFSchemaRef};
use datafusion_expr::Expr;
use datafusion_expr::utils::split_conjunction;
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::plan::aggregate_calls::CallLowering;
use crate::plan::builder::{Builder, MapOutput, plain_column, planning_error};
use crate::plan::display::duration;
use crate::plan::lower_over::PartitionedInput;
use crate::plan::lowered::{Lowered, schema_of};
use crate::plan::match_recognize::{LogicalValue, MATCH_TIME, MatchRecognize, ValueRows};
use crate::plan::match_spec::{MatchCondition, MatchSpec, MatchValue, RowReference};
use crate::plan::{Distribution, NodeKind, PlanNode, SortColumn, StateGrowth};
use crate::sql::statement::Emit;

impl Builder<'_> {
    pub(crate) fn lower_match(&mut self, matching: &MatchRecognize) -> Result<Lowered, SqlError> {
        let logical = matching.input.schema();
        let input = self.lower(&matching.input, Emit::Default)?;
        let input = self.materialise(input);
        let time_column = self.match_time_column(matching, &input)?;
        let physical = self.physical_schema(logical, &input);
        let mut output = MapOutput::default();
        for (index, field) in self.nodes[input.node].schema.fields().iter().enumerate() {
            let column = Column::new(field.name(), index);
            output.columns.push((Arc::new(column), field.clone()));
        }
        let partition = self.match_columns(matching.partition.iter(), &physical, &mut output)?;
        let behind = &matching.order[1..];
        let order = behind.iter().map(|order| &order.expression);
        let order = self.match_columns(order, &physical, &mut output)?;
        let order = behind.iter().zip(order).map(|(order, column)| SortColumn {
            column,
            descending: order.descending,
            nulls_first: order.nulls_first,
        });
        let order = order.collect();
        let mut values = Vec::with_capacity(matching.clauses.values.len());
        for value in &matching.clauses.values {
            values.push(self.match_value(value, &physical, &mut output)?);
        }
        let conditions = self.match_conditions(matching, &values)?;
        let clauses = &matching.clauses;
        let spec = MatchSpec {
            outputs: clauses
                .outputs
                .iter()
                .map(|&value| values[value].clone())
                .collect(),
            variables: clauses.variables.clone(),
            pattern: clauses.pattern.clone(),
            within_us: clauses.within_us,
            skip: clauses.skip,
            partition,
            time_column,
            order,
            conditions,
        };
        let PartitionedInput { below, key_names, .. } = self.partitioned_input(
            input,
            output,
            &spec.partition.clone(),
            "MATCH_RECOGNIZE",
            "a match is made of the rows of one partition, in order",
        )?;
        Ok(self.add_match(matching, spec, below, &key_names))
    }

    fn add_match(
        &mut self,
        matching: &MatchRecognize,
        spec: MatchSpec,
        below: usize,
        key_names: &[String],
    ) -> Lowered {
        let input = &self.nodes[below];
        let mut fields: Vec<FieldRef> = spec
            .partition
            .iter()
            .map(|&key| input.schema.fields()[key].clone())
            .collect();
        let clauses = &matching.clauses;
        fields.extend(
            clauses
                .outputs
                .iter()
                .map(|&value| clauses.values[value].field.clone()),
        );
        let time_type = input.schema.field(spec.time_column).data_type().clone();
        fields.push(Arc::new(Field::new(MATCH_TIME, time_type, false)));
        let width = fields.len();
        let distribution = match &input.distribution {
            Distribution::Hash(columns) => columns
                .iter()
                .map(|hashed| spec.partition.iter().position(|key| key == hashed))
                .collect::<Option<Vec<usize>>>()
                .map_or(Distribution::Source, Distribution::Hash),
            other => other.clone(),
        };
        let node = PlanNode {
            id: 0,
            growth: growth(&spec, key_names),
            kind: NodeKind::MatchRecognize(spec),
            inputs: vec![below],
            schema: schema_of(fields),
            changelog: Changelog::Append,
            event_time: Some(width - 1),
            distribution,
        };
        Lowered::identity(self.add(node), width)
    }

    /// The event-time column that the rows are ordered by.
    fn match_time_column(&self, matching: &MatchRecognize, input: &Lowered) -> Result<usize, SqlError> {
        let node = &self.nodes[input.node];
        let expression = &matching.order[0].expression;
        let column =
            plain_column(expression, matching.input.schema()).and_then(|index| input.physical(index));
        if let Some(column) = column.filter(|&column| node.event_time == Some(column)) {
            return Ok(column);
        }
        let message = format!("MATCH_RECOGNIZE is ordered by event time first, and `{expression}` is none");
        let error = match crate::sql::places::column_position(expression) {
            Some(place) => SqlError::new(message).at(place),
            None => SqlError::new(message).at(matching.position()),
        };
        Err(error.hint(match node.event_time {
            Some(time) => format!("write ORDER BY `{}`", node.schema.field(time).name()),
            None => "order by the column that WATERMARK FOR is declared on; behind joins, LEAD and aggregations without windows there is none".to_string(),
        }))
    }

    /// Expressions as columns of the operator's input.
    fn match_columns<'e>(
        &self,
        expressions: impl Iterator<Item = &'e Expr>,
        physical: &DFSchemaRef,
        output: &mut MapOutput,
    ) -> Result<Vec<usize>, SqlError> {
        let mut columns = Vec::new();
        for expression in expressions {
            let computed = self
                .expressions
                .physical(expression, physical)
                .map_err(planning_error)?;
            let field = computed
                .return_field(physical.as_arrow())
                .map_err(planning_error)?;
            columns.push(output.add(computed, field));
        }
        Ok(columns)
    }

    fn match_value(
        &self,
        value: &LogicalValue,
        physical: &DFSchemaRef,
        output: &mut MapOutput,
    ) -> Result<MatchValue, SqlError> {
        match value.rows {
            ValueRows::One {
                variable,
                from,
                offset,
                back,
            } => {
                let columns = self.match_columns([&value.expression].into_iter(), physical, output)?;
                Ok(MatchValue::Row(RowReference {
                    column: columns[0],
                    variable,
                    from,
                    offset,
                    back,
                }))
            }
            ValueRows::All(variable) => {
                let mut lowering = CallLowering {
                    expressions: &self.expressions,
                    physical,
                    output,
                    over_frames: true,
                };
                let call = lowering.lower(&value.expression, &value.field)?;
                Ok(MatchValue::Aggregate { variable, call })
            }
        }
    }

    /// What AND joins is looked at part by part, each over the columns that it reads.
    fn match_conditions(
        &self,
        matching: &MatchRecognize,
        values: &[MatchValue],
    ) -> Result<Vec<MatchCondition>, SqlError> {
        let all = MatchRecognize::value_schema(&matching.clauses.values).map_err(planning_error)?;
        let mut conditions = Vec::new();
        for (variable, definition) in &matching.clauses.conditions {
            for part in split_conjunction(definition) {
                let read = part.column_refs();
                let mut read: Vec<usize> = read
                    .iter()
                    .filter_map(|column| all.maybe_index_of_column(column))
                    .collect();
                read.sort_unstable();
                let fields = read
                    .iter()
                    .map(|&value| (None, matching.clauses.values[value].field.clone()));
                let schema =
                    DFSchema::new_with_metadata(fields.collect(), HashMap::new()).map_err(planning_error)?;
                conditions.push(MatchCondition {
                    variable: *variable,
                    values: read.iter().map(|&value| values[value].clone()).collect(),
                    predicate: self.expressions.physical(part, &schema).map_err(planning_error)?,
                });
            }
        }
        Ok(conditions)
    }
}

/// What a partition keeps.
fn growth(spec: &MatchSpec, keys: &[String]) -> StateGrowth {
    let keys = match keys {
        [] => "one partition".to_string(),
        keys => format!("({})", keys.join(", ")),
    };
    let before = spec.rows_before();
    match (before, spec.within_us, spec.pattern.rows_max()) {
        (0, Some(within_us), _) => {
            StateGrowth::Bounded(format!("the rows of the last {}", duration(within_us)))
        }
        (0, None, Some(rows)) => {
            StateGrowth::Bounded(format!("{rows} rows per distinct {keys} with an open match"))
        }
        (0, None, None) => StateGrowth::PerKey(format!("the rows of the open match per distinct {keys}")),
        (before, Some(within_us), _) => StateGrowth::PerKey(format!(
            "{before} rows before per distinct {keys}, kept for ever, and those of the last {}",
            duration(within_us)
        )),
        (before, None, Some(rows)) => StateGrowth::PerKey(format!(
            "{} rows per distinct {keys}, kept for ever",
            rows.saturating_add(before as u64)
        )),
        (before, None, None) => StateGrowth::PerKey(format!(
            "{before} rows before per distinct {keys}, kept for ever, and those of the open match"
        )),
    }
}
