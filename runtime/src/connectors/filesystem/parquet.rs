//! Parquet files: row groups dealt block-cyclically over the shards, only the wanted columns
//! decoded, each cast to its declared type.
//!
//! **Invariant.** Footers are read and columns are matched when the job is prepared, so that a
//! wrong file or column is told before any row flows.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use engine::encoding;
use engine::sql::suggest;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::SchemaDescriptor;
use shards::connector::ConnectorError;

use super::pushed_filter::PushedFilter;

/// Rows decoded at once.
const BATCH_ROWS: usize = engine::batch::BATCH_ROWS_MAX;

/// A Parquet file whose footer has been read.
#[derive(Clone)]
pub struct ParquetFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
}

impl std::fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl ParquetFile {
    /// Reads the footer of the file at `path`.
    ///
    /// # Errors
    /// When it is no complete Parquet file.
    pub fn load(path: &Path) -> Result<ParquetFile, String> {
        let file = File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, options)
            .map_err(|error| format!("{} is not a complete Parquet file: {error}", path.display()))?;
        Ok(ParquetFile {
            path: path.to_path_buf(),
            metadata,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's own columns.
    pub fn columns(&self) -> &SchemaDescriptor {
        self.metadata.parquet_schema()
    }

    /// How many row groups it has.
    pub fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Bytes of a row group, compressed.
    pub fn row_group_bytes(&self, row_group: usize) -> u64 {
        let bytes = self.metadata.metadata().row_group(row_group).compressed_size();
        u64::try_from(bytes).unwrap_or(0)
    }

    /// For each field of `wanted`, the file's column of that name; an error where it is missing or
    /// its type cannot become the declared one.
    ///
    /// # Errors
    /// Names file, column and both types.
    pub fn match_columns(&self, wanted: &SchemaRef) -> Result<Vec<usize>, String> {
        let schema = self.metadata.schema();
        let mut columns = Vec::with_capacity(wanted.fields().len());
        for field in wanted.fields() {
            let Ok(index) = schema.index_of(field.name()) else {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let near = suggest::hint(field.name(), names, "it has");
                return Err(format!(
                    "{} has no column '{}'; {near}",
                    self.path.display(),
                    field.name()
                ));
            };
            let found = schema.field(index).data_type();
            if !can_become(found, field.data_type()) {
                return Err(format!(
                    "{}, column '{}': the file holds {found}, which cannot become {}, the type declared",
                    self.path.display(),
                    field.name(),
                    field.data_type()
                ));
            }
            columns.push(index);
        }
        Ok(columns)
    }

    /// The rows of these row groups from `place` on, with the columns of `wanted`; of them, those that
    /// `filter` keeps. Columns of `key_texts` come as codes from the row groups that have them so.
    ///
    /// # Errors
    /// When the file cannot be opened any more.
    pub fn read(
        &self,
        row_groups: Vec<usize>,
        place: ParquetPlace,
        wanted: &SchemaRef,
        filter: Option<&PushedFilter>,
        key_texts: &[usize],
    ) -> Result<ParquetRows, ConnectorError> {
        let columns = self.match_columns(wanted).map_err(ConnectorError::new)?;
        let file = File::open(&self.path)
            .map_err(|error| ConnectorError::new(format!("cannot read {}: {error}", self.path.display())))?;
        // The reader gives columns in the file's order; `order[i]` is where wanted column `i` is.
        let mut in_file_order = columns.clone();
        in_file_order.sort_unstable();
        in_file_order.dedup();
        let order = columns.iter().map(|column| {
            in_file_order
                .binary_search(column)
                .expect("invariant: every wanted column is read")
        });
        Ok(ParquetRows {
            source: self.clone(),
            file,
            mask: ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied()),
            order: order.collect(),
            wanted: Arc::clone(wanted),
            filter: filter.cloned(),
            key_texts: key_texts.iter().map(|&text| columns[text]).collect(),
            row_groups,
            place,
            reader: None,
            filtered: 0,
        })
    }
}

/// How far the rows of some row groups have been handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParquetPlace {
    /// The row group being read, by its position among those to be read.
    pub group: usize,
    /// Rows of it handed out, those filtered out not among them.
    pub row: usize,
}

/// The rows of some row groups of one file; one group is open at a time, so that a filter looks at
/// no more than that at once.
pub struct ParquetRows {
    source: ParquetFile,
    file: File,
    mask: ProjectionMask,
    order: Vec<usize>,
    wanted: SchemaRef,
    filter: Option<PushedFilter>,
    /// The columns of the file that may come as codes.
    key_texts: Vec<usize>,
    row_groups: Vec<usize>,
    place: ParquetPlace,
    reader: Option<ParquetRecordBatchReader>,
    filtered: u64,
}

impl std::fmt::Debug for ParquetRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetRows")
            .field("path", &self.source.path)
            .finish_non_exhaustive()
    }
}

impl ParquetRows {
    /// Where to go on after what was read.
    pub fn place(&self) -> ParquetPlace {
        self.place
    }

