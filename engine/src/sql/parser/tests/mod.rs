//! One `check()`: SQL text in, statements (or the error) out as text.

use super::*;
use crate::sql::statement::{ColumnKind, Emit, Name};

mod fuzz;
mod refusals;
mod statements;
mod tables;
mod windows;

/// The statements of `sql`, one line each part, or the error.
fn check(sql: &str, expected: &str) {
    let text = match parse(sql) {
        Ok(statements) => statements.iter().map(describe).collect::<Vec<_>>().join("\n"),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(text, expected, "\n{sql}");
}

fn describe(statement: &Statement) -> String {
    match &statement.kind {
        StatementKind::CreateTable(table) => describe_table(table),
        StatementKind::CreateView(view) => {
            format!(
                "view {}{:?}: {}",
                view.name.value,
                values(&view.columns),
                describe_query(&view.query)
            )
        }
        StatementKind::CreateAs(create) => {
            format!("{} as {}", create.name.value, describe_query(&create.query))
        }
        StatementKind::Insert(insert) => describe_insert(insert),
        StatementKind::Select(query) => describe_query(query),
        StatementKind::StatementSet(inserts) => {
            format!(
                "set of {}",
                inserts
                    .iter()
                    .map(describe_insert)
                    .collect::<Vec<_>>()
                    .join(" and ")
            )
        }
        StatementKind::Set(option) => format!("{} := {}", option.key, option.value),
        StatementKind::Explain(inner) => format!("explain {}", describe(inner)),
    }
}

fn values(names: &[Name]) -> Vec<&str> {
    names.iter().map(|name| name.value.as_str()).collect()
}

fn describe_insert(insert: &Insert) -> String {
    format!(
        "{}{:?} <- {}",
        insert.table.value,
        values(&insert.columns),
        describe_query(&insert.query)
    )
}

fn describe_query(query: &StreamQuery) -> String {
    match query.emit {
        Emit::Default => query.query.to_string(),
        emit => format!("{} | {emit:?}", query.query),
    }
}

fn describe_table(table: &CreateTable) -> String {
    let mut lines = vec![format!("table {}", table.name.value)];
    for column in &table.columns {
        let kind = match &column.kind {
            ColumnKind::Physical { data_type, nullable } => {
                format!("{data_type}{}", if *nullable { "" } else { " not null" })
            }
            ColumnKind::Computed(expression) => format!("= {expression}"),
            ColumnKind::Metadata {
                data_type,
                key,
                is_virtual,
            } => {
                format!(
                    "{data_type} from {key}{}",
                    if *is_virtual { " virtual" } else { "" }
                )
            }
        };
        let comment = column.comment.as_deref().map(|comment| format!(" -- {comment}"));
        lines.push(format!(
            "  {} {kind}{}",
            column.name.value,
            comment.unwrap_or_default()
        ));
    }
    if let Some(watermark) = &table.watermark {
        lines.push(format!(
            "  watermark {} = {}",
            watermark.column.value, watermark.expression
        ));
    }
    if !table.primary_key.is_empty() {
        lines.push(format!("  key {:?}", values(&table.primary_key)));
    }
    for option in &table.options {
        lines.push(format!("  {} = {}", option.key, option.value));
    }
    lines.join("\n")
}
