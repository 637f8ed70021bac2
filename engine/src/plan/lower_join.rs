//! Joins: two inputs that carry the same windows, joined window by window.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion_common::{DFSchema, TableReference};
use datafusion_expr::{Expr, Join, JoinType};
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::plan::builder::{Builder, MapOutput, names_of, planning_error};
use crate::plan::lowered::{AttachedWindow, ColumnSource, Lowered, schema_of};
use crate::plan::partitioner::{self, KeyedOperator};
use crate::plan::{Distribution, ExchangeTarget, NodeId, NodeKind, PlanNode, StateGrowth, WindowJoinSpec};
use crate::sql::statement::Emit;

impl Builder<'_> {
    pub(crate) fn lower_join(&mut self, join: &Join) -> Result<Lowered, SqlError> {
        if join.join_type != JoinType::Inner {
            return Err(self.join_refusal(&format!("a {} join", join.join_type)));
        }
        let left = self.lower(&join.left, Emit::Default)?;
        let left = self.materialise(left);
        let right = self.lower(&join.right, Emit::Default)?;
        let right = self.materialise(right);
        let (left, left_keys) =
            self.join_keys(left, join.left.schema(), join.on.iter().map(|(key, _)| key))?;
        let (right, right_keys) =
            self.join_keys(right, join.right.schema(), join.on.iter().map(|(_, key)| key))?;
        let equal: Vec<(usize, usize)> = left_keys
            .iter()
            .copied()
            .zip(right_keys.iter().copied())
            .collect();
        let (Some(left_window), Some(right_window)) = (left.attached, right.attached) else {
            return Err(self.join_refusal("a join of inputs without windows"));
        };
        let ends = left_window
            .end
            .zip(right_window.end)
            .filter(|ends| equal.contains(ends));
        let Some(window_end) = ends else {
            return Err(self.join_refusal("a join that does not equate window_end of both sides"));
        };
        for side in [&left, &right] {
            if self.nodes[side.node].changelog.has_ops() {
                return Err(self.join_refusal("a join of a changing input"));
            }
        }
        let (left_node, right_node) = self.bring_together((&left, &left_keys), (&right, &right_keys));
        let filter = match &join.filter {
            Some(filter) => {
                let schema = self.joined_schema(join, &left, &right)?;
                Some(
                    self.expressions
                        .physical(filter, &schema)
                        .map_err(planning_error)?,
                )
            }
            None => None,
        };
        let shift = self.nodes[left_node].schema.fields().len();
        let distribution = self.joined_distribution(left_node, right_node);
        let mut fields: Vec<FieldRef> = self.nodes[left_node].schema.fields().to_vec();
        fields.extend(self.nodes[right_node].schema.fields().iter().cloned());
        let tick_us = left_window.tick_us.min(right_window.tick_us);
        let node = self.add(PlanNode {
            id: 0,
            kind: NodeKind::WindowJoin(WindowJoinSpec {
                window_end,
                equal,
                filter,
                tick_us,
            }),
            inputs: vec![left_node, right_node],
            schema: schema_of(fields),
            changelog: Changelog::Append,
            event_time: self.nodes[left_node].event_time,
            distribution,
            growth: StateGrowth::Bounded(
                "rows of open windows; dropped once the watermark has passed".to_string(),
            ),
        });
        let shifted = right.columns.iter().map(|column| match column {
            ColumnSource::Physical(index) => ColumnSource::Physical(shift + index),
            ColumnSource::Window(_) => unreachable!("invariant: windows are materialised before a join"),
        });
        let columns = left.columns.iter().copied().chain(shifted).collect();
        let attached = AttachedWindow {
            tick_us,
            ..left_window
        };
        Ok(Lowered {
            node,
            columns,
            pending_window: None,
            attached: Some(attached),
        })
    }

    /// The equal columns of one side; computed ones are appended to it.
    fn join_keys<'e>(
        &mut self,
        side: Lowered,
        logical: &DFSchema,
        keys: impl Iterator<Item = &'e Expr>,
    ) -> Result<(Lowered, Vec<usize>), SqlError> {
        let physical = self.physical_schema(logical, &side);
        let schema = self.nodes[side.node].schema.clone();
        let mut output = MapOutput::default();
        for (index, field) in schema.fields().iter().enumerate() {
            output
                .columns
                .push((Arc::new(Column::new(field.name(), index)), field.clone()));
        }
        let mut columns = Vec::new();
        for key in keys {
            let key = self
                .expressions
                .physical(key, &physical)
                .map_err(planning_error)?;
            let field = key.return_field(physical.as_arrow()).map_err(planning_error)?;
            columns.push(output.add(key, field));
        }
        if output.columns.len() == schema.fields().len() {
            return Ok((side, columns));
        }
        let logical_columns = side.columns.clone();
        Ok((self.add_projection(side, logical_columns, output), columns))
    }

    /// Brings rows that match to the same shard: a side of at most one row a window goes to every
    /// shard and the other stays where it is; otherwise both go to the owners of their keys.
    fn bring_together(
        &mut self,
        (left, left_keys): (&Lowered, &[usize]),
        (right, right_keys): (&Lowered, &[usize]),
    ) -> (NodeId, NodeId) {
        let is_single = |side: &Lowered| self.nodes[side.node].distribution == Distribution::Single;
        if is_single(left) && is_single(right) {
            return (left.node, right.node);
        }
        let reason = "one row a window is cheaper to copy to every shard than the other side is to move";
        match (self.is_single_row(left.node), self.is_single_row(right.node)) {
            (false, true) => {
                let copied = self.add_exchange_to(right.node, ExchangeTarget::All, reason.to_string());
                (left.node, copied)
            }
            (true, false) => {
                let copied = self.add_exchange_to(left.node, ExchangeTarget::All, reason.to_string());
                (copied, right.node)
            }
            _ => (
                self.exchange_side(left, left_keys),
                self.exchange_side(right, right_keys),
            ),
        }
    }

    /// Whether a node gives at most one row a window: a window aggregation without keys, projected or
    /// filtered at most.
    fn is_single_row(&self, node: NodeId) -> bool {
        match &self.nodes[node].kind {
            NodeKind::WindowAggregate(spec) => spec.keys.is_empty(),
            NodeKind::Map(_) => self.is_single_row(self.nodes[node].inputs[0]),
            _ => false,
        }
    }

    /// How the rows of a join lie: as those of a side that was not copied.
    fn joined_distribution(&self, left: NodeId, right: NodeId) -> Distribution {
        let shift = self.nodes[left].schema.fields().len();
        match (&self.nodes[left].distribution, &self.nodes[right].distribution) {
            (Distribution::Replicated, Distribution::Hash(keys)) => {
                Distribution::Hash(keys.iter().map(|key| shift + key).collect())
            }
            (Distribution::Replicated, right) => right.clone(),
            (left, _) => left.clone(),
        }
    }

    fn exchange_side(&mut self, side: &Lowered, keys: &[usize]) -> usize {
        let node = &self.nodes[side.node];
        let key_names = names_of(&node.schema, keys);
        // Both sides must lie by the very same keys, so a side that lies otherwise always moves.
        let here = match &node.distribution {
            Distribution::Hash(hashed) if hashed == keys => node.distribution.clone(),
            _ => Distribution::Source,
        };
        let partitioning = partitioner::select(&KeyedOperator {
            name: "the window join",
            key_names: &key_names,
            keys,
            input: &here,
            two_phase: Err("rows that match must meet".to_string()),
        });
        self.add_exchange(side.node, keys.to_vec(), &partitioning).0
    }

    /// Physical columns of both sides under their logical names.
    fn joined_schema(&self, join: &Join, left: &Lowered, right: &Lowered) -> Result<DFSchema, SqlError> {
        let sides = [
            (join.left.schema(), left, "left"),
            (join.right.schema(), right, "right"),
        ];
        let mut fields: Vec<(Option<TableReference>, FieldRef)> = Vec::new();
        for (logical, side, name) in sides {
            for (qualifier, field) in self.physical_schema(logical, side).iter() {
                // Hidden columns of the two sides may share a name.
                let hidden = qualifier.is_some_and(|q| q.table() == "$hidden");
                let qualifier = if hidden {
                    Some(TableReference::bare(format!("$hidden {name}")))
                } else {
                    qualifier.cloned()
                };
                fields.push((qualifier, field.clone()));
            }
        }
        DFSchema::new_with_metadata(fields, HashMap::new()).map_err(planning_error)
    }

    fn join_refusal(&self, what: &str) -> SqlError {
        self.error(format!("{what} is not supported yet")).hint(
            "an inner join of two windowed inputs is: equate window_start and window_end of both sides in ON",
        )
    }
}
