//! Temporal and lookup joins: `JOIN t FOR SYSTEM_TIME AS OF time`, which the query planner has marked in the
//! join's condition.

use datafusion_expr::Expr;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::functions::temporal::AS_OF;
use crate::plan::builder::{Builder, plain_column};
use crate::plan::lower_join::Prepared;
use crate::plan::lowered::Lowered;
use crate::plan::{ExchangeTarget, JoinKind, NodeKind, PlanNode, StateGrowth, TemporalJoinSpec};
use crate::sql::catalog::PROCESSING_TIME;

/// The left time of a temporal join, if `condition` is its marker.
pub(crate) fn as_of(condition: &Expr) -> Option<&Expr> {
    match condition {
        Expr::ScalarFunction(call) if call.func.name() == AS_OF => call.args.first(),
        Expr::Alias(alias) => as_of(&alias.expr),
        _ => None,
    }
}

impl Builder<'_> {
    /// Adds the join of `prepared` as of the left time `time`.
    pub(crate) fn add_temporal_join(
        &mut self,
        prepared: Prepared<'_>,
        time: &Expr,
    ) -> Result<Lowered, SqlError> {
        let keeps_left = match prepared.kind {
            JoinKind::Inner => false,
            JoinKind::Left => true,
            _ => {
                return Err(self.error_at(
                    &["FOR SYSTEM_TIME"],
                    "FOR SYSTEM_TIME AS OF is for inner and left joins",
                ));
            }
        };
        if prepared.equal.is_empty() {
            return Err(self
                .error_at(&["FOR SYSTEM_TIME"], "a temporal join needs an equality of keys")
                .hint("write … FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency"));
        }
        let times = self.temporal_times(&prepared, time)?;
        let (left, right) = (prepared.left.node, prepared.right.node);
        let (left, right) = match times {
            Some(_) => {
                let keys = |side: fn(&crate::plan::JoinKey) -> usize| {
                    prepared.equal.iter().map(side).collect::<Vec<_>>()
                };
                let left = self.exchange_side(&prepared.left, &keys(|key| key.left), "the temporal join");
                let right = self.exchange_side(&prepared.right, &keys(|key| key.right), "the temporal join");
                (left, right)
            }
            None if self.settings.one_shard => (left, right),
            None => {
                let reason = "a lookup table is cheaper to copy to every shard than the stream is to move";
                let right = self.add_exchange_to(right, ExchangeTarget::All, reason.to_string());
                (left, right)
            }
        };
        let filter = self.join_filter(&prepared)?;
        let growth = match times {
            Some(_) => StateGrowth::PerKey(
                "rows that the watermark has not passed, and the last version per distinct key, kept for ever".to_string(),
            ),
            None => StateGrowth::Bounded("the lookup table".to_string()),
        };
        let left_node = self.nodes[left].clone();
        let spec = TemporalJoinSpec {
            keeps_left,
            equal: prepared.equal.clone(),
            filter,
            times,
            retracts: [left, right].map(|node| self.nodes[node].changelog.has_ops()),
        };
        let changelog = match spec.retracts[0] {
            true => Changelog::Retract,
            false => Changelog::Append,
        };
        let node = PlanNode {
            id: 0,
            kind: NodeKind::TemporalJoin(spec),
            inputs: vec![left, right],
            schema: self.joined_fields(prepared.kind, left, right),
            changelog,
            event_time: left_node.event_time,
            distribution: left_node.distribution.clone(),
            growth,
        };
        let attached = prepared.left.attached;
        Ok(self.joined(prepared, node, attached))
    }

    /// The event-time columns of both sides; `None` for processing time.
    fn temporal_times(
        &self,
        prepared: &Prepared<'_>,
        time: &Expr,
    ) -> Result<Option<(usize, usize)>, SqlError> {
        let logical = prepared.join.left.schema();
        let column = plain_column(strip_casts(time), logical);
        if column.is_some_and(|column| logical.field(column).metadata().contains_key(PROCESSING_TIME)) {
            return Ok(None);
        }
        let left = &self.nodes[prepared.left.node];
        let is_event_time = column
            .and_then(|column| prepared.left.physical(column))
            .is_some_and(|physical| left.event_time == Some(physical));
        if !is_event_time {
            let hint = match left.event_time {
                Some(time) => format!(
                    "write FOR SYSTEM_TIME AS OF with `{}`",
                    left.schema.field(time).name()
                ),
                None => {
                    "name the column that WATERMARK FOR is declared on; the left table needs one".to_string()
                }
            };
            return Err(self
                .error_on(
                    time,
                    format!(
                        "FOR SYSTEM_TIME AS OF needs the event time of the left table, and `{time}` is not"
                    ),
                )
                .hint(hint));
        }
        let right = &self.nodes[prepared.right.node];
        match (left.event_time, right.event_time) {
            (Some(left), Some(right)) => Ok(Some((left, right))),
            _ => Err(self
                .error_at(
                    &["FOR SYSTEM_TIME"],
                    "a versioned table needs an event time: when each of its rows became valid",
                )
                .hint("declare WATERMARK FOR a time column of that table, and its PRIMARY KEY")),
        }
    }
}

fn strip_casts(expression: &Expr) -> &Expr {
    match expression {
        Expr::Cast(cast) => strip_casts(&cast.expr),
        Expr::Alias(alias) => strip_casts(&alias.expr),
        other => other,
    }
}
