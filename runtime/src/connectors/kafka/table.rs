//! A Kafka table as a source: its options, its partitions when the job starts, and a consumer for each shard.
//!
//! **Invariant.** All shards agree on the partitions and on where reading them begins and ends: it is asked once.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::error::SqlError;
use engine::plan::SourceSpec;
use rdkafka::consumer::BaseConsumer;
use shards::connector::{ConnectorError, Source};

use super::client::{ClientProperties, Context};
use super::columns::{KeyColumns, value_format};
use super::discovery::{self, Discovery};
use super::metadata::check_metadata;
use super::offsets::{KnownPartition, Lookup, OffsetMode, Topics};
use super::records::Records;
use super::source::{KafkaSource, ShardClient};
use crate::connectors::Wake;
use crate::connectors::decoding::MalformedPolicy;
use crate::connectors::format::RowFormat;
use crate::connectors::options::TableOptions;
use crate::limits::KAFKA_AHEAD_BYTES;

/// Flink's default.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// A Kafka table as a source, prepared.
pub struct KafkaTable {
    properties: ClientProperties,
    topics: Topics,
    format: RowFormat,
    policy: MalformedPolicy,
    key: Option<KeyColumns>,
    /// Whether reading ends.
    is_bounded: bool,
    partitions: Vec<KnownPartition>,
    discovery_interval: Option<Duration>,
    /// By shard, until it takes it.
    clients: Mutex<Vec<Option<ShardClient>>>,
    discovery: Mutex<Option<Discovery>>,
}

impl std::fmt::Debug for KafkaTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaTable")
            .field("topics", &self.topics)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

impl KafkaTable {
    /// Checks the options, and asks the brokers for partitions and offsets.
    ///
    /// # Errors
    /// A wrong option; no broker; a topic that is not there.
    pub fn prepare(source: &SourceSpec, options: &TableOptions<'_>) -> Result<KafkaTable, SqlError> {
        let table = options.table();
        let replaces_by_key = table.sink_replaces_by_key();
        check_metadata(table)?;
        let format = value_format(options)?;
        let policy = format.malformed_policy(options)?;
        let key = KeyColumns::parse(options, replaces_by_key)?;
        let checked = Records::new(source, &format, key.as_ref(), policy.clone());
        checked.map_err(|error| options.table_error(format!("table '{}': {error}", table.name)))?;
        let topics = Topics::parse(options)?;
        let start = match replaces_by_key {
            // What a key's row is now follows from all that was said of it.
            true => OffsetMode::Earliest,
            false => OffsetMode::parse(options, "startup")?.unwrap_or(OffsetMode::Group),
        };
        let end = OffsetMode::parse(options, "bounded")?;
        let properties = ClientProperties::parse(options)?;
        if properties.get("group.id").is_none()
            && (start == OffsetMode::Group || end == Some(OffsetMode::Group))
        {
            return Err(options
                .table_error(format!(
                    "table '{}': reading from where a group stands needs 'properties.group.id'",
                    table.name
                ))
                .hint("name the group, or say where to begin: 'scan.startup.mode' = 'earliest-offset'"));
        }
        let interval = options.duration_us("scan.topic-partition-discovery.interval")?;
        let interval = interval.map_or(DISCOVERY_INTERVAL, Duration::from_micros);
        let mut table = KafkaTable {
            properties,
            topics,
            format,
            policy,
            key,
            is_bounded: end.is_some(),
            partitions: Vec::new(),
            discovery_interval: (end.is_none() && !interval.is_zero()).then_some(interval),
            clients: Mutex::default(),
            discovery: Mutex::default(),
        };
        table.partitions = table.ask(options, &start, end.as_ref())?;
        Ok(table)
    }

    fn ask(
        &self,
        options: &TableOptions<'_>,
        start: &OffsetMode,
        end: Option<&OffsetMode>,
    ) -> Result<Vec<KnownPartition>, SqlError> {
        let failed = |message: String| {
            let places = [
                ("the topic", "topic"),
                ("no topic", "topic-pattern"),
                ("the group", "properties.group.id"),
                ("'scan.bounded.mode'", "scan.bounded.mode"),
            ];
            let mut places = places.iter().filter(|(words, _)| message.starts_with(words));
            let place = places.find(|(_, key)| options.text(key).is_some());
            let key = place.map_or("properties.bootstrap.servers", |(_, key)| key);
            options.error(key, format!("table '{}': {message}", options.table().name))
        };
        let lookup = Lookup::new(&self.properties, "velocore").map_err(failed)?;
        let partitions = lookup.partitions(&self.topics).map_err(failed)?;
        lookup.positions(&partitions, start, end).map_err(failed)
    }

