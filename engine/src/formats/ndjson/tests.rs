//! The NDJSON decoder against arrow-json, and what it does with records cut anywhere or malformed.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, TimeUnit};
use arrow_json::ReaderBuilder;
use rand::Rng;
use rand::rngs::SmallRng;
use serde_json::Value;

use super::*;
use crate::batch::Batch;
use crate::formats::Encoder;
use crate::formats::encode_ndjson::{NdjsonEncoder, TimestampFormat, write_string};
use crate::formats::testing::{random_numbers, random_text, schema_of};

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

fn decode_with(schema: &SchemaRef, options: NdjsonOptions, text: &[u8]) -> Decoded {
    NdjsonDecoder::new(schema.clone(), options)
        .unwrap()
        .decode(text, usize::MAX)
}

fn decode(schema: &SchemaRef, text: &[u8]) -> Decoded {
    decode_with(schema, NdjsonOptions::default(), text)
}

/// The rows as NDJSON, then one line `! reason` per malformed record.
fn told(schema: &SchemaRef, text: &str) -> String {
    let decoded = decode(schema, text.as_bytes());
    let mut out = Vec::new();
    let batch = Batch::append(decoded.rows, 0);
    NdjsonEncoder::new(schema.clone(), false, TimestampFormat::Sql)
        .encode(&batch, &mut out)
        .unwrap();
    for malformed in decoded.malformed {
        out.extend_from_slice(format!("! {}\n", malformed.reason).as_bytes());
    }
    String::from_utf8(out).unwrap()
}

fn check(fields: &[(&str, DataType)], text: &str, expected: &str) {
    assert_eq!(told(&schema(fields), text), expected, "{text}");
}

#[test]
fn keys_may_come_in_any_order_twice_or_not_at_all() {
    let fields = [("a", DataType::Int64), ("b", DataType::Utf8)];
    check(
        &fields,
        "{\"a\":1,\"b\":\"x\"}\n{\"b\":\"y\",\"a\":2}\n{ \"b\" : \"z\" , \"other\" : {\"a\":[9, {}]} }\r\n\n{}\n{\"a\":3,\"a\":4,\"b\":null}\n{\"\\u0061\":5}",
        "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y\"}\n{\"a\":null,\"b\":\"z\"}\n{\"a\":null,\"b\":null}\n{\"a\":4,\"b\":null}\n{\"a\":5,\"b\":null}\n",
    );
}

#[test]
fn escapes_are_resolved_and_written_again() {
    check(
        &[("a", DataType::Utf8)],
        r#"{"a":"tab\t quote\" slash\/ back\\ \u00e4 \ud83e\udd80 \u0001 ü"}"#,
        "{\"a\":\"tab\\t quote\\\" slash/ back\\\\ ä 🦀 \\u0001 ü\"}\n",
    );
    check(
        &[("a", DataType::Utf8)],
        r#"{"a":"\ud83e"}"#,
        "! malformed JSON at byte 7: `\\ud83e\"}` is not an escape\n",
    );
}

