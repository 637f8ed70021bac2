//! The world of a simulation: real shards in one thread, simulated time, and a seeded schedule.
//!
//! **Invariant.** A shard that announced its sleep is stepped again only when its waker fired, or
//! when the time it named has come: a lost wake-up shows as a world in which everybody sleeps.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use engine::operators::Operator;
use engine::operators::build::build_all;
use engine::plan::state_names::state_names;
use engine::plan::{NodeKind, StreamPlan};
use rand::Rng;
use rand::rngs::SmallRng;
use shards::checkpoint::{Restore, ShardSnapshot, SnapshotSink};
use shards::clock::{Clock, Nanos};
use shards::connector::{Sink, Source};
use shards::epoch::{Control, Epoch};
use shards::mesh::{MeshConfig, MeshEndpoint, mesh};
use shards::parker::Wake;
use shards::shard::{Shard, ShardConfig, ShardParts, Step, edges};

use crate::simulation::answer::Answer;
use crate::simulation::bounds::InFlight;
use crate::simulation::connectors::{Alarm, Consumed, SimulatedSink, SimulatedSource, Surroundings};
use crate::simulation::epochs::{Courier, HandedOver, Keeper, Kept, SharedOutside};
use crate::simulation::faults::{Fault, INJECTED, Luck};
use crate::simulation::planted::Bug;
use crate::simulation::planted::courier::Forgetful;
use crate::simulation::planted::operator::{Mistaken, OtherRestore};
use crate::simulation::planted::sink::Buffering;
use crate::simulation::planted::source::Misplaced;
use crate::simulation::rows::Deal;
use crate::simulation::scenario::{Scenario, Schedule};
use crate::simulation::trace::Trace;
use crate::simulation::watched::{Entered, Watched};

/// Steps after which a run that has not finished is taken to be stuck.
const STEPS_MAX: u64 = 300_000;

/// Of how many turns one makes the clock jump, where it jumps.
const JUMPS_ONE_IN: u32 = 300;
/// Of how many things that the control thread does one is its last.
const KILLED_BEHIND_ONE_IN: u32 = 15;
const HOUR_NS: Nanos = 3_600_000_000_000;

/// Simulated time: it moves with every look at it, and in leaps between steps; and how far the wall clock is off,
/// microseconds.
struct SimulatedClock(Rc<Cell<Nanos>>, i64);

