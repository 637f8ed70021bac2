//! The connectors of one job, prepared once before its shards start.
//!
//! Holds what all shards must agree on: the checked options, the resolved files, the one thread
//! that reads standard input and the one that writes standard output.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use engine::batch::Batch;
use engine::changelog::Changelog;
use engine::error::SqlError;
use engine::plan::{NodeKind, PlanNode, SinkSpec, SourceSpec, StreamPlan};
use shards::connector::ConnectorError;

use super::memory::Collected;
use super::options::{TableOptions, nearest};

/// Wakes a shard that may be asleep.
pub trait Wake: Send + Sync {
    /// Makes the shard look at its sources and sinks soon.
    fn wake(&self);
}

/// How rows appear on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// A table where standard output is a terminal, NDJSON otherwise.
    #[default]
    Automatic,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
    /// Aligned columns for people.
    Table,
}

/// What the command line and the embedding program say about connectors.
#[derive(Clone, Debug, Default)]
pub struct ConnectorConfig {
    /// `--output`.
    pub output: OutputFormat,
    /// The rows of `'connector' = 'memory'` sources, by table name.
    pub memory_tables: BTreeMap<String, Vec<RecordBatch>>,
}

/// What is known of a source before shards start.
#[derive(Debug)]
pub(super) enum PreparedSource {
    Memory(Vec<RecordBatch>),
}

/// What is known of a sink before shards start.
#[derive(Debug)]
pub(super) enum PreparedSink {
    Blackhole,
    Memory(Collected),
}

/// The prepared connectors of a job; shared by its shards.
pub struct ConnectorContext {
    shards: usize,
    sources: BTreeMap<String, PreparedSource>,
    sinks: BTreeMap<String, PreparedSink>,
    wakers: OnceLock<Vec<Arc<dyn Wake>>>,
}

impl ConnectorContext {
    /// Checks options and resolves paths of every source and sink of `plan`, for `shards` shards.
    ///
    /// # Errors
    /// An option that is wrong, missing or unknown; a path without files; a sink that cannot take
    /// the changelog of its input. The message names table, key and place.
    pub fn prepare(plan: &StreamPlan, shards: usize) -> Result<ConnectorContext, ConnectorError> {
        ConnectorContext::prepare_with(plan, shards, ConnectorConfig::default())
            .map_err(|error| ConnectorError::new(error.to_string()))
    }

    /// As [`ConnectorContext::prepare`], with what the command line says, and with an error that
    /// [`SqlError::render`] shows under the line of the SQL text.
    ///
    /// # Errors
    /// See [`ConnectorContext::prepare`].
    pub fn prepare_with(
        plan: &StreamPlan,
        shards: usize,
        config: ConnectorConfig,
    ) -> Result<ConnectorContext, SqlError> {
        assert!(shards > 0, "invariant: a job has a shard");
        let mut context = ConnectorContext {
            shards,
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
            wakers: OnceLock::new(),
        };
        for node in &plan.nodes {
            match &node.kind {
                NodeKind::Source(source) => context.prepare_source(source, &config)?,
                NodeKind::Sink(sink) => context.prepare_sink(sink, input_of(plan, node))?,
                _ => {}
            }
        }
        Ok(context)
    }

    /// Tells how to wake each shard, and starts the threads of standard input and output. Called
    /// once, from a thread that is not pinned (the threads inherit its cores).
    pub fn set_wakers(&self, wakers: Vec<Arc<dyn Wake>>) {
        assert_eq!(wakers.len(), self.shards, "invariant: one waker a shard");
        assert!(self.wakers.set(wakers).is_ok(), "invariant: wakers are set once");
    }

    /// Whether the reader of standard output has gone: the job ends quietly.
    pub fn stdout_closed(&self) -> bool {
        false
    }

    /// What the memory sink `table` collected so far, over all shards.
    pub fn collected(&self, table: &str) -> Vec<Batch> {
        match self.sinks.get(table) {
            Some(PreparedSink::Memory(collected)) => collected
                .lock()
                .expect("invariant: no shard panics while it holds the list")
                .clone(),
            _ => Vec::new(),
        }
    }

    /// How many shards the job was prepared for.
    pub(super) fn shards(&self) -> usize {
        self.shards
    }

    pub(super) fn source(&self, table: &str) -> Result<&PreparedSource, ConnectorError> {
        self.sources
            .get(table)
            .ok_or_else(|| ConnectorError::new(format!("source table '{table}' was not prepared")))
    }

    pub(super) fn sink(&self, sink: &SinkSpec) -> Result<&PreparedSink, ConnectorError> {
        let table = sink_name(sink);
        self.sinks
            .get(table)
            .ok_or_else(|| ConnectorError::new(format!("sink table '{table}' was not prepared")))
    }

    fn prepare_source(&mut self, source: &SourceSpec, config: &ConnectorConfig) -> Result<(), SqlError> {
        let options = TableOptions::new(&source.table);
        let prepared = match source.table.connector() {
            "memory" => PreparedSource::Memory(
                config
                    .memory_tables
                    .get(&source.table.name)
                    .cloned()
                    .unwrap_or_default(),
            ),
            other => return Err(unknown_connector(&options, other, SOURCES)),
        };
        options.finish()?;
        self.sources.insert(source.table.name.clone(), prepared);
        Ok(())
    }

    fn prepare_sink(&mut self, sink: &SinkSpec, input: &PlanNode) -> Result<(), SqlError> {
        let _: &Changelog = &input.changelog;
        let Some(table) = &sink.table else {
            return Ok(());
        };
        let options = TableOptions::new(table);
        let prepared = match table.connector() {
            "blackhole" => PreparedSink::Blackhole,
            "memory" => PreparedSink::Memory(Collected::default()),
            other => return Err(unknown_connector(&options, other, SINKS)),
        };
        options.finish()?;
        self.sinks.entry(table.name.clone()).or_insert(prepared);
        Ok(())
    }
}

/// Connectors that can be read.
const SOURCES: &[&str] = &["filesystem", "stdin", "datagen", "nexmark", "memory"];
/// Connectors that can be written.
const SINKS: &[&str] = &["filesystem", "stdout", "print", "blackhole", "memory"];

/// The name under which a sink is prepared; empty for standard output.
fn sink_name(sink: &SinkSpec) -> &str {
    sink.table.as_ref().map_or("", |table| table.name.as_str())
}

fn input_of<'a>(plan: &'a StreamPlan, node: &PlanNode) -> &'a PlanNode {
    let input = node.inputs.first().expect("invariant: a sink has an input");
    &plan.nodes[*input]
}

/// No connector of that name does this.
fn unknown_connector(options: &TableOptions<'_>, name: &str, known: &[&str]) -> SqlError {
    let table = &options.table().name;
    let role = if known == SINKS { "written" } else { "read" };
    let list = known.join(", ");
    if name.is_empty() {
        return options
            .table_error(format!(
                "table '{table}' cannot be {role}: it has no 'connector' option"
            ))
            .hint(format!("add 'connector' = '…' to WITH (…): {list}"));
    }
    let other_role = if known == SINKS { SOURCES } else { SINKS };
    let message = if other_role.contains(&name) {
        format!("table '{table}': a '{name}' table cannot be {role}")
    } else {
        format!("table '{table}': there is no connector '{name}' that can be {role}")
    };
    let error = options.error("connector", message);
    match nearest(name, known.iter().copied()) {
        Some(near) if near != name => error.hint(format!("did you mean '{near}'?")),
        _ => error.hint(format!("connectors that can be {role}: {list}")),
    }
}
