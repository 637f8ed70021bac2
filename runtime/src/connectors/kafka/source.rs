//! A shard's part of a Kafka table: its partitions are read in turn, a chunk at a time, from queues that librdkafka's
//! threads fill.
//!
//! Each partition is a split with its own queue. A queue that is no longer empty wakes the shard. While the shard is held
//! back it takes nothing, the queues fill up to their bound, and the client fetches no more.
//!
//! **Invariant.** A partition's position is behind the rows that were handed out, and before all others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitId, SplitPosition};

use super::chunk::Chunk;
use super::client::{Context, described, is_final};
use super::offsets::KnownPartition;
use super::position::{PartitionPosition, TopicPartition};
use super::records::{Decoded, Records};
use crate::connectors::Wake;

/// What a shard takes of its table.
pub struct ShardClient {
    /// Reads its partitions.
    pub consumer: BaseConsumer<Context>,
    /// Wakes it.
    pub waker: Arc<dyn Wake>,
    /// Partitions that have come since.
    pub discovered: Receiver<KnownPartition>,
}

/// A partition; its number among them is its split.
struct Partition {
    id: TopicPartition,
    position: PartitionPosition,
    /// The oldest offset when the job was prepared.
    earliest: i64,
    /// Until it has ended.
    queue: Option<PartitionQueue<Context>>,
    /// The last that came of it said that there is no more now.
    is_exhausted: bool,
    /// Its end has been told.
    is_told: bool,
}

/// A shard's part of a Kafka table.
pub struct KafkaSource {
    table: String,
    consumer: Arc<BaseConsumer<Context>>,
    waker: Arc<dyn Wake>,
    discovered: Receiver<KnownPartition>,
    partitions: Vec<Partition>,
    /// The splits of all partitions of all shards, as the job knew them when it started.
    names: BTreeSet<String>,
    records: Records,
    /// New partitions may come.
    may_grow: bool,
    is_assigned: bool,
    /// The partition that is looked at next.
    next: usize,
    /// What is decoded and not handed out, with its partition.
    decoded: VecDeque<(usize, Decoded)>,
    bytes: u64,
}

