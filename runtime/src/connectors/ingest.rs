//! What a source must deliver: the wanted columns of its table, decoded or from the connector.
//!
//! **Invariant.** Batches leave a source with exactly the columns of `SourceSpec::ingest`, in that
//! order and with the declared types; texts that are only keys may be codes of a dictionary.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use engine::encoding;
use engine::error::SqlError;
use engine::formats::changelog;
use engine::plan::SourceSpec;
use engine::sql::catalog::{TableColumn, TableColumnKind, TableDefinition};

/// The wanted columns of one source.
#[derive(Clone, Debug)]
pub struct IngestLayout {
    /// The columns delivered.
    pub schema: SchemaRef,
    /// Those that are decoded from records.
    pub physical: SchemaRef,
    /// Columns of `physical` that may be delivered as codes of a dictionary.
    pub key_texts: Vec<usize>,
    /// The names of all columns that records have, in the order declared.
    pub declared: Vec<String>,
    /// Where each delivered column comes from.
    columns: Vec<IngestColumn>,
}

#[derive(Clone, Debug)]
enum IngestColumn {
    /// Column of [`IngestLayout::physical`].
    Physical(usize),
    /// From the connector, under this key.
    Metadata(String),
}

impl IngestLayout {
    /// The layout of `source`.
    pub fn new(source: &SourceSpec) -> IngestLayout {
        let deliverable: Vec<_> = source
            .table
            .columns
            .iter()
            .filter(|column| column.kind.is_delivered())
            .collect();
        let mut physical = Vec::new();
        let mut key_texts = Vec::new();
        let mut columns = Vec::new();
        for (delivered, &index) in source.ingest.iter().enumerate() {
            let column = deliverable[index];
            match &column.kind {
                TableColumnKind::Physical => {
                    if source.key_texts.contains(&delivered) {
                        key_texts.push(physical.len());
                    }
                    columns.push(IngestColumn::Physical(physical.len()));
                    physical.push(column.field.clone());
                }
                TableColumnKind::Metadata { key, .. } => columns.push(IngestColumn::Metadata(key.clone())),
                TableColumnKind::Computed(_) | TableColumnKind::ProcessingTime => {
                    unreachable!("invariant: only delivered columns are left")
                }
            }
        }
        let mut fields: Vec<_> = source
            .ingest
            .iter()
            .map(|&index| deliverable[index].field.clone())
            .collect();
        if source.has_ops {
            columns.push(IngestColumn::Physical(physical.len()));
            physical.push(changelog::op_field());
            fields.push(changelog::op_field());
        }
        let is_physical = |column: &&&TableColumn| matches!(column.kind, TableColumnKind::Physical);
        let declared = deliverable.iter().filter(is_physical);
        IngestLayout {
            declared: declared.map(|column| column.field.name().clone()).collect(),
            schema: Arc::new(Schema::new(fields)),
            physical: Arc::new(Schema::new(physical)),
            key_texts,
            columns,
        }
    }

    /// The delivered batch: decoded `rows` (columns of [`IngestLayout::physical`]) and the
    /// metadata columns that `metadata` gives for a key, type and number of rows.
    pub fn assemble(
        &self,
        rows: RecordBatch,
        metadata: impl Fn(&str, &DataType, usize) -> ArrayRef,
    ) -> RecordBatch {
        if self.physical.fields().len() == self.columns.len() {
            return rows;
        }
        let count = rows.num_rows();
        let columns = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| match column {
                IngestColumn::Physical(position) => rows.column(*position).clone(),
                IngestColumn::Metadata(key) => metadata(key, self.schema.field(index).data_type(), count),
            });
        encoding::encoded_rows(&self.schema, columns.collect(), count)
            .expect("invariant: decoded and metadata columns have the declared types")
    }
}

/// Refuses metadata columns that the connector does not have, or has with another type.
///
/// # Errors
/// Names the column and the keys there are.
pub fn check_metadata(table: &TableDefinition, known: &[(&str, DataType)]) -> Result<(), SqlError> {
    for column in &table.columns {
        let TableColumnKind::Metadata { key, .. } = &column.kind else {
            continue;
        };
        let Some((_, data_type)) = known.iter().find(|(name, _)| name == key) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let error = SqlError::new(format!(
                "table '{}', column '{}': connector '{}' has no metadata '{key}'",
                table.name,
                column.field.name(),
                table.connector()
            ))
            .at(table.position);
            return Err(if names.is_empty() {
                error.hint("this connector has no metadata columns")
            } else {
                error.hint(format!("there is: {}", names.join(", ")))
            });
        };
        if column.field.data_type() != data_type {
            return Err(SqlError::new(format!(
                "table '{}', column '{}': metadata '{key}' is {data_type}, declared is {}",
                table.name,
                column.field.name(),
                column.field.data_type()
            ))
            .at(table.position));
        }
    }
    Ok(())
}
