//! Everything a seed decides before the first step.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::simulation::case::Case;
use crate::simulation::faults::{Fault, Luck};
use crate::simulation::queries::{QUERIES, Query};
use crate::simulation::rows::ROWS_MAX;

/// Who steps next among the shards that are awake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Any.
    Random,
    /// Each in turn.
    RoundRobin,
    /// Each in turn, backwards.
    Reverse,
    /// Any but this one, which steps rarely.
    Starve(usize),
    /// The same one as long as it has work.
    Greedy,
}

/// When, counted in steps, and how the world asks something of all shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Steps before each epoch that is asked for.
    pub epochs_at: Vec<u64>,
    /// Steps before the job is asked to stop.
    pub stop_at: Option<u64>,
}

/// One simulated run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What decided all else.
    pub seed: u64,
    /// The query.
    pub query: Query,
    /// The number of shards.
    pub shards: usize,
    /// Whether aggregations have two phases.
    pub two_phase: bool,
    /// Who steps.
    pub schedule: Schedule,
    /// Messages of an edge under way.
    pub credits: usize,
    /// Bytes of an edge under way.
    pub bytes: usize,
    /// Rows asked of a source at once.
    pub poll_rows: usize,
    /// The longest time a change waits, microseconds.
    pub flush_interval_us: u64,
    /// One in so many calls makes a shard wait for its source; 0 = none.
    pub source_reluctance: u32,
    /// One in so many looks finds the sink busy; 0 = none.
    pub sink_reluctance: u32,
    /// The longest time between two steps, nanoseconds.
    pub step_ns_max: u64,
    /// What is asked of the shards.
    pub requests: Requests,
}

impl Scenario {
    /// The scenario of `seed`, and the randomness that goes on from it.
    pub fn from_seed(seed: u64) -> (Scenario, SmallRng) {
        let mut random = SmallRng::seed_from_u64(seed);
        let query = QUERIES[random.random_range(0..QUERIES.len())];
        let shards = random.random_range(1..=7);
        let schedule = match random.random_range(0..5) {
            0 => Schedule::RoundRobin,
            1 => Schedule::Reverse,
            2 => Schedule::Starve(random.random_range(0..shards)),
            3 => Schedule::Greedy,
            _ => Schedule::Random,
        };
        let stops = random.random_range(0..4) == 0;
        let epochs = [0, 0, 1, 3][random.random_range(0..4)];
        let mut epochs_at: Vec<u64> = (0..epochs).map(|_| random.random_range(0..400)).collect();
        epochs_at.sort_unstable();
        let requests = Requests {
            epochs_at,
            stop_at: stops.then(|| random.random_range(0..500)),
        };
        let scenario = Scenario {
            seed,
            query,
            shards,
            two_phase: random.random(),
            schedule,
            credits: random.random_range(1..=8),
            bytes: [1, 200, 4_000, 1 << 20][random.random_range(0..4)],
            poll_rows: [1, 4, 32, 8_192][random.random_range(0..4)],
            flush_interval_us: [0, 5, 1_000, 1_000_000][random.random_range(0..4)],
            source_reluctance: [0, 2, 5, 20][random.random_range(0..4)],
            sink_reluctance: [0, 2, 5, 20][random.random_range(0..4)],
            step_ns_max: [10, 1_000, 500_000][random.random_range(0..3)],
            requests,
        };
        (scenario, random)
    }

    /// A run of `query` on one shard without anything that makes it hard.
    pub fn calm(query: &Query) -> Scenario {
        Scenario {
            seed: 0,
            query: *query,
            shards: 1,
            two_phase: false,
            schedule: Schedule::RoundRobin,
            credits: 16,
            bytes: 1 << 30,
            poll_rows: ROWS_MAX,
            flush_interval_us: 1_000,
            source_reluctance: 0,
            sink_reluctance: 0,
            step_ns_max: 10,
            requests: Requests {
                epochs_at: Vec::new(),
                stop_at: None,
            },
        }
    }

    /// Leaves out what `case` leaves out.
    pub fn restrict(&mut self, case: &Case, luck: &Luck) {
        self.shards = case.shards(self.shards);
        if let Schedule::Starve(starved) = &mut self.schedule {
            *starved %= self.shards;
        }
        if !luck.has(Fault::SlowSource) {
            self.source_reluctance = 0;
        }
        if !luck.has(Fault::SlowSink) {
            self.sink_reluctance = 0;
        }
    }
}
