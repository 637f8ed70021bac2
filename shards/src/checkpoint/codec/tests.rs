//! Snapshots come back as they were; what is damaged is refused.

use super::*;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

/// A snapshot with one of everything.
pub(crate) fn sample(epoch: u64) -> ShardSnapshot {
    let schema = Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
    ]);
    let keys = StringArray::from(vec![Some("a"), None]);
    let rows = RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(keys), Arc::new(Int64Array::from(vec![1, 2]))],
    );
    let table = StateTable {
        name: "groups".into(),
        input: 0,
        parts: vec![StatePart {
            number: None,
            rows: rows.expect("two columns"),
        }],
    };
    ShardSnapshot {
        epoch,
        shard: 1,
        finished: false,
        operators: vec![
            NodeSnapshot {
                name: "q: aggregation 1".into(),
                state: Some(OperatorSnapshot {
                    watermark: i64::MIN,
                    late_rows: 3,
                    tables: vec![table],
                    kept: Vec::new(),
                }),
            },
            NodeSnapshot {
                name: "q: sort 1".into(),
                state: None,
            },
        ],
        sources: vec![SourceSnapshot {
            name: "q: source 1".into(),
            positions: vec![SplitPosition {
                split: "bids.ndjson".into(),
                position: "0-17".into(),
            }],
            watermarks: vec![("bids.ndjson".into(), 1_000_000)],
        }],
        sinks: vec![("q: sink 1".into(), vec![Prepared("part-0".into())])],
    }
}

#[test]
fn what_was_written_is_read() {
    let snapshot = sample(7);
    let bytes = encode_whole(&snapshot).expect("encoded");
    assert_eq!(decode_whole(&bytes).expect("decoded"), snapshot);
}

#[test]
fn bytes_that_were_cut_or_changed_anywhere_are_refused() {
    let bytes = encode_whole(&sample(7)).expect("encoded");
    for length in 0..bytes.len() {
        assert!(decode_whole(&bytes[..length]).is_err(), "cut at {length}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(decode_whole(&changed).is_err(), "changed at {at}");
    }
}

#[test]
fn a_snapshot_of_a_later_version_is_refused_by_its_number() {
    let mut bytes = encode_whole(&sample(7)).expect("encoded");
    bytes[8] = 9;
    let body = bytes.len() - CHECKSUM_BYTES;
    let checksum = crc32fast::hash(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&checksum);
    assert!(decode_whole(&bytes).expect_err("refused").contains("version 9"));
}

fn numbered(rows: Range<i64>, number: PartNumber) -> StatePart {
    let schema = Schema::new(vec![Field::new("key", DataType::Int64, true)]);
    let keys = Arc::new(Int64Array::from_iter_values(rows));
    StatePart {
        number: Some(number),
        rows: RecordBatch::try_new(Arc::new(schema), vec![keys]).expect("a column"),
    }
}

/// A snapshot that brings these parts and keeps those.
fn growing(epoch: Epoch, new: Vec<StatePart>, kept: Vec<PartNumber>) -> ShardSnapshot {
    let mut snapshot = sample(epoch);
    let state = snapshot.operators[0].state.as_mut().expect("it holds state");
    let mut empty = numbered(0..0, 0);
    empty.number = None;
    state.tables = vec![StateTable {
        name: "groups".into(),
        input: 0,
        parts: [vec![empty], new].concat(),
    }];
    state.kept = kept;
    snapshot
}

fn keys(snapshot: &ShardSnapshot) -> Vec<i64> {
    let state = snapshot.operators[0].state.as_ref().expect("it holds state");
    let mut keys: Vec<i64> = state.tables[0]
        .parts
        .iter()
        .flat_map(|part| {
            let column = part.rows.column(0);
            let column = column.as_any().downcast_ref::<Int64Array>().expect("integers");
            column.values().to_vec()
        })
        .collect();
    keys.sort_unstable();
    keys
}

/// Reads a file once, however many parts lie in it.
fn each_once(files: &BTreeMap<Epoch, Buffer>) -> impl FnMut(Epoch) -> Result<Buffer, String> {
    let mut left = files.clone();
    move |epoch| {
        left.remove(&epoch)
            .ok_or_else(|| format!("epoch {epoch} is read again"))
    }
}

#[test]
fn kept_parts_lie_where_they_were_written_until_little_is_left_there() {
    let mut catalog = Catalog::default();
    let mut files: BTreeMap<Epoch, Buffer> = BTreeMap::new();
    let mut write = |snapshot: &ShardSnapshot| {
        let epoch = snapshot.epoch;
        let encoded = encode(snapshot, epoch, &mut catalog, &mut each_once(&files), &mut || {});
        let encoded = encoded.expect("encoded");
        assert_eq!(
            encoded.crc32,
            crc32fast::hash(&encoded.bytes[..encoded.bytes.len() - CHECKSUM_BYTES])
        );
        files.insert(epoch, Buffer::from(encoded.bytes));
        let decoded = decode(&files[&epoch], &mut each_once(&files)).expect("decoded");
        let refers: Vec<Epoch> = encoded.refers.into_iter().collect();
        (keys(&decoded), refers, decode_whole(&files[&epoch]).is_ok())
    };
    let first = vec![numbered(0..100, 1), numbered(100..200, 2), numbered(200..1000, 3)];
    assert_eq!(
        write(&growing(1, first, vec![])),
        ((0..1000).collect(), vec![], true)
    );
    let second = growing(2, vec![numbered(100..250, 4)], vec![1, 3]);
    let all: Vec<i64> = (0..100).chain(100..250).chain(200..1000).collect();
    let (mut sorted, kept) = (all.clone(), vec![1]);
    sorted.sort_unstable();
    assert_eq!(write(&second), (sorted, kept, false));
    // Of the first file only the smallest part is left: it is copied.
    let third = growing(3, vec![], vec![1, 4]);
    assert_eq!(write(&third), ((0..250).collect(), vec![2], false));
    let fourth = growing(4, vec![], vec![1]);
    assert_eq!(write(&fourth), ((0..100).collect(), vec![3], false));
}

#[test]
fn a_kept_part_that_has_changed_is_refused() {
    let mut catalog = Catalog::default();
    let mut none = |_| Err("no file".to_string());
    let first = growing(1, vec![numbered(0..100, 1)], vec![]);
    let first = encode(&first, 1, &mut catalog, &mut none, &mut || {})
        .expect("encoded")
        .bytes;
    let second = encode(
        &growing(2, vec![], vec![1]),
        2,
        &mut catalog,
        &mut none,
        &mut || {},
    );
    let second = Buffer::from(second.expect("encoded").bytes);
    let place = catalog.places(1)[0].stream;
    for at in 0..first.len() {
        let mut changed = first.clone();
        changed[at] ^= 1 << (at % 8);
        let changed = Buffer::from(changed);
        let decoded = decode(&second, &mut |_| Ok(changed.clone()));
        let is_in_part = (place.offset..place.offset + place.bytes).contains(&(at as u64));
        assert_eq!(decoded.is_err(), is_in_part, "changed at {at}");
        let cut = Buffer::from(&first[..at]);
        let decoded = decode(&second, &mut |_| Ok(cut.clone()));
        assert_eq!(
            decoded.is_err(),
            (at as u64) < place.offset + place.bytes,
            "cut at {at}"
        );
    }
}
