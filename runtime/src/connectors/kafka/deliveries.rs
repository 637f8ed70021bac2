//! What a producer has been given and has not delivered yet: how much more it may take, and when its shard is to be woken.
//!
//! librdkafka counts a message against its queue until the report of its delivery has been dropped, which is behind the
//! callback that tells of it. A shard that was woken by the callback would find the queue still full, and of the last one
//! nobody would tell it again. So the bounds are kept here, and the client's own queue has room for twice as much: it
//! is never full.
//!
//! **Invariant.** Whoever finds no room is woken once there is half of it; a wake-up is never lost and never one a message.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use super::client::{Context, described};
use crate::connectors::Wake;

/// Nobody waits.
const NEVER: u64 = u64::MAX;

/// Messages or bytes on their way.
#[derive(Debug)]
struct Level {
    /// As much may be on its way.
    limit: u64,
    /// Written by the shard alone.
    sent: AtomicU64,
    /// Written by the client's thread alone.
    delivered: AtomicU64,
    /// The shard is to be woken once so much is delivered.
    wake_at: AtomicU64,
}

impl Level {
    fn new(limit: u64) -> Level {
        Level {
            limit,
            sent: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            wake_at: AtomicU64::new(NEVER),
        }
    }

    fn behind(&self) -> u64 {
        self.sent.load(Ordering::Relaxed) - self.delivered.load(Ordering::SeqCst)
    }

    fn send(&self, more: u64) {
        self.sent.fetch_add(more, Ordering::Relaxed);
    }

    /// Whether the shard is to be woken for it.
    fn deliver(&self, more: u64) -> bool {
        let delivered = self.delivered.fetch_add(more, Ordering::SeqCst) + more;
        let target = self.wake_at.load(Ordering::SeqCst);
        // One that has just been lowered is reached by now, or its owner sees that it is not needed.
        let disarm = || {
            self.wake_at
                .compare_exchange(target, NEVER, Ordering::SeqCst, Ordering::SeqCst)
        };
        delivered >= target && disarm().is_ok()
    }

    /// Asks to be woken once at most `left` is on its way; whether that is so already.
    fn await_at_most(&self, left: u64) -> bool {
        let target = self.sent.load(Ordering::Relaxed).saturating_sub(left);
        self.wake_at.fetch_min(target, Ordering::SeqCst);
        // Looked at behind asking: a delivery in between wakes nobody.
        self.delivered.load(Ordering::SeqCst) >= target
    }
}

/// How much a producer may have on its way.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Messages.
    pub messages: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Bounds {
    /// For a producer that is bounded otherwise.
    pub const NONE: Bounds = Bounds {
        messages: u64::MAX,
        bytes: u64::MAX,
    };
}

/// How much more a producer may be given.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    messages: u64,
    bytes: u64,
    /// It has nothing: then it takes one message, however large.
    is_idle: bool,
}

