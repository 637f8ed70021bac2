//! The checkpoints of a job: `epoch-<n>/shard-<i>.snapshot`, and `epoch-<n>/manifest`, which is written last.
//!
//! **Invariant.** A manifest is there only behind the files that it names. One process at a time uses a directory.
//! How both are kept is the business of [`super::files`].

use std::path::Path;

use crate::limits::EPOCHS_KEPT;
use std::collections::BTreeSet;

use arrow::buffer::Buffer;
use shards::checkpoint::catalog::Catalog;
use shards::checkpoint::manifest::{FileEntry, Manifest};
use shards::checkpoint::recovery::{EpochFacts, EpochState, overtaken, superseded};
use shards::checkpoint::{ShardSnapshot, codec};
use shards::epoch::Epoch;

use super::breather::Breather;
use super::files::local::LocalFiles;
use super::files::location::Location;
use super::files::objects::ObjectFiles;
use super::files::{Files, Unreadable};

const MANIFEST: &str = "manifest";
const EPOCH_PREFIX: &str = "epoch-";

/// An epoch that is whole: its manifest, and the snapshots of all shards.
pub type Whole = (Manifest, Vec<ShardSnapshot>);

/// The checkpoints of a job, open.
#[derive(Debug)]
pub struct Storage {
    files: Box<dyn Files>,
}

impl Storage {
    /// Opens a directory, which is created where it is missing, or a place in an object store by its URL, and locks it.
    ///
    /// # Errors
    /// It cannot be used, or another process uses it.
    pub fn open(place: &Path) -> Result<Storage, String> {
        let failed =
            |error: String| format!("cannot use the checkpoint directory {}: {error}", place.display());
        // A URL that is refused may hold a secret.
        let location =
            Location::parse(place).map_err(|error| format!("cannot use --checkpoint-dir: {error}"))?;
        let files: Box<dyn Files> = match location {
            Location::Directory(path) => Box::new(LocalFiles::open(&path).map_err(failed)?),
            Location::Objects(location) => Box::new(ObjectFiles::open(&location).map_err(failed)?),
        };
        Ok(Storage::over(files))
    }

    /// Checkpoints in files that are open.
    pub(super) fn over(files: Box<dyn Files>) -> Storage {
        Storage { files }
    }

    /// The local directory that it is, if it is one.
    pub fn local_directory(&self) -> Option<&Path> {
        self.files.local_directory()
    }

    /// What lies in it, epoch by epoch, from the newest down to the first that is whole, with what that one holds:
    /// nobody goes on from an older one, so they are not read.
    ///
    /// # Errors
    /// It cannot be listed, or an object store does not say what lies in it.
    pub fn facts(&self) -> Result<(Vec<EpochFacts>, Option<Whole>), String> {
        let mut facts = Vec::new();
        for epoch in self.epochs()?.into_iter().rev() {
            let (state, whole) = self.state(epoch)?;
            facts.push(EpochFacts { epoch, state });
            if whole.is_some() {
                return Ok((facts, whole));
            }
        }
        Ok((facts, None))
    }

    /// A store that does not answer says nothing of an epoch: it must not be passed over for an older one.
    fn state(&self, epoch: Epoch) -> Result<(EpochState, Option<Whole>), String> {
        let read = |manifest: Option<Manifest>| match manifest {
            None => Ok(None),
            Some(manifest) => self.shards(&manifest).map(|shards| Some((manifest, shards))),
        };
        match self.manifest(epoch).and_then(read) {
            Ok(None) => Ok((EpochState::Unfinished, None)),
            Ok(Some(whole)) => Ok((EpochState::Whole, Some(whole))),
            Err(Unreadable::Damaged(what)) => Ok((EpochState::Damaged(what), None)),
            Err(Unreadable::Unreachable(what)) => Err(self.failed("read", epoch, "", &what)),
        }
    }

