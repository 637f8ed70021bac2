//! Random rows per type: ranges, sequences, lengths and what is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimeUnit, TimestampMillisecondType};

use super::*;

fn schema() -> SchemaRef {
    let utc = Some("UTC".into());
    let types = [
        ("flag", DataType::Boolean),
        ("tiny", DataType::Int8),
        ("small", DataType::Int16),
        ("whole", DataType::Int32),
        ("big", DataType::Int64),
        ("single", DataType::Float32),
        ("double", DataType::Float64),
        ("money", DataType::Decimal128(12, 2)),
        ("wide", DataType::Decimal128(38, 0)),
        ("text", DataType::Utf8),
        ("bytes", DataType::Binary),
        ("day", DataType::Date32),
        ("clock", DataType::Time32(TimeUnit::Millisecond)),
        ("clock6", DataType::Time64(TimeUnit::Microsecond)),
        ("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("ltz", DataType::Timestamp(TimeUnit::Microsecond, utc)),
    ];
    Arc::new(Schema::new(
        types
            .into_iter()
            .map(|(name, data_type)| Field::new(name, data_type, true))
            .collect::<Vec<_>>(),
    ))
}

fn config(options: &[(&str, ColumnOptions)]) -> DatagenConfig {
    DatagenConfig {
        columns: options
            .iter()
            .map(|(name, options)| (name.to_string(), options.clone()))
            .collect(),
        ..DatagenConfig::default()
    }
}

fn random(min: &str, max: &str) -> ColumnOptions {
    ColumnOptions {
        min: Some(min.to_string()),
        max: Some(max.to_string()),
        ..ColumnOptions::default()
    }
}

fn sequence(start: &str, end: &str) -> ColumnOptions {
    ColumnOptions {
        is_sequence: true,
        start: Some(start.to_string()),
        end: Some(end.to_string()),
        ..ColumnOptions::default()
    }
}

#[test]
fn every_type_is_made_and_rows_do_not_depend_on_how_ranges_are_cut() {
    let half_null = ColumnOptions {
        null_rate: 0.5,
        ..ColumnOptions::default()
    };
    let config = config(&[("text", half_null.clone()), ("wide", half_null)]);
    let generator = DatagenGenerator::new(&config, &schema(), schema()).unwrap();
    let whole = generator.rows(0..1_000);
    let parts = [
        generator.rows(0..3),
        generator.rows(3..512),
        generator.rows(512..1_000),
    ];
    assert_eq!(whole, concat_batches(&schema(), &parts).unwrap());
    let nulls = whole.column(9).null_count();
    assert!((400..600).contains(&nulls), "{nulls}");
    let times = whole
        .column(14)
        .as_primitive::<TimestampMillisecondType>()
        .values();
    assert!(
        times.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "1,000 rows a second"
    );
}

#[test]
fn bounds_and_distinct_counts_hold() {
    let few = ColumnOptions {
        distinct: Some(7),
        length: Some(12),
        ..ColumnOptions::default()
    };
    let config = config(&[
        ("whole", random("-3", "4")),
        ("text", few),
        ("money", random("0.01", "1.00")),
    ]);
    let rows = DatagenGenerator::new(&config, &schema(), schema())
        .unwrap()
        .rows(0..2_000);
    let values: BTreeSet<i32> = rows
        .column(3)
        .as_primitive::<Int32Type>()
        .values()
        .iter()
        .copied()
        .collect();
    assert!(values.into_iter().eq(-3..=4));
    let texts: BTreeSet<_> = rows.column(9).as_string::<i32>().iter().flatten().collect();
    assert_eq!(texts.len(), 7);
    assert!(texts.iter().all(|text| text.len() == 12));
}

#[test]
fn rows_end_with_the_shortest_sequence_even_if_nobody_reads_it() {
    let config = config(&[("big", sequence("10", "1009")), ("text", sequence("1", "500"))]);
    let wanted = Arc::new(schema().project(&[4]).unwrap());
    let generator = DatagenGenerator::new(&config, &schema(), wanted).unwrap();
    assert_eq!(generator.rows_end(), Some(500));
    let rows = generator.rows(490..1_000);
    assert!(
        rows.column(0)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .copied()
            .eq(500..510)
    );
    assert_eq!(generator.rows(900..1_000).num_rows(), 0);
}

#[test]
fn texts_longer_than_a_batch_could_hold_are_refused() {
    let of_length = |length| ColumnOptions {
        length: Some(length),
        ..Default::default()
    };
    let refusal = |length| {
        let config = config(&[("text", of_length(length))]);
        DatagenGenerator::new(&config, &schema(), schema())
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(refusal(1 << 17), None);
    let message = refusal((1 << 17) + 1).unwrap();
    assert!(message.contains("131072 characters at most"), "{message}");
}

#[test]
fn options_that_do_not_fit_are_refused_by_name() {
    let refuse = |name: &str, options| {
        let config = config(&[(name, options)]);
        DatagenGenerator::new(&config, &schema(), schema())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refuse("tiny", random("0", "200")),
        "'fields.tiny.max' cannot be '200': column 'tiny' is Int8"
    );
    assert_eq!(
        refuse("big", random("5", "1")),
        "the greatest value of column 'big' is below its least"
    );
    assert_eq!(
        refuse("flag", sequence("1", "2")),
        "column 'flag' cannot be a sequence: only integers and STRING can"
    );
    assert_eq!(
        refuse(
            "big",
            ColumnOptions {
                is_sequence: true,
                ..Default::default()
            }
        ),
        "the sequence of column 'big' needs 'fields.big.start'"
    );
    assert_eq!(
        refuse("nope", random("0", "1")),
        "the table has no column 'nope' to generate"
    );
}
