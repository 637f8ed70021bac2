//! INSERT INTO: the query's columns fitted to the sink's, by position or by name.
//!
//! Store assignment as in Flink: numbers widen, anything may be written as itself, NULL stands for
//! columns not named; whatever could lose data needs a CAST that the user writes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};

use crate::error::SqlError;
use crate::plan::explain::sql_type;
use crate::sql::catalog::{Catalog, TableDefinition};
use crate::sql::statement::Name;
use crate::sql::suggest;

impl Catalog {
    /// The sink table, and `plan` with exactly its columns.
    pub fn check_insert(
        &self,
        table: &Name,
        columns: &[Name],
        plan: LogicalPlan,
    ) -> Result<(Arc<TableDefinition>, LogicalPlan), SqlError> {
        let Some(definition) = self.tables.get(&table.value) else {
            let error = SqlError::new(format!("table `{}` not found", table.value)).at(table.position);
            return Err(match self.views.contains_key(&table.value) {
                true => error.hint("it is a view, and views cannot be written to"),
                false => error.hint(suggest::hint(&table.value, self.tables.keys(), "tables so far:")),
            });
        };
        let sink = definition.sink_schema();
        let sources = match columns {
            [] => positional(definition, &sink, table, &plan)?,
            columns => named(definition, &sink, columns, &plan)?,
        };
        let fitted = sink
            .fields()
            .iter()
            .zip(sources)
            .map(|(field, source)| {
                let Some(source) = source else {
                    let null = ScalarValue::try_from(field.data_type())
                        .map_err(|error| SqlError::new(error.strip_backtrace().to_string()))?;
                    return Ok(Expr::Literal(null, None).alias(field.name()));
                };
                let found = plan.schema().field(source).data_type();
                let column = Expr::Column(plan.schema().columns().swap_remove(source));
                match (found == field.data_type(), assignable(found, field.data_type())) {
                    (true, _) => Ok(column.alias(field.name())),
                    (false, true) => Ok(cast(column, field.data_type().clone()).alias(field.name())),
                    (false, false) => Err(SqlError::new(format!(
                        "column `{}` of `{}` is {}, and the query gives {}",
                        field.name(),
                        definition.name,
                        sql_type(field.data_type()),
                        sql_type(found)
                    ))
                    .hint(format!(
                        "write CAST(… AS {}) in the query",
                        sql_type(field.data_type())
                    ))
                    .at(table.position)),
                }
            })
            .collect::<Result<Vec<Expr>, SqlError>>()?;
        let same = fitted.iter().zip(plan.schema().columns()).all(|(expression, column)| {
            matches!(expression, Expr::Alias(alias) if alias.expr.as_ref() == &Expr::Column(column.clone()))
        });
        if same && fitted.len() == plan.schema().fields().len() {
            return Ok((definition.clone(), plan));
        }
        let fitted = LogicalPlanBuilder::from(plan)
            .project(fitted)
            .and_then(|builder| builder.build());
        let fitted = fitted.map_err(|error| SqlError::new(error.strip_backtrace().to_string()))?;
        Ok((definition.clone(), fitted))
    }
}

fn positional(
    table: &TableDefinition,
    sink: &Schema,
    name: &Name,
    plan: &LogicalPlan,
) -> Result<Vec<Option<usize>>, SqlError> {
    let (wanted, found) = (sink.fields().len(), plan.schema().fields().len());
    if wanted != found {
        return Err(SqlError::new(format!(
            "`{}` has {wanted} columns, and the query gives {found}",
            table.name
        ))
        .hint("name the columns that are written: INSERT INTO t (a, b) SELECT …")
        .at(name.position));
    }
    Ok((0..found).map(Some).collect())
}

fn named(
    table: &TableDefinition,
    sink: &Schema,
    columns: &[Name],
    plan: &LogicalPlan,
) -> Result<Vec<Option<usize>>, SqlError> {
    let found = plan.schema().fields().len();
    if columns.len() != found {
        return Err(SqlError::new(format!(
            "{} columns are named, and the query gives {found}",
            columns.len()
        ))
        .at(columns[0].position));
    }
    let mut sources = vec![None; sink.fields().len()];
    for (source, column) in columns.iter().enumerate() {
        let Ok(index) = sink.index_of(&column.value) else {
            let names: Vec<&String> = sink.fields().iter().map(|field| field.name()).collect();
            return Err(SqlError::new(format!(
                "`{}` has no column `{}` to write",
                table.name, column.value
            ))
            .hint(suggest::hint(&column.value, names, "columns:"))
            .at(column.position));
        };
        if sources[index].replace(source).is_some() {
            return Err(
                SqlError::new(format!("column `{}` is named twice", column.value)).at(column.position)
            );
        }
    }
    let missing = sink
        .fields()
        .iter()
        .zip(&sources)
        .find(|(field, source)| source.is_none() && !field.is_nullable());
    match missing {
        Some((field, _)) => Err(SqlError::new(format!(
            "column `{}` is NOT NULL and must be written",
            field.name()
        ))
        .at(columns[0].position)),
        None => Ok(sources),
    }
}

/// Whether a value of type `from` may be written to a column of type `to` without a CAST. As in Flink all
/// numbers fit each other but for floats into whole numbers; one that is too large for its column stops the
/// job.
fn assignable(from: &DataType, to: &DataType) -> bool {
    let is_float = |data_type: &DataType| matches!(data_type, DataType::Float32 | DataType::Float64);
    let is_exact =
        |data_type: &DataType| data_type.is_signed_integer() || matches!(data_type, DataType::Decimal128(..));
    match (from, to) {
        (DataType::Null, _) => true,
        // TIMESTAMP is TIMESTAMP_LTZ in the time zone of the job, which is UTC.
        (DataType::Timestamp(_, from), DataType::Timestamp(_, to)) => from.is_none() || to.is_some(),
        (DataType::List(from), DataType::List(to)) => fits(from, to),
        (DataType::Struct(from), DataType::Struct(to)) => {
            from.len() == to.len() && from.iter().zip(to).all(|(from, to)| fits(from, to))
        }
        (DataType::Utf8View | DataType::LargeUtf8, DataType::Utf8) => true,
        (DataType::Float64, DataType::Float32) => false,
        (DataType::Decimal128(..), to) if to.is_signed_integer() => false,
        (from, to) => (is_exact(from) && (is_exact(to) || is_float(to))) || (is_float(from) && is_float(to)),
    }
}

/// The same for an element or a field of a nested type.
fn fits(from: &Field, to: &Field) -> bool {
    from.data_type() == to.data_type() || assignable(from.data_type(), to.data_type())
}
