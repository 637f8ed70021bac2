//! One call of an OVER operator over a sorted batch: values in, one result per row out.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, SchemaRef};

use crate::error::ExecutionError;
use crate::operators::over_aggregate::history::{Combine, ExactSum, Extreme, FloatSum, History, Ordered};
use crate::operators::over_aggregate::over_error;
use crate::operators::over_aggregate::row_accumulator::RowAccumulatorCall;
use crate::plan::{AggregateCall, AggregateFunction, OverFrame};

/// A call with state per partition.
pub(super) trait OverCall {
    /// The results for `rows`, which are in order of event time; `ids` number their partitions,
    /// of which there are `partitions`.
    fn answer(
        &mut self,
        rows: &RecordBatch,
        ids: &[u32],
        partitions: usize,
        times: &[i64],
    ) -> Result<ArrayRef, ExecutionError>;

    /// Bytes of state.
    fn bytes(&self) -> usize;
}

/// The running form of `call` over `frame`.
pub(super) fn build(
    call: &AggregateCall,
    frame: OverFrame,
    input: &SchemaRef,
) -> Result<Box<dyn OverCall>, ExecutionError> {
    if call.distinct {
        return Err(over_error("DISTINCT in OVER is not supported yet"));
    }
    let argument = call
        .arguments
        .first()
        .map(|&argument| input.field(argument).data_type());
    let is_float = matches!(argument, Some(DataType::Float32 | DataType::Float64));
    let is_text = matches!(argument, Some(DataType::Utf8));
    Ok(match &call.function {
        AggregateFunction::CountStar | AggregateFunction::Count => {
            typed::<ExactSum, i128>(call, frame, presence, |history| {
                Some(i128::from(history.present()))
            })
        }
        AggregateFunction::Sum if is_float => {
            typed::<FloatSum, f64>(call, frame, floats, |history| history.state().map(float_sum))
        }
        AggregateFunction::Sum => {
            typed::<ExactSum, i128>(call, frame, integers, |history| history.state().copied())
        }
        AggregateFunction::Avg if is_float => typed::<FloatSum, f64>(call, frame, floats, |history| {
            history
                .state()
                .map(|state| float_sum(state) / history.present() as f64)
        }),
        AggregateFunction::Avg => exact_average(call, frame, argument),
        AggregateFunction::Min if is_float => extreme::<f64, false>(call, frame, floats),
        AggregateFunction::Max if is_float => extreme::<f64, true>(call, frame, floats),
        AggregateFunction::Min if is_text => extreme::<String, false>(call, frame, texts),
        AggregateFunction::Max if is_text => extreme::<String, true>(call, frame, texts),
        AggregateFunction::Min => extreme::<i128, false>(call, frame, integers),
        AggregateFunction::Max => extreme::<i128, true>(call, frame, integers),
        AggregateFunction::Other(function) => {
            Box::new(RowAccumulatorCall::new(call, function.clone(), frame))
        }
    })
}

fn float_sum(state: &(f64, f64)) -> f64 {
    state.0 + state.1
}

/// AVG over integers truncates; over decimals it has the result's scale.
fn exact_average(call: &AggregateCall, frame: OverFrame, argument: Option<&DataType>) -> Box<dyn OverCall> {
    let scale_of = |data_type: Option<&DataType>| match data_type {
        Some(DataType::Decimal128(_, scale)) => *scale,
        _ => 0,
    };
    let more_digits = scale_of(Some(call.output.data_type())) - scale_of(argument);
    match more_digits {
        0 => typed::<ExactSum, i128>(call, frame, integers, |history| {
            history.state().map(|sum| divide(*sum, history.present()))
        }),
        digits => {
            // The column is read with the digits of the result already.
            let mut average = typed_call::<ExactSum, i128>(call, frame, integers, |history| {
                history.state().map(|sum| divide(*sum, history.present()))
            });
            average.read_scale = 10_i128.pow(u32::from(digits.unsigned_abs()));
            Box::new(average)
        }
    }
}

