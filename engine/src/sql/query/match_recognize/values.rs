//! What DEFINE and MEASURES say of rows, taken out of their expressions: `A.price`, `LAST(A.price, 1)`,
//! `PREV(price)`, `SUM(A.price)`. Each becomes a column of its own, and the expression one over such columns.
//!
//! **Invariant.** Equal values are one column; a value is computed of rows of one variable.

use std::ops::ControlFlow;

use datafusion_common::{DFSchema, DataFusionError, Result};
use datafusion_expr::planner::RelationPlannerContext;
use datafusion_expr::{Expr as LogicalExpr, ExprSchemable};
use sqlparser::ast::{
    AccessExpr, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectNamePart, Query, Spanned, Value, VisitorMut,
};

use crate::error::{Position, SqlError};
use crate::limits::MATCH_OFFSET_MAX;
use crate::plan::match_recognize::{LogicalValue, MATCH_TIME, ValueRows};
use crate::plan::match_spec::RowEnd;
use crate::sql::position::position_of;
use crate::sql::query::coerce;
use crate::sql::query::errors::external;
use crate::sql::walk::walk_mut;

/// The clause that an expression stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    Define,
    Measures,
}

/// Collects values, over all expressions of one MATCH_RECOGNIZE.
pub(super) struct Values<'a> {
    pub context: &'a mut dyn RelationPlannerContext,
    /// The input's columns.
    pub input: &'a DFSchema,
    pub variables: &'a [String],
    pub found: Vec<LogicalValue>,
}

/// Which rows an expression names: `None` = no column at all, `Some(None)` = columns without a variable.
type Named = Option<Option<usize>>;

