//! How a shard sleeps without losing a wake-up, and without a system call per push.
//!
//! The sleeper sets its flag, fences, looks at its rings again, and sleeps only if they are empty;
//! the waker pushes, fences, and reads the flag: whichever comes second sees the other (Dekker's
//! pattern; both fences are needed, as the loom model shows). A busy shard is never woken.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicBool, Ordering, fence};

/// How the runtime wakes the thread or task of a sleeping shard; calls may be spurious.
pub trait Wake: Send + Sync {
    /// Makes the shard run again soon.
    fn wake(&self);
}

/// The sleep flag of one shard.
#[derive(Debug)]
pub struct SleepFlag {
    sleeping: CachePadded<AtomicBool>,
}

impl Default for SleepFlag {
    fn default() -> SleepFlag {
        SleepFlag {
            sleeping: CachePadded::new(AtomicBool::new(false)),
        }
    }
}

impl SleepFlag {
    /// Announces the intention to sleep. The caller must look at all its inputs after this, and
    /// call [`SleepFlag::cancel`] if it found something.
    pub fn announce(&self) {
        // A swap as in `must_wake`: all changes of the flag are read-modify-writes, of which each
        // follows the one before, so a waker that fenced after us cannot read its own older answer.
        self.sleeping.swap(true, Ordering::Relaxed);
        // Pairs with the fence in `must_wake`: either the waker sees the flag, or we see its push.
        fence(Ordering::SeqCst);
    }

    /// The shard is awake.
    pub fn cancel(&self) {
        self.sleeping.swap(false, Ordering::Relaxed);
    }

    /// Called after something was made visible to the shard: whether it must be woken. Answers
    /// true to one caller per sleep.
    #[inline]
    pub fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed)
    }
}
