//! A Kafka table as a sink: its options, what its shards share, and the sink that puts an epoch's messages aside until
//! their transaction.
//!
//! **Invariant.** What cannot be written is told before the job starts: a topic that is not there, rows that change in a
//! format that does not say so, exactly once without checkpoints.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use engine::batch::Batch;
use engine::changelog::Changelog;
use engine::error::SqlError;
use engine::sql::catalog::TableColumnKind;
use shards::connector::{ConnectorError, Prepared, Sink};
use shards::epoch::Epoch;

use super::client::ClientProperties;
use super::columns::{KeyColumns, value_format};
use super::direct::{self, DirectSink, Partitioner, ShardProducer};
use super::encode::RowEncoder;
use super::metadata::check_metadata;
use super::offsets::Lookup;
use super::spool::{self, SpoolWriter, Spooled};
use super::transaction::Transactions;
use crate::connectors::Wake;
use crate::connectors::filesystem::sink::SinkEpochs;
use crate::connectors::format::RowFormat;
use crate::connectors::options::TableOptions;
use crate::limits::KAFKA_SPOOL_BYTES;

/// `sink.delivery-guarantee`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// A crash may lose rows.
    None,
    /// A crash may write rows twice.
    AtLeastOnce,
    /// A reader of committed records sees each row once.
    ExactlyOnce,
}

/// A Kafka table as a sink, prepared.
pub struct KafkaSinkTable {
    properties: ClientProperties,
    topic: String,
    partitions: i32,
    format: RowFormat,
    key: Option<KeyColumns>,
    /// The column of the messages' time stamp.
    timestamp: Option<String>,
    replaces_by_key: bool,
    guarantee: Guarantee,
    partitioner: Partitioning,
    /// Of exactly once: the transactions, the epochs, and where spools lie.
    epochs: Option<(Transactions, SinkEpochs)>,
    /// The newest epoch whose transaction is committed.
    committed: AtomicU64,
    /// Bytes that a shard puts aside while an epoch is not committed.
    spool_bytes: u64,
    /// By shard.
    shards: Mutex<Vec<ShardEnd>>,
}

/// What works for one shard in the background.
struct ShardEnd {
    /// None where epochs are written at once.
    producer: Option<ShardProducer>,
    waker: Arc<dyn Wake>,
}

#[derive(Clone, Copy, Debug)]
enum Partitioning {
    ByKey,
    Fixed,
    RoundRobin,
}

impl std::fmt::Debug for KafkaSinkTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSinkTable")
            .field("topic", &self.topic)
            .field("guarantee", &self.guarantee)
            .finish_non_exhaustive()
    }
}

impl KafkaSinkTable {
    /// Checks the options, and looks for the topic.
    ///
    /// # Errors
    /// A wrong option; a topic that is not there; a format that cannot say what the rows of `input` say.
    pub fn prepare(
        options: &TableOptions<'_>,
        input: &Changelog,
        epochs: Option<SinkEpochs>,
    ) -> Result<KafkaSinkTable, SqlError> {
        let mut table = KafkaSinkTable::parse(options, input, epochs)?;
        let failed = |key: &str, message: String| {
            options.error(key, format!("table '{}': {message}", options.table().name))
        };
        let lookup = Lookup::new(&table.properties, "velocore")
            .map_err(|message| failed("properties.bootstrap.servers", message))?;
        let partitions = lookup.partitions_of(&table.topic);
        let partitions = partitions.map_err(|message| {
            let key = match message.starts_with("the topic") {
                true => "topic",
                false => "properties.bootstrap.servers",
            };
            failed(key, message)
        })?;
        table.partitions = partitions.len() as i32;
        Ok(table)
    }

    /// The part of it that asks nobody.
    fn parse(
        options: &TableOptions<'_>,
        input: &Changelog,
        epochs: Option<SinkEpochs>,
    ) -> Result<KafkaSinkTable, SqlError> {
        let table = options.table();
        let replaces_by_key = table.sink_replaces_by_key();
        let format = value_format(options)?;
        check_metadata(table)?;
        check_changes(options, &format, input)?;
        let topic = options.required("topic", "the topic that is written")?;
        let topic = options.resolved("topic")?.unwrap_or_else(|| topic.to_string());
        if topic.contains(';') {
            return Err(options.invalid("topic", "one topic: only a source reads several"));
        }
        let words = [
            ("none", Guarantee::None),
            ("at-least-once", Guarantee::AtLeastOnce),
            ("exactly-once", Guarantee::ExactlyOnce),
        ];
        let guarantee = options
            .word("sink.delivery-guarantee", &words)?
            .unwrap_or(Guarantee::AtLeastOnce);
        let partitioners = [
            ("default", Partitioning::ByKey),
            ("fixed", Partitioning::Fixed),
            ("round-robin", Partitioning::RoundRobin),
        ];
        let properties = ClientProperties::parse(options)?;
        let epochs = match guarantee {
            Guarantee::ExactlyOnce => Some(exactly_once(options, &properties, &topic, epochs)?),
            _ => None,
        };
        Ok(KafkaSinkTable {
            timestamp: timestamp_column(options)?,
            properties,
            topic,
            partitions: 1,
            format,
            key: KeyColumns::parse(options, replaces_by_key)?,
            replaces_by_key,
            guarantee,
            partitioner: options
                .word("sink.partitioner", &partitioners)?
                .unwrap_or(Partitioning::ByKey),
            epochs,
            committed: AtomicU64::new(0),
            spool_bytes: KAFKA_SPOOL_BYTES,
            shards: Mutex::default(),
        })
    }

