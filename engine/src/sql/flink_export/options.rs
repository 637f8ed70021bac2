//! Options of tables and settings under Flink's names.
//!
//! **Invariant.** An option that Flink does not have is an error: dropping it would change what is read or written.

use super::edits::{Edits, ends};
use crate::error::SqlError;
use crate::sql::statement::{SetOption, Statement, StatementKind, TableOption};

/// Connectors that both have.
const CONNECTORS: [&str; 6] = [
    "filesystem",
    "kafka",
    "upsert-kafka",
    "print",
    "blackhole",
    "datagen",
];

/// Options that mean the same to both.
const SHARED: [&str; 20] = [
    "connector",
    "path",
    "format",
    "source.monitor-interval",
    "sink.rolling-policy.file-size",
    "sink.rolling-policy.rollover-interval",
    "json.ignore-parse-errors",
    "json.fail-on-missing-field",
    "json.timestamp-format.standard",
    "csv.ignore-parse-errors",
    "csv.field-delimiter",
    "csv.quote-character",
    "csv.null-literal",
    "print-identifier",
    "number-of-rows",
    "rows-per-second",
    "debezium-json.ignore-parse-errors",
    "debezium-json.timestamp-format.standard",
    "changelog-mode",
    "csv.header",
];

/// Parts of `fields.<name>.<part>` that Flink's datagen has.
const FIELD_PARTS: [&str; 7] = ["kind", "min", "max", "start", "end", "length", "null-rate"];

/// Renames the options of all tables and settings, or refuses them.
pub(super) fn export_options(statements: &[Statement], edits: &mut Edits<'_>) -> Result<(), SqlError> {
    for statement in statements {
        match &statement.kind {
            StatementKind::CreateTable(table) => export_table(&table.options, edits)?,
            StatementKind::CreateAs(table) => export_table(&table.options, edits)?,
            StatementKind::Set(option) => export_setting(option, edits)?,
            _ => {}
        }
    }
    Ok(())
}

fn export_table(options: &[TableOption], edits: &mut Edits<'_>) -> Result<(), SqlError> {
    let value = |key: &str| options.iter().find(|option| option.key == key);
    // A record of a topic is no file: it has no header in either.
    let is_csv = value("format").is_some_and(|format| format.value == "csv")
        && value("connector").is_none_or(|connector| connector.value != "kafka");
    if let Some(format) = value("format").filter(|_| is_csv && value("csv.header").is_none()) {
        return Err(
            SqlError::new("Flink's CSV files have no header, and this table's have one")
                .at(format.value_position)
                .hint("write the files without a header and add 'csv.header' = 'false', or use 'format' = 'json'"),
        );
    }
    for (number, option) in options.iter().enumerate() {
        export_option(
            option,
            options.get(number + 1),
            number.checked_sub(1).map(|before| &options[before]),
            edits,
        )?;
    }
    Ok(())
}

fn export_option(
    option: &TableOption,
    next: Option<&TableOption>,
    before: Option<&TableOption>,
    edits: &mut Edits<'_>,
) -> Result<(), SqlError> {
    let refuse = |message: String| Err(SqlError::new(message).at(option.key_position));
    match (option.key.as_str(), option.value.as_str()) {
        ("connector", name) if !CONNECTORS.contains(&name) => {
            Err(SqlError::new(format!("Flink has no connector '{name}'"))
                .at(option.value_position)
                .hint(format!("connectors that both have are {}", CONNECTORS.join(", "))))
        }
        ("format", "ndjson") => {
            edits.replace_position(option.value_position, "'json'");
            Ok(())
        }
        ("format", "changelog-json") => Err(SqlError::new("Flink has no format 'changelog-json'")
            .at(option.value_position)
            .hint("'debezium-json' is understood by both")),
        ("path", path) if path.contains(['*', '?', '[']) => Err(SqlError::new(
            "Flink's paths are files or directories, and no patterns",
        )
        .at(option.value_position)
        .hint("name the directory")),
        ("csv.header", "false") => {
            remove(option, next, before, edits);
            Ok(())
        }
        ("csv.header", _) => refuse("Flink's CSV files have no header".to_string()),
        ("sink.print-identifier", _) => {
            edits.replace_position(option.key_position, "'print-identifier'");
            Ok(())
        }
        (key, _) if SHARED.contains(&key) || is_of_kafka(key) => Ok(()),
        (key, _) => match key.strip_prefix("fields.").and_then(|rest| rest.rsplit_once('.')) {
            Some((_, part)) if FIELD_PARTS.contains(&part) => Ok(()),
            _ => refuse(format!("the option '{key}' has no counterpart in Flink")),
        },
    }
}

/// Options of Kafka tables are Flink's.
fn is_of_kafka(key: &str) -> bool {
    let prefixes = [
        "topic",
        "properties.",
        "scan.startup.",
        "scan.bounded.",
        "scan.topic-partition-discovery.",
        "key.",
        "value.",
        "sink.delivery-guarantee",
        "sink.transactional-id-prefix",
        "sink.partitioner",
    ];
    prefixes.iter().any(|prefix| key.starts_with(prefix))
}

/// Takes an option out of its list, with the comma behind it, or before it where it is the last.
fn remove(
    option: &TableOption,
    next: Option<&TableOption>,
    before: Option<&TableOption>,
    edits: &mut Edits<'_>,
) {
    let (start, end) = (ends(option.key_position).0, ends(option.value_position).1);
    match (next, before) {
        (Some(next), _) => edits.replace(start, ends(next.key_position).0, ""),
        (None, Some(before)) => edits.replace(ends(before.value_position).1, end, ""),
        (None, None) => edits.replace(start, end, ""),
    }
}

fn export_setting(option: &SetOption, edits: &mut Edits<'_>) -> Result<(), SqlError> {
    match option.key.as_str() {
        "scan.watermark.idle-timeout" => {
            edits.replace_position(option.key_position, "'table.exec.source.idle-timeout'");
            Ok(())
        }
        key if key.starts_with("scan.watermark.") => Err(SqlError::new(format!(
            "the setting '{key}' has no counterpart in Flink"
        ))
        .at(option.key_position)
        .hint("leave it out")),
        _ => Ok(()),
    }
}
