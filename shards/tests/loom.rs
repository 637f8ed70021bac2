//! Loom models of the ring, the sleep flag and both together: every interleaving (the larger
//! models: up to three preemptions) and every permitted reordering of two threads. Run by `scripts/loom`.
//!
//! The models sleep on a loom condition variable that stands for the runtime's thread or task: a
//! lost wake-up leaves the sleeper waiting for ever, which loom reports as a deadlock.

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use shards::parker::SleepFlag;
use shards::ring::{Consumer, Producer, ring};

/// Pushes `0..values`, giving way while the ring is full.
fn push_all(producer: &mut Producer<usize>, values: usize) {
    for value in 0..values {
        while producer.push(value).is_err() {
            thread::yield_now();
        }
    }
}

/// Pops until the producer is gone; answers what came, in order.
fn pop_all(consumer: &mut Consumer<usize>) -> Vec<usize> {
    let mut popped = Vec::new();
    loop {
        if let Some(value) = consumer.pop() {
            popped.push(value);
        } else if consumer.is_disconnected() {
            return popped;
        } else {
            thread::yield_now();
        }
    }
}

/// Explores the larger models up to three preemptions, which keeps them within seconds.
fn model_with_few_preemptions(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Whatever the interleaving, `values` values come out of a ring of `capacity` in order.
fn check_first_in_first_out(capacity: usize, values: usize) {
    model_with_few_preemptions(move || {
        let (mut producer, mut consumer) = ring(capacity);
        let pushing = thread::spawn(move || push_all(&mut producer, values));
        assert_eq!(pop_all(&mut consumer), (0..values).collect::<Vec<_>>());
        pushing.join().expect("the other thread does not panic");
    });
}

#[test]
fn a_ring_of_one_slot_keeps_order_and_loses_nothing() {
    check_first_in_first_out(1, 2);
}

#[test]
fn a_ring_of_two_slots_keeps_order_and_loses_nothing() {
    check_first_in_first_out(2, 3);
}

#[test]
fn what_was_pushed_before_the_producer_left_is_popped_before_the_end_is_seen() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2);
        let pushing = thread::spawn(move || {
            assert!(producer.push(1).is_ok());
            assert!(producer.push(2).is_ok());
        });
        assert_eq!(pop_all(&mut consumer), [1, 2]);
        pushing.join().expect("the other thread does not panic");
    });
}

