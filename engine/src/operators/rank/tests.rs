//! Top-N against sorting everything after each batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::batch::{Batch, Op};
use crate::operators::rank::Rank;
use crate::operators::recording_check::{Event, check};
use crate::operators::{Firing, Operator, Output};
use crate::plan::{RankFunction, RankSpec, SortColumn};
use crate::sql::statement::Emit;
use crate::time::WATERMARK_END;

/// (partition, value, number).
type Row = (i64, Option<i64>, i64);

fn schema(ranked: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("partition", DataType::Int64, false),
        Field::new("value", DataType::Int64, true),
        Field::new("number", DataType::Int64, false),
    ];
    if ranked {
        fields.push(Field::new("rank", DataType::Int64, false));
    }
    Arc::new(Schema::new(fields))
}

fn batch_of(rows: &[(Op, Row)], append: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(_, row)| Some(row.0)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, row)| row.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(_, row)| Some(row.2)).collect::<Int64Array>()),
    ];
    let batch = RecordBatch::try_new(schema(false), columns).unwrap();
    match append {
        true => Batch::append(batch, 0),
        false => Batch::changes(
            batch,
            rows.iter().map(|(op, _)| Some(op.code())).collect::<Int8Array>(),
            0,
        ),
    }
}

/// The rows with a rank from `first` to `last`; rows in order of arrival, largest value first, NULLs last.
fn expected(spec: &RankSpec, rows: &[Row]) -> BTreeMap<Vec<Option<i64>>, i64> {
    let mut partitions: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    rows.iter()
        .for_each(|row| partitions.entry(row.0).or_default().push(*row));
    let mut found = BTreeMap::new();
    for rows in partitions.values_mut() {
        rows.sort_by_key(|row| std::cmp::Reverse(row.1));
        for (place, row) in rows.iter().enumerate() {
            let before: Vec<&Row> = rows.iter().filter(|other| other.1 > row.1).collect();
            let mut values: Vec<Option<i64>> = before.iter().map(|row| row.1).collect();
            values.dedup();
            let rank = 1 + match spec.function {
                RankFunction::RowNumber => place,
                RankFunction::Rank => before.len(),
                RankFunction::DenseRank => values.len(),
            } as u64;
            if (spec.first..=spec.last).contains(&rank) {
                let mut cells = vec![Some(row.0), row.1, Some(row.2)];
                if spec.output_rank {
                    cells.push(Some(rank as i64));
                }
                *found.entry(cells).or_default() += 1;
            }
        }
    }
    found
}

fn fold(out: &mut Output, folded: &mut BTreeMap<Vec<Option<i64>>, i64>) {
    for batch in out.take() {
        for row in 0..batch.len() {
            let cell = |column: &ArrayRef| column.as_primitive::<Int64Type>().iter().nth(row).flatten();
            let cells: Vec<Option<i64>> = batch.rows().columns().iter().map(cell).collect();
            let count = folded.entry(cells.clone()).or_default();
            *count += if batch.op(row).is_addition() { 1 } else { -1 };
            if *count == 0 {
                folded.remove(&cells);
            }
        }
    }
}

#[test]
fn folding_a_top_n_gives_the_first_rows_of_everything() {
    for seed in 0..120u64 {
        let mut random = SmallRng::seed_from_u64(seed);
        let functions = [
            RankFunction::RowNumber,
            RankFunction::Rank,
            RankFunction::DenseRank,
        ];
        let retracts = seed % 2 == 0;
        let spec = RankSpec {
            partition: vec![0],
            order: vec![SortColumn {
                column: 1,
                descending: true,
                nulls_first: false,
            }],
            function: functions[(seed % 3) as usize],
            first: 1 + seed % 5 / 3,
            last: 1 + seed % 4,
            output_rank: seed % 7 < 4,
            window: None,
            keeps_first_by: None,
            emit: if seed % 11 == 0 {
                Emit::Final
            } else {
                Emit::Default
            },
            input_retracts: retracts,
            ttl_us: None,
        };
        let mut rank = Rank::new(&spec, schema(false), schema(spec.output_rank)).unwrap();
        let (mut rows, mut folded) = (Vec::<Row>::new(), BTreeMap::new());
        let mut out = Output::new();
        for number in 0..25 {
            let mut changes = Vec::new();
            for place in 0..random.random_range(1..10) {
                if retracts && !rows.is_empty() && random.random_bool(0.4) {
                    changes.push((Op::Delete, rows.remove(random.random_range(0..rows.len()))));
                } else {
                    let value = random.random_bool(0.9).then(|| random.random_range(0..8));
                    let row = (random.random_range(0..3), value, number * 10 + place);
                    rows.push(row);
                    changes.push((Op::Insert, row));
                }
            }
            rank.process(0, batch_of(&changes, !retracts), &mut out).unwrap();
            if spec.emit != Emit::Final {
                fold(&mut out, &mut folded);
                assert_eq!(folded, expected(&spec, &rows), "seed {seed}");
            }
        }
        assert!(out.is_empty());
        assert_eq!(rank.advance(WATERMARK_END, &mut out).unwrap(), Firing::Done);
        fold(&mut out, &mut folded);
        assert_eq!(folded, expected(&spec, &rows), "seed {seed}");
    }
}

#[test]
fn a_top_n_that_is_written_while_it_works_on_is_written_as_it_was() {
    let functions = [
        RankFunction::RowNumber,
        RankFunction::Rank,
        RankFunction::DenseRank,
    ];
    for seed in 0..60u64 {
        let mut random = SmallRng::seed_from_u64(seed);
        let retracts = seed % 2 == 0;
        let output_rank = seed % 4 < 2;
        let spec = RankSpec {
            partition: vec![0],
            order: vec![SortColumn {
                column: 1,
                descending: true,
                nulls_first: false,
            }],
            function: functions[(seed % 3) as usize],
            first: 1,
            last: 1 + seed % 4,
            output_rank,
            window: None,
            keeps_first_by: None,
            input_retracts: retracts,
            emit: Emit::Default,
            ttl_us: (seed % 5 == 4).then_some(20),
        };
        let make = || -> Box<dyn Operator> {
            Box::new(Rank::new(&spec, schema(false), schema(output_rank)).unwrap())
        };
        let mut live: Vec<Row> = Vec::new();
        let mut events = Vec::new();
        for step in 0..120 {
            let mut rows = Vec::new();
            for _ in 0..random.random_range(1..6) {
                if retracts && !live.is_empty() && random.random_bool(0.4) {
                    rows.push((Op::Delete, live.swap_remove(random.random_range(0..live.len()))));
                } else {
                    let value = random.random_bool(0.9).then(|| random.random_range(0..9));
                    let row = (random.random_range(0..12), value, step);
                    live.push(row);
                    rows.push((Op::Insert, row));
                }
            }
            events.push(Event::Rows(0, batch_of(&rows, !retracts), step as u64 * 2_000));
        }
        check([make(), make()], &events, &mut random);
    }
}
