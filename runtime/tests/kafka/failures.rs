//! What goes wrong, and how it is told: topics that are not there or go, records that cannot be read or written.

use std::io::{BufRead, BufReader};

use crate::broker::broker;
use crate::job::{Running, errors, folder, refused, rows, run, sorted_lines};

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
