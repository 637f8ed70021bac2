//! The epochs of a running job: asked for at intervals, written as shards hand their parts over, committed once
//! all have.
//!
//! **Invariant.** One epoch is under way at a time, but for the last one, which may follow another. Output is
//! shown only after the manifest of its epoch is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::state::hash::KEY_GROUPS;
use shards::checkpoint::ShardSnapshot;
use shards::checkpoint::catalog::Catalog;
use shards::checkpoint::manifest::{FileEntry, Manifest, VERSION};
use shards::connector::Prepared;
use shards::epoch::Epoch;

use crate::checkpoints::Recovered;
use crate::connector_factory::ConnectorFactory;

/// What one shard gave for an epoch.
struct Part {
    entry: FileEntry,
    /// Earlier epochs whose files hold parts of it.
    refers: BTreeSet<Epoch>,
    prepared: Vec<Prepared>,
}

/// Makes epochs durable.
pub struct Coordinator {
    recovered: Recovered,
    connectors: Arc<dyn ConnectorFactory>,
    shards: usize,
    /// By the shards' own number of an epoch (from 1): by shard, its part.
    parts: BTreeMap<Epoch, Vec<Option<Part>>>,
    /// Shards that have come to their end, with what stands for all later epochs.
    finished: Vec<Option<ShardSnapshot>>,
    /// By shard, where the parts lie that its snapshots keep.
    catalogs: Vec<Catalog>,
    /// The newest epoch asked for, and the newest committed, by the shards' own number.
    requested: Epoch,
    committed: Epoch,
    requested_at: Duration,
}

impl Coordinator {
    /// The epochs of a job on `shards` shards that goes on from what was recovered.
    pub fn new(recovered: Recovered, connectors: Arc<dyn ConnectorFactory>, shards: usize) -> Coordinator {
        Coordinator {
            recovered,
            connectors,
            shards,
            parts: BTreeMap::new(),
            finished: vec![None; shards],
            catalogs: vec![Catalog::default(); shards],
            requested: 0,
            committed: 0,
            requested_at: Duration::ZERO,
        }
    }

    /// How often an epoch ends.
    pub fn interval(&self) -> Duration {
        self.recovered.interval
    }

    /// Tells other processes that the job still uses its checkpoints; called now and then.
    ///
    /// # Errors
    /// Another process has taken them over.
    pub fn keep_lock(&self) -> Result<(), String> {
        self.recovered.storage.keep_lock()
    }

    /// Whether every part that was handed over belongs to an epoch that is committed.
    pub fn is_settled(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether the next epoch is due; it counts as asked for then.
    pub fn is_due(&mut self, elapsed: Duration) -> bool {
        let is_idle = self.requested == self.committed && self.parts.is_empty();
        let is_due = is_idle && elapsed.saturating_sub(self.requested_at) >= self.recovered.interval;
        if is_due {
            self.requested += 1;
            self.requested_at = elapsed;
        }
        is_due
    }

    /// Takes the part of a shard; commits its epoch if it is the last part.
    ///
    /// # Errors
    /// The epoch cannot be made durable, or its output cannot be shown.
    pub fn take(&mut self, snapshot: ShardSnapshot) -> Result<(), String> {
        let (shard, epoch) = (snapshot.shard, snapshot.epoch);
        if snapshot.finished {
            self.finished[shard] = Some(snapshot);
        } else {
            let part = self.write(epoch, &snapshot)?;
            let shards = self.shards;
            let parts = self
                .parts
                .entry(epoch)
                .or_insert_with(|| (0..shards).map(|_| None).collect());
            parts[shard] = Some(part);
        }
        while let Some((&epoch, parts)) = self.parts.first_key_value() {
            let is_there = |shard: usize| parts[shard].is_some() || self.finished[shard].is_some();
            if !(0..self.shards).all(is_there) {
                return Ok(());
            }
            self.commit(epoch)?;
        }
        match self.finished.iter().all(Option::is_some) {
            true => self.commit(self.committed + 1),
            false => Ok(()),
        }
    }

    fn write(&mut self, epoch: Epoch, snapshot: &ShardSnapshot) -> Result<Part, String> {
        let (storage, catalog) = (&self.recovered.storage, &mut self.catalogs[snapshot.shard]);
        let (entry, refers) = storage.write_shard(self.recovered.epoch + epoch, snapshot, catalog)?;
        let sinks = snapshot.sinks.iter();
        Ok(Part {
            entry,
            refers,
            prepared: sinks.flat_map(|(_, prepared)| prepared.iter().cloned()).collect(),
        })
    }

    /// Every shard has given its part: the epoch becomes durable, then seen.
    fn commit(&mut self, epoch: Epoch) -> Result<(), String> {
        let mut parts = self
            .parts
            .remove(&epoch)
            .unwrap_or_else(|| (0..self.shards).map(|_| None).collect());
        for (shard, part) in parts.iter_mut().enumerate().filter(|(_, part)| part.is_none()) {
            if let Some(snapshot) = self.finished[shard].clone() {
                *part = Some(self.write(epoch, &snapshot)?);
            }
        }
        let parts: Vec<Part> = parts.into_iter().flatten().collect();
        assert_eq!(
            parts.len(),
            self.shards,
            "invariant: an epoch has a part of every shard"
        );
        let number = self.recovered.epoch + epoch;
        let states = self.recovered.states.iter();
        let manifest = Manifest {
            version: VERSION,
            job: self.recovered.job.clone(),
            epoch: number,
            finished: self.finished.iter().all(Option::is_some),
            key_groups: KEY_GROUPS,
            files: parts.iter().map(|part| part.entry.clone()).collect(),
            refers: parts
                .iter()
                .flat_map(|part| part.refers.iter().copied())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            states: states
                .map(|state| (state.name.clone(), state.layout.clone()))
                .collect(),
            sql: self.recovered.sql.clone(),
        };
        self.recovered.storage.write_manifest(&manifest)?;
        // All of it at once: what all shards wrote to a topic is one transaction.
        let prepared: Vec<Prepared> = parts.into_iter().flat_map(|part| part.prepared).collect();
        self.connectors.commit(&prepared).map_err(|error| error.message)?;
        if manifest.finished {
            self.connectors.end().map_err(|error| error.message)?;
        }
        self.connectors.committed(epoch);
        self.committed = epoch;
        self.requested = self.requested.max(epoch);
        tracing::debug!(epoch = number, "committed");
        self.recovered.storage.collect(number)
    }
}
