//! Texts of Nexmark: words of random letters, and the filler that brings an event to its size.

use crate::generators::random::Draws;

/// Shortest random word.
const WORD_LENGTH_MIN: u64 = 3;

/// Appends a word of 3 to `length_max` − 1 letters, one in 13 of them `special`.
pub(super) fn word(draws: &mut Draws, length_max: u64, special: u8, out: &mut Vec<u8>) {
    let length = WORD_LENGTH_MIN + draws.below(length_max - WORD_LENGTH_MIN);
    let start = out.len();
    draws.letters(length as usize, out);
    let mut gaps = draws.next();
    for (index, letter) in out[start..].iter_mut().enumerate() {
        if index % 16 == 15 {
            gaps = draws.next();
        }
        if gaps & 15 == 0 {
            *letter = special;
        }
        gaps >>= 4;
    }
    // The published generator trims its words.
    if special == b' ' {
        let letters = &mut out[start..];
        for end in [0, letters.len() - 1] {
            if letters[end] == b' ' {
                letters[end] = b'x';
            }
        }
    }
}

/// How long the filler of an event is that holds `used` bytes: within a fifth of what is missing
/// to `average`.
pub(super) fn filler_length(draws: &mut Draws, used: usize, average: usize) -> usize {
    let missing = average.saturating_sub(used);
    let spread = missing.div_ceil(5);
    if spread == 0 {
        return 0;
    }
    missing - spread + draws.below(2 * spread as u64) as usize
}

/// Texts of one column, written one after the other.
#[derive(Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Texts {
    /// Room for `rows` texts of about `length` bytes.
    pub(super) fn with_capacity(rows: usize, length: usize) -> Texts {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Texts {
            bytes: Vec::with_capacity(rows * length),
            offsets,
        }
    }

    /// Where the next text is written.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends a text.
    pub(super) fn end(&mut self) {
        let length = i32::try_from(self.bytes.len()).expect("invariant: a batch of texts is below 2 GiB");
        self.offsets.push(length);
    }

    /// The column.
    pub(super) fn finish(self) -> arrow::array::ArrayRef {
        use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let texts = arrow::array::StringArray::try_new(offsets, Buffer::from_vec(self.bytes), None);
        std::sync::Arc::new(texts.expect("invariant: generated texts are ASCII"))
    }
}
