//! The window join against a nested loop over all rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion_expr::Operator as SqlOperator;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::batch::Batch;
use crate::operators::window_join::WindowJoin;
use crate::operators::{Firing, Operator, Output};
use crate::plan::{JoinKey, JoinKind, WindowJoinSpec};
use crate::time::WATERMARK_END;

/// (key, window end in ms, number).
type Row = (Option<&'static str>, i64, Option<i64>);

fn side_schema(nullable: bool) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, nullable),
        Field::new(
            "window_end",
            DataType::Timestamp(TimeUnit::Millisecond, None),
            false,
        ),
        Field::new("number", DataType::Int64, true),
    ]))
}

fn batch_of(rows: &[Row], nullable: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
        Arc::new(TimestampMillisecondArray::from_iter_values(
            rows.iter().map(|row| row.1),
        )),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
    ];
    Batch::append(RecordBatch::try_new(side_schema(nullable), columns).unwrap(), 0)
}

fn join(kind: JoinKind, equal: &[(usize, usize)], filtered: bool) -> WindowJoin {
    let (left, right) = (side_schema(true), side_schema(true));
    let fields: Vec<Field> = [&left, &right]
        .iter()
        .zip(["left", "right"])
        .flat_map(|(schema, side)| {
            let fields = schema.fields().iter();
            fields.map(move |field| {
                field
                    .as_ref()
                    .clone()
                    .with_name(format!("{side}_{}", field.name()))
                    .with_nullable(true)
            })
        })
        .take(if kind.is_left_only() { 3 } else { 6 })
        .collect();
    let number = |name: &str, index| Arc::new(Column::new(name, index));
    let at_least = BinaryExpr::new(
        number("left_number", 2),
        SqlOperator::GtEq,
        number("right_number", 5),
    );
    let key = |&(left, right): &(usize, usize)| JoinKey {
        left,
        right,
        null_safe: false,
    };
    let spec = WindowJoinSpec {
        kind,
        window_end: (1, 1),
        equal: equal.iter().map(key).collect(),
        filter: filtered.then(|| Arc::new(at_least) as _),
        tick_us: 1_000,
    };
    WindowJoin::new(&spec, left, right, Arc::new(Schema::new(fields))).unwrap()
}

fn advance(join: &mut WindowJoin, watermark: i64, out: &mut Output) -> usize {
    let mut quanta = 1;
    let mut firing = join.advance(watermark, out).unwrap();
    while firing == Firing::More {
        quanta += 1;
        firing = join.resume(out).unwrap();
    }
    quanta
}

/// (left number, right number) of every pair emitted.
fn pairs(out: &mut Output) -> Vec<(Option<i64>, Option<i64>)> {
    let mut pairs = Vec::new();
    for batch in out.take() {
        let left = batch.column(2).as_primitive::<Int64Type>();
        match batch.rows().columns().get(5) {
            Some(right) => pairs.extend(left.iter().zip(right.as_primitive::<Int64Type>())),
            None => pairs.extend(left.iter().map(|left| (left, None))),
        }
    }
    pairs
}

const KINDS: [JoinKind; 6] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
];

/// What a nested loop over all rows finds.
fn nested_loop(
    kind: JoinKind,
    sides: &[Vec<Row>; 2],
    matches: impl Fn(&Row, &Row) -> bool,
) -> Vec<(Option<i64>, Option<i64>)> {
    let mut found = Vec::new();
    let mut right_matched = vec![false; sides[1].len()];
    for left in &sides[0] {
        let mut is_matched = false;
        for (right, right_matched) in sides[1].iter().zip(&mut right_matched) {
            if matches(left, right) {
                is_matched = true;
                *right_matched = true;
                if !kind.is_left_only() {
                    found.push((left.2, right.2));
                }
            }
        }
        let alone = match kind {
            JoinKind::Semi => is_matched,
            JoinKind::Anti => !is_matched,
            kind => kind.preserves(0) && !is_matched,
        };
        if alone {
            found.push((left.2, None));
        }
    }
    if kind.preserves(1) {
        let alone = sides[1]
            .iter()
            .zip(&right_matched)
            .filter(|(_, matched)| !**matched);
        found.extend(alone.map(|(right, _)| (None, right.2)));
    }
    found
}

