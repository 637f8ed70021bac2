//! The options of `WITH (…)`: one table of all keys, and the check against it.
//!
//! Documentation, "did you mean" and validation read the same table, so that they cannot disagree.
//!
//! **Invariant.** An option that passes is read by its connector or format: unknown keys, keys of
//! another connector or format, and values out of range are errors.

use crate::error::SqlError;
use crate::sql::option_values::{parse_boolean, parse_bytes, parse_duration_us};
use crate::sql::statement::TableOption;
use crate::sql::suggest;

/// Connectors by name.
pub const CONNECTORS: [&str; 12] = [
    "filesystem",
    "kafka",
    "upsert-kafka",
    "stdin",
    "tcp",
    "http",
    "stdout",
    "print",
    "blackhole",
    "datagen",
    "nexmark",
    "memory",
];

/// Formats by name; `ndjson` is another name of `json`.
pub const FORMATS: [&str; 6] = [
    "json",
    "ndjson",
    "csv",
    "parquet",
    "changelog-json",
    "debezium-json",
];

/// Who reads an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Every table.
    Any,
    /// These connectors.
    Connectors(&'static [&'static str]),
    /// This format.
    Format(&'static str),
}

/// In which direction an option works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// When the table is read.
    Source,
    /// When the table is written.
    Sink,
    /// In both.
    Both,
}

/// What an option's value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Any text but the empty one.
    Text,
    /// Any text.
    AnyText,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Boolean,
    /// `'1s'`, `'500 ms'`, `'PT1S'`.
    Duration,
    /// `'128MB'`.
    Bytes,
    /// A whole number ≥ 0.
    Count,
    /// A whole number ≥ 1.
    Positive,
    /// A number between 0 and 1.
    Share,
    /// One character (`\t` for a tab).
    Character,
    /// A timestamp, `'2026-01-01 00:00:00'` or `'2026-01-01T00:00:00Z'`, or milliseconds since 1970.
    Instant,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionRule {
    /// The key; `<name>` stands for a column's name.
    pub key: &'static str,
    /// Who reads it.
    pub reader: Reader,
    /// When it works.
    pub side: Side,
    /// Its values.
    pub value: ValueKind,
    /// What it does, in one line.
    pub description: &'static str,
}

const fn rule(
    key: &'static str,
    reader: Reader,
    side: Side,
    value: ValueKind,
    description: &'static str,
) -> OptionRule {
    OptionRule {
        key,
        reader,
        side,
        value,
        description,
    }
}

const FILES: Reader = Reader::Connectors(&["filesystem"]);
const BYTE_STREAMS: Reader = Reader::Connectors(&["filesystem", "stdin", "stdout"]);
const ENCODED: Reader = Reader::Connectors(&["filesystem", "stdin", "tcp", "http", "stdout", "kafka"]);
const TCP: Reader = Reader::Connectors(&["tcp"]);
const LISTENERS: Reader = Reader::Connectors(&["tcp", "http"]);
const READERS: Reader = Reader::Connectors(&[
    "filesystem",
    "kafka",
    "upsert-kafka",
    "stdin",
    "tcp",
    "http",
    "datagen",
    "nexmark",
    "memory",
]);
const PLAIN_KAFKA: Reader = Reader::Connectors(&["kafka"]);
const KAFKA: Reader = Reader::Connectors(&["kafka", "upsert-kafka"]);
const PRINT: Reader = Reader::Connectors(&["print"]);
const DATAGEN: Reader = Reader::Connectors(&["datagen"]);
const NEXMARK: Reader = Reader::Connectors(&["nexmark"]);
const CHANGES: Reader = Reader::Connectors(&["filesystem", "kafka", "stdin", "tcp", "http", "memory"]);
const JSON: Reader = Reader::Format("json");
const CSV: Reader = Reader::Format("csv");

use Side::{Both, Sink, Source};
use ValueKind::{
    AnyText, Boolean, Bytes, Character, Choice, Count, Duration, Instant, Positive, Share, Text,
};

