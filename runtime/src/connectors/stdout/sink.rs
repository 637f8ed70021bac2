//! A shard's part of standard output: encodes batches into blocks of whole lines and hands them
//! to the writer thread; also what `'connector' = 'print'` writes through.

use crate::limits::STDOUT_BLOCK_BYTES;
use std::sync::Arc;

use engine::batch::Batch;
use engine::formats::Encoder;
use shards::connector::{ConnectorError, Sink};

use super::{Block, Content, StandardOutput};

/// Lines for standard output.
pub struct LinesSink {
    output: Arc<StandardOutput>,
    shard: usize,
    statement: usize,
    header: Option<Arc<[u8]>>,
    encoder: Box<dyn Encoder>,
    lines: Vec<u8>,
    refused: Option<Block>,
}

impl LinesSink {
    /// Lines of statement `statement`, encoded by `encoder`.
    pub fn new(
        output: Arc<StandardOutput>,
        shard: usize,
        statement: usize,
        encoder: Box<dyn Encoder>,
    ) -> LinesSink {
        LinesSink {
            output,
            shard,
            statement,
            header: encoder.header().map(Arc::from),
            encoder,
            lines: Vec::new(),
            refused: None,
        }
    }

    /// Hands on what is there; whether the writer took it all.
    fn hand_on(&mut self) -> Result<bool, ConnectorError> {
        if let Some(block) = self.refused.take() {
            self.refused = self.output.send(block)?;
        }
        if self.refused.is_none() && !self.lines.is_empty() {
            let lines = std::mem::take(&mut self.lines);
            self.refused = self.output.send(Block {
                shard: self.shard,
                statement: self.statement,
                header: self.header.clone(),
                content: Content::Lines(lines),
            })?;
        }
        Ok(self.refused.is_none())
    }
}

impl Sink for LinesSink {
    fn ready(&mut self) -> bool {
        // An error is told by the write that follows.
        self.refused.is_none() || self.hand_on().unwrap_or(true)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let encoded = self.encoder.encode(batch, &mut self.lines);
        encoded.map_err(|error| ConnectorError::new(error.message))?;
        if self.lines.len() >= STDOUT_BLOCK_BYTES {
            self.hand_on()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.hand_on().map(|_| ())
    }

    fn is_settled(&mut self) -> Result<bool, ConnectorError> {
        Ok(self.hand_on()? && self.output.is_drained(self.shard)?)
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        self.is_settled()
    }
}

/// Rows for a terminal; the writer lays them out.
pub struct TableSink {
    output: Arc<StandardOutput>,
    shard: usize,
    statement: usize,
    refused: std::collections::VecDeque<Block>,
}

impl TableSink {
    /// Rows of statement `statement`.
    pub fn new(output: Arc<StandardOutput>, shard: usize, statement: usize) -> TableSink {
        TableSink {
            output,
            shard,
            statement,
            refused: std::collections::VecDeque::new(),
        }
    }

    fn hand_on(&mut self) -> Result<bool, ConnectorError> {
        while let Some(block) = self.refused.pop_front() {
            if let Some(block) = self.output.send(block)? {
                self.refused.push_front(block);
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Sink for TableSink {
    fn ready(&mut self) -> bool {
        // An error is told by the write that follows.
        self.hand_on().unwrap_or(true)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.refused.push_back(Block {
            shard: self.shard,
            statement: self.statement,
            header: None,
            content: Content::Table(batch.clone()),
        });
        self.hand_on().map(|_| ())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.hand_on().map(|_| ())
    }

    fn is_settled(&mut self) -> Result<bool, ConnectorError> {
        Ok(self.hand_on()? && self.output.is_drained(self.shard)?)
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        self.is_settled()
    }
}
