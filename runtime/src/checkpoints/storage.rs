//! The directory of checkpoints: `epoch-<n>/shard-<i>.snapshot`, and `epoch-<n>/manifest`, which is written last.
//!
//! **Invariant.** A manifest is there only behind the files that it names: they are written and synced first,
//! then the manifest is written under another name, synced, renamed, and the directories are synced. One
//! process at a time uses a directory.

use crate::limits::EPOCHS_KEPT;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use shards::checkpoint::manifest::{FileEntry, Manifest};
use shards::checkpoint::recovery::{EpochFacts, EpochState, overtaken, superseded};
use shards::checkpoint::{ShardSnapshot, codec};
use shards::epoch::Epoch;

const MANIFEST: &str = "manifest";
const LOCK: &str = "lock";
const EPOCH_PREFIX: &str = "epoch-";

/// An open directory.
#[derive(Debug)]
pub struct Storage {
    directory: PathBuf,
    /// Locked while the process lives.
    _lock: File,
}

impl Storage {
    /// Creates the directory where it is missing, and locks it.
    ///
    /// # Errors
    /// It cannot be created, or another process uses it.
    pub fn open(directory: &Path) -> Result<Storage, String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!(
                "cannot use the checkpoint directory {}: {error}",
                directory.display()
            )
        };
        fs::create_dir_all(directory).map_err(|error| failed(&error))?;
        let lock = File::options()
            .create(true)
            .append(true)
            .open(directory.join(LOCK))
            .map_err(|error| failed(&error))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Storage {
                directory: directory.to_path_buf(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(failed(&"another job is running with it")),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What lies in it, epoch by epoch.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn facts(&self) -> Result<Vec<EpochFacts>, String> {
        let facts = |epoch: Epoch| EpochFacts {
            epoch,
            state: match self.manifest(epoch) {
                Ok(None) => EpochState::Unfinished,
                Ok(Some(manifest)) => match self.shards(&manifest) {
                    Ok(_) => EpochState::Whole,
                    Err(what) => EpochState::Damaged(what),
                },
                Err(what) => EpochState::Damaged(what),
            },
        };
        Ok(self.epochs()?.into_iter().map(facts).collect())
    }

    /// The manifest and the snapshots of an epoch that is whole.
    ///
    /// # Errors
    /// It is not.
    pub fn read(&self, epoch: Epoch) -> Result<(Manifest, Vec<ShardSnapshot>), String> {
        let manifest = self.manifest(epoch)?;
        let manifest = manifest.ok_or_else(|| format!("checkpoint {epoch} has no manifest"))?;
        let shards = self.shards(&manifest)?;
        Ok((manifest, shards))
    }

    /// Makes an epoch durable that was found whole. The process that wrote it may have ended between giving the
    /// manifest its name and making the name durable: a loss of power would take back what is shown from now on.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn make_durable(&self, manifest: &Manifest) -> Result<(), String> {
        let directory = self.directory_of(manifest.epoch);
        let names = manifest.files.iter().map(|entry| entry.name.as_str());
        let write = || {
            for name in names.chain([MANIFEST]) {
                sync(&directory.join(name))?;
            }
            sync(&directory)?;
            sync(&self.directory)
        };
        write().map_err(|error: std::io::Error| {
            format!(
                "cannot make the checkpoint {} durable: {error}",
                directory.display()
            )
        })
    }

    /// Writes the part of a shard and makes it durable.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write_shard(&self, epoch: Epoch, snapshot: &ShardSnapshot) -> Result<FileEntry, String> {
        let directory = self.directory_of(epoch);
        let name = format!("shard-{}.snapshot", snapshot.shard);
        let path = directory.join(&name);
        let bytes = codec::encode(snapshot)?;
        fs::create_dir_all(&directory)
            .and_then(|()| write_durably(&path, &bytes))
            .map_err(|error| format!("cannot write the checkpoint {}: {error}", path.display()))?;
        Ok(FileEntry::new(name, &bytes))
    }

    /// Writes the manifest: from now on the epoch exists.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), String> {
        let directory = self.directory_of(manifest.epoch);
        let (path, hidden) = (directory.join(MANIFEST), directory.join(".manifest"));
        let write = || {
            sync(&directory)?;
            write_durably(&hidden, &manifest.encode())?;
            fs::rename(&hidden, &path)?;
            sync(&directory)?;
            sync(&self.directory)
        };
        write().map_err(|error| format!("cannot write the checkpoint {}: {error}", path.display()))
    }

    /// Deletes what `committed` has made superfluous.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn collect(&self, committed: Epoch) -> Result<(), String> {
        self.delete(&superseded(&self.epochs()?, committed, EPOCHS_KEPT))
    }

    /// Deletes what is newer than the epoch that the job goes on from.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn delete_overtaken(&self, restored: Epoch) -> Result<(), String> {
        self.delete(&overtaken(&self.epochs()?, restored))
    }

    fn delete(&self, epochs: &[Epoch]) -> Result<(), String> {
        for &epoch in epochs {
            let directory = self.directory_of(epoch);
            let failed = |error| format!("cannot delete the checkpoint {}: {error}", directory.display());
            // Without its manifest it does not exist, however much of it is left.
            match fs::remove_file(directory.join(MANIFEST)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
                _ => fs::remove_dir_all(&directory).map_err(failed)?,
            }
        }
        Ok(())
    }

    fn epochs(&self) -> Result<Vec<Epoch>, String> {
        let failed = |error| {
            format!(
                "cannot list the checkpoints in {}: {error}",
                self.directory.display()
            )
        };
        let mut epochs = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(EPOCH_PREFIX));
            epochs.extend(number.and_then(|number| number.parse::<Epoch>().ok()));
        }
        epochs.sort_unstable();
        Ok(epochs)
    }

    fn manifest(&self, epoch: Epoch) -> Result<Option<Manifest>, String> {
        let bytes = match fs::read(self.directory_of(epoch).join(MANIFEST)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| format!("the manifest cannot be read: {error}"))?,
        };
        let manifest = Manifest::decode(&bytes)?;
        match manifest.epoch == epoch {
            true => Ok(Some(manifest)),
            false => Err(format!("the manifest is that of epoch {}", manifest.epoch)),
        }
    }

    fn shards(&self, manifest: &Manifest) -> Result<Vec<ShardSnapshot>, String> {
        let directory = self.directory_of(manifest.epoch);
        let shard = |entry: &FileEntry| {
            let path = directory.join(&entry.name);
            let bytes = fs::read(path).map_err(|error| format!("{} cannot be read: {error}", entry.name))?;
            entry.check(&bytes)?;
            codec::decode(&bytes).map_err(|what| format!("{}: {what}", entry.name))
        };
        manifest.files.iter().map(shard).collect()
    }

    fn directory_of(&self, epoch: Epoch) -> PathBuf {
        self.directory.join(format!("{EPOCH_PREFIX}{epoch:010}"))
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the bytes of a file durable, or the names in a directory.
fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
