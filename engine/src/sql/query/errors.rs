//! DataFusion's errors as ours: without its jargon, with a place in the text and the nearest name.

use std::ops::ControlFlow;

use datafusion_common::{DataFusionError, SchemaError};
use sqlparser::ast::{Expr, Ident, ObjectName, Visit, Visitor};

use crate::error::{Position, SqlError};
use crate::functions::Functions;
use crate::sql::catalog::Catalog;
use crate::sql::position::{ident_position, position_of};
use crate::sql::query::Syntax;
use crate::sql::suggest;

/// What `error`, met while planning `syntax`, tells the user.
pub(crate) fn sql_error(error: DataFusionError, syntax: &impl Syntax, catalog: &Catalog) -> SqlError {
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let mut told = translate(error.find_root(), catalog);
    if told.position.is_none() {
        told.position = span.map(|span| Position {
            line: span.start.line,
            column: span.start.column,
            length: if span.end.line == span.start.line {
                (span.end.column - span.start.column).max(1)
            } else {
                1
            },
        });
    }
    if let Some(blamed) = blamed_name(&told.message)
        && told.position.is_none_or(|position| position.line == 0)
    {
        told.position = locate(syntax, &blamed);
    }
    told
}

fn translate(error: &DataFusionError, catalog: &Catalog) -> SqlError {
    match error {
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(ours) => ours.clone(),
            None => SqlError::new(inner.to_string()),
        },
        DataFusionError::SchemaError(schema, _) => schema_error(schema),
        DataFusionError::Plan(message) => plan_message(message, catalog),
        DataFusionError::NotImplemented(message) => SqlError::new(format!("not supported: {message}")),
        DataFusionError::SQL(error, _) => SqlError::new(error.to_string()),
        other => SqlError::new(other.strip_backtrace()),
    }
}

fn schema_error(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
            SqlError::new(format!("column `{}` not found", field.name)).hint(suggest::hint(
                &field.name,
                names,
                "columns:",
            ))
        }
        SchemaError::AmbiguousReference { field } => {
            SqlError::new(format!("column `{}` is ambiguous", field.name))
                .hint("several relations have it; write the relation's name in front")
        }
        other => SqlError::new(other.to_string()),
    }
}

fn plan_message(message: &str, _catalog: &Catalog) -> SqlError {
    let first_line = message.lines().next().unwrap_or(message);
    if let Some(name) = first_line
        .strip_prefix("Invalid function '")
        .and_then(|rest| rest.split('\'').next())
    {
        let near = suggest::nearest(name, Functions::new().names());
        let error = SqlError::new(format!("function `{name}` not found"));
        return match near {
            Some(near) => error.hint(format!("did you mean `{}`?", near.to_uppercase())),
            None => error.hint("functions are those of Flink SQL and of DataFusion"),
        };
    }
    SqlError::new(message.trim_end_matches('.').to_string())
}

/// The name in backticks or quotes that a message blames.
fn blamed_name(message: &str) -> Option<String> {
    ['`', '\'']
        .iter()
        .find_map(|&quote| message.split(quote).nth(1))
        .map(str::to_string)
}

/// Where `name` first stands in `syntax`.
fn locate(syntax: &impl Visit, name: &str) -> Option<Position> {
    struct Finder<'a>(&'a str);

    impl Finder<'_> {
        fn check(&self, ident: &Ident) -> ControlFlow<Position> {
            match ident.value.eq_ignore_ascii_case(self.0) {
                true => ControlFlow::Break(ident_position(ident)),
                false => ControlFlow::Continue(()),
            }
        }
    }

    impl Visitor for Finder<'_> {
        type Break = Position;

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Position> {
            relation
                .0
                .iter()
                .filter_map(|part| part.as_ident())
                .try_for_each(|ident| self.check(ident))
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Position> {
            match expression {
                Expr::Identifier(ident) => self.check(ident),
                Expr::CompoundIdentifier(idents) => idents.iter().try_for_each(|ident| self.check(ident)),
                Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case(self.0) => {
                    ControlFlow::Break(position_of(&function.name))
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }

    match syntax.visit(&mut Finder(name)) {
        ControlFlow::Break(position) => Some(position),
        ControlFlow::Continue(()) => None,
    }
}
