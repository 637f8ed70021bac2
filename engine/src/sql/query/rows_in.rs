//! `(a, b) IN (SELECT x, y …)` → `EXISTS (SELECT * FROM (SELECT x, y …) WHERE x = a AND y = b)`: DataFusion compares one
//! column alone.
//!
//! **Invariant.** Where a condition keeps rows the two are the same; their difference, FALSE instead of NULL, shows only
//! below a NOT: `NOT IN` is refused.

use sqlparser::ast::{BinaryOperator, Expr, Ident, SetExpr, TableAlias, TableAliasColumnDef, TableFactor};

use crate::error::SqlError;
use crate::sql::position::position_of;
use crate::sql::window_call::select_all_from;

/// The condition, if `expr` is IN over several columns.
pub(super) fn lower(expr: &Expr) -> Result<Option<Expr>, SqlError> {
    let Expr::InSubquery {
        expr: row,
        subquery,
        negated,
    } = expr
    else {
        return Ok(None);
    };
    let Expr::Tuple(parts) = row.as_ref() else {
        return Ok(None);
    };
    if *negated {
        return Err(SqlError::new("NOT IN over several columns is not supported")
            .at(position_of(expr))
            .hint("write NOT EXISTS (SELECT 1 FROM … WHERE x = a AND y = b)"));
    }
    let name = |number: usize| Ident::with_quote('`', format!("$in {number}"));
    let columns = (0..parts.len()).map(|number| TableAliasColumnDef {
        name: name(number),
        data_type: None,
    });
    let alias = TableAlias {
        explicit: true,
        name: Ident::with_quote('`', "$in"),
        columns: columns.collect(),
        at: None,
    };
    let mut query = select_all_from(TableFactor::Derived {
        lateral: false,
        subquery: subquery.clone(),
        alias: Some(alias),
        sample: None,
    });
    let equal = |(number, part): (usize, &Expr)| Expr::BinaryOp {
        left: Box::new(Expr::Identifier(name(number))),
        op: BinaryOperator::Eq,
        right: Box::new(part.clone()),
    };
    let condition = parts
        .iter()
        .enumerate()
        .map(equal)
        .reduce(|left, right| Expr::BinaryOp {
            left: Box::new(left),
            op: BinaryOperator::And,
            right: Box::new(right),
        });
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.selection = condition;
    }
    Ok(Some(Expr::Exists {
        subquery: Box::new(query),
        negated: false,
    }))
}
