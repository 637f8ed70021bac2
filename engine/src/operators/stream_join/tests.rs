//! Stream joins against a nested loop over what is there after each batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion_expr::Operator as SqlOperator;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::batch::{Batch, Op};
use crate::operators::recording_check::{Event, check};
use crate::operators::stream_join::StreamJoin;
use crate::operators::{Firing, Operator, Output};
use crate::plan::{JoinInterval, JoinKey, JoinKind, StreamJoinSpec};
use crate::time::WATERMARK_END;

/// (key, time in ms, number).
type Row = (Option<&'static str>, i64, i64);
/// Rows of a folded output: left number, right number, and how often.
type Folded = BTreeMap<(Option<i64>, Option<i64>), i64>;

const KINDS: [JoinKind; 6] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
];

fn side_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("time", time, false),
        Field::new("number", DataType::Int64, true),
    ]))
}

fn output_schema(kind: JoinKind) -> SchemaRef {
    let fields = side_schema();
    let both = ["left", "right"].into_iter().flat_map(|side| {
        let fields = fields.fields().clone();
        (0..3).map(move |index| {
            let name = format!("{side}_{}", fields[index].name());
            fields[index].as_ref().clone().with_name(name).with_nullable(true)
        })
    });
    Arc::new(Schema::new(
        both.take(if kind.is_left_only() { 3 } else { 6 })
            .collect::<Vec<_>>(),
    ))
}

fn batch_of(rows: &[(Op, Row)], append: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(_, row)| row.0).collect::<StringArray>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(
            rows.iter().map(|(_, row)| row.1),
        )),
        Arc::new(rows.iter().map(|(_, row)| Some(row.2)).collect::<Int64Array>()),
    ];
    let batch = RecordBatch::try_new(side_schema(), columns).unwrap();
    match append {
        true => Batch::append(batch, 0),
        false => Batch::changes(
            batch,
            rows.iter().map(|(op, _)| Some(op.code())).collect::<Int8Array>(),
            0,
        ),
    }
}

fn spec(kind: JoinKind, null_safe: bool, filtered: bool, retracts: bool) -> StreamJoinSpec {
    let number = |name: &str, index| Arc::new(Column::new(name, index));
    let at_least = BinaryExpr::new(number("left", 2), SqlOperator::GtEq, number("right", 5));
    StreamJoinSpec {
        kind,
        equal: vec![JoinKey {
            left: 0,
            right: 0,
            null_safe,
        }],
        filter: filtered.then(|| Arc::new(at_least) as _),
        interval: None,
        ttl_us: [None, None],
        retracts: [retracts, retracts],
    }
}

fn fold(out: &mut Output, folded: &mut Folded) {
    for batch in out.take() {
        let left = batch.column(2).as_primitive::<Int64Type>().clone();
        let right = batch
            .rows()
            .columns()
            .get(5)
            .map(|column| column.as_primitive::<Int64Type>().clone());
        for row in 0..batch.len() {
            let value = |column: &Int64Array| column.iter().nth(row).flatten();
            let key = (value(&left), right.as_ref().and_then(value));
            let count = folded.entry(key).or_default();
            *count += if batch.op(row).is_addition() { 1 } else { -1 };
            if *count == 0 {
                folded.remove(&key);
            }
        }
    }
}

fn nested_loop(kind: JoinKind, sides: &[Vec<Row>; 2], matches: impl Fn(&Row, &Row) -> bool) -> Folded {
    let mut found = Folded::new();
    let mut add = |left: Option<i64>, right: Option<i64>| *found.entry((left, right)).or_default() += 1;
    for left in &sides[0] {
        let matching: Vec<&Row> = sides[1].iter().filter(|right| matches(left, right)).collect();
        if !kind.is_left_only() {
            matching.iter().for_each(|right| add(Some(left.2), Some(right.2)));
        }
        let alone = match kind {
            JoinKind::Semi => !matching.is_empty(),
            JoinKind::Anti => matching.is_empty(),
            kind => kind.preserves(0) && matching.is_empty(),
        };
        if alone {
            add(Some(left.2), None);
        }
    }
    if kind.preserves(1) {
        for right in &sides[1] {
            if !sides[0].iter().any(|left| matches(left, right)) {
                add(None, Some(right.2));
            }
        }
    }
    found
}

fn random_row(random: &mut SmallRng) -> Row {
    let keys = [
        Some("ADA"),
        Some("a key that is too long to lie inline"),
        Some(""),
        None,
    ];
    (
        keys[random.random_range(0..4)],
        random.random_range(0..100),
        random.random_range(0..12),
    )
}

