//! Old group windows and `WINDOW …` clauses → window TVFs, on the syntax tree.
//!
//! `GROUP BY TUMBLE(ts, size)` and Velostream's `WINDOW TUMBLING(size)` both say: wrap the SELECT's
//! relation in a window TVF and group by `window_start, window_end`. Afterwards the planner meets
//! window TVFs only (see `window_call` for their form).
//!
//! **Invariant.** Runs once per statement, before the tree is checked. A clause that cannot be
//! lowered is an error; none is left over.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Ident, ObjectName, ObjectNamePart, Query, Select, TableFactor, VisitorMut,
};

use crate::error::{Position, SqlError};
use crate::sql::position::{ident_position, position_of};
use crate::sql::spellings::respell;
use crate::sql::sugar::{SugarWindow, WindowClause};
use crate::sql::walk::walk_mut;
use crate::sql::window_call::{PARTITION_KEYS, select_all_from};
use crate::sql::window_columns::WindowColumns;

/// Lowers the windows of every SELECT in `query`; `clauses` are the `WINDOW …` clauses that stood
/// in it.
pub(crate) fn lower_windows(query: &mut Query, clauses: Vec<WindowClause>) -> Result<(), SqlError> {
    let mut lowering = Lowering { clauses };
    if let ControlFlow::Break(error) = walk_mut(query, &mut lowering) {
        return Err(error);
    }
    match lowering.clauses.first() {
        Some(clause) => Err(SqlError::new("the WINDOW clause belongs to no query").at(clause.position)),
        None => Ok(()),
    }
}

struct Lowering {
    clauses: Vec<WindowClause>,
}

impl VisitorMut for Lowering {
    type Break = SqlError;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        let place = select.select_token.0.span.start;
        let clause = self
            .clauses
            .iter()
            .position(|clause| clause.select == place)
            .map(|index| self.clauses.swap_remove(index));
        match lower_select(select, clause) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match respell(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// A window of a SELECT that is about to move into its FROM.
pub(crate) struct GroupWindow {
    /// TUMBLE or HOP, where the user wrote it.
    pub function: Ident,
    /// The time column as written; `None` = the relation's event time.
    pub time: Option<Expr>,
    /// The lengths in the order that the TVF takes them.
    pub lengths: Vec<Expr>,
    /// The arguments as written: the auxiliary functions repeat them.
    pub arguments: Vec<Expr>,
    /// Whether it was a `WINDOW …` clause.
    pub is_sugar: bool,
    /// Where it stands.
    pub position: Position,
}

fn lower_select(select: &mut Select, clause: Option<WindowClause>) -> Result<(), SqlError> {
    let group_calls = group_window_calls(select)?;
    let window = match (clause, group_calls.as_slice()) {
        (None, []) => return Ok(()),
        (Some(clause), []) => window_of_clause(clause)?,
        (None, [index]) => window_of_group_by(select, *index)?,
        (Some(clause), _) => {
            return Err(
                SqlError::new("the query has both a WINDOW clause and a window in GROUP BY")
                    .at(clause.position),
            );
        }
        (None, _) => {
            return Err(SqlError::new("GROUP BY has two windows").at(position_of(&*select)));
        }
    };
    let mut columns = WindowColumns {
        window: &window,
        uses_rowtime: false,
    };
    for item in &mut select.projection {
        columns.rewrite_item(item)?;
    }
    if let Some(having) = &mut select.having {
        columns.rewrite(having)?;
    }
    let uses_rowtime = columns.uses_rowtime;
    let keys = match window.function.value == "SESSION" {
        true => Some(session_keys(select, group_calls.first().copied(), &window)?),
        false => None,
    };
    group_by_bounds(select, group_calls.first().copied(), uses_rowtime, &window)?;
    wrap_relation(select, &window, keys)
}

/// Indices of the window functions in GROUP BY.
fn group_window_calls(select: &Select) -> Result<Vec<usize>, SqlError> {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else {
        return Ok(Vec::new());
    };
    let mut calls = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let Some((name, _)) = call_of(key) else {
            continue;
        };
        match name.value.to_ascii_uppercase().as_str() {
            "TUMBLE" | "HOP" | "SESSION" => calls.push(index),
            "CUMULATE" => {
                return Err(SqlError::new("CUMULATE stands in FROM, not in GROUP BY")
                    .at(ident_position(name))
                    .hint("write FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), step, size))"));
            }
            _ => {}
        }
    }
    Ok(calls)
}

/// Name and arguments of a plain function call.
pub(crate) fn call_of(expr: &Expr) -> Option<(&Ident, Vec<&Expr>)> {
    let Expr::Function(Function {
        name,
        args: FunctionArguments::List(list),
        filter: None,
        over: None,
        ..
    }) = expr
    else {
        return None;
    };
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
        return None;
    };
    let mut arguments = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = arg else {
            return None;
        };
        arguments.push(value);
    }
    Some((ident, arguments))
}

