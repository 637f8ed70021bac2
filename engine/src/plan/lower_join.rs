//! Joins: which kind a join of two inputs is, and how its rows are brought together.
//!
//! Inputs whose rows carry the same windows are joined window by window; those whose event times are kept
//! within a distance are an interval join (`lower_interval`); all others keep their rows (`StreamJoin`).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion_common::{DFSchema, JoinType, NullEquality, TableReference};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, Join, Operator};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::plan::builder::{Builder, MapOutput, names_of, planning_error};
use crate::plan::lower_interval::{self, Sides};
use crate::plan::lower_temporal::as_of;
use crate::plan::lowered::{AttachedWindow, ColumnSource, Lowered, schema_of};
use crate::plan::partitioner::{self, KeyedOperator};
use crate::plan::{
    Distribution, ExchangeTarget, JoinInterval, JoinKey, JoinKind, NodeId, NodeKind, PlanNode, StateGrowth,
    StreamJoinSpec, WindowJoinSpec,
};
use crate::sql::statement::Emit;

/// A join whose sides are lowered, with its conditions taken apart.
pub(crate) struct Prepared<'j> {
    pub(crate) join: &'j Join,
    pub(crate) kind: JoinKind,
    pub(crate) left: Lowered,
    pub(crate) right: Lowered,
    pub(crate) equal: Vec<JoinKey>,
    /// What remains of the condition.
    conditions: Vec<Expr>,
}

