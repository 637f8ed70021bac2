//! The data of the five benchmark scenarios (orders and market data), with exact key counts.
//!
//! Row `i` belongs to cycle `i / keys`: within a cycle every key occurs exactly once, in an order
//! that differs from cycle to cycle. A cycle lasts a whole number of milliseconds, so that times
//! are unique per key. Prices are multiples of a quarter: sums of them are exact in DOUBLE, and so
//! the same on any number of shards.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};

use super::random::{Stream, below};
use super::{GeneratorError, deliver, fits};
use crate::encoding::{encoded_rows, is_encoded, plain};
use crate::time::EventTimeUs;

/// 2024-01-01 00:00:00 UTC.
const BASE_TIME_US: EventTimeUs = 1_704_067_200_000_000;

/// One of the five scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scenario {
    /// Pure SELECT over orders: 1,000 customers, amounts 150…249.
    S0,
    /// ROWS window over market data: 10 symbols.
    S1,
    /// GROUP BY over market data: 200 symbols.
    S2,
    /// Tumbling window over market data: 50 traders × 100 symbols.
    S3a,
    /// The same data with EMIT CHANGES.
    S3b,
}

impl Scenario {
    /// All of them, in order.
    pub const ALL: [Scenario; 5] = [
        Scenario::S0,
        Scenario::S1,
        Scenario::S2,
        Scenario::S3a,
        Scenario::S3b,
    ];

    /// `s0` … `s3b`.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::S0 => "s0",
            Scenario::S1 => "s1",
            Scenario::S2 => "s2",
            Scenario::S3a => "s3a",
            Scenario::S3b => "s3b",
        }
    }

    /// The scenario of that name.
    pub fn from_name(name: &str) -> Option<Scenario> {
        Scenario::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// The table its query reads.
    pub fn table_name(self) -> &'static str {
        match self {
            Scenario::S0 => "orders",
            _ => "market_data",
        }
    }
}

/// How trades are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradesConfig {
    /// One seed, one data set.
    pub seed: u64,
    /// Different symbols.
    pub symbols: u64,
    /// Different traders; every trader trades every symbol.
    pub traders: u64,
    /// Event time of row 0.
    pub base_time_us: EventTimeUs,
    /// Event time between rows; a cycle over all keys lasts whole milliseconds.
    pub step_us: u64,
    /// Rows are early by up to this much, at random; 0 = in order.
    pub jitter_us: u64,
}

/// The rows of one scenario.
#[derive(Clone, Debug)]
pub struct ScenarioData {
    scenario: Scenario,
    config: TradesConfig,
    schema: SchemaRef,
    columns: Vec<TradeColumn>,
    symbols: StringArray,
    traders: StringArray,
    /// Symbols and traders lie as codes of a dictionary.
    encoded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TradeColumn {
    OrderId,
    CustomerId,
    Amount,
    Symbol,
    Trader,
    Price,
    Quantity,
    Time,
}

const TIME: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// Names, types and sources of the columns of `orders`.
const ORDERS: [(&str, DataType, TradeColumn); 4] = [
    ("order_id", DataType::Int64, TradeColumn::OrderId),
    ("customer_id", DataType::Int64, TradeColumn::CustomerId),
    ("order_date", TIME, TradeColumn::Time),
    ("total_amount", DataType::Float64, TradeColumn::Amount),
];

/// Names, types and sources of the columns of `market_data`; `timestamp` and `trade_time` are the same.
const MARKET_DATA: [(&str, DataType, TradeColumn); 6] = [
    ("symbol", DataType::Utf8, TradeColumn::Symbol),
    ("trader_id", DataType::Utf8, TradeColumn::Trader),
    ("price", DataType::Float64, TradeColumn::Price),
    ("quantity", DataType::Int64, TradeColumn::Quantity),
    ("trade_time", TIME, TradeColumn::Time),
    ("timestamp", TIME, TradeColumn::Time),
];

impl ScenarioData {
    /// The data of `scenario` with all its columns and the key counts of the benchmark.
    pub fn new(scenario: Scenario, seed: u64) -> ScenarioData {
        let (symbols, traders) = match scenario {
            Scenario::S0 => (1_000, 1),
            Scenario::S1 => (10, 1),
            Scenario::S2 => (200, 1),
            Scenario::S3a | Scenario::S3b => (100, 50),
        };
        ScenarioData::with_config(
            scenario,
            TradesConfig {
                seed,
                symbols,
                traders,
                base_time_us: BASE_TIME_US,
                step_us: 100,
                jitter_us: 0,
            },
        )
    }

