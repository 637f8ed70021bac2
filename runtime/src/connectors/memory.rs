//! `'connector' = 'memory'`: batches handed in by the program, and batches collected for it.
//!
//! For benchmarks and tests: the source deals the batches registered under its table's name
//! block-cyclically over the shards; the sink appends to a list that the program reads afterwards
//! ([`super::ConnectorContext::collected`]).

use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use engine::batch::Batch;
use engine::encoding;
use engine::plan::SourceSpec;
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Sink, Source, SourcePoll, SplitId};

/// The batches of one memory table, as they are dealt out: batch `i` to shard `i % shards`.
#[derive(Debug)]
pub struct MemorySource {
    batches: Vec<RecordBatch>,
    next: usize,
    offset: usize,
}

impl MemorySource {
    /// This shard's batches, cut to the columns that the source must deliver. The batches hold
    /// either all columns of the table's ingest schema, or just its wanted ones, by name; texts may lie in them
    /// as codes of a dictionary.
    ///
    /// # Errors
    /// When a wanted column is missing from a batch, or has another type.
    pub fn new(
        source: &SourceSpec,
        batches: &[RecordBatch],
        shard: usize,
        shards: usize,
    ) -> Result<MemorySource, ConnectorError> {
        let schema = source.table.ingest_schema();
        let mine = batches.iter().skip(shard).step_by(shards);
        let batches = mine.map(|batch| {
            let mut columns = Vec::with_capacity(source.ingest.len());
            for (wanted, &index) in source.ingest.iter().enumerate() {
                let field = schema.field(index);
                let position = batch.schema_ref().index_of(field.name()).map_err(|_| {
                    ConnectorError::new(format!(
                        "memory table '{}' was given batches without column '{}'",
                        source.table.name,
                        field.name()
                    ))
                })?;
                let failed = |error: arrow::error::ArrowError| ConnectorError::new(error.to_string());
                let column = match source.key_texts.contains(&wanted) {
                    true => batch.column(position).clone(),
                    false => encoding::plain(batch.column(position)).map_err(failed)?,
                };
                let is_text = field.data_type() == &DataType::Utf8;
                let fits = column.data_type() == field.data_type()
                    || is_text && column.data_type() == &encoding::codes_type();
                if !fits {
                    return Err(ConnectorError::new(format!(
                        "memory table '{}', column '{}': the batches hold {}, the table declares {}",
                        source.table.name,
                        field.name(),
                        column.data_type(),
                        field.data_type()
                    )));
                }
                columns.push(column);
            }
            let wanted = source.ingest.iter().map(|&index| schema.field(index).clone());
            let wanted = Arc::new(Schema::new(wanted.collect::<Vec<_>>()));
            encoding::encoded_rows(&wanted, columns, batch.num_rows())
                .map_err(|error| ConnectorError::new(error.to_string()))
        });
        Ok(MemorySource {
            batches: batches.collect::<Result<_, _>>()?,
            next: 0,
            offset: 0,
        })
    }
}

impl Source for MemorySource {
    fn splits(&self) -> Vec<SplitId> {
        vec![0]
    }

    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        assert!(rows_max > 0, "invariant: a poll asks for rows");
        while let Some(batch) = self.batches.get(self.next) {
            let left = batch.num_rows() - self.offset;
            if left == 0 {
                self.next += 1;
                self.offset = 0;
                continue;
            }
            let rows = batch.slice(self.offset, left.min(rows_max));
            self.offset += rows.num_rows();
            return Ok(SourcePoll::Rows {
                split: 0,
                rows,
                arrival_ns: now,
            });
        }
        Ok(SourcePoll::End)
    }
}

/// What the memory sinks of one table collected, over all shards.
pub type Collected = Arc<Mutex<Vec<Batch>>>;

/// A sink that keeps its batches for the program.
#[derive(Debug)]
pub struct MemorySink {
    collected: Collected,
}

impl MemorySink {
    /// A sink that appends to `collected`.
    pub fn new(collected: Collected) -> MemorySink {
        MemorySink { collected }
    }
}

impl Sink for MemorySink {
    fn ready(&mut self) -> bool {
        true
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.collected
            .lock()
            .expect("invariant: no shard panics while it holds the list")
            .push(batch.clone());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        Ok(true)
    }
}