/// Every option there is.
#[rustfmt::skip]
pub const OPTION_RULES: &[OptionRule] = &[
    rule("connector", Reader::Any, Both, Choice(&CONNECTORS), "what stores or makes the rows"),
    rule("path", FILES, Both, Text, "a file, a directory or a glob; a directory when written"),
    rule("format", ENCODED, Both, Choice(&FORMATS), "how rows are encoded; json and ndjson are one object per line"),
    rule("compression", BYTE_STREAMS, Both, Choice(&["auto", "none", "gzip", "zstd"]), "auto: by the file's extension"),
    rule("source.monitor-interval", FILES, Source, Duration, "look for new data this often, for ever; without it the files are read once"),
    rule("sink.rolling-policy.file-size", FILES, Sink, Bytes, "begin a new file beyond this size"),
    rule("sink.rolling-policy.rollover-interval", FILES, Sink, Duration, "begin a new file after this time"),
    rule("json.ignore-parse-errors", JSON, Source, Boolean, "count malformed records and go on"),
    rule("json.dead-letter-file", JSON, Source, Text, "write malformed records to this file and go on"),
    rule("json.fail-on-missing-field", JSON, Source, Boolean, "a missing field is malformed rather than NULL"),
    rule("json.timestamp-format.standard", JSON, Both, Choice(&["SQL", "ISO-8601"]), "how timestamps are written; both are read"),
    rule("csv.ignore-parse-errors", CSV, Source, Boolean, "count malformed records and go on"),
    rule("csv.dead-letter-file", CSV, Source, Text, "write malformed records to this file and go on"),
    rule("csv.field-delimiter", CSV, Both, Character, "between fields; a comma by default"),
    rule("csv.quote-character", CSV, Both, Character, "around fields that need it; a double quote by default"),
    rule("csv.header", CSV, Both, Choice(&["auto", "true", "false"]), "whether the first line names the columns"),
    rule("csv.null-literal", CSV, Both, AnyText, "the text of NULL; the empty field by default"),
    rule("changelog-mode", CHANGES, Source, Text, "what records may say, of I, UA, UB, D; without UB a record replaces the row with its primary key"),
    rule("listen", LISTENERS, Source, Text, "the address at which connections are taken, 127.0.0.1:9000"),
    rule("connect", TCP, Both, Text, "the address that is connected to, 127.0.0.1:9000"),
    rule("topic", KAFKA, Both, Text, "the topic; a source reads several, with ; between them"),
    rule("topic-pattern", PLAIN_KAFKA, Source, Text, "a regular expression that the names of the topics match as a whole"),
    rule("properties.<name>", KAFKA, Both, AnyText, "any property of the Kafka client; properties.bootstrap.servers is needed"),
    rule("scan.startup.mode", PLAIN_KAFKA, Source, Choice(&OFFSET_MODES), "where a job that starts anew begins to read"),
    rule("scan.startup.specific-offsets", PLAIN_KAFKA, Source, Text, "partition:0,offset:42;partition:1,offset:300"),
    rule("scan.startup.timestamp-millis", PLAIN_KAFKA, Source, Count, "milliseconds since 1970"),
    rule("scan.bounded.mode", KAFKA, Source, Choice(&BOUNDED_MODES), "where reading ends; without it there is no end"),
    rule("scan.bounded.specific-offsets", KAFKA, Source, Text, "partition:0,offset:42;partition:1,offset:300"),
    rule("scan.bounded.timestamp-millis", KAFKA, Source, Count, "milliseconds since 1970"),
    rule("scan.topic-partition-discovery.interval", KAFKA, Source, Duration, "how often to look for new partitions; 0 = never"),
    rule("key.format", KAFKA, Both, Choice(&["json", "ndjson", "csv"]), "how the key of a record is encoded"),
    rule("key.fields", PLAIN_KAFKA, Both, Text, "the columns of the key, with ; between them"),
    rule("key.fields-prefix", KAFKA, Both, AnyText, "what the names of key columns start with, and the fields of the key do not"),
    rule("value.format", KAFKA, Both, Choice(&FORMATS), "how the value of a record is encoded"),
    rule("value.fields-include", KAFKA, Both, Choice(&["ALL", "EXCEPT_KEY"]), "whether the value holds the columns of the key as well"),
    rule("sink.delivery-guarantee", KAFKA, Sink, Choice(&["none", "at-least-once", "exactly-once"]), "what a crash may do to the rows written"),
    rule("sink.transactional-id-prefix", KAFKA, Sink, Text, "what the job's transactions are named by; no other job may use it"),
    rule("sink.partitioner", PLAIN_KAFKA, Sink, Choice(&["default", "fixed", "round-robin"]), "which partition a row goes to; by the hash of its key by default"),
    rule("sink.print-identifier", PRINT, Sink, AnyText, "a prefix of every line"),
    rule("print-identifier", PRINT, Sink, AnyText, "the same under Flink's name"),
    rule("rows-per-second", DATAGEN, Source, Count, "how fast; 0 or absent = flat out"),
    rule("number-of-rows", DATAGEN, Source, Count, "how many; without it there is no end"),
    rule("seed", DATAGEN, Source, Count, "one seed gives the same rows in every run"),
    rule("fields.<name>.kind", DATAGEN, Source, Choice(&["random", "sequence"]), "how the column's values are made"),
    rule("fields.<name>.min", DATAGEN, Source, Text, "least random value"),
    rule("fields.<name>.max", DATAGEN, Source, Text, "greatest random value"),
    rule("fields.<name>.start", DATAGEN, Source, Text, "first value of a sequence"),
    rule("fields.<name>.end", DATAGEN, Source, Text, "last value of a sequence; the rows end with it"),
    rule("fields.<name>.length", DATAGEN, Source, Positive, "length of random texts"),
    rule("fields.<name>.null-rate", DATAGEN, Source, Share, "share of NULLs"),
    rule("fields.<name>.distinct", DATAGEN, Source, Positive, "how many different values"),
    rule("nexmark.table", NEXMARK, Source, Choice(&["person", "auction", "bid"]), "which stream of the model the table reads; absent = all events"),
    rule("events", NEXMARK, Source, Count, "how many events of all kinds; without it there is no end"),
    rule("events-per-second", NEXMARK, Source, Count, "how fast; 0 or absent = flat out"),
    rule("seed", NEXMARK, Source, Count, "one seed gives the same events in every run"),
    rule("base-time", NEXMARK, Source, Instant, "event time of the first event"),
    rule(IDLE_TIMEOUT, READERS, Source, Duration, "a split without rows for this long holds the watermark no more"),
    rule(MAX_FUTURE, READERS, Source, Duration, "event times further ahead of the clock are clamped and counted"),
];