impl Clock for SimulatedClock {
    fn now(&self) -> Nanos {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    fn wall_us(&self) -> i64 {
        const YEAR_2026_US: i64 = 1_767_225_600_000_000;
        YEAR_2026_US + (self.0.get() / 1_000) as i64 + self.1
    }
}

/// Remembers that a shard was woken.
struct Woken {
    is_woken: AtomicBool,
    /// Planted: it forgets.
    forgets: bool,
}

impl Wake for Woken {
    fn wake(&self) {
        self.is_woken.store(!self.forgets, Ordering::Relaxed);
    }
}

/// A shard and how it sleeps.
struct Seat {
    /// Gone once it has finished, as in the runtime.
    shard: Option<Shard>,
    woken: Arc<Woken>,
    alarm: Alarm,
    asleep: bool,
    poll_at: Option<Nanos>,
    answers: Vec<Rc<RefCell<Answer>>>,
}

impl Seat {
    fn wakes_at(&self) -> Option<Nanos> {
        self.poll_at.into_iter().chain(self.alarm.get()).min()
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The folded output of all sinks and shards.
    pub answer: Answer,
    /// What each source node handed over, by node.
    pub consumed: Vec<Vec<(usize, usize)>>,
    /// Whether the job was asked to stop before it ended by itself.
    pub stopped: bool,
    /// Steps of all shards.
    pub steps: u64,
    /// Rows that were under way at most, of a bound; where the plan lets them be counted.
    pub in_flight: Option<(usize, usize)>,
    /// Epochs that all shards captured.
    pub epochs: u64,
}

/// What a world of epochs that are committed has beside.
pub struct Epochs {
    /// Where shards put their snapshots.
    pub handed_over: HandedOver,
    /// Where output is staged and shown.
    pub outside: SharedOutside,
    /// The epoch that is written at the start.
    pub first_epoch: Epoch,
    /// What the shards go on from.
    pub restore: Option<Restore>,
    /// The time at the start.
    pub start: Nanos,
}

/// What decides how a world goes, beside its scenario.
pub struct Influences {
    /// Its schedule and all its connectors' behaviour.
    pub random: SmallRng,
    /// Where it tells what happens.
    pub trace: Trace,
    /// What goes wrong.
    pub luck: Luck,
    /// The mistake in the product.
    pub planted: Option<Bug>,
}

impl Influences {
    /// A world without faults and without a trace that anybody reads.
    pub fn calm(random: SmallRng) -> Influences {
        Influences {
            random,
            trace: Trace::new(false),
            luck: Luck::none(),
            planted: None,
        }
    }
}

/// How a run came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The job has come to its end.
    Done,
    /// The process was killed.
    Killed,
    /// The job stopped with an error that the simulator made.
    Stopped(String),
}

/// Told of an epoch that is committed.
pub type OnCommit<'a> = &'a mut dyn FnMut(Epoch, &[ShardSnapshot]) -> Result<(), String>;

/// Shards and everything around them.
pub struct World {
    epochs: Option<Epochs>,
    scenario: Scenario,
    random: SmallRng,
    trace: Trace,
    luck: Luck,
    planted: Option<Bug>,
    /// How far the wall clock is off, microseconds.
    wall_off_us: i64,
    /// The error of the simulator's that the job stops with, and whether everything complete is written first.
    stopped_by: Option<String>,
    fails_gracefully: bool,
    now: Rc<Cell<Nanos>>,
    control: Arc<Control>,
    seats: Vec<Seat>,
    consumed: Vec<Consumed>,
    in_flight: Option<InFlight>,
    next: usize,
    steps: u64,
    requested: u64,
    stopped: bool,
}

impl World {
    /// The world of `scenario` over `plan`, its sources dealt `rows` as `deal` says.
    pub fn new(
        scenario: &Scenario,
        plan: &Arc<StreamPlan>,
        rows: &RecordBatch,
        deals: &[Deal],
        influences: Influences,
        epochs: Option<Epochs>,
    ) -> World {
        let control = Control::new(scenario.shards);
        let config = MeshConfig {
            credits: scenario.credits,
            bytes: scenario.bytes,
        };
        let entered: Vec<Entered> = plan.nodes.iter().map(|_| Entered::default()).collect();
        let consumed: Vec<Consumed> = plan.nodes.iter().map(|_| Consumed::default()).collect();
        let mut world = World {
            // What a restored operator holds did not come through its exchange.
            in_flight: match &epochs {
                None => InFlight::new(scenario, plan, &consumed, &entered),
                Some(_) => None,
            },
            scenario: scenario.clone(),
            random: influences.random,
            trace: influences.trace,
            luck: influences.luck,
            planted: influences.planted,
            wall_off_us: 0,
            stopped_by: None,
            fails_gracefully: false,
            now: Rc::new(Cell::new(epochs.as_ref().map_or(1, |epochs| epochs.start))),
            epochs,
            control: control.clone(),
            seats: Vec::new(),
            consumed,
            next: 0,
            steps: 0,
            requested: 0,
            stopped: false,
        };
        for endpoint in mesh(&control, edges(plan), config) {
            let seat = world.seat(plan, rows, deals, endpoint, &entered);
            world.seats.push(seat);
        }
        world
    }

