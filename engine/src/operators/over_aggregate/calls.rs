//! The calls of an OVER operator: those that look at the same values share one set of frames.
//!
//! **Invariant.** Work is per call and batch, in typed loops; nothing looks at a type per row.

use std::ops::Deref;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use crate::error::ExecutionError;
use crate::operators::over_aggregate::combine::{
    Combine, CompensatedSum, Extreme, FloatSum, Presence, Text, WideSum,
};
use crate::operators::over_aggregate::frames::{Answers, Frames, OrderedRows};
use crate::operators::over_aggregate::over_error;
use crate::operators::over_aggregate::row_accumulator::RowAccumulatorCall;
use crate::plan::{AggregateCall, AggregateFunction, OverFrame};
use crate::snapshot::StateWriter;
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::key_columns::named_keys;
use crate::state::words::word_bits;

/// Calls that share frames.
pub(super) trait SharedCalls {
    /// One result column per call, for `rows`, which lie in order as `order` says.
    fn answer(
        &mut self,
        rows: &RecordBatch,
        order: &OrderedRows<'_>,
    ) -> Result<Vec<ArrayRef>, ExecutionError>;

    /// Writes the frames of all partitions as table `name`: the partition's keys, then what a frame holds.
    fn freeze(
        &mut self,
        name: &str,
        partitions: &GroupTable,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError>;

    /// Takes back the columns behind the keys, for rows of these partitions, of which there are `count` now.
    fn thaw(
        &mut self,
        columns: &[ArrayRef],
        partitions: &[GroupIndex],
        count: usize,
    ) -> Result<(), ExecutionError>;

    /// Bytes of state.
    fn bytes(&self) -> usize;
}

/// Shared frames and the calls that read them, by number.
pub(super) struct Group {
    pub calls: Vec<usize>,
    pub shared: Box<dyn SharedCalls>,
}

/// What a call reads off a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The number of rows that count.
    Count,
    /// What they combine to.
    Value,
    /// That, over their number.
    Average,
}

/// What frames hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Presence,
    Sum,
    Least,
    Greatest,
}

/// Frames to be made: what they hold, of which column, of which rows.
struct Sharing {
    held: Held,
    argument: Option<usize>,
    filter: Option<usize>,
    calls: Vec<(usize, Reading)>,
}

/// The calls of an operator, in groups.
pub(super) fn build(
    calls: &[AggregateCall],
    frame: OverFrame,
    input: &SchemaRef,
) -> Result<Vec<Group>, ExecutionError> {
    let mut sharings: Vec<Sharing> = Vec::new();
    let mut groups = Vec::new();
    // COUNT reads any frames over its argument, so others are made first.
    let is_count = |call: &AggregateCall| {
        matches!(
            call.function,
            AggregateFunction::Count | AggregateFunction::CountStar
        )
    };
    let (counts, others): (Vec<usize>, Vec<usize>) =
        (0..calls.len()).partition(|&index| is_count(&calls[index]));
    for index in others.into_iter().chain(counts) {
        let call = &calls[index];
        assert!(
            !call.distinct,
            "invariant: DISTINCT over a frame has an accumulator of its own"
        );
        let (held, reading) = match &call.function {
            AggregateFunction::CountStar | AggregateFunction::Count => (Held::Presence, Reading::Count),
            AggregateFunction::Sum => (Held::Sum, Reading::Value),
            AggregateFunction::Avg => (Held::Sum, Reading::Average),
            AggregateFunction::Min => (Held::Least, Reading::Value),
            AggregateFunction::Max => (Held::Greatest, Reading::Value),
            AggregateFunction::Other(function) => {
                let shared = RowAccumulatorCall::new(call, function.clone(), frame, input);
                groups.push(Group {
                    calls: vec![index],
                    shared: Box::new(shared),
                });
                continue;
            }
        };
        let argument = call.arguments.first().copied();
        let same = |sharing: &&mut Sharing| {
            sharing.argument == argument
                && sharing.filter == call.filter
                && (held == Held::Presence || sharing.held == held)
        };
        match sharings.iter_mut().find(same) {
            Some(sharing) => sharing.calls.push((index, reading)),
            None => sharings.push(Sharing {
                held,
                argument,
                filter: call.filter,
                calls: vec![(index, reading)],
            }),
        }
    }
    for sharing in sharings {
        groups.push(Group {
            calls: sharing.calls.iter().map(|&(index, _)| index).collect(),
            shared: typed(&sharing, calls, frame, input)?,
        });
    }
    Ok(groups)
}

