//! The Kafka client: properties from options to librdkafka, what it says of itself, and its errors in the words
//! of the table.
//!
//! **Invariant.** A value that came from the environment or a file is in no message: not in ours, and not in
//! librdkafka's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::error::SqlError;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Deserialize;

use super::position::TopicPartition;
use crate::connectors::options::TableOptions;
use crate::connectors::secrets;
use crate::terminal::tell;

/// How long a question to the brokers may take before a job starts.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

const PROPERTIES: &str = "properties.";
const BOOTSTRAP: &str = "bootstrap.servers";

/// Properties that a Java client has, and that mean nothing here.
const JAVA_ONLY: [&str; 4] = [
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
];

/// Properties that hold a secret: they must not stand in the job's text, which checkpoints keep.
const SECRETS: [&str; 6] = [
    "sasl.password",
    "sasl.jaas.config",
    "sasl.oauthbearer.client.secret",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.key.pem",
];

/// The properties of a table's clients.
#[derive(Clone)]
pub struct ClientProperties {
    table: String,
    /// As the table gives them, resolved.
    properties: Vec<(String, String)>,
    /// That no broker answers has been told, by one of its clients.
    is_away: Arc<AtomicBool>,
}

impl fmt::Debug for ClientProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.iter().map(|(name, _)| name).collect();
        f.debug_struct("ClientProperties")
            .field("table", &self.table)
            .field("names", &names)
            .finish()
    }
}

impl ClientProperties {
    /// What `properties.*` says, checked by librdkafka.
    ///
    /// # Errors
    /// No bootstrap servers; a property that librdkafka does not have or a value that it does not take; a secret
    /// in the job's text.
    pub fn parse(options: &TableOptions<'_>) -> Result<ClientProperties, SqlError> {
        let table = options.table();
        options.required(
            "properties.bootstrap.servers",
            "brokers as host:port, with commas between them",
        )?;
        let mut parsed = ClientProperties {
            table: table.name.clone(),
            properties: Vec::new(),
            is_away: Arc::default(),
        };
        for option in &table.options {
            let Some(name) = option.key.strip_prefix(PROPERTIES) else {
                continue;
            };
            if SECRETS.contains(&name) && !secrets::is_secret(&option.value) {
                return Err(options
                    .error(
                        &option.key,
                        format!(
                            "table '{}': option '{}' holds a secret, which must not stand in the job's text",
                            table.name, option.key
                        ),
                    )
                    .hint("take it from the environment or from a file: '${KAFKA_PASSWORD}', '${file:/run/secrets/kafka}'"));
            }
            let value = options.resolved(&option.key)?.unwrap_or_default();
            for (name, value) in translated(name, value).map_err(|message| {
                options.error(
                    &option.key,
                    format!("table '{}': option '{}': {message}", table.name, option.key),
                )
            })? {
                parsed.check(options, &option.key, &name, &value)?;
                parsed.properties.push((name, value));
            }
        }
        Ok(parsed)
    }

    fn check(&self, options: &TableOptions<'_>, key: &str, name: &str, value: &str) -> Result<(), SqlError> {
        let mut config = ClientConfig::new();
        config.set(name, value);
        let Err(error) = config.create_native_config() else {
            return Ok(());
        };
        let is_secret = options.text(key).is_some_and(secrets::is_secret);
        let reason = match error {
            KafkaError::ClientConfig(_, reason, ..) if !is_secret => reason,
            _ => format!("librdkafka does not take this value of {name}"),
        };
        Err(options
            .error(key, format!("table '{}': option '{key}': {reason}", self.table))
            .hint("properties are those of librdkafka; docs/kafka.md tells which of a Java client's have other names"))
    }

    /// The table that they belong to.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The value of one of them, where given.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.properties.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The brokers, for messages.
    pub fn bootstrap(&self) -> &str {
        self.get(BOOTSTRAP).unwrap_or_default()
    }

    /// A configuration of `defaults`, under what the table says, under what must be as `fixed` says.
    pub fn config(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "velocore");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        // Lines of the client's log are for those who look for them.
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// A client that looks things up and reads nothing; `group` is whose offsets it asks for.
    ///
    /// # Errors
    /// librdkafka refuses, with its reason.
    pub fn lookup(&self, group: &str) -> Result<BaseConsumer<Context>, String> {
        let fixed = [
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
        ];
        let config = self.config(&[("isolation.level", "read_committed")], &fixed);
        config
            .create_with_context(Context::quiet(self))
            .map_err(|error| self.told(&error))
    }

