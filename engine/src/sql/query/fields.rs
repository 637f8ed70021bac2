//! Where a field of a column is read that has none: the planner says what the column is, and not which.
//!
//! **Invariant.** What is blamed begins with no name of a relation: `t.x` is a column, and `x.y` a field of one.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, ObjectName, Query, TableFactor, Visit, Visitor};

use crate::error::SqlError;
use crate::sql::position::position_of;
use crate::sql::walk::walk;

/// The error at the first field of a column in `syntax`; the column is a `found`.
pub(super) fn missing(found: &str, syntax: &impl Visit) -> Option<SqlError> {
    let mut relations = Relations::default();
    let ControlFlow::Continue(()) = walk(syntax, &mut relations);
    match walk(syntax, &mut FirstField(&relations)) {
        ControlFlow::Break((place, column, field)) => Some(
            SqlError::new(format!("`{column}` is {found} and has no field `{field}`"))
                .at(place)
                .hint("only a ROW has fields; a table or alias that is not in FROM cannot be named"),
        ),
        ControlFlow::Continue(()) => None,
    }
}

/// Names that columns may stand behind.
#[derive(Default)]
struct Relations(BTreeSet<String>);

impl Visitor for Relations {
    type Break = std::convert::Infallible;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<std::convert::Infallible> {
        self.0.extend(
            relation
                .0
                .last()
                .and_then(|part| part.as_ident())
                .map(|ident| ident.value.clone()),
        );
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<std::convert::Infallible> {
        let alias = match factor {
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::MatchRecognize { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
            _ => None,
        };
        self.0.extend(alias.map(|alias| alias.name.value.clone()));
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<std::convert::Infallible> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.0.extend(tables.map(|table| table.alias.name.value.clone()));
        ControlFlow::Continue(())
    }
}

struct FirstField<'r>(&'r Relations);

impl Visitor for FirstField<'_> {
    type Break = (crate::error::Position, String, String);

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        let Expr::CompoundIdentifier(names) = expr else {
            return ControlFlow::Continue(());
        };
        let is_relation = |ident: &Ident| self.0.0.contains(&ident.value);
        match names.as_slice() {
            [table, column, field, ..] if is_relation(table) => {
                ControlFlow::Break((position_of(expr), column.value.clone(), field.value.clone()))
            }
            [column, field, ..] if !is_relation(column) => {
                ControlFlow::Break((position_of(expr), column.value.clone(), field.value.clone()))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
