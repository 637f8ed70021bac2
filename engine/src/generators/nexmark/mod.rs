//! Nexmark (Tucker, Tufte, Papadimos, Maier: "NEXMark – a benchmark for queries over data streams",
//! 2008), as Apache Beam and Flink generate it: an auction site's persons, auctions and bids.
//!
//! Of 50 events 1 is a person, 3 are auctions and 46 are bids; event `i` happens at exactly
//! `base + i / rate`. What the published generator draws from a running random sequence is drawn
//! here from a hash of seed, column and event number.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StructArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::{GeneratorError, batch_of, deliver, fits};
use crate::time::EventTimeUs;
use model::{EventKind, Model};

mod auction;
mod bid;
mod model;
mod person;
mod text;

/// 2024-01-01 00:00:00 UTC.
const BASE_TIME_US: EventTimeUs = 1_704_067_200_000_000;

/// How events are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NexmarkConfig {
    /// One seed, one stream of events.
    pub seed: u64,
    /// Event time of event 0.
    pub base_time_us: EventTimeUs,
    /// Events (of all kinds) per second of event time.
    pub events_per_second: u64,
    /// 1 of this many bids goes to any recent auction, the others to a hot one.
    pub hot_auction_ratio: u64,
    /// 1 of this many bids comes from any active person, the others from a hot one.
    pub hot_bidders_ratio: u64,
    /// 1 of this many auctions is by any active person, the others by a hot one.
    pub hot_sellers_ratio: u64,
    /// Average size of a person, an auction and a bid in bytes: `extra` fills them up.
    pub average_bytes: (usize, usize, usize),
}

impl Default for NexmarkConfig {
    fn default() -> NexmarkConfig {
        NexmarkConfig {
            seed: 0,
            base_time_us: BASE_TIME_US,
            events_per_second: 10_000,
            hot_auction_ratio: 2,
            hot_bidders_ratio: 4,
            hot_sellers_ratio: 4,
            average_bytes: (200, 500, 100),
        }
    }
}

/// Which events a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NexmarkTable {
    /// New persons.
    Person,
    /// New auctions.
    Auction,
    /// Bids.
    Bid,
    /// All events: `event_type` (0 person, 1 auction, 2 bid), one ROW column per kind of which one
    /// is not NULL, and `dateTime`.
    All,
}

impl NexmarkTable {
    /// The table of that name: `person`, `auction`, `bid`, `all`.
    pub fn from_name(name: &str) -> Option<NexmarkTable> {
        match name {
            "person" => Some(NexmarkTable::Person),
            "auction" => Some(NexmarkTable::Auction),
            "bid" => Some(NexmarkTable::Bid),
            "all" => Some(NexmarkTable::All),
            _ => None,
        }
    }

    /// All columns, with the types they are made in.
    pub fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.fields()))
    }

    fn fields(self) -> Fields {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let field = |(name, data_type): (&str, DataType)| Field::new(name, data_type, true);
        let columns = match self {
            NexmarkTable::Person => person::COLUMNS.to_vec(),
            NexmarkTable::Auction => auction::COLUMNS.to_vec(),
            NexmarkTable::Bid => bid::COLUMNS.to_vec(),
            NexmarkTable::All => vec![
                ("event_type", DataType::Int32),
                ("person", DataType::Struct(NexmarkTable::Person.fields())),
                ("auction", DataType::Struct(NexmarkTable::Auction.fields())),
                ("bid", DataType::Struct(NexmarkTable::Bid.fields())),
                ("dateTime", time),
            ],
        };
        columns.into_iter().map(field).collect()
    }

    /// How many of the first `events` events are rows of this table.
    pub fn rows_of(self, events: u64) -> u64 {
        let (cycles, rest) = (events / model::CYCLE, events % model::CYCLE);
        match self {
            NexmarkTable::Person => cycles + rest.min(1),
            NexmarkTable::Auction => cycles * 3 + rest.saturating_sub(1).min(3),
            NexmarkTable::Bid => cycles * 46 + rest.saturating_sub(4),
            NexmarkTable::All => events,
        }
    }
}

/// Makes the rows of one table.
#[derive(Clone, Debug)]
pub struct NexmarkGenerator {
    model: Model,
    table: NexmarkTable,
    wanted: SchemaRef,
}

