//! Connectors: sources and sinks by the name in `'connector' = '…'`; one file or folder each.
//!
//! A job prepares its connectors once, on the control thread ([`ConnectorContext::prepare`]):
//! options are checked, paths are resolved, and what all shards must agree on (which file blocks
//! are whose, the writer of standard output) is fixed. Then each shard makes its own part with
//! [`make_source`] and [`make_sink`].
//!
//! **Invariant.** What is wrong with an option or a path is said by `prepare`, before any shard
//! starts; afterwards only the outside world can fail.

use arrow::datatypes::SchemaRef;
use engine::changelog::Changelog;
use engine::plan::{SinkSpec, SourceSpec};
use shards::connector::{ConnectorError, Sink, Source};

pub mod blackhole;
pub mod context;
pub mod memory;
pub mod options;
#[cfg(test)]
pub mod testing;

pub use context::{ConnectorConfig, ConnectorContext, OutputFormat, Wake};

use context::{PreparedSink, PreparedSource};

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
    let _ = (&schema, changelog);
    match context.sink(sink)? {
        PreparedSink::Blackhole => Ok(Box::new(blackhole::BlackholeSink)),
        PreparedSink::Memory(collected) => Ok(Box::new(memory::MemorySink::new(collected.clone()))),
    }
}