    /// Makes what works in the background, from a thread that is not pinned.
    ///
    /// # Errors
    /// The client refuses its properties.
    pub fn start(&self, wakers: &[Arc<dyn Wake>]) -> Result<(), ConnectorError> {
        let made = wakers.iter().map(|waker| {
            let producer = match self.guarantee {
                Guarantee::ExactlyOnce => None,
                _ => Some(direct::producer(&self.properties, &self.topic, waker.clone())?),
            };
            let waker = waker.clone();
            Ok(ShardEnd { producer, waker })
        });
        let made = made.collect::<Result<Vec<_>, ConnectorError>>()?;
        *self.shards.lock().unwrap_or_else(PoisonError::into_inner) = made;
        Ok(())
    }

    /// Shard `shard`'s sink for rows with these columns.
    pub fn sink(
        self: &Arc<Self>,
        statement: usize,
        shard: usize,
        schema: &SchemaRef,
        has_ops: bool,
    ) -> Box<dyn Sink> {
        let timestamp = self
            .timestamp
            .as_ref()
            .and_then(|name| schema.index_of(name).ok());
        let encoder = RowEncoder::new(
            schema,
            has_ops,
            &self.format,
            self.key.as_ref(),
            timestamp,
            self.replaces_by_key,
        );
        let partitioner = match self.partitioner {
            Partitioning::ByKey => Partitioner::ByKey,
            Partitioning::Fixed => Partitioner::Fixed(shard as i32 % self.partitions),
            Partitioning::RoundRobin => Partitioner::RoundRobin {
                next: shard as i32 % self.partitions,
                partitions: self.partitions,
            },
        };
        if self.epochs.is_some() {
            return Box::new(SpoolSink {
                table: self.clone(),
                statement,
                shard,
                encoder,
                partitioner,
                open: None,
                ended: 0,
                prepared: None,
            });
        }
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let end = shards.get(shard).expect("invariant: the table was started");
        let producer = end
            .producer
            .clone()
            .expect("invariant: this guarantee has producers");
        let is_acknowledged = self.guarantee == Guarantee::AtLeastOnce;
        Box::new(DirectSink::new(
            producer,
            &self.topic,
            encoder,
            partitioner,
            is_acknowledged,
        ))
    }

    /// Makes the transactions of what was prepared, epoch by epoch.
    ///
    /// # Errors
    /// See [`Transactions::commit`].
    pub fn commit(&self, mut spools: Vec<Spooled>) -> Result<(), ConnectorError> {
        let Some((transactions, _)) = &self.epochs else {
            let table = self.properties.table();
            return Err(ConnectorError::new(format!(
                "the checkpoint holds output of table '{table}' for a transaction, and the table does not write exactly once \
                 any more; run the job once more as it was, or start with another checkpoint directory"
            )));
        };
        spools.sort_by(|a, b| (a.epoch, &a.path).cmp(&(b.epoch, &b.path)));
        for spools in spools.chunk_by(|a, b| a.epoch == b.epoch) {
            transactions.commit(spools[0].epoch, spools)?;
            self.committed.fetch_max(spools[0].epoch, Ordering::AcqRel);
        }
        // A spool that was full may be written on.
        for end in &*self.shards.lock().unwrap_or_else(PoisonError::into_inner) {
            end.waker.wake();
        }
        Ok(())
    }

    /// The job has come to its end: whoever reads committed records from now on finds all of its rows.
    ///
    /// # Errors
    /// See [`Transactions::await_shown`].
    pub fn end(&self) -> Result<(), ConnectorError> {
        match &self.epochs {
            Some((transactions, _)) if self.committed.load(Ordering::Acquire) > 0 => {
                transactions.await_shown()
            }
            _ => Ok(()),
        }
    }

