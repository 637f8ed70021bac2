//! A plain client of a Kafka broker, for tests, for scripts (`kafka-client`) and for a comparison: it knows nothing of Velocore.
//!
//! **Invariant.** What is read is all that was written before reading began: where a transaction is under way, or is
//! committed and not shown yet, its end is waited for. (A commit is answered before brokers have marked it in every
//! partition: a reader that does not wait misses whole partitions of it.)

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long a broker may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A broker.
pub struct Plain {
    brokers: String,
}

impl Plain {
    pub fn new(brokers: &str) -> Plain {
        Plain {
            brokers: brokers.to_string(),
        }
    }

    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    pub fn admin(&self) -> Result<AdminClient<DefaultClientContext>, String> {
        self.config().create().map_err(failed)
    }

    pub fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<(), String> {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        answered(block_on(self.admin()?.create_topics([&new], &patiently())))?;
        self.until_known(topic, partitions)
    }

    pub fn delete(&self, topic: &str) -> Result<(), String> {
        answered(block_on(self.admin()?.delete_topics(&[topic], &patiently())))
    }

    pub fn grow(&self, topic: &str, partitions: i32) -> Result<(), String> {
        let new = NewPartitions::new(topic, partitions as usize);
        answered(block_on(self.admin()?.create_partitions([&new], &patiently())))
    }

    /// A topic is made before every broker knows of it.
    fn until_known(&self, topic: &str, partitions: i32) -> Result<(), String> {
        let consumer: BaseConsumer = self.config().create().map_err(failed)?;
        let started = Instant::now();
        loop {
            let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).map_err(failed)?;
            let known = metadata
                .topics()
                .first()
                .map_or(0, |topic| topic.partitions().len());
            if known == partitions as usize {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{topic}: {known} of {partitions} partitions are known"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn reader(&self, isolation: &str) -> Result<BaseConsumer, String> {
        let mut config = self.config();
        config
            .set("group.id", "plain")
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.queue.backoff.ms", "5");
        config.create().map_err(failed)
    }

    /// Hands every record of `topic` that is there to `take`: those of committed transactions, or all. While a
    /// transaction is under way `waiting` is called now and then.
    pub fn read(
        &self,
        topic: &str,
        committed: bool,
        mut waiting: impl FnMut(),
        mut take: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), String> {
        let consumer = self.reader(if committed {
            "read_committed"
        } else {
            "read_uncommitted"
        })?;
        let mut ends = ranges(&consumer, topic)?;
        let last = ranges(&self.reader("read_uncommitted")?, topic)?;
        let started = Instant::now();
        let is_shown =
            |ends: &BTreeMap<i32, (i64, i64)>| last.iter().all(|(id, range)| ends[id].1 >= range.1);
        while !is_shown(&ends) {
            if started.elapsed() > PATIENCE {
                return Err(format!(
                    "{topic}: a transaction is under way for {} s",
                    PATIENCE.as_secs()
                ));
            }
            waiting();
            std::thread::sleep(Duration::from_millis(20));
            ends = ranges(&consumer, topic)?;
        }
        ends.retain(|_, (first, end)| first < end);
        let mut list = TopicPartitionList::new();
        for (&partition, &(first, _)) in &ends {
            list.add_partition_offset(topic, partition, Offset::Offset(first))
                .map_err(failed)?;
        }
        consumer.assign(&list).map_err(failed)?;
        let mut heard = Instant::now();
        while !ends.is_empty() {
            match consumer.poll(Duration::from_millis(100)) {
                None if heard.elapsed() > PATIENCE => {
                    return Err(format!("{topic}: no record for {} s", PATIENCE.as_secs()));
                }
                None => {}
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ends.remove(&partition);
                }
                Some(Err(error)) => return Err(failed(error)),
                Some(Ok(message)) => {
                    heard = Instant::now();
                    take(&message);
                    let (id, next) = (message.partition(), message.offset() + 1);
                    if ends.get(&id).is_some_and(|&(_, end)| next >= end) {
                        ends.remove(&id);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The first offset of each partition, and the one behind the last that the client may see.
fn ranges(consumer: &BaseConsumer, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, String> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).map_err(failed)?;
    let found = metadata.topics().first().ok_or("no topic")?;
    if let Some(error) = found.error() {
        return Err(format!("{topic}: {}", RDKafkaErrorCode::from(error)));
    }
    let started = Instant::now();
    let range = |partition: i32| loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Ok(range) => return Ok((partition, range)),
            // A broker that has just started has no leaders for a moment.
            Err(_) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => return Err(failed(error)),
        }
    };
    found
        .partitions()
        .iter()
        .map(|partition| range(partition.id()))
        .collect()
}

fn patiently() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE))
}

fn answered(answer: Result<Vec<TopicResult>, KafkaError>) -> Result<(), String> {
    for result in answer.map_err(failed)? {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    Ok(())
}

pub fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Waits for a future: the client's own thread wakes this one.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
