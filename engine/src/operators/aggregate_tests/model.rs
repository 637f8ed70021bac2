//! The model: rows as plain values, aggregates by their definition, outputs as text.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int8Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use datafusion_functions_aggregate::stddev::stddev_pop_udaf;
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::col;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::batch::{Batch, Op};
use crate::plan::{AggregateCall, AggregateFunction};

/// Columns of the input, by index.
pub const V: usize = 3;
pub const F: usize = 4;
pub const D: usize = 5;
pub const T: usize = 6;
pub const KEEP: usize = 7;
pub const TIME: usize = 8;

/// Key columns to try: none, each kind, packed pairs, and more words than are packed.
pub const KEYS: [&[usize]; 10] = [
    &[],
    &[0],
    &[1],
    &[2],
    &[F],
    &[D],
    &[0, 1],
    &[1, 2],
    &[0, 2, TIME],
    &[1, T, 1, T, 0],
];

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub number: Option<i64>,
    pub name: Option<String>,
    pub small: Option<i32>,
    pub v: Option<i64>,
    pub f: Option<f64>,
    pub d: Option<i128>,
    pub t: Option<String>,
    pub keep: Option<bool>,
    pub time_ms: i64,
    pub op: Op,
}

pub fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("number", DataType::Int64),
        field("name", DataType::Utf8),
        field("small", DataType::Int32),
        field("v", DataType::Int64),
        field("f", DataType::Float64),
        field("d", DataType::Decimal128(10, 2)),
        field("t", DataType::Utf8),
        field("keep", DataType::Boolean),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]))
}

pub fn random(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

fn maybe<T>(random: &mut SmallRng, value: T) -> Option<T> {
    random.random_bool(0.9).then_some(value)
}

pub fn random_row(random: &mut SmallRng, time_ms: i64) -> Row {
    let text = |random: &mut SmallRng| match random.random_range(0..6) {
        0 => String::new(),
        1 => "a text that is far longer than fifteen bytes".to_string(),
        2 => "exactly 15 byte".to_string(),
        other => format!("s{other}"),
    };
    let (number, small) = (random.random_range(-3..4), random.random_range(-2..3));
    let (name, t) = (text(random), text(random));
    Row {
        number: maybe(random, number),
        name: maybe(random, name),
        small: maybe(random, small),
        v: random.random_bool(0.7).then_some(number * 7 + i64::from(small)),
        f: random.random_bool(0.7).then_some(f64::from(small) * 1.1),
        d: random.random_bool(0.7).then_some(i128::from(small) * 125 + 1),
        t: maybe(random, t),
        keep: maybe(random, number > 0),
        time_ms,
        op: Op::Insert,
    }
}

/// Random rows; with `retracts`, some take back an earlier row.
pub fn random_rows(random: &mut SmallRng, count: usize, retracts: bool) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut live: Vec<Row> = Vec::new();
    for _ in 0..count {
        if retracts && !live.is_empty() && random.random_bool(0.45) {
            let mut row = live.swap_remove(random.random_range(0..live.len()));
            row.op = if random.random_bool(0.5) {
                Op::Delete
            } else {
                Op::UpdateBefore
            };
            rows.push(row);
        } else {
            let time_ms = random.random_range(0..5);
            let row = random_row(random, time_ms);
            live.push(row.clone());
            rows.push(row);
        }
    }
    rows
}

pub fn batch(rows: &[Row], has_ops: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.number).collect::<Int64Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.name.as_deref())
                .collect::<StringArray>(),
        ),
        Arc::new(rows.iter().map(|row| row.small).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.v).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.f).collect::<Float64Array>()),
        Arc::new(
            rows.iter()
                .map(|row| row.d)
                .collect::<Decimal128Array>()
                .with_precision_and_scale(10, 2)
                .unwrap(),
        ),
        Arc::new(rows.iter().map(|row| row.t.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.keep).collect::<BooleanArray>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(
            rows.iter().map(|row| row.time_ms),
        )),
    ];
    let ops = has_ops.then(|| rows.iter().map(|row| Some(row.op.code())).collect::<Int8Array>());
    Batch::new(RecordBatch::try_new(schema(), columns).unwrap(), ops, 0)
}

/// Cuts rows into batches of random length, some of them slices of a larger one.
pub fn cut(random: &mut SmallRng, rows: &[Row], has_ops: bool) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut rest = rows;
    while !rest.is_empty() {
        let count = random.random_range(1..=rest.len().min(70));
        let (head, tail) = rest.split_at(count);
        let whole = batch(head, has_ops);
        let half = count / 2;
        if half > 0 && random.random_bool(0.5) {
            batches.push(whole.slice(0, half));
            batches.push(whole.slice(half, count - half));
        } else {
            batches.push(whole);
        }
        rest = tail;
    }
    batches
}

