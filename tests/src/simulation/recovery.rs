//! Crashes: a job that is killed at random steps, or stops because source, sink or disk fail, on a disk that loses
//! what was not synced, and goes on from its newest checkpoint, also on another number of shards, until it comes to
//! its end.
//!
//! **Promise P1.** After every commit, and at the end, the output that is shown is the answer over the rows
//! consumed: nothing lost, nothing twice. What has been committed or seen stays, unless a checkpoint was damaged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use engine::plan::StreamPlan;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shards::checkpoint::{Restore, ShardSnapshot};

use crate::simulation::answer::Answer;
use crate::simulation::case::Case;
use crate::simulation::connectors::blocks_left;
use crate::simulation::epochs::{Found, Keeper, SharedOutside};
use crate::simulation::faults::{Fault, Luck};
use crate::simulation::planted::Bug;
use crate::simulation::queries::{Plans, QUERIES, Query, RESTORED, Stopped};
use crate::simulation::rows::{self, Deal};
use crate::simulation::scenario::{Requests, Scenario, Schedule};
use crate::simulation::trace::Trace;
use crate::simulation::world::{Ending, Epochs, Influences, World};
use crate::simulation::{expected_answer, first_difference, sources, with_settings, without_panic};

/// Runs that end early at most; after them no fault strikes any more, and the job must come to its end.
const BROKEN_RUNS_MAX: u32 = 6;

/// What a seed came to.
#[derive(Debug, Default)]
pub struct Report {
    /// The query.
    pub query: &'static str,
    /// Runs in which the process was killed.
    pub crashes: u32,
    /// Runs that stopped with an error that the simulator made.
    pub errors: u32,
    /// Steps of the last run.
    pub steps: u64,
    /// How often each fault struck.
    pub struck: BTreeMap<Fault, u64>,
    /// Epochs that were committed, those of lost runs included.
    pub commits: u64,
    /// Runs that went on from a checkpoint.
    pub restores: u64,
    /// The hash of the trace.
    pub hash: u64,
}

/// Runs one case; `print` shows its trace.
///
/// # Errors
/// The promise was broken; the message says how.
pub fn run_case(case: &Case, plans: &mut Plans, print: bool) -> Result<Report, String> {
    without_panic(|| check_case(case, plans, print))
}

fn check_case(case: &Case, plans: &mut Plans, print: bool) -> Result<Report, String> {
    // Another stream of randomness than that of the runs without crashes.
    let (mut scenario, mut random) = Scenario::from_seed(case.seed ^ 0x5eed_0000_0000);
    scenario.requests.stop_at = None;
    let queries: Vec<&Query> = QUERIES.iter().chain(RESTORED).collect();
    scenario.query = *queries[random.random_range(0..queries.len())];
    let luck = Luck::of(case);
    scenario.restrict(case, &luck);
    let rows = rows::first_of(&rows::random_rows(&mut random), case.rows_max);
    let trace = Trace::new(print);
    trace.tell(format_args!(
        "{scenario:?}, {} rows, {}",
        rows.num_rows(),
        luck.names()
    ));
    let mut deal_random = SmallRng::seed_from_u64(random.random());
    let splits = Deal::random(rows.num_rows(), scenario.shards, &mut deal_random);
    let outside = SharedOutside::default();
    let mut keeper = Keeper::new(outside.clone(), luck.clone(), case.planted);
    let mut job = Job::new(&scenario.query, &rows, &splits, outside, trace.clone());
    (job.luck, job.planted) = (luck.clone(), case.planted);
    loop {
        let found = keeper.recover(scenario.shards)?;
        job.report.restores += u64::from(found.snapshots.is_some());
        if found.finished {
            break;
        }
        if job.report.crashes + job.report.errors == BROKEN_RUNS_MAX {
            luck.cease();
        }
        let (kill_at, is_killed) = (random.random_range(1..1_500), random.random_range(0..5) > 0);
        let kill_at = (is_killed && luck.strikes(Fault::Kills, 1)).then_some(kill_at);
        let run_random = SmallRng::seed_from_u64(random.random());
        match job.attempt(&scenario, plans, &mut keeper, found, kill_at, run_random)? {
            Ending::Done => break,
            Ending::Killed => job.report.crashes += 1,
            Ending::Stopped(error) => {
                trace.tell(format_args!("the job stops: {error}"));
                job.report.errors += 1;
            }
        }
        keeper.end_process(&mut random);
        scenario.shards = case.shards(random.random_range(1..=5));
        scenario.schedule = Schedule::Random;
        scenario.requests = Requests {
            epochs_at: (0..8).map(|epoch| epoch * random.random_range(20..200)).collect(),
            stop_at: None,
        };
        trace.tell(format_args!("goes on on {} shards", scenario.shards));
    }
    let whole = expected_answer(&job.query, plans, &rows)?;
    job.compare(&whole)
        .map_err(|what| format!("at the end: {what}"))?;
    Ok(Report {
        hash: trace.hash(),
        struck: luck.struck(),
        ..job.report
    })
}

