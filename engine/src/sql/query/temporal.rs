//! `JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON …` → `JOIN rates AS r ON … AND $as_of(o.ts, r.ts)`, on the
//! syntax tree: DataFusion's planner would pass the version over in silence.
//!
//! The marker names a column of either side, so that the optimizer can neither move it below the join nor
//! drop the columns; the stream plan takes it out of the condition again (`plan::lower_temporal`).

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, TableFactor,
    TableVersion, VisitorMut,
};

use crate::error::SqlError;
use crate::functions::temporal::AS_OF;
use crate::sql::catalog::Catalog;
use crate::sql::position::position_of;
use crate::sql::query::tables::event_time_column;
use crate::sql::walk::walk_mut;

/// Lowers every temporal join of `query`.
pub(crate) fn lower(query: &mut Query, catalog: &Catalog) -> Result<(), SqlError> {
    match walk_mut(query, &mut Lowering { catalog }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Lowering<'a> {
    catalog: &'a Catalog,
}

impl VisitorMut for Lowering<'_> {
    type Break = SqlError;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        for from in &mut select.from {
            if let Some(error) = refuse_version(&from.relation) {
                return ControlFlow::Break(error);
            }
            for join in &mut from.joins {
                if let Err(error) = self.lower_join(join) {
                    return ControlFlow::Break(error);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

fn refuse_version(relation: &TableFactor) -> Option<SqlError> {
    match relation {
        TableFactor::Table { version: Some(_), .. } => Some(
            SqlError::new("FOR SYSTEM_TIME AS OF stands behind the table that is joined")
                .at(position_of(relation))
                .hint("write FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency"),
        ),
        _ => None,
    }
}

impl Lowering<'_> {
    fn lower_join(&self, join: &mut Join) -> Result<(), SqlError> {
        let place = position_of(&join.relation);
        let TableFactor::Table {
            name, alias, version, ..
        } = &mut join.relation
        else {
            return Ok(());
        };
        let time = match version.take() {
            Some(TableVersion::ForSystemTimeAsOf(time)) => time,
            other => {
                *version = other;
                return Ok(());
            }
        };
        let Some(ObjectNamePart::Identifier(table)) = name.0.last() else {
            return Ok(());
        };
        let qualifier = alias
            .as_ref()
            .map_or_else(|| table.clone(), |alias| alias.name.clone());
        let Some(column) = self.time_or_first_column(&table.value) else {
            // The planner says that there is no such table.
            return Ok(());
        };
        let marker = marker(
            time,
            Expr::CompoundIdentifier(vec![qualifier, Ident::with_quote('`', column)]),
        );
        let constraint = match &mut join.join_operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::Left(constraint)
            | JoinOperator::LeftOuter(constraint) => constraint,
            _ => {
                return Err(SqlError::new("FOR SYSTEM_TIME AS OF is for inner and left joins")
                    .at(place)
                    .hint("write [LEFT] JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON …"));
            }
        };
        let JoinConstraint::On(condition) = constraint else {
            return Err(SqlError::new("a temporal join needs ON with an equality of keys")
                .at(place)
                .hint("write … AS r ON o.currency = r.currency"));
        };
        let keys = Expr::Nested(Box::new(condition.clone()));
        *condition = Expr::BinaryOp {
            left: Box::new(keys),
            op: BinaryOperator::And,
            right: Box::new(marker),
        };
        Ok(())
    }

    /// A column of the table: its event time, if it has one.
    fn time_or_first_column(&self, table: &str) -> Option<String> {
        if let Some(table) = self.catalog.tables.get(table) {
            let column = table.watermark.as_ref().map_or(0, |watermark| watermark.column);
            return Some(table.columns.get(column)?.field.name().clone());
        }
        let view = self.catalog.views.get(table)?;
        let time = event_time_column(&view.plan).map(|column| column.name);
        time.or_else(|| Some(view.plan.schema().fields().first()?.name().clone()))
    }
}

fn marker(time: Expr, version: Expr) -> Expr {
    let argument = |expression| FunctionArg::Unnamed(FunctionArgExpr::Expr(expression));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(AS_OF)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument(time), argument(version)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
