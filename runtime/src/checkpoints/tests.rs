//! Checkpoints, whole and damaged, in a directory and in an object store.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use shards::checkpoint::catalog::Catalog;
use shards::checkpoint::manifest::{FileEntry, Manifest, VERSION};
use shards::checkpoint::recovery::{Recovery, decide};
use shards::checkpoint::{ShardSnapshot, SourceSnapshot};
use shards::connector::SplitPosition;
use tokio::runtime::{Builder, Runtime};

use super::files::lease::{Clock, Holder, LEASE, Patience};
use super::files::location::{Location, ObjectLocation};
use super::files::objects::ObjectFiles;
use super::storage::Storage;
use crate::connectors::testing::TemporaryDirectory;

/// Where checkpoints lie, as somebody sees it who can change anything there.
trait Place {
    fn open(&self) -> Result<Storage, String>;
    fn files(&self, epoch: u64) -> Vec<String>;
    fn get(&self, file: &str) -> Vec<u8>;
    fn put(&self, file: &str, bytes: &[u8]);
    fn remove(&self, file: &str);
}

impl Place for TemporaryDirectory {
    fn open(&self) -> Result<Storage, String> {
        Storage::open(self.path())
    }

    fn files(&self, epoch: u64) -> Vec<String> {
        let entries = std::fs::read_dir(self.path().join(format!("epoch-{epoch:010}"))).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    fn get(&self, file: &str) -> Vec<u8> {
        std::fs::read(file).unwrap()
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        std::fs::write(file, bytes).unwrap();
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(file).unwrap();
    }
}

/// A bucket in memory.
struct Bucket {
    location: ObjectLocation,
    store: Arc<InMemory>,
    runtime: Runtime,
}

impl Bucket {
    fn create() -> Bucket {
        let location = Location::parse(&PathBuf::from("memory://bucket/jobs/volume"));
        let Ok(Location::Objects(location)) = location else {
            panic!("{location:?}");
        };
        Bucket {
            location,
            store: Arc::default(),
            runtime: Builder::new_current_thread().build().unwrap(),
        }
    }

    fn open_as(&self, holder: Holder) -> Result<Storage, String> {
        self.open_in(&Clock::start(), holder)
    }

    fn open_in(&self, time: &dyn Patience, holder: Holder) -> Result<Storage, String> {
        let files = ObjectFiles::open_as(&self.location, self.store.clone(), holder, time)?;
        Ok(Storage::over(Box::new(files)))
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let path = ObjectPath::from(format!("jobs/volume/{directory}"));
        let list = self.store.list_with_delimiter(Some(&path));
        let objects = self.runtime.block_on(list).unwrap().objects;
        objects.iter().map(|object| object.location.to_string()).collect()
    }
}

impl Place for Bucket {
    fn open(&self) -> Result<Storage, String> {
        self.open_as(Holder::this_process())
    }

    fn files(&self, epoch: u64) -> Vec<String> {
        self.list(&format!("epoch-{epoch:010}"))
    }

    fn get(&self, file: &str) -> Vec<u8> {
        let file = ObjectPath::from(file);
        let read = async { self.store.get(&file).await?.bytes().await };
        self.runtime.block_on(read).unwrap().into()
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        let path = ObjectPath::from(file);
        let put = self.store.put(&path, bytes.to_vec().into());
        self.runtime.block_on(put).unwrap();
    }

