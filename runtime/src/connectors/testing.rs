//! Tables and temporary directories for the connectors' tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::DataType;
use engine::error::Position;
use engine::plan::{SinkSpec, SourceSpec};
use engine::sql::catalog::{TableColumn, TableColumnKind, TableDefinition, nullable_field};
use engine::sql::statement::TableOption;

/// A table of physical columns (a name `a@k` is metadata column `a` from key `k`).
pub fn table(name: &str, columns: &[(&str, DataType)], options: &[(&str, &str)]) -> TableDefinition {
    let position = Position {
        line: 1,
        column: 1,
        length: 1,
    };
    let columns = columns.iter().map(|(name, data_type)| {
        let (name, kind) = match name.split_once('@') {
            None => (*name, TableColumnKind::Physical),
            Some((name, key)) => (
                name,
                TableColumnKind::Metadata {
                    key: key.to_string(),
                    is_virtual: true,
                },
            ),
        };
        TableColumn {
            field: nullable_field(name, data_type.clone()),
            kind,
        }
    });
    let options = options.iter().map(|(key, value)| TableOption {
        key: key.to_string(),
        key_position: position,
        value: value.to_string(),
        value_position: position,
    });
    TableDefinition {
        name: name.to_string(),
        position,
        columns: columns.collect(),
        watermark: None,
        primary_key: Vec::new(),
        options: options.collect(),
        rows: None,
    }
}

/// A source of `table` that delivers every column.
pub fn source_spec(table: TableDefinition) -> SourceSpec {
    let columns = table.ingest_schema().fields().len();
    SourceSpec {
        quiet_timeout_us: None,
        table: Arc::new(table),
        ingest: (0..columns).collect(),
        key_texts: Vec::new(),
        has_ops: false,
        has_processing_time: false,
        output: Vec::new(),
        watermark: None,
        filter: None,
    }
}

/// A sink of `table`.
pub fn sink_spec(table: TableDefinition) -> SinkSpec {
    SinkSpec {
        table: Some(Arc::new(table)),
        statement: 0,
    }
}

/// A directory that is removed with its owner.
#[derive(Debug)]
pub struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// A new, empty directory.
    pub fn create() -> TemporaryDirectory {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "velocore-connectors-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary directory");
        TemporaryDirectory(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a temporary file");
        path
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
