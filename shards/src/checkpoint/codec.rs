//! A shard's snapshot as bytes.
//!
//! ```text
//! "VELOSNAP" · version u32 · length of the header u64 · header (JSON) · tables (Arrow IPC streams) · crc32 u32
//! ```
//! Numbers are little-endian; the header gives the length of each table's stream, in the order in which they
//! lie. The last four bytes are the CRC-32 of everything before them.
//!
//! **Invariant.** Bytes that are not exactly what was written are refused before anything in them is read.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use engine::snapshot::{OperatorSnapshot, StateTable};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{NodeSnapshot, ShardSnapshot, SourceSnapshot};
use crate::connector::{Prepared, SplitPosition};

const MAGIC: &[u8; 8] = b"VELOSNAP";
/// The version of this format.
pub const VERSION: u32 = 1;
/// Bytes before the header.
const PREFIX_BYTES: usize = MAGIC.len() + size_of::<u32>() + size_of::<u64>();
const CHECKSUM_BYTES: usize = size_of::<u32>();

#[derive(Serialize, Deserialize)]
struct Header {
    epoch: u64,
    shard: usize,
    finished: bool,
    operators: Vec<OperatorHeader>,
    sources: Vec<SourceHeader>,
    sinks: Vec<(String, Vec<String>)>,
}

#[derive(Serialize, Deserialize)]
struct OperatorHeader {
    name: String,
    ended: bool,
    watermark: i64,
    late_rows: u64,
    tables: Vec<TableHeader>,
}

