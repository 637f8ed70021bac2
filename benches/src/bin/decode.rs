//! Decode and encode rates of the text formats, and the rates of the generators, on one core.
//!
//! Input are Nexmark bids of about 194 bytes of JSON. Beside each decoder stands its ceiling: the
//! time to look at every byte once (memchr for line breaks).

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use benches::measure;
use engine::batch::Batch;
use engine::formats::boundary::{RecordBoundary, count_lines};
use engine::formats::csv::{CsvDecoder, CsvHeader, CsvOptions};
use engine::formats::encode_csv::CsvEncoder;
use engine::formats::encode_ndjson::{NdjsonEncoder, TimestampFormat};
use engine::formats::ndjson::{NdjsonDecoder, NdjsonOptions};
use engine::formats::{Decoder, Encoder};
use engine::generators::nexmark::{NexmarkConfig, NexmarkGenerator, NexmarkTable};
use engine::generators::trades::{Scenario, ScenarioData};

const EVENTS: u64 = 220_000;
const BLOCK_BYTES: usize = 256 << 10;
const BATCH_ROWS: usize = 8_192;

/// The text in blocks cut at record boundaries, as a source reads it.
fn blocks(text: &[u8], boundary: RecordBoundary) -> Vec<&[u8]> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = boundary.last_record_end(&rest[..rest.len().min(BLOCK_BYTES)]);
        let (block, tail) = rest.split_at(end);
        blocks.push(block);
        rest = tail;
    }
    blocks
}

fn decode_all(decoder: &mut dyn Decoder, blocks: &[&[u8]]) -> usize {
    let mut rows = 0;
    for block in blocks {
        let mut at = 0;
        while at < block.len() {
            let decoded = decoder.decode(&block[at..], BATCH_ROWS);
            assert!(decoded.malformed.is_empty(), "{:?}", decoded.malformed);
            at += decoded.consumed;
            rows += black_box(decoded.rows).num_rows();
        }
    }
    rows
}

fn project(schema: &SchemaRef, names: &[&str]) -> SchemaRef {
    let fields = names
        .iter()
        .map(|name| schema.field_with_name(name).expect("a column of bid").clone());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn generate(table: NexmarkTable, names: &[&str], events: u64) -> Vec<RecordBatch> {
    let wanted = project(&table.schema(), names);
    let generator = NexmarkGenerator::new(NexmarkConfig::default(), table, wanted).expect("known columns");
    let step = BATCH_ROWS as u64;
    (0..events)
        .step_by(BATCH_ROWS)
        .map(|first| generator.rows(first..(first + step).min(events)))
        .collect()
}

const ALL: [&str; 7] = [
    "auction", "bidder", "price", "channel", "url", "dateTime", "extra",
];

fn main() {
    let schema = NexmarkTable::Bid.schema();
    let batches: Vec<Batch> = generate(NexmarkTable::Bid, &ALL, EVENTS)
        .into_iter()
        .map(|rows| Batch::append(rows, 0))
        .collect();
    let rows: usize = batches.iter().map(Batch::len).sum();
    let mut json = Vec::new();
    let mut encoder = NdjsonEncoder::new(schema.clone(), false, TimestampFormat::Sql);
    for batch in &batches {
        encoder.encode(batch, &mut json).expect("bids are text");
    }
    let options = CsvOptions {
        header: CsvHeader::Absent,
        ..CsvOptions::default()
    };
    let mut csv = Vec::new();
    let mut csv_encoder = CsvEncoder::new(schema.clone(), false, options.clone());
    for batch in &batches {
        csv_encoder.encode(batch, &mut csv).expect("bids are text");
    }
    println!(
        "{rows} bids, {} bytes of JSON and {} of CSV each",
        json.len() / rows,
        csv.len() / rows
    );

    let spaced = String::from_utf8(json.clone())
        .expect("text")
        .replace("\":", "\": ")
        .replace(",\"", ", \"");
    measure("ceiling: memchr of line breaks", rows, json.len(), || {
        black_box(count_lines(black_box(&json)));
    });
    let lines = blocks(&json, RecordBoundary::Line);
    let spaced_lines = blocks(spaced.as_bytes(), RecordBoundary::Line);
    for names in [
        &ALL[..],
        &["auction", "bidder", "price", "dateTime"],
        &["auction", "price"],
        &[],
    ] {
        let wanted = project(&schema, names);
        let mut decoder = NdjsonDecoder::new(wanted, NdjsonOptions::default()).expect("readable types");
        measure(
            &format!("ndjson decode, {} columns", names.len()),
            rows,
            json.len(),
            || {
                assert_eq!(decode_all(&mut decoder, &lines), rows);
            },
        );
    }
    let mut decoder = NdjsonDecoder::new(schema.clone(), NdjsonOptions::default()).expect("readable types");
    measure(
        "ndjson decode, 7 columns, blanks between",
        rows,
        spaced.len(),
        || {
            assert_eq!(decode_all(&mut decoder, &spaced_lines), rows);
        },
    );
    let records = blocks(&csv, options.boundary());
    let declared: Vec<String> = ALL.iter().map(|name| name.to_string()).collect();
    for names in [
        &ALL[..],
        &["auction", "bidder", "price", "dateTime"],
        &["auction", "price"],
    ] {
        let wanted = project(&schema, names);
        let mut decoder = CsvDecoder::new(wanted, declared.clone(), options.clone()).expect("readable types");
        measure(
            &format!("csv decode, {} columns", names.len()),
            rows,
            csv.len(),
            || {
                assert_eq!(decode_all(&mut decoder, &records), rows);
            },
        );
    }
    let mut out = Vec::with_capacity(json.len());
    measure("ndjson encode, 7 columns", rows, json.len(), || {
        out.clear();
        batches
            .iter()
            .for_each(|batch| encoder.encode(batch, &mut out).expect("bids are text"));
    });
    measure("csv encode, 7 columns", rows, csv.len(), || {
        out.clear();
        batches
            .iter()
            .for_each(|batch| csv_encoder.encode(batch, &mut out).expect("bids are text"));
    });
    for names in [&ALL[..], &["auction", "bidder", "price", "dateTime"]] {
        measure(&format!("nexmark bids, {} columns", names.len()), rows, 0, || {
            black_box(generate(NexmarkTable::Bid, names, EVENTS));
        });
    }
    let trades = ScenarioData::new(Scenario::S3a, 1);
    measure("trades, 6 columns", rows, 0, || {
        for first in (0..rows as u64).step_by(BATCH_ROWS) {
            black_box(trades.rows(first..first + BATCH_ROWS as u64));
        }
    });
}
