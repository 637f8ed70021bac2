//! `'connector' = 'filesystem'` as a sink: part files `part-<shard>-<n>.<ext>` in a directory.
//!
//! A part is written as hidden `.part-….inprogress` and renamed when it is rolled or closed. Where the job
//! takes checkpoints a part belongs to one epoch, which its name tells behind the job's
//! (`part-<shard>-<n>-<job>-<epoch>`), and is renamed once that epoch is committed; a job that goes on from an
//! epoch takes back what it wrote behind it.
//! **Invariant.** A visible part is complete; parts of other jobs, finished or not, are never touched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use engine::batch::Batch;
use engine::changelog::Changelog;
use engine::error::SqlError;
use rustix::fs::{CWD, RenameFlags};
use shards::connector::{ConnectorError, Prepared, Sink};
use shards::epoch::Epoch;

use super::compression::Compression;
use super::part::{PartFormat, PartWriter};
use crate::connectors::format::FormatKind;
use crate::connectors::options::TableOptions;

/// Flink's defaults.
const ROLL_BYTES: u64 = 128 << 20;
const ROLL_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// When a part is finished and the next one begun.
#[derive(Clone, Copy, Debug)]
pub struct RollingPolicy {
    /// `sink.rolling-policy.file-size`.
    pub bytes: u64,
    /// `sink.rolling-policy.rollover-interval`, looked at whenever rows are written or flushed.
    pub interval: Duration,
}

impl RollingPolicy {
    /// What the options say.
    pub fn parse(options: &TableOptions<'_>) -> Result<RollingPolicy, SqlError> {
        let bytes = options.bytes("sink.rolling-policy.file-size")?;
        if bytes == Some(0) {
            return Err(options.invalid("sink.rolling-policy.file-size", "a size above zero"));
        }
        let interval = options.duration_us("sink.rolling-policy.rollover-interval")?;
        if interval == Some(0) {
            return Err(options.invalid("sink.rolling-policy.rollover-interval", "a duration above zero"));
        }
        Ok(RollingPolicy {
            bytes: bytes.unwrap_or(ROLL_BYTES),
            interval: interval.map_or(ROLL_INTERVAL, Duration::from_micros),
        })
    }
}

/// The directory that a table's sinks write into, shared by shards and statements.
#[derive(Debug)]
pub struct SinkDirectory {
    path: PathBuf,
    /// The number of the next part of any shard: above those of earlier runs.
    next_part: AtomicU64,
}