impl KafkaSource {
    /// Reads `owned`, once it is polled.
    pub fn new(
        table: &str,
        client: ShardClient,
        owned: Vec<KnownPartition>,
        names: BTreeSet<String>,
        records: Records,
        may_grow: bool,
    ) -> KafkaSource {
        let ShardClient {
            mut consumer,
            waker,
            discovered,
        } = client;
        let woken = waker.clone();
        consumer.set_nonempty_callback(move || woken.wake());
        KafkaSource {
            table: table.to_string(),
            consumer: Arc::new(consumer),
            waker,
            discovered,
            partitions: owned.into_iter().map(Partition::new).collect(),
            names,
            records,
            may_grow,
            is_assigned: false,
            next: 0,
            decoded: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Begins to read, from where each partition stands.
    fn assign(&mut self) -> Result<(), ConnectorError> {
        self.is_assigned = true;
        let unread: Vec<usize> = (0..self.partitions.len())
            .filter(|&index| !self.partitions[index].position.is_read())
            .collect();
        let list = self.open(&unread)?;
        self.consumer
            .assign(&list)
            .map_err(|error| self.error(&error.to_string()))
    }

    /// Takes the partitions that have come.
    fn take_discovered(&mut self) -> Result<(), ConnectorError> {
        let mut new = Vec::new();
        while let Ok(known) = self.discovered.try_recv() {
            // One that came while the job was down is known from where it stood.
            if self.partitions.iter().all(|partition| partition.id != known.id) {
                new.push(self.partitions.len());
                self.partitions.push(Partition::new(known));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let list = self.open(&new)?;
        self.consumer
            .incremental_assign(&list)
            .map_err(|error| self.error(&error.to_string()))
    }

    /// Queues of their own for partitions, and the list to assign.
    fn open(&mut self, indices: &[usize]) -> Result<TopicPartitionList, ConnectorError> {
        let mut list = TopicPartitionList::new();
        for &index in indices {
            let partition = &mut self.partitions[index];
            let (topic, number) = (&partition.id.topic, partition.id.partition);
            let mut queue = self
                .consumer
                .split_partition_queue(topic, number)
                .expect("invariant: a topic's name holds no zero byte");
            let woken = self.waker.clone();
            queue.set_nonempty_callback(move || woken.wake());
            partition.queue = Some(queue);
            list.add_partition_offset(topic, number, Offset::Offset(partition.position.next))
                .map_err(|error| ConnectorError::new(format!("table '{}': {error}", self.table)))?;
        }
        Ok(list)
    }

    /// What the client says beside messages.
    fn serve(&self) -> Result<(), ConnectorError> {
        // A line of the client's log is served as silently as nothing is.
        let mut silent = 0;
        while silent < 2 {
            match self.consumer.poll(Duration::ZERO) {
                None => silent += 1,
                Some(Ok(_)) => {}
                Some(Err(error)) => self.look_at(&error, None)?,
            }
        }
        Ok(())
    }

    /// An error that ends reading is one of the job; any other passes.
    fn look_at(&self, error: &KafkaError, partition: Option<&TopicPartition>) -> Result<(), ConnectorError> {
        let code = error.rdkafka_error_code();
        let Some(code) =
            code.filter(|&code| is_final(code) || matches!(error, KafkaError::MessageConsumptionFatal(_)))
        else {
            return Ok(());
        };
        let place = partition.map_or(String::new(), |id| {
            format!("topic '{}', partition {}: ", id.topic, id.partition)
        });
        Err(self.error(&match code {
            RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset => format!(
                "{place}the records to go on with are not there any more: the topic keeps them for too short a time; start \
                 with another checkpoint directory"
            ),
            code if place.is_empty() => {
                let mut topics: Vec<&str> = self.partitions.iter().map(|part| part.id.topic.as_str()).collect();
                topics.dedup();
                format!("topic '{}': {}", topics.join("', '"), described(code))
            }
            code => format!("{place}{}", described(code)),
        }))
    }

    /// Messages of partition `index` that are there, and what they decode to; whether there was one.
    fn read(&mut self, index: usize, rows_max: usize) -> Result<bool, ConnectorError> {
        let Partition {
            id,
            position,
            queue,
            is_exhausted,
            ..
        } = &self.partitions[index];
        let mut is_exhausted = *is_exhausted;
        let Some(queue) = queue else {
            return Ok(false);
        };
        let mut chunk = Chunk::default();
        let mut is_at_end = false;
        while !chunk.is_full(rows_max) {
            match queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    is_exhausted = false;
                    if position.end.is_some_and(|end| message.offset() >= end) {
                        is_at_end = true;
                        break;
                    }
                    self.records.take(&mut chunk, &message);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => is_exhausted = true,
                Some(Err(error)) => self.look_at(&error, Some(id))?,
            }
        }
        // Marks of transactions may stand before the end, and are no messages. That there is no more now is not enough: a
        // broker that has just become the leader, or follows one, may not have come so far yet. What the client says of
        // where that was is older than the look into the queue, so that all messages before it have been seen.
        if let Some(end) = position.end.filter(|_| is_exhausted) {
            is_at_end |= self
                .consumer
                .context()
                .exhausted_at(id)
                .is_some_and(|at| at >= end);
        }
        self.partitions[index].is_exhausted = is_exhausted;
        let has_messages = !chunk.is_empty();
        if has_messages {
            self.consumer.context().heard();
            self.bytes += chunk.bytes() as u64;
            let id = self.partitions[index].id.clone();
            let decoded = self.records.decode(chunk, &id);
            let end = self.partitions[index].position.end;
            is_at_end |= end.is_some_and(|end| decoded.next >= end);
            self.decoded.push_back((index, decoded));
        }
        if is_at_end {
            self.close(index);
        }
        Ok(has_messages)
    }

    /// Partition `index` is read to its end.
    fn close(&mut self, index: usize) {
        let partition = &mut self.partitions[index];
        partition.queue = None;
        let mut list = TopicPartitionList::new();
        list.add_partition(&partition.id.topic, partition.id.partition);
        // What it would fetch beyond the end nobody wants; that it does is no error.
        let _ = self.consumer.pause(&list);
    }

    /// What is decoded: rows to hand out, if there are any.
    fn hand_out(&mut self) -> Result<Option<SourcePoll>, ConnectorError> {
        while let Some((index, decoded)) = self.decoded.front_mut() {
            let index = *index;
            self.partitions[index].position.next = decoded.next;
            if decoded.rows.num_rows() > 0 {
                let rows = decoded.rows.slice(0, decoded.rows.num_rows());
                decoded.rows = decoded.rows.slice(0, 0);
                if decoded.failure.is_none() {
                    self.decoded.pop_front();
                }
                return Ok(Some(SourcePoll::Rows {
                    split: index as SplitId,
                    rows,
                    arrival_ns: 0,
                }));
            }
            let (_, decoded) = self.decoded.pop_front().expect("invariant: it is the first");
            if let Some(failure) = decoded.failure {
                return Err(failure);
            }
        }
        Ok(None)
    }

    /// A partition whose end is to be told.
    fn tell_end(&mut self) -> Option<SplitId> {
        let ended = |partition: &Partition| partition.queue.is_none() && !partition.is_told;
        let index = self.partitions.iter().position(ended)?;
        let partition = &mut self.partitions[index];
        partition.is_told = true;
        let end = partition.position.end.unwrap_or(partition.position.next);
        partition.position.next = partition.position.next.max(end);
        Some(index as SplitId)
    }

    fn error(&self, message: &str) -> ConnectorError {
        ConnectorError::new(format!("table '{}': {message}", self.table))
    }
}

impl Partition {
    fn new(known: KnownPartition) -> Partition {
        Partition {
            id: known.id,
            position: known.start,
            earliest: known.earliest,
            queue: None,
            is_exhausted: false,
            is_told: false,
        }
    }
}

impl Source for KafkaSource {
    fn splits(&self) -> Vec<SplitId> {
        let open = self.partitions.iter().enumerate();
        open.filter(|(_, partition)| !partition.position.is_read())
            .map(|(index, _)| index as SplitId)
            .collect()
    }

    fn may_grow(&self) -> bool {
        self.may_grow
    }

    fn positions(&self) -> Vec<SplitPosition> {
        let partitions = self.partitions.iter();
        partitions
            .map(|partition| partition.position.write(&partition.id))
            .collect()
    }

    fn restore(&mut self, positions: &[SplitPosition]) -> Result<(), ConnectorError> {
        let mut known = BTreeMap::new();
        for position in positions {
            let read = PartitionPosition::read(position).map_err(ConnectorError::new)?;
            if !self.names.contains(&position.split) && !read.is_read() {
                return Err(self.error(&format!(
                    "the checkpoint has a position in partition '{}', which is not there any more: the topic was deleted, or \
                     the job does not name it; start with another checkpoint directory",
                    position.split
                )));
            }
            known.insert(position.split.as_str(), read);
        }
        for partition in &mut self.partitions {
            match known.get(partition.id.name().as_str()) {
                Some(position) => partition.position = *position,
                // It has come since: all of it is new.
                None => partition.position.next = partition.earliest,
            }
        }
        Ok(())
    }

    fn split_name(&self, split: SplitId) -> String {
        self.partitions[split as usize].id.name()
    }

    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        assert!(rows_max > 0, "invariant: a poll asks for rows");
        if !self.is_assigned {
            self.assign()?;
        }
        self.serve()?;
        self.take_discovered()?;
        loop {
            if let Some(mut rows) = self.hand_out()? {
                if let SourcePoll::Rows { arrival_ns, .. } = &mut rows {
                    *arrival_ns = now;
                }
                return Ok(rows);
            }
            if let Some(split) = self.tell_end() {
                return Ok(SourcePoll::SplitEnd(split));
            }
            if !self.may_grow && self.partitions.iter().all(|partition| partition.queue.is_none()) {
                return Ok(SourcePoll::End);
            }
            let count = self.partitions.len();
            let mut has_read = false;
            for step in 0..count {
                let index = (self.next + step) % count;
                let was_open = self.partitions[index].queue.is_some();
                if self.read(index, rows_max)? {
                    self.next = (index + 1) % count;
                    has_read = true;
                    break;
                }
                has_read |= was_open && self.partitions[index].queue.is_none();
            }
            if !has_read {
                return Ok(SourcePoll::Pending { poll_at: None });
            }
        }
    }

    fn statistics(&self) -> SourceStatistics {
        SourceStatistics {
            bytes: self.bytes,
            malformed: self.records.malformed(),
            filtered: 0,
        }
    }
}
