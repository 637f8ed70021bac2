//! The inbox of one exchange on one shard: rows of all shards coalesced, their watermarks merged,
//! their barriers aligned.
//!
//! **Invariant.** Rows of a shard are handed on before the watermark, barrier or end that it sent
//! behind them; after a shard's barrier nothing of it is handed on until all barriers are there.

use std::collections::VecDeque;

use arrow::array::{Array, Int8Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat, concat_batches};
use engine::batch::{ArrivalNs, BATCH_ROWS_MAX, Batch};
use engine::time::WatermarkUs;
use engine::time::watermark::{InputState, WatermarkMerge};

use crate::clock::Nanos;
use crate::epoch::Epoch;
use crate::mesh::{EdgeId, MeshEndpoint, Message, Received, Segment};

/// What an inbox, or a source, hands to the first operator behind it.
#[derive(Debug)]
pub enum Delivery {
    /// Rows.
    Rows(Batch),
    /// The watermark has risen.
    Watermark {
        /// To this.
        watermark: WatermarkUs,
        /// Because of input that arrived then.
        arrival_ns: ArrivalNs,
    },
    /// All senders are idle.
    Idle,
    /// All senders have reached the end of an epoch.
    Barrier {
        /// The epoch.
        epoch: Epoch,
        /// Whether it is the last.
        stop: bool,
    },
    /// All senders have ended.
    End,
}

/// Messages of one exchange that have left their rings.
#[derive(Debug)]
pub struct Inbox {
    edge: EdgeId,
    /// By source shard.
    queues: Vec<VecDeque<Received>>,
    watermarks: WatermarkMerge,
    barriers: Vec<Option<(Epoch, bool)>>,
    ended: Vec<bool>,
    /// Shards whose last message (the end, or the barrier of a stop) has left its ring.
    complete: Vec<bool>,
    end_delivered: bool,
    /// The newest barrier handed on.
    epoch: Epoch,
}

impl Inbox {
    /// The inbox of exchange `edge` with senders on `shards` shards.
    pub fn new(edge: EdgeId, shards: usize) -> Inbox {
        Inbox {
            edge,
            queues: (0..shards).map(|_| VecDeque::new()).collect(),
            watermarks: WatermarkMerge::new(shards),
            barriers: vec![None; shards],
            ended: vec![false; shards],
            complete: vec![false; shards],
            end_delivered: false,
            epoch: 0,
        }
    }

    /// Keeps a message until it is its turn; credits bound how many there are.
    pub fn keep(&mut self, source: usize, received: Received) {
        assert!(
            !self.complete[source],
            "invariant: nothing follows the end of a shard"
        );
        self.complete[source] = matches!(
            received.message,
            Message::End | Message::Barrier { stop: true, .. }
        );
        self.queues[source].push_back(received);
    }

    /// The newest barrier handed on: nothing more is, until its epoch is captured.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether shard `source` has still to send its end. What waits here for its turn counts as
    /// sent: its sender may be gone by then.
    pub fn expects(&self, source: usize) -> bool {
        !self.complete[source]
    }

    /// Hands on what is there, at most one batch of rows; `ring_wait` is told how long each message waited.
    pub fn deliver(
        &mut self,
        mesh: &mut MeshEndpoint,
        now: Nanos,
        ring_wait: &mut impl FnMut(Nanos),
    ) -> Vec<Delivery> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut rows = 0;
        let mut risen: Option<(WatermarkUs, ArrivalNs)> = None;
        let mut fell_idle = false;
        for source in 0..self.queues.len() {
            while rows < BATCH_ROWS_MAX && self.barriers[source].is_none() {
                let Some(received) = self.queues[source].pop_front() else {
                    break;
                };
                mesh.return_credit(self.edge, source, &received);
                ring_wait(now.saturating_sub(received.sent_ns));
                match received.message {
                    Message::Rows(segment) => {
                        rows += segment.length;
                        segments.push(segment);
                    }
                    Message::Watermark {
                        watermark,
                        arrival_ns,
                    } => {
                        if let Some(watermark) = self.watermarks.update(source, InputState::Active(watermark))
                        {
                            let arrival_ns = risen.map_or(arrival_ns, |(_, known)| known.max(arrival_ns));
                            risen = Some((watermark, arrival_ns));
                        }
                        fell_idle = false;
                    }
                    Message::Idle => {
                        if let Some(watermark) = self.watermarks.update(source, InputState::Idle) {
                            risen = Some((watermark, now));
                        }
                        fell_idle = self.watermarks.is_idle();
                    }
                    Message::Barrier { epoch, stop } => self.barriers[source] = Some((epoch, stop)),
                    Message::End => {
                        self.ended[source] = true;
                        if let Some(watermark) = self.watermarks.update(source, InputState::Ended) {
                            risen = Some((watermark, now));
                        }
                    }
                }
            }
        }
        let mut deliveries = Vec::new();
        if !segments.is_empty() {
            deliveries.push(Delivery::Rows(coalesce(&segments, rows)));
        }
        let all_ended = self.ended.iter().all(|&ended| ended);
        if let Some((watermark, arrival_ns)) = risen.filter(|_| !all_ended) {
            deliveries.push(Delivery::Watermark {
                watermark,
                arrival_ns,
            });
        }
        if fell_idle {
            deliveries.push(Delivery::Idle);
        }
        if all_ended && !self.end_delivered {
            self.end_delivered = true;
            deliveries.push(Delivery::End);
        } else {
            deliveries.extend(self.aligned_barrier());
        }
        deliveries
    }

    /// The barrier, once every shard that still sends has sent it.
    fn aligned_barrier(&mut self) -> Option<Delivery> {
        let (epoch, stop) = self.barriers.iter().flatten().next().copied()?;
        let aligned = self
            .barriers
            .iter()
            .zip(&self.ended)
            .all(|(barrier, &ended)| match barrier {
                Some(barrier) => {
                    assert_eq!(*barrier, (epoch, stop), "invariant: barriers of one epoch align");
                    true
                }
                None => ended,
            });
        if !aligned {
            return None;
        }
        self.barriers.fill(None);
        self.epoch = epoch;
        Some(Delivery::Barrier { epoch, stop })
    }
}

/// One batch of all segments, in order.
fn coalesce(segments: &[Segment], rows: usize) -> Batch {
    let slices: Vec<Batch> = segments
        .iter()
        .map(|segment| segment.batch.slice(segment.offset, segment.length))
        .collect();
    if let [only] = slices.as_slice() {
        return only.clone();
    }
    let schema = slices[0].schema();
    let combined = if schema.fields().is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, Vec::new(), &options)
    } else {
        concat_batches(&schema, slices.iter().map(Batch::rows))
    };
    let combined = combined.expect("invariant: batches of one edge share a schema");
    let ops = slices[0].ops().is_some().then(|| {
        let ops: Vec<&dyn Array> = slices
            .iter()
            .map(|slice| slice.ops().expect("invariant: an edge has ops or not") as &dyn Array)
            .collect();
        let combined = concat(&ops).expect("invariant: ops share a type");
        combined
            .as_any()
            .downcast_ref::<Int8Array>()
            .expect("invariant: ops are Int8")
            .clone()
    });
    let arrival_ns = slices.iter().map(|slice| slice.arrival_ns).max().unwrap_or(0);
    Batch::new(combined, ops, arrival_ns)
}
