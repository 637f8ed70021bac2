//! Drives a job on real shards in one thread, a row at a time: after each row everything that follows from
//! it is done before the next is fed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::batch::{Batch, Op};
use engine::operators::build::build_all;
use engine::plan::{NodeKind, SourceSpec, StreamPlan};
use serde_json::Value;
use shards::checkpoint::{Restore, ShardSnapshot, SnapshotSink, codec};
use shards::clock::{Clock, Nanos};
use shards::connector::{ConnectorError, Sink, Source, SourcePoll, SplitId};
use shards::epoch::Control;
use shards::mesh::{MeshConfig, mesh};
use shards::shard::{Shard, ShardConfig, ShardParts, Step, edges};

use crate::conformance::program::{self, Row};
use crate::conformance::values;

/// Steps of one shard without an end that are taken to be a loop.
const STEPS_MAX: usize = 100_000;

/// Time that moves with every look at it.
struct Ticking(Rc<Cell<Nanos>>);

impl Clock for Ticking {
    fn now(&self) -> Nanos {
        self.0.set(self.0.get() + 1_000);
        self.0.get()
    }

    fn wall_us(&self) -> i64 {
        const YEAR_2026_US: i64 = 1_767_225_600_000_000;
        YEAR_2026_US + (self.0.get() / 1_000) as i64
    }
}

/// Rows on their way into a source.
#[derive(Default)]
struct Inlet {
    rows: RefCell<VecDeque<RecordBatch>>,
    ended: Cell<bool>,
}

struct InletSource {
    inlet: Rc<Inlet>,
    split_ended: bool,
}

impl Source for InletSource {
    fn splits(&self) -> Vec<SplitId> {
        vec![0]
    }

    fn poll(&mut self, now: Nanos, _rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        if let Some(rows) = self.inlet.rows.borrow_mut().pop_front() {
            return Ok(SourcePoll::Rows {
                split: 0,
                rows,
                arrival_ns: now,
            });
        }
        Ok(match (self.inlet.ended.get(), self.split_ended) {
            (false, _) => SourcePoll::Pending { poll_at: None },
            (true, false) => {
                self.split_ended = true;
                SourcePoll::SplitEnd(0)
            }
            (true, true) => SourcePoll::End,
        })
    }
}

/// A source's part on a shard that reads none of it.
struct NoSource;

impl Source for NoSource {
    fn splits(&self) -> Vec<SplitId> {
        Vec::new()
    }

    fn poll(&mut self, _now: Nanos, _rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        Ok(SourcePoll::End)
    }
}

/// Changes in the order in which the sinks took them.
type Taken = Rc<RefCell<Vec<(Op, Row)>>>;

struct Outlet(Taken);

