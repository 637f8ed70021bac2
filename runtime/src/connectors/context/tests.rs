//! Preparing a job's connectors: what is refused, and rows from a source to a sink.

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use engine::changelog::Changelog;
use engine::plan::{Distribution, Settings, StateGrowth};
use engine::sql::catalog::TableDefinition;
use shards::connector::SourcePoll;

use super::*;
use crate::connectors::testing::{TemporaryDirectory, sink_spec, source_spec, table};
use crate::connectors::{make_sink, make_source};

const COLUMNS: &[(&str, DataType)] = &[("id", DataType::Int64)];

/// A job that copies one table into another.
fn copy(from: TableDefinition, into: TableDefinition, changelog: Changelog) -> StreamPlan {
    let schema = from.ingest_schema();
    let kinds = [
        NodeKind::Source(source_spec(from)),
        NodeKind::Sink(sink_spec(into)),
    ];
    let nodes = kinds.into_iter().enumerate().map(|(id, kind)| PlanNode {
        id,
        kind,
        inputs: (0..id).collect(),
        schema: schema.clone(),
        changelog: changelog.clone(),
        event_time: None,
        distribution: Distribution::Source,
        growth: StateGrowth::Stateless,
    });
    StreamPlan {
        nodes: nodes.collect(),
        settings: Settings::default(),
    }
}

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from_iter_values(range)) as _)]).unwrap()
}

/// Runs the copy on `shards` shards, one after the other.
fn run(plan: &StreamPlan, shards: usize, config: ConnectorConfig) -> ConnectorContext {
    let context = ConnectorContext::prepare_with(plan, shards, config).unwrap();
    let (NodeKind::Source(source), NodeKind::Sink(sink)) = (&plan.nodes[0].kind, &plan.nodes[1].kind) else {
        panic!("a copy has a source and a sink");
    };
    for shard in 0..shards {
        let mut source = make_source(source, shard, shards, &context).unwrap();
        let schema = plan.nodes[0].schema.clone();
        let mut sink = make_sink(sink, schema, &plan.nodes[0].changelog, shard, shards, &context).unwrap();
        loop {
            match source.poll(0, 100).unwrap() {
                SourcePoll::Rows { rows, .. } => {
                    assert!(sink.ready());
                    sink.write(&Batch::append(rows, 0)).unwrap();
                }
                SourcePoll::SplitEnd(_) | SourcePoll::Watermark { .. } => {}
                SourcePoll::Pending { .. } => panic!("a bounded source has rows or ends"),
                SourcePoll::End => break,
            }
        }
        sink.flush().unwrap();
        assert!(sink.close().unwrap());
    }
    context
}

#[test]
fn rows_of_a_memory_table_reach_a_memory_sink_once_for_one_to_seven_shards() {
    for shards in 1..=7 {
        let from = table("numbers", COLUMNS, &[("connector", "memory")]);
        let into = table("result", COLUMNS, &[("connector", "memory")]);
        let mut config = ConnectorConfig::default();
        let batches = vec![
            numbers(0..250),
            numbers(250..251),
            numbers(251..251),
            numbers(251..1000),
        ];
        config.memory_tables.insert("numbers".to_string(), batches);
        let context = run(&copy(from, into, Changelog::Append), shards, config);
        let mut ids: Vec<i64> = Vec::new();
        for batch in context.collected("result") {
            ids.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..1000).collect::<Vec<i64>>());
    }
}

#[test]
fn what_a_filesystem_sink_writes_a_filesystem_source_reads() {
    for format in ["json", "parquet"] {
        let directory = TemporaryDirectory::create();
        let path = directory.path().to_str().unwrap();
        let files = [("connector", "filesystem"), ("path", path), ("format", format)];
        let memory = || table("memory", COLUMNS, &[("connector", "memory")]);
        let mut config = ConnectorConfig::default();
        let batches = vec![numbers(0..500), numbers(500..1000)];
        config.memory_tables.insert("memory".to_string(), batches);
        run(
            &copy(memory(), table("files", COLUMNS, &files), Changelog::Append),
            2,
            config,
        );
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);

        let back = copy(table("files", COLUMNS, &files), memory(), Changelog::Append);
        let context = run(&back, 3, ConnectorConfig::default());
        let rows: usize = context.collected("memory").iter().map(Batch::len).sum();
        assert_eq!(rows, 1000, "{format}");
    }
}

fn refusal(from: &[(&str, &str)], into: &[(&str, &str)]) -> String {
    let plan = copy(
        table("a", COLUMNS, from),
        table("b", COLUMNS, into),
        Changelog::Append,
    );
    let prepared = ConnectorContext::prepare(&plan, 1);
    prepared.err().expect("the job is refused").message
}

#[test]
fn unknown_connectors_and_options_are_refused_with_the_nearest_name_and_place() {
    let memory = [("connector", "memory")];
    let error = refusal(&[("connector", "filesystm")], &memory);
    assert!(
        error.contains("filesystm") && error.contains("did you mean `filesystem`?"),
        "{error}"
    );
    assert!(error.contains("line 1, column 1"), "{error}");
    let error = refusal(&[("connector", "blackhole")], &memory);
    assert!(error.contains("a 'blackhole' table cannot be read"), "{error}");
    let error = refusal(&[], &memory);
    assert!(error.contains("no 'connector' option"), "{error}");
    let error = refusal(&memory, &[("connector", "print"), ("sink.print-identifer", "x")]);
    assert!(error.contains("did you mean `sink.print-identifier`?"), "{error}");
}