/// Where a Kafka source may begin.
const OFFSET_MODES: [&str; 5] = [
    "earliest-offset",
    "latest-offset",
    "group-offsets",
    "timestamp",
    "specific-offsets",
];
/// Where it may end.
const BOUNDED_MODES: [&str; 5] = [
    "unbounded",
    "latest-offset",
    "group-offsets",
    "timestamp",
    "specific-offsets",
];

/// The option of a table's format: `format`, or `value.format` where records have keys.
pub fn format_option(options: &[TableOption]) -> Option<&TableOption> {
    let named = |key: &str| options.iter().find(|option| option.key == key);
    named("format").or_else(|| named("value.format"))
}

/// How long a split may be silent before it no longer holds the watermark back.
pub const IDLE_TIMEOUT: &str = "scan.watermark.idle-timeout";
/// How far ahead of the clock event times are trusted.
pub const MAX_FUTURE: &str = "scan.watermark.max-future";

/// Checks the options of one table. An error without a place (no connector at all) belongs to the
/// table's name.
pub fn validate_options(options: &[TableOption]) -> Result<(), SqlError> {
    let Some(connector) = options.iter().find(|option| option.key == "connector") else {
        let error = SqlError::new("the table has no 'connector' option")
            .hint(format!("connectors are {}", CONNECTORS.join(", ")));
        // A misspelt key is the likeliest reason.
        return Err(
            match options
                .iter()
                .find(|option| suggest::nearest(&option.key, ["connector"]).is_some())
            {
                Some(near) => error.at(near.key_position).hint("did you mean `connector`?"),
                None => error,
            },
        );
    };
    check_choice(connector, "connector", &CONNECTORS)?;
    let format = format_option(options);
    if let Some(format) = format {
        check_choice(format, "format", &FORMATS)?;
    }
    let format_name = format.map(|format| match format.value.as_str() {
        "ndjson" | "changelog-json" | "debezium-json" => "json",
        name => name,
    });
    for option in options {
        check_option(option, &connector.value, format_name)?;
    }
    check_required(connector, format)
}

