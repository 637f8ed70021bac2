//! An array seen as its typed values: what encoders walk over, row by row, without asking for the
//! type at each value.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, FieldRef, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};

use super::FormatError;
use super::type_name::sql_type_name;

/// A column's values.
#[derive(Debug)]
pub(super) struct View<'a> {
    nulls: Option<&'a NullBuffer>,
    pub(super) values: ViewValues<'a>,
}

/// The values by type.
#[derive(Debug)]
pub(super) enum ViewValues<'a> {
    /// The type that only NULL has.
    Null,
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal(&'a [i128], i8),
    Date(&'a [i32]),
    Time32(&'a [i32], TimeUnit),
    Time64(&'a [i64], TimeUnit),
    /// With whether it has a zone.
    Timestamp(&'a [i64], TimeUnit, bool),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    List(&'a OffsetBuffer<i32>, Box<View<'a>>),
    Map(&'a OffsetBuffer<i32>, Box<[View<'a>; 2]>),
    /// Names and children.
    Struct(Vec<(&'a FieldRef, View<'a>)>),
}

impl View<'_> {
    /// Whether the value of `row` is NULL.
    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row)) || matches!(self.values, ViewValues::Null)
    }

    /// Whether values are text.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.values, ViewValues::Text(_))
    }
}

/// The array in a type that a [`View`] knows: types beyond SQL's become the nearest one, or text.
///
/// # Errors
/// A type without a text.
pub(super) fn viewable<'a>(array: &'a ArrayRef) -> Result<Cow<'a, ArrayRef>, FormatError> {
    let data_type = array.data_type();
    let nearest = match data_type {
        _ if is_known(data_type) => return Ok(Cow::Borrowed(array)),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::LargeList(element) | DataType::FixedSizeList(element, _) => DataType::List(element.clone()),
        DataType::Dictionary(_, value) => (**value).clone(),
        _ => DataType::Utf8,
    };
    let converted = cast(array, &nearest).map_err(|_| no_text(data_type))?;
    match is_known(converted.data_type()) {
        true => Ok(Cow::Owned(converted)),
        false => Err(no_text(data_type)),
    }
}

fn no_text(data_type: &DataType) -> FormatError {
    FormatError::new(format!("{} cannot be written as text", sql_type_name(data_type)))
}

fn is_known(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Null | T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 => true,
        T::Decimal128(_, _) | T::Date32 | T::Time32(_) | T::Time64(_) | T::Timestamp(_, _) => true,
        T::Utf8 | T::Binary => true,
        T::List(field) | T::Map(field, _) => is_known(field.data_type()),
        T::Struct(fields) => fields.iter().all(|field| is_known(field.data_type())),
        _ => false,
    }
}

/// The view of an array that is [`viewable`] as it is.
pub(super) fn view(array: &dyn Array) -> View<'_> {
    let values = match array.data_type() {
        DataType::Null => ViewValues::Null,
        DataType::Boolean => ViewValues::Boolean(array.as_boolean()),
        DataType::Int8 => ViewValues::Int8(array.as_primitive::<Int8Type>().values()),
        DataType::Int16 => ViewValues::Int16(array.as_primitive::<Int16Type>().values()),
        DataType::Int32 => ViewValues::Int32(array.as_primitive::<Int32Type>().values()),
        DataType::Int64 => ViewValues::Int64(array.as_primitive::<Int64Type>().values()),
        DataType::Float32 => ViewValues::Float32(array.as_primitive::<Float32Type>().values()),
        DataType::Float64 => ViewValues::Float64(array.as_primitive::<Float64Type>().values()),
        DataType::Decimal128(_, scale) => {
            ViewValues::Decimal(array.as_primitive::<Decimal128Type>().values(), *scale)
        }
        DataType::Date32 => ViewValues::Date(array.as_primitive::<Date32Type>().values()),
        DataType::Time32(TimeUnit::Second) => ViewValues::Time32(
            array.as_primitive::<Time32SecondType>().values(),
            TimeUnit::Second,
        ),
        DataType::Time32(unit) => {
            ViewValues::Time32(array.as_primitive::<Time32MillisecondType>().values(), *unit)
        }
        DataType::Time64(TimeUnit::Microsecond) => ViewValues::Time64(
            array.as_primitive::<Time64MicrosecondType>().values(),
            TimeUnit::Microsecond,
        ),
        DataType::Time64(unit) => {
            ViewValues::Time64(array.as_primitive::<Time64NanosecondType>().values(), *unit)
        }
        DataType::Timestamp(unit, zone) => {
            ViewValues::Timestamp(timestamp_values(array, *unit), *unit, zone.is_some())
        }
        DataType::Utf8 => ViewValues::Text(array.as_string()),
        DataType::Binary => ViewValues::Bytes(array.as_binary()),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            ViewValues::List(list.offsets(), Box::new(view(list.values())))
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            ViewValues::Map(map.offsets(), Box::new([view(map.keys()), view(map.values())]))
        }
        DataType::Struct(fields) => {
            let children = array.as_struct().columns().iter();
            ViewValues::Struct(fields.iter().zip(children.map(|child| view(child))).collect())
        }
        other => unreachable!("invariant: {other} is converted before it is viewed"),
    };
    View {
        nulls: array.nulls(),
        values,
    }
}

fn timestamp_values(array: &dyn Array, unit: TimeUnit) -> &[i64] {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
    }
}
