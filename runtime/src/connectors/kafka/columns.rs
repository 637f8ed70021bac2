//! Which columns stand in the key of a record, and which in its value; how either is encoded.
//!
//! **Invariant.** The words are Flink's: `key.fields`, `key.fields-prefix`, `value.fields-include`, and the primary
//! key of an `upsert-kafka` table.

use engine::error::SqlError;
use engine::formats::csv::{CsvHeader, CsvOptions};
use engine::formats::ndjson::NdjsonOptions;
use engine::sql::catalog::{TableColumnKind, TableDefinition};

use crate::connectors::format::{FormatKind, RowFormat};
use crate::connectors::options::TableOptions;

/// The columns of the key.
#[derive(Clone, Debug)]
pub struct KeyColumns {
    /// How a key is encoded.
    pub format: RowFormat,
    /// The table's columns that it holds.
    pub names: Vec<String>,
    /// What their names start with and the fields of the key do not.
    prefix: String,
    /// The value does not hold them as well.
    pub is_apart: bool,
}

impl KeyColumns {
    /// What the options say of keys; nothing where records have none.
    ///
    /// # Errors
    /// An option without its companion; a column that is not there.
    pub fn parse(options: &TableOptions<'_>, replaces_by_key: bool) -> Result<Option<KeyColumns>, SqlError> {
        let table = options.table();
        let is_apart = options
            .word("value.fields-include", &[("ALL", false), ("EXCEPT_KEY", true)])?
            .unwrap_or(false);
        let prefix = options.text("key.fields-prefix").unwrap_or_default().to_string();
        let names: Vec<String> = match replaces_by_key {
            true => {
                let key = table.primary_key.iter();
                key.map(|&column| table.columns[column].field.name().clone())
                    .collect()
            }
            false => options
                .text("key.fields")
                .unwrap_or_default()
                .split(';')
                .map(|name| name.trim().to_string())
                .filter(|name| !name.is_empty())
                .collect(),
        };
        if names.is_empty() {
            return match options.text("key.format") {
                None if !is_apart => Ok(None),
                None => Err(options.error(
                    "value.fields-include",
                    format!(
                        "table '{}': without 'key.fields' every column is in the value",
                        table.name
                    ),
                )),
                Some(_) => Err(options
                    .error(
                        "key.format",
                        format!("table '{}': 'key.format' needs 'key.fields'", table.name),
                    )
                    .hint("name the columns of the key: 'key.fields' = 'a;b'")),
            };
        }
        for name in &names {
            check_column(options, table, name, &prefix, replaces_by_key)?;
        }
        if !prefix.is_empty() && !is_apart {
            return Err(options
                .error(
                    "key.fields-prefix",
                    format!(
                        "table '{}': key columns with a prefix are not in the value",
                        table.name
                    ),
                )
                .hint("add 'value.fields-include' = 'EXCEPT_KEY'"));
        }
        let format = match options.required("key.format", "how keys are encoded: 'json' or 'csv'")? {
            "csv" => RowFormat::Csv(CsvOptions {
                header: CsvHeader::Absent,
                ..CsvOptions::default()
            }),
            _ => RowFormat::Json(NdjsonOptions::default(), Default::default()),
        };
        Ok(Some(KeyColumns {
            format,
            names,
            prefix,
            is_apart,
        }))
    }

    /// Whether column `name` is one of the key.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// The field of the key that holds column `name`.
    pub fn field_name<'n>(&self, name: &'n str) -> &'n str {
        name.strip_prefix(self.prefix.as_str()).unwrap_or(name)
    }
}

fn check_column(
    options: &TableOptions<'_>,
    table: &TableDefinition,
    name: &str,
    prefix: &str,
    replaces_by_key: bool,
) -> Result<(), SqlError> {
    let column = table.columns.iter().find(|column| column.field.name() == name);
    let is_stored = column.is_some_and(|column| matches!(column.kind, TableColumnKind::Physical));
    let key = if replaces_by_key {
        "connector"
    } else {
        "key.fields"
    };
    if !is_stored {
        let what = match column {
            Some(_) => "is not stored in the record",
            None => "is not a column of the table",
        };
        return Err(options.error(
            key,
            format!("table '{}': '{name}', of the key, {what}", table.name),
        ));
    }
    match name.starts_with(prefix) {
        true => Ok(()),
        false => Err(options.error(
            "key.fields-prefix",
            format!(
                "table '{}': the key column '{name}' does not start with '{prefix}'",
                table.name
            ),
        )),
    }
}

