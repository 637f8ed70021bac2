//! The plan's nodes as one shard runs them: their operators, readers, and what they have been told.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use engine::operators::{Operator, Output};
use engine::plan::{NodeId, NodeKind, StreamPlan};
use engine::sql::statement::Emit;
use engine::time::WatermarkUs;
use engine::time::watermark::WatermarkMerge;

use crate::clock::Nanos;
use crate::connector::Sink;
use crate::epoch::Epoch;
use crate::exchange::Exchange;

/// One node on one shard.
pub(crate) struct Node {
    pub(crate) role: Role,
    pub(crate) output: Output,
    /// (node, input) pairs that read this node's output inside the shard.
    pub(crate) readers: Rc<[(NodeId, usize)]>,
    /// Exchanges and sinks that rows from here may reach inside the shard.
    pub(crate) exits: Rc<[NodeId]>,
    /// The minimum over its inputs.
    pub(crate) watermarks: WatermarkMerge,
    /// Inputs that have sent the current barrier or have ended.
    pub(crate) aligned: Vec<bool>,
    pub(crate) ended: Vec<bool>,
    /// What it has been told and not passed on yet.
    pub(crate) signals: VecDeque<Signal>,
    /// Whether a firing is unfinished.
    pub(crate) firing: bool,
    /// Whether held-back rows are flushed at intervals (else only before a barrier or the end).
    pub(crate) flushes: bool,
    /// How long rows may be held back (`EMIT EVERY`); 0 = until the next flush.
    pub(crate) flush_every: Nanos,
    /// When the oldest row came that is held back for so long.
    pub(crate) held_since: Option<Nanos>,
    /// When it was last flushed.
    pub(crate) flushed: Nanos,
    pub(crate) answers_for_windows: bool,
    /// Its input has ended and it has answered: it holds nothing any more.
    pub(crate) spent: bool,
    /// The name of what it keeps.
    pub(crate) name: Option<String>,
}

/// What a node does on a shard.
pub(crate) enum Role {
    /// Starts a flow; the source itself is polled by the shard.
    Source,
    Operator(Box<dyn Operator>),
    Exchange(Exchange),
    Sink(SinkEnd),
}

/// A sink and how far it is with closing.
pub(crate) struct SinkEnd {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) closing: bool,
    pub(crate) closed: bool,
    /// The newest barrier it has met.
    pub(crate) met: Epoch,
    /// The newest barrier before which everything it wrote is out.
    pub(crate) epoch: Epoch,
    /// It has prepared what it wrote until it was closed.
    pub(crate) settled: bool,
}

/// What flows beside rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Watermark {
        watermark: WatermarkUs,
        arrival_ns: Nanos,
    },
    Idle,
    Barrier {
        epoch: Epoch,
        stop: bool,
    },
    End,
}

impl Node {
    pub(crate) fn new(plan: &StreamPlan, id: NodeId, role: Role, name: Option<String>) -> Node {
        let kind = &plan.nodes[id].kind;
        let inputs = plan.nodes[id].inputs.len().max(1);
        Node {
            role,
            output: Output::new(),
            readers: readers(plan, id),
            exits: exits(plan, id),
            watermarks: WatermarkMerge::new(inputs),
            aligned: vec![false; inputs],
            ended: vec![false; inputs],
            signals: VecDeque::new(),
            firing: false,
            flushes: flushes_at_intervals(kind),
            flush_every: flush_interval(kind),
            held_since: None,
            flushed: 0,
            answers_for_windows: crate::profile::answers_for_windows(kind),
            spent: false,
            name,
        }
    }

    /// A row has come that may be held back.
    pub(crate) fn note_held(&mut self, now: Nanos) {
        if self.flush_every > 0 {
            self.held_since.get_or_insert(now);
        }
    }

    /// When what is held back must be told, if it waits for a time of its own.
    pub(crate) fn flush_at(&self) -> Option<Nanos> {
        Some(self.held_since?.saturating_add(self.flush_every))
    }

    /// Whether what is held back is told at a flush at `now`.
    pub(crate) fn is_flush_due(&self, now: Nanos) -> bool {
        self.flushes && (self.flush_every == 0 || self.flush_at().is_some_and(|at| now >= at))
    }

    /// Input `input` has sent a barrier or has ended; answers whether all have.
    pub(crate) fn align(&mut self, input: usize, ended: bool) -> bool {
        assert!(
            !self.ended[input],
            "invariant: nothing follows the end of an input"
        );
        self.ended[input] |= ended;
        self.aligned[input] |= !ended;
        let all = self
            .aligned
            .iter()
            .zip(&self.ended)
            .all(|(&aligned, &ended)| aligned || ended);
        if all {
            self.aligned.fill(false);
        }
        all
    }

    /// Whether every input has ended.
    pub(crate) fn all_ended(&self) -> bool {
        self.ended.iter().all(|&ended| ended)
    }
}

/// Nodes that read `id` on the same shard: an exchange's readers are fed by its inbox.
pub(crate) fn readers(plan: &StreamPlan, id: NodeId) -> Rc<[(NodeId, usize)]> {
    let mut readers = Vec::new();
    for node in &plan.nodes {
        for (input, &read) in node.inputs.iter().enumerate() {
            if read == id {
                readers.push((node.id, input));
            }
        }
    }
    readers.into()
}

/// Exchanges and sinks reachable from the readers of `id` without leaving the shard.
fn exits(plan: &StreamPlan, id: NodeId) -> Rc<[NodeId]> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<NodeId> = readers(plan, id).iter().map(|&(reader, _)| reader).collect();
    while let Some(reader) = waiting.pop() {
        match plan.nodes[reader].kind {
            NodeKind::Exchange(_) | NodeKind::Sink(_) => {
                found.insert(reader);
            }
            _ => waiting.extend(readers(plan, reader).iter().map(|&(next, _)| next)),
        }
    }
    found.into_iter().collect()
}

/// Whether a node's held-back rows matter before its window ends or its input does.
fn flushes_at_intervals(kind: &NodeKind) -> bool {
    let early = |emit: Emit| !matches!(emit, Emit::Default | Emit::Final);
    match kind {
        NodeKind::LocalWindowAggregate(spec) | NodeKind::WindowAggregate(spec) => early(spec.emit),
        NodeKind::LocalGroupAggregate(spec) | NodeKind::GroupAggregate(spec) => spec.emit != Emit::Final,
        _ => false,
    }
}

/// `EMIT EVERY` of the node that answers; a local phase hands on as always.
fn flush_interval(kind: &NodeKind) -> Nanos {
    let emit = match kind {
        NodeKind::WindowAggregate(spec) => spec.emit,
        NodeKind::GroupAggregate(spec) => spec.emit,
        _ => return 0,
    };
    match emit {
        Emit::Every(us) => us.saturating_mul(1_000),
        Emit::Default | Emit::Changes | Emit::ChangesEveryRow | Emit::Corrected(_) | Emit::Final => 0,
    }
}
