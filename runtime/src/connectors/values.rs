//! `VALUES`: rows that stand in the text of the job, dealt to the shards like those of a generator.

use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::sql::catalog::TableDefinition;

use super::generated::{Generate, GeneratedSource, Schedule};
use super::ingest::IngestLayout;

/// The rows of a VALUES.
#[derive(Clone, Debug)]
pub struct ValuesSource {
    rows: RecordBatch,
    schedule: Schedule,
}

impl ValuesSource {
    /// The rows of `table`, of the columns that are wanted.
    pub fn prepare(table: &TableDefinition, layout: &IngestLayout) -> ValuesSource {
        let rows = table.rows.as_ref();
        let rows = rows.expect("invariant: no CREATE TABLE can name this connector");
        let wanted = layout.physical.fields().iter().map(|field| {
            let column = rows.schema().index_of(field.name());
            column.expect("invariant: the columns of VALUES are its table's")
        });
        let rows = rows
            .project(&wanted.collect::<Vec<_>>())
            .expect("invariant: the columns are there");
        ValuesSource {
            schedule: Schedule::new(Some(rows.num_rows() as u64), None),
            rows,
        }
    }

    /// Shard `shard`'s rows.
    pub fn part(&self, shard: usize, shards: usize) -> GeneratedSource<Arc<RecordBatch>> {
        GeneratedSource::new(Arc::new(self.rows.clone()), self.schedule.clone(), shard, shards)
    }
}

impl Generate for Arc<RecordBatch> {
    fn generate(&mut self, first: u64, count: usize) -> RecordBatch {
        let first = usize::try_from(first).expect("invariant: the rows are in memory");
        self.slice(first, count)
    }
}
