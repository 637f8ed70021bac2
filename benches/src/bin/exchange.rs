//! The ring between two threads, and the exchange of rows to 2, 8 and 32 shards.
//!
//! The exchange's ceiling is one copy of its columns.

use std::hint::black_box;
use std::sync::Arc;
use std::thread;

use arrow::array::{Float64Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use benches::{Numbers, criterion, measure};
use engine::batch::Batch;
use engine::plan::ExchangeTarget;
use shards::epoch::Control;
use shards::exchange::Exchange;
use shards::mesh::{MeshConfig, MeshEndpoint, mesh};
use shards::ring::ring;

const MESSAGES: usize = 1 << 22;
const BATCH_ROWS: usize = 8_192;
/// Few enough to stay in the shared cache: rows that are exchanged were decoded a moment ago.
const BATCHES: usize = 16;
/// How often they are sent.
const ROUNDS: usize = 16;

fn ring_between_threads() {
    let (mut producer, mut consumer) = ring::<usize>(1_024);
    let pushing = thread::spawn(move || {
        for message in 0..MESSAGES {
            let mut message = message;
            while let Err(back) = producer.push(message) {
                message = back;
                std::hint::spin_loop();
            }
        }
    });
    let mut sum = 0;
    let mut received = 0;
    while received < MESSAGES {
        match consumer.pop() {
            Some(message) => {
                sum += message;
                received += 1;
            }
            None => std::hint::spin_loop(),
        }
    }
    black_box(sum);
    pushing.join().expect("invariant: pushing does not fail");
}

fn batches() -> Vec<Batch> {
    let numeric = |name: &str, data_type| Field::new(name, data_type, false);
    let schema = Arc::new(Schema::new(vec![
        numeric("key", DataType::Int64),
        numeric("a", DataType::Int64),
        numeric("b", DataType::Float64),
        numeric("c", DataType::Int64),
    ]));
    let mut numbers = Numbers::new(7);
    let make = |_| {
        let key = Int64Array::from_iter_values((0..BATCH_ROWS).map(|_| (numbers.draw() >> 40) as i64));
        let value = Int64Array::from_iter_values(0..BATCH_ROWS as i64);
        let price = Float64Array::from_iter_values((0..BATCH_ROWS).map(|row| row as f64));
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(key),
            Arc::new(value.clone()),
            Arc::new(price),
            Arc::new(value),
        ];
        let rows = RecordBatch::try_new(schema.clone(), columns);
        Batch::append(rows.expect("invariant: the columns fit the schema"), 0)
    };
    (0..BATCHES).map(make).collect()
}

/// Takes in what shard 0 has sent anywhere, and gives the credit back.
fn receive_all(endpoints: &mut [MeshEndpoint]) {
    for endpoint in endpoints {
        while let Some((edge, received)) = endpoint.receive(0) {
            black_box(&received.message);
            endpoint.return_credit(edge, 0, &received);
        }
    }
}

fn exchange_to(shards: usize, batches: &[Batch]) {
    let config = MeshConfig {
        credits: 64,
        bytes: 64 << 20,
    };
    let mut endpoints = mesh(&Control::new(shards), 1, config);
    let mut exchange = Exchange::new(0, ExchangeTarget::Owner(vec![0]), shards);
    for batch in std::iter::repeat_n(batches, ROUNDS).flatten() {
        exchange.send_rows(batch.clone(), &mut endpoints[0], 0);
        receive_all(&mut endpoints);
        exchange.send_waiting(&mut endpoints[0], 0);
    }
}

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("ring");
    measure(
        &mut group,
        "one message at a time",
        MESSAGES,
        ring_between_threads,
    );
    group.finish();

    let mut group = criterion.benchmark_group("exchange of four columns");
    let batches = batches();
    let rows = ROUNDS * BATCHES * BATCH_ROWS;
    let order = UInt32Array::from_iter_values(0..BATCH_ROWS as u32);
    measure(&mut group, "ceiling: one gather", rows, || {
        for batch in std::iter::repeat_n(&batches, ROUNDS).flatten() {
            black_box(take_record_batch(batch.rows(), &order).expect("invariant: indices are rows"));
        }
    });
    for shards in [2, 8, 32] {
        measure(&mut group, &format!("{shards} shards"), rows, || {
            exchange_to(shards, &batches)
        });
    }
    group.finish();
    criterion.final_summary();
}
