//! Rows to records and back: metadata, keys, where reading begins and ends, partitions that are added.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::channel;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::broker::broker;
use crate::job::{Running, errors, folder, refused, rows, run};
use crate::plain::PATIENCE;

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
    broker.grow("in", 3);
    for (partition, id) in [(2, 2), (1, 3)] {
        broker.produce_lines("in", partition, &[&format!("{{\"id\":{id}}}")]);
        assert_eq!(lines.next().unwrap().unwrap(), format!("{{\"id\":{id}}}"));
    }
}

#[test]
fn a_producer_whose_queue_is_full_again_and_again_takes_all_rows() {
    let Some(broker) = broker("full") else { return };
    let folder = folder("full");
    broker.create("out", 2, &[]);
    let options = "'format' = 'json', 'properties.queue.buffering.max.messages' = '50'";
    let sink = broker.table("s", "id BIGINT", "out", options);
    let sql = format!(
        "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '5000', 'fields.id.kind' = 'sequence', \
         'fields.id.start' = '1', 'fields.id.end' = '5000'); {sink} INSERT INTO s SELECT id FROM n"
    );
    let mut job = Running::start(&folder, &sql);
    let mut stderr = job.0.stderr.take().unwrap();
    let (sender, ended) = channel();
    std::thread::spawn(move || {
        let mut told = String::new();
        let _ = stderr.read_to_string(&mut told);
        let _ = sender.send(told);
    });
    let told = ended.recv_timeout(PATIENCE).expect("the job comes to its end");
    assert_eq!(told, "");
    assert_eq!(broker.values("out").len(), 5_000);
}
