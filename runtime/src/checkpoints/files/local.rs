//! Files in a local directory, which is locked while the process lives.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::{Files, Unreadable};
use crate::checkpoints::breather::Breather;

const LOCK: &str = "lock";
/// So much is given to the kernel at once: it copies all of it before others have the core.
const PIECE_BYTES: usize = 256 << 10;

/// An open directory.
#[derive(Debug)]
pub struct LocalFiles {
    root: PathBuf,
    /// Locked while the process lives.
    _lock: File,
}

impl LocalFiles {
    /// Creates the directory where it is missing, and locks it.
    ///
    /// # Errors
    /// It cannot be created, or another process uses it.
    pub fn open(root: &Path) -> Result<LocalFiles, String> {
        let said = |error: std::io::Error| error.to_string();
        fs::create_dir_all(root).map_err(said)?;
        let lock = File::options()
            .create(true)
            .append(true)
            .open(root.join(LOCK))
            .map_err(said)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(LocalFiles {
                root: root.to_path_buf(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err("another job is running with it".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn path(&self, directory: &str, name: &str) -> PathBuf {
        self.root.join(directory).join(name)
    }
}

impl Files for LocalFiles {
    fn describe(&self, directory: &str, name: &str) -> String {
        let parts = [directory, name].into_iter().filter(|part| !part.is_empty());
        let path: PathBuf = parts.fold(self.root.clone(), |path, part| path.join(part));
        path.display().to_string()
    }

    fn local_directory(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn own_name(&self, name: &str) -> String {
        name.to_owned()
    }

    fn directories(&self) -> Result<Vec<String>, String> {
        let names = || {
            let entries = fs::read_dir(&self.root)?;
            let name = |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
            entries
                .filter_map(|entry| name(entry).transpose())
                .collect::<std::io::Result<Vec<String>>>()
        };
        names().map_err(|error| error.to_string())
    }

    fn read(&self, directory: &str, name: &str) -> Result<Option<Vec<u8>>, Unreadable> {
        match fs::read(self.path(directory, name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            bytes => bytes
                .map(Some)
                .map_err(|error| Unreadable::Damaged(error.to_string())),
        }
    }

    fn write(&self, directory: &str, name: &str, bytes: &[u8]) -> Result<(), String> {
        fs::create_dir_all(self.root.join(directory))
            .and_then(|()| write_durably(&self.path(directory, name), bytes))
            .map_err(|error| error.to_string())
    }

    fn publish(&self, directory: &str, name: &str, bytes: &[u8]) -> Result<(), String> {
        let (path, hidden) = (
            self.path(directory, name),
            self.path(directory, &format!(".{name}")),
        );
        let directory = self.root.join(directory);
        let write = || {
            sync(&directory)?;
            write_durably(&hidden, bytes)?;
            fs::rename(&hidden, &path)?;
            sync(&directory)?;
            sync(&self.root)
        };
        write().map_err(|error: std::io::Error| error.to_string())
    }

    /// The lock of the directory keeps everybody else from it.
    fn claim(&self, _directory: &str, _name: &str) -> Result<bool, String> {
        Ok(true)
    }

    fn delete(&self, directory: &str, first: &str) -> Result<(), String> {
        match fs::remove_file(self.path(directory, first)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
            _ => fs::remove_dir_all(self.root.join(directory)).map_err(|error| error.to_string()),
        }
    }

    fn make_durable(&self, directory: &str, names: &[&str]) -> Result<(), String> {
        let write = || {
            for name in names {
                sync(&self.path(directory, name))?;
            }
            sync(&self.root.join(directory))?;
            sync(&self.root)
        };
        write().map_err(|error: std::io::Error| error.to_string())
    }

    /// The kernel keeps it.
    fn keep_lock(&self) -> Result<(), String> {
        Ok(())
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let mut breather = Breather::new();
    for piece in bytes.chunks(PIECE_BYTES) {
        file.write_all(piece)?;
        breather.breathe();
    }
    file.sync_all()
}

/// Makes the bytes of a file durable, or the names in a directory.
fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