/// A job over all its runs.
pub(super) struct Job<'a> {
    query: Query,
    rows: &'a RecordBatch,
    splits: &'a Deal,
    outside: SharedOutside,
    pub(super) report: Report,
    now: u64,
    trace: Trace,
    luck: Luck,
    planted: Option<Bug>,
}

impl<'a> Job<'a> {
    /// Of `query` over `rows`, dealt to `splits`, without faults but that its runs may end.
    pub(super) fn new(
        query: &Query,
        rows: &'a RecordBatch,
        splits: &'a Deal,
        outside: SharedOutside,
        trace: Trace,
    ) -> Job<'a> {
        Job {
            query: *query,
            rows,
            splits,
            outside,
            report: Report {
                query: query.name,
                ..Report::default()
            },
            now: 1,
            trace,
            luck: Luck::none(),
            planted: None,
        }
    }

    /// One run, until it ends one way or the other.
    pub(super) fn attempt(
        &mut self,
        scenario: &Scenario,
        plans: &mut Plans,
        keeper: &mut Keeper,
        found: Found,
        kill_at: Option<u64>,
        random: SmallRng,
    ) -> Result<Ending, String> {
        let plan = plans.get(&self.query, scenario.two_phase);
        let plan = with_settings(&plan, scenario.flush_interval_us, &self.luck);
        let restore = found.snapshots.map(|snapshots| Restore {
            shards: Arc::new(snapshots),
        });
        let deals: Vec<Deal> = (0..sources(&plan))
            .map(|_| self.splits.on(scenario.shards))
            .collect();
        let epochs = Epochs {
            handed_over: Rc::new(RefCell::new(Vec::new())),
            outside: self.outside.clone(),
            first_epoch: keeper.first_epoch(),
            restore,
            start: self.now,
        };
        let influences = Influences {
            random,
            trace: self.trace.clone(),
            luck: self.luck.clone(),
            planted: self.planted,
        };
        let mut world = World::new(scenario, &plan, self.rows, &deals, influences, Some(epochs));
        let mut commits = Vec::new();
        let ending = world.run_until(kill_at, keeper, &mut |epoch, snapshots| {
            commits.push(epoch);
            self.check_commit(&plan, plans, snapshots)
                .map_err(|what| format!("epoch {epoch}: {what}"))
        })?;
        self.now = world.time();
        self.report.steps = world.steps();
        self.report.commits += commits.len() as u64;
        Ok(ending)
    }

    /// The output shown with these snapshots is the answer over what their sources had read.
    fn check_commit(
        &self,
        plan: &StreamPlan,
        plans: &mut Plans,
        snapshots: &[ShardSnapshot],
    ) -> Result<(), String> {
        if self.query.stopped != Stopped::AnswerOverConsumed || sources(plan) != 1 {
            return Ok(());
        }
        let mut is_left = vec![false; self.rows.num_rows()];
        for position in snapshots
            .iter()
            .flat_map(|snapshot| &snapshot.sources)
            .flat_map(|source| &source.positions)
        {
            for (offset, length) in blocks_left(position) {
                is_left[offset..offset + length].fill(true);
            }
        }
        let consumed = (0..).zip(&is_left).filter(|&(_, &is_left)| !is_left);
        let consumed = UInt32Array::from_iter_values(consumed.map(|(row, _)| row));
        if consumed.is_empty() {
            // Of no rows a keyless aggregate says something only once its input has ended.
            return Ok(());
        }
        let prefix = take_record_batch(self.rows, &consumed).map_err(|error| error.to_string())?;
        let expected = expected_answer(&self.query, plans, &prefix)?;
        self.compare(&expected)
    }

    /// The output that is shown is `expected`.
    pub(super) fn compare(&self, expected: &Answer) -> Result<(), String> {
        let mut found = expected.empty();
        for batch in self.outside.borrow().batches() {
            found.fold(batch)?;
        }
        first_difference(&found, expected)
    }
}
