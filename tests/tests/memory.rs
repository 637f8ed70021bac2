//! P4: what operators say that they keep is what they have allocated, within a tenth, as an allocator counts it.
//!
//! One test in a binary of its own: nothing else may allocate while it counts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, SchemaRef};
use engine::batch::Batch;
use engine::compile::compile;
use engine::operators::build::build;
use engine::operators::{Firing, Operator, Output};
use engine::plan::{NodeId, StreamPlan};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TABLES: &str = "CREATE TABLE a (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) \
    WITH ('connector' = 'memory'); \
    CREATE TABLE b (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) \
    WITH ('connector' = 'memory');";

const ROWS: i64 = 200_000;
const BATCH: i64 = 4_000;

/// Rows `start..start + BATCH`: every id is another, texts are long, times rise by a millisecond a row.
fn rows(schema: &SchemaRef, start: i64) -> RecordBatch {
    let numbers = start..start + BATCH;
    let column = |data_type: &DataType| -> ArrayRef {
        match data_type {
            DataType::Int64 => Arc::new(Int64Array::from_iter_values(numbers.clone())),
            DataType::Utf8 => Arc::new(StringArray::from_iter_values(
                numbers
                    .clone()
                    .map(|number| format!("a key of some length: {number}")),
            )),
            DataType::Timestamp(..) => Arc::new(TimestampMillisecondArray::from_iter_values(numbers.clone())),
            other => panic!("no rows of {other}"),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.data_type()));
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

/// Feeds every input of operator `id`, and raises its watermark to each batch if `advances`; answers the bytes that it says it keeps, and those it has allocated.
fn fill(plan: &StreamPlan, id: NodeId, advances: bool) -> (u64, u64) {
    let node = &plan.nodes[id];
    let schemas: Vec<SchemaRef> = node
        .inputs
        .iter()
        .map(|&input| plan.nodes[input].schema.clone())
        .collect();
    let mut out = Output::new();
    let region = Region::new(ALLOCATOR);
    let mut operator: Box<dyn Operator> = build(plan, id, 0).unwrap().unwrap();
    for start in (0..ROWS).step_by(BATCH as usize) {
        for (input, schema) in schemas.iter().enumerate() {
            operator
                .process(input, Batch::append(rows(schema, start), 1), &mut out)
                .unwrap();
            drop(out.take());
        }
        operator.flush(&mut out).unwrap();
        let mut firing = match advances {
            true => operator.advance((start + BATCH) * 1_000, &mut out).unwrap(),
            false => Firing::Done,
        };
        while firing == Firing::More {
            drop(out.take());
            firing = operator.resume(&mut out).unwrap();
        }
        drop(out.take());
    }
    let statistics = operator.statistics();
    let counted = region.change();
    let allocated = counted.bytes_allocated - counted.bytes_deallocated;
    (statistics.state_bytes, allocated as u64)
}

/// A join of two streams, each key once on either side, has allocated little more than the bytes of its rows.
fn check_join() -> Result<(), String> {
    let sql = "SELECT a.id, a.k, a.v, b.k, b.v FROM a JOIN b ON a.id = b.id";
    let job = compile(&format!("{TABLES}{sql}"), &[], Some(1)).unwrap();
    let plan = &job.plan;
    let is_join = |node: &&engine::plan::PlanNode| format!("{:?}", node.kind).starts_with("StreamJoin");
    let node = plan.nodes.iter().find(is_join).unwrap();
    let bytes_of = |&input: &NodeId| {
        let columns = rows(&plan.nodes[input].schema, ROWS / 2);
        let bytes = columns
            .columns()
            .iter()
            .map(|column| column.to_data().get_slice_memory_size().unwrap());
        bytes.sum::<usize>() as u64 * (ROWS / BATCH) as u64
    };
    let kept: u64 = node.inputs.iter().map(bytes_of).sum();
    let (_, allocated) = fill(plan, node.id, false);
    match allocated * 2 <= kept * 3 {
        true => Ok(()),
        false => Err(format!(
            "a join of rows of {kept} bytes has allocated {allocated}"
        )),
    }
}

/// The one operator of `sql` that keeps something says what it has allocated.
fn check(sql: &str, name: &str) -> Result<(), String> {
    let job = compile(&format!("{TABLES}{sql}"), &[], Some(1)).unwrap();
    let plan = &job.plan;
    let of_name = |node: &&engine::plan::PlanNode| format!("{:?}", node.kind).starts_with(name);
    let node = plan
        .nodes
        .iter()
        .find(of_name)
        .unwrap_or_else(|| panic!("{sql} has no {name}"));
    // Of a pattern it is matches under way that count, and they begin behind the watermark.
    let (told, allocated) = fill(plan, node.id, name == "MatchRecognize");
    let difference = told.abs_diff(allocated);
    match allocated > 1 << 20 && difference * 10 <= allocated {
        true => Ok(()),
        false => Err(format!("{name}: {told} bytes told, {allocated} allocated: {sql}")),
    }
}

#[test]
fn operators_say_what_they_have_allocated() {
    let tumble = "SELECT window_end, id, SUM(v) FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' DAY)) \
        GROUP BY window_start, window_end, id";
    let hop = "SELECT window_end, id, SUM(v) FROM TABLE(HOP(TABLE a, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '1' DAY)) \
        GROUP BY window_start, window_end, id";
    let session = "SELECT window_end, id, SUM(v) FROM TABLE(SESSION(TABLE a PARTITION BY id, DESCRIPTOR(ts), INTERVAL '1' DAY)) \
        GROUP BY window_start, window_end, id";
    let top = "SELECT id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY v DESC) AS n FROM a) WHERE n <= 3";
    let first = "SELECT id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts) AS n FROM a) WHERE n = 1";
    let open = "SELECT * FROM a MATCH_RECOGNIZE (PARTITION BY id ORDER BY ts MEASURES A.v AS x \
        PATTERN (A B) WITHIN INTERVAL '1' DAY DEFINE B AS B.v > A.v)";
    let long = "SELECT * FROM a MATCH_RECOGNIZE (ORDER BY ts MEASURES A.v AS x, B.k AS y PATTERN (A B* C) DEFINE C AS C.v < 0)";
    let cases = [
        ("SELECT id, SUM(v) FROM a GROUP BY id", "GroupAggregate"),
        (
            "SELECT k, MIN(v), MAX(v), AVG(v) FROM a GROUP BY k",
            "GroupAggregate",
        ),
        ("SELECT id, MAX(k) FROM a GROUP BY id", "GroupAggregate"),
        (
            "SELECT v / 100, COUNT(DISTINCT id) FROM a GROUP BY v / 100",
            "GroupAggregate",
        ),
        (tumble, "WindowAggregate"),
        (hop, "WindowAggregate"),
        (session, "SessionAssign"),
        (
            "SELECT id, SUM(v) OVER (PARTITION BY id ORDER BY ts ROWS BETWEEN 5 PRECEDING AND CURRENT ROW) FROM a",
            "OverAggregate",
        ),
        (top, "Rank"),
        (first, "Rank"),
        ("SELECT a.k, b.v FROM a JOIN b ON a.id = b.id", "StreamJoin"),
        (
            "SELECT a.k, b.v FROM a LEFT JOIN b ON a.id = b.id AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '1' DAY",
            "StreamJoin",
        ),
        ("SELECT * FROM a ORDER BY ts", "Sort"),
        (open, "MatchRecognize"),
        (long, "MatchRecognize"),
    ];
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(sql, name)| check(sql, name).err())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(check_join(), Ok(()));
}
