//! `TUMBLE_START(…)`, `HOP_END(…)`, `_window_start` and their like → the columns of the window TVF.
//!
//! Used by `group_windows` while it moves a SELECT's window into FROM.
//!
//! **Invariant.** A function that does not repeat the query's own window is an error.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, SelectItem, VisitorMut};

use crate::error::SqlError;
use crate::sql::group_windows::{GroupWindow, call_of, placed};
use crate::sql::position::ident_position;
use crate::sql::walk::walk_mut;

/// Replaces `TUMBLE_START(…)` and its like by the columns of the TVF.
pub(crate) struct WindowColumns<'a> {
    /// The query's window.
    pub window: &'a GroupWindow,
    /// Whether a ROWTIME function was met: then the window's time is grouped by as well.
    pub uses_rowtime: bool,
}

impl WindowColumns<'_> {
    /// Rewrites one item of the select list.
    pub fn rewrite_item(&mut self, item: &mut SelectItem) -> Result<(), SqlError> {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let written = match expr {
                    Expr::Identifier(ident) => Some(ident.clone()),
                    _ => None,
                };
                self.rewrite(expr)?;
                // `_window_start` keeps the name that the user wrote.
                if let (Some(alias), Expr::Identifier(now)) = (written, &*expr)
                    && alias.value != now.value
                {
                    *item = SelectItem::ExprWithAlias {
                        expr: expr.clone(),
                        alias,
                    };
                }
                Ok(())
            }
            SelectItem::ExprWithAlias { expr, .. } | SelectItem::ExprWithAliases { expr, .. } => {
                self.rewrite(expr)
            }
            SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => Ok(()),
        }
    }

    /// Rewrites an expression of the query.
    pub fn rewrite(&mut self, expr: &mut Expr) -> Result<(), SqlError> {
        match walk_mut(expr, self) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// The TVF's column that `expr` means.
    fn column_for(&mut self, expr: &Expr) -> Result<Option<Ident>, SqlError> {
        if let Expr::Identifier(ident) = expr {
            let column = match ident.value.as_str() {
                "_window_start" if self.window.is_sugar => "window_start",
                "_window_end" if self.window.is_sugar => "window_end",
                _ => return Ok(None),
            };
            return Ok(Some(placed(column, ident)));
        }
        let Some((name, arguments)) = call_of(expr) else {
            return Ok(None);
        };
        let upper = name.value.to_ascii_uppercase();
        let Some((family, part)) = upper.rsplit_once('_') else {
            return Ok(None);
        };
        let column = match part {
            "START" => "window_start",
            "END" => "window_end",
            "ROWTIME" => "window_time",
            "PROCTIME" if matches!(family, "TUMBLE" | "HOP" | "SESSION") => {
                return Err(SqlError::new("processing-time windows are not supported yet")
                    .at(ident_position(name))
                    .hint(format!("use {family}_ROWTIME")));
            }
            _ => return Ok(None),
        };
        let belongs = match family {
            "TUMBLE" | "HOP" | "SESSION" => self.window.is_sugar || family == self.window.function.value,
            "WINDOW" => self.window.is_sugar,
            _ => return Ok(None),
        };
        let repeats = arguments.iter().copied().eq(self.window.arguments.iter());
        if !belongs || !(repeats || (self.window.is_sugar && arguments.is_empty())) {
            return Err(
                SqlError::new(format!("{name} does not repeat the query's window"))
                    .at(ident_position(name))
                    .hint("give it the same arguments as the window in GROUP BY"),
            );
        }
        self.uses_rowtime |= part == "ROWTIME";
        Ok(Some(placed(column, name)))
    }
}

impl VisitorMut for WindowColumns<'_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match self.column_for(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(column)) => {
                *expr = Expr::Identifier(column);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}
