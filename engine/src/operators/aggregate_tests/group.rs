//! Aggregation without a window: the fold of its changes is the batch answer.

use std::collections::BTreeMap;

use super::model::*;
use crate::batch::{Batch, Op};
use crate::operators::group_aggregate::GroupAggregate;
use crate::operators::local_group_aggregate::{LocalGroupAggregate, local_group_schema};
use crate::operators::{Firing, Operator, Output};
use crate::plan::{AggregateCall, GroupAggregateSpec};
use crate::sql::statement::Emit;
use crate::time::WATERMARK_END;

type Table = BTreeMap<Vec<String>, Vec<String>>;

/// Integrates changes by key, checking that each says what it may.
fn fold(table: &mut Table, batches: Vec<Batch>, keys: usize, emit_update_before: bool) -> usize {
    let mut changes = 0;
    for batch in batches {
        for (row, texts) in texts(batch.rows()).into_iter().enumerate() {
            let key = texts[..keys].to_vec();
            changes += 1;
            match batch.op(row) {
                Op::Insert => assert_eq!(table.insert(key, texts), None, "+I of a key that is there"),
                Op::UpdateBefore => {
                    assert!(emit_update_before);
                    assert_eq!(table.remove(&key), Some(texts), "-U of what is not there");
                    assert_eq!(batch.op(row + 1), Op::UpdateAfter, "-U without its +U");
                }
                Op::UpdateAfter => {
                    let old = table.insert(key, texts);
                    assert_eq!(
                        old.is_some(),
                        !emit_update_before,
                        "+U of a key that is not there"
                    );
                }
                Op::Delete => assert_eq!(table.remove(&key), Some(texts), "-D of what is not there"),
            }
        }
    }
    changes
}

fn expected(rows: &[Row], keys: &[usize], calls: &[AggregateCall]) -> Table {
    let mut groups = BTreeMap::<Vec<String>, Vec<Row>>::new();
    if keys.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    for row in integrated(rows) {
        groups.entry(key_of(&row, keys)).or_default().push(row);
    }
    let answers = |(key, rows): (Vec<String>, Vec<Row>)| {
        let mut texts = key.clone();
        texts.extend(calls.iter().map(|call| answer(call, &rows)));
        (key, texts)
    };
    groups.into_iter().map(answers).collect()
}

fn end(operator: &mut dyn Operator, out: &mut Output) {
    operator.flush(out).unwrap();
    let mut firing = operator.advance(WATERMARK_END, out).unwrap();
    while firing == Firing::More {
        firing = operator.resume(out).unwrap();
    }
}

/// Runs `rows` in random cuts, over random phases, and compares with the model at every flush.
fn check(seed: u64, keys: &[usize], calls: &[AggregateCall], retracts: bool, emit: Emit, two_phase: bool) {
    let mut random = random(seed);
    let rows = random_rows(&mut random, 200, retracts);
    let emit_update_before = seed.is_multiple_of(2);
    let mut spec = GroupAggregateSpec {
        keys: keys.to_vec(),
        calls: calls.to_vec(),
        emit,
        input_is_partial: false,
        input_retracts: retracts,
        emit_update_before,
        ttl_us: None,
    };
    let mut local = two_phase.then(|| {
        let partial = local_group_schema(&spec, &schema()).unwrap();
        (
            LocalGroupAggregate::new(&spec, schema(), partial.clone()).unwrap(),
            partial,
        )
    });
    spec.input_is_partial = two_phase;
    let input = local.as_ref().map_or(schema(), |(_, partial)| partial.clone());
    let mut owner = GroupAggregate::new(&spec, input, output_schema(keys, calls, &[]), true).unwrap();
    let mut table = Table::new();
    let mut seen = 0;
    for batch in cut(&mut random, &rows, retracts) {
        seen += batch.len();
        let mut partial = Output::new();
        match &mut local {
            Some((local, _)) => {
                local.process(0, batch, &mut partial).unwrap();
                local.flush(&mut partial).unwrap();
            }
            None => partial.emit(batch),
        }
        let mut out = Output::new();
        for batch in partial.take() {
            owner.process(0, batch, &mut out).unwrap();
        }
        owner.flush(&mut out).unwrap();
        if emit != Emit::Final {
            fold(&mut table, out.take(), keys.len(), emit_update_before);
            assert_eq!(
                table,
                expected(&rows[..seen], keys, calls),
                "seed {seed}, keys {keys:?}, {seen} rows"
            );
        } else {
            assert!(out.is_empty());
        }
    }
    let mut out = Output::new();
    end(&mut owner, &mut out);
    fold(&mut table, out.take(), keys.len(), emit_update_before);
    assert_eq!(
        table,
        expected(&rows, keys, calls),
        "seed {seed}, keys {keys:?}, at the end"
    );
}

#[test]
fn folding_the_changes_gives_the_batch_answer_for_every_kind_of_key() {
    for (seed, keys) in (0..).zip(KEYS) {
        let mut calls = plain_calls();
        calls.extend(rare_calls(false));
        check(seed, keys, &calls, false, Emit::Changes, false);
        check(seed + 100, keys, &calls, false, Emit::Final, false);
    }
}

