//! The catalog: tables and views declared so far, resolved and checked.
//!
//! A [`TableDefinition`] is what connectors, the query planner and the stream plan share; it is
//! immutable once registered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_expr::LogicalPlan;
use datafusion_physical_expr::PhysicalExpr;

use crate::error::Position;
use crate::sql::options::format_option;
use crate::sql::statement::{StreamQuery, TableOption};

/// A table: columns, event time, key and connector options.
#[derive(Clone, Debug)]
pub struct TableDefinition {
    /// The table's name.
    pub name: String,
    /// Where the name stands in the SQL text.
    pub position: Position,
    /// All columns in the order declared: what queries see.
    pub columns: Vec<TableColumn>,
    /// `WATERMARK FOR`, resolved.
    pub watermark: Option<TableWatermark>,
    /// Indices into `columns`.
    pub primary_key: Vec<usize>,
    /// `WITH (…)`, with places for error messages.
    pub options: Vec<TableOption>,
    /// The rows themselves, where they stand in the text (`VALUES`).
    pub rows: Option<RecordBatch>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct TableColumn {
    /// Name, type and nullability.
    pub field: FieldRef,
    /// Where its values come from.
    pub kind: TableColumnKind,
}

/// Where a table column's values come from.
#[derive(Clone, Debug)]
pub enum TableColumnKind {
    /// Decoded from the record.
    Physical,
    /// Computed; the expression reads columns of [`TableDefinition::ingest_schema`].
    Computed(Arc<dyn PhysicalExpr>),
    /// `PROCTIME()`: when the row was read.
    ProcessingTime,
    /// Read from the connector under this key.
    Metadata {
        /// The connector's metadata key.
        key: String,
        /// Not written by sinks.
        is_virtual: bool,
    },
}

impl TableColumnKind {
    /// Whether a connector delivers the column.
    pub fn is_delivered(&self) -> bool {
        matches!(self, TableColumnKind::Physical | TableColumnKind::Metadata { .. })
    }
}

/// What the records of a table say of rows read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceChanges {
    /// Nothing: each adds a row.
    None,
    /// They add rows and take rows back.
    Retract,
    /// They replace or delete the row with their primary key.
    Upsert,
}

/// The metadata key of a processing-time column's field: it travels with the column through queries.
pub const PROCESSING_TIME: &str = "velocore.processing-time";

/// The event-time column of a table and the watermark its rows imply.
#[derive(Clone, Debug)]
pub struct TableWatermark {
    /// Index into `columns`; its type is a timestamp of at most microseconds.
    pub column: usize,
    /// The watermark a row implies, over [`TableDefinition::schema`]; same type as the column.
    pub expression: Arc<dyn PhysicalExpr>,
    /// Where `WATERMARK FOR` stands.
    pub position: Position,
}

impl TableDefinition {
    /// All columns: what queries see.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns
                .iter()
                .map(|column| column.field.clone())
                .collect::<Vec<_>>(),
        ))
    }

    /// The columns a source delivers (physical and metadata, in the order declared): what
    /// computed columns may read.
    pub fn ingest_schema(&self) -> SchemaRef {
        let fields = self
            .columns
            .iter()
            .filter(|column| column.kind.is_delivered())
            .map(|column| column.field.clone())
            .collect::<Vec<_>>();
        Arc::new(Schema::new(fields))
    }

    /// The format of its records, where it names one.
    pub fn format(&self) -> Option<&str> {
        format_option(&self.options).map(|option| option.value.as_str())
    }

    /// Whether a row that is written replaces the one with its primary key.
    pub fn sink_replaces_by_key(&self) -> bool {
        self.connector() == "upsert-kafka"
    }

    /// What the table's records say of rows read before.
    pub fn source_changes(&self) -> SourceChanges {
        match self.format() {
            _ if self.connector() == "upsert-kafka" => return SourceChanges::Upsert,
            Some("changelog-json" | "debezium-json") => {}
            _ if self.connector() == "memory" => {}
            _ => return SourceChanges::None,
        }
        let mode = match (self.option("changelog-mode"), self.connector()) {
            (Some(mode), _) => mode,
            (None, "memory") => "I",
            (None, _) => "I,UA,UB,D",
        };
        let has = |word: &str| mode.split(',').any(|part| part.trim() == word);
        match (has("UA"), has("UB"), has("D")) {
            (false, false, false) => SourceChanges::None,
            (true, false, _) => SourceChanges::Upsert,
            _ => SourceChanges::Retract,
        }
    }

    /// The columns a sink writes: all but computed and virtual metadata columns.
    pub fn sink_schema(&self) -> SchemaRef {
        let fields = self
            .columns
            .iter()
            .filter(|column| match &column.kind {
                TableColumnKind::Physical => true,
                TableColumnKind::Computed(_) | TableColumnKind::ProcessingTime => false,
                TableColumnKind::Metadata { is_virtual, .. } => !is_virtual,
            })
            .map(|column| column.field.clone())
            .collect::<Vec<_>>();
        Arc::new(Schema::new(fields))
    }

    /// The value of `WITH` option `key`.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options
            .iter()
            .find(|option| option.key == key)
            .map(|option| option.value.as_str())
    }

    /// The connector's name; empty where none was given.
    pub fn connector(&self) -> &str {
        self.option("connector").unwrap_or("")
    }
}

/// A view: its query, planned anew wherever it is read.
#[derive(Clone, Debug)]
pub struct ViewDefinition {
    /// The view's name.
    pub name: String,
    /// Where the name stands.
    pub position: Position,
    /// Its query.
    pub query: StreamQuery,
    /// The query planned once, to know names and types.
    pub plan: Arc<LogicalPlan>,
}

/// Tables and views by name; names keep their case, as in Flink.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Tables by name.
    pub tables: BTreeMap<String, Arc<TableDefinition>>,
    /// Views by name.
    pub views: BTreeMap<String, Arc<ViewDefinition>>,
}

impl Catalog {
    /// Every name, sorted: for "did you mean".
    pub fn names(&self) -> Vec<String> {
        self.tables.keys().chain(self.views.keys()).cloned().collect()
    }
}

/// A nullable field, as SQL columns are unless `NOT NULL` is said.
pub fn nullable_field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}