    fn remove(&self, file: &str) {
        self.runtime
            .block_on(self.store.delete(&ObjectPath::from(file)))
            .unwrap();
    }
}

fn places() -> [Box<dyn Place>; 2] {
    [Box::new(TemporaryDirectory::create()), Box::new(Bucket::create())]
}

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

fn write_part(storage: &Storage, epoch: u64, shard: usize) -> FileEntry {
    let written = storage.write_shard(epoch, &part(epoch, shard), &mut Catalog::default());
    written.unwrap().0
}

/// The newest whole epoch, read.
fn newest(storage: &Storage) -> (Manifest, Vec<ShardSnapshot>) {
    storage.facts().unwrap().1.expect("an epoch is whole")
}

fn write(storage: &Storage, epoch: u64) {
    write_referring(storage, epoch, Vec::new());
}

fn write_referring(storage: &Storage, epoch: u64, refers: Vec<u64>) {
    let file = |shard| write_part(storage, epoch, shard);
    let manifest = Manifest {
        version: VERSION,
        job: "1f".into(),
        epoch,
        finished: false,
        key_groups: 4_096,
        files: (0..2).map(file).collect(),
        refers,
        states: Vec::new(),
        sql: String::new(),
    };
    storage.write_manifest(&manifest).unwrap();
}

fn recovery(storage: &Storage) -> Recovery {
    decide(&storage.facts().unwrap().0)
}

#[test]
fn a_checkpoint_that_is_damaged_anywhere_is_passed_over_for_the_one_before() {
    for place in places() {
        let storage = place.open().unwrap();
        write(&storage, 1);
        write(&storage, 2);
        let damaged = Vec::new();
        assert_eq!(recovery(&storage), Recovery::Restore { epoch: 2, damaged });
        for file in place.files(2) {
            let bytes = place.get(&file);
            let check = |damaged: &[u8], what: String| {
                place.put(&file, damaged);
                let found = recovery(&storage);
                assert!(
                    matches!(found, Recovery::Restore { epoch: 1, .. }),
                    "{what}: {found:?}"
                );
            };
            for length in 0..bytes.len() {
                check(&bytes[..length], format!("{file} cut at {length}"));
            }
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                check(&changed, format!("{file} changed at {at}"));
            }
            place.put(&file, &bytes);
        }
        assert!(matches!(recovery(&storage), Recovery::Restore { epoch: 2, .. }));
    }
}

#[test]
fn where_every_checkpoint_is_damaged_the_job_is_not_started_anew() {
    for place in places() {
        let storage = place.open().unwrap();
        write(&storage, 1);
        for file in place.files(1) {
            let bytes = place.get(&file);
            place.put(&file, &bytes[..bytes.len() / 2]);
            assert!(matches!(recovery(&storage), Recovery::Refuse { .. }));
            place.remove(&file);
            let is_manifest = file.ends_with("manifest");
            assert_eq!(
                recovery(&storage) == Recovery::Fresh,
                is_manifest,
                "without a manifest the epoch did not happen"
            );
            place.put(&file, &bytes);
        }
    }
}

#[test]
fn old_checkpoints_are_deleted_and_a_directory_has_one_user() {
    for place in places() {
        let storage = place.open().unwrap();
        assert!(storage.claim_behind(0).unwrap());
        for epoch in 1..=4 {
            write(&storage, epoch);
            storage.collect(epoch).unwrap();
        }
        assert_eq!(storage.epochs().unwrap(), [3, 4]);
        let error = place.open().unwrap_err();
        assert!(error.contains("another job is running with it"), "{error}");
        drop(storage);
        place.open().unwrap();
    }
}

#[test]
fn files_of_older_epochs_stay_while_newer_ones_keep_parts_in_them() {
    let directory = TemporaryDirectory::create();
    let storage = Storage::open(directory.path()).unwrap();
    let epochs = || {
        let there = |epoch: &u64| directory.path().join(format!("epoch-{epoch:010}")).exists();
        (1..10).filter(there).collect::<Vec<u64>>()
    };
    for (epoch, refers, expected) in [
        (1, vec![], vec![1]),
        (2, vec![1], vec![1, 2]),
        (3, vec![1], vec![1, 2, 3]),
        (4, vec![3], vec![1, 3, 4]),
        (5, vec![3, 4], vec![3, 4, 5]),
        (6, vec![], vec![3, 4, 5, 6]),
        (7, vec![], vec![6, 7]),
    ] {
        write_referring(&storage, epoch, refers);
        storage.collect(epoch).unwrap();
        assert_eq!(epochs(), expected);
    }
}

#[test]
fn an_epoch_that_is_found_whole_can_be_made_durable_and_one_that_lost_a_file_cannot() {
    let directory = TemporaryDirectory::create();
    let storage = Storage::open(directory.path()).unwrap();
    write(&storage, 1);
    let (manifest, _) = newest(&storage);
    assert_eq!(storage.make_durable(&manifest), Ok(()));
    std::fs::remove_file(directory.path().join("epoch-0000000001/shard-1.snapshot")).unwrap();
    let refused = storage.make_durable(&manifest).unwrap_err();
    assert!(refused.contains("cannot make the checkpoint"), "{refused}");
}

