//! Decode and encode rates of the formats, and the rates of the generators, on one core.
//!
//! Input are Nexmark bids of about 255 bytes of JSON. Beside each decoder stands its ceiling: the
//! time to look at every byte once (memchr for line breaks).

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use benches::{criterion, measure};
use bytes::Bytes;
use criterion::Criterion;
use engine::batch::Batch;
use engine::formats::boundary::{RecordBoundary, count_lines};
use engine::formats::csv::{CsvDecoder, CsvHeader, CsvOptions};
use engine::formats::encode_csv::CsvEncoder;
use engine::formats::encode_ndjson::{NdjsonEncoder, TimestampFormat};
use engine::formats::ndjson::{NdjsonDecoder, NdjsonOptions};
use engine::formats::{Decoder, Encoder};
use engine::generators::nexmark::{NexmarkConfig, NexmarkGenerator, NexmarkTable};
use engine::generators::trades::{Scenario, ScenarioData};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};

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

const SOME: [&str; 4] = ["auction", "bidder", "price", "dateTime"];
const TWO: [&str; 2] = ["auction", "price"];

/// What is read and written.
struct Bids {
    schema: SchemaRef,
    batches: Vec<Batch>,
    rows: usize,
    csv_options: CsvOptions,
    json: Vec<u8>,
    csv: Vec<u8>,
}

impl Bids {
    fn new() -> Bids {
        let schema = NexmarkTable::Bid.schema();
        let batches: Vec<Batch> = generate(NexmarkTable::Bid, &ALL, EVENTS)
            .into_iter()
            .map(|rows| Batch::append(rows, 0))
            .collect();
        let csv_options = CsvOptions {
            header: CsvHeader::Absent,
            ..CsvOptions::default()
        };
        let mut bids = Bids {
            rows: batches.iter().map(Batch::len).sum(),
            schema,
            batches,
            csv_options,
            json: Vec::new(),
            csv: Vec::new(),
        };
        encode_all(&mut bids.ndjson_encoder(), &bids.batches, &mut bids.json);
        encode_all(&mut bids.csv_encoder(), &bids.batches, &mut bids.csv);
        bids
    }

    fn ndjson_encoder(&self) -> NdjsonEncoder {
        NdjsonEncoder::new(self.schema.clone(), false, TimestampFormat::Sql)
    }

    fn csv_encoder(&self) -> CsvEncoder {
        CsvEncoder::new(self.schema.clone(), false, self.csv_options.clone())
    }
}

fn encode_all(encoder: &mut dyn Encoder, batches: &[Batch], out: &mut Vec<u8>) {
    out.clear();
    for batch in batches {
        encoder.encode(batch, out).expect("bids are text");
    }
}

fn ndjson(criterion: &mut Criterion, bids: &Bids) {
    let mut group = criterion.benchmark_group("NDJSON");
    measure(&mut group, "ceiling: memchr of line breaks", bids.rows, || {
        black_box(count_lines(black_box(&bids.json)));
    });
    let lines = blocks(&bids.json, RecordBoundary::Line);
    for names in [&ALL[..], &SOME, &TWO, &[]] {
        let wanted = project(&bids.schema, names);
        let mut decoder = NdjsonDecoder::new(wanted, NdjsonOptions::default()).expect("readable types");
        measure(
            &mut group,
            &format!("decode {} columns", names.len()),
            bids.rows,
            || {
                assert_eq!(decode_all(&mut decoder, &lines), bids.rows);
            },
        );
    }
    let spaced = String::from_utf8(bids.json.clone()).expect("text");
    let spaced = spaced.replace("\":", "\": ").replace(",\"", ", \"");
    let lines = blocks(spaced.as_bytes(), RecordBoundary::Line);
    let mut decoder =
        NdjsonDecoder::new(bids.schema.clone(), NdjsonOptions::default()).expect("readable types");
    measure(&mut group, "decode 7 columns, blanks between", bids.rows, || {
        assert_eq!(decode_all(&mut decoder, &lines), bids.rows);
    });
    let (mut encoder, mut out) = (bids.ndjson_encoder(), Vec::with_capacity(bids.json.len()));
    measure(&mut group, "encode 7 columns", bids.rows, || {
        encode_all(&mut encoder, &bids.batches, &mut out)
    });
    group.finish();
}

fn csv(criterion: &mut Criterion, bids: &Bids) {
    let mut group = criterion.benchmark_group("CSV");
    measure(&mut group, "ceiling: memchr of line breaks", bids.rows, || {
        black_box(count_lines(black_box(&bids.csv)));
    });
    let records = blocks(&bids.csv, bids.csv_options.boundary());
    let declared: Vec<String> = ALL.iter().map(|name| name.to_string()).collect();
    for names in [&ALL[..], &SOME, &TWO] {
        let wanted = project(&bids.schema, names);
        let mut decoder =
            CsvDecoder::new(wanted, declared.clone(), bids.csv_options.clone()).expect("readable types");
        measure(
            &mut group,
            &format!("decode {} columns", names.len()),
            bids.rows,
            || {
                assert_eq!(decode_all(&mut decoder, &records), bids.rows);
            },
        );
    }
    let (mut encoder, mut out) = (bids.csv_encoder(), Vec::with_capacity(bids.csv.len()));
    measure(&mut group, "encode 7 columns", bids.rows, || {
        encode_all(&mut encoder, &bids.batches, &mut out)
    });
    group.finish();
}

/// Parquet is the library's: what stands here is its rate, the ceiling of a Parquet source.
fn parquet(criterion: &mut Criterion, bids: &Bids) {
    let mut file = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut file, bids.schema.clone(), None).expect("bids are Parquet types");
    for batch in &bids.batches {
        writer.write(batch.rows()).expect("memory takes it");
    }
    writer.close().expect("memory takes it");
    let file = Bytes::from(file);
    let mut group = criterion.benchmark_group("Parquet");
    for names in [&ALL[..], &SOME, &TWO] {
        measure(
            &mut group,
            &format!("decode {} columns", names.len()),
            bids.rows,
            || {
                let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).expect("just written");
                let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
                let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
                for rows in reader.expect("just written") {
                    black_box(rows.expect("just written"));
                }
            },
        );
    }
    group.finish();
}

fn generators(criterion: &mut Criterion, rows: usize) {
    let mut group = criterion.benchmark_group("generators");
    for names in [&ALL[..], &SOME] {
        measure(
            &mut group,
            &format!("nexmark bids, {} columns", names.len()),
            rows,
            || {
                black_box(generate(NexmarkTable::Bid, names, EVENTS));
            },
        );
    }
    let trades = ScenarioData::new(Scenario::S3a, 1);
    measure(&mut group, "trades, 6 columns", rows, || {
        for first in (0..rows as u64).step_by(BATCH_ROWS) {
            black_box(trades.rows(first..first + BATCH_ROWS as u64));
        }
    });
    group.finish();
}

fn main() {
    let bids = Bids::new();
    println!(
        "{} bids, {} bytes of JSON and {} of CSV each",
        bids.rows,
        bids.json.len() / bids.rows,
        bids.csv.len() / bids.rows
    );
    let mut criterion = criterion();
    ndjson(&mut criterion, &bids);
    csv(&mut criterion, &bids);
    parquet(&mut criterion, &bids);
    generators(&mut criterion, bids.rows);
    criterion.final_summary();
}
