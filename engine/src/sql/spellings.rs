//! Flink's own spellings of expressions, respelled as the query planner reads them.
//!
//! `FLOOR(ts TO HOUR)` → `floor_time('HOUR', ts)`, CEIL alike; the unit of `TIMESTAMPDIFF(DAY, …)` and
//! `TIMESTAMPADD(DAY, …)` → a text; intervals over several units → one unit (see `interval`).
//!
//! **Invariant.** Only spelling changes, never the meaning; an unknown unit is an error.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, Value, VisitorMut,
};

use crate::error::SqlError;
use crate::sql::interval::normalise_interval;
use crate::sql::position::{ident_position, position_of};
use crate::sql::walk::walk_mut;

/// [`respell`] for every expression inside `expression`.
pub(crate) fn respell_all(expression: &mut Expr) -> Result<(), SqlError> {
    match walk_mut(expression, &mut Respelling) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Respelling;

impl VisitorMut for Respelling {
    type Break = SqlError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match respell(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Respells one expression, its parts aside.
pub(crate) fn respell(expr: &mut Expr) -> Result<(), SqlError> {
    match expr {
        Expr::Interval(_) => normalise_interval(expr),
        Expr::Floor {
            expr: inner,
            field: CeilFloorKind::DateTimeField(field),
        } if *field != DateTimeField::NoDateTime => {
            *expr = rounding("floor_time", field, inner)?;
            Ok(())
        }
        Expr::Ceil {
            expr: inner,
            field: CeilFloorKind::DateTimeField(field),
        } if *field != DateTimeField::NoDateTime => {
            *expr = rounding("ceil_time", field, inner)?;
            Ok(())
        }
        Expr::Function(function) => respell_unit(function),
        _ => Ok(()),
    }
}

/// The call that rounds `argument` to whole units.
fn rounding(function: &str, field: &DateTimeField, argument: &mut Expr) -> Result<Expr, SqlError> {
    let unit = match field {
        DateTimeField::Week(None) => "WEEK".to_string(),
        DateTimeField::Year
        | DateTimeField::Quarter
        | DateTimeField::Month
        | DateTimeField::Day
        | DateTimeField::Hour
        | DateTimeField::Minute
        | DateTimeField::Second => field.to_string().to_uppercase(),
        other => {
            return Err(SqlError::new(format!("`{other}` is not a unit to round to"))
                .at(position_of(argument))
                .hint("use YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE or SECOND"));
        }
    };
    let argument = std::mem::replace(argument, Expr::value(Value::Null));
    Ok(call(function, vec![text(&unit), argument]))
}

/// `TIMESTAMPDIFF(DAY, a, b)`: the unit is a keyword, which would be read as a column.
fn respell_unit(function: &mut Function) -> Result<(), SqlError> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else {
        return Ok(());
    };
    let takes_unit = ["TIMESTAMPDIFF", "TIMESTAMPADD"]
        .iter()
        .any(|known| name.value.eq_ignore_ascii_case(known));
    let FunctionArguments::List(FunctionArgumentList { args, .. }) = &mut function.args else {
        return Ok(());
    };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = args.first_mut() else {
        return Ok(());
    };
    let Expr::Identifier(unit) = &*first else {
        return Ok(());
    };
    if !takes_unit {
        return Ok(());
    }
    let upper = unit.value.to_ascii_uppercase();
    let known = [
        "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR",
    ];
    if unit.quote_style.is_some() || !known.contains(&upper.as_str()) {
        return Err(SqlError::new(format!("`{unit}` is not a unit of time"))
            .at(ident_position(unit))
            .hint(format!("units are {}", known.join(", "))));
    }
    *first = text(&upper);
    Ok(())
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_string()))
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
        .collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