impl NexmarkGenerator {
    /// A generator of the `wanted` columns of `table`. Times may be wanted in any precision.
    ///
    /// # Errors
    /// A column that the table does not have, or not with that type.
    pub fn new(
        config: NexmarkConfig,
        table: NexmarkTable,
        wanted: SchemaRef,
    ) -> Result<NexmarkGenerator, GeneratorError> {
        assert!(config.events_per_second > 0, "invariant: event time moves");
        let known = table.fields();
        for field in wanted.fields() {
            let name = field.name();
            let Some(natural) = known.iter().find(|natural| natural.name() == name) else {
                let names: Vec<_> = known.iter().map(|field| field.name().as_str()).collect();
                let message = format!(
                    "nexmark has no column '{name}' here; it has: {}",
                    names.join(", ")
                );
                return Err(GeneratorError::new(name, None, message));
            };
            if !fits(natural.data_type(), field.data_type()) {
                let message = format!(
                    "nexmark makes column '{name}' as {}, which cannot be delivered as {}",
                    natural.data_type(),
                    field.data_type()
                );
                return Err(GeneratorError::new(name, None, message));
            }
        }
        Ok(NexmarkGenerator {
            model: Model::new(config),
            table,
            wanted,
        })
    }

    /// The columns made.
    pub fn schema(&self) -> &SchemaRef {
        &self.wanted
    }

    /// The rows of the events numbered `events`: those of this table, in order.
    pub fn rows(&self, events: Range<u64>) -> RecordBatch {
        let numbers = match self.table {
            NexmarkTable::Person => numbers_of(EventKind::Person, events),
            NexmarkTable::Auction => numbers_of(EventKind::Auction, events),
            NexmarkTable::Bid => numbers_of(EventKind::Bid, events),
            NexmarkTable::All => events.collect(),
        };
        let columns = self
            .wanted
            .fields()
            .iter()
            .map(|field| deliver(self.column(self.table, field, &numbers), field))
            .collect();
        batch_of(&self.wanted, columns, numbers.len())
    }

    fn column(&self, table: NexmarkTable, field: &Field, numbers: &[u64]) -> ArrayRef {
        let name = field.name().as_str();
        if name == "dateTime" {
            return Arc::new(self.model.times(numbers));
        }
        match (table, name) {
            (NexmarkTable::Person, _) => person::column(&self.model, name, numbers),
            (NexmarkTable::Auction, _) => auction::column(&self.model, name, numbers),
            (NexmarkTable::Bid, _) => bid::column(&self.model, name, numbers),
            (NexmarkTable::All, "event_type") => {
                let kinds = numbers.iter().map(|&number| EventKind::of(number) as i32);
                Arc::new(Int32Array::from_iter_values(kinds))
            }
            (NexmarkTable::All, "person") => {
                self.events_of(NexmarkTable::Person, EventKind::Person, field, numbers)
            }
            (NexmarkTable::All, "auction") => {
                self.events_of(NexmarkTable::Auction, EventKind::Auction, field, numbers)
            }
            (NexmarkTable::All, _) => self.events_of(NexmarkTable::Bid, EventKind::Bid, field, numbers),
        }
    }

    /// A ROW column of the table of all events: NULL where the event is of another kind.
    fn events_of(&self, table: NexmarkTable, kind: EventKind, field: &Field, numbers: &[u64]) -> ArrayRef {
        let DataType::Struct(fields) = field.data_type() else {
            unreachable!("invariant: the wanted type fits a ROW");
        };
        let own: Vec<u64> = numbers
            .iter()
            .copied()
            .filter(|&number| EventKind::of(number) == kind)
            .collect();
        let mut next = 0;
        let places: UInt64Array = numbers
            .iter()
            .map(|&number| {
                let place = (EventKind::of(number) == kind).then_some(next);
                next += u64::from(place.is_some());
                place
            })
            .collect();
        let children = fields
            .iter()
            .map(|field| {
                let made = deliver(self.column(table, field, &own), field);
                take(&made, &places, None).expect("invariant: places lie within the column")
            })
            .collect();
        let valid: NullBuffer = places
            .iter()
            .map(|place| place.is_some())
            .collect::<Vec<_>>()
            .into();
        Arc::new(
            StructArray::try_new_with_length(fields.clone(), children, Some(valid), numbers.len())
                .expect("invariant: generated columns have the wanted types"),
        )
    }
}

/// The event numbers of one kind among `events`.
fn numbers_of(kind: EventKind, events: Range<u64>) -> Vec<u64> {
    let mut numbers = Vec::with_capacity(events.end.saturating_sub(events.start) as usize);
    let offsets = kind.offsets();
    let mut cycle = events.start / model::CYCLE * model::CYCLE;
    while cycle < events.end {
        let first = (cycle + offsets.start).max(events.start);
        let last = (cycle + offsets.end).min(events.end);
        numbers.extend(first..last);
        cycle += model::CYCLE;
    }
    numbers
}

#[cfg(test)]
mod tests;
