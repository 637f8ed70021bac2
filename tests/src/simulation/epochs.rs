//! Checkpoints in a simulation: a coordinator over a simulated disk, one effect at a time, so that a crash can
//! fall between any two; and the outside world, in which output is staged, shown, and taken back.
//!
//! It follows the order of `runtime::checkpoints` on the product's own codec, manifest and decisions.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use arrow::buffer::Buffer;
use engine::batch::Batch;
use rand::rngs::SmallRng;
use shards::checkpoint::catalog::Catalog;
use shards::checkpoint::manifest::{FileEntry, Manifest, VERSION};
use shards::checkpoint::recovery::{EpochFacts, EpochState, Recovery, decide, overtaken, superseded};
use shards::checkpoint::{ShardSnapshot, SnapshotSink, codec};
use shards::connector::{ConnectorError, Prepared};
use shards::epoch::Epoch;

use crate::simulation::disk::Disk;
use crate::simulation::faults::{Fault, Luck};
use crate::simulation::planted::Bug;

/// Of how many commits one is refused, or its answer is lost, in a world that fails.
const COMMIT_FAILS_ONE_IN: u32 = 15;

/// Snapshots that shards have handed over and nobody has looked at yet.
pub type HandedOver = Rc<RefCell<Vec<ShardSnapshot>>>;

/// Hands a shard's snapshots to the world.
pub struct Courier(pub HandedOver);

impl SnapshotSink for Courier {
    fn take(&mut self, snapshot: ShardSnapshot) -> Result<(), ConnectorError> {
        self.0.borrow_mut().push(snapshot);
        Ok(())
    }

