//! The shard: `step` hands on what has arrived, goes on with unfinished firings, polls sources, and
//! flushes what was held back only to be combined.
//!
//! Rows are pushed depth first from an entry (a source, or the inbox of an exchange) down to the
//! exits (exchanges and sinks). Nothing blocks: an entry whose exits cannot take more is left
//! alone until they can, sink-side entries are served first, so every shard always drains.
//!
//! **Invariant.** One step does a bounded amount of work: one batch an entry, one firing quantum an
//! operator.

mod capture;
mod flow;
mod graph;
mod sources;

use std::sync::Arc;

use engine::error::ExecutionError;
use engine::operators::Operator;
use engine::plan::{NodeId, NodeKind, StreamPlan, explain};
use thiserror::Error;

use crate::budget::OverBudget;
use crate::checkpoint::{Restore, SnapshotSink, names_of};
use crate::clock::{Clock, Nanos};
use crate::connector::{ConnectorError, Sink, Source};
use crate::counters::CounterValues;
use crate::epoch::{Control, Epoch};
use crate::exchange::Exchange;
use crate::inbox::{Delivery, Inbox};
use crate::mesh::{EdgeId, MeshEndpoint};
use crate::profile::ShardProfile;
use crate::shard::capture::Capture;
use crate::shard::graph::{Node, Role, SinkEnd};
use crate::shard::sources::SourceEnd;

/// What a shard is made of.
pub struct ShardParts {
    /// Its number.
    pub id: usize,
    /// The plan, the same on every shard.
    pub plan: Arc<StreamPlan>,
    /// One operator per node; none for sources, exchanges and sinks.
    pub operators: Vec<Option<Box<dyn Operator>>>,
    /// This shard's part of each source.
    pub sources: Vec<(NodeId, Box<dyn Source>)>,
    /// This shard's part of each sink.
    pub sinks: Vec<(NodeId, Box<dyn Sink>)>,
    /// Its ends of the rings.
    pub endpoint: MeshEndpoint,
    /// What it shares with the control thread and the other shards.
    pub control: Arc<Control>,
    /// Its bounds.
    pub config: ShardConfig,
    /// Who takes its snapshots; none are made without.
    pub snapshots: Option<Box<dyn SnapshotSink>>,
    /// What it goes on from.
    pub restore: Option<Restore>,
}

/// The bounds of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// Rows asked of a source at once.
    pub poll_rows: usize,
    /// Bytes of state that its operators may keep; no bound without.
    pub memory_bytes: Option<u64>,
}

