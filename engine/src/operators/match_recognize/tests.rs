//! The operator as SQL makes it: what comes out, when, and what it keeps meanwhile.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use crate::batch::Batch;
use crate::compile::compile;
use crate::error::ExecutionError;
use crate::operators::build::build;
use crate::operators::{Firing, Operator, Output};
use crate::plan::NodeKind;
use crate::time::{WATERMARK_END, WatermarkUs};

/// (k, v, milliseconds).
type Row = (i64, i64, i64);

struct Running {
    operator: Box<dyn Operator>,
    input: SchemaRef,
    out: Output,
}

impl Running {
    /// `SELECT * FROM t MATCH_RECOGNIZE (…)` with these clauses; measures are BIGINT.
    fn new(clauses: &str) -> Running {
        let table = "CREATE TABLE t (k BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) \
            WITH ('connector' = 'memory');";
        let sql = format!("{table} SELECT * FROM t MATCH_RECOGNIZE ({clauses});");
        let job = compile(&sql, &[], Some(1)).expect("the query is right");
        let mut nodes = job.plan.nodes.iter();
        let node = nodes.find(|node| matches!(node.kind, NodeKind::MatchRecognize(_)));
        let node = node.expect("there is a pattern");
        Running {
            operator: build(&job.plan, node.id, 0).unwrap().unwrap(),
            input: job.plan.nodes[node.inputs[0]].schema.clone(),
            out: Output::new(),
        }
    }

    fn process(&mut self, rows: &[Row]) {
        let column = |name: &str| -> ArrayRef {
            let numbers = |of: fn(&Row) -> i64| rows.iter().map(of).map(Some);
            match name {
                "k" => Arc::new(numbers(|row| row.0).collect::<Int64Array>()),
                "v" => Arc::new(numbers(|row| row.1).collect::<Int64Array>()),
                _ => Arc::new(numbers(|row| row.2).collect::<TimestampMillisecondArray>()),
            }
        };
        let columns = self
            .input
            .fields()
            .iter()
            .map(|field| column(field.name()))
            .collect();
        let rows = RecordBatch::try_new(self.input.clone(), columns).unwrap();
        self.operator
            .process(0, Batch::append(rows, 0), &mut self.out)
            .unwrap();
    }

    /// Rows that come out until `watermark` (milliseconds), without the event time, in order.
    fn advance(&mut self, watermark: i64) -> Result<Vec<String>, ExecutionError> {
        self.advance_us(watermark * 1_000)
    }

    fn end(&mut self) -> Vec<String> {
        self.advance_us(WATERMARK_END).unwrap()
    }

    fn advance_us(&mut self, watermark: WatermarkUs) -> Result<Vec<String>, ExecutionError> {
        let mut firing = self.operator.advance(watermark, &mut self.out)?;
        while firing == Firing::More {
            firing = self.operator.resume(&mut self.out)?;
        }
        let mut rows = Vec::new();
        for batch in self.out.take() {
            let width = batch.rows().num_columns() - 1;
            let column = |index: usize| arrow::compute::cast(batch.column(index), &DataType::Int64).unwrap();
            let columns: Vec<ArrayRef> = (0..width).map(column).collect();
            for row in 0..batch.len() {
                let cell = |column: &ArrayRef| {
                    let value = column.as_primitive::<Int64Type>().iter().nth(row).flatten();
                    value.map_or("-".to_string(), |value| value.to_string())
                };
                rows.push(columns.iter().map(cell).collect::<Vec<_>>().join(" "));
            }
        }
        Ok(rows)
    }
}

/// A row and the next of its key with a greater value.
const RISE: &str =
    "PARTITION BY k ORDER BY ts MEASURES A.v AS a, B.v AS b PATTERN (A B) DEFINE B AS B.v > A.v";

#[test]
fn a_match_comes_out_once_the_watermark_has_passed_its_rows() {
    let mut running = Running::new(RISE);
    running.process(&[(1, 5, 30), (1, 1, 10), (2, 9, 15), (1, 3, 20)]);
    assert_eq!(running.advance(19).unwrap(), [""; 0]);
    assert_eq!(running.advance(20).unwrap(), ["1 1 3"]);
    assert_eq!(running.advance(30).unwrap(), ["1 3 5"]);
    assert_eq!(running.end(), [""; 0]);
}

#[test]
fn rows_behind_the_watermark_are_late() {
    let mut running = Running::new(RISE);
    running.process(&[(1, 1, 10)]);
    assert_eq!(running.advance(12).unwrap(), [""; 0]);
    running.process(&[(1, 2, 12), (1, 3, 13)]);
    assert_eq!(running.operator.statistics().late_rows, 1);
    assert_eq!(running.end(), ["1 1 3"]);
}

