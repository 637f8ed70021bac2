//! Time as the shards see it: handed in by the runtime, or by the simulator.

/// Nanoseconds since the process (or the simulation) started.
pub type Nanos = u64;

/// A monotonic clock and the wall clock.
pub trait Clock {
    /// Nanoseconds since the start; never goes back.
    fn now(&self) -> Nanos;

    /// Wall clock, microseconds since 1970-01-01 UTC: only to clamp event times from the future.
    fn wall_us(&self) -> i64;
}
