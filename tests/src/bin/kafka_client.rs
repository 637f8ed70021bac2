//! A plain Kafka client for scripts and for a comparison: it knows nothing of Velocore.
//!
//! ```text
//! kafka-client create TOPIC PARTITIONS [KEY=VALUE …]     makes a topic
//! kafka-client delete TOPIC
//! kafka-client grow TOPIC PARTITIONS                     so many partitions from now on
//! kafka-client produce TOPIC                             lines of standard input; a tab parts key and value
//! kafka-client read TOPIC [--uncommitted] [--keys]       what is there now, a line a record
//! kafka-client ceiling TOPIC                             reads all of it and forgets it: records and bytes per second
//! kafka-client fill TOPIC RECORDS BYTES [KEY=VALUE …]    writes so many records of so many bytes: the same
//! kafka-client relay FROM TO BYTES [KEY=VALUE …]         reads FROM, and writes the first BYTES of two records in three
//! ```
//! The brokers are those of VELOCORE_KAFKA; the settings of `fill` and `relay` are librdkafka's.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

#[path = "../../../runtime/tests/kafka/plain.rs"]
mod plain;

use plain::{PATIENCE, Plain, failed};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match play(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("kafka-client: {message}");
            ExitCode::FAILURE
        }
    }
}

fn play(words: &[&str]) -> Result<(), String> {
    let brokers =
        std::env::var("VELOCORE_KAFKA").map_err(|_| "VELOCORE_KAFKA names no brokers".to_string())?;
    let plain = Plain::new(&brokers);
    match words {
        ["create", topic, partitions, config @ ..] => {
            plain.create(topic, partitions.parse().map_err(failed)?, &settings(config)?)
        }
        ["delete", topic] => plain.delete(topic),
        ["grow", topic, partitions] => plain.grow(topic, partitions.parse().map_err(failed)?),
        ["produce", topic] => produce(&plain, topic),
        ["read", topic, flags @ ..] => read(&plain, topic, flags),
        ["ceiling", topic] => ceiling(&plain, topic),
        ["fill", topic, records, bytes, config @ ..] => {
            let (records, bytes) = (records.parse().map_err(failed)?, bytes.parse().map_err(failed)?);
            fill(&plain, topic, records, bytes, &settings(config)?)
        }
        ["relay", from, to, bytes, config @ ..] => relay(
            &plain,
            from,
            to,
            bytes.parse().map_err(failed)?,
            &settings(config)?,
        ),
        _ => {
            Err("usage: kafka-client create|delete|grow|produce|read|ceiling|fill|relay TOPIC …".to_string())
        }
    }
}

fn settings<'a>(words: &[&'a str]) -> Result<Vec<(&'a str, &'a str)>, String> {
    let settings = words.iter().map(|word| word.split_once('='));
    settings
        .collect::<Option<_>>()
        .ok_or_else(|| "settings are KEY=VALUE".to_string())
}

/// Hands a record to the producer, and waits while its queue is full.
fn send(producer: &BaseProducer, mut record: BaseRecord<'_, str, [u8]>) -> Result<(), String> {
    while let Err((error, refused)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(failed(error));
        }
        producer.poll(Duration::from_millis(10));
        record = refused;
    }
    Ok(())
}

/// Lines of standard input to a topic.
fn produce(plain: &Plain, topic: &str) -> Result<(), String> {
    let mut config = plain.config();
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
        let mut record = BaseRecord::to(topic).payload(value.as_bytes());
        record.key = key;
        send(&producer, record)?;
        sent += 1;
        if sent.is_multiple_of(1_000) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE).map_err(failed)
}

fn read(plain: &Plain, topic: &str, flags: &[&str]) -> Result<(), String> {
    let with_keys = flags.contains(&"--keys");
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    plain.read(
        topic,
        !flags.contains(&"--uncommitted"),
        || {},
        |message| {
            let mut write = || {
                if with_keys {
                    out.write_all(message.key().unwrap_or(b"null"))?;
                    out.write_all(b"\t")?;
                }
                out.write_all(message.payload().unwrap_or(b"null"))?;
                out.write_all(b"\n")
            };
            if written.is_ok() {
                written = write();
            }
        },
    )?;
    written.and_then(|()| out.flush()).map_err(failed)
}

/// What was read or written, and how long it took.
struct Measure {
    started: Instant,
    records: u64,
    bytes: u64,
}

impl Measure {
    fn start() -> Measure {
        Measure {
            started: Instant::now(),
            records: 0,
            bytes: 0,
        }
    }

    fn count(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }

    fn tell(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        println!(
            "{} records, {seconds:.3} s, {:.0} records/s, {:.1} MB/s",
            self.records,
            self.records as f64 / seconds,
            self.bytes as f64 / seconds / 1e6
        );
    }
}

fn ceiling(plain: &Plain, topic: &str) -> Result<(), String> {
    let mut measure = Measure::start();
    plain.read(topic, true, || {}, |message| measure.count(message.payload_len()))?;
    measure.tell();
    Ok(())
}

/// A producer as librdkafka makes it, but for `settings`.
fn producer(plain: &Plain, settings: &[(&str, &str)]) -> Result<BaseProducer, String> {
    let mut config = plain.config();
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().map_err(failed)
}

fn fill(
    plain: &Plain,
    topic: &str,
    records: u64,
    bytes: usize,
    settings: &[(&str, &str)],
) -> Result<(), String> {
    let producer = producer(plain, settings)?;
    let value = vec![b'x'; bytes];
    let mut measure = Measure::start();
    for number in 0..records {
        send(&producer, BaseRecord::to(topic).payload(&value))?;
        measure.count(bytes);
        if number.is_multiple_of(1_000) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE).map_err(failed)?;
    measure.tell();
    Ok(())
}

fn relay(plain: &Plain, from: &str, to: &str, bytes: usize, settings: &[(&str, &str)]) -> Result<(), String> {
    let producer = producer(plain, settings)?;
    let mut measure = Measure::start();
    let mut sent = Ok(());
    plain.read(
        from,
        true,
        || {},
        |message| {
            measure.count(message.payload_len());
            if sent.is_ok() && !measure.records.is_multiple_of(3) {
                let value = message.payload().unwrap_or_default();
                sent = send(
                    &producer,
                    BaseRecord::to(to).payload(&value[..value.len().min(bytes)]),
                );
            }
            if measure.records.is_multiple_of(1_000) {
                producer.poll(Duration::ZERO);
            }
        },
    )?;
    sent?;
    producer.flush(PATIENCE).map_err(failed)?;
    measure.tell();
    Ok(())
}