impl SinkDirectory {
    /// Creates the directory where it is missing, and looks for parts of earlier runs.
    ///
    /// # Errors
    /// When it cannot be created or read, with its path.
    pub fn prepare(path: &str) -> Result<SinkDirectory, String> {
        let path = PathBuf::from(path.strip_prefix("file://").unwrap_or(path));
        if path.is_file() {
            return Err(format!(
                "{} is a file; a sink writes part files into a directory",
                path.display()
            ));
        }
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("cannot create the directory {}: {error}", path.display()))?;
        let entries = std::fs::read_dir(&path)
            .map_err(|error| format!("cannot read the directory {}: {error}", path.display()))?;
        let mut next_part = 0;
        for entry in entries.flatten() {
            if let Some(number) = part_number(&entry.file_name().to_string_lossy()) {
                next_part = next_part.max(number + 1);
            }
        }
        Ok(SinkDirectory {
            path,
            next_part: AtomicU64::new(next_part),
        })
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes back the parts that `job` wrote in epochs behind `epoch`: hidden ones are deleted, visible ones
    /// (of an epoch that was committed and is lost) are hidden.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn abort_after(&self, job: &str, epoch: Epoch) -> Result<(), ConnectorError> {
        let failed = |error: std::io::Error| {
            ConnectorError::new(format!(
                "cannot take back parts in {}: {error}",
                self.path.display()
            ))
        };
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if epoch_of(&name, job).is_none_or(|written| written <= epoch) {
                continue;
            }
            if name.ends_with(".inprogress") {
                std::fs::remove_file(entry.path()).map_err(failed)?;
            } else if !name.starts_with('.') {
                let hidden = self.path.join(format!(".{name}.superseded"));
                std::fs::rename(entry.path(), hidden).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// The epochs of a job that takes checkpoints, as its sinks see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkEpochs {
    /// The job: tells its parts from others'.
    pub job: String,
    /// The epoch that is written when the job starts.
    pub first: Epoch,
    /// The local directory of its checkpoints; none where they lie in an object store.
    pub directory: Option<PathBuf>,
}

/// The epoch of a part of `job`.
fn epoch_of(name: &str, job: &str) -> Option<Epoch> {
    let name = name.strip_prefix('.').unwrap_or(name);
    let mut words = name
        .strip_prefix("part-")?
        .split('.')
        .next()?
        .splitn(4, '-')
        .skip(2);
    let of_job = words.next() == Some(job);
    words.next().filter(|_| of_job)?.parse().ok()
}

/// The hidden name of a part.
fn hidden_name(visible: &Path) -> PathBuf {
    let name = visible.file_name().unwrap_or_default().to_string_lossy();
    visible.with_file_name(format!(".{name}.inprogress"))
}

/// Shows a part that was prepared; one that is shown already stays as it is.
///
/// # Errors
/// It is neither hidden nor visible: its rows are lost.
pub fn commit(prepared: &Prepared) -> Result<(), ConnectorError> {
    let visible = Path::new(&prepared.0);
    let hidden = hidden_name(visible);
    let failed = |error: &dyn std::fmt::Display| {
        ConnectorError::new(format!(
            "cannot show the finished part {}: {error}",
            visible.display()
        ))
    };
    if hidden.exists() {
        show(&hidden, visible).map_err(|error| failed(&error))?;
    } else if !visible.exists() {
        return Err(failed(&format!("{} is not there any more", hidden.display())));
    }
    let directory = visible.parent().unwrap_or(Path::new("."));
    sync(directory).map_err(|error| failed(&error))
}

/// Makes a file, or the names in a directory, durable.
fn sync(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// A filesystem table as a sink, prepared.
#[derive(Debug)]
pub struct FilesystemSinkTable {
    directory: Arc<SinkDirectory>,
    policy: RollingPolicy,
    epochs: Option<SinkEpochs>,
    format: FormatKind,
    compression: Compression,
    parquet_compression: parquet::basic::Compression,
}

impl FilesystemSinkTable {
    /// Checks the options, and creates the directory.
    ///
    /// # Errors
    /// A wrong option; a directory that cannot be created; a format that cannot say what the rows
    /// of `input` say.
    pub fn prepare(options: &TableOptions<'_>, input: &Changelog) -> Result<FilesystemSinkTable, SqlError> {
        let path = options.required("path", "the directory that part files are written into")?;
        let format = FormatKind::parse(options, None)?;
        let compression = Compression::parse(options)?;
        let mut parquet_compression = parquet::basic::Compression::SNAPPY;
        if matches!(format, FormatKind::Parquet) {
            if input.has_ops() {
                return Err(options
                    .error(
                        "format",
                        format!(
                            "table '{}': Parquet files can only be appended to, but the query changes rows it has sent ({input})",
                            options.table().name
                        ),
                    )
                    .hint("write 'format' = 'json' or 'csv', which carry the op of each row, or use EMIT FINAL"));
            }
            parquet_compression = match compression {
                None => parquet_compression,
                Some(Compression::None) => parquet::basic::Compression::UNCOMPRESSED,
                Some(Compression::Zstd) => parquet::basic::Compression::ZSTD(Default::default()),
                Some(Compression::Gzip) => {
                    return Err(
                        options.invalid("compression", "'auto' (snappy), 'none' or 'zstd' for Parquet")
                    );
                }
            };
        }
        let policy = RollingPolicy::parse(options)?;
        let directory = SinkDirectory::prepare(path).map_err(|message| options.error("path", message))?;
        Ok(FilesystemSinkTable {
            directory: Arc::new(directory),
            policy,
            epochs: None,
            format,
            compression: compression.unwrap_or(Compression::None),
            parquet_compression,
        })
    }

    /// The same for a job that takes checkpoints.
    #[must_use]
    pub fn in_epochs(mut self, epochs: Option<SinkEpochs>) -> FilesystemSinkTable {
        self.epochs = epochs;
        self
    }

    /// Where its parts lie.
    pub fn directory(&self) -> &SinkDirectory {
        &self.directory
    }

    /// Shard `shard`'s sink for rows with these columns.
    pub fn sink(&self, shard: usize, schema: SchemaRef, has_ops: bool) -> FilesystemSink {
        let format = match &self.format {
            FormatKind::Rows(rows) => PartFormat::Lines {
                rows: rows.clone(),
                schema,
                has_ops,
                compression: self.compression,
            },
            FormatKind::Parquet => PartFormat::Parquet {
                schema,
                compression: self.parquet_compression,
            },
        };
        FilesystemSink {
            epochs: self.epochs.clone(),
            ..FilesystemSink::new(Arc::clone(&self.directory), shard, self.policy, format)
        }
    }
}

/// The `n` of `part-<shard>-<n>.…` or `.part-<shard>-<n>.….inprogress`.
fn part_number(name: &str) -> Option<u64> {
    let name = name.strip_prefix('.').unwrap_or(name).strip_prefix("part-")?;
    let (_shard, rest) = name.split_once('-')?;
    let digits = rest.split(['.', '-']).next()?;
    digits.parse().ok()
}

/// Renames a finished part. Two jobs that write into one directory must not replace each other's
/// parts; only where the file system cannot refuse that itself is a plain rename taken.
fn show(hidden: &Path, visible: &Path) -> std::io::Result<()> {
    match rustix::fs::renameat_with(CWD, hidden, CWD, visible, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => std::fs::rename(hidden, visible),
        result => Ok(result?),
    }
}

/// A part that is being written.
#[derive(Debug)]
struct OpenPart {
    hidden: PathBuf,
    visible: PathBuf,
    writer: PartWriter,
    opened: Instant,
}

/// A shard's part of a filesystem sink.
#[derive(Debug)]
pub struct FilesystemSink {
    directory: Arc<SinkDirectory>,
    shard: usize,
    policy: RollingPolicy,
    format: PartFormat,
    open: Option<OpenPart>,
    /// Parts are shown by epoch, not as they are finished.
    epochs: Option<SinkEpochs>,
    /// Epochs that have ended since the start.
    ended: u64,
    /// Parts of the epoch that are finished and hidden.
    finished: Vec<PathBuf>,
}

impl FilesystemSink {
    /// A sink without an open part; the first rows open one.
    pub fn new(
        directory: Arc<SinkDirectory>,
        shard: usize,
        policy: RollingPolicy,
        format: PartFormat,
    ) -> FilesystemSink {
        FilesystemSink {
            directory,
            shard,
            policy,
            format,
            open: None,
            epochs: None,
            ended: 0,
            finished: Vec::new(),
        }
    }

    fn open(&mut self) -> Result<&mut OpenPart, ConnectorError> {
        if self.open.is_none() {
            let number = self.directory.next_part.fetch_add(1, Ordering::Relaxed);
            let epoch = self.epochs.as_ref().map_or(String::new(), |epochs| {
                format!("-{}-{}", epochs.job, epochs.first + self.ended)
            });
            let name = format!("part-{}-{number}{epoch}{}", self.shard, self.format.extension());
            let visible = self.directory.path.join(name);
            let hidden = hidden_name(&visible);
            let writer = PartWriter::create(&hidden, &self.format)?;
            self.open = Some(OpenPart {
                visible,
                hidden,
                writer,
                opened: Instant::now(),
            });
        }
        Ok(self.open.as_mut().expect("invariant: just opened"))
    }

    /// Finishes the open part and shows it, or leaves that to the end of its epoch.
    fn finish(&mut self) -> Result<(), ConnectorError> {
        let Some(part) = self.open.take() else {
            return Ok(());
        };
        part.writer.finish(&part.hidden)?;
        if self.epochs.is_some() {
            self.finished.push(part.visible);
            return Ok(());
        }
        show(&part.hidden, &part.visible).map_err(|error| {
            ConnectorError::new(format!(
                "cannot show the finished part {}: {error}",
                part.visible.display()
            ))
        })
    }

    fn roll(&mut self) -> Result<(), ConnectorError> {
        let is_due = self.open.as_ref().is_some_and(|part| {
            part.writer.bytes() >= self.policy.bytes || part.opened.elapsed() >= self.policy.interval
        });
        if is_due { self.finish() } else { Ok(()) }
    }
}

impl Sink for FilesystemSink {
    fn ready(&mut self) -> bool {
        true
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        if batch.is_empty() {
            return Ok(());
        }
        let part = self.open()?;
        part.writer.write(batch, &part.hidden)?;
        self.roll()
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        if let Some(part) = &mut self.open {
            part.writer.flush(&part.hidden)?;
        }
        self.roll()
    }

    fn prepare(&mut self) -> Result<Vec<Prepared>, ConnectorError> {
        self.finish()?;
        self.ended += 1;
        let parts = std::mem::take(&mut self.finished).into_iter();
        parts
            .map(|visible| {
                let hidden = hidden_name(&visible);
                sync(&hidden).map_err(|error| {
                    ConnectorError::new(format!("cannot make {} durable: {error}", hidden.display()))
                })?;
                Ok(Prepared(visible.display().to_string()))
            })
            .collect()
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        self.finish()?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::{Array, Int8Array, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use engine::batch::Op;

    use super::*;
    use crate::connectors::testing::{TemporaryDirectory, table};

    fn prepare(
        path: &Path,
        options: &[(&str, &str)],
        input: &Changelog,
    ) -> Result<FilesystemSinkTable, SqlError> {
        let mut all = vec![("connector", "filesystem"), ("path", path.to_str().unwrap())];
        all.extend(options);
        let table = table("t", &[("id", DataType::Int64)], &all);
        FilesystemSinkTable::prepare(&TableOptions::new(&table).unwrap(), input)
    }

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]))
    }

