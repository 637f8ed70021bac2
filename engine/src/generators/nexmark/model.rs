//! What the kinds of event share: their order, ids, times, and the streams of random numbers.

use std::ops::Range;

use arrow::array::TimestampMillisecondArray;

use super::NexmarkConfig;
use crate::generators::random::{Draws, Stream, below, unit};

/// Events of one cycle: a person, three auctions, 46 bids.
pub(super) const CYCLE: u64 = 50;
/// Persons of a cycle.
const PERSONS: u64 = 1;
/// Auctions of a cycle.
const AUCTIONS: u64 = 3;

/// Ids start here.
pub(super) const FIRST_ID: u64 = 1_000;
/// Only the last so many persons act.
const ACTIVE_PERSONS: u64 = 1_000;
/// Bids and auctions may come before the person they name, by so many ids.
const PERSON_ID_LEAD: u64 = 10;
/// Bids go to the last so many auctions.
pub(super) const AUCTIONS_IN_FLIGHT: u64 = 100;
/// Bids may come before the auction they name, by so many ids.
const AUCTION_ID_LEAD: u64 = 10;
/// One of so many ids is hot at a time.
const HOT_ID_STEP: u64 = 100;

/// The kinds of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Person = 0,
    Auction = 1,
    Bid = 2,
}

impl EventKind {
    /// What event `number` is.
    pub(super) fn of(number: u64) -> EventKind {
        match number % CYCLE {
            offset if offset < PERSONS => EventKind::Person,
            offset if offset < PERSONS + AUCTIONS => EventKind::Auction,
            _ => EventKind::Bid,
        }
    }

    /// Its places in a cycle.
    pub(super) fn offsets(self) -> Range<u64> {
        match self {
            EventKind::Person => 0..PERSONS,
            EventKind::Auction => PERSONS..PERSONS + AUCTIONS,
            EventKind::Bid => PERSONS + AUCTIONS..CYCLE,
        }
    }
}

/// The configuration, and what follows from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub(super) config: NexmarkConfig,
}

impl Model {
    pub(super) fn new(config: NexmarkConfig) -> Model {
        Model { config }
    }

    /// The random numbers of one column.
    pub(super) fn stream(&self, number: u64) -> Stream {
        Stream::new(self.config.seed, number)
    }

    /// When event `number` happens, in milliseconds.
    pub(super) fn time_ms(&self, number: u64) -> i64 {
        let rate = self.config.events_per_second;
        // Whole seconds apart from the rest: no overflow for any event number.
        let (seconds, rest) = (number / rate, number % rate);
        let rest_us = (u128::from(rest) * 1_000_000 / u128::from(rate)) as i64;
        let time_us = self.config.base_time_us + seconds as i64 * 1_000_000 + rest_us;
        time_us.div_euclid(1_000)
    }

    pub(super) fn times(&self, numbers: &[u64]) -> TimestampMillisecondArray {
        TimestampMillisecondArray::from_iter_values(numbers.iter().map(|&number| self.time_ms(number)))
    }

    /// The newest person at event `number`, counted from 0.
    pub(super) fn last_person(&self, number: u64) -> u64 {
        // One person per cycle, at its start.
        number / CYCLE
    }

    /// The newest auction at event `number`, counted from 0 (0 before there is one).
    pub(super) fn last_auction(&self, number: u64) -> u64 {
        let (cycle, offset) = (number / CYCLE, number % CYCLE);
        match offset {
            offset if offset < PERSONS => (cycle * AUCTIONS).saturating_sub(1),
            offset => cycle * AUCTIONS + (offset - PERSONS).min(AUCTIONS - 1),
        }
    }

    /// An active person, or one that comes soon.
    fn any_person(&self, number: u64, bits: u64) -> u64 {
        let persons = self.last_person(number) + 1;
        let active = persons.min(ACTIVE_PERSONS);
        persons - active + below(bits, active + PERSON_ID_LEAD)
    }

    /// Who sells: a hot seller, or any active person.
    pub(super) fn seller(&self, number: u64, draws: &mut Draws) -> u64 {
        let is_hot = draws.below(self.config.hot_sellers_ratio) > 0;
        let bits = draws.next();
        FIRST_ID
            + if is_hot {
                self.last_person(number) / HOT_ID_STEP * HOT_ID_STEP
            } else {
                self.any_person(number, bits)
            }
    }

    /// Who bids: a hot bidder (the person after the hot seller), or any active person.
    pub(super) fn bidder(&self, number: u64, draws: &mut Draws) -> u64 {
        let is_hot = draws.below(self.config.hot_bidders_ratio) > 0;
        let bits = draws.next();
        FIRST_ID
            + if is_hot {
                self.last_person(number) / HOT_ID_STEP * HOT_ID_STEP + 1
            } else {
                self.any_person(number, bits)
            }
    }

    /// What is bid for: the hot auction, or any in flight, or one that comes soon.
    pub(super) fn auction(&self, number: u64, draws: &mut Draws) -> u64 {
        let is_hot = draws.below(self.config.hot_auction_ratio) > 0;
        let bits = draws.next();
        let last = self.last_auction(number);
        FIRST_ID
            + if is_hot {
                last / HOT_ID_STEP * HOT_ID_STEP
            } else {
                let first = last.saturating_sub(AUCTIONS_IN_FLIGHT);
                first + below(bits, last - first + 1 + AUCTION_ID_LEAD)
            }
    }

    /// When an auction that opens with event `number` closes, in milliseconds.
    pub(super) fn expires_ms(&self, number: u64, draws: &mut Draws) -> i64 {
        let now = self.time_ms(number);
        let later = self.time_ms(number + AUCTIONS_IN_FLIGHT * CYCLE / AUCTIONS);
        let horizon = (later - now).max(0) as u64;
        now + 1 + draws.below((horizon * 2).max(1)) as i64
    }
}

/// A price in cents: 100 to 100,000,000, evenly over the orders of magnitude.
pub(super) fn price(bits: u64) -> i64 {
    // A power of ten is a power of two: exp2 of a sum is faster than powf.
    const LOG2_OF_10: f64 = std::f64::consts::LOG2_10;
    ((unit(bits) * 6.0 * LOG2_OF_10).exp2() * 100.0).round() as i64
}
