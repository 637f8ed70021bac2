//! The clock of the process: one start, read by every shard and by the control thread.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shards::clock::{Clock, Nanos};

/// Time since the process (the job) started, from `Instant`; wall time from the system.
#[derive(Clone, Copy, Debug)]
pub struct ProcessClock {
    start: Instant,
    start_wall: SystemTime,
}

impl ProcessClock {
    /// A clock that starts now.
    pub fn start() -> ProcessClock {
        ProcessClock {
            start: Instant::now(),
            start_wall: SystemTime::now(),
        }
    }

    /// The wall clock at the start.
    pub fn start_wall(&self) -> SystemTime {
        self.start_wall
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Nanos {
        // 2^64 nanoseconds are 584 years.
        self.start.elapsed().as_nanos() as Nanos
    }

    fn wall_us(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as i64)
    }
}
