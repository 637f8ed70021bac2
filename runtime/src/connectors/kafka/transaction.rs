//! Exactly once: the messages of an epoch, of all shards, in one Kafka transaction, made when the epoch is durable.
//!
//! ```text
//! manifest of epoch e ─▶ begin ─▶ messages of e ─▶ offset e of the job's own group ─▶ commit ─▶ spools are deleted
//! ```
//! A transaction that was not committed when its process ended cannot be gone on with: the next producer of the same name
//! aborts it. So it is made again, from the spools that the checkpoint holds. Whether that is needed is told by Kafka: with
//! the messages, in the same transaction, the number of the epoch is committed as the offset of a consumer group that
//! belongs to the job alone. What is read of it behind `init_transactions` is final, because nobody before can commit any
//! more.
//!
//! **Invariant.** The offset of the job's group is the newest epoch whose messages are in the topic. It never goes back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shards::connector::ConnectorError;
use shards::epoch::Epoch;

use super::client::{ClientProperties, Context, described};
use super::deliveries::{Bounds, Deliveries, undelivered};
use super::direct::record;
use super::offsets::EVENTS_MAX;
use super::spool::{self, Spooled};
use crate::limits::KAFKA_COMMIT_PATIENCE_MS;
use crate::terminal::tell;

/// How long one request of a transaction may take.
const REQUEST_PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// The transactions of a table.
pub struct Transactions {
    properties: ClientProperties,
    topic: String,
    /// `transactional.id`: whoever uses it next ends what the one before has under way.
    id: String,
    /// The consumer group whose offset is the newest epoch.
    group: String,
    open: Mutex<Option<Open>>,
    /// How long attempts are made, and how long one request may take.
    patience: Duration,
    request_patience: Duration,
}

impl std::fmt::Debug for Transactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transactions")
            .field("id", &self.id)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// A producer that may make transactions.
struct Open {
    producer: BaseProducer<Deliveries>,
    group: BaseConsumer<Context>,
    /// The newest epoch in the topic; `None` where Kafka knows of none.
    newest: Option<Epoch>,
}

/// Why an attempt failed.
#[derive(Debug)]
enum Attempt {
    /// It may succeed another time.
    Again(String),
    /// It will not.
    Final(String),
}

impl From<ConnectorError> for Attempt {
    fn from(error: ConnectorError) -> Attempt {
        Attempt::Final(error.message)
    }
}

impl Transactions {
    /// The transactions of a table's sink in job `job`.
    pub fn new(properties: &ClientProperties, topic: &str, prefix: &str, job: &str) -> Transactions {
        let id = format!("{prefix}-{}", properties.table());
        Transactions {
            properties: properties.clone(),
            topic: topic.to_string(),
            group: format!("{id}-{job}"),
            id,
            open: Mutex::new(None),
            patience: Duration::from_millis(KAFKA_COMMIT_PATIENCE_MS),
            request_patience: REQUEST_PATIENCE,
        }
    }

    /// The job goes on behind `epoch`: whoever wrote before can write no more, and Kafka knows where the job stands.
    ///
    /// # Errors
    /// The topic has output of a later epoch, which cannot be taken back; no broker answers.
    pub fn begin(&self, epoch: Epoch) -> Result<(), ConnectorError> {
        self.until_done(|open| match open.newest {
            Some(newest) if newest > epoch => Err(Attempt::Final(format!(
                "the topic '{}' has the output of epoch {newest}, and the newest checkpoint that is whole is {epoch}: Kafka \
                 takes no records back, so that what follows would come twice; put the checkpoint back, or start with \
                 another checkpoint directory",
                self.topic
            ))),
            Some(_) => Ok(()),
            None => self.transaction(open, epoch, &[]),
        })
    }

    /// Makes the transaction of `epoch`, if it is not made yet, and deletes the spools.
    ///
    /// # Errors
    /// No broker answers for long; another job uses the name of the transactions; a spool is lost.
    pub fn commit(&self, epoch: Epoch, spools: &[Spooled]) -> Result<(), ConnectorError> {
        assert!(
            spools.iter().all(|spool| spool.epoch == epoch),
            "invariant: a transaction is an epoch's"
        );
        self.until_done(|open| match open.newest {
            Some(newest) if newest >= epoch => Ok(()),
            Some(_) => self.transaction(open, epoch, spools),
            // Kafka has forgotten the group, as it does after days without the job. A spool is deleted only behind
            // its transaction.
            None if spools.iter().all(|spool| !spool.path.exists()) => Ok(()),
            None => Err(Attempt::Final(format!(
                "Kafka does not know any more whether the output of epoch {epoch} is in topic '{}' (the group '{}' has no \
                 offset; brokers forget those of jobs that have not run for offsets.retention.minutes): look whether the \
                 topic has it, and delete {} if it does; else start with another checkpoint directory",
                self.topic,
                self.group,
                paths(spools)
            ))),
        })?;
        for spool in spools {
            // One that stays is deleted when the job starts the next time.
            let _ = std::fs::remove_file(&spool.path);
        }
        Ok(())
    }