impl Builder<'_> {
    pub(crate) fn lower_join(&mut self, join: &Join) -> Result<Lowered, SqlError> {
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::Right => JoinKind::Right,
            JoinType::Full => JoinKind::Full,
            JoinType::LeftSemi => JoinKind::Semi,
            JoinType::LeftAnti => JoinKind::Anti,
            other => {
                return Err(self.error_at(&["EXISTS", "IN"], format!("a sub-query that becomes a {other} join is not supported")).hint(
                    "ask for EXISTS or IN as a condition of its own (… WHERE a AND EXISTS (…)), not as part of an OR",
                ));
            }
        };
        let mut prepared = self.prepare_join(join, kind)?;
        let time = prepared
            .conditions
            .iter()
            .find_map(|condition| as_of(condition).cloned());
        if let Some(time) = time {
            prepared.conditions.retain(|condition| as_of(condition).is_none());
            return self.add_temporal_join(prepared, &time);
        }
        match self.window_ends(&prepared) {
            Some(ends) => self.add_window_join(prepared, ends),
            None => self.add_stream_join(prepared),
        }
    }

    fn prepare_join<'j>(&mut self, join: &'j Join, kind: JoinKind) -> Result<Prepared<'j>, SqlError> {
        let left = self.lower(&join.left, Emit::Default)?;
        let left = self.materialise(left);
        let right = self.lower(&join.right, Emit::Default)?;
        let right = self.materialise(right);
        let null_safe = join.null_equality == NullEquality::NullEqualsNull;
        let mut on: Vec<(Expr, Expr, bool)> = join
            .on
            .iter()
            .map(|(left, right)| (left.clone(), right.clone(), null_safe))
            .collect();
        let mut conditions = Vec::new();
        for condition in join
            .filter
            .clone()
            .map(split_conjunction_owned)
            .unwrap_or_default()
        {
            match null_safe_key(&condition, join) {
                Some((left, right)) => on.push((left, right, true)),
                None => conditions.push(condition),
            }
        }
        let (left, left_keys) = self.join_keys(left, join.left.schema(), on.iter().map(|(key, ..)| key))?;
        let (right, right_keys) =
            self.join_keys(right, join.right.schema(), on.iter().map(|(_, key, _)| key))?;
        let keys = left_keys.into_iter().zip(right_keys).zip(&on);
        let equal = keys.map(|((left, right), &(_, _, null_safe))| JoinKey {
            left,
            right,
            null_safe,
        });
        Ok(Prepared {
            join,
            kind,
            equal: equal.collect(),
            left,
            right,
            conditions,
        })
    }

    /// The window-end columns of both sides, if the join equates them.
    fn window_ends(&self, prepared: &Prepared<'_>) -> Option<(usize, usize)> {
        let (left, right) = (prepared.left.attached?, prepared.right.attached?);
        let ends = left.end.zip(right.end)?;
        let is_equated = prepared.equal.iter().any(|key| (key.left, key.right) == ends);
        is_equated.then_some(ends)
    }

    fn add_window_join(
        &mut self,
        prepared: Prepared<'_>,
        window_end: (usize, usize),
    ) -> Result<Lowered, SqlError> {
        for side in [&prepared.left, &prepared.right] {
            if self.nodes[side.node].changelog.has_ops() {
                return Err(self.error_at(&["JOIN"], "a window join of a changing input is not supported").hint(
                    "join the results of the windows (EMIT FINAL), or leave the windows out of the join's condition",
                ));
            }
        }
        let tick_us = match (prepared.left.attached, prepared.right.attached) {
            (Some(left), Some(right)) => left.tick_us.min(right.tick_us),
            _ => unreachable!("invariant: both sides of a window join carry windows"),
        };
        let (left_node, right_node) = self.bring_together(&prepared, "the window join")?;
        let filter = self.join_filter(&prepared)?;
        let event_time = self.nodes[left_node].event_time;
        let attached = prepared
            .left
            .attached
            .map(|attached| AttachedWindow { tick_us, ..attached });
        let spec = WindowJoinSpec {
            kind: prepared.kind,
            window_end,
            equal: prepared.equal.clone(),
            filter,
            tick_us,
        };
        let node = PlanNode {
            id: 0,
            kind: NodeKind::WindowJoin(spec),
            inputs: vec![left_node, right_node],
            schema: self.joined_fields(prepared.kind, left_node, right_node),
            changelog: Changelog::Append,
            event_time,
            distribution: self.joined_distribution(prepared.kind, left_node, right_node),
            growth: StateGrowth::Bounded(
                "rows of open windows; dropped once the watermark has passed".to_string(),
            ),
        };
        // The windows of a side that may be padded are NULL there.
        let attached = attached.filter(|_| !prepared.kind.preserves(1));
        let event_time = node.event_time.filter(|_| !prepared.kind.preserves(1));
        Ok(self.joined(prepared, PlanNode { event_time, ..node }, attached))
    }

    fn add_stream_join(&mut self, prepared: Prepared<'_>) -> Result<Lowered, SqlError> {
        let interval = self.join_interval(&prepared);
        let name = match interval {
            Some(_) => "the interval join",
            None => "the join",
        };
        self.refuse_unbounded_product(&prepared)?;
        let (left_node, right_node) = self.bring_together(&prepared, name)?;
        let filter = self.join_filter(&prepared)?;
        let ttl_us = match interval {
            Some(_) => [None, None],
            None => [
                self.state_ttl(prepared.join.left.schema()),
                self.state_ttl(prepared.join.right.schema()),
            ],
        };
        let event_time = match interval {
            Some(_) if !prepared.kind.preserves(1) => self.nodes[left_node].event_time,
            _ => None,
        };
        let spec = StreamJoinSpec {
            kind: prepared.kind,
            equal: prepared.equal.clone(),
            filter,
            interval,
            ttl_us,
            retracts: [left_node, right_node].map(|node| self.nodes[node].changelog.has_ops()),
        };
        let changelog = match spec.takes_back() {
            true => Changelog::Retract,
            false => Changelog::Append,
        };
        let node = PlanNode {
            id: 0,
            inputs: vec![left_node, right_node],
            schema: self.joined_fields(prepared.kind, left_node, right_node),
            changelog,
            event_time,
            distribution: self.joined_distribution(prepared.kind, left_node, right_node),
            growth: join_growth(&spec),
            kind: NodeKind::StreamJoin(spec),
        };
        Ok(self.joined(prepared, node, None))
    }

    /// A join without any condition keeps all rows and gives their product: hardly ever meant.
    fn refuse_unbounded_product(&self, prepared: &Prepared<'_>) -> Result<(), SqlError> {
        let is_product = prepared.equal.is_empty() && prepared.conditions.is_empty();
        let is_small = |side: &Lowered| self.is_single_row(side.node);
        if is_product && !is_small(&prepared.left) && !is_small(&prepared.right) {
            return Err(self
                .error_at(
                    &["CROSS JOIN", "JOIN", "FROM"],
                    "a join of two streams without a condition would pair every row with every other",
                )
                .hint("add ON with an equality between columns of both sides"));
        }
        Ok(())
    }

    /// The interval that the conditions keep both event times in, if both sides only append.
    fn join_interval(&self, prepared: &Prepared<'_>) -> Option<JoinInterval> {
        let join = prepared.join;
        let sides = [&prepared.left, &prepared.right];
        if sides.iter().any(|side| self.nodes[side.node].changelog.has_ops()) {
            return None;
        }
        let times = sides.map(|side| self.nodes[side.node].event_time);
        let [Some(left_time), Some(right_time)] = times else {
            return None;
        };
        let schemas: [&DFSchema; 2] = [join.left.schema(), join.right.schema()];
        let is_event_time = |side: usize, column: usize| sides[side].physical(column) == times[side];
        let known = Sides {
            schemas,
            is_event_time: &is_event_time,
        };
        let mut conditions = prepared.conditions.clone();
        let equalities = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        conditions.extend(equalities);
        let bounds = lower_interval::bounds(&known, &conditions)?;
        Some(lower_interval::interval((left_time, right_time), bounds))
    }

    pub(crate) fn join_filter(
        &mut self,
        prepared: &Prepared<'_>,
    ) -> Result<Option<Arc<dyn PhysicalExpr>>, SqlError> {
        let Some(filter) = conjunction(prepared.conditions.clone()) else {
            return Ok(None);
        };
        let schema = self.joined_schema(prepared.join, &prepared.left, &prepared.right)?;
        let filter = self
            .expressions
            .physical(&filter, &schema)
            .map_err(planning_error)?;
        Ok(Some(filter))
    }

    /// The columns of both sides, those that may be padded nullable.
    pub(crate) fn joined_fields(
        &self,
        kind: JoinKind,
        left: NodeId,
        right: NodeId,
    ) -> arrow::datatypes::SchemaRef {
        let padded = |node: NodeId, is_padded: bool| {
            let fields = self.nodes[node].schema.fields().iter();
            fields.map(move |field| match is_padded {
                true => Arc::new(field.as_ref().clone().with_nullable(true)),
                false => field.clone(),
            })
        };
        let mut fields: Vec<FieldRef> = padded(left, kind.preserves(1)).collect();
        if !kind.is_left_only() {
            fields.extend(padded(right, kind.preserves(0)));
        }
        schema_of(fields)
    }

    pub(crate) fn joined(
        &mut self,
        prepared: Prepared<'_>,
        node: PlanNode,
        attached: Option<AttachedWindow>,
    ) -> Lowered {
        let shift = self.nodes[node.inputs[0]].schema.fields().len();
        let node = self.add(node);
        let mut columns = prepared.left.columns.clone();
        if !prepared.kind.is_left_only() {
            columns.extend(prepared.right.columns.iter().map(|column| match column {
                ColumnSource::Physical(index) => ColumnSource::Physical(shift + index),
                ColumnSource::Window(_) => unreachable!("invariant: windows are materialised before a join"),
            }));
        }
        Lowered {
            node,
            columns,
            pending_window: None,
            attached,
            late: None,
        }
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

    /// Brings rows that match to the same shard: a side of one row goes to every shard and the other stays
    /// where it is; otherwise both go to the owners of their keys, or, without keys, to shard 0.
    fn bring_together(&mut self, prepared: &Prepared<'_>, name: &str) -> Result<(NodeId, NodeId), SqlError> {
        let (left, right) = (&prepared.left, &prepared.right);
        let is_single = |node: NodeId| self.nodes[node].distribution == Distribution::Single;
        if is_single(left.node) && is_single(right.node) {
            return Ok((left.node, right.node));
        }
        let reason = "one row is cheaper to copy to every shard than the other side is to move";
        // What is copied must not be padded: every shard would pad it.
        let may_copy = [
            !prepared.kind.preserves(0) && !prepared.kind.is_left_only(),
            !prepared.kind.preserves(1),
        ];
        let small = [self.is_single_row(left.node), self.is_single_row(right.node)];
        match (small[0] && may_copy[0], small[1] && may_copy[1]) {
            (_, true) if !small[0] => {
                let copied = self.add_exchange_to(right.node, ExchangeTarget::All, reason.to_string());
                return Ok((left.node, copied));
            }
            (true, _) if !small[1] => {
                let copied = self.add_exchange_to(left.node, ExchangeTarget::All, reason.to_string());
                return Ok((copied, right.node));
            }
            _ => {}
        }
        if prepared.equal.is_empty() {
            let reason =
                format!("{name} has no equality, so every row of one side may match every row of the other");
            let sides = [left.node, right.node].map(|node| match is_single(node) {
                true => node,
                false => usize::MAX,
            });
            let moved = |builder: &mut Self, node: NodeId, found: usize| match found {
                usize::MAX => builder.add_exchange_to(node, ExchangeTarget::First, reason.clone()),
                found => found,
            };
            let (left, right) = (left.node, right.node);
            return Ok((moved(self, left, sides[0]), moved(self, right, sides[1])));
        }
        let keys = |side: fn(&JoinKey) -> usize| prepared.equal.iter().map(side).collect::<Vec<usize>>();
        let left_node = self.exchange_side(left, &keys(|key| key.left), name);
        let right_node = self.exchange_side(right, &keys(|key| key.right), name);
        Ok((left_node, right_node))
    }

    /// Whether a node gives one row, or one row a window: an aggregation without keys, projected or filtered
    /// at most.
    fn is_single_row(&self, node: NodeId) -> bool {
        match &self.nodes[node].kind {
            NodeKind::WindowAggregate(spec) => spec.keys.is_empty(),
            NodeKind::GroupAggregate(spec) => spec.keys.is_empty(),
            NodeKind::Map(_) | NodeKind::Exchange(_) => self.is_single_row(self.nodes[node].inputs[0]),
            _ => false,
        }
    }

    /// How the rows of a join lie: as those of a side that was not copied, and whose keys are not padded.
    fn joined_distribution(&self, kind: JoinKind, left: NodeId, right: NodeId) -> Distribution {
        let shift = self.nodes[left].schema.fields().len();
        match (&self.nodes[left].distribution, &self.nodes[right].distribution) {
            (Distribution::Single, Distribution::Single) => Distribution::Single,
            (Distribution::Replicated, Distribution::Hash(keys)) => {
                Distribution::Hash(keys.iter().map(|key| shift + key).collect())
            }
            (Distribution::Replicated, right) => right.clone(),
            (Distribution::Hash(_), Distribution::Hash(keys)) if kind == JoinKind::Right => {
                Distribution::Hash(keys.iter().map(|key| shift + key).collect())
            }
            (Distribution::Hash(_), _) if kind.preserves(1) => Distribution::Source,
            (left, _) => left.clone(),
        }
    }

    pub(crate) fn exchange_side(&mut self, side: &Lowered, keys: &[usize], name: &str) -> NodeId {
        let node = &self.nodes[side.node];
        let key_names = names_of(&node.schema, keys);
        // Both sides must lie by the very same keys, so a side that lies otherwise always moves.
        let here = match &node.distribution {
            Distribution::Hash(hashed) if hashed == keys => node.distribution.clone(),
            _ => Distribution::Source,
        };
        let partitioning = partitioner::select(&KeyedOperator {
            name,
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
}

fn join_growth(spec: &StreamJoinSpec) -> StateGrowth {
    if spec.interval.is_some() {
        return StateGrowth::Bounded("rows within the interval of the watermark".to_string());
    }
    match spec.ttl_us {
        [Some(left), Some(right)] => StateGrowth::Bounded(format!(
            "rows that came within the time to live ({} s left, {} s right)",
            left as f64 / 1e6,
            right as f64 / 1e6
        )),
        [left, right] => {
            let kept = |ttl: Option<u64>, name: &str| ttl.is_none().then(|| format!("every {name} row"));
            let sides: Vec<String> = kept(left, "left")
                .into_iter()
                .chain(kept(right, "right"))
                .collect();
            StateGrowth::PerKey(format!("{}, kept for ever", sides.join(" and ")))
        }
    }
}

/// `a IS NOT DISTINCT FROM b`, also written `(a IS NULL AND b IS NULL) OR a = b`: the column of either side.
fn null_safe_key(condition: &Expr, join: &Join) -> Option<(Expr, Expr)> {
    let (first, second) = match condition {
        Expr::BinaryExpr(binary) if binary.op == Operator::IsNotDistinctFrom => {
            (binary.left.as_ref().clone(), binary.right.as_ref().clone())
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::Or => {
            both_null_or_equal(&binary.left, &binary.right)
                .or_else(|| both_null_or_equal(&binary.right, &binary.left))?
        }
        _ => return None,
    };
    let of = |expression: &Expr, schema: &DFSchema| {
        let columns = expression.column_refs();
        !columns.is_empty()
            && columns
                .iter()
                .all(|column| schema.maybe_index_of_column(column).is_some())
    };
    let (left, right) = (join.left.schema(), join.right.schema());
    if of(&first, left) && of(&second, right) {
        Some((first, second))
    } else if of(&second, left) && of(&first, right) {
        Some((second, first))
    } else {
        None
    }
}

fn both_null_or_equal(nulls: &Expr, equal: &Expr) -> Option<(Expr, Expr)> {
    let (Expr::BinaryExpr(nulls), Expr::BinaryExpr(equal)) = (nulls, equal) else {
        return None;
    };
    let (Expr::IsNull(first), Expr::IsNull(second)) = (nulls.left.as_ref(), nulls.right.as_ref()) else {
        return None;
    };
    let same =
        (&equal.left == first && &equal.right == second) || (&equal.left == second && &equal.right == first);
    let is_it = nulls.op == Operator::And && equal.op == Operator::Eq && same;
    is_it.then(|| (first.as_ref().clone(), second.as_ref().clone()))
}
