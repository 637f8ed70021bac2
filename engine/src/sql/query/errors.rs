//! What DataFusion's planner says → [`SqlError`]s: in our words, with a place and the nearest name.
//!
//! DataFusion knows the places of columns; for the rest, the identifier it blames is looked up in
//! the syntax tree.
//!
//! **Invariant.** A [`SqlError`] that travelled through DataFusion comes out unchanged.

use std::error::Error;
use std::ops::ControlFlow;

use datafusion_common::{DataFusionError, Diagnostic, SchemaError, Span};
use sqlparser::ast::{Expr, Ident, ObjectName, Select, Visit, Visitor};

use crate::error::{Position, SqlError};
use crate::functions::Functions;
use crate::plan::display::sql_types;
use crate::sql::places::Places;
use crate::sql::position::{ident_position, position_of};
use crate::sql::query::{blame, fields};
use crate::sql::suggest;
use crate::sql::walk::walk;

/// Carries our error through DataFusion.
pub(crate) fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// What `error`, met while planning `syntax`, tells the user.
pub(crate) fn sql_error(error: DataFusionError, syntax: &impl Visit, places: &Places) -> SqlError {
    let diagnostic = error.diagnostic();
    let place = diagnostic.and_then(diagnosed_span).map(position);
    let told = match (carried(&error), error.find_root(), diagnostic) {
        (Some(ours), ..) => match blamed(&ours.message).filter(|_| ours.position.is_none()) {
            Some(name) => locate(ours.clone(), name, syntax),
            None => ours.clone(),
        },
        (None, DataFusionError::SchemaError(schema, _), _) => schema_error(schema, syntax),
        (None, _, Some(diagnostic)) => diagnosed(diagnostic, syntax),
        (None, root, None) => plain(root, syntax),
    };
    assert!(
        !told.message.is_empty(),
        "invariant: every error of the planner says something"
    );
    // DataFusion's place is that of the very token; ours is where its name first stands.
    match (place, carried(&error)) {
        (Some(place), None) => SqlError {
            position: Some(place),
            ..told
        },
        (Some(place), Some(_)) => told.at(place),
        (None, _) if told.position.is_some() => told,
        (None, _) => match blame::place(&told.message, places) {
            Some(place) => told.at(place),
            None => told,
        },
    }
}

/// The place of a diagnostic, or the first that one of its notes has; that of a set operation is all of it.
fn diagnosed_span(diagnostic: &Diagnostic) -> Option<Span> {
    if diagnostic
        .message
        .contains("queries have different number of columns")
    {
        return None;
    }
    let notes = diagnostic.notes.iter().filter_map(|note| note.span);
    let first = notes.min_by_key(|span| (span.start.line, span.start.column));
    diagnostic.span.or(first).filter(|span| span.start.line > 0)
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
    Position {
        line: span.start.line,
        column: span.start.column,
        length,
    }
}

