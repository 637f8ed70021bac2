//! The connectors of one job, prepared once before its shards start.
//!
//! Holds what all shards must agree on: the checked options, the resolved files, the one thread
//! that reads standard input and the one that writes standard output.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::batch::Batch;
use engine::error::SqlError;
use engine::formats::encode_changelog_text::ChangelogTextEncoder;
use engine::plan::lower_values::VALUES;
use engine::plan::{NodeKind, PlanNode, SinkSpec, SourceSpec, StreamPlan};
use shards::connector::{ConnectorError, Prepared};
use shards::epoch::Epoch;

use super::datagen::DatagenSource;
use super::filesystem::FilesystemTable;
use super::filesystem::compression::Compression;
use super::filesystem::sink::{self, FilesystemSinkTable, SinkEpochs};
use super::format::{FormatKind, RowFormat};
use super::http::HttpTable;
use super::ingest::IngestLayout;
use super::kafka::sink::{Guarantee, KafkaSinkTable};
use super::kafka::spool::Spooled;
use super::kafka::table::KafkaTable;
use super::memory::Collected;
use super::nexmark::NexmarkSource;
use super::options::TableOptions;
use super::stdin::StandardInput;
use super::stdout::StandardOutput;
use super::tcp::TcpTable;
use super::values::ValuesSource;

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
    /// The epochs of a job that takes checkpoints.
    pub epochs: Option<SinkEpochs>,
}

/// What is known of a source before shards start.
#[derive(Debug)]
pub(super) enum PreparedSource {
    Filesystem(Arc<FilesystemTable>),
    Kafka(Arc<KafkaTable>),
    StandardInput(StandardInput),
    Tcp(Arc<TcpTable>),
    Http(Arc<HttpTable>),
    Datagen(DatagenSource),
    Values(ValuesSource),
    Nexmark(NexmarkSource),
    Memory(Vec<RecordBatch>),
}

/// What is known of a sink before shards start.
#[derive(Debug)]
pub(super) enum PreparedSink {
    Filesystem(FilesystemSinkTable),
    Kafka(Arc<KafkaSinkTable>),
    Tcp(Arc<TcpTable>),
    Print(ChangelogTextEncoder),
    Lines(RowFormat),
    Table,
    Blackhole,
    Memory(Collected),
}

