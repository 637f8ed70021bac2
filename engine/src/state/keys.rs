//! Key layouts: a row's key columns packed into a few 64-bit words that compare inline.
//!
//! Chosen once per operator from the column types: no key, one 64-bit value, small values sharing
//! a word, texts of up to 15 bytes inline in two words, longer texts as the id of an [`Interner`].
//! Nested types, and keys of more than [`KEY_WORDS_MAX`] words, are row-encoded and interned.
//!
//! **Invariant.** Two rows have equal words exactly if their keys are equal (NULL equals NULL);
//! words are only comparable within the table whose interner made them.

use arrow::array::{Array, ArrayRef, AsArray, GenericByteArray};
use arrow::datatypes::{BinaryType, ByteArrayType, DataType, Decimal128Type, FieldRef, Utf8Type};
use arrow_row::{RowConverter, SortField};

use crate::encoding::{is_encoded, plain};
use crate::state::interner::Interner;
use crate::state::words::{append_words, word_bits};

/// The widest key that is packed rather than row-encoded.
pub const KEY_WORDS_MAX: usize = 8;

/// Longest text that lies in the key itself.
const INLINE_BYTES: usize = 15;
/// Top byte of the second word of a NULL text.
pub(crate) const TEXT_NULL: u64 = 0xfe;
/// Top byte of the second word of an interned text.
pub(crate) const TEXT_INTERNED: u64 = 0xff;

/// How one key column lies in the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A word of its own.
    Word(usize),
    /// `bits` bits of a shared word.
    Bits { word: usize, shift: u32, bits: u32 },
    /// Two words.
    Decimal(usize),
    /// Two words: inline or interned.
    Text(usize),
}

/// Where a key column lies, and where its NULL bit is.
#[derive(Clone, Debug)]
pub(crate) struct KeyField {
    pub field: FieldRef,
    pub place: Place,
    pub null: Option<(usize, u32)>,
}

/// How keys of one operator are packed.
#[derive(Clone, Debug)]
pub struct KeyLayout {
    pub(crate) fields: Vec<KeyField>,
    pub(crate) words: usize,
    /// The one column may be NULL but has no NULL bit: its NULL has a row of its own.
    pub(crate) null_row: bool,
    /// Keys are row-encoded and interned: one word.
    pub(crate) encoded: bool,
}

impl KeyLayout {
    /// The layout of keys of these columns.
    pub fn new(columns: &[FieldRef]) -> KeyLayout {
        Self::packed(columns).unwrap_or_else(|| KeyLayout {
            fields: columns
                .iter()
                .map(|field| KeyField {
                    field: field.clone(),
                    place: Place::Word(0),
                    null: None,
                })
                .collect(),
            words: 1,
            null_row: false,
            encoded: true,
        })
    }

    /// Whole words first, then small values and NULL bits in shared words.
    fn packed(columns: &[FieldRef]) -> Option<KeyLayout> {
        let mut words = 0;
        let mut fields = Vec::with_capacity(columns.len());
        for field in columns {
            let place = match field.data_type() {
                DataType::Utf8 | DataType::Binary => Place::Text(words),
                DataType::Decimal128(_, _) => Place::Decimal(words),
                other => match word_bits(other)? {
                    64 => Place::Word(words),
                    bits => Place::Bits {
                        word: 0,
                        shift: 0,
                        bits,
                    },
                },
            };
            words += match place {
                Place::Text(_) | Place::Decimal(_) => 2,
                Place::Word(_) => 1,
                Place::Bits { .. } => 0,
            };
            fields.push(KeyField {
                field: field.clone(),
                place,
                null: None,
            });
        }
        let null_row = matches!(fields.as_slice(), [only] if only.field.is_nullable() && matches!(only.place, Place::Word(_)));
        let mut free = 0;
        let mut take_bits = |bits: u32, words: &mut usize| {
            if free < bits {
                *words += 1;
                free = 64;
            }
            free -= bits;
            (*words - 1, 64 - free - bits)
        };
        for key in &mut fields {
            if let Place::Bits { bits, .. } = key.place {
                let (word, shift) = take_bits(bits, &mut words);
                key.place = Place::Bits { word, shift, bits };
            }
            if key.field.is_nullable() && !null_row && !matches!(key.place, Place::Text(_)) {
                key.null = Some(take_bits(1, &mut words));
            }
        }
        // Widths between the supported ones are padded with zero words.
        let words = if words > 4 {
            words.next_multiple_of(2)
        } else {
            words
        };
        (words <= KEY_WORDS_MAX).then_some(KeyLayout {
            fields,
            words,
            null_row,
            encoded: false,
        })
    }

    /// A row converter for these columns.
    pub(crate) fn converter(&self) -> RowConverter {
        let fields = self
            .fields
            .iter()
            .map(|key| SortField::new(key.field.data_type().clone()));
        RowConverter::new(fields.collect()).expect("invariant: SQL types have a row encoding")
    }
}

/// Packs batches of key columns into words.
#[derive(Debug)]
pub struct KeyPacker {
    layout: KeyLayout,
    converter: Option<RowConverter>,
    /// `layout.words` words per row.
    pub(crate) words: Vec<u64>,
    column: Vec<u64>,
}

impl KeyPacker {
    /// A packer for `layout`.
    pub fn new(layout: KeyLayout) -> KeyPacker {
        let converter = layout.encoded.then(|| layout.converter());
        KeyPacker {
            layout,
            converter,
            words: Vec::new(),
            column: Vec::new(),
        }
    }