fn schema_error(error: &SchemaError, syntax: &impl Visit) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names = || valid_fields.iter().map(|column| column.name.as_str());
            let (message, hint) = match &field.relation {
                Some(relation)
                    if !valid_fields
                        .iter()
                        .any(|valid| valid.relation.as_ref() == Some(relation)) =>
                {
                    let relations = valid_fields.iter().filter_map(|valid| valid.relation.as_ref());
                    let mut relations: Vec<String> = relations.map(|name| name.table().to_string()).collect();
                    relations.dedup();
                    (
                        format!("table `{relation}` not found in FROM"),
                        suggest::hint(relation.table(), relations, "FROM names"),
                    )
                }
                _ => (
                    format!("column `{}` not found", field.name),
                    column_hint(&field.name, names()),
                ),
            };
            locate(SqlError::new(message).hint(hint), &field.name, syntax)
        }
        SchemaError::AmbiguousReference { field } => {
            let error = SqlError::new(format!("column `{}` is ambiguous", field.name))
                .hint("write the table's name or alias before it");
            locate(error, &field.name, syntax)
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
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
        let error = SqlError::new(format!("function `{}` not found", name.to_uppercase()));
        return match suggest::nearest(name, &names) {
            Some(near) => error.hint(format!("did you mean `{}`?", near.to_uppercase())),
            None => error.hint("functions are those of Flink SQL and of DataFusion"),
        };
    }
    if let Some(name) = between(message, "'", "' must appear in GROUP BY clause") {
        let name = name.rsplit('.').next().unwrap_or(name).trim_matches(['"', '`']);
        let error = SqlError::new(format!("`{name}` is neither grouped by nor aggregated")).hint(format!(
            "add `{name}` to GROUP BY, or aggregate it, for example MAX(`{name}`)"
        ));
        return locate(error, name, syntax);
    }
    if message == "expressions have incompatible types" {
        let types = diagnostic
            .notes
            .iter()
            .filter_map(|note| note.message.strip_prefix("has type "));
        let types: Vec<String> = types.map(sql_types).collect();
        return SqlError::new(format!("{} do not go together", types.join(" and ")))
            .hint("bring one to the type of the other with CAST(… AS …)");
    }
    if let Some((operation, _)) = message.split_once(" queries have different number of columns") {
        let widths = diagnostic
            .notes
            .iter()
            .filter_map(|note| between(&note.message, "has ", " fields"));
        let widths = widths.collect::<Vec<_>>().join(" and ");
        return SqlError::new(format!("the sides of {operation} have {widths} columns"))
            .hint("select the same number of columns on both sides");
    }
    // The notes name the two types.
    let notes: Vec<String> = diagnostic
        .notes
        .iter()
        .map(|note| plain_words(&note.message))
        .collect();
    let error = match notes.is_empty() {
        true => SqlError::new(lower_first(&plain_words(message))),
        false => SqlError::new(format!(
            "{}: {}",
            lower_first(&plain_words(message)),
            notes.join(", ")
        )),
    };
    match diagnostic.helps.first() {
        Some(help) => error.hint(lower_first(&plain_words(&help.message))),
        None => error,
    }
}

/// Forms of error that DataFusion gives no diagnostic for.
fn known_form(text: &str, syntax: &impl Visit) -> Option<SqlError> {
    if let Some((head, told)) = text.split_once("coercion failed with: ") {
        // What one of our functions says of its arguments.
        let told = told.split(" No function matches").next().unwrap_or(told);
        let error = SqlError::new(plain_words(told));
        return Some(match between(head, "unction '", "'") {
            Some(name) => locate(error, name, syntax),
            None => error,
        });
    }
    if let Some(call) = between(text, "given name and argument types '", "'") {
        let name = call.split('(').next().unwrap_or(call);
        let error = SqlError::new(format!("no function takes these arguments: {}", sql_types(call)))
            .hint("bring an argument to the right type with CAST(… AS …)");
        return Some(locate(error, name, syntax));
    }
    if let Some(told) = text
        .lines()
        .next()
        .and_then(|line| line.split("non-boolean predicate '").nth(1))
    {
        let (predicate, found) = told.split_once("' returning ").unwrap_or((told, "no BOOLEAN"));
        let name = predicate.rsplit('.').next().unwrap_or(predicate);
        let error = SqlError::new(format!(
            "WHERE needs a BOOLEAN, and `{name}` is {}",
            sql_types(found)
        ));
        return Some(locate(error, name, syntax));
    }
    if let Some(places) = text.split("require unique expression names").nth(1) {
        let name = between(places, "expression \"", "\" at position").unwrap_or("");
        let name = name.rsplit(" AS ").next().unwrap_or(name);
        let plain = name.bytes().all(|byte| byte != b'(' && byte != b' ');
        let name = name.rsplit('.').next().filter(|_| plain).unwrap_or(name);
        let error = SqlError::new(format!("two columns of the query are named `{name}`"))
            .hint("give one of them another name with AS");
        return Some(
            match second_position(places).and_then(|index| item_position(index, syntax)) {
                Some(place) => error.at(place),
                None => error,
            },
        );
    }
    if let Some((_, found)) = text.split_once("annot access field at argument ") {
        let found = between(found, "type ", " is not").unwrap_or("no ROW");
        return fields::missing(&sql_types(found), syntax);
    }
    if text.contains(" is not valid Substring ") {
        let error =
            SqlError::new("SUBSTRING needs to know from where").hint("write SUBSTRING(x FROM 2 FOR 3)");
        return Some(error);
    }
    if text.contains("ggregate functions are not allowed in the WHERE clause") {
        return Some(
            SqlError::new("an aggregate in the WHERE clause, which looks at single rows")
                .hint("filter groups with HAVING"),
        );
    }
    if let Some((_, lengths)) = text.split_once("nconsistent data length across values list: got ") {
        let mut numbers = lengths.split(|letter: char| !letter.is_ascii_digit());
        let found = numbers.next().unwrap_or_default();
        let expected = numbers.next_back().unwrap_or_default();
        return Some(
            SqlError::new(format!("the rows of VALUES have {expected} and {found} columns"))
                .hint("give every row the same number of values; NULL where there is none"),
        );
    }
    if text.contains("oin condition should not be empty") {
        return Some(SqlError::new("the join condition should not be empty").hint("add ON a.id = b.id"));
    }
    None
}

