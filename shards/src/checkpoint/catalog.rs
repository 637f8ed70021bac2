//! Where the parts lie that later snapshots of a shard may keep, and which old files are worth writing anew.
//!
//! A part lies in the file of the epoch that brought it, until a snapshot no longer keeps it or the file has lost
//! so much that what is left of it is copied into the newest one (as a log-structured store cleans segments).
//!
//! **Invariant.** Every part that the newest snapshot brought or kept is known, and no other.

use std::collections::BTreeMap;

use engine::snapshot::PartNumber;
use serde::{Deserialize, Serialize};

use crate::epoch::Epoch;
use crate::limits::{FILE_LIVE_SHARE, FILES_KEPT_MAX, SPARE_FILE_BYTES_MAX};

/// Where the rows of one part lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// In the file of this epoch; of the epoch itself if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Behind so many bytes of it.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// Its CRC-32.
    pub crc32: u32,
}

/// A stream of a part, and the table that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub table: String,
    /// The epoch whose file it lies in.
    pub epoch: Epoch,
    pub stream: Stream,
}

/// What is known of the files of one shard.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    parts: BTreeMap<PartNumber, Vec<Placed>>,
    /// By epoch, the length of its file.
    files: BTreeMap<Epoch, u64>,
    /// Memory for the next file: fresh pages for each would cost as much as filling them.
    spare: Vec<u8>,
}

impl Catalog {
    /// Memory for a file, empty.
    pub(super) fn take_spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    /// Takes the memory of a file back that has been stored.
    pub fn give_back(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() <= SPARE_FILE_BYTES_MAX {
            bytes.clear();
            self.spare = bytes;
        }
    }

    /// Where part `number` lies.
    pub(super) fn places(&self, number: PartNumber) -> &[Placed] {
        let places = self.parts.get(&number);
        places.expect("invariant: a kept part was brought by an earlier snapshot")
    }

    /// Keeps only what a snapshot has brought or kept, which lies in files of `epoch` (of this length) and before.
    pub(super) fn replace(&mut self, epoch: Epoch, bytes: u64, parts: BTreeMap<PartNumber, Vec<Placed>>) {
        self.parts = parts;
        self.files.insert(epoch, bytes);
        let used = self.live();
        self.files.retain(|epoch, _| used.contains_key(epoch));
    }

    /// By epoch, how much of its file is still kept.
    fn live(&self) -> BTreeMap<Epoch, u64> {
        let mut live = BTreeMap::new();
        for placed in self.parts.values().flatten() {
            *live.entry(placed.epoch).or_default() += placed.stream.bytes;
        }
        live
    }

    /// The epochs whose files hold so little of `kept` that it is to be copied: those that have lost most of
    /// what they had, and the smallest where there are many.
    pub(super) fn worth_copying(&self, kept: &[PartNumber]) -> Vec<Epoch> {
        let mut live: BTreeMap<Epoch, u64> = BTreeMap::new();
        for placed in kept.iter().flat_map(|&number| self.places(number)) {
            *live.entry(placed.epoch).or_default() += placed.stream.bytes;
        }
        let is_sparse = |epoch: &Epoch, live: u64| {
            let bytes = self.files.get(epoch).copied().unwrap_or(u64::MAX);
            live.saturating_mul(FILE_LIVE_SHARE) < bytes
        };
        let (mut copied, mut others): (Vec<_>, Vec<_>) = live
            .into_iter()
            .partition(|&(epoch, live)| is_sparse(&epoch, live));
        if others.len() > FILES_KEPT_MAX {
            others.sort_by_key(|&(_, live)| std::cmp::Reverse(live));
            copied.extend(others.split_off(FILES_KEPT_MAX / 2));
        }
        copied.into_iter().map(|(epoch, _)| epoch).collect()
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    fn placed(epoch: Epoch, bytes: u64) -> Vec<Placed> {
        let stream = Stream {
            epoch: Some(epoch),
            offset: 12,
            bytes,
            crc32: 0,
        };
        vec![Placed {
            table: "groups".into(),
            epoch,
            stream,
        }]
    }

    #[test]
    fn a_file_that_has_lost_most_of_its_parts_is_copied() {
        let mut catalog = Catalog::default();
        let parts = BTreeMap::from([(1, placed(1, 400)), (2, placed(1, 400)), (3, placed(1, 400))]);
        catalog.replace(1, 1_300, parts);
        assert!(catalog.worth_copying(&[1, 2]).is_empty());
        assert_eq!(catalog.worth_copying(&[2]), [1]);
    }

    #[test]
    fn the_memory_of_a_file_serves_the_next_unless_it_is_large() {
        let mut catalog = Catalog::default();
        catalog.give_back(vec![1; 1_000]);
        let spare = catalog.take_spare();
        assert!(spare.is_empty() && spare.capacity() >= 1_000);
        catalog.give_back(Vec::with_capacity(SPARE_FILE_BYTES_MAX + 1));
        assert_eq!(catalog.take_spare().capacity(), 0);
    }

    #[test]
    fn the_smallest_of_many_files_are_copied() {
        let mut catalog = Catalog::default();
        let mut parts = BTreeMap::new();
        for epoch in 1..=FILES_KEPT_MAX as u64 + 1 {
            parts.insert(epoch, placed(epoch, 1_000 * epoch));
            catalog.replace(epoch, 1_100 * epoch, parts.clone());
            let kept: Vec<PartNumber> = parts.keys().copied().collect();
            let copied = catalog.worth_copying(&kept);
            match epoch > FILES_KEPT_MAX as u64 {
                false => assert!(copied.is_empty()),
                true => {
                    let mut copied = copied;
                    copied.sort_unstable();
                    assert_eq!(copied.len(), FILES_KEPT_MAX / 2 + 1);
                    assert_eq!(copied[0], 1, "the smallest");
                }
            }
        }
    }
}