/// `key` without the `value.` that Flink puts before the options of `value.format`.
fn without_value_prefix<'k>(key: &'k str, connector: &str) -> &'k str {
    let is_of_a_format = |rest: &&str| rest.starts_with("json.") || rest.starts_with("csv.");
    match key.strip_prefix("value.").filter(is_of_a_format) {
        Some(rest) if connector.ends_with("kafka") => rest,
        _ => key,
    }
}

fn check_choice(option: &TableOption, what: &str, names: &[&str]) -> Result<(), SqlError> {
    if names.contains(&option.value.as_str()) {
        return Ok(());
    }
    Err(SqlError::new(format!("unknown {what} '{}'", option.value))
        .at(option.value_position)
        .hint(suggest::hint(&option.value, names, &format!("known {what}s are"))))
}

fn check_option(option: &TableOption, connector: &str, format: Option<&str>) -> Result<(), SqlError> {
    let mut misplaced: Option<&OptionRule> = None;
    let key = without_value_prefix(&option.key, connector);
    for rule in OPTION_RULES.iter().filter(|rule| matches_key(rule.key, key)) {
        if is_read(rule, connector, format) {
            return check_value(option, rule);
        }
        misplaced = Some(rule);
    }
    if let Some(rule) = misplaced {
        return Err(refuse_misplaced(option, rule, connector, format));
    }
    let known: Vec<&str> = OPTION_RULES
        .iter()
        .filter(|rule| is_read(rule, connector, format))
        .map(|rule| rule.key)
        .collect();
    let hint = match near_field_key(&option.key, connector) {
        Some(near) => format!("did you mean `{near}`?"),
        None => suggest::hint(&option.key, known, "its options are"),
    };
    Err(SqlError::new(format!(
        "unknown option '{}' of connector {connector}",
        option.key
    ))
    .at(option.key_position)
    .hint(hint))
}

/// Whether `key` is the pattern's key; `<name>` takes any column name, dots included.
fn matches_key(pattern: &str, key: &str) -> bool {
    match pattern.split_once("<name>") {
        None => pattern == key,
        Some((before, after)) => {
            key.len() > before.len() + after.len() && key.starts_with(before) && key.ends_with(after)
        }
    }
}

/// The nearest `fields.<name>.…` key for the same column.
fn near_field_key(key: &str, connector: &str) -> Option<String> {
    let (name, attribute) = key.strip_prefix("fields.")?.rsplit_once('.')?;
    if connector != "datagen" {
        return None;
    }
    let attributes = OPTION_RULES
        .iter()
        .filter_map(|rule| rule.key.strip_prefix("fields.<name>."));
    let near = suggest::nearest(attribute, attributes)?;
    Some(format!("fields.{name}.{near}"))
}

fn is_read(rule: &OptionRule, connector: &str, format: Option<&str>) -> bool {
    match rule.reader {
        Reader::Any => true,
        Reader::Connectors(names) => names.contains(&connector),
        // Without a format the file's extension decides, so any format may turn out to be right.
        Reader::Format(name) => {
            matches!(
                connector,
                "filesystem" | "stdin" | "tcp" | "http" | "stdout" | "kafka" | "upsert-kafka"
            ) && format.is_none_or(|format| format == name)
        }
    }
}

