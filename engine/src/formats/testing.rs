//! Random schemas and batches of every type that formats hold, for the tests of this folder.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::column::{Column, Values};

pub(super) fn random_numbers(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// A flat type.
pub(super) fn scalar_type(random: &mut SmallRng) -> DataType {
    let utc = Some("UTC".into());
    match random.random_range(0..20) {
        0 => DataType::Boolean,
        1 => DataType::Int8,
        2 => DataType::Int16,
        3 => DataType::Int32,
        4 => DataType::Int64,
        5 => DataType::Float32,
        6 => DataType::Float64,
        7 => DataType::Decimal128(10, 2),
        8 => DataType::Decimal128(38, 10),
        9 => DataType::Date32,
        10 => DataType::Time32(TimeUnit::Millisecond),
        11 => DataType::Time64(TimeUnit::Microsecond),
        12 => DataType::Timestamp(TimeUnit::Millisecond, None),
        13 => DataType::Timestamp(TimeUnit::Microsecond, utc),
        14 => DataType::Timestamp(TimeUnit::Nanosecond, None),
        15 => DataType::Binary,
        _ => DataType::Utf8,
    }
}

/// A type, nested up to `depth` levels.
pub(super) fn any_type(random: &mut SmallRng, depth: usize) -> DataType {
    if depth == 0 || random.random_range(0..4) > 0 {
        return scalar_type(random);
    }
    match random.random_range(0..3) {
        0 => DataType::List(Arc::new(Field::new("item", any_type(random, depth - 1), true))),
        1 => {
            let count = random.random_range(1..4);
            let fields =
                (0..count).map(|index| Field::new(format!("f{index}"), any_type(random, depth - 1), true));
            DataType::Struct(fields.collect())
        }
        _ => {
            let value = any_type(random, depth - 1);
            let entries = Fields::from(vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", value, true),
            ]);
            DataType::Map(
                Arc::new(Field::new("entries", DataType::Struct(entries), false)),
                false,
            )
        }
    }
}

pub(super) fn schema_of(types: impl IntoIterator<Item = DataType>) -> SchemaRef {
    let fields = types.into_iter().enumerate();
    Arc::new(Schema::new(
        fields
            .map(|(index, data_type)| Field::new(format!("column {index}"), data_type, true))
            .collect::<Vec<_>>(),
    ))
}

/// A batch of random values, a fifth of them NULL.
pub(super) fn random_batch(random: &mut SmallRng, schema: &SchemaRef, rows: usize) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| {
        let mut column = Column::new(field.clone()).unwrap();
        for _ in 0..rows {
            append_random(random, &mut column);
        }
        column.finish()
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect(), &options).unwrap()
}

/// Appends a random value; about a fifth of them are NULL where NULL is allowed.
pub(super) fn append_random(random: &mut SmallRng, column: &mut Column) {
    if column.field.is_nullable() && random.random_range(0..5) == 0 {
        return column.append_null().unwrap();
    }
    if !column.is_nested() {
        append_scalar(random, column);
        return;
    }
    match &mut column.values {
        Values::List { offsets, element } => {
            for _ in 0..random.random_range(0..4) {
                append_random(random, element);
            }
            offsets.push(element.len() as i32);
        }
        Values::Map { offsets, entries } => {
            for index in 0..random.random_range(0..4) {
                entries[0].append_text(format!("k\"{index}").as_bytes()).unwrap();
                append_random(random, &mut entries[1]);
            }
            offsets.push(entries[0].len() as i32);
        }
        Values::Struct { children, .. } => children.iter_mut().for_each(|child| append_random(random, child)),
        _ => unreachable!(),
    }
    column.nulls.append_non_null();
}

fn append_scalar(random: &mut SmallRng, column: &mut Column) {
    let any = random.random::<i64>() >> random.random_range(0..64);
    // From year 1 to 9999, so that every unit but the nanosecond holds it.
    let second = random.random_range(-62_135_596_800i64..253_402_300_799);
    match &mut column.values {
        Values::Boolean(values) => values.append(random.random()),
        Values::Int8(values) => values.push(any as i8),
        Values::Int16(values) => values.push(any as i16),
        Values::Int32(values) => values.push(any as i32),
        Values::Int64(values) => values.push(any),
        Values::Float32(values) => values.push(match f32::from_bits(any as u32) {
            number if number.is_finite() => number,
            _ => any as f32,
        }),
        Values::Float64(values) => values.push(match random.random_range(0..3) {
            0 => f64::from_bits(any as u64 & !(1 << 62)),
            1 => any as f64 / 100.0,
            _ => random.random(),
        }),
        Values::Decimal {
            values, precision, ..
        } => {
            let bound = 10i128.pow((*precision).into());
            values.push(i128::from(any) * i128::from(any.unsigned_abs() | 1) % bound);
        }
        Values::Date(values) => values.push(second.div_euclid(86_400) as i32),
        Values::Time32(values, _) => values.push(random.random_range(0..86_400_000)),
        Values::Time64(values, _) => values.push(random.random_range(0..86_400_000_000)),
        Values::Timestamp(values, _) => {
            let nanos = matches!(
                column.field.data_type(),
                DataType::Timestamp(TimeUnit::Nanosecond, _)
            );
            values.push(if nanos { any } else { second * 1_000 + any % 1_000 });
        }
        Values::Bytes(texts) => {
            texts
                .bytes
                .extend((0..random.random_range(0..9)).map(|_| random.random::<u8>()));
            texts.end();
        }
        Values::Text(texts) => {
            texts.bytes.extend_from_slice(random_text(random).as_bytes());
            texts.end();
        }
        _ => unreachable!(),
    }
    column.nulls.append_non_null();
}

/// A text with what formats must take care of.
pub(super) fn random_text(random: &mut SmallRng) -> String {
    const LETTERS: [&str; 16] = [
        "a", "bc", " ", ",", "\"", "\\", "\n", "\r", "\t", "\u{1}", "ä", "日本", "🦀", "{", "'", "/\u{7f}",
    ];
    if random.random() {
        return "plain text ".repeat(random.random_range(0..5));
    }
    (0..random.random_range(0..12))
        .map(|_| LETTERS[random.random_range(0..LETTERS.len())])
        .collect()
}
