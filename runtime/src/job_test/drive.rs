//! Real shards in one thread: a step is handed to them, and everything that follows from it is done before the
//! next.
//!
//! **Invariant.** Time stands still but for what a test says and a microsecond a look, so that a run is the same
//! everywhere.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::batch::Batch;
use engine::operators::build::build_all;
use engine::plan::{NodeId, NodeKind, SourceSpec, StreamPlan};
use shards::checkpoint::{Restore, ShardSnapshot, SnapshotSink, codec};
use shards::clock::{Clock, Nanos};
use shards::connector::{ConnectorError, Sink, Source, SourcePoll, SplitId};
use shards::epoch::Control;
use shards::mesh::{MeshConfig, mesh};
use shards::shard::{Shard, ShardConfig, ShardParts, Step, edges};

use crate::connectors::{self, ConnectorContext};

/// Steps of shards without an end that are taken to be a loop.
const STEPS_MAX: usize = 3_000_000;
/// Few credits, so that senders wait for receivers as they do under load.
const MESH: MeshConfig = MeshConfig {
    credits: 4,
    bytes: 1 << 20,
};
/// 2030-01-01 00:00:00: later than the rows of most tests, so that their times are not from the future.
const START_US: i64 = 1_893_456_000_000_000;

/// Time between the end of a job and its restart. It is short beside the seconds of a time to live, so that
/// a restart after every row leaves ages as they are.
const RESTART_US: u64 = 100_000;

/// Time as a test tells it.
#[derive(Clone, Default)]
struct TestClock(Rc<Cell<Nanos>>);

impl Clock for TestClock {
    fn now(&self) -> Nanos {
        const LOOK_NS: Nanos = 1_000;
        self.0.set(self.0.get() + LOOK_NS);
        self.0.get()
    }

    fn wall_us(&self) -> i64 {
        START_US + (self.0.get() / 1_000) as i64
    }
}

/// What a source is given.
pub enum Given {
    /// Rows.
    Rows(RecordBatch),
    /// A watermark, microseconds.
    Watermark(i64),
}

#[derive(Default)]
struct Queue {
    given: RefCell<VecDeque<Given>>,
    ended: Cell<bool>,
}

/// A source's way into the shards.
pub struct Inlet {
    /// What it must be given.
    pub spec: SourceSpec,
    queue: Rc<Queue>,
}

struct InletSource {
    queue: Rc<Queue>,
    split_ended: bool,
}

impl Source for InletSource {
    fn splits(&self) -> Vec<SplitId> {
        vec![0]
    }

    fn poll(&mut self, now: Nanos, _rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        Ok(match self.queue.given.borrow_mut().pop_front() {
            Some(Given::Rows(rows)) => SourcePoll::Rows {
                split: 0,
                rows,
                arrival_ns: now,
            },
            Some(Given::Watermark(watermark_us)) => SourcePoll::Watermark {
                split: 0,
                watermark_us,
            },
            None if !self.queue.ended.get() => SourcePoll::Pending { poll_at: None },
            None if !self.split_ended => {
                self.split_ended = true;
                SourcePoll::SplitEnd(0)
            }
            None => SourcePoll::End,
        })
    }
}

/// The part of a source on a shard that reads none of it.
struct NoSource;

impl Source for NoSource {
    fn splits(&self) -> Vec<SplitId> {
        Vec::new()
    }

    fn poll(&mut self, _now: Nanos, _rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        Ok(SourcePoll::End)
    }
}

/// What the sinks took, in order, each with its node.
type Taken = Rc<RefCell<Vec<(NodeId, Batch)>>>;

struct Outlet {
    node: NodeId,
    taken: Taken,
}

impl Sink for Outlet {
    fn ready(&mut self) -> bool {
        true
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.taken.borrow_mut().push((self.node, batch.clone()));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        Ok(true)
    }
}

/// The snapshots that shards have handed over.
type HandedOver = Rc<RefCell<Vec<ShardSnapshot>>>;

struct Keeper(HandedOver);

impl SnapshotSink for Keeper {
    fn take(&mut self, snapshot: ShardSnapshot) -> Result<(), ConnectorError> {
        self.0.borrow_mut().push(snapshot);
        Ok(())
    }
}

/// What outlives a restart.
#[derive(Default)]
struct Kept {
    clock: TestClock,
    taken: Taken,
    restore: Option<Restore>,
}

