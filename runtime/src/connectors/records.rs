//! Where records end in a stream of bytes: what sources cut their reads by.
//!
//! **Invariant.** Bytes handed to a decoder are whole records; what is not whole yet waits, within
//! [`RECORD_BYTES_MAX`].

use memchr::{memchr, memchr2_iter, memrchr};

/// Longest record that is accepted; a longer one is an error rather than a growing buffer.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// How records are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordBoundary {
    /// A record is a line.
    Line,
    /// A record is a line, but line breaks between a pair of this quote belong to it (CSV).
    QuotedLine(u8),
}

impl RecordBoundary {
    /// The length of the longest prefix of `bytes` that is whole records, each with its line
    /// break; `bytes` starts with a record.
    pub fn whole_records(self, bytes: &[u8]) -> usize {
        match self {
            RecordBoundary::Line => memrchr(b'\n', bytes).map_or(0, |at| at + 1),
            RecordBoundary::QuotedLine(quote) => {
                let mut quoted = false;
                let mut end = 0;
                for at in memchr2_iter(quote, b'\n', bytes) {
                    if bytes[at] == quote {
                        quoted = !quoted;
                    } else if !quoted {
                        end = at + 1;
                    }
                }
                end
            }
        }
    }

    /// The length of the first record of `bytes`, with its line break; of all where it has none.
    pub fn first_record(self, bytes: &[u8]) -> usize {
        match self {
            RecordBoundary::Line => memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1),
            RecordBoundary::QuotedLine(quote) => {
                let mut quoted = false;
                for at in memchr2_iter(quote, b'\n', bytes) {
                    if bytes[at] == quote {
                        quoted = !quoted;
                    } else if !quoted {
                        return at + 1;
                    }
                }
                bytes.len()
            }
        }
    }

    /// Whether reading may start anywhere: the next line break certainly ends a record.
    pub fn is_splittable(self) -> bool {
        self == RecordBoundary::Line
    }
}

/// Line breaks in `bytes`.
pub fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// The message for a record that is longer than is accepted.
pub fn record_too_long(place: &str) -> String {
    format!(
        "{place}: a record is longer than {} MiB, the most that is accepted; is this a text file with one record a line?",
        RECORD_BYTES_MAX >> 20
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_between_quotes_does_not_end_a_csv_record() {
        let csv = RecordBoundary::QuotedLine(b'"');
        assert_eq!(csv.whole_records(b"a,\"x\ny\"\nb,\"z\n"), 8);
        assert_eq!(csv.whole_records(b"a,\"he said \"\"no\n\"\"\"\n"), 20);
        assert_eq!(RecordBoundary::Line.whole_records(b"a\nb\nc"), 4);
        assert_eq!(RecordBoundary::Line.whole_records(b"abc"), 0);
    }
}