    /// Makes the shards' consumers and what looks for new partitions, from a thread that is not pinned: their
    /// threads inherit its cores.
    ///
    /// # Errors
    /// The client refuses its properties.
    pub fn start(&self, wakers: &[Arc<dyn Wake>]) -> Result<(), ConnectorError> {
        let failed =
            |message: String| ConnectorError::new(format!("table '{}': {message}", self.properties.table()));
        let (senders, receivers): (Vec<_>, Vec<Receiver<KnownPartition>>) =
            wakers.iter().map(|_| std::sync::mpsc::channel()).unzip();
        let mut clients = Vec::with_capacity(wakers.len());
        for (shard, (waker, discovered)) in wakers.iter().zip(receivers).enumerate() {
            let owned = self
                .partitions
                .iter()
                .filter(|known| known.id.owner(wakers.len()) == shard);
            clients.push(Some(ShardClient {
                consumer: self.consumer(owned.count()).map_err(failed)?,
                waker: waker.clone(),
                discovered,
            }));
        }
        *self.clients.lock().unwrap_or_else(PoisonError::into_inner) = clients;
        if let Some(interval) = self.discovery_interval {
            let lookup = Lookup::new(&self.properties, "velocore").map_err(failed)?;
            let known = self.partitions.iter().map(|known| known.id.clone()).collect();
            let readers = senders.into_iter().zip(wakers.iter().cloned()).collect();
            let discovery = discovery::start(lookup, self.topics.clone(), known, interval, readers);
            *self.discovery.lock().unwrap_or_else(PoisonError::into_inner) = Some(discovery);
        }
        Ok(())
    }

    /// A consumer for so many partitions.
    fn consumer(&self, partitions: usize) -> Result<BaseConsumer<Context>, String> {
        let ahead = bytes_ahead(partitions).to_string();
        let defaults = [
            ("group.id", "velocore"),
            ("isolation.level", "read_committed"),
            ("queued.max.messages.kbytes", ahead.as_str()),
            // A partition whose queue was full is looked at again soon after the shard has taken some.
            ("fetch.queue.backoff.ms", "5"),
        ];
        let fixed = [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // An offset that is not there any more is an error, not a leap.
            ("auto.offset.reset", "error"),
            (
                "enable.partition.eof",
                if self.is_bounded { "true" } else { "false" },
            ),
            // They say where a partition had no more.
            (
                "statistics.interval.ms",
                if self.is_bounded { "100" } else { "0" },
            ),
            ("allow.auto.create.topics", "false"),
        ];
        let config = self.properties.config(&defaults, &fixed);
        config
            .create_with_context(Context::new(&self.properties))
            .map_err(|error| self.properties.told(&error))
    }

    /// Shard `shard`'s part.
    ///
    /// # Errors
    /// The format cannot decode a wanted column.
    pub fn source(
        self: &Arc<Self>,
        source: &SourceSpec,
        shard: usize,
        shards: usize,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let records = Records::new(source, &self.format, self.key.as_ref(), self.policy.clone());
        let records = records.map_err(|error| ConnectorError::new(error.message))?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.get_mut(shard).and_then(Option::take);
        let client = client.expect("invariant: the table was started, and a shard makes its part once");
        let may_grow = self.discovery_interval.is_some();
        let owned: Vec<KnownPartition> = self
            .partitions
            .iter()
            .filter(|known| known.id.owner(shards) == shard)
            .cloned()
            .collect();
        let names = self.partitions.iter().map(|known| known.id.name()).collect();
        Ok(Box::new(KafkaSource::new(
            self.properties.table(),
            client,
            owned,
            names,
            records,
            may_grow,
        )))
    }
}

/// Kilobytes that a consumer of so many partitions keeps ahead of each.
fn bytes_ahead(partitions: usize) -> usize {
    (KAFKA_AHEAD_BYTES / 1024 / partitions.max(1)).clamp(256, 16 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_fetched_ahead_are_shared_by_the_partitions() {
        assert_eq!(bytes_ahead(0), 16 << 10);
        assert_eq!(bytes_ahead(16) * 16 * 1024, KAFKA_AHEAD_BYTES);
        assert_eq!(bytes_ahead(100_000), 256);
    }
}
