//! Persons: new members of the auction site.

use std::io::Write;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, TimeUnit};

use super::bid::integers;
use super::model::{FIRST_ID, Model};
use super::text::{Texts, filler_length, word};
use crate::generators::random::Draws;

/// Names and types; `dateTime` is made by the caller.
pub(super) const COLUMNS: [(&str, DataType); 8] = [
    ("id", DataType::Int64),
    ("name", DataType::Utf8),
    ("emailAddress", DataType::Utf8),
    ("creditCard", DataType::Utf8),
    ("city", DataType::Utf8),
    ("state", DataType::Utf8),
    ("dateTime", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ("extra", DataType::Utf8),
];

const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] = [
    "Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris",
];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

const NAME: u64 = 300;
const EMAIL: u64 = 301;
const CREDIT_CARD: u64 = 302;
const CITY: u64 = 303;
const STATE: u64 = 304;
const EXTRA: u64 = 305;

pub(super) fn column(model: &Model, name: &str, numbers: &[u64]) -> ArrayRef {
    match name {
        "id" => integers(model, 0, numbers, |number, _| {
            (FIRST_ID + model.last_person(number)) as i64
        }),
        "name" => texts(model, NAME, numbers, full_name),
        "emailAddress" => texts(model, EMAIL, numbers, email),
        "creditCard" => texts(model, CREDIT_CARD, numbers, credit_card),
        "city" => texts(model, CITY, numbers, city),
        "state" => texts(model, STATE, numbers, state),
        "extra" => extras(model, numbers),
        other => unreachable!("invariant: column '{other}' was checked"),
    }
}

fn texts(model: &Model, stream: u64, numbers: &[u64], write: impl Fn(&mut Draws, &mut Vec<u8>)) -> ArrayRef {
    let stream = model.stream(stream);
    let mut texts = Texts::with_capacity(numbers.len(), 16);
    for &number in numbers {
        write(&mut stream.draws(number), texts.buffer());
        texts.end();
    }
    texts.finish()
}

fn pick<'a>(draws: &mut Draws, names: &[&'a str]) -> &'a [u8] {
    names[draws.below(names.len() as u64) as usize].as_bytes()
}

fn full_name(draws: &mut Draws, out: &mut Vec<u8>) {
    out.extend_from_slice(pick(draws, &FIRST_NAMES));
    out.push(b' ');
    out.extend_from_slice(pick(draws, &LAST_NAMES));
}

fn email(draws: &mut Draws, out: &mut Vec<u8>) {
    word(draws, 7, b' ', out);
    out.push(b'@');
    word(draws, 5, b' ', out);
    out.extend_from_slice(b".com");
}

fn credit_card(draws: &mut Draws, out: &mut Vec<u8>) {
    for group in 0..4 {
        let space = if group > 0 { " " } else { "" };
        write!(out, "{space}{:04}", draws.below(10_000)).expect("invariant: memory takes all bytes");
    }
}

fn city(draws: &mut Draws, out: &mut Vec<u8>) {
    out.extend_from_slice(pick(draws, &CITIES));
}

fn state(draws: &mut Draws, out: &mut Vec<u8>) {
    out.extend_from_slice(pick(draws, &STATES));
}

fn extras(model: &Model, numbers: &[u64]) -> ArrayRef {
    let stream = model.stream(EXTRA);
    let average = model.config.average_bytes.0;
    let mut texts = Texts::with_capacity(numbers.len(), average);
    let mut others = Vec::new();
    for &number in numbers {
        others.clear();
        full_name(&mut model.stream(NAME).draws(number), &mut others);
        email(&mut model.stream(EMAIL).draws(number), &mut others);
        credit_card(&mut model.stream(CREDIT_CARD).draws(number), &mut others);
        city(&mut model.stream(CITY).draws(number), &mut others);
        state(&mut model.stream(STATE).draws(number), &mut others);
        let mut draws = stream.draws(number);
        let length = filler_length(&mut draws, 8 + others.len(), average);
        draws.letters(length, texts.buffer());
        texts.end();
    }
    texts.finish()
}
