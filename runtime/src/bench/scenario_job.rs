//! The job files of the scenarios, and the same jobs over other connectors.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use engine::compile::compile as compile_sql;
use engine::error::Position;
use engine::generators::trades::Scenario;
use engine::plan::{NodeKind, SourceSpec, StreamPlan};
use engine::sql::catalog::TableDefinition;
use engine::sql::statement::TableOption;

use crate::job::Job;

/// The name of the table that takes the results.
pub const RESULTS: &str = "results";

/// In whose words a query is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// Flink SQL.
    #[default]
    Flink,
    /// Velostream's SQL.
    Velostream,
}

impl Dialect {
    /// Both.
    pub const ALL: [Dialect; 2] = [Dialect::Flink, Dialect::Velostream];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Flink => "flink",
            Dialect::Velostream => "velostream",
        }
    }
}

/// The job file of a scenario, as it stands in `examples/scenarios`.
pub fn text(scenario: Scenario, dialect: Dialect) -> &'static str {
    macro_rules! job_file {
        ($name:literal) => {
            match dialect {
                Dialect::Flink => include_str!(concat!("../../../examples/scenarios/", $name, ".sql")),
                Dialect::Velostream => {
                    include_str!(concat!(
                        "../../../examples/scenarios/",
                        $name,
                        ".velostream.sql"
                    ))
                }
            }
        };
    }
    match scenario {
        Scenario::S0 => job_file!("s0"),
        Scenario::S1 => job_file!("s1"),
        Scenario::S2 => job_file!("s2"),
        Scenario::S3a => job_file!("s3a"),
        Scenario::S3b => job_file!("s3b"),
    }
}

/// The job file compiled for `shards`; a test compiles all of them.
pub fn compile(scenario: Scenario, dialect: Dialect, shards: usize) -> Job {
    let job = compile_sql(text(scenario, dialect), &[], Some(shards))
        .unwrap_or_else(|error| panic!("invariant: the file of {} compiles: {error}", scenario.name()));
    assert_eq!(
        source(&job.plan).table.name,
        scenario.table_name(),
        "invariant: the scenario's table is read"
    );
    job
}

/// The columns that the source table declares.
pub fn declared_columns(job: &Job) -> SchemaRef {
    source(&job.plan).table.ingest_schema()
}

/// The columns that the query needs.
pub fn wanted_columns(job: &Job) -> SchemaRef {
    let source = source(&job.plan);
    let declared = source.table.ingest_schema();
    let wanted = source.ingest.iter().map(|&index| declared.field(index).clone());
    Arc::new(Schema::new(wanted.collect::<Vec<_>>()))
}

/// The same job, its source table with these options instead of its own, and its results written
/// to a table [`RESULTS`] with the connector `sink`.
pub fn reconnect(job: &Job, source_options: &[(&str, String)], sink: &str) -> Job {
    let mut plan = StreamPlan::clone(&job.plan);
    for node in &mut plan.nodes {
        match &mut node.kind {
            NodeKind::Source(source) => {
                let options = source_options.iter().map(|(key, value)| option(key, value));
                source.table = Arc::new(TableDefinition {
                    options: options.collect(),
                    ..TableDefinition::clone(&source.table)
                });
            }
            NodeKind::Sink(spec) => spec.table = Some(Arc::new(results(sink))),
            _ => {}
        }
    }
    Job {
        plan: Arc::new(plan),
        explanations: job.explanations.clone(),
    }
}

/// The one source of a scenario's plan.
fn source(plan: &StreamPlan) -> &SourceSpec {
    let mut sources = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source(source) => Some(source),
        _ => None,
    });
    let first = sources.next().expect("invariant: a scenario reads a table");
    assert!(sources.next().is_none(), "invariant: it reads one table");
    first
}

/// A table without columns takes those of the query.
fn results(connector: &str) -> TableDefinition {
    TableDefinition {
        name: RESULTS.to_owned(),
        position: Position::default(),
        columns: Vec::new(),
        watermark: None,
        primary_key: Vec::new(),
        options: vec![option("connector", connector)],
        rows: None,
    }
}

fn option(key: &str, value: &str) -> TableOption {
    TableOption {
        key: key.to_owned(),
        key_position: Position::default(),
        value: value.to_owned(),
        value_position: Position::default(),
    }
}