fn call(
    function: AggregateFunction,
    argument: Option<usize>,
    filter: Option<usize>,
    distinct: bool,
    data_type: DataType,
) -> AggregateCall {
    let name = format!("{function:?} {argument:?} {filter:?} {distinct}");
    let name = name.chars().take(60).collect::<String>();
    AggregateCall {
        function,
        arguments: argument.into_iter().collect(),
        distinct,
        filter,
        output: Arc::new(Field::new(name, data_type, true)),
    }
}

/// Every call of the closed set without DISTINCT.
pub fn plain_calls() -> Vec<AggregateCall> {
    use AggregateFunction::{Avg, Count, CountStar, Max, Min, Sum};
    use DataType::{Decimal128, Float64, Int64, Utf8};
    let time = schema().field(TIME).data_type().clone();
    vec![
        call(CountStar, None, None, false, Int64),
        call(Count, Some(V), None, false, Int64),
        call(Count, Some(TIME), Some(KEEP), false, Int64),
        call(Sum, Some(V), None, false, Int64),
        call(Sum, Some(F), None, false, Float64),
        call(Sum, Some(D), None, false, Decimal128(38, 2)),
        call(Sum, Some(V), Some(KEEP), false, Int64),
        call(Avg, Some(V), None, false, Int64),
        call(Avg, Some(F), None, false, Float64),
        call(Avg, Some(D), None, false, Decimal128(38, 6)),
        call(Min, Some(V), None, false, Int64),
        call(Max, Some(V), Some(KEEP), false, Int64),
        call(Min, Some(F), None, false, Float64),
        call(Max, Some(F), None, false, Float64),
        call(Max, Some(D), None, false, Decimal128(10, 2)),
        call(Min, Some(T), None, false, Utf8),
        call(Max, Some(T), None, false, Utf8),
        call(Max, Some(TIME), None, false, time),
    ]
}

/// Calls whose state can be taken back.
pub fn invertible_calls() -> Vec<AggregateCall> {
    let mut calls = plain_calls();
    calls.retain(|call| {
        let is_extreme = matches!(call.function, AggregateFunction::Min | AggregateFunction::Max);
        !is_extreme && call.arguments != [F]
    });
    calls
}

/// Calls that run in one phase only: DISTINCT, and functions outside the closed set. (Under
/// retraction DataFusion's standard deviation drifts; its SUM is exact.)
pub fn rare_calls(retracts: bool) -> Vec<AggregateCall> {
    use AggregateFunction::{Avg, Count, Sum};
    let other = |function, argument: &str| {
        let builder = AggregateExprBuilder::new(function, vec![col(argument, &schema()).unwrap()]);
        let built = builder.schema(schema()).alias("other").build().unwrap();
        AggregateFunction::Other(Arc::new(built))
    };
    let other = if retracts {
        call(
            other(sum_udaf(), "v"),
            Some(V),
            Some(KEEP),
            false,
            DataType::Int64,
        )
    } else {
        call(
            other(stddev_pop_udaf(), "f"),
            Some(F),
            Some(KEEP),
            false,
            DataType::Float64,
        )
    };
    let mut calls = vec![
        call(Count, Some(V), None, true, DataType::Int64),
        call(Count, Some(V), Some(KEEP), true, DataType::Int64),
        call(Sum, Some(V), Some(KEEP), true, DataType::Int64),
        call(Avg, Some(V), None, true, DataType::Int64),
        call(Count, Some(T), None, true, DataType::Int64),
        call(Count, Some(V), None, true, DataType::Int64),
        other,
    ];
    calls[5].arguments = vec![V, T];
    calls
}

/// The columns of an aggregate's output: keys, calls, then `more`.
pub fn output_schema(keys: &[usize], calls: &[AggregateCall], more: &[FieldRef]) -> SchemaRef {
    let keys = keys.iter().map(|&key| schema().fields()[key].clone());
    let calls = calls.iter().map(|call| call.output.clone());
    Arc::new(Schema::new(
        keys.chain(calls).chain(more.iter().cloned()).collect::<Vec<_>>(),
    ))
}

/// A cell as text; floats with 12 significant digits.
pub fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "NULL".to_string();
    }
    match column.data_type() {
        DataType::Float64 => float_text(column.as_primitive::<Float64Type>().value(row)),
        _ => array_value_to_string(column, row).unwrap(),
    }
}

