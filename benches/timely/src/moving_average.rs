//! The average price of the last 100 rows of each symbol, by event time: rows wait for the frontier and
//! are then taken in order of time.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::Operator;

use crate::data::Trade;

const ROWS: usize = 100;

#[derive(Default)]
struct Recent {
    prices: VecDeque<f64>,
    sum: f64,
}

/// Symbol, price and moving average of every row.
pub fn moving_average<'scope>(trades: StreamVec<'scope, u64, Trade>) -> StreamVec<'scope, u64, (u32, f64, f64)> {
    let owner = Exchange::new(|trade: &Trade| u64::from(trade.symbol));
    trades.unary_frontier(owner, "MovingAverage", move |_, _| {
        let mut waiting: Vec<Trade> = Vec::new();
        let mut held: Option<Capability<u64>> = None;
        let mut by_symbol: FxHashMap<u32, Recent> = FxHashMap::default();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                if let Some(capability) = capability.retain_least(output.output_index())
                    && held.as_ref().is_none_or(|held| capability.time() < held.time())
                {
                    held = Some(capability);
                }
                batches.for_each(|batch| waiting.append(batch));
            });
            let mut ready: Vec<Trade> = waiting
                .extract_if(.., |trade| !frontier.less_equal(&trade.time_us))
                .collect();
            let Some(capability) = held.as_mut().filter(|_| !ready.is_empty()) else {
                return;
            };
            ready.sort_unstable_by_key(|trade| trade.time_us);
            let mut session = output.session(capability);
            for trade in ready {
                let recent = by_symbol.entry(trade.symbol).or_default();
                recent.sum += trade.price;
                recent.prices.push_back(trade.price);
                if recent.prices.len() > ROWS {
                    recent.sum -= recent.prices.pop_front().unwrap_or_default();
                }
                session.give((trade.symbol, trade.price, recent.sum / recent.prices.len() as f64));
            }
            drop(session);
            match waiting.iter().map(|trade| trade.time_us).min() {
                None => held = None,
                Some(least) if *capability.time() < least => {
                    let least = frontier.frontier().iter().copied().min().map_or(least, |time| time.min(least));
                    capability.downgrade(&least);
                }
                Some(_) => {}
            }
        }
    })
}
