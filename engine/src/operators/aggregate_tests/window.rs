//! Window aggregation: every window is the batch answer over the rows that came before it closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use rand::Rng;

use super::model::*;
use crate::batch::{Batch, Op};
use crate::operators::local_window_aggregate::{LocalWindowAggregate, local_window_schema};
use crate::operators::window_aggregate::WindowAggregate;
use crate::operators::{Firing, Operator, Output};
use crate::plan::{AggregateCall, WindowAggregateSpec, WindowInput, WindowKind, WindowSpec};
use crate::sql::statement::Emit;
use crate::time::{WATERMARK_END, WATERMARK_NONE};

const TICK_US: i64 = 1_000;

fn bounds() -> Vec<FieldRef> {
    let data_type = DataType::Timestamp(TimeUnit::Millisecond, None);
    let field = |name: &&str| Arc::new(Field::new(*name, data_type.clone(), false));
    ["window_start", "window_end", "window_time"]
        .iter()
        .map(field)
        .collect()
}

fn ms(kind: WindowKind) -> WindowKind {
    match kind {
        WindowKind::Tumble { size_us } => WindowKind::Tumble {
            size_us: size_us * 1000,
        },
        WindowKind::Hop { size_us, slide_us } => WindowKind::Hop {
            size_us: size_us * 1000,
            slide_us: slide_us * 1000,
        },
        WindowKind::Cumulate { size_us, step_us } => WindowKind::Cumulate {
            size_us: size_us * 1000,
            step_us: step_us * 1000,
        },
        WindowKind::Session { .. } => unreachable!("sessions are assigned before"),
    }
}

/// Windows (start, end) in milliseconds that hold `time`, by their definition.
fn windows_of(kind: WindowKind, offset: i64, time: i64) -> Vec<(i64, i64)> {
    let mut windows = Vec::new();
    for k in -100..300 {
        match kind {
            WindowKind::Tumble { size_us } => {
                windows.push((offset + k * size_us, offset + (k + 1) * size_us))
            }
            WindowKind::Hop { size_us, slide_us } => {
                windows.push((offset + k * slide_us, offset + k * slide_us + size_us));
            }
            WindowKind::Cumulate { size_us, step_us } => {
                let start = offset + k * size_us;
                windows.extend((1..=size_us / step_us).map(|step| (start, start + step * step_us)));
            }
            WindowKind::Session { .. } => unreachable!("sessions are assigned before"),
        }
    }
    windows.retain(|&(start, end)| start <= time && time < end);
    windows
}

struct Run {
    kind: WindowKind,
    offset: i64,
    emit: Emit,
    two_phase: bool,
    retracts: bool,
}

/// What came out, and the late rows counted.
struct Outcome {
    batches: Vec<Batch>,
    expected: BTreeSet<Vec<String>>,
    late: u64,
    expected_late: u64,
    /// Pairs of a row and a window that it fell into in time.
    folded: u64,
}

fn text_of_ms(time: i64) -> String {
    let column: arrow::array::ArrayRef = Arc::new(arrow::array::TimestampMillisecondArray::from(vec![time]));
    cell(&column, 0)
}

