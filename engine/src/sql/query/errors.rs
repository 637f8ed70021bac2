//! What DataFusion's planner says → [`SqlError`]s: in our words, with a place and the nearest name.
//!
//! DataFusion knows the places of columns; for the rest, the identifier it blames is looked up in
//! the syntax tree.
//!
//! **Invariant.** A [`SqlError`] that travelled through DataFusion comes out unchanged.

use std::error::Error;
use std::ops::ControlFlow;

use datafusion_common::{DataFusionError, Diagnostic, SchemaError, Span};
use sqlparser::ast::{Expr, Ident, ObjectName, Visit, Visitor};

use crate::error::{Position, SqlError};
use crate::functions::Functions;
use crate::sql::position::{ident_position, position_of};
use crate::sql::suggest;

/// Carries our error through DataFusion.
pub(crate) fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What `error`, met while planning `syntax`, tells the user.
pub(crate) fn sql_error(error: DataFusionError, syntax: &impl Visit) -> SqlError {
    let diagnostic = error.diagnostic();
    let place = diagnostic.and_then(|diagnostic| diagnostic.span).map(position);
    let told = match (carried(&error), error.find_root(), diagnostic) {
        (Some(ours), ..) => match blamed(&ours.message).filter(|_| ours.position.is_none()) {
            Some(name) => locate(ours.clone(), name, syntax),
            None => ours.clone(),
        },
        (None, DataFusionError::SchemaError(schema, _), _) => schema_error(schema, syntax),
        (None, _, Some(diagnostic)) => diagnosed(diagnostic, syntax),
        (None, root, None) => plain(root, syntax),
    };
    assert!(!told.message.is_empty(), "invariant: every error of the planner says something");
    match place {
        Some(place) if told.position.is_none() => told.at(place),
        _ => told,
    }
}

/// The name in backticks that a message blames.
fn blamed(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// Our own error, if `error` carries one.
fn carried(error: &DataFusionError) -> Option<&SqlError> {
    let mut current: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = current {
        if let Some(ours) = error.downcast_ref::<SqlError>() {
            return Some(ours);
        }
        current = match error.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            _ => error.source(),
        };
    }
    None
}

fn position(span: Span) -> Position {
    let length = match span.start.line == span.end.line {
        true => span.end.column.saturating_sub(span.start.column).max(1),
        false => 1,
    };
    Position { line: span.start.line, column: span.start.column, length }
}

fn schema_error(error: &SchemaError, syntax: &impl Visit) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names = || valid_fields.iter().map(|column| column.name.as_str());
            let (message, hint) = match &field.relation {
                Some(relation) if !valid_fields.iter().any(|valid| valid.relation.as_ref() == Some(relation)) => {
                    let relations = valid_fields.iter().filter_map(|valid| valid.relation.as_ref());
                    let mut relations: Vec<String> = relations.map(|name| name.table().to_string()).collect();
                    relations.dedup();
                    (
                        format!("table `{relation}` not found in FROM"),
                        suggest::hint(relation.table(), relations, "FROM names"),
                    )
                }
                _ => (format!("column `{}` not found", field.name), column_hint(&field.name, names())),
            };
            locate(SqlError::new(message).hint(hint), &field.name, syntax)
        }
        SchemaError::AmbiguousReference { field } => {
            let error = SqlError::new(format!("column `{}` is ambiguous", field.name))
                .hint("write the table's name or alias before it");
            locate(error, &field.name, syntax)
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            let error = SqlError::new(format!("column `{name}` stands twice")).hint("rename one with AS");
            locate(error, name, syntax)
        }
    }
}

fn column_hint<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    match distinct.is_empty() {
        true => "no column can be read here".to_string(),
        false => suggest::hint(name, distinct, "columns are"),
    }
}

/// Errors that DataFusion describes by a sentence of a known form.
fn diagnosed(diagnostic: &Diagnostic, syntax: &impl Visit) -> SqlError {
    let message = diagnostic.message.as_str();
    if let Some(name) = between(message, "Invalid function '", "'") {
        let names = Functions::library().names();
        let error = SqlError::new(format!("function {} not found", name.to_uppercase()));
        return match suggest::nearest(name, &names) {
            Some(near) => error.hint(format!("did you mean {}?", near.to_uppercase())),
            None => error.hint("functions are those of Flink SQL and of DataFusion"),
        };
    }
    if let Some(name) = between(message, "'", "' must appear in GROUP BY clause") {
        let name = name.rsplit('.').next().unwrap_or(name).trim_matches(['"', '`']);
        let error = SqlError::new(format!("`{name}` is neither grouped by nor aggregated"))
            .hint(format!("add `{name}` to GROUP BY, or aggregate it, for example MAX(`{name}`)"));
        return locate(error, name, syntax);
    }
    let error = SqlError::new(lower_first(&plain_words(message)));
    match diagnostic.helps.first() {
        Some(help) => error.hint(lower_first(&plain_words(&help.message))),
        None => error,
    }
}

