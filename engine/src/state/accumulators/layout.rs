//! From calls to primitives: what is kept per group, where, and how results are read from it.
//!
//! **Invariant.** The local phase and the owner derive the same primitives from the same calls: the
//! names and types of the partial columns tell the owner what it cannot know of the raw input.

use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use crate::error::ExecutionError;
use crate::plan::{AggregateCall, AggregateFunction};
use crate::state::accumulators::steps::{Step, steps_of};
use crate::state::words::word_bits;

/// What a primitive keeps for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One word: rows counted.
    Count,
    /// Two words: an exact 128-bit sum.
    SumInteger,
    /// Two words: an exact 128-bit sum that may overflow.
    SumDecimal,
    /// Two words: a float sum and its compensation.
    SumFloat,
    /// One word: the least value in an order-preserving integer form.
    MinWord,
    /// One word: the greatest.
    MaxWord,
    /// Two words: the least decimal.
    MinDecimal,
    /// Two words: the greatest decimal.
    MaxDecimal,
    /// In a side column: the least text.
    MinBytes,
    /// In a side column: the greatest text.
    MaxBytes,
    /// In a side column: all values in order, for MIN and MAX under retraction.
    Multiset,
    /// In a side column: DataFusion's accumulator of call `.0`.
    Other(usize),
}

impl Kind {
    /// Words in the row.
    pub fn words(self) -> usize {
        match self {
            Kind::Count | Kind::MinWord | Kind::MaxWord => 1,
            Kind::SumInteger | Kind::SumDecimal | Kind::SumFloat | Kind::MinDecimal | Kind::MaxDecimal => 2,
            Kind::MinBytes | Kind::MaxBytes | Kind::Multiset | Kind::Other(_) => 0,
        }
    }

    fn initial(self) -> &'static [u64] {
        match self {
            Kind::Count => &[0],
            Kind::MinWord => &[i64::MAX as u64],
            Kind::MaxWord => &[i64::MIN as u64],
            // i128::MAX and i128::MIN, low word first.
            Kind::MinDecimal => &[u64::MAX, i64::MAX as u64],
            Kind::MaxDecimal => &[0, i64::MIN as u64],
            Kind::SumInteger | Kind::SumDecimal | Kind::SumFloat => &[0, 0],
            Kind::MinBytes | Kind::MaxBytes | Kind::Multiset | Kind::Other(_) => &[],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Count => "count",
            Kind::SumInteger | Kind::SumDecimal | Kind::SumFloat => "sum",
            Kind::MinWord | Kind::MinDecimal | Kind::MinBytes => "min",
            Kind::MaxWord | Kind::MaxDecimal | Kind::MaxBytes => "max",
            Kind::Multiset => "multiset",
            Kind::Other(_) => "other",
        }
    }

    fn partial_types(self, argument: &DataType) -> Vec<DataType> {
        match self {
            Kind::Count | Kind::MinWord | Kind::MaxWord => vec![DataType::Int64],
            Kind::SumInteger => vec![DataType::Decimal128(38, 0)],
            Kind::SumDecimal | Kind::MinDecimal | Kind::MaxDecimal => {
                vec![DataType::Decimal128(38, decimal_scale(argument))]
            }
            Kind::SumFloat => vec![DataType::Float64, DataType::Float64],
            Kind::MinBytes | Kind::MaxBytes => vec![argument.clone()],
            Kind::Multiset | Kind::Other(_) => Vec::new(),
        }
    }
}

/// The scale of a decimal type; 0 for any other.
pub(crate) fn decimal_scale(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

/// One thing kept per group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Primitive {
    pub kind: Kind,
    /// Input columns; none for a count of all rows.
    pub arguments: Vec<usize>,
    pub argument_type: DataType,
    pub filter: Option<usize>,
    /// Only values not met before in the group count.
    pub distinct: bool,
    /// First accumulator word, or the index of the side column.
    pub place: usize,
}

impl Primitive {
    /// Whether `next` counts exactly the values that this one sums, in the word behind the sum.
    pub fn is_counted_by(&self, next: &Primitive) -> bool {
        matches!(self.kind, Kind::SumInteger | Kind::SumFloat)
            && next.kind == Kind::Count
            && (&next.arguments, next.filter) == (&self.arguments, self.filter)
            && next.place == self.place + self.kind.words()
    }

