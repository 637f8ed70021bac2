//! The deterministic simulator: real shards, real operators, a real mesh, in one thread whose every
//! choice comes from a seed (the idea is FoundationDB's; the same seed gives the same trace).
//!
//! A seed picks a query, rows, shards, a schedule, tight bounds, slow sources and sinks, and perhaps
//! an early stop ([`scenario`]), and faults ([`faults`]). [`world`] runs it; here its output is compared with that of
//! one shard that was given everything at once. [`recovery`] lets jobs crash and go on from their checkpoints,
//! [`everywhere`] at every step of a small job.
//!
//! A failing [`case`] is made smaller by [`shrink`] and told with the command that replays it. [`planted`] mistakes
//! prove that the simulator can fail.

pub mod answer;
pub mod bounds;
pub mod case;
pub mod connectors;
pub mod disk;
pub mod epochs;
pub mod everywhere;
pub mod faults;
pub mod planted;
pub mod queries;
pub mod recovery;
pub mod rows;
pub mod scenario;
pub mod shrink;
pub mod trace;
pub mod watched;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use engine::plan::{NodeKind, StreamPlan};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use answer::Answer;
use case::Case;
use faults::{Fault, Luck};
use queries::{Plans, Query, Stopped};
use rows::Deal;
use scenario::Scenario;
use shrink::Failure;
use trace::Trace;
use world::{Influences, Outcome, World};

/// What a seed that held came to.
#[derive(Debug)]
pub struct Report {
    /// What the seed decided.
    pub scenario: Scenario,
    /// How it went.
    pub outcome: Outcome,
    /// Rows of the input.
    pub rows: usize,
    /// The hash of the trace.
    pub hash: u64,
    /// Events of the trace.
    pub events: u64,
}

/// Runs one case of a job without crashes; `print` shows its trace.
///
/// # Errors
/// A promise was broken; the message says which.
pub fn run_case(case: &Case, plans: &mut Plans, print: bool) -> Result<Report, String> {
    assert!(!case.crashes, "invariant: jobs that crash are recovery's");
    without_panic(|| check_case(case, plans, print))
}

/// What is wrong with `case`, of whichever kind, if anything is.
pub fn failure_of(case: &Case, plans: &mut Plans) -> Option<String> {
    match case.crashes {
        true => recovery::run_case(case, plans, false).err(),
        false => run_case(case, plans, false).err(),
    }
}

/// What is to be told of a case that failed: what was found, and the smallest case that fails with its command.
pub fn tell_failure(failure: Failure, plans: &mut Plans) -> String {
    let first = format!("seed {} failed: {}", failure.case.seed, failure.error);
    let whole = failure.case.replay();
    let smallest = shrink::shrink(failure, |case| failure_of(case, plans));
    format!(
        "{first}\n  replay: {whole}\n  smallest: {}\n  replay: {}",
        smallest.error,
        smallest.case.replay()
    )
}

/// A panic as an error.
pub fn without_panic<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("without a message")))
    })
}

fn check_case(case: &Case, plans: &mut Plans, print: bool) -> Result<Report, String> {
    let (mut scenario, mut random) = Scenario::from_seed(case.seed);
    let luck = Luck::of(case);
    scenario.restrict(case, &luck);
    let plan = plans.get(&scenario.query, scenario.two_phase);
    let plan = with_settings(&plan, scenario.flush_interval_us, &luck);
    let rows = rows::first_of(&rows::random_rows(&mut random), case.rows_max);
    let trace = Trace::new(print);
    trace.tell(format_args!(
        "{scenario:?}, {} rows, {}",
        rows.num_rows(),
        luck.names()
    ));
    let deals: Vec<Deal> = (0..sources(&plan))
        .map(|_| Deal::random(rows.num_rows(), scenario.shards, &mut random))
        .collect();
    let expected = expected_answer(&scenario.query, plans, &rows)?;
    let influences = Influences {
        random,
        trace: trace.clone(),
        luck,
        planted: case.planted,
    };
    let outcome = World::new(&scenario, &plan, &rows, &deals, influences, None).run()?;
    compare(&scenario.query, plans, &rows, &expected, &outcome)?;
    Ok(Report {
        scenario,
        outcome,
        rows: rows.num_rows(),
        hash: trace.hash(),
        events: trace.events(),
    })
}

/// Promise P3: the output is the answer of one shard that was given everything at once; after an
/// early stop, what `Query::stopped` says.
fn compare(
    query: &Query,
    plans: &mut Plans,
    rows: &RecordBatch,
    expected: &Answer,
    outcome: &Outcome,
) -> Result<(), String> {
    let whole = match (outcome.stopped, query.stopped) {
        (false, _) => expected.clone(),
        (true, Stopped::PartOfFullAnswer) => {
            return match outcome.answer.first_excess(expected) {
                Some(row) => Err(format!("a stopped job wrote what the whole job does not: {row}")),
                None => Ok(()),
            };
        }
        (true, Stopped::AnswerOverConsumed) => {
            let [consumed] = &outcome.consumed[..] else {
                return match outcome.consumed.is_empty() {
                    true => Ok(()),
                    false => Err("invariant: queries with two sources stop as PartOfFullAnswer".into()),
                };
            };
            let ranges = consumed
                .iter()
                .flat_map(|&(offset, length)| offset..offset + length);
            let mut numbers: Vec<u32> = ranges.map(|row| row as u32).collect();
            numbers.sort_unstable();
            let prefix = take_record_batch(rows, &UInt32Array::from(numbers)).map_err(|e| e.to_string())?;
            expected_answer(query, plans, &prefix)?
        }
    };
    first_difference(&outcome.answer, &whole)
}

/// Where output differs from the right answer.
fn first_difference(found: &Answer, whole: &Answer) -> Result<(), String> {
    if let Some(row) = found.first_excess(whole) {
        return Err(format!("too much in the output: {row}"));
    }
    if let Some(row) = whole.first_excess(found) {
        return Err(format!(
            "missing in the output: {row}, seen from the right answer"
        ));
    }
    Ok(())
}

/// The answer of one shard, one split, one batch, without faults.
fn expected_answer(query: &Query, plans: &mut Plans, rows: &RecordBatch) -> Result<Answer, String> {
    let plan = plans.get(query, false);
    let scenario = Scenario::calm(query);
    let deals = vec![Deal::whole(rows.num_rows()); sources(&plan)];
    let random = SmallRng::seed_from_u64(0);
    let world = World::new(&scenario, &plan, rows, &deals, Influences::calm(random), None);
    let outcome = world
        .run()
        .map_err(|error| format!("the run on one shard: {error}"))?;
    Ok(outcome.answer)
}

pub(crate) fn sources(plan: &StreamPlan) -> usize {
    let is_source = |kind: &NodeKind| matches!(kind, NodeKind::Source(_));
    plan.nodes.iter().filter(|node| is_source(&node.kind)).count()
}

/// The plan with settings that a seed decides. Splits fall idle only where some linger: their silence is longer than
/// that of any split that still has rows, so that no row is late.
pub(crate) fn with_settings(plan: &Arc<StreamPlan>, flush_interval_us: u64, luck: &Luck) -> Arc<StreamPlan> {
    const IDLE_US: u64 = 2_000_000;
    const FLUSH_LATEST: u64 = 8;
    let mut plan = StreamPlan::clone(plan);
    plan.settings.flush_interval_us = flush_interval_us;
    plan.settings.flush_latest_us = flush_interval_us * FLUSH_LATEST;
    plan.settings.idle_timeout_us = luck.has(Fault::LingeringSplits).then_some(IDLE_US);
    Arc::new(plan)
}
