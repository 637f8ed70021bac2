//! Plain pinned threads: where io_uring is not permitted, and under checkers that cannot follow it.

use std::thread::{self, JoinHandle};

use super::{Driver, EndGuard, ShardTask};
use crate::events::Failure;

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
    Driver::start(task)?.run()
}