    fn name(&self) -> String {
        let mut name = format!("{}(", self.kind.name());
        match self.arguments.as_slice() {
            [] => name.push('*'),
            arguments => {
                for column in arguments {
                    let _ = write!(name, "#{column}");
                }
            }
        }
        name.push(')');
        if let Some(filter) = self.filter {
            let _ = write!(name, " filter #{filter}");
        }
        name
    }
}

/// How the result of a call is read; numbers index [`AggregateLayout::primitives`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Count(usize),
    Sum {
        sum: usize,
        count: usize,
    },
    Average {
        sum: usize,
        count: usize,
    },
    Extreme {
        value: usize,
        count: usize,
    },
    /// MIN (or MAX) from a multiset.
    End {
        multiset: usize,
        is_max: bool,
    },
    Other(usize),
}

/// What is known of the operator's input when the layout is made.
#[derive(Clone, Copy, Debug)]
pub struct LayoutOptions {
    /// The input is the local phase's output.
    pub input_is_partial: bool,
    /// Key columns in front of the partial columns, when the input is partial.
    pub keys: usize,
    /// The input may retract.
    pub input_retracts: bool,
    /// Keep the number of rows of each group, so that an empty one can be told.
    pub count_rows: bool,
}

/// The calls of an operator as primitives in rows.
#[derive(Clone, Debug)]
pub struct AggregateLayout {
    pub(crate) calls: Vec<AggregateCall>,
    pub(crate) primitives: Vec<Primitive>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) initial: Vec<u64>,
    pub(crate) sides: usize,
    /// How rows update the primitives.
    pub(crate) steps: Vec<Step>,
    /// The primitive that counts all rows, if asked for.
    pub(crate) row_count: Option<usize>,
    pub(crate) retracts: bool,
}

impl AggregateLayout {
    /// The layout of `calls` over `input`; an error names a call that no layout fits.
    pub fn new(
        calls: &[AggregateCall],
        input: &Schema,
        options: LayoutOptions,
    ) -> Result<AggregateLayout, ExecutionError> {
        let mut layout = AggregateLayout {
            calls: calls.to_vec(),
            primitives: Vec::new(),
            readings: Vec::new(),
            initial: Vec::new(),
            sides: 0,
            steps: Vec::new(),
            row_count: None,
            retracts: options.input_retracts,
        };
        if options.count_rows || options.input_retracts {
            layout.row_count = Some(layout.add(Kind::Count, &[], DataType::Null, None, false));
        }
        let facts = Facts { input, options };
        for (index, call) in calls.iter().enumerate() {
            let reading = layout.add_call(index, call, &facts)?;
            layout.readings.push(reading);
        }
        layout.steps = steps_of(&layout.primitives);
        if options.input_is_partial {
            let sent = input.fields().iter().skip(options.keys).map(|field| field.name());
            let fields = layout.partial_fields();
            let read: Vec<&String> = fields.iter().map(|field| field.name()).collect();
            let sent: Vec<&String> = sent.take(read.len()).collect();
            assert_eq!(
                sent, read,
                "invariant: both phases are made from the same calls and input kind"
            );
        }
        Ok(layout)
    }