/// Division rounded half away from zero for decimals would need the type; integers truncate.
fn divide(sum: i128, count: u64) -> i128 {
    sum / i128::from(count)
}

fn extreme<V: Ordered + Write + 'static, const MAXIMUM: bool>(
    call: &AggregateCall,
    frame: OverFrame,
    read: Read<V>,
) -> Box<dyn OverCall> {
    typed::<Extreme<V, MAXIMUM>, V>(call, frame, read, |history| {
        history
            .state()
            .and_then(|winners| winners.front())
            .map(|(_, value)| value.clone())
    })
}

type Read<V> = fn(Option<&ArrayRef>, usize) -> Result<Vec<Option<V>>, ExecutionError>;

/// A call over values of one kind, with results of one kind.
struct TypedCall<C: Combine, R> {
    argument: Option<usize>,
    filter: Option<usize>,
    frame: OverFrame,
    result_type: DataType,
    read: Read<C::Value>,
    /// What integers are multiplied with when they are read.
    read_scale: i128,
    result: fn(&History<C>) -> Option<R>,
    histories: Vec<History<C>>,
}

fn typed<C: Combine + 'static, R: Write + 'static>(
    call: &AggregateCall,
    frame: OverFrame,
    read: Read<C::Value>,
    result: fn(&History<C>) -> Option<R>,
) -> Box<dyn OverCall>
where
    C::Value: Scale,
{
    Box::new(typed_call(call, frame, read, result))
}

fn typed_call<C: Combine, R>(
    call: &AggregateCall,
    frame: OverFrame,
    read: Read<C::Value>,
    result: fn(&History<C>) -> Option<R>,
) -> TypedCall<C, R> {
    TypedCall {
        argument: call.arguments.first().copied(),
        filter: call.filter,
        frame,
        result_type: call.output.data_type().clone(),
        read,
        read_scale: 1,
        result,
        histories: Vec::new(),
    }
}

impl<C: Combine, R: Write> OverCall for TypedCall<C, R>
where
    C::Value: Scale,
{
    fn answer(
        &mut self,
        rows: &RecordBatch,
        ids: &[u32],
        partitions: usize,
        times: &[i64],
    ) -> Result<ArrayRef, ExecutionError> {
        self.histories.resize_with(partitions, History::default);
        let mut values = (self.read)(
            self.argument.map(|argument| rows.column(argument)),
            rows.num_rows(),
        )?;
        if self.read_scale != 1 {
            values
                .iter_mut()
                .flatten()
                .for_each(|value| value.scale(self.read_scale));
        }
        if let Some(filter) = self.filter {
            let passes = rows.column(filter).as_boolean();
            for (row, value) in values.iter_mut().enumerate() {
                if passes.is_null(row) || !passes.value(row) {
                    *value = None;
                }
            }
        }
        let mut results: Vec<Option<R>> = Vec::with_capacity(ids.len());
        match self.frame {
            OverFrame::Rows(count) => {
                for ((&id, &time), value) in ids.iter().zip(times).zip(values) {
                    let history = &mut self.histories[id as usize];
                    history.push(time, value, count.is_some());
                    if let Some(count) = count {
                        history.keep_last(usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1));
                    }
                    results.push((self.result)(history));
                }
            }
            OverFrame::Range(distance) => {
                let mut values = values.into_iter();
                let mut start = 0;
                // Rows of equal event time see each other: all enter before any is answered.
                for run in times.chunk_by(|a, b| a == b) {
                    let run_ids = &ids[start..start + run.len()];
                    start += run.len();
                    for &id in run_ids {
                        let history = &mut self.histories[id as usize];
                        if let Some(distance) = distance {
                            history.keep_from(run[0].saturating_sub(distance));
                        }
                        let value = values.next().expect("invariant: one value per row");
                        history.push(run[0], value, distance.is_some());
                    }
                    results.extend(
                        run_ids
                            .iter()
                            .map(|&id| (self.result)(&self.histories[id as usize])),
                    );
                }
            }
        }
        R::write(results, &self.result_type)
    }

    fn bytes(&self) -> usize {
        self.histories.iter().map(History::bytes).sum()
    }
}

