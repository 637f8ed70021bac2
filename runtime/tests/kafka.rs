//! Kafka tables against a real broker: the one that VELOCORE_KAFKA names. `scripts/check-kafka` starts one and runs these
//! tests; without it they say that they were left out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(30);

/// A broker, and topics of a test's own.
struct Broker {
    address: String,
    prefix: String,
}

/// The broker to test against, if there is one.
fn broker(test: &str) -> Option<Broker> {
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
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    /// The whole name of this test's topic `name`.
    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let topic = self.topic(name);
        let mut new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        block_on(self.admin().create_topics([&new], &options)).unwrap()[0]
            .as_ref()
            .unwrap();
    }

    fn delete(&self, name: &str) {
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        block_on(self.admin().delete_topics(&[&self.topic(name)], &options)).unwrap();
    }

    /// Key, value, partition and milliseconds of each record.
    fn produce(&self, name: &str, records: &[(Option<&str>, Option<&str>, i32, i64)]) {
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
    fn produce_lines(&self, name: &str, partition: i32, lines: &[&str]) {
        let records: Vec<_> = lines
            .iter()
            .map(|line| (None, Some(*line), partition, 0))
            .collect();
        self.produce(name, &records);
    }

    /// Key and value of every committed record, in the order of each partition.
    fn read(&self, name: &str) -> Vec<(Option<String>, Option<String>)> {
        let topic = self.topic(name);
        let mut config = self.config();
        config
            .set("group.id", "test")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(&topic, partition as i32, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut found, mut ended) = (Vec::new(), 0);
        while ended < partitions {
            match consumer.poll(PATIENCE).expect("an answer") {
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => panic!("{error}"),
                Ok(message) => {
                    let text =
                        |part: Option<&[u8]>| part.map(|part| String::from_utf8(part.to_vec()).unwrap());
                    found.push((text(message.key()), text(message.payload())));
                }
            }
        }
        found
    }

    fn values(&self, name: &str) -> Vec<String> {
        let mut values: Vec<String> = self
            .read(name)
            .into_iter()
            .filter_map(|(_, value)| value)
            .collect();
        values.sort();
        values
    }

    /// A table over topic `name`.
    fn table(&self, table: &str, columns: &str, name: &str, options: &str) -> String {
        let (topic, brokers) = (self.topic(name), &self.address);
        format!(
            "CREATE TABLE {table} ({columns}) WITH ('connector' = 'kafka', 'topic' = '{topic}', \
             'properties.bootstrap.servers' = '{brokers}', {options}); "
        )
    }

    fn bounded(&self, table: &str, columns: &str, name: &str, options: &str) -> String {
        let options = format!(
            "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', {options}"
        );
        self.table(table, columns, name, &options)
    }
}

/// An own folder below the target directory, emptied.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn command(folder: &Path, sql: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_velocore"));
    command
        .current_dir(folder)
        .args(["run", "--quiet", "--shards", "2", "-e", sql])
        .args(more)
        .stdin(Stdio::null());
    command
}

fn run(folder: &Path, sql: &str, more: &[&str]) -> Output {
    command(folder, sql, more).output().unwrap()
}

/// The rows on standard output of a job that must succeed, sorted.
fn rows(folder: &Path, sql: &str) -> Vec<String> {
    let output = run(folder, sql, &[]);
    assert!(output.status.success(), "{sql}\n{}", errors(&output));
    sorted_lines(&output.stdout)
}

fn sorted_lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    lines.sort();
    lines
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a job that must fail says.
fn refused(folder: &Path, sql: &str, more: &[&str], parts: &[&str]) {
    let output = run(folder, sql, more);
    let told = errors(&output);
    assert!(!output.status.success(), "{sql}\n{told}");
    for part in parts {
        assert!(told.contains(part), "'{part}' is not in:\n{told}");
    }
}

/// A job that runs beside the test; it is killed with its owner.
struct Running(Child);

