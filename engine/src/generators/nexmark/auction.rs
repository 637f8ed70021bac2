//! Auctions: three quarters of them by one hot seller, in one of five categories.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMillisecondArray};
use arrow::datatypes::{DataType, TimeUnit};

use super::bid::integers;
use super::model::{FIRST_ID, Model, price};
use super::text::{Texts, filler_length, word};

/// Names and types; `dateTime` is made by the caller.
pub(super) const COLUMNS: [(&str, DataType); 10] = [
    ("id", DataType::Int64),
    ("itemName", DataType::Utf8),
    ("description", DataType::Utf8),
    ("initialBid", DataType::Int64),
    ("reserve", DataType::Int64),
    ("dateTime", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ("expires", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ("seller", DataType::Int64),
    ("category", DataType::Int64),
    ("extra", DataType::Utf8),
];

const FIRST_CATEGORY: i64 = 10;
const CATEGORIES: u64 = 5;
const NAME_LENGTH_MAX: u64 = 20;
const DESCRIPTION_LENGTH_MAX: u64 = 100;
/// Bytes of the six numbers of an auction, as the published generator counts them.
const NUMBER_BYTES: usize = 48;

const NAME: u64 = 200;
const DESCRIPTION: u64 = 201;
const INITIAL_BID: u64 = 202;
const RESERVE: u64 = 203;
const EXPIRES: u64 = 204;
const SELLER: u64 = 205;
const CATEGORY: u64 = 206;
const EXTRA: u64 = 207;

pub(super) fn column(model: &Model, name: &str, numbers: &[u64]) -> ArrayRef {
    let initial_bids = model.stream(INITIAL_BID);
    match name {
        "id" => integers(model, 0, numbers, |number, _| {
            (FIRST_ID + model.last_auction(number)) as i64
        }),
        "itemName" => words(model, NAME, NAME_LENGTH_MAX, numbers),
        "description" => words(model, DESCRIPTION, DESCRIPTION_LENGTH_MAX, numbers),
        "initialBid" => integers(model, INITIAL_BID, numbers, |_, mut draws| price(draws.next())),
        "reserve" => integers(model, RESERVE, numbers, |number, mut draws| {
            price(initial_bids.draws(number).next()) + price(draws.next())
        }),
        "expires" => {
            let stream = model.stream(EXPIRES);
            let times = numbers
                .iter()
                .map(|&number| model.expires_ms(number, &mut stream.draws(number)));
            Arc::new(TimestampMillisecondArray::from_iter_values(times))
        }
        "seller" => integers(model, SELLER, numbers, |number, mut draws| {
            model.seller(number, &mut draws) as i64
        }),
        "category" => integers(model, CATEGORY, numbers, |_, mut draws| {
            FIRST_CATEGORY + draws.below(CATEGORIES) as i64
        }),
        "extra" => extras(model, numbers),
        other => unreachable!("invariant: column '{other}' was checked"),
    }
}

fn words(model: &Model, stream: u64, length_max: u64, numbers: &[u64]) -> ArrayRef {
    let stream = model.stream(stream);
    let mut texts = Texts::with_capacity(numbers.len(), length_max as usize / 2 + 3);
    for &number in numbers {
        word(&mut stream.draws(number), length_max, b' ', texts.buffer());
        texts.end();
    }
    texts.finish()
}

fn extras(model: &Model, numbers: &[u64]) -> ArrayRef {
    let (names, descriptions) = (model.stream(NAME), model.stream(DESCRIPTION));
    let stream = model.stream(EXTRA);
    let average = model.config.average_bytes.1;
    let mut texts = Texts::with_capacity(numbers.len(), average);
    let mut others = Vec::new();
    for &number in numbers {
        others.clear();
        word(&mut names.draws(number), NAME_LENGTH_MAX, b' ', &mut others);
        word(
            &mut descriptions.draws(number),
            DESCRIPTION_LENGTH_MAX,
            b' ',
            &mut others,
        );
        let mut draws = stream.draws(number);
        let length = filler_length(&mut draws, NUMBER_BYTES + others.len(), average);
        draws.letters(length, texts.buffer());
        texts.end();
    }
    texts.finish()
}