/// The prepared connectors of a job; shared by its shards.
pub struct ConnectorContext {
    shards: usize,
    sources: BTreeMap<String, PreparedSource>,
    sinks: BTreeMap<String, PreparedSink>,
    stdout: Option<Arc<StandardOutput>>,
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
            stdout: None,
        };
        for node in &plan.nodes {
            match &node.kind {
                NodeKind::Source(source) => context.prepare_source(source, &config)?,
                NodeKind::Sink(sink) => context.prepare_sink(sink, input_of(plan, node), &config)?,
                _ => {}
            }
        }
        Ok(context)
    }

    /// Tells how to wake each shard, and starts the threads of standard input and output. Called
    /// once, before shards run, from a thread that is not pinned (the threads inherit its cores).
    ///
    /// # Errors
    /// When standard input or output is not open.
    pub fn set_wakers(&self, wakers: Vec<Arc<dyn Wake>>) -> Result<(), ConnectorError> {
        assert_eq!(wakers.len(), self.shards, "invariant: one waker a shard");
        if let Some(stdout) = &self.stdout {
            let descriptor = rustix::stdio::stdout().try_clone_to_owned();
            let descriptor = descriptor
                .map_err(|error| ConnectorError::new(format!("cannot write to standard output: {error}")))?;
            stdout.start(File::from(descriptor), wakers.clone());
        }
        for sink in self.sinks.values() {
            match sink {
                PreparedSink::Kafka(table) => table.start(&wakers)?,
                PreparedSink::Tcp(table) => table.start(&wakers)?,
                _ => {}
            }
        }
        for source in self.sources.values() {
            match source {
                PreparedSource::Kafka(table) => table.start(&wakers)?,
                PreparedSource::Tcp(table) => table.start(&wakers)?,
                PreparedSource::Http(table) => table.start(&wakers)?,
                PreparedSource::StandardInput(input) => start_standard_input(input, wakers.clone())?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Shows output that an epoch prepared.
    ///
    /// # Errors
    /// It is lost, or cannot be shown.
    pub fn commit(&self, prepared: &[Prepared]) -> Result<(), ConnectorError> {
        let mut spools: BTreeMap<String, Vec<Spooled>> = BTreeMap::new();
        for prepared in prepared {
            match Spooled::read(prepared)? {
                Some(spooled) => spools.entry(spooled.table.clone()).or_default().push(spooled),
                None => sink::commit(prepared)?,
            }
        }
        for (table, spools) in spools {
            let Some(PreparedSink::Kafka(table)) = self.sinks.get(&table) else {
                return Err(ConnectorError::new(format!(
                    "the checkpoint holds output for the topic of table '{table}', which the job does not write any more; run \
                     the job once more as it was, or start with another checkpoint directory"
                )));
            };
            table.commit(spools)?;
        }
        Ok(())
    }

    /// Epochs up to `epoch`, counted since the job started, are committed: who waits for that is told.
    pub fn committed(&self, epoch: Epoch) {
        for source in self.sources.values() {
            if let PreparedSource::Http(table) = source {
                table.committed(epoch);
            }
        }
    }

    /// The job has come to its end, and its last epoch is committed: waits until whoever looks sees its output.
    ///
    /// # Errors
    /// The outside world refuses.
    pub fn end(&self) -> Result<(), ConnectorError> {
        self.sinks.values().try_for_each(|sink| match sink {
            PreparedSink::Kafka(table) => table.end(),
            _ => Ok(()),
        })
    }

    /// Takes back what `job` wrote behind `epoch`.
    ///
    /// # Errors
    /// The outside world refuses.
    pub fn abort_after(&self, job: &str, epoch: Epoch) -> Result<(), ConnectorError> {
        self.sinks.values().try_for_each(|sink| match sink {
            PreparedSink::Filesystem(table) => table.directory().abort_after(job, epoch),
            PreparedSink::Kafka(table) => table.abort_after(epoch),
            _ => Ok(()),
        })
    }

    /// What a job with checkpoints must know of its sources: those that cannot be read again are told, one a
    /// line.
    ///
    /// # Errors
    /// A source would be read from its beginning again.
    pub fn check_positions(&self) -> Result<Vec<String>, ConnectorError> {
        let mut notes = Vec::new();
        for (name, source) in &self.sources {
            match source {
                PreparedSource::Memory(_) => {
                    return Err(ConnectorError::new(format!(
                        "table '{name}' lies in memory, which checkpoints do not cover; run without them"
                    )));
                }
                PreparedSource::StandardInput(_) => notes.push(format!(
                    "table '{name}' reads standard input, which cannot be read again: rows since the last \
                     checkpoint are lost with the process (at most once)"
                )),
                PreparedSource::Tcp(_) => notes.push(format!(
                    "table '{name}' reads a socket, which cannot be read again: rows since the last checkpoint are lost \
                     with the process (at most once)"
                )),
                PreparedSource::Filesystem(_)
                | PreparedSource::Kafka(_)
                | PreparedSource::Http(_)
                | PreparedSource::Datagen(_)
                | PreparedSource::Values(_)
                | PreparedSource::Nexmark(_) => {}
            }
        }
        for (name, sink) in &self.sinks {
            if let PreparedSink::Kafka(table) = sink
                && table.guarantee() == Guarantee::None
            {
                notes.push(format!(
                    "table '{name}' is written without a guarantee: a crash may lose rows"
                ));
            }
        }
        Ok(notes)
    }

    /// Whether the reader of standard output has gone: the job ends quietly.
    pub fn stdout_closed(&self) -> bool {
        self.stdout.as_ref().is_some_and(|stdout| stdout.is_closed())
    }

    /// How many blocks standard output has taken, if more wait for it.
    pub fn stdout_backlog(&self) -> Option<u64> {
        self.stdout.as_ref()?.backlog()
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

    /// The queue to standard output; there is one if a sink writes there.
    pub(super) fn stdout(&self) -> Arc<StandardOutput> {
        let stdout = self.stdout.as_ref();
        Arc::clone(stdout.expect("invariant: standard output is prepared with the sinks that write there"))
    }

    fn prepare_source(&mut self, source: &SourceSpec, config: &ConnectorConfig) -> Result<(), SqlError> {
        let layout = IngestLayout::new(source);
        let name = &source.table.name;
        if source.table.connector() == VALUES {
            let prepared = PreparedSource::Values(ValuesSource::prepare(&source.table, &layout));
            self.sources.insert(name.clone(), prepared);
            return Ok(());
        }
        let options = TableOptions::new(&source.table)?;
        let prepared = match source.table.connector() {
            "filesystem" => {
                PreparedSource::Filesystem(Arc::new(FilesystemTable::prepare(&options, &layout)?))
            }
            "kafka" | "upsert-kafka" => {
                PreparedSource::Kafka(Arc::new(KafkaTable::prepare(source, &options)?))
            }
            "stdin" => {
                let is_read = |source: &PreparedSource| matches!(source, PreparedSource::StandardInput(_));
                if self.sources.values().any(is_read) {
                    return Err(options
                        .table_error("standard input is read by two sources, but can be read only once")
                        .hint("read it through one table, and use the same columns in every statement"));
                }
                let readers = source.watermark.as_ref().map_or(self.shards, |_| 1);
                let input = StandardInput::prepare(&options, &layout, self.shards, readers)?;
                PreparedSource::StandardInput(input)
            }
            "tcp" | "http" if self.sources.contains_key(name) => {
                return Err(options
                    .table_error(format!(
                        "table '{name}' is read by two sources, but what comes can be read only once"
                    ))
                    .hint("use the same columns in every statement"));
            }
            "tcp" => PreparedSource::Tcp(Arc::new(TcpTable::source(&options, &layout, self.shards)?)),
            "http" => {
                let has_checkpoints = config.epochs.is_some();
                let table = HttpTable::prepare(&options, &layout, has_checkpoints)?;
                PreparedSource::Http(Arc::new(table))
            }
            "datagen" => PreparedSource::Datagen(DatagenSource::prepare(&options, &layout)?),
            "nexmark" => PreparedSource::Nexmark(NexmarkSource::prepare(&options, &layout)?),
            "memory" => PreparedSource::Memory(config.memory_tables.get(name).cloned().unwrap_or_default()),
            other => return Err(wrong_direction(&options, other, SOURCES)),
        };
        self.sources.insert(name.clone(), prepared);
        Ok(())
    }

    fn prepare_sink(
        &mut self,
        sink: &SinkSpec,
        input: &PlanNode,
        config: &ConnectorConfig,
    ) -> Result<(), SqlError> {
        let name = sink_name(sink).to_string();
        let prepared = match &sink.table {
            None => match standard_output(config.output) {
                OutputFormat::Csv => PreparedSink::Lines(RowFormat::default_csv()),
                OutputFormat::Table => PreparedSink::Table,
                _ => PreparedSink::Lines(RowFormat::default_json()),
            },
            Some(table) => {
                let options = TableOptions::new(table)?;

                match table.connector() {
                    "filesystem" => {
                        let table = FilesystemSinkTable::prepare(&options, &input.changelog)?;
                        PreparedSink::Filesystem(table.in_epochs(config.epochs.clone()))
                    }
                    "kafka" | "upsert-kafka" => PreparedSink::Kafka(Arc::new(KafkaSinkTable::prepare(
                        &options,
                        &input.changelog,
                        config.epochs.clone(),
                    )?)),
                    "tcp" if self.sinks.contains_key(&name) => {
                        return Err(options
                            .table_error(format!(
                                "table '{name}' is written by two statements, and has one connection a shard"
                            ))
                            .hint("write both with UNION ALL"));
                    }
                    "tcp" => {
                        let table = TcpTable::sink(&options, &input.changelog, self.shards)?;
                        PreparedSink::Tcp(Arc::new(table))
                    }
                    "stdout" => prepare_stdout(&options, config.output)?,
                    "print" => PreparedSink::Print(ChangelogTextEncoder::new(
                        options
                            .text("sink.print-identifier")
                            .or(options.text("print-identifier")),
                    )),
                    "blackhole" => PreparedSink::Blackhole,
                    "memory" => PreparedSink::Memory(Collected::default()),
                    other => return Err(wrong_direction(&options, other, SINKS)),
                }
            }
        };
        if matches!(
            prepared,
            PreparedSink::Lines(_) | PreparedSink::Table | PreparedSink::Print(_)
        ) {
            self.stdout
                .get_or_insert_with(|| Arc::new(StandardOutput::new(self.shards)));
        }
        self.sinks.entry(name).or_insert(prepared);
        Ok(())
    }
}

/// What `Automatic` means here: a table for a person, NDJSON for a program.
fn standard_output(wanted: OutputFormat) -> OutputFormat {
    match wanted {
        OutputFormat::Automatic if rustix::termios::isatty(rustix::stdio::stdout()) => OutputFormat::Table,
        OutputFormat::Automatic => OutputFormat::Ndjson,
        chosen => chosen,
    }
}

/// A `stdout` table: its `format` decides, then the command line.
fn prepare_stdout(options: &TableOptions<'_>, output: OutputFormat) -> Result<PreparedSink, SqlError> {
    if Compression::parse(options)?.is_some_and(|wanted| wanted != Compression::None) {
        return Err(options
            .error("compression", "standard output is not compressed")
            .hint("pipe it into gzip or zstd"));
    }
    if options.text("format").is_none() {
        return Ok(match standard_output(output) {
            OutputFormat::Csv => PreparedSink::Lines(RowFormat::default_csv()),
            OutputFormat::Table => PreparedSink::Table,
            _ => PreparedSink::Lines(RowFormat::default_json()),
        });
    }
    match FormatKind::parse(options, None)? {
        FormatKind::Rows(format) => Ok(PreparedSink::Lines(format)),
        FormatKind::Parquet => Err(options.invalid("format", "one of 'json', 'csv'")),
    }
}

/// Starts the thread that reads standard input for the shards.
fn start_standard_input(input: &StandardInput, wakers: Vec<Arc<dyn Wake>>) -> Result<(), ConnectorError> {
    let descriptor = rustix::stdio::stdin().try_clone_to_owned();
    let descriptor =
        descriptor.map_err(|error| ConnectorError::new(format!("cannot read standard input: {error}")))?;
    // A bigger pipe means fewer switches between producer and reader; only a wish.
    let _ = rustix::pipe::fcntl_setpipe_size(&descriptor, 1 << 20);
    let (boundary, header) = (input.format.boundary(), input.header_length()?);
    let bytes = input.compression.reader(File::from(descriptor));
    let bytes = bytes.map_err(|error| ConnectorError::new(format!("cannot read standard input: {error}")))?;
    input
        .queues
        .start(bytes, "standard input", boundary, header, wakers);
    Ok(())
}

/// Connectors that can be read.
const SOURCES: &[&str] = &[
    "filesystem",
    "kafka",
    "upsert-kafka",
    "stdin",
    "tcp",
    "http",
    "datagen",
    "nexmark",
    "memory",
];
/// Connectors that can be written.
const SINKS: &[&str] = &[
    "filesystem",
    "kafka",
    "upsert-kafka",
    "tcp",
    "stdout",
    "print",
    "blackhole",
    "memory",
];

/// The name under which a sink is prepared; empty for standard output.
fn sink_name(sink: &SinkSpec) -> &str {
    sink.table.as_ref().map_or("", |table| table.name.as_str())
}

fn input_of<'a>(plan: &'a StreamPlan, node: &PlanNode) -> &'a PlanNode {
    let input = node.inputs.first().expect("invariant: a sink has an input");
    &plan.nodes[*input]
}

/// The connector cannot be used in that direction.
fn wrong_direction(options: &TableOptions<'_>, name: &str, known: &[&str]) -> SqlError {
    let role = if known == SINKS { "written" } else { "read" };
    let message = format!(
        "table '{}': a '{name}' table cannot be {role}",
        options.table().name
    );
    let list = known.join(", ");
    options
        .error("connector", message)
        .hint(format!("connectors that can be {role}: {list}"))
}

#[cfg(test)]
mod tests;