    /// An error of the client in our words.
    pub fn told(&self, error: &KafkaError) -> String {
        match error {
            KafkaError::ClientConfig(_, _, name, _) => format!("the property {name} cannot be set"),
            KafkaError::ClientCreation(reason) => reason.clone(),
            error => match error.rdkafka_error_code() {
                Some(code) => described(code),
                None => error.to_string(),
            },
        }
    }
}

/// A property under librdkafka's name; nothing where it means nothing here.
fn translated(name: &str, value: String) -> Result<Vec<(String, String)>, String> {
    if JAVA_ONLY.contains(&name) {
        return Ok(Vec::new());
    }
    Ok(match name {
        "sasl.jaas.config" => jaas(&value)?,
        "max.request.size" => vec![("message.max.bytes".into(), value)],
        "buffer.memory" => {
            let bytes: u64 = value
                .parse()
                .map_err(|_| "a number of bytes is expected".to_string())?;
            vec![(
                "queue.buffering.max.kbytes".into(),
                (bytes / 1024).max(1).to_string(),
            )]
        }
        _ => vec![(name.to_string(), value)],
    })
}

/// User and password of a Java login module: `… required username="ada" password="…";`.
fn jaas(text: &str) -> Result<Vec<(String, String)>, String> {
    let value = |name: &str| {
        let (_, rest) = text.split_once(&format!("{name}=\""))?;
        let (value, _) = rest.split_once('"')?;
        Some(value.to_string())
    };
    match (value("username"), value("password")) {
        (Some(user), Some(password)) => Ok(vec![
            ("sasl.username".into(), user),
            ("sasl.password".into(), password),
        ]),
        _ => Err(
            "no username=\"…\" password=\"…\" is found in it; give properties.sasl.username and \
                  properties.sasl.password instead"
                .to_string(),
        ),
    }
}

/// An error code in words.
pub fn described(code: RDKafkaErrorCode) -> String {
    match code {
        RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownPartition => "the topic does not exist".to_string(),
        RDKafkaErrorCode::BrokerTransportFailure
        | RDKafkaErrorCode::AllBrokersDown
        | RDKafkaErrorCode::OperationTimedOut => "no broker answers".to_string(),
        code => code.to_string(),
    }
}

/// Whether reading cannot go on after this error: anything else passes, or is tried again by the client.
pub fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::OffsetOutOfRange
            | RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::SSL
            | RDKafkaErrorCode::Fatal
    )
}

/// What a client says while it works.
#[derive(Debug)]
pub struct Context {
    table: String,
    /// The newest reason for which a broker was not reached.
    reason: Mutex<String>,
    /// Its owner tells what goes wrong.
    is_quiet: bool,
    is_away: Arc<AtomicBool>,
    /// By topic and partition, the offset at which nothing more was there when a consumer last told its statistics.
    exhausted: Mutex<BTreeMap<String, BTreeMap<i32, i64>>>,
}

/// What is wanted of a consumer's statistics.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: BTreeMap<i32, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    eof_offset: i64,
}

impl Context {
    /// For a client that works while the job runs.
    pub fn new(properties: &ClientProperties) -> Context {
        Context {
            table: properties.table.clone(),
            reason: Mutex::default(),
            is_quiet: false,
            is_away: properties.is_away.clone(),
            exhausted: Mutex::default(),
        }
    }

    /// For a client whose errors its owner tells.
    pub fn quiet(properties: &ClientProperties) -> Context {
        Context {
            is_quiet: true,
            ..Context::new(properties)
        }
    }

    /// A broker has answered: that none does will be told anew.
    pub fn heard(&self) {
        if self.is_away.load(Ordering::Relaxed) {
            self.is_away.store(false, Ordering::Relaxed);
        }
    }