fn random_rows(random: &mut SmallRng, count: usize) -> Vec<Row> {
    let keys = [
        Some("ADA"),
        Some("a key that is too long to lie inline"),
        Some(""),
        None,
    ];
    let row = |_| {
        let end = random.random_range(1..=5) * 10;
        (
            keys[random.random_range(0..4)],
            end,
            random.random_bool(0.9).then(|| random.random_range(0..30)),
        )
    };
    (0..count).map(row).collect()
}

#[test]
fn the_join_is_what_a_nested_loop_finds() {
    for seed in 0..60 {
        let kind = KINDS[(seed % 6) as usize];
        let mut random = SmallRng::seed_from_u64(seed);
        let by_key = seed % 7 < 4;
        let filtered = seed % 5 != 0;
        let equal: &[(usize, usize)] = if by_key { &[(0, 0), (1, 1)] } else { &[(1, 1)] };
        let mut join = join(kind, equal, filtered);
        let sides = [0, 1].map(|side| {
            let count = random.random_range(0..(120 >> (side * 3)));
            random_rows(&mut random, count)
        });
        let mut expected = nested_loop(kind, &sides, |left, right| {
            let keys = !by_key || (left.0.is_some() && left.0 == right.0);
            let passes = !filtered || matches!((left.2, right.2), (Some(left), Some(right)) if left >= right);
            keys && passes && left.1 == right.1
        });
        let mut out = Output::new();
        for (input, rows) in sides.iter().enumerate() {
            let mut start = 0;
            while start < rows.len() {
                let end = (start + random.random_range(1..20)).min(rows.len());
                join.process(input, batch_of(&rows[start..end], true), &mut out)
                    .unwrap();
                start = end;
            }
        }
        assert!(out.is_empty(), "nothing is emitted before a window is complete");
        for watermark_ms in [9, 25, 39] {
            advance(&mut join, watermark_ms * 1_000, &mut out);
        }
        advance(&mut join, WATERMARK_END, &mut out);
        let mut found = pairs(&mut out);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "seed {seed}, {kind:?}");
        let statistics = join.statistics();
        assert_eq!(
            (statistics.keys, statistics.state_bytes, statistics.late_rows),
            (0, 0, 0)
        );
    }
}

#[test]
fn a_window_is_joined_one_tick_before_its_end() {
    let mut join = join(JoinKind::Inner, &[(0, 0), (1, 1)], false);
    let mut out = Output::new();
    for input in [0, 1] {
        join.process(input, batch_of(&[(Some("k"), 10, Some(1))], true), &mut out)
            .unwrap();
    }
    advance(&mut join, 8_999, &mut out);
    assert!(out.is_empty());
    advance(&mut join, 9_000, &mut out);
    assert_eq!(pairs(&mut out), [(Some(1), Some(1))]);
    join.process(0, batch_of(&[(Some("k"), 10, Some(1))], true), &mut out)
        .unwrap();
    assert_eq!(join.statistics().late_rows, 1, "its window is complete");
}

#[test]
fn many_matches_of_one_key_come_in_quanta() {
    let mut join = join(JoinKind::Inner, &[(0, 0), (1, 1)], false);
    let mut out = Output::new();
    let rows: Vec<Row> = (0..300).map(|number| (Some("k"), 10, Some(number))).collect();
    for (input, part) in [(0, &rows[..]), (1, &rows[..100]), (1, &rows[100..250])] {
        join.process(input, batch_of(part, true), &mut out).unwrap();
    }
    let quanta = advance(&mut join, WATERMARK_END, &mut out);
    assert_eq!(out.rows(), 300 * 250);
    assert!(quanta >= 4, "{quanta} quanta");
}