impl Default for ShardConfig {
    fn default() -> ShardConfig {
        ShardConfig {
            poll_rows: engine::batch::BATCH_ROWS_MAX,
            memory_bytes: None,
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something moved: step again.
    Progress,
    /// Nothing to do until the shard is woken, or until `poll_at`.
    Idle {
        /// When a source wants to be polled again, or rows that are held back for a time must be told.
        poll_at: Option<Nanos>,
    },
    /// All input has been processed and written, or the shard was told to leave.
    Finished,
}

/// Why a shard failed; the job stops with it.
#[derive(Debug, Error)]
pub enum ShardError {
    /// A source or a sink failed.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// An operator met an error.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// Its operators keep more than they may.
    #[error(transparent)]
    Memory(#[from] OverBudget),
    /// Another shard left without ending its streams.
    #[error("shard {0} is gone; its own message says why")]
    PeerGone(usize),
}

/// One shard.
pub struct Shard {
    id: usize,
    plan: Arc<StreamPlan>,
    nodes: Vec<Node>,
    sources: Vec<SourceEnd>,
    /// By edge: the exchange's node and its inbox.
    inboxes: Vec<(NodeId, Inbox)>,
    endpoint: MeshEndpoint,
    control: Arc<Control>,
    config: ShardConfig,
    profile: ShardProfile,
    counters: CounterValues,
    last_flush: Nanos,
    epoch_captured: Epoch,
    failure: Option<ConnectorError>,
    capture: Capture,
}

/// The number of exchanges of a plan: its edges in the mesh.
pub fn edges(plan: &StreamPlan) -> usize {
    plan.nodes
        .iter()
        .filter(|node| matches!(node.kind, NodeKind::Exchange(_)))
        .count()
}

impl Shard {
    /// Puts the parts together.
    pub fn new(parts: ShardParts) -> Result<Shard, ShardError> {
        let ShardParts {
            id,
            plan,
            operators,
            sources,
            sinks,
            endpoint,
            control,
            config,
            snapshots,
            restore,
        } = parts;
        let names = names_of(&plan);
        let mut sinks: Vec<(NodeId, Option<Box<dyn Sink>>)> =
            sinks.into_iter().map(|(node, sink)| (node, Some(sink))).collect();
        let mut inboxes = Vec::new();
        let mut nodes = Vec::with_capacity(plan.nodes.len());
        for (node, operator) in plan.nodes.iter().zip(operators) {
            let role = match &node.kind {
                NodeKind::Source(_) => Role::Source,
                NodeKind::Exchange(spec) => {
                    let edge: EdgeId = inboxes.len();
                    inboxes.push((node.id, Inbox::new(edge, control.shards())));
                    Role::Exchange(Exchange::new(edge, spec.target.clone(), control.shards()))
                }
                NodeKind::Sink(_) => {
                    let sink = sinks.iter_mut().find(|(sink_node, _)| *sink_node == node.id);
                    let sink = sink
                        .and_then(|(_, sink)| sink.take())
                        .expect("invariant: every sink node has a sink");
                    Role::Sink(SinkEnd {
                        sink,
                        closing: false,
                        closed: false,
                        met: 0,
                        epoch: 0,
                        settled: false,
                    })
                }
                _ => Role::Operator(operator.expect("invariant: every other node has an operator")),
            };
            nodes.push(Node::new(&plan, node.id, role, names[node.id].clone()));
        }
        let sources = sources
            .into_iter()
            .map(|(node, source)| SourceEnd::new(&plan, node, source))
            .collect::<Result<Vec<_>, _>>()?;
        let profile = ShardProfile::new(id, &plan);
        let mut shard = Shard {
            id,
            plan,
            nodes,
            sources,
            inboxes,
            endpoint,
            control,
            config,
            profile,
            counters: CounterValues::default(),
            last_flush: 0,
            epoch_captured: 0,
            failure: None,
            capture: Capture::new(snapshots),
        };
        if let Some(restore) = restore {
            shard.restore(&restore)?;
        }
        Ok(shard)
    }

    /// Does a bounded amount of work.
    pub fn step(&mut self, clock: &dyn Clock) -> Result<Step, ShardError> {
        if self.control.is_aborted() {
            return Ok(Step::Finished);
        }
        let now = clock.now();
        let mut progress = self.send_waiting(now);
        progress |= self.write_on(clock)?;
        progress |= self.resume_firings(clock)?;
        progress |= self.deliver_inboxes(clock)?;
        let (polled, poll_at) = self.poll_sources(clock)?;
        progress |= polled;
        let interval = self.plan.settings.flush_interval_us * 1_000;
        let due = now.saturating_sub(self.last_flush) >= interval;
        if !progress || due {
            self.last_flush = now;
            progress |= self.flush_operators(!progress, clock)?;
            self.flush_sinks()?;
            self.publish_counters();
            self.check_memory()?;
        }
        progress |= self.settle_sinks()?;
        progress |= self.close_sinks()?;
        if self.is_finished() {
            self.hand_over_end()?;
            self.publish_counters();
            return Ok(Step::Finished);
        }
        match progress {
            true => Ok(Step::Progress),
            false => {
                self.check_peers()?;
                // What is due and still there is blocked: whoever unblocks it wakes the shard.
                let flush_at = self.nodes.iter().filter_map(Node::flush_at);
                let flush_at = flush_at.filter(|&at| at > now).min();
                let poll_at = poll_at.into_iter().chain(flush_at).min();
                Ok(Step::Idle { poll_at })
            }
        }
    }

    /// Announces that the shard will sleep; answers false if something has arrived meanwhile, and
    /// then it must not. Waking clears the announcement.
    pub fn announce_sleep(&mut self, clock: &dyn Clock) -> bool {
        let flag = self.control.sleep_flag(self.id);
        flag.announce();
        let found = self.endpoint.has_messages()
            || self.control.is_aborted()
            // Output that waited for credit could go now.
            || self.send_waiting(clock.now())
            || self
                .sources
                .iter()
                .any(|source| source.has_request(self.control.request(), self.epoch_captured));
        if found {
            self.control.sleep_flag(self.id).cancel();
        }
        !found
    }

    /// The shard is awake again.
    pub fn wake_up(&self) {
        self.control.sleep_flag(self.id).cancel();
    }

    /// The error of a source, told once everything complete has been written.
    pub fn failure(&self) -> Option<&ConnectorError> {
        self.failure.as_ref()
    }

    /// What was recorded since the last time.
    pub fn take_profile(&mut self) -> Box<ShardProfile> {
        self.profile.take()
    }

    /// The shard's number.
    pub fn id(&self) -> usize {
        self.id
    }

    fn deliver_inboxes(&mut self, clock: &dyn Clock) -> Result<bool, ShardError> {
        let now = clock.now();
        let mut progress = false;
        for source in 0..self.control.shards() {
            while let Some((edge, received)) = self.endpoint.receive(source) {
                self.inboxes[edge].1.keep(source, received);
            }
        }
        // Exchanges nearer to the sinks have larger numbers.
        for edge in (0..self.inboxes.len()).rev() {
            let node = self.inboxes[edge].0;
            let waits_for_capture = self.inboxes[edge].1.epoch() > self.epoch_captured;
            if waits_for_capture || self.is_blocked(node) || self.is_firing_below(node) {
                continue;
            }
            let profile = &mut self.profile;
            let mut ring_wait = |nanos| profile.ring_wait.saturating_record(nanos);
            let deliveries = self.inboxes[edge]
                .1
                .deliver(&mut self.endpoint, now, &mut ring_wait);
            progress |= !deliveries.is_empty();
            for delivery in deliveries {
                self.hand_on(node, delivery, clock)?;
            }
        }
        Ok(progress)
    }

    /// Whether an exit that rows from `node` reach cannot take more.
    fn is_blocked(&mut self, node: NodeId) -> bool {
        let exits = self.nodes[node].exits.clone();
        exits.iter().any(|&exit| match &mut self.nodes[exit].role {
            Role::Exchange(exchange) => exchange.is_blocked(),
            Role::Sink(end) => !end.closed && !end.sink.ready(),
            Role::Source | Role::Operator(_) => unreachable!("invariant: exits are exchanges and sinks"),
        })
    }

    /// Whether an operator behind `node` has so much to say already that more input must wait.
    fn is_firing_below(&self, node: NodeId) -> bool {
        const SIGNALS_WAITING_MAX: usize = 4;
        self.nodes[node].readers.iter().any(|&(reader, _)| {
            self.nodes[reader].signals.len() > SIGNALS_WAITING_MAX
                || (matches!(self.nodes[reader].role, Role::Operator(_)) && self.is_firing_below(reader))
        })
    }

    fn send_waiting(&mut self, now: Nanos) -> bool {
        let mut sent = false;
        for node in &mut self.nodes {
            if let Role::Exchange(exchange) = &mut node.role {
                sent |= exchange.send_waiting(&mut self.endpoint, now);
            }
        }
        sent
    }

    fn flush_sinks(&mut self) -> Result<(), ShardError> {
        for node in &mut self.nodes {
            if let Role::Sink(end) = &mut node.role
                && !end.closed
            {
                end.sink.flush()?;
            }
        }
        Ok(())
    }

    /// Closes the sinks whose input has ended or stopped.
    fn close_sinks(&mut self) -> Result<bool, ShardError> {
        let mut progress = false;
        for node in &mut self.nodes {
            if let Role::Sink(end) = &mut node.role
                && end.closing
                && !end.closed
                && end.epoch == end.met
            {
                end.closed = end.sink.close()?;
                progress |= end.closed;
            }
        }
        Ok(progress)
    }

    fn is_finished(&self) -> bool {
        let is_out = self.nodes.iter().all(|node| match &node.role {
            Role::Sink(end) => end.closed,
            Role::Exchange(exchange) => !exchange.is_blocked(),
            Role::Source | Role::Operator(_) => true,
        });
        is_out && self.capture.is_written()
    }

    /// A shard that left before it ended its streams took rows with it.
    fn check_peers(&mut self) -> Result<(), ShardError> {
        for peer in 0..self.control.shards() {
            let expected = self.inboxes.iter().any(|(_, inbox)| inbox.expects(peer));
            if expected && self.endpoint.is_disconnected(peer) {
                return Err(ShardError::PeerGone(peer));
            }
        }
        Ok(())
    }

    fn publish_counters(&mut self) {
        let mut late_rows = 0;
        let mut state_bytes = 0;
        for node in &self.nodes {
            if let Role::Operator(operator) = &node.role {
                let statistics = operator.statistics();
                late_rows += statistics.late_rows;
                state_bytes += statistics.state_bytes;
            }
        }
        self.counters.late_rows = late_rows;
        self.counters.state_bytes = state_bytes;
        self.counters.bytes_in = self.sources.iter().map(|source| source.statistics().bytes).sum();
        self.counters.malformed = self
            .sources
            .iter()
            .map(|source| source.statistics().malformed)
            .sum();
        self.counters.clamped = self.sources.iter().map(SourceEnd::clamped).sum();
        self.counters.watermark_us = self
            .sources
            .iter()
            .filter_map(SourceEnd::watermark)
            .min()
            .unwrap_or(engine::time::WATERMARK_NONE);
        let filtered: u64 = self
            .sources
            .iter()
            .map(|source| source.statistics().filtered)
            .sum();
        let mut counters = self.counters;
        counters.rows_in += filtered;
        self.control.counters(self.id).publish(&counters);
    }
}

impl Shard {
    /// Fails if the operators keep more than they may.
    fn check_memory(&self) -> Result<(), OverBudget> {
        let kept = self.counters.state_bytes;
        let Some(budget) = self.config.memory_bytes.filter(|&budget| kept > budget) else {
            return Ok(());
        };
        let operators = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(id, node)| match &node.role {
                Role::Operator(operator) => Some((id, operator.statistics())),
                Role::Source | Role::Exchange(_) | Role::Sink(_) => None,
            });
        let largest = operators.max_by_key(|(_, statistics)| statistics.state_bytes);
        let (id, statistics) = largest.expect("invariant: what is kept is kept by an operator");
        Err(OverBudget {
            shard: self.id,
            budget,
            kept,
            operator: explain::headline(&self.plan, id),
            bytes: statistics.state_bytes,
            keys: statistics.keys,
        })
    }

    /// Hands what an entry delivered to the readers of `node`.
    fn hand_on(&mut self, node: NodeId, delivery: Delivery, clock: &dyn Clock) -> Result<(), ShardError> {
        match delivery {
            Delivery::Rows(batch) => self.push_rows(node, vec![batch], clock),
            Delivery::Watermark {
                watermark,
                arrival_ns,
            } => self.push_signal(
                node,
                graph::Signal::Watermark {
                    watermark,
                    arrival_ns,
                },
                clock,
            ),
            Delivery::Idle => self.push_signal(node, graph::Signal::Idle, clock),
            Delivery::Barrier { epoch, stop } => {
                self.push_signal(node, graph::Signal::Barrier { epoch, stop }, clock)
            }
            Delivery::End => self.push_signal(node, graph::Signal::End, clock),
        }
    }
}
