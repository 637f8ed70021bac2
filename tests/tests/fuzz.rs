//! The fuzz targets over their corpora (`tests/fuzz`, one folder a target), as they are, cut at every byte, and mutated:
//! a bounded number of inputs, the same in every run. `VELOCORE_FUZZ=100000` runs more; a panic tells target and seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shards::checkpoint::manifest::{FileEntry, Manifest, VERSION};
use shards::checkpoint::{ShardSnapshot, SourceSnapshot, codec};
use shards::connector::{Prepared, SplitPosition};
use tests::fuzz;

/// The files of `tests/fuzz/<target>`.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(target);
    let entries = std::fs::read_dir(folder).expect("every target has a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("a file"))
        .collect()
}

/// Runs `target` over its corpus and `mutations` of it, or as many as the environment says.
fn run(name: &str, target: fn(&[u8]), corpus: &[Vec<u8>], mutations: u64) {
    let mutations = std::env::var("VELOCORE_FUZZ").map_or(mutations, |text| text.parse().expect("a number"));
    for bytes in corpus {
        target(bytes);
    }
    for seed in 0..mutations {
        let mut random = SmallRng::seed_from_u64(seed);
        let any = |random: &mut SmallRng| random.random_range(0..corpus.len());
        let (one, other) = (any(&mut random), any(&mut random));
        let bytes = fuzz::mutate(&corpus[one], &corpus[other], &mut random);
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        assert!(
            outcome.is_ok(),
            "{name}, seed {seed}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

/// Runs `target` over every beginning of every file.
fn run_cut(target: fn(&[u8]), corpus: &[Vec<u8>]) {
    for bytes in corpus {
        (0..bytes.len()).for_each(|length| target(&bytes[..length]));
    }
}

#[test]
fn hostile_sql_is_planned_or_refused() {
    run("sql", fuzz::sql, &corpus("sql"), 300);
}

#[test]
fn hostile_ndjson_gives_the_same_rows_however_it_is_cut() {
    run("ndjson", fuzz::ndjson, &corpus("ndjson"), 1_500);
    run_cut(fuzz::ndjson, &corpus("ndjson"));
}

#[test]
fn hostile_csv_gives_the_same_rows_however_it_is_cut() {
    run("csv", fuzz::csv, &corpus("csv"), 1_500);
    run_cut(fuzz::csv, &corpus("csv"));
}

#[test]
fn hostile_changelogs_give_the_same_rows_however_they_are_cut() {
    run("changelog", fuzz::changelog, &corpus("changelog"), 800);
    run_cut(fuzz::changelog, &corpus("changelog"));
}

#[test]
fn hostile_snapshots_are_read_as_written_or_refused() {
    let snapshot = ShardSnapshot {
        epoch: 7,
        shard: 1,
        finished: false,
        operators: Vec::new(),
        sources: vec![SourceSnapshot {
            name: "q: source 1".into(),
            positions: vec![SplitPosition {
                split: "0".into(),
                position: "{\"left\": 3}".into(),
            }],
            watermarks: vec![("0".into(), -5)],
        }],
        sinks: vec![("q: sink 1".into(), vec![Prepared("part-0-1".into())])],
    };
    let bytes = codec::encode_whole(&snapshot).expect("it can be written");
    // The checksum refuses nearly all of it; behind it lie the same bytes with a checksum that is right.
    let resealed = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let body = bytes.len().saturating_sub(4);
        let checksum = fuzz::checksum(&bytes[..body]);
        bytes.truncate(body);
        bytes.extend(checksum.to_le_bytes());
        fuzz::snapshot(&bytes);
    };
    run_cut(fuzz::snapshot, std::slice::from_ref(&bytes));
    run("snapshot", fuzz::snapshot, std::slice::from_ref(&bytes), 3_000);
    for at in 0..bytes.len() - 4 {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            resealed(&bytes);
        }
        resealed(&bytes[..at + 4]);
    }
}

#[test]
fn hostile_manifests_are_read_as_written_or_refused() {
    let manifest = Manifest {
        version: VERSION,
        job: "1f".into(),
        epoch: 3,
        finished: true,
        key_groups: 4_096,
        files: vec![FileEntry::new("shard-0".into(), b"some bytes, and a checksum")],
        refers: vec![1],
        states: vec![("q: join 1".into(), "inner".into())],
        sql: "SELECT 1;".into(),
    };
    let bytes = manifest.encode();
    run_cut(fuzz::manifest, std::slice::from_ref(&bytes));
    run("manifest", fuzz::manifest, &[bytes], 3_000);
}
