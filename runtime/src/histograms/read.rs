//! Reads interval logs and merges their histograms by tag.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogHistogram, IntervalLogIterator, LogEntry};

use super::{HistogramError, HistogramSet, merge};

/// The tag of lines that have none.
const UNTAGGED: &str = "untagged";

/// Merges every interval of the file at `path` into `set`.
///
/// # Errors
/// The file is missing, is no interval log, is damaged, or holds no histogram.
pub fn read_into(set: &mut HistogramSet, path: &Path) -> Result<(), HistogramError> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|error| HistogramError(format!("cannot read {name}: {error}")))?;
    let mut intervals = 0;
    for entry in IntervalLogIterator::new(&bytes) {
        let entry = entry.map_err(|error| {
            let hdrhistogram::serialization::interval_log::LogIteratorError::ParseError { offset } = error;
            let line = bytes[..offset].iter().filter(|&&byte| byte == b'\n').count() + 1;
            HistogramError(format!(
                "{name}, line {line}: not a line of a histogram log (.hlog); is the file cut off or of another kind?"
            ))
        })?;
        if let LogEntry::Interval(interval) = entry {
            let tag = interval.tag().map_or(UNTAGGED, |tag| tag.as_str());
            let histogram = decode(&interval).map_err(|cause| {
                HistogramError(format!("{name}: the histogram of '{tag}' is damaged: {cause}"))
            })?;
            merge(set, tag, &histogram);
            intervals += 1;
        }
    }
    if intervals == 0 {
        return Err(HistogramError(format!("{name} holds no histogram")));
    }
    Ok(())
}

fn decode(interval: &IntervalLogHistogram<'_>) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD
        .decode(interval.encoded_histogram())
        .map_err(|error| error.to_string())?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::log::HistogramLog;
    use super::*;

    fn directory(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("velocore-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a temporary directory");
        path
    }

    fn set_of(tag: &str, values: impl Iterator<Item = u64>) -> HistogramSet {
        let mut histogram = Histogram::new(3).expect("digits");
        values.for_each(|value| histogram.record(value).expect("grows"));
        HistogramSet::from([(tag.to_owned(), histogram)])
    }

    #[test]
    fn what_is_logged_over_several_intervals_is_read_back_whole() {
        let directory = directory("round-trip");
        let mut log = HistogramLog::create(&directory, SystemTime::now()).expect("created");
        let first = set_of("shard-0/service/1-map", 1..=50_000);
        let second = set_of("shard-0/service/1-map", 50_001..=100_000);
        log.append(&first, Duration::ZERO, Duration::from_secs(10))
            .expect("written");
        log.append(&second, Duration::from_secs(10), Duration::from_secs(12))
            .expect("written");

        let mut read = HistogramSet::new();
        read_into(&mut read, log.path()).expect("read");
        let mut expected = first;
        merge(
            &mut expected,
            "shard-0/service/1-map",
            &second["shard-0/service/1-map"],
        );
        assert_eq!(read, expected);
        assert_eq!(read["shard-0/service/1-map"].len(), 100_000);
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn logs_of_jobs_started_in_the_same_second_do_not_meet() {
        let directory = directory("same-second");
        let start = SystemTime::now();
        let one = HistogramLog::create(&directory, start).expect("created");
        let two = HistogramLog::create(&directory, start).expect("created");
        assert_ne!(one.path(), two.path());
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_into(&mut HistogramSet::new(), Path::new("/nowhere/a.hlog")).expect_err("missing");
        assert!(
            error.to_string().starts_with("cannot read /nowhere/a.hlog: "),
            "{error}"
        );
    }

    #[test]
    fn a_file_of_another_kind_is_told_by_line() {
        let directory = directory("other-kind");
        let path = directory.join("query.sql");
        fs::write(&path, "#comment\nSELECT 1\n").expect("written");
        let error = read_into(&mut HistogramSet::new(), &path)
            .expect_err("no log")
            .to_string();
        assert!(
            error.contains("query.sql, line 2: not a line of a histogram log"),
            "{error}"
        );
        fs::write(&path, "").expect("written");
        let error = read_into(&mut HistogramSet::new(), &path)
            .expect_err("empty")
            .to_string();
        assert!(error.ends_with("holds no histogram"), "{error}");
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn a_damaged_histogram_is_told_by_tag() {
        let directory = directory("damaged");
        let mut log = HistogramLog::create(&directory, SystemTime::now()).expect("created");
        log.append(
            &set_of("event-latency", 1..=9),
            Duration::ZERO,
            Duration::from_secs(1),
        )
        .expect("written");
        let text = fs::read_to_string(log.path()).expect("read");
        let line = text.lines().last().expect("a line");
        let cut = &line[..line.len() - 12];
        fs::write(log.path(), format!("{cut}\n")).expect("written");
        let error = read_into(&mut HistogramSet::new(), log.path())
            .expect_err("damaged")
            .to_string();
        assert!(
            error.contains("the histogram of 'event-latency' is damaged"),
            "{error}"
        );
        fs::remove_dir_all(directory).expect("removed");
    }
}
