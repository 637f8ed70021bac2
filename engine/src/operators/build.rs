//! From a plan node to the operator that runs it on one shard.

use arrow::datatypes::SchemaRef;

use crate::error::ExecutionError;
use crate::operators::Operator;
use crate::operators::expand::Expand;
use crate::operators::group_aggregate::GroupAggregate;
use crate::operators::keep_first::KeepFirst;
use crate::operators::late_rows::LateRows;
use crate::operators::local_group_aggregate::LocalGroupAggregate;
use crate::operators::local_window_aggregate::LocalWindowAggregate;
use crate::operators::map::Map;
use crate::operators::match_recognize::MatchRecognize;
use crate::operators::normalize::Normalize;
use crate::operators::over_aggregate::OverAggregate;
use crate::operators::over_aggregate::lead::Lead;
use crate::operators::rank::Rank;
use crate::operators::session_assign::SessionAssign;
use crate::operators::sort::Sort;
use crate::operators::stream_join::StreamJoin;
use crate::operators::temporal_join::TemporalJoin;
use crate::operators::union::Union;
use crate::operators::unnest::Unnest;
use crate::operators::window_aggregate::WindowAggregate;
use crate::operators::window_assign::WindowAssign;
use crate::operators::window_join::WindowJoin;
use crate::operators::window_rank::WindowRank;
use crate::plan::{NodeId, NodeKind, StreamPlan};

/// The operator of node `id` on shard `shard`; `None` for sources, exchanges and sinks, which
/// are the shard loop's own.
pub fn build(
    plan: &StreamPlan,
    id: NodeId,
    shard: usize,
) -> Result<Option<Box<dyn Operator>>, ExecutionError> {
    let node = &plan.nodes[id];
    let output = node.schema.clone();
    let input = |index: usize| -> SchemaRef { plan.nodes[node.inputs[index]].schema.clone() };
    Ok(Some(match &node.kind {
        NodeKind::Source(_) | NodeKind::Exchange(_) | NodeKind::Sink(_) => return Ok(None),
        NodeKind::Map(spec) => Box::new(Map::new(spec, input(0), output)?),
        NodeKind::Expand(spec) => Box::new(Expand::new(spec, output)),
        NodeKind::Union => Box::new(Union),
        NodeKind::Unnest(spec) => Box::new(Unnest::new(spec, output)),
        NodeKind::LocalGroupAggregate(spec) => Box::new(LocalGroupAggregate::new(spec, input(0), output)?),
        NodeKind::GroupAggregate(spec) => {
            // Rows of the one global group all travel to shard 0, which answers for it.
            let owns_global_group = shard == 0;
            Box::new(GroupAggregate::new(spec, input(0), output, owns_global_group)?)
        }
        NodeKind::LocalWindowAggregate(spec) => Box::new(LocalWindowAggregate::new(spec, input(0), output)?),
        NodeKind::WindowAggregate(spec) => Box::new(WindowAggregate::new(spec, input(0), output)?),
        NodeKind::WindowAssign(spec) => Box::new(WindowAssign::new(spec, input(0), output)?),
        NodeKind::LateRows(spec) => Box::new(LateRows::new(spec, &input(0), output)),
        NodeKind::SessionAssign(spec) => Box::new(SessionAssign::new(spec, input(0), output)),
        NodeKind::OverAggregate(spec) => Box::new(OverAggregate::new(spec, input(0), output)?),
        NodeKind::Lead(spec) => Box::new(Lead::new(spec, input(0), output)?),
        NodeKind::MatchRecognize(spec) => Box::new(MatchRecognize::new(spec, input(0), output)?),
        NodeKind::StreamJoin(spec) => {
            let append_only = !node.changelog.has_ops();
            Box::new(StreamJoin::new(spec, input(0), input(1), output, append_only)?)
        }
        NodeKind::Normalize(spec) => Box::new(Normalize::new(spec, input(0))),
        NodeKind::TemporalJoin(spec) => Box::new(TemporalJoin::new(spec, input(0), input(1), output)?),
        NodeKind::Rank(spec) if spec.keeps_first_by.is_some() => {
            Box::new(KeepFirst::new(spec, input(0), output))
        }
        NodeKind::Rank(spec) if spec.window.is_some() => Box::new(WindowRank::new(spec, input(0), output)?),
        NodeKind::Rank(spec) => Box::new(Rank::new(spec, input(0), output)?),
        NodeKind::Sort(spec) => Box::new(Sort::new(spec, input(0))?),
        NodeKind::WindowJoin(spec) => Box::new(WindowJoin::new(spec, input(0), input(1), output)?),
    }))
}

/// All operators of a shard, by node.
pub fn build_all(plan: &StreamPlan, shard: usize) -> Result<Vec<Option<Box<dyn Operator>>>, ExecutionError> {
    (0..plan.nodes.len()).map(|id| build(plan, id, shard)).collect()
}
