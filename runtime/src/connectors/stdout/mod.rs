//! Standard output: one thread owns it; shards hand it blocks of whole lines through a bounded
//! queue, so that a slow reader holds back the shards without ever blocking one.
//!
//! ```text
//! shard 0 ─ encode ─▶ ┐
//! shard 1 ─ encode ─▶ ├─ bounded queue ─▶ writer thread ─▶ fd 1
//! ```
//! **Invariant.** A block holds whole lines of one shard and is written in one piece; blocks of
//! one shard are written in the order sent. When the reader goes away (`| head`), blocks are
//! taken and dropped, and [`StandardOutput::is_closed`] says so.

use crate::limits::STDOUT_BLOCKS_MAX;
use std::fmt;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam_utils::CachePadded;
use engine::batch::Batch;
use shards::connector::ConnectorError;

use super::context::Wake;
use table::TableView;

pub mod sink;
pub mod table;

/// What a shard hands to the writer.
#[derive(Debug)]
pub(super) struct Block {
    /// Who sent it.
    pub shard: usize,
    /// Which statement's result it belongs to.
    pub statement: usize,
    /// Written before the statement's first block: a CSV header.
    pub header: Option<Arc<[u8]>>,
    /// The rows.
    pub content: Content,
}

/// The rows of a block.
#[derive(Debug)]
pub(super) enum Content {
    /// Whole lines, encoded.
    Lines(Vec<u8>),
    /// Rows that the writer lays out for a terminal.
    Table(Batch),
}

/// What the writer and one shard tell each other.
#[derive(Debug, Default)]
struct Progress {
    sent: AtomicU64,
    written: AtomicU64,
    waiting: AtomicBool,
}

/// The queue to the writer thread of standard output.
pub struct StandardOutput {
    sender: SyncSender<Block>,
    receiver: Mutex<Option<Receiver<Block>>>,
    progress: Vec<CachePadded<Progress>>,
    closed: AtomicBool,
    failure: OnceLock<String>,
}

