//! Plain pinned threads: where io_uring is not permitted, and under checkers that cannot follow it.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use shards::clock::Clock;

use super::{EndGuard, ShardTask, Spin, Turn, make_shard, sleep_time, take_turn};
use crate::events::Failure;

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Starts the thread of a shard.
pub(super) fn spawn(task: ShardTask, mut end: EndGuard) -> Result<JoinHandle<()>, String> {
    thread::Builder::new()
        .name(format!("shard-{}", task.shard))
        .spawn(move || {
            let waker = task.waker.clone();
            let outcome = run(task);
            waker.set(None);
            end.tell(outcome);
        })
        .map_err(|error| format!("cannot start a thread: {error}"))
}

fn run(task: ShardTask) -> Result<(), Failure> {
    let core = core_affinity::CoreId { id: task.core };
    if !core_affinity::set_for_current(core) {
        return Err(Failure::Start(format!(
            "it cannot be pinned to core {}",
            task.core
        )));
    }
    task.waker
        .set(Some(Waker::from(Arc::new(Unpark(thread::current())))));
    let mut shard = make_shard(task.shard, task.make, &task.events)?;
    let mut spin = Spin::new(task.idle);
    loop {
        let now = task.clock.now();
        match take_turn(shard.as_mut(), now)? {
            Turn::Worked => spin.reset(),
            Turn::Finished => return Ok(()),
            Turn::Idle(_) if !spin.is_over(now) => std::hint::spin_loop(),
            Turn::Idle(poll_at) => {
                if shard.prepare_to_sleep() {
                    match sleep_time(poll_at, &task.clock) {
                        Some(time) => thread::park_timeout(time),
                        None => thread::park(),
                    }
                    shard.woken();
                }
                spin.reset();
            }
        }
    }
}
