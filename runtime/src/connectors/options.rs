//! `WITH` options as typed values: every key is known, every value is parsed, and a mistake is
//! told with its place in the SQL text and what is allowed instead.
//!
//! Connectors read their options through [`TableOptions`] when the job is prepared; nothing is
//! parsed once rows flow. **Invariant.** A key that the connector does not have is refused before
//! any value is read, and a key that is asked for is in the connector's list: an option is never
//! silently ignored.

use std::str::FromStr;

use engine::error::SqlError;
use engine::sql::catalog::TableDefinition;
use engine::sql::statement::TableOption;

/// The options of each connector, of its sources and sinks together: a table may be both.
const CONNECTORS: &[(&str, &[&str], bool)] = &[
    (
        "filesystem",
        &[
            "path",
            "compression",
            "source.monitor-interval",
            "source.block-size",
            "sink.rolling-policy.file-size",
            "sink.rolling-policy.rollover-interval",
            "parquet.compression",
        ],
        true,
    ),
    ("stdin", &[], true),
    ("stdout", &[], true),
    ("print", &["sink.print-identifier"], false),
    ("blackhole", &[], false),
    ("datagen", &["rows-per-second", "number-of-rows"], false),
    (
        "nexmark",
        &[
            "nexmark.table",
            "events",
            "events-per-second",
            "seed",
            "base-time",
        ],
        false,
    ),
    ("memory", &[], false),
];

/// The options of a connector with a `format`.
const FORMAT_OPTIONS: &[&str] = &[
    "format",
    "json.ignore-parse-errors",
    "json.dead-letter-file",
    "csv.field-delimiter",
    "csv.quote-character",
    "csv.header",
    "csv.ignore-parse-errors",
    "csv.dead-letter-file",
];

/// The options of one table, all of them known.
#[derive(Clone, Copy, Debug)]
pub struct TableOptions<'a> {
    table: &'a TableDefinition,
}

/// Refuses a table whose connector does not exist, or has not one of the options given; for tables
/// that no query uses as well. A table without a connector passes.
///
/// # Errors
/// Points at the option, with the nearest name that exists.
pub fn check_table(table: &TableDefinition) -> Result<(), SqlError> {
    if table.option("connector").is_some() {
        TableOptions::new(table)?;
    }
    Ok(())
}

impl<'a> TableOptions<'a> {
    /// The options of `table`.
    ///
    /// # Errors
    /// An unknown connector or option, with the nearest that exists.
    pub fn new(table: &'a TableDefinition) -> Result<TableOptions<'a>, SqlError> {
        let options = TableOptions { table };
        let known = options.known()?;
        for option in &table.options {
            if !known.contains(&option.key.as_str()) && !is_free(table.connector(), &option.key) {
                return Err(options.unknown(option, &known));
            }
        }
        Ok(options)
    }

    /// The keys that the table's connector has.
    fn known(&self) -> Result<Vec<&'static str>, SqlError> {
        let name = self.table.connector();
        let Some((_, keys, has_format)) = CONNECTORS.iter().find(|(known, _, _)| *known == name) else {
            return Err(self.unknown_connector(name));
        };
        let formats = if *has_format { FORMAT_OPTIONS } else { &[] };
        Ok(["connector"]
            .iter()
            .chain(*keys)
            .chain(formats)
            .copied()
            .collect())
    }

