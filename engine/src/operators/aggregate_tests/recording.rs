//! Snapshots written while work goes on: two equal operators get the same rows; one is written whole and at once,
//! the other a quantum at a time between rows, watermarks and flushes, and without what it keeps. Both must write
//! the same and say the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use rand::Rng;
use rand::rngs::SmallRng;

use super::model::{
    KEYS, Row, TIME, batch, output_schema, plain_calls, random, random_row, random_rows, rare_calls, schema,
    texts,
};
use crate::batch::Batch;
use crate::limits::RECORDED_GROUPS_MAX;
use crate::operators::group_aggregate::GroupAggregate;
use crate::operators::window_aggregate::WindowAggregate;
use crate::operators::{Firing, Operator, Output};
use crate::plan::{
    AggregateCall, GroupAggregateSpec, WindowAggregateSpec, WindowInput, WindowKind, WindowSpec,
};
use crate::snapshot::{PartNumber, StateWriter};
use crate::sql::statement::Emit;

/// By table, its rows in any order.
type Tables = BTreeMap<String, Vec<Vec<String>>>;

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

/// What snapshots brought, by the number under which later ones may keep it.
#[derive(Default)]
struct Brought {
    parts: BTreeMap<PartNumber, Tables>,
    /// Parts that the last snapshot kept, and rows that it brought.
    kept: usize,
    rows: usize,
}

impl Brought {
    /// The tables of a snapshot, with what it keeps.
    fn take(&mut self, writer: StateWriter) -> Tables {
        let snapshot = writer.finish(0, 0);
        let mut tables = Tables::new();
        let mut parts = BTreeMap::<PartNumber, Tables>::new();
        (self.kept, self.rows) = (snapshot.kept.len(), 0);
        for number in snapshot.kept {
            let kept = self
                .parts
                .remove(&number)
                .expect("a kept part was brought before");
            for (table, rows) in &kept {
                tables.entry(table.clone()).or_default().extend(rows.clone());
            }
            parts.insert(number, kept);
        }
        for table in snapshot.tables {
            let all = tables.entry(table.name.clone()).or_default();
            for part in &table.parts {
                let rows = texts(&part.rows);
                all.extend(rows.clone());
                self.rows += rows.len();
                if let Some(number) = part.number {
                    parts.entry(number).or_default().insert(table.name.clone(), rows);
                }
            }
        }
        self.parts = parts;
        tables.values_mut().for_each(|rows| rows.sort());
        tables
    }
}

/// Does `work` to both; what they say must be the same.
fn both(operators: &mut [Box<dyn Operator>; 2], mut work: impl FnMut(&mut dyn Operator, &mut Output)) {
    let [said, same] = operators.each_mut().map(|operator| {
        let mut out = Output::new();
        work(operator.as_mut(), &mut out);
        out.take()
            .iter()
            .flat_map(|batch| texts(batch.rows()))
            .collect::<Vec<_>>()
    });
    assert_eq!(said, same);
}

fn advance(operator: &mut dyn Operator, watermark_us: i64, out: &mut Output) {
    let mut firing = operator.advance(watermark_us, out).unwrap();
    while firing == Firing::More {
        firing = operator.resume(out).unwrap();
    }
}

/// Feeds `batches`, with watermarks where `watermarks`, and writes snapshots between them; answers in how many
/// quanta most of the second operator's was written, and what its last one brought.
fn check(
    mut operators: [Box<dyn Operator>; 2],
    batches: &[Batch],
    watermarks: bool,
    random: &mut SmallRng,
) -> (usize, Brought) {
    let mut at_once: Option<Tables> = None;
    let mut brought = Brought::default();
    let mut writer = StateWriter::numbering(Some(0));
    let (mut quanta, mut quanta_most) = (0, 0);
    for (number, batch) in (0..).zip(batches) {
        both(&mut operators, |operator, out| {
            operator.process(0, batch.clone(), out).unwrap()
        });
        if watermarks && random.random_bool(0.4) {
            both(&mut operators, |operator, out| {
                advance(operator, number * 1_000, out)
            });
        }
        if at_once.is_some() && random.random_bool(0.5) {
            quanta += 1;
            if operators[1].record(&mut writer).unwrap() == Firing::Done {
                quanta_most = quanta_most.max(quanta);
                let next = StateWriter::numbering(writer.next());
                let written = brought.take(std::mem::replace(&mut writer, next));
                let expected = at_once.take().expect("a snapshot is under way");
                for (table, rows) in &expected {
                    let found = &written[table];
                    let missing: Vec<_> = rows.iter().filter(|row| !found.contains(row)).collect();
                    let strange: Vec<_> = found.iter().filter(|row| !rows.contains(row)).collect();
                    assert!(
                        rows == found,
                        "table {table} lacks {missing:?}, has {strange:?}; {} rows, not {}",
                        found.len(),
                        rows.len()
                    );
                }
            }
        }
        if at_once.is_none() && random.random_bool(0.3) {
            both(&mut operators, |operator, out| operator.flush(out).unwrap());
            let mut whole = StateWriter::new();
            operators[0].snapshot(&mut whole).unwrap();
            while operators[0].record(&mut whole).unwrap() == Firing::More {}
            at_once = Some(Brought::default().take(whole));
            operators[1].snapshot(&mut writer).unwrap();
            quanta = 0;
        }
        if random.random_bool(0.3) {
            both(&mut operators, |operator, out| operator.flush(out).unwrap());
        }
    }
    (quanta_most, brought)
}

fn cut_evenly(rows: &[Row], length: usize, has_ops: bool) -> Vec<Batch> {
    rows.chunks(length).map(|rows| batch(rows, has_ops)).collect()
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
        let batches = cut_evenly(&rows, 7, retracts);
        check([make(), make()], &batches, false, &mut random);
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
        let batches = cut_evenly(&rows, 7, false);
        check([make(), make()], &batches, true, &mut random);
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
    let batches = cut_evenly(&rows, 1_000, false);
    let (quanta, last) = check([make(), make()], &batches, false, &mut super::model::random(1));
    assert!(quanta >= 3, "written in {quanta} quanta");
    assert!(last.kept >= 1, "chunks that did not change are kept");
    assert!(
        last.rows < 2 * RECORDED_GROUPS_MAX,
        "{} rows were written again",
        last.rows
    );
}
