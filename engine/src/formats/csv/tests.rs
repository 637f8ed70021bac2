//! The CSV decoder against arrow-csv, and what it does with records cut anywhere or malformed.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow_csv::ReaderBuilder;
use rand::Rng;
use rand::rngs::SmallRng;

use super::*;
use crate::batch::Batch;
use crate::formats::Encoder;
use crate::formats::encode_ndjson::{NdjsonEncoder, TimestampFormat};
use crate::formats::testing::{random_numbers, random_text, schema_of};

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

fn decoder(schema: &SchemaRef, options: CsvOptions) -> CsvDecoder {
    let names = schema.fields().iter().map(|field| field.name().clone()).collect();
    CsvDecoder::new(schema.clone(), names, options).unwrap()
}

fn decode(schema: &SchemaRef, options: &CsvOptions, text: &[u8]) -> Decoded {
    let mut decoder = decoder(schema, options.clone());
    let header = decoder.start_file(text).unwrap();
    decoder.decode(&text[header..], usize::MAX)
}

/// The rows as NDJSON, then one line `! reason` per malformed record.
fn told(fields: &[(&str, DataType)], options: CsvOptions, text: &str) -> String {
    let schema = schema(fields);
    let decoded = decode(&schema, &options, text.as_bytes());
    let mut out = Vec::new();
    let batch = Batch::append(decoded.rows, 0);
    NdjsonEncoder::new(schema, false, TimestampFormat::Sql)
        .encode(&batch, &mut out)
        .unwrap();
    for malformed in decoded.malformed {
        out.extend_from_slice(format!("! {}\n", malformed.reason).as_bytes());
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn columns_are_found_by_the_names_in_the_header() {
    let fields = [("a", DataType::Int64), ("b", DataType::Utf8)];
    assert_eq!(
        told(
            &fields,
            CsvOptions::default(),
            "\u{feff}b, other ,\"a\"\r\nx,9,1\r\n\"y, \"\"z\"\"\n\",9,\n\n"
        ),
        "{\"a\":1,\"b\":\"x\"}\n{\"a\":null,\"b\":\"y, \\\"z\\\"\\n\"}\n"
    );
    let mut decoder = decoder(&schema(&fields), CsvOptions::default());
    let error = decoder.start_file(b"a,c\n1,2\n").unwrap_err().to_string();
    assert!(
        error.starts_with("the header has no column 'b'; it has: a, c"),
        "{error}"
    );
}

#[test]
fn a_header_is_detected_by_the_wanted_names() {
    let fields = [("a", DataType::Int64), ("b", DataType::Utf8)];
    let detect = CsvOptions {
        header: CsvHeader::Detect,
        ..CsvOptions::default()
    };
    assert_eq!(
        told(&fields, detect.clone(), "b,a\nx,1\n"),
        "{\"a\":1,\"b\":\"x\"}\n"
    );
    assert_eq!(told(&fields, detect, "1,x\n"), "{\"a\":1,\"b\":\"x\"}\n");
    let absent = CsvOptions {
        header: CsvHeader::Absent,
        delimiter: b'\t',
        ..CsvOptions::default()
    };
    assert_eq!(told(&fields, absent, "1\tx,y"), "{\"a\":1,\"b\":\"x,y\"}\n");
}

#[test]
fn empty_fields_and_the_null_literal_are_null() {
    let fields = [("a", DataType::Int64), ("b", DataType::Utf8)];
    assert_eq!(
        told(&fields, CsvOptions::default(), "a,b\n,\n\"\",\"\"\n"),
        "{\"a\":null,\"b\":\"\"}\n".repeat(2)
    );
    let literal = CsvOptions {
        null_literal: Some("NA".to_string()),
        ..CsvOptions::default()
    };
    assert_eq!(
        told(&fields, literal, "a,b\nNA,NA\n,\"NA\"\n"),
        "{\"a\":null,\"b\":null}\n{\"a\":null,\"b\":\"NA\"}\n"
    );
}

#[test]
fn a_malformed_record_is_told_and_affects_no_other() {
    let fields = [("a", DataType::Int64), ("b", DataType::Utf8)];
    for (wrong, reason) in [
        ("x,1", "column 'a' is BIGINT, but the value is x"),
        ("1", "the record has 1 fields instead of 2"),
        ("1,2,3", "the record has 3 fields instead of 2"),
        (
            "1,\"x\"y",
            "byte 6: text behind the closing quote of a field: `y`",
        ),
        (
            "9223372036854775808,",
            "column 'a': 9223372036854775808 is out of the range of BIGINT",
        ),
    ] {
        assert_eq!(
            told(
                &fields,
                CsvOptions::default(),
                &format!("a,b\n1,one\n{wrong}\n 2 ,5\" pipe\n")
            ),
            format!("{{\"a\":1,\"b\":\"one\"}}\n{{\"a\":2,\"b\":\"5\\\" pipe\"}}\n! {reason}\n")
        );
    }
    let open = told(&fields, CsvOptions::default(), "a,b\n1,one\n2,\"open\n");
    assert_eq!(open, "{\"a\":1,\"b\":\"one\"}\n! the record ends inside quotes\n");
}

#[test]
fn a_record_of_empty_fields_that_are_too_few_is_told() {
    let fields = [
        ("a", DataType::Int64),
        ("b", DataType::Utf8),
        ("c", DataType::Utf8),
    ];
    let options = CsvOptions {
        header: CsvHeader::Absent,
        ..CsvOptions::default()
    };
    let told = told(&fields, options, ",\n1,x,y\n");
    assert!(told.contains("\"a\":1") && told.contains("! "), "{told}");
}

#[test]
fn delimiter_and_quote_must_differ() {
    let same = CsvOptions {
        delimiter: b'"',
        ..CsvOptions::default()
    };
    assert!(CsvDecoder::new(schema(&[]), vec![], same).is_err());
}

fn oracle_type(random: &mut SmallRng) -> DataType {
    match random.random_range(0..10) {
        0 => DataType::Boolean,
        1 => DataType::Int16,
        2 | 3 => DataType::Int64,
        4 => DataType::Float64,
        5 => DataType::Date32,
        6 => DataType::Timestamp(TimeUnit::Millisecond, None),
        7 => DataType::Decimal128(20, 3),
        _ => DataType::Utf8,
    }
}

fn field_text(random: &mut SmallRng, data_type: &DataType) -> String {
    let any = random.random::<i64>() >> random.random_range(0..64);
    if random.random_range(0..6) == 0 && *data_type != DataType::Utf8 {
        return String::new();
    }
    let text = match data_type {
        DataType::Boolean => (any & 1 == 1).to_string(),
        DataType::Int16 => (any as i16).to_string(),
        DataType::Int64 => any.to_string(),
        DataType::Float64 => format!("{:?}", any as f64 / 1000.0),
        DataType::Date32 => format!("20{:02}-0{}-1{}", any & 63, any.rem_euclid(9) + 1, any & 7),
        DataType::Timestamp(_, _) => format!(
            "2024-03-1{} 12:34:{:02}.{:03}",
            any & 7,
            any.rem_euclid(60),
            any & 511
        ),
        DataType::Decimal128(_, _) => format!("{}.{:03}", any / 1_000, any.unsigned_abs() % 1_000),
        // arrow-csv takes an empty text for NULL.
        _ => format!("{}.", random_text(random)),
    };
    let needs_quotes = text.contains([',', '"', '\n', '\r']);
    if needs_quotes || random.random_range(0..5) == 0 {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

fn random_records(random: &mut SmallRng, count: usize) -> (SchemaRef, Vec<String>) {
    let width = random.random_range(2..7);
    let schema = schema_of((0..width).map(|_| oracle_type(random)).collect::<Vec<_>>());
    let line_break = ["\n", "\r\n"][random.random_range(0..2)];
    let records = (0..count).map(|_| {
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field_text(random, field.data_type()))
            .collect();
        fields.join(",") + line_break
    });
    let records = records.collect();
    (schema, records)
}

fn no_header() -> CsvOptions {
    CsvOptions {
        header: CsvHeader::Absent,
        ..CsvOptions::default()
    }
}

fn by_oracle(schema: &SchemaRef, text: &[u8]) -> RecordBatch {
    let reader = ReaderBuilder::new(schema.clone())
        .with_batch_size(100_000)
        .build(text)
        .unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    concat_batches(schema, &batches).unwrap()
}

#[test]
fn arrow_csv_reads_the_same_from_every_file() {
    for seed in 0..400 {
        let mut random = random_numbers(seed);
        let (schema, records) = random_records(&mut random, 25);
        let text = records.concat();
        let decoded = decode(&schema, &no_header(), text.as_bytes());
        assert_eq!(decoded.malformed, [], "seed {seed}");
        assert_eq!(decoded.rows, by_oracle(&schema, text.as_bytes()), "seed {seed}");
    }
}

#[test]
fn pieces_cut_at_any_boundary_give_the_same_rows() {
    for seed in 0..40 {
        let mut random = random_numbers(seed);
        let (schema, records) = random_records(&mut random, 6);
        let text = records.concat().into_bytes();
        let whole = decode(&schema, &no_header(), &text).rows;
        for seen in 0..text.len() {
            let cut = no_header().boundary().last_record_end(&text[..seen]);
            let parts = [&text[..cut], &text[cut..]].map(|part| decode(&schema, &no_header(), part).rows);
            assert_eq!(
                concat_batches(&schema, &parts).unwrap(),
                whole,
                "seed {seed}, seen {seen}"
            );
        }
    }
}

#[test]
fn wanting_fewer_columns_changes_no_other() {
    for seed in 0..100 {
        let mut random = random_numbers(seed);
        let (schema, records) = random_records(&mut random, 25);
        let text = records.concat().into_bytes();
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let wanted: Vec<usize> = (0..names.len()).rev().filter(|_| random.random()).collect();
        let fewer = Arc::new(schema.project(&wanted).unwrap());
        let mut decoder = CsvDecoder::new(fewer, names, no_header()).unwrap();
        let whole = decode(&schema, &no_header(), &text).rows;
        assert_eq!(
            decoder.decode(&text, usize::MAX).rows,
            whole.project(&wanted).unwrap()
        );
    }
}

#[test]
fn mutated_bytes_never_panic_and_letters_never_reach_another_record() {
    for seed in 0..600 {
        let mut random = random_numbers(seed);
        let (schema, mut records) = random_records(&mut random, 5);
        let whole = decode(&schema, &no_header(), records.concat().as_bytes()).rows;
        let has_quote = records[2].contains('"');
        let mut bytes = records[2].trim_end().as_bytes().to_vec();
        let with_quotes = random.random_range(0..2) == 0;
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(0..bytes.len());
            bytes[place] = b",x-.\xff \""[random.random_range(0..if with_quotes { 7 } else { 6 })];
        }
        bytes.push(b'\n');
        records[2].clear();
        let text = [
            records[..2].concat().as_bytes(),
            &bytes,
            records[3..].concat().as_bytes(),
        ]
        .concat();
        let decoded = decode(&schema, &no_header(), &text);
        assert_eq!(decoded.rows.slice(0, 2), whole.slice(0, 2), "seed {seed}");
        // A quote may swallow what follows; that is the format's nature. Nothing else may.
        if !with_quotes && !has_quote {
            let there = decoded.rows.num_rows();
            assert_eq!(there + decoded.malformed.len(), 5, "seed {seed}");
            assert_eq!(decoded.rows.slice(there - 2, 2), whole.slice(3, 2), "seed {seed}");
        }
    }
}