    fn batch(ids: std::ops::Range<i64>) -> Batch {
        let ids = Int64Array::from_iter_values(ids);
        Batch::append(RecordBatch::try_new(schema(), vec![Arc::new(ids)]).unwrap(), 0)
    }

    fn visible(directory: &Path) -> Vec<String> {
        let names = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_part_is_hidden_until_it_is_closed_and_leftovers_are_not_touched() {
        let directory = TemporaryDirectory::create();
        directory.file("part-1-4.ndjson", "old\n");
        directory.file(".part-0-6.ndjson.inprogress", "crashed");
        let table = prepare(directory.path(), &[("format", "json")], &Changelog::Append).unwrap();
        let mut sink = table.sink(0, schema(), false);
        assert!(sink.ready());
        sink.write(&batch(0..2)).unwrap();
        sink.flush().unwrap();
        assert_eq!(visible(directory.path()), ["part-1-4.ndjson"]);
        assert!(sink.close().unwrap());
        assert_eq!(visible(directory.path()), ["part-0-7.ndjson", "part-1-4.ndjson"]);
        let text = std::fs::read_to_string(directory.path().join("part-0-7.ndjson")).unwrap();
        assert_eq!(text, "{\"id\":0}\n{\"id\":1}\n");
        assert!(directory.path().join(".part-0-6.ndjson.inprogress").exists());
    }

    #[test]
    fn in_a_job_with_checkpoints_a_part_is_shown_when_its_epoch_is_committed_and_taken_back_if_it_never_is() {
        let directory = TemporaryDirectory::create();
        let epochs = SinkEpochs {
            directory: Some(PathBuf::new()),
            job: "1f".into(),
            first: 5,
        };
        let table = prepare(directory.path(), &[("format", "json")], &Changelog::Append).unwrap();
        let mut sink = table.in_epochs(Some(epochs)).sink(0, schema(), false);
        sink.write(&batch(0..2)).unwrap();
        let prepared = sink.prepare().unwrap();
        sink.write(&batch(2..4)).unwrap();
        assert_eq!(visible(directory.path()).len(), 0);
        for _ in 0..2 {
            prepared.iter().for_each(|part| commit(part).unwrap());
            assert_eq!(visible(directory.path()), ["part-0-0-1f-5.ndjson"]);
        }
        let later = sink.prepare().unwrap();
        let parts = SinkDirectory::prepare(directory.path().to_str().unwrap()).unwrap();
        parts.abort_after("1f", 5).unwrap();
        assert!(
            commit(&later[0])
                .unwrap_err()
                .message
                .contains("not there any more")
        );
        assert_eq!(visible(directory.path()), ["part-0-0-1f-5.ndjson"]);
        parts.abort_after("1f", 4).unwrap();
        assert_eq!(visible(directory.path()).len(), 0);
    }

    #[test]
    fn a_sink_without_rows_leaves_no_part() {
        let directory = TemporaryDirectory::create();
        let table = prepare(directory.path(), &[("format", "json")], &Changelog::Append).unwrap();
        assert!(table.sink(0, schema(), false).close().unwrap());
        assert_eq!(visible(directory.path()).len(), 0);
    }

    #[test]
    fn a_part_is_rolled_when_it_is_big_enough_and_compressed_parts_can_be_read() {
        let directory = TemporaryDirectory::create();
        let options = [
            ("format", "json"),
            ("compression", "gzip"),
            ("sink.rolling-policy.file-size", "15 b"),
        ];
        let table = prepare(directory.path(), &options, &Changelog::Append).unwrap();
        assert_eq!(table.policy.interval, Duration::from_secs(1800));
        let mut sink = table.sink(3, schema(), false);
        for id in 0..3 {
            sink.write(&batch(id..id + 1)).unwrap();
        }
        assert!(sink.close().unwrap());
        assert_eq!(
            visible(directory.path()),
            ["part-3-0.ndjson.gz", "part-3-1.ndjson.gz"]
        );
        let file = std::fs::File::open(directory.path().join("part-3-0.ndjson.gz")).unwrap();
        let text = std::io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap();
        assert_eq!(text, "{\"id\":0}\n{\"id\":1}\n");
    }

    #[test]
    fn a_parquet_part_begins_a_row_group_when_one_is_full() {
        let directory = TemporaryDirectory::create();
        let table = prepare(directory.path(), &[("format", "parquet")], &Changelog::Append).unwrap();
        let mut sink = table.sink(0, schema(), false);
        let rows = crate::limits::ROW_GROUP_ROWS_MAX as i64;
        sink.write(&batch(0..rows)).unwrap();
        sink.write(&batch(rows..rows + 1)).unwrap();
        assert!(sink.close().unwrap());
        let part = directory.path().join("part-0-0.parquet");
        let file = super::super::parquet::ParquetFile::load(&part).unwrap();
        assert_eq!(file.row_groups(), 2);
    }

    #[test]
    fn parquet_parts_can_be_read_and_refuse_changing_rows_when_the_job_is_prepared() {
        let directory = TemporaryDirectory::create();
        let options = [("format", "parquet")];
        let error = prepare(directory.path(), &options, &Changelog::Retract).unwrap_err();
        assert!(
            error.message.contains("Parquet files can only be appended to"),
            "{error}"
        );
        let table = prepare(directory.path(), &options, &Changelog::Append).unwrap();
        let mut sink = table.sink(0, schema(), false);
        sink.write(&batch(0..1000)).unwrap();
        assert!(sink.close().unwrap());
        let part = directory.path().join("part-0-0.parquet");
        let file = super::super::parquet::ParquetFile::load(&part).unwrap();
        let rows = file
            .read(
                vec![0],
                super::super::parquet::ParquetPlace::default(),
                &schema(),
                None,
                &[],
            )
            .unwrap()
            .read()
            .unwrap()
            .unwrap();
        assert_eq!(rows.num_rows(), 1000);
        assert_eq!(rows.column(0).null_count(), 0);
    }

    #[test]
    fn lines_of_a_changelog_carry_the_op() {
        let directory = TemporaryDirectory::create();
        let table = prepare(directory.path(), &[("format", "json")], &Changelog::Retract).unwrap();
        let mut sink = table.sink(0, schema(), true);
        let (rows, _, _) = batch(5..6).into_parts();
        let ops = Int8Array::from(vec![Op::Delete.code()]);
        sink.write(&Batch::changes(rows, ops, 0)).unwrap();
        assert!(sink.close().unwrap());
        let text = std::fs::read_to_string(directory.path().join("part-0-0.ndjson")).unwrap();
        assert!(text.contains("-D"), "{text}");
    }
}
