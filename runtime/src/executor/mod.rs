//! Executors: one pinned thread per shard, on io_uring or on plain threads.
//!
//! Both drive the same [`ShardLoop`] by the same [`Driver`]: turn by turn; when nothing moved, spin
//! briefly, then announce sleep, look once more, and park the thread until woken or until the
//! shard's next timer.
//!
//! **Invariant.** Whatever becomes of a shard's thread, exactly one [`Event::Ended`] tells it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Thread, current, park, park_timeout};
use std::time::Duration;

use clap::ValueEnum;
use shards::clock::{Clock, Nanos};

use crate::clock::ProcessClock;
use crate::events::{Event, Failure};

mod io_uring;
mod thread;

/// What a shard's turn brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something moved: take another turn.
    Worked,
    /// Nothing to do until woken, or until this time.
    Idle(Option<Nanos>),
    /// The job has ended on this shard.
    Finished,
}

/// A shard as an executor drives it; lives on one thread.
pub trait ShardLoop {
    /// Does a bounded amount of work.
    ///
    /// # Errors
    /// The job must stop for this reason.
    fn turn(&mut self, now: Nanos) -> Result<Turn, Failure>;

    /// Announces sleep and looks once more: false when something has arrived, and the announcement
    /// is taken back.
    fn prepare_to_sleep(&mut self) -> bool;

    /// Takes the announcement back after a sleep.
    fn woken(&mut self);
}

/// Makes a shard on its own thread, so that it and all it holds may stay there.
pub type MakeShard = Box<dyn FnOnce() -> Result<Box<dyn ShardLoop>, String> + Send>;

/// A shard that is to run.
pub struct ShardTask {
    /// Its number.
    pub shard: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// Makes it.
    pub make: MakeShard,
    /// Filled once its executor is up.
    pub waker: Arc<ShardWaker>,
    /// Where it tells how it fares.
    pub events: Sender<Event>,
    /// The process clock.
    pub clock: ProcessClock,
    /// How it idles.
    pub idle: IdleMode,
}

/// What a shard does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum IdleMode {
    /// Spin for 35 microseconds, then sleep
    #[default]
    Balanced,
    /// Spin for 100 microseconds, then sleep: fewer slow wake-ups
    Latency,
    /// Sleep at once: no CPU time while idle
    Eco,
}

impl IdleMode {
    /// How long a shard spins before it sleeps.
    pub fn spin_ns(self) -> Nanos {
        match self {
            IdleMode::Balanced => 35_000,
            IdleMode::Latency => 100_000,
            IdleMode::Eco => 0,
        }
    }
}

/// Which executor runs the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorKind {
    /// glommio on io_uring.
    IoUring,
    /// Plain pinned threads.
    Thread,
}

/// The thread of a running shard.
pub enum ShardHandle {
    /// A glommio executor.
    IoUring(io_uring::Handle),
    /// A plain thread.
    Thread(std::thread::JoinHandle<()>),
}

impl ExecutorKind {
    /// Starts a shard's thread. That it is up is told by [`Event::Ready`], not by this answer.
    ///
    /// # Errors
    /// The thread cannot be started, for this reason; [`Event::Ended`] is told all the same.
    pub fn spawn(self, task: ShardTask) -> Result<ShardHandle, String> {
        let end = EndGuard {
            shard: task.shard,
            events: task.events.clone(),
            told: false,
        };
        match self {
            ExecutorKind::IoUring => io_uring::spawn(task, end).map(ShardHandle::IoUring),
            ExecutorKind::Thread => thread::spawn(task, end).map(ShardHandle::Thread),
        }
    }
}

impl ShardHandle {
    /// Waits for the thread's end; the error that kept an executor from starting, where one did.
    pub fn join(self) -> Option<String> {
        match self {
            ShardHandle::IoUring(handle) => handle.join(),
            ShardHandle::Thread(handle) => handle.join().err().map(panic_message),
        }
    }
}

/// Wakes one shard from any thread; silent before the shard is up and after it has ended.
///
/// The lock is taken to wake a sleeper and at a shard's start and end, never per row or batch.
#[derive(Debug, Default)]
pub struct ShardWaker {
    thread: Mutex<Option<Thread>>,
}