/// The shared frames for the type of their argument.
fn typed(
    sharing: &Sharing,
    calls: &[AggregateCall],
    frame: OverFrame,
    input: &SchemaRef,
) -> Result<Box<dyn SharedCalls>, ExecutionError> {
    let argument_type = sharing.argument.map_or(DataType::Null, |argument| {
        input.field(argument).data_type().clone()
    });
    let readings = sharing.calls.iter();
    let readings = readings.map(|&(index, reading)| (reading, calls[index].output.clone()));
    let parts = Parts {
        argument: sharing.argument,
        argument_type: argument_type.clone(),
        filter: sharing.filter,
        frame,
        readings: readings.collect(),
    };
    let is_unbounded = matches!(frame, OverFrame::Rows(None) | OverFrame::Range(None));
    Ok(match (sharing.held, &argument_type) {
        (Held::Presence, _) => parts.of::<Presence>(),
        (Held::Sum, DataType::Float32 | DataType::Float64) if is_unbounded => parts.of::<CompensatedSum>(),
        (Held::Sum, DataType::Float32 | DataType::Float64) => parts.of::<FloatSum>(),
        (Held::Sum, DataType::Decimal128(..)) => parts.of::<WideSum>(),
        (Held::Sum, integer) if integer.is_integer() => parts.of::<WideSum>(),
        (Held::Least, DataType::Decimal128(..)) => parts.of::<Extreme<i128, false>>(),
        (Held::Greatest, DataType::Decimal128(..)) => parts.of::<Extreme<i128, true>>(),
        (Held::Least, DataType::Utf8 | DataType::Binary) => parts.of::<Extreme<Text, false>>(),
        (Held::Greatest, DataType::Utf8 | DataType::Binary) => parts.of::<Extreme<Text, true>>(),
        (Held::Least, word) if word_bits(word).is_some() => parts.of::<Extreme<i64, false>>(),
        (Held::Greatest, word) if word_bits(word).is_some() => parts.of::<Extreme<i64, true>>(),
        (_, other) => {
            return Err(over_error(format!(
                "{} over {other} is not supported; cast the argument",
                calls[sharing.calls[0].0].output.name()
            )));
        }
    })
}

/// How an aggregate meets columns.
pub(super) trait Aggregate: Combine {
    /// A column's values.
    type Values: Deref<Target = [Self::Value]>;

    /// The values of `column`, which has `rows` rows; NULLs are anything.
    fn values(column: Option<&ArrayRef>, rows: usize) -> Self::Values;

    /// The result column of a call that reads the value or the average.
    fn result(
        reading: Reading,
        answers: &Answers<Self::Value>,
        argument_type: &DataType,
        output: &FieldRef,
    ) -> Result<ArrayRef, ExecutionError>;
}

/// What typed calls are made of.
struct Parts {
    argument: Option<usize>,
    argument_type: DataType,
    filter: Option<usize>,
    frame: OverFrame,
    readings: Vec<(Reading, FieldRef)>,
}

impl Parts {
    fn of<C: Aggregate>(self) -> Box<dyn SharedCalls> {
        Box::new(TypedCalls::<C> {
            frames: Frames::new(self.frame),
            parts: self,
        })
    }
}

struct TypedCalls<C: Aggregate> {
    parts: Parts,
    frames: Frames<C>,
}

impl<C: Aggregate> SharedCalls for TypedCalls<C> {
    fn answer(
        &mut self,
        rows: &RecordBatch,
        order: &OrderedRows<'_>,
    ) -> Result<Vec<ArrayRef>, ExecutionError> {
        let parts = &self.parts;
        let column = parts.argument.map(|argument| rows.column(argument));
        let filter = parts.filter.map(|filter| rows.column(filter));
        let counts = counted(column, filter);
        let values = C::values(column, rows.num_rows());
        let answers = self.frames.answer(order, &values, counts.as_deref());
        let result = |(reading, output): &(Reading, FieldRef)| match reading {
            Reading::Count => super::results::count(&answers.counts, output),
            reading => C::result(*reading, &answers, &parts.argument_type, output),
        };
        parts.readings.iter().map(result).collect()
    }

    fn freeze(
        &mut self,
        name: &str,
        partitions: &GroupTable,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        let groups: Vec<GroupIndex> = (0..self.frames.partitions() as GroupIndex).collect();
        let mut frames = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for &group in &groups {
            bytes.clear();
            self.frames.freeze(group as usize, &mut bytes);
            frames.append_value(&bytes);
        }
        let mut columns = named_keys(partitions, &groups);
        columns.push(("frame".into(), Arc::new(frames.finish())));
        into.add_columns(name, 0, columns, groups.len())
    }

    fn thaw(
        &mut self,
        columns: &[ArrayRef],
        partitions: &[GroupIndex],
        count: usize,
    ) -> Result<(), ExecutionError> {
        let frames = columns[0].as_binary::<i32>();
        self.frames.grow(count);
        for (row, &partition) in partitions.iter().enumerate() {
            let mut bytes = frames.value(row);
            let is_read = self.frames.thaw(partition as usize, &mut bytes).is_some();
            if !is_read || !bytes.is_empty() {
                return Err(over_error("a frame in the snapshot is not what was written"));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.frames.bytes()
    }
}

/// Which rows count: those whose argument is not NULL and that the filter lets through; `None` = all.
pub(super) fn counted(column: Option<&ArrayRef>, filter: Option<&ArrayRef>) -> Option<Vec<bool>> {
    let nulls = column
        .and_then(|column| column.logical_nulls())
        .filter(|nulls| nulls.null_count() > 0);
    if nulls.is_none() && filter.is_none() {
        return None;
    }
    let rows = column.or(filter).map_or(0, |column| column.len());
    let mut counted: Vec<bool> = match nulls {
        Some(nulls) => nulls.iter().collect(),
        None => vec![true; rows],
    };
    if let Some(filter) = filter {
        for (counted, passes) in counted.iter_mut().zip(filter.as_boolean()) {
            *counted &= passes == Some(true);
        }
    }
    Some(counted)
}
