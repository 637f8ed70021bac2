//! State that grows for as long as the input goes on: which operator keeps it, and what would bound it.
//!
//! EXPLAIN says it of every job; a run says it only where a source has no end.

use std::collections::BTreeSet;

use crate::plan::display::display_name;
use crate::plan::explain::headline;
use crate::plan::lower_values::VALUES;
use crate::plan::{NodeId, NodeKind, StateGrowth, StreamPlan};
use crate::sql::catalog::TableDefinition;

/// State that grows without bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The operator, as EXPLAIN names it.
    pub operator: String,
    /// What it keeps.
    pub keeps: String,
    /// What bounds it.
    pub remedy: &'static str,
    /// Whether a source that it reads has no end.
    pub is_endless: bool,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Warning {
            operator,
            keeps,
            remedy,
            ..
        } = self;
        write!(
            formatter,
            "the state of {operator} grows with its input ({keeps}); {remedy}"
        )
    }
}

/// What `plan` keeps for ever, in the order of its nodes.
pub fn warnings(plan: &StreamPlan) -> Vec<Warning> {
    let grows = |node: &&crate::plan::PlanNode| matches!(node.growth, StateGrowth::PerKey(_));
    plan.nodes
        .iter()
        .filter(grows)
        .map(|node| Warning {
            operator: format!("#{} {}", node.id, headline(plan, node.id)),
            keeps: match &node.growth {
                StateGrowth::PerKey(what) => display_name(what),
                StateGrowth::Stateless | StateGrowth::Bounded(_) => {
                    unreachable!("invariant: only what grows is left")
                }
            },
            remedy: remedy(&node.kind),
            is_endless: sources_of(plan, node.id).iter().any(|table| is_endless(table)),
        })
        .collect()
}

fn remedy(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::GroupAggregate(_) => {
            "aggregate over a window, or let groups expire: SET 'table.exec.state.ttl' = '1 d', or \
             /*+ STATE_TTL('table' = '1d') */ behind SELECT"
        }
        NodeKind::StreamJoin(_) => {
            "bound the distance of the event times (a.ts BETWEEN b.ts - INTERVAL '1' HOUR AND b.ts), join windows, \
             or let rows expire: SET 'table.exec.state.ttl' = '1 d', or /*+ STATE_TTL('table' = '1d') */ behind SELECT"
        }
        NodeKind::Rank(_) => {
            "rank within windows (PARTITION BY window_start, window_end), or let partitions expire: \
             SET 'table.exec.state.ttl' = '1 d'"
        }
        NodeKind::OverAggregate(_) => {
            "use a frame of time: RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW"
        }
        NodeKind::Lead(_) => "partition by what has few values: the last rows of each wait for the next ones",
        NodeKind::MatchRecognize(_) => {
            "bound how long a match takes: PATTERN (…) WITHIN INTERVAL '1' HOUR, and PREV only where it is needed"
        }
        NodeKind::Sort(_) => "order by the event time first: then rows come out as the watermark passes them",
        NodeKind::TemporalJoin(_) => "keep the versioned table small: the newest version of each key stays",
        _ => "let keys expire: SET 'table.exec.state.ttl' = '1 d'",
    }
}

/// The tables that a node reads.
fn sources_of(plan: &StreamPlan, id: NodeId) -> Vec<&TableDefinition> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![id];
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        if let NodeKind::Source(spec) = &plan.nodes[id].kind {
            found.push(spec.table.as_ref());
        }
        waiting.extend(&plan.nodes[id].inputs);
    }
    found
}

/// Whether a table's rows go on until the job is stopped; a pipe ends where its writer does.
fn is_endless(table: &TableDefinition) -> bool {
    match table.connector() {
        "filesystem" => table.option("source.monitor-interval").is_some(),
        "datagen" => table.option("number-of-rows").is_none(),
        "nexmark" => table.option("events").is_none(),
        "tcp" => table.option("listen").is_some(),
        "stdin" | "memory" | VALUES => false,
        _ => true,
    }
}
