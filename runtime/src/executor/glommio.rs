//! glommio executors on io_uring: the only file that names glommio.
//!
//! `spawn` answering `Ok` proves nothing: the ring is set up on the new thread. So the shard says
//! itself that it is ready, and a guard that the executor drops unheard says that it never was.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use glommio::timer::Timer;
use glommio::{ExecutorJoinHandle, Latency, LocalExecutorBuilder, Placement, Shares};
use shards::clock::Clock;

use super::{EndGuard, ShardTask, Spin, Turn, make_shard, sleep_time, take_turn};
use crate::events::Failure;

/// Registered I/O memory: the least glommio takes, for connectors read through the kernel's cache.
const IO_MEMORY_BYTES: usize = 64 << 10;

/// How often a busy shard lets the reactor look at its rings.
const PREEMPT_INTERVAL: Duration = Duration::from_millis(1);

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
            let outcome = run_in_queue(task).await;
            waker.set(None);
            end.tell(outcome);
        })
        .map(Handle)
        .map_err(|error| error.to_string())
}

/// Runs the shard in a task queue of its own: wake-ups from other cores are only forced through
/// for queues to which latency matters.
async fn run_in_queue(task: ShardTask) -> Result<(), Failure> {
    let latency = Latency::Matters(PREEMPT_INTERVAL);
    let queue = glommio::executor().create_task_queue(Shares::default(), latency, "shard");
    glommio::spawn_local_into(run(task), queue)
        .map_err(|error| Failure::Start(error.to_string()))?
        .await
}

async fn run(task: ShardTask) -> Result<(), Failure> {
    std::future::poll_fn(|context| {
        task.waker.set(Some(context.waker().clone()));
        Poll::Ready(())
    })
    .await;
    let mut shard = make_shard(task.shard, task.make, &task.events)?;
    let mut spin = Spin::new(task.idle);
    loop {
        let now = task.clock.now();
        match take_turn(shard.as_mut(), now)? {
            Turn::Worked => {
                spin.reset();
                glommio::yield_if_needed().await;
            }
            Turn::Finished => return Ok(()),
            Turn::Idle(_) if !spin.is_over(now) => std::hint::spin_loop(),
            Turn::Idle(poll_at) => {
                if shard.prepare_to_sleep() {
                    sleep(sleep_time(poll_at, &task.clock)).await;
                    shard.woken();
                }
                spin.reset();
            }
        }
    }
}

/// The longest sleep. glommio can lose a wake-up from another thread (its issue #494; seen here with
/// more shards than cores), so a sleeper looks around by itself.
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Sleeps until the task is woken, by another core or by the timer.
async fn sleep(time: Option<Duration>) {
    let mut timer = pin!(Timer::new(time.map_or(SLEEP_MAX, |time| time.min(SLEEP_MAX))));
    UntilWoken {
        timer: timer.as_mut(),
        asleep: false,
    }
    .await;
}

/// Pending once, ready at the next poll, whoever caused it.
struct UntilWoken<'a> {
    timer: Pin<&'a mut Timer>,
    asleep: bool,
}

impl Future for UntilWoken<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.asleep {
            return Poll::Ready(());
        }
        self.asleep = true;
        self.timer.as_mut().poll(context).map(|_| ())
    }
}
