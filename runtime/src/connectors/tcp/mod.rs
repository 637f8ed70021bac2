//! `'connector' = 'tcp'`: lines from and to sockets.
//!
//! ```text
//! clients ─▶ listener of shard 0 (SO_REUSEPORT) ─▶ shard 0 reads, decodes     shard 0 ─ own connection ─▶ peer
//!        └─▶ listener of shard 1                ─▶ shard 1                    shard 1 ─ own connection ─▶ peer
//! ```
//! A shard reads and writes its sockets itself and never waits for them: while rows come it looks again by time, and once
//! it is quiet it asks to be woken ([`readiness`]). What is not read stays in the kernel, whose window then holds the
//! sender back. glommio's own sockets would need its reactor to run between turns, which this process does without
//! (`executor/io_uring.rs` says why).
//!
//! **Invariant.** Addresses are bound and reached before shards start; a row that was taken from a socket is lost with the
//! process (at most once).

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use engine::changelog::Changelog;
use engine::error::SqlError;
use engine::formats::Encoder;
use shards::connector::ConnectorError;
use socket2::{Domain, Protocol, Socket, Type};

use super::Wake;
use super::decoding::MalformedPolicy;
use super::format::{FormatKind, RowFormat};
use super::ingest::{IngestLayout, check_metadata};
use super::options::TableOptions;
use readiness::Readiness;

pub mod connection;
pub mod readiness;
pub mod sink;
pub mod source;

#[cfg(test)]
mod tests;

/// How long a connection may take before the job starts.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Connections that wait to be taken by a shard.
const BACKLOG: i32 = 1_024;

/// A socket that a shard takes when it starts.
#[derive(Debug)]
enum Endpoint {
    Listener(TcpListener),
    Stream(TcpStream),
}

/// A TCP table, prepared.
#[derive(Debug)]
pub struct TcpTable {
    name: String,
    address: SocketAddr,
    format: RowFormat,
    policy: MalformedPolicy,
    /// By shard, until it takes it.
    endpoints: Mutex<Vec<Option<Endpoint>>>,
    readiness: Mutex<Option<Arc<Readiness>>>,
}

impl TcpTable {
    /// Listens, on every shard, or connects, on the first: what the table says.
    ///
    /// # Errors
    /// A wrong option; an address that cannot be bound or reached.
    pub fn source(
        options: &TableOptions<'_>,
        layout: &IngestLayout,
        shards: usize,
    ) -> Result<TcpTable, SqlError> {
        check_metadata(options.table(), &[])?;
        let (key, address) = match (options.text("listen"), options.text("connect")) {
            (Some(_), None) => ("listen", address(options, "listen")?),
            (None, Some(_)) => ("connect", address(options, "connect")?),
            _ => {
                return Err(options
                    .table_error(format!(
                        "table '{}': a tcp source has one of 'listen' and 'connect'",
                        options.table().name
                    ))
                    .hint("'listen' = '127.0.0.1:9000' takes connections; 'connect' = '127.0.0.1:9000' makes one"));
            }
        };
        let mut table = TcpTable::new(options, address)?;
        table.format.check(options, layout)?;
        table.policy = table.format.malformed_policy(options)?;
        let endpoints = match key {
            "listen" => table
                .listen(shards)
                .map_err(|error| table.refused(options, key, &error))?,
            _ => {
                let stream = connected(address).map_err(|error| table.refused(options, key, &error))?;
                std::iter::once(Some(Endpoint::Stream(stream)))
                    .chain((1..shards).map(|_| None))
                    .collect()
            }
        };
        table.endpoints = Mutex::new(endpoints);
        Ok(table)
    }

