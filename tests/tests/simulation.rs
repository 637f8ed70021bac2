//! The simulator on fixed seeds; `simulate --seeds N` runs more.

use tests::simulation::queries::Plans;
use tests::simulation::{recovery, replay, run_seed};

#[test]
fn thirty_seeds_keep_every_promise() {
    let mut plans = Plans::default();
    for seed in 0..30 {
        if let Err(error) = run_seed(seed, &mut plans, false) {
            panic!("seed {seed}: {error}\nreplay: {}", replay(seed));
        }
    }
}

#[test]
fn sixty_jobs_that_crash_lose_nothing_and_write_nothing_twice() {
    let mut plans = Plans::default();
    let (mut crashes, mut restores, mut commits) = (0, 0, 0);
    for seed in 0..60 {
        match recovery::run_seed(seed, &mut plans, false) {
            Ok(report) => {
                crashes += report.crashes;
                restores += report.restores;
                commits += report.commits;
            }
            Err(error) => panic!("seed {seed}: {error}\nreplay: {} --crashes", replay(seed)),
        }
    }
    println!("{crashes} crashes, {restores} restores, {commits} commits");
    assert!(restores > 30, "the seeds must reach what they are there for");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut plans = Plans::default();
    for seed in [3, 7, 42] {
        let mut hash = || run_seed(seed, &mut plans, false).expect("the seed holds").hash;
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
