//! The relation hook: window TVFs become [`WindowTvf`] nodes.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Column, Result};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Extension, LogicalPlan};
use sqlparser::ast::{Ident, TableFactor};

use crate::error::{Position, SqlError};
use crate::plan::window_tvf::{WINDOW_COLUMNS, WindowTvf};
use crate::sql::position::ident_position;
use crate::sql::query::errors::external;
use crate::sql::query::tables::event_time_column;
use crate::sql::suggest;
use crate::sql::window_call::{WindowCall, window_call};

/// Plans window TVFs.
#[derive(Debug)]
pub(crate) struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some(call) = window_call(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let WindowCall {
            kind,
            offset_us,
            data,
            time_column,
            partition,
            alias,
            position,
        } = call.map_err(external)?;
        let input = context.plan(data)?;
        let column = match time_column {
            Some(ident) => time_column_named(&input, &ident).map_err(external)?,
            None => event_time_column(&input).ok_or_else(|| external(no_event_time(position)))?,
        };
        if let Some(taken) = WINDOW_COLUMNS
            .iter()
            .find(|name| input.schema().has_column_with_unqualified_name(name))
        {
            return Err(external(
                SqlError::new(format!(
                    "the relation of this window has a column `{taken}` already"
                ))
                .hint("select the columns that are needed, without it, in a sub-query")
                .at(position),
            ));
        }
        let partition = partition
            .iter()
            .map(|ident| column_named(&input, ident).map_err(external))
            .collect::<Result<Vec<Column>>>()?;
        let tvf = WindowTvf::try_new(input, column, kind, offset_us, partition, position)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(tvf) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

/// The column of that name.
fn column_named(input: &LogicalPlan, ident: &Ident) -> Result<Column, SqlError> {
    let schema = input.schema();
    let mut columns = schema.columns().into_iter();
    columns.find(|column| column.name == ident.value).ok_or_else(|| {
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        SqlError::new(format!("column `{}` not found", ident.value))
            .hint(suggest::hint(&ident.value, names, "columns:"))
            .at(ident_position(ident))
    })
}

/// The column that `DESCRIPTOR(ident)` names.
fn time_column_named(input: &LogicalPlan, ident: &Ident) -> Result<Column, SqlError> {
    let position = ident_position(ident);
    let schema = input.schema();
    let column = column_named(input, ident)?;
    let index = schema
        .index_of_column(&column)
        .expect("invariant: the column was found in the schema");
    match schema.field(index).data_type() {
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond, _) => {
            Ok(column)
        }
        other => Err(SqlError::new(format!(
            "a window needs a time column, and `{}` is {}",
            ident.value,
            crate::plan::explain::sql_type(other)
        ))
        .hint("use a TIMESTAMP(3) or TIMESTAMP_LTZ(3) column declared with WATERMARK FOR")
        .at(position)),
    }
}

fn no_event_time(position: Position) -> SqlError {
    SqlError::new("a window needs an event-time column, and this relation has none")
        .hint("declare WATERMARK FOR a time column in CREATE TABLE")
        .at(position)
}
