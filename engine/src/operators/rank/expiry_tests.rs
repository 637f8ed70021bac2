//! Partitions with a time to live.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::batch::{Batch, Op};
use crate::operators::keep_first::KeepFirst;
use crate::operators::normalize::Normalize;
use crate::operators::rank::Rank;
use crate::operators::{Firing, Operator, Output};
use crate::plan::{NormalizeSpec, RankFunction, RankSpec, SortColumn};
use crate::sql::statement::Emit;

const SECOND_NS: u64 = 1_000_000_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("value", DataType::Int64, false),
    ]))
}

fn spec(keeps_first_by: Option<usize>) -> RankSpec {
    RankSpec {
        partition: vec![0],
        order: vec![SortColumn {
            column: 1,
            descending: keeps_first_by.is_none(),
            nulls_first: false,
        }],
        function: RankFunction::RowNumber,
        first: 1,
        last: 1,
        output_rank: false,
        window: None,
        keeps_first_by,
        emit: Emit::Default,
        input_retracts: false,
        ttl_us: Some(1_000_000),
    }
}

fn row(key: i64, value: i64) -> Batch {
    let columns = [key, value].map(|cell| Arc::new(Int64Array::from(vec![cell])) as ArrayRef);
    Batch::append(RecordBatch::try_new(schema(), columns.to_vec()).unwrap(), 0)
}

fn told(operator: &mut dyn Operator, now_ns: u64, batch: Batch) -> Vec<(Op, i64)> {
    let mut out = Output::new();
    out.set_arrival(now_ns);
    operator.process(0, batch, &mut out).unwrap();
    changes(&mut out)
}

fn changes(out: &mut Output) -> Vec<(Op, i64)> {
    let batches = out.take();
    let rows = batches.iter().flat_map(|batch| {
        let values = batch.column(1).as_primitive::<Int64Type>().clone();
        (0..batch.len()).map(move |row| (batch.op(row), values.value(row)))
    });
    rows.collect()
}

#[test]
fn a_top_n_forgets_a_partition_that_did_not_change() {
    let mut rank = Rank::new(&spec(None), schema(), schema()).unwrap();
    assert_eq!(told(&mut rank, 0, row(1, 5)), [(Op::Insert, 5)]);
    // A row that does not enter changes nothing, and keeps nothing alive.
    assert_eq!(told(&mut rank, SECOND_NS / 2, row(1, 4)), []);
    assert_eq!(told(&mut rank, SECOND_NS, row(1, 3)), [(Op::Insert, 3)]);
    for key in 2..2_000 {
        told(&mut rank, (key as u64) * SECOND_NS / 10, row(key, 1));
    }
    assert!(rank.statistics().keys < 300, "{:?}", rank.statistics());
}

#[test]
fn a_normalised_row_is_new_again_after_its_time() {
    let spec = NormalizeSpec {
        key: vec![0],
        ttl_us: Some(1_000_000),
    };
    let mut normalize = Normalize::new(&spec, schema());
    assert_eq!(told(&mut normalize, 0, row(1, 5)), [(Op::Insert, 5)]);
    // What is told twice is passed on, so that whoever keeps it knows that it lives.
    let again = [(Op::UpdateBefore, 5), (Op::UpdateAfter, 5)];
    assert_eq!(told(&mut normalize, SECOND_NS - 1, row(1, 5)), again);
    assert_eq!(
        told(&mut normalize, 2 * SECOND_NS - 1, row(1, 6)),
        [(Op::Insert, 6)]
    );
    for key in 2..2_000 {
        told(&mut normalize, (key as u64) * SECOND_NS / 10, row(key, 1));
    }
    assert!(normalize.statistics().keys < 300, "{:?}", normalize.statistics());
}

#[test]
fn a_key_that_waits_for_the_watermark_outlives_its_time() {
    use arrow::array::TimestampMillisecondArray;
    use arrow::datatypes::TimeUnit;
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
    ]));
    let row = |key: i64, time: i64| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![key])),
            Arc::new(TimestampMillisecondArray::from(vec![time])),
        ];
        Batch::append(RecordBatch::try_new(schema.clone(), columns).unwrap(), 0)
    };
    let mut keep_first = KeepFirst::new(&spec(Some(1)), schema.clone(), schema.clone());
    let mut out = Output::new();
    for key in 0..1_000 {
        out.set_arrival(key as u64 * SECOND_NS / 100);
        keep_first.process(0, row(key, 5_000 - key), &mut out).unwrap();
    }
    assert!(out.is_empty());
    assert_eq!(keep_first.advance(10_000_000, &mut out).unwrap(), Firing::Done);
    let emitted: usize = out.take().iter().map(Batch::len).sum();
    assert_eq!(emitted, 1_000, "none was forgotten while it waited");
    // Keys that are out go; the first of them comes out anew.
    for key in 1_000..2_000 {
        out.set_arrival(key as u64 * SECOND_NS / 10);
        keep_first.process(0, row(key, 20_000), &mut out).unwrap();
    }
    keep_first.process(0, row(0, 20_000), &mut out).unwrap();
    assert_eq!(keep_first.advance(30_000_000, &mut out).unwrap(), Firing::Done);
    let emitted: usize = out.take().iter().map(Batch::len).sum();
    assert_eq!(emitted, 1_001);
    assert!(
        keep_first.statistics().keys < 1_200,
        "{:?}",
        keep_first.statistics()
    );
}
