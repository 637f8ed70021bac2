//! Groups with a time to live, against a model that remembers when each key was written last.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::batch::{Batch, Op};
use crate::operators::group_aggregate::GroupAggregate;
use crate::operators::{Operator, Output};
use crate::plan::{AggregateCall, AggregateFunction, GroupAggregateSpec};
use crate::sql::statement::Emit;

const SECOND_NS: u64 = 1_000_000_000;

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, false))
}

fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        field("key", DataType::Utf8),
        field("value", DataType::Int64),
    ]))
}

/// COUNT(*), SUM(value), COUNT(DISTINCT value), MIN(key): words, a set, and a text beside the table.
fn calls() -> Vec<AggregateCall> {
    let call = |function, arguments: &[usize], distinct, name: &str, data_type| AggregateCall {
        function,
        arguments: arguments.to_vec(),
        distinct,
        filter: None,
        output: field(name, data_type),
    };
    vec![
        call(AggregateFunction::CountStar, &[], false, "rows", DataType::Int64),
        call(AggregateFunction::Sum, &[1], false, "total", DataType::Int64),
        call(AggregateFunction::Count, &[1], true, "distinct", DataType::Int64),
        call(AggregateFunction::Min, &[0], false, "least", DataType::Utf8),
    ]
}

fn aggregate(emit: Emit, input_retracts: bool) -> GroupAggregate {
    let spec = GroupAggregateSpec {
        keys: vec![0],
        calls: match input_retracts {
            true => calls()[..3].to_vec(),
            false => calls(),
        },
        emit,
        input_is_partial: false,
        input_retracts,
        emit_update_before: true,
        ttl_us: Some(1_000_000),
    };
    let mut fields = vec![field("key", DataType::Utf8)];
    fields.extend(spec.calls.iter().map(|call| call.output.clone()));
    GroupAggregate::new(&spec, input(), Arc::new(Schema::new(fields)), false).unwrap()
}

fn batch(rows: &[(Op, &str, i64)], retracts: bool) -> Batch {
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)));
    let batch = RecordBatch::try_new(input(), vec![keys, values]).unwrap();
    let ops: Int8Array = rows.iter().map(|row| Some(row.0.code())).collect();
    Batch::new(batch, retracts.then_some(ops), 0)
}

/// The changes of one flush: what each says, the key, and its numbers.
fn told(operator: &mut GroupAggregate, now_ns: u64, batch: Batch) -> Vec<(Op, String, Vec<i64>)> {
    let mut out = Output::new();
    out.set_arrival(now_ns);
    operator.process(0, batch, &mut out).unwrap();
    operator.flush(&mut out).unwrap();
    let mut told = Vec::new();
    for batch in out.take() {
        let keys = batch.column(0).as_string::<i32>().clone();
        for row in 0..batch.len() {
            let numbers = (1..4).map(|column| {
                let column = batch.column(column).as_primitive::<Int64Type>();
                if column.is_null(row) { 0 } else { column.value(row) }
            });
            told.push((batch.op(row), keys.value(row).to_string(), numbers.collect()));
        }
    }
    told
}

#[test]
fn a_group_starts_anew_after_its_time_and_what_was_said_of_it_stays() {
    for emit in [Emit::Changes, Emit::ChangesEveryRow] {
        let mut operator = aggregate(emit, false);
        let add = |key, value| batch(&[(Op::Insert, key, value)], false);
        let insert = |key: &str, numbers: [i64; 3]| (Op::Insert, key.to_string(), numbers.to_vec());
        assert_eq!(told(&mut operator, 0, add("a", 5)), [insert("a", [1, 5, 1])]);
        let updated = told(&mut operator, SECOND_NS - 1, add("a", 5));
        assert_eq!(updated[1], (Op::UpdateAfter, "a".to_string(), vec![2, 10, 1]));
        // The row before kept it; a second after that row it is over.
        let updated = told(&mut operator, 2 * SECOND_NS - 2, add("a", 6));
        assert_eq!(updated[1], (Op::UpdateAfter, "a".to_string(), vec![3, 16, 2]));
        assert_eq!(
            told(&mut operator, 3 * SECOND_NS - 2, add("a", 6)),
            [insert("a", [1, 6, 1])]
        );
    }
}

#[test]
fn rows_that_take_back_what_was_forgotten_are_passed_over() {
    let mut operator = aggregate(Emit::Changes, true);
    let insert = batch(&[(Op::Insert, "a", 5)], true);
    told(&mut operator, 0, insert);
    let update = batch(&[(Op::UpdateBefore, "a", 5), (Op::UpdateAfter, "a", 7)], true);
    assert_eq!(
        told(&mut operator, SECOND_NS, update),
        [(Op::Insert, "a".to_string(), vec![1, 7, 1])]
    );
    let delete = batch(&[(Op::Delete, "a", 7), (Op::Delete, "b", 7)], true);
    assert_eq!(
        told(&mut operator, SECOND_NS + 1, delete),
        [(Op::Delete, "a".to_string(), vec![1, 7, 1])]
    );
}

#[test]
fn keys_come_and_go_as_the_model_says_and_state_stays_bounded() {
    let mut random = SmallRng::seed_from_u64(7);
    let mut operator = aggregate(Emit::Changes, false);
    // By key: when it was written last, and its values since it started.
    let mut model: BTreeMap<String, (u64, Vec<i64>)> = BTreeMap::new();
    let mut keys_max = 0;
    for round in 0..400u64 {
        let now = round * SECOND_NS / 20;
        let rows: Vec<(Op, String, i64)> = (0..50)
            .map(|_| {
                // New keys all the time, some of them met again soon.
                let number = round * 10 + random.random_range(0..200);
                let key = match number % 3 {
                    0 => format!("k{number}"),
                    _ => format!("a key that is longer than fifteen bytes {number}"),
                };
                (Op::Insert, key, random.random_range(0..5))
            })
            .collect();
        let rows: Vec<(Op, &str, i64)> = rows.iter().map(|row| (row.0, row.1.as_str(), row.2)).collect();
        let mut expected: BTreeMap<String, (bool, Vec<i64>)> = BTreeMap::new();
        for (_, key, value) in &rows {
            let known = model.entry(key.to_string()).or_insert((now, Vec::new()));
            let starts = known.1.is_empty() || known.0 + SECOND_NS <= now;
            if starts {
                known.1.clear();
            }
            known.0 = now;
            known.1.push(*value);
            let is_new = expected.get(*key).map_or(starts, |(is_new, _)| *is_new);
            let mut distinct = known.1.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let numbers = vec![known.1.len() as i64, known.1.iter().sum(), distinct.len() as i64];
            expected.insert(key.to_string(), (is_new, numbers));
        }
        for (op, key, numbers) in told(&mut operator, now, batch(&rows, false)) {
            if op == Op::UpdateBefore {
                continue;
            }
            let (is_new, expected) = expected.remove(&key).unwrap();
            assert_eq!(
                (op == Op::Insert, numbers),
                (is_new, expected),
                "round {round}, {key}"
            );
        }
        assert!(expected.is_empty(), "round {round}: {expected:?}");
        keys_max = keys_max.max(operator.statistics().keys);
    }
    // About 350 keys live at a time, of more than 4,000 that were ever met.
    assert!(keys_max < 1_500, "{keys_max} keys at once");
}
