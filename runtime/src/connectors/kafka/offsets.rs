//! Which partitions there are, and where reading them begins and ends: asked of the brokers before a job starts.
//!
//! **Invariant.** Every mode becomes numbers here. Where reading ends is what a reader may see now
//! (`read_committed`: nothing behind an open transaction), so that it is reached.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engine::error::SqlError;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use regex::Regex;

use super::client::{ANSWER_PATIENCE, ClientProperties, Context, described};
use super::position::{PartitionPosition, TopicPartition};
use crate::connectors::options::TableOptions;

/// Events of a client that are looked through for why it failed.
pub const EVENTS_MAX: usize = 64;

/// The topics of a source.
#[derive(Clone, Debug)]
pub enum Topics {
    /// These.
    Listed(Vec<String>),
    /// All whose whole name matches.
    Pattern(Regex),
}

impl Topics {
    /// `topic` or `topic-pattern`.
    ///
    /// # Errors
    /// Neither or both; a pattern that is no regular expression.
    pub fn parse(options: &TableOptions<'_>) -> Result<Topics, SqlError> {
        match (options.resolved("topic")?, options.resolved("topic-pattern")?) {
            (Some(_), Some(_)) => Err(options
                .error(
                    "topic-pattern",
                    "a table has 'topic' or 'topic-pattern', not both",
                )
                .hint("leave one of them out")),
            (Some(topics), None) => {
                let names: Vec<String> = topics
                    .split(';')
                    .map(|name| name.trim().to_string())
                    .filter(|name| !name.is_empty())
                    .collect();
                match names.is_empty() {
                    true => Err(options.invalid("topic", "a topic, or several with ; between them")),
                    false => Ok(Topics::Listed(names)),
                }
            }
            (None, Some(pattern)) => Regex::new(&format!("^(?:{pattern})$"))
                .map(Topics::Pattern)
                .map_err(|error| {
                    options.error(
                        "topic-pattern",
                        format!("'{pattern}' is no regular expression: {error}"),
                    )
                }),
            (None, None) => options
                .required("topic", "the topic, or several with ; between them")
                .map(|_| unreachable!("invariant: the option is missing")),
        }
    }
}

/// Where something begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffsetMode {
    /// At the oldest record there is.
    Earliest,
    /// Behind the newest.
    Latest,
    /// Where the consumer group stands.
    Group,
    /// At the first record from this time on, milliseconds since 1970.
    Timestamp(i64),
    /// At these offsets, by partition.
    Specific(BTreeMap<i32, i64>),
}

impl OffsetMode {
    /// What `scan.<when>.mode` and its companions say; `None` where there is no end.
    ///
    /// # Errors
    /// A companion that is missing or wrong.
    pub fn parse(options: &TableOptions<'_>, when: &str) -> Result<Option<OffsetMode>, SqlError> {
        let key = format!("scan.{when}.mode");
        let word = options.text(&key).unwrap_or(match when {
            "startup" => "group-offsets",
            _ => "unbounded",
        });
        Ok(Some(match word {
            "unbounded" => return Ok(None),
            "earliest-offset" => OffsetMode::Earliest,
            "latest-offset" => OffsetMode::Latest,
            "group-offsets" => OffsetMode::Group,
            "timestamp" => {
                let key = format!("scan.{when}.timestamp-millis");
                options.required(&key, "milliseconds since 1970")?;
                let millis = options.count(&key)?.and_then(|millis| i64::try_from(millis).ok());
                OffsetMode::Timestamp(millis.ok_or_else(|| options.invalid(&key, "milliseconds since 1970"))?)
            }
            _ => {
                let key = format!("scan.{when}.specific-offsets");
                let what = "'partition:0,offset:42;partition:1,offset:300'";
                let text = options.required(&key, what)?;
                OffsetMode::Specific(specific(text).ok_or_else(|| options.invalid(&key, what))?)
            }
        }))
    }
}

/// `partition:0,offset:42;partition:1,offset:300`.
fn specific(text: &str) -> Option<BTreeMap<i32, i64>> {
    text.split(';')
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let (partition, offset) = part.split_once(',')?;
            let partition = partition.trim().strip_prefix("partition:")?;
            let offset = offset.trim().strip_prefix("offset:")?;
            let numbers: (i32, i64) = (partition.trim().parse().ok()?, offset.trim().parse().ok()?);
            (numbers.0 >= 0 && numbers.1 >= 0).then_some(numbers)
        })
        .collect()
}

/// A partition, and where reading it begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPartition {
    /// Which.
    pub id: TopicPartition,
    /// Where a job that starts anew reads.
    pub start: PartitionPosition,
    /// The oldest record there is: where a job that goes on begins with a partition that has come since.
    pub earliest: i64,
}

/// Asks the brokers.
pub struct Lookup {
    consumer: BaseConsumer<Context>,
    properties: ClientProperties,
}

