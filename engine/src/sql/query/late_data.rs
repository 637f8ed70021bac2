//! `LATE DATA TO` in the logical plan: the window TVF is marked before the optimizer could drop columns that only
//! the late rows need, and the late rows become a query of their own.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder};

use crate::error::SqlError;
use crate::plan::builder::SinkQuery;
use crate::plan::lower_late::LateInput;
use crate::plan::window_tvf::{LateClauseId, WindowTvf};
use crate::sql::catalog::Catalog;
use crate::sql::places::Places;
use crate::sql::query::errors::external;
use crate::sql::statement::{Emit, LateData};
use crate::sql::suggest;

/// Marks the one window of `plan` as that of the clause.
pub(crate) fn mark(plan: LogicalPlan, late: Option<&LateData>) -> Result<LogicalPlan> {
    let Some(late) = late else {
        return Ok(plan);
    };
    let mut windows = 0;
    let marked = plan.transform_up_with_subqueries(|node| {
        let Some(tvf) = window_of(&node) else {
            return Ok(Transformed::no(node));
        };
        windows += 1;
        let tvf = tvf.clone().with_late(Some(id_of(late)));
        Ok(Transformed::yes(LogicalPlan::Extension(Extension {
            node: Arc::new(tvf),
        })))
    })?;
    match windows {
        1 => Ok(marked.data),
        0 => Err(external(
            SqlError::new("LATE DATA TO belongs to a query with a window, and this one has none")
                .hint("only rows that come when their window is complete are late")
                .at(late.position),
        )),
        count => Err(external(
            SqlError::new(format!(
                "LATE DATA TO cannot tell which of {count} windows it means"
            ))
            .hint("put it behind a statement that has one window")
            .at(late.position),
        )),
    }
}

impl Catalog {
    /// The query that writes the rows which are late for the marked window of `plan`.
    pub(crate) fn late_query(
        &self,
        late: &LateData,
        plan: &LogicalPlan,
        state_ttl: &[(String, u64)],
    ) -> Result<SinkQuery, SqlError> {
        let input = late_input(late, plan).map_err(|error| error.at(late.position))?;
        if !self.tables.contains_key(&late.table.value) {
            // Says what tables there are.
            self.check_insert(&late.table, &[], input.clone())?;
        }
        let width = self.tables[&late.table.value].sink_schema().fields().len();
        let found = input.schema().fields().len();
        if late.columns.is_empty() && width != found {
            let names: Vec<&str> = input
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            return Err(SqlError::new(format!(
                "`{}` has {width} columns, and rows of the window have {found}: {}",
                late.table.value,
                names.join(", ")
            ))
            .hint(format!(
                "name those that are written: LATE DATA TO {} (a, b)",
                late.table.value
            ))
            .at(late.table.position));
        }
        let (table, plan) = self.check_insert(&late.table, &late.columns, input)?;
        Ok(SinkQuery {
            plan,
            emit: Emit::Default,
            timeout_us: None,
            state_ttl: state_ttl.to_vec(),
            table: Some(table),
            late: None,
            position: late.position,
            places: Places::default(),
        })
    }
}

/// The late rows, with the columns that the clause names.
fn late_input(late: &LateData, plan: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let mut schema: Option<DFSchema> = None;
    plan.apply(|node| {
        if let Some(tvf) = window_of(node).filter(|tvf| tvf.late.is_some()) {
            schema = Some(tvf.input.schema().as_ref().clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|error| SqlError::new(error.strip_backtrace().to_string()))?;
    let schema = schema.ok_or_else(|| SqlError::new("LATE DATA TO has lost its window"))?;
    let columns = late.columns.iter().map(|name| {
        let mut known = schema.columns().into_iter();
        known.find(|column| column.name == name.value).ok_or_else(|| {
            let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
            SqlError::new(format!("rows of the window have no column `{}`", name.value))
                .hint(suggest::hint(&name.value, names, "columns:"))
                .at(name.position)
        })
    });
    let columns: Vec<Column> = columns.collect::<Result<_, SqlError>>()?;
    let input = LogicalPlan::Extension(Extension {
        node: Arc::new(LateInput {
            clause: id_of(late),
            schema: Arc::new(schema),
        }),
    });
    if columns.is_empty() {
        return Ok(input);
    }
    LogicalPlanBuilder::from(input)
        .project(columns.into_iter().map(Expr::Column))
        .and_then(|builder| builder.build())
        .map_err(|error| SqlError::new(error.strip_backtrace().to_string()))
}

fn window_of(plan: &LogicalPlan) -> Option<&WindowTvf> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

fn id_of(late: &LateData) -> LateClauseId {
    (late.position.line, late.position.column)
}
