//! `WITH` options as typed values: every value is parsed, and a mistake is told with its place in
//! the SQL text and what is allowed instead.
//!
//! Which keys there are is `engine::sql::options`' business, checked where a table is declared.
//! Connectors read values through [`TableOptions`] when the job is prepared; nothing is parsed once
//! rows flow. **Invariant.** A key that is asked for has a rule there: an option is never
//! documented without being read, nor read without being documented.

use engine::error::SqlError;
use engine::sql::catalog::TableDefinition;
use engine::sql::option_values::{parse_boolean, parse_bytes, parse_duration_us};
use engine::sql::options::{OPTION_RULES, validate_options};
use engine::sql::statement::TableOption;

use super::secrets;

/// The options of one table.
#[derive(Clone, Copy, Debug)]
pub struct TableOptions<'a> {
    table: &'a TableDefinition,
}

impl<'a> TableOptions<'a> {
    /// The options of `table`, checked again: plans are not made from SQL text alone.
    ///
    /// # Errors
    /// An unknown connector or option, with the nearest that exists.
    pub fn new(table: &'a TableDefinition) -> Result<TableOptions<'a>, SqlError> {
        validate_options(&table.options).map_err(|error| error.at(table.position))?;
        Ok(TableOptions { table })
    }

    /// The table.
    pub fn table(&self) -> &'a TableDefinition {
        self.table
    }

    /// The option itself, where given.
    pub fn find(&self, key: &str) -> Option<&'a TableOption> {
        debug_assert!(
            OPTION_RULES.iter().any(|rule| rule.key == key)
                || key.starts_with("fields.")
                || key.starts_with("properties."),
            "invariant: '{key}' has a rule"
        );
        let named = |key: &str| self.table.options.iter().find(|option| option.key == key);
        // Flink puts `value.` before the options of a `value.format`.
        let is_of_a_format = key.starts_with("json.") || key.starts_with("csv.");
        named(key).or_else(|| is_of_a_format.then(|| named(&format!("value.{key}")))?)
    }

    /// The value of `key` with what it takes from the environment or from files, where given.
    ///
    /// # Errors
    /// What it takes is not there.
    pub fn resolved(&self, key: &str) -> Result<Option<String>, SqlError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let resolved = secrets::resolve(text).map_err(|message| {
            self.error(
                key,
                format!("table '{}': option '{key}': {message}", self.table.name),
            )
        });
        resolved.map(Some)
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
        self.parsed(key, "'true' or 'false'", parse_boolean)
            .map(|value| value.unwrap_or(default))
    }

    /// A whole number from 0.
    pub fn count(&self, key: &str) -> Result<Option<u64>, SqlError> {
        self.parsed(key, "a whole number from 0", |value| value.parse().ok())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::table;

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_name_before_a_missing_one_is_told() {
        let table = table("t", &[], &[("connector", "filesystem"), ("pth", "x")]);
        let error = TableOptions::new(&table).expect_err("pth is unknown");
        assert!(error.message.contains("unknown option 'pth'"), "{error}");
        assert_eq!(error.hint.as_deref(), Some("did you mean `path`?"));
    }

    #[test]
    fn a_wrong_value_names_key_value_and_what_is_allowed() {
        let options = [("connector", "filesystem"), ("path", "many")];
        let table = table("t", &[], &options);
        let options = TableOptions::new(&table).unwrap();
        let error = options.count("path").expect_err("not a number").to_string();
        assert!(
            error.contains("'path' = 'many'") && error.contains("a whole number"),
            "{error}"
        );
        let error = options
            .boolean("path", false)
            .expect_err("not a boolean")
            .to_string();
        assert!(error.contains("'true' or 'false'"), "{error}");
        let error = options
            .duration_us("path")
            .expect_err("not a duration")
            .to_string();
        assert!(error.contains("'5 min'"), "{error}");
    }
}
