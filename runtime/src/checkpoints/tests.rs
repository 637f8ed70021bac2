//! A directory of checkpoints, whole and damaged.

use std::path::{Path, PathBuf};

use shards::checkpoint::catalog::Catalog;
use shards::checkpoint::manifest::{Manifest, VERSION};
use shards::checkpoint::recovery::{Recovery, decide};
use shards::checkpoint::{ShardSnapshot, SourceSnapshot};
use shards::connector::SplitPosition;

use super::storage::Storage;
use crate::connectors::testing::TemporaryDirectory;

/// The part of a shard, which differs by epoch.
fn part(epoch: u64, shard: usize) -> ShardSnapshot {
    ShardSnapshot {
        epoch,
        shard,
        finished: false,
        operators: Vec::new(),
        sources: vec![SourceSnapshot {
            name: "q: source 1".into(),
            positions: vec![SplitPosition {
                split: "bids.ndjson".into(),
                position: format!("{epoch}"),
            }],
            watermarks: vec![("bids.ndjson".into(), 1_000)],
        }],
        sinks: Vec::new(),
    }
}

fn write(storage: &Storage, epoch: u64) {
    let file = |shard| {
        let part = part(epoch, shard);
        let written = storage.write_shard(epoch, &part, &mut Catalog::default());
        written.unwrap().0
    };
    let manifest = Manifest {
        version: VERSION,
        job: "1f".into(),
        epoch,
        finished: false,
        key_groups: 4_096,
        files: (0..2).map(file).collect(),
        refers: Vec::new(),
        states: Vec::new(),
        sql: String::new(),
    };
    storage.write_manifest(&manifest).unwrap();
}

fn epoch_files(directory: &Path, epoch: u64) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory.join(format!("epoch-{epoch:010}"))).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_checkpoint_that_is_damaged_anywhere_is_passed_over_for_the_one_before() {
    let directory = TemporaryDirectory::create();
    let storage = Storage::open(directory.path()).unwrap();
    write(&storage, 1);
    write(&storage, 2);
    let recovered = || decide(&storage.facts().unwrap());
    let damaged = Vec::new();
    assert_eq!(recovered(), Recovery::Restore { epoch: 2, damaged });
    for path in epoch_files(directory.path(), 2) {
        let bytes = std::fs::read(&path).unwrap();
        let check = |damaged: &[u8], what: String| {
            std::fs::write(&path, damaged).unwrap();
            let found = recovered();
            assert!(
                matches!(found, Recovery::Restore { epoch: 1, .. }),
                "{what}: {found:?}"
            );
        };
        for length in 0..bytes.len() {
            check(&bytes[..length], format!("{} cut at {length}", path.display()));
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            check(&changed, format!("{} changed at {at}", path.display()));
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(matches!(recovered(), Recovery::Restore { epoch: 2, .. }));
}

#[test]
fn where_every_checkpoint_is_damaged_the_job_is_not_started_anew() {
    let directory = TemporaryDirectory::create();
    let storage = Storage::open(directory.path()).unwrap();
    write(&storage, 1);
    for path in epoch_files(directory.path(), 1) {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(matches!(
            decide(&storage.facts().unwrap()),
            Recovery::Refuse { .. }
        ));
        std::fs::remove_file(&path).unwrap();
        let is_manifest = path.ends_with("manifest");
        let expected_fresh = decide(&storage.facts().unwrap()) == Recovery::Fresh;
        assert_eq!(
            expected_fresh, is_manifest,
            "without a manifest the epoch did not happen"
        );
        std::fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn old_checkpoints_are_deleted_and_a_directory_has_one_user() {
    let directory = TemporaryDirectory::create();
    let storage = Storage::open(directory.path()).unwrap();
    for epoch in 1..=4 {
        write(&storage, epoch);
        storage.collect(epoch).unwrap();
    }
    let epochs: Vec<u64> = storage.facts().unwrap().iter().map(|facts| facts.epoch).collect();
    assert_eq!(epochs, [3, 4]);
    let error = Storage::open(directory.path()).unwrap_err();
    assert!(error.contains("another job is running with it"), "{error}");
    drop(storage);
    Storage::open(directory.path()).unwrap();
}

#[test]
fn an_epoch_that_is_found_whole_can_be_made_durable_and_one_that_lost_a_file_cannot() {
    let directory = TemporaryDirectory::create();
    let storage = Storage::open(directory.path()).unwrap();
    write(&storage, 1);
    let (manifest, _) = storage.read(1).unwrap();
    assert_eq!(storage.make_durable(&manifest), Ok(()));
    std::fs::remove_file(directory.path().join("epoch-0000000001/shard-1.snapshot")).unwrap();
    let refused = storage.make_durable(&manifest).unwrap_err();
    assert!(refused.contains("cannot make the checkpoint"), "{refused}");
}
