//! From a plan to shards that an executor can drive, and the control thread's view of them.
//!
//! **Invariant.** A shard is made on the thread that runs it and never leaves it; what crosses
//! threads is its ends of the rings, the shared [`shards::epoch::Control`], and events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use engine::plan::{NodeId, NodeKind, PlanNode, StreamPlan};
use engine::time::WATERMARK_NONE;
use shards::checkpoint::{Restore, ShardSnapshot, SnapshotSink};
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Sink, Source};
use shards::epoch;
use shards::mesh::{MeshConfig, MeshEndpoint, mesh};
use shards::shard::{Shard, ShardConfig, ShardError, ShardParts, Step, edges};

use crate::clock::ProcessClock;
use crate::connector_factory::ConnectorFactory;
use crate::control::JobView;
use crate::events::{Event, Failure};
use crate::executor::{MakeShard, ShardLoop, ShardWaker, Turn};
use crate::progress::Progress;

/// A job taken apart: one maker and one waker a shard, and what the control thread holds.
pub struct Assembly {
    /// What the control thread sees and asks.
    pub view: ShardsView,
    /// One per shard.
    pub wakers: Vec<Arc<ShardWaker>>,
    /// One per shard, to be called on the shard's thread.
    pub makers: Vec<MakeShard>,
}

/// The running shards as the control thread sees them.
pub struct ShardsView {
    control: Arc<epoch::Control>,
    measurements: Arc<AtomicU64>,
    connectors: Arc<dyn ConnectorFactory>,
}

/// Takes `plan` apart into `shards` shards, each within `config`.
pub fn assemble(
    plan: &Arc<StreamPlan>,
    shards: usize,
    config: ShardConfig,
    connectors: &Arc<dyn ConnectorFactory>,
    clock: ProcessClock,
    events: &Sender<Event>,
    epochs: Epochs,
) -> Assembly {
    let control = epoch::Control::new(shards);
    let wakers: Vec<Arc<ShardWaker>> = (0..shards).map(|_| Arc::default()).collect();
    for (shard, waker) in wakers.iter().enumerate() {
        control.set_waker(shard, waker.clone());
    }
    let measurements = Arc::new(AtomicU64::new(0));
    let makers = mesh(&control, edges(plan), MeshConfig::default())
        .into_iter()
        .map(|endpoint| {
            let blueprint = Blueprint {
                plan: plan.clone(),
                connectors: connectors.clone(),
                control: control.clone(),
                endpoint,
                epochs: epochs.clone(),
                events: events.clone(),
                config,
            };
            let (measurements, events) = (measurements.clone(), events.clone());
            let tick_ns = idle_tick_ns(plan);
            let make: MakeShard = Box::new(move || {
                let shard = blueprint.build()?;
                Ok(Box::new(ShardRunner {
                    shard,
                    clock,
                    tick_ns,
                    events,
                    measurements,
                    measured: 0,
                }))
            });
            make
        })
        .collect();
    let view = ShardsView {
        control,
        measurements,
        connectors: connectors.clone(),
    };
    Assembly { view, wakers, makers }
}

impl JobView for ShardsView {
    fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        for shard in 0..self.control.shards() {
            let values = self.control.counters(shard).read();
            progress.rows_in += values.rows_in;
            progress.rows_out += values.rows_out;
            progress.late_rows += values.late_rows;
            progress.malformed += values.malformed;
            progress.clamped += values.clamped;
            progress.state_bytes += values.state_bytes;
            if values.watermark_us != WATERMARK_NONE {
                let known = progress.watermark_us != WATERMARK_NONE;
                progress.watermark_us = if known {
                    progress.watermark_us.min(values.watermark_us)
                } else {
                    values.watermark_us
                };
            }
        }
        progress
    }

    fn request_stop(&self) {
        self.control.request_stop();
    }

    fn request_epoch(&self) {
        self.control.request_epoch();
    }

    fn abort(&self) {
        self.control.abort();
    }

    fn request_measurements(&self) {
        self.measurements.fetch_add(1, Ordering::AcqRel);
        self.control.wake_all();
    }

    fn output_closed(&self) -> bool {
        self.connectors.output_closed()
    }

    fn output_backlog(&self) -> Option<u64> {
        self.connectors.output_backlog()
    }
}

/// What a shard is made from, on its way to the shard's thread.
struct Blueprint {
    plan: Arc<StreamPlan>,
    connectors: Arc<dyn ConnectorFactory>,
    control: Arc<epoch::Control>,
    endpoint: MeshEndpoint,
    config: ShardConfig,
    epochs: Epochs,
    events: Sender<Event>,
}

/// Whether shards hand over snapshots, and what they go on from.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    /// Somebody takes their snapshots.
    pub taken: bool,
    /// The job before.
    pub restore: Option<Restore>,
}

/// Hands a shard's snapshots to the control thread.
struct Courier(Sender<Event>);

