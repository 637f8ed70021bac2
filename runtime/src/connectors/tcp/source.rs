//! A shard's part of a TCP table: it takes connections, and reads those that have something, in turn.
//!
//! The connections of a shard are one split: their rows share a watermark.
//!
//! **Invariant.** A shard that is held back reads nothing: then the kernel's buffers fill, and senders wait.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use engine::plan::SourceSpec;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitId};

use super::connection::{Brought, Connection};
use super::readiness::Readiness;
use super::{Endpoint, TcpTable};
use crate::connectors::decoding::TextRows;
use crate::connectors::ingest::IngestLayout;
use crate::connectors::records::{RecordBoundary, count_lines};
use crate::limits::TCP_CONNECTIONS_MAX;

/// The number of the listener among those of connections.
const LISTENER: u64 = u64::MAX;
/// So long after the last bytes a shard looks again by itself; being woken costs more.
const WARM_NS: Nanos = 2_000_000;
/// How soon it looks again.
const LOOK_AGAIN_NS: Nanos = 20_000;

/// A shard's part.
#[derive(Debug)]
pub struct TcpSource {
    table: String,
    shard: usize,
    boundary: RecordBoundary,
    text: TextRows,
    layout: IngestLayout,
    listener: Option<TcpListener>,
    /// What the listener and the connections are watched with; readable itself once one of them is.
    watched: OwnedFd,
    readiness: Arc<Readiness>,
    connections: BTreeMap<u64, Connection>,
    /// The number of the next connection.
    next: u64,
    /// Connections that had something when they were last looked at.
    ready: Vec<u64>,
    /// Whose records are being decoded, and the line they begin with.
    place: (String, u64),
    /// When the last bytes came.
    heard: Nanos,
    bytes: u64,
}