impl Room {
    /// Whether there is room for a message of `bytes`, which it then has not any more.
    pub fn take(&mut self, bytes: u64) -> bool {
        let is_free = self.is_idle || (self.messages > 0 && self.bytes >= bytes);
        if is_free {
            self.is_idle = false;
            self.messages = self.messages.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        is_free
    }
}

/// What a producer tells of its messages.
pub struct Deliveries {
    client: Context,
    topic: String,
    waker: Option<Arc<dyn Wake>>,
    messages: Level,
    bytes: Level,
    has_failed: AtomicBool,
    failure: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries")
            .field("messages", &self.messages)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Deliveries {
    /// For a producer to `topic`; `waker` is told of deliveries that somebody waits for.
    pub fn new(client: Context, topic: &str, bounds: Bounds, waker: Option<Arc<dyn Wake>>) -> Deliveries {
        Deliveries {
            client,
            topic: topic.to_string(),
            waker,
            messages: Level::new(bounds.messages),
            bytes: Level::new(bounds.bytes),
            has_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// The first message that could not be delivered: why.
    pub fn failure(&self) -> Option<(RDKafkaErrorCode, String)> {
        if !self.has_failed.load(Ordering::Acquire) {
            return None;
        }
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The reason for which a broker was not reached.
    pub fn reason(&self) -> String {
        self.client.reason()
    }

    /// How much more the producer may be given now.
    pub fn room(&self) -> Room {
        let (messages, bytes) = (self.messages.behind(), self.bytes.behind());
        Room {
            messages: self.messages.limit.saturating_sub(messages),
            bytes: self.bytes.limit.saturating_sub(bytes),
            is_idle: messages == 0,
        }
    }

    /// The producer was given a message of `bytes`.
    pub fn sent(&self, bytes: u64) {
        self.messages.send(1);
        self.bytes.send(bytes);
    }

    /// Asks to be woken once half of what may be on its way is delivered, and a message of `bytes` has room; whether
    /// that is so already.
    pub fn await_room(&self, bytes: u64) -> bool {
        let messages_left = match bytes > self.bytes.limit {
            true => 0,
            false => self.messages.limit / 2,
        };
        let bytes_left = (self.bytes.limit / 2).min(self.bytes.limit.saturating_sub(bytes));
        // Both are asked, whatever the first answers.
        self.messages.await_at_most(messages_left) & self.bytes.await_at_most(bytes_left)
    }

    /// Asks to be woken once everything is delivered; whether that is so already.
    pub fn await_all(&self) -> bool {
        self.messages.await_at_most(0)
    }

    fn delivered(&self, bytes: u64) {
        // Both are counted, also where one of them wakes.
        let wakes = self.bytes.deliver(bytes) | self.messages.deliver(1);
        if let Some(waker) = self.waker.as_ref().filter(|_| wakes) {
            waker.wake();
        }
    }

    fn failed(&self, code: RDKafkaErrorCode, bytes: usize) {
        let text = undelivered(code, &self.topic, bytes);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = failure.is_none();
        failure.get_or_insert((code, text));
        drop(failure);
        self.has_failed.store(true, Ordering::Release);
        if let Some(waker) = self.waker.as_ref().filter(|_| is_first) {
            waker.wake();
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        let message = match result {
            Ok(message) => {
                self.client.heard();
                message
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                self.failed(code, message.payload_len());
                message
            }
        };
        self.delivered((message.payload_len() + message.key_len()) as u64);
    }
}

/// Why a message did not come to its topic.
pub fn undelivered(code: RDKafkaErrorCode, topic: &str, bytes: usize) -> String {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize => format!(
            "a record of {bytes} bytes is too large for topic '{topic}'; raise 'properties.message.max.bytes' here and \
             max.message.bytes of the topic, or filter such rows out"
        ),
        code => format!(
            "a record could not be written to topic '{topic}': {}",
            described(code)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_room_is_woken_once_at_half() {
        let level = Level::new(10);
        level.send(10);
        assert!(!level.await_at_most(5));
        let woken: Vec<bool> = (0..10).map(|_| level.deliver(1)).collect();
        let expected: Vec<bool> = (1..=10).map(|delivered| delivered == 5).collect();
        assert_eq!(woken, expected);
        assert!(level.await_at_most(0), "all of it is delivered");
    }

    #[test]
    fn the_nearer_of_two_wishes_is_met_first() {
        let level = Level::new(10);
        level.send(10);
        assert!(!level.await_at_most(0));
        assert!(!level.await_at_most(8));
        assert!(!level.deliver(1));
        assert!(level.deliver(1), "eight are left");
        assert!(!level.deliver(8), "the other asks anew when it is woken");
    }

    #[test]
    fn room_is_of_messages_and_of_bytes() {
        let mut room = Room {
            messages: 2,
            bytes: 10,
            is_idle: false,
        };
        assert!(!room.take(11));
        assert!(room.take(9) && !room.take(2) && room.take(1) && !room.take(0));
        room.is_idle = true;
        assert!(room.take(1_000_000) && !room.take(1), "one of any size, alone");
    }

    #[test]
    fn no_wish_is_lost_between_two_threads() {
        const ROUNDS: u64 = 20_000;
        let level = Level::new(4);
        let woken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let deliverer = scope.spawn(|| {
                let mut delivered = 0;
                while delivered < ROUNDS {
                    if delivered < level.sent.load(Ordering::Relaxed) {
                        delivered += 1;
                        if level.deliver(1) {
                            woken.fetch_add(1, Ordering::SeqCst);
                        }
                    } else {
                        std::hint::spin_loop();
                    }
                }
            });
            for _ in 0..ROUNDS {
                level.send(1);
                let before = woken.load(Ordering::SeqCst);
                if !level.await_at_most(0) {
                    // A wish that was lost would hold this up for ever.
                    while woken.load(Ordering::SeqCst) == before && level.behind() > 0 {
                        std::hint::spin_loop();
                    }
                }
            }
            deliverer.join().unwrap();
        });
        assert_eq!(level.behind(), 0);
    }
}
