//! Window TVFs as the query planner meets them, whatever the user wrote.
//!
//! **The agreed form.** Every window of a parsed statement — `TABLE(TUMBLE(TABLE t, …))`, the same
//! with named arguments, `FROM TUMBLE(TABLE t, …)`, Velostream's `WINDOW TUMBLING(…)`, and the old
//! `GROUP BY TUMBLE(ts, …)` — stands in `FROM` as one of
//!
//! - `TableFactor::TableFunction { expr: Expr::Function(TUMBLE | HOP | CUMULATE), alias }`, or
//! - `TableFactor::Table { name: TUMBLE | HOP | CUMULATE, args: Some(…), alias }`,
//!
//! with the arguments `data, DESCRIPTOR([column]), [slide | step,] size [, offset]`, positional or
//! named. `data` is a table name or a sub-query; `DESCRIPTOR()` without a column means the
//! relation's event-time column. Nobody looks at that form but [`window_call`]: the planner's
//! relation hook calls it for every table factor and receives a checked [`WindowCall`].
//!
//! The call's columns are the relation's columns followed by `window_start`, `window_end` and
//! `window_time`. Without an alias the columns keep the relation's own qualifier.
//!
//! **Invariant.** A `WindowCall` has sizes > 0, and a CUMULATE's size is a multiple of its step.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, ObjectName,
    ObjectNamePart, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins, WildcardAdditionalOptions,
};

use crate::error::{Position, SqlError};
use crate::plan::WindowKind;
use crate::sql::interval::interval_us;
use crate::sql::position::{ident_position, position_of};

/// Stands for the PARTITION BY of a session's relation; no query can write it.
pub(crate) const PARTITION_KEYS: &str = "$partition_keys";

/// A window TVF, read and checked.
#[derive(Clone, Debug)]
pub struct WindowCall {
    /// The kind and its sizes.
    pub kind: WindowKind,
    /// Shift of all window starts, microseconds; may be negative.
    pub offset_us: i64,
    /// The relation: a table by name, a sub-query, or whatever stood in `FROM` before its window
    /// sugar was lowered.
    pub data: TableFactor,
    /// `DESCRIPTOR(column)`; `None` = the relation's event-time column.
    pub time_column: Option<Ident>,
    /// `PARTITION BY` of a session.
    pub partition: Vec<Ident>,
    /// The alias behind the call; may rename columns.
    pub alias: Option<TableAlias>,
    /// Where the function's name stands.
    pub position: Position,
}

/// Reads a window TVF; `None` where `factor` is something else.
pub fn window_call(factor: &TableFactor) -> Option<Result<WindowCall, SqlError>> {
    let (name, args, alias) = match factor {
        TableFactor::TableFunction {
            expr:
                Expr::Function(Function {
                    name,
                    args: FunctionArguments::List(list),
                    ..
                }),
            alias,
        } => (name, list.args.as_slice(), alias),
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            ..
        } => (name, args.args.as_slice(), alias),
        _ => return None,
    };
    let function = WindowFunction::of(name)?;
    let position = position_of(name);
    let call = read_call(function, args).map(|call| WindowCall {
        alias: alias.clone(),
        position,
        ..call
    });
    Some(call.map_err(|error| error.at(position)))
}

/// The window TVFs of Flink.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WindowFunction {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl WindowFunction {
    fn of(name: &ObjectName) -> Option<WindowFunction> {
        let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else {
            return None;
        };
        match ident.value.to_ascii_uppercase().as_str() {
            "TUMBLE" => Some(WindowFunction::Tumble),
            "HOP" => Some(WindowFunction::Hop),
            "CUMULATE" => Some(WindowFunction::Cumulate),
            "SESSION" => Some(WindowFunction::Session),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            WindowFunction::Tumble => "TUMBLE",
            WindowFunction::Hop => "HOP",
            WindowFunction::Cumulate => "CUMULATE",
            WindowFunction::Session => "SESSION",
        }
    }

    /// Parameter names in positional order.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            WindowFunction::Tumble => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
            WindowFunction::Hop => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
            WindowFunction::Cumulate => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
            WindowFunction::Session => &["DATA", "TIMECOL", "GAP"],
        }
    }

    fn usage(self) -> String {
        let sizes = match self {
            WindowFunction::Tumble => "size",
            WindowFunction::Hop => "slide, size",
            WindowFunction::Cumulate => "step, size",
            WindowFunction::Session => "gap",
        };
        format!("TABLE({}(TABLE t, DESCRIPTOR(ts), {sizes}))", self.name())
    }
}

