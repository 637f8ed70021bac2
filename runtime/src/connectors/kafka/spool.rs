//! The messages of an epoch, put aside in a file until the epoch is durable and its transaction is made; kept until
//! that is committed, so that it can be made again.
//!
//! ```text
//! "VELOSPL1"   8 bytes
//! messages     key length, value length (u32, all ones = none), time stamp (i64, least = none), partition (i32, -1 = any),
//!              key, value; numbers are little-endian
//! ```
//! How many messages, how many bytes and their CRC-32 stand in what the checkpoint keeps ([`Spooled`]).
//!
//! **Invariant.** A file is read only if it is the one that was written, to the last byte.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shards::connector::{ConnectorError, Prepared};
use shards::epoch::Epoch;

use super::encode::Message;
use crate::limits::KAFKA_BEHIND_BYTES;

const MAGIC: &[u8; 8] = b"VELOSPL1";
const NONE: u32 = u32::MAX;
/// What the words of a prepared epoch start with: those of other connectors do not.
const WORDS: &str = "{\"kafka\":";

/// What a checkpoint keeps of a spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spooled {
    /// The table that is written.
    pub table: String,
    /// The epoch whose messages they are.
    pub epoch: Epoch,
    /// The file.
    pub path: PathBuf,
    /// Messages in it.
    pub messages: u64,
    /// Its length.
    pub bytes: u64,
    /// Its checksum.
    pub crc32: u32,
}

#[derive(Serialize, Deserialize)]
struct Words {
    kafka: Spooled,
}

impl Spooled {
    /// As the checkpoint's words.
    pub fn write(&self) -> Prepared {
        let words = Words { kafka: self.clone() };
        Prepared(serde_json::to_string(&words).expect("invariant: a spool's words are plain data"))
    }

    /// What the words say, if they are of a spool.
    ///
    /// # Errors
    /// They are, and cannot be read.
    pub fn read(prepared: &Prepared) -> Result<Option<Spooled>, ConnectorError> {
        if !prepared.0.starts_with(WORDS) {
            return Ok(None);
        }
        let words: Words = serde_json::from_str(&prepared.0).map_err(|error| {
            ConnectorError::new(format!(
                "the checkpoint's words of a Kafka sink cannot be read: {error}"
            ))
        })?;
        Ok(Some(words.kafka))
    }
}

/// The name of a spool.
pub fn file_name(table: &str, statement: usize, shard: usize, epoch: Epoch) -> String {
    let plain: String = table
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect();
    format!("{plain}-{statement}-{shard}-{epoch}.spool")
}

/// The epoch of a spool of this name.
pub fn epoch_of(name: &str) -> Option<Epoch> {
    name.strip_suffix(".spool")?.rsplit_once('-')?.1.parse().ok()
}

/// A spool that is being written.
#[derive(Debug)]
pub struct SpoolWriter {
    path: PathBuf,
    file: BufWriter<File>,
    crc: crc32fast::Hasher,
    bytes: u64,
    messages: u64,
}

impl SpoolWriter {
    /// A new file; one that an earlier run left under the name is replaced.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn create(path: &Path) -> Result<SpoolWriter, ConnectorError> {
        let file = File::create(path).map_err(|error| failed(path, &error))?;
        let mut spool = SpoolWriter {
            path: path.to_path_buf(),
            file: BufWriter::with_capacity(256 << 10, file),
            crc: crc32fast::Hasher::new(),
            bytes: 0,
            messages: 0,
        };
        spool.write(MAGIC)?;
        Ok(spool)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectorError> {
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(|error| failed(&self.path, &error))
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a message for `partition`, or for the one that its key says.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn push(&mut self, message: &Message<'_>, partition: Option<i32>) -> Result<(), ConnectorError> {
        let length = |part: Option<&[u8]>| part.map_or(NONE, |part| part.len() as u32);
        let mut head = [0; 20];
        head[0..4].copy_from_slice(&length(message.key).to_le_bytes());
        head[4..8].copy_from_slice(&length(message.value).to_le_bytes());
        head[8..16].copy_from_slice(&message.timestamp.unwrap_or(i64::MIN).to_le_bytes());
        head[16..20].copy_from_slice(&partition.unwrap_or(-1).to_le_bytes());
        self.write(&head)?;
        self.write(message.key.unwrap_or_default())?;
        self.write(message.value.unwrap_or_default())?;
        self.messages += 1;
        Ok(())
    }

    /// Makes the file durable; what the checkpoint must keep of it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn finish(mut self, table: &str, epoch: Epoch) -> Result<Spooled, ConnectorError> {
        let directory = self.path.parent().unwrap_or(Path::new(".")).to_path_buf();
        let sync = |spool: &mut SpoolWriter| {
            spool.file.flush()?;
            spool.file.get_ref().sync_all()?;
            File::open(&directory)?.sync_all()
        };
        sync(&mut self).map_err(|error| failed(&self.path, &error))?;
        Ok(Spooled {
            table: table.to_string(),
            epoch,
            path: self.path,
            messages: self.messages,
            bytes: self.bytes,
            crc32: self.crc.finalize(),
        })
    }
}

