//! Where the reading of a partition stands, as a snapshot keeps it.
//!
//! **Invariant.** A position is a number, also before the first record was read: a job that goes on never asks
//! again where to begin or where to end.

use serde::{Deserialize, Serialize};
use shards::connector::SplitPosition;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// The shard that reads it: partitions of a topic go to shards in turn, and topics begin at different ones.
    pub fn owner(&self, shards: usize) -> usize {
        let hash = self.topic.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let first = (hash >> 32) % shards as u64;
        let number = u64::try_from(self.partition).expect("invariant: partitions are numbered from 0");
        ((first + number) % shards as u64) as usize
    }

    /// The split's name.
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }
}

/// A position as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionPosition {
    /// The offset of the next record.
    pub next: i64,
    /// Where reading ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
}

impl PartitionPosition {
    /// Whether nothing is left.
    pub fn is_read(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// As the position of `partition`.
    pub fn write(&self, partition: &TopicPartition) -> SplitPosition {
        SplitPosition {
            split: partition.name(),
            position: serde_json::to_string(self).expect("invariant: a position is plain data"),
        }
    }

    /// What was written.
    ///
    /// # Errors
    /// It was not written by this connector.
    pub fn read(position: &SplitPosition) -> Result<PartitionPosition, String> {
        serde_json::from_str(&position.position)
            .map_err(|error| format!("the position in {} cannot be read: {error}", position.split))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_go_to_shards_in_turn() {
        for shards in 1..5 {
            let owners: Vec<usize> = (0..8)
                .map(|partition| {
                    let topic = "orders".to_string();
                    TopicPartition { topic, partition }.owner(shards)
                })
                .collect();
            for (number, owner) in owners.iter().enumerate() {
                assert_eq!(*owner, (owners[0] + number) % shards);
            }
        }
    }

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let partition = TopicPartition {
            topic: "a".into(),
            partition: 3,
        };
        for end in [None, Some(9)] {
            let position = PartitionPosition { next: 9, end };
            let written = position.write(&partition);
            assert_eq!(written.split, "a-3");
            assert_eq!(PartitionPosition::read(&written), Ok(position));
            assert_eq!(position.is_read(), end.is_some());
        }
    }
}