    fn puts_back_kept_parts(&self) -> bool {
        true
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

    /// Takes back what was written behind `epoch`; answers how much of it had been shown.
    pub fn abort_after(&mut self, epoch: Epoch) -> usize {
        let is_kept = |token: &String| token[..6].parse::<Epoch>().is_ok_and(|written| written <= epoch);
        let shown = self.shown.len();
        self.staged.retain(|token, _| is_kept(token));
        self.shown.retain(|token, _| is_kept(token));
        shown - self.shown.len()
    }

    /// Shows what is shown already once more, as a sink would whose commit cannot be repeated.
    fn show_again(&mut self, prepared: &Prepared) {
        if let Some(batches) = self.shown.get_mut(&prepared.0) {
            batches.extend_from_within(..);
        }
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
    SyncNames(String),
    Show(Prepared),
    Committed(Epoch, Vec<ShardSnapshot>),
    /// Planted: everything written before this epoch is deleted.
    DeleteBefore(Epoch),
}

/// What the keeper's next thing came to.
pub enum Kept {
    /// Nothing to tell.
    Quiet,
    /// An epoch is committed.
    Committed(Epoch, Vec<ShardSnapshot>),
    /// The disk or the outside world refuses; the job stops with this message.
    Stopped(String),
}

/// Makes epochs durable.
pub struct Keeper {
    disk: Disk,
    luck: Luck,
    planted: Option<Bug>,
    outside: SharedOutside,
    /// The newest epoch whose output has been seen whole.
    committed: Epoch,
    /// A checkpoint has been damaged since the last recovery: an older one may be restored.
    is_damaged: bool,
    /// The epoch that the run went on from.
    base: Epoch,
    parts: BTreeMap<Epoch, BTreeMap<usize, ShardSnapshot>>,
    finished: BTreeMap<usize, ShardSnapshot>,
    effects: VecDeque<Effect>,
    planned: Epoch,
    shards: usize,
    /// By shard, what is known of its files in this run, and they themselves.
    written: BTreeMap<usize, (Catalog, BTreeMap<Epoch, Buffer>)>,
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
    pub fn new(outside: SharedOutside, luck: Luck, planted: Option<Bug>) -> Keeper {
        Keeper {
            disk: Disk::new(luck.clone()),
            luck,
            planted,
            outside,
            committed: 0,
            is_damaged: false,
            base: 0,
            parts: BTreeMap::new(),
            finished: BTreeMap::new(),
            effects: VecDeque::new(),
            planned: 0,
            shards: 0,
            written: BTreeMap::new(),
        }
    }

    /// Before a run on `shards` shards: what it goes on from. The outside world becomes what it was then.
    ///
    /// # Errors
    /// Nothing is whole, though something was committed; a committed epoch is gone, or output that was seen, though
    /// nothing was damaged; or prepared output is lost.
    pub fn recover(&mut self, shards: usize) -> Result<Found, String> {
        self.parts.clear();
        self.finished.clear();
        self.effects.clear();
        self.written.clear();
        self.planned = 0;
        self.shards = shards;
        let found = match decide(&self.facts_for_recovery()) {
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
        if self.planted != Some(Bug::RestoredNotSynced) {
            self.disk.settle();
        }
        self.show_again(&found)?;
        let was_damaged = std::mem::take(&mut self.is_damaged);
        let committed = std::mem::replace(&mut self.committed, found.epoch);
        match committed > found.epoch && !was_damaged {
            true => Err(format!(
                "epoch {committed} was committed, and epoch {} is gone on from",
                found.epoch
            )),
            false => Ok(found),
        }
    }

    /// Shows the output of the epoch that is gone on from, and takes back what was written behind it.
    fn show_again(&mut self, found: &Found) -> Result<(), String> {
        let mut outside = self.outside.borrow_mut();
        for prepared in found.snapshots.iter().flatten().flat_map(prepared_by) {
            if self.planted == Some(Bug::CommittedTwiceOnRestore) {
                outside.show_again(&prepared);
            }
            outside.show(&prepared)?;
        }
        if self.planted == Some(Bug::LostOutputStaysVisible) {
            return Ok(());
        }
        match outside.abort_after(found.epoch) {
            taken_back if taken_back > 0 && !self.is_damaged => Err(format!(
                "{taken_back} outputs behind epoch {} were seen and are taken back",
                found.epoch
            )),
            _ => Ok(()),
        }
    }

    /// What lies on the disk, as recovery sees it.
    fn facts_for_recovery(&self) -> Vec<EpochFacts> {
        let mut facts = self.facts();
        let whole = facts.iter().filter(|facts| facts.state == EpochState::Whole);
        if self.planted == Some(Bug::OlderEpochChosen) && whole.count() > 1 {
            facts.pop();
        }
        facts
    }

    /// The epoch that is written when a run starts.
    pub fn first_epoch(&self) -> Epoch {
        self.base + 1
    }

    /// Takes what a shard handed over; plans what follows once an epoch has all its parts.
    pub fn take(&mut self, snapshot: ShardSnapshot) {
        let waited_for = match self.planted {
            Some(Bug::ShardNotWaitedFor) => self.shards.div_ceil(2),
            _ => self.shards,
        };
        if !snapshot.finished && snapshot.epoch <= self.planned {
            assert!(waited_for < self.shards, "invariant: an epoch is planned once");
            return;
        }
        match snapshot.finished {
            true => drop(self.finished.insert(snapshot.shard, snapshot)),
            false => {
                let parts = self.parts.entry(snapshot.epoch).or_default();
                parts.insert(snapshot.shard, snapshot);
            }
        }
        while let Some((&epoch, parts)) = self.parts.first_key_value() {
            let is_there = |shard: usize| parts.contains_key(&shard) || self.finished.contains_key(&shard);
            if !(0..waited_for).all(is_there) {
                return;
            }
            self.plan(epoch);
        }
        if self.finished.len() == self.shards {
            self.plan(self.planned + 1);
        }
    }

    /// Does the next thing.
    ///
    /// # Errors
    /// Prepared output is lost, or epochs are committed in another order than that of their numbers.
    pub fn step(&mut self) -> Result<Kept, String> {
        let Some(effect) = self.effects.pop_front() else {
            return Ok(Kept::Quiet);
        };
        let done = match effect {
            Effect::Write(path, bytes) => self.disk.write(&path, bytes),
            Effect::Sync(path) => self.disk.sync(&path),
            Effect::Rename(from, to) => self.disk.rename(&from, &to),
            Effect::SyncNames(directory) => self.disk.sync_names(&directory),
            Effect::Show(prepared) => return self.show(&prepared),
            Effect::Committed(epoch, snapshots) => {
                if epoch <= self.committed {
                    return Err(format!(
                        "epoch {epoch} is committed behind epoch {}",
                        self.committed
                    ));
                }
                self.committed = epoch;
                let refers = |kept: Epoch| match self.planted {
                    Some(Bug::KeptFileDeleted) => Vec::new(),
                    _ => self.manifest(kept).map_or(Vec::new(), |manifest| manifest.refers),
                };
                self.delete(&superseded(&self.epochs(), epoch, 2, refers));
                return Ok(Kept::Committed(epoch, snapshots));
            }
            Effect::DeleteBefore(epoch) => {
                let mut older = self.epochs();
                older.retain(|&written| written < epoch);
                self.delete(&older);
                Ok(())
            }
        };
        Ok(done.map_or_else(Kept::Stopped, |()| Kept::Quiet))
    }

    fn show(&mut self, prepared: &Prepared) -> Result<Kept, String> {
        let fails = self.luck.strikes(Fault::CommitErrors, COMMIT_FAILS_ONE_IN);
        let is_shown = !fails || self.luck.below(2) == 0;
        if is_shown {
            self.outside.borrow_mut().show(prepared)?;
        }
        Ok(match (fails, is_shown) {
            (false, _) => Kept::Quiet,
            (true, false) => Kept::Stopped("a commit is refused".into()),
            (true, true) => Kept::Stopped("the answer to a commit is lost".into()),
        })
    }

    /// Whether nothing is left to be done.
    pub fn is_idle(&self) -> bool {
        self.effects.is_empty()
    }

    /// The process is gone; the machine may lose its power with it, and a bit of the newest checkpoint may change,
    /// if there is an older one.
    pub fn end_process(&mut self, random: &mut SmallRng) {
        if self.luck.strikes(Fault::PowerLoss, 2) {
            self.disk.crash(random);
        }
        if self.luck.has(Fault::Corruption) {
            self.damage(random);
        }
    }

    fn damage(&mut self, random: &mut SmallRng) {
        let whole = self.facts();
        let whole: Vec<Epoch> = whole
            .iter()
            .filter(|facts| facts.state == EpochState::Whole)
            .map(|facts| facts.epoch)
            .collect();
        if let [.., _, newest] = whole.as_slice()
            && self.luck.strikes(Fault::Corruption, 3)
        {
            let files = self
                .disk
                .paths()
                .filter(|path| path.starts_with(&format!("{newest:06}/")));
            let files: Vec<String> = files.map(str::to_string).collect();
            let file = &files[self.luck.below(files.len() as u64) as usize];
            self.disk.damage(file, random);
            self.is_damaged = true;
        }
    }

    fn plan(&mut self, epoch: Epoch) {
        let mut parts = self.parts.remove(&epoch).unwrap_or_default();
        for (&shard, snapshot) in &self.finished {
            parts.entry(shard).or_insert_with(|| snapshot.clone());
        }
        let number = self.base + epoch;
        if self.planted == Some(Bug::CollectedTooEarly) {
            self.effects.push_back(Effect::DeleteBefore(number));
        }
        let (mut files, mut refers) = (Vec::new(), BTreeSet::new());
        for (&shard, snapshot) in &parts {
            let (catalog, written) = self.written.entry(shard).or_default();
            let mut read = |epoch: Epoch| Ok(written[&epoch].clone());
            let encoded = codec::encode(snapshot, number, catalog, &mut read, &mut || {});
            let encoded = encoded.expect("invariant: simulated snapshots can be written");
            refers.extend(encoded.refers);
            let name = format!("shard-{shard}");
            files.push(FileEntry::new(name.clone(), &encoded.bytes));
            let path = format!("{number:06}/{name}");
            written.insert(number, Buffer::from(encoded.bytes.as_slice()));
            self.effects.push_back(Effect::Write(path.clone(), encoded.bytes));
            if self.planted != Some(Bug::FileNotSynced) {
                self.effects.push_back(Effect::Sync(path));
            }
        }
        let manifest = Manifest {
            version: VERSION,
            job: "simulated".into(),
            epoch: number,
            finished: self.finished.len() == self.shards,
            key_groups: engine::state::hash::KEY_GROUPS,
            files,
            refers: refers.into_iter().collect(),
            states: Vec::new(),
            sql: String::new(),
        };
        let directory = format!("{number:06}/");
        let (path, hidden) = (format!("{number:06}/manifest"), format!("{number:06}/.manifest"));
        let mut prepared: Vec<Prepared> = parts.values().flat_map(prepared_by).collect();
        if self.planted == Some(Bug::CommitBeforeManifest) {
            self.effects.extend(prepared.drain(..).map(Effect::Show));
        }
        self.effects.extend([
            Effect::SyncNames(directory.clone()),
            Effect::Write(hidden.clone(), manifest.encode()),
            Effect::Sync(hidden.clone()),
            Effect::Rename(hidden, path),
        ]);
        if self.planted != Some(Bug::DirectoryNotSynced) {
            self.effects.push_back(Effect::SyncNames(directory));
        }
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

    fn manifest(&self, epoch: Epoch) -> Result<Manifest, String> {
        let bytes = self.disk.read(&format!("{epoch:06}/manifest"));
        Manifest::decode(bytes.ok_or("no manifest")?)
    }

    fn read(&self, epoch: Epoch) -> Result<(Manifest, Vec<ShardSnapshot>), String> {
        let manifest = self.manifest(epoch)?;
        let shard = |entry: &FileEntry| {
            let bytes = self
                .disk
                .read(&format!("{epoch:06}/{}", entry.name))
                .ok_or("no file")?;
            entry.check(bytes)?;
            codec::decode(&Buffer::from(bytes), &mut |earlier| {
                let file = self.disk.read(&format!("{earlier:06}/{}", entry.name));
                file.map(Buffer::from)
                    .ok_or_else(|| format!("no file of epoch {earlier}"))
            })
        };
        let snapshots = manifest.files.iter().map(shard).collect::<Result<_, String>>()?;
        Ok((manifest, snapshots))
    }
}

fn prepared_by(snapshot: &ShardSnapshot) -> Vec<Prepared> {
    let sinks = snapshot.sinks.iter();
    sinks.flat_map(|(_, prepared)| prepared.iter().cloned()).collect()
}
