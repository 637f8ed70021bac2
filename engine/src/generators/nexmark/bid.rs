//! Bids: half of them on one hot auction, three quarters by one hot bidder.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, TimeUnit};

use super::model::{Model, price};
use super::text::{Texts, filler_length, word};
use crate::generators::random::Draws;

/// Names and types; `dateTime` is made by the caller.
pub(super) const COLUMNS: [(&str, DataType); 7] = [
    ("auction", DataType::Int64),
    ("bidder", DataType::Int64),
    ("price", DataType::Int64),
    ("channel", DataType::Utf8),
    ("url", DataType::Utf8),
    ("dateTime", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ("extra", DataType::Utf8),
];

/// Half of all bids come over one of these.
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
/// The others over one of `channel-0` … `channel-9999`.
const CHANNELS: u64 = 10_000;
/// Bytes of the four numbers of a bid, as the published generator counts them.
const NUMBER_BYTES: usize = 32;

const AUCTION: u64 = 100;
const BIDDER: u64 = 101;
const PRICE: u64 = 102;
const CHANNEL: u64 = 103;
const EXTRA: u64 = 104;
const HOT_URL: u64 = 105;
const CHANNEL_URL: u64 = 106;

pub(super) fn column(model: &Model, name: &str, numbers: &[u64]) -> ArrayRef {
    match name {
        "auction" => integers(model, AUCTION, numbers, |number, mut draws| {
            model.auction(number, &mut draws) as i64
        }),
        "bidder" => integers(model, BIDDER, numbers, |number, mut draws| {
            model.bidder(number, &mut draws) as i64
        }),
        "price" => integers(model, PRICE, numbers, |_, mut draws| price(draws.next())),
        "channel" => channels(model, numbers),
        "url" => urls(model, numbers),
        "extra" => extras(model, numbers),
        other => unreachable!("invariant: column '{other}' was checked"),
    }
}

/// A column of integers, each made from its event number and random numbers.
pub(super) fn integers(
    model: &Model,
    stream: u64,
    numbers: &[u64],
    make: impl Fn(u64, Draws) -> i64,
) -> ArrayRef {
    let stream = model.stream(stream);
    let values = numbers.iter().map(|&number| make(number, stream.draws(number)));
    Arc::new(Int64Array::from_iter_values(values))
}

/// A bid's channel: hot (0..4), or by number.
enum Channel {
    Hot(usize),
    Numbered(u64),
}

fn channel_of(draws: &mut Draws) -> Channel {
    if draws.below(2) > 0 {
        Channel::Hot(draws.below(HOT_CHANNELS.len() as u64) as usize)
    } else {
        Channel::Numbered(draws.below(CHANNELS))
    }
}

fn channels(model: &Model, numbers: &[u64]) -> ArrayRef {
    let stream = model.stream(CHANNEL);
    let mut texts = Texts::with_capacity(numbers.len(), 12);
    for &number in numbers {
        let out = texts.buffer();
        match channel_of(&mut stream.draws(number)) {
            Channel::Hot(index) => out.extend_from_slice(HOT_CHANNELS[index].as_bytes()),
            Channel::Numbered(channel) => {
                out.extend_from_slice(b"channel-");
                write!(out, "{channel}").expect("invariant: memory takes all bytes");
            }
        }
        texts.end();
    }
    texts.finish()
}

/// A channel has one URL: made from the channel's number, not from the event's.
fn urls(model: &Model, numbers: &[u64]) -> ArrayRef {
    let stream = model.stream(CHANNEL);
    let hot: Vec<Vec<u8>> = (0..HOT_CHANNELS.len() as u64)
        .map(|index| {
            let mut url = Vec::new();
            base_url(&mut model.stream(HOT_URL).draws(index), &mut url);
            url
        })
        .collect();
    let channel_urls = model.stream(CHANNEL_URL);
    let mut texts = Texts::with_capacity(numbers.len(), 72);
    for &number in numbers {
        let out = texts.buffer();
        match channel_of(&mut stream.draws(number)) {
            Channel::Hot(index) => out.extend_from_slice(&hot[index]),
            Channel::Numbered(channel) => {
                let mut draws = channel_urls.draws(channel);
                base_url(&mut draws, out);
                if draws.below(10) > 0 {
                    let id = (channel as u32).reverse_bits() as i32;
                    write!(out, "&channel_id={}", id.unsigned_abs())
                        .expect("invariant: memory takes all bytes");
                }
            }
        }
        texts.end();
    }
    texts.finish()
}

fn base_url(draws: &mut Draws, out: &mut Vec<u8>) {
    out.extend_from_slice(b"https://www.nexmark.com/");
    for _ in 0..3 {
        word(draws, 5, b'_', out);
        out.push(b'/');
    }
    out.extend_from_slice(b"item.htm?query=1");
}

fn extras(model: &Model, numbers: &[u64]) -> ArrayRef {
    let stream = model.stream(EXTRA);
    let average = model.config.average_bytes.2;
    let mut texts = Texts::with_capacity(numbers.len(), average.saturating_sub(NUMBER_BYTES) + 8);
    for &number in numbers {
        let mut draws = stream.draws(number);
        let length = filler_length(&mut draws, NUMBER_BYTES, average);
        draws.letters(length, texts.buffer());
        texts.end();
    }
    texts.finish()
}
