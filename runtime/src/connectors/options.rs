//! `WITH` options as typed values: every key is known, every value is parsed, and a mistake is
//! told with its place in the SQL text and what is allowed instead.
//!
//! Connectors read their options through [`TableOptions`] when the job is prepared; nothing is
//! parsed once rows flow. **Invariant.** [`TableOptions::finish`] refuses every key that no one
//! asked for, so an option is never silently ignored.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::str::FromStr;

use engine::error::SqlError;
use engine::sql::catalog::TableDefinition;
use engine::sql::statement::TableOption;

/// The options of one table, remembering which keys were asked for.
#[derive(Debug)]
pub struct TableOptions<'a> {
    table: &'a TableDefinition,
    known: RefCell<BTreeSet<String>>,
}

impl<'a> TableOptions<'a> {
    /// The options of `table`.
    pub fn new(table: &'a TableDefinition) -> TableOptions<'a> {
        let known = BTreeSet::from(["connector".to_string()]);
        TableOptions {
            table,
            known: RefCell::new(known),
        }
    }

    /// The table.
    pub fn table(&self) -> &'a TableDefinition {
        self.table
    }

    /// Says that `key` is allowed, whether or not it is given.
    pub fn allow(&self, key: &str) {
        self.known.borrow_mut().insert(key.to_string());
    }

    /// The option itself, where given.
    pub fn find(&self, key: &str) -> Option<&'a TableOption> {
        self.allow(key);
        self.table.options.iter().find(|option| option.key == key)
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

    /// Refuses every option that nobody asked for, and proposes the nearest that exists.
    pub fn finish(&self) -> Result<(), SqlError> {
        let known = self.known.borrow();
        for option in &self.table.options {
            if known.contains(&option.key) || is_engine_option(&option.key) {
                continue;
            }
            let error = SqlError::new(format!(
                "table '{}': unknown option '{}' for 'connector' = '{}'",
                self.table.name,
                option.key,
                self.table.connector()
            ))
            .at(option.key_position);
            return Err(match nearest(&option.key, known.iter().map(String::as_str)) {
                Some(name) => error.hint(format!("did you mean '{name}'?")),
                None => {
                    let names: Vec<&str> = known.iter().map(String::as_str).collect();
                    error.hint(format!("options of this table: {}", names.join(", ")))
                }
            });
        }
        Ok(())
    }
}

/// Options of any table that the engine reads, not the connector.
fn is_engine_option(key: &str) -> bool {
    key.starts_with("scan.watermark.")
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
    fn an_unknown_option_is_refused_with_the_nearest_name() {
        let table = table("t", &[], &[("connector", "filesystem"), ("pth", "x")]);
        let options = TableOptions::new(&table);
        options.allow("path");
        let error = options.finish().expect_err("pth is unknown");
        assert!(error.message.contains("unknown option 'pth'"), "{error}");
        assert_eq!(error.hint.as_deref(), Some("did you mean 'path'?"));
    }

    #[test]
    fn a_wrong_value_names_key_value_and_what_is_allowed() {
        let table = table("t", &[], &[("n", "many"), ("b", "yes"), ("d", "3 parsecs")]);
        let options = TableOptions::new(&table);
        let error = options.integer("n", 1).expect_err("not a number").to_string();
        assert!(
            error.contains("'n' = 'many'") && error.contains("at least 1"),
            "{error}"
        );
        let error = options
            .boolean("b", false)
            .expect_err("not a boolean")
            .to_string();
        assert!(error.contains("'true' or 'false'"), "{error}");
        let error = options.duration_us("d").expect_err("not a duration").to_string();
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
