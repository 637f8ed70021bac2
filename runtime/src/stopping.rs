//! The decisions of a stop: when a second signal is a second one, and when waiting for a reader has an end.
//!
//! **Invariant.** Nothing here reads a clock: times are told.

use std::time::{Duration, Instant};

use crate::limits::{SAME_STOP_MS, STOP_PATIENCE_MS};

/// See the table of limits.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_millis(STOP_PATIENCE_MS);
const SAME_STOP: Duration = Duration::from_millis(SAME_STOP_MS);

/// The signals so far that asked to stop.
#[derive(Debug, Default)]
pub(crate) struct StopRequests {
    first: Option<Instant>,
}

impl StopRequests {
    /// A signal at `now` asks to stop; answers whether it is a second one, which ends the process at once.
    pub(crate) fn must_end(&mut self, now: Instant) -> bool {
        let first = *self.first.get_or_insert(now);
        now.saturating_duration_since(first) >= SAME_STOP
    }
}

/// How long a stop has waited for output that does not move.
#[derive(Debug, Default)]
pub(crate) struct StopPatience {
    /// What had been written when it last moved, and when that was.
    last: Option<(u64, Duration)>,
}

impl StopPatience {
    /// At `now` this much has been written, if more waits; answers whether it has stood still for too long.
    pub(crate) fn is_over(&mut self, backlog: Option<u64>, now: Duration) -> bool {
        let Some(written) = backlog else {
            self.last = None;
            return false;
        };
        match self.last {
            Some((before, since)) if before == written => now.saturating_sub(since) >= STOP_PATIENCE,
            _ => {
                self.last = Some((written, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_comes_twice_at_once_is_one() {
        let start = Instant::now();
        let mut stops = StopRequests::default();
        assert!(!stops.must_end(start));
        assert!(!stops.must_end(start + SAME_STOP / 2));
        assert!(stops.must_end(start + SAME_STOP));
    }

    #[test]
    fn patience_ends_when_output_has_not_moved_for_long_enough() {
        let mut patience = StopPatience::default();
        let seconds = Duration::from_secs;
        assert!(!patience.is_over(Some(7), seconds(1)));
        assert!(!patience.is_over(Some(7), seconds(1) + STOP_PATIENCE / 2));
        assert!(!patience.is_over(Some(8), seconds(1) + STOP_PATIENCE), "it moved");
        assert!(patience.is_over(Some(8), seconds(1) + STOP_PATIENCE * 2));
    }

    #[test]
    fn output_with_nothing_to_write_is_not_stuck() {
        let mut patience = StopPatience::default();
        assert!(!patience.is_over(Some(7), Duration::ZERO));
        assert!(!patience.is_over(None, STOP_PATIENCE * 2));
        assert!(!patience.is_over(Some(7), STOP_PATIENCE * 3));
    }
}