/// How values are encoded.
///
/// # Errors
/// No format, or one that a record cannot have.
pub fn value_format(options: &TableOptions<'_>) -> Result<RowFormat, SqlError> {
    let table = options.table();
    if options.text("value.format").is_some() && table.option("format").is_some() {
        return Err(options.error(
            "value.format",
            format!(
                "table '{}': 'format' and 'value.format' mean the same",
                table.name
            ),
        ));
    }
    let key = match table.option("format") {
        Some(_) => "format",
        None => {
            options.required(
                "value.format",
                "how values are encoded: 'json', 'csv', 'changelog-json' or 'debezium-json'",
            )?;
            "value.format"
        }
    };
    let format = match FormatKind::parse(options, options.text("value.format"))? {
        FormatKind::Rows(RowFormat::Csv(csv)) => {
            if options.text("csv.header").is_some_and(|header| header != "false") {
                return Err(options.error(
                    "csv.header",
                    format!("table '{}': a record of a topic has no header", table.name),
                ));
            }
            RowFormat::Csv(CsvOptions {
                header: CsvHeader::Absent,
                ..csv
            })
        }
        FormatKind::Rows(format) => format,
        FormatKind::Parquet => {
            return Err(options.invalid(key, "'json', 'csv', 'changelog-json' or 'debezium-json'"));
        }
    };
    match format {
        RowFormat::Changelog(..) if table.sink_replaces_by_key() => {
            Err(options.invalid(key, "'json' or 'csv': what a record says follows from its key"))
        }
        format => Ok(format),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;
    use crate::connectors::testing::table;

    fn parse(options: &[(&str, &str)], replaces_by_key: bool) -> Result<Option<KeyColumns>, String> {
        let mut all = vec![("connector", "kafka"), ("topic", "t")];
        all.extend(options);
        let columns = [("k_id", DataType::Int64), ("v", DataType::Utf8)];
        let mut table = table("t", &columns, &all);
        table.primary_key = vec![0];
        let options = TableOptions::new(&table).unwrap();
        KeyColumns::parse(&options, replaces_by_key).map_err(|error| error.to_string())
    }

    #[test]
    fn key_columns_are_named_or_the_primary_key() {
        assert!(parse(&[], false).unwrap().is_none());
        let apart = [
            ("key.format", "json"),
            ("key.fields", "k_id"),
            ("key.fields-prefix", "k_"),
            ("value.fields-include", "EXCEPT_KEY"),
        ];
        let key = parse(&apart, false).unwrap().expect("a key");
        assert!(key.is_apart && key.contains("k_id") && !key.contains("v"));
        assert_eq!(key.field_name("k_id"), "id");
        let key = parse(&[("key.format", "csv")], true).unwrap().expect("a key");
        assert_eq!(key.names, ["k_id"]);
    }

    #[test]
    fn an_option_without_its_companion_is_refused() {
        let refused = |options: &[(&str, &str)], part: &str| {
            let error = parse(options, false).expect_err("refused");
            assert!(error.contains(part), "{error}");
        };
        refused(&[("key.format", "json")], "needs 'key.fields'");
        refused(&[("key.fields", "v")], "needs the option 'key.format'");
        refused(
            &[("key.fields", "w"), ("key.format", "json")],
            "'w', of the key, is not a column",
        );
        refused(
            &[
                ("key.fields", "v"),
                ("key.format", "json"),
                ("key.fields-prefix", "k_"),
                ("value.fields-include", "EXCEPT_KEY"),
            ],
            "'v' does not start with 'k_'",
        );
        refused(&[("value.fields-include", "EXCEPT_KEY")], "without 'key.fields'");
    }
}