/// A process of this machine that has ended.
fn dead() -> Holder {
    let this = Holder::this_process();
    Holder {
        started: this.started + 1,
        ..this
    }
}

#[test]
fn a_process_that_was_thought_gone_commits_nothing_once_another_has_taken_over() {
    let bucket = Bucket::create();
    let before = bucket.open_as(dead()).unwrap();
    assert!(before.claim_behind(0).unwrap());
    write(&before, 1);
    let (mut manifest, _) = newest(&before);
    // It has written its part of the next epoch when it falls silent.
    write_part(&before, 2, 0);

    let after = bucket.open().unwrap();
    assert!(matches!(recovery(&after), Recovery::Restore { epoch: 1, .. }));
    assert!(after.claim_behind(1).unwrap());
    after.delete_overtaken(1).unwrap();
    assert_eq!(bucket.files(2).len(), 1, "of the epoch only the claim is left");

    let files = (0..2).map(|shard| write_part(&before, 2, shard));
    manifest.epoch = 2;
    manifest.files = files.collect();
    let refused = before.write_manifest(&manifest).unwrap_err();
    assert!(
        refused.contains("another process has taken the job over"),
        "{refused}"
    );

    write(&after, 2);
    assert!(matches!(recovery(&after), Recovery::Restore { epoch: 2, .. }));
    assert_eq!(newest(&after).1.len(), 2, "the late parts are in nobody's way");
}

#[test]
fn who_is_overtaken_by_a_manifest_while_it_starts_looks_again() {
    let bucket = Bucket::create();
    let before = bucket.open_as(dead()).unwrap();
    let after = bucket.open().unwrap();
    assert_eq!(recovery(&after), Recovery::Fresh);
    write(&before, 1);
    assert!(!after.claim_behind(0).unwrap());
    assert!(matches!(recovery(&after), Recovery::Restore { epoch: 1, .. }));
    assert!(after.claim_behind(1).unwrap());
}

#[test]
fn a_claim_of_a_job_that_ended_is_no_epoch_and_the_next_job_takes_it() {
    let bucket = Bucket::create();
    let before = bucket.open_as(dead()).unwrap();
    assert!(before.claim_behind(0).unwrap());
    std::mem::forget(before);
    let after = bucket.open().unwrap();
    assert_eq!(recovery(&after), Recovery::Fresh);
    assert!(after.claim_behind(0).unwrap());
    write(&after, 1);
    assert!(matches!(recovery(&after), Recovery::Restore { epoch: 1, .. }));
}

#[test]
fn the_lock_is_given_back_at_the_end_and_refused_where_it_is_something_else() {
    let bucket = Bucket::create();
    let storage = bucket.open().unwrap();
    assert_eq!(bucket.list(""), ["jobs/volume/lock"]);
    drop(storage);
    assert!(bucket.list("").is_empty());
    bucket.put("jobs/volume/lock", b"mine");
    let refused = bucket.open().unwrap_err();
    assert!(
        refused.contains("memory://bucket/jobs/volume/lock is not a lock of this program"),
        "{refused}"
    );
}

/// A process of another machine, which nobody can ask for here.
fn elsewhere(host: &str) -> Holder {
    Holder {
        machine: format!("{host}'s boot"),
        host: host.into(),
        ..Holder::this_process()
    }
}

/// Time that passes at once, and what others do meanwhile.
struct Passing<'a> {
    elapsed: Cell<Duration>,
    meanwhile: RefCell<Box<dyn FnMut(Duration) + 'a>>,
}

impl<'a> Passing<'a> {
    fn with(meanwhile: impl FnMut(Duration) + 'a) -> Passing<'a> {
        Passing {
            elapsed: Cell::default(),
            meanwhile: RefCell::new(Box::new(meanwhile)),
        }
    }
}

impl Patience for Passing<'_> {
    fn elapsed(&self) -> Duration {
        self.elapsed.get()
    }

