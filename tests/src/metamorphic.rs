//! Metamorphic relations: what must hold between answers of the real engine, without knowing any of them.
//!
//! Two questions that mean the same, or one question asked under other circumstances, have one answer (promise P3
//! of the design). The simulator runs both: its seeds pick rows, shards, batch cuts, schedules and bounds.

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMillisecondType;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::simulation::answer::Answer;
use crate::simulation::faults::Luck;
use crate::simulation::queries::{Plans, Query, Stopped};
use crate::simulation::rows::{Deal, random_rows};
use crate::simulation::scenario::{Requests, Scenario};
use crate::simulation::world::{Influences, World};
use crate::simulation::{sources, with_settings};

/// What a relation fixes of the circumstances; the seed picks the rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    /// What picks.
    pub seed: u64,
    /// The number of shards.
    pub shards: Option<usize>,
    /// Whether aggregations have two phases.
    pub two_phase: Option<bool>,
    /// Rows asked of a source at once.
    pub poll_rows: Option<usize>,
}

impl Circumstances {
    /// All that the seed picks.
    pub fn of(seed: u64) -> Circumstances {
        Circumstances {
            seed,
            ..Circumstances::default()
        }
    }
}

/// The rows of a seed.
pub fn rows(seed: u64) -> RecordBatch {
    random_rows(&mut SmallRng::seed_from_u64(seed))
}

/// The same rows in another order, in which no row is further behind an earlier one than the watermark allows: by
/// event time and a delay below the bound.
pub fn permuted(rows: &RecordBatch, seed: u64) -> RecordBatch {
    const BOUND_MS: i64 = 5_000;
    let mut random = SmallRng::seed_from_u64(seed);
    let times = rows.column(0).as_primitive::<TimestampMillisecondType>();
    let mut order: Vec<(i64, u32)> = (0..rows.num_rows())
        .map(|row| (times.value(row) + random.random_range(0..BOUND_MS), row as u32))
        .collect();
    order.sort_unstable();
    let order: UInt32Array = order.into_iter().map(|(_, row)| row).collect();
    take_record_batch(rows, &order).expect("invariant: the order names rows that are there")
}

/// The answer to `sql`, a query over the simulator's table of trades.
///
/// # Errors
/// A promise was broken while it ran.
pub fn answer(
    plans: &mut Plans,
    sql: &'static str,
    rows: &RecordBatch,
    given: Circumstances,
) -> Result<Answer, String> {
    let query = Query {
        name: sql,
        sql,
        stopped: Stopped::PartOfFullAnswer,
    };
    let (mut scenario, mut random) = Scenario::from_seed(given.seed);
    scenario.query = query;
    scenario.shards = given.shards.unwrap_or(scenario.shards);
    scenario.two_phase = given.two_phase.unwrap_or(scenario.two_phase);
    scenario.poll_rows = given.poll_rows.unwrap_or(scenario.poll_rows);
    scenario.requests = Requests {
        epochs_at: scenario.requests.epochs_at.clone(),
        stop_at: None,
    };
    let plan = plans.get(&query, scenario.two_phase);
    let plan = with_settings(&plan, scenario.flush_interval_us, &Luck::none());
    let deals: Vec<Deal> = (0..sources(&plan))
        .map(|_| Deal::random(rows.num_rows(), scenario.shards, &mut random))
        .collect();
    let world = World::new(&scenario, &plan, rows, &deals, Influences::calm(random), None);
    Ok(world.run()?.answer)
}
