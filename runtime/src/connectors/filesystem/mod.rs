//! `'connector' = 'filesystem'`: files, directories and globs as sources; part files as a sink.
//!
//! ```text
//! path ─ listing ─▶ files ─┬─ plain text, splittable ─▶ blocks (block-cyclic over shards)
//!                          ├─ compressed, quoted CSV ─▶ stream (a file to a shard)
//!                          └─ Parquet ─────────────────▶ row groups (block-cyclic over shards)
//! ```
//! **Invariant.** Files are listed and measured once, when the job is prepared: all shards agree
//! on the pieces, and bytes appended later do not belong to a bounded job.

use crate::limits::FILE_BLOCK_BYTES;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use engine::error::SqlError;
use shards::connector::ConnectorError;

use super::decoding::{MalformedPolicy, TextRows};
use super::format::{FormatKind, RowFormat};
use super::ingest::{IngestLayout, check_metadata};
use super::options::TableOptions;
use super::records::RecordBoundary;
use compression::Compression;
use listing::FilePattern;
use parquet::ParquetFile;

pub mod blocks;
pub mod compression;
pub mod follow;
pub mod followed_file;
pub mod listing;
pub mod parquet;
pub mod part;
pub mod position;
mod pushed_filter;
pub mod sink;
pub mod source;
pub mod stream;

/// A filesystem table as a source, resolved.
#[derive(Debug)]
pub struct FilesystemTable {
    /// The files as they were when the job was prepared; none when the table is followed.
    pub files: Vec<InputFile>,
    /// Bytes of a block of a text file.
    pub block_bytes: u64,
    /// How text becomes rows; `None` for Parquet.
    format: Option<RowFormat>,
    policy: MalformedPolicy,
    /// Set when files are followed.
    pub follow: Option<Following>,
}

/// How files are followed.
#[derive(Clone, Debug)]
pub struct Following {
    /// Which files.
    pub pattern: FilePattern,
    /// How often they are looked at.
    pub interval: Duration,
}

/// A file of a bounded table.
#[derive(Debug)]
pub struct InputFile {
    /// Its path.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// How it is read.
    pub content: Content,
    /// Pieces (blocks, row groups, or 1) that are dealt to shards.
    pub pieces: u64,
    /// Pieces of the files before it.
    pub pieces_before: u64,
}

/// How a file is read.
#[derive(Debug)]
pub enum Content {
    /// In blocks of whole records.
    Blocks,
    /// From beginning to end.
    Stream(Compression),
    /// Row group by row group.
    Parquet(ParquetFile),
}

impl FilesystemTable {
    /// Checks the options, lists and measures the files, reads Parquet footers.
    ///
    /// # Errors
    /// A wrong option; no file; a file that cannot be read or lacks a column.
    pub fn prepare(options: &TableOptions<'_>, layout: &IngestLayout) -> Result<FilesystemTable, SqlError> {
        FilesystemTable::prepare_with(options, layout, FILE_BLOCK_BYTES)
    }

    fn prepare_with(
        options: &TableOptions<'_>,
        layout: &IngestLayout,
        block_bytes: u64,
    ) -> Result<FilesystemTable, SqlError> {
        let path = options.required("path", "a file, a directory, or a pattern such as 'data/*.json'")?;
        check_metadata(
            options.table(),
            &[("file.path", DataType::Utf8), ("file.name", DataType::Utf8)],
        )?;
        let kind = FormatKind::parse(options, format_of_path(path))?;
        let compression = Compression::parse(options)?;
        let follow_us = options.duration_us("source.monitor-interval")?;
        let pattern = FilePattern::parse(path);
        let (format, policy) = match kind {
            FormatKind::Rows(format) => {
                format.check(options, layout)?;
                let policy = format.malformed_policy(options)?;
                (Some(format), policy)
            }
            FormatKind::Parquet => (None, MalformedPolicy::Fail),
        };
        let mut table = FilesystemTable {
            files: Vec::new(),
            block_bytes,
            format,
            policy,
            follow: None,
        };
        let paths = pattern.list().map_err(|message| options.error("path", message))?;
        if let Some(interval_us) = follow_us {
            if table.format.is_none() || compression.is_some_and(|known| known != Compression::None) {
                return Err(options
                    .error(
                        "source.monitor-interval",
                        "only uncompressed text files can be followed",
                    )
                    .hint("leave out 'source.monitor-interval' to read what is there and end"));
            }
            let interval = Duration::from_micros(interval_us.max(1_000));
            table.follow = Some(Following { pattern, interval });
            return Ok(table);
        }
        if paths.is_empty() {
            return Err(options
                .error("path", format!("no file matches '{path}'"))
                .hint("files that are hidden, start with '_' or end with '.inprogress' are not read"));
        }
        for path in paths {
            let file = table.input_file(&path, compression, layout);
            table
                .files
                .push(file.map_err(|message| options.error("path", message))?);
        }
        Ok(table)
    }

