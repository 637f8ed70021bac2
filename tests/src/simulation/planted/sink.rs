//! A sink that keeps its last batch back when an epoch ends.

use engine::batch::Batch;
use shards::connector::{ConnectorError, Prepared, Sink};

/// Wraps a sink.
pub struct Buffering {
    inner: Box<dyn Sink>,
    buffered: Option<Batch>,
}

impl Buffering {
    /// Plants the mistake in `inner`.
    pub fn new(inner: Box<dyn Sink>) -> Buffering {
        Buffering {
            inner,
            buffered: None,
        }
    }
}

impl Sink for Buffering {
    fn ready(&mut self) -> bool {
        self.inner.ready()
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        match self.buffered.replace(batch.clone()) {
            Some(earlier) => self.inner.write(&earlier),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.inner.flush()
    }

    fn prepare(&mut self) -> Result<Vec<Prepared>, ConnectorError> {
        self.inner.prepare()
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        if let Some(last) = self.buffered.take() {
            self.inner.write(&last)?;
        }
        self.inner.close()
    }
}
