//! The broker that tests talk to, with topics of a test's own.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::plain::{PATIENCE, Plain};

/// A broker, and topics of a test's own.
pub struct Broker {
    pub address: String,
    pub prefix: String,
}

/// The broker to test against, if there is one.
pub fn broker(test: &str) -> Option<Broker> {
    static TOLD: Once = Once::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Ok(address) = std::env::var("VELOCORE_KAFKA") else {
        // Not by a macro: what those print is shown of failed tests alone.
        TOLD.call_once(|| {
            let line = b"left out: the tests against Kafka, for VELOCORE_KAFKA names no broker (scripts/check-kafka runs them)\n";
            let _ = std::io::stderr().write_all(line);
        });
        return None;
    };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let prefix = format!("{test}-{}-{number}", std::process::id());
    Some(Broker { address, prefix })
}

impl Broker {
    pub fn config(&self) -> ClientConfig {
        self.plain().config()
    }

    fn plain(&self) -> Plain {
        Plain::new(&self.address)
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.plain().admin().unwrap()
    }

    /// The whole name of this test's topic `name`.
    pub fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    pub fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.plain()
            .create(&self.topic(name), partitions, settings)
            .unwrap();
    }

    pub fn delete(&self, name: &str) {
        self.plain().delete(&self.topic(name)).unwrap();
    }

    pub fn grow(&self, name: &str, partitions: i32) {
        self.plain().grow(&self.topic(name), partitions).unwrap();
    }

    /// Key, value, partition and milliseconds of each record.
    pub fn produce(&self, name: &str, records: &[(Option<&str>, Option<&str>, i32, i64)]) {
        let producer: BaseProducer = self.config().create().unwrap();
        let topic = self.topic(name);
        for &(key, value, partition, timestamp) in records {
            let headers = OwnedHeaders::new().insert(Header {
                key: "from",
                value: Some("test"),
            });
            let mut record = BaseRecord::<str, str>::to(&topic)
                .partition(partition)
                .timestamp(timestamp)
                .headers(headers);
            record.key = key;
            record.payload = value;
            assert!(producer.send(record).is_ok());
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Values, one a partition and line.
    pub fn produce_lines(&self, name: &str, partition: i32, lines: &[&str]) {
        let records: Vec<_> = lines
            .iter()
            .map(|line| (None, Some(*line), partition, 0))
            .collect();
        self.produce(name, &records);
    }

    /// Key and value of every committed record, in the order of each partition.
    pub fn read(&self, name: &str) -> Vec<(Option<String>, Option<String>)> {
        self.read_waiting(name, || {})
    }

    /// The same; `waiting` is called while a transaction is under way.
    pub fn read_waiting(&self, name: &str, waiting: impl FnMut()) -> Vec<(Option<String>, Option<String>)> {
        let text = |part: Option<&[u8]>| part.map(|part| String::from_utf8(part.to_vec()).unwrap());
        let mut found = Vec::new();
        let read = self.plain().read(&self.topic(name), true, waiting, |message| {
            found.push((text(message.key()), text(message.payload())));
        });
        read.unwrap();
        found
    }

    pub fn values(&self, name: &str) -> Vec<String> {
        let mut values: Vec<String> = self
            .read(name)
            .into_iter()
            .filter_map(|(_, value)| value)
            .collect();
        values.sort();
        values
    }

    /// A table over topic `name`.
    pub fn table(&self, table: &str, columns: &str, name: &str, options: &str) -> String {
        let (topic, brokers) = (self.topic(name), &self.address);
        format!(
            "CREATE TABLE {table} ({columns}) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
             'properties.bootstrap.servers' = '{brokers}', {options}); "
        )
    }

    pub fn bounded(&self, table: &str, columns: &str, name: &str, options: &str) -> String {
        let options = format!(
            "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', {options}"
        );
        self.table(table, columns, name, &options)
    }
}
