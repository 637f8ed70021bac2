//! A column that grows value by value from text, and becomes an Arrow array.
//!
//! **Invariant.** A column can be cut back to any earlier length: that is how a malformed record
//! leaves no trace, and how the last of several equal keys wins.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, ListArray, MapArray, NullBufferBuilder,
    PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, FieldRef, Fields, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

use super::FormatError;
use super::fault::FaultKind;
use super::keys::ObjectKeys;
use super::temporal::{self, TimestampReader};
use super::type_name::sql_type_name;
use super::{base64, number};

/// A growing column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) field: FieldRef,
    pub(super) nulls: NullBufferBuilder,
    pub(super) values: Values,
}

/// The values of a column by type; NULL has a value of no meaning here.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Date(Vec<i32>),
    Time32(Vec<i32>, TimeUnit),
    Time64(Vec<i64>, TimeUnit),
    Timestamp(Vec<i64>, TimestampReader),
    Text(Texts),
    Bytes(Texts),
    List {
        offsets: Vec<i32>,
        element: Box<Column>,
    },
    Map {
        offsets: Vec<i32>,
        entries: Box<[Column; 2]>,
    },
    Struct {
        keys: ObjectKeys,
        children: Vec<Column>,
    },
}

/// Texts or byte strings, one after the other.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) bytes: Vec<u8>,
    /// Ends; the first one is 0.
    pub(super) offsets: Vec<i32>,
}

impl Texts {
    fn new() -> Texts {
        Texts {
            bytes: Vec::new(),
            offsets: vec![0],
        }
    }

    /// Appends `source[start..end]`. A short text is copied with what is behind it, as a block of fixed size,
    /// and cut back: that is cheaper than a call for a few bytes.
    #[inline]
    pub(super) fn push(&mut self, source: &[u8], start: usize, end: usize) {
        const BLOCK: usize = 32;
        let length = self.bytes.len();
        match source[start..].first_chunk::<BLOCK>() {
            Some(block) if end - start <= BLOCK => {
                self.bytes.extend_from_slice(block);
                self.bytes.truncate(length + end - start);
            }
            _ => self.bytes.extend_from_slice(&source[start..end]),
        }
        self.end();
    }

    /// Ends the text that was written to `bytes`.
    #[inline]
    pub(super) fn end(&mut self) {
        let end = i32::try_from(self.bytes.len()).expect("invariant: a decoder stops far below 2 GiB");
        self.offsets.push(end);
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(self.offsets[rows] as usize);
    }

    /// The texts so far; room for as many stays.
    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let bytes = replace_vec(&mut self.bytes);
        let offsets = replace_vec(&mut self.offsets);
        self.offsets.push(0);
        (
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(bytes),
        )
    }
}

/// Takes what is in `values`, and leaves room for as much.
fn replace_vec<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len() + values.len() / 8;
    std::mem::replace(values, Vec::with_capacity(room))
}

