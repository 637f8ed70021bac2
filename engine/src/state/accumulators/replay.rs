//! Aggregates that cannot take a value back by themselves: the values are kept, in order of arrival, and
//! aggregated anew where a result is asked for.
//!
//! DataFusion's sliding accumulators serve OVER frames, where values leave in the order in which they came;
//! some of them rely on it (ARRAY_AGG, MIN). In a changelog any value may be taken back, so only those are
//! used that go by the value.
//!
//! **Invariant.** `rows` are the values added and not taken back; of equal ones the oldest goes first.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::Accumulator;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

/// Aggregates whose sliding accumulator takes back any value, not just the oldest.
const BY_VALUE: [&str; 19] = [
    "sum",
    "avg",
    "count",
    "stddev",
    "stddev_pop",
    "var",
    "var_pop",
    "covar_samp",
    "covar_pop",
    "corr",
    "bit_xor",
    "median",
    "percentile_cont",
    "regr_slope",
    "regr_intercept",
    "regr_count",
    "regr_avgx",
    "regr_avgy",
    "regr_sxy",
];

/// A fresh accumulator of `function` that can take values back.
pub(crate) fn retractable(function: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn Accumulator>> {
    if takes_back_by_value(function) {
        return function.create_sliding_accumulator();
    }
    Ok(Box::new(Replay {
        function: function.clone(),
        rows: VecDeque::new(),
        bytes: 0,
    }))
}

/// The values of one group.
#[derive(Debug)]
struct Replay {
    function: Arc<AggregateFunctionExpr>,
    rows: VecDeque<Vec<ScalarValue>>,
    bytes: usize,
}

impl Accumulator for Replay {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in rows(values)? {
            self.bytes += bytes(&row);
            self.rows.push_back(row);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in rows(values)? {
            // A value that never came cannot be taken back.
            if let Some(place) = self.rows.iter().position(|known| *known == row) {
                self.rows.remove(place);
                self.bytes -= bytes(&row);
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut accumulator = self.function.create_accumulator()?;
        if let Some(columns) = self.columns()? {
            accumulator.update_batch(&columns)?;
        }
        accumulator.evaluate()
    }

    fn size(&self) -> usize {
        size_of::<Replay>() + self.bytes
    }

    /// The values, for a snapshot: values that may be taken back are not aggregated in two phases.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let Some(columns) = self.columns()? else {
            return Ok(vec![ScalarValue::Binary(Some(Vec::new()))]);
        };
        let field = |column: &ArrayRef| Field::new("", column.data_type().clone(), true);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let rows = RecordBatch::try_new(schema.clone(), columns)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&rows)?;
        Ok(vec![ScalarValue::Binary(Some(writer.into_inner()?))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            if bytes.is_empty() {
                continue;
            }
            for batch in StreamReader::try_new(bytes, None)? {
                self.update_batch(batch?.columns())?;
            }
        }
        Ok(())
    }
}

impl Replay {
    /// The values by column; `None` without any.
    fn columns(&self) -> Result<Option<Vec<ArrayRef>>> {
        let Some(first) = self.rows.front() else {
            return Ok(None);
        };
        let column =
            |column: usize| ScalarValue::iter_to_array(self.rows.iter().map(|row| row[column].clone()));
        (0..first.len()).map(column).collect::<Result<Vec<_>>>().map(Some)
    }
}

/// The columns of the state that an accumulator of `function` has in a snapshot.
pub(crate) fn state_fields(function: &Arc<AggregateFunctionExpr>, retracts: bool) -> Result<Vec<FieldRef>> {
    match retracts && !takes_back_by_value(function) {
        true => Ok(vec![Arc::new(Field::new("values", DataType::Binary, false))]),
        false => function.state_fields(),
    }
}

fn takes_back_by_value(function: &Arc<AggregateFunctionExpr>) -> bool {
    BY_VALUE.contains(&function.fun().name()) && function.create_sliding_accumulator().is_ok()
}

fn rows(values: &[ArrayRef]) -> Result<Vec<Vec<ScalarValue>>> {
    let count = values.first().map_or(0, |column| column.len());
    let row = |row: usize| -> Result<Vec<ScalarValue>> {
        let cells = values
            .iter()
            .map(|column| ScalarValue::try_from_array(column, row));
        cells.collect()
    };
    (0..count).map(row).collect()
}

fn bytes(row: &[ScalarValue]) -> usize {
    row.iter().map(ScalarValue::size).sum::<usize>() + size_of::<Vec<ScalarValue>>()
}