impl Lookup {
    /// One that asks for the offsets of the table's group, or of `group` where it names none.
    ///
    /// # Errors
    /// The client refuses its properties.
    pub fn new(properties: &ClientProperties, group: &str) -> Result<Lookup, String> {
        let group = properties.get("group.id").unwrap_or(group);
        Ok(Lookup {
            consumer: properties.lookup(group)?,
            properties: properties.clone(),
        })
    }

    /// The partitions of `topics` now.
    ///
    /// # Errors
    /// No broker answers; a listed topic does not exist; none matches.
    pub fn partitions(&self, topics: &Topics) -> Result<Vec<TopicPartition>, String> {
        let mut found = Vec::new();
        match topics {
            Topics::Listed(names) => {
                for name in names {
                    found.extend(self.partitions_of(name)?);
                }
            }
            Topics::Pattern(pattern) => {
                let metadata = self.consumer.fetch_metadata(None, ANSWER_PATIENCE);
                let metadata = metadata.map_err(|error| self.unanswered(error.rdkafka_error_code()))?;
                for topic in metadata.topics() {
                    // Topics that start with __ are the brokers' own.
                    if pattern.is_match(topic.name()) && !topic.name().starts_with("__") {
                        found.extend(self.partitions_of(topic.name())?);
                    }
                }
                if found.is_empty() {
                    return Err(format!("no topic at {} matches", self.properties.bootstrap()));
                }
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The partitions of `topic`.
    ///
    /// # Errors
    /// No broker answers; it does not exist.
    pub fn partitions_of(&self, topic: &str) -> Result<Vec<TopicPartition>, String> {
        let deadline = Instant::now() + ANSWER_PATIENCE;
        loop {
            let metadata = self.consumer.fetch_metadata(Some(topic), ANSWER_PATIENCE);
            let metadata = metadata.map_err(|error| self.unanswered(error.rdkafka_error_code()))?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let error = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
            let partitions = found.map_or(&[] as &[_], |found| found.partitions());
            match error {
                None if !partitions.is_empty() => {
                    return Ok(partitions
                        .iter()
                        .map(|partition| TopicPartition {
                            topic: topic.to_string(),
                            partition: partition.id(),
                        })
                        .collect());
                }
                // A topic that has just been made has no leaders for a moment.
                None | Some(RDKafkaErrorCode::LeaderNotAvailable) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                error => {
                    let reason = error.map_or("it has no partitions".to_string(), |code| match code {
                        RDKafkaErrorCode::UnknownTopicOrPartition => "it does not exist".to_string(),
                        code => described(code),
                    });
                    return Err(format!(
                        "the topic '{topic}' at {} cannot be used: {reason}",
                        self.properties.bootstrap()
                    ));
                }
            }
        }
    }

    /// Where reading `partitions` begins and ends.
    ///
    /// # Errors
    /// No broker answers; a partition without a place to begin or end.
    pub fn positions(
        &self,
        partitions: &[TopicPartition],
        start: &OffsetMode,
        end: Option<&OffsetMode>,
    ) -> Result<Vec<KnownPartition>, String> {
        let ranges = partitions
            .iter()
            .map(|id| self.range(id))
            .collect::<Result<Vec<_>, _>>()?;
        let starts = self.offsets(partitions, &ranges, start)?;
        let ends = end
            .map(|end| self.offsets(partitions, &ranges, end))
            .transpose()?;
        let places = partitions.iter().zip(ranges).zip(starts).enumerate();
        places
            .map(|(index, ((id, (earliest, latest)), next))| {
                let next = match (next, start) {
                    (Some(next), _) => next,
                    (None, OffsetMode::Specific(_)) => earliest,
                    (None, _) => match self.properties.get("auto.offset.reset") {
                        Some("earliest" | "smallest" | "beginning") => earliest,
                        Some("latest" | "largest" | "end") => latest,
                        _ => {
                            return Err(format!(
                                "the group '{}' has no offset in partition {} of topic '{}'; say where to begin with \
                                 'scan.startup.mode', or with 'properties.auto.offset.reset'",
                                self.properties.get("group.id").unwrap_or_default(),
                                id.partition,
                                id.topic
                            ));
                        }
                    },
                };
                let end = match ends.as_ref().map(|ends| ends[index]) {
                    None => None,
                    Some(Some(end)) => Some(end),
                    Some(None) => {
                        return Err(format!(
                            "'scan.bounded.mode' says nothing of partition {} of topic '{}'",
                            id.partition, id.topic
                        ));
                    }
                };
                Ok(KnownPartition {
                    id: id.clone(),
                    start: PartitionPosition { next, end },
                    earliest,
                })
            })
            .collect()
    }

    /// The oldest offset of a partition.
    ///
    /// # Errors
    /// No broker answers.
    pub fn earliest(&self, id: &TopicPartition) -> Result<i64, String> {
        self.range(id).map(|(earliest, _)| earliest)
    }

    fn range(&self, id: &TopicPartition) -> Result<(i64, i64), String> {
        let deadline = Instant::now() + ANSWER_PATIENCE;
        loop {
            match self
                .consumer
                .fetch_watermarks(&id.topic, id.partition, ANSWER_PATIENCE)
            {
                Ok(range) => return Ok(range),
                // A partition that has just been made has no leader for a moment.
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
                Err(error) => {
                    return Err(format!(
                        "the offsets of partition {} of topic '{}' cannot be asked for: {}",
                        id.partition,
                        id.topic,
                        self.properties.told(&error)
                    ));
                }
            }
        }
    }

    /// The offset that `mode` means in each partition, where it means one.
    fn offsets(
        &self,
        partitions: &[TopicPartition],
        ranges: &[(i64, i64)],
        mode: &OffsetMode,
    ) -> Result<Vec<Option<i64>>, String> {
        let listed = |offset: Offset| {
            let mut list = TopicPartitionList::new();
            for id in partitions {
                list.add_partition_offset(&id.topic, id.partition, offset)
                    .map_err(|error| self.properties.told(&error))?;
            }
            Ok::<_, String>(list)
        };
        let answered = match mode {
            OffsetMode::Earliest => return Ok(ranges.iter().map(|range| Some(range.0)).collect()),
            OffsetMode::Latest => return Ok(ranges.iter().map(|range| Some(range.1)).collect()),
            OffsetMode::Specific(offsets) => {
                let offset = |id: &TopicPartition| offsets.get(&id.partition).copied();
                return Ok(partitions.iter().map(offset).collect());
            }
            OffsetMode::Group => self
                .consumer
                .committed_offsets(listed(Offset::Invalid)?, ANSWER_PATIENCE),
            OffsetMode::Timestamp(millis) => self
                .consumer
                .offsets_for_times(listed(Offset::Offset(*millis))?, ANSWER_PATIENCE),
        };
        let answered = answered.map_err(|error| self.unanswered(error.rdkafka_error_code()))?;
        let offset = |(id, range): (&TopicPartition, &(i64, i64))| {
            let found = answered.find_partition(&id.topic, id.partition)?;
            match found.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::End => Some(range.1),
                _ => None,
            }
        };
        Ok(partitions.iter().zip(ranges).map(offset).collect())
    }

    /// No broker has answered, or with an error.
    fn unanswered(&self, code: Option<RDKafkaErrorCode>) -> String {
        // Lines of the client's log wait among its events.
        for _ in 0..EVENTS_MAX {
            let _ = self.consumer.poll(Duration::ZERO);
        }
        let reason = self.consumer.context().reason();
        let what = code.map_or("no answer".to_string(), described);
        let reason = if reason.is_empty() {
            reason
        } else {
            format!(": {reason}")
        };
        format!(
            "{what} at {} within {} s{reason}",
            self.properties.bootstrap(),
            ANSWER_PATIENCE.as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::testing::table;

    fn mode(when: &str, options: &[(&str, &str)]) -> Result<Option<OffsetMode>, String> {
        let mut all = vec![("connector", "kafka"), ("topic", "t")];
        all.extend(options);
        let table = table("t", &[], &all);
        let options = TableOptions::new(&table).map_err(|error| error.to_string())?;
        OffsetMode::parse(&options, when).map_err(|error| error.to_string())
    }

    #[test]
    fn modes_are_flinks() {
        assert_eq!(mode("startup", &[]), Ok(Some(OffsetMode::Group)));
        assert_eq!(mode("bounded", &[]), Ok(None));
        let latest = [("scan.bounded.mode", "latest-offset")];
        assert_eq!(mode("bounded", &latest), Ok(Some(OffsetMode::Latest)));
        let time = [
            ("scan.startup.mode", "timestamp"),
            ("scan.startup.timestamp-millis", "17"),
        ];
        assert_eq!(mode("startup", &time), Ok(Some(OffsetMode::Timestamp(17))));
        let offsets = [
            ("scan.startup.mode", "specific-offsets"),
            (
                "scan.startup.specific-offsets",
                "partition:0,offset:42;partition:1,offset:300",
            ),
        ];
        let expected = BTreeMap::from([(0, 42), (1, 300)]);
        assert_eq!(
            mode("startup", &offsets),
            Ok(Some(OffsetMode::Specific(expected)))
        );
    }

    #[test]
    fn what_a_mode_needs_is_asked_for() {
        let error = mode("startup", &[("scan.startup.mode", "timestamp")]).expect_err("refused");
        assert!(error.contains("'scan.startup.timestamp-millis'"), "{error}");
        let options = [
            ("scan.startup.mode", "specific-offsets"),
            ("scan.startup.specific-offsets", "0:42"),
        ];
        let error = mode("startup", &options).expect_err("refused");
        assert!(error.contains("partition:0,offset:42"), "{error}");
    }

    #[test]
    fn a_pattern_is_the_whole_name() {
        let options = [("connector", "kafka"), ("topic-pattern", "orders-[0-9]+")];
        let table = table("t", &[], &options);
        let Topics::Pattern(pattern) = Topics::parse(&TableOptions::new(&table).unwrap()).unwrap() else {
            panic!("a pattern");
        };
        assert!(pattern.is_match("orders-17") && !pattern.is_match("old-orders-17"));
    }
}