#[test]
fn values_are_read_by_the_type_of_their_column() {
    let ltz = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = [
        ("t", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("z", ltz),
        ("d", DataType::Decimal128(8, 2)),
        ("f", DataType::Float64),
        ("i", DataType::Int32),
        ("s", DataType::Utf8),
        ("b", DataType::Boolean),
    ];
    check(
        &fields,
        "{\"t\":1714557600123,\"z\":1714557600123,\"d\":1.005,\"f\":1e3,\"i\":\"42\",\"s\":1.50,\"b\":true}\n\
         {\"t\":\"2024-05-01T10:00:00Z\",\"z\":\"2024-05-01 12:00:00.5+02:00\",\"d\":\"-7\",\"f\":\"NaN\",\"i\":2.0,\"s\":{\"k\": [1]},\"b\":\"false\"}\n",
        "{\"t\":\"2024-05-01 10:00:00.123\",\"z\":\"2024-05-01 10:00:00.123000Z\",\"d\":1.01,\"f\":1000.0,\"i\":42,\"s\":\"1.50\",\"b\":true}\n\
         {\"t\":\"2024-05-01 10:00:00.000\",\"z\":\"2024-05-01 10:00:00.500000Z\",\"d\":-7.00,\"f\":\"NaN\",\"i\":2,\"s\":\"{\\\"k\\\": [1]}\",\"b\":false}\n",
    );
}

#[test]
fn a_malformed_record_is_told_and_affects_no_other() {
    let fields = [("a", DataType::Int8), ("s", DataType::Utf8)];
    for (wrong, reason) in [
        (
            "{\"s\":\"kept?\",\"a\":300}",
            "column 'a': 300 is out of the range of TINYINT",
        ),
        (
            "{\"s\":\"kept?\",\"a\":\"x\"}",
            "column 'a' is TINYINT, but the value is \"x\"",
        ),
        (
            "{\"a\":1.5}",
            "column 'a': 1.5 is not a whole number, but the type is TINYINT",
        ),
        ("{\"a\":[1]}", "column 'a' is TINYINT, but the value is [1]"),
        (
            "{\"a\":1",
            "malformed JSON at byte 7: ',' or an end is expected, found `nothing`",
        ),
        (
            "{\"a\":1}}",
            "malformed JSON at byte 8: nothing may follow the object, found `}`",
        ),
        (
            "{\"a\":1}{\"a\":2}",
            "malformed JSON at byte 8: nothing may follow the object, found `{\"a\":2}`",
        ),
        ("[1]", "not a JSON object: '{' is expected, found `[1]`"),
        ("{\"s\":\"open", "the record ends inside quotes"),
        ("{\"a\":01}", "malformed JSON at byte 6: `01}` is not a number"),
        (
            "{\"a\":1,}",
            "malformed JSON at byte 8: a name in quotes is expected, found `}`",
        ),
        (
            "{\"a\" 1}",
            "malformed JSON at byte 6: ':' is expected, found `1`",
        ),
        (
            "{\"a\":}",
            "malformed JSON at byte 6: a value is expected, found `}`",
        ),
        (
            "{\"x\":nul}",
            "malformed JSON at byte 6: a value is expected, found `nul}`",
        ),
        (
            "{\"x\":\"\\q\"}",
            "malformed JSON at byte 7: `\\q\"}` is not an escape",
        ),
    ] {
        check(
            &fields,
            &format!("{{\"a\":1,\"s\":\"one\"}}\n{wrong}\n{{\"a\":2,\"s\":\"two\"}}\n"),
            &format!("{{\"a\":1,\"s\":\"one\"}}\n{{\"a\":2,\"s\":\"two\"}}\n! {reason}\n"),
        );
    }
}

#[test]
fn bytes_that_are_not_utf8_make_a_record_malformed_wherever_they_stand() {
    let fields = schema(&[("a", DataType::Int64)]);
    let decoded = decode(
        &fields,
        b"{\"a\":1}\n{\"a\":2,\"other\":\"\xff\"}\n{\"a\":3,\"other\":\"\xc3\xa4\"}\n",
    );
    assert_eq!(decoded.rows.num_rows(), 2);
    assert_eq!(decoded.malformed.len(), 1);
    let malformed = &decoded.malformed[0];
    assert_eq!(
        (malformed.start, malformed.end, malformed.rows_before),
        (8, 27, 1)
    );
    assert_eq!(malformed.reason, "byte 17 is not UTF-8");
}

#[test]
fn not_null_and_missing_fields_are_refused_as_asked() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, false),
        Field::new("b", DataType::Int64, true),
    ]));
    assert_eq!(
        told(&schema, "{\"a\":1}\n{\"b\":1}\n{\"a\":null}"),
        "{\"a\":1,\"b\":null}\n! column 'a' is missing\n! column 'a' is NOT NULL, but the value is NULL\n"
    );
    let strict = NdjsonOptions {
        fail_on_missing_field: true,
        ..NdjsonOptions::default()
    };
    let decoded = decode_with(&schema, strict, b"{\"a\":1}\n{\"a\":1,\"b\":null}");
    assert_eq!(decoded.rows.num_rows(), 1);
    assert_eq!(decoded.malformed[0].reason, "column 'b' is missing");
}