fn window_of_clause(clause: WindowClause) -> Result<GroupWindow, SqlError> {
    let WindowClause {
        kind,
        arguments,
        position,
        span,
        ..
    } = clause;
    let wrong = |message: String| SqlError::new(message).at(position).hint(kind.usage());
    let (time, mut lengths) = match arguments.as_slice() {
        [Expr::Interval(_), ..] => (None, arguments.clone()),
        [time, lengths @ ..] => (Some(time.clone()), lengths.to_vec()),
        [] => return Err(wrong("the window has no size".to_string())),
    };
    let wanted = if kind == SugarWindow::Sliding { 2 } else { 1 };
    if lengths.len() != wanted {
        return Err(wrong(format!(
            "the window has {} lengths, not {wanted}",
            lengths.len()
        )));
    }
    // Velostream says (size, slide); the TVF takes (slide, size).
    lengths.reverse();
    let mut function = Ident::new(kind.function());
    function.span = span;
    Ok(GroupWindow {
        function,
        time,
        lengths,
        arguments,
        is_sugar: true,
        position,
    })
}

fn window_of_group_by(select: &Select, index: usize) -> Result<GroupWindow, SqlError> {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else {
        return Err(SqlError::new("GROUP BY has no expressions"));
    };
    let Some((name, arguments)) = keys.get(index).and_then(call_of) else {
        return Err(SqlError::new("GROUP BY has no window"));
    };
    let position = ident_position(name);
    let upper = name.value.to_ascii_uppercase();
    let (usage, lengths_wanted) = match upper.as_str() {
        "HOP" => ("HOP(ts, slide, size)", 2),
        "SESSION" => ("SESSION(ts, gap)", 1),
        _ => ("TUMBLE(ts, size)", 1),
    };
    let [time, lengths @ ..] = arguments.as_slice() else {
        return Err(SqlError::new(format!("{name} has no arguments"))
            .at(position)
            .hint(format!("write {usage}")));
    };
    if lengths.len() != lengths_wanted {
        return Err(
            SqlError::new(format!("{name} in GROUP BY has {} arguments", arguments.len()))
                .at(position)
                .hint(format!("write {usage}")),
        );
    }
    let mut function = Ident::new(upper);
    function.span = name.span;
    Ok(GroupWindow {
        function,
        time: Some((*time).clone()),
        lengths: lengths.iter().map(|length| (*length).clone()).collect(),
        arguments: arguments.into_iter().cloned().collect(),
        is_sugar: false,
        position,
    })
}

/// Puts the window's bounds into GROUP BY, in the place of the window function.
fn group_by_bounds(
    select: &mut Select,
    call: Option<usize>,
    uses_rowtime: bool,
    window: &GroupWindow,
) -> Result<(), SqlError> {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else {
        return Err(
            SqlError::new("GROUP BY ALL cannot be combined with a WINDOW clause").at(window.position),
        );
    };
    let place = match call {
        Some(index) => {
            keys.remove(index);
            index
        }
        None => keys.len(),
    };
    let names = if uses_rowtime {
        ["window_start", "window_end", "window_time"].as_slice()
    } else {
        ["window_start", "window_end"].as_slice()
    };
    for (offset, name) in names.iter().enumerate() {
        let column = Expr::Identifier(placed(name, &window.function));
        // `GROUP BY symbol, window_start WINDOW TUMBLING(…)` names a bound already.
        if !keys.contains(&column) {
            keys.insert((place + offset).min(keys.len()), column);
        }
    }
    Ok(())
}

