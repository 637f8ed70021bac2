//! GROUPING SETS, CUBE and ROLLUP: rows are expanded once per set, and then grouped by the keys and the set's
//! id. Keys that stand in every set (the bounds of a window must) are left as they are.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion_common::{Column, DFSchema, DFSchemaRef, Result, TableReference};
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{
    Aggregate, Expr, ExprSchemable, Extension, GroupingSet, LogicalPlan, UserDefinedLogicalNodeCore,
};

use crate::error::SqlError;
use crate::plan::builder::{Builder, planning_error};
use crate::plan::lowered::{ColumnSource, Lowered, schema_of};
use crate::plan::{ExpandSet, ExpandSpec, NodeKind, PlanNode, StateGrowth};
use crate::sql::statement::Emit;

/// Qualifies the columns that expansion makes; no query can write it.
const EXPANDED: &str = "$expanded";

/// The logical form of the expansion; made and read by the stream plan builder alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Expand {
    input: LogicalPlan,
    keys: Vec<Expr>,
    sets: Vec<ExpandSet>,
    schema: DFSchemaRef,
}

impl PartialOrd for Expand {
    fn partial_cmp(&self, other: &Expand) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Expand {
    fn name(&self) -> &str {
        "Expand"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expand: {} sets", self.sets.len())
    }

    fn with_exprs_and_inputs(&self, keys: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Expand> {
        Ok(Expand {
            input: inputs.swap_remove(0),
            keys,
            ..self.clone()
        })
    }
}

impl Builder<'_> {
    pub(crate) fn lower_grouping_sets(
        &mut self,
        aggregate: &Aggregate,
        sets: &GroupingSet,
        emit: Emit,
    ) -> std::result::Result<Lowered, SqlError> {
        let keys: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)
            .map_err(planning_error)?
            .into_iter()
            .cloned()
            .collect();
        let id_field = aggregate.schema.fields()[keys.len()].clone();
        let (expand, group) =
            expansion(&aggregate.input, &keys, &sets_of(sets), &id_field).map_err(planning_error)?;
        self.lower_grouping(&expand, &group, &aggregate.aggr_expr, &aggregate.schema, emit)
    }

    pub(crate) fn lower_expand(&mut self, expand: &Expand) -> std::result::Result<Lowered, SqlError> {
        let logical = expand.input.schema();
        let input = self.lower(&expand.input, Emit::Default)?;
        let input = self.materialise_if_used(input, logical, expand.keys.iter())?;
        if input.late.is_some() {
            return Err(self
                .error_at(
                    &["GROUPING SETS", "CUBE", "ROLLUP"],
                    "LATE DATA TO cannot be combined with GROUPING SETS, CUBE or ROLLUP",
                )
                .hint("a late row would come once for each set: write one statement per set"));
        }
        let physical = self.physical_schema(logical, &input);
        let keys = expand
            .keys
            .iter()
            .map(|key| self.expressions.physical(key, &physical).map_err(planning_error))
            .collect::<std::result::Result<_, _>>()?;
        let below = self.nodes[input.node].clone();
        let width = below.schema.fields().len();
        let mut fields: Vec<FieldRef> = below.schema.fields().to_vec();
        fields.extend(
            expand
                .schema
                .fields()
                .iter()
                .skip(logical.fields().len())
                .cloned(),
        );
        let added = fields.len() - width;
        let node = self.add(PlanNode {
            kind: NodeKind::Expand(ExpandSpec {
                keys,
                sets: expand.sets.clone(),
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

/// The sets, each as the expressions in it.
fn sets_of(sets: &GroupingSet) -> Vec<Vec<Expr>> {
    match sets {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(keys) => (0..=keys.len())
            .rev()
            .map(|count| keys[..count].to_vec())
            .collect(),
        GroupingSet::Cube(keys) => (0..1usize << keys.len())
            .rev()
            .map(|kept| {
                let is_kept = |place: &usize| kept & (1 << (keys.len() - 1 - place)) != 0;
                (0..keys.len())
                    .filter(is_kept)
                    .map(|place| keys[place].clone())
                    .collect()
            })
            .collect(),
    }
}

/// The expanded plan, and what to group it by: one expression per key, then the id.
fn expansion(
    input: &LogicalPlan,
    keys: &[Expr],
    sets: &[Vec<Expr>],
    id_field: &FieldRef,
) -> Result<(LogicalPlan, Vec<Expr>)> {
    let schema = input.schema();
    let mut fields: Vec<(Option<TableReference>, FieldRef)> = schema
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), field.clone()))
        .collect();
    let qualifier = TableReference::bare(EXPANDED);
    let (mut expanded, mut group) = (Vec::new(), Vec::new());
    for (number, key) in keys.iter().enumerate() {
        if sets.iter().all(|set| set.contains(key)) {
            group.push(key.clone());
            continue;
        }
        let name = format!("key{number}");
        let field = Field::new(&name, key.get_type(schema)?, true);
        fields.push((Some(qualifier.clone()), Arc::new(field)));
        group.push(Expr::Column(Column::new(Some(qualifier.clone()), name)));
        expanded.push(key.clone());
    }
    let id = id_field.as_ref().clone().with_name("id");
    fields.push((Some(qualifier.clone()), Arc::new(id)));
    group.push(Expr::Column(Column::new(Some(qualifier), "id")));
    let mut met: Vec<(u64, u64)> = Vec::new();
    let sets = sets.iter().map(|set| {
        // As DataFusion has it: a bit for each key that is left out, and above them which of equal sets it is.
        let mask = keys
            .iter()
            .fold(0, |mask, key| mask << 1 | u64::from(!set.contains(key)));
        let ordinal = met.iter().filter(|(known, _)| *known == mask).count() as u64;
        met.push((mask, ordinal));
        ExpandSet {
            keeps: expanded.iter().map(|key| set.contains(key)).collect(),
            id: ordinal << keys.len() | mask,
        }
    });
    let expand = Expand {
        input: input.clone(),
        sets: sets.collect(),
        keys: expanded,
        schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default())?),
    };
    let plan = LogicalPlan::Extension(Extension {
        node: Arc::new(expand),
    });
    Ok((plan, group))
}