    fn input_file(
        &self,
        path: &Path,
        compression: Option<Compression>,
        layout: &IngestLayout,
    ) -> Result<InputFile, String> {
        let unreadable = |error| format!("cannot read {}: {error}", path.display());
        let metadata = path.metadata().map_err(unreadable)?;
        if metadata.is_file() {
            // Whether it may be read is known now; a pipe would wait for its writer.
            std::fs::File::open(path).map_err(unreadable)?;
        }
        let bytes = metadata.len();
        let compression = compression.unwrap_or_else(|| Compression::of_path(path));
        let (content, pieces) = match &self.format {
            // An empty file has no rows, also where it is no valid Parquet.
            None if bytes == 0 => (Content::Stream(Compression::None), 0),
            None => {
                let file = ParquetFile::load(path)?;
                file.match_columns(&layout.physical)?;
                let row_groups = file.row_groups() as u64;
                (Content::Parquet(file), row_groups)
            }
            Some(format) => {
                let is_plain = compression == Compression::None && metadata.is_file();
                if is_plain && format.boundary().is_splittable() {
                    (Content::Blocks, bytes.div_ceil(self.block_bytes))
                } else {
                    (Content::Stream(compression), 1)
                }
            }
        };
        let before = self
            .files
            .last()
            .map_or(0, |file| file.pieces_before + file.pieces);
        Ok(InputFile {
            path: path.to_path_buf(),
            bytes,
            content,
            pieces,
            pieces_before: before,
        })
    }

    /// A decoder for the wanted columns; `None` for Parquet.
    pub(super) fn text_rows(&self, layout: &IngestLayout) -> Result<Option<TextRows>, ConnectorError> {
        let Some(format) = &self.format else {
            return Ok(None);
        };
        let decoder = format.decoder(layout);
        let decoder = decoder.map_err(|error| ConnectorError::new(error.message))?;
        Ok(Some(TextRows::new(decoder, self.policy.clone())))
    }

    /// How records of text files end.
    pub(super) fn boundary(&self) -> RecordBoundary {
        self.format
            .as_ref()
            .map_or(RecordBoundary::Line, RowFormat::boundary)
    }
}

/// The format that a path's extension names, behind that of a compression.
fn format_of_path(path: &str) -> Option<&'static str> {
    let plain = [".gz", ".gzip", ".zst", ".zstd"]
        .iter()
        .find_map(|extension| path.strip_suffix(extension))
        .unwrap_or(path);
    match plain.rsplit_once('.')?.1 {
        "json" | "ndjson" | "jsonl" => Some("json"),
        "csv" => Some("csv"),
        "parquet" => Some("parquet"),
        _ => None,
    }
}

/// A filesystem table's source on one shard.
///
/// # Errors
/// When the format cannot decode a wanted column.
pub fn make_source(
    source: &engine::plan::SourceSpec,
    table: &Arc<FilesystemTable>,
    shard: usize,
    shards: usize,
) -> Result<Box<dyn shards::connector::Source>, ConnectorError> {
    Ok(match &table.follow {
        Some(_) => Box::new(follow::FollowedFiles::new(
            source,
            Arc::clone(table),
            shard,
            shards,
        )?),
        None => Box::new(source::FilesystemSource::new(
            source,
            Arc::clone(table),
            shard,
            shards,
        )?),
    })
}

#[cfg(test)]
mod tests;
