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

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::epoch::Control;
    use crate::mesh::{MeshConfig, mesh};
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    /// Two shards that send to shard 0, whose inbox is looked at.
    struct Setting {
        endpoints: Vec<MeshEndpoint>,
        inbox: Inbox,
    }

    fn rows(values: &[i64]) -> Message {
        let schema = Schema::new(vec![Field::new("v", DataType::Int64, true)]);
        let column = Arc::new(Int64Array::from(values.to_vec()));
        let rows = RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column");
        Message::Rows(Segment {
            batch: Arc::new(Batch::append(rows, 0)),
            offset: 0,
            length: values.len(),
        })
    }

    fn watermark(watermark: WatermarkUs) -> Message {
        let arrival_ns = 0;
        Message::Watermark {
            watermark,
            arrival_ns,
        }
    }

    fn barrier(stop: bool) -> Message {
        Message::Barrier { epoch: 1, stop }
    }

    impl Setting {
        fn new() -> Setting {
            Setting {
                endpoints: mesh(&Control::new(2), 1, MeshConfig::default()),
                inbox: Inbox::new(0, 2),
            }
        }

        fn send(&mut self, source: usize, message: Message) {
            assert!(self.endpoints[source].send(0, 0, message, 0).is_ok());
            let (_, received) = self.endpoints[0].receive(source).expect("just sent");
            self.inbox.keep(source, received);
        }

        /// What is delivered now, as text.
        fn deliver(&mut self) -> Vec<String> {
            let deliveries = self.inbox.deliver(&mut self.endpoints[0], 0, &mut |_| {});
            let describe = |delivery: &Delivery| match delivery {
                Delivery::Rows(batch) => {
                    format!("{:?}", &batch.column(0).as_primitive::<Int64Type>().values()[..])
                }
                Delivery::Watermark { watermark, .. } => format!("watermark {watermark}"),
                Delivery::Idle => "idle".into(),
                Delivery::Barrier { epoch, .. } => format!("barrier {epoch}"),
                Delivery::End => "end".into(),
            };
            deliveries.iter().map(describe).collect()
        }
    }

    #[test]
    fn small_batches_are_coalesced_in_the_order_of_their_sender_and_before_its_watermark() {
        let mut setting = Setting::new();
        setting.send(0, rows(&[1, 2]));
        setting.send(0, rows(&[3]));
        setting.send(0, watermark(10));
        setting.send(1, rows(&[7]));
        setting.send(1, watermark(8));
        assert_eq!(setting.deliver(), ["[1, 2, 3, 7]", "watermark 8"]);
    }

    #[test]
    fn nothing_behind_a_barrier_is_handed_on_until_all_barriers_are_there() {
        let mut setting = Setting::new();
        setting.send(0, rows(&[1]));
        setting.send(0, barrier(false));
        setting.send(0, rows(&[2]));
        assert_eq!(setting.deliver(), ["[1]"]);
        setting.send(1, rows(&[5]));
        setting.send(1, barrier(false));
        assert_eq!(setting.deliver(), ["[5]", "barrier 1"]);
        assert_eq!(setting.deliver(), ["[2]"]);
    }

    #[test]
    fn a_barrier_does_not_wait_for_a_shard_that_has_ended() {
        let mut setting = Setting::new();
        setting.send(1, Message::End);
        setting.send(0, barrier(false));
        assert_eq!(setting.deliver(), ["barrier 1"]);
        setting.send(0, Message::End);
        assert_eq!(setting.deliver(), ["end"]);
        assert!(setting.deliver().is_empty(), "the end is delivered once");
    }

    #[test]
    fn a_shard_whose_end_waits_here_is_not_expected_to_send() {
        let mut setting = Setting::new();
        assert!(setting.inbox.expects(1));
        setting.send(1, rows(&[1]));
        setting.send(1, barrier(true));
        assert!(!setting.inbox.expects(1));
        assert!(setting.inbox.expects(0));
    }
}
