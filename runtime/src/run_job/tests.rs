//! Whole jobs in this process: rows from memory to memory on both executors.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use engine::batch::Batch;
use engine::changelog::Changelog;
use engine::plan::{
    Distribution, ExchangeSpec, ExchangeTarget, NodeId, PlanNode, Settings, SinkSpec, SourceSpec, StateGrowth,
};
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Prepared, Sink, Source, SourcePoll, SplitId};
use shards::epoch::Epoch;

use super::*;
use crate::connectors::testing::{TemporaryDirectory, sink_spec, source_spec, table};
use crate::histograms::{HistogramSet, read};
use crate::summary::EVENT_LATENCY;

/// Rows `0..rows` of one BIGINT column.
fn numbers(rows: i64) -> RecordBatch {
    let values = Int64Array::from_iter_values(0..rows);
    let source = table("numbers", &[("n", DataType::Int64)], &[]);
    RecordBatch::try_new(source.schema(), vec![Arc::new(values)]).expect("one column")
}

/// Source → exchange by n → sink.
fn job() -> Job {
    let mut source = source_spec(table(
        "numbers",
        &[("n", DataType::Int64)],
        &[("connector", "memory")],
    ));
    let field = source.table.schema().field(0).clone();
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("n", 0));
    source.output = vec![(column, Arc::new(field))];
    let schema = source.table.schema();
    let sink = sink_spec(table(
        "results",
        &[("n", DataType::Int64)],
        &[("connector", "memory")],
    ));
    let exchange = ExchangeSpec {
        target: ExchangeTarget::Owner(vec![0]),
        reason: "a test".into(),
    };
    let kinds = [
        NodeKind::Source(source),
        NodeKind::Exchange(exchange),
        NodeKind::Sink(sink),
    ];
    let node = |(id, kind): (NodeId, NodeKind)| PlanNode {
        id,
        kind,
        inputs: id.checked_sub(1).into_iter().collect(),
        schema: schema.clone(),
        changelog: Changelog::Append,
        event_time: None,
        distribution: Distribution::Source,
        growth: StateGrowth::Stateless,
    };
    let nodes = kinds.into_iter().enumerate().map(node).collect();
    let plan = Arc::new(StreamPlan {
        nodes,
        settings: Settings::default(),
    });
    Job {
        plan,
        explanations: Vec::new(),
    }
}

fn options(shards: usize, fallback: bool) -> RunOptions {
    let core = crate::cores::allowed().expect("allowed")[0];
    RunOptions {
        fallback,
        ..RunOptions::on_cores(vec![core; shards])
    }
}

/// Runs the job over `rows` rows and gives the sorted results.
fn run_numbers(rows: i64, options: RunOptions) -> (Vec<i64>, RunReport) {
    let shards = options.cores.len();
    let batch = numbers(rows);
    let batches = (0..rows as usize)
        .step_by(1000)
        .map(|row| batch.slice(row, 1000.min(rows as usize - row)));
    let mut config = ConnectorConfig::default();
    config.memory_tables.insert("numbers".into(), batches.collect());
    let job = job();
    let context = ConnectorContext::prepare_with(&job.plan, shards, config).expect("prepared");
    let context = Arc::new(context);
    let options = RunOptions {
        connectors: Connectors::Given(context.clone()),
        ..options
    };
    let report = run_job(&job, &options).expect("ran");
    let collected = context.collected("results");
    let values = collected
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    (values, report)
}

#[test]
fn every_row_reaches_the_sink_once_on_any_number_of_shards_and_both_executors() {
    for fallback in [true, false] {
        for shards in [1, 2, 5] {
            let (values, report) = run_numbers(20_500, options(shards, fallback));
            assert_eq!(
                values,
                (0..20_500).collect::<Vec<i64>>(),
                "{shards} shards, fallback {fallback}"
            );
            assert_eq!(
                (report.progress.rows_in, report.progress.rows_out),
                (20_500, 20_500)
            );
            assert_eq!(
                report.histogram(EVENT_LATENCY).map(|histogram| histogram.len()),
                Some(20_500)
            );
            assert_eq!(report.shards, shards);
        }
    }
}

