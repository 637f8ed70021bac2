//! Micro benchmarks of the building blocks: what one core does with a row, each beside its ceiling.
//!
//! Each program under `bin/` is one group or a few: `cargo run --release -p benches --bin decode`. Whole jobs are
//! measured by `velocore bench scenarios` and `scripts/bench-peers`.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures what a program's groups hold; `--help` tells what the command line takes (a filter, a baseline).
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

/// Measures `work`, which handles `rows` rows, as `name` of a group: time a run, million rows a second.
pub fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, rows: usize, mut work: impl FnMut()) {
    group.throughput(Throughput::Elements(rows as u64));
    group.bench_function(name, |bencher| bencher.iter(&mut work));
}

/// Pseudo-random numbers, the same in every run (xorshift64, Marsaglia 2003).
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The numbers of a seed other than 0.
    pub fn new(seed: u64) -> Numbers {
        assert_ne!(seed, 0, "invariant: xorshift stays at zero");
        Numbers(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
