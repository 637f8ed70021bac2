//! What an encoder writes, the decoder of its format reads back as the same values.

use std::sync::Arc;

use arrow::array::{AsArray, Int8Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};

use super::csv::{CsvDecoder, CsvHeader, CsvOptions};
use super::encode_csv::CsvEncoder;
use super::encode_ndjson::{NdjsonEncoder, TimestampFormat};
use super::ndjson::{NdjsonDecoder, NdjsonOptions};
use super::testing::{any_type, random_batch, random_numbers, schema_of};
use super::{Decoder, Encoder};
use crate::batch::{Batch, Op};
use rand::Rng;

fn names_of(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

fn decode_all(decoder: &mut dyn Decoder, text: &[u8]) -> RecordBatch {
    let header = decoder.start_file(text).unwrap();
    let decoded = decoder.decode(&text[header..], usize::MAX);
    assert_eq!(decoded.malformed, [], "{}", String::from_utf8_lossy(text));
    assert_eq!(decoded.consumed, text.len() - header);
    decoded.rows
}

#[test]
fn every_type_comes_back_from_ndjson() {
    for seed in 0..300 {
        let mut random = random_numbers(seed);
        let width = random.random_range(1..8);
        let schema = schema_of((0..width).map(|_| any_type(&mut random, 2)).collect::<Vec<_>>());
        let rows = random_batch(&mut random, &schema, 20);
        let format = if seed % 2 == 0 {
            TimestampFormat::Sql
        } else {
            TimestampFormat::Iso8601
        };
        let mut text = Vec::new();
        let batch = Batch::append(rows.clone(), 0);
        NdjsonEncoder::new(schema.clone(), false, format)
            .encode(&batch, &mut text)
            .unwrap();
        let mut decoder = NdjsonDecoder::new(schema, NdjsonOptions::default()).unwrap();
        assert_eq!(decode_all(&mut decoder, &text), rows, "seed {seed}");
    }
}

#[test]
fn every_type_comes_back_from_csv() {
    for seed in 0..300 {
        let mut random = random_numbers(seed);
        let width = random.random_range(1..8);
        let schema = schema_of((0..width).map(|_| any_type(&mut random, 1)).collect::<Vec<_>>());
        let rows = random_batch(&mut random, &schema, 20);
        let options = CsvOptions {
            delimiter: if seed % 3 == 0 { b';' } else { b',' },
            null_literal: Some("NULL".to_string()),
            header: if seed % 2 == 0 {
                CsvHeader::Present
            } else {
                CsvHeader::Absent
            },
            ..CsvOptions::default()
        };
        let mut encoder = CsvEncoder::new(schema.clone(), false, options.clone());
        let mut text = encoder.header().unwrap_or_default();
        encoder
            .encode(&Batch::append(rows.clone(), 0), &mut text)
            .unwrap();
        assert_eq!(options.boundary().last_record_end(&text), text.len());
        let mut decoder = CsvDecoder::new(schema.clone(), names_of(&schema), options).unwrap();
        assert_eq!(decode_all(&mut decoder, &text), rows, "seed {seed}");
    }
}

#[test]
fn a_slice_is_written_as_the_rows_it_shows() {
    for seed in 0..50 {
        let mut random = random_numbers(seed);
        let schema = schema_of((0..4).map(|_| any_type(&mut random, 2)).collect::<Vec<_>>());
        let rows = random_batch(&mut random, &schema, 30);
        let mut encoder = NdjsonEncoder::new(schema, false, TimestampFormat::Sql);
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        encoder
            .encode(&Batch::append(rows.clone(), 0), &mut whole)
            .unwrap();
        for offset in [0, 10, 20] {
            encoder
                .encode(&Batch::append(rows.slice(offset, 10), 0), &mut parts)
                .unwrap();
        }
        assert_eq!(whole, parts);
    }
}

#[test]
fn changes_carry_their_op_first() {
    let schema = Arc::new(Schema::new(vec![Field::new("a,b", DataType::Int64, true)]));
    let rows = RecordBatch::try_new(
        schema.clone(),
        vec![Arc::new(arrow::array::Int64Array::from(vec![Some(1), None]))],
    );
    let ops = Int8Array::from(vec![Op::UpdateAfter.code(), Op::Delete.code()]);
    let batch = Batch::changes(rows.unwrap(), ops, 0);
    let mut text = Vec::new();
    NdjsonEncoder::new(schema.clone(), true, TimestampFormat::Sql)
        .encode(&batch, &mut text)
        .unwrap();
    let expected = "{\"op\":\"+U\",\"a,b\":1}\n{\"op\":\"-D\",\"a,b\":null}\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    let mut encoder = CsvEncoder::new(schema, true, CsvOptions::default());
    let mut text = encoder.header().unwrap();
    encoder.encode(&batch, &mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), "op,\"a,b\"\n+U,1\n-D,\n");
}

#[test]
fn numbers_that_are_not_finite_come_back() {
    let schema = schema_of([DataType::Float64, DataType::Float32]);
    let rows = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(arrow::array::Float64Array::from(vec![
                f64::NAN,
                f64::INFINITY,
                -0.0,
            ])),
            Arc::new(arrow::array::Float32Array::from(vec![
                f32::NEG_INFINITY,
                f32::NAN,
                1.5,
            ])),
        ],
    )
    .unwrap();
    let mut text = Vec::new();
    let batch = Batch::append(rows, 0);
    NdjsonEncoder::new(schema.clone(), false, TimestampFormat::Sql)
        .encode(&batch, &mut text)
        .unwrap();
    let mut decoder = NdjsonDecoder::new(schema, NdjsonOptions::default()).unwrap();
    let back = decode_all(&mut decoder, &text);
    let doubles = back.column(0).as_primitive::<Float64Type>().values();
    assert!(doubles[0].is_nan() && doubles[1] == f64::INFINITY && doubles[2].is_sign_negative());
}