impl Values<'_> {
    /// `expression` over the columns of the values found; they are added to `found`.
    pub fn take_out(&mut self, expression: &mut Expr, clause: Clause) -> Result<()> {
        let mut taking = Taking { values: self, clause };
        match walk_mut(expression, &mut taking) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// The column that stands for a value, if `expression` is one.
    fn value(&mut self, expression: &Expr, clause: Clause) -> Result<Option<Expr>> {
        match expression {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.current(expression).map(Some),
            Expr::CompoundFieldAccess { root, .. }
                if matches!(root.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_)) =>
            {
                self.current(expression).map(Some)
            }
            Expr::Function(function) => self.call(function, expression, clause),
            _ => Ok(None),
        }
    }

    /// A column without FIRST or LAST: of the newest row.
    fn current(&mut self, argument: &Expr) -> Result<Expr> {
        self.row(argument, RowEnd::Last, 0, 0)
    }

    fn call(&mut self, function: &Function, whole: &Expr, clause: Clause) -> Result<Option<Expr>> {
        let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else {
            return Ok(None);
        };
        let name = name.value.to_ascii_uppercase();
        let at = position_of(whole);
        match name.as_str() {
            "FIRST" => self.navigation(function, RowEnd::First, at).map(Some),
            "LAST" => self.navigation(function, RowEnd::Last, at).map(Some),
            "PREV" if clause == Clause::Measures => Err(refused(
                "PREV is for DEFINE alone",
                "take the row into the pattern with a variable of its own, in front",
                at,
            )),
            "PREV" => self.previous(function, at).map(Some),
            "NEXT" => Err(refused(
                "NEXT in MATCH_RECOGNIZE is not supported: the row has not come yet",
                "give the next row a variable of its own, and compare there",
                at,
            )),
            "CLASSIFIER" | "MATCH_NUMBER" | "MATCH_PROCTIME" => Err(refused(
                format!("{name} is not supported"),
                "MATCH_ROWTIME() is the event time of a match, and COUNT(A.column) counts the rows of a variable",
                at,
            )),
            "MATCH_ROWTIME" if clause == Clause::Define => Err(refused(
                "MATCH_ROWTIME is for MEASURES alone: in DEFINE the match is not over",
                "name the time column itself",
                at,
            )),
            "MATCH_ROWTIME" => Ok(Some(column(MATCH_TIME, whole))),
            _ => self.aggregate(function, whole),
        }
    }

    /// `LAST(A.price, 1)`.
    fn navigation(&mut self, function: &Function, from: RowEnd, at: Position) -> Result<Expr> {
        let (argument, offset) = argument_and_offset(function, 0, at)?;
        self.row(argument, from, offset, 0)
    }

    /// `PREV(price, 2)`, `PREV(LAST(A.price, 1))`.
    fn previous(&mut self, function: &Function, at: Position) -> Result<Expr> {
        let (argument, back) = argument_and_offset(function, 1, at)?;
        if let Expr::Function(inner) = argument
            && let [ObjectNamePart::Identifier(name)] = inner.name.0.as_slice()
        {
            let from = match name.value.to_ascii_uppercase().as_str() {
                "FIRST" => Some(RowEnd::First),
                "LAST" => Some(RowEnd::Last),
                _ => None,
            };
            if let Some(from) = from {
                let (argument, offset) = argument_and_offset(inner, 0, at)?;
                return self.row(argument, from, offset, back);
            }
        }
        self.row(argument, RowEnd::Last, 0, back)
    }

    /// A value of one row.
    fn row(&mut self, argument: &Expr, from: RowEnd, offset: usize, back: usize) -> Result<Expr> {
        let mut bare = argument.clone();
        let named = self.strip(&mut bare)?;
        let Some(variable) = named else {
            return Err(refused(
                format!("`{argument}` names no column of a row"),
                "write for instance LAST(A.price)",
                position_of(argument),
            ));
        };
        let expression = self.context.sql_to_expr(bare.clone(), self.input)?;
        let text = match variable {
            Some(variable) => with_variable(&bare, &self.variables[variable]),
            None => bare.to_string(),
        };
        let number = |count: usize, default: usize| match count == default {
            true => String::new(),
            false => format!(", {count}"),
        };
        let mut name = match (from, offset, variable) {
            (RowEnd::Last, 0, Some(_)) => text,
            (RowEnd::Last, ..) => format!("LAST({text}{})", number(offset, 0)),
            (RowEnd::First, ..) => format!("FIRST({text}{})", number(offset, 0)),
        };
        if back > 0 {
            name = format!("PREV({name}{})", number(back, 1));
        }
        let rows = ValueRows::One {
            variable,
            from,
            offset,
            back,
        };
        self.add(rows, expression, name, argument)
    }

    /// `SUM(A.price * A.tax)`; `None` if the function is no aggregate.
    fn aggregate(&mut self, function: &Function, whole: &Expr) -> Result<Option<Expr>> {
        let name = function.name.to_string().to_lowercase();
        let functions = self.context.context_provider();
        let is_aggregate = functions.get_aggregate_meta(&name).is_some();
        if !is_aggregate || functions.get_function_meta(&name).is_some() {
            return Ok(None);
        }
        let refuse = |message: &str, hint: &str| Err(refused(message, hint, position_of(whole)));
        if function.over.is_some() {
            return refuse(
                "a window function inside MATCH_RECOGNIZE is not supported",
                "compute it in a sub-query below, or above",
            );
        }
        if let FunctionArguments::List(list) = &function.args
            && list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        {
            return refuse(
                "DISTINCT aggregates inside MATCH_RECOGNIZE are not supported",
                "leave DISTINCT out, or count in a query above",
            );
        }
        let mut bare = whole.clone();
        let variable = self.strip(&mut bare)?.flatten();
        let expression = self.context.sql_to_expr(bare.clone(), self.input)?;
        let name = match variable {
            Some(variable) => with_variable(&bare, &self.variables[variable]),
            None => bare.to_string(),
        };
        self.add(ValueRows::All(variable), expression, name, whole)
            .map(Some)
    }

    fn add(&mut self, rows: ValueRows, expression: LogicalExpr, name: String, syntax: &Expr) -> Result<Expr> {
        let known = self
            .found
            .iter()
            .find(|value| value.rows == rows && value.expression == expression);
        if let Some(known) = known {
            return Ok(column(known.field.name(), syntax));
        }
        let typed = coerce(expression.clone(), self.input)?;
        let field = typed.to_field(self.input)?.1;
        let taken = |name: &str| self.found.iter().any(|value| value.field.name() == name);
        let name = match taken(&name) {
            false => name,
            true => format!("{name} #{}", self.found.len()),
        };
        let mut field = field.as_ref().clone().with_name(&name).with_nullable(true);
        // Whether it is an event time is said of columns, not of values.
        field.set_metadata(Default::default());
        self.found.push(LogicalValue {
            rows,
            expression,
            field: field.into(),
        });
        Ok(column(&name, syntax))
    }

    /// Takes the variable off every column of `expression`; an error where they are of different ones.
    fn strip(&self, expression: &mut Expr) -> Result<Named> {
        let mut stripping = Stripping {
            variables: self.variables,
            named: None,
            is_stripped: false,
        };
        match walk_mut(expression, &mut stripping) {
            ControlFlow::Break(error) => Err(external(error)),
            ControlFlow::Continue(()) => Ok(stripping.named),
        }
    }
}

fn refused(message: impl Into<String>, hint: &str, at: Position) -> DataFusionError {
    external(SqlError::new(message).hint(hint).at(at))
}

