//! Checkpoints in a simulation: a coordinator over a simulated disk, one effect at a time, so that a crash can
//! fall between any two; and the outside world, in which output is staged, shown, and taken back.
//!
//! It follows the order of `runtime::checkpoints` on the product's own codec, manifest and decisions.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use engine::batch::Batch;
use rand::rngs::SmallRng;
use shards::checkpoint::manifest::{FileEntry, Manifest, VERSION};
use shards::checkpoint::recovery::{EpochFacts, EpochState, Recovery, decide, overtaken, superseded};
use shards::checkpoint::{ShardSnapshot, SnapshotSink, codec};
use shards::connector::{ConnectorError, Prepared};
use shards::epoch::Epoch;

use crate::simulation::disk::Disk;

/// Snapshots that shards have handed over and nobody has looked at yet.
pub type HandedOver = Rc<RefCell<Vec<ShardSnapshot>>>;

/// Hands a shard's snapshots to the world.
pub struct Courier(pub HandedOver);

impl SnapshotSink for Courier {
    fn take(&mut self, snapshot: ShardSnapshot) -> Result<(), ConnectorError> {
        self.0.borrow_mut().push(snapshot);
        Ok(())
    }
}

/// Output by token: staged, or shown.
#[derive(Debug, Default)]
pub struct Outside {
    staged: BTreeMap<String, Vec<Batch>>,
    shown: BTreeMap<String, Vec<Batch>>,
    tokens: u64,
}

/// The outside world, shared by all sinks of all runs.
pub type SharedOutside = Rc<RefCell<Outside>>;

impl Outside {
    /// Stages the output of an epoch.
    pub fn stage(&mut self, epoch: Epoch, batches: Vec<Batch>) -> Prepared {
        self.tokens += 1;
        let token = format!("{epoch:06}-{:06}", self.tokens);
        self.staged.insert(token.clone(), batches);
        Prepared(token)
    }

    /// Shows staged output; what is shown already stays as it is.
    ///
    /// # Errors
    /// It is lost.
    pub fn show(&mut self, prepared: &Prepared) -> Result<(), String> {
        match self.staged.remove(&prepared.0) {
            Some(batches) => {
                self.shown.insert(prepared.0.clone(), batches);
                Ok(())
            }
            None if self.shown.contains_key(&prepared.0) => Ok(()),
            None => Err(format!("output {} was prepared and is lost", prepared.0)),
        }
    }

    /// Takes back what was written behind `epoch`.
    pub fn abort_after(&mut self, epoch: Epoch) {
        let is_kept = |token: &String| token[..6].parse::<Epoch>().is_ok_and(|written| written <= epoch);
        self.staged.retain(|token, _| is_kept(token));
        self.shown.retain(|token, _| is_kept(token));
    }

    /// All that is shown, in the order of epochs.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.shown.values().flatten()
    }
}

/// One thing that is done to disk or outside world.
enum Effect {
    Write(String, Vec<u8>),
    Sync(String),
    Rename(String, String),
    SyncNames,
    Show(Prepared),
    Committed(Epoch, Vec<ShardSnapshot>),
}

/// Makes epochs durable.
pub struct Keeper {
    pub disk: Disk,
    outside: SharedOutside,
    /// The epoch that the run went on from.
    base: Epoch,
    parts: BTreeMap<Epoch, BTreeMap<usize, ShardSnapshot>>,
    finished: BTreeMap<usize, ShardSnapshot>,
    effects: VecDeque<Effect>,
    planned: Epoch,
    shards: usize,
}

/// What a run goes on from.
pub struct Found {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether the job had come to its end.
    pub finished: bool,
    /// Its snapshots; none at a fresh start.
    pub snapshots: Option<Vec<ShardSnapshot>>,
}

impl Keeper {
    /// For a first run.
    pub fn new(outside: SharedOutside) -> Keeper {
        Keeper {
            disk: Disk::default(),
            outside,
            base: 0,
            parts: BTreeMap::new(),
            finished: BTreeMap::new(),
            effects: VecDeque::new(),
            planned: 0,
            shards: 0,
        }
    }

    /// Before a run on `shards` shards: what it goes on from. The outside world becomes what it was then.
    ///
    /// # Errors
    /// Nothing is whole, though something was committed; or prepared output is lost.
    pub fn recover(&mut self, shards: usize) -> Result<Found, String> {
        self.parts.clear();
        self.finished.clear();
        self.effects.clear();
        self.planned = 0;
        self.shards = shards;
        let found = match decide(&self.facts()) {
            Recovery::Fresh => Found {
                epoch: 0,
                finished: false,
                snapshots: None,
            },
            Recovery::Refuse { damaged } => return Err(format!("nothing is whole: {damaged:?}")),
            Recovery::Restore { epoch, .. } => {
                let (manifest, snapshots) = self.read(epoch)?;
                Found {
                    epoch,
                    finished: manifest.finished,
                    snapshots: Some(snapshots),
                }
            }
        };
        self.base = found.epoch;
        self.delete(&overtaken(&self.epochs(), found.epoch));
        let mut outside = self.outside.borrow_mut();
        for prepared in found.snapshots.iter().flatten().flat_map(prepared_by) {
            outside.show(&prepared)?;
        }
        outside.abort_after(found.epoch);
        Ok(found)
    }

    /// The epoch that is written when a run starts.
    pub fn first_epoch(&self) -> Epoch {
        self.base + 1
    }

