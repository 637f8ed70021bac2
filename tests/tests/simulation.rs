//! The simulator on fixed seeds; `simulate --seeds N` runs more.

use std::collections::BTreeMap;
use std::path::Path;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tests::simulation::case::Case;
use tests::simulation::everywhere::{crash_everywhere, golden_queries};
use tests::simulation::faults::Fault;
use tests::simulation::planted::{Bug, hunt};
use tests::simulation::queries::{Plans, QUERIES, RESTORED};
use tests::simulation::rows::{self, Deal};
use tests::simulation::shrink::Failure;
use tests::simulation::{failure_of, recovery, run_case, tell_failure};

#[test]
fn thirty_seeds_keep_every_promise() {
    let mut plans = Plans::default();
    for case in (0..30).map(Case::of) {
        if let Err(error) = run_case(&case, &mut plans, false) {
            panic!("{}", tell_failure(Failure { case, error }, &mut plans));
        }
    }
}

#[test]
fn sixty_jobs_that_crash_lose_nothing_and_write_nothing_twice() {
    let mut plans = Plans::default();
    let (mut crashes, mut errors, mut restores, mut commits) = (0, 0, 0, 0);
    let mut struck: BTreeMap<Fault, u64> = BTreeMap::new();
    for case in (0..60).map(Case::crashing) {
        match recovery::run_case(&case, &mut plans, false) {
            Ok(report) => {
                crashes += report.crashes;
                errors += report.errors;
                restores += report.restores;
                commits += report.commits;
                for (fault, count) in report.struck {
                    *struck.entry(fault).or_default() += count;
                }
            }
            Err(error) => panic!("{}", tell_failure(Failure { case, error }, &mut plans)),
        }
    }
    println!("{crashes} crashes, {errors} errors, {restores} restores, {commits} commits; {struck:?}");
    assert!(restores > 30, "the seeds must reach what they are there for");
    for fault in Fault::ALL {
        // Slow connectors are part of the scenario.
        let is_counted = !matches!(fault, Fault::SlowSource | Fault::SlowSink);
        assert!(
            !is_counted || struck.contains_key(&fault),
            "{fault:?} never strikes"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut plans = Plans::default();
    for seed in [3, 7, 42] {
        let mut hash = || {
            run_case(&Case::of(seed), &mut plans, false)
                .expect("the seed holds")
                .hash
        };
        assert_eq!(hash(), hash(), "seed {seed}");
        let mut hash = || {
            let report = recovery::run_case(&Case::crashing(seed), &mut plans, false);
            report.expect("the seed holds").hash
        };
        assert_eq!(hash(), hash(), "seed {seed} with crashes");
    }
}

#[test]
fn every_planted_bug_is_caught_and_its_seed_holds_without_it() {
    let mut plans = Plans::default();
    for bug in Bug::ALL {
        // The rarest takes 175 seeds (`simulate --hunt`); here its hunt begins near there, so that the test is short.
        let first = if bug == Bug::RestoredNotSynced { 170 } else { 0 };
        let failure = hunt(bug, first..SEEDS_MAX, &mut plans);
        let failure = failure.unwrap_or_else(|| panic!("{} is not caught", bug.name()));
        println!("{}: seed {}: {}", bug.name(), failure.case.seed, failure.error);
        let mut without = failure.case.clone();
        without.planted = None;
        assert_eq!(failure_of(&without, &mut plans), None, "{}", without.replay());
    }
}

#[test]
fn a_failure_is_told_with_a_smaller_case_that_fails_too() {
    let mut plans = Plans::default();
    let failure = hunt(Bug::OffsetTooFar, 0..SEEDS_MAX, &mut plans).expect("it is caught");
    let told = tell_failure(failure, &mut plans);
    let smallest = told.lines().last().expect("there are lines");
    assert!(
        smallest.contains("--rows") && smallest.contains("--planted offset-too-far"),
        "{told}"
    );
}

#[test]
fn a_job_that_is_killed_behind_any_step_goes_on_as_if_nothing_had_happened() {
    let mut plans = Plans::default();
    let rows = rows::first_of(&rows::random_rows(&mut SmallRng::seed_from_u64(11)), Some(14));
    let mut deal_random = SmallRng::seed_from_u64(5);
    let splits = Deal::random(rows.num_rows(), 2, &mut deal_random);
    for query in QUERIES.iter().chain(RESTORED) {
        let kills = crash_everywhere(query, &rows, &splits, &mut plans, 25);
        let kills = kills.unwrap_or_else(|what| panic!("{what}"));
        assert!(kills > 0, "{}: {kills} kills", query.name);
    }
}

#[test]
fn golden_queries_that_are_killed_behind_any_step_go_on_as_if_nothing_had_happened() {
    let mut plans = Plans::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let queries = golden_queries(&folder, &mut plans).expect("they can be read");
    assert!(queries.len() > 30, "{} queries", queries.len());
    for (query, rows) in queries {
        // One split, so that what is late does not depend on who reads it.
        let splits = Deal::whole(rows.num_rows());
        let kills = crash_everywhere(&query, &rows, &splits, &mut plans, 60);
        let kills = kills.unwrap_or_else(|what| panic!("{what}"));
        assert!(kills > 0, "{}: {kills} kills", query.name);
    }
}

/// Within so many seeds a planted bug must be caught.
const SEEDS_MAX: u64 = 1_000;