    /// Takes back what was put aside behind `epoch`, and ends what an earlier process has under way.
    ///
    /// # Errors
    /// The file system refuses; see [`Transactions::begin`].
    pub fn abort_after(&self, epoch: Epoch) -> Result<(), ConnectorError> {
        let Some((transactions, epochs)) = &self.epochs else {
            return Ok(());
        };
        let directory = spool_directory(epochs);
        let failed = |error: std::io::Error| {
            ConnectorError::new(format!(
                "cannot use the directory {}: {error}",
                directory.display()
            ))
        };
        std::fs::create_dir_all(&directory).map_err(failed)?;
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let written = spool::epoch_of(&entry.file_name().to_string_lossy());
            if written.is_some_and(|written| written > epoch) {
                std::fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        transactions.begin(epoch)
    }

    /// Whether rows are seen once, whatever crashes.
    pub fn guarantee(&self) -> Guarantee {
        self.guarantee
    }
}

/// Beside the epochs of the checkpoint.
fn spool_directory(epochs: &SinkEpochs) -> PathBuf {
    let directory = epochs.directory.as_ref();
    directory
        .expect("invariant: without a local directory exactly-once is refused")
        .join("output")
}

fn exactly_once(
    options: &TableOptions<'_>,
    properties: &ClientProperties,
    topic: &str,
    epochs: Option<SinkEpochs>,
) -> Result<(Transactions, SinkEpochs), SqlError> {
    let key = "sink.delivery-guarantee";
    let name = &options.table().name;
    options.required(
        "sink.transactional-id-prefix",
        "a name that no other job at these brokers uses",
    )?;
    let prefix = options
        .resolved("sink.transactional-id-prefix")?
        .unwrap_or_default();
    let Some(epochs) = epochs else {
        return Err(options
            .error(key, format!("table '{name}': exactly once needs checkpoints"))
            .hint("run the job with --checkpoint-dir, or write at-least-once"));
    };
    if epochs.directory.is_none() {
        let message = format!(
            "table '{name}': exactly once needs checkpoints in a local directory, where rows wait for their transaction"
        );
        let hint = "give --checkpoint-dir a directory instead of a URL, or write at-least-once";
        return Err(options.error(key, message).hint(hint));
    }
    let transactions = Transactions::new(properties, topic, &prefix, &epochs.job);
    Ok((transactions, epochs))
}

/// Refuses rows that change in a format that does not say so, as Flink does.
fn check_changes(options: &TableOptions<'_>, format: &RowFormat, input: &Changelog) -> Result<(), SqlError> {
    let table = options.table();
    let says_ops = matches!(format, RowFormat::Changelog(..)) || table.sink_replaces_by_key();
    if !input.has_ops() || says_ops {
        return Ok(());
    }
    Err(options
        .error(
            "connector",
            format!(
                "table '{}': records cannot say what becomes of rows that were written, but the query changes them ({input})",
                table.name
            ),
        )
        .hint("write an 'upsert-kafka' table with a PRIMARY KEY, 'value.format' = 'debezium-json', or use EMIT FINAL"))
}

/// The column that is written as the messages' time stamp; other metadata cannot be written.
fn timestamp_column(options: &TableOptions<'_>) -> Result<Option<String>, SqlError> {
    let table = options.table();
    let mut found = None;
    for column in &table.columns {
        match &column.kind {
            TableColumnKind::Metadata {
                key,
                is_virtual: false,
            } if key == "timestamp" => found = Some(column.field.name().clone()),
            TableColumnKind::Metadata {
                key,
                is_virtual: false,
            } => {
                return Err(SqlError::new(format!(
                    "table '{}', column '{}': the metadata '{key}' cannot be written",
                    table.name,
                    column.field.name()
                ))
                .at(table.position)
                .hint("declare it METADATA VIRTUAL"));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// A shard's part of a sink that writes an epoch once.
#[derive(Debug)]
struct SpoolSink {
    table: Arc<KafkaSinkTable>,
    statement: usize,
    shard: usize,
    encoder: RowEncoder,
    partitioner: Partitioner,
    open: Option<SpoolWriter>,
    /// Epochs that have ended since the start.
    ended: u64,
    /// The newest epoch that was put aside.
    prepared: Option<Epoch>,
}

impl SpoolSink {
    fn epochs(&self) -> &SinkEpochs {
        let (_, epochs) = self
            .table
            .epochs
            .as_ref()
            .expect("invariant: it writes by epochs");
        epochs
    }

    fn epoch(&self) -> Epoch {
        self.epochs().first + self.ended
    }

    /// Whether every epoch that was put aside is in its topic.
    fn is_committed(&self) -> bool {
        let committed = self.table.committed.load(Ordering::Acquire);
        self.prepared.is_none_or(|prepared| committed >= prepared)
    }
}

impl Sink for SpoolSink {
    fn ready(&mut self) -> bool {
        // The next epoch ends only behind the one before: until then there is nothing to wait for.
        let bytes = self.open.as_ref().map_or(0, SpoolWriter::bytes);
        bytes < self.table.spool_bytes || self.is_committed()
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        let messages = self.encoder.encode(batch)?;
        if messages.is_empty() {
            return Ok(());
        }
        if self.open.is_none() {
            let name = spool::file_name(
                self.table.properties.table(),
                self.statement,
                self.shard,
                self.epoch(),
            );
            self.open = Some(SpoolWriter::create(&spool_directory(self.epochs()).join(name))?);
        }
        let spool = self.open.as_mut().expect("invariant: just opened");
        for row in 0..messages.len() {
            spool.push(&messages.get(row), self.partitioner.choose())?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn prepare(&mut self) -> Result<Vec<Prepared>, ConnectorError> {
        let epoch = self.epoch();
        self.ended += 1;
        let Some(spool) = self.open.take() else {
            return Ok(Vec::new());
        };
        let spooled = spool.finish(self.table.properties.table(), epoch)?;
        self.prepared = Some(epoch);
        Ok(vec![spooled.write()])
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