    /// The data of `scenario` with all its columns, made as `config` says.
    pub fn with_config(scenario: Scenario, config: TradesConfig) -> ScenarioData {
        assert!(
            config.symbols > 0 && config.traders > 0,
            "invariant: there are keys"
        );
        let known = known_columns(scenario);
        let fields: Vec<Field> = known
            .iter()
            .map(|(name, data_type, _)| Field::new(*name, data_type.clone(), true))
            .collect();
        let names = |prefix: &str, count: u64| {
            let width = (count - 1).to_string().len();
            StringArray::from_iter_values((0..count).map(|number| format!("{prefix}{number:0width$}")))
        };
        ScenarioData {
            scenario,
            config,
            schema: Arc::new(Schema::new(fields)),
            columns: known.iter().map(|(_, _, column)| *column).collect(),
            symbols: names("SYM", config.symbols),
            traders: names("TRADER", config.traders),
            encoded: false,
        }
    }

    /// The same data with these columns only, in this order and with these types.
    ///
    /// # Errors
    /// A column that the scenario's table does not have, or not with that type.
    pub fn project(mut self, wanted: SchemaRef) -> Result<ScenarioData, GeneratorError> {
        let known = known_columns(self.scenario);
        self.columns = wanted
            .fields()
            .iter()
            .map(|field| {
                let found = known.iter().find(|(name, _, _)| name == field.name());
                match found {
                    Some((_, natural, column)) if fits(natural, field.data_type()) => Ok(*column),
                    Some((_, natural, _)) => Err(format!("is {natural}, not {}", field.data_type())),
                    None => Err(format!("does not exist in {}", self.scenario.table_name())),
                }
                .map_err(|what| {
                    GeneratorError::new(field.name(), None, format!("column '{}' {what}", field.name()))
                })
            })
            .collect::<Result<_, _>>()?;
        self.schema = wanted;
        Ok(self)
    }

    /// The columns made.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Different keys: customers, symbols, or pairs of trader and symbol.
    pub fn keys(&self) -> u64 {
        self.config.symbols * self.config.traders
    }

    /// Rows `rows` of the table.
    pub fn rows(&self, rows: Range<u64>) -> RecordBatch {
        let length = rows.end.saturating_sub(rows.start) as usize;
        let columns = self
            .columns
            .iter()
            .zip(self.schema.fields())
            .map(|(&column, field)| {
                let column = self.column(column, rows.clone());
                match is_encoded(&column) {
                    true => column,
                    false => deliver(column, field),
                }
            })
            .collect();
        encoded_rows(&self.schema, columns, length)
            .expect("invariant: generated columns have the wanted types")
    }

    /// The same data, symbols and traders as codes of a dictionary of their names.
    pub fn encoded(&self) -> ScenarioData {
        ScenarioData {
            encoded: true,
            ..self.clone()
        }
    }

    /// Names by their numbers.
    fn texts(&self, names: &StringArray, numbers: impl Iterator<Item = u64>) -> ArrayRef {
        let codes = Int32Array::from_iter_values(numbers.map(|number| number as i32));
        let texts: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(codes, Arc::new(names.clone())));
        match self.encoded {
            true => texts,
            false => plain(&texts).expect("invariant: every number has a name"),
        }
    }

    fn column(&self, column: TradeColumn, rows: Range<u64>) -> ArrayRef {
        let seed = self.config.seed;
        let price = Stream::new(seed, 1);
        let quantity = Stream::new(seed, 2);
        match column {
            TradeColumn::OrderId => Arc::new(Int64Array::from_iter_values(rows.map(|row| row as i64))),
            TradeColumn::CustomerId => {
                let keys = self.key_numbers(rows);
                Arc::new(Int64Array::from_iter_values(keys.map(|key| key as i64)))
            }
            TradeColumn::Amount => {
                let amounts = rows.map(|row| 150.0 + below(price.at(row), 100) as f64);
                Arc::new(Float64Array::from_iter_values(amounts))
            }
            TradeColumn::Price => {
                let prices = rows.map(|row| 50.0 + below(price.at(row), 2_000) as f64 * 0.25);
                Arc::new(Float64Array::from_iter_values(prices))
            }
            TradeColumn::Quantity => {
                let quantities = rows.map(|row| 1 + below(quantity.at(row), 1_000) as i64);
                Arc::new(Int64Array::from_iter_values(quantities))
            }
            TradeColumn::Symbol => {
                let symbols = self.config.symbols;
                self.texts(&self.symbols, self.key_numbers(rows).map(|key| key % symbols))
            }
            TradeColumn::Trader => {
                let symbols = self.config.symbols;
                self.texts(&self.traders, self.key_numbers(rows).map(|key| key / symbols))
            }
            TradeColumn::Time => {
                let times = rows.map(|row| self.time_us(row).div_euclid(1_000));
                Arc::new(TimestampMillisecondArray::from_iter_values(times))
            }
        }
    }