fn read_call(function: WindowFunction, args: &[FunctionArg]) -> Result<WindowCall, SqlError> {
    let (partition, rest): (Vec<&FunctionArg>, Vec<&FunctionArg>) =
        args.iter().partition(|arg| partition_keys(arg).is_some());
    if let (false, Some(_)) = (function == WindowFunction::Session, partition.first()) {
        return Err(SqlError::new(format!("{} has no PARTITION BY", function.name()))
            .hint("its windows are the same for all keys; group by the key instead"));
    }
    let partition = partition
        .into_iter()
        .filter_map(partition_keys)
        .flatten()
        .collect();
    let rest: Vec<FunctionArg> = rest.into_iter().cloned().collect();
    let args = rest.as_slice();
    let slots = bind(function, args)?;
    let given = |name: &str| {
        let index = function
            .parameters()
            .iter()
            .position(|parameter| *parameter == name);
        index.and_then(|index| slots[index])
    };
    let required = |name: &str| {
        given(name).ok_or_else(|| {
            SqlError::new(format!("{} lacks its {name} argument", function.name()))
                .hint(format!("the form is {}", function.usage()))
        })
    };
    let data = relation(required("DATA")?)?;
    let time_column = descriptor(required("TIMECOL")?)?;
    let kind = match function {
        WindowFunction::Session => WindowKind::Session {
            gap_us: length(required("GAP")?, "gap")?,
        },
        WindowFunction::Tumble => WindowKind::Tumble {
            size_us: length(required("SIZE")?, "size")?,
        },
        WindowFunction::Hop => WindowKind::Hop {
            size_us: length(required("SIZE")?, "size")?,
            slide_us: length(required("SLIDE")?, "slide")?,
        },
        WindowFunction::Cumulate => {
            let size_us = length(required("SIZE")?, "size")?;
            let step = required("STEP")?;
            let step_us = length(step, "step")?;
            if size_us % step_us != 0 {
                return Err(
                    SqlError::new("the size of a CUMULATE window must be a multiple of its step")
                        .at(position_of(step)),
                );
            }
            WindowKind::Cumulate { size_us, step_us }
        }
    };
    let offset_us = given("OFFSET").map(interval_us).transpose()?.unwrap_or(0);
    Ok(WindowCall {
        kind,
        offset_us,
        data,
        time_column,
        partition,
        alias: None,
        position: Position::default(),
    })
}

/// The columns of `PARTITION_KEYS(a, b)`, which stands for `PARTITION BY a, b`.
fn partition_keys(arg: &FunctionArg) -> Option<Vec<Ident>> {
    let (FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
    | FunctionArg::Named {
        arg: FunctionArgExpr::Expr(expr),
        ..
    }) = arg
    else {
        return None;
    };
    let Expr::Function(Function {
        name,
        args: FunctionArguments::List(list),
        ..
    }) = expr
    else {
        return None;
    };
    if !matches!(name.0.as_slice(), [ObjectNamePart::Identifier(ident)] if ident.value == PARTITION_KEYS) {
        return None;
    }
    let column = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ident))) => Some(ident.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(idents))) => {
            idents.last().cloned()
        }
        _ => None,
    };
    list.args.iter().map(column).collect()
}

