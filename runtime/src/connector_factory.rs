//! Who makes sources and sinks: the real connectors, or what a test or an embedding program brings.

use arrow::datatypes::SchemaRef;
use engine::changelog::Changelog;
use engine::plan::{NodeId, SinkSpec, SourceSpec};
use shards::connector::{ConnectorError, Prepared, Sink, Source};
use shards::epoch::Epoch;

use crate::connectors::{self, ConnectorContext, Wake};
use crate::executor::ShardWaker;
use std::sync::Arc;

/// Makes the parts of sources and sinks, each on the shard that will own it.
pub trait ConnectorFactory: Send + Sync {
    /// Shard `shard`'s part of the source at `node`.
    ///
    /// # Errors
    /// The outside world refuses.
    fn source(
        &self,
        node: NodeId,
        source: &SourceSpec,
        shard: usize,
        shards: usize,
    ) -> Result<Box<dyn Source>, ConnectorError>;

    /// Shard `shard`'s part of the sink at `node`; `schema` and `changelog` are its input's.
    ///
    /// # Errors
    /// The outside world refuses.
    fn sink(
        &self,
        node: NodeId,
        sink: &SinkSpec,
        schema: SchemaRef,
        changelog: &Changelog,
        shard: usize,
        shards: usize,
    ) -> Result<Box<dyn Sink>, ConnectorError>;

    /// Tells how to wake each shard; called once, before any part is made, from a thread that is
    /// not pinned.
    ///
    /// # Errors
    /// Standard input or output is not open.
    fn set_wakers(&self, _wakers: Vec<Arc<dyn Wake>>) -> Result<(), ConnectorError> {
        Ok(())
    }

    /// Whether the reader of standard output has gone away.
    fn output_closed(&self) -> bool {
        false
    }

    /// How many blocks standard output has taken, if more wait for it.
    fn output_backlog(&self) -> Option<u64> {
        None
    }

    /// Shows output that an epoch prepared; what is shown already stays as it is.
    ///
    /// # Errors
    /// It is lost, or cannot be shown.
    fn commit(&self, prepared: &[Prepared]) -> Result<(), ConnectorError>;

    /// Epochs up to `epoch`, counted since the job started, are committed: who waits for that is told.
    fn committed(&self, _epoch: Epoch) {}

    /// The job has come to its end, and its last epoch is committed: waits until whoever looks sees its output.
    ///
    /// # Errors
    /// The outside world refuses.
    fn end(&self) -> Result<(), ConnectorError> {
        Ok(())
    }

    /// Takes back what `job` wrote behind `epoch` and never committed.
    ///
    /// # Errors
    /// The outside world refuses.
    fn abort_after(&self, job: &str, epoch: Epoch) -> Result<(), ConnectorError>;

    /// What a job with checkpoints must know of its sources, one a line.
    ///
    /// # Errors
    /// A source would be read from its beginning again.
    fn check_positions(&self) -> Result<Vec<String>, ConnectorError>;
}

impl ConnectorFactory for ConnectorContext {
    fn source(
        &self,
        _node: NodeId,
        source: &SourceSpec,
        shard: usize,
        shards: usize,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        connectors::make_source(source, shard, shards, self)
    }

    fn sink(
        &self,
        _node: NodeId,
        sink: &SinkSpec,
        schema: SchemaRef,
        changelog: &Changelog,
        shard: usize,
        shards: usize,
    ) -> Result<Box<dyn Sink>, ConnectorError> {
        connectors::make_sink(sink, schema, changelog, shard, shards, self)
    }

    fn set_wakers(&self, wakers: Vec<Arc<dyn Wake>>) -> Result<(), ConnectorError> {
        ConnectorContext::set_wakers(self, wakers)
    }

    fn output_closed(&self) -> bool {
        self.stdout_closed()
    }

    fn output_backlog(&self) -> Option<u64> {
        self.stdout_backlog()
    }

    fn commit(&self, prepared: &[Prepared]) -> Result<(), ConnectorError> {
        ConnectorContext::commit(self, prepared)
    }

    fn committed(&self, epoch: Epoch) {
        ConnectorContext::committed(self, epoch);
    }

    fn end(&self) -> Result<(), ConnectorError> {
        ConnectorContext::end(self)
    }

    fn abort_after(&self, job: &str, epoch: Epoch) -> Result<(), ConnectorError> {
        ConnectorContext::abort_after(self, job, epoch)
    }

    fn check_positions(&self) -> Result<Vec<String>, ConnectorError> {
        ConnectorContext::check_positions(self)
    }
}

impl Wake for ShardWaker {
    fn wake(&self) {
        ShardWaker::wake(self);
    }
}