    fn seat(
        &mut self,
        plan: &Arc<StreamPlan>,
        rows: &RecordBatch,
        deals: &[Deal],
        endpoint: MeshEndpoint,
        entered: &[Entered],
    ) -> Seat {
        let id = endpoint.shard();
        let woken = Arc::new(Woken {
            is_woken: AtomicBool::new(false),
            forgets: self.planted == Some(Bug::WakeUpLost) && id == 0,
        });
        self.control.set_waker(id, woken.clone());
        let alarm = Alarm::default();
        let (mut sources, mut sinks) = (Vec::new(), Vec::new());
        let mut answers = Vec::new();
        for node in &plan.nodes {
            let surroundings = |reluctance, random: &mut SmallRng| Surroundings {
                shard: id,
                shards: self.scenario.shards,
                alarm: alarm.clone(),
                trace: self.trace.clone(),
                luck: self.luck.clone(),
                reluctance,
                seed: random.random(),
            };
            match &node.kind {
                NodeKind::Source(spec) => {
                    let around = surroundings(self.scenario.source_reluctance, &mut self.random);
                    let blocks = &deals[sources.len()].blocks[id];
                    let consumed = self.consumed[node.id].clone();
                    let source = SimulatedSource::new(spec, rows, blocks, consumed, around);
                    let source: Box<dyn Source> = match self.planted {
                        Some(bug @ (Bug::OffsetTooFar | Bug::OffsetTooNear)) => {
                            Box::new(Misplaced::new(Box::new(source), bug))
                        }
                        _ => Box::new(source),
                    };
                    sources.push((node.id, source));
                }
                NodeKind::Sink(_) => {
                    let around = surroundings(self.scenario.sink_reluctance, &mut self.random);
                    let answer = Rc::new(RefCell::new(Answer::new(&plan.nodes[node.inputs[0]].changelog)));
                    answers.push(answer.clone());
                    let mut sink = SimulatedSink::new(answer, self.now.clone(), around);
                    if let Some(epochs) = &self.epochs {
                        sink = sink.in_epochs(epochs.outside.clone(), epochs.first_epoch);
                    }
                    let sink: Box<dyn Sink> = match self.planted {
                        Some(Bug::OutputLeftInBuffer) => Box::new(Buffering::new(Box::new(sink))),
                        _ => Box::new(sink),
                    };
                    sinks.push((node.id, sink));
                }
                _ => {}
            }
        }
        let operators = self.operators(plan, id, entered);
        let parts = ShardParts {
            id,
            plan: plan.clone(),
            operators,
            sources,
            sinks,
            endpoint,
            control: self.control.clone(),
            snapshots: self.courier(),
            restore: self.epochs.as_ref().and_then(|epochs| epochs.restore.clone()),
            config: ShardConfig {
                poll_rows: self.scenario.poll_rows,
                memory_bytes: None,
            },
        };
        Seat {
            shard: Some(Shard::new(parts).expect("invariant: simulated plans make shards")),
            woken,
            alarm,
            asleep: false,
            poll_at: None,
            answers,
        }
    }

    /// The operators of shard `id`, watched, with what is planted in them.
    fn operators(&self, plan: &StreamPlan, id: usize, entered: &[Entered]) -> Vec<Option<Box<dyn Operator>>> {
        let operators = build_all(plan, id).expect("invariant: simulated plans build");
        let names: Vec<Option<String>> = state_names(plan)
            .into_iter()
            .map(|name| name.map(|name| name.name))
            .collect();
        let watch = |(node, operator): (usize, Box<dyn Operator>)| -> Box<dyn Operator> {
            let operator = match self.planted {
                None => operator,
                Some(bug) => {
                    let restore = self.epochs.as_ref().and_then(|epochs| epochs.restore.as_ref());
                    let other = restore.zip(names[node].as_ref()).map(|(restore, name)| {
                        OtherRestore::of(restore, name, plan, node, id, self.scenario.shards)
                    });
                    Box::new(Mistaken::new(operator, bug, plan, node, other))
                }
            };
            Box::new(Watched::new(operator, entered[node].clone()))
        };
        let numbered = operators.into_iter().enumerate();
        numbered
            .map(|(node, operator)| operator.map(|operator| watch((node, operator))))
            .collect()
    }

    /// What takes a shard's snapshots, where epochs are committed.
    fn courier(&self) -> Option<Box<dyn SnapshotSink>> {
        let courier: Box<dyn SnapshotSink> = Box::new(Courier(self.epochs.as_ref()?.handed_over.clone()));
        Some(match self.planted {
            Some(
                bug @ (Bug::TableForgotten
                | Bug::RowForgotten
                | Bug::WatermarkTooHigh
                | Bug::KeptThoughChanged),
            ) => Box::new(Forgetful::new(courier, bug)),
            _ => courier,
        })
    }

    /// Runs until every shard has finished.
    ///
    /// # Errors
    /// A shard failed, or the world is stuck.
    pub fn run(mut self) -> Result<Outcome, String> {
        while self.is_running() {
            self.turn()?;
        }
        Ok(self.outcome())
    }

