//! What hostile bytes may do (promise P5): nothing but cost an error. One function a target, each of any bytes; it
//! panics where a promise is broken.
//!
//! `tests/tests/fuzz.rs` runs them over the corpora of `tests/fuzz`, mutated by a seed; the functions take bytes so that
//! libFuzzer can call them as they are.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use engine::formats::boundary::RecordBoundary;
use engine::formats::changelog::{ChangelogDecoder, Envelope, op_field};
use engine::formats::csv::{CsvDecoder, CsvHeader, CsvOptions};
use engine::formats::ndjson::{NdjsonDecoder, NdjsonOptions};
use engine::formats::{Decoder, FormatError};
use rand::Rng;
use rand::rngs::SmallRng;
use shards::checkpoint::codec;
use shards::checkpoint::manifest::Manifest;

/// A job's text is planned, or refused with a place in it.
pub fn sql(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(error) = engine::compile::compile(text, &[], Some(3)) {
        assert!(
            !error.render("fuzz.sql", text).is_empty(),
            "an error says something"
        );
    }
}

/// A snapshot is read as it was written, or refused.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(snapshot) = codec::decode_whole(bytes) {
        let again = codec::encode_whole(&snapshot).expect("what was read can be written");
        let again = codec::decode_whole(&again).expect("what was written can be read");
        assert_eq!(again, snapshot);
    }
}

/// A manifest is read as it was written, or refused.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }
}

/// NDJSON gives the same rows however it is cut.
pub fn ndjson(bytes: &[u8]) {
    let decoder = || NdjsonDecoder::new(columns(), NdjsonOptions::default());
    cut_anywhere(bytes, RecordBoundary::Line, &decoder);
}

/// CSV gives the same rows however it is cut.
pub fn csv(bytes: &[u8]) {
    let options = CsvOptions {
        header: CsvHeader::Absent,
        ..CsvOptions::default()
    };
    let declared: Vec<String> = columns()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let decoder = || CsvDecoder::new(columns(), declared.clone(), options.clone());
    cut_anywhere(bytes, options.boundary(), &decoder);
}

/// A changelog gives the same rows however it is cut.
pub fn changelog(bytes: &[u8]) {
    let fields = columns();
    let fields: Vec<_> = fields.fields().iter().cloned().chain([op_field()]).collect();
    let wanted = Arc::new(Schema::new(fields));
    for envelope in [Envelope::Flat, Envelope::Debezium] {
        let decoder = || ChangelogDecoder::new(wanted.clone(), envelope, NdjsonOptions::default());
        cut_anywhere(bytes, RecordBoundary::Line, &decoder);
    }
}

/// Columns of every kind that text holds.
fn columns() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("name", DataType::Utf8),
        field("price", DataType::Float64),
        field("is_paid", DataType::Boolean),
        field("day", DataType::Date32),
        field("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("amount", DataType::Decimal128(12, 2)),
    ]))
}

/// Decodes `bytes` whole, and in two parts for every place where a read may end.
fn cut_anywhere<D: Decoder>(
    bytes: &[u8],
    boundary: RecordBoundary,
    decoder: &dyn Fn() -> Result<D, FormatError>,
) {
    let fresh = || decoder().expect("the columns can be decoded");
    let (whole, malformed) = decode_all(&mut fresh(), bytes);
    let mut known = None;
    for cut in 0..=bytes.len() {
        let end = boundary.last_record_end(&bytes[..cut]);
        if known.replace(end) == Some(end) {
            continue;
        }
        let mut decoder = fresh();
        let (first, first_malformed) = decode_all(&mut decoder, &bytes[..end]);
        let (rest, rest_malformed) = decode_all(&mut decoder, &bytes[end..]);
        let both = concat_batches(&whole.schema(), [&first, &rest]).expect("one schema");
        assert_eq!(both, whole, "cut at {end}");
        assert_eq!(first_malformed + rest_malformed, malformed, "cut at {end}");
    }
}

/// All rows, and how many records are malformed; a few records a call.
fn decode_all(decoder: &mut dyn Decoder, mut bytes: &[u8]) -> (RecordBatch, usize) {
    const RECORDS: usize = 3;
    let mut parts = Vec::new();
    let mut malformed = 0;
    loop {
        let decoded = decoder.decode(bytes, RECORDS);
        malformed += decoded.malformed.len();
        assert!(decoded.consumed <= bytes.len(), "more than all is consumed");
        assert!(decoded.consumed > 0 || bytes.is_empty(), "a call must get on");
        for record in &decoded.malformed {
            assert!(record.start <= record.end && record.end <= bytes.len());
            assert!(record.rows_before <= decoded.rows.num_rows());
        }
        bytes = &bytes[decoded.consumed..];
        parts.push(decoded.rows);
        if bytes.is_empty() {
            let schema = parts[0].schema();
            return (concat_batches(&schema, &parts).expect("one schema"), malformed);
        }
    }
}

/// The CRC-32 (IEEE) of `bytes`, bit by bit: a second opinion beside the library's, so that hostile bytes get past it.
pub fn checksum(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let fold = |crc: u32, _: u32| (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), fold))
}

/// `bytes` with a few changes: bits flipped, parts gone, doubled, or from `other`, the end cut off.
pub fn mutate(bytes: &[u8], other: &[u8], random: &mut SmallRng) -> Vec<u8> {
    const TOKENS: [&[u8]; 12] = [
        b"\"",
        b"\\",
        b"\n",
        b"\r\n",
        b",",
        b"{",
        b"}",
        b"null",
        b"-9223372036854775808",
        b"1e999",
        b"\xff",
        b"\\ud800",
    ];
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..12)).min(bytes.len());
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            3 => drop(bytes.splice(at..end, TOKENS[random.random_range(0..TOKENS.len())].to_vec())),
            4 if !other.is_empty() => {
                let from = random.random_range(0..other.len());
                let until = (from + random.random_range(1..40)).min(other.len());
                drop(bytes.splice(at..at, other[from..until].to_vec()));
            }
            5 if random.random_range(0..4) == 0 => bytes.truncate(at),
            _ => {}
        }
    }
    bytes
}