    /// Waits until readers see the newest transaction: a commit is answered before its mark is in every partition. The
    /// brokers let a new producer of its name begin only behind that.
    ///
    /// # Errors
    /// No broker answers for long.
    pub fn await_shown(&self) -> Result<(), ConnectorError> {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.until_done(|_| Ok(()))
    }

    /// Tries `work` until it succeeds, each time with a new producer, which knows what became of the attempt before.
    fn until_done(
        &self,
        mut work: impl FnMut(&mut Open) -> Result<(), Attempt>,
    ) -> Result<(), ConnectorError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + self.patience;
        let mut is_told = false;
        loop {
            let done = match &mut *open {
                Some(open) => work(open),
                None => self.start().and_then(|started| work(open.insert(started))),
            };
            let reason = match done {
                Ok(()) => return Ok(()),
                Err(Attempt::Final(reason)) => {
                    *open = None;
                    return Err(self.error(&reason));
                }
                Err(Attempt::Again(reason)) => reason,
            };
            *open = None;
            if Instant::now() >= deadline {
                return Err(self.error(&format!(
                    "{reason}; tried for {} s; started again the job makes the transaction then",
                    self.patience.as_secs()
                )));
            }
            if !std::mem::replace(&mut is_told, true) {
                tell(&format!(
                    "warning: table '{}': a Kafka transaction is tried again: {reason}",
                    self.properties.table()
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// A producer that has ended what the one before had under way, and what Kafka knows behind that.
    fn start(&self) -> Result<Open, Attempt> {
        let refused = |error: KafkaError| Attempt::Final(self.properties.told(&error));
        let fixed = [
            ("transactional.id", self.id.as_str()),
            ("enable.idempotence", "true"),
        ];
        let defaults = [
            ("partitioner", "murmur2_random"),
            ("queue.buffering.max.kbytes", "65536"),
        ];
        let deliveries = Deliveries::new(Context::quiet(&self.properties), &self.topic, Bounds::NONE, None);
        let config = self.properties.config(&defaults, &fixed);
        let producer: BaseProducer<Deliveries> = config.create_with_context(deliveries).map_err(refused)?;
        producer
            .init_transactions(self.request_patience)
            .map_err(|error| attempt(&error, &producer, "beginning"))?;
        let group = self.properties.lookup(&self.group).map_err(Attempt::Final)?;
        let newest = self.newest(&group)?;
        Ok(Open {
            producer,
            group,
            newest,
        })
    }

    /// The offset of the job's group.
    fn newest(&self, group: &BaseConsumer<Context>) -> Result<Option<Epoch>, Attempt> {
        let answered = group
            .committed_offsets(self.marker(Offset::Invalid)?, self.request_patience)
            .map_err(|error| match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                    Attempt::Final(format!("the group '{}' may not be read", self.group))
                }
                code => Attempt::Again(code.map_or(error.to_string(), described)),
            })?;
        let found = answered.find_partition(&self.topic, 0);
        match found.map(|found| (found.error(), found.offset())) {
            Some((Ok(()), Offset::Offset(offset))) => Ok(Some(offset as Epoch)),
            Some((Err(error), _)) => Err(Attempt::Again(self.properties.told(&error))),
            _ => Ok(None),
        }
    }

    /// The list of the one partition under which the epoch is committed.
    fn marker(&self, offset: Offset) -> Result<TopicPartitionList, Attempt> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, 0, offset)
            .map_err(|error| Attempt::Final(self.properties.told(&error)))?;
        Ok(list)
    }