/// A job that runs.
pub struct Drive {
    shards: Vec<Option<Shard>>,
    control: Arc<Control>,
    clock: TestClock,
    inlets: Vec<Inlet>,
    taken: Taken,
    handed_over: HandedOver,
}

impl Drive {
    /// The job of `plan` on `shards` shards. Sources of the tables that `is_given` names wait for what they are
    /// given, each read by one shard; others are made from `context`.
    ///
    /// # Errors
    /// An operator or a source cannot be made.
    pub fn new(
        plan: &Arc<StreamPlan>,
        shards: usize,
        context: &ConnectorContext,
        is_given: impl Fn(&str) -> bool,
    ) -> Result<Drive, String> {
        Drive::start(plan, shards, context, is_given, Kept::default())
    }

    /// Ends an epoch, stops, and goes on from its snapshots as [`Drive::new`] would start. What an inlet was given
    /// and did not take is lost.
    ///
    /// # Errors
    /// A shard fails, or does not take back what was written.
    pub fn restart(
        mut self,
        plan: &Arc<StreamPlan>,
        shards: usize,
        context: &ConnectorContext,
        is_given: impl Fn(&str) -> bool,
    ) -> Result<Drive, String> {
        self.request_epoch();
        self.settle()?;
        let restore = self.captured()?;
        assert!(restore.is_some(), "invariant: every shard hands its part over");
        self.advance(RESTART_US);
        let kept = Kept {
            clock: self.clock.clone(),
            taken: self.taken.clone(),
            restore,
        };
        Drive::start(plan, shards, context, is_given, kept)
    }

    /// Ends as if killed, and goes on from an epoch that was captured before, or from the beginning. What the sinks
    /// took and nobody has asked for is lost.
    ///
    /// # Errors
    /// A shard does not take back what was written.
    pub fn killed(
        self,
        plan: &Arc<StreamPlan>,
        shards: usize,
        context: &ConnectorContext,
        is_given: impl Fn(&str) -> bool,
        restore: Option<Restore>,
    ) -> Result<Drive, String> {
        self.advance(RESTART_US);
        let kept = Kept {
            clock: self.clock.clone(),
            taken: Taken::default(),
            restore,
        };
        Drive::start(plan, shards, context, is_given, kept)
    }

    /// Asks for an epoch, whose barriers follow what the inlets were given before.
    pub fn request_epoch(&self) {
        self.control.request_epoch();
    }

    /// What a job goes on from, if every shard has handed its part of the epoch over.
    ///
    /// # Errors
    /// What was written is not read.
    pub fn captured(&mut self) -> Result<Option<Restore>, String> {
        if self.handed_over.borrow().len() < self.shards.len() {
            return Ok(None);
        }
        let mut snapshots = self.handed_over.take();
        snapshots.sort_by_key(|snapshot| snapshot.shard);
        let through_bytes = |snapshot: &ShardSnapshot| codec::decode_whole(&codec::encode_whole(snapshot)?);
        let snapshots = snapshots.iter().map(through_bytes);
        Ok(Some(Restore {
            shards: Arc::new(snapshots.collect::<Result<_, _>>()?),
        }))
    }

    fn start(
        plan: &Arc<StreamPlan>,
        shards: usize,
        context: &ConnectorContext,
        is_given: impl Fn(&str) -> bool,
        kept: Kept,
    ) -> Result<Drive, String> {
        let control = Control::new(shards);
        let mut drive = Drive {
            shards: Vec::new(),
            control: control.clone(),
            clock: kept.clock,
            inlets: Vec::new(),
            taken: kept.taken,
            handed_over: HandedOver::default(),
        };
        for node in &plan.nodes {
            if let NodeKind::Source(spec) = &node.kind
                && is_given(&spec.table.name)
            {
                drive.inlets.push(Inlet {
                    spec: spec.clone(),
                    queue: Rc::default(),
                });
            }
        }
        for endpoint in mesh(&control, edges(plan), MESH) {
            let id = endpoint.shard();
            let (sources, sinks) = drive.connectors(plan, id, shards, context, &is_given)?;
            let parts = ShardParts {
                id,
                plan: plan.clone(),
                operators: build_all(plan, id).map_err(|error| error.to_string())?,
                sources,
                sinks,
                endpoint,
                control: control.clone(),
                snapshots: Some(Box::new(Keeper(drive.handed_over.clone()))),
                restore: kept.restore.clone(),
                config: ShardConfig::default(),
            };
            let shard = Shard::new(parts).map_err(|error| error.to_string())?;
            drive.shards.push(Some(shard));
        }
        drive.settle()?;
        Ok(drive)
    }

