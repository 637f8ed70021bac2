//! The simulator on fixed seeds; `simulate --seeds N` runs more.

use tests::simulation::queries::Plans;
use tests::simulation::{replay, run_seed};

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
fn the_same_seed_gives_the_same_trace() {
    let mut plans = Plans::default();
    for seed in [3, 7, 42] {
        let mut hash = || run_seed(seed, &mut plans, false).expect("the seed holds").hash;
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