/// Runs random rows that are out of order by up to 12 ms, with random watermarks between.
fn run(seed: u64, keys: &[usize], calls: &[AggregateCall], run: &Run) -> Outcome {
    let mut random = random(seed);
    let mut spec = WindowAggregateSpec {
        window: WindowInput::Assign(WindowSpec {
            kind: ms(run.kind),
            offset_us: run.offset * 1000,
            time_column: TIME,
            tick_us: TICK_US,
        }),
        keys: keys.to_vec(),
        calls: calls.to_vec(),
        emit: run.emit,
        input_is_partial: false,
        input_retracts: run.retracts,
        emit_update_before: true,
    };
    let mut local = run.two_phase.then(|| {
        let partial = local_window_schema(&spec, &schema()).unwrap();
        (
            LocalWindowAggregate::new(&spec, schema(), partial.clone()).unwrap(),
            partial,
        )
    });
    spec.input_is_partial = run.two_phase;
    let input = local.as_ref().map_or(schema(), |(_, partial)| partial.clone());
    let mut owner = WindowAggregate::new(&spec, input, output_schema(keys, calls, &bounds())).unwrap();
    let mut out = Output::new();
    let mut windows = BTreeMap::<(i64, i64), BTreeMap<Vec<String>, Vec<Row>>>::new();
    let (mut watermark_ms, mut expected_late, mut folded) = (i64::MIN / 2000, 0, 0);
    assert!(watermark_ms * 1000 > WATERMARK_NONE);
    let mut now = 0;
    for _ in 0..40 {
        let rows: Vec<Row> = (0..random.random_range(0..25))
            .map(|_| {
                now += random.random_range(0..2) * random.random_range(0..2);
                let time = now - random.random_range(0..6) * random.random_range(0..3);
                random_row(&mut random, time)
            })
            .collect();
        let rows = if run.retracts {
            with_retractions(&mut random, rows)
        } else {
            rows
        };
        for row in &rows {
            let all = windows_of(run.kind, run.offset, row.time_ms);
            let open = all.iter().filter(|&&(_, end)| end - 1 > watermark_ms);
            expected_late += u64::from(!all.is_empty() && open.clone().count() == 0);
            for &window in open {
                folded += 1;
                windows
                    .entry(window)
                    .or_default()
                    .entry(key_of(row, keys))
                    .or_default()
                    .push(row.clone());
            }
        }
        for batch in cut(&mut random, &rows, run.retracts) {
            match &mut local {
                Some((local, _)) => {
                    let mut partial = Output::new();
                    local.process(0, batch, &mut partial).unwrap();
                    feed(&mut owner, partial, &mut out);
                }
                None => owner.process(0, batch, &mut out).unwrap(),
            }
            if random.random_bool(0.3) {
                owner.flush(&mut out).unwrap();
            }
        }
        if random.random_bool(0.5) {
            watermark_ms = watermark_ms.max(now - random.random_range(0..9));
            advance(&mut local, &mut owner, watermark_ms * 1000, &mut out);
        } else if let Some((local, _)) = &mut local {
            // A barrier: the local phase must hold nothing behind it.
            let mut partial = Output::new();
            local.flush(&mut partial).unwrap();
            assert_eq!(local.statistics().keys, 0);
            feed(&mut owner, partial, &mut out);
        }
    }
    advance(&mut local, &mut owner, WATERMARK_END, &mut out);
    let mut expected = BTreeSet::new();
    for ((start, end), groups) in windows {
        for (mut texts, rows) in groups {
            let rows = integrated(&rows);
            if rows.is_empty() {
                continue;
            }
            texts.extend(calls.iter().map(|call| answer(call, &rows)));
            texts.extend([start, end, end - 1].map(text_of_ms));
            assert!(expected.insert(texts));
        }
    }
    Outcome {
        batches: out.take(),
        expected,
        late: owner.statistics().late_rows,
        expected_late,
        folded,
    }
}

/// Some rows are taken back at once.
fn with_retractions(random: &mut rand::rngs::SmallRng, rows: Vec<Row>) -> Vec<Row> {
    let mut all = Vec::new();
    for row in rows {
        all.push(row.clone());
        if random.random_bool(0.4) {
            all.push(Row {
                op: Op::Delete,
                ..row
            });
        }
    }
    all
}

fn feed(owner: &mut WindowAggregate, mut partial: Output, out: &mut Output) {
    for batch in partial.take() {
        owner.process(0, batch, out).unwrap();
    }
}

fn advance(
    local: &mut Option<(LocalWindowAggregate, arrow::datatypes::SchemaRef)>,
    owner: &mut WindowAggregate,
    watermark: i64,
    out: &mut Output,
) {
    if let Some((local, _)) = local {
        let mut partial = Output::new();
        assert_eq!(local.advance(watermark, &mut partial).unwrap(), Firing::Done);
        feed(owner, partial, out);
    }
    let mut firing = owner.advance(watermark, out).unwrap();
    while firing == Firing::More {
        firing = owner.resume(out).unwrap();
    }
}

fn check(seed: u64, keys: &[usize], calls: &[AggregateCall], settings: &Run) {
    let outcome = run(seed, keys, calls, settings);
    let mut found = BTreeSet::new();
    let mut last_end = String::new();
    for batch in &outcome.batches {
        for (row, texts) in texts(batch.rows()).into_iter().enumerate() {
            if batch.op(row).is_addition() {
                let end = texts[texts.len() - 2].clone();
                if batch.ops().is_none() {
                    assert!(end >= last_end, "windows fire in order");
                    last_end = end;
                }
                assert!(found.insert(texts), "a row is emitted twice");
            } else {
                assert!(
                    found.remove(&texts),
                    "a row is taken back that was not said: {texts:?}"
                );
            }
        }
    }
    let kind = settings.kind;
    assert_eq!(found, outcome.expected, "seed {seed}, {kind:?}, keys {keys:?}");
    if !settings.two_phase {
        assert_eq!(
            outcome.late, outcome.expected_late,
            "late rows, seed {seed}, {kind:?}"
        );
    }
}

