//! `'connector' = 'datagen'`: random values and sequences by column type, flat out or paced.
//!
//! A timestamp column without bounds is the time its row is due: from now on where the source is
//! paced, from a fixed day otherwise, so that a flat-out run can be repeated exactly.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use engine::error::SqlError;
use engine::generators::GeneratorError;
use engine::generators::datagen::{ColumnOptions, DatagenConfig, DatagenGenerator};

use super::generated::{Generate, GeneratedSource, Schedule};
use super::ingest::{IngestLayout, check_metadata};
use super::options::TableOptions;

/// A datagen table, prepared.
#[derive(Clone, Debug)]
pub struct DatagenSource {
    generator: DatagenGenerator,
    schedule: Schedule,
}

impl DatagenSource {
    /// Checks the options, those of columns included.
    ///
    /// # Errors
    /// A wrong value; a column whose type cannot be generated.
    pub fn prepare(options: &TableOptions<'_>, layout: &IngestLayout) -> Result<DatagenSource, SqlError> {
        check_metadata(options.table(), &[])?;
        let rate = options.count("rows-per-second")?.filter(|rate| *rate > 0);
        let mut config = DatagenConfig::default();
        config.seed = options.count("seed")?.unwrap_or(config.seed);
        if let Some(rate) = rate {
            config.rows_per_second = rate;
            config.base_time_us = wall_us();
        }
        config.columns = column_options(options)?;
        let declared = options.table().ingest_schema();
        let generator = DatagenGenerator::new(&config, &declared, layout.physical.clone())
            .map_err(|error| blame(options, &error))?;
        let rows = [options.count("number-of-rows")?, generator.rows_end()];
        Ok(DatagenSource {
            schedule: Schedule::new(rows.into_iter().flatten().min(), rate),
            generator,
        })
    }

    /// Shard `shard`'s rows.
    pub fn part(&self, shard: usize, shards: usize) -> GeneratedSource<DatagenGenerator> {
        GeneratedSource::new(self.generator.clone(), self.schedule.clone(), shard, shards)
    }
}

impl Generate for DatagenGenerator {
    fn generate(&mut self, first: u64, count: usize) -> RecordBatch {
        self.rows(first..first + count as u64)
    }
}

/// Microseconds since 1970.
fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The options `fields.<name>.…`; a name may have dots.
fn column_options(options: &TableOptions<'_>) -> Result<BTreeMap<String, ColumnOptions>, SqlError> {
    let mut columns: BTreeMap<String, ColumnOptions> = BTreeMap::new();
    for option in &options.table().options {
        let Some((name, attribute)) = option
            .key
            .strip_prefix("fields.")
            .and_then(|rest| rest.rsplit_once('.'))
        else {
            continue;
        };
        let key = option.key.as_str();
        let text = Some(option.value.trim().to_string());
        let column = columns.entry(name.to_string()).or_default();
        match attribute {
            "kind" => {
                let kinds = [("random", false), ("sequence", true)];
                column.is_sequence = options.word(key, &kinds)?.unwrap_or(false);
            }
            "min" => column.min = text,
            "max" => column.max = text,
            "start" => column.start = text,
            "end" => column.end = text,
            "length" => column.length = options.parsed(key, "a whole number", |value| value.parse().ok())?,
            "null-rate" => {
                let share = |value: &str| value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                column.null_rate = options.parsed(key, "a number from 0 to 1", share)?.unwrap_or(0.0);
            }
            "distinct" => column.distinct = options.count(key)?,
            _ => return Err(options.invalid(key, "one of the options of a column")),
        }
    }
    Ok(columns)
}

/// The error at the option it concerns.
fn blame(options: &TableOptions<'_>, error: &GeneratorError) -> SqlError {
    let message = format!("table '{}': {error}", options.table().name);
    let prefix = format!("fields.{}.", error.column);
    let concerned = options.table().options.iter().find(|option| {
        option
            .key
            .strip_prefix(&prefix)
            .is_some_and(|attribute| error.option.is_none_or(|concerned| concerned == attribute))
    });
    match concerned {
        Some(option) => SqlError::new(message).at(option.value_position),
        None => options.table_error(message),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Int64Type};
    use shards::connector::{Source, SourcePoll};

    use super::*;
    use crate::connectors::testing::{source_spec, table};

    fn prepare(options: &[(&str, &str)]) -> Result<DatagenSource, SqlError> {
        let mut all = vec![("connector", "datagen")];
        all.extend(options);
        let columns = [("id", DataType::Int64), ("name", DataType::Utf8)];
        let spec = source_spec(table("t", &columns, &all));
        DatagenSource::prepare(&TableOptions::new(&spec.table)?, &IngestLayout::new(&spec))
    }

    #[test]
    fn a_sequence_is_dealt_over_the_shards_and_ends_the_rows() {
        let options = [
            ("fields.id.kind", "sequence"),
            ("fields.id.start", "5"),
            ("fields.id.end", "25004"),
            ("fields.name.length", "3"),
        ];
        let source = prepare(&options).unwrap();
        for shards in 1..=7 {
            let mut ids = Vec::new();
            for shard in 0..shards {
                let mut part = source.part(shard, shards);
                while let SourcePoll::Rows { rows, .. } = part.poll(0, 8192).unwrap() {
                    ids.extend_from_slice(rows.column(0).as_primitive::<Int64Type>().values());
                }
            }
            ids.sort_unstable();
            assert_eq!(ids, (5..25_005).collect::<Vec<i64>>(), "{shards} shards");
        }
    }

    #[test]
    fn options_of_columns_are_checked_when_the_job_is_prepared() {
        let error = prepare(&[("fields.other.length", "3")]).unwrap_err();
        assert!(error.message.contains("no column 'other'"), "{error}");
        let error = prepare(&[("fields.id.min", "low")]).unwrap_err();
        assert!(error.message.contains("low"), "{error}");
        let error = prepare(&[("fields.id.null-rate", "2")]).unwrap_err();
        assert!(error.to_string().contains('2'), "{error}");
    }
}
