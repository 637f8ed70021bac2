//! Rows to a topic as they come: each shard has a producer, whose threads send what waits for them. `at-least-once` lets
//! an epoch count once every message before it is acknowledged; `none` does not wait.
//!
//! **Invariant.** Messages go to the producer in the order of rows. One that cannot be delivered stops the job; the job
//! goes on from an epoch before it.

use std::collections::VecDeque;
use std::sync::Arc;

use engine::batch::Batch;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use shards::connector::{ConnectorError, Prepared, Sink};

use super::client::{ClientProperties, Context};
use super::deliveries::{Bounds, Deliveries, undelivered};
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

/// A producer of one shard.
pub type ShardProducer = ThreadedProducer<Deliveries>;

/// What a producer is told unless `properties.*` says otherwise.
const DEFAULTS: [(&str, &str); 4] = [
    ("acks", "all"),
    // Order is kept by one request at a time. An idempotent producer has one for each partition, but while it is under way
    // and more messages wait, the client's thread spins: on a host that is busy it was several times slower.
    ("enable.idempotence", "false"),
    ("max.in.flight.requests.per.connection", "1"),
    ("partitioner", "murmur2_random"),
];

/// librdkafka's own defaults.
const QUEUE_MESSAGES: u64 = 100_000;
const MESSAGE_BYTES_MAX: u64 = 1_000_000;
/// The largest number that it takes.
const PROPERTY_MAX: u64 = i32::MAX as u64;

/// What may be on its way to the brokers, and a queue of the client that has room for twice as much.
fn bounds(properties: &ClientProperties) -> (Bounds, [(&'static str, String); 2]) {
    let number = |name: &str| properties.get(name).and_then(|text| text.parse::<u64>().ok());
    let messages = number("queue.buffering.max.messages").unwrap_or(QUEUE_MESSAGES);
    let kilobytes = number("queue.buffering.max.kbytes").unwrap_or(KAFKA_BEHIND_BYTES as u64 / 1024);
    let largest = number("message.max.bytes").unwrap_or(MESSAGE_BYTES_MAX) / 1024 + 1;
    let queue = [
        (
            "queue.buffering.max.messages",
            messages.saturating_mul(2).min(PROPERTY_MAX),
        ),
        (
            "queue.buffering.max.kbytes",
            kilobytes.max(largest).saturating_mul(2).min(PROPERTY_MAX),
        ),
    ];
    let bounds = Bounds {
        // Of librdkafka 0 is no bound.
        messages: if messages == 0 {
            u64::MAX
        } else {
            messages.min(PROPERTY_MAX / 2)
        },
        bytes: kilobytes.min(PROPERTY_MAX / 2) * 1024,
    };
    (bounds, queue.map(|(name, value)| (name, value.to_string())))
}

/// Makes the producer of a shard; its threads inherit the cores of the caller.
///
/// # Errors
/// The client refuses its properties.
pub fn producer(
    properties: &ClientProperties,
    topic: &str,
    waker: Arc<dyn Wake>,
) -> Result<ShardProducer, ConnectorError> {
    let (bounds, queue) = bounds(properties);
    let queue: Vec<(&str, &str)> = queue
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let deliveries = Deliveries::new(Context::new(properties), topic, bounds, Some(waker));
    properties
        .config(&DEFAULTS, &queue)
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

    /// Hands waiting messages to the producer; whether it took them all, else the shard is woken when there is room.
    fn hand_on(&mut self) -> Result<bool, ConnectorError> {
        if let Some((_, failure)) = self.deliveries().failure() {
            return Err(ConnectorError::new(failure));
        }
        let mut room = self.deliveries().room();
        while let Some(messages) = self.waiting.front() {
            while self.taken < messages.len() {
                let message = messages.get(self.taken);
                let bytes = message.bytes();
                while !room.take(bytes) {
                    room = self.deliveries().room();
                    if room.take(bytes) {
                        break;
                    }
                    if !self.deliveries().await_room(bytes) {
                        return Ok(false);
                    }
                }
                let record = record(&self.topic, &message, self.partitioner.choose());
                if let Err((error, _)) = self.producer.send(record) {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                    return Err(ConnectorError::new(undelivered(
                        code,
                        &self.topic,
                        bytes as usize,
                    )));
                }
                self.deliveries().sent(bytes);
                self.taken += 1;
            }
            self.waiting.pop_front();
            self.taken = 0;
        }
        Ok(true)
    }

    /// Whether everything that was written is acknowledged; else the shard is woken when it is.
    fn is_drained(&mut self) -> Result<bool, ConnectorError> {
        if !self.hand_on()? {
            return Ok(false);
        }
        let is_drained = self.deliveries().await_all();
        match self.deliveries().failure() {
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
