//! The mesh: one bounded ring per ordered pair of shards (a shard's ring to itself included), and
//! credits per (edge, source, target).
//!
//! A credit is a slot: a message may be pushed only while fewer than `credits` messages and
//! `bytes` bytes of its edge are unprocessed at the target. Rings hold the credits of all edges, so a push
//! with credit always finds a slot, and two edges on one ring cannot wait for each other: that is
//! what makes the mesh free of deadlock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use engine::batch::{ArrivalNs, Batch};
use engine::time::WatermarkUs;

use crate::clock::Nanos;
use crate::epoch::{Control, Epoch};
use crate::limits::{EDGE_BYTES_MAX, EDGE_MESSAGES_MAX};
use crate::ring::{Consumer, Producer, ring};

/// Number of an exchange among the exchanges of a plan.
pub type EdgeId = usize;

/// The bounds of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeshConfig {
    /// Messages of one edge that may be under way from one shard to another.
    pub credits: usize,
    /// Bytes of one edge that may be under way from one shard to another; one message may always go.
    pub bytes: usize,
}

impl Default for MeshConfig {
    fn default() -> MeshConfig {
        MeshConfig {
            credits: EDGE_MESSAGES_MAX,
            bytes: EDGE_BYTES_MAX,
        }
    }
}

/// Rows `offset .. offset + length` of a batch that several targets share.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The batch, its rows grouped by target.
    pub batch: Arc<Batch>,
    /// The first row.
    pub offset: usize,
    /// The number of rows.
    pub length: usize,
}

/// What travels along an edge.
#[derive(Clone, Debug)]
pub enum Message {
    /// Rows.
    Rows(Segment),
    /// Everything up to a watermark has been sent.
    Watermark {
        /// The watermark.
        watermark: WatermarkUs,
        /// When the input that raised it arrived.
        arrival_ns: ArrivalNs,
    },
    /// The sender has no active input; leave it out of the watermark until it sends again.
    Idle,
    /// Everything of an epoch has been sent.
    Barrier {
        /// The epoch.
        epoch: Epoch,
        /// Whether it is the last.
        stop: bool,
    },
    /// Nothing will follow.
    End,
}

/// A message in a ring.
#[derive(Debug)]
pub struct Envelope {
    edge: EdgeId,
    sent_ns: Nanos,
    bytes: u64,
    message: Message,
}

/// What the target has processed of one edge, written by the target alone.
#[derive(Debug, Default)]
struct Returned {
    messages: CachePadded<AtomicU64>,
    bytes: AtomicU64,
}

/// The sending end of one edge to one target.
#[derive(Debug)]
struct Credit {
    returned: Arc<Returned>,
    messages_sent: u64,
    bytes_sent: u64,
}

/// One shard's ends of all its rings.
pub struct MeshEndpoint {
    shard: usize,
    config: MeshConfig,
    control: Arc<Control>,
    producers: Vec<Producer<Envelope>>,
    /// By target, by edge.
    credits: Vec<Vec<Credit>>,
    consumers: Vec<Consumer<Envelope>>,
    /// By source, by edge.
    returns: Vec<Vec<Arc<Returned>>>,
}

/// A message that has left its ring and still holds its credit.
#[derive(Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// When it was pushed.
    pub sent_ns: Nanos,
    bytes: u64,
}

/// Builds the mesh of as many shards as `control` knows, for `edges` exchanges.
pub fn mesh(control: &Arc<Control>, edges: usize, config: MeshConfig) -> Vec<MeshEndpoint> {
    let shards = control.shards();
    assert!(
        config.credits > 0 && config.bytes > 0,
        "invariant: every edge may send"
    );
    let mut endpoints: Vec<MeshEndpoint> = (0..shards)
        .map(|shard| MeshEndpoint {
            shard,
            config,
            control: control.clone(),
            producers: Vec::with_capacity(shards),
            credits: Vec::with_capacity(shards),
            consumers: Vec::with_capacity(shards),
            returns: Vec::with_capacity(shards),
        })
        .collect();
    for source in 0..shards {
        for target in 0..shards {
            let (producer, consumer) = ring((edges * config.credits).max(1));
            let returned: Vec<Arc<Returned>> = (0..edges).map(|_| Arc::default()).collect();
            let credits = returned
                .iter()
                .map(|returned| Credit {
                    returned: returned.clone(),
                    messages_sent: 0,
                    bytes_sent: 0,
                })
                .collect();
            endpoints[source].producers.push(producer);
            endpoints[source].credits.push(credits);
            endpoints[target].consumers.push(consumer);
            endpoints[target].returns.push(returned);
        }
    }
    endpoints
}