impl fmt::Debug for StandardOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardOutput")
            .field("closed", &self.closed)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl StandardOutput {
    /// A queue for `shards` shards; nothing is written before [`StandardOutput::start`].
    pub fn new(shards: usize) -> StandardOutput {
        let (sender, receiver) = sync_channel(STDOUT_BLOCKS_MAX);
        StandardOutput {
            sender,
            receiver: Mutex::new(Some(receiver)),
            progress: (0..shards).map(|_| CachePadded::default()).collect(),
            closed: AtomicBool::new(false),
            failure: OnceLock::new(),
        }
    }

    /// Starts the writer thread over `writer`; it ends with the process. Called once.
    pub fn start(self: &Arc<Self>, mut writer: impl Write + Send + 'static, wakers: Vec<Arc<dyn Wake>>) {
        let receiver = self
            .receiver
            .lock()
            .expect("invariant: nobody panics while holding the receiver")
            .take()
            .expect("invariant: the writer is started once");
        let output = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("velocore-stdout".to_string())
            .spawn(move || {
                let mut lines = Layouts::default();
                while let Ok(block) = receiver.recv() {
                    let Some(output) = output.upgrade() else { break };
                    output.write_block(&mut writer, &mut lines, &block);
                    output.wake_waiting(block.shard, &wakers);
                }
            })
            .expect("invariant: the process may start a thread");
    }

    /// Whether the reader has gone away.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// How many blocks have been written, if more wait; over all shards.
    pub fn backlog(&self) -> Option<u64> {
        let total = |count: fn(&Progress) -> &AtomicU64| {
            let counts = self
                .progress
                .iter()
                .map(|shard| count(shard).load(Ordering::SeqCst));
            counts.sum::<u64>()
        };
        // What is written was sent before: read in this order, nothing waits that has been written.
        let written = total(|shard| &shard.written);
        (total(|shard| &shard.sent) > written).then_some(written)
    }

    /// Hands a block over, or gives it back when the queue is full; the shard is woken when there
    /// is room again.
    pub(super) fn send(&self, block: Block) -> Result<Option<Block>, ConnectorError> {
        self.check()?;
        let progress = &self.progress[block.shard];
        progress.sent.fetch_add(1, Ordering::Relaxed);
        let refused = match self.sender.try_send(block) {
            Ok(()) => return Ok(None),
            Err(TrySendError::Full(block)) => block,
            Err(TrySendError::Disconnected(_)) => {
                return Err(ConnectorError::new("the writer of standard output has stopped"));
            }
        };
        // The flag is raised before the second look: the writer lowers it after taking a block, so
        // either this look finds room or the writer sees the flag.
        progress.waiting.store(true, Ordering::SeqCst);
        match self.sender.try_send(refused) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(block)) => {
                progress.sent.fetch_sub(1, Ordering::Relaxed);
                Ok(Some(block))
            }
            Err(TrySendError::Disconnected(_)) => {
                Err(ConnectorError::new("the writer of standard output has stopped"))
            }
        }
    }

    /// Whether everything that `shard` sent is written; the shard is woken when it is not yet.
    pub(super) fn is_drained(&self, shard: usize) -> Result<bool, ConnectorError> {
        let progress = &self.progress[shard];
        progress.waiting.store(true, Ordering::SeqCst);
        let drained = progress.written.load(Ordering::SeqCst) == progress.sent.load(Ordering::Relaxed);
        self.check()?;
        Ok(drained)
    }

    /// The error that ended the writer, if one did.
    fn check(&self) -> Result<(), ConnectorError> {
        if let Some(failure) = self.failure.get() {
            return Err(ConnectorError::new(failure.clone()));
        }
        if self.is_closed() {
            return Err(ConnectorError::new("the reader of standard output has gone away"));
        }
        Ok(())
    }

    fn write_block(&self, writer: &mut impl Write, layouts: &mut Layouts, block: &Block) {
        if self.failure.get().is_some() || self.is_closed() {
            return;
        }
        let result = match &block.content {
            Content::Lines(lines) => {
                let header = layouts
                    .header(block)
                    .map_or(Ok(()), |header| write_all(writer, &header));
                header.and_then(|()| write_all(writer, lines))
            }
            Content::Table(batch) => {
                let text = layouts.table(block.statement, batch);
                write_all(writer, text.as_bytes())
            }
        };
        match result.and_then(|()| writer.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.closed.store(true, Ordering::Release),
            Err(error) => {
                let message = format!("cannot write to standard output: {error}");
                self.failure.get_or_init(|| message);
            }
        }
    }

    /// Counts a block of `shard` as written and wakes the shards that wait for room.
    fn wake_waiting(&self, shard: usize, wakers: &[Arc<dyn Wake>]) {
        self.progress[shard].written.fetch_add(1, Ordering::SeqCst);
        for (progress, waker) in self.progress.iter().zip(wakers) {
            if progress.waiting.load(Ordering::SeqCst) && progress.waiting.swap(false, Ordering::SeqCst) {
                waker.wake();
            }
        }
    }
}

/// What the writer remembers of each statement: which headers are out, which columns are how wide.
#[derive(Debug, Default)]
struct Layouts {
    headed: Vec<usize>,
    tables: Vec<(usize, TableView)>,
}

impl Layouts {
    /// The header to write before this block: that of the statement's first block.
    fn header(&mut self, block: &Block) -> Option<Arc<[u8]>> {
        let header = block.header.clone()?;
        if self.headed.contains(&block.statement) {
            return None;
        }
        self.headed.push(block.statement);
        Some(header)
    }

    /// The batch as lines of a table, under a header where it is the first.
    fn table(&mut self, statement: usize, batch: &Batch) -> String {
        let mut text = String::new();
        let known = self.tables.iter().position(|(known, _)| *known == statement);
        let position = known.unwrap_or_else(|| {
            let view = TableView::new(batch);
            text += &view.header();
            self.tables.push((statement, view));
            self.tables.len() - 1
        });
        self.tables[position].1.append_rows(batch, &mut text);
        text
    }
}

/// Writes everything, also when somebody else made the descriptor non-blocking.
fn write_all(writer: &mut impl Write, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match writer.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let stdout = rustix::stdio::stdout();
                let mut wait = [rustix::event::PollFd::new(&stdout, rustix::event::PollFlags::OUT)];
                rustix::event::poll(&mut wait, None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
