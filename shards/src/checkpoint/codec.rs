//! A shard's snapshot as bytes.
//!
//! ```text
//! "VELOSNAP" · version u32 · streams (Arrow IPC), each at a multiple of 64 bytes · header (JSON) · length of the header u64 · crc32 u32
//! ```
//! Numbers are little-endian; the header gives the place, length and CRC-32 of each table's streams, some of
//! which lie in files of earlier epochs. The last four bytes are the CRC-32 of everything before them.
//!
//! **Invariant.** Bytes that are not exactly what was written are refused before anything in them is read.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use engine::snapshot::{OperatorSnapshot, PartNumber, StatePart, StateTable};
use serde::{Deserialize, Serialize};

use crate::checkpoint::catalog::{Catalog, Placed, Stream};
use crate::checkpoint::{NodeSnapshot, ShardSnapshot, SourceSnapshot};
use crate::connector::{Prepared, SplitPosition};
use crate::epoch::Epoch;

const MAGIC: &[u8; 8] = b"VELOSNAP";
/// The version of this format.
pub const VERSION: u32 = 2;
/// Bytes before the streams.
const PREFIX_BYTES: usize = MAGIC.len() + size_of::<u32>();
const LENGTH_BYTES: usize = size_of::<u64>();
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
    streams: Vec<Stream>,
}

#[derive(Serialize, Deserialize)]
struct SourceHeader {
    name: String,
    positions: Vec<(String, String)>,
    watermarks: Vec<(String, i64)>,
}

/// Streams begin at multiples of this, so that columns can be read where they lie.
const ALIGNMENT: usize = 64;

/// The file of this shard in an earlier epoch.
pub type ReadFile<'a> = &'a mut dyn FnMut(Epoch) -> Result<Buffer, String>;

/// The files of this shard in earlier epochs, each read once: a table may have thousands of parts in one.
struct EarlierFiles<'a> {
    read: ReadFile<'a>,
    files: BTreeMap<Epoch, Buffer>,
}

