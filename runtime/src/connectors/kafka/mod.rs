//! `'connector' = 'kafka'` and `'upsert-kafka'`: topics as sources and sinks, by librdkafka.
//!
//! ```text
//! topic ─ partitions ─▶ shard (a hash of the topic, and the number) ─▶ messages ─▶ rows (records)
//!         rows ─▶ messages (encode) ─┬─ direct: a producer a shard ──────────────────────────▶ topic
//!                                    └─ exactly once: spool, a file an epoch ─ transaction ──▶ topic
//! ```
//! One consumer a shard with the partitions that belong to it, assigned by hand: no consumer group decides who
//! reads what, and positions live in checkpoints. librdkafka's threads fill one bounded queue a partition; the
//! shard empties it in its own time, and is woken when a queue is no longer empty.
//!
//! **Invariant.** No shard waits for a broker: what blocks (looking topics up, transactions) is done by the control
//! thread, before shards start or when an epoch is committed.

pub mod chunk;
pub mod client;
pub mod columns;
pub mod deliveries;
pub mod direct;
pub mod discovery;
pub mod encode;
pub mod metadata;
pub mod offsets;
pub mod position;
pub mod records;
pub mod sink;
pub mod source;
pub mod spool;
pub mod table;
pub mod transaction;

#[cfg(test)]
mod tests;
