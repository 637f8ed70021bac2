//! The clock of the process: one start, read by every shard and by the control thread.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shards::clock::{Clock, Nanos};

/// Nanoseconds since 1970 that only rise: the wall clock at the start, then `Instant`. So times that a snapshot
/// keeps mean the same in the next process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessClock {
    start: Instant,
    start_wall: SystemTime,
    /// The wall clock at the start, nanoseconds since 1970.
    start_ns: Nanos,
}

impl ProcessClock {
    /// A clock that starts now.
    pub fn start() -> ProcessClock {
        let start_wall = SystemTime::now();
        ProcessClock {
            start: Instant::now(),
            start_wall,
            // 2^64 nanoseconds are 584 years.
            start_ns: start_wall
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos() as Nanos),
        }
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The wall clock at the start.
    pub fn start_wall(&self) -> SystemTime {
        self.start_wall
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Nanos {
        self.start_ns + self.start.elapsed().as_nanos() as Nanos
    }

    fn wall_us(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as i64)
    }
}