    /// The key of each row: every key once per cycle.
    fn key_numbers(&self, rows: Range<u64>) -> impl Iterator<Item = u64> {
        let keys = self.keys();
        let stride = coprime_stride(keys);
        let shift = Stream::new(self.config.seed, 3);
        rows.map(move |row| {
            let (cycle, position) = (row / keys, row % keys);
            (position * stride + below(shift.at(cycle), keys)) % keys
        })
    }

    fn time_us(&self, row: u64) -> EventTimeUs {
        let early = match self.config.jitter_us {
            0 => 0,
            jitter => below(Stream::new(self.config.seed, 4).at(row), jitter + 1) as i64,
        };
        self.config.base_time_us + (row * self.config.step_us) as i64 - early
    }
}

fn known_columns(scenario: Scenario) -> &'static [(&'static str, DataType, TradeColumn)] {
    match scenario {
        Scenario::S0 => &ORDERS,
        _ => &MARKET_DATA,
    }
}

/// A step that visits all of `keys` keys, far apart from each other.
fn coprime_stride(keys: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // Near the golden section of the key space, so that neighbours in time are far apart.
    (keys * 618 / 1_000 + 1..)
        .find(|&stride| gcd(stride, keys) == 1)
        .expect("invariant: there is a coprime above every number")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use arrow::array::AsArray;
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Float64Type, Int64Type, TimestampMillisecondType};

    use super::*;

    #[test]
    fn rows_do_not_depend_on_how_ranges_are_cut() {
        for scenario in Scenario::ALL {
            let data = ScenarioData::new(scenario, 1);
            let whole = data.rows(0..10_000);
            let parts = [data.rows(0..1), data.rows(1..7_777), data.rows(7_777..10_000)];
            assert_eq!(whole, concat_batches(data.schema(), &parts).unwrap());
            assert_ne!(whole, ScenarioData::new(scenario, 2).rows(0..10_000));
        }
    }

    #[test]
    fn key_counts_are_those_of_the_benchmark_and_each_cycle_has_every_key_once() {
        for (scenario, keys) in [(Scenario::S1, 10), (Scenario::S2, 200), (Scenario::S3a, 5_000)] {
            let data = ScenarioData::new(scenario, 9);
            assert_eq!(data.keys(), keys);
            for cycle in 0..3 {
                let rows = data.rows(cycle * keys..(cycle + 1) * keys);
                let (symbols, traders) = (
                    rows.column(0).as_string::<i32>(),
                    rows.column(1).as_string::<i32>(),
                );
                let pairs: BTreeSet<_> = symbols.iter().zip(traders.iter()).collect();
                assert_eq!(pairs.len() as u64, keys);
            }
        }
        let orders = ScenarioData::new(Scenario::S0, 9).rows(0..1_000);
        let customers: BTreeSet<_> = orders
            .column(1)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .collect();
        assert_eq!(customers.len(), 1_000);
        let amounts = orders.column(3).as_primitive::<Float64Type>();
        assert!(
            amounts
                .values()
                .iter()
                .all(|amount| (150.0..=249.0).contains(amount))
        );
    }

    #[test]
    fn times_rise_and_are_unique_per_key() {
        for scenario in Scenario::ALL {
            let data = ScenarioData::new(scenario, 3);
            let rows = data.rows(0..50_000);
            let time = rows.schema().index_of(if scenario == Scenario::S0 {
                "order_date"
            } else {
                "trade_time"
            });
            let times = rows
                .column(time.unwrap())
                .as_primitive::<TimestampMillisecondType>()
                .values()
                .clone();
            assert!(times.is_sorted());
            let mut last = BTreeMap::new();
            for (key, time) in data.key_numbers(0..50_000).zip(times.iter()) {
                if let Some(before) = last.insert(key, *time) {
                    assert!(before < *time, "{scenario:?}: key {key} twice at {time}");
                }
            }
        }
    }

    #[test]
    fn only_wanted_columns_are_made_in_the_wanted_types() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let wanted = Arc::new(Schema::new(vec![
            Field::new("timestamp", time, true),
            Field::new("symbol", DataType::Utf8, true),
        ]));
        let data = ScenarioData::new(Scenario::S2, 3)
            .project(wanted.clone())
            .unwrap();
        assert_eq!(data.rows(5..9).schema(), wanted);
        let unknown = Arc::new(Schema::new(vec![Field::new("volume", DataType::Int64, true)]));
        let error = ScenarioData::new(Scenario::S2, 3).project(unknown).unwrap_err();
        assert_eq!(error.to_string(), "column 'volume' does not exist in market_data");
    }
}
