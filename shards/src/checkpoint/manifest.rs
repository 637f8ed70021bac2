//! The manifest: what makes the files of an epoch one checkpoint, and how to tell that all are there.
//!
//! One line of JSON, then a line with its CRC-32 in hexadecimal digits.

use engine::plan::state_names::StateName;
use serde::{Deserialize, Serialize};

use crate::epoch::Epoch;

/// The version of the manifest's format.
pub const VERSION: u32 = 2;

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`VERSION`].
    pub version: u32,
    /// The job that wrote: names its output from others'.
    pub job: String,
    /// The epoch.
    pub epoch: Epoch,
    /// Whether the job has come to its end with it.
    pub finished: bool,
    /// Key groups that hashes are cut into.
    pub key_groups: usize,
    /// By shard, its file.
    pub files: Vec<FileEntry>,
    /// Earlier epochs whose files hold parts of these.
    pub refers: Vec<Epoch>,
    /// What the job keeps: name and layout.
    pub states: Vec<(String, String)>,
    /// The text of the job, for the reader's eyes.
    pub sql: String,
}

/// A file of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name, in the epoch's directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The CRC-32 of all but its last four bytes, which hold it: with them every file's would be the same.
    pub crc32: u32,
}

impl FileEntry {
    /// The entry of a file with these bytes.
    pub fn new(name: String, bytes: &[u8]) -> FileEntry {
        FileEntry {
            name,
            bytes: bytes.len() as u64,
            crc32: told_checksum(bytes).expect("invariant: a file ends with its checksum"),
        }
    }

    /// Whether `bytes` say that they are the file's: by their length and by the checksum at their end, which whoever
    /// decodes them holds against the rest.
    ///
    /// # Errors
    /// They are not; the message says how they differ.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as u64 != self.bytes {
            return Err(format!(
                "{} has {} bytes instead of {}",
                self.name,
                bytes.len(),
                self.bytes
            ));
        }
        match told_checksum(bytes) == Some(self.crc32) {
            true => Ok(()),
            false => Err(format!("the checksum of {} is another", self.name)),
        }
    }
}

/// The checksum that a file says that it has.
fn told_checksum(bytes: &[u8]) -> Option<u32> {
    bytes.last_chunk().copied().map(u32::from_le_bytes)
}

impl Manifest {
    /// The bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("invariant: a manifest is plain data");
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(format!("\n{checksum:08x}\n").as_bytes());
        bytes
    }

    /// The manifest that `bytes` hold.
    ///
    /// # Errors
    /// They are damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, String> {
        const CHECKSUM_LINE_BYTES: usize = 10;
        let (body, line) = bytes
            .split_last_chunk::<CHECKSUM_LINE_BYTES>()
            .ok_or("the manifest was cut off")?;
        if format!("\n{:08x}\n", crc32fast::hash(body)).as_bytes() != line {
            return Err("the checksum of the manifest is wrong: it is damaged or was cut off".to_string());
        }
        let manifest: Manifest =
            serde_json::from_slice(body).map_err(|error| format!("the manifest cannot be read: {error}"))?;
        if manifest.version != VERSION {
            return Err(format!(
                "the manifest is of version {}, and this program reads version {VERSION}",
                manifest.version
            ));
        }
        Ok(manifest)
    }

    /// Whether a job with these states can go on from here: (states that changed, states that it no longer
    /// has).
    pub fn compare(&self, states: &[StateName]) -> (Vec<String>, Vec<String>) {
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for (name, layout) in &self.states {
            match states.iter().find(|state| state.name == *name) {
                Some(state) if state.layout != *layout => changed.push(name.clone()),
                Some(_) => {}
                None => gone.push(name.clone()),
            }
        }
        (changed, gone)
    }
}

#[cfg(all(test, not(feature = "loom")))]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(epoch: Epoch) -> Manifest {
        Manifest {
            version: VERSION,
            job: "17".into(),
            epoch,
            finished: false,
            key_groups: engine::state::hash::KEY_GROUPS,
            files: vec![FileEntry::new("shard-0.snapshot".into(), b"bytes")],
            refers: vec![1, 2],
            states: vec![("q: sort 1".into(), "by time".into())],
            sql: "SELECT 1;".into(),
        }
    }

    #[test]
    fn a_manifest_that_was_cut_or_changed_anywhere_is_refused() {
        let bytes = sample(3).encode();
        assert_eq!(Manifest::decode(&bytes), Ok(sample(3)));
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(Manifest::decode(&changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_whole_file_of_another_epoch_is_not_taken_for_this_ones() {
        use crate::checkpoint::codec::{encode_whole, tests::sample};
        let (mine, other) = (
            encode_whole(&sample(3)).expect("encoded"),
            encode_whole(&sample(4)).expect("encoded"),
        );
        let entry = FileEntry::new("shard-1.snapshot".into(), &mine);
        assert_eq!(entry.check(&mine), Ok(()));
        assert!(entry.check(&other).is_err());
    }

    #[test]
    fn a_job_is_compared_by_what_it_keeps() {
        let state = |name: &str, layout: &str| StateName {
            name: name.into(),
            layout: layout.into(),
        };
        let manifest = sample(3);
        assert_eq!(
            manifest.compare(&[state("q: sort 1", "by time"), state("new", "x")]),
            (vec![], vec![])
        );
        let changed = manifest.compare(&[state("q: sort 1", "by name")]);
        assert_eq!(changed, (vec!["q: sort 1".to_string()], vec![]));
        assert_eq!(manifest.compare(&[]), (vec![], vec!["q: sort 1".to_string()]));
    }
}
