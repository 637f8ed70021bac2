//! `'connector' = 'blackhole'`: takes every row and forgets it, for benchmarks and dry runs.

use engine::batch::Batch;
use shards::connector::{ConnectorError, Sink};

/// A sink that forgets.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlackholeSink;

impl Sink for BlackholeSink {
    fn ready(&mut self) -> bool {
        true
    }

    fn write(&mut self, _batch: &Batch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        Ok(true)
    }
}