    /// Runs until every shard has finished and `keeper` has committed all, or until the process is killed at step
    /// `kill_at` or behind it, or an error stops the job; `on_commit` is told of each epoch that is committed.
    ///
    /// # Errors
    /// A shard failed, the world is stuck, output is lost, or `on_commit` finds something.
    pub fn run_until(
        &mut self,
        kill_at: Option<u64>,
        keeper: &mut Keeper,
        on_commit: OnCommit<'_>,
    ) -> Result<Ending, String> {
        while self.is_running() {
            if kill_at.is_some_and(|at| self.steps >= at) {
                return Ok(Ending::Killed);
            }
            self.turn()?;
            if let Some(error) = self.stopped_by.as_ref().filter(|_| !self.fails_gracefully) {
                return Ok(Ending::Stopped(error.clone()));
            }
            self.keep(keeper);
            // The control thread is slow, and gets something done now and then.
            if keeper.is_idle() || self.random.random_range(0..3) > 0 {
                continue;
            }
            if let Some(error) = commit(keeper, on_commit)? {
                return Ok(Ending::Stopped(error));
            }
            if kill_at.is_some() && self.luck.strikes(Fault::Kills, KILLED_BEHIND_ONE_IN) {
                return Ok(Ending::Killed);
            }
        }
        while !keeper.is_idle() {
            if kill_at.is_some() && self.random.random_range(0..10) == 0 {
                return Ok(Ending::Killed);
            }
            if let Some(error) = commit(keeper, on_commit)? {
                return Ok(Ending::Stopped(error));
            }
        }
        Ok(self.stopped_by.take().map_or(Ending::Done, Ending::Stopped))
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The time.
    pub fn time(&self) -> Nanos {
        self.now.get()
    }

    fn is_running(&self) -> bool {
        self.seats.iter().any(|seat| seat.shard.is_some())
    }

    fn keep(&mut self, keeper: &mut Keeper) {
        if let Some(epochs) = &self.epochs {
            let handed_over = epochs.handed_over.take();
            handed_over.into_iter().for_each(|snapshot| keeper.take(snapshot));
        }
    }

    /// One step of one shard, and what the world does around it.
    fn turn(&mut self) -> Result<(), String> {
        if self.steps >= STEPS_MAX {
            return Err(format!("not finished after {STEPS_MAX} steps: {}", self.state()));
        }
        self.make_requests();
        let leap = self.random.random_range(0..self.scenario.step_ns_max);
        self.now.set(self.now.get() + leap);
        self.jump();
        self.wake_those_whose_time_has_come();
        match self.choose() {
            Some(shard) => self.step(shard)?,
            None => self.leap_to_next_wake()?,
        }
        match &mut self.in_flight {
            Some(in_flight) => in_flight.check(),
            None => Ok(()),
        }
    }

    /// Lets the clock jump now and then, the wall clock also back.
    fn jump(&mut self) {
        if self.luck.strikes(Fault::ClockJumps, JUMPS_ONE_IN) {
            self.now.set(self.now.get() + self.luck.below(HOUR_NS));
            self.wall_off_us = self.luck.below(2 * HOUR_NS / 1_000) as i64 - (HOUR_NS / 1_000) as i64;
            self.trace.tell(format_args!(
                "world: the clock jumps to {}, the wall clock is off by {} us",
                self.now.get(),
                self.wall_off_us
            ));
        }
    }

    fn make_requests(&mut self) {
        let requests = &mut self.scenario.requests;
        if requests.epochs_at.first().is_some_and(|&at| self.steps >= at) {
            requests.epochs_at.remove(0);
            self.requested += 1;
            self.trace
                .tell(format_args!("world: asks for epoch {}", self.requested));
            self.control.request_epoch();
        }
        if requests.stop_at.is_some_and(|at| self.steps >= at) {
            requests.stop_at = None;
            requests.epochs_at.clear();
            self.stopped = true;
            self.requested += 1;
            self.trace
                .tell(format_args!("world: asks to stop at epoch {}", self.requested));
            self.control.request_stop();
        }
    }

    fn wake_those_whose_time_has_come(&mut self) {
        let now = self.now.get();
        for seat in &mut self.seats {
            let Some(shard) = seat.shard.as_ref().filter(|_| seat.asleep) else {
                continue;
            };
            let due = seat.wakes_at().is_some_and(|at| at <= now);
            if due || seat.woken.is_woken.load(Ordering::Relaxed) {
                shard.wake_up();
                seat.woken.is_woken.store(false, Ordering::Relaxed);
                seat.asleep = false;
                seat.poll_at = None;
                if seat.alarm.get().is_some_and(|at| at <= now) {
                    seat.alarm.set(None);
                }
            }
        }
    }

    /// The shard that steps next; none while all sleep.
    fn choose(&mut self) -> Option<usize> {
        let awake: Vec<usize> = (0..self.seats.len())
            .filter(|&shard| self.seats[shard].shard.is_some() && !self.seats[shard].asleep)
            .collect();
        let any = |random: &mut SmallRng, from: &[usize]| from[random.random_range(0..from.len())];
        let first = *awake.first()?;
        let chosen = match self.scenario.schedule {
            Schedule::Random => any(&mut self.random, &awake),
            Schedule::RoundRobin => awake
                .iter()
                .copied()
                .find(|&shard| shard > self.next)
                .unwrap_or(first),
            Schedule::Reverse => {
                let below = awake.iter().rev().copied().find(|&shard| shard < self.next);
                below.unwrap_or(awake[awake.len() - 1])
            }
            Schedule::Starve(starved) => {
                let others: Vec<usize> = awake.iter().copied().filter(|&shard| shard != starved).collect();
                match others.is_empty() || self.random.random_range(0..50) == 0 {
                    true => any(&mut self.random, &awake),
                    false => any(&mut self.random, &others),
                }
            }
            Schedule::Greedy if awake.contains(&self.next) => self.next,
            Schedule::Greedy => any(&mut self.random, &awake),
        };
        self.next = chosen;
        Some(chosen)
    }

    fn step(&mut self, id: usize) -> Result<(), String> {
        self.steps += 1;
        let seat = &mut self.seats[id];
        let shard = seat.shard.as_mut().expect("invariant: a chosen shard is there");
        let clock = SimulatedClock(self.now.clone(), self.wall_off_us);
        let step = match shard.step(&clock).map_err(|error| error.to_string()) {
            Ok(step) => step,
            Err(error) if error.starts_with(INJECTED) => {
                self.stopped_by = Some(error);
                self.fails_gracefully = false;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match step {
            Step::Progress => self.trace.tell(format_args!("shard {id}: progress")),
            Step::Idle { poll_at } => {
                seat.asleep = shard.announce_sleep(&clock);
                seat.poll_at = poll_at;
                let what = if seat.asleep { "sleeps" } else { "is not let sleep" };
                self.trace.tell(format_args!("shard {id}: {what}"));
            }
            Step::Finished => {
                self.trace.tell(format_args!("shard {id}: finished"));
                if let Some(error) = shard.failure().map(ToString::to_string) {
                    if !error.starts_with(INJECTED) {
                        return Err(error);
                    }
                    self.stopped_by = Some(error);
                    self.fails_gracefully = true;
                }
                seat.shard = None;
            }
        }
        Ok(())
    }

    fn leap_to_next_wake(&mut self) -> Result<(), String> {
        let living = self.seats.iter().filter(|seat| seat.shard.is_some());
        let woken = living
            .clone()
            .any(|seat| seat.woken.is_woken.load(Ordering::Relaxed));
        assert!(!woken, "invariant: the woken are awake");
        let Some(at) = living.filter_map(Seat::wakes_at).min() else {
            return Err(format!(
                "all shards sleep and nothing will wake them: {}",
                self.state()
            ));
        };
        self.now.set(self.now.get().max(at));
        Ok(())
    }

    fn state(&self) -> String {
        let describe = |(id, seat): (usize, &Seat)| {
            let state = match (&seat.shard, seat.asleep) {
                (None, _) => "finished",
                (Some(_), true) => "asleep",
                (Some(_), false) => "awake",
            };
            format!("shard {id} {state}")
        };
        let seats: Vec<String> = self.seats.iter().enumerate().map(describe).collect();
        format!(
            "{}; epoch {} asked for, {} captured",
            seats.join(", "),
            self.requested,
            self.control.captured()
        )
    }

    fn outcome(self) -> Outcome {
        let mut answer = Answer::default();
        for seat in &self.seats {
            for part in &seat.answers {
                answer.add(&part.borrow());
            }
        }
        Outcome {
            answer,
            consumed: self
                .consumed
                .iter()
                .map(|consumed| consumed.borrow().clone())
                .filter(|consumed| !consumed.is_empty())
                .collect(),
            stopped: self.stopped,
            steps: self.steps,
            in_flight: self.in_flight.map(|in_flight| in_flight.highest()),
            epochs: self.requested.min(self.control.captured()),
        }
    }
}

/// Lets the keeper do its next thing; answers the error that it stops the job with.
fn commit(keeper: &mut Keeper, on_commit: OnCommit<'_>) -> Result<Option<String>, String> {
    match keeper.step()? {
        Kept::Committed(epoch, snapshots) => on_commit(epoch, &snapshots).map(|()| None),
        Kept::Stopped(error) => Ok(Some(format!("{INJECTED}{error}"))),
        Kept::Quiet => Ok(None),
    }
}