    /// Where a partition had no more, as the client's statistics say; they come now and then, where they were asked for.
    pub fn exhausted_at(&self, id: &TopicPartition) -> Option<i64> {
        let known = self.exhausted.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&id.topic)?.get(&id.partition).copied()
    }

    /// The newest reason for which no broker was reached; empty where there is none.
    pub fn reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes an error that the client reports of itself.
    pub fn note(&self, code: Option<RDKafkaErrorCode>) {
        tracing::debug!(table = self.table, ?code, "Kafka");
        let is_away = code == Some(RDKafkaErrorCode::AllBrokersDown) && !self.is_quiet;
        if is_away && !self.is_away.swap(true, Ordering::Relaxed) {
            tell(&format!(
                "warning: table '{}': no Kafka broker answers ({}); the job waits for them",
                self.table,
                self.reason()
            ));
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(table = self.table, ?level, facility, message, "librdkafka");
        if facility == "FAIL" {
            // `[thrd:broker]: broker: reason`.
            let message = message.split_once("]: ").map_or(message, |(_, message)| message);
            let message = message
                .split_once(" (after ")
                .map_or(message, |(message, _)| message);
            let mut known = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
            *known = message.to_string();
        }
    }

    fn error(&self, error: KafkaError, _reason: &str) {
        self.note(error.rdkafka_error_code());
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(read) = serde_json::from_slice::<Statistics>(statistics) else {
            tracing::warn!(table = self.table, "the client's statistics cannot be read");
            return;
        };
        let topics = read.topics.into_iter().map(|(topic, read)| {
            let partitions = read.partitions.into_iter();
            (
                topic,
                partitions
                    .map(|(number, read)| (number, read.eof_offset))
                    .collect(),
            )
        });
        *self.exhausted.lock().unwrap_or_else(PoisonError::into_inner) = topics.collect();
    }
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::table;

    fn parse(properties: &[(&str, &str)]) -> Result<ClientProperties, SqlError> {
        let mut options = vec![("connector", "kafka"), ("topic", "t")];
        options.extend(properties);
        let table = table("orders", &[], &options);
        ClientProperties::parse(&TableOptions::new(&table).unwrap())
    }

    fn refused(properties: &[(&str, &str)]) -> String {
        parse(properties).expect_err("refused").to_string()
    }

    const BROKER: (&str, &str) = ("properties.bootstrap.servers", "localhost:9092");

    #[test]
    fn properties_are_checked_before_anything_starts() {
        assert!(refused(&[]).contains("needs the option 'properties.bootstrap.servers'"));
        let error = refused(&[BROKER, ("properties.fetch.min.byte", "1")]);
        assert!(error.contains("No such configuration property"), "{error}");
        let error = refused(&[BROKER, ("properties.security.protocol", "carrier pigeon")]);
        assert!(error.contains("properties.security.protocol"), "{error}");
    }

    #[test]
    fn a_secret_stands_neither_in_the_text_nor_in_a_message() {
        let error = refused(&[BROKER, ("properties.sasl.password", "hunter2")]);
        assert!(
            error.contains("holds a secret") && !error.contains("hunter2"),
            "{error}"
        );
        // A variable that is always there, and no number.
        let error = refused(&[BROKER, ("properties.fetch.min.bytes", "${PATH}")]);
        let value = std::env::var("PATH").unwrap();
        assert!(
            error.contains("does not take this value") && !error.contains(&value),
            "{error}"
        );
        let known = parse(&[BROKER, ("properties.sasl.password", "${PATH}")]).unwrap();
        assert_eq!(known.get("sasl.password"), Some(value.as_str()));
        assert!(!format!("{known:?}").contains(&value));
        let error = refused(&[
            BROKER,
            ("properties.sasl.password", "${VELOCORE_NO_SUCH_VARIABLE}"),
        ]);
        assert!(error.contains("VELOCORE_NO_SUCH_VARIABLE"), "{error}");
    }

    #[test]
    fn where_a_partition_had_no_more_is_read_from_statistics() {
        let context = Context::new(&parse(&[BROKER]).unwrap());
        let id = |partition| TopicPartition {
            topic: "t".into(),
            partition,
        };
        assert_eq!(context.exhausted_at(&id(0)), None);
        let text = r#"{"name": "c", "topics": {"t": {"topic": "t", "partitions": {
            "0": {"partition": 0, "eof_offset": 17, "hi_offset": 20}, "-1": {"partition": -1, "eof_offset": -1001}}}}}"#;
        context.stats_raw(text.as_bytes());
        assert_eq!(context.exhausted_at(&id(0)), Some(17));
        assert_eq!(context.exhausted_at(&id(1)), None);
        context.stats_raw(br#"{"name": "c"}"#);
        assert_eq!(context.exhausted_at(&id(0)), None);
    }

    #[test]
    fn properties_of_a_java_client_are_translated() {
        let login = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"ada\" password=\"x y\";";
        let expected = [("sasl.username", "ada"), ("sasl.password", "x y")];
        let expected = expected.map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(jaas(login).unwrap(), expected);
        assert!(jaas("nonsense").is_err());
        let known = parse(&[
            BROKER,
            ("properties.max.request.size", "2000000"),
            ("properties.key.serializer", "org.example.Serializer"),
            ("properties.buffer.memory", "1048576"),
        ]);
        let known = known.unwrap();
        assert_eq!(known.get("message.max.bytes"), Some("2000000"));
        assert_eq!(known.get("queue.buffering.max.kbytes"), Some("1024"));
        assert_eq!(known.properties.len(), 3);
    }
}