#[test]
fn folding_a_regular_join_gives_what_a_nested_loop_finds() {
    for seed in 0..120 {
        let mut random = SmallRng::seed_from_u64(seed);
        let kind = KINDS[(seed % 6) as usize];
        let (null_safe, filtered, retracts) = (seed % 5 == 0, seed % 4 != 0, seed % 3 != 0);
        let spec = spec(kind, null_safe, filtered, retracts);
        let append_only = !spec.takes_back();
        let mut join = StreamJoin::new(
            &spec,
            side_schema(),
            side_schema(),
            output_schema(kind),
            append_only,
        )
        .unwrap();
        let mut sides: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let (mut out, mut folded) = (Output::new(), Folded::new());
        for _ in 0..30 {
            let input = random.random_range(0..2);
            let mut changes = Vec::new();
            for _ in 0..random.random_range(1..12) {
                let side = &mut sides[input];
                if retracts && !side.is_empty() && random.random_bool(0.4) {
                    let row = side.swap_remove(random.random_range(0..side.len()));
                    changes.push((Op::Delete, row));
                } else {
                    let row = random_row(&mut random);
                    side.push(row);
                    changes.push((Op::Insert, row));
                }
            }
            join.process(input, batch_of(&changes, !retracts), &mut out)
                .unwrap();
            fold(&mut out, &mut folded);
            let expected = nested_loop(kind, &sides, |left, right| {
                let equal = left.0 == right.0 && (null_safe || left.0.is_some());
                equal && (!filtered || left.2 >= right.2)
            });
            assert_eq!(folded, expected, "seed {seed}, {kind:?}");
        }
        assert!(
            join.statistics().keys as usize >= sides.iter().flatten().filter(|row| row.0.is_some()).count()
        );
    }
}

#[test]
fn an_interval_join_gives_what_a_nested_loop_finds_and_forgets_its_rows() {
    for seed in 0..120 {
        let mut random = SmallRng::seed_from_u64(seed);
        let kind = KINDS[(seed % 6) as usize];
        let (lower, upper) = [(-5, 5), (0, 10), (-20, -3), (4, 4)][(seed % 4) as usize];
        let time =
            |index| Arc::new(Column::new("time", index)) as Arc<dyn datafusion_physical_expr::PhysicalExpr>;
        // The condition itself is the filter's; the interval says when rows go.
        let within = within(time(1), time(4), lower, upper);
        let spec = StreamJoinSpec {
            filter: Some(within),
            interval: Some(JoinInterval {
                times: (1, 1),
                lower_us: lower * 1_000,
                upper_us: upper * 1_000,
            }),
            ..spec(kind, false, false, false)
        };
        let mut join =
            StreamJoin::new(&spec, side_schema(), side_schema(), output_schema(kind), true).unwrap();
        let mut sides: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let (mut out, mut folded) = (Output::new(), Folded::new());
        for step in 0..40 {
            let input = random.random_range(0..2);
            let rows: Vec<(Op, Row)> = (0..random.random_range(1..8))
                .map(|_| {
                    let (key, _, number) = random_row(&mut random);
                    (Op::Insert, (key, step * 10 + random.random_range(1..30), number))
                })
                .collect();
            sides[input].extend(rows.iter().map(|(_, row)| *row));
            join.process(input, batch_of(&rows, true), &mut out).unwrap();
            assert_eq!(join.advance(step * 10_000, &mut out).unwrap(), Firing::Done);
            fold(&mut out, &mut folded);
        }
        let held = join.statistics().keys;
        assert!(
            held < 60,
            "seed {seed}: {held} rows are held of {}",
            sides[0].len() + sides[1].len()
        );
        let _ = join.advance(WATERMARK_END, &mut out).unwrap();
        fold(&mut out, &mut folded);
        let expected = nested_loop(kind, &sides, |left, right| {
            left.0.is_some() && left.0 == right.0 && (lower..=upper).contains(&(left.1 - right.1))
        });
        assert_eq!(folded, expected, "seed {seed}, {kind:?}, {lower}..{upper}");
        assert_eq!(join.statistics().keys, 0);
    }
}

#[test]
fn rows_past_their_time_to_live_match_nothing() {
    let spec = StreamJoinSpec {
        ttl_us: [Some(1_000), None],
        ..spec(JoinKind::Inner, false, false, false)
    };
    let output = output_schema(JoinKind::Inner);
    let mut join = StreamJoin::new(&spec, side_schema(), side_schema(), output, true).unwrap();
    let mut out = Output::new();
    let mut put = |join: &mut StreamJoin, input: usize, at_us: u64| {
        out.set_arrival(at_us * 1_000);
        join.process(
            input,
            batch_of(&[(Op::Insert, (Some("ADA"), 0, 1))], true),
            &mut out,
        )
        .unwrap();
        out.take().iter().map(Batch::len).sum::<usize>()
    };
    assert_eq!(put(&mut join, 0, 0), 0);
    assert_eq!(put(&mut join, 1, 900), 1);
    assert_eq!(put(&mut join, 1, 1_900), 0, "the left row is forgotten");
    assert_eq!(put(&mut join, 0, 2_000), 2, "right rows are kept for ever");
}

