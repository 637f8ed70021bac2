//! Interval logs (`.hlog`): HdrHistogram's V2 format, deflated and base64, one line per tag and
//! interval. Any HdrHistogram tool reads them.
//!
//! One file per job. Each line's values are nanoseconds; its `maxvalue` column, which is only for
//! the eye, is in microseconds, as the `MaxValueDivisor` comment says.
//!
//! **Invariant.** An append writes whole lines and flushes them: a file cut short by a crash is
//! still readable up to its last interval.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::{HistogramError, HistogramSet};

/// Nanoseconds to the microseconds of the `maxvalue` column.
const MAX_VALUE_DIVISOR: f64 = 1000.0;

/// The interval log of one job.
#[derive(Debug)]
pub struct HistogramLog {
    file: File,
    path: PathBuf,
    start: SystemTime,
    intervals: u64,
}

impl HistogramLog {
    /// A new file in `directory` (made if missing), named by start time and process.
    ///
    /// # Errors
    /// The directory or the file cannot be made.
    pub fn create(directory: &Path, start: SystemTime) -> Result<HistogramLog, HistogramError> {
        let refused = |path: &Path, error| {
            HistogramError(format!(
                "--histogram-dir: cannot write {}: {error}",
                path.display()
            ))
        };
        fs::create_dir_all(directory).map_err(|error| refused(directory, error))?;
        let seconds = start
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut number = 0;
        // Several jobs of one process may start within a second (tests, benchmarks).
        loop {
            let suffix = if number == 0 {
                String::new()
            } else {
                format!("-{number}")
            };
            let name = format!("velocore-{seconds}-{}{suffix}.hlog", std::process::id());
            let path = directory.join(name);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => {
                    let intervals = 0;
                    return Ok(HistogramLog {
                        file,
                        path,
                        start,
                        intervals,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(refused(&path, error)),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends what was measured from `from` to `to` (both since the start).
    ///
    /// # Errors
    /// The disk is full or gone.
    pub fn append(&mut self, set: &HistogramSet, from: Duration, to: Duration) -> Result<(), HistogramError> {
        assert!(from <= to, "invariant: an interval ends after it began");
        let mut bytes = Vec::new();
        write_interval(
            &mut bytes,
            set,
            (self.intervals == 0).then_some(self.start),
            from,
            to - from,
        )?;
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.flush())
            .map_err(|error| HistogramError(format!("cannot write {}: {error}", self.path.display())))?;
        self.intervals += 1;
        Ok(())
    }
}

/// Writes one interval, after a header when `start` is given.
fn write_interval(
    bytes: &mut Vec<u8>,
    set: &HistogramSet,
    start: Option<SystemTime>,
    from: Duration,
    length: Duration,
) -> Result<(), HistogramError> {
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.with_max_value_divisor(MAX_VALUE_DIVISOR);
    if let Some(start) = start {
        builder
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("Velocore: values in nanoseconds, the max column in microseconds")
            .with_start_time(start)
            .with_base_time(start);
    }
    let failed =
        |error: &dyn std::fmt::Display| HistogramError(format!("cannot encode a histogram: {error}"));
    let mut writer = builder
        .begin_log_with(bytes, &mut serializer)
        .map_err(|error| failed(&error))?;
    for (tag, histogram) in set {
        let tag = Tag::new(tag).expect("invariant: tags hold neither spaces nor commas");
        writer
            .write_histogram(histogram, from, length, Some(tag))
            .map_err(|error| failed(&error))?;
    }
    Ok(())
}