    /// Makes an epoch durable that was found whole. The process that wrote it may have ended between giving the
    /// manifest its name and making the name durable: a loss of power would take back what is shown from now on.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn make_durable(&self, manifest: &Manifest) -> Result<(), String> {
        let directory = name_of(manifest.epoch);
        let names = manifest.files.iter().map(|entry| entry.name.as_str());
        let names: Vec<&str> = names.chain([MANIFEST]).collect();
        let durable = self.files.make_durable(&directory, &names);
        durable.map_err(|error| {
            format!(
                "cannot make the checkpoint {} durable: {error}",
                self.files.describe(&directory, "")
            )
        })
    }

    /// Makes sure that no process that was thought gone commits an epoch behind `restored`, which is what the facts
    /// said; false = one has since, and the facts are others.
    ///
    /// # Errors
    /// It cannot be found out.
    pub fn claim_behind(&self, restored: Epoch) -> Result<bool, String> {
        let epoch = restored + 1;
        let claimed = self.files.claim(&name_of(epoch), MANIFEST);
        claimed.map_err(|error| self.failed("begin", epoch, MANIFEST, &error))
    }

    /// Tells other processes that this one still uses the directory; called now and then.
    ///
    /// # Errors
    /// Another process has taken it over.
    pub fn keep_lock(&self) -> Result<(), String> {
        let kept = self.files.keep_lock();
        kept.map_err(|error| {
            format!(
                "cannot go on with the checkpoints in {}: {error}",
                self.files.describe("", "")
            )
        })
    }

    /// Writes the part of a shard and makes it durable.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write_shard(
        &self,
        epoch: Epoch,
        snapshot: &ShardSnapshot,
        catalog: &mut Catalog,
    ) -> Result<(FileEntry, BTreeSet<Epoch>), String> {
        let name = self.files.own_name(&format!("shard-{}.snapshot", snapshot.shard));
        let mut read = |earlier| self.earlier(earlier, &name).map_err(Unreadable::said);
        let mut breather = Breather::new();
        let encoded = codec::encode(snapshot, epoch, catalog, &mut read, &mut || breather.breathe())?;
        let written = self.files.write(&name_of(epoch), &name, &encoded.bytes);
        written.map_err(|error| self.failed("write", epoch, &name, &error))?;
        let entry = FileEntry {
            name,
            bytes: encoded.bytes.len() as u64,
            crc32: encoded.crc32,
        };
        catalog.give_back(encoded.bytes);
        Ok((entry, encoded.refers))
    }

    /// Writes the manifest: from now on the epoch exists.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), String> {
        let epoch = manifest.epoch;
        let written = self.files.publish(&name_of(epoch), MANIFEST, &manifest.encode());
        written.map_err(|error| self.failed("write", epoch, MANIFEST, &error))
    }

    /// Deletes what `committed` has made superfluous.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn collect(&self, committed: Epoch) -> Result<(), String> {
        let refers = |epoch| match self.manifest(epoch) {
            Ok(Some(manifest)) => manifest.refers,
            // What cannot be read refers to nothing that could be used.
            Ok(None) | Err(_) => Vec::new(),
        };
        self.delete(&superseded(&self.epochs()?, committed, EPOCHS_KEPT, refers))
    }

    /// Deletes what is newer than the epoch that the job goes on from.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn delete_overtaken(&self, restored: Epoch) -> Result<(), String> {
        self.delete(&overtaken(&self.epochs()?, restored))
    }

    /// A manifest goes first: without it the epoch does not exist, however much of it is left.
    fn delete(&self, epochs: &[Epoch]) -> Result<(), String> {
        for &epoch in epochs {
            let deleted = self.files.delete(&name_of(epoch), MANIFEST);
            deleted.map_err(|error| self.failed("delete", epoch, "", &error))?;
        }
        Ok(())
    }

    /// The epochs of which something is there, in rising order.
    pub(super) fn epochs(&self) -> Result<Vec<Epoch>, String> {
        let names = self.files.directories().map_err(|error| {
            format!(
                "cannot list the checkpoints in {}: {error}",
                self.files.describe("", "")
            )
        })?;
        let numbers = names.iter().filter_map(|name| name.strip_prefix(EPOCH_PREFIX));
        let mut epochs: Vec<Epoch> = numbers.filter_map(|number| number.parse().ok()).collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    fn manifest(&self, epoch: Epoch) -> Result<Option<Manifest>, Unreadable> {
        let bytes = self.files.read(&name_of(epoch), MANIFEST);
        let Some(bytes) = bytes.map_err(|error| error.about("the manifest"))? else {
            return Ok(None);
        };
        let manifest = Manifest::decode(&bytes).map_err(Unreadable::Damaged)?;
        match manifest.epoch == epoch {
            true => Ok(Some(manifest)),
            false => Err(Unreadable::Damaged(format!(
                "the manifest is that of epoch {}",
                manifest.epoch
            ))),
        }
    }

    fn shards(&self, manifest: &Manifest) -> Result<Vec<ShardSnapshot>, Unreadable> {
        let shards = manifest.files.iter();
        shards.map(|entry| self.shard(manifest.epoch, entry)).collect()
    }

    fn shard(&self, epoch: Epoch, entry: &FileEntry) -> Result<ShardSnapshot, Unreadable> {
        let damaged = |what: String| Unreadable::Damaged(format!("{}: {what}", entry.name));
        let bytes = self.files.read(&name_of(epoch), &entry.name);
        let bytes = bytes.map_err(|error| error.about(&entry.name))?;
        let bytes = bytes.ok_or_else(|| damaged("it is not there".to_owned()))?;
        entry.check(&bytes).map_err(Unreadable::Damaged)?;
        let mut unreachable = None;
        let mut read = |earlier| {
            self.earlier(earlier, &entry.name).map_err(|error| {
                if let Unreadable::Unreachable(_) = &error {
                    unreachable = Some(error.clone());
                }
                error.said()
            })
        };
        let decoded = codec::decode(&Buffer::from(bytes), &mut read);
        decoded.map_err(|what| unreachable.unwrap_or_else(|| damaged(what)))
    }

    /// The file of that name of an earlier epoch.
    fn earlier(&self, epoch: Epoch, name: &str) -> Result<Buffer, Unreadable> {
        let said = self.files.describe(&name_of(epoch), name);
        let bytes = self.files.read(&name_of(epoch), name);
        let bytes = bytes.map_err(|error| error.about(&said))?;
        let missing = || Unreadable::Damaged(format!("{said} is not there"));
        Ok(Buffer::from(bytes.ok_or_else(missing)?))
    }

    fn failed(&self, verb: &str, epoch: Epoch, name: &str, error: &str) -> String {
        let path = self.files.describe(&name_of(epoch), name);
        format!("cannot {verb} the checkpoint {path}: {error}")
    }
}

/// The directory of an epoch.
fn name_of(epoch: Epoch) -> String {
    format!("{EPOCH_PREFIX}{epoch:010}")
}