#[test]
fn retractions_take_back_what_was_added() {
    for (seed, keys) in (200..).zip(KEYS) {
        let mut calls = plain_calls();
        calls.extend(rare_calls(true));
        check(seed, keys, &calls, true, Emit::Changes, false);
        check(seed + 1, keys, &calls, true, Emit::Final, false);
    }
}

#[test]
fn two_phases_give_what_one_phase_gives() {
    for (seed, keys) in (300..).zip(KEYS) {
        check(seed, keys, &plain_calls(), false, Emit::Changes, true);
        check(seed, keys, &plain_calls(), false, Emit::Final, true);
        let mut calls = invertible_calls();
        calls.push(plain_calls().remove(4));
        check(seed, keys, &calls, true, Emit::Default, true);
    }
}

#[test]
fn a_select_distinct_has_no_calls() {
    check(400, &[0, 1], &[], false, Emit::Changes, false);
    check(401, &[0, 1], &[], true, Emit::Changes, true);
}

#[test]
fn every_row_gives_one_change_in_input_order() {
    for (seed, keys) in [(500, &[0usize][..]), (502, &[]), (504, &[1, 2])] {
        let mut random = random(seed);
        let rows = random_rows(&mut random, 200, false);
        let calls = plain_calls();
        let spec = GroupAggregateSpec {
            keys: keys.to_vec(),
            calls: calls.clone(),
            emit: Emit::ChangesEveryRow,
            input_is_partial: false,
            input_retracts: false,
            emit_update_before: false,
            ttl_us: None,
        };
        let mut owner = GroupAggregate::new(&spec, schema(), output_schema(keys, &calls, &[]), true).unwrap();
        let mut out = Output::new();
        for batch in cut(&mut random, &rows, false) {
            owner.process(0, batch, &mut out).unwrap();
        }
        owner.flush(&mut out).unwrap();
        let changes: Vec<_> = out.take().iter().flat_map(|batch| texts(batch.rows())).collect();
        assert_eq!(changes.len(), rows.len());
        for (index, change) in changes.iter().enumerate() {
            let key = key_of(&rows[index], keys);
            assert_eq!(
                expected(&rows[..=index], keys, &calls).get(&key),
                Some(change),
                "row {index}"
            );
        }
    }
    check(510, &[0], &plain_calls(), true, Emit::ChangesEveryRow, false);
    check(511, &[0], &plain_calls(), true, Emit::ChangesEveryRow, false);
}

#[test]
fn a_flush_emits_a_changed_key_once_and_an_unchanged_one_not_at_all() {
    let calls = vec![plain_calls().remove(10)];
    let spec = GroupAggregateSpec {
        keys: vec![0],
        calls: calls.clone(),
        emit: Emit::Changes,
        input_is_partial: false,
        input_retracts: false,
        emit_update_before: true,
        ttl_us: None,
    };
    let mut owner = GroupAggregate::new(&spec, schema(), output_schema(&[0], &calls, &[]), false).unwrap();
    let row = |v: i64| Row {
        number: Some(1),
        v: Some(v),
        ..random_row(&mut random(1), 0)
    };
    let mut table = Table::new();
    let mut flush = |values: &[i64]| {
        let rows: Vec<Row> = values.iter().map(|&v| row(v)).collect();
        let mut out = Output::new();
        owner.process(0, batch(&rows, false), &mut out).unwrap();
        owner.flush(&mut out).unwrap();
        owner.flush(&mut out).unwrap();
        fold(&mut table, out.take(), 1, true)
    };
    assert_eq!(flush(&[5, 4, 6]), 1);
    assert_eq!(flush(&[9, 4, 4]), 0, "the minimum is what it was");
    assert_eq!(flush(&[3, 2]), 2, "an update is a pair");
    end(&mut owner, &mut Output::new());
}

#[test]
fn a_flush_pays_where_many_rows_came_to_few_changes() {
    let calls = plain_calls();
    let spec = GroupAggregateSpec {
        keys: vec![0],
        calls: calls.clone(),
        emit: Emit::Changes,
        input_is_partial: false,
        input_retracts: false,
        emit_update_before: true,
        ttl_us: None,
    };
    let owner = GroupAggregate::new(&spec, schema(), output_schema(&[0], &calls, &[]), false).unwrap();
    let partial = local_group_schema(&spec, &schema()).unwrap();
    let local = LocalGroupAggregate::new(&spec, schema(), partial).unwrap();
    let operators: [Box<dyn Operator>; 2] = [Box::new(owner), Box::new(local)];
    let rows = |number: i64| Row {
        number: Some(number),
        ..random_row(&mut random(1), 0)
    };
    for mut operator in operators {
        let mut out = Output::new();
        let mut process = |operator: &mut Box<dyn Operator>, rows: &[Row]| {
            operator.process(0, batch(rows, false), &mut out).unwrap();
            let pays = operator.flush_pays();
            operator.flush(&mut out).unwrap();
            pays
        };
        let (few, many): (Vec<Row>, Vec<Row>) =
            ((0..7).map(|_| rows(1)).collect(), (0..100).map(rows).collect());
        assert!(!process(&mut operator, &many), "every row is a change");
        assert!(
            !process(&mut operator, &few),
            "a flush forgets what was held before it"
        );
        assert!(process(&mut operator, &[few.clone(), few].concat()));
    }
}