    fn unknown_connector(&self, name: &str) -> SqlError {
        let names = || {
            CONNECTORS
                .iter()
                .map(|(name, _, _)| *name)
                .filter(|name| *name != "memory")
        };
        let list = names().collect::<Vec<_>>().join(", ");
        let table = &self.table.name;
        if name.is_empty() {
            return self
                .table_error(format!("table '{table}' has no 'connector' option"))
                .hint(format!("add 'connector' = '…' to WITH (…): {list}"));
        }
        let error = self.error(
            "connector",
            format!("table '{table}': there is no connector '{name}'"),
        );
        error.hint(match nearest(name, names()) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there is: {list}"),
        })
    }

    fn unknown(&self, option: &TableOption, known: &[&str]) -> SqlError {
        let error = SqlError::new(format!(
            "table '{}': unknown option '{}' for 'connector' = '{}'",
            self.table.name,
            option.key,
            self.table.connector()
        ))
        .at(option.key_position);
        error.hint(match nearest(&option.key, known.iter().copied()) {
            Some(name) => format!("did you mean '{name}'?"),
            None => format!("options of this table: {}", known.join(", ")),
        })
    }

    /// The table.
    pub fn table(&self) -> &'a TableDefinition {
        self.table
    }

    /// The option itself, where given.
    pub fn find(&self, key: &str) -> Option<&'a TableOption> {
        let given = self.table.options.iter().find(|option| option.key == key);
        debug_assert!(
            given.is_some()
                || is_free(self.table.connector(), key)
                || self.known().is_ok_and(|known| known.contains(&key)),
            "invariant: '{key}' is in the connector's list"
        );
        given
    }

    /// The value of `key`, where given.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.find(key).map(|option| option.value.as_str())
    }

    /// The value of `key`; an error where it is missing. `what` says what it means.
    pub fn required(&self, key: &str, what: &str) -> Result<&'a str, SqlError> {
        match self.text(key) {
            Some(value) if !value.trim().is_empty() => Ok(value),
            Some(_) => Err(self.invalid(key, what)),
            None => Err(self
                .table_error(format!(
                    "table '{}' ('connector' = '{}') needs the option '{key}'",
                    self.table.name,
                    self.table.connector()
                ))
                .hint(format!("add '{key}' = '…' to WITH (…): {what}"))),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, SqlError> {
        self.parsed(key, "'true' or 'false'", |value| {
            match value.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            }
        })
        .map(|value| value.unwrap_or(default))
    }

    /// A whole number of at least `min`.
    pub fn integer(&self, key: &str, min: i64) -> Result<Option<i64>, SqlError> {
        self.parsed(key, &format!("a whole number of at least {min}"), |value| {
            let digits: String = value.chars().filter(|c| *c != '_').collect();
            i64::from_str(&digits).ok().filter(|number| *number >= min)
        })
    }

    /// A length of time, microseconds.
    pub fn duration_us(&self, key: &str) -> Result<Option<u64>, SqlError> {
        self.parsed(
            key,
            "a duration such as '500 ms', '10 s', '5 min', '1 h' or '1 d'",
            parse_duration_us,
        )
    }

    /// An amount of memory, bytes.
    pub fn bytes(&self, key: &str) -> Result<Option<u64>, SqlError> {
        self.parsed(key, "a size such as '64 kb', '128 mb' or '1 gb'", parse_bytes)
    }

    /// One of the given words, or nothing where the key is absent.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, SqlError> {
        let names: Vec<String> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
        self.parsed(key, &format!("one of {}", names.join(", ")), |value| {
            words
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(value))
                .map(|(_, meaning)| *meaning)
        })
    }

    /// `key` read by `parse`; `allowed` says what is allowed.
    pub fn parsed<T>(
        &self,
        key: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SqlError> {
        match self.text(key) {
            None => Ok(None),
            Some(value) => parse(value.trim())
                .map(Some)
                .ok_or_else(|| self.invalid(key, allowed)),
        }
    }

    /// The value of `key` is not among what is `allowed`.
    pub fn invalid(&self, key: &str, allowed: &str) -> SqlError {
        match self.find(key) {
            Some(option) => SqlError::new(format!(
                "table '{}': option '{key}' = '{}' is not valid; allowed is {allowed}",
                self.table.name, option.value
            ))
            .at(option.value_position),
            None => self.table_error(format!(
                "table '{}': option '{key}' is missing; allowed is {allowed}",
                self.table.name
            )),
        }
    }

    /// An error blamed on `key`, where given, and on the table otherwise.
    pub fn error(&self, key: &str, message: impl Into<String>) -> SqlError {
        let error = SqlError::new(message);
        match self.find(key) {
            Some(option) => error.at(option.value_position),
            None => error.at(self.table.position),
        }
    }

    /// An error blamed on the table's name.
    pub fn table_error(&self, message: impl Into<String>) -> SqlError {
        SqlError::new(message).at(self.table.position)
    }
}

/// Keys without a list: those that the engine reads, and those that name columns.
fn is_free(connector: &str, key: &str) -> bool {
    key.starts_with("scan.watermark.") || (connector == "datagen" && key.starts_with("fields."))
}

/// The name nearest to `wanted`, if one is near: few edits compared with its length.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    names
        .map(|name| (edit_distance(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// Splits `12.5 ms` into number and unit.
fn number_and_unit(text: &str) -> Option<(f64, String)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number = f64::from_str(&text[..end]).ok()?;
    Some((number, text[end..].trim().to_ascii_lowercase()))
}

/// Flink's durations; `m` is minutes.
fn parse_duration_us(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let unit_us = match unit.as_str() {
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1.0,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1e3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1e6,
        "m" | "min" | "mins" | "minute" | "minutes" => 60e6,
        "h" | "hour" | "hours" => 3600e6,
        "d" | "day" | "days" => 86_400e6,
        _ => return None,
    };
    Some((number * unit_us).round() as u64)
}

/// Flink's memory sizes; units are powers of 1,024.
fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let unit_bytes = match unit.as_str() {
        "" | "b" | "byte" | "bytes" => 1u64,
        "k" | "kb" | "kib" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mib" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gib" | "gibibytes" => 1 << 30,
        "t" | "tb" | "tib" | "tebibytes" => 1 << 40,
        _ => return None,
    };
    Some((number * unit_bytes as f64).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::table;

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_name_before_a_missing_one_is_told() {
        let table = table("t", &[], &[("connector", "filesystem"), ("pth", "x")]);
        let error = check_table(&table).expect_err("pth is unknown");
        assert!(error.message.contains("unknown option 'pth'"), "{error}");
        assert_eq!(error.hint.as_deref(), Some("did you mean 'path'?"));
    }

    #[test]
    fn a_wrong_value_names_key_value_and_what_is_allowed() {
        let options = [
            ("connector", "filesystem"),
            ("path", "many"),
            ("compression", "yes"),
            ("source.block-size", "3 parsecs"),
        ];
        let table = table("t", &[], &options);
        let options = TableOptions::new(&table).unwrap();
        let error = options.integer("path", 1).expect_err("not a number").to_string();
        assert!(
            error.contains("'path' = 'many'") && error.contains("at least 1"),
            "{error}"
        );
        let error = options
            .boolean("compression", false)
            .expect_err("not a boolean")
            .to_string();
        assert!(error.contains("'true' or 'false'"), "{error}");
        let error = options
            .duration_us("source.block-size")
            .expect_err("not a duration")
            .to_string();
        assert!(error.contains("'5 min'"), "{error}");
    }

    #[test]
    fn durations_and_sizes_have_flinks_units() {
        assert_eq!(parse_duration_us("10 s"), Some(10_000_000));
        assert_eq!(parse_duration_us("5m"), Some(300_000_000));
        assert_eq!(parse_duration_us("250ms"), Some(250_000));
        assert_eq!(parse_bytes("128 MB"), Some(128 << 20));
        assert_eq!(parse_bytes("7"), Some(7));
        assert_eq!(parse_bytes("7 apples"), None);
    }
}