#[test]
fn rows_of_one_time_are_ordered_by_what_follows_it() {
    let clauses = "ORDER BY ts, v DESC MEASURES A.v AS a, B.v AS b AFTER MATCH SKIP PAST LAST ROW \
        PATTERN (A B) DEFINE B AS TRUE";
    let mut running = Running::new(clauses);
    running.process(&[(1, 2, 10), (1, 3, 10), (1, 1, 10), (1, 9, 11)]);
    assert_eq!(running.end(), ["3 2", "1 9"]);
}

#[test]
fn partitions_without_an_open_match_are_forgotten() {
    let mut running = Running::new(&format!("{RISE}, A AS A.v < 100"));
    let rows: Vec<Row> = (0..50)
        .map(|key| (key, if key % 2 == 0 { 1 } else { 100 }, 10 + key))
        .collect();
    running.process(&rows);
    assert_eq!(running.advance(100).unwrap(), [""; 0]);
    assert_eq!(
        running.operator.statistics().keys,
        25,
        "those that may begin a match"
    );
    let rows: Vec<Row> = (0..50).map(|key| (key, 200, 110 + key)).collect();
    running.process(&rows);
    let told = running.advance(200).unwrap();
    assert_eq!(told.len(), 25);
    assert!(told.iter().all(|row| row.ends_with(" 1 200")), "{told:?}");
    assert_eq!(running.operator.statistics().keys, 0);
}

#[test]
fn within_lets_open_matches_go_as_the_watermark_passes() {
    let clauses = "PARTITION BY k ORDER BY ts MEASURES A.v AS a, LAST(B.v) AS b, C.v AS c \
        AFTER MATCH SKIP PAST LAST ROW PATTERN (A B* C) WITHIN INTERVAL '0.1' SECOND DEFINE B AS B.v > 0, C AS C.v > 5";
    let mut running = Running::new(clauses);
    running.process(&[(1, 1, 0), (1, 7, 10), (1, 3, 20)]);
    // B takes all of them, and a C may still come.
    assert_eq!(running.advance(50).unwrap(), [""; 0]);
    assert_eq!(
        running.operator.output_watermark(50_000),
        9_999,
        "a match may end at 10 ms"
    );
    assert_eq!(running.advance(99).unwrap(), [""; 0]);
    // From 100 ms on none does.
    assert_eq!(running.advance(100).unwrap(), ["1 1 - 7"]);
    assert_eq!(
        running.operator.statistics().keys,
        1,
        "the row at 20 ms may begin another"
    );
    assert_eq!(running.advance(200).unwrap(), [""; 0]);
    assert_eq!(running.operator.statistics().keys, 0);
    assert_eq!(running.operator.output_watermark(200_000), 200_000);
}

#[test]
fn the_row_skipped_to_must_be_there_and_not_the_first() {
    let clauses = |skip: &str| {
        format!(
            "ORDER BY ts MEASURES A.v AS a AFTER MATCH SKIP TO LAST {skip} PATTERN (A B? C) DEFINE B AS B.v = 5, C AS C.v = 9"
        )
    };
    let error = |skip: &str| {
        let mut running = Running::new(&clauses(skip));
        running.process(&[(1, 1, 10), (1, 9, 20)]);
        running.advance(30).unwrap_err().to_string()
    };
    assert!(
        error("A").contains("a match begins with that row"),
        "{}",
        error("A")
    );
    assert!(error("B").contains("a match has no row for B"), "{}", error("B"));
    let mut running = Running::new(&clauses("C"));
    running.process(&[(1, 1, 10), (1, 9, 20), (1, 9, 30)]);
    assert_eq!(running.end(), ["1", "9"]);
}

#[test]
fn a_long_search_is_done_in_quanta() {
    // Every way of splitting the rows between A and B is tried before C fails.
    let clauses = "ORDER BY ts MEASURES FIRST(A.v) AS a PATTERN (A+ B+ C) DEFINE A AS A.v > 0, B AS B.v > 0, C AS C.v < 0";
    let mut running = Running::new(clauses);
    let rows: Vec<Row> = (0..300).map(|place| (1, 1, place)).collect();
    running.process(&rows);
    let mut quanta = 0;
    let mut firing = running.operator.advance(WATERMARK_END, &mut running.out).unwrap();
    while firing == Firing::More {
        quanta += 1;
        firing = running.operator.resume(&mut running.out).unwrap();
    }
    assert!(quanta > 10, "{quanta}");
    assert!(running.out.is_empty());
}

#[test]
fn aggregates_of_no_rows_are_null_and_their_count_is_0() {
    let clauses = "ORDER BY ts MEASURES COUNT(B.v) AS n, SUM(B.v) AS s, MAX(v) AS m, COUNT(*) AS c \
        AFTER MATCH SKIP PAST LAST ROW PATTERN (A B? C) DEFINE B AS B.v = 5, C AS SUM(v) > 2";
    let mut running = Running::new(clauses);
    running.process(&[(1, 1, 10), (1, 2, 20), (1, 1, 30), (1, 5, 40), (1, 3, 50)]);
    assert_eq!(running.end(), ["0 - 2 2", "1 5 5 3"]);
}
