//! One generated column: what its values are, and a range of them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, make_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};

use super::{ColumnOptions, DatagenConfig, bounds};
use crate::generators::GeneratorError;
use crate::generators::random::{Draws, Stream, below, unit};
use crate::limits::RANDOM_LETTERS_MAX;

/// Letters of a random text unless the options say otherwise, as in Flink.
const LENGTH_DEFAULT: usize = 100;

/// Makes one column.
#[derive(Clone, Debug)]
pub(super) struct ColumnMaker {
    field: FieldRef,
    values: Values,
    null_rate: f64,
    distinct: Option<u64>,
    stream: Stream,
}

#[derive(Clone, Debug)]
enum Values {
    /// `start`, `start + 1`, … `end`, in whole steps.
    Sequence {
        start: i64,
        end: i64,
    },
    /// The time at which the row is due.
    Due {
        base_us: i64,
        rows_per_second: u64,
    },
    /// Random whole steps, bounds included.
    Whole {
        least: i128,
        greatest: i128,
    },
    Real {
        least: f64,
        greatest: f64,
    },
    Boolean,
    Text {
        length: usize,
    },
    Bytes {
        length: usize,
    },
}

impl ColumnMaker {
    pub(super) fn new(
        field: &Field,
        options: &ColumnOptions,
        stream: Stream,
        config: &DatagenConfig,
    ) -> Result<ColumnMaker, GeneratorError> {
        if options.null_rate > 0.0 && !field.is_nullable() {
            let message = format!("column '{}' is NOT NULL: its null-rate must be 0", field.name());
            return Err(GeneratorError::new(field.name(), Some("null-rate"), message));
        }
        let values = if options.is_sequence {
            sequence(field, options)?
        } else {
            random(field, options, config)?
        };
        Ok(ColumnMaker {
            field: Arc::new(field.clone()),
            values,
            null_rate: options.null_rate,
            distinct: options.distinct,
            stream,
        })
    }

    /// How many rows there are before a sequence ends.
    pub(super) fn rows(&self) -> Option<u64> {
        match self.values {
            Values::Sequence { start, end } => {
                Some((i128::from(end) - i128::from(start) + 1).clamp(0, u64::MAX.into()) as u64)
            }
            _ => None,
        }
    }

    /// Rows `rows` of the column.
    pub(super) fn make(&self, rows: Range<u64>) -> ArrayRef {
        let values = self.values_of(rows.clone());
        if self.null_rate <= 0.0 {
            return values;
        }
        let nulls: NullBuffer = rows
            .map(|row| unit(self.stream.draws(row).next()) >= self.null_rate)
            .collect::<Vec<_>>()
            .into();
        let data = values.to_data().into_builder().nulls(Some(nulls)).build();
        make_array(data.expect("invariant: one validity bit per row"))
    }

    /// The random numbers of a row; rows of the same value share them.
    fn draws(&self, row: u64) -> Draws {
        let mut draws = self.stream.draws(row);
        // The first number decides on NULL.
        let bits = draws.next();
        match self.distinct {
            None => draws,
            Some(distinct) => self
                .stream
                .draws(u64::MAX - below(bits.rotate_left(32), distinct)),
        }
    }

    fn values_of(&self, rows: Range<u64>) -> ArrayRef {
        let draws = rows.clone().map(|row| self.draws(row));
        match &self.values {
            Values::Sequence { start, .. } => {
                let steps = rows.map(|row| i128::from(*start) + i128::from(row));
                whole_column(self.field.data_type(), steps)
            }
            Values::Due {
                base_us,
                rows_per_second,
            } => {
                let rate = u128::from(*rows_per_second);
                let times =
                    rows.map(|row| (u128::from(row) * 1_000_000 / rate) as i128 + i128::from(*base_us));
                whole_column(self.field.data_type(), times)
            }
            Values::Whole { least, greatest } => {
                // The span of DECIMAL(38) is beyond i128, not beyond u128: both wrap around alike.
                let span = greatest.wrapping_sub(*least) as u128;
                let steps = draws.map(|mut draws| least.wrapping_add(draw_to(&mut draws, span) as i128));
                whole_column(self.field.data_type(), steps)
            }
            Values::Real { least, greatest } => {
                let (least, span) = (*least, greatest - least);
                let numbers = draws.map(|mut draws| least + unit(draws.next()) * span);
                as_declared(
                    Arc::new(Float64Array::from_iter_values(numbers)),
                    self.field.data_type(),
                )
            }
            Values::Boolean => {
                let bits: Vec<bool> = draws.map(|mut draws| draws.next() & 1 == 1).collect();
                Arc::new(BooleanArray::from(bits))
            }
            Values::Text { length } => {
                let texts = draws.map(|mut draws| {
                    let mut text = Vec::with_capacity(*length);
                    draws.letters(*length, &mut text);
                    String::from_utf8(text).expect("invariant: letters are ASCII")
                });
                Arc::new(StringArray::from_iter_values(texts))
            }
            Values::Bytes { length } => {
                let bytes =
                    draws.map(|mut draws| (0..*length).map(|_| draws.next() as u8).collect::<Vec<_>>());
                Arc::new(BinaryArray::from_iter_values(bytes))
            }
        }
    }
}

/// A random number from 0 to `span`, which is included.
fn draw_to(draws: &mut Draws, span: u128) -> u128 {
    let bits = draws.next();
    match u64::try_from(span) {
        Ok(u64::MAX) => u128::from(bits),
        Ok(span) => u128::from(below(bits, span + 1)),
        Err(_) => {
            let wide = u128::from(bits) << 64 | u128::from(draws.next());
            wide % (span + 1)
        }
    }
}