impl Sink for Outlet {
    fn ready(&mut self) -> bool {
        true
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.0
            .borrow_mut()
            .extend(values::rows(batch).map_err(ConnectorError::new)?);
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

/// Time between the end of a job and its restart: a restart after every row must not make state older than
/// the second that a time to live is in these programs.
const RESTART_NS: Nanos = 100_000_000;

/// A job that runs.
pub struct Drive {
    shards: Vec<Option<Shard>>,
    clock: Ticking,
    inlets: Vec<(SourceSpec, Rc<Inlet>)>,
    taken: Taken,
    control: Arc<Control>,
    handed_over: HandedOver,
}

impl Drive {
    /// The job of `plan` on `shards` shards; each source is read by one of them.
    ///
    /// # Errors
    /// An operator cannot be built.
    pub fn new(plan: &Arc<StreamPlan>, shards: usize) -> Result<Drive, String> {
        let clock = Ticking(Rc::new(Cell::new(1)));
        Drive::start(plan, shards, clock, Taken::default(), None)
    }

    /// Ends an epoch, stops, and goes on from its snapshots on `shards` shards with `plan`.
    ///
    /// # Errors
    /// A shard fails, or does not take back what was written.
    pub fn restart(mut self, plan: &Arc<StreamPlan>, shards: usize) -> Result<Drive, String> {
        self.control.request_epoch();
        self.settle()?;
        let mut snapshots = self.handed_over.take();
        snapshots.sort_by_key(|snapshot| snapshot.shard);
        assert_eq!(
            snapshots.len(),
            self.shards.len(),
            "every shard hands its part over"
        );
        let through_bytes = |snapshot: &ShardSnapshot| codec::decode(&codec::encode(snapshot)?);
        let snapshots = snapshots
            .iter()
            .map(through_bytes)
            .collect::<Result<Vec<_>, _>>()?;
        let restore = Restore {
            shards: Arc::new(snapshots),
        };
        let clock = Ticking(self.clock.0.clone());
        clock.0.set(clock.0.get() + RESTART_NS);
        Drive::start(plan, shards, clock, self.taken.clone(), Some(restore))
    }

    fn start(
        plan: &Arc<StreamPlan>,
        shards: usize,
        clock: Ticking,
        taken: Taken,
        restore: Option<Restore>,
    ) -> Result<Drive, String> {
        let control = Control::new(shards);
        let handed_over = HandedOver::default();
        let mut inlets: Vec<(SourceSpec, Rc<Inlet>)> = Vec::new();
        for node in &plan.nodes {
            if let NodeKind::Source(spec) = &node.kind {
                inlets.push((spec.clone(), Rc::default()));
            }
        }
        let config = MeshConfig {
            credits: 4,
            bytes: 1 << 20,
        };
        let mut running = Vec::new();
        for endpoint in mesh(&control, edges(plan), config) {
            let id = endpoint.shard();
            let (mut sources, mut sinks) = (Vec::new(), Vec::new());
            for node in &plan.nodes {
                match &node.kind {
                    NodeKind::Source(_) => {
                        let number = sources.len();
                        let source: Box<dyn Source> = match number % shards == id {
                            true => Box::new(InletSource {
                                inlet: inlets[number].1.clone(),
                                split_ended: false,
                            }),
                            false => Box::new(NoSource),
                        };
                        sources.push((node.id, source));
                    }
                    NodeKind::Sink(_) => {
                        sinks.push((node.id, Box::new(Outlet(taken.clone())) as Box<dyn Sink>))
                    }
                    _ => {}
                }
            }
            let parts = ShardParts {
                id,
                plan: plan.clone(),
                operators: build_all(plan, id).map_err(|error| error.to_string())?,
                sources,
                sinks,
                endpoint,
                control: control.clone(),
                config: ShardConfig::default(),
                snapshots: Some(Box::new(Keeper(handed_over.clone()))),
                restore: restore.clone(),
            };
            running.push(Some(Shard::new(parts).map_err(|error| error.to_string())?));
        }
        Ok(Drive {
            shards: running,
            clock,
            inlets,
            taken,
            control,
            handed_over,
        })
    }

    /// Feeds a row of `source`, and does everything that follows from it.
    ///
    /// # Errors
    /// A value does not fit its column, or a shard fails.
    pub fn feed(&mut self, source: &program::Source, op: Op, row: &[Value]) -> Result<(), String> {
        for (spec, inlet) in &self.inlets {
            if spec.table.name == source.name {
                let schema = spec.table.ingest_schema();
                let batch = values::batch(&schema, &spec.ingest, op, row, spec.has_ops)?;
                inlet.rows.borrow_mut().push_back(batch);
            }
        }
        self.settle()
    }

    /// Lets `time` pass in which nothing arrives.
    ///
    /// # Errors
    /// A shard fails.
    pub fn pass_time(&mut self, time: std::time::Duration) -> Result<(), String> {
        let nanos = Nanos::try_from(time.as_nanos()).expect("invariant: a test waits for seconds");
        self.clock.0.set(self.clock.0.get() + nanos);
        self.settle()
    }

    /// Ends every source and runs until the shards have finished.
    ///
    /// # Errors
    /// A shard fails.
    pub fn finish(&mut self) -> Result<(), String> {
        self.inlets.iter().for_each(|(_, inlet)| inlet.ended.set(true));
        self.settle()?;
        match self.shards.iter().all(Option::is_none) {
            true => Ok(()),
            false => Err("the job does not finish".to_string()),
        }
    }

    /// What the sinks have taken since the last time.
    pub fn take(&mut self) -> Vec<(Op, Row)> {
        self.taken.take()
    }

    /// Steps all shards until none has anything to do.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            let mut is_quiet = true;
            for place in &mut self.shards {
                let Some(shard) = place else {
                    continue;
                };
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
                return Ok(());
            }
        }
        Err("the shards do not come to rest".to_string())
    }
}