impl Column {
    /// An empty column of the field's type.
    ///
    /// # Errors
    /// A type that text formats cannot hold.
    pub(super) fn new(field: FieldRef) -> Result<Column, FormatError> {
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal {
                values: Vec::new(),
                precision: *precision,
                scale: *scale,
            },
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Time32(unit) => Values::Time32(Vec::new(), *unit),
            DataType::Time64(unit) => Values::Time64(Vec::new(), *unit),
            DataType::Timestamp(unit, _) => Values::Timestamp(Vec::new(), TimestampReader::new(*unit)),
            DataType::Utf8 => Values::Text(Texts::new()),
            DataType::Binary => Values::Bytes(Texts::new()),
            DataType::List(element) => Values::List {
                offsets: vec![0],
                element: Box::new(Column::new(Arc::clone(element))?),
            },
            DataType::Map(entries, _) => Values::Map {
                offsets: vec![0],
                entries: Box::new(map_columns(entries)?),
            },
            DataType::Struct(fields) => Values::Struct {
                keys: ObjectKeys::new(fields),
                children: fields
                    .iter()
                    .cloned()
                    .map(Column::new)
                    .collect::<Result<_, _>>()?,
            },
            other => {
                let (name, type_name) = (field.name(), sql_type_name(other));
                return Err(FormatError::new(format!(
                    "column '{name}' is {type_name}, which cannot be read from text"
                )));
            }
        };
        Ok(Column {
            field,
            nulls: NullBufferBuilder::new(0),
            values,
        })
    }

    /// How many values there are, NULLs included.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Whether values are text: the empty field of a CSV record is an empty text then.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.values, Values::Text(_))
    }

    /// Whether values are byte strings.
    pub(super) fn is_bytes(&self) -> bool {
        matches!(self.values, Values::Bytes(_))
    }

    /// Whether a value is an object or an array.
    pub(super) fn is_nested(&self) -> bool {
        matches!(
            self.values,
            Values::List { .. } | Values::Map { .. } | Values::Struct { .. }
        )
    }

    /// Appends NULL.
    ///
    /// # Errors
    /// When the column is NOT NULL.
    pub(super) fn append_null(&mut self) -> Result<(), FaultKind> {
        if !self.field.is_nullable() {
            return Err(FaultKind::Null);
        }
        self.append_filler();
        Ok(())
    }

    /// Appends NULL, also to a NOT NULL column: inside of a ROW that is NULL itself.
    fn append_filler(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) | Values::Time32(values, _) => values.push(0),
            Values::Int64(values) | Values::Time64(values, _) | Values::Timestamp(values, _) => {
                values.push(0)
            }
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Text(texts) | Values::Bytes(texts) => texts.end(),
            Values::List { offsets, .. } | Values::Map { offsets, .. } => {
                offsets.push(offsets[offsets.len() - 1])
            }
            Values::Struct { children, .. } => children.iter_mut().for_each(Column::append_filler),
        }
        self.nulls.append_null();
    }

    /// Appends the value that `text` stands for; anything but text may have blanks around it.
    ///
    /// # Errors
    /// The column is as it was then.
    pub(super) fn append_text(&mut self, text: &[u8]) -> Result<(), FaultKind> {
        let trimmed = || text.trim_ascii();
        match &mut self.values {
            Values::Boolean(values) => values.append(boolean(trimmed())?),
            Values::Int8(values) => values.push(narrow(number::integer(trimmed())?)?),
            Values::Int16(values) => values.push(narrow(number::integer(trimmed())?)?),
            Values::Int32(values) => values.push(narrow(number::integer(trimmed())?)?),
            Values::Int64(values) => values.push(number::integer(trimmed())?),
            Values::Float32(values) => values.push(number::float(trimmed())?),
            Values::Float64(values) => values.push(number::double(trimmed())?),
            Values::Decimal {
                values,
                precision,
                scale,
            } => values.push(number::decimal(trimmed(), *precision, *scale)?),
            Values::Date(values) => values.push(temporal::date(trimmed())?),
            Values::Time32(values, unit) => values.push(narrow(temporal::time(trimmed(), *unit)?)?),
            Values::Time64(values, unit) => values.push(temporal::time(trimmed(), *unit)?),
            Values::Timestamp(values, reader) => values.push(reader.read(trimmed())?),
            Values::Text(texts) => {
                texts.bytes.extend_from_slice(text);
                texts.end();
            }
            Values::Bytes(texts) => {
                base64::decode(trimmed(), &mut texts.bytes).ok_or(FaultKind::NotBase64)?;
                texts.end();
            }
            Values::List { .. } | Values::Map { .. } | Values::Struct { .. } => {
                return Err(FaultKind::WrongType);
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Keeps the first `rows` values, and nothing of a value that was being appended.
    pub(super) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int8(values) => values.truncate(rows),
            Values::Int16(values) => values.truncate(rows),
            Values::Int32(values) | Values::Date(values) | Values::Time32(values, _) => values.truncate(rows),
            Values::Int64(values) | Values::Time64(values, _) | Values::Timestamp(values, _) => {
                values.truncate(rows);
            }
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::Text(texts) | Values::Bytes(texts) => texts.truncate(rows),
            Values::List { offsets, element } => {
                offsets.truncate(rows + 1);
                element.truncate(offsets[rows] as usize);
            }
            Values::Map { offsets, entries } => {
                offsets.truncate(rows + 1);
                let end = offsets[rows] as usize;
                entries.iter_mut().for_each(|column| column.truncate(end));
            }
            Values::Struct { children, .. } => children.iter_mut().for_each(|child| child.truncate(rows)),
        }
        self.nulls.truncate(rows.min(self.nulls.len()));
    }

    /// The array of the values so far; the column is empty then.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => primitive::<Int8Type>(values, nulls, &self.field),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls, &self.field),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls, &self.field),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls, &self.field),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls, &self.field),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls, &self.field),
            Values::Decimal { values, .. } => primitive::<Decimal128Type>(values, nulls, &self.field),
            Values::Date(values) => primitive::<Date32Type>(values, nulls, &self.field),
            Values::Time32(values, TimeUnit::Second) => {
                primitive::<Time32SecondType>(values, nulls, &self.field)
            }
            Values::Time32(values, _) => primitive::<Time32MillisecondType>(values, nulls, &self.field),
            Values::Time64(values, TimeUnit::Microsecond) => {
                primitive::<Time64MicrosecondType>(values, nulls, &self.field)
            }
            Values::Time64(values, _) => primitive::<Time64NanosecondType>(values, nulls, &self.field),
            Values::Timestamp(values, _) => timestamps(values, nulls, &self.field),
            Values::Text(texts) => {
                let (offsets, bytes) = texts.take();
                let array = StringArray::try_new(offsets, bytes, nulls);
                Arc::new(array.expect("invariant: records were checked to be UTF-8"))
            }
            Values::Bytes(texts) => {
                let (offsets, bytes) = texts.take();
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            }
            Values::List { offsets, element } => {
                let offsets = take_offsets(offsets);
                let field = Arc::clone(&element.field);
                Arc::new(ListArray::new(field, offsets, element.finish(), nulls))
            }
            Values::Map { offsets, entries } => map_array(&self.field, take_offsets(offsets), entries, nulls),
            Values::Struct { children, .. } => {
                let fields: Fields = children.iter().map(|child| Arc::clone(&child.field)).collect();
                let arrays = children.iter_mut().map(Column::finish).collect();
                let array = StructArray::try_new_with_length(fields, arrays, nulls, rows);
                Arc::new(array.expect("invariant: the children of a ROW grow together"))
            }
        }
    }
}