/// Hands the messages of a spool to `take`, in order; its file must be as it was written.
///
/// # Errors
/// It is damaged or gone, or `take` fails.
pub fn read<E: From<ConnectorError>>(
    spooled: &Spooled,
    mut take: impl FnMut(Message<'_>, Option<i32>) -> Result<(), E>,
) -> Result<(), E> {
    check(spooled)?;
    let path = &spooled.path;
    let damaged = |error: &dyn std::fmt::Display| ConnectorError::new(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| damaged(&error))?;
    let mut file = BufReader::with_capacity(256 << 10, file);
    let mut fill = |bytes: &mut [u8]| file.read_exact(bytes).map_err(|error| damaged(&error));
    fill(&mut [0; 8])?;
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for _ in 0..spooled.messages {
        let mut head = [0; 20];
        fill(&mut head)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (key_length, value_length, partition) = (word(0), word(4), word(16) as i32);
        let timestamp = i64::from(word(8)) | (i64::from(word(12) as i32) << 32);
        for (part, length) in [(&mut key, key_length), (&mut value, value_length)] {
            part.resize(if length == NONE { 0 } else { length as usize }, 0);
            fill(part)?;
        }
        let message = Message {
            key: (key_length != NONE).then_some(&key[..]),
            value: (value_length != NONE).then_some(&value[..]),
            timestamp: (timestamp != i64::MIN).then_some(timestamp),
        };
        take(message, (partition >= 0).then_some(partition))?;
    }
    Ok(())
}

/// Whether the file is the one that was written.
fn check(spooled: &Spooled) -> Result<(), ConnectorError> {
    let path = &spooled.path;
    let lost = |what: &dyn std::fmt::Display| {
        ConnectorError::new(format!(
            "the output of epoch {} for table '{}', which waits in {}, is lost: {what}; put a copy back, or start with \
             another checkpoint directory",
            spooled.epoch,
            spooled.table,
            path.display()
        ))
    };
    let mut file = File::open(path).map_err(|error| lost(&error))?;
    let (mut crc, mut bytes) = (crc32fast::Hasher::new(), 0);
    let mut buffer = vec![0; KAFKA_BEHIND_BYTES.min(1 << 20)];
    loop {
        let read = file.read(&mut buffer).map_err(|error| lost(&error))?;
        if read == 0 {
            break;
        }
        crc.update(&buffer[..read]);
        bytes += read as u64;
    }
    match bytes == spooled.bytes && crc.finalize() == spooled.crc32 {
        true => Ok(()),
        false => Err(lost(&"the file is not the one that was written")),
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> ConnectorError {
    ConnectorError::new(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::TemporaryDirectory;

    fn messages() -> Vec<(Message<'static>, Option<i32>)> {
        let message = |key, value, timestamp| Message {
            key,
            value,
            timestamp,
        };
        vec![
            (message(Some(&b"k"[..]), Some(&b"value"[..]), Some(-5)), None),
            (message(None, Some(&b""[..]), None), Some(3)),
            (message(Some(&b"gone"[..]), None, Some(i64::MAX)), None),
        ]
    }

    fn written(directory: &TemporaryDirectory) -> Spooled {
        let path = directory.path().join(file_name("a table", 0, 2, 17));
        let mut spool = SpoolWriter::create(&path).unwrap();
        for (message, partition) in messages() {
            spool.push(&message, partition).unwrap();
        }
        spool.finish("a table", 17).unwrap()
    }

    #[test]
    fn a_spool_is_read_as_it_was_written() {
        let directory = TemporaryDirectory::create();
        let spooled = written(&directory);
        assert_eq!(epoch_of("a_table-0-2-17.spool"), Some(17));
        assert_eq!(Spooled::read(&spooled.write()), Ok(Some(spooled.clone())));
        assert_eq!(Spooled::read(&Prepared("/part-0-1.ndjson".into())), Ok(None));
        let mut expected = messages().into_iter();
        read::<ConnectorError>(&spooled, |message, partition| {
            assert_eq!(Some((message, partition)), expected.next());
            Ok(())
        })
        .unwrap();
        assert_eq!(expected.next(), None);
    }

    #[test]
    fn a_damaged_spool_is_refused_at_every_byte() {
        let directory = TemporaryDirectory::create();
        let spooled = written(&directory);
        let whole = std::fs::read(&spooled.path).unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(&spooled.path, bytes).unwrap();
            let error = read::<ConnectorError>(&spooled, |_, _| Ok(())).expect_err("refused");
            assert!(error.message.contains("is lost"), "{error}");
        };
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            refused(&damaged);
            refused(&whole[..at]);
        }
    }
}