#[test]
fn a_global_aggregate_over_nothing_is_one_row_on_one_shard() {
    let calls = plain_calls();
    for emit in [Emit::Changes, Emit::Final] {
        for emits in [true, false] {
            let spec = GroupAggregateSpec {
                keys: Vec::new(),
                calls: calls.clone(),
                emit,
                input_is_partial: false,
                input_retracts: false,
                emit_update_before: false,
                ttl_us: None,
            };
            let mut owner =
                GroupAggregate::new(&spec, schema(), output_schema(&[], &calls, &[]), emits).unwrap();
            let mut out = Output::new();
            end(&mut owner, &mut out);
            let rows: Vec<_> = out.take().iter().flat_map(|batch| texts(batch.rows())).collect();
            assert_eq!(rows.len(), usize::from(emits));
            assert!(rows.iter().all(|row| row[0] == "0" && row[3] == "NULL"));
        }
    }
}

#[test]
fn a_sum_that_does_not_fit_bigint_is_an_error_and_not_a_wrong_number() {
    let calls = vec![plain_calls().remove(3)];
    let spec = GroupAggregateSpec {
        keys: vec![],
        calls: calls.clone(),
        emit: Emit::Changes,
        input_is_partial: false,
        input_retracts: false,
        emit_update_before: false,
        ttl_us: None,
    };
    let mut owner = GroupAggregate::new(&spec, schema(), output_schema(&[], &calls, &[]), true).unwrap();
    let row = |v: i64| Row {
        v: Some(v),
        ..random_row(&mut random(1), 0)
    };
    let mut out = Output::new();
    owner
        .process(0, batch(&[row(i64::MAX), row(1), row(-1)], false), &mut out)
        .unwrap();
    owner.flush(&mut out).unwrap();
    assert_eq!(texts(out.take()[0].rows()), [[i64::MAX.to_string()]]);
    owner.process(0, batch(&[row(1)], false), &mut out).unwrap();
    let error = owner.flush(&mut out).unwrap_err().to_string();
    assert!(error.contains("BIGINT") && error.contains("cast"), "{error}");
}

/// A local phase that counts rows by one integer key, and its input.
fn local_count() -> (LocalGroupAggregate, arrow::datatypes::SchemaRef) {
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    let input = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
    let mut call = plain_calls().remove(0);
    call.output = Arc::new(Field::new("n", DataType::Int64, false));
    let spec = GroupAggregateSpec {
        keys: vec![0],
        calls: vec![call],
        emit: Emit::Changes,
        input_is_partial: false,
        input_retracts: false,
        emit_update_before: false,
        ttl_us: None,
    };
    let output = local_group_schema(&spec, &input).unwrap();
    let local = LocalGroupAggregate::new(&spec, input.clone(), output).unwrap();
    (local, input)
}

#[test]
fn a_local_phase_hands_over_when_it_holds_as_many_groups_as_it_may() {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use std::sync::Arc;

    let (mut local, input) = local_count();
    let mut send = |first: i64, count: i64| {
        let keys = Int64Array::from_iter_values(first..first + count);
        let rows = RecordBatch::try_new(input.clone(), vec![Arc::new(keys) as ArrayRef]).unwrap();
        let mut out = Output::new();
        local.process(0, Batch::append(rows, 0), &mut out).unwrap();
        (local.statistics().keys as i64, out.rows() as i64)
    };
    let most = crate::limits::LOCAL_GROUPS_MAX as i64;
    assert_eq!(send(0, most / 2), (most / 2, 0));
    assert_eq!(send(0, most / 2), (most / 2, 0), "the same groups again");
    assert_eq!(send(most / 2, most / 2 - 1), (most - 1, 0));
    assert_eq!(send(most - 1, 1), (0, most));
}

#[test]
fn a_local_phase_that_does_not_combine_passes_rows_and_samples_again() {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use std::sync::Arc;

    let (mut local, input) = local_count();
    let mut send = |first: i64, step: i64| {
        let keys = Int64Array::from_iter_values((0..8192).map(|row| first + row * step));
        let rows = RecordBatch::try_new(input.clone(), vec![Arc::new(keys) as ArrayRef]).unwrap();
        let mut out = Output::new();
        local.process(0, Batch::append(rows, 0), &mut out).unwrap();
        (local.statistics().keys, out.rows())
    };
    let first = (0..8)
        .map(|batch| send(batch * 8192, 1))
        .map(|(_, sent)| sent)
        .sum::<usize>();
    assert_eq!(first, 65_536, "all keys differ: all are sent on");
    assert_eq!(send(0, 0), (0, 8192), "rows pass one to one");
    let mut batches = 1;
    while send(7, 0).0 == 0 {
        batches += 1;
    }
    assert_eq!(batches, (1 << 20) / 8192, "then combining is tried again");
}
