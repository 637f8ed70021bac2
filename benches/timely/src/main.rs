//! The five scenarios of velocore's benchmark, written by hand in timely dataflow: the peer of
//! `velocore bench scenarios`, over rows that lie decoded in memory.
//!
//!     timely-peer SCENARIO [ROWS] [WORKERS]
//!
//! Prints one JSON line: rows, seconds, CPU seconds (of the run alone, the rows are made before) and output rows.

mod aggregate;
mod data;
mod moving_average;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use cpu_time::ProcessTime;
use timely::dataflow::operators::vec::Filter;
use timely::dataflow::operators::{Inspect, Probe};
use timely::dataflow::{InputHandleVec, ProbeHandle, StreamVec};
use timely::worker::Worker;

use data::{Order, Trade};

const WINDOW_US: u64 = 60_000_000;
/// Batches that a worker sends ahead of its results.
const IN_FLIGHT: usize = 4;

/// A batch is sent at the time of its first row, and its rows are not before that.
trait Timed {
    fn time_us(&self) -> u64;
}

impl Timed for Trade {
    fn time_us(&self) -> u64 {
        self.time_us
    }
}

impl Timed for Order {
    fn time_us(&self) -> u64 {
        self.time_us
    }
}

/// Where a scenario's workers meet, and what they count.
#[derive(Clone)]
struct Shared {
    start: Arc<Barrier>,
    output_rows: Arc<AtomicU64>,
}

impl Shared {
    fn count<'scope, D: Clone + 'static>(&self, rows: StreamVec<'scope, u64, D>) -> StreamVec<'scope, u64, D> {
        let output_rows = self.output_rows.clone();
        rows.inspect_core(move |event| {
            let Ok((_, rows)) = event else { return };
            output_rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
        })
    }
}

fn feed<R: Timed + Clone + 'static>(
    worker: &mut Worker,
    shared: &Shared,
    batches: Vec<Vec<R>>,
    dataflow: impl for<'scope> FnOnce(StreamVec<'scope, u64, R>, &Shared, &ProbeHandle<u64>),
) -> (Instant, ProcessTime) {
    let mut input = InputHandleVec::new();
    let probe = ProbeHandle::new();
    worker.dataflow(|scope| {
        let rows = input.to_stream(scope);
        dataflow(rows, shared, &probe);
    });
    shared.start.wait();
    let begun = (Instant::now(), ProcessTime::now());
    let times: Vec<u64> = batches.iter().map(|batch| batch[0].time_us()).collect();
    for (number, mut batch) in batches.into_iter().enumerate() {
        input.advance_to(times[number]);
        input.send_batch(&mut batch);
        worker.step();
        // Some batches are on their way, so that no worker waits for another at every batch.
        while number >= IN_FLIGHT && probe.less_than(&times[number - IN_FLIGHT]) {
            worker.step();
        }
    }
    input.close();
    while !probe.done() {
        worker.step();
    }
    begun
}

fn run(worker: &mut Worker, shared: &Shared, scenario: &str, rows: u64) -> (Instant, ProcessTime) {
    let (index, peers) = (worker.index() as u64, worker.peers() as u64);
    let by_symbol = |trade: &Trade| (0, u64::from(trade.symbol));
    let by_window = |trade: &Trade| {
        let end = (trade.time_us / WINDOW_US + 1) * WINDOW_US;
        (end, u64::from(trade.trader) << 32 | u64::from(trade.symbol))
    };
    match scenario {
        "s0" => feed(worker, shared, data::orders(rows, index, peers), |orders, shared, probe| {
            shared.count(orders.filter(|order| order.amount > 100.0)).probe_with(probe);
        }),
        "s1" => feed(worker, shared, data::trades(rows, 10, 1, index, peers), |trades, shared, probe| {
            shared.count(moving_average::moving_average(trades)).probe_with(probe);
        }),
        "s2" => feed(worker, shared, data::trades(rows, 200, 1, index, peers), move |trades, shared, probe| {
            let partial = aggregate::combine(trades, by_symbol);
            shared.count(aggregate::changes(partial)).probe_with(probe);
        }),
        "s3a" => feed(worker, shared, data::trades(rows, 100, 50, index, peers), move |trades, shared, probe| {
            let partial = aggregate::combine(trades, by_window);
            shared.count(aggregate::windows(partial)).probe_with(probe);
        }),
        "s3b" => feed(worker, shared, data::trades(rows, 100, 50, index, peers), move |trades, shared, probe| {
            let partial = aggregate::combine(trades, by_window);
            shared.count(aggregate::changes(partial)).probe_with(probe);
        }),
        other => panic!("unknown scenario {other}; there are s0, s1, s2, s3a, s3b"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scenario = arguments.first().cloned().unwrap_or_else(|| "s0".to_string());
    let number = |at: usize, default: u64| {
        arguments.get(at).map_or(default, |text| text.parse().expect("a number of rows or workers"))
    };
    let (rows, workers) = (number(1, 10_000_000), number(2, 2) as usize);
    let shared = Shared {
        start: Arc::new(Barrier::new(workers)),
        output_rows: Arc::default(),
    };
    let (of_worker, name) = (shared.clone(), scenario.clone());
    let workers_done = timely::execute(timely::Config::process(workers), move |worker| {
        let (begun, cpu) = run(worker, &of_worker, &name, rows);
        (begun.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64())
    })
    .expect("the workers start");
    let done: Vec<(f64, f64)> = workers_done.join().into_iter().map(|worker| worker.expect("a worker ends")).collect();
    let seconds = done.iter().map(|done| done.0).fold(0.0, f64::max);
    let cpu_seconds = done.iter().map(|done| done.1).fold(0.0, f64::max);
    let output_rows = shared.output_rows.load(Ordering::Relaxed);
    println!(
        "{{\"engine\":\"timely\",\"scenario\":\"{scenario}\",\"shards\":{workers},\"rows\":{rows},\"seconds\":{seconds:.6},\"rows_per_second\":{:.0},\"cpu_seconds\":{cpu_seconds:.6},\"output_rows\":{output_rows}}}",
        rows as f64 / seconds
    );
}