    /// Rows that the filter has left out since this was last asked.
    pub fn take_filtered(&mut self) -> u64 {
        std::mem::take(&mut self.filtered)
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// A damaged page, a value that does not fit the declared type.
    pub fn read(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        let Some(rows) = self.next_rows()? else {
            return Ok(None);
        };
        let mut columns = Vec::with_capacity(self.order.len());
        for (field, &position) in self.wanted.fields().iter().zip(&self.order) {
            let column = match encoding::is_encoded(rows.column(position)) {
                true => Arc::clone(rows.column(position)),
                false => cast_column(
                    &self.source.path,
                    rows.column(position),
                    field.name(),
                    field.data_type(),
                )?,
            };
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(ConnectorError::new(format!(
                    "{}, column '{}': a value is NULL, the table declares NOT NULL",
                    self.source.path.display(),
                    field.name()
                )));
            }
            columns.push(column);
        }
        encoding::encoded_rows(&self.wanted, columns, rows.num_rows())
            .map(Some)
            .map_err(|error| self.failed(&error))
    }

    /// The next rows as the file has them.
    fn next_rows(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        while let Some(&group) = self.row_groups.get(self.place.group) {
            if self.reader.is_none() {
                self.reader = Some(self.open(group)?);
            }
            let reader = self
                .reader
                .as_mut()
                .expect("invariant: the group was just opened");
            if let Some(rows) = reader.next() {
                let rows = rows.map_err(|error| self.failed(&error))?;
                self.place.row += rows.num_rows();
                return Ok(Some(rows));
            }
            let rows = self.source.metadata.metadata().row_group(group).num_rows();
            self.filtered += u64::try_from(rows).unwrap_or(0) - self.place.row as u64;
            self.place = ParquetPlace {
                group: self.place.group + 1,
                row: 0,
            };
            self.reader = None;
        }
        Ok(None)
    }

    fn open(&self, group: usize) -> Result<ParquetRecordBatchReader, ConnectorError> {
        let file = self.file.try_clone().map_err(|error| self.failed(&error))?;
        let metadata = self.metadata_with_codes(group)?;
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_offset(self.place.row)
            .with_batch_size(BATCH_ROWS);
        if let Some(filter) = &self.filter {
            builder = builder.with_row_filter(filter.row_filter(&self.source)?);
        }
        builder.build().map_err(|error| self.failed(&error))
    }

    /// The file's metadata, with those columns as codes that row group `group` keeps so.
    fn metadata_with_codes(&self, group: usize) -> Result<ArrowReaderMetadata, ConnectorError> {
        let metadata = &self.source.metadata;
        let chunks = metadata.metadata().row_group(group).columns();
        let schema = metadata.schema();
        let mut fields = schema.fields().to_vec();
        let mut is_changed = false;
        for &text in &self.key_texts {
            // Without nested columns in front, chunks lie as columns do.
            let is_text = fields[text].data_type() == &DataType::Utf8;
            let chunk = chunks.iter().find(|chunk| {
                let path = chunk.column_path().parts();
                path.len() == 1 && path[0] == *fields[text].name()
            });
            if is_text && chunk.is_some_and(holds_codes) {
                let field = fields[text].as_ref().clone();
                fields[text] = Arc::new(field.with_data_type(encoding::codes_type()));
                is_changed = true;
            }
        }
        if !is_changed {
            return Ok(metadata.clone());
        }
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_schema(Arc::new(Schema::new(fields)));
        ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> ConnectorError {
        ConnectorError::new(format!("cannot read {}: {error}", self.source.path.display()))
    }
}

/// Whether a column chunk has a dictionary, and mostly codes of it: a writer that finds a dictionary too large
/// goes on with the values themselves, which take more than a few bytes each.
fn holds_codes(chunk: &ColumnChunkMetaData) -> bool {
    chunk.dictionary_page_offset().is_some() && chunk.uncompressed_size() < 4 * chunk.num_values()
}

/// `column` of the file as the type that the table declares.
///
/// # Errors
/// A value does not fit.
pub fn cast_column(
    path: &Path,
    column: &ArrayRef,
    name: &str,
    wanted: &DataType,
) -> Result<ArrayRef, ConnectorError> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column.as_ref(), wanted, &options).map_err(|error| {
        ConnectorError::new(format!(
            "{}, column '{name}': a value does not fit {wanted}, the type declared: {error}",
            path.display()
        ))
    })
}

/// Whether values of a file's column may be taken for a declared type: the same kind of value, in
/// another width, unit or encoding.
fn can_become(found: &DataType, wanted: &DataType) -> bool {
    use DataType::{
        Binary, Date32, Decimal128, FixedSizeBinary, LargeBinary, LargeUtf8, Time32, Time64, Timestamp, Utf8,
    };
    if found == wanted {
        return true;
    }
    match (found, wanted) {
        (DataType::Dictionary(_, values), _) => can_become(values, wanted),
        _ if found.is_integer() => wanted.is_numeric(),
        _ if found.is_floating() => wanted.is_floating(),
        (Decimal128(..), _) => wanted.is_numeric() && !wanted.is_integer(),
        (Timestamp(..) | Date32, Timestamp(..)) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        (Utf8 | LargeUtf8 | Binary | LargeBinary, Utf8) => true,
        (Utf8 | Binary | LargeBinary | FixedSizeBinary(_), Binary) => true,
        _ if found.is_nested() && wanted.is_nested() => {
            std::mem::discriminant(found) == std::mem::discriminant(wanted)
                && arrow::compute::can_cast_types(found, wanted)
        }
        _ => false,
    }
}