impl TcpSource {
    /// Takes shard `shard`'s socket of `table`.
    ///
    /// # Errors
    /// The system refuses to watch it; the format cannot decode a wanted column.
    pub fn new(source: &SourceSpec, table: &TcpTable, shard: usize) -> Result<TcpSource, ConnectorError> {
        let layout = IngestLayout::new(source);
        let decoder = table.format.decoder(&layout);
        let decoder = decoder.map_err(|error| ConnectorError::new(error.message))?;
        let failed = |error: std::io::Error| table.error(&format!("its sockets cannot be watched: {error}"));
        let watched = epoll::create(CreateFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let (endpoint, readiness) = table.take(shard);
        readiness.add(watched.as_fd(), shard).map_err(failed)?;
        let mut made = TcpSource {
            table: table.name.clone(),
            shard,
            boundary: table.format.boundary(),
            text: TextRows::new(decoder, table.policy.clone()),
            layout,
            listener: None,
            watched,
            readiness,
            connections: BTreeMap::new(),
            next: 0,
            ready: Vec::new(),
            place: (String::new(), 1),
            heard: 0,
            bytes: 0,
        };
        match endpoint {
            None => {}
            Some(Endpoint::Stream(stream)) => {
                made.enter(Connection::new(stream, table.address.to_string()))?;
            }
            Some(Endpoint::Listener(listener)) => {
                made.watch(listener.as_fd(), LISTENER)?;
                made.listener = Some(listener);
            }
        }
        Ok(made)
    }

    fn error(&self, message: &str) -> ConnectorError {
        ConnectorError::new(format!("table '{}': {message}", self.table))
    }

    fn watch(&self, descriptor: impl AsFd, number: u64) -> Result<(), ConnectorError> {
        epoll::add(
            &self.watched,
            descriptor,
            EventData::new_u64(number),
            EventFlags::IN,
        )
        .map_err(|error| self.error(&format!("a socket cannot be watched: {error}")))
    }

    fn enter(&mut self, connection: Connection) -> Result<(), ConnectorError> {
        self.watch(&connection.stream, self.next)?;
        self.connections.insert(self.next, connection);
        self.next += 1;
        Ok(())
    }

    /// What is ready now; whether anything is.
    fn look(&mut self) -> Result<bool, ConnectorError> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        let at_once = Timespec::default();
        let found = epoll::wait(
            &self.watched,
            rustix::buffer::spare_capacity(&mut events),
            Some(&at_once),
        );
        match found {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(self.error(&format!("its sockets cannot be watched: {error}"))),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => self.accept()?,
                number => self.ready.push(number),
            }
        }
        Ok(!events.is_empty())
    }

    /// Takes the connections that wait, as many as there is room for.
    fn accept(&mut self) -> Result<(), ConnectorError> {
        while self.connections.len() < TCP_CONNECTIONS_MAX {
            let Some(listener) = &self.listener else { break };
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // It has gone already.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(self.error(&format!("no connection can be taken: {error}"))),
            };
            stream.set_nonblocking(true).map_err(|error| {
                self.error(&format!("the connection from {peer} cannot be read: {error}"))
            })?;
            tracing::debug!(table = self.table, %peer, "a connection");
            self.enter(Connection::new(stream, peer.to_string()))?;
        }
        if self.connections.len() >= TCP_CONNECTIONS_MAX {
            self.listen(false)?;
        }
        Ok(())
    }

    /// Whether connections that wait are to be told.
    fn listen(&self, is_told: bool) -> Result<(), ConnectorError> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        let flags = if is_told {
            EventFlags::IN
        } else {
            EventFlags::empty()
        };
        epoll::modify(&self.watched, listener, EventData::new_u64(LISTENER), flags)
            .map_err(|error| self.error(&format!("its sockets cannot be watched: {error}")))
    }

    /// Reads from connection `number`; whether there are records to decode.
    fn read(&mut self, number: u64, now: Nanos) -> Result<bool, ConnectorError> {
        let Some(connection) = self.connections.get_mut(&number) else {
            return Ok(false);
        };
        let records = self.text.buffer();
        let brought = connection
            .read(self.boundary, records)
            .map_err(|error| ConnectorError::new(format!("table '{}': {}", self.table, error.message)))?;
        self.bytes += records.len() as u64;
        let has_records = !records.is_empty();
        let peer = connection.peer.clone();
        match brought {
            Brought::Nothing => return Ok(false),
            Brought::Part => {}
            Brought::Records { line } => self.place = (peer, line),
            Brought::End { line } => {
                self.place = (peer, line);
                self.leave(number)?;
            }
            Brought::Lost if self.listener.is_some() => {
                // What it had begun to say is not whole; it may come again.
                tracing::debug!(table = self.table, %peer, "a connection is lost");
                self.leave(number)?;
            }
            Brought::Lost => return Err(self.error(&format!("the connection to {peer} is lost"))),
        }
        self.heard = now;
        Ok(has_records)
    }

    /// A connection has ended.
    fn leave(&mut self, number: u64) -> Result<(), ConnectorError> {
        let was_full = self.connections.len() >= TCP_CONNECTIONS_MAX;
        // Closed, it is watched no more.
        self.connections.remove(&number);
        if was_full {
            self.listen(true)?;
        }
        Ok(())
    }

    /// Rows of what has been read.
    fn decode(&mut self, rows_max: usize, now: Nanos) -> Result<Option<SourcePoll>, ConnectorError> {
        let (peer, line) = &self.place;
        let table = &self.table;
        let place = |buffer: &[u8], at: usize| {
            let line = line + count_lines(&buffer[..at]);
            format!("table '{table}', connection with {peer}, line {line}")
        };
        let Some(rows) = self.text.next(rows_max, place)? else {
            return Ok(None);
        };
        let no_metadata = |_: &str, _: &_, _: usize| unreachable!("invariant: there is no metadata");
        Ok(Some(SourcePoll::Rows {
            split: 0,
            rows: self.layout.assemble(rows, no_metadata),
            arrival_ns: now,
        }))
    }
}

impl Source for TcpSource {
    fn splits(&self) -> Vec<SplitId> {
        // A listener's comes with its first rows: until then others' watermarks do not wait for it.
        self.connections.keys().take(1).map(|_| 0).collect()
    }

    fn may_grow(&self) -> bool {
        self.listener.is_some()
    }

    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        loop {
            if let Some(rows) = self.decode(rows_max, now)? {
                return Ok(rows);
            }
            if let Some(number) = self.ready.pop() {
                self.read(number, now)?;
                continue;
            }
            if self.listener.is_none() && self.connections.is_empty() {
                return Ok(SourcePoll::End);
            }
            if self.look()? {
                continue;
            }
            if now.saturating_sub(self.heard) < WARM_NS {
                let poll_at = Some(now + LOOK_AGAIN_NS);
                return Ok(SourcePoll::Pending { poll_at });
            }
            self.readiness
                .await_readable(self.watched.as_fd(), self.shard)
                .map_err(|error| self.error(&format!("its sockets cannot be watched: {error}")))?;
            return Ok(SourcePoll::Pending { poll_at: None });
        }
    }

    fn statistics(&self) -> SourceStatistics {
        SourceStatistics {
            bytes: self.bytes,
            malformed: self.text.malformed(),
            filtered: 0,
        }
    }
}