    /// Connects once a shard.
    ///
    /// # Errors
    /// A wrong option; an address that cannot be reached; rows that change in a format that does not say so.
    pub fn sink(options: &TableOptions<'_>, input: &Changelog, shards: usize) -> Result<TcpTable, SqlError> {
        let name = &options.table().name;
        if let Some(listen) = options.find("listen") {
            let error = SqlError::new(format!("table '{name}': a tcp sink connects")).at(listen.key_position);
            return Err(error.hint("name the address that it connects to: 'connect' = '127.0.0.1:9001'"));
        }
        options.required("connect", "the address that rows are sent to")?;
        let address = address(options, "connect")?;
        let mut table = TcpTable::new(options, address)?;
        if input.has_ops() && !matches!(table.format, RowFormat::Changelog(..)) {
            let message = format!(
                "table '{name}': lines cannot say what becomes of rows that were sent, but the query changes them ({input})"
            );
            return Err(options
                .table_error(message)
                .hint("write 'format' = 'changelog-json', or use EMIT FINAL"));
        }
        let streams = (0..shards).map(|_| connected(address).map(Endpoint::Stream).map(Some));
        let streams: std::io::Result<Vec<_>> = streams.collect();
        table.endpoints = Mutex::new(streams.map_err(|error| table.refused(options, "connect", &error))?);
        Ok(table)
    }

    fn new(options: &TableOptions<'_>, address: SocketAddr) -> Result<TcpTable, SqlError> {
        let format = FormatKind::parse_without_header(options, "lines on a socket have no header")?;
        Ok(TcpTable {
            name: options.table().name.clone(),
            address,
            format,
            policy: MalformedPolicy::Fail,
            endpoints: Mutex::default(),
            readiness: Mutex::default(),
        })
    }

    /// An encoder of the table's format.
    pub fn encoder(&self, schema: &SchemaRef, has_ops: bool) -> Box<dyn Encoder> {
        self.format.encoder(schema, has_ops)
    }

    /// A listener a shard, all at one address: the kernel deals connections to them.
    fn listen(&self, shards: usize) -> std::io::Result<Vec<Option<Endpoint>>> {
        let mut address = self.address;
        (0..shards)
            .map(|_| {
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
                socket.set_reuse_address(true)?;
                socket.set_reuse_port(shards > 1)?;
                socket.bind(&address.into())?;
                socket.listen(BACKLOG)?;
                socket.set_nonblocking(true)?;
                let listener = TcpListener::from(socket);
                // Port 0 means any, the same for all.
                address = listener.local_addr()?;
                Ok(Some(Endpoint::Listener(listener)))
            })
            .collect()
    }

    /// Makes what wakes the shards, from a thread that is not pinned.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(&self, wakers: &[Arc<dyn Wake>]) -> Result<(), ConnectorError> {
        let readiness = Readiness::start(wakers.to_vec())
            .map_err(|error| self.error(&format!("its sockets cannot be watched: {error}")))?;
        *self.readiness.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(readiness));
        Ok(())
    }

    /// Shard `shard`'s socket, if it has one, and what wakes it.
    fn take(&self, shard: usize) -> (Option<Endpoint>, Arc<Readiness>) {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let readiness = self.readiness.lock().unwrap_or_else(PoisonError::into_inner);
        let readiness = readiness.clone().expect("invariant: the table was started");
        (endpoints.get_mut(shard).and_then(Option::take), readiness)
    }

    fn refused(&self, options: &TableOptions<'_>, key: &str, error: &std::io::Error) -> SqlError {
        let doing = if key == "listen" {
            "listened at"
        } else {
            "connected to"
        };
        options.error(
            key,
            format!(
                "table '{}': {} cannot be {doing}: {error}",
                self.name, self.address
            ),
        )
    }

    fn error(&self, message: &str) -> ConnectorError {
        ConnectorError::new(format!("table '{}': {message}", self.name))
    }

    /// Where it listens; its port is known where the text says 0.
    #[cfg(test)]
    fn bound(&self) -> SocketAddr {
        let endpoints = self.endpoints.lock().unwrap();
        match &endpoints[0] {
            Some(Endpoint::Listener(listener)) => listener.local_addr().unwrap(),
            _ => self.address,
        }
    }
}

/// An address of option `key`; a name is looked up.
pub(super) fn address(options: &TableOptions<'_>, key: &str) -> Result<SocketAddr, SqlError> {
    let text = options.resolved(key)?.unwrap_or_default();
    let what = "an address with a port, such as '127.0.0.1:9000'";
    if !text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    {
        return Err(options.invalid(key, what));
    }
    let found = text.to_socket_addrs().map(|mut addresses| addresses.next());
    match found {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(options.invalid(key, what)),
        Err(error) => Err(options.error(
            key,
            format!(
                "table '{}': the host of '{text}' is not found: {error}",
                options.table().name
            ),
        )),
    }
}

fn connected(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