/// Brings positional or named arguments into the order of the function's parameters.
fn bind(function: WindowFunction, args: &[FunctionArg]) -> Result<Vec<Option<&Expr>>, SqlError> {
    let parameters = function.parameters();
    let mut slots: Vec<Option<&Expr>> = vec![None; parameters.len()];
    let named_count = args
        .iter()
        .filter(|arg| !matches!(arg, FunctionArg::Unnamed(_)))
        .count();
    if named_count != 0 && named_count != args.len() {
        return Err(SqlError::new(format!(
            "{} mixes named and positional arguments",
            function.name()
        )));
    }
    for (index, arg) in args.iter().enumerate() {
        let (slot, value) = match arg {
            FunctionArg::Unnamed(value) => (Some(index), value),
            FunctionArg::Named { name, arg, .. } => {
                let wanted = name.value.to_ascii_uppercase();
                let slot = parameters.iter().position(|parameter| *parameter == wanted);
                if slot.is_none() {
                    return Err(
                        SqlError::new(format!("{} has no argument `{name}`", function.name()))
                            .at(ident_position(name))
                            .hint(format!("its arguments are {}", parameters.join(", "))),
                    );
                }
                (slot, arg)
            }
            FunctionArg::ExprNamed { name, .. } => {
                return Err(
                    SqlError::new(format!("`{name}` is not an argument's name")).at(position_of(name))
                );
            }
        };
        let FunctionArgExpr::Expr(value) = value else {
            return Err(SqlError::new(format!(
                "`{value}` is not an argument of {}",
                function.name()
            )));
        };
        let Some(place) = slot.and_then(|slot| slots.get_mut(slot)) else {
            return Err(
                SqlError::new(format!("{} has too many arguments", function.name()))
                    .at(position_of(value))
                    .hint(format!(
                        "the form is {}, and an offset may follow",
                        function.usage()
                    )),
            );
        };
        if place.replace(value).is_some() {
            return Err(
                SqlError::new(format!("{} has an argument twice", function.name())).at(position_of(value)),
            );
        }
    }
    Ok(slots)
}

fn length(expr: &Expr, what: &str) -> Result<i64, SqlError> {
    let us = interval_us(expr)?;
    if us <= 0 {
        return Err(
            SqlError::new(format!("the {what} of a window must be longer than zero")).at(position_of(expr)),
        );
    }
    Ok(us)
}

fn descriptor(expr: &Expr) -> Result<Option<Ident>, SqlError> {
    let wrong = || {
        SqlError::new(format!("`{expr}` does not name a time column"))
            .at(position_of(expr))
            .hint("write DESCRIPTOR(column)")
    };
    let Expr::Function(Function {
        name,
        args: FunctionArguments::List(list),
        ..
    }) = expr
    else {
        return Err(wrong());
    };
    let is_descriptor = matches!(name.0.as_slice(),
        [ObjectNamePart::Identifier(ident)] if ident.value.eq_ignore_ascii_case("DESCRIPTOR"));
    match list.args.as_slice() {
        _ if !is_descriptor => Err(wrong()),
        [] => Ok(None),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column)))] => Ok(Some(column.clone())),
        _ => Err(wrong()),
    }
}

/// The relation that the `data` argument stands for.
fn relation(data: &Expr) -> Result<TableFactor, SqlError> {
    match data {
        Expr::Identifier(ident) => Ok(named_table(ObjectName::from(vec![ident.clone()]))),
        Expr::CompoundIdentifier(idents) => Ok(named_table(ObjectName::from(idents.clone()))),
        Expr::Subquery(query) => Ok(subquery_relation(query)),
        Expr::Nested(inner) => relation(inner),
        other => Err(SqlError::new(format!("`{other}` is not a relation"))
            .at(position_of(other))
            .hint("the first argument of a window is TABLE name, or a query in parentheses")),
    }
}

/// A table by its name alone.
pub(crate) fn named_table(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// A sub-query as a relation; `SELECT * FROM factor` and nothing else is that factor itself, so
/// that its columns keep their qualifier.
fn subquery_relation(query: &Query) -> TableFactor {
    bare_factor(query).unwrap_or_else(|| TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: None,
        sample: None,
    })
}

fn bare_factor(query: &Query) -> Option<TableFactor> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let [from] = select.from.as_slice() else {
        return None;
    };
    (from.joins.is_empty() && select_all_from(from.relation.clone()) == *query).then(|| from.relation.clone())
}

