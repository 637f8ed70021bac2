//! The epoch clock: one word that asks for an epoch, one cache-padded line per shard that answers.
//!
//! The control thread raises `requested`; every shard reads it once per step, its sources stop at a
//! record boundary and send a barrier behind their rows; a shard whose sinks have all met the
//! barrier publishes `captured`. The graceful stop is a last epoch with the stop flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::counters::ShardCounters;
use crate::parker::{SleepFlag, Wake};

/// Number of an epoch; 0 is before the first.
pub type Epoch = u64;

/// What the control thread and all shards share: requests down, answers and counters up.
pub struct Control {
    /// The epoch asked for, shifted left by one; the lowest bit asks to stop with it.
    requested: CachePadded<AtomicU64>,
    abort: CachePadded<AtomicBool>,
    shards: Vec<ShardLine>,
}

/// One shard's answers.
#[derive(Default)]
struct ShardLine {
    captured: CachePadded<AtomicU64>,
    counters: ShardCounters,
    sleep: SleepFlag,
    waker: std::sync::OnceLock<Arc<dyn Wake>>,
}

/// What is asked of the shards now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The newest epoch asked for.
    pub epoch: Epoch,
    /// Whether the job ends with it.
    pub stop: bool,
}

impl Control {
    /// For `shards` shards.
    pub fn new(shards: usize) -> Arc<Control> {
        let shards = (0..shards).map(|_| ShardLine::default()).collect();
        Arc::new(Control {
            requested: CachePadded::default(),
            abort: CachePadded::default(),
            shards,
        })
    }

    /// Asks for the next epoch; nothing follows the last one.
    pub fn request_epoch(&self) {
        let raise = |word: u64| (word & 1 == 0).then_some(word + 2);
        let _ = self
            .requested
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, raise);
        self.wake_all();
    }

    /// Asks for a last epoch: everything complete is written, then the shards finish.
    pub fn request_stop(&self) {
        let raise = |word: u64| (word & 1 == 0).then_some((word + 2) | 1);
        // A second request changes nothing: the first one already stops.
        let _ = self
            .requested
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, raise);
        self.wake_all();
    }

    /// Makes every shard leave at its next step, whatever it was doing.
    pub fn abort(&self) {
        self.abort.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Whether the shards must leave.
    pub fn is_aborted(&self) -> bool {
        self.abort.load(Ordering::Acquire)
    }

    /// What is asked now.
    #[inline]
    pub fn request(&self) -> Request {
        let word = self.requested.load(Ordering::Acquire);
        Request {
            epoch: word >> 1,
            stop: word & 1 == 1,
        }
    }

    /// Shard `shard` has written everything up to the barrier of `epoch`.
    pub fn publish_captured(&self, shard: usize, epoch: Epoch) {
        self.shards[shard].captured.store(epoch, Ordering::Release);
    }

    /// The newest epoch that every shard has captured.
    pub fn captured(&self) -> Epoch {
        self.shards
            .iter()
            .map(|shard| shard.captured.load(Ordering::Acquire))
            .min()
            .unwrap_or(0)
    }

    /// The counters of shard `shard`.
    pub fn counters(&self, shard: usize) -> &ShardCounters {
        &self.shards[shard].counters
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The sleep flag of shard `shard`.
    pub fn sleep_flag(&self, shard: usize) -> &SleepFlag {
        &self.shards[shard].sleep
    }

    /// Says how shard `shard` is woken; once, before it first sleeps.
    pub fn set_waker(&self, shard: usize, waker: Arc<dyn Wake>) {
        let first = self.shards[shard].waker.set(waker).is_ok();
        assert!(first, "invariant: a shard has one waker");
    }

    /// Wakes shard `shard` if it sleeps. Called after something was made visible to it.
    #[inline]
    pub fn wake(&self, shard: usize) {
        let line = &self.shards[shard];
        if line.sleep.must_wake()
            && let Some(waker) = line.waker.get()
        {
            waker.wake();
        }
    }

    /// Wakes every shard that sleeps.
    pub fn wake_all(&self) {
        (0..self.shards.len()).for_each(|shard| self.wake(shard));
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_one_last_epoch_however_often_it_is_asked_for() {
        let control = Control::new(2);
        control.request_epoch();
        control.request_stop();
        control.request_stop();
        control.request_epoch();
        assert_eq!(control.request(), Request { epoch: 2, stop: true });
    }

    #[test]
    fn an_epoch_is_captured_when_the_slowest_shard_has_it() {
        let control = Control::new(2);
        control.publish_captured(0, 3);
        assert_eq!(control.captured(), 0);
        control.publish_captured(1, 2);
        assert_eq!(control.captured(), 2);
    }
}