/// Any other error, in plain words, at the function it names.
fn plain(error: &DataFusionError, syntax: &impl Visit) -> SqlError {
    let text = error.strip_backtrace();
    let message = lower_first(&plain_words(&text));
    let message = match error {
        DataFusionError::NotImplemented(_) => format!("not supported yet: {message}"),
        _ => message,
    };
    match between(&message, "function '", "'").or(between(&message, "function: '", "'")).map(str::to_string) {
        Some(name) => locate(SqlError::new(message), &name, syntax),
        None => SqlError::new(message),
    }
}

/// Takes DataFusion's kinds of error and its follow-up lines away, and says types in SQL.
fn plain_words(text: &str) -> String {
    let mut text = text.trim();
    const KINDS: [&str; 12] = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Execution error: ",
        "Schema error: ",
        "Invalid or Unsupported Configuration: ",
        "Internal error: ",
        "Arrow error: ",
        "Cast error: ",
        "Optimizer rule ",
        "type_coercion",
        "caused by",
        "\n",
    ];
    while let Some(rest) = KINDS.iter().find_map(|kind| text.strip_prefix(kind)) {
        text = rest.trim_start();
    }
    let line = text.lines().next().unwrap_or(text).trim_end_matches('.');
    say_types(line)
}

/// Arrow's type names in SQL's.
fn say_types(text: &str) -> String {
    const TYPES: [(&str, &str); 16] = [
        ("Timestamp(ms, \"UTC\")", "TIMESTAMP_LTZ(3)"),
        ("Timestamp(µs, \"UTC\")", "TIMESTAMP_LTZ(6)"),
        ("Timestamp(ms)", "TIMESTAMP(3)"),
        ("Timestamp(µs)", "TIMESTAMP(6)"),
        ("Timestamp(ns)", "TIMESTAMP(9)"),
        ("Interval(MonthDayNano)", "INTERVAL"),
        ("Utf8View", "STRING"),
        ("LargeUtf8", "STRING"),
        ("Utf8", "STRING"),
        ("Int64", "BIGINT"),
        ("Int32", "INT"),
        ("Int16", "SMALLINT"),
        ("Int8", "TINYINT"),
        ("Float64", "DOUBLE"),
        ("Float32", "FLOAT"),
        ("Decimal128", "DECIMAL"),
    ];
    TYPES.iter().fold(text.to_string(), |text, (arrow, sql)| {
        // `UInt64` must not become `UBIGINT`.
        text.replace(&format!("U{arrow}"), "\u{0}").replace(arrow, sql).replace('\u{0}', &format!("U{arrow}"))
    })
}

/// What stands between two markers.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let start = text.find(before)? + before.len();
    let length = text[start..].find(after)?;
    Some(&text[start..start + length])
}

/// A sentence begins small, unless its first word is in capitals.
fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_string(),
    }
}

/// The error at the first place where `name` stands in `syntax`.
fn locate(error: SqlError, name: &str, syntax: &impl Visit) -> SqlError {
    let mut search = FindName { name };
    match syntax.visit(&mut search) {
        ControlFlow::Break(position) => error.at(position),
        ControlFlow::Continue(()) => error,
    }
}

struct FindName<'n> {
    name: &'n str,
}

impl FindName<'_> {
    fn check(&self, ident: &Ident) -> ControlFlow<Position> {
        match ident.value.eq_ignore_ascii_case(self.name) && ident.span.start.line > 0 {
            true => ControlFlow::Break(ident_position(ident)),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for FindName<'_> {
    type Break = Position;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Position> {
        match relation.to_string().eq_ignore_ascii_case(self.name) {
            true => ControlFlow::Break(position_of(relation)),
            false => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Position> {
        match expr {
            Expr::Identifier(ident) => self.check(ident),
            Expr::CompoundIdentifier(idents) => idents.last().map_or(ControlFlow::Continue(()), |last| self.check(last)),
            Expr::Function(function) => match function.name.to_string().eq_ignore_ascii_case(self.name) {
                true => ControlFlow::Break(position_of(&function.name)),
                false => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}