#[test]
fn a_record_beyond_the_limit_is_told_not_read() {
    let options = NdjsonOptions {
        record_bytes_max: 20,
        ..NdjsonOptions::default()
    };
    let text = b"{\"a\":1}\n{\"a\":2,\"pad\":\"0123456789\"}\n{\"a\":3}\n";
    let decoded = decode_with(&schema(&[("a", DataType::Int64)]), options, text);
    assert_eq!(
        decoded
            .rows
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec(),
        [1, 3]
    );
    assert!(
        decoded.malformed[0]
            .reason
            .starts_with("the record is longer than 20 bytes")
    );
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let deep = format!("{{\"x\":{}", "[".repeat(1_000_000));
    let decoded = decode(&schema(&[("a", DataType::Int64)]), deep.as_bytes());
    assert!(decoded.malformed[0].reason.contains("nested too deeply"));
}

#[test]
fn no_column_at_all_still_counts_records() {
    let decoded = decode(&schema(&[]), b"{\"a\":1}\n{}\n{\"b\":}\n");
    assert_eq!((decoded.rows.num_rows(), decoded.malformed.len()), (2, 1));
}

#[test]
fn a_byte_order_mark_is_taken_off() {
    let mut decoder = NdjsonDecoder::new(schema(&[]), NdjsonOptions::default()).unwrap();
    assert_eq!(decoder.start_file(b"\xef\xbb\xbf{}\n"), Ok(3));
    assert_eq!(decoder.start_file(b"{}\n"), Ok(0));
}

#[test]
fn calls_of_any_size_give_the_same_rows() {
    let mut random = random_numbers(1);
    let (fields, text) = random_documents(&mut random, 60);
    let whole = decode(&fields, &text);
    for records_max in [1, 2, 7] {
        let mut decoder = NdjsonDecoder::new(fields.clone(), NdjsonOptions::default()).unwrap();
        let (mut at, mut parts) = (0, Vec::new());
        while at < text.len() {
            let decoded = decoder.decode(&text[at..], records_max);
            assert!(decoded.consumed > 0 && decoded.rows.num_rows() <= records_max);
            at += decoded.consumed;
            parts.push(decoded.rows);
        }
        assert_eq!(concat_batches(&fields, &parts).unwrap(), whole.rows);
    }
}

/// Types that arrow-json reads in the same way.
fn oracle_type(random: &mut SmallRng, depth: usize) -> DataType {
    match random.random_range(0..if depth > 0 { 16 } else { 13 }) {
        0 => DataType::Boolean,
        1 => DataType::Int8,
        2 => DataType::Int32,
        3 | 4 => DataType::Int64,
        5 => DataType::Float64,
        6 => DataType::Decimal128(20, 4),
        7 => DataType::Date32,
        8 => DataType::Timestamp(TimeUnit::Millisecond, None),
        9 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        13 => DataType::List(Arc::new(Field::new("item", oracle_type(random, depth - 1), true))),
        14 => {
            let types = (0..random.random_range(1..4)).map(|_| oracle_type(random, depth - 1));
            let fields = types
                .enumerate()
                .map(|(index, data_type)| Field::new(format!("f{index}"), data_type, true));
            DataType::Struct(fields.collect())
        }
        15 => {
            let value = oracle_type(random, depth - 1);
            let entries = vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", value, true),
            ];
            let entries = Field::new("entries", DataType::Struct(Fields::from(entries)), false);
            DataType::Map(Arc::new(entries), false)
        }
        _ => DataType::Utf8,
    }
}