    fn connectors(
        &self,
        plan: &StreamPlan,
        id: usize,
        shards: usize,
        context: &ConnectorContext,
        is_given: impl Fn(&str) -> bool,
    ) -> Result<(Sources, Sinks), String> {
        let (mut sources, mut sinks): (Sources, Sinks) = (Vec::new(), Vec::new());
        let mut given = 0;
        for node in &plan.nodes {
            match &node.kind {
                NodeKind::Source(spec) if is_given(&spec.table.name) => {
                    let source: Box<dyn Source> = match given % shards == id {
                        true => Box::new(InletSource {
                            queue: self.inlets[given].queue.clone(),
                            split_ended: false,
                        }),
                        false => Box::new(NoSource),
                    };
                    given += 1;
                    sources.push((node.id, source));
                }
                NodeKind::Source(spec) => {
                    let source = connectors::make_source(spec, id, shards, context);
                    sources.push((node.id, source.map_err(|error| error.message)?));
                }
                NodeKind::Sink(_) => {
                    let taken = self.taken.clone();
                    sinks.push((node.id, Box::new(Outlet { node: node.id, taken })));
                }
                _ => {}
            }
        }
        Ok((sources, sinks))
    }

    /// The sources that wait for what they are given.
    pub fn inlets(&self) -> &[Inlet] {
        &self.inlets
    }

    /// Gives an inlet rows or a watermark; [`Drive::settle`] makes it felt.
    pub fn give(&self, inlet: usize, given: Given) {
        self.inlets[inlet].queue.given.borrow_mut().push_back(given);
    }

    /// Lets time pass.
    pub fn advance(&self, us: u64) {
        self.clock.0.set(self.clock.0.get() + us * 1_000);
    }

    /// Ends every source and runs until the shards have finished.
    ///
    /// # Errors
    /// A shard fails.
    pub fn finish(&mut self) -> Result<(), String> {
        self.end_input();
        self.settle()?;
        match self.has_finished() {
            true => Ok(()),
            false => Err("the job does not end with its input".to_string()),
        }
    }

    /// Ends every source.
    pub fn end_input(&self) {
        self.inlets.iter().for_each(|inlet| inlet.queue.ended.set(true));
    }

    /// Whether every shard has come to its end.
    pub fn has_finished(&self) -> bool {
        self.shards.iter().all(Option::is_none)
    }

    /// What the sinks took.
    pub fn take(&mut self) -> Vec<(NodeId, Batch)> {
        self.taken.take()
    }

    /// Rows that were dropped because they came too late.
    pub fn late_rows(&self) -> u64 {
        let shards = 0..self.control.shards();
        shards
            .map(|shard| self.control.counters(shard).read().late_rows)
            .sum()
    }

    /// Steps all shards until none has anything to do.
    ///
    /// # Errors
    /// A shard fails.
    pub fn settle(&mut self) -> Result<(), String> {
        match self.settle_within(&mut { STEPS_MAX })? {
            true => Ok(()),
            false => Err("the shards do not come to rest".to_string()),
        }
    }

    /// The same, unless it takes more than `steps` steps of shards, which are counted down; false = it does, and
    /// nothing was done beyond them.
    ///
    /// # Errors
    /// A shard fails.
    pub fn settle_within(&mut self, steps: &mut usize) -> Result<bool, String> {
        loop {
            let mut is_quiet = true;
            for place in &mut self.shards {
                let Some(shard) = place else {
                    continue;
                };
                let Some(left) = steps.checked_sub(1) else {
                    return Ok(false);
                };
                *steps = left;
                match shard.step(&self.clock).map_err(|error| error.to_string())? {
                    Step::Progress => is_quiet = false,
                    Step::Idle { .. } => {
                        is_quiet &= shard.announce_sleep(&self.clock);
                        shard.wake_up();
                    }
                    Step::Finished => {
                        if let Some(error) = shard.failure() {
                            return Err(error.to_string());
                        }
                        *place = None;
                        is_quiet = false;
                    }
                }
            }
            if is_quiet {
                return Ok(true);
            }
        }
    }
}

type Sources = Vec<(NodeId, Box<dyn Source>)>;
type Sinks = Vec<(NodeId, Box<dyn Sink>)>;
