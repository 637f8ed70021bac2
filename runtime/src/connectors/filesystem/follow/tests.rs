//! Files that grow, are renamed, truncated and deleted while they are followed, and over a restart.

use std::fs;
use std::io::Write;
use std::path::Path;

use shards::connector::{Source, SourcePoll, SplitPosition};

use crate::connectors::filesystem::tests::{append, expected, record, sources};
use crate::connectors::testing::TemporaryDirectory;

const SECOND: u64 = 1_000_000_000;
const OPTIONS: &[(&str, &str)] = &[("format", "json"), ("source.monitor-interval", "1 s")];

/// Polls a followed source until it has nothing, at time `now`.
fn follow(source: &mut dyn Source, now: u64) -> Vec<(i64, String)> {
    let mut rows = Vec::new();
    loop {
        match source.poll(now, 1000).unwrap() {
            SourcePoll::Rows { rows: batch, .. } => append(&batch, &mut rows),
            SourcePoll::SplitEnd(_) | SourcePoll::Watermark { .. } => {}
            SourcePoll::Pending { .. } => return rows,
            // Only a part that never has a file ends.
            SourcePoll::End if source.splits().is_empty() => return rows,
            SourcePoll::End => panic!("a followed source never ends"),
        }
    }
}

#[test]
fn a_followed_file_gives_appended_lines_and_keeps_a_partial_one_back() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("log.json", record(0));
    let mut sources = sources(&path, OPTIONS, 1).unwrap();
    let source = sources[0].as_mut();
    assert_eq!(source.splits(), [0]);
    assert_eq!(follow(source, 0), expected(1));
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    write!(file, "{}{}", record(1), &record(2)[..8]).unwrap();
    assert_eq!(follow(source, SECOND / 2), []);
    assert_eq!(follow(source, SECOND), expected(2)[1..]);
    write!(file, "{}", &record(2)[8..]).unwrap();
    assert_eq!(follow(source, 2 * SECOND), expected(3)[2..]);
    // Truncated: what is written now is new.
    fs::write(&path, record(0)).unwrap();
    assert_eq!(follow(source, 3 * SECOND), expected(1));
    // Rotated: another file has taken the name.
    fs::rename(&path, directory.path().join("log.json.1")).unwrap();
    directory.file("log.json", record(0));
    assert_eq!(follow(source, 4 * SECOND), expected(1));
}

#[test]
fn new_files_of_a_followed_directory_are_read_by_exactly_one_shard() {
    let directory = TemporaryDirectory::create();
    directory.file("0.json", record(0));
    let mut sources = sources(directory.path(), OPTIONS, 3).unwrap();
    let mut rows = Vec::new();
    for second in 0..10 {
        for source in &mut sources {
            rows.extend(follow(source.as_mut(), second * SECOND));
        }
        let id = second as i64 + 1;
        if id < 8 {
            directory.file(&format!("{id}.json"), record(id));
        }
    }
    rows.sort_unstable();
    assert_eq!(rows, expected(8));
}

/// The rows `from..to`.
fn rows(from: i64, to: i64) -> Vec<(i64, String)> {
    expected(to)[from as usize..].to_vec()
}

fn records(from: i64, to: i64) -> String {
    (from..to).map(record).collect()
}

fn add(path: &Path, text: &str) {
    let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// All shards' parts of a source that goes on from these positions.
fn resumed(path: &Path, positions: &[SplitPosition], shards: usize) -> Vec<Box<dyn Source>> {
    let mut sources = sources(path, OPTIONS, shards).unwrap();
    for source in &mut sources {
        source.restore(positions).unwrap();
    }
    sources
}

fn positions(sources: &[Box<dyn Source>]) -> Vec<SplitPosition> {
    sources.iter().flat_map(|source| source.positions()).collect()
}

fn follow_all(sources: &mut [Box<dyn Source>], now: u64) -> Vec<(i64, String)> {
    let mut rows: Vec<_> = sources
        .iter_mut()
        .flat_map(|source| follow(source.as_mut(), now))
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn a_file_is_read_on_from_any_row_on_any_number_of_shards() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("log.json", records(0, 9));
    for rows_before in 0..=9 {
        let mut before = sources(&path, OPTIONS, 1).unwrap();
        let mut read = Vec::new();
        while read.len() < rows_before {
            let Ok(SourcePoll::Rows { rows, .. }) = before[0].poll(0, 1) else {
                panic!("there is a row");
            };
            append(&rows, &mut read);
        }
        let mut after = resumed(&path, &positions(&before), 1 + rows_before % 3);
        read.extend(follow_all(&mut after, 0));
        assert_eq!(read, expected(9), "after {rows_before} rows");
    }
}

#[test]
fn files_of_a_directory_are_read_on_by_other_shards_and_a_partial_line_waits() {
    let directory = TemporaryDirectory::create();
    for id in 0..12 {
        directory.file(&format!("{id}.json"), record(id));
    }
    let mut before = sources(directory.path(), OPTIONS, 3).unwrap();
    assert_eq!(follow_all(&mut before, 0), expected(12));
    add(&directory.path().join("3.json"), &record(12)[..8]);
    assert_eq!(follow_all(&mut before, SECOND), []);
    for shards in [1, 2, 5] {
        let mut after = resumed(directory.path(), &positions(&before), shards);
        assert_eq!(follow_all(&mut after, 0), [], "{shards} shards");
    }
    let mut after = resumed(directory.path(), &positions(&before), 2);
    add(&directory.path().join("3.json"), &record(12)[8..]);
    directory.file("new.json", record(13));
    assert_eq!(follow_all(&mut after, SECOND), rows(12, 14));
}

#[test]
fn a_file_that_is_renamed_is_read_to_its_end_and_not_again() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("log.json", records(0, 2));
    let mut all = sources(directory.path(), OPTIONS, 2).unwrap();
    assert_eq!(follow_all(&mut all, 0), expected(2));
    add(&path, &record(2));
    let renamed = directory.path().join("log.1.json");
    fs::rename(&path, &renamed).unwrap();
    directory.file("log.json", record(3));
    // Its writer has not noticed yet.
    add(&renamed, &record(4));
    assert_eq!(follow_all(&mut all, SECOND), rows(2, 5));
    add(&renamed, &record(5));
    assert_eq!(follow_all(&mut all, 2 * SECOND), rows(5, 6));
}

