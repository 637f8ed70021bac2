//! Snapshots of aggregations that are written while they work on; see `recording_check`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use rand::Rng;
use rand::rngs::SmallRng;

use super::model::{
    KEYS, Row, TIME, batch, output_schema, plain_calls, random, random_row, random_rows, rare_calls, schema,
};
use crate::limits::RECORDED_GROUPS_MAX;
use crate::operators::Operator;
use crate::operators::group_aggregate::GroupAggregate;
use crate::operators::recording_check::{Event, check};
use crate::operators::window_aggregate::WindowAggregate;
use crate::plan::{
    AggregateCall, GroupAggregateSpec, WindowAggregateSpec, WindowInput, WindowKind, WindowSpec,
};
use crate::sql::statement::Emit;

fn group_aggregate(keys: &[usize], calls: &[AggregateCall], retracts: bool, emit: Emit) -> Box<dyn Operator> {
    let spec = GroupAggregateSpec {
        keys: keys.to_vec(),
        calls: calls.to_vec(),
        emit,
        input_is_partial: false,
        input_retracts: retracts,
        emit_update_before: true,
        ttl_us: None,
    };
    Box::new(GroupAggregate::new(&spec, schema(), output_schema(keys, calls, &[]), true).unwrap())
}

fn window_aggregate(kind: WindowKind, keys: &[usize], calls: &[AggregateCall]) -> Box<dyn Operator> {
    let spec = WindowAggregateSpec {
        window: WindowInput::Assign(WindowSpec {
            kind,
            offset_us: 0,
            time_column: TIME,
            tick_us: 1_000,
        }),
        keys: keys.to_vec(),
        calls: calls.to_vec(),
        emit: Emit::Default,
        input_is_partial: false,
        input_retracts: false,
        emit_update_before: false,
    };
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let bound = |name: &str| -> FieldRef { Arc::new(Field::new(name, time.clone(), true)) };
    let bounds = ["window_start", "window_end", "window_time"].map(bound);
    let output = output_schema(keys, calls, &bounds);
    Box::new(WindowAggregate::new(&spec, schema(), output).unwrap())
}

/// Rows in batches of that length, with watermarks between where some are wanted.
fn events(rows: &[Row], length: usize, has_ops: bool, watermarks: Option<&mut SmallRng>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut watermarks = watermarks;
    for (number, rows) in (0..).zip(rows.chunks(length)) {
        events.push(Event::Rows(0, batch(rows, has_ops), 0));
        if let Some(random) = &mut watermarks
            && random.random_bool(0.4)
        {
            events.push(Event::Watermark(number * 1_000));
        }
    }
    events
}

#[test]
fn a_snapshot_written_between_rows_is_the_one_written_at_once() {
    for seed in 0..60 {
        let mut random = random(seed);
        let retracts = seed % 2 == 1;
        let keys = KEYS[seed as usize % KEYS.len()];
        let calls = match seed % 4 {
            0 => rare_calls(false),
            _ => plain_calls(),
        };
        let emit = if seed % 5 == 0 { Emit::Final } else { Emit::Changes };
        let make = || group_aggregate(keys, &calls, retracts, emit);
        let rows = random_rows(&mut random, 400, retracts);
        let events = events(&rows, 7, retracts, None);
        check([make(), make()], &events, &mut random);
    }
}

#[test]
fn windows_that_fire_before_they_are_written_are_in_the_snapshot() {
    let kinds = [
        WindowKind::Tumble { size_us: 7_000 },
        WindowKind::Hop {
            size_us: 6_000,
            slide_us: 2_000,
        },
        WindowKind::Hop {
            size_us: 20_000,
            slide_us: 1_000,
        },
        WindowKind::Cumulate {
            size_us: 9_000,
            step_us: 3_000,
        },
    ];
    for seed in 0..60 {
        let mut random = random(seed);
        let keys = KEYS[seed as usize % KEYS.len()];
        let calls = match seed % 4 {
            0 => rare_calls(false),
            _ => plain_calls(),
        };
        let kind = kinds[(seed / 3) as usize % kinds.len()];
        let make = || window_aggregate(kind, keys, &calls);
        let rows: Vec<Row> = (0..400)
            .map(|row| {
                let early = random.random_range(0..5);
                random_row(&mut random, row / 7 + early)
            })
            .collect();
        let events = events(&rows, 7, false, Some(&mut random));
        check([make(), make()], &events, &mut random);
    }
}

#[test]
fn a_state_that_changes_while_it_is_written_is_written_as_it_was() {
    let mut random = random(1);
    // All keys come; then those that came first are left alone.
    let chunk = RECORDED_GROUPS_MAX as i64;
    let mut rows = |keys: std::ops::Range<i64>, count: usize| -> Vec<Row> {
        let row = |_| Row {
            number: Some(random.random_range(keys.clone())),
            ..random_row(&mut random, 0)
        };
        (0..count).map(row).collect()
    };
    let rows = [
        rows(0..chunk, 20_000),
        rows(0..3 * chunk, 20_000),
        rows(2 * chunk..3 * chunk, 60_000),
    ]
    .concat();
    let calls = &plain_calls()[..3];
    let make = || group_aggregate(&[0], calls, false, Emit::Changes);
    let events = events(&rows, 1_000, false, None);
    let (quanta, last) = check([make(), make()], &events, &mut super::model::random(1));
    assert!(quanta >= 3, "written in {quanta} quanta");
    assert!(last.kept >= 1, "chunks that did not change are kept");
    assert!(
        last.rows < 2 * RECORDED_GROUPS_MAX,
        "{} rows were written again",
        last.rows
    );
}
