//! Micro benchmarks of the building blocks: what one core does with a row, each beside its ceiling.
//!
//! Each program under `bin/` is one group: `cargo run --release -p benches --bin decode`. They are plain
//! programs, without a framework: five numbers a line are enough to compare two commits, and nothing
//! is compiled for them that the product does not use. Whole jobs are measured by
//! `velocore bench scenarios` and `scripts/bench-peers`.

use std::time::Instant;

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Runs of each measurement.
const ROUNDS: usize = 7;

/// Runs `work`, which handles `rows` rows of `bytes` bytes altogether, several times and prints the
/// median: nanoseconds a row, million rows a second, gigabytes a second.
pub fn measure(name: &str, rows: usize, bytes: usize, mut work: impl FnMut()) {
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[ROUNDS / 2];
    println!(
        "{name:<48} {:>7.2} ns/row {:>8.2} M rows/s {:>6.2} GB/s",
        median * 1e9 / rows as f64,
        rows as f64 / median / 1e6,
        bytes as f64 / median / 1e9
    );
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
