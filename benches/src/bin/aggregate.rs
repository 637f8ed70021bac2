//! Hash aggregation: SUM and COUNT by a BIGINT key, at growing numbers of keys; with the changes of each
//! batch emitted; and the firing of a window.
//!
//! The ceiling of a keyed update is one cache miss a row; beside it stands the same sum into an array
//! that is indexed by the key itself, without hashing or comparing anything.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef, TimeUnit};
use benches::{Numbers, criterion, measure};
use engine::batch::Batch;
use engine::operators::group_aggregate::GroupAggregate;
use engine::operators::window_aggregate::WindowAggregate;
use engine::operators::{Firing, Operator, Output};
use engine::plan::{
    AggregateCall, AggregateFunction, GroupAggregateSpec, WindowAggregateSpec, WindowInput, WindowKind,
    WindowSpec,
};
use engine::sql::statement::Emit;
use engine::time::WATERMARK_END;

const BATCH_ROWS: usize = 8_192;
const ROWS: usize = 4 << 20;

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn input() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        field("key", DataType::Int64),
        field("value", DataType::Int64),
        field("ts", time),
    ]))
}

fn calls() -> Vec<AggregateCall> {
    let call = |function, arguments: &[usize], name| AggregateCall {
        function,
        arguments: arguments.to_vec(),
        distinct: false,
        filter: None,
        output: field(name, DataType::Int64),
    };
    vec![
        call(AggregateFunction::Sum, &[1], "total"),
        call(AggregateFunction::CountStar, &[], "count"),
    ]
}

fn batches(keys: u64) -> Vec<Batch> {
    let mut numbers = Numbers::new(42);
    let make = |_| {
        let key =
            Int64Array::from_iter_values((0..BATCH_ROWS).map(|_| ((numbers.draw() >> 20) % keys) as i64));
        let value = Int64Array::from_iter_values(0..BATCH_ROWS as i64);
        let time = TimestampMillisecondArray::from_value(0, BATCH_ROWS);
        let rows = RecordBatch::try_new(input(), vec![Arc::new(key), Arc::new(value), Arc::new(time)]);
        Batch::append(rows.expect("invariant: the columns fit the schema"), 0)
    };
    (0..ROWS / BATCH_ROWS).map(make).collect()
}

fn group_aggregate(emit: Emit) -> GroupAggregate {
    let spec = GroupAggregateSpec {
        keys: vec![0],
        calls: calls(),
        emit,
        input_is_partial: false,
        input_retracts: false,
        emit_update_before: true,
        ttl_us: None,
    };
    let output = vec![
        field("key", DataType::Int64),
        field("total", DataType::Int64),
        field("count", DataType::Int64),
    ];
    GroupAggregate::new(&spec, input(), Arc::new(Schema::new(output)), false)
        .expect("invariant: the aggregation is in scope")
}

fn window_aggregate() -> WindowAggregate {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let spec = WindowAggregateSpec {
        window: WindowInput::Assign(WindowSpec {
            kind: WindowKind::Tumble { size_us: 60_000_000 },
            offset_us: 0,
            time_column: 2,
            tick_us: 1_000,
        }),
        keys: vec![0],
        calls: calls(),
        emit: Emit::Default,
        input_is_partial: false,
        input_retracts: false,
        emit_update_before: false,
    };
    let mut output = vec![
        field("key", DataType::Int64),
        field("total", DataType::Int64),
        field("count", DataType::Int64),
    ];
    output.extend(["window_start", "window_end", "window_time"].map(|name| field(name, time.clone())));
    WindowAggregate::new(&spec, input(), Arc::new(Schema::new(output)))
        .expect("invariant: the aggregation is in scope")
}

fn feed(operator: &mut dyn Operator, batches: &[Batch], flush: bool) {
    let mut out = Output::new();
    for batch in batches {
        operator
            .process(0, batch.clone(), &mut out)
            .expect("invariant: sums fit");
        if flush {
            operator.flush(&mut out).expect("invariant: sums fit");
        }
        black_box(out.take());
    }
}

fn ceiling(sums: &mut [(i64, i64)], batches: &[Batch]) {
    for batch in batches {
        let keys = batch.column(0).as_primitive::<Int64Type>().values();
        let values = batch.column(1).as_primitive::<Int64Type>().values();
        for (&key, &value) in keys.iter().zip(values) {
            let (total, count) = &mut sums[key as usize];
            *total += value;
            *count += 1;
        }
    }
    black_box(sums);
}

/// A window over all rows, filled and fired.
fn fill_and_fire(batches: &[Batch]) {
    let mut operator = window_aggregate();
    feed(&mut operator, batches, false);
    let mut out = Output::new();
    let mut firing = operator
        .advance(WATERMARK_END, &mut out)
        .expect("invariant: sums fit");
    while firing == Firing::More {
        black_box(out.take());
        firing = operator.resume(&mut out).expect("invariant: sums fit");
    }
    black_box(out.take());
}

fn main() {
    let mut criterion = criterion();
    for (keys, name) in [
        (1_000, "1 K keys"),
        (100_000, "100 K keys"),
        (1_000_000, "1 M keys"),
        (10_000_000, "10 M keys"),
    ] {
        let mut group = criterion.benchmark_group(name);
        let batches = batches(keys);
        let mut sums = vec![(0, 0); keys as usize];
        measure(&mut group, "ceiling: array by key", ROWS, || {
            ceiling(&mut sums, &batches)
        });
        // The state is warm: its keys are known before the clock starts.
        let mut operator = group_aggregate(Emit::Final);
        feed(&mut operator, &batches, false);
        measure(&mut group, "SUM and COUNT", ROWS, || {
            feed(&mut operator, &batches, false)
        });
        let mut operator = group_aggregate(Emit::Changes);
        feed(&mut operator, &batches, true);
        measure(&mut group, "changes of each batch emitted", ROWS, || {
            feed(&mut operator, &batches, true)
        });
        measure(&mut group, "a window filled and fired", ROWS, || {
            fill_and_fire(&batches)
        });
        group.finish();
    }
    criterion.final_summary();
}
