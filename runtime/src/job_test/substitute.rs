//! A job's tables as a test sees them: rows come from its input files, and nothing is written outside.
//!
//! The job's text is not touched: its statements are, after they have been read.
//!
//! **Invariant.** No table of a test reads anything but the test's files, or files that the job names; none
//! writes anything.

use std::collections::BTreeSet;
use std::path::Path;

use engine::error::{Position, SqlError};
use engine::plan::{NodeKind, StreamPlan};
use engine::sql::statement::{Statement, StatementKind, TableOption};

/// The connector of replaced tables.
const MEMORY: &str = "memory";

/// Gives the tables in `inputs` and those that are written to the test's connector, and makes the paths of
/// all others relative to `folder`.
pub fn substitute(statements: &mut [Statement], inputs: &BTreeSet<String>, folder: &Path) {
    let written = written_tables(statements);
    for statement in statements {
        match &mut statement.kind {
            StatementKind::CreateTable(table) => {
                let name = &table.name.value;
                if inputs.contains(name) {
                    table.options = replaced(&table.options);
                } else if written.contains(name) {
                    table.options = vec![option("connector", MEMORY)];
                } else {
                    make_absolute(&mut table.options, folder);
                }
            }
            // Without options it is only a name for its query.
            StatementKind::CreateAs(table) if !table.options.is_empty() => {
                table.options = vec![option("connector", MEMORY)];
            }
            _ => {}
        }
    }
}

/// The tables that the job writes to.
fn written_tables(statements: &[Statement]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for statement in statements {
        let inserts = match &statement.kind {
            StatementKind::Insert(insert) => std::slice::from_ref(insert),
            StatementKind::StatementSet(inserts) => inserts.as_slice(),
            _ => &[],
        };
        names.extend(inserts.iter().map(|insert| insert.table.value.clone()));
    }
    names
}

/// A replaced source says of its rows what it said before: that they come as changes, and how watermarks follow
/// from them.
fn replaced(options: &[TableOption]) -> Vec<TableOption> {
    let value = |key: &str| {
        let found = options.iter().find(|option| option.key == key);
        found.map(|option| option.value.as_str())
    };
    let mut replaced = vec![option("connector", MEMORY)];
    if value("connector") == Some("upsert-kafka") {
        replaced.push(option("changelog-mode", "I,UA,D"));
    } else if let Some("changelog-json" | "debezium-json") = value("format").or(value("value.format")) {
        let mode = value("changelog-mode").unwrap_or("I,UA,UB,D");
        replaced.push(option("changelog-mode", mode));
    }
    let of_watermarks = |option: &&TableOption| option.key.starts_with("scan.watermark.");
    replaced.extend(options.iter().filter(of_watermarks).cloned());
    replaced
}

fn make_absolute(options: &mut [TableOption], folder: &Path) {
    for option in options.iter_mut().filter(|option| option.key == "path") {
        if Path::new(&option.value).is_relative() {
            option.value = folder.join(&option.value).display().to_string();
        }
    }
}

fn option(key: &str, value: &str) -> TableOption {
    TableOption {
        key: key.to_string(),
        key_position: Position::default(),
        value: value.to_string(),
        value_position: Position::default(),
    }
}

/// Refuses a job that would read what a test cannot give it.
///
/// # Errors
/// A table without input file that does not read files that end; an input file of a table that is not read.
pub fn check_sources(plan: &StreamPlan, inputs: &BTreeSet<String>) -> Result<(), SqlError> {
    let mut read = BTreeSet::new();
    for node in &plan.nodes {
        let NodeKind::Source(source) = &node.kind else {
            continue;
        };
        let table = &source.table;
        read.insert(table.name.clone());
        let follows = table.option("source.monitor-interval").is_some();
        let has_own_rows = table.rows.is_some() || (table.connector() == "filesystem" && !follows);
        if inputs.contains(&table.name) || has_own_rows {
            continue;
        }
        return Err(SqlError::new(format!(
            "table '{}' reads from '{}', which a test cannot wait for",
            table.name,
            table.connector()
        ))
        .at(table.position)
        .hint(format!("give its rows in a file input.{}.ndjson", table.name)));
    }
    match inputs.difference(&read).next() {
        Some(name) => Err(SqlError::new(format!(
            "there are rows for '{name}', which the job does not read"
        ))
        .hint(engine::sql::suggest::hint(name, &read, "it reads"))),
        None => Ok(()),
    }
}
