//! Looks for partitions that have come since the job started (`scan.topic-partition-discovery.interval`), on a thread of
//! its own, and tells the shards that they belong to.
//!
//! **Invariant.** A partition is told once, with the oldest offset that it has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::offsets::{KnownPartition, Lookup, Topics};
use super::position::{PartitionPosition, TopicPartition};
use crate::connectors::Wake;

/// The thread; it ends with its owner.
pub struct Discovery {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Begins to look, every `interval`, for partitions of `topics` beside those that are `known`.
pub fn start(
    lookup: Lookup,
    topics: Topics,
    mut known: BTreeSet<TopicPartition>,
    interval: Duration,
    readers: Vec<(Sender<KnownPartition>, Arc<dyn Wake>)>,
) -> Discovery {
    let (stop, stopped) = channel::<()>();
    let thread = std::thread::Builder::new()
        .name("kafka-discovery".into())
        .spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                match look(&lookup, &topics, &mut known, &readers) {
                    Ok(()) => {}
                    // A broker that is away is looked for again; what reads will tell if it stays away.
                    Err(reason) => tracing::debug!(reason, "no new partitions can be looked for"),
                }
            }
        });
    Discovery {
        stop: Some(stop),
        thread: thread
            .inspect_err(|error| tracing::warn!("no new partitions are looked for: {error}"))
            .ok(),
    }
}

fn look(
    lookup: &Lookup,
    topics: &Topics,
    known: &mut BTreeSet<TopicPartition>,
    readers: &[(Sender<KnownPartition>, Arc<dyn Wake>)],
) -> Result<(), String> {
    for id in lookup.partitions(topics)? {
        if known.contains(&id) {
            continue;
        }
        let earliest = lookup.earliest(&id)?;
        let (reader, waker) = &readers[id.owner(readers.len())];
        let start = PartitionPosition {
            next: earliest,
            end: None,
        };
        tracing::info!(topic = id.topic, partition = id.partition, "a new partition");
        known.insert(id.clone());
        // A shard that has ended reads no more.
        let _ = reader.send(KnownPartition { id, start, earliest });
        waker.wake();
    }
    Ok(())
}
