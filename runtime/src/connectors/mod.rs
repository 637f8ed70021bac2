//! Connectors: sources and sinks by the name in `'connector' = '…'`; one file or folder each.
//!
//! A job prepares its connectors once, on the control thread ([`ConnectorContext::prepare`]):
//! options are checked, paths are resolved, and what all shards must agree on (which file blocks
//! are whose, the writer of standard output) is fixed. Then each shard makes its own part with
//! [`make_source`] and [`make_sink`].
//!
//! **Invariant.** What is wrong with an option or a path is said by `prepare`, before any shard
//! starts; afterwards only the outside world can fail.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use engine::changelog::Changelog;
use engine::formats::Encoder;
use engine::plan::{SinkSpec, SourceSpec};
use shards::connector::{ConnectorError, Sink, Source};

pub mod blackhole;
pub mod context;
pub mod datagen;
pub mod decoding;
pub mod filesystem;
pub mod format;
pub mod generated;
pub mod http;
pub mod ingest;
pub mod kafka;
pub mod memory;
pub mod nexmark;
pub mod options;
pub mod records;
pub mod secrets;
pub mod stdin;
pub mod stdout;
pub mod tcp;
#[cfg(test)]
pub mod testing;
pub mod values;

pub use context::{ConnectorConfig, ConnectorContext, OutputFormat, Wake};

use context::{PreparedSink, PreparedSource};
use stdout::sink::{LinesSink, TableSink};

/// Shard `shard`'s part of a source of the prepared job; `shards` as given to `prepare`.
///
/// # Errors
/// When the outside world has changed since the job was prepared.
pub fn make_source(
    source: &SourceSpec,
    shard: usize,
    shards: usize,
    context: &ConnectorContext,
) -> Result<Box<dyn Source>, ConnectorError> {
    assert!(shard < shards, "invariant: shard {shard} of {shards}");
    assert_eq!(
        shards,
        context.shards(),
        "invariant: the job was prepared for this many shards"
    );
    match context.source(&source.table.name)? {
        PreparedSource::Filesystem(table) => filesystem::make_source(source, table, shard, shards),
        PreparedSource::Kafka(table) => table.source(source, shard, shards),
        PreparedSource::StandardInput(input) => {
            Ok(Box::new(stdin::StandardInputSource::new(source, input, shard)?))
        }
        PreparedSource::Tcp(table) => Ok(Box::new(tcp::source::TcpSource::new(source, table, shard)?)),
        PreparedSource::Http(table) => Ok(Box::new(http::source::HttpSource::new(source, table, shard)?)),
        PreparedSource::Datagen(source) => Ok(Box::new(source.part(shard, shards))),
        PreparedSource::Values(source) => Ok(Box::new(source.part(shard, shards))),
        PreparedSource::Nexmark(source) => Ok(Box::new(source.part(shard, shards))),
        PreparedSource::Memory(batches) => Ok(Box::new(memory::MemorySource::new(
            source, batches, shard, shards,
        )?)),
    }
}

/// Shard `shard`'s part of a sink of the prepared job; `schema` and `changelog` are those of the
/// node that the sink reads.
///
/// # Errors
/// When the outside world has changed since the job was prepared.
pub fn make_sink(
    sink: &SinkSpec,
    schema: SchemaRef,
    changelog: &Changelog,
    shard: usize,
    shards: usize,
    context: &ConnectorContext,
) -> Result<Box<dyn Sink>, ConnectorError> {
    assert!(shard < shards, "invariant: shard {shard} of {shards}");
    assert_eq!(
        shards,
        context.shards(),
        "invariant: the job was prepared for this many shards"
    );
    let schema = written_schema(sink, schema);
    let lines = |encoder: Box<dyn Encoder>| {
        Box::new(LinesSink::new(context.stdout(), shard, sink.statement, encoder))
    };
    Ok(match context.sink(sink)? {
        PreparedSink::Filesystem(table) => Box::new(table.sink(shard, schema, changelog.has_ops())),
        PreparedSink::Kafka(table) => table.sink(sink.statement, shard, &schema, changelog.has_ops()),
        PreparedSink::Tcp(table) => {
            let encoder = table.encoder(&schema, changelog.has_ops());
            Box::new(tcp::sink::TcpSink::new(table, shard, encoder)?)
        }
        PreparedSink::Print(encoder) => lines(Box::new(encoder.clone())),
        PreparedSink::Lines(format) => lines(format.encoder(&schema, changelog.has_ops())),
        PreparedSink::Table => Box::new(TableSink::new(context.stdout(), shard, sink.statement)),
        PreparedSink::Blackhole => Box::new(blackhole::BlackholeSink),
        PreparedSink::Memory(collected) => Box::new(memory::MemorySink::new(collected.clone())),
    })
}

/// The columns as they are written: the table's names over the query's types.
pub(crate) fn written_schema(sink: &SinkSpec, input: SchemaRef) -> SchemaRef {
    let Some(table) = &sink.table else {
        return input;
    };
    let declared = table.sink_schema();
    if declared.fields().len() != input.fields().len() {
        return input;
    }
    let fields = declared
        .fields()
        .iter()
        .zip(input.fields())
        .map(|(declared, given)| given.as_ref().clone().with_name(declared.name().clone()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
