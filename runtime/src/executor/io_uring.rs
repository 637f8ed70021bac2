//! glommio executors on io_uring: the only file that names glommio.
//!
//! `spawn` answering `Ok` proves nothing: the ring is set up on the new thread. So the shard says
//! itself that it is ready, and a guard that the executor drops unheard says that it never was.
//!
//! The reactor never sleeps while the shard lives: the shard parks its thread itself, and never hands
//! control back before its end. glommio 0.9 looks whether its preemption timer has fired *before* it
//! runs a queue, and where it has, takes the queue for empty and goes to sleep beside a runnable
//! task, until something else wakes it. A thread that loses its core in that moment hangs: here about
//! one job of two hundred with more shards than cores. So the timer is set beyond any start-up.
//! Nothing is lost, as no connector has an io_uring request in flight yet; one that will have must
//! yield to the reactor and keep a glommio timer pending while it does.

use std::time::Duration;

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use super::{Driver, EndGuard, ShardTask};
/// Registered I/O memory: the least glommio takes, for connectors read through the kernel's cache.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// The preemption timer: so long that it never fires between the start and the shard's first turn.
const PREEMPT_INTERVAL: Duration = Duration::from_secs(3600);

/// The thread of a glommio executor.
pub struct Handle(ExecutorJoinHandle<()>);

impl Handle {
    /// Waits for its end; the error that kept it from starting, where one did.
    pub(super) fn join(self) -> Option<String> {
        self.0.join().err().map(|error| error.to_string())
    }
}

/// Starts the executor of a shard.
pub(super) fn spawn(task: ShardTask, mut end: EndGuard) -> Result<Handle, String> {
    LocalExecutorBuilder::new(Placement::Fixed(task.core))
        .name(&format!("shard-{}", task.shard))
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT_INTERVAL)
        .spawn(move || async move {
            let waker = task.waker.clone();
            let outcome = Driver::start(task).and_then(Driver::run);
            waker.set(None);
            end.tell(outcome);
        })
        .map(Handle)
        .map_err(|error| error.to_string())
}
