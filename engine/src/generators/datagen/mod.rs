//! Datagen, as Flink's connector of that name: random values and sequences by column type.
//!
//! Row `i` is made from its number alone. Bounds arrive as the text of the options and are read by
//! the column's type here, once.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::random::Stream;
use super::{GeneratorError, batch_of};
use crate::time::EventTimeUs;
use column::ColumnMaker;

mod bounds;
mod column;

/// How rows are made.
#[derive(Clone, Debug, PartialEq)]
pub struct DatagenConfig {
    /// One seed, one table.
    pub seed: u64,
    /// Rows per second of event time: a TIMESTAMP column without bounds says when the row is due.
    pub rows_per_second: u64,
    /// The time of row 0 in such a column.
    pub base_time_us: EventTimeUs,
    /// Options by column name; a column without options is random.
    pub columns: BTreeMap<String, ColumnOptions>,
}

impl Default for DatagenConfig {
    fn default() -> DatagenConfig {
        DatagenConfig {
            seed: 0,
            rows_per_second: 1_000,
            base_time_us: 1_704_067_200_000_000,
            columns: BTreeMap::new(),
        }
    }
}

/// The options `fields.<name>.…` of one column, as written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnOptions {
    /// `kind` is `sequence`, not `random`.
    pub is_sequence: bool,
    /// Least random value.
    pub min: Option<String>,
    /// Greatest random value.
    pub max: Option<String>,
    /// First value of a sequence.
    pub start: Option<String>,
    /// Last value of a sequence.
    pub end: Option<String>,
    /// Letters of a random text, bytes of random BYTES; 100 unless given.
    pub length: Option<usize>,
    /// Share of NULLs, 0 to 1.
    pub null_rate: f64,
    /// How many different values there are.
    pub distinct: Option<u64>,
}

/// Makes the rows of one table.
#[derive(Clone, Debug)]
pub struct DatagenGenerator {
    schema: SchemaRef,
    columns: Vec<ColumnMaker>,
    rows_end: Option<u64>,
}

impl DatagenGenerator {
    /// A generator of the `wanted` columns of the table `declared`; its sequences end the rows also
    /// when nobody wants them.
    ///
    /// # Errors
    /// A type that cannot be generated, an option that does not fit its column, options of a column
    /// that does not exist.
    pub fn new(
        config: &DatagenConfig,
        declared: &SchemaRef,
        wanted: SchemaRef,
    ) -> Result<DatagenGenerator, GeneratorError> {
        if let Some(name) = config
            .columns
            .keys()
            .find(|name| declared.field_with_name(name).is_err())
        {
            let message = format!("the table has no column '{name}' to generate");
            return Err(GeneratorError::new(name, None, message));
        }
        let maker = |name: &str| -> Result<ColumnMaker, GeneratorError> {
            let index = declared.index_of(name).map_err(|_| {
                GeneratorError::new(
                    name,
                    None,
                    format!("the table has no column '{name}' to generate"),
                )
            })?;
            let options = config.columns.get(name).cloned().unwrap_or_default();
            // The stream belongs to the column's place in the table, whatever is wanted of it.
            let stream = Stream::new(config.seed, index as u64);
            ColumnMaker::new(declared.field(index), &options, stream, config)
        };
        let mut rows_end = None;
        for (name, options) in &config.columns {
            if options.is_sequence {
                let rows = maker(name)?.rows();
                rows_end = [rows_end, rows].into_iter().flatten().min();
            }
        }
        let columns = wanted
            .fields()
            .iter()
            .map(|field| maker(field.name()))
            .collect::<Result<_, _>>()?;
        Ok(DatagenGenerator {
            schema: wanted,
            columns,
            rows_end,
        })
    }

    /// The columns made.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows there are before the shortest sequence ends; `None` without a sequence.
    pub fn rows_end(&self) -> Option<u64> {
        self.rows_end
    }

    /// Rows `rows` of the table; they end with its shortest sequence.
    pub fn rows(&self, rows: Range<u64>) -> RecordBatch {
        let end = rows.end.min(self.rows_end.unwrap_or(u64::MAX));
        let rows = rows.start.min(end)..end;
        let length = (rows.end - rows.start) as usize;
        let columns = self
            .columns
            .iter()
            .map(|column| column.make(rows.clone()))
            .collect();
        batch_of(&self.schema, columns, length)
    }
}

#[cfg(test)]
mod tests;
