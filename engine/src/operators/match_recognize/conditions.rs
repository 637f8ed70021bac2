//! DEFINE: which rows may be taken for a variable.
//!
//! Conditions that look at nothing but the row and those before it are computed for whole batches as rows come;
//! the others are asked row by row, of a match under way, and only where the former hold.
//!
//! **Invariant.** A condition that is NULL does not hold.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use crate::error::ExecutionError;
use crate::operators::match_recognize::match_error;
use crate::operators::match_recognize::values::{MatchAggregate, MatchRows};
use crate::operators::over_aggregate::running::RunningAggregate;
use crate::plan::MatchSpec;
use crate::plan::match_spec::{MatchCondition, MatchValue, RowReference};
use crate::state::row_store::{RowId, RowStore};

/// All conditions of a pattern.
pub(super) struct Conditions {
    of_rows: Vec<RowCondition>,
    /// By variable.
    of_matches: Vec<Vec<UnderWay>>,
}

/// A condition of a row alone: over columns of the row and of rows before it.
struct RowCondition {
    variable: usize,
    references: Vec<RowReference>,
    predicate: Predicate,
}

/// A condition of a row in a match under way.
struct UnderWay {
    values: Vec<Value>,
    predicate: Predicate,
}

enum Value {
    Row(RowReference),
    Aggregate(MatchAggregate),
}

struct Predicate {
    schema: SchemaRef,
    expression: Arc<dyn PhysicalExpr>,
}

impl Predicate {
    fn new(condition: &MatchCondition, input: &Schema) -> Predicate {
        let field = |value: &MatchValue| {
            let data_type = match value {
                MatchValue::Row(row) => input.field(row.column).data_type(),
                MatchValue::Aggregate { call, .. } => call.output.data_type(),
            };
            Field::new("value", data_type.clone(), true)
        };
        let fields: Vec<Field> = condition.values.iter().map(field).collect();
        Predicate {
            schema: Arc::new(Schema::new(fields)),
            expression: condition.predicate.clone(),
        }
    }

    /// Calls `fails` with every row for which it is not true.
    fn check(
        &self,
        columns: Vec<ArrayRef>,
        rows: usize,
        mut fails: impl FnMut(usize),
    ) -> Result<(), ExecutionError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        let answer = self
            .expression
            .evaluate(&batch.map_err(match_error)?)
            .map_err(match_error)?;
        let answer = answer.into_array(rows).map_err(match_error)?;
        // The condition NULL has no type of its own.
        let Some(answer) = answer.as_boolean_opt() else {
            (0..rows).for_each(fails);
            return Ok(());
        };
        for row in 0..rows {
            if answer.is_null(row) || !answer.value(row) {
                fails(row);
            }
        }
        Ok(())
    }
}

impl Conditions {
    pub fn new(spec: &MatchSpec, input: &Schema) -> Conditions {
        let mut of_rows = Vec::new();
        let mut of_matches: Vec<Vec<UnderWay>> = spec.variables.iter().map(|_| Vec::new()).collect();
        for condition in &spec.conditions {
            let predicate = Predicate::new(condition, input);
            if condition.is_of_the_row() {
                let reference = |value: &MatchValue| match value {
                    MatchValue::Row(row) => *row,
                    MatchValue::Aggregate { .. } => unreachable!("invariant: aggregates are of a match"),
                };
                of_rows.push(RowCondition {
                    variable: condition.variable,
                    references: condition.values.iter().map(reference).collect(),
                    predicate,
                });
                continue;
            }
            let value = |value: &MatchValue| match value {
                MatchValue::Row(row) => Value::Row(*row),
                MatchValue::Aggregate { variable, call } => {
                    Value::Aggregate(MatchAggregate::new(*variable, RunningAggregate::new(call, input)))
                }
            };
            of_matches[condition.variable].push(UnderWay {
                values: condition.values.iter().map(value).collect(),
                predicate,
            });
        }
        Conditions { of_rows, of_matches }
    }

    /// How far conditions of rows alone look back, each distance once.
    pub fn distances(&self) -> Vec<usize> {
        let references = self.of_rows.iter().flat_map(|condition| &condition.references);
        let mut distances: Vec<usize> = references.map(|row| row.back).filter(|&back| back > 0).collect();
        distances.sort_unstable();
        distances.dedup();
        distances
    }

    /// By row of `rows`: the variables whose conditions of rows alone hold; `before` gives the rows at each distance.
    pub fn variables_of(
        &self,
        rows: &RecordBatch,
        before: &[(usize, Vec<RowId>)],
        store: &RowStore,
    ) -> Result<Vec<u64>, ExecutionError> {
        let mut variables = vec![u64::MAX; rows.num_rows()];
        for condition in &self.of_rows {
            let column = |row: &RowReference| match before.iter().find(|(distance, _)| *distance == row.back)
            {
                None => Ok(rows.column(row.column).clone()),
                Some((_, ids)) => store.gather_column(row.column, ids),
            };
            let columns = condition
                .references
                .iter()
                .map(column)
                .collect::<Result<Vec<_>, _>>()?;
            let bit = !(1 << condition.variable);
            condition
                .predicate
                .check(columns, rows.num_rows(), |row| variables[row] &= bit)?;
        }
        Ok(variables)
    }

    /// Whether the other conditions of `variable` hold for the row that `rows` looks at.
    pub fn hold(
        &mut self,
        variable: usize,
        rows: MatchRows<'_>,
        store: &RowStore,
    ) -> Result<bool, ExecutionError> {
        for condition in &mut self.of_matches[variable] {
            let mut columns = Vec::with_capacity(condition.values.len());
            for value in &mut condition.values {
                columns.push(match value {
                    Value::Row(reference) => store.gather_column(reference.column, &[rows.row(reference)])?,
                    Value::Aggregate(aggregate) => aggregate.value(rows, store)?,
                });
            }
            let mut holds = true;
            condition.predicate.check(columns, 1, |_| holds = false)?;
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Rows may have got other numbers.
    pub fn forget_rows(&mut self) {
        for value in self
            .of_matches
            .iter_mut()
            .flatten()
            .flat_map(|condition| &mut condition.values)
        {
            if let Value::Aggregate(aggregate) = value {
                aggregate.forget();
            }
        }
    }
}
