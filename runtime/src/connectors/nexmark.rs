//! `'connector' = 'nexmark'`: the auction site of the Nexmark benchmark, flat out or paced.
//!
//! Paced, event time moves as fast as the clock does; flat out, it moves by the generator's own
//! 10,000 events a second.

use arrow::array::RecordBatch;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use engine::error::SqlError;
use engine::generators::nexmark::{NexmarkConfig, NexmarkGenerator, NexmarkTable};
use engine::time::EventTimeUs;

use super::generated::{Generate, GeneratedSource, Schedule};
use super::ingest::{IngestLayout, check_metadata};
use super::options::TableOptions;

/// The names of `nexmark.table`.
const TABLES: &[(&str, NexmarkTable)] = &[
    ("person", NexmarkTable::Person),
    ("auction", NexmarkTable::Auction),
    ("bid", NexmarkTable::Bid),
];

/// A Nexmark table, prepared.
#[derive(Clone, Debug)]
pub struct NexmarkSource {
    generator: NexmarkGenerator,
    schedule: Schedule,
}

impl NexmarkSource {
    /// Checks the options and the wanted columns.
    ///
    /// # Errors
    /// A wrong value; a column that the model does not have, or not with that type.
    pub fn prepare(options: &TableOptions<'_>, layout: &IngestLayout) -> Result<NexmarkSource, SqlError> {
        check_metadata(options.table(), &[])?;
        let rate = options.count("events-per-second")?.filter(|rate| *rate > 0);
        let defaults = NexmarkConfig::default();
        let config = NexmarkConfig {
            seed: options.count("seed")?.unwrap_or(defaults.seed),
            base_time_us: options
                .parsed(
                    "base-time",
                    "a timestamp, or milliseconds since 1970",
                    parse_instant,
                )?
                .unwrap_or(defaults.base_time_us),
            events_per_second: rate.unwrap_or(defaults.events_per_second),
            ..defaults
        };
        let table = options
            .word("nexmark.table", TABLES)?
            .unwrap_or(NexmarkTable::All);
        let generator = NexmarkGenerator::new(config, table, layout.physical.clone());
        Ok(NexmarkSource {
            generator: generator
                .map_err(|error| options.table_error(format!("table '{}': {error}", options.table().name)))?,
            schedule: Schedule::new(options.count("events")?, rate),
        })
    }

    /// Shard `shard`'s events.
    pub fn part(&self, shard: usize, shards: usize) -> GeneratedSource<NexmarkGenerator> {
        GeneratedSource::new(self.generator.clone(), self.schedule.clone(), shard, shards)
    }
}

impl Generate for NexmarkGenerator {
    fn generate(&mut self, first: u64, count: usize) -> RecordBatch {
        self.rows(first..first + count as u64)
    }
}

/// Microseconds of `2026-01-01 00:00:00` (UTC), or of milliseconds since 1970.
fn parse_instant(text: &str) -> Option<EventTimeUs> {
    match text.parse::<i64>() {
        Ok(millis) => millis.checked_mul(1_000),
        Err(_) => string_to_timestamp_nanos(text).ok().map(|nanos| nanos / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, TimeUnit};
    use shards::connector::{Source, SourcePoll};

    use super::*;
    use crate::connectors::testing::{source_spec, table};

    fn prepare(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> Result<NexmarkSource, SqlError> {
        let mut all = vec![("connector", "nexmark")];
        all.extend(options);
        let spec = source_spec(table("bid", columns, &all));
        NexmarkSource::prepare(&TableOptions::new(&spec.table)?, &IngestLayout::new(&spec))
    }

    #[test]
    fn all_shards_together_make_every_bid_once() {
        let columns = [
            ("auction", DataType::Int64),
            ("dateTime", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ];
        let source = prepare(&columns, &[("nexmark.table", "bid"), ("events", "50000")]).unwrap();
        for shards in 1..=7 {
            let mut rows = 0;
            for shard in 0..shards {
                let mut part = source.part(shard, shards);
                while let SourcePoll::Rows { rows: batch, .. } = part.poll(0, 8192).unwrap() {
                    rows += batch.num_rows();
                }
            }
            assert_eq!(rows, 46_000, "{shards} shards");
        }
    }

    #[test]
    fn a_column_that_the_model_does_not_have_is_refused_when_the_job_is_prepared() {
        let error = prepare(&[("colour", DataType::Utf8)], &[("nexmark.table", "bid")]).unwrap_err();
        assert!(error.message.contains("no column 'colour'"), "{error}");
    }

    #[test]
    fn instants_are_timestamps_or_milliseconds() {
        assert_eq!(parse_instant("1970-01-01 00:00:01"), Some(1_000_000));
        assert_eq!(parse_instant("1970-01-01T00:00:00.5Z"), Some(500_000));
        assert_eq!(parse_instant("2000"), Some(2_000_000));
        assert_eq!(parse_instant("soon"), None);
    }
}
