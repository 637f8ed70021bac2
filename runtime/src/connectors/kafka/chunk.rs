//! Messages of one partition as they were taken from the client, waiting to be decoded together.
//!
//! **Invariant.** What lies among the lines is one whole record a line, whatever stands beside it.

use crate::limits::KAFKA_CHUNK_BYTES;

/// Messages that have been taken from the client and not been decoded.
#[derive(Debug, Default)]
pub struct Chunk {
    pub(super) offsets: Vec<i64>,
    /// Milliseconds since 1970.
    pub(super) timestamps: Vec<Option<i64>>,
    /// Values that must be decoded alone, by message.
    pub(super) values: Vec<Option<Box<[u8]>>>,
    pub(super) keys: Vec<Option<Box<[u8]>>>,
    pub(super) headers: Vec<Vec<(String, Option<Vec<u8>>)>>,
    /// The other values, one behind the other.
    pub(super) lines: Vec<u8>,
    /// Where each line starts.
    pub(super) starts: Vec<usize>,
    /// The message of each line.
    pub(super) messages: Vec<u32>,
    bytes: usize,
}

impl Chunk {
    /// The number of messages.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Whether it should be decoded before more is taken.
    pub fn is_full(&self, messages_max: usize) -> bool {
        self.len() >= messages_max || self.bytes >= KAFKA_CHUNK_BYTES
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What is taken of a message.
pub struct Taken<'m> {
    /// Its offset.
    pub offset: i64,
    /// When it was made, milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// Its value; a tombstone has none.
    pub value: Option<&'m [u8]>,
    /// Its key.
    pub key: Option<&'m [u8]>,
    /// Its headers, where they are wanted.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Whether the key is wanted.
    pub keeps_key: bool,
    /// Whether time stamps and the like are wanted.
    pub is_counted: bool,
    /// The quote of CSV.
    pub quote: Option<u8>,
}

impl Chunk {
    /// Takes a message.
    pub fn take(&mut self, message: Taken<'_>) {
        let number = self.len() as u32;
        self.offsets.push(message.offset);
        self.bytes += message.value.map_or(0, <[u8]>::len) + message.key.map_or(0, <[u8]>::len);
        if message.is_counted {
            self.timestamps.push(message.timestamp);
            self.keys
                .push(message.key.filter(|_| message.keeps_key).map(Box::from));
            self.headers.push(message.headers);
        }
        let alone = match message.value {
            None => None,
            Some(value) if is_line(value, message.quote) => {
                self.starts.push(self.lines.len());
                self.messages.push(number);
                push_line(&mut self.lines, value, message.quote.is_none());
                None
            }
            Some(value) => Some(value),
        };
        if let Some(value) = alone {
            self.values.resize(number as usize, None);
            self.values.push(Some(value.into()));
        }
    }

    /// Whether a message has no value.
    pub(super) fn is_tombstone(&self, message: usize) -> bool {
        let is_alone = self.values.get(message).is_some_and(Option::is_some);
        !is_alone && self.messages.binary_search(&(message as u32)).is_err()
    }

    /// The value of a message.
    pub(super) fn value_of(&self, message: u32) -> &[u8] {
        if let Some(Some(value)) = self.values.get(message as usize) {
            return value;
        }
        match self.messages.binary_search(&message) {
            Err(_) => &[],
            Ok(line) => {
                let end = self.starts.get(line + 1).copied().unwrap_or(self.lines.len());
                &self.lines[self.starts[line]..end]
            }
        }
    }
}

/// Whether a value can be laid among others: it is not empty, and one record whatever stands beside it.
pub(super) fn is_line(value: &[u8], quote: Option<u8>) -> bool {
    let value = value.trim_ascii_end();
    let is_whole = |quote: u8| {
        let quotes = value.iter().filter(|&&byte| byte == quote).count();
        quotes % 2 == 0 && !value.contains(&b'\n') && !value.contains(&b'\r')
    };
    !value.trim_ascii_start().is_empty() && quote.is_none_or(is_whole)
}

/// Appends a value as a line. Between the words of JSON a line break is a space.
pub(super) fn push_line(lines: &mut Vec<u8>, value: &[u8], is_json: bool) {
    let start = lines.len();
    lines.extend_from_slice(value.trim_ascii_end());
    if is_json && memchr::memchr2(b'\n', b'\r', &lines[start..]).is_some() {
        for byte in &mut lines[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: Option<&[u8]>, quote: Option<u8>) -> Taken<'_> {
        Taken {
            offset: 0,
            timestamp: None,
            value,
            key: None,
            headers: Vec::new(),
            keeps_key: false,
            is_counted: false,
            quote,
        }
    }

    #[test]
    fn a_value_is_laid_among_the_lines_only_where_it_is_one() {
        let mut chunk = Chunk::default();
        for value in ["{\n\"a\":1}\r\n", "", "{}"] {
            chunk.take(message(Some(value.as_bytes()), None));
        }
        chunk.take(message(None, None));
        assert_eq!(chunk.lines, b"{ \"a\":1}\n{}\n");
        assert_eq!(
            (chunk.messages.as_slice(), chunk.starts.as_slice()),
            (&[0, 2][..], &[0, 9][..])
        );
        let tombstones: Vec<bool> = (0..4).map(|message| chunk.is_tombstone(message)).collect();
        assert_eq!(tombstones, [false, false, false, true]);
        assert_eq!(chunk.value_of(2), b"{}\n");
        let mut csv = Chunk::default();
        for value in ["1,\"a\"", "2,\"a", "3,\"a\nb\""] {
            csv.take(message(Some(value.as_bytes()), Some(b'"')));
        }
        assert_eq!(csv.messages, [0]);
    }

    #[test]
    fn a_chunk_is_full_of_messages_or_of_bytes() {
        let mut chunk = Chunk::default();
        let value = vec![b'x'; KAFKA_CHUNK_BYTES / 2];
        chunk.take(message(Some(&value), None));
        assert!(!chunk.is_full(2) && chunk.is_full(1));
        chunk.take(message(Some(&value), None));
        assert!(chunk.is_full(100));
    }
}