    /// Packs `rows` rows of `columns`, texts or codes of texts, interning long texts in `interner`.
    pub fn pack(&mut self, columns: &[ArrayRef], rows: usize, interner: &mut Interner) {
        assert_eq!(
            columns.len(),
            self.layout.fields.len(),
            "invariant: one column per key field"
        );
        if columns.iter().any(is_encoded) {
            let plain = |column| plain(column).expect("invariant: a dictionary has its codes");
            let columns: Vec<ArrayRef> = columns.iter().map(plain).collect();
            return self.pack(&columns, rows, interner);
        }
        self.words.clear();
        if let Some(converter) = &self.converter {
            let encoded = converter
                .convert_columns(columns)
                .expect("invariant: the converter was made for these types");
            self.words
                .extend(encoded.iter().map(|row| interner.intern(row.as_ref())));
            return;
        }
        if let ([key], [column]) = (self.layout.fields.as_slice(), columns)
            && key.place == Place::Word(0)
            && self.layout.words == 1
        {
            assert!(
                append_words(column, &mut self.words),
                "invariant: the layout says a word"
            );
            return;
        }
        self.words.resize(rows * self.layout.words, 0);
        for (key, column) in self.layout.fields.iter().zip(columns) {
            assert_eq!(column.len(), rows, "invariant: key columns have equal lengths");
            pack_column(
                key,
                column,
                self.layout.words,
                &mut self.words,
                &mut self.column,
                interner,
            );
        }
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        (self.words.capacity() + self.column.capacity()) * size_of::<u64>()
    }
}

fn pack_column(
    key: &KeyField,
    column: &ArrayRef,
    stride: usize,
    words: &mut [u64],
    scratch: &mut Vec<u64>,
    interner: &mut Interner,
) {
    match key.place {
        Place::Word(word) => {
            scratch.clear();
            append_words(column, scratch);
            for (row, &value) in words.chunks_exact_mut(stride).zip(scratch.iter()) {
                row[word] = value;
            }
        }
        Place::Bits { word, shift, bits } => {
            scratch.clear();
            append_words(column, scratch);
            let mask = (1u64 << bits) - 1;
            for (row, &value) in words.chunks_exact_mut(stride).zip(scratch.iter()) {
                row[word] |= (value & mask) << shift;
            }
        }
        Place::Decimal(word) => {
            let values = column.as_primitive::<Decimal128Type>().values();
            for (row, &value) in words.chunks_exact_mut(stride).zip(values) {
                row[word] = value as u64;
                row[word + 1] = (value >> 64) as u64;
            }
        }
        Place::Text(word) => match column.data_type() {
            DataType::Utf8 => {
                pack_texts::<Utf8Type>(column.as_string::<i32>(), word, stride, words, interner)
            }
            _ => pack_texts::<BinaryType>(column.as_binary::<i32>(), word, stride, words, interner),
        },
    }
    if let (Some(nulls), Some((null_word, null_shift))) =
        (column.nulls().filter(|nulls| nulls.null_count() > 0), key.null)
    {
        for (row, valid) in words.chunks_exact_mut(stride).zip(nulls.iter()) {
            if !valid {
                clear_value(key.place, row);
                row[null_word] |= 1 << null_shift;
            }
        }
    }
}

/// All NULLs are one key, whatever lay in the buffer.
fn clear_value(place: Place, row: &mut [u64]) {
    match place {
        Place::Word(word) => row[word] = 0,
        Place::Bits { word, shift, bits } => row[word] &= !(((1u64 << bits) - 1) << shift),
        Place::Decimal(word) | Place::Text(word) => row[word..word + 2].fill(0),
    }
}

fn pack_texts<T: ByteArrayType<Offset = i32>>(
    column: &GenericByteArray<T>,
    word: usize,
    stride: usize,
    words: &mut [u64],
    interner: &mut Interner,
) {
    let data = column.value_data();
    let offsets = column.value_offsets();
    let ends = offsets.iter().skip(1);
    for ((row, &start), &end) in words.chunks_exact_mut(stride).zip(offsets).zip(ends) {
        let (start, end) = (start as usize, end as usize);
        let packed = if end - start <= INLINE_BYTES {
            inline_text(data, start, end - start)
        } else {
            u128::from(interner.intern(&data[start..end])) | u128::from(TEXT_INTERNED) << 120
        };
        row[word] = packed as u64;
        row[word + 1] = (packed >> 64) as u64;
    }
    if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
        for (row, valid) in words.chunks_exact_mut(stride).zip(nulls.iter()) {
            if !valid {
                row[word] = 0;
                row[word + 1] = TEXT_NULL << 56;
            }
        }
    }
}

/// By length of a text: its bytes among 16.
const TEXT_MASKS: [u128; INLINE_BYTES + 1] = {
    let mut masks = [0; INLINE_BYTES + 1];
    let mut length = 1;
    while length <= INLINE_BYTES {
        masks[length] = masks[length - 1] << 8 | 0xff;
        length += 1;
    }
    masks
};

/// Up to 15 bytes and their number in the top byte; reads 16 bytes at once where they are there.
#[inline(always)]
fn inline_text(data: &[u8], start: usize, length: usize) -> u128 {
    let mut bytes = [0; 16];
    if let Some(window) = data.get(start..start + 16) {
        bytes.copy_from_slice(window);
    } else {
        bytes[..length].copy_from_slice(&data[start..start + length]);
    }
    (u128::from_le_bytes(bytes) & TEXT_MASKS[length]) | (length as u128) << 120
}