/// `SELECT * FROM factor`.
pub(crate) fn select_all_from(factor: TableFactor) -> Query {
    let from = TableWithJoins {
        relation: factor,
        joins: Vec::new(),
    };
    let select = Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())],
        exclude: None,
        into: None,
        from: vec![from],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parser::parse;
    use crate::sql::statement::StatementKind;

    /// The window call of `SELECT * FROM <factor>`, as text.
    fn check(factor: &str, expected: &str) {
        let sql = format!("SELECT * FROM {factor}");
        let text = match parse(&sql) {
            Ok(statements) => {
                let StatementKind::Select(query) = &statements[0].kind else {
                    panic!("a query");
                };
                let select = query.query.body.as_select().expect("a SELECT");
                match window_call(&select.from[0].relation) {
                    None => "no window".to_string(),
                    Some(call) => describe(&call.expect("checked by parse")),
                }
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(text, expected, "{factor}");
    }

    fn describe(call: &WindowCall) -> String {
        let alias = call.alias.as_ref().map(|alias| format!(" {alias}"));
        let column = call.time_column.as_ref().map(|column| column.value.clone());
        format!(
            "{:?} + {} of {} by {:?}{} at {}",
            call.kind,
            call.offset_us,
            call.data,
            column,
            alias.unwrap_or_default(),
            call.position.column
        )
    }

    #[test]
    fn positional_arguments_are_read() {
        check(
            "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))",
            "Tumble { size_us: 10000000 } + 0 of bid by Some(\"ts\") at 21",
        );
        check(
            "TABLE(HOP(TABLE bid, DESCRIPTOR(ts), 5s, 10s, INTERVAL '-1' SECOND)) AS w",
            "Hop { size_us: 10000000, slide_us: 5000000 } + -1000000 of bid by Some(\"ts\") AS w at 21",
        );
        check(
            "CUMULATE(TABLE bid, DESCRIPTOR(ts), 5s, 15s)",
            "Cumulate { size_us: 15000000, step_us: 5000000 } + 0 of bid by Some(\"ts\") at 15",
        );
        check("bid AS b", "no window");
        check("TABLE(generate_series(1, 2))", "no window");
    }

    #[test]
    fn named_arguments_are_read_in_any_order() {
        check(
            "TABLE(HOP(SIZE => 10s, DATA => TABLE bid, SLIDE => 5s, TIMECOL => DESCRIPTOR(ts), OFFSET => 1s))",
            "Hop { size_us: 10000000, slide_us: 5000000 } + 1000000 of bid by Some(\"ts\") at 21",
        );
    }

    #[test]
    fn the_data_may_be_a_query() {
        check(
            "TABLE(TUMBLE((SELECT a, ts FROM bid WHERE a > 1), DESCRIPTOR(ts), 1s))",
            "Tumble { size_us: 1000000 } + 0 of (SELECT a, ts FROM bid WHERE a > 1) by Some(\"ts\") at 21",
        );
    }

    #[test]
    fn a_lowered_clause_keeps_its_relation_with_its_alias() {
        check(
            "bid AS b WINDOW TUMBLING(1m)",
            "Tumble { size_us: 60000000 } + 0 of bid AS b by None at 31",
        );
        check(
            "(SELECT a FROM bid) AS b (x) WINDOW SLIDING(ts, 5m, 1m)",
            "Hop { size_us: 300000000, slide_us: 60000000 } + 0 of (SELECT a FROM bid) AS b (x) by Some(\"ts\") at 51",
        );
    }

    #[test]
    fn wrong_calls_are_refused_with_their_usage() {
        check(
            "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts)))",
            "error: TUMBLE lacks its SIZE argument (line 1, column 21); the form is TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), size))",
        );
        check(
            "TABLE(TUMBLE(TABLE bid, ts, 5s))",
            "error: `ts` does not name a time column (line 1, column 39); write DESCRIPTOR(column)",
        );
        check(
            "TABLE(CUMULATE(TABLE bid, DESCRIPTOR(ts), 4s, 10s))",
            "error: the size of a CUMULATE window must be a multiple of its step (line 1, column 57)",
        );
        check(
            "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), 1s, 1s, 1s))",
            "error: TUMBLE has too many arguments (line 1, column 63); the form is TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), size)), and an offset may follow",
        );
        check(
            "TABLE(TUMBLE(DATA => TABLE bid, COLUMN => DESCRIPTOR(ts), SIZE => 1s))",
            "error: TUMBLE has no argument `COLUMN` (line 1, column 47); its arguments are DATA, TIMECOL, SIZE, OFFSET",
        );
        check(
            "TABLE(TUMBLE(5, DESCRIPTOR(ts), 1s))",
            "error: `5` is not a relation (line 1, column 28); the first argument of a window is TABLE name, or a query in parentheses",
        );
    }
}