const KINDS: [WindowKind; 8] = [
    WindowKind::Tumble { size_us: 5 },
    WindowKind::Hop {
        size_us: 10,
        slide_us: 5,
    },
    WindowKind::Hop {
        size_us: 9,
        slide_us: 6,
    },
    WindowKind::Hop {
        size_us: 20,
        slide_us: 2,
    },
    WindowKind::Hop {
        size_us: 3,
        slide_us: 5,
    },
    WindowKind::Cumulate {
        size_us: 12,
        step_us: 4,
    },
    WindowKind::Cumulate {
        size_us: 40,
        step_us: 4,
    },
    WindowKind::Hop {
        size_us: 30,
        slide_us: 1,
    },
];

fn settings(kind: WindowKind) -> Run {
    Run {
        kind,
        offset: 0,
        emit: Emit::Default,
        two_phase: false,
        retracts: false,
    }
}

#[test]
fn each_window_is_the_batch_answer_over_its_rows_and_late_rows_are_counted() {
    for (seed, kind) in (1000..).zip(KINDS) {
        for (more, keys) in (0..).zip([&[0usize][..], &[], &[1, 2]]) {
            for two_phase in [false, true] {
                let run = Run {
                    two_phase,
                    offset: more,
                    ..settings(kind)
                };
                check(seed * 10 + more as u64, keys, &plain_calls(), &run);
            }
        }
    }
}

#[test]
fn every_row_brings_one_change_in_each_of_its_windows() {
    for (seed, kind) in (1500..).zip(KINDS) {
        let settings = Run {
            emit: Emit::ChangesEveryRow,
            ..settings(kind)
        };
        check(seed, &[0], &plain_calls(), &settings);
        let outcome = run(seed, &[0], &plain_calls(), &settings);
        let is_addition = |batch: &Batch| {
            let rows = 0..batch.len();
            rows.filter(|&row| batch.op(row).is_addition()).count() as u64
        };
        let additions: u64 = outcome.batches.iter().map(is_addition).sum();
        assert_eq!(additions, outcome.folded, "{kind:?}");
    }
}

#[test]
fn long_hops_keep_a_running_state_that_gains_and_loses_slices() {
    for (seed, kind) in (2000..).zip(KINDS) {
        for two_phase in [false, true] {
            check(
                seed,
                &[0, 1],
                &invertible_calls(),
                &Run {
                    two_phase,
                    ..settings(kind)
                },
            );
        }
        check(
            seed,
            &[1],
            &invertible_calls(),
            &Run {
                retracts: true,
                ..settings(kind)
            },
        );
    }
}

#[test]
fn distinct_and_rare_aggregates_run_over_every_kind_of_window() {
    for (seed, kind) in (3000..).zip(KINDS) {
        check(seed, &[2], &rare_calls(false), &settings(kind));
        check(
            seed,
            &[2],
            &rare_calls(true),
            &Run {
                retracts: true,
                ..settings(kind)
            },
        );
        check(
            seed,
            &[2],
            &plain_calls(),
            &Run {
                retracts: true,
                ..settings(kind)
            },
        );
    }
}

#[test]
fn early_results_are_changes_that_end_in_the_final_one() {
    for (seed, kind) in (4000..).zip(KINDS) {
        for two_phase in [false, true] {
            check(
                seed,
                &[0],
                &plain_calls(),
                &Run {
                    emit: Emit::Changes,
                    two_phase,
                    ..settings(kind)
                },
            );
        }
        let run = Run {
            emit: Emit::Changes,
            retracts: true,
            ..settings(kind)
        };
        check(seed, &[1], &plain_calls(), &run);
    }
}

#[test]
fn a_hop_that_slides_by_its_size_is_a_tumbling_window() {
    for seed in 5000..5005 {
        let hop = settings(WindowKind::Hop {
            size_us: 6,
            slide_us: 6,
        });
        let tumble = settings(WindowKind::Tumble { size_us: 6 });
        let rows = |run_settings: &Run| {
            let outcome = run(seed, &[0], &plain_calls(), run_settings);
            outcome
                .batches
                .iter()
                .flat_map(|batch| texts(batch.rows()))
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(&hop), rows(&tumble));
    }
}

