//! Where records end in a stream of bytes: what sources cut their reads and files by.
//!
//! **Invariant.** Cutting a text at any offset this module gives, and decoding the pieces, gives
//! the records of the whole text.

use memchr::{memchr, memchr2_iter, memrchr};

/// How records are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordBoundary {
    /// A record is a line (NDJSON).
    Line,
    /// A record is a line, but line breaks inside a quoted field belong to it (CSV). A quote opens
    /// a field only where the field begins; a doubled quote inside stands for itself.
    QuotedLine {
        /// Around fields.
        quote: u8,
        /// Between fields.
        delimiter: u8,
    },
}

impl RecordBoundary {
    /// The length of the longest prefix of `bytes` that is whole records, each with its line
    /// break; 0 where no record ends. `bytes` starts with a record.
    pub fn last_record_end(self, bytes: &[u8]) -> usize {
        match self {
            RecordBoundary::Line => memrchr(b'\n', bytes).map_or(0, |at| at + 1),
            RecordBoundary::QuotedLine { quote, delimiter } => {
                let mut end = 0;
                while let Some(length) = quoted_record_end(&bytes[end..], quote, delimiter) {
                    end += length;
                }
                end
            }
        }
    }

    /// The length of the first record of `bytes` with its line break; `None` where it does not end.
    /// `bytes` starts with a record.
    pub fn first_record_end(self, bytes: &[u8]) -> Option<usize> {
        match self {
            RecordBoundary::Line => memchr(b'\n', bytes).map(|at| at + 1),
            RecordBoundary::QuotedLine { quote, delimiter } => quoted_record_end(bytes, quote, delimiter),
        }
    }

    /// Where the first record starts that begins in `bytes`, which start somewhere inside a record
    /// (perhaps at its very first byte, which is then passed over: it belongs to who reads the
    /// byte before). `None` where none begins.
    ///
    /// Only for formats that [are splittable](RecordBoundary::is_splittable).
    pub fn first_record_start(self, bytes: &[u8]) -> Option<usize> {
        assert!(
            self.is_splittable(),
            "invariant: quoted lines are read from their start"
        );
        memchr(b'\n', bytes).map(|at| at + 1)
    }

    /// Whether reading may start anywhere: the next line break certainly ends a record.
    pub fn is_splittable(self) -> bool {
        self == RecordBoundary::Line
    }
}

/// Where the record that starts `bytes` ends, behind its line break.
fn quoted_record_end(bytes: &[u8], quote: u8, delimiter: u8) -> Option<usize> {
    let mut is_quoted = false;
    // A quote at this offset is the second one of a pair inside a quoted field.
    let mut paired = usize::MAX;
    for at in memchr2_iter(quote, b'\n', bytes) {
        if bytes[at] == quote {
            if is_quoted {
                if bytes.get(at + 1) == Some(&quote) && at != paired {
                    paired = at + 1;
                } else if at != paired {
                    is_quoted = false;
                }
            } else {
                is_quoted = at == 0 || bytes[at - 1] == delimiter;
            }
        } else if !is_quoted {
            return Some(at + 1);
        }
    }
    None
}

/// Line breaks in `bytes`: with the line number of a block's start, the line of any offset in it.
pub fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: RecordBoundary = RecordBoundary::QuotedLine {
        quote: b'"',
        delimiter: b',',
    };

    #[test]
    fn lines_end_at_line_breaks() {
        assert_eq!(RecordBoundary::Line.last_record_end(b"a\nb\nc"), 4);
        assert_eq!(RecordBoundary::Line.last_record_end(b"abc"), 0);
        assert_eq!(RecordBoundary::Line.first_record_end(b"a\nb\nc"), Some(2));
        assert_eq!(RecordBoundary::Line.first_record_end(b"a"), None);
        assert_eq!(RecordBoundary::Line.first_record_start(b"a\nb"), Some(2));
    }

    #[test]
    fn a_line_break_between_quotes_does_not_end_a_csv_record() {
        assert_eq!(CSV.last_record_end(b"a,\"x\ny\"\nb,\"z\n"), 8);
        assert_eq!(CSV.last_record_end(b"a,\"he said \"\"no\n\"\"\"\n"), 20);
        assert_eq!(CSV.first_record_end(b"\"\"\n\"\n"), Some(3));
        assert_eq!(CSV.first_record_end(b"\"\"\"\n\"\nx\n"), Some(6));
    }

    #[test]
    fn a_quote_within_an_unquoted_field_is_a_letter() {
        assert_eq!(CSV.last_record_end(b"5\" pipe,1\n6\" pipe,2\n7"), 20);
    }

    #[test]
    fn cuts_do_not_depend_on_how_much_was_seen() {
        let text = b"a,\"x\n\"\"y\",c\n\"\",d\n\"\n\n\"\n e\"\"\n,\"\"\"\"\n";
        let mut ends = vec![];
        let mut at = 0;
        while let Some(length) = CSV.first_record_end(&text[at..]) {
            at += length;
            ends.push(at);
        }
        assert_eq!(at, text.len());
        for seen in 0..=text.len() {
            // A doubled quote cut in two looks like the end of a field, never like a record's end.
            let end = CSV.last_record_end(&text[..seen]);
            assert!(end == 0 || ends.contains(&end), "{seen}: {end}");
        }
    }
}
