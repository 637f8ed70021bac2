//! The exchange: rows to the shards that own their keys, to shard 0, or to every shard.
//!
//! One hash per row, one index list per target, one gather per column into a single grouped
//! buffer, and a share of it to each target: gathers vectorise and cost the same for any number of
//! targets. What has no credit waits here, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use engine::batch::Batch;
use engine::plan::ExchangeTarget;

use crate::clock::Nanos;
use crate::mesh::{EdgeId, MeshEndpoint, Message, Segment};
use crate::routes::Routes;

/// The sending side of one exchange on one shard.
#[derive(Debug)]
pub struct Exchange {
    edge: EdgeId,
    target: ExchangeTarget,
    shards: usize,
    /// Messages without credit, by target.
    waiting: Vec<VecDeque<Message>>,
    routes: Routes,
}

impl Exchange {
    /// Exchange number `edge` to `target` among `shards` shards.
    pub fn new(edge: EdgeId, target: ExchangeTarget, shards: usize) -> Exchange {
        Exchange {
            edge,
            target,
            shards,
            waiting: (0..shards).map(|_| VecDeque::new()).collect(),
            routes: Routes::new(shards),
        }
    }

    /// Whether something waits for credit: what leads here must pause.
    pub fn is_blocked(&self) -> bool {
        self.waiting.iter().any(|queue| !queue.is_empty())
    }

    /// Sends the rows of `batch` to where they belong.
    pub fn send_rows(&mut self, batch: Batch, mesh: &mut MeshEndpoint, now: Nanos) {
        match &self.target {
            ExchangeTarget::Owner(keys) if self.shards > 1 => {
                let keys = keys.iter().map(|&key| batch.column(key).clone()).collect();
                self.send_to_owners(batch, keys, mesh, now);
            }
            ExchangeTarget::Owner(_) | ExchangeTarget::First => {
                self.send(0, Message::Rows(whole(Arc::new(batch))), mesh, now);
            }
            ExchangeTarget::All => self.send_to_all(&Message::Rows(whole(Arc::new(batch))), mesh, now),
        }
    }

    fn send_to_owners(&mut self, batch: Batch, keys: Vec<ArrayRef>, mesh: &mut MeshEndpoint, now: Nanos) {
        self.routes.assign(&keys, batch.len());
        let batch = match self.routes.only_target() {
            Some(_) => Arc::new(batch),
            None => Arc::new(gather(&batch, self.routes.take_order())),
        };
        let mut offset = 0;
        for target in 0..self.shards {
            let length = self.routes.rows_of(target);
            if length > 0 {
                let segment = Segment {
                    batch: batch.clone(),
                    offset,
                    length,
                };
                self.send(target, Message::Rows(segment), mesh, now);
            }
            offset += length;
        }
        assert_eq!(offset, batch.len(), "invariant: every row has one target");
    }

    /// Sends a message to every shard; a watermark, a barrier or the end comes behind the rows.
    pub fn send_to_all(&mut self, message: &Message, mesh: &mut MeshEndpoint, now: Nanos) {
        for target in 0..self.shards {
            self.send(target, message.clone(), mesh, now);
        }
    }

    /// Tries again what waits; answers whether something went out.
    pub fn send_waiting(&mut self, mesh: &mut MeshEndpoint, now: Nanos) -> bool {
        let mut sent = false;
        for target in 0..self.shards {
            while let Some(message) = self.waiting[target].pop_front() {
                match mesh.send(self.edge, target, message, now) {
                    Ok(()) => sent = true,
                    Err(message) => {
                        self.waiting[target].push_front(message);
                        break;
                    }
                }
            }
        }
        sent
    }

    fn send(&mut self, target: usize, message: Message, mesh: &mut MeshEndpoint, now: Nanos) {
        let queue = &mut self.waiting[target];
        if queue.is_empty() {
            if let Err(message) = mesh.send(self.edge, target, message, now) {
                queue.push_back(message);
            }
            return;
        }
        // A newer watermark right behind an older one replaces it.
        if let (Message::Watermark { .. }, Some(last @ Message::Watermark { .. })) =
            (&message, queue.back_mut())
        {
            *last = message;
            return;
        }
        queue.push_back(message);
    }
}

/// All rows of a batch.
fn whole(batch: Arc<Batch>) -> Segment {
    let length = batch.len();
    Segment {
        batch,
        offset: 0,
        length,
    }
}