impl MeshEndpoint {
    /// The shard whose ends these are.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.producers.len()
    }

    /// Sends along `edge` to shard `target`; hands the message back when the edge has no credit.
    pub fn send(&mut self, edge: EdgeId, target: usize, message: Message, now: Nanos) -> Result<(), Message> {
        let bytes = message_bytes(&message);
        let credit = &mut self.credits[target][edge];
        let messages_under_way = credit.messages_sent - credit.returned.messages.load(Ordering::Acquire);
        let bytes_under_way = credit.bytes_sent - credit.returned.bytes.load(Ordering::Acquire);
        let over = bytes_under_way + bytes > self.config.bytes as u64;
        if messages_under_way >= self.config.credits as u64 || (messages_under_way > 0 && over) {
            return Err(message);
        }
        credit.messages_sent += 1;
        credit.bytes_sent += bytes;
        let pushed = self.producers[target].push(Envelope {
            edge,
            sent_ns: now,
            bytes,
            message,
        });
        assert!(pushed.is_ok(), "invariant: a message with credit finds a slot");
        if target != self.shard {
            self.control.wake(target);
        }
        Ok(())
    }

    /// Takes the next message from shard `source`, if there is one; its credit stays out until
    /// [`MeshEndpoint::return_credit`].
    pub fn receive(&mut self, source: usize) -> Option<(EdgeId, Received)> {
        let Envelope {
            edge,
            sent_ns,
            bytes,
            message,
        } = self.consumers[source].pop()?;
        Some((
            edge,
            Received {
                message,
                sent_ns,
                bytes,
            },
        ))
    }

    /// The message has been processed: its sender may send another.
    pub fn return_credit(&mut self, edge: EdgeId, source: usize, received: &Received) {
        let returned = &self.returns[source][edge];
        // One writer: plain additions, published so that the sender sees slot and bytes free.
        let bytes = returned.bytes.load(Ordering::Relaxed) + received.bytes;
        returned.bytes.store(bytes, Ordering::Release);
        let messages = returned.messages.load(Ordering::Relaxed) + 1;
        returned.messages.store(messages, Ordering::Release);
        if source != self.shard {
            // The sender may sleep because of us.
            self.control.wake(source);
        }
    }

    /// Whether any ring holds a message.
    pub fn has_messages(&mut self) -> bool {
        self.consumers.iter_mut().any(|consumer| !consumer.is_empty())
    }

    /// Whether shard `source` is gone and everything it sent has been received.
    pub fn is_disconnected(&mut self, source: usize) -> bool {
        self.consumers[source].is_disconnected()
    }
}

/// Bytes that count against an edge: the segment's share of its batch.
fn message_bytes(message: &Message) -> u64 {
    match message {
        Message::Rows(segment) => {
            let rows = segment.batch.len().max(1) as u64;
            segment.batch.bytes() as u64 * segment.length as u64 / rows
        }
        _ => 0,
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    fn two_shards(config: MeshConfig) -> (MeshEndpoint, MeshEndpoint) {
        let mut endpoints = mesh(&Control::new(2), 2, config).into_iter();
        let first = endpoints.next().expect("two endpoints");
        (first, endpoints.next().expect("two endpoints"))
    }

    fn rows(count: i64) -> Message {
        let schema = Schema::new(vec![Field::new("v", DataType::Int64, true)]);
        let column = Arc::new(Int64Array::from_iter_values(0..count));
        let rows = RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column");
        Message::Rows(Segment {
            batch: Arc::new(Batch::append(rows, 0)),
            offset: 0,
            length: count as usize,
        })
    }

    #[test]
    fn no_more_messages_are_under_way_than_there_are_credits() {
        let (mut source, mut target) = two_shards(MeshConfig {
            credits: 2,
            bytes: 1 << 20,
        });
        assert!(source.send(0, 1, Message::Idle, 0).is_ok());
        assert!(source.send(0, 1, Message::Idle, 0).is_ok());
        assert!(source.send(0, 1, Message::Idle, 0).is_err());
        let (edge, received) = target.receive(0).expect("it was sent");
        assert!(
            source.send(0, 1, Message::Idle, 0).is_err(),
            "what was received holds its credit until it is processed"
        );
        target.return_credit(edge, 0, &received);
        assert!(source.send(0, 1, Message::Idle, 0).is_ok());
    }

    #[test]
    fn an_edge_without_credit_leaves_other_edges_and_targets_alone() {
        let (mut source, _target) = two_shards(MeshConfig {
            credits: 1,
            bytes: 1 << 20,
        });
        assert!(source.send(0, 1, Message::Idle, 0).is_ok());
        assert!(source.send(0, 1, Message::Idle, 0).is_err());
        assert!(source.send(1, 1, Message::Idle, 0).is_ok(), "another edge");
        assert!(source.send(0, 0, Message::Idle, 0).is_ok(), "another target");
    }

    #[test]
    fn bytes_bound_what_is_under_way_but_one_message_may_always_go() {
        let (mut source, mut target) = two_shards(MeshConfig { credits: 8, bytes: 1 });
        assert!(source.send(0, 1, rows(100), 0).is_ok());
        assert!(source.send(0, 1, rows(1), 0).is_err());
        let (edge, received) = target.receive(0).expect("it was sent");
        target.return_credit(edge, 0, &received);
        assert!(source.send(0, 1, rows(1), 0).is_ok());
    }

    #[test]
    fn the_default_bounds_of_an_edge_hold() {
        let (mut source, _target) = two_shards(MeshConfig::default());
        for _ in 0..EDGE_MESSAGES_MAX {
            assert!(source.send(0, 1, Message::Idle, 0).is_ok());
        }
        assert!(source.send(0, 1, Message::Idle, 0).is_err());
        let most = (EDGE_BYTES_MAX / size_of::<i64>()) as i64;
        assert!(source.send(1, 1, rows(most * 3 / 4), 0).is_ok());
        assert!(
            source.send(1, 1, rows(most * 3 / 4), 0).is_err(),
            "twice as much is too much"
        );
    }
}
