//! A shard's part of a table that clients post to: it takes posts from its queue, and decodes each as a whole.
//!
//! **Invariant.** A body that cannot be decoded gives no row. A post is answered for the epoch of the last of its rows.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use arrow::array::RecordBatch;
use engine::formats::Decoder;
use engine::plan::SourceSpec;
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitId, SplitPosition};
use shards::epoch::Epoch;

use super::{Answer, HttpTable, Post, give};
use crate::connectors::decoding::MalformedPolicy;
use crate::connectors::ingest::IngestLayout;
use crate::connectors::records::count_lines;

/// A shard's part.
pub struct HttpSource {
    queue: Receiver<Post>,
    layout: IngestLayout,
    decoder: Box<dyn Decoder>,
    /// Rows of the post that was taken last.
    rows: VecDeque<RecordBatch>,
    /// Whose rows they are.
    open: Option<Answer>,
    /// Posts all of whose rows were handed out since the last barrier.
    handed_out: RefCell<Vec<Answer>>,
    /// The newest barrier.
    epoch: Cell<Epoch>,
    bytes: u64,
    malformed: u64,
    /// Dropped behind the answers above: its server waits for them.
    table: Arc<HttpTable>,
}

impl HttpSource {
    /// Takes shard `shard`'s queue of `table`.
    ///
    /// # Errors
    /// The format cannot decode a wanted column.
    pub fn new(
        source: &SourceSpec,
        table: &Arc<HttpTable>,
        shard: usize,
    ) -> Result<HttpSource, ConnectorError> {
        let layout = IngestLayout::new(source);
        let decoder = table.format.decoder(&layout);
        let decoder = decoder.map_err(|error| ConnectorError::new(error.message))?;
        let mut queues = table
            .queues
            .lock()
            .expect("invariant: nobody panics while taking a queue");
        let queue = queues[shard]
            .take()
            .expect("invariant: a shard makes its part once");
        Ok(HttpSource {
            table: table.clone(),
            queue,
            layout,
            decoder,
            rows: VecDeque::new(),
            open: None,
            handed_out: RefCell::default(),
            epoch: Cell::new(0),
            bytes: 0,
            malformed: 0,
        })
    }

    /// All rows of a body, or why there are none.
    fn decode(&mut self, body: &[u8], rows_max: usize) -> Result<VecDeque<RecordBatch>, String> {
        let mut rows = VecDeque::new();
        let mut cursor = 0;
        while cursor < body.len() {
            let decoded = self.decoder.decode(&body[cursor..], rows_max);
            assert!(decoded.consumed > 0, "invariant: a decoder makes progress");
            for malformed in &decoded.malformed {
                let (start, end) = (cursor + malformed.start, cursor + malformed.end);
                if matches!(self.table.policy, MalformedPolicy::Fail) {
                    return Err(format!(
                        "line {}: {}\n",
                        1 + count_lines(&body[..start]),
                        malformed.reason
                    ));
                }
                self.malformed += 1;
                let written = self.table.policy.write_letter(&body[start..end]);
                written.map_err(|error| format!("{error}\n"))?;
            }
            cursor += decoded.consumed;
            if decoded.rows.num_rows() > 0 {
                rows.push_back(decoded.rows);
            }
        }
        Ok(rows)
    }

    /// The post that was taken last has given all of its rows.
    fn settle(&mut self) {
        match self.open.take() {
            Some(answer) if self.table.has_checkpoints => self.handed_out.get_mut().push(answer),
            Some(answer) => give(answer, 200, String::new()),
            None => {}
        }
    }
}

impl Source for HttpSource {
    fn splits(&self) -> Vec<SplitId> {
        Vec::new()
    }

    fn may_grow(&self) -> bool {
        true
    }

    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        loop {
            if let Some(rows) = self.rows.pop_front() {
                if self.rows.is_empty() {
                    self.settle();
                }
                let no_metadata = |_: &str, _: &_, _: usize| unreachable!("invariant: there is no metadata");
                return Ok(SourcePoll::Rows {
                    split: 0,
                    rows: self.layout.assemble(rows, no_metadata),
                    arrival_ns: now,
                });
            }
            let Post { mut body, answer } = match self.queue.try_recv() {
                Ok(post) => post,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {
                    return Ok(SourcePoll::Pending { poll_at: None });
                }
            };
            self.bytes += body.len() as u64;
            if body.last().is_some_and(|&last| last != b'\n') {
                body.push(b'\n');
            }
            match self.decode(&body, rows_max) {
                Ok(rows) => {
                    self.rows = rows;
                    self.open = Some(answer);
                    if self.rows.is_empty() {
                        self.settle();
                    }
                }
                Err(reason) => give(answer, 400, reason),
            }
        }
    }

    /// Called at each barrier: what was handed out before it is in its epoch.
    fn positions(&self) -> Vec<SplitPosition> {
        self.epoch.set(self.epoch.get() + 1);
        self.table
            .await_commit(self.epoch.get(), self.handed_out.borrow_mut().drain(..));
        Vec::new()
    }

    fn statistics(&self) -> SourceStatistics {
        SourceStatistics {
            bytes: self.bytes,
            malformed: self.malformed,
            filtered: 0,
        }
    }
}