impl<'a> EarlierFiles<'a> {
    fn new(read: ReadFile<'a>) -> EarlierFiles<'a> {
        EarlierFiles {
            read,
            files: BTreeMap::new(),
        }
    }

    fn file(&mut self, epoch: Epoch) -> Result<Buffer, String> {
        if let Some(file) = self.files.get(&epoch) {
            return Ok(file.clone());
        }
        let file = (self.read)(epoch)?;
        self.files.insert(epoch, file.clone());
        Ok(file)
    }
}

/// Called between pieces of long work.
pub type Pause<'a> = &'a mut dyn FnMut();

/// A snapshot as bytes.
#[derive(Debug)]
pub struct Encoded {
    /// The file.
    pub bytes: Vec<u8>,
    /// The CRC-32 of all but its last four bytes, which hold it.
    pub crc32: u32,
    /// Earlier epochs whose files hold parts of it.
    pub refers: BTreeSet<Epoch>,
}

/// The bytes of a snapshot that keeps nothing of earlier ones.
///
/// # Errors
/// See [`encode`].
pub fn encode_whole(snapshot: &ShardSnapshot) -> Result<Vec<u8>, String> {
    let mut none = |epoch| Err(format!("a whole snapshot needs epoch {epoch}"));
    let encoded = encode(
        snapshot,
        snapshot.epoch,
        &mut Catalog::default(),
        &mut none,
        &mut || {},
    );
    encoded.map(|encoded| encoded.bytes)
}

/// The bytes of a snapshot that becomes the file of `epoch`; what it keeps lies where `catalog` says, which
/// then knows this one. Parts in files that hold little else are copied out of them. Between pieces of work `pause` is
/// called: the caller may let others have its core.
///
/// # Errors
/// A table has columns that Arrow's IPC format cannot hold; an old file cannot be read.
pub fn encode(
    snapshot: &ShardSnapshot,
    epoch: Epoch,
    catalog: &mut Catalog,
    read: ReadFile<'_>,
    pause: Pause<'_>,
) -> Result<Encoded, String> {
    let mut file = FileWriter::new(epoch, catalog.take_spare());
    let mut earlier = EarlierFiles::new(read);
    let states = snapshot.operators.iter().flat_map(|operator| &operator.state);
    let kept: Vec<PartNumber> = states.flat_map(|state| state.kept.iter().copied()).collect();
    let copied = catalog.worth_copying(&kept);
    let mut operators = Vec::new();
    for operator in &snapshot.operators {
        let in_operator = |error: String| format!("{}: {error}", operator.name);
        let mut tables = Vec::new();
        for table in operator.state.iter().flat_map(|state| &state.tables) {
            tables.push(TableHeader {
                name: table.name.clone(),
                input: table.input,
                streams: file.write_table(table, pause).map_err(in_operator)?,
            });
        }
        for &number in operator.state.iter().flat_map(|state| &state.kept) {
            for placed in catalog.places(number) {
                let stream = match copied.contains(&placed.epoch) {
                    true => file.copy(number, placed, &earlier.file(placed.epoch)?)?,
                    false => file.refer(number, placed),
                };
                let table = tables.iter_mut().find(|table| table.name == placed.table);
                let table = table.expect("invariant: an operator writes all its tables");
                table.streams.push(stream);
            }
        }
        let state = operator.state.as_ref();
        operators.push(OperatorHeader {
            name: operator.name.clone(),
            ended: state.is_none(),
            watermark: state.map_or(0, |state| state.watermark),
            late_rows: state.map_or(0, |state| state.late_rows),
            tables,
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
    file.finish(&header, catalog)
}

/// A file that grows.
struct FileWriter {
    epoch: Epoch,
    bytes: Vec<u8>,
    /// Of all bytes so far, put together of those of the streams.
    checksum: crc32fast::Hasher,
    parts: BTreeMap<PartNumber, Vec<Placed>>,
    refers: BTreeSet<Epoch>,
}

impl FileWriter {
    fn new(epoch: Epoch, bytes: Vec<u8>) -> FileWriter {
        assert!(bytes.is_empty(), "invariant: spare memory is empty");
        let mut file = FileWriter {
            epoch,
            bytes,
            checksum: crc32fast::Hasher::new(),
            parts: BTreeMap::new(),
            refers: BTreeSet::new(),
        };
        file.add(MAGIC);
        file.add(&VERSION.to_le_bytes());
        file
    }

    fn add(&mut self, bytes: &[u8]) {
        self.checksum.update(bytes);
        self.bytes.extend_from_slice(bytes);
    }

    /// Where the next stream begins.
    fn open_stream(&mut self) -> usize {
        let padding = self.bytes.len().next_multiple_of(ALIGNMENT) - self.bytes.len();
        self.add(&[0; ALIGNMENT][..padding]);
        self.bytes.len()
    }

    /// What was appended behind `start` is a stream, with that checksum.
    fn close_stream(&mut self, start: usize, checksum: crc32fast::Hasher) -> Stream {
        self.checksum.combine(&checksum);
        Stream {
            epoch: None,
            offset: start as u64,
            bytes: (self.bytes.len() - start) as u64,
            crc32: checksum.finalize(),
        }
    }

    /// One stream for the rows that nobody keeps, and one for each part that may be kept.
    fn write_table(&mut self, table: &StateTable, pause: Pause<'_>) -> Result<Vec<Stream>, String> {
        let schema = table.schema();
        let mut streams = Vec::new();
        let (numbered, others): (Vec<&StatePart>, Vec<&StatePart>) =
            table.parts.iter().partition(|part| part.number.is_some());
        let mut write = |parts: &[&StatePart]| {
            let start = self.open_stream();
            let written = write_rows(&schema, parts, &mut self.bytes, pause);
            let stream = self.close_stream(start, written.map_err(|error| error.to_string())?);
            streams.push(stream);
            if let [
                StatePart {
                    number: Some(number), ..
                },
            ] = parts
            {
                self.parts.entry(*number).or_default().push(Placed {
                    table: table.name.clone(),
                    epoch: self.epoch,
                    stream,
                });
            }
            Ok::<(), String>(())
        };
        if !others.is_empty() || numbered.is_empty() {
            write(&others)?;
        }
        for part in numbered {
            write(&[part])?;
        }
        Ok(streams)
    }

    /// A part stays where it lies.
    fn refer(&mut self, number: PartNumber, placed: &Placed) -> Stream {
        self.refers.insert(placed.epoch);
        self.parts.entry(number).or_default().push(placed.clone());
        Stream {
            epoch: Some(placed.epoch),
            ..placed.stream
        }
    }

    /// A part is copied out of `file`, in which it lies.
    fn copy(&mut self, number: PartNumber, placed: &Placed, file: &Buffer) -> Result<Stream, String> {
        let start = self.bytes.len();
        self.bytes
            .extend_from_slice(&checked_stream(file, &placed.stream)?);
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&self.bytes[start..]);
        let stream = self.close_stream(start, checksum);
        self.parts.entry(number).or_default().push(Placed {
            table: placed.table.clone(),
            epoch: self.epoch,
            stream,
        });
        Ok(stream)
    }

    fn finish(mut self, header: &Header, catalog: &mut Catalog) -> Result<Encoded, String> {
        let header = serde_json::to_vec(header).map_err(|error| error.to_string())?;
        self.add(&header);
        self.add(&(header.len() as u64).to_le_bytes());
        let crc32 = self.checksum.finalize();
        self.bytes.extend_from_slice(&crc32.to_le_bytes());
        catalog.replace(self.epoch, self.bytes.len() as u64, self.parts);
        Ok(Encoded {
            bytes: self.bytes,
            crc32,
            refers: self.refers,
        })
    }
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

/// Appends a stream; answers its checksum.
fn write_rows(
    schema: &arrow::datatypes::Schema,
    parts: &[&StatePart],
    into: &mut Vec<u8>,
    pause: Pause<'_>,
) -> Result<crc32fast::Hasher, arrow::error::ArrowError> {
    let mut checksum = crc32fast::Hasher::new();
    let mut summed = into.len();
    let mut writer = StreamWriter::try_new(&mut *into, schema)?;
    for part in parts {
        writer.write(&part.rows)?;
        // What was just written is still in the cache.
        let written = &writer.get_ref()[summed..];
        checksum.update(written);
        summed += written.len();
        pause();
    }
    writer.finish()?;
    drop(writer);
    checksum.update(&into[summed..]);
    Ok(checksum)
}

/// The snapshot that `bytes` hold, which keeps nothing of earlier ones.
///
/// # Errors
/// See [`decode`].
pub fn decode_whole(bytes: &[u8]) -> Result<ShardSnapshot, String> {
    decode(&Buffer::from(bytes), &mut |epoch| {
        Err(format!("it needs the file of epoch {epoch}"))
    })
}

/// The snapshot that `file` holds, with what lies in earlier files of the shard. Columns are not copied: they hold
/// the files' bytes.
///
/// # Errors
/// They are not a whole snapshot of this version, or an earlier file is not what it was; the message says what
/// is wrong.
pub fn decode(file: &Buffer, read: ReadFile<'_>) -> Result<ShardSnapshot, String> {
    let body = checked(file)?;
    let version = u32::from_le_bytes(chunk(body, MAGIC.len())?);
    if version != VERSION {
        return Err(format!(
            "it is of version {version}, and this program reads version {VERSION}"
        ));
    }
    let (body, length) = body.split_last_chunk::<LENGTH_BYTES>().ok_or_else(cut)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
    let start = body.len().checked_sub(length).ok_or_else(cut)?;
    let (_, header) = body.split_at_checked(start).ok_or_else(cut)?;
    let header: Header = serde_json::from_slice(header).map_err(|error| format!("its header: {error}"))?;
    let mut earlier = EarlierFiles::new(read);
    let mut operators = Vec::with_capacity(header.operators.len());
    for operator in header.operators {
        let mut tables = Vec::with_capacity(operator.tables.len());
        for table in operator.tables {
            let in_table = |error: String| format!("table '{}': {error}", table.name);
            let mut parts = Vec::new();
            for stream in &table.streams {
                let rows = match stream.epoch {
                    None => read_rows(stream_of(file, stream).map_err(in_table)?),
                    Some(epoch) => {
                        let file = earlier.file(epoch).map_err(in_table)?;
                        let lies_there = |error| format!("epoch {epoch}, table '{}': {error}", table.name);
                        read_rows(checked_stream(&file, stream).map_err(lies_there)?)
                    }
                };
                let rows = rows.map_err(|error| in_table(error.to_string()))?;
                parts.extend(rows.into_iter().map(|rows| StatePart { number: None, rows }));
            }
            if parts.is_empty() {
                return Err(in_table("it has no rows, not even none".to_string()));
            }
            tables.push(StateTable {
                name: table.name,
                input: table.input,
                parts,
            });
        }
        operators.push(NodeSnapshot {
            name: operator.name,
            state: (!operator.ended).then_some(OperatorSnapshot {
                watermark: operator.watermark,
                late_rows: operator.late_rows,
                tables,
                kept: Vec::new(),
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

/// The batches of a stream; at least one, for its schema.
fn read_rows(mut stream: Buffer) -> Result<Vec<RecordBatch>, arrow::error::ArrowError> {
    let mut decoder = StreamDecoder::new();
    let mut parts = Vec::new();
    while let Some(rows) = decoder.decode(&mut stream)? {
        parts.push(rows);
    }
    decoder.finish()?;
    match (parts.is_empty(), decoder.schema()) {
        (true, Some(schema)) => Ok(vec![RecordBatch::new_empty(schema)]),
        _ => Ok(parts),
    }
}

fn stream_of(file: &Buffer, stream: &Stream) -> Result<Buffer, String> {
    let place = |number: u64| usize::try_from(number).map_err(|_| cut());
    let (start, length) = (place(stream.offset)?, place(stream.bytes)?);
    match start.checked_add(length) {
        Some(end) if end <= file.len() => Ok(file.slice_with_length(start, length)),
        _ => Err(cut()),
    }
}

/// A stream in the file of another epoch, of which nothing else is looked at.
fn checked_stream(file: &Buffer, stream: &Stream) -> Result<Buffer, String> {
    let bytes = stream_of(file, stream)?;
    match crc32fast::hash(&bytes) == stream.crc32 {
        true => Ok(bytes),
        false => Err("a checksum is wrong: it is damaged".to_string()),
    }
}

/// The bytes before the checksum, if it is theirs.
fn checked(bytes: &[u8]) -> Result<&[u8], String> {
    if !bytes.starts_with(MAGIC) {
        return Err("it is not a snapshot".to_string());
    }
    let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(cut)?;
    if body.len() < PREFIX_BYTES + LENGTH_BYTES {
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
pub(crate) mod tests;