    fn add_call(
        &mut self,
        index: usize,
        call: &AggregateCall,
        facts: &Facts,
    ) -> Result<Reading, ExecutionError> {
        let (filter, distinct) = (call.filter, call.distinct);
        let argument = call.arguments.as_slice();
        let missing = || unsupported(call, "has no argument");
        Ok(match &call.function {
            AggregateFunction::CountStar => {
                Reading::Count(self.add(Kind::Count, &[], DataType::Null, filter, false))
            }
            AggregateFunction::Count => Reading::Count(self.add_count(call, facts)),
            AggregateFunction::Sum | AggregateFunction::Avg => {
                let column = *argument.first().ok_or_else(missing)?;
                let is_average = matches!(call.function, AggregateFunction::Avg);
                let data_type = facts.summed_type(column, call);
                let kind =
                    sum_kind(&data_type).ok_or_else(|| unsupported(call, &format!("over {data_type}")))?;
                let sum = self.add(kind, argument, data_type, filter, distinct);
                let count = self.add_count(call, facts);
                if is_average {
                    Reading::Average { sum, count }
                } else {
                    Reading::Sum { sum, count }
                }
            }
            AggregateFunction::Min | AggregateFunction::Max => {
                let is_max = matches!(call.function, AggregateFunction::Max);
                argument.first().ok_or_else(missing)?;
                // MIN and MAX have the type of their argument.
                let data_type = call.output.data_type().clone();
                let kind = extreme_kind(&data_type, is_max)
                    .ok_or_else(|| unsupported(call, &format!("over {data_type}")))?;
                if self.retracts {
                    let multiset = self.add(Kind::Multiset, argument, data_type, filter, false);
                    return Ok(Reading::End { multiset, is_max });
                }
                let value = self.add(kind, argument, data_type, filter, false);
                let count = self.add_plain_count(call, facts, false);
                Reading::Extreme { value, count }
            }
            AggregateFunction::Other(_) => {
                let place = self.add(Kind::Other(index), argument, DataType::Null, filter, false);
                Reading::Other(place)
            }
        })
    }

    fn add_count(&mut self, call: &AggregateCall, facts: &Facts) -> usize {
        self.add_plain_count(call, facts, call.distinct)
    }

    /// The count of rows that a call sees: of all rows where its argument cannot be NULL.
    fn add_plain_count(&mut self, call: &AggregateCall, facts: &Facts, distinct: bool) -> usize {
        let mut count = Primitive {
            kind: Kind::Count,
            arguments: call.arguments.clone(),
            argument_type: DataType::Null,
            filter: call.filter,
            distinct,
            place: 0,
        };
        if !distinct && !facts.has_nulls(&count) {
            count.arguments.clear();
        }
        self.add(
            Kind::Count,
            &count.arguments,
            DataType::Null,
            call.filter,
            distinct,
        )
    }

    /// The index of this primitive, shared with an equal one.
    fn add(
        &mut self,
        kind: Kind,
        arguments: &[usize],
        argument_type: DataType,
        filter: Option<usize>,
        distinct: bool,
    ) -> usize {
        let mut added = Primitive {
            kind,
            arguments: arguments.to_vec(),
            argument_type,
            filter,
            distinct,
            place: 0,
        };
        let same = |other: &Primitive| {
            added.place = other.place;
            *other == added
        };
        if let Some(index) = self.primitives.iter().position(same) {
            return index;
        }
        if kind.words() > 0 {
            added.place = self.initial.len();
            self.initial.extend_from_slice(kind.initial());
        } else {
            added.place = self.sides;
            self.sides += 1;
        }
        self.primitives.push(added);
        self.primitives.len() - 1
    }

    /// The columns that a local phase sends for a group, in order.
    pub fn partial_fields(&self) -> Vec<FieldRef> {
        let mut fields = Vec::new();
        for primitive in &self.primitives {
            let nullable = matches!(primitive.kind, Kind::MinBytes | Kind::MaxBytes);
            for (index, data_type) in primitive
                .kind
                .partial_types(&primitive.argument_type)
                .into_iter()
                .enumerate()
            {
                let mut name = primitive.name();
                if index > 0 {
                    name.push_str(" rest");
                }
                fields.push(Arc::new(Field::new(name, data_type, nullable)));
            }
        }
        fields
    }

    /// Whether a state can be taken out of another: no extremes, no float sums, nothing aside.
    pub fn is_invertible(&self) -> bool {
        let mut kinds = self.primitives.iter().map(|primitive| primitive.kind);
        kinds.all(|kind| matches!(kind, Kind::Count | Kind::SumInteger | Kind::SumDecimal))
            && !self.primitives.iter().any(|primitive| primitive.distinct)
    }