/// Whole steps (see [`bounds::whole`]) as a column of `data_type`.
fn whole_column(data_type: &DataType, steps: impl Iterator<Item = i128>) -> ArrayRef {
    let narrow = steps.map(|step| (step, step as i64));
    match data_type {
        DataType::Decimal128(_, _) => {
            let values = Decimal128Array::from_iter_values(narrow.map(|(wide, _)| wide));
            Arc::new(values.with_data_type(data_type.clone()))
        }
        DataType::Date32 => Arc::new(Date32Array::from_iter_values(narrow.map(|(_, step)| step as i32))),
        DataType::Time32(_) | DataType::Time64(_) => {
            let times = Time64MicrosecondArray::from_iter_values(narrow.map(|(_, step)| step));
            as_declared(Arc::new(times), data_type)
        }
        DataType::Timestamp(_, zone) => {
            let times = TimestampMicrosecondArray::from_iter_values(narrow.map(|(_, step)| step));
            as_declared(Arc::new(times.with_timezone_opt(zone.clone())), data_type)
        }
        _ => {
            let numbers = Int64Array::from_iter_values(narrow.map(|(_, step)| step));
            as_declared(Arc::new(numbers), data_type)
        }
    }
}

fn as_declared(column: ArrayRef, data_type: &DataType) -> ArrayRef {
    cast(&column, data_type).expect("invariant: the bounds are those of the type")
}

fn sequence(field: &Field, options: &ColumnOptions) -> Result<Values, GeneratorError> {
    let (name, data_type) = (field.name(), field.data_type());
    let is_whole = matches!(
        data_type,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Utf8
    );
    if !is_whole {
        let message = format!("column '{name}' cannot be a sequence: only integers and STRING can");
        return Err(GeneratorError::new(name, Some("kind"), message));
    }
    let bound = |option: &'static str, text: &Option<String>| {
        let Some(text) = text else {
            let message = format!("the sequence of column '{name}' needs 'fields.{name}.{option}'");
            return Err(GeneratorError::new(name, Some("kind"), message));
        };
        bounds::whole(data_type, text)
            .map(|number| number as i64)
            .ok_or_else(|| wrong_bound(name, option, text, data_type))
    };
    let (start, end) = (bound("start", &options.start)?, bound("end", &options.end)?);
    if start > end {
        let message = format!("the sequence of column '{name}' ends at {end}, before its start {start}");
        return Err(GeneratorError::new(name, Some("end"), message));
    }
    Ok(Values::Sequence { start, end })
}

fn random(field: &Field, options: &ColumnOptions, config: &DatagenConfig) -> Result<Values, GeneratorError> {
    let (name, data_type) = (field.name(), field.data_type());
    let length = options.length.unwrap_or(LENGTH_DEFAULT);
    if length > RANDOM_LETTERS_MAX {
        let message =
            format!("the values of column '{name}' can have {RANDOM_LETTERS_MAX} characters at most");
        return Err(GeneratorError::new(name, Some("length"), message));
    }
    let has_bounds = options.min.is_some() || options.max.is_some() || options.distinct.is_some();
    Ok(match data_type {
        DataType::Boolean => Values::Boolean,
        DataType::Utf8 => Values::Text { length },
        DataType::Binary => Values::Bytes { length },
        DataType::Float32 | DataType::Float64 => {
            let (least, greatest) = pair(name, options, data_type, bounds::real)?;
            let (least, greatest) = (least.unwrap_or(0.0), greatest.unwrap_or(1.0));
            check_order(name, least <= greatest)?;
            Values::Real { least, greatest }
        }
        DataType::Timestamp(_, _) if !has_bounds => Values::Due {
            base_us: config.base_time_us,
            rows_per_second: config.rows_per_second.max(1),
        },
        _ => {
            let Some((type_least, type_greatest)) = bounds::range(data_type) else {
                let message = format!("datagen cannot make column '{name}': it is {data_type}");
                return Err(GeneratorError::new(name, None, message));
            };
            let read = |text: &str| bounds::whole(data_type, text);
            let (least, greatest) = pair(name, options, data_type, read)?;
            let (least, greatest) = (least.unwrap_or(type_least), greatest.unwrap_or(type_greatest));
            check_order(name, least <= greatest)?;
            Values::Whole { least, greatest }
        }
    })
}

type Bounds<T> = (Option<T>, Option<T>);

fn pair<T>(
    name: &str,
    options: &ColumnOptions,
    data_type: &DataType,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Bounds<T>, GeneratorError> {
    let bound = |option: &'static str, text: &Option<String>| {
        text.as_ref()
            .map(|text| read(text).ok_or_else(|| wrong_bound(name, option, text, data_type)))
            .transpose()
    };
    Ok((bound("min", &options.min)?, bound("max", &options.max)?))
}

fn check_order(name: &str, in_order: bool) -> Result<(), GeneratorError> {
    if in_order {
        return Ok(());
    }
    let message = format!("the greatest value of column '{name}' is below its least");
    Err(GeneratorError::new(name, Some("max"), message))
}

fn wrong_bound(name: &str, option: &'static str, text: &str, data_type: &DataType) -> GeneratorError {
    let message = format!("'fields.{name}.{option}' cannot be '{text}': column '{name}' is {data_type}");
    GeneratorError::new(name, Some(option), message)
}