#[test]
fn a_file_that_was_renamed_out_of_sight_is_read_to_its_end_by_the_job_that_goes_on() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("log.json", records(0, 5));
    let mut before = sources(&path, OPTIONS, 1).unwrap();
    assert_eq!(follow_all(&mut before, 0), expected(5));
    let written = positions(&before);
    add(&path, &records(5, 7));
    fs::rename(&path, directory.path().join("log.json.1")).unwrap();
    directory.file("log.json", records(7, 9));
    let mut after = resumed(&path, &written, 3);
    assert_eq!(follow_all(&mut after, 0), rows(5, 9));
    // It is kept open for a while, then forgotten; the new file goes on.
    add(&path, &record(9));
    assert_eq!(follow_all(&mut after, SECOND), rows(9, 10));
    assert_eq!(follow_all(&mut after, 20 * SECOND), []);
    assert_eq!(follow_all(&mut after, 40 * SECOND), []);
    assert_eq!(positions(&after).len(), 1);
}

#[test]
fn a_file_that_was_truncated_and_has_grown_past_the_old_place_is_read_from_its_start() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("log.json", records(0, 3));
    let mut before = sources(&path, OPTIONS, 1).unwrap();
    assert_eq!(follow_all(&mut before, 0), expected(3));
    let written = positions(&before);
    // The same inode, as `copytruncate` leaves it.
    fs::write(&path, records(3, 12)).unwrap();
    assert_eq!(follow_all(&mut before, SECOND), rows(3, 12), "while the job runs");
    let mut after = resumed(&path, &written, 1);
    assert_eq!(follow_all(&mut after, 0), rows(3, 12), "while it did not");
}

#[test]
fn a_copy_that_was_put_back_is_read_on() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("log.json", records(0, 20));
    let mut before = sources(&path, OPTIONS, 1).unwrap();
    assert_eq!(follow_all(&mut before, 0), expected(20));
    let written = positions(&before);
    let copy = directory.file("copy", fs::read(&path).unwrap());
    fs::rename(&copy, &path).unwrap();
    add(&path, &record(20));
    let mut after = resumed(&path, &written, 2);
    assert_eq!(follow_all(&mut after, 0), rows(20, 21));
}

#[test]
fn a_file_that_is_gone_is_missed_only_if_something_was_left_in_it() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("log.json", records(0, 3));
    let mut half = sources(directory.path(), OPTIONS, 1).unwrap();
    assert!(matches!(half[0].poll(0, 1), Ok(SourcePoll::Rows { .. })));
    let mut whole = sources(directory.path(), OPTIONS, 1).unwrap();
    assert_eq!(follow_all(&mut whole, 0), expected(3));
    let (half, whole) = (positions(&half), positions(&whole));
    fs::remove_file(&path).unwrap();
    let mut after = sources(directory.path(), OPTIONS, 1).unwrap();
    let missed = after[0].restore(&half).unwrap_err().message;
    assert!(
        missed.contains("log.json was not read to its end") && missed.contains("put it back"),
        "{missed}"
    );
    directory.file("next.json", record(7));
    let mut after = resumed(directory.path(), &whole, 1);
    assert_eq!(follow_all(&mut after, 0), rows(7, 8));
}

#[test]
fn csv_goes_on_by_the_header_that_was_read() {
    let directory = TemporaryDirectory::create();
    let options = [("format", "csv"), ("source.monitor-interval", "1 s")];
    let path = directory.file("log.csv", "name,id\n,0\n");
    let mut before = sources(&path, &options, 1).unwrap();
    assert_eq!(follow_all(&mut before, 0), expected(1));
    add(&path, "n,1\n");
    let mut after = sources(&path, &options, 1).unwrap();
    after[0].restore(&positions(&before)).unwrap();
    assert_eq!(follow_all(&mut after, 0), rows(1, 2));
}

#[test]
fn positions_of_files_that_were_read_once_are_refused_with_what_to_do() {
    let directory = TemporaryDirectory::create();
    let path = directory.file("log.json", records(0, 3));
    let once = sources(&path, &[("format", "json")], 1).unwrap();
    let mut followed = sources(&path, OPTIONS, 1).unwrap();
    let refused = followed[0].restore(&positions(&once)).unwrap_err().message;
    assert!(
        refused.contains("'source.monitor-interval' was not set"),
        "{refused}"
    );
}
