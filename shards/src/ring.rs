//! The bounded single-producer/single-consumer ring between two shards: the project's only `unsafe`.
//!
//! Lamport's queue with cached opposite indices (as in FastForward and rtrb): the producer reads the
//! consumer's index only when its copy says "full", the consumer the producer's only when its copy
//! says "empty". Indices grow without bound and wrap; a slot is `index % capacity`, a power of two.
//!
//! **Invariant.** Slots `head..tail` hold values and belong to the consumer; all others are empty
//! and belong to the producer. Neither half can be cloned or shared, so each index has one writer.

use std::fmt;
use std::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell};

/// Slots, and the indices of both ends on cache lines of their own.
struct Shared<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Next slot to pop; written by the consumer alone.
    head: CachePadded<AtomicUsize>,
    /// Next slot to push; written by the producer alone.
    tail: CachePadded<AtomicUsize>,
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
}

// SAFETY: a slot is touched by the one half that owns it, and ownership moves by the
// release/acquire pairs on `head` and `tail`; so sharing the slots between two threads is sound
// whenever the values may move between threads.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; no reference to a value is ever handed out.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn slot(&self, index: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[index & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed);
        let mut index = head;
        while index != tail {
            // SAFETY: both halves are gone, so this thread owns every slot; `head..tail` are full.
            self.slot(index)
                .with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            index = index.wrapping_add(1);
        }
    }
}

/// The half that pushes.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    cached_head: usize,
}

/// The half that pops.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    cached_tail: usize,
}

/// A ring of at least `capacity` slots (rounded up to a power of two).
pub fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    assert!(capacity > 0, "invariant: a ring has a slot");
    let slots = (0..capacity.next_power_of_two())
        .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
        .collect();
    let shared = Arc::new(Shared {
        slots,
        head: CachePadded::new(AtomicUsize::new(0)),
        tail: CachePadded::new(AtomicUsize::new(0)),
        producer_gone: AtomicBool::new(false),
        consumer_gone: AtomicBool::new(false),
    });
    let consumer = Consumer {
        shared: shared.clone(),
        head: 0,
        cached_tail: 0,
    };
    (
        Producer {
            shared,
            tail: 0,
            cached_head: 0,
        },
        consumer,
    )
}

impl<T> Producer<T> {
    /// Appends `value`; hands it back when the ring is full.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.free() == 0 {
            return Err(value);
        }
        // SAFETY: `free` saw that slot `tail` was popped (acquire on `head`), so it is empty and
        // this half's; no other thread touches it until `tail` is published below.
        self.shared.slot(self.tail).with_mut(|slot| unsafe {
            (*slot).write(value);
        });
        self.tail = self.tail.wrapping_add(1);
        // Release: the consumer that acquires this `tail` sees the value written above.
        self.shared.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Slots that are certainly free.
    #[inline]
    pub fn free(&mut self) -> usize {
        let capacity = self.shared.slots.len();
        if self.tail.wrapping_sub(self.cached_head) == capacity {
            // Acquire: pairs with the consumer's release, which comes after it took the value out.
            self.cached_head = self.shared.head.load(Ordering::Acquire);
        }
        capacity - self.tail.wrapping_sub(self.cached_head)
    }

    /// Whether the consumer was dropped: nothing pushed will be seen.
    pub fn is_disconnected(&self) -> bool {
        self.shared.consumer_gone.load(Ordering::Acquire)
    }
}

impl<T> Consumer<T> {
    /// Takes the oldest value, if there is one.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: `is_empty` saw a `tail` beyond `head` (acquire), so the slot holds a value that
        // its producer has published and will not touch until `head` is published below.
        let value = self
            .shared
            .slot(self.head)
            .with(|slot| unsafe { (*slot).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        // Release: the producer that acquires this `head` may write the slot again, after our read.
        self.shared.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Whether nothing is there now.
    #[inline]
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.cached_tail {
            // Acquire: pairs with the producer's release, which comes after it wrote the value.
            self.cached_tail = self.shared.tail.load(Ordering::Acquire);
        }
        self.head == self.cached_tail
    }

    /// Whether the producer was dropped and everything it pushed has been popped.
    pub fn is_disconnected(&mut self) -> bool {
        // The flag is read first: values pushed before it was set are then visible to `is_empty`.
        self.shared.producer_gone.load(Ordering::Acquire) && self.is_empty()
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.producer_gone.store(true, Ordering::Release);
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.consumer_gone.store(true, Ordering::Release);
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("tail", &self.tail)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use std::sync::Arc as StdArc;

    #[test]
    fn values_come_out_in_the_order_they_went_in() {
        let (mut producer, mut consumer) = ring(3);
        for value in 0..4 {
            assert_eq!(producer.push(value), Ok(()));
        }
        assert_eq!(producer.push(4), Err(4), "three slots are rounded up to four");
        assert_eq!(
            (0..4).map(|_| consumer.pop()).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2), Some(3)]
        );
        assert_eq!(consumer.pop(), None);
    }

    #[test]
    fn values_left_in_the_ring_are_dropped_once() {
        let value = StdArc::new(());
        let (mut producer, mut consumer) = ring(4);
        for _ in 0..3 {
            assert!(producer.push(value.clone()).is_ok());
        }
        drop(consumer.pop());
        drop(producer);
        assert!(!consumer.is_disconnected(), "two values are left");
        drop(consumer);
        assert_eq!(StdArc::strong_count(&value), 1);
    }

    #[test]
    fn each_half_sees_that_the_other_is_gone() {
        let (producer, consumer) = ring::<u8>(1);
        drop(consumer);
        assert!(producer.is_disconnected());
        let (producer, mut consumer) = ring::<u8>(1);
        drop(producer);
        assert!(consumer.is_disconnected());
    }
}