/// A JSON text of a value of that type, or `null`.
fn document(random: &mut SmallRng, data_type: &DataType, out: &mut String) {
    let blank = |random: &mut SmallRng, out: &mut String| {
        if random.random_range(0..8) == 0 {
            out.push_str([" ", "\t", "  "][random.random_range(0..3)]);
        }
    };
    blank(random, out);
    let quoted = |text: &str, out: &mut String| {
        let mut bytes = Vec::new();
        write_string(text.as_bytes(), &mut bytes);
        out.push_str(std::str::from_utf8(&bytes).unwrap());
    };
    let any = random.random::<i64>() >> random.random_range(0..64);
    if random.random_range(0..6) == 0 {
        out.push_str("null");
    } else {
        match data_type {
            DataType::Boolean => out.push_str(["true", "false"][random.random_range(0..2)]),
            DataType::Int8 => out.push_str(&(any as i8).to_string()),
            DataType::Int32 => out.push_str(&(any as i32).to_string()),
            DataType::Int64 => out.push_str(&any.to_string()),
            DataType::Float64 => out.push_str(&format!("{:?}", any as f64 / 1000.0)),
            DataType::Decimal128(_, _) => {
                out.push_str(&format!("{}.{:04}", any / 10_000, any.unsigned_abs() % 10_000))
            }
            DataType::Date32 => quoted(
                &format!("20{:02}-0{}-1{}", any & 63, any.rem_euclid(9) + 1, any & 7),
                out,
            ),
            DataType::Timestamp(_, zone) => {
                let zone = if zone.is_some() { "Z" } else { "" };
                let (day, second, millis) = (any & 7, any.rem_euclid(60), any & 511);
                quoted(
                    &format!("2024-03-1{day}T12:34:{second:02}.{millis:03}{zone}"),
                    out,
                );
            }
            DataType::List(element) => {
                out.push('[');
                for index in 0..random.random_range(0..4) {
                    out.push_str(if index > 0 { "," } else { "" });
                    document(random, element.data_type(), out);
                }
                out.push(']');
            }
            DataType::Struct(fields) => object_document(random, fields, out),
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    unreachable!()
                };
                out.push('{');
                for index in 0..random.random_range(0..4) {
                    out.push_str(if index > 0 { "," } else { "" });
                    quoted(&format!("key\t{index}"), out);
                    out.push(':');
                    document(random, fields[1].data_type(), out);
                }
                out.push('}');
            }
            _ => quoted(&random_text(random), out),
        }
    }
    blank(random, out);
}

fn object_document(random: &mut SmallRng, fields: &Fields, out: &mut String) {
    let mut order: Vec<usize> = (0..fields.len()).collect();
    if random.random_range(0..3) == 0 {
        let (one, other) = (
            random.random_range(0..fields.len()),
            random.random_range(0..fields.len()),
        );
        order.swap(one, other);
        order.truncate(random.random_range(1..=fields.len()));
    }
    out.push('{');
    for (place, index) in order.into_iter().enumerate() {
        out.push_str(if place > 0 { "," } else { "" });
        if random.random_range(0..10) == 0 {
            out.push_str("\"unknown\":{\"x\":[1,\"]}\\\"\",true,{}],\"y\":-1.5e3},");
        }
        out.push_str(&format!("\"{}\":", fields[index].name()));
        document(random, fields[index].data_type(), out);
    }
    out.push('}');
}

