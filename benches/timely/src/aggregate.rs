//! Aggregates as one writes them by hand, and the two dataflows that keep them by key.
//!
//! Every worker combines a batch's rows by key before it sends them to the key's owner.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::StreamVec;

use crate::data::Trade;

/// COUNT, SUM, MIN and MAX of the price, SUM of quantity and of their product.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Totals {
    pub count: u64,
    pub price: f64,
    pub price_min: f64,
    pub price_max: f64,
    pub quantity: i64,
    pub turnover: f64,
}

impl Totals {
    fn none() -> Totals {
        Totals {
            count: 0,
            price: 0.0,
            price_min: f64::INFINITY,
            price_max: f64::NEG_INFINITY,
            quantity: 0,
            turnover: 0.0,
        }
    }

    fn add(&mut self, trade: &Trade) {
        self.count += 1;
        self.price += trade.price;
        self.price_min = self.price_min.min(trade.price);
        self.price_max = self.price_max.max(trade.price);
        self.quantity += trade.quantity;
        self.turnover += trade.price * trade.quantity as f64;
    }

    fn merge(&mut self, other: &Totals) {
        self.count += other.count;
        self.price += other.price;
        self.price_min = self.price_min.min(other.price_min);
        self.price_max = self.price_max.max(other.price_max);
        self.quantity += other.quantity;
        self.turnover += other.turnover;
    }
}

/// Window (its end, or 0 where there is none) and key.
pub type Key = (u64, u64);

/// What a batch comes to by key.
pub fn combine<'scope>(
    trades: StreamVec<'scope, u64, Trade>,
    key: impl Fn(&Trade) -> Key + 'static,
) -> StreamVec<'scope, u64, (Key, Totals)> {
    trades.unary(Pipeline, "Combine", move |_, _| {
        let mut groups: FxHashMap<Key, Totals> = FxHashMap::default();
        move |input, output| {
            input.for_each_stamp(|capability, batches| {
                for batch in batches {
                    for trade in batch.iter() {
                        groups.entry(key(trade)).or_insert_with(Totals::none).add(trade);
                    }
                }
                output.session(&capability).give_iterator(groups.drain());
            });
        }
    })
}

fn owner(((_, key), _): &(Key, Totals)) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

/// The newest totals of every key that a batch has changed.
pub fn changes<'scope>(partial: StreamVec<'scope, u64, (Key, Totals)>) -> StreamVec<'scope, u64, (Key, Totals)> {
    partial.unary(Exchange::new(owner), "Changes", move |_, _| {
        let mut groups: FxHashMap<Key, Totals> = FxHashMap::default();
        move |input, output| {
            input.for_each_stamp(|capability, batches| {
                let mut session = output.session(&capability);
                for batch in batches {
                    for (key, totals) in batch.drain(..) {
                        let group = groups.entry(key).or_insert_with(Totals::none);
                        group.merge(&totals);
                        session.give((key, *group));
                    }
                }
            });
        }
    })
}

/// The totals of every key of a window once the frontier has passed the window's end.
pub fn windows<'scope>(partial: StreamVec<'scope, u64, (Key, Totals)>) -> StreamVec<'scope, u64, (Key, Totals)> {
    partial.unary_frontier(Exchange::new(owner), "Windows", move |_, _| {
        let mut open: BTreeMap<u64, (Capability<u64>, FxHashMap<u64, Totals>)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else {
                    return;
                };
                for batch in batches {
                    for ((window, key), totals) in batch.drain(..) {
                        let (_, groups) = open
                            .entry(window)
                            .or_insert_with(|| (capability.clone(), FxHashMap::default()));
                        groups.entry(key).or_insert_with(Totals::none).merge(&totals);
                    }
                }
            });
            while let Some(entry) = open.first_entry() {
                if frontier.less_than(entry.key()) {
                    break;
                }
                let (window, (capability, groups)) = entry.remove_entry();
                output
                    .session(&capability)
                    .give_iterator(groups.into_iter().map(|(key, totals)| ((window, key), totals)));
            }
        }
    })
}
