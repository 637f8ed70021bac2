//! A plain Kafka client for scripts and for a comparison: it knows nothing of Velocore.
//!
//! ```text
//! kafka-client create TOPIC PARTITIONS [KEY=VALUE …]     makes a topic
//! kafka-client delete TOPIC
//! kafka-client grow TOPIC PARTITIONS                     so many partitions from now on
//! kafka-client produce TOPIC                             lines of standard input; a tab parts key and value
//! kafka-client read TOPIC [--uncommitted] [--keys]       what is there now, a line a record
//! kafka-client ceiling TOPIC                             reads all of it and forgets it: records and bytes per second
//! ```
//! The brokers are those of VELOCORE_KAFKA.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["create", topic, partitions, config @ ..] => create(topic, partitions, config),
        ["delete", topic] => delete(topic),
        ["grow", topic, partitions] => grow(topic, partitions),
        ["produce", topic] => produce(topic),
        ["read", topic, flags @ ..] => read(topic, flags),
        ["ceiling", topic] => ceiling(topic),
        _ => Err("usage: kafka-client create|delete|grow|produce|read|ceiling TOPIC …".to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("kafka-client: {message}");
            ExitCode::FAILURE
        }
    }
}

fn config() -> Result<ClientConfig, String> {
    let brokers =
        std::env::var("VELOCORE_KAFKA").map_err(|_| "VELOCORE_KAFKA names no brokers".to_string())?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    Ok(config)
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn admin() -> Result<AdminClient<DefaultClientContext>, String> {
    config()?.create().map_err(failed)
}

fn create(topic: &str, partitions: &str, settings: &[&str]) -> Result<(), String> {
    let partitions = partitions.parse().map_err(failed)?;
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for setting in settings {
        let (key, value) = setting.split_once('=').ok_or("settings are KEY=VALUE")?;
        new = new.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    answered(block_on(admin()?.create_topics([&new], &options)))
}

fn delete(topic: &str) -> Result<(), String> {
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    answered(block_on(admin()?.delete_topics(&[topic], &options)))
}

fn grow(topic: &str, partitions: &str) -> Result<(), String> {
    let partitions: usize = partitions.parse().map_err(failed)?;
    let new = NewPartitions::new(topic, partitions);
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    answered(block_on(admin()?.create_partitions([&new], &options)))
}

fn answered(answer: Result<Vec<TopicResult>, KafkaError>) -> Result<(), String> {
    for result in answer.map_err(failed)? {
        result.map_err(|(topic, code)| format!("{topic}: {code}"))?;
    }
    Ok(())
}

/// Lines of standard input to a topic.
fn produce(topic: &str) -> Result<(), String> {
    let mut config = config()?;
    config
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        // One partition a line without a key, in turn, not one for a while.
        .set("sticky.partitioning.linger.ms", "0");
    let producer: BaseProducer = config.create().map_err(failed)?;
    let mut sent = 0_u64;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(failed)?;
        let (key, value) = match line.split_once('\t') {
            Some((key, value)) => (Some(key), value),
            None => (None, line.as_str()),
        };
        let mut record = BaseRecord::<str, str>::to(topic).payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        while let Err((error, refused)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(failed(error));
            }
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
        sent += 1;
        if sent.is_multiple_of(1_000) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE).map_err(failed)
}

/// A consumer that stands at the beginning of every partition, and how far each goes.
fn at_the_beginning(topic: &str, isolation: &str) -> Result<(BaseConsumer, BTreeMap<i32, i64>), String> {
    let mut config = config()?;
    config
        .set("group.id", "kafka-client")
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "5");
    let consumer: BaseConsumer = config.create().map_err(failed)?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).map_err(failed)?;
    let found = metadata.topics().first().ok_or("no topic")?;
    if let Some(error) = found.error() {
        return Err(format!("{topic}: {}", RDKafkaErrorCode::from(error)));
    }
    let mut list = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in found.partitions() {
        let (first, end) = range(&consumer, topic, partition.id())?;
        if first < end {
            ends.insert(partition.id(), end);
            list.add_partition_offset(topic, partition.id(), Offset::Offset(first))
                .map_err(failed)?;
        }
    }
    consumer.assign(&list).map_err(failed)?;
    Ok((consumer, ends))
}

/// The first offset and the one behind the last; a broker that has just started has no leaders for a moment.
fn range(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<(i64, i64), String> {
    let started = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Ok(range) => return Ok(range),
            Err(_) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(100)),
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Hands every record that is there to `take`.
fn read_all(
    topic: &str,
    isolation: &str,
    mut take: impl FnMut(&dyn Fn() -> (Vec<u8>, Vec<u8>), usize),
) -> Result<(), String> {
    let (consumer, mut ends) = at_the_beginning(topic, isolation)?;
    let mut heard = Instant::now();
    while !ends.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            None if heard.elapsed() > PATIENCE => return Err("no record for 30 s".to_string()),
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ends.remove(&partition);
            }
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(message)) => {
                heard = Instant::now();
                let bytes = message.payload().map_or(0, <[u8]>::len);
                let copy = || {
                    let owned = |part: Option<&[u8]>| part.unwrap_or(b"null").to_vec();
                    (owned(message.key()), owned(message.payload()))
                };
                take(&copy, bytes);
                if ends
                    .get(&message.partition())
                    .is_some_and(|&end| message.offset() + 1 >= end)
                {
                    ends.remove(&message.partition());
                }
            }
        }
    }
    Ok(())
}

fn read(topic: &str, flags: &[&str]) -> Result<(), String> {
    let isolation = match flags.contains(&"--uncommitted") {
        true => "read_uncommitted",
        false => "read_committed",
    };
    let with_keys = flags.contains(&"--keys");
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    read_all(topic, isolation, |copy, _| {
        let (key, value) = copy();
        let mut write = || {
            if with_keys {
                out.write_all(&key)?;
                out.write_all(b"\t")?;
            }
            out.write_all(&value)?;
            out.write_all(b"\n")
        };
        if written.is_ok() {
            written = write();
        }
    })?;
    written.and_then(|()| out.flush()).map_err(failed)
}

fn ceiling(topic: &str) -> Result<(), String> {
    let started = Instant::now();
    let (mut records, mut bytes) = (0_u64, 0_u64);
    read_all(topic, "read_committed", |_, length| {
        records += 1;
        bytes += length as u64;
    })?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{records} records, {seconds:.3} s, {:.0} records/s, {:.1} MB/s",
        records as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
    Ok(())
}

/// Waits for a future: the client's own thread wakes this one.
fn block_on<F: Future>(future: F) -> F::Output {
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
