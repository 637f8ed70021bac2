//! Transactions: made once, also behind a crash, and seen once they are made.

use std::path::{Path, PathBuf};
use std::process::Output;

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::broker::{Broker, broker};
use crate::job::{CHECKPOINTS, command, errors, folder, refused, rows};
use crate::plain::{PATIENCE, block_on};

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

#[test]
fn a_reader_waits_for_a_transaction_that_is_under_way() {
    let Some(broker) = broker("waiting") else { return };
    broker.create("out", 2, &[]);
    let mut config = broker.config();
    config.set("transactional.id", &broker.prefix);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let topic = broker.topic("out");
    for partition in 0..2 {
        let record = BaseRecord::<str, str>::to(&topic)
            .payload("seen")
            .partition(partition);
        assert!(producer.send(record).is_ok());
    }
    producer.flush(PATIENCE).unwrap();
    let mut is_committed = false;
    let found = broker.read_waiting("out", || {
        if !std::mem::replace(&mut is_committed, true) {
            producer.commit_transaction(PATIENCE).unwrap();
        }
    });
    assert!(is_committed, "the reader saw the transaction");
    assert_eq!(found, vec![(None, Some("seen".to_string())); 2]);
}

#[test]
fn a_bounded_read_of_transactions_comes_to_its_end() {
    let Some(broker) = broker("bounded") else { return };
    let folder = folder("bounded");
    broker.create("out", 3, &[]);
    let output = run_copy(&broker, &folder, &copy(&broker, "out", 1_000, 10));
    assert!(output.status.success(), "{}", errors(&output));
    // The end of each partition is a mark of the last transaction, which is no record.
    let table = broker.bounded("t", "id BIGINT", "out", "'format' = 'json'");
    let sql = format!("{table} SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids FROM t EMIT FINAL");
    assert_eq!(rows(&folder, &sql), ["{\"n\":1000,\"ids\":1000}"]);
}