fn random_documents(random: &mut SmallRng, count: usize) -> (SchemaRef, Vec<u8>) {
    let width = random.random_range(1..7);
    let schema = schema_of((0..width).map(|_| oracle_type(random, 2)).collect::<Vec<_>>());
    let mut text = String::new();
    for _ in 0..count {
        object_document(random, schema.fields(), &mut text);
        text.push('\n');
    }
    (schema, text.into_bytes())
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
fn arrow_json_reads_the_same_from_every_document() {
    for seed in 0..400 {
        let mut random = random_numbers(seed);
        let (schema, text) = random_documents(&mut random, 25);
        let decoded = decode(&schema, &text);
        assert_eq!(decoded.malformed, [], "seed {seed}");
        assert_eq!(decoded.rows, by_oracle(&schema, &text), "seed {seed}");
    }
}

#[test]
fn wanting_fewer_columns_changes_no_other() {
    for seed in 0..100 {
        let mut random = random_numbers(seed);
        let (schema, text) = random_documents(&mut random, 25);
        let wanted: Vec<usize> = (0..schema.fields().len())
            .rev()
            .filter(|_| random.random())
            .collect();
        let fewer = Arc::new(schema.project(&wanted).unwrap());
        assert_eq!(
            decode(&fewer, &text).rows,
            decode(&schema, &text).rows.project(&wanted).unwrap()
        );
    }
}

#[test]
fn a_record_cut_anywhere_is_malformed_and_its_neighbours_are_not() {
    for seed in 0..30 {
        let mut random = random_numbers(seed);
        let (schema, text) = random_documents(&mut random, 3);
        let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        let whole = decode(&schema, &text).rows;
        for cut in 1..lines[1].trim_ascii_end().len() {
            let cut_text = [lines[0], &lines[1][..cut], b"\n", lines[2]].concat();
            let decoded = decode(&schema, &cut_text);
            let is_blank = lines[1][..cut].trim_ascii().is_empty();
            assert_eq!(
                decoded.malformed.len(),
                usize::from(!is_blank),
                "seed {seed}, cut {cut}"
            );
            assert_eq!(decoded.rows.slice(0, 1), whole.slice(0, 1));
            assert_eq!(decoded.rows.slice(1, 1), whole.slice(2, 1));
        }
    }
}

#[test]
fn mutated_bytes_never_panic_and_never_reach_another_record() {
    for seed in 0..600 {
        let mut random = random_numbers(seed);
        let (schema, text) = random_documents(&mut random, 5);
        let whole = decode(&schema, &text).rows;
        let mut lines: Vec<Vec<u8>> = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        for _ in 0..random.random_range(1..6) {
            let place = random.random_range(0..lines[2].len());
            let byte = b"{}[]\",:\\u0n\xff-.eE \x00"[random.random_range(0..18)];
            match random.random_range(0..3) {
                0 => lines[2][place] = byte,
                1 => lines[2].insert(place, byte),
                _ if lines[2].len() > 1 => drop(lines[2].remove(place)),
                _ => {}
            }
        }
        let decoded = decode(&schema, &lines.join(&b'\n'));
        let there = decoded.rows.num_rows();
        assert_eq!(
            there + decoded.malformed.len(),
            5 - usize::from(lines[2].trim_ascii().is_empty()),
            "seed {seed}"
        );
        assert_eq!(decoded.rows.slice(0, 2), whole.slice(0, 2), "seed {seed}");
        assert_eq!(decoded.rows.slice(there - 2, 2), whole.slice(3, 2), "seed {seed}");
        // What is accepted is JSON, also where nobody wants it.
        if decoded.malformed.is_empty() && !lines[2].trim_ascii().is_empty() {
            let parsed = serde_json::from_slice::<Value>(&lines[2]);
            let has_raw_control = lines[2].iter().any(|&byte| byte < b' ');
            assert!(
                parsed.is_ok() || has_raw_control,
                "seed {seed}: {}",
                String::from_utf8_lossy(&lines[2])
            );
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    for seed in 0..300 {
        let mut random = random_numbers(seed);
        let letters = b"{}[]\",:\\u01ntfa \n\xff-.eE";
        let bytes: Vec<u8> = (0..200)
            .map(|_| letters[random.random_range(0..letters.len())])
            .collect();
        let schema = schema_of([oracle_type(&mut random, 2), DataType::Binary]);
        let decoded = decode(&schema, &bytes);
        assert_eq!(decoded.consumed, bytes.len());
        assert!(
            decoded
                .rows
                .columns()
                .iter()
                .all(|column| column.len() == decoded.rows.num_rows())
        );
    }
}

#[test]
fn an_object_with_more_keys_than_are_remembered_is_read_all_the_same() {
    let keys = crate::limits::OBJECT_KEYS_MAX + 50;
    let names: Vec<String> = (0..keys).map(|number| format!("k{number}")).collect();
    let wanted = [&names[0], &names[keys - 2], &names[keys - 1]];
    let fields = wanted.map(|name| (name.as_str(), DataType::Int64));
    let object = |first: usize| {
        let members = names.iter().enumerate();
        let members: Vec<String> = members
            .map(|(number, name)| format!("\"{name}\":{}", first + number))
            .collect();
        format!("{{{}}}\n", members.join(","))
    };
    let row = |first: usize| {
        let last = first + keys - 1;
        format!(
            "{{\"{}\":{first},\"{}\":{},\"{}\":{last}}}\n",
            wanted[0],
            wanted[1],
            last - 1,
            wanted[2]
        )
    };
    check(
        &fields,
        &(object(0) + &object(7) + &object(9)),
        &(row(0) + &row(7) + &row(9)),
    );
}

#[test]
fn one_call_decodes_a_bounded_number_of_bytes() {
    use crate::limits::{DECODE_BYTES_MAX, RECORD_BYTES_MAX};
    let record = format!("{{\"a\":\"{}\"}}\n", "x".repeat(RECORD_BYTES_MAX - 100));
    let text = record.repeat(6);
    let decoded = decode(&schema(&[("b", DataType::Int64)]), text.as_bytes());
    assert!(decoded.consumed < text.len(), "the sixth record waits");
    assert!((DECODE_BYTES_MAX..DECODE_BYTES_MAX + RECORD_BYTES_MAX).contains(&decoded.consumed));
    assert_eq!(decoded.consumed, decoded.rows.num_rows() * record.len());
}
