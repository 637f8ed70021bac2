//! Both executors drive a shard the same way: ends, errors, panics, sleep and wake-up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::probe;

/// A shard that follows a script: idle until told, then ends as it should.
struct Scripted {
    go: Arc<AtomicBool>,
    sleeps: Arc<AtomicU64>,
    timer: bool,
    end: fn() -> Result<Turn, Failure>,
}

impl ShardLoop for Scripted {
    fn turn(&mut self, now: Nanos) -> Result<Turn, Failure> {
        if self.go.load(Ordering::SeqCst) {
            return (self.end)();
        }
        Ok(Turn::Idle(self.timer.then_some(now + 200_000)))
    }

    fn prepare_to_sleep(&mut self) -> bool {
        let sleeps = self.sleeps.fetch_add(1, Ordering::SeqCst) + 1;
        // With a timer the shard goes on by itself after its third sleep.
        if self.timer && sleeps > 3 {
            self.go.store(true, Ordering::SeqCst);
        }
        !self.go.load(Ordering::SeqCst)
    }

    fn woken(&mut self) {}
}

struct Running {
    go: Arc<AtomicBool>,
    sleeps: Arc<AtomicU64>,
    waker: Arc<ShardWaker>,
    events: Receiver<Event>,
    handle: ShardHandle,
}

fn start(kind: ExecutorKind, timer: bool, end: fn() -> Result<Turn, Failure>) -> Running {
    let (sender, events) = channel();
    let (go, sleeps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let waker = Arc::new(ShardWaker::default());
    let scripted = Scripted {
        go: go.clone(),
        sleeps: sleeps.clone(),
        timer,
        end,
    };
    let task = ShardTask {
        shard: 3,
        core: crate::cores::allowed().expect("allowed")[0],
        make: Box::new(move || Ok(Box::new(scripted) as Box<dyn ShardLoop>)),
        waker: waker.clone(),
        events: sender,
        clock: ProcessClock::start(),
        idle: IdleMode::Eco,
    };
    let handle = kind.spawn(task).expect("spawned");
    Running {
        go,
        sleeps,
        waker,
        events,
        handle,
    }
}

fn kinds() -> Vec<ExecutorKind> {
    let mut kinds = vec![ExecutorKind::Thread];
    if probe::obstacle(&probe::facts()).is_none() {
        kinds.push(ExecutorKind::IoUring);
    }
    kinds
}

fn check(end: fn() -> Result<Turn, Failure>, expected: Result<(), Failure>) {
    for kind in kinds() {
        let running = start(kind, false, end);
        assert!(matches!(running.events.recv(), Ok(Event::Ready(3))), "{kind:?}");
        running.go.store(true, Ordering::SeqCst);
        running.waker.wake();
        match running.events.recv() {
            Ok(Event::Ended(3, outcome)) => assert_eq!(outcome, expected, "{kind:?}"),
            other => panic!("{kind:?}: {other:?}"),
        }
        assert_eq!(running.handle.join(), None, "{kind:?}");
        assert!(
            running.events.recv().is_err(),
            "{kind:?}: nothing follows the end"
        );
        running.waker.wake();
    }
}

#[test]
fn a_sleeping_shard_is_woken_and_ends() {
    check(|| Ok(Turn::Finished), Ok(()));
}

#[test]
fn an_error_of_the_job_is_handed_over() {
    check(
        || Err(Failure::Job("line 3 is no JSON".into())),
        Err(Failure::Job("line 3 is no JSON".into())),
    );
}

#[test]
fn a_panic_is_handed_over_with_its_message() {
    check(
        || panic!("invariant: {}", "a ring holds whole batches"),
        Err(Failure::Panic("invariant: a ring holds whole batches".into())),
    );
}

#[test]
fn a_shard_with_a_timer_wakes_by_itself() {
    for kind in kinds() {
        let running = start(kind, true, || Ok(Turn::Finished));
        assert!(matches!(running.events.recv(), Ok(Event::Ready(3))), "{kind:?}");
        assert!(
            matches!(running.events.recv(), Ok(Event::Ended(3, Ok(())))),
            "{kind:?}"
        );
        assert_eq!(running.sleeps.load(Ordering::SeqCst), 4, "{kind:?}");
        running.handle.join();
    }
}

#[test]
fn a_shard_that_cannot_be_made_ends_without_being_ready() {
    for kind in kinds() {
        let (sender, events) = channel();
        let task = ShardTask {
            shard: 0,
            core: crate::cores::allowed().expect("allowed")[0],
            make: Box::new(|| Err("the file is gone".into())),
            waker: Arc::new(ShardWaker::default()),
            events: sender,
            clock: ProcessClock::start(),
            idle: IdleMode::Balanced,
        };
        kind.spawn(task).expect("spawned").join();
        match events.recv() {
            Ok(Event::Ended(0, Err(Failure::Job(message)))) => assert_eq!(message, "the file is gone"),
            other => panic!("{kind:?}: {other:?}"),
        }
    }
}

#[test]
fn a_core_that_does_not_exist_is_a_failure_and_not_a_panic() {
    for kind in kinds() {
        let (sender, events) = channel();
        let task = ShardTask {
            shard: 0,
            core: 1_000,
            make: Box::new(|| Err("not reached".into())),
            waker: Arc::new(ShardWaker::default()),
            events: sender,
            clock: ProcessClock::start(),
            idle: IdleMode::Balanced,
        };
        match kind.spawn(task) {
            Err(message) => assert!(message.contains("1000"), "{message}"),
            Ok(handle) => {
                handle.join();
                assert!(
                    matches!(events.recv(), Ok(Event::Ended(0, Err(Failure::Start(_))))),
                    "{kind:?}"
                );
            }
        }
    }
}
