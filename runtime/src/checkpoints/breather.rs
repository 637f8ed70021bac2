//! Pauses in the control thread's long work: it has no core of its own, and whoever it takes one from waits for as
//! long as it works on. Threads that only ask for less of the processor are still left alone for a whole slice of the
//! scheduler's, which is milliseconds; one that sleeps gives the core back at once.
//!
//! **Invariant.** Work that calls [`Breather::breathe`] between small pieces keeps a core for less than a millisecond.

use std::time::{Duration, Instant};

/// How long it works on.
const WORK: Duration = Duration::from_micros(400);
/// How long it leaves the core to others then, at least.
const REST: Duration = Duration::from_micros(150);

/// Knows when the work began that is under way.
#[derive(Debug)]
pub(super) struct Breather {
    since: Instant,
}

impl Breather {
    /// Work begins.
    pub fn new() -> Breather {
        Breather {
            since: Instant::now(),
        }
    }

    /// Sleeps a little if the work has gone on for long.
    pub fn breathe(&mut self) {
        if self.since.elapsed() >= WORK {
            std::thread::sleep(REST);
            self.since = Instant::now();
        }
    }
}