/// The argument of FIRST, LAST or PREV, and how many rows it counts.
fn argument_and_offset(function: &Function, default: usize, at: Position) -> Result<(&Expr, usize)> {
    let wrong = || {
        let name = function.name.to_string().to_uppercase();
        refused(
            format!("{name} takes a column, and how many rows it counts: a whole number"),
            &format!("write {name}(A.price) or {name}(A.price, 1)"),
            at,
        )
    };
    let FunctionArguments::List(list) = &function.args else {
        return Err(wrong());
    };
    let mut arguments = Vec::with_capacity(2);
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => arguments.push(expression),
            _ => return Err(wrong()),
        }
    }
    match arguments.as_slice() {
        [argument] => Ok((argument, default)),
        [argument, Expr::Value(value)] => match &value.value {
            Value::Number(digits, _) => {
                let offset = digits.parse::<usize>().map_err(|_| wrong())?;
                match offset <= MATCH_OFFSET_MAX {
                    true => Ok((argument, offset)),
                    false => Err(refused(
                        format!("rows of a pattern are counted up to {MATCH_OFFSET_MAX}"),
                        "count fewer",
                        at,
                    )),
                }
            }
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// A column of that name, at the place of `origin`.
fn column(name: &str, origin: &Expr) -> Expr {
    let mut ident = Ident::with_quote('`', name);
    ident.span = origin.span();
    Expr::Identifier(ident)
}

/// `price * tax` → `A.price * A.tax`.
fn with_variable(expression: &Expr, variable: &str) -> String {
    struct Prefixing<'v>(&'v str);

    impl VisitorMut for Prefixing<'_> {
        type Break = std::convert::Infallible;

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<std::convert::Infallible> {
            match expr {
                Expr::Identifier(ident) => {
                    *expr = Expr::CompoundIdentifier(vec![Ident::new(self.0), ident.clone()]);
                }
                Expr::CompoundIdentifier(parts) => parts.insert(0, Ident::new(self.0)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }

    let mut prefixed = expression.clone();
    let ControlFlow::Continue(()) = walk_mut(&mut prefixed, &mut Prefixing(variable));
    prefixed.to_string()
}

/// Replaces values by columns.
struct Taking<'t, 'a> {
    values: &'t mut Values<'a>,
    clause: Clause,
}

impl VisitorMut for Taking<'_, '_> {
    type Break = DataFusionError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<DataFusionError> {
        ControlFlow::Break(refused(
            "a sub-query inside MATCH_RECOGNIZE is not supported",
            "join in a sub-query below",
            position_of(query),
        ))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<DataFusionError> {
        match self.values.value(expr, self.clause) {
            Ok(Some(column)) => *expr = column,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

/// Takes variables off columns.
struct Stripping<'v> {
    variables: &'v [String],
    named: Named,
    /// The next expression is part of what was stripped.
    is_stripped: bool,
}

impl Stripping<'_> {
    /// The variable that a name in front of others is.
    fn variable(&self, ident: &Ident) -> Option<usize> {
        self.variables.iter().position(|name| *name == ident.value)
    }

    fn note(&mut self, variable: Option<usize>, at: Position) -> ControlFlow<SqlError> {
        match self.named.replace(variable) {
            Some(before) if before != variable => {
                let name = |variable: Option<usize>| match variable {
                    Some(variable) => format!("`{}`", self.variables[variable]),
                    None => "the whole match".to_string(),
                };
                ControlFlow::Break(
                    SqlError::new(format!(
                        "one value is of rows of one variable, and this names {} and {}",
                        name(before),
                        name(variable)
                    ))
                    .hint("compute with two values: LAST(A.price) * LAST(B.price)")
                    .at(at),
                )
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

impl VisitorMut for Stripping<'_> {
    type Break = SqlError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if std::mem::take(&mut self.is_stripped) {
            return ControlFlow::Continue(());
        }
        let at = position_of(expr);
        let (variable, stripped) = match expr {
            Expr::CompoundIdentifier(parts) if self.variable(&parts[0]).is_some() => {
                let variable = self.variable(&parts[0]);
                let rest = parts[1..].to_vec();
                let stripped = match <[Ident; 1]>::try_from(rest) {
                    Ok([only]) => Expr::Identifier(only),
                    Err(rest) => Expr::CompoundIdentifier(rest),
                };
                (variable, stripped)
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                match (root.as_ref(), access_chain.first()) {
                    (Expr::Identifier(ident), Some(AccessExpr::Dot(field)))
                        if self.variable(ident).is_some() =>
                    {
                        let variable = self.variable(ident);
                        let stripped = match access_chain.len() {
                            1 => field.clone(),
                            _ => Expr::CompoundFieldAccess {
                                root: Box::new(field.clone()),
                                access_chain: access_chain[1..].to_vec(),
                            },
                        };
                        (variable, stripped)
                    }
                    // Its root is visited on its own.
                    _ => return ControlFlow::Continue(()),
                }
            }
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => (None, expr.clone()),
            _ => return ControlFlow::Continue(()),
        };
        self.is_stripped = matches!(stripped, Expr::CompoundFieldAccess { .. });
        *expr = stripped;
        self.note(variable, at)
    }
}