/// The columns that sessions are made by: all else that the query groups by.
fn session_keys(select: &Select, call: Option<usize>, window: &GroupWindow) -> Result<Vec<Expr>, SqlError> {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else {
        return Ok(Vec::new());
    };
    let others = keys.iter().enumerate().filter(|(index, _)| Some(*index) != call);
    let column = |key: &Expr| match key {
        Expr::Identifier(_) => Some(key.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().cloned().map(Expr::Identifier),
        _ => None,
    };
    let bound = |key: &&Expr| !matches!(key, Expr::Identifier(ident) if ident.value.starts_with("window_"));
    others
        .map(|(_, key)| key)
        .filter(bound)
        .map(|key| {
            column(key).ok_or_else(|| {
                SqlError::new(format!("sessions are made by columns, and `{key}` is computed"))
                    .at(window.position)
                    .hint("compute it in a sub-query: FROM (SELECT …, expression AS k FROM t) GROUP BY k, SESSION(ts, gap)")
            })
        })
        .collect()
}

/// Wraps the SELECT's only relation in the window TVF.
fn wrap_relation(select: &mut Select, window: &GroupWindow, keys: Option<Vec<Expr>>) -> Result<(), SqlError> {
    let [from] = select.from.as_mut_slice() else {
        return Err(one_relation(window));
    };
    if !from.joins.is_empty() {
        return Err(one_relation(window));
    }
    let descriptor = descriptor_arguments(window, &from.relation)?;
    let mut arguments = vec![
        data_argument(&from.relation),
        call("DESCRIPTOR", window, descriptor),
    ];
    if let Some(keys) = keys {
        arguments.insert(1, call(PARTITION_KEYS, window, keys));
    }
    arguments.extend(window.lengths.iter().cloned());
    from.relation = TableFactor::TableFunction {
        expr: call(&window.function.value, window, arguments),
        alias: None,
    };
    Ok(())
}

fn one_relation(window: &GroupWindow) -> SqlError {
    SqlError::new("a group window over a join is not supported")
        .at(window.position)
        .hint("put the join into a sub-query: FROM (SELECT … FROM a JOIN b ON …) AS t GROUP BY …")
}

/// The `data` argument: a plain table by name, anything else as `(SELECT * FROM …)`.
fn data_argument(relation: &TableFactor) -> Expr {
    if let TableFactor::Table { name, .. } = relation
        && *relation == crate::sql::window_call::named_table(name.clone())
    {
        let idents: Option<Vec<Ident>> = name
            .0
            .iter()
            .map(|part| match part {
                ObjectNamePart::Identifier(ident) => Some(ident.clone()),
                ObjectNamePart::Function(_) => None,
            })
            .collect();
        match idents.as_deref() {
            Some([ident]) => return Expr::Identifier(ident.clone()),
            Some(idents) => return Expr::CompoundIdentifier(idents.to_vec()),
            None => {}
        }
    }
    Expr::Subquery(Box::new(select_all_from(relation.clone())))
}

/// The arguments of DESCRIPTOR: the time column without its qualifier, or nothing.
fn descriptor_arguments(window: &GroupWindow, relation: &TableFactor) -> Result<Vec<Expr>, SqlError> {
    let Some(time) = &window.time else {
        return Ok(Vec::new());
    };
    let column = match time {
        Expr::Identifier(column) => Some(column),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [qualifier, column] if relation_name(relation) == Some(qualifier.value.as_str()) => Some(column),
            _ => None,
        },
        _ => None,
    };
    match column {
        Some(column) => Ok(vec![Expr::Identifier(column.clone())]),
        None => Err(SqlError::new(format!(
            "`{time}` is not an event-time column of the window's relation"
        ))
        .at(window.position)
        .hint("name the column that WATERMARK FOR is declared on; processing time is not supported yet")),
    }
}

/// What the relation's columns may be qualified with.
fn relation_name(relation: &TableFactor) -> Option<&str> {
    let (name, alias) = match relation {
        TableFactor::Table { name, alias, .. } => (name.0.last(), alias),
        TableFactor::Derived { alias, .. } | TableFactor::TableFunction { alias, .. } => (None, alias),
        _ => return None,
    };
    match (alias, name) {
        (Some(alias), _) => Some(&alias.name.value),
        (None, Some(ObjectNamePart::Identifier(ident))) => Some(&ident.value),
        _ => None,
    }
}

fn call(name: &str, window: &GroupWindow, arguments: Vec<Expr>) -> Expr {
    let args = arguments
        .into_iter()
        .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
        .collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![placed(name, &window.function)]),
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

/// The identifier `name` at the place of `origin`.
pub(crate) fn placed(name: &str, origin: &Ident) -> Ident {
    let mut ident = Ident::new(name);
    ident.span = origin.span;
    ident
}
