//! The rows of a simulation, and how they are dealt to shards, splits and batches.
//!
//! **Invariant.** Event times are unique, and no row is further behind an earlier one than the
//! watermark bound allows: whatever the cut, no row is late, so the answer has one value.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use rand::Rng;
use rand::rngs::SmallRng;

/// The disorder that the table's watermark allows, in milliseconds.
const BOUND_MS: i64 = 5_000;
/// 2024-05-01 10:00:00.
const START_MS: i64 = 1_714_557_600_000;
/// Rows of a simulation at most.
pub const ROWS_MAX: usize = 300;

/// Random rows of the table `trades`, out of order within the bound.
pub fn random_rows(random: &mut SmallRng) -> RecordBatch {
    let count = random.random_range(0..=ROWS_MAX);
    let symbols = random.random_range(1..=12);
    let mut times = Vec::with_capacity(count);
    let mut taken = BTreeSet::new();
    let mut highest = START_MS;
    for _ in 0..count {
        highest += match random.random_range(0..20) {
            // A gap: windows without rows.
            0 => random.random_range(0..12_000),
            _ => random.random_range(1..300),
        };
        let time = loop {
            let mut time = highest - random.random_range(0..BOUND_MS);
            // Windows begin and end at whole seconds.
            let second = time / 1_000 * 1_000;
            if random.random_range(0..6) == 0 && second > highest - BOUND_MS {
                time = second;
            }
            if taken.insert(time) {
                break time;
            }
        };
        times.push(time);
    }
    let symbol = |random: &mut SmallRng| {
        let number = random.random_range(0..=symbols);
        (number > 0).then(|| format!("S{number}"))
    };
    // Quarters: their sums are exact, whatever the order.
    let price = |random: &mut SmallRng| {
        let quarters = random.random_range(0..80);
        (quarters > 3).then_some(f64::from(quarters) / 4.0)
    };
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(TimestampMillisecondArray::from(times)),
        Arc::new((0..count).map(|_| symbol(random)).collect::<StringArray>()),
        Arc::new((0..count).map(|_| price(random)).collect::<Float64Array>()),
        Arc::new(
            (0..count)
                .map(|_| Some(random.random_range(-2..15)))
                .collect::<Int64Array>(),
        ),
    ];
    let schema = Schema::new(vec![
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("symbol", DataType::Utf8, true),
        Field::new("price", DataType::Float64, true),
        Field::new("quantity", DataType::Int64, true),
    ]);
    RecordBatch::try_new(Arc::new(schema), columns).expect("invariant: columns of one length")
}

/// The first `rows_max` rows, or all.
pub fn first_of(rows: &RecordBatch, rows_max: Option<usize>) -> RecordBatch {
    rows.slice(0, rows_max.unwrap_or(usize::MAX).min(rows.num_rows()))
}

/// Where rows go: by shard, by split, blocks of row numbers in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    /// By shard, then split: ranges (offset, length).
    pub blocks: Vec<Vec<Vec<(usize, usize)>>>,
}

impl Deal {
    /// All rows in one block on one split of one shard.
    pub fn whole(rows: usize) -> Deal {
        let blocks = if rows == 0 { Vec::new() } else { vec![(0, rows)] };
        Deal {
            blocks: vec![vec![blocks]],
        }
    }

    /// The same splits on `shards` shards: split number `n`, counted over all shards, on shard `n % shards`.
    pub fn on(&self, shards: usize) -> Deal {
        let mut blocks = vec![Vec::new(); shards];
        for (number, split) in self.blocks.iter().flatten().enumerate() {
            blocks[number % shards].push(split.clone());
        }
        Deal { blocks }
    }

    /// Random blocks to random splits; each shard has up to three splits, and one shard at least has one.
    pub fn random(rows: usize, shards: usize, random: &mut SmallRng) -> Deal {
        let mut blocks: Vec<Vec<Vec<(usize, usize)>>> = (0..shards)
            .map(|_| vec![Vec::new(); random.random_range(0..=3)])
            .collect();
        if blocks.iter().all(Vec::is_empty) {
            blocks[0].push(Vec::new());
        }
        let splits: Vec<(usize, usize)> = blocks
            .iter()
            .enumerate()
            .flat_map(|(shard, splits)| (0..splits.len()).map(move |split| (shard, split)))
            .collect();
        let longest = [1, 3, 10, 60][random.random_range(0..4)];
        let mut offset = 0;
        while offset < rows {
            let length = random.random_range(1..=longest).min(rows - offset);
            let (shard, split) = splits[random.random_range(0..splits.len())];
            blocks[shard][split].push((offset, length));
            offset += length;
        }
        Deal { blocks }
    }
}
