//! The rows of a scenario: batches for a memory table, or a file that is written once.
//!
//! **Invariant.** A file that has its final name is complete, and its name says what it holds.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::batch::Batch;
use engine::generators::trades::{Scenario, ScenarioData};

use crate::connectors::filesystem::compression::Compression;
use crate::connectors::filesystem::part::{PartFormat, PartWriter};
use crate::connectors::format::RowFormat;

/// Rows of a batch, as many as a shard takes at once.
const BATCH_ROWS: u64 = 8192;

/// Where a scenario's rows come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum RowSource {
    /// Arrow batches, dealt over the shards.
    #[default]
    Memory,
    /// A Parquet file with row groups of 131,072 rows.
    Parquet,
    /// A file of one JSON object a line.
    Ndjson,
}

impl RowSource {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            RowSource::Memory => "memory",
            RowSource::Parquet => "parquet",
            RowSource::Ndjson => "ndjson",
        }
    }

    /// The value of the option `format`.
    pub fn format(self) -> &'static str {
        match self {
            RowSource::Memory => "",
            RowSource::Parquet => "parquet",
            RowSource::Ndjson => "json",
        }
    }

    fn part_format(self, schema: SchemaRef) -> PartFormat {
        match self {
            RowSource::Parquet => PartFormat::Parquet {
                schema,
                compression: parquet::basic::Compression::SNAPPY,
            },
            RowSource::Ndjson | RowSource::Memory => PartFormat::Lines {
                rows: RowFormat::default_json(),
                schema,
                has_ops: false,
                compression: Compression::None,
            },
        }
    }
}

/// The data with these columns only.
pub fn project(data: &ScenarioData, columns: SchemaRef) -> ScenarioData {
    data.clone()
        .project(columns)
        .unwrap_or_else(|error| panic!("invariant: a scenario's table has columns of its data: {error}"))
}

/// Rows `0..rows`, batch by batch.
pub fn batches(data: &ScenarioData, rows: u64) -> impl Iterator<Item = RecordBatch> {
    let starts = (0..rows).step_by(BATCH_ROWS as usize);
    starts.map(move |start| data.rows(start..rows.min(start + BATCH_ROWS)))
}

/// The file of a scenario's first `rows` rows in `directory`, which is made if it is missing; the
/// file is written if it is. Scenarios with the same data share it.
///
/// # Errors
/// It cannot be written: what failed, and what to do.
pub fn file(
    scenario: Scenario,
    data: &ScenarioData,
    source: RowSource,
    rows: u64,
    directory: &Path,
) -> Result<PathBuf, String> {
    let format = source.part_format(data.schema().clone());
    let name = format!(
        "{}-{}-keys-{rows}-rows{}",
        scenario.table_name(),
        data.keys(),
        format.extension()
    );
    let path = directory.join(&name);
    if path.is_file() {
        return Ok(path);
    }
    let cannot = |what: &dyn std::fmt::Display| {
        format!("{what}; name a directory with free space that can be written to with --directory")
    };
    std::fs::create_dir_all(directory)
        .map_err(|error| cannot(&format!("cannot create {}: {error}", directory.display())))?;
    let hidden = directory.join(format!(".{name}-{}.inprogress", std::process::id()));
    let written = write(data, &format, rows, &hidden).and_then(|()| {
        std::fs::rename(&hidden, &path)
            .map_err(|error| format!("cannot name {} {name}: {error}", hidden.display()))
    });
    written.map(|()| path).map_err(|message| {
        // What could not be written whole is of no use; that it cannot be removed is no news.
        let _ = std::fs::remove_file(&hidden);
        cannot(&message)
    })
}

fn write(data: &ScenarioData, format: &PartFormat, rows: u64, path: &Path) -> Result<(), String> {
    let write_all = || {
        let mut writer = PartWriter::create(path, format)?;
        for batch in batches(data, rows) {
            writer.write(&Batch::append(batch, 0), path)?;
        }
        writer.finish(path)
    };
    write_all().map_err(|error| error.message)
}