/// The rows of `batch` at `indices`, in that order.
fn gather(batch: &Batch, indices: Vec<u32>) -> Batch {
    let indices = UInt32Array::from(indices);
    let pick =
        |column: &dyn Array| take(column, &indices, None).expect("invariant: indices are rows of the batch");
    let columns = batch.rows().columns().iter().map(|column| pick(column)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
    let rows = RecordBatch::try_new_with_options(batch.schema(), columns, &options)
        .expect("invariant: gathered columns keep their types");
    let ops = batch.ops().map(|ops| {
        let picked = pick(ops);
        picked
            .as_any()
            .downcast_ref::<Int8Array>()
            .expect("invariant: ops are Int8")
            .clone()
    });
    Batch::new(rows, ops, batch.arrival_ns)
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::epoch::Control;
    use crate::mesh::{MeshConfig, mesh};
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    const SHARDS: usize = 3;

    fn endpoints(credits: usize) -> Vec<MeshEndpoint> {
        let bytes = 1 << 20;
        mesh(&Control::new(SHARDS), 1, MeshConfig { credits, bytes })
    }

    fn batch(values: impl IntoIterator<Item = i64>) -> Batch {
        let schema = Schema::new(vec![Field::new("v", DataType::Int64, true)]);
        let column = Arc::new(Int64Array::from_iter_values(values));
        Batch::append(
            RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column"),
            0,
        )
    }

    fn values(message: &Message) -> Vec<i64> {
        let Message::Rows(segment) = message else {
            return Vec::new();
        };
        let slice = segment.batch.slice(segment.offset, segment.length);
        slice.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn every_row_reaches_the_owner_of_its_key_in_order() {
        let mut endpoints = endpoints(4);
        let mut exchange = Exchange::new(0, ExchangeTarget::Owner(vec![0]), SHARDS);
        exchange.send_rows(batch((0..50).chain(0..50)), &mut endpoints[0], 0);
        let mut all = Vec::new();
        for endpoint in &mut endpoints {
            let (_, received) = endpoint.receive(0).expect("each shard owns some of 50 keys");
            let mine = values(&received.message);
            let (first, second) = mine.split_at(mine.len() / 2);
            assert_eq!(first, second, "both occurrences of a key have one owner");
            assert!(first.is_sorted(), "rows keep their order");
            all.extend_from_slice(first);
        }
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_copy_reaches_every_shard() {
        let mut endpoints = endpoints(4);
        let mut exchange = Exchange::new(0, ExchangeTarget::All, SHARDS);
        exchange.send_rows(batch([7, 8]), &mut endpoints[0], 0);
        for endpoint in &mut endpoints {
            let (_, received) = endpoint.receive(0).expect("each shard gets its copy");
            assert_eq!(values(&received.message), [7, 8]);
        }
    }

    #[test]
    fn what_has_no_credit_waits_in_order_and_blocks_until_it_is_gone() {
        let mut endpoints = endpoints(1);
        let mut exchange = Exchange::new(0, ExchangeTarget::First, SHARDS);
        exchange.send_rows(batch([1]), &mut endpoints[0], 0);
        assert!(!exchange.is_blocked());
        exchange.send_rows(batch([2]), &mut endpoints[0], 0);
        exchange.send_rows(batch([3]), &mut endpoints[0], 0);
        let mut seen = Vec::new();
        while let Some((edge, received)) = endpoints[0].receive(0) {
            assert_eq!(exchange.is_blocked(), seen.len() < 2, "after {seen:?}");
            seen.extend(values(&received.message));
            endpoints[0].return_credit(edge, 0, &received);
            exchange.send_waiting(&mut endpoints[0], 0);
        }
        assert_eq!(seen, [1, 2, 3]);
    }

    #[test]
    fn of_waiting_watermarks_in_a_row_the_newest_is_enough() {
        let mut endpoints = endpoints(1);
        let mut exchange = Exchange::new(0, ExchangeTarget::Owner(vec![0]), SHARDS);
        for watermark in 1..=5 {
            let arrival_ns = 0;
            let message = Message::Watermark {
                watermark,
                arrival_ns,
            };
            exchange.send_to_all(&message, &mut endpoints[0], 0);
        }
        let mut seen = Vec::new();
        while let Some((edge, received)) = endpoints[0].receive(0) {
            let Message::Watermark { watermark, .. } = received.message else {
                panic!("only watermarks were sent")
            };
            seen.push(watermark);
            endpoints[0].return_credit(edge, 0, &received);
            exchange.send_waiting(&mut endpoints[0], 0);
        }
        assert_eq!(seen, [1, 5]);
    }
}
