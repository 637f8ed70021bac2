//! The rows that both systems are measured on: as many keys, the same rate of event time, in order.
//!
//! Symbols and traders are small integers here, where velocore's are texts: that is to timely's advantage.

use serde::{Deserialize, Serialize};

/// Rows handed over at once, as many as velocore's batches hold.
pub const BATCH_ROWS: usize = 8192;
/// Event time between two rows, microseconds.
const STEP_US: u64 = 100;

/// A row of market data.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Trade {
    pub symbol: u32,
    pub trader: u32,
    pub price: f64,
    pub quantity: i64,
    pub time_us: u64,
}

/// A row of orders.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Order {
    pub order_id: i64,
    pub customer_id: i64,
    pub time_us: u64,
    pub amount: f64,
}

/// Rows `worker`, `worker + workers`, … of `count` market data rows over `symbols` times `traders` keys, in batches.
pub fn trades(count: u64, symbols: u64, traders: u64, worker: u64, workers: u64) -> Vec<Vec<Trade>> {
    batches(count, worker, workers, |row| {
        let random = mix(row);
        Trade {
            symbol: (random % symbols) as u32,
            trader: (random / symbols % traders) as u32,
            price: 50.0 + (random >> 20 & 0x7ff) as f64 * 0.25,
            quantity: (random >> 40 & 0x3ff) as i64 + 1,
            time_us: row * STEP_US,
        }
    })
}

/// The same of orders: 1,000 customers, amounts 150 to 249.
pub fn orders(count: u64, worker: u64, workers: u64) -> Vec<Vec<Order>> {
    batches(count, worker, workers, |row| {
        let random = mix(row);
        Order {
            order_id: row as i64,
            customer_id: (random % 1_000) as i64,
            time_us: row * STEP_US,
            amount: 150.0 + (random >> 20) as f64 % 100.0,
        }
    })
}

fn batches<R>(count: u64, worker: u64, workers: u64, row: impl Fn(u64) -> R) -> Vec<Vec<R>> {
    let rows: Vec<u64> = (worker..count).step_by(workers as usize).collect();
    rows.chunks(BATCH_ROWS)
        .map(|numbers| numbers.iter().map(|&number| row(number)).collect())
        .collect()
}

/// Stafford's mix 13 of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
