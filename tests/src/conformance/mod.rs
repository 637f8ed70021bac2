//! Conformance: table programs that others wrote (Apache Flink's restore tests), run on real shards.
//!
//! [`program`] reads them, [`values`] turns their values into rows and rows into their text, [`drive`] feeds
//! a job row by row. The programs lie outside of this repository; without them nothing is checked.
//!
//! What a program expects is compared consolidated: the multiset of rows that the changes leave, or, where the
//! sink has a primary key, the last row of each key.

pub mod drive;
pub mod program;
pub mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use engine::batch::Op;

use drive::Drive;
use program::{Program, Row};

/// Runs a program on `shards` shards without a restart: first the rows before the restart's point, then the
/// rest and the end of the input.
///
/// # Errors
/// It does not compile, fails, or gives other results; the message says which.
pub fn run(program: &Program, shards: usize) -> Result<(), String> {
    let sql = program.sql();
    let job =
        engine::compile::compile(&sql, &[], Some(shards)).map_err(|error| error.render(&program.id, &sql))?;
    let mut drive = Drive::new(&job.plan, shards)?;
    let mut expected = Consolidated::new(program);
    let mut found = Consolidated::new(program);
    drive.feed(program, |source| &source.before)?;
    expected.apply(program.sink.before.iter().cloned());
    found.apply(drive.take());
    expected.compare(&found, "before the restart's point")?;
    // Where Flink's test stops the job and starts it anew, longer passes than the second that a time to live
    // is in these programs.
    drive.pass_time(Duration::from_secs(2))?;
    drive.feed(program, |source| &source.after)?;
    drive.finish()?;
    expected.apply(program.sink.after.iter().cloned());
    found.apply(drive.take());
    expected.compare(&found, "at the end")
}

/// What changes leave: rows and how often, or the last row of each key.
#[derive(Debug, Default, PartialEq, Eq)]
struct Consolidated {
    keys: Vec<usize>,
    counts: BTreeMap<Row, i64>,
    by_key: BTreeMap<Row, Row>,
}

impl Consolidated {
    fn new(program: &Program) -> Consolidated {
        Consolidated {
            keys: program.sink.primary_key.clone(),
            ..Consolidated::default()
        }
    }

    fn apply(&mut self, changes: impl IntoIterator<Item = (Op, Row)>) {
        for (op, row) in changes {
            if self.keys.is_empty() {
                let count = self.counts.entry(row.clone()).or_default();
                *count += if op.is_addition() { 1 } else { -1 };
                if *count == 0 {
                    self.counts.remove(&row);
                }
                continue;
            }
            let key: Row = self.keys.iter().map(|&key| row[key].clone()).collect();
            if op.is_addition() {
                self.by_key.insert(key, row);
            } else if self.by_key.get(&key) == Some(&row) {
                self.by_key.remove(&key);
            }
        }
    }

    fn compare(&self, found: &Consolidated, when: &str) -> Result<(), String> {
        match self == found {
            true => Ok(()),
            false => Err(format!(
                "{when}\n  expected {}\n  found    {}",
                self.text(),
                found.text()
            )),
        }
    }

    fn text(&self) -> String {
        let counted = self
            .counts
            .iter()
            .map(|(row, count)| format!("{count}×[{}]", row.join(", ")));
        let keyed = self.by_key.values().map(|row| format!("[{}]", row.join(", ")));
        counted.chain(keyed).collect::<Vec<_>>().join(" ")
    }
}
