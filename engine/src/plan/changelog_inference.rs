//! What the rows of each edge may say: the two-pass inference of Flink's
//! `FlinkChangelogModeInferenceProgram`, on stream plan nodes.
//!
//! Pass 1, from the sinks up: which nodes must emit update-before rows, because something above
//! them needs the old value. Pass 2, from the sources down: the kind of every edge. Nodes that
//! nothing reads are dropped first.

use crate::changelog::Changelog;
use crate::plan::{NodeKind, StreamPlan};
use crate::sql::statement::Emit;

/// Types every edge of `plan`.
pub(crate) fn infer(plan: &mut StreamPlan) {
    drop_unread_nodes(plan);
    let needs_before = update_before_needs(plan);
    for (id, &before) in needs_before.iter().enumerate() {
        let inputs: Vec<Changelog> = plan.nodes[id]
            .inputs
            .iter()
            .map(|&input| plan.nodes[input].changelog.clone())
            .collect();
        let retracts = inputs.iter().any(Changelog::has_ops) || combines_retractions(plan, id);
        let node = &mut plan.nodes[id];
        node.changelog = match &mut node.kind {
            NodeKind::GroupAggregate(spec) => {
                spec.input_retracts = retracts;
                spec.emit_update_before = before;
                updating(spec.emit == Emit::Final, before, spec.keys.len())
            }
            NodeKind::LocalGroupAggregate(spec) => {
                spec.input_retracts = retracts;
                Changelog::Append
            }
            NodeKind::WindowAggregate(spec) => {
                spec.input_retracts = retracts;
                spec.emit_update_before = before;
                let emits_once = matches!(spec.emit, Emit::Default | Emit::Final);
                let bounds = spec.keys.len() + spec.calls.len();
                match updating(emits_once, before, spec.keys.len()) {
                    Changelog::Upsert(mut key) => {
                        key.extend([bounds, bounds + 1]);
                        Changelog::Upsert(key)
                    }
                    other => other,
                }
            }
            NodeKind::LocalWindowAggregate(spec) => {
                spec.input_retracts = retracts;
                Changelog::Append
            }
            NodeKind::StreamJoin(spec) => {
                for (side, input) in inputs.iter().enumerate() {
                    spec.retracts[side] = input.has_ops();
                }
                match spec.takes_back() {
                    true => Changelog::Retract,
                    false => Changelog::Append,
                }
            }
            NodeKind::Rank(spec) => {
                spec.input_retracts = retracts;
                match spec.is_append_only() {
                    true => Changelog::Append,
                    false => Changelog::Retract,
                }
            }
            NodeKind::Source(_) => continue,
            NodeKind::SessionAssign(_) => Changelog::Append,
            NodeKind::Normalize(_) => Changelog::Retract,
            NodeKind::TemporalJoin(spec) => {
                for (side, input) in inputs.iter().enumerate() {
                    spec.retracts[side] = input.has_ops();
                }
                match spec.retracts[0] {
                    true => Changelog::Retract,
                    false => Changelog::Append,
                }
            }
            NodeKind::Sort(spec) => {
                spec.input_retracts = retracts;
                Changelog::Append
            }
            _ if !retracts => Changelog::Append,
            // Columns may have moved: only retraction needs no key.
            NodeKind::Exchange(_) | NodeKind::Sink(_) => inputs[0].clone(),
            _ => Changelog::Retract,
        };
    }
}

/// Whether a node merges partial states of rows that may take back: partial states are rows that only add,
/// and tell of what was taken back in their columns.
fn combines_retractions(plan: &StreamPlan, id: usize) -> bool {
    let is_partial = match &plan.nodes[id].kind {
        NodeKind::GroupAggregate(spec) => spec.input_is_partial,
        NodeKind::WindowAggregate(spec) => spec.input_is_partial,
        _ => false,
    };
    let mut below = plan.nodes[id].inputs.first().copied().filter(|_| is_partial);
    while let Some(node) = below {
        match &plan.nodes[node].kind {
            NodeKind::LocalGroupAggregate(spec) => return spec.input_retracts,
            NodeKind::LocalWindowAggregate(spec) => return spec.input_retracts,
            _ => below = plan.nodes[node].inputs.first().copied(),
        }
    }
    false
}

fn updating(emits_once: bool, before: bool, keys: usize) -> Changelog {
    match (emits_once, before) {
        (true, _) => Changelog::Append,
        (false, true) => Changelog::Retract,
        (false, false) => Changelog::Upsert((0..keys).collect()),
    }
}

/// For each node: whether a reader needs update-before rows from it.
fn update_before_needs(plan: &StreamPlan) -> Vec<bool> {
    let mut needs = vec![false; plan.nodes.len()];
    for node in plan.nodes.iter().rev() {
        let needs_from_inputs = match &node.kind {
            // A sink that discards everything needs no old value.
            NodeKind::Sink(spec) => spec
                .table
                .as_ref()
                .is_none_or(|table| table.connector() != "blackhole"),
            NodeKind::Exchange(_) => needs[node.id],
            // An aggregation takes the old value back; a filter or a projection sees old and new
            // value on their own (FLINK-9528).
            _ => true,
        };
        for &input in &node.inputs {
            needs[input] |= needs_from_inputs;
        }
    }
    needs
}

/// Drops nodes that no sink reads (a filter merged into the map above it) and renumbers the rest.
fn drop_unread_nodes(plan: &mut StreamPlan) {
    let mut read = vec![false; plan.nodes.len()];
    for node in plan.nodes.iter().rev() {
        if matches!(node.kind, NodeKind::Sink(_)) {
            read[node.id] = true;
        }
        if read[node.id] {
            node.inputs.iter().for_each(|&input| read[input] = true);
        }
    }
    let mut renumbered = vec![usize::MAX; plan.nodes.len()];
    let mut kept = Vec::with_capacity(plan.nodes.len());
    for mut node in std::mem::take(&mut plan.nodes) {
        if read[node.id] {
            renumbered[node.id] = kept.len();
            node.id = kept.len();
            node.inputs
                .iter_mut()
                .for_each(|input| *input = renumbered[*input]);
            kept.push(node);
        }
    }
    plan.nodes = kept;
}