#[test]
fn values_are_dropped_once_whichever_half_goes_first() {
    loom::model(|| {
        let value = Arc::new(());
        let (mut producer, mut consumer) = ring(2);
        let pushed = (value.clone(), value.clone());
        let pushing = thread::spawn(move || {
            // The consumer may be gone already: then the ring still owns and drops the values.
            assert!(producer.push(pushed.0).is_ok());
            assert!(producer.push(pushed.1).is_ok());
        });
        drop(consumer.pop());
        drop(consumer);
        pushing.join().expect("the other thread does not panic");
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

#[test]
fn a_producer_sees_that_its_consumer_left() {
    loom::model(|| {
        let (producer, consumer) = ring::<usize>(1);
        let leaving = thread::spawn(move || drop(consumer));
        while !producer.is_disconnected() {
            thread::yield_now();
        }
        leaving.join().expect("the other thread does not panic");
    });
}

/// What stands for the runtime: a token that wakes a sleeping thread, kept if nobody sleeps yet.
struct Sleeper {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Sleeper {
    fn new() -> Sleeper {
        Sleeper {
            woken: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    fn sleep(&self) {
        let mut woken = self.woken.lock().expect("invariant: nobody panics with the lock");
        while !*woken {
            woken = self
                .changed
                .wait(woken)
                .expect("invariant: nobody panics with the lock");
        }
        *woken = false;
    }

    fn wake(&self) {
        *self.woken.lock().expect("invariant: nobody panics with the lock") = true;
        self.changed.notify_one();
    }
}

/// The shard's protocol: look, announce, look again, sleep.
fn pop_or_sleep(consumer: &mut Consumer<usize>, flag: &SleepFlag, sleeper: &Sleeper) -> usize {
    loop {
        if let Some(value) = consumer.pop() {
            return value;
        }
        flag.announce();
        if consumer.is_empty() {
            sleeper.sleep();
        }
        flag.cancel();
    }
}

#[test]
fn a_consumer_that_goes_to_sleep_never_misses_a_push() {
    model_with_few_preemptions(|| {
        let (mut producer, mut consumer) = ring(2);
        let shared = Arc::new((SleepFlag::default(), Sleeper::new()));
        let waker = shared.clone();
        let pushing = thread::spawn(move || {
            for value in 0..2 {
                assert!(producer.push(value).is_ok(), "two slots for two values");
                if waker.0.must_wake() {
                    waker.1.wake();
                }
            }
        });
        let popped: Vec<usize> = (0..2)
            .map(|_| pop_or_sleep(&mut consumer, &shared.0, &shared.1))
            .collect();
        assert_eq!(popped, [0, 1]);
        pushing.join().expect("the other thread does not panic");
    });
}

#[test]
fn a_producer_that_waits_for_room_never_misses_a_pop() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(1);
        assert!(producer.push(0).is_ok());
        let shared = Arc::new((SleepFlag::default(), Sleeper::new()));
        let waiting = shared.clone();
        let pushing = thread::spawn(move || {
            while producer.push(1).is_err() {
                waiting.0.announce();
                if producer.free() == 0 {
                    waiting.1.sleep();
                }
                waiting.0.cancel();
            }
        });
        assert_eq!(consumer.pop(), Some(0));
        if shared.0.must_wake() {
            shared.1.wake();
        }
        pushing.join().expect("the other thread does not panic");
        assert_eq!(consumer.pop(), Some(1));
    });
}

/// Proves that the models can fail: the same protocol without its fences loses a wake-up.
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_a_wake_up_is_lost() {
    use loom::sync::atomic::{AtomicBool, Ordering};
    loom::model(|| {
        let (mut producer, mut consumer) = ring(1);
        let shared = Arc::new((AtomicBool::new(false), Sleeper::new()));
        let waker = shared.clone();
        let pushing = thread::spawn(move || {
            assert!(producer.push(7).is_ok());
            if waker.0.load(Ordering::Relaxed) {
                waker.1.wake();
            }
        });
        while consumer.pop().is_none() {
            shared.0.store(true, Ordering::Relaxed);
            if consumer.is_empty() {
                shared.1.sleep();
            }
            shared.0.store(false, Ordering::Relaxed);
        }
        pushing.join().expect("the other thread does not panic");
    });
}

/// What a shard sends around a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Row(usize),
    Barrier,
    End,
}

#[test]
fn a_barrier_through_two_rings_splits_the_rows_of_both_senders_alike() {
    loom::model(|| {
        let (mut first, mut from_first) = ring(4);
        let (mut second, mut from_second) = ring(4);
        let sending = thread::spawn(move || {
            for item in [Item::Row(1), Item::Barrier, Item::Row(2), Item::End] {
                assert!(first.push(item).is_ok());
            }
        });
        for item in [Item::Barrier, Item::Row(3), Item::End] {
            assert!(second.push(item).is_ok());
        }
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut aligned = [false; 2];
        let mut ended = [false; 2];
        while ended != [true; 2] {
            let mut moved = false;
            for (source, consumer) in [&mut from_first, &mut from_second].into_iter().enumerate() {
                let waits = aligned[source] && aligned != [true; 2];
                let Some(item) = (!waits).then(|| consumer.pop()).flatten() else {
                    continue;
                };
                moved = true;
                match item {
                    Item::Row(row) if aligned == [true; 2] => after.push(row),
                    Item::Row(row) => before.push(row),
                    Item::Barrier => aligned[source] = true,
                    Item::End => ended[source] = true,
                }
            }
            if !moved {
                thread::yield_now();
            }
        }
        after.sort_unstable();
        assert_eq!((before, after), (vec![1], vec![2, 3]));
        sending.join().expect("the other thread does not panic");
    });
}