/// `lower ≤ left − right ≤ upper` in milliseconds, over numbers cast from the times.
fn within(
    left: Arc<dyn datafusion_physical_expr::PhysicalExpr>,
    right: Arc<dyn datafusion_physical_expr::PhysicalExpr>,
    lower: i64,
    upper: i64,
) -> Arc<dyn datafusion_physical_expr::PhysicalExpr> {
    use datafusion_common::ScalarValue;
    use datafusion_physical_expr::expressions::{CastExpr, Literal};
    let number = |time| {
        Arc::new(CastExpr::new(time, DataType::Int64, None))
            as Arc<dyn datafusion_physical_expr::PhysicalExpr>
    };
    let bound = |value| Arc::new(Literal::new(ScalarValue::Int64(Some(value))));
    let distance = Arc::new(BinaryExpr::new(number(left), SqlOperator::Minus, number(right)));
    let low = Arc::new(BinaryExpr::new(distance.clone(), SqlOperator::GtEq, bound(lower)));
    let high = Arc::new(BinaryExpr::new(distance, SqlOperator::LtEq, bound(upper)));
    Arc::new(BinaryExpr::new(low, SqlOperator::And, high))
}

#[test]
fn a_key_with_many_rows_is_joined_in_parts() {
    const ROWS: i64 = 300;
    assert!((ROWS * ROWS) as usize > 4 * crate::limits::JOIN_PAIRS_MAX);
    let spec = spec(JoinKind::Inner, false, false, false);
    let output = output_schema(JoinKind::Inner);
    let mut join = StreamJoin::new(&spec, side_schema(), side_schema(), output, true).unwrap();
    let rows: Vec<(Op, Row)> = (0..ROWS)
        .map(|number| (Op::Insert, (Some("k"), 0, number)))
        .collect();
    let (mut out, mut folded) = (Output::new(), Folded::new());
    for input in 0..2 {
        join.process(input, batch_of(&rows, true), &mut out).unwrap();
    }
    let batches = out.take();
    assert!(
        batches
            .iter()
            .all(|batch| batch.len() <= crate::limits::BATCH_ROWS_MAX)
    );
    batches.into_iter().for_each(|batch| out.emit(batch));
    fold(&mut out, &mut folded);
    assert_eq!(folded.len(), (ROWS * ROWS) as usize);
    assert!(folded.values().all(|&count| count == 1));
}

#[test]
fn a_join_that_is_written_while_it_works_on_is_written_as_it_was() {
    for seed in 0..90 {
        let mut random = SmallRng::seed_from_u64(seed);
        let kind = KINDS[seed as usize % KINDS.len()];
        let retracts = seed % 3 == 1;
        let mut spec = spec(kind, false, seed % 2 == 0, retracts);
        match seed % 3 {
            0 => {
                spec.interval = Some(JoinInterval {
                    times: (1, 1),
                    lower_us: -20_000,
                    upper_us: 20_000,
                });
            }
            1 => {}
            _ => spec.ttl_us = [Some(30), Some(50)],
        }
        let append_only = kind == JoinKind::Inner && !retracts;
        let make = || -> Box<dyn Operator> {
            let (left, right, output) = (side_schema(), side_schema(), output_schema(kind));
            Box::new(StreamJoin::new(&spec, left, right, output, append_only).unwrap())
        };
        let mut live: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let mut events = Vec::new();
        for step in 0..120i64 {
            let input = random.random_range(0..2);
            let mut rows = Vec::new();
            for _ in 0..random.random_range(1..6) {
                let held = &mut live[input];
                if retracts && !held.is_empty() && random.random_bool(0.4) {
                    rows.push((Op::Delete, held.swap_remove(random.random_range(0..held.len()))));
                } else {
                    let (key, _, number) = random_row(&mut random);
                    let row = (key, step + random.random_range(0..5), number);
                    held.push(row);
                    rows.push((Op::Insert, row));
                }
            }
            let arrival_ns = step as u64 * 2_000;
            events.push(Event::Rows(input, batch_of(&rows, !retracts), arrival_ns));
            if random.random_bool(0.3) {
                events.push(Event::Watermark(step * 1_000 - 1));
            }
        }
        check([make(), make()], &events, &mut random);
    }
}
