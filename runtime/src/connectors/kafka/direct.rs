//! Rows to a topic as they come: each shard has a producer, whose threads send what waits for them. `at-least-once` lets
//! an epoch count once every message before it is acknowledged; `none` does not wait.
//!
//! **Invariant.** Messages go to the producer in the order of rows. One that cannot be delivered stops the job; the job
//! goes on from an epoch before it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::batch::Batch;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use shards::connector::{ConnectorError, Prepared, Sink};

use super::client::{ClientProperties, Context, described};
use super::encode::{Message, Messages, RowEncoder};
use crate::connectors::Wake;
use crate::limits::KAFKA_BEHIND_BYTES;

/// Which partition a row goes to.
#[derive(Clone, Debug)]
pub enum Partitioner {
    /// The one that its key's hash says, as Kafka's clients do; without a key any.
    ByKey,
    /// Always this one.
    Fixed(i32),
    /// One after the other.
    RoundRobin {
        /// The next.
        next: i32,
        /// How many there are.
        partitions: i32,
    },
}

impl Partitioner {
    /// The partition of the next row; `None` where its key says it.
    pub fn choose(&mut self) -> Option<i32> {
        match self {
            Partitioner::ByKey => None,
            Partitioner::Fixed(partition) => Some(*partition),
            Partitioner::RoundRobin { next, partitions } => {
                let chosen = *next;
                *next = (chosen + 1) % *partitions;
                Some(chosen)
            }
        }
    }
}

/// A message for the producer's queue.
pub fn record<'m>(
    topic: &'m str,
    message: &Message<'m>,
    partition: Option<i32>,
) -> BaseRecord<'m, [u8], [u8]> {
    let mut record = BaseRecord::to(topic);
    if let Some(key) = message.key {
        record = record.key(key);
    }
    if let Some(value) = message.value {
        record = record.payload(value);
    }
    if let Some(timestamp) = message.timestamp {
        record = record.timestamp(timestamp);
    }
    match partition {
        Some(partition) => record.partition(partition),
        None => record,
    }
}

/// What a producer tells of its messages.
pub struct Deliveries {
    client: Context,
    topic: String,
    waker: Option<Arc<dyn Wake>>,
    sent: AtomicU64,
    delivered: AtomicU64,
    /// The shard wants to know of the next delivery.
    is_awaited: AtomicBool,
    has_failed: AtomicBool,
    failure: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries")
            .field("sent", &self.sent)
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}