fn refuse_misplaced(
    option: &TableOption,
    rule: &OptionRule,
    connector: &str,
    format: Option<&str>,
) -> SqlError {
    let (belongs, here) = match rule.reader {
        Reader::Format(name) => match format {
            Some(format) => (format!("format {name}"), format!("format {format}")),
            None => (format!("format {name}"), format!("connector {connector}")),
        },
        Reader::Connectors(names) => (
            format!("connector {}", names.join(", ")),
            format!("connector {connector}"),
        ),
        Reader::Any => ("every table".to_string(), String::new()),
    };
    SqlError::new(format!("the option '{}' is not read by {here}", option.key))
        .at(option.key_position)
        .hint(format!("it belongs to {belongs}: {}", rule.description))
}

fn check_value(option: &TableOption, rule: &OptionRule) -> Result<(), SqlError> {
    let value = option.value.as_str();
    let fits = match rule.value {
        Text => !value.is_empty(),
        AnyText => true,
        Choice(words) => return check_word(option, words),
        Boolean => parse_boolean(value).is_some(),
        Duration => parse_duration_us(value).is_some(),
        Bytes => parse_bytes(value).is_some(),
        Count => value.parse::<u64>().is_ok(),
        Positive => value.parse::<u64>().is_ok_and(|number| number > 0),
        Share => value
            .parse::<f64>()
            .is_ok_and(|share| (0.0..=1.0).contains(&share)),
        Character => value == "\\t" || value.chars().count() == 1,
        Instant => is_instant(value),
    };
    if fits {
        return Ok(());
    }
    Err(
        SqlError::new(format!("the option '{}' cannot be '{value}'", option.key))
            .at(option.value_position)
            .hint(format!("it is {}: {}", describe(rule.value), rule.description)),
    )
}

fn check_word(option: &TableOption, words: &[&str]) -> Result<(), SqlError> {
    if words.contains(&option.value.as_str()) {
        return Ok(());
    }
    Err(SqlError::new(format!(
        "the option '{}' cannot be '{}'",
        option.key, option.value
    ))
    .at(option.value_position)
    .hint(suggest::hint(&option.value, words, "its values are")))
}

fn describe(value: ValueKind) -> &'static str {
    match value {
        Text => "a text that is not empty",
        AnyText => "a text",
        Choice(_) => "one of some words",
        Boolean => "true or false",
        Duration => "a duration such as '500 ms' or '5 min'",
        Bytes => "a size such as '128MB'",
        Count => "a whole number from 0",
        Positive => "a whole number from 1",
        Share => "a number from 0 to 1",
        Character => "one character",
        Instant => "a timestamp such as '2026-01-01 00:00:00', or milliseconds since 1970",
    }
}

fn is_instant(value: &str) -> bool {
    let value = value.trim().trim_end_matches('Z');
    value.parse::<i64>().is_ok()
        || ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"]
            .iter()
            .any(|format| chrono::NaiveDateTime::parse_from_str(value, format).is_ok())
        || chrono::NaiveDate::parse_from_str(value, "%Y-%m-%d").is_ok()
}

