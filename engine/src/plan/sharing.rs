//! Nodes that do the same work on the same input are one node.
//!
//! The memo of [`super::builder`] shares equal logical plans. Sub-queries that select different things of one
//! aggregation (Nexmark q5 counts the bids of its windows twice) are not equal there, but the nodes below their
//! projections are.
//!
//! **Invariant.** Sources and sinks are never shared here: a source grows with what its readers want, and every
//! sink is somebody's output.

use crate::plan::{MapSpec, NodeKind, PlanNode};

/// Whether `left` and `right` give the same rows: the same work on the same inputs.
pub(super) fn is_same(left: &PlanNode, right: &PlanNode) -> bool {
    left.inputs == right.inputs
        && left.schema == right.schema
        && left.changelog == right.changelog
        && left.event_time == right.event_time
        && left.distribution == right.distribution
        && is_same_work(&left.kind, &right.kind)
}

fn is_same_work(left: &NodeKind, right: &NodeKind) -> bool {
    match (left, right) {
        (NodeKind::Map(left), NodeKind::Map(right)) => is_same_map(left, right),
        (NodeKind::Exchange(left), NodeKind::Exchange(right)) => left == right,
        (NodeKind::LocalGroupAggregate(left), NodeKind::LocalGroupAggregate(right))
        | (NodeKind::GroupAggregate(left), NodeKind::GroupAggregate(right)) => left == right,
        (NodeKind::LocalWindowAggregate(left), NodeKind::LocalWindowAggregate(right))
        | (NodeKind::WindowAggregate(left), NodeKind::WindowAggregate(right)) => left == right,
        _ => false,
    }
}

fn is_same_map(left: &MapSpec, right: &MapSpec) -> bool {
    let projections = match (&left.projection, &right.projection) {
        (Some(left), Some(right)) => {
            let pairs = || left.iter().zip(right);
            left.len() == right.len() && pairs().all(|(left, right)| *left.0 == *right.0 && left.1 == right.1)
        }
        (None, None) => true,
        _ => false,
    };
    projections && left.filter == right.filter
}