    /// Takes what a shard handed over; plans what follows once an epoch has all its parts.
    pub fn take(&mut self, snapshot: ShardSnapshot) {
        match snapshot.finished {
            true => drop(self.finished.insert(snapshot.shard, snapshot)),
            false => {
                let parts = self.parts.entry(snapshot.epoch).or_default();
                parts.insert(snapshot.shard, snapshot);
            }
        }
        while let Some((&epoch, parts)) = self.parts.first_key_value() {
            let is_there = |shard: usize| parts.contains_key(&shard) || self.finished.contains_key(&shard);
            if !(0..self.shards).all(is_there) {
                return;
            }
            self.plan(epoch);
        }
        if self.finished.len() == self.shards {
            self.plan(self.planned + 1);
        }
    }

    /// Does the next thing; answers an epoch that is committed with it, and its snapshots.
    ///
    /// # Errors
    /// Prepared output is lost.
    pub fn step(&mut self) -> Result<Option<(Epoch, Vec<ShardSnapshot>)>, String> {
        match self.effects.pop_front() {
            None => {}
            Some(Effect::Write(path, bytes)) => self.disk.write(&path, bytes),
            Some(Effect::Sync(path)) => self.disk.sync(&path),
            Some(Effect::Rename(from, to)) => self.disk.rename(&from, &to),
            Some(Effect::SyncNames) => self.disk.sync_names(),
            Some(Effect::Show(prepared)) => self.outside.borrow_mut().show(&prepared)?,
            Some(Effect::Committed(epoch, snapshots)) => {
                self.delete(&superseded(&self.epochs(), epoch, 2));
                return Ok(Some((epoch, snapshots)));
            }
        }
        Ok(None)
    }

    /// Whether nothing is left to be done.
    pub fn is_idle(&self) -> bool {
        self.effects.is_empty()
    }

    /// The machine crashes; now and then a bit of the newest checkpoint changes too, if there is an older one.
    pub fn crash(&mut self, damages: bool, random: &mut SmallRng) {
        self.disk.crash(random);
        let whole = self.facts();
        let whole: Vec<Epoch> = whole
            .iter()
            .filter(|facts| facts.state == EpochState::Whole)
            .map(|facts| facts.epoch)
            .collect();
        if let (true, [.., _, newest]) = (damages, whole.as_slice()) {
            self.disk.damage(&format!("{newest:06}/shard-0"), random);
        }
    }

    fn plan(&mut self, epoch: Epoch) {
        let mut parts = self.parts.remove(&epoch).unwrap_or_default();
        for (&shard, snapshot) in &self.finished {
            parts.entry(shard).or_insert_with(|| snapshot.clone());
        }
        let number = self.base + epoch;
        let mut files = Vec::new();
        for (shard, snapshot) in &parts {
            let bytes = codec::encode(snapshot).expect("invariant: simulated snapshots can be written");
            let name = format!("shard-{shard}");
            files.push(FileEntry::new(name.clone(), &bytes));
            let path = format!("{number:06}/{name}");
            self.effects.push_back(Effect::Write(path.clone(), bytes));
            self.effects.push_back(Effect::Sync(path));
        }
        let manifest = Manifest {
            version: VERSION,
            job: "simulated".into(),
            epoch: number,
            finished: self.finished.len() == self.shards,
            key_groups: engine::state::hash::KEY_GROUPS,
            files,
            states: Vec::new(),
            sql: String::new(),
        };
        let (path, hidden) = (format!("{number:06}/manifest"), format!("{number:06}/.manifest"));
        let prepared: Vec<Prepared> = parts.values().flat_map(prepared_by).collect();
        self.effects.extend([
            Effect::SyncNames,
            Effect::Write(hidden.clone(), manifest.encode()),
            Effect::Sync(hidden.clone()),
            Effect::Rename(hidden, path),
            Effect::SyncNames,
        ]);
        self.effects.extend(prepared.into_iter().map(Effect::Show));
        self.effects
            .push_back(Effect::Committed(number, parts.into_values().collect()));
        self.planned = epoch;
    }

    fn delete(&mut self, epochs: &[Epoch]) {
        for epoch in epochs {
            self.disk.remove(&format!("{epoch:06}/"));
        }
    }

    fn epochs(&self) -> Vec<Epoch> {
        let numbers = self
            .disk
            .paths()
            .filter_map(|path| path.split('/').next()?.parse().ok());
        let mut epochs: Vec<Epoch> = numbers.collect();
        epochs.dedup();
        epochs
    }

    fn facts(&self) -> Vec<EpochFacts> {
        let facts = |epoch: Epoch| EpochFacts {
            epoch,
            state: match self.disk.read(&format!("{epoch:06}/manifest")) {
                None => EpochState::Unfinished,
                Some(_) => match self.read(epoch) {
                    Ok(_) => EpochState::Whole,
                    Err(what) => EpochState::Damaged(what),
                },
            },
        };
        self.epochs().into_iter().map(facts).collect()
    }

    fn read(&self, epoch: Epoch) -> Result<(Manifest, Vec<ShardSnapshot>), String> {
        let manifest = self
            .disk
            .read(&format!("{epoch:06}/manifest"))
            .ok_or("no manifest")?;
        let manifest = Manifest::decode(manifest)?;
        let shard = |entry: &FileEntry| {
            let bytes = self
                .disk
                .read(&format!("{epoch:06}/{}", entry.name))
                .ok_or("no file")?;
            entry.check(bytes)?;
            codec::decode(bytes)
        };
        let snapshots = manifest.files.iter().map(shard).collect::<Result<_, String>>()?;
        Ok((manifest, snapshots))
    }
}

fn prepared_by(snapshot: &ShardSnapshot) -> Vec<Prepared> {
    let sinks = snapshot.sinks.iter();
    sinks.flat_map(|(_, prepared)| prepared.iter().cloned()).collect()
}