impl Running {
    fn start(folder: &Path, sql: &str) -> Running {
        Running(
            command(folder, sql, &[])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CHECKPOINTS: [&str; 4] = ["--checkpoint-dir", "state", "--checkpoint-interval", "50ms"];

#[test]
fn records_come_with_their_metadata_and_keys() {
    let Some(broker) = broker("metadata") else { return };
    let folder = folder("metadata");
    broker.create("in", 2, &[]);
    broker.produce(
        "in",
        &[
            (
                Some("{\"id\":1}"),
                Some("{\n  \"v\": \"a\"\n}"),
                0,
                1_700_000_000_123,
            ),
            (Some("{\"id\":2}"), Some("{\"v\":\"b\"}"), 1, 1_700_000_000_456),
            (None, Some("{\"v\":\"c\"}"), 1, 1_700_000_000_789),
            (Some("{\"id\":4}"), None, 1, 1_700_000_001_000),
        ],
    );
    let columns = "id BIGINT, v STRING, p INT METADATA FROM 'partition' VIRTUAL, o BIGINT METADATA FROM 'offset' VIRTUAL, \
                   at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, k STRING METADATA FROM 'key' VIRTUAL, \
                   h MAP<STRING, BYTES> METADATA FROM 'headers' VIRTUAL";
    let options = "'key.format' = 'json', 'key.fields' = 'id', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY'";
    let table = broker.bounded("t", columns, "in", options);
    let sql = format!(
        "{table} SELECT id, v, p, o, CAST(at AS TIMESTAMP(3)) AS at, k, CAST(h['from'] AS STRING) AS h FROM t"
    );
    let expected = [
        "{\"id\":1,\"v\":\"a\",\"p\":0,\"o\":0,\"at\":\"2023-11-14 22:13:20.123\",\"k\":\"{\\\"id\\\":1}\",\"h\":\"test\"}",
        "{\"id\":2,\"v\":\"b\",\"p\":1,\"o\":0,\"at\":\"2023-11-14 22:13:20.456\",\"k\":\"{\\\"id\\\":2}\",\"h\":\"test\"}",
        "{\"id\":null,\"v\":\"c\",\"p\":1,\"o\":1,\"at\":\"2023-11-14 22:13:20.789\",\"k\":null,\"h\":\"test\"}",
    ];
    assert_eq!(rows(&folder, &sql), expected);
}

#[test]
fn reading_begins_and_ends_where_it_is_told_to() {
    let Some(broker) = broker("modes") else { return };
    let folder = folder("modes");
    broker.create("in", 2, &[]);
    let values: Vec<String> = (0..10).map(|id| format!("{{\"id\":{id}}}")).collect();
    let records: Vec<_> = (0..10)
        .map(|id| {
            (
                None,
                Some(values[id].as_str()),
                (id % 2) as i32,
                // The client takes 0 for now.
                1_000_000 + 1_000 * id as i64,
            )
        })
        .collect();
    broker.produce("in", &records);
    let ids = |options: &str| -> Vec<u64> {
        let table = broker.table("t", "id BIGINT", "in", &format!("'format' = 'json', {options}"));
        let lines = rows(&folder, &format!("{table} SELECT id FROM t"));
        let id = |line: &String| {
            line.trim_matches(|letter: char| !letter.is_ascii_digit())
                .parse()
                .unwrap()
        };
        lines.iter().map(id).collect()
    };
    let latest = "'scan.bounded.mode' = 'latest-offset'";
    assert_eq!(
        ids(&format!("'scan.startup.mode' = 'earliest-offset', {latest}")),
        (0..10).collect::<Vec<_>>()
    );
    assert_eq!(
        ids(&format!("'scan.startup.mode' = 'latest-offset', {latest}")).len(),
        0
    );
    assert_eq!(
        ids(&format!(
            "'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '1007000', {latest}"
        )),
        [7, 8, 9]
    );
    assert_eq!(
        ids(
            "'scan.startup.mode' = 'specific-offsets', 'scan.startup.specific-offsets' = 'partition:0,offset:1;partition:1,offset:2', \
             'scan.bounded.mode' = 'specific-offsets', 'scan.bounded.specific-offsets' = 'partition:0,offset:3;partition:1,offset:3'"
        ),
        [2, 4, 5]
    );
    // A group that stands behind two records of partition 0, and nowhere in the other.
    let group = broker.topic("group");
    let mut config = broker.config();
    config.set("group.id", &group).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&broker.topic("in"), 0, Offset::Offset(2))
        .unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
    let of_group =
        format!("'scan.startup.mode' = 'group-offsets', 'properties.group.id' = '{group}', {latest}");
    assert_eq!(
        ids(&format!("{of_group}, 'properties.auto.offset.reset' = 'latest'")),
        [4, 6, 8]
    );
    let table = broker.table("t", "id BIGINT", "in", &format!("'format' = 'json', {of_group}"));
    refused(
        &folder,
        &format!("{table} SELECT id FROM t"),
        &[],
        &["has no offset in partition 1"],
    );
}

#[test]
fn what_is_not_there_is_told_before_a_job_starts() {
    let Some(broker) = broker("unknown") else { return };
    let folder = folder("unknown");
    let table = broker.bounded("t", "id BIGINT", "none", "'format' = 'json'");
    let topic = broker.topic("none");
    refused(
        &folder,
        &format!("{table} SELECT id FROM t"),
        &[],
        &["table 't'", &topic, "does not exist", "<command line>:1:67"],
    );
    let sink = broker.table("s", "id BIGINT", "none", "'format' = 'json'");
    refused(
        &folder,
        &format!("{sink} INSERT INTO s SELECT * FROM (VALUES (1))"),
        &[],
        &["table 's'", &topic, "does not exist"],
    );
    let nobody = table.replace(&broker.address, "127.0.0.1:1");
    refused(
        &folder,
        &format!("{nobody} SELECT id FROM t"),
        &[],
        &["no broker answers at 127.0.0.1:1", "Connection refused"],
    );
}

#[test]
fn a_poison_record_stops_the_job_or_is_put_aside() {
    let Some(broker) = broker("poison") else { return };
    let folder = folder("poison");
    broker.create("in", 1, &[]);
    broker.produce_lines("in", 0, &["{\"id\":1}", "{\"id\":2}", "poison", "{\"id\":4}"]);
    let table =
        |options: &str| broker.bounded("t", "id BIGINT", "in", &format!("'format' = 'json'{options}"));
    let output = run(&folder, &format!("{} SELECT id FROM t", table("")), &[]);
    assert!(!output.status.success());
    assert_eq!(sorted_lines(&output.stdout), ["{\"id\":1}", "{\"id\":2}"]);
    let place = format!("topic '{}', partition 0, offset 2", broker.topic("in"));
    assert!(errors(&output).contains(&place), "{}", errors(&output));
    let skipping = table(", 'json.ignore-parse-errors' = 'true'");
    let expected = ["{\"id\":1}", "{\"id\":2}", "{\"id\":4}"];
    assert_eq!(rows(&folder, &format!("{skipping} SELECT id FROM t")), expected);
    let letters = table(", 'json.dead-letter-file' = 'letters'");
    assert_eq!(rows(&folder, &format!("{letters} SELECT id FROM t")), expected);
    assert_eq!(
        std::fs::read_to_string(folder.join("letters")).unwrap(),
        "poison\n"
    );
}

#[test]
fn a_record_too_large_for_its_topic_stops_the_job() {
    let Some(broker) = broker("large") else { return };
    let folder = folder("large");
    broker.create("out", 1, &[("max.message.bytes", "1000")]);
    let sink = broker.table("s", "v STRING", "out", "'format' = 'json'");
    let sql = format!("{sink} INSERT INTO s SELECT REPEAT('x', 5000) FROM (VALUES (1))");
    refused(
        &folder,
        &sql,
        &[],
        &["is too large for topic", &broker.topic("out")],
    );
    // Beyond what the client takes.
    let sql = sql.replace("5000", "2000000");
    refused(
        &folder,
        &sql,
        &[],
        &["is too large for topic", "properties.message.max.bytes"],
    );
}

#[test]
fn keys_choose_the_partition_and_the_time_stamp_is_written() {
    let Some(broker) = broker("keys") else { return };
    let folder = folder("keys");
    broker.create("out", 4, &[]);
    let options = "'value.format' = 'json', 'key.format' = 'csv', 'key.fields' = 'id', 'value.fields-include' = 'EXCEPT_KEY'";
    let sink = broker.table(
        "s",
        "id BIGINT, v STRING, at TIMESTAMP(3) METADATA FROM 'timestamp'",
        "out",
        options,
    );
    let values = "VALUES (1, 'a', TIMESTAMP '2026-01-01 00:00:00'), (2, 'b', TIMESTAMP '2026-01-01 00:00:01'), (1, 'c', TIMESTAMP '2026-01-01 00:00:02')";
    let output = run(
        &folder,
        &format!("{sink} INSERT INTO s SELECT * FROM ({values})"),
        &[],
    );
    assert!(output.status.success(), "{}", errors(&output));
    let columns = "v STRING, k STRING METADATA FROM 'key' VIRTUAL, p INT METADATA FROM 'partition' VIRTUAL, at TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL";
    let table = broker.bounded("t", columns, "out", "'format' = 'json'");
    let found = rows(
        &folder,
        &format!(
            "{table} SELECT k, COUNT(DISTINCT p) AS partitions, COUNT(*) AS n, MAX(at) AS latest FROM t GROUP BY k EMIT FINAL"
        ),
    );
    let expected = [
        "{\"k\":\"1\",\"partitions\":1,\"n\":2,\"latest\":\"2026-01-01 00:00:02.000\"}",
        "{\"k\":\"2\",\"partitions\":1,\"n\":1,\"latest\":\"2026-01-01 00:00:01.000\"}",
    ];
    assert_eq!(found, expected);
}

#[test]
fn an_upsert_table_keeps_the_last_row_of_each_key() {
    let Some(broker) = broker("upsert") else { return };
    let folder = folder("upsert");
    broker.create("out", 3, &[("cleanup.policy", "compact")]);
    let columns = "id BIGINT, n BIGINT NOT NULL, PRIMARY KEY (id) NOT ENFORCED";
    let options = "'key.format' = 'json', 'value.format' = 'json'";
    let upsert = |table: &str, more: &str| {
        broker
            .table(table, columns, "out", &format!("{options}{more}"))
            .replace("'kafka'", "'upsert-kafka'")
    };
    std::fs::write(
        folder.join("changes.json"),
        "{\"op\":\"+I\",\"id\":1,\"n\":1}\n{\"op\":\"+I\",\"id\":2,\"n\":2}\n{\"op\":\"-U\",\"id\":1,\"n\":1}\n\
         {\"op\":\"+U\",\"id\":1,\"n\":7}\n{\"op\":\"-D\",\"id\":2,\"n\":2}\n{\"op\":\"+I\",\"id\":3,\"n\":3}\n",
    )
    .unwrap();
    let changes = "CREATE TABLE c (id BIGINT, n BIGINT, PRIMARY KEY (id) NOT ENFORCED) \
                   WITH ('connector' = 'filesystem', 'path' = 'changes.json', 'format' = 'changelog-json'); ";
    let sql = format!(
        "{changes}{} INSERT INTO s SELECT id, SUM(n) FROM c GROUP BY id",
        upsert("s", "")
    );
    let output = run(&folder, &sql, &[]);
    assert!(output.status.success(), "{}", errors(&output));
    let mut last: BTreeMap<Option<String>, Option<String>> = BTreeMap::new();
    for (key, value) in broker.read("out") {
        last.insert(key, value);
    }
    assert_eq!(
        last[&Some("{\"id\":1}".to_string())].as_deref(),
        Some("{\"id\":1,\"n\":7}")
    );
    // A key whose row came and went may have left a tombstone; no value in any case.
    assert_eq!(last.get(&Some("{\"id\":2}".to_string())).cloned().flatten(), None);
    // A deletion beside a value that is there.
    broker.produce(
        "out",
        &[
            (Some("{\"id\":9}"), Some("{\"id\":9,\"n\":9}"), 0, 0),
            (Some("{\"id\":9}"), None, 0, 0),
        ],
    );
    let table = upsert("t", ", 'scan.bounded.mode' = 'latest-offset'");
    let found = rows(
        &folder,
        &format!("{table} SELECT COUNT(*) AS keys, SUM(n) AS n FROM t EMIT FINAL"),
    );
    assert_eq!(found, ["{\"keys\":2,\"n\":10}"]);
}

#[test]
fn a_partition_that_is_added_is_read() {
    let Some(broker) = broker("added") else { return };
    let folder = folder("added");
    broker.create("in", 1, &[]);
    broker.produce_lines("in", 0, &["{\"id\":1}"]);
    let options = "'scan.startup.mode' = 'earliest-offset', 'format' = 'json', 'scan.topic-partition-discovery.interval' = '100 ms'";
    let table = broker.table("t", "id BIGINT", "in", options);
    let mut job = Running::start(&folder, &format!("{table} SELECT id FROM t"));
    let mut lines = BufReader::new(job.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "{\"id\":1}");
    let new = broker.topic("in");
    let new = NewPartitions::new(&new, 3);
    block_on(broker.admin().create_partitions([&new], &AdminOptions::new())).unwrap()[0]
        .as_ref()
        .unwrap();
    for (partition, id) in [(2, 2), (1, 3)] {
        broker.produce_lines("in", partition, &[&format!("{{\"id\":{id}}}")]);
        assert_eq!(lines.next().unwrap().unwrap(), format!("{{\"id\":{id}}}"));
    }
}

#[test]
fn a_topic_that_is_deleted_stops_the_job_by_its_name() {
    let Some(broker) = broker("deleted") else { return };
    let folder = folder("deleted");
    broker.create("in", 2, &[]);
    broker.produce_lines("in", 0, &["{\"id\":1}"]);
    let options = "'scan.startup.mode' = 'earliest-offset', 'format' = 'json', \
                   'properties.topic.metadata.refresh.interval.ms' = '500', \
                   'properties.topic.metadata.propagation.max.ms' = '500'";
    let table = broker.table("t", "id BIGINT", "in", options);
    let mut job = Running::start(&folder, &format!("{table} SELECT id FROM t"));
    let mut lines = BufReader::new(job.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "{\"id\":1}");
    broker.delete("in");
    let stderr = job.0.stderr.take().unwrap();
    let told: Vec<String> = BufReader::new(stderr).lines().map(Result::unwrap).collect();
    assert!(!job.0.wait().unwrap().success());
    let told = told.join("\n");
    assert!(
        told.contains(&broker.topic("in")) && told.contains("does not exist"),
        "{told}"
    );
}

/// A job that copies numbers to a topic exactly once.
fn copy(broker: &Broker, name: &str, rows: u32, length: usize) -> String {
    let sink = broker.table(
        "s",
        "id BIGINT, v STRING",
        name,
        "'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '${VELOCORE_TEST_PREFIX}'",
    );
    format!(
        "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}', 'fields.id.kind' = 'sequence', \
         'fields.id.start' = '1', 'fields.id.end' = '{rows}'); {sink} INSERT INTO s SELECT id, REPEAT('x', {length}) FROM n"
    )
}

fn run_copy(broker: &Broker, folder: &Path, sql: &str) -> Output {
    command(folder, sql, &CHECKPOINTS)
        .env("VELOCORE_TEST_PREFIX", &broker.prefix)
        .output()
        .unwrap()
}

#[test]
fn a_transaction_that_was_not_made_is_made_when_the_job_starts_again() {
    let Some(broker) = broker("indoubt") else { return };
    let folder = folder("indoubt");
    // The epoch is durable, and the broker refuses its messages.
    broker.create("out", 2, &[("max.message.bytes", "500")]);
    let sql = copy(&broker, "out", 100, 600);
    let output = run_copy(&broker, &folder, &sql);
    let told = errors(&output);
    assert!(
        !output.status.success() && told.contains("is too large for topic"),
        "{told}"
    );
    assert_eq!(broker.values("out"), Vec::<String>::new());
    let topic = broker.topic("out");
    let config = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", "1000000");
    block_on(broker.admin().alter_configs([&config], &AdminOptions::new())).unwrap()[0]
        .as_ref()
        .unwrap();
    for _ in 0..2 {
        // The second time there is nothing left to do.
        let output = run_copy(&broker, &folder, &sql);
        assert!(output.status.success(), "{}", errors(&output));
        let ids: Vec<String> = (1..=100).map(|id| format!("{{\"id\":{id},")).collect();
        let values = broker.values("out");
        assert_eq!(values.len(), ids.len());
        assert!(
            ids.iter()
                .all(|id| values.iter().any(|value| value.starts_with(id)))
        );
    }
    let left = std::fs::read_dir(folder.join("state/output")).unwrap().count();
    assert_eq!(left, 0, "spools are deleted behind their transactions");
}

#[test]
fn a_job_that_lost_a_checkpoint_does_not_write_its_epoch_twice() {
    let Some(broker) = broker("lost") else { return };
    let folder = folder("lost");
    broker.create("out", 1, &[]);
    let sql = copy(&broker, "out", 300_000, 1);
    let output = run_copy(&broker, &folder, &sql);
    assert!(output.status.success(), "{}", errors(&output));
    let mut epochs: Vec<PathBuf> = std::fs::read_dir(folder.join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("manifest").exists())
        .collect();
    epochs.sort();
    assert!(epochs.len() > 1, "the job had several epochs: {epochs:?}");
    std::fs::write(epochs.last().unwrap().join("manifest"), "damaged").unwrap();
    let output = run_copy(&broker, &folder, &sql);
    let told = errors(&output);
    assert!(
        !output.status.success() && told.contains("Kafka takes no records back"),
        "{told}"
    );
}

#[test]
fn exactly_once_says_what_it_needs() {
    let Some(broker) = broker("needs") else { return };
    let folder = folder("needs");
    broker.create("out", 1, &[]);
    let sql = copy(&broker, "out", 1, 1);
    refused(
        &folder,
        &sql,
        &CHECKPOINTS,
        &["VELOCORE_TEST_PREFIX of '${VELOCORE_TEST_PREFIX}' is not in the environment"],
    );
    let without = sql.replace("${VELOCORE_TEST_PREFIX}", "p");
    refused(&folder, &without, &[], &["exactly once needs checkpoints"]);
    let changing = broker.table("s", "n BIGINT", "out", "'format' = 'json'");
    let sql = format!("{changing} INSERT INTO s SELECT COUNT(*) FROM (VALUES (1))");
    refused(&folder, &sql, &[], &["the query changes them", "upsert-kafka"]);
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