#[test]
fn histograms_are_written_at_the_end_and_can_be_read_back() {
    let directory = TemporaryDirectory::create();
    let mut options = options(2, true);
    options.histogram_directory = Some(directory.path().to_path_buf());
    let (_, report) = run_numbers(5_000, options);
    let mut set = HistogramSet::new();
    for entry in std::fs::read_dir(directory.path()).expect("listed") {
        read::read_into(&mut set, &entry.expect("an entry").path()).expect("read");
    }
    assert_eq!(set, report.histograms);
    assert!(
        set.keys()
            .any(|tag| tag.starts_with("shard-1/service/1-Exchange")),
        "{:?}",
        set.keys()
    );
}

/// A source that ends, fails or panics after its first batch on shard 0; empty elsewhere.
struct Scripted {
    shard: usize,
    polls: usize,
    end: fn() -> Result<SourcePoll, ConnectorError>,
}

impl Source for Scripted {
    fn splits(&self) -> Vec<SplitId> {
        Vec::new()
    }

    fn poll(&mut self, now: Nanos, _rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        self.polls += 1;
        match (self.shard, self.polls) {
            (0, 1) => Ok(SourcePoll::Rows {
                split: 0,
                rows: numbers(10),
                arrival_ns: now,
            }),
            (0, _) => (self.end)(),
            // Other shards would run for ever.
            _ => Ok(SourcePoll::Pending { poll_at: None }),
        }
    }
}

/// A sink that counts rows.
struct Counting(Arc<AtomicU64>);

impl Sink for Counting {
    fn ready(&mut self) -> bool {
        true
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        Ok(true)
    }
}

struct ScriptedConnectors {
    written: Arc<AtomicU64>,
    end: fn() -> Result<SourcePoll, ConnectorError>,
}

impl ConnectorFactory for ScriptedConnectors {
    fn source(
        &self,
        _node: NodeId,
        _source: &SourceSpec,
        shard: usize,
        _shards: usize,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        Ok(Box::new(Scripted {
            shard,
            polls: 0,
            end: self.end,
        }))
    }

    fn sink(
        &self,
        _node: NodeId,
        _sink: &SinkSpec,
        _schema: SchemaRef,
        _changelog: &Changelog,
        _shard: usize,
        _shards: usize,
    ) -> Result<Box<dyn Sink>, ConnectorError> {
        Ok(Box::new(Counting(self.written.clone())))
    }

    fn commit(&self, prepared: &[Prepared]) -> Result<(), ConnectorError> {
        assert!(prepared.is_empty(), "rows are seen as they are written");
        Ok(())
    }

    fn abort_after(&self, _job: &str, _epoch: Epoch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn check_positions(&self) -> Result<Vec<String>, ConnectorError> {
        Ok(Vec::new())
    }
}

/// Runs a job whose source on shard 0 fails so; gives message and rows written.
fn check_failure(end: fn() -> Result<SourcePoll, ConnectorError>) -> Vec<(String, u64)> {
    let run = |fallback| {
        let written = Arc::new(AtomicU64::new(0));
        let factory = ScriptedConnectors {
            written: written.clone(),
            end,
        };
        let options = RunOptions {
            connectors: Connectors::Given(Arc::new(factory)),
            ..options(3, fallback)
        };
        let error = run_job(&job(), &options).expect_err("fails");
        assert!(matches!(error, RunError::Failed { .. }), "{error:?}");
        (error.to_string(), written.load(Ordering::Relaxed))
    };
    vec![run(true), run(false)]
}

#[test]
fn a_failing_source_stops_all_shards_after_what_was_complete() {
    for (message, written) in check_failure(|| Err(ConnectorError::new("bids.ndjson, line 11: no JSON"))) {
        assert_eq!(message, "bids.ndjson, line 11: no JSON");
        assert_eq!(written, 10, "rows read before the failure are written");
    }
}

#[test]
fn a_panicking_shard_stops_all_shards_with_its_message() {
    for (message, _) in check_failure(|| panic!("invariant: a block holds whole lines")) {
        assert_eq!(
            message,
            "shard 0 stopped on a broken invariant: invariant: a block holds whole lines; \
             this is a bug in Velocore, please report it"
        );
    }
}

#[test]
fn a_job_needs_a_shard() {
    assert!(matches!(
        run_job(&job(), &RunOptions::on_cores(Vec::new())),
        Err(RunError::Usage(_))
    ));
}