fn boolean(text: &[u8]) -> Result<bool, FaultKind> {
    if text.eq_ignore_ascii_case(b"true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case(b"false") {
        Ok(false)
    } else {
        Err(FaultKind::WrongType)
    }
}

fn narrow<T: TryFrom<i64>>(number: i64) -> Result<T, FaultKind> {
    T::try_from(number).map_err(|_| FaultKind::OutOfRange)
}

fn map_columns(entries: &FieldRef) -> Result<[Column; 2], FormatError> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(FormatError::new("a MAP has entries of key and value"));
    };
    let [key, value] = fields.iter().as_slice() else {
        return Err(FormatError::new("a MAP has entries of key and value"));
    };
    Ok([Column::new(Arc::clone(key))?, Column::new(Arc::clone(value))?])
}

fn take_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = replace_vec(offsets);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(taken))
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    field: &FieldRef,
) -> ArrayRef {
    let values = ScalarBuffer::from(replace_vec(values));
    Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(field.data_type().clone()))
}

fn timestamps(values: &mut Vec<i64>, nulls: Option<NullBuffer>, field: &FieldRef) -> ArrayRef {
    let DataType::Timestamp(unit, _) = field.data_type() else {
        unreachable!("invariant: timestamps belong to a TIMESTAMP column");
    };
    match unit {
        TimeUnit::Second => primitive::<TimestampSecondType>(values, nulls, field),
        TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(values, nulls, field),
        TimeUnit::Microsecond => primitive::<TimestampMicrosecondType>(values, nulls, field),
        TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(values, nulls, field),
    }
}

fn map_array(
    field: &FieldRef,
    offsets: OffsetBuffer<i32>,
    entries: &mut [Column; 2],
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let DataType::Map(entry_field, is_sorted) = field.data_type() else {
        unreachable!("invariant: maps belong to a MAP column");
    };
    let fields: Fields = entries.iter().map(|column| Arc::clone(&column.field)).collect();
    let rows = entries[0].len();
    let arrays = entries.iter_mut().map(Column::finish).collect();
    let entries = StructArray::try_new_with_length(fields, arrays, None, rows)
        .expect("invariant: keys and values of a MAP grow together");
    Arc::new(MapArray::new(
        Arc::clone(entry_field),
        offsets,
        entries,
        nulls,
        *is_sorted,
    ))
}
