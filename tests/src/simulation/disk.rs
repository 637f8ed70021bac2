//! A simulated disk: what was written but not synced may be lost, torn or kept when the machine crashes.
//!
//! **Invariant.** What was synced, under a name that was synced, survives every crash as it was written.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::simulation::faults::{Fault, Luck};

/// Of how many calls one fails, on a disk that fails.
const FAILS_ONE_IN: u32 = 40;

/// A file.
#[derive(Clone, Debug)]
struct File {
    bytes: Vec<u8>,
    /// Its bytes are durable.
    synced: bool,
    /// Its name is durable; before that, the name it had when it last was, if any.
    named: bool,
    before: Option<String>,
}

/// Files by path.
pub struct Disk {
    files: BTreeMap<String, File>,
    luck: Luck,
}

impl Disk {
    /// An empty disk.
    pub fn new(luck: Luck) -> Disk {
        Disk {
            files: BTreeMap::new(),
            luck,
        }
    }

    fn may_fail(&self, what: &str, path: &str) -> Result<(), String> {
        match self.luck.strikes(Fault::DiskErrors, FAILS_ONE_IN) {
            true => Err(format!("{what} {path} fails")),
            false => Ok(()),
        }
    }

    /// Writes a file anew.
    ///
    /// # Errors
    /// The disk is full; a part of the bytes is written.
    pub fn write(&mut self, path: &str, mut bytes: Vec<u8>) -> Result<(), String> {
        let outcome = self.may_fail("writing", path);
        if outcome.is_err() {
            bytes.truncate(self.luck.below(bytes.len() as u64) as usize);
        }
        let file = File {
            bytes,
            synced: false,
            named: false,
            before: None,
        };
        self.files.insert(path.to_string(), file);
        outcome
    }

    /// Makes the bytes of a file durable.
    ///
    /// # Errors
    /// They may be, or not.
    pub fn sync(&mut self, path: &str) -> Result<(), String> {
        self.may_fail("syncing", path)?;
        let file = self
            .files
            .get_mut(path)
            .expect("invariant: a written file is synced");
        file.synced = true;
        Ok(())
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// It keeps its name.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), String> {
        self.may_fail("renaming", from)?;
        let mut file = self
            .files
            .remove(from)
            .expect("invariant: a written file is renamed");
        file.before = file.named.then(|| from.to_string());
        file.named = false;
        self.files.insert(to.to_string(), file);
        Ok(())
    }

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// They may be, or not.
    pub fn sync_names(&mut self, directory: &str) -> Result<(), String> {
        self.may_fail("syncing", directory)?;
        let files = self.files.iter_mut();
        for (_, file) in files.filter(|(path, _)| path.starts_with(directory)) {
            file.named = true;
            file.before = None;
        }
        Ok(())
    }

    /// Makes everything durable, as a process does that goes on from what it finds.
    pub fn settle(&mut self) {
        for file in self.files.values_mut() {
            file.synced = true;
            file.named = true;
            file.before = None;
        }
    }

    /// Deletes what begins with `prefix`; durable at once.
    pub fn remove(&mut self, prefix: &str) {
        self.files.retain(|path, _| !path.starts_with(prefix));
    }

    /// The bytes of a file.
    pub fn read(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|file| file.bytes.as_slice())
    }

    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Changes one bit of a file.
    pub fn damage(&mut self, path: &str, random: &mut SmallRng) {
        if let Some(file) = self.files.get_mut(path).filter(|file| !file.bytes.is_empty()) {
            let at = random.random_range(0..file.bytes.len());
            file.bytes[at] ^= 1 << random.random_range(0..8);
        }
    }

    /// The machine loses its power.
    pub fn crash(&mut self, random: &mut SmallRng) {
        for (path, mut file) in std::mem::take(&mut self.files) {
            if !file.synced {
                match random.random_range(0..3) {
                    0 => continue,
                    1 => file.bytes.truncate(random.random_range(0..=file.bytes.len())),
                    _ => {}
                }
            }
            let path = match (file.named, file.before.take()) {
                (false, Some(before)) if random.random() => before,
                (false, None) if random.random() => continue,
                _ => path,
            };
            file.synced = true;
            file.named = true;
            self.files.insert(path, file);
        }
    }
}