impl ShardWaker {
    /// Makes the shard take a turn soon, if it sleeps.
    pub fn wake(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.as_ref() {
            thread.unpark();
        }
    }

    /// From now on `wake` reaches this thread; `None` at the shard's end.
    fn set(&self, thread: Option<Thread>) {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = thread;
    }
}

/// Tells the control thread that a shard's loop has ended, also when its thread dies unheard.
struct EndGuard {
    shard: usize,
    events: Sender<Event>,
    told: bool,
}

impl EndGuard {
    fn tell(&mut self, outcome: Result<(), Failure>) {
        assert!(!self.told, "invariant: a shard ends once");
        self.told = true;
        // The control thread may have given up on the job; then nobody needs to know.
        let _ = self.events.send(Event::Ended(self.shard, outcome));
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if !self.told {
            self.tell(Err(Failure::Start("its thread ended before it started".into())));
        }
    }
}

/// Makes the shard, a panic being a failure like any other, and says that it is ready.
fn make_shard(shard: usize, make: MakeShard, events: &Sender<Event>) -> Result<Box<dyn ShardLoop>, Failure> {
    let made = catch_unwind(AssertUnwindSafe(make))
        .map_err(|panic| Failure::Panic(panic_message(panic)))?
        .map_err(Failure::Job)?;
    let _ = events.send(Event::Ready(shard));
    Ok(made)
}

/// One turn, a panic being a failure like any other.
fn take_turn(shard: &mut dyn ShardLoop, now: Nanos) -> Result<Turn, Failure> {
    match catch_unwind(AssertUnwindSafe(|| shard.turn(now))) {
        Ok(turn) => turn,
        Err(panic) => Err(Failure::Panic(panic_message(panic))),
    }
}

/// Drives one shard on its own thread, turn by turn.
struct Driver {
    shard: Box<dyn ShardLoop>,
    clock: ProcessClock,
    spin: Spin,
}

impl Driver {
    /// Makes the shard on the calling thread, which is the one that its waker will reach.
    fn start(task: ShardTask) -> Result<Driver, Failure> {
        task.waker.set(Some(current()));
        Ok(Driver {
            shard: make_shard(task.shard, task.make, &task.events)?,
            clock: task.clock,
            spin: Spin::new(task.idle),
        })
    }

    /// Takes turns until the shard's end; where one brought nothing, spins or sleeps.
    fn run(mut self) -> Result<(), Failure> {
        loop {
            let now = self.clock.now();
            match take_turn(self.shard.as_mut(), now)? {
                Turn::Worked => self.spin.reset(),
                Turn::Finished => return Ok(()),
                Turn::Idle(_) if !self.spin.is_over(now) => std::hint::spin_loop(),
                Turn::Idle(poll_at) => {
                    self.sleep(poll_at);
                    self.spin.reset();
                }
            }
        }
    }

    /// Parks the thread. A wake-up between the announcement and the parking is kept by the thread's
    /// token, so none is lost.
    fn sleep(&mut self, poll_at: Option<Nanos>) {
        if !self.shard.prepare_to_sleep() {
            return;
        }
        match poll_at {
            None => park(),
            Some(at) => park_timeout(Duration::from_nanos(at.saturating_sub(self.clock.now()))),
        }
        self.shard.woken();
    }
}

/// Counts how long a shard has found nothing to do.
struct Spin {
    limit_ns: Nanos,
    since: Option<Nanos>,
}

impl Spin {
    fn new(idle: IdleMode) -> Spin {
        Spin {
            limit_ns: idle.spin_ns(),
            since: None,
        }
    }

    /// Something moved.
    fn reset(&mut self) {
        self.since = None;
    }

    /// Nothing moved at `now`; whether it is time to sleep.
    fn is_over(&mut self, now: Nanos) -> bool {
        let since = *self.since.get_or_insert(now);
        now.saturating_sub(since) >= self.limit_ns
    }
}

impl shards::parker::Wake for ShardWaker {
    fn wake(&self) {
        ShardWaker::wake(self);
    }
}

/// The words of a panic.
fn panic_message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast_ref::<&str>().map_or_else(
            || "a panic without a message".to_owned(),
            |message| (*message).to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests;