fn float_text(value: f64) -> String {
    // What is left of values that cancel out is not a significant digit.
    if value.abs() < 1e-7 {
        "0".to_string()
    } else {
        format!("{value:.11e}")
    }
}

/// Each row of a batch as texts.
pub fn texts(rows: &RecordBatch) -> Vec<Vec<String>> {
    (0..rows.num_rows())
        .map(|row| rows.columns().iter().map(|column| cell(column, row)).collect())
        .collect()
}

/// The rows left after retractions, in the order they came.
pub fn integrated(rows: &[Row]) -> Vec<Row> {
    let mut live: Vec<Row> = Vec::new();
    for row in rows {
        if row.op.is_addition() {
            live.push(row.clone());
        } else {
            let same = |other: &Row| {
                Row {
                    op: row.op,
                    ..other.clone()
                } == *row
            };
            live.remove(live.iter().position(same).unwrap());
        }
    }
    live
}

/// The key of a row, as texts.
pub fn key_of(row: &Row, keys: &[usize]) -> Vec<String> {
    let batch = batch(std::slice::from_ref(row), false);
    keys.iter().map(|&key| cell(batch.column(key), 0)).collect()
}

/// What `call` gives over `rows`, by its definition.
pub fn answer(call: &AggregateCall, rows: &[Row]) -> String {
    let is_met = |row: &&Row| {
        let known = |column: &usize| match *column {
            V => row.v.is_some(),
            F => row.f.is_some(),
            D => row.d.is_some(),
            T => row.t.is_some(),
            _ => true,
        };
        call.filter.is_none_or(|_| row.keep == Some(true)) && call.arguments.iter().all(known)
    };
    let mut rows: Vec<&Row> = rows.iter().filter(is_met).collect();
    if call.distinct {
        let mut met = BTreeSet::new();
        let value = |row: &Row| (row.v, call.arguments.contains(&T).then(|| row.t.clone()));
        let value = |row: &Row| (call.arguments.contains(&V).then(|| value(row).0), value(row).1);
        rows.retain(|row| met.insert(value(row)));
    }
    let Some(&argument) = call.arguments.first() else {
        return rows.len().to_string();
    };
    if matches!(call.function, AggregateFunction::Count) {
        return rows.len().to_string();
    }
    if rows.is_empty() {
        return "NULL".to_string();
    }
    match argument {
        V => integer_answer(call, rows.iter().filter_map(|row| row.v).collect()),
        F => float_answer(call, rows.iter().filter_map(|row| row.f).collect()),
        D => decimal_answer(call, rows.iter().filter_map(|row| row.d).collect()),
        T => {
            let texts = rows.iter().filter_map(|row| row.t.clone());
            let is_min = matches!(call.function, AggregateFunction::Min);
            if is_min { texts.min() } else { texts.max() }.unwrap()
        }
        _ => {
            let latest = rows.iter().map(|row| row.time_ms).max().unwrap();
            cell(
                &(Arc::new(TimestampMillisecondArray::from(vec![latest])) as ArrayRef),
                0,
            )
        }
    }
}

fn integer_answer(call: &AggregateCall, values: Vec<i64>) -> String {
    let sum: i64 = values.iter().sum();
    match call.function {
        AggregateFunction::Sum | AggregateFunction::Other(_) => sum,
        AggregateFunction::Avg => sum / values.len() as i64,
        AggregateFunction::Min => *values.iter().min().unwrap(),
        _ => *values.iter().max().unwrap(),
    }
    .to_string()
}

fn float_answer(call: &AggregateCall, values: Vec<f64>) -> String {
    let (sum, count) = (values.iter().sum::<f64>(), values.len() as f64);
    float_text(match call.function {
        AggregateFunction::Sum => sum,
        AggregateFunction::Avg => sum / count,
        AggregateFunction::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        AggregateFunction::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        _ => {
            let mean = sum / count;
            let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            (square / count).sqrt()
        }
    })
}

fn decimal_answer(call: &AggregateCall, values: Vec<i128>) -> String {
    let sum: i128 = values.iter().sum();
    let (value, scale) = match call.function {
        AggregateFunction::Sum => (sum, 2),
        AggregateFunction::Avg => {
            let exact = sum as f64 * 10_000.0 / values.len() as f64;
            (exact.round() as i128, 6)
        }
        _ => (*values.iter().max().unwrap(), 2),
    };
    let array = Decimal128Array::from(vec![value])
        .with_precision_and_scale(38, scale)
        .unwrap();
    cell(&(Arc::new(array) as ArrayRef), 0)
}
