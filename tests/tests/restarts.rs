//! Jobs that are stopped where something else has just happened, and go on from their snapshots.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::util::pretty::pretty_format_batches;
use engine::compile::compile;
use runtime::connectors::ConnectorContext;
use runtime::job_test::drive::{Drive, Given};

const JOB: &str = "
SET 'table.exec.source.idle-timeout' = '2 s';
CREATE TABLE event (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'memory');
SELECT A.id, B.id AS other FROM event AS A LEFT JOIN event AS B
ON A.id = B.id + 100 AND B.ts BETWEEN A.ts - INTERVAL '1' SECOND AND A.ts;";

fn event(drive: &Drive, id: i64, ts: i64) -> RecordBatch {
    let spec = &drive.inlets()[0].spec;
    let schema = spec.table.ingest_schema();
    let fields = spec.ingest.iter().map(|&column| schema.field(column).clone());
    let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "id" => Arc::new(Int64Array::from(vec![id])) as Arc<dyn arrow::array::Array>,
        _ => Arc::new(TimestampMillisecondArray::from(vec![ts])),
    });
    let columns = columns.collect();
    RecordBatch::try_new(Arc::new(schema), columns).expect("the columns of the table")
}

#[test]
fn what_a_job_holds_is_written_once_though_its_sources_fell_idle_before() {
    for shards in [1, 3] {
        let job = compile(JOB, &[], Some(shards)).expect("it compiles");
        let context = ConnectorContext::prepare(&job.plan, shards).expect("nothing to prepare");
        let mut drive = Drive::new(&job.plan, shards, &context, |_| true).expect("it starts");
        drive.give(0, Given::Rows(event(&drive, 1, 5_000)));
        drive.settle().expect("it runs");
        drive.advance(10_000_000);
        drive.settle().expect("it falls idle");
        let mut drive = drive
            .restart(&job.plan, shards, &context, |_| true)
            .expect("it goes on");
        drive.finish().expect("it ends");
        let batches: Vec<RecordBatch> = drive
            .take()
            .iter()
            .map(|(_, batch)| batch.rows().clone())
            .collect();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let text = pretty_format_batches(&batches).expect("rows are text");
        assert_eq!(rows, 1, "on {shards} shards:\n{text}");
    }
}
