//! One part file of a filesystem sink while it is written: lines or Parquet, compressed or not.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::batch::Batch;
use engine::formats::Encoder;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use shards::connector::ConnectorError;

use super::compression::{CompressedFile, Compression};
use crate::connectors::format::RowFormat;
use crate::limits::ROW_GROUP_ROWS_MAX;

/// Encoded bytes are written to the file once there are this many.
const BUFFER_BYTES: usize = 256 << 10;
const ROW_GROUP_BYTES: usize = 16 << 20;

/// What part files look like.
#[derive(Clone, Debug)]
pub enum PartFormat {
    /// One record a line.
    Lines {
        /// How rows become lines.
        rows: RowFormat,
        /// The columns written.
        schema: SchemaRef,
        /// Whether batches carry ops.
        has_ops: bool,
        /// How the file is compressed.
        compression: Compression,
    },
    /// Parquet.
    Parquet {
        /// The columns written.
        schema: SchemaRef,
        /// Compression of its pages.
        compression: parquet::basic::Compression,
    },
}

impl PartFormat {
    /// What a part's name ends with.
    pub fn extension(&self) -> String {
        match self {
            PartFormat::Lines {
                rows, compression, ..
            } => format!("{}{}", rows.extension(), compression.extension()),
            PartFormat::Parquet { .. } => ".parquet".to_string(),
        }
    }
}

/// Writes one part file.
pub enum PartWriter {
    /// Lines, buffered.
    Lines {
        /// Makes the lines.
        encoder: Box<dyn Encoder>,
        /// Lines not written yet.
        buffer: Vec<u8>,
        /// Where they go.
        file: CompressedFile,
        /// Bytes of lines so far, before compression.
        bytes: u64,
    },
    /// Parquet.
    Parquet {
        /// The columns written.
        schema: SchemaRef,
        /// Encodes and writes row groups.
        writer: Box<ArrowWriter<File>>,
    },
}

impl std::fmt::Debug for PartWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PartWriter({} bytes)", self.bytes())
    }
}

impl PartWriter {
    /// Creates the file at `path`, which must not exist.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path, format: &PartFormat) -> Result<PartWriter, ConnectorError> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| ConnectorError::new(format!("cannot create {}: {error}", path.display())))?;
        match format {
            PartFormat::Lines {
                rows,
                schema,
                has_ops,
                compression,
            } => {
                let encoder = rows.encoder(schema, *has_ops);
                Ok(PartWriter::Lines {
                    buffer: encoder.header().unwrap_or_default(),
                    encoder,
                    file: compression.writer(file).map_err(|error| failed(path, &error))?,
                    bytes: 0,
                })
            }
            PartFormat::Parquet { schema, compression } => {
                let properties = WriterProperties::builder()
                    .set_compression(*compression)
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
                    .build();
                let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties))
                    .map_err(|error| failed(path, &error))?;
                Ok(PartWriter::Parquet {
                    schema: Arc::clone(schema),
                    writer: Box::new(writer),
                })
            }
        }
    }

    /// Appends rows.
    ///
    /// # Errors
    /// A write that fails.
    pub fn write(&mut self, batch: &Batch, path: &Path) -> Result<(), ConnectorError> {
        match self {
            PartWriter::Lines {
                encoder,
                buffer,
                bytes,
                ..
            } => {
                let held = buffer.len();
                encoder
                    .encode(batch, buffer)
                    .map_err(|error| failed(path, &error))?;
                *bytes += (buffer.len() - held) as u64;
                if buffer.len() >= BUFFER_BYTES {
                    self.flush(path)?;
                }
            }
            PartWriter::Parquet { schema, writer } => {
                let columns = batch.rows().columns().to_vec();
                let rows = RecordBatch::try_new(Arc::clone(schema), columns)
                    .map_err(|error| failed(path, &error))?;
                writer.write(&rows).map_err(|error| failed(path, &error))?;
                if writer.memory_size() >= ROW_GROUP_BYTES {
                    writer.flush().map_err(|error| failed(path, &error))?;
                }
            }
        }
        Ok(())
    }

    /// Hands buffered lines to the operating system; Parquet keeps its open row group.
    ///
    /// # Errors
    /// A write that fails.
    pub fn flush(&mut self, path: &Path) -> Result<(), ConnectorError> {
        if let PartWriter::Lines { buffer, file, .. } = self {
            file.write_all(buffer).map_err(|error| failed(path, &error))?;
            buffer.clear();
        }
        Ok(())
    }

    /// Bytes so far: of lines before compression, of Parquet as encoded.
    pub fn bytes(&self) -> u64 {
        match self {
            PartWriter::Lines { bytes, .. } => *bytes,
            PartWriter::Parquet { writer, .. } => (writer.bytes_written() + writer.in_progress_size()) as u64,
        }
    }

    /// Writes what is left and ends the file.
    ///
    /// # Errors
    /// A write that fails.
    pub fn finish(mut self, path: &Path) -> Result<(), ConnectorError> {
        self.flush(path)?;
        match self {
            PartWriter::Lines { file, .. } => file.finish().map(|_| ()).map_err(|error| failed(path, &error)),
            PartWriter::Parquet { writer, .. } => {
                writer.close().map(|_| ()).map_err(|error| failed(path, &error))
            }
        }
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> ConnectorError {
    ConnectorError::new(format!("cannot write {}: {error}", path.display()))
}
