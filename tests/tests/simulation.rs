//! The simulator on fixed seeds; `simulate --seeds N` runs more.

use std::collections::BTreeMap;

use tests::simulation::case::Case;
use tests::simulation::faults::Fault;
use tests::simulation::planted::{Bug, hunt};
use tests::simulation::queries::Plans;
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
        let failure = hunt(bug, 0..SEEDS_MAX, &mut plans);
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

/// Within so many seeds a planted bug must be caught.
const SEEDS_MAX: u64 = 1_000;