    fn transaction(&self, open: &mut Open, epoch: Epoch, spools: &[Spooled]) -> Result<(), Attempt> {
        let producer = &open.producer;
        let failed = |error: &KafkaError, doing: &str| attempt(error, producer, doing);
        producer
            .begin_transaction()
            .map_err(|error| failed(&error, "beginning"))?;
        for spooled in spools {
            spool::read(spooled, |message, partition| {
                send(producer, record(&self.topic, &message, partition), &self.topic)
            })?;
        }
        let offset = i64::try_from(epoch).expect("invariant: epochs are few");
        let metadata = open.group.group_metadata();
        let metadata = metadata.ok_or_else(|| Attempt::Final("the client knows no group".to_string()))?;
        producer
            .send_offsets_to_transaction(
                &self.marker(Offset::Offset(offset))?,
                &metadata,
                self.request_patience,
            )
            .map_err(|error| failed(&error, "noting the epoch of"))?;
        producer
            .commit_transaction(self.request_patience)
            .map_err(|error| failed(&error, "committing"))?;
        open.newest = Some(epoch);
        Ok(())
    }

    fn error(&self, reason: &str) -> ConnectorError {
        ConnectorError::new(format!("table '{}': {reason}", self.properties.table()))
    }
}

/// Hands a message to the producer, and waits while its queue is full.
fn send(
    producer: &BaseProducer<Deliveries>,
    mut record: rdkafka::producer::BaseRecord<'_, [u8], [u8]>,
    topic: &str,
) -> Result<(), Attempt> {
    let deadline = Instant::now() + REQUEST_PATIENCE;
    let bytes = record.payload.map_or(0, <[u8]>::len);
    loop {
        let (error, refused) = match producer.send(record) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) if Instant::now() < deadline => {
                producer.poll(Duration::from_millis(10));
                record = refused;
            }
            Some(code) => return Err(of_message(code, undelivered(code, topic, bytes))),
            None => return Err(Attempt::Final(error.to_string())),
        }
    }
}

/// What an error of a request means for the transaction.
fn attempt(error: &KafkaError, producer: &BaseProducer<Deliveries>, doing: &str) -> Attempt {
    // A message that was not delivered is the reason of what follows.
    for _ in 0..EVENTS_MAX {
        producer.poll(Duration::ZERO);
    }
    if let Some((code, text)) = producer.context().failure() {
        return of_message(code, text);
    }
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    let reason = producer.context().reason();
    let reason = if reason.is_empty() {
        reason
    } else {
        format!(" ({reason})")
    };
    match code {
        RDKafkaErrorCode::Fenced
        | RDKafkaErrorCode::ProducerFenced
        | RDKafkaErrorCode::InvalidProducerEpoch => Attempt::Final(
            "another job has taken over the transactions of this one: no two jobs may have the same \
                 'sink.transactional-id-prefix' for tables of the same name"
                .to_string(),
        ),
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed
        | RDKafkaErrorCode::GroupAuthorizationFailed
        | RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::InvalidTransactionTimeout
        | RDKafkaErrorCode::UnsupportedFeature
        | RDKafkaErrorCode::InvalidArgument => {
            Attempt::Final(format!("{doing} a transaction is refused: {code}"))
        }
        code => Attempt::Again(format!("{doing} a transaction: {}{reason}", described(code))),
    }
}

/// What a message that is not delivered means for the transaction.
fn of_message(code: RDKafkaErrorCode, text: String) -> Attempt {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge
        | RDKafkaErrorCode::InvalidMessageSize
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownPartition
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::InvalidMessage
        | RDKafkaErrorCode::InvalidRecord => Attempt::Final(text),
        _ => Attempt::Again(text),
    }
}

fn paths(spools: &[Spooled]) -> String {
    let paths: Vec<String> = spools
        .iter()
        .map(|spool| spool.path.display().to_string())
        .collect();
    paths.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::options::TableOptions;
    use crate::connectors::testing::table;

    #[test]
    fn a_commit_is_tried_again_until_patience_ends() {
        let options = [
            ("connector", "kafka"),
            ("topic", "t"),
            ("properties.bootstrap.servers", "127.0.0.1:1"),
        ];
        let table = table("t", &[], &options);
        let properties = ClientProperties::parse(&TableOptions::new(&table).unwrap()).unwrap();
        // Nobody listens there.
        let transactions = Transactions {
            patience: Duration::ZERO,
            request_patience: Duration::from_millis(100),
            ..Transactions::new(&properties, "t", "p", "job")
        };
        let error = transactions.begin(0).expect_err("no broker").message;
        assert!(error.starts_with("table 't': beginning a transaction"), "{error}");
        assert!(
            error.contains("started again the job makes the transaction"),
            "{error}"
        );
    }
}
