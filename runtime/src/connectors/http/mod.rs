//! `'connector' = 'http'`: rows that clients post.
//!
//! ```text
//! POST ─▶ server (its own thread) ─▶ bounded queue of a shard ─▶ shard: all rows of the body, or 400
//! 200  ◀──────────────────────────── once the epoch of the last of its rows is committed
//! ```
//! A body is NDJSON or CSV. While every queue is full, a client is told to come again (503). Without checkpoints the answer
//! comes once the rows are taken.
//!
//! **Invariant.** Who is answered 200 finds its rows in the committed output, whatever crashes behind that; who is not may
//! post them again (at least once).

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use engine::error::SqlError;
use shards::connector::ConnectorError;
use shards::epoch::Epoch;
use tokio::sync::oneshot;

use super::Wake;
use super::decoding::MalformedPolicy;
use super::format::{FormatKind, RowFormat};
use super::ingest::{IngestLayout, check_metadata};
use super::options::TableOptions;
use crate::limits::HTTP_WAITING_MAX;
use server::{Desk, Serving};

pub mod server;
pub mod source;

#[cfg(test)]
mod tests;

/// The way back to a client: status and text. One that is dropped tells it that the job has stopped.
type Answer = oneshot::Sender<(u16, String)>;

/// What a client has posted.
#[derive(Debug)]
pub struct Post {
    body: Vec<u8>,
    answer: Answer,
}

/// Tells a client, unless it has gone: then it will post again.
fn give(answer: Answer, status: u16, text: String) {
    let _ = answer.send((status, text));
}

/// A table that clients post to, prepared.
#[derive(Debug)]
pub struct HttpTable {
    name: String,
    format: RowFormat,
    policy: MalformedPolicy,
    address: SocketAddr,
    /// Until it is served.
    listener: Mutex<Option<TcpListener>>,
    serving: Mutex<Option<Serving>>,
    /// Answers wait for a commit.
    has_checkpoints: bool,
    /// By shard, until it takes it.
    queues: Mutex<Vec<Option<Receiver<Post>>>>,
    /// Posts whose last row is in this epoch.
    waiting: Mutex<Vec<(Epoch, Answer)>>,
    under_way: Arc<AtomicUsize>,
}

impl HttpTable {
    /// Listens.
    ///
    /// # Errors
    /// A wrong option; an address that cannot be bound.
    pub fn prepare(
        options: &TableOptions<'_>,
        layout: &IngestLayout,
        has_checkpoints: bool,
    ) -> Result<HttpTable, SqlError> {
        check_metadata(options.table(), &[])?;
        let name = options.table().name.clone();
        options.required("listen", "the address that clients post to")?;
        let address = super::tcp::address(options, "listen")?;
        let format = FormatKind::parse_without_header(options, "what is posted has no header")?;
        format.check(options, layout)?;
        let policy = format.malformed_policy(options)?;
        let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| {
            options.error(
                "listen",
                format!("table '{name}': {address} cannot be listened at: {error}"),
            )
        })?;
        Ok(HttpTable {
            name,
            format,
            policy,
            address,
            listener: Mutex::new(Some(listener)),
            serving: Mutex::default(),
            has_checkpoints,
            queues: Mutex::default(),
            waiting: Mutex::default(),
            under_way: Arc::default(),
        })
    }

    /// Begins to take posts, from a thread that is not pinned.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(&self, wakers: &[Arc<dyn Wake>]) -> Result<(), ConnectorError> {
        let listener = self
            .listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let listener = listener.expect("invariant: the table is started once");
        let (senders, receivers): (Vec<_>, Vec<_>) =
            wakers.iter().map(|_| sync_channel(HTTP_WAITING_MAX)).unzip();
        let desk = Desk {
            queues: senders.into_iter().zip(wakers.iter().cloned()).collect(),
            next: AtomicUsize::new(0),
            under_way: self.under_way.clone(),
            readers: server::readers(),
        };
        let serving = server::serve(listener, desk).map_err(|error| {
            ConnectorError::new(format!("table '{}': no posts can be taken: {error}", self.name))
        })?;
        tracing::info!(table = self.name, address = %self.address, "posts are taken");
        *self.queues.lock().unwrap_or_else(PoisonError::into_inner) =
            receivers.into_iter().map(Some).collect();
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(serving);
        Ok(())
    }

    /// Epochs up to `epoch` are committed: their posts are answered.
    pub fn committed(&self, epoch: Epoch) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, answer) in waiting.extract_if(.., |(of, _)| *of <= epoch) {
            give(answer, 200, String::new());
        }
    }

    /// Posts whose last rows are in `epoch`.
    fn await_commit(&self, epoch: Epoch, answers: impl Iterator<Item = Answer>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(answers.map(|answer| (epoch, answer)));
    }
}

impl Drop for HttpTable {
    fn drop(&mut self) {
        // Who is not answered by now learns that the job has stopped, while the server waits for answers to be read.
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