/// The second number of `… at position 0 and … at position 1 …`.
fn second_position(text: &str) -> Option<usize> {
    let digits = text.split("at position ").nth(2)?;
    digits
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Where item `index` stands in the first SELECT list that has so many.
fn item_position(index: usize, syntax: &impl Visit) -> Option<Position> {
    struct FindItem(usize);

    impl Visitor for FindItem {
        type Break = Position;

        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Position> {
            match select.projection.get(self.0) {
                Some(item) => ControlFlow::Break(position_of(item)),
                None => ControlFlow::Continue(()),
            }
        }
    }

    match walk(syntax, &mut FindItem(index)) {
        ControlFlow::Break(position) => Some(position),
        ControlFlow::Continue(()) => None,
    }
}

/// Any other error, in plain words, at the function it names.
fn plain(error: &DataFusionError, syntax: &impl Visit) -> SqlError {
    if let Some(told) = known_form(&error.strip_backtrace(), syntax) {
        return told;
    }
    let told = plain_error(error);
    match between(&told.message, "function '", "'")
        .or(between(&told.message, "function: '", "'"))
        .map(str::to_string)
    {
        Some(name) => locate(told, &name, syntax),
        None => told,
    }
}

/// An error in plain words, of which only the statement is known.
pub(crate) fn plain_error(error: &DataFusionError) -> SqlError {
    let text = error.strip_backtrace();
    if text.contains("Physical plan does not support logical expression") {
        return SqlError::new("a sub-query in this place is not supported").hint(
            "make EXISTS or IN a condition of its own (… WHERE a AND EXISTS (…)), not a part of an OR",
        );
    }
    let message = lower_first(&plain_words(&text));
    SqlError::new(match error {
        DataFusionError::NotImplemented(_) => format!("not supported yet: {message}"),
        _ => message,
    })
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
    let line = text.lines().next().unwrap_or(text);
    let line = line
        .split(" (DataType: ")
        .next()
        .unwrap_or(line)
        .trim_end_matches('.');
    sql_types(line)
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
    for exactly in [true, false] {
        if let ControlFlow::Break(position) = walk(syntax, &mut FindName { name, exactly }) {
            return error.at(position);
        }
    }
    error
}

struct FindName<'n> {
    name: &'n str,
    /// Whether case counts.
    exactly: bool,
}

impl FindName<'_> {
    fn is_name(&self, found: &str) -> bool {
        found == self.name || (!self.exactly && found.eq_ignore_ascii_case(self.name))
    }

    fn check(&self, ident: &Ident) -> ControlFlow<Position> {
        match self.is_name(&ident.value) && ident.span.start.line > 0 {
            true => ControlFlow::Break(ident_position(ident)),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for FindName<'_> {
    type Break = Position;

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Position> {
        match self.is_name(&relation.to_string()) {
            true => ControlFlow::Break(position_of(relation)),
            false => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Position> {
        match expr {
            Expr::Identifier(ident) => self.check(ident),
            Expr::CompoundIdentifier(idents) => idents
                .last()
                .map_or(ControlFlow::Continue(()), |last| self.check(last)),
            Expr::Function(function) => match self.is_name(&function.name.to_string()) {
                true => ControlFlow::Break(position_of(&function.name)),
                false => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}