impl Deliveries {
    /// For a producer of `table` to `topic`; `waker` is told of deliveries that somebody waits for.
    pub fn new(client: Context, topic: &str, waker: Option<Arc<dyn Wake>>) -> Deliveries {
        Deliveries {
            client,
            topic: topic.to_string(),
            waker,
            sent: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            is_awaited: AtomicBool::new(false),
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

    fn is_drained(&self) -> bool {
        self.delivered.load(Ordering::Acquire) == self.sent.load(Ordering::Acquire)
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
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let text = undelivered(code, &self.topic, message.payload_len());
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert((code, text));
            self.has_failed.store(true, Ordering::Release);
        } else {
            self.client.heard();
        }
        self.delivered.fetch_add(1, Ordering::AcqRel);
        if self.is_awaited.swap(false, Ordering::AcqRel)
            && let Some(waker) = &self.waker
        {
            waker.wake();
        }
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

/// A producer of one shard.
pub type ShardProducer = ThreadedProducer<Deliveries>;

/// Makes the producer of a shard; its threads inherit the cores of the caller.
///
/// # Errors
/// The client refuses its properties.
pub fn producer(
    properties: &ClientProperties,
    topic: &str,
    waker: Arc<dyn Wake>,
) -> Result<ShardProducer, ConnectorError> {
    let behind = (KAFKA_BEHIND_BYTES / 1024).to_string();
    let defaults = [
        ("queue.buffering.max.kbytes", behind.as_str()),
        // Order is kept, and a record that is sent twice is written once.
        ("enable.idempotence", "true"),
        ("partitioner", "murmur2_random"),
    ];
    let deliveries = Deliveries::new(Context::new(properties), topic, Some(waker));
    properties
        .config(&defaults, &[])
        .create_with_context(deliveries)
        .map_err(|error| {
            ConnectorError::new(format!(
                "table '{}': {}",
                properties.table(),
                properties.told(&error)
            ))
        })
}

/// A shard's part of a sink that writes as rows come.
pub struct DirectSink {
    producer: ShardProducer,
    topic: String,
    encoder: RowEncoder,
    partitioner: Partitioner,
    /// Messages that the producer has not taken yet, and how many of the first it has.
    waiting: VecDeque<Messages>,
    taken: usize,
    /// An epoch waits for its messages.
    is_acknowledged: bool,
}

impl DirectSink {
    /// A sink that writes through `producer`.
    pub fn new(
        producer: ShardProducer,
        topic: &str,
        encoder: RowEncoder,
        partitioner: Partitioner,
        is_acknowledged: bool,
    ) -> DirectSink {
        DirectSink {
            producer,
            topic: topic.to_string(),
            encoder,
            partitioner,
            waiting: VecDeque::new(),
            taken: 0,
            is_acknowledged,
        }
    }

    fn deliveries(&self) -> &Deliveries {
        self.producer.client().context()
    }

    /// Hands waiting messages to the producer; whether it took them all.
    fn hand_on(&mut self) -> Result<bool, ConnectorError> {
        if let Some((_, failure)) = self.deliveries().failure() {
            return Err(ConnectorError::new(failure));
        }
        let mut was_full = false;
        while let Some(messages) = self.waiting.front() {
            while self.taken < messages.len() {
                let message = messages.get(self.taken);
                let mut partitioner = self.partitioner.clone();
                let record = record(&self.topic, &message, partitioner.choose());
                match self.producer.send(record) {
                    Ok(()) => {
                        self.producer
                            .client()
                            .context()
                            .sent
                            .fetch_add(1, Ordering::AcqRel);
                        self.partitioner = partitioner;
                        self.taken += 1;
                        was_full = false;
                    }
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                        if was_full {
                            return Ok(false);
                        }
                        // Looked at once more after asking: a delivery in between wakes nobody.
                        was_full = true;
                        self.deliveries().is_awaited.store(true, Ordering::Release);
                    }
                    Err((error, _)) => {
                        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                        let bytes = message.value.map_or(0, <[u8]>::len);
                        return Err(ConnectorError::new(undelivered(code, &self.topic, bytes)));
                    }
                }
            }
            self.waiting.pop_front();
            self.taken = 0;
        }
        Ok(true)
    }

    /// Whether everything that was written is acknowledged; else the shard is woken by the next delivery.
    fn is_drained(&mut self) -> Result<bool, ConnectorError> {
        if !self.hand_on()? {
            return Ok(false);
        }
        let deliveries = self.deliveries();
        if !deliveries.is_drained() {
            deliveries.is_awaited.store(true, Ordering::Release);
        }
        let is_drained = deliveries.is_drained();
        match deliveries.failure() {
            Some((_, failure)) => Err(ConnectorError::new(failure)),
            None => Ok(is_drained),
        }
    }
}

impl Sink for DirectSink {
    fn ready(&mut self) -> bool {
        // An error is told by the write that follows.
        self.waiting.is_empty() || self.hand_on().unwrap_or(true)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let messages = self.encoder.encode(batch)?;
        if !messages.is_empty() {
            self.waiting.push_back(messages);
        }
        self.hand_on().map(|_| ())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.hand_on().map(|_| ())
    }

    fn prepare(&mut self) -> Result<Vec<Prepared>, ConnectorError> {
        self.hand_on()?;
        Ok(Vec::new())
    }

    fn is_settled(&mut self) -> Result<bool, ConnectorError> {
        match self.is_acknowledged {
            true => self.is_drained(),
            false => self.hand_on(),
        }
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        self.is_drained()
    }
}
