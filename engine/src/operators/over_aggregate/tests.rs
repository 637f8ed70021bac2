//! OVER aggregation against a model that looks at every row of a partition for every row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMillisecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_functions_aggregate::bit_and_or_xor::{bit_and_udaf, bit_xor_udaf};
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::Column;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::batch::Batch;
use crate::operators::over_aggregate::OverAggregate;
use crate::operators::{Firing, Operator, Output};
use crate::plan::{AggregateCall, AggregateFunction, OverAggregateSpec, OverFrame};
use crate::time::WATERMARK_END;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    key: Option<&'static str>,
    time_ms: i64,
    value: Option<i64>,
    price: Option<f64>,
    cents: Option<i128>,
    text: Option<String>,
    flag: Option<bool>,
}

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("value", DataType::Int64, true),
        Field::new("price", DataType::Float64, true),
        Field::new("cents", DataType::Decimal128(10, 2), true),
        Field::new("text", DataType::Utf8, true),
        Field::new("flag", DataType::Boolean, true),
    ]))
}

fn batch_of(rows: &[Row]) -> RecordBatch {
    let decimals: Decimal128Array = rows.iter().map(|row| row.cents).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.key).collect::<StringArray>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(
            rows.iter().map(|row| row.time_ms),
        )),
        Arc::new(rows.iter().map(|row| row.value).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.price).collect::<Float64Array>()),
        Arc::new(decimals.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(rows.iter().map(|row| row.text.clone()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.flag).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(input_schema(), columns).unwrap()
}

fn call(name: &str, function: AggregateFunction, argument: Option<usize>, output: DataType) -> AggregateCall {
    AggregateCall {
        function,
        arguments: argument.into_iter().collect(),
        distinct: false,
        filter: None,
        output: Arc::new(Field::new(name, output, true)),
    }
}

fn calls() -> Vec<AggregateCall> {
    use AggregateFunction::{Avg, Count, CountStar, Max, Min, Other, Sum};
    let bit = |udaf| {
        let value = Arc::new(Column::new("value", 2));
        let builder = AggregateExprBuilder::new(udaf, vec![value])
            .schema(input_schema())
            .alias("bit");
        Other(Arc::new(builder.build().unwrap()))
    };
    let mut calls = vec![
        call("rows", CountStar, None, DataType::Int64),
        call("values", Count, Some(2), DataType::Int64),
        call("sum", Sum, Some(2), DataType::Int64),
        call("average", Avg, Some(2), DataType::Int64),
        call("average_price", Avg, Some(3), DataType::Float64),
        call("least_price", Min, Some(3), DataType::Float64),
        call("greatest_text", Max, Some(5), DataType::Utf8),
        call("average_cents", Avg, Some(4), DataType::Decimal128(38, 6)),
        call("greatest_cents", Max, Some(4), DataType::Decimal128(10, 2)),
        call("flagged_sum", Sum, Some(2), DataType::Int64),
        call("xor", bit(bit_xor_udaf()), Some(2), DataType::Int64),
        call("and", bit(bit_and_udaf()), Some(2), DataType::Int64),
    ];
    calls[9].filter = Some(6);
    calls
}

fn output_schema(calls: &[AggregateCall]) -> SchemaRef {
    let mut fields: Vec<FieldRef> = input_schema().fields().iter().cloned().collect();
    fields.extend(calls.iter().map(|call| call.output.clone()));
    Arc::new(Schema::new(fields))
}

fn operator(frame: OverFrame) -> OverAggregate {
    let calls = calls();
    let output = output_schema(&calls);
    let spec = OverAggregateSpec {
        partition: vec![0],
        time_column: 1,
        frame,
        calls,
    };
    OverAggregate::new(&spec, input_schema(), output).unwrap()
}

/// Rows in text, a line each, in the order given.
fn lines(rows: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> = rows
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
        .collect();
    let line = |row| {
        columns
            .iter()
            .map(|column| column.value(row).to_string())
            .collect::<Vec<_>>()
    };
    (0..rows.num_rows()).map(|row| line(row).join("|")).collect()
}

/// Runs rows through the operator; after each batch the watermark rises to just before the
/// earliest row that is still to come, if `rises` says so.
fn run(frame: OverFrame, rows: &[Row], random: &mut SmallRng, batch_rows_max: usize) -> RecordBatch {
    let mut operator = operator(frame);
    let mut out = Output::new();
    let mut start = 0;
    while start < rows.len() {
        let end = (start + random.random_range(1..=batch_rows_max)).min(rows.len());
        operator
            .process(0, Batch::append(batch_of(&rows[start..end]), 0), &mut out)
            .unwrap();
        start = end;
        if random.random_bool(0.7) {
            let earliest = rows[start..].iter().map(|row| row.time_ms).min();
            let watermark = earliest.map_or(WATERMARK_END, |earliest| earliest * 1_000 - 1);
            advance(&mut operator, watermark, &mut out);
        }
    }
    advance(&mut operator, WATERMARK_END, &mut out);
    assert_eq!(operator.statistics().late_rows, 0);
    let schema = output_schema(&calls());
    let batches: Vec<RecordBatch> = out.take().into_iter().map(|batch| batch.into_parts().0).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn advance(operator: &mut OverAggregate, watermark: i64, out: &mut Output) {
    let before = out.rows();
    let mut firing = operator.advance(watermark, out).unwrap();
    while firing == Firing::More {
        firing = operator.resume(out).unwrap();
    }
    let emitted = out.take();
    let mut rows = 0;
    for batch in emitted {
        rows += batch.len();
        let times = batch.column(1).as_primitive::<TimestampMillisecondType>();
        if rows > before {
            assert!(times.values().iter().all(|time| time * 1_000 <= watermark));
        }
        out.emit(batch);
    }
}

/// What the definition says for each row of `rows`, whose order within a partition is that of time.
fn model(frame: OverFrame, rows: &[Row]) -> RecordBatch {
    let mut expected: Vec<Vec<ArrayRef>> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let partition: Vec<usize> = (0..rows.len())
            .filter(|&other| rows[other].key == row.key)
            .collect();
        let place = partition.iter().position(|&other| other == at).unwrap();
        let inside: Vec<&Row> = partition
            .iter()
            .enumerate()
            .filter(|&(other_place, &other)| match frame {
                OverFrame::Rows(count) => {
                    other_place <= place
                        && count.is_none_or(|count| other_place as u64 + count >= place as u64)
                }
                OverFrame::Range(distance) => {
                    let age_us = (row.time_ms - rows[other].time_ms) * 1_000;
                    age_us >= 0 && distance.is_none_or(|distance| age_us <= distance)
                }
            })
            .map(|(_, &other)| &rows[other])
            .collect();
        expected.push(answer(&inside));
    }
    let mut columns = batch_of(rows).columns().to_vec();
    for call in 0..calls().len() {
        let parts: Vec<&dyn Array> = expected.iter().map(|row| row[call].as_ref()).collect();
        columns.push(arrow::compute::concat(&parts).unwrap());
    }
    RecordBatch::try_new(output_schema(&calls()), columns).unwrap()
}

fn answer(rows: &[&Row]) -> Vec<ArrayRef> {
    let integer = |value: Option<i64>| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let float = |value: Option<f64>| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
    let decimal = |value: Option<i128>, precision, scale| {
        let array = Decimal128Array::from(vec![value]);
        Arc::new(array.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
    };
    let values: Vec<i64> = rows.iter().filter_map(|row| row.value).collect();
    let prices: Vec<f64> = rows.iter().filter_map(|row| row.price).collect();
    let cents: Vec<i128> = rows.iter().filter_map(|row| row.cents).collect();
    let flagged: Vec<i64> = rows
        .iter()
        .filter(|row| row.flag == Some(true))
        .filter_map(|row| row.value)
        .collect();
    let sum = |values: &[i64]| (!values.is_empty()).then(|| values.iter().sum::<i64>());
    let average_cents = (!cents.is_empty()).then(|| {
        let (sum, count) = (cents.iter().sum::<i128>() * 10_000, cents.len() as i128);
        let (quotient, rest) = (sum / count, sum % count);
        quotient + if rest.abs() * 2 >= count { sum.signum() } else { 0 }
    });
    vec![
        integer(Some(rows.len() as i64)),
        integer(Some(values.len() as i64)),
        integer(sum(&values)),
        integer(sum(&values).map(|sum| sum / values.len() as i64)),
        float((!prices.is_empty()).then(|| prices.iter().sum::<f64>() / prices.len() as f64)),
        float(prices.iter().copied().min_by(f64::total_cmp)),
        Arc::new(StringArray::from(vec![
            rows.iter().filter_map(|row| row.text.as_deref()).max(),
        ])),
        decimal(average_cents, 38, 6),
        decimal(cents.iter().copied().max(), 10, 2),
        integer(sum(&flagged)),
        integer(values.iter().copied().reduce(|left, right| left ^ right)),
        integer(values.iter().copied().reduce(|left, right| left & right)),
    ]
}

fn random_row(random: &mut SmallRng, time_ms: i64) -> Row {
    let keys = [
        Some("ADA"),
        Some("BTC"),
        Some("a symbol that is too long to lie inline"),
        None,
        Some(""),
    ];
    // Sums of quarters are exact in any order.
    let price = random.random_range(-4_000..4_000_i64) as f64 / 4.0;
    Row {
        key: keys[random.random_range(0..keys.len())],
        time_ms,
        value: random.random_bool(0.9).then(|| random.random_range(-50..50)),
        price: random.random_bool(0.9).then_some(price),
        cents: random
            .random_bool(0.8)
            .then(|| random.random_range(-9_999..9_999)),
        text: random
            .random_bool(0.8)
            .then(|| format!("t{}", random.random_range(0..40))),
        flag: random.random_bool(0.9).then(|| random.random_bool(0.5)),
    }
}

const FRAMES: [OverFrame; 8] = [
    OverFrame::Rows(None),
    OverFrame::Rows(Some(0)),
    OverFrame::Rows(Some(3)),
    OverFrame::Rows(Some(40)),
    OverFrame::Range(None),
    OverFrame::Range(Some(0)),
    OverFrame::Range(Some(30_000)),
    OverFrame::Range(Some(500_000)),
];

/// Rows nearly in order of time: each at most a few places from where it belongs.
fn disordered(mut rows: Vec<Row>, random: &mut SmallRng) -> Vec<Row> {
    let mut places: BTreeMap<(i64, usize), Row> = BTreeMap::new();
    for (place, row) in rows.drain(..).enumerate() {
        places.insert((place as i64 + random.random_range(0..12), place), row);
    }
    places.into_values().collect()
}

#[test]
fn every_frame_and_call_gives_what_the_definition_says() {
    for (seed, frame) in (0..).zip(FRAMES) {
        let mut random = SmallRng::seed_from_u64(seed);
        let by_rows = matches!(frame, OverFrame::Rows(_));
        let mut time_ms = 1_000;
        let rows: Vec<Row> = (0..250)
            .map(|_| {
                // Frames by rows depend on the order of ties, which the model does not know.
                time_ms += random.random_range(i64::from(by_rows)..5);
                random_row(&mut random, time_ms)
            })
            .collect();
        let mut expected = lines(&model(frame, &rows));
        expected.sort();
        for batch_rows_max in [1, 7, 1_000] {
            let mixed = disordered(rows.clone(), &mut random);
            let mut found = lines(&run(frame, &mixed, &mut random, batch_rows_max));
            found.sort();
            assert_eq!(found, expected, "{frame:?}, batches of {batch_rows_max}");
        }
    }
}

#[test]
fn ties_are_answered_alike_however_rows_come_together() {
    for (seed, frame) in (100..).zip(FRAMES) {
        let mut random = SmallRng::seed_from_u64(seed);
        let rows: Vec<Row> = (0..400).map(|row| random_row(&mut random, row / 40)).collect();
        let mut first: Option<Vec<String>> = None;
        for batch_rows_max in [3, 50, 400] {
            let mixed = disordered(rows.clone(), &mut random);
            let mut found = lines(&run(frame, &mixed, &mut random, batch_rows_max));
            found.sort();
            assert_eq!(first.get_or_insert_with(|| found.clone()), &found, "{frame:?}");
        }
    }
}

#[test]
fn rows_come_out_in_order_of_event_time() {
    let mut random = SmallRng::seed_from_u64(7);
    let rows: Vec<Row> = (0..500).map(|row| random_row(&mut random, row)).collect();
    let mixed = disordered(rows, &mut random);
    let found = run(OverFrame::Rows(Some(5)), &mixed, &mut random, 20);
    let times = found.column(1).as_primitive::<TimestampMillisecondType>();
    assert!(times.values().is_sorted());
}

#[test]
fn late_rows_are_dropped_and_counted() {
    let mut random = SmallRng::seed_from_u64(8);
    let mut operator = operator(OverFrame::Rows(None));
    let mut out = Output::new();
    let rows: Vec<Row> = [10, 20, 30].map(|time| random_row(&mut random, time)).to_vec();
    operator
        .process(0, Batch::append(batch_of(&rows), 0), &mut out)
        .unwrap();
    assert_eq!(operator.advance(20_000, &mut out).unwrap(), Firing::Done);
    assert_eq!(out.rows(), 2, "the row at 30 ms waits");
    let rows: Vec<Row> = [20, 5, 21].map(|time| random_row(&mut random, time)).to_vec();
    operator
        .process(0, Batch::append(batch_of(&rows), 0), &mut out)
        .unwrap();
    assert_eq!(operator.statistics().late_rows, 2);
    assert_eq!(operator.advance(WATERMARK_END, &mut out).unwrap(), Firing::Done);
    assert_eq!(out.rows(), 4);
}

#[test]
fn a_firing_over_many_rows_pauses_between_quanta() {
    let mut random = SmallRng::seed_from_u64(9);
    let mut operator = operator(OverFrame::Rows(Some(2)));
    let mut out = Output::new();
    for start in 0..6 {
        let rows: Vec<Row> = (0..10_000)
            .map(|row| random_row(&mut random, row * 6 + start))
            .collect();
        operator
            .process(0, Batch::append(batch_of(&rows), 0), &mut out)
            .unwrap();
    }
    assert!(operator.statistics().state_bytes > 60_000 * 30);
    let mut quanta = 1;
    let mut firing = operator.advance(WATERMARK_END, &mut out).unwrap();
    while firing == Firing::More {
        let emitted: usize = out.take().iter().map(Batch::len).sum();
        assert!(emitted <= 40_000, "a quantum has {emitted} rows");
        quanta += 1;
        firing = operator.resume(&mut out).unwrap();
    }
    assert!(quanta >= 3, "{quanta} quanta");
    assert_eq!(operator.statistics().keys, 5);
}