    /// Whether every row changes the result of its group: all rows add, and a call counts them all.
    pub fn always_changes(&self) -> bool {
        let counts_all = |reading: &Reading| match reading {
            Reading::Count(count) => {
                let primitive = &self.primitives[*count];
                primitive.arguments.is_empty() && primitive.filter.is_none()
            }
            _ => false,
        };
        !self.retracts && self.readings.iter().any(counts_all)
    }

    /// Whether the states of two groups can be combined.
    pub fn is_combinable(&self) -> bool {
        let is_plain =
            |primitive: &Primitive| !primitive.distinct && !matches!(primitive.kind, Kind::Other(_));
        self.primitives.iter().all(is_plain)
    }
}

fn sum_kind(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Float32 | DataType::Float64 => Kind::SumFloat,
        DataType::Decimal128(_, _) | DataType::UInt64 => Kind::SumDecimal,
        integer if integer.is_integer() => Kind::SumInteger,
        _ => return None,
    })
}

fn extreme_kind(data_type: &DataType, is_max: bool) -> Option<Kind> {
    let (least, greatest) = match data_type {
        DataType::Utf8 | DataType::Binary => (Kind::MinBytes, Kind::MaxBytes),
        DataType::Decimal128(_, _) => (Kind::MinDecimal, Kind::MaxDecimal),
        other => word_bits(other).map(|_| (Kind::MinWord, Kind::MaxWord))?,
    };
    Some(if is_max { greatest } else { least })
}

fn unsupported(call: &AggregateCall, what: &str) -> ExecutionError {
    let name = call.output.name();
    ExecutionError::new(
        "Aggregate",
        format!(
            "{:?} {what} (column {name}) is not supported; cast the argument",
            call.function
        ),
    )
}

/// What the input tells of the arguments: itself, or through the names of its partial columns.
struct Facts<'a> {
    input: &'a Schema,
    options: LayoutOptions,
}

impl Facts<'_> {
    fn has_nulls(&self, count: &Primitive) -> bool {
        if self.options.input_is_partial {
            let name = count.name();
            let mut partial = self.input.fields().iter().skip(self.options.keys);
            return partial.any(|field| *field.name() == name);
        }
        let mut arguments = count.arguments.iter();
        arguments.any(|&column| self.input.field(column).is_nullable())
    }

    /// The type that is summed; seen through its sum if the input is partial.
    fn summed_type(&self, column: usize, call: &AggregateCall) -> DataType {
        if !self.options.input_is_partial {
            return self.input.field(column).data_type().clone();
        }
        let filter = call
            .filter
            .map_or(String::new(), |filter| format!(" filter #{filter}"));
        let name = format!("sum(#{column}){filter}");
        let mut partial = self.input.fields().iter().skip(self.options.keys);
        let output = call.output.data_type();
        match partial
            .find(|field| *field.name() == name)
            .map(|field| field.data_type())
        {
            Some(DataType::Decimal128(_, _)) if output.is_integer() => DataType::Int64,
            Some(data_type) => data_type.clone(),
            None => unreachable!(
                "invariant: the local phase sends {name} for {}",
                call.output.name()
            ),
        }
    }
}

/// The columns that the local phase sends besides the keys, for `calls` over `input`.
pub fn partial_fields(
    calls: &[AggregateCall],
    input: &Schema,
    count_rows: bool,
) -> Result<Vec<FieldRef>, ExecutionError> {
    let options = LayoutOptions {
        input_is_partial: false,
        keys: 0,
        input_retracts: false,
        count_rows,
    };
    Ok(AggregateLayout::new(calls, input, options)?.partial_fields())
}

/// Whether `calls` can be computed in two phases: a local one before the exchange, and the owner's.
///
/// Not with DISTINCT, nor with aggregates outside the closed set, nor with MIN or MAX when the input
/// retracts.
pub fn supports_two_phase(calls: &[AggregateCall], input_retracts: bool) -> bool {
    calls.iter().all(|call| {
        !call.distinct
            && match call.function {
                AggregateFunction::CountStar
                | AggregateFunction::Count
                | AggregateFunction::Sum
                | AggregateFunction::Avg => true,
                AggregateFunction::Min | AggregateFunction::Max => !input_retracts,
                AggregateFunction::Other(_) => false,
            }
    })
}
