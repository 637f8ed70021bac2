//! Options of a sink, the producer that is full, and spools by epoch, without a broker.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;
use crate::connectors::testing::{TemporaryDirectory, table};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]))
}

fn batch(ids: std::ops::Range<i64>) -> Batch {
    let ids = Int64Array::from_iter_values(ids);
    Batch::append(RecordBatch::try_new(schema(), vec![Arc::new(ids)]).unwrap(), 0)
}

fn parse(
    options: &[(&str, &str)],
    input: &Changelog,
    epochs: Option<SinkEpochs>,
) -> Result<KafkaSinkTable, String> {
    let mut all = vec![
        ("connector", "kafka"),
        ("topic", "t"),
        // Nobody listens there.
        ("properties.bootstrap.servers", "127.0.0.1:1"),
        ("format", "json"),
    ];
    all.extend(options);
    let table = table("s", &[("id", DataType::Int64)], &all);
    let options = TableOptions::new(&table).map_err(|error| error.to_string())?;
    KafkaSinkTable::parse(&options, input, epochs).map_err(|error| error.to_string())
}

/// Tells the test that a shard was woken.
struct Woken(Mutex<Sender<()>>);

impl Wake for Woken {
    fn wake(&self) {
        let _ = self.0.lock().unwrap().send(());
    }
}

#[test]
fn a_sink_whose_producer_is_full_is_not_ready() {
    let options = [
        ("properties.queue.buffering.max.messages", "2"),
        ("properties.message.timeout.ms", "200"),
    ];
    let table = Arc::new(parse(&options, &Changelog::Append, None).unwrap());
    let (sender, woken) = channel();
    table.start(&[Arc::new(Woken(Mutex::new(sender)))]).unwrap();
    let mut sink = table.sink(0, 0, &schema(), false);
    assert!(sink.ready());
    sink.write(&batch(0..5)).unwrap();
    assert!(!sink.ready(), "two of five messages are taken");
    // No broker answers: the messages are given up, which wakes the shard, and the job learns of it.
    woken.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(sink.ready(), "so that the error is told");
    let error = sink.write(&batch(5..6)).expect_err("given up").message;
    assert!(error.contains("could not be written to topic 't'"), "{error}");
    assert!(sink.close().is_err());
}

fn exactly_once(directory: &TemporaryDirectory) -> KafkaSinkTable {
    let options = [
        ("sink.delivery-guarantee", "exactly-once"),
        ("sink.transactional-id-prefix", "p"),
    ];
    let epochs = SinkEpochs {
        job: "1f".into(),
        first: 5,
        directory: Some(directory.path().to_path_buf()),
    };
    std::fs::create_dir_all(spool_directory(&epochs)).unwrap();
    parse(&options, &Changelog::Append, Some(epochs)).unwrap()
}

#[test]
fn an_epoch_is_put_aside_under_its_number() {
    let directory = TemporaryDirectory::create();
    let table = Arc::new(exactly_once(&directory));
    let mut sink = table.sink(3, 1, &schema(), false);
    sink.write(&batch(0..3)).unwrap();
    let prepared = sink.prepare().unwrap();
    assert_eq!(sink.prepare().unwrap(), [], "nothing was written in that epoch");
    sink.write(&batch(3..4)).unwrap();
    assert!(sink.close().unwrap());
    let last = sink.prepare().unwrap();
    let epochs = [&prepared[0], &last[0]].map(|prepared| Spooled::read(prepared).unwrap().unwrap());
    assert_eq!(epochs.each_ref().map(|spool| spool.epoch), [5, 7]);
    let mut values = Vec::new();
    for spooled in &epochs {
        spool::read::<ConnectorError>(spooled, |message, partition| {
            assert_eq!(partition, None);
            values.push(String::from_utf8(message.value.unwrap().to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(values, ["{\"id\":0}", "{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
}

#[test]
fn a_spool_is_bounded_while_an_epoch_is_not_committed() {
    let directory = TemporaryDirectory::create();
    let table = KafkaSinkTable {
        spool_bytes: 100,
        ..exactly_once(&directory)
    };
    let table = Arc::new(table);
    let mut sink = table.sink(0, 0, &schema(), false);
    sink.write(&batch(0..100)).unwrap();
    assert!(sink.ready(), "nothing is before it");
    sink.prepare().unwrap();
    assert!(sink.ready());
    sink.write(&batch(0..100)).unwrap();
    assert!(!sink.ready(), "epoch 5 is not committed");
    table.committed.store(5, Ordering::Release);
    assert!(sink.ready());
}

#[test]
fn what_a_sink_cannot_do_is_refused() {
    let refused = |options: &[(&str, &str)], input: &Changelog, part: &str| {
        let error = parse(options, input, None).expect_err("refused");
        assert!(error.contains(part), "{error}");
    };
    let once = ("sink.delivery-guarantee", "exactly-once");
    refused(
        &[once],
        &Changelog::Append,
        "needs the option 'sink.transactional-id-prefix'",
    );
    refused(
        &[once, ("sink.transactional-id-prefix", "p")],
        &Changelog::Append,
        "exactly once needs checkpoints",
    );
    refused(&[], &Changelog::Retract, "the query changes them (retract)");
    refused(&[("value.format", "json")], &Changelog::Append, "mean the same");
    refused(
        &[("sink.delivery-guarantee", "at-most-once")],
        &Changelog::Append,
        "cannot be 'at-most-once'",
    );
}

#[test]
fn rows_go_to_partitions_as_the_partitioner_says() {
    let mut turns = Partitioner::RoundRobin {
        next: 1,
        partitions: 3,
    };
    let chosen: Vec<Option<i32>> = (0..4).map(|_| turns.choose()).collect();
    assert_eq!(chosen, [Some(1), Some(2), Some(0), Some(1)]);
    assert_eq!(Partitioner::Fixed(2).choose(), Some(2));
    assert_eq!(Partitioner::ByKey.choose(), None);
}
