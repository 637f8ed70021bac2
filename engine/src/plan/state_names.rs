//! Names of what a job keeps between runs: by them a snapshot's parts find their operators again.
//!
//! A name says which query it belongs to, what it is, and which of its kind in that query; so it does not
//! depend on other statements, nor on how many shards there are (exchanges and local phases have no name). A
//! node that several queries share belongs to the first.
//!
//! **Invariant.** Names of one plan differ. Equal names with equal layouts can be restored into each other.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::plan::{AggregateCall, NodeId, NodeKind, PlanNode, StreamPlan};

/// What identifies a node's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateName {
    /// The query and the node in it.
    pub name: String,
    /// What the state means, beyond the columns of its tables.
    pub layout: String,
}

/// By node: its name; `None` where nothing is kept.
pub fn state_names(plan: &StreamPlan) -> Vec<Option<StateName>> {
    let owners = owners(plan);
    let mut numbers: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut names = Vec::with_capacity(plan.nodes.len());
    for (node, owner) in plan.nodes.iter().zip(owners) {
        let (Some(owner), Some((kind, layout))) = (owner, kind_and_layout(node)) else {
            names.push(None);
            continue;
        };
        let number = numbers.entry((owner.clone(), kind)).or_default();
        *number += 1;
        let name = format!("{owner}: {kind} {number}");
        names.push(Some(StateName { name, layout }));
    }
    names
}

/// By node: the first query that reads it.
fn owners(plan: &StreamPlan) -> Vec<Option<String>> {
    let mut owners: Vec<Option<String>> = vec![None; plan.nodes.len()];
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for node in &plan.nodes {
        let NodeKind::Sink(sink) = &node.kind else {
            continue;
        };
        let target = sink
            .table
            .as_ref()
            .map_or("the output", |table| table.name.as_str());
        let number = known.entry(target.to_string()).or_default();
        *number += 1;
        let owner = match *number {
            1 => target.to_string(),
            number => format!("{target} ({number})"),
        };
        let mut waiting: Vec<NodeId> = vec![node.id];
        while let Some(id) = waiting.pop() {
            if owners[id].is_none() {
                owners[id] = Some(owner.clone());
                waiting.extend(&plan.nodes[id].inputs);
            }
        }
    }
    owners
}

fn kind_and_layout(node: &PlanNode) -> Option<(&'static str, String)> {
    Some(match &node.kind {
        NodeKind::Source(spec) => (
            "source",
            format!("{} by {}", spec.table.name, spec.table.connector()),
        ),
        NodeKind::Sink(spec) => {
            let connector = spec.table.as_ref().map_or("stdout", |table| table.connector());
            ("sink", connector.to_string())
        }
        NodeKind::Map(_)
        | NodeKind::Expand(_)
        | NodeKind::Union
        | NodeKind::Unnest(_)
        | NodeKind::Exchange(_)
        | NodeKind::LocalGroupAggregate(_)
        | NodeKind::LocalWindowAggregate(_)
        | NodeKind::WindowAssign(_) => return None,
        NodeKind::Normalize(spec) => ("changelog", layout(&[&spec.key])),
        NodeKind::TemporalJoin(spec) => (
            "temporal join",
            layout(&[&spec.keeps_left, &spec.equal, &spec.times, &spec.retracts]),
        ),
        NodeKind::GroupAggregate(spec) => (
            "aggregation",
            layout(&[&calls(&spec.calls), &spec.emit, &spec.input_retracts]),
        ),
        NodeKind::WindowAggregate(spec) => (
            "window aggregation",
            layout(&[
                &window(&spec.window),
                &calls(&spec.calls),
                &spec.emit,
                &spec.input_retracts,
            ]),
        ),
        NodeKind::LateRows(spec) => (
            "late rows",
            layout(&[
                &spec.window.kind,
                &spec.window.offset_us,
                &spec.window.tick_us,
                &spec.lateness_us,
            ]),
        ),
        NodeKind::SessionAssign(spec) => (
            "session",
            layout(&[&spec.time_column, &spec.partition, &spec.gap_us, &spec.tick_us]),
        ),
        NodeKind::OverAggregate(spec) => (
            "OVER",
            layout(&[
                &spec.partition,
                &spec.time_column,
                &spec.frame,
                &calls(&spec.calls),
            ]),
        ),
        NodeKind::Lead(spec) => {
            let calls = spec.calls.iter();
            let (values, rows): (Vec<_>, Vec<_>) = calls.partition(|call| call.ignores_nulls);
            let reach = rows.iter().map(|call| call.offset).max().unwrap_or(0);
            let values = values.iter().map(|call| (call.argument, call.offset));
            let values: Vec<(usize, usize)> = values.collect();
            (
                "LEAD",
                layout(&[&spec.partition, &spec.time_column, &reach, &values]),
            )
        }
        NodeKind::MatchRecognize(spec) => (
            "pattern",
            layout(&[
                &spec.partition,
                &spec.time_column,
                &spec.order,
                &spec.variables,
                &spec.pattern,
                &spec.within_us,
                &spec.skip,
                &spec.rows_before(),
            ]),
        ),
        NodeKind::WindowJoin(spec) => (
            "window join",
            layout(&[&spec.kind, &spec.window_end, &spec.equal, &spec.tick_us]),
        ),
        NodeKind::StreamJoin(spec) => (
            "join",
            layout(&[
                &spec.kind,
                &spec.equal,
                &spec.interval,
                &spec.ttl_us,
                &spec.retracts,
            ]),
        ),
        NodeKind::Rank(spec) => ("rank", layout(&[spec])),
        NodeKind::Sort(spec) => ("sort", layout(&[spec])),
    })
}

/// Parts of a specification as a text that differs where they differ.
fn layout(parts: &[&dyn Debug]) -> String {
    let parts = parts.iter().map(|part| format!("{part:?}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// A window without the column that it is read from: the second phase of an aggregation has none.
fn window(window: &crate::plan::WindowInput) -> String {
    use crate::plan::WindowInput;
    match window {
        WindowInput::Assign(window) => format!("{:?} {} {}", window.kind, window.offset_us, window.tick_us),
        WindowInput::Attached { tick_us, .. } => format!("attached {tick_us}"),
    }
}

/// Calls by what they compute; columns are told by the names in the tables.
fn calls(calls: &[AggregateCall]) -> Vec<String> {
    use crate::plan::AggregateFunction;
    let call = |call: &AggregateCall| {
        let function = match &call.function {
            AggregateFunction::Other(function) => function.fun().name().to_string(),
            function => format!("{function:?}"),
        };
        format!(
            "{function}({:?}) distinct {} filter {:?} as {}",
            call.arguments,
            call.distinct,
            call.filter,
            call.output.data_type()
        )
    };
    calls.iter().map(call).collect()
}