#[test]
fn attached_windows_aggregate_by_the_bounds_that_rows_carry() {
    // The first column stands in for window_start, the second for window_end.
    use arrow::array::{ArrayRef, RecordBatch, TimestampMillisecondArray};
    use arrow::datatypes::Schema;
    let fields = bounds();
    let input = Arc::new(Schema::new(vec![fields[0].clone(), fields[1].clone()]));
    let mut spec = WindowAggregateSpec {
        window: WindowInput::Attached {
            start_column: 0,
            end_column: 1,
            tick_us: TICK_US,
        },
        keys: Vec::new(),
        calls: vec![plain_calls().remove(0)],
        emit: Emit::Default,
        input_is_partial: false,
        input_retracts: false,
        emit_update_before: false,
    };
    let partial = local_window_schema(&spec, &input).unwrap();
    let mut local = LocalWindowAggregate::new(&spec, input.clone(), partial.clone()).unwrap();
    let output = output_schema(&[], &spec.calls, &fields);
    let mut one_phase = WindowAggregate::new(&spec, input.clone(), output.clone()).unwrap();
    spec.input_is_partial = true;
    let mut owner = WindowAggregate::new(&spec, partial, output).unwrap();
    let column = |values: Vec<i64>| Arc::new(TimestampMillisecondArray::from(values)) as ArrayRef;
    let columns = vec![column(vec![0, 0, 10, 0, 5]), column(vec![10, 5, 20, 10, 10])];
    let rows = Batch::append(RecordBatch::try_new(input, columns).unwrap(), 0);
    let mut out = Output::new();
    one_phase.process(0, rows.clone(), &mut out).unwrap();
    assert_eq!(one_phase.advance(WATERMARK_END, &mut out).unwrap(), Firing::Done);
    let expected: Vec<_> = out.take().iter().flat_map(|batch| texts(batch.rows())).collect();
    let row = |count: &str, start, end| {
        vec![
            count.to_string(),
            text_of_ms(start),
            text_of_ms(end),
            text_of_ms(end - 1),
        ]
    };
    assert_eq!(
        expected,
        [row("1", 0, 5), row("2", 0, 10), row("1", 5, 10), row("1", 10, 20)]
    );
    let mut partial = Output::new();
    local.process(0, rows, &mut partial).unwrap();
    local.flush(&mut partial).unwrap();
    feed(&mut owner, partial, &mut out);
    assert_eq!(owner.advance(WATERMARK_END, &mut out).unwrap(), Firing::Done);
    let found: Vec<_> = out.take().iter().flat_map(|batch| texts(batch.rows())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_large_window_fires_in_quanta_and_rows_that_come_between_wait() {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
    use arrow::datatypes::Schema;
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let fields = vec![
        Field::new("k", DataType::Int64, false),
        Field::new("time", time, false),
    ];
    let input = Arc::new(Schema::new(fields));
    for kind in [
        WindowKind::Tumble { size_us: 1_000_000 },
        WindowKind::Hop {
            size_us: 2_000_000,
            slide_us: 1_000_000,
        },
        WindowKind::Hop {
            size_us: 20_000_000,
            slide_us: 1_000_000,
        },
    ] {
        let spec = WindowAggregateSpec {
            window: WindowInput::Assign(WindowSpec {
                kind,
                offset_us: 0,
                time_column: 1,
                tick_us: TICK_US,
            }),
            keys: vec![0],
            calls: vec![plain_calls().remove(0)],
            emit: Emit::Default,
            input_is_partial: false,
            input_retracts: false,
            emit_update_before: false,
        };
        let key: FieldRef = input.fields()[0].clone();
        let call = spec.calls[0].output.clone();
        let output = Schema::new([vec![key, call], bounds()].concat());
        let mut owner = WindowAggregate::new(&spec, input.clone(), Arc::new(output)).unwrap();
        let rows = |time: i64| {
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50_000));
            let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![time; 50_000]));
            Batch::append(RecordBatch::try_new(input.clone(), vec![keys, times]).unwrap(), 0)
        };
        let mut out = Output::new();
        owner.process(0, rows(500), &mut out).unwrap();
        let mut firing = owner.advance(999_000, &mut out).unwrap();
        assert_eq!(firing, Firing::More);
        owner.process(0, rows(700), &mut out).unwrap();
        while firing == Firing::More {
            assert!(out.rows() <= crate::operators::FIRING_QUANTUM_ROWS);
            let batches = out.take();
            assert!(
                batches
                    .iter()
                    .all(|batch| batch.len() <= crate::batch::BATCH_ROWS_MAX)
            );
            assert!(
                batches
                    .iter()
                    .flat_map(|batch| texts(batch.rows()))
                    .all(|row| row[1] == "1")
            );
            firing = owner.resume(&mut out).unwrap();
        }
        let is_tumbling = matches!(kind, WindowKind::Tumble { .. });
        assert_eq!(owner.statistics().late_rows, if is_tumbling { 50_000 } else { 0 });
    }
}