/// Values that may be read with more decimal digits.
pub(super) trait Scale {
    fn scale(&mut self, _factor: i128) {}
}

impl Scale for i128 {
    fn scale(&mut self, factor: i128) {
        *self *= factor;
    }
}

impl Scale for f64 {}
impl Scale for String {}

/// Results that become a column.
pub(super) trait Write: Sized + Scale {
    fn write(results: Vec<Option<Self>>, data_type: &DataType) -> Result<ArrayRef, ExecutionError>;
}

impl Write for i128 {
    fn write(results: Vec<Option<i128>>, data_type: &DataType) -> Result<ArrayRef, ExecutionError> {
        if let DataType::Decimal128(precision, scale) = data_type {
            let decimals: Decimal128Array = results.into_iter().collect();
            let decimals = decimals
                .with_precision_and_scale(*precision, *scale)
                .map_err(over_error)?;
            return Ok(Arc::new(decimals));
        }
        let narrow = |value: Option<i128>| {
            value
                .map(i64::try_from)
                .transpose()
                .map_err(|_| over_error("the result does not fit into BIGINT"))
        };
        let integers: Int64Array = results
            .into_iter()
            .map(narrow)
            .collect::<Result<Vec<_>, _>>()?
            .into();
        cast_to(Arc::new(integers), data_type)
    }
}

impl Write for f64 {
    fn write(results: Vec<Option<f64>>, data_type: &DataType) -> Result<ArrayRef, ExecutionError> {
        cast_to(Arc::new(Float64Array::from(results)), data_type)
    }
}

impl Write for String {
    fn write(results: Vec<Option<String>>, data_type: &DataType) -> Result<ArrayRef, ExecutionError> {
        cast_to(Arc::new(StringArray::from(results)), data_type)
    }
}

fn cast_to(column: ArrayRef, data_type: &DataType) -> Result<ArrayRef, ExecutionError> {
    if column.data_type() == data_type {
        Ok(column)
    } else {
        cast(&column, data_type).map_err(over_error)
    }
}

/// A one for every row that counts.
fn presence(column: Option<&ArrayRef>, rows: usize) -> Result<Vec<Option<i128>>, ExecutionError> {
    Ok(match column {
        Some(column) => (0..rows).map(|row| column.is_valid(row).then_some(1)).collect(),
        None => vec![Some(1); rows],
    })
}

fn integers(column: Option<&ArrayRef>, _rows: usize) -> Result<Vec<Option<i128>>, ExecutionError> {
    let column = column.expect("invariant: the call has an argument");
    if matches!(column.data_type(), DataType::Decimal128(..)) {
        return Ok(column.as_primitive::<Decimal128Type>().iter().collect());
    }
    let wide = cast_to(column.clone(), &DataType::Int64)?;
    Ok(wide
        .as_primitive::<Int64Type>()
        .iter()
        .map(|value| value.map(i128::from))
        .collect())
}

fn floats(column: Option<&ArrayRef>, _rows: usize) -> Result<Vec<Option<f64>>, ExecutionError> {
    let column = column.expect("invariant: the call has an argument");
    let wide = cast_to(column.clone(), &DataType::Float64)?;
    Ok(wide.as_primitive::<Float64Type>().iter().collect())
}

fn texts(column: Option<&ArrayRef>, _rows: usize) -> Result<Vec<Option<String>>, ExecutionError> {
    let column = column.expect("invariant: the call has an argument");
    Ok(column
        .as_string::<i32>()
        .iter()
        .map(|value| value.map(str::to_string))
        .collect())
}