impl SnapshotSink for Courier {
    fn take(&mut self, snapshot: ShardSnapshot) -> Result<(), ConnectorError> {
        let sent = self.0.send(Event::Captured(Box::new(snapshot)));
        sent.map_err(|_| ConnectorError::new("the control thread is gone"))
    }

    fn puts_back_kept_parts(&self) -> bool {
        true
    }
}

impl Blueprint {
    fn build(self) -> Result<Shard, String> {
        let id = self.endpoint.shard();
        let operators =
            engine::operators::build::build_all(&self.plan, id).map_err(|error| error.to_string())?;
        let (sources, sinks) = self.connectors(id)?;
        let parts = ShardParts {
            id,
            plan: self.plan,
            operators,
            sources,
            sinks,
            endpoint: self.endpoint,
            control: self.control,
            config: self.config,
            snapshots: self
                .epochs
                .taken
                .then(|| Box::new(Courier(self.events)) as Box<dyn SnapshotSink>),
            restore: self.epochs.restore,
        };
        Shard::new(parts).map_err(|error| error.to_string())
    }

    fn connectors(&self, shard: usize) -> Result<(ShardSources, ShardSinks), String> {
        let shards = self.control.shards();
        let (mut sources, mut sinks) = (Vec::new(), Vec::new());
        for node in &self.plan.nodes {
            match &node.kind {
                NodeKind::Source(spec) => {
                    let source = self.connectors.source(node.id, spec, shard, shards);
                    sources.push((node.id, source.map_err(|error| error.message)?));
                }
                NodeKind::Sink(spec) => {
                    let input = self.input(node);
                    let (schema, changelog) = (input.schema.clone(), &input.changelog);
                    let sink = self
                        .connectors
                        .sink(node.id, spec, schema, changelog, shard, shards);
                    sinks.push((node.id, sink.map_err(|error| error.message)?));
                }
                _ => {}
            }
        }
        Ok((sources, sinks))
    }

    fn input(&self, sink: &PlanNode) -> &PlanNode {
        &self.plan.nodes[*sink.inputs.first().expect("invariant: a sink has an input")]
    }
}

type ShardSources = Vec<(NodeId, Box<dyn Source>)>;
type ShardSinks = Vec<(NodeId, Box<dyn Sink>)>;

/// How often an idle shard must look at its splits, to notice that one has fallen silent.
fn idle_tick_ns(plan: &StreamPlan) -> Option<Nanos> {
    const TICKS_PER_TIMEOUT: u64 = 4;
    const TICK_NS_MIN: Nanos = 1_000_000;
    let timeouts = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source(source) => source.idle_timeout_us(&plan.settings),
        _ => None,
    });
    let timeout_us = timeouts.min()?;
    Some((timeout_us * 1_000 / TICKS_PER_TIMEOUT).max(TICK_NS_MIN))
}

/// A shard between its executor and the control thread.
struct ShardRunner {
    shard: Shard,
    clock: ProcessClock,
    /// See [`idle_tick_ns`].
    tick_ns: Option<Nanos>,
    events: Sender<Event>,
    /// How often measurements have been asked for, and how often they were handed over.
    measurements: Arc<AtomicU64>,
    measured: u64,
}

impl ShardRunner {
    fn hand_over_measurements(&mut self) {
        let profile = self.shard.take_profile();
        // The control thread listens until the shard has ended; if it is gone, nobody asks.
        let _ = self.events.send(Event::Measured(profile));
    }
}

impl ShardLoop for ShardRunner {
    fn turn(&mut self, now: Nanos) -> Result<Turn, Failure> {
        let asked = self.measurements.load(Ordering::Relaxed);
        if asked != self.measured {
            self.measured = asked;
            self.hand_over_measurements();
        }
        match self.shard.step(&self.clock) {
            Ok(Step::Progress) => Ok(Turn::Worked),
            Ok(Step::Idle { poll_at }) => {
                let tick_at = self.tick_ns.map(|tick| now + tick);
                Ok(Turn::Idle(poll_at.into_iter().chain(tick_at).min()))
            }
            Ok(Step::Finished) => {
                self.hand_over_measurements();
                match self.shard.failure() {
                    Some(error) => Err(Failure::Job(error.message.clone())),
                    None => Ok(Turn::Finished),
                }
            }
            Err(error @ ShardError::PeerGone(_)) => Err(Failure::Consequence(error.to_string())),
            Err(error) => {
                self.hand_over_measurements();
                Err(Failure::Job(error.to_string()))
            }
        }
    }

    fn prepare_to_sleep(&mut self) -> bool {
        if !self.shard.announce_sleep(&self.clock) {
            return false;
        }
        // Looked at after the announcement: whoever asks later sees it and wakes the shard.
        if self.measurements.load(Ordering::Acquire) != self.measured {
            self.shard.wake_up();
            return false;
        }
        true
    }

    fn woken(&mut self) {
        self.shard.wake_up();
    }
}
