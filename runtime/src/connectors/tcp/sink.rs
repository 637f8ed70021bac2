//! A shard's part of a TCP table that is written: lines, as far as the socket takes them.
//!
//! **Invariant.** What waits is bounded; a peer that does not read holds the job back.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;

use engine::batch::Batch;
use engine::formats::Encoder;
use shards::connector::{ConnectorError, Sink};

use super::readiness::Readiness;
use super::{Endpoint, TcpTable};
use crate::limits::TCP_BEHIND_BYTES;

/// A shard's part.
pub struct TcpSink {
    table: String,
    peer: String,
    shard: usize,
    stream: TcpStream,
    encoder: Box<dyn Encoder>,
    /// Lines, of which the first bytes are sent.
    lines: Vec<u8>,
    sent: usize,
    readiness: Arc<Readiness>,
}

impl TcpSink {
    /// Takes shard `shard`'s connection of `table`.
    ///
    /// # Errors
    /// The system refuses to watch it.
    pub fn new(table: &TcpTable, shard: usize, encoder: Box<dyn Encoder>) -> Result<TcpSink, ConnectorError> {
        let (endpoint, readiness) = table.take(shard);
        let Some(Endpoint::Stream(stream)) = endpoint else {
            return Err(table.error(
                "it is written by two statements, and has one connection a shard; write both with UNION ALL",
            ));
        };
        readiness
            .add(stream.as_fd(), shard)
            .map_err(|error| table.error(&format!("its connection cannot be watched: {error}")))?;
        Ok(TcpSink {
            table: table.name.clone(),
            peer: table.address.to_string(),
            shard,
            stream,
            encoder,
            lines: Vec::new(),
            sent: 0,
            readiness,
        })
    }

    fn lost(&self, error: &std::io::Error) -> ConnectorError {
        ConnectorError::new(format!(
            "table '{}': the connection to {} is lost: {error}",
            self.table, self.peer
        ))
    }

    /// Sends what the socket takes; whether that is all. Else the shard is woken when it takes more.
    fn send(&mut self) -> Result<bool, ConnectorError> {
        while self.sent < self.lines.len() {
            match self.stream.write(&self.lines[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let awaited = self.readiness.await_writable(self.stream.as_fd(), self.shard);
                    awaited.map_err(|error| self.lost(&error))?;
                    self.lines.drain(..self.sent);
                    self.sent = 0;
                    return Ok(false);
                }
                Err(error) => return Err(self.lost(&error)),
            }
        }
        self.lines.clear();
        self.sent = 0;
        Ok(true)
    }
}

impl Sink for TcpSink {
    fn ready(&mut self) -> bool {
        // An error is told by the write that follows.
        self.lines.len() < TCP_BEHIND_BYTES || self.send().unwrap_or(true)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let encoded = self.encoder.encode(batch, &mut self.lines);
        encoded.map_err(|error| ConnectorError::new(error.message))?;
        if self.lines.len() >= TCP_BEHIND_BYTES {
            self.send()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.send().map(|_| ())
    }

    fn is_settled(&mut self) -> Result<bool, ConnectorError> {
        self.send()
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        if !self.send()? {
            return Ok(false);
        }
        // A peer that has gone already is no error now.
        let _ = self.stream.shutdown(Shutdown::Write);
        Ok(true)
    }
}