/// What a connector cannot do without.
fn check_required(connector: &TableOption, format: Option<&TableOption>) -> Result<(), SqlError> {
    let is_pipe = matches!(
        connector.value.as_str(),
        "stdin" | "tcp" | "http" | "stdout" | "kafka" | "upsert-kafka"
    );
    if let Some(format) = format
        && is_pipe
        && format.value == "parquet"
    {
        return Err(SqlError::new(format!("{} cannot carry parquet", connector.value))
            .at(format.value_position)
            .hint("a Parquet file is read from its end; use json or csv"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parser::parse;
    use crate::sql::statement::StatementKind;

    /// What validation says of `WITH (options)`.
    fn check(options: &str, expected: &str) {
        let statements = parse(&format!("CREATE TABLE t (a INT)\nWITH ({options})")).unwrap();
        let StatementKind::CreateTable(table) = &statements[0].kind else {
            panic!("a table");
        };
        let text = match validate_options(&table.options) {
            Ok(()) => "fine".to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected, "{options}");
    }

    #[test]
    fn options_of_every_connector_pass() {
        check(
            "'connector'='filesystem', 'path'='x.csv', 'format'='csv', 'csv.header'='auto', 'csv.field-delimiter'='\\t'",
            "fine",
        );
        check(
            "'connector'='filesystem', 'path'='x/', 'format'='ndjson', 'json.ignore-parse-errors'='true', 'source.monitor-interval'='1s'",
            "fine",
        );
        check(
            "'connector'='stdin', 'format'='json', 'compression'='gzip', 'scan.watermark.max-future'='1 d'",
            "fine",
        );
        check("'connector'='print', 'print-identifier'='a'", "fine");
        check("'connector'='blackhole'", "fine");
        check("'connector'='memory'", "fine");
        check(
            "'connector'='kafka', 'topic'='a;b', 'properties.bootstrap.servers'='localhost:9092', 'scan.startup.mode'='earliest-offset', 'value.format'='json', 'value.json.ignore-parse-errors'='true', 'key.format'='csv', 'key.fields'='a'",
            "fine",
        );
        check(
            "'connector'='upsert-kafka', 'topic'='a', 'key.format'='json', 'value.format'='json', 'sink.delivery-guarantee'='exactly-once', 'sink.transactional-id-prefix'='job'",
            "fine",
        );
        check(
            "'connector'='datagen', 'rows-per-second'='10', 'fields.a.b.kind'='sequence', 'fields.a.b.start'='-1', 'fields.c.null-rate'='0.1', 'seed'='7'",
            "fine",
        );
        check(
            "'connector'='nexmark', 'nexmark.table'='bid', 'events'='1000', 'base-time'='2015-07-15 00:00:00', 'seed'='1'",
            "fine",
        );
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        check(
            "'conector'='print'",
            "the table has no 'connector' option (line 2, column 7); did you mean `connector`?",
        );
        check(
            "'connector'='filesytem'",
            "unknown connector 'filesytem' (line 2, column 19); did you mean `filesystem`?",
        );
        check(
            "'connector'='stdin', 'format'='avro'",
            "unknown format 'avro' (line 2, column 37); known formats are json, ndjson, csv, parquet, changelog-json, debezium-json",
        );
        check(
            "'connector'='filesystem', 'paht'='x'",
            "unknown option 'paht' of connector filesystem (line 2, column 33); did you mean `path`?",
        );
        check(
            "'connector'='datagen', 'fields.a.kid'='random'",
            "unknown option 'fields.a.kid' of connector datagen (line 2, column 30); did you mean `fields.a.kind`?",
        );
        check(
            "'connector'='blackhole', 'colour'='x'",
            "unknown option 'colour' of connector blackhole (line 2, column 32); its options are connector",
        );
    }

    #[test]
    fn options_of_other_connectors_and_formats_are_refused() {
        check(
            "'connector'='stdin', 'path'='x'",
            "the option 'path' is not read by connector stdin (line 2, column 28); it belongs to connector filesystem: a file, a directory or a glob; a directory when written",
        );
        check(
            "'connector'='stdin', 'format'='csv', 'json.ignore-parse-errors'='true'",
            "the option 'json.ignore-parse-errors' is not read by format csv (line 2, column 44); it belongs to format json: count malformed records and go on",
        );
        check(
            "'connector'='stdin', 'format'='parquet'",
            "stdin cannot carry parquet (line 2, column 37); a Parquet file is read from its end; use json or csv",
        );
    }

    #[test]
    fn values_out_of_range_are_refused() {
        check(
            "'connector'='filesystem', 'source.monitor-interval'='soon'",
            "the option 'source.monitor-interval' cannot be 'soon' (line 2, column 59); it is a duration such as '500 ms' or '5 min': look for new data this often, for ever; without it the files are read once",
        );
        check(
            "'connector'='datagen', 'number-of-rows'='-1'",
            "the option 'number-of-rows' cannot be '-1' (line 2, column 47); it is a whole number from 0: how many; without it there is no end",
        );
        check(
            "'connector'='nexmark', 'nexmark.table'='bids'",
            "the option 'nexmark.table' cannot be 'bids' (line 2, column 46); did you mean `bid`?",
        );
    }
}