#[derive(Serialize, Deserialize)]
struct TableHeader {
    name: String,
    input: usize,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct SourceHeader {
    name: String,
    positions: Vec<(String, String)>,
    watermarks: Vec<(String, i64)>,
}

/// The bytes of a snapshot.
///
/// # Errors
/// A table has columns that Arrow's IPC format cannot hold.
pub fn encode(snapshot: &ShardSnapshot) -> Result<Vec<u8>, String> {
    let mut tables = Vec::new();
    let mut operators = Vec::new();
    for operator in &snapshot.operators {
        let mut headers = Vec::new();
        for table in operator.state.iter().flat_map(|state| &state.tables) {
            let before = tables.len();
            write_table(table, &mut tables).map_err(|error| format!("{}: {error}", operator.name))?;
            headers.push(TableHeader {
                name: table.name.clone(),
                input: table.input,
                bytes: (tables.len() - before) as u64,
            });
        }
        let state = operator.state.as_ref();
        operators.push(OperatorHeader {
            name: operator.name.clone(),
            ended: state.is_none(),
            watermark: state.map_or(0, |state| state.watermark),
            late_rows: state.map_or(0, |state| state.late_rows),
            tables: headers,
        });
    }
    let header = Header {
        epoch: snapshot.epoch,
        shard: snapshot.shard,
        finished: snapshot.finished,
        operators,
        sources: snapshot.sources.iter().map(source_header).collect(),
        sinks: snapshot
            .sinks
            .iter()
            .map(|(name, prepared)| {
                (
                    name.clone(),
                    prepared.iter().map(|token| token.0.clone()).collect(),
                )
            })
            .collect(),
    };
    let header = serde_json::to_vec(&header).map_err(|error| error.to_string())?;
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + header.len() + tables.len() + CHECKSUM_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&tables);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

fn source_header(source: &SourceSnapshot) -> SourceHeader {
    let positions = source.positions.iter();
    SourceHeader {
        name: source.name.clone(),
        positions: positions
            .map(|position| (position.split.clone(), position.position.clone()))
            .collect(),
        watermarks: source.watermarks.clone(),
    }
}

fn write_table(table: &StateTable, into: &mut Vec<u8>) -> Result<(), arrow::error::ArrowError> {
    let mut writer = StreamWriter::try_new(into, &table.schema())?;
    for rows in &table.parts {
        writer.write(rows)?;
    }
    writer.finish()
}

/// The snapshot that `bytes` hold.
///
/// # Errors
/// They are not a whole snapshot of this version; the message says what is wrong.
pub fn decode(bytes: &[u8]) -> Result<ShardSnapshot, String> {
    let body = checked(bytes)?;
    let version = u32::from_le_bytes(chunk(body, MAGIC.len())?);
    if version != VERSION {
        return Err(format!(
            "it is of version {version}, and this program reads version {VERSION}"
        ));
    }
    let length = usize::try_from(u64::from_le_bytes(chunk(body, MAGIC.len() + 4)?)).map_err(|_| cut())?;
    let (header, mut tables) = body[PREFIX_BYTES..].split_at_checked(length).ok_or_else(cut)?;
    let header: Header = serde_json::from_slice(header).map_err(|error| format!("its header: {error}"))?;
    let mut operators = Vec::with_capacity(header.operators.len());
    for operator in header.operators {
        let mut read = Vec::with_capacity(operator.tables.len());
        for table in operator.tables {
            let length = usize::try_from(table.bytes).map_err(|_| cut())?;
            let (stream, rest) = tables.split_at_checked(length).ok_or_else(cut)?;
            tables = rest;
            read.push(StateTable {
                parts: read_table(stream).map_err(|error| format!("table '{}': {error}", table.name))?,
                name: table.name,
                input: table.input,
            });
        }
        operators.push(NodeSnapshot {
            name: operator.name,
            state: (!operator.ended).then_some(OperatorSnapshot {
                watermark: operator.watermark,
                late_rows: operator.late_rows,
                tables: read,
            }),
        });
    }
    let sinks = header.sinks.into_iter();
    Ok(ShardSnapshot {
        epoch: header.epoch,
        shard: header.shard,
        finished: header.finished,
        operators,
        sources: header.sources.into_iter().map(source_snapshot).collect(),
        sinks: sinks
            .map(|(name, prepared)| (name, prepared.into_iter().map(Prepared).collect()))
            .collect(),
    })
}

fn source_snapshot(source: SourceHeader) -> SourceSnapshot {
    let positions = source.positions.into_iter();
    SourceSnapshot {
        name: source.name,
        positions: positions
            .map(|(split, position)| SplitPosition { split, position })
            .collect(),
        watermarks: source.watermarks,
    }
}

fn read_table(stream: &[u8]) -> Result<Vec<RecordBatch>, arrow::error::ArrowError> {
    let reader = StreamReader::try_new(Cursor::new(stream), None)?;
    let schema = reader.schema();
    let parts = reader.collect::<Result<Vec<_>, _>>()?;
    match parts.is_empty() {
        true => Ok(vec![RecordBatch::new_empty(schema)]),
        false => Ok(parts),
    }
}

/// The bytes before the checksum, if it is theirs.
fn checked(bytes: &[u8]) -> Result<&[u8], String> {
    if !bytes.starts_with(MAGIC) {
        return Err("it is not a snapshot".to_string());
    }
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(cut)?;
    if body.len() < PREFIX_BYTES {
        return Err(cut());
    }
    match crc32fast::hash(body) == u32::from_le_bytes(*checksum) {
        true => Ok(body),
        false => Err("its checksum is wrong: it is damaged or was cut off".to_string()),
    }
}

fn chunk<const BYTES: usize>(bytes: &[u8], at: usize) -> Result<[u8; BYTES], String> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().ok_or_else(cut)
}

fn cut() -> String {
    "it was cut off".to_string()
}

#[cfg(all(test, not(feature = "loom")))]
pub(crate) mod tests {
    use super::*;
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
            parts: vec![rows.expect("two columns")],
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
        let bytes = encode(&snapshot).expect("encoded");
        assert_eq!(decode(&bytes).expect("decoded"), snapshot);
    }

    #[test]
    fn bytes_that_were_cut_or_changed_anywhere_are_refused() {
        let bytes = encode(&sample(7)).expect("encoded");
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(decode(&changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn a_snapshot_of_a_later_version_is_refused_by_its_number() {
        let mut bytes = encode(&sample(7)).expect("encoded");
        bytes[8] = 2;
        let body = bytes.len() - CHECKSUM_BYTES;
        let checksum = crc32fast::hash(&bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&checksum);
        assert!(decode(&bytes).expect_err("refused").contains("version 2"));
    }
}