    fn pause(&self, duration: Duration) {
        self.elapsed.set(self.elapsed.get() + duration);
        assert!(self.elapsed.get() < 3 * LEASE, "who waits comes to an end");
        (self.meanwhile.borrow_mut())(self.elapsed.get());
    }
}

#[test]
fn a_lock_of_another_machine_is_taken_over_once_it_was_silent_for_a_lease() {
    let bucket = Bucket::create();
    let before = bucket.open_as(elsewhere("far")).unwrap();
    let time = Passing::with(|_| {});
    let after = bucket.open_in(&time, elsewhere("near")).unwrap();
    let waited = time.elapsed();
    assert!(waited >= LEASE && waited < LEASE + LEASE / 4, "{waited:?}");
    // Who was thought gone does not give back what is another's.
    drop(before);
    assert_eq!(bucket.list(""), ["jobs/volume/lock"]);
    assert!(after.claim_behind(0).unwrap());
    write(&after, 1);
    drop(after);
    assert!(!bucket.list("").contains(&"jobs/volume/lock".to_string()));
}

#[test]
fn a_lock_that_is_renewed_while_it_is_watched_is_in_use() {
    let bucket = Bucket::create();
    let holder = elsewhere("far");
    let before = bucket.open_as(holder.clone()).unwrap();
    let renewed = serde_json::to_vec(&Holder { renewed: 2, ..holder }).unwrap();
    // At the last moment.
    let time = Passing::with(|elapsed| {
        if elapsed + Duration::from_secs(3) >= LEASE {
            bucket.put("jobs/volume/lock", &renewed);
        }
    });
    let refused = bucket.open_in(&time, elsewhere("near")).unwrap_err();
    assert!(
        refused.contains("another job is running with it (process") && refused.contains("on far)"),
        "{refused}"
    );
    drop(before);
}

#[test]
fn a_lock_that_is_given_back_while_it_is_watched_is_taken_at_the_next_look() {
    let bucket = Bucket::create();
    let mut before = Some(bucket.open_as(elsewhere("far")).unwrap());
    let time = Passing::with(|elapsed| {
        if elapsed >= Duration::from_secs(10) {
            before.take();
        }
    });
    bucket.open_in(&time, elsewhere("near")).unwrap();
    assert!(time.elapsed() < Duration::from_secs(15), "{:?}", time.elapsed());
}

#[test]
fn of_two_that_wait_for_a_silent_lock_one_gets_it() {
    let bucket = Bucket::create();
    std::mem::forget(bucket.open_as(elsewhere("far")).unwrap());
    let mut winner = None;
    let time = Passing::with(|elapsed| {
        if elapsed * 2 >= LEASE && winner.is_none() {
            winner = Some(
                bucket
                    .open_in(&Passing::with(|_| {}), elsewhere("faster"))
                    .unwrap(),
            );
        }
    });
    let refused = bucket.open_in(&time, elsewhere("slower")).unwrap_err();
    assert!(refused.contains("on faster)"), "{refused}");
    drop(time);
    let winner = winner.expect("it waited for a lease of its own");
    winner.keep_lock().unwrap();
    assert!(winner.claim_behind(0).unwrap());
    write(&winner, 1);
}

#[test]
fn a_large_file_goes_up_in_parts() {
    use super::files::Files;
    use crate::limits::{UPLOAD_PART_BYTES, UPLOAD_PARTS_MAX};
    let bucket = Bucket::create();
    let (store, this) = (bucket.store.clone(), Holder::this_process());
    let files = ObjectFiles::open_as(&bucket.location, store, this, &Clock::start()).unwrap();
    // One part more than may be under way at once, the last of them short.
    let bytes: Vec<u8> = (0..UPLOAD_PART_BYTES * UPLOAD_PARTS_MAX + 7)
        .map(|at| (at / 4_096) as u8)
        .collect();
    files
        .write("epoch-0000000001", "shard-0.snapshot", &bytes)
        .unwrap();
    let read = files.read("epoch-0000000001", "shard-0.snapshot").unwrap();
    assert!(
        read.as_deref() == Some(bytes.as_slice()),
        "what was written is read"
    );
}
