//! Conformance: table programs that others wrote (Apache Flink's restore tests), run on real shards.
//!
//! [`program`] reads them, [`values`] turns their values into rows and rows into their text; `velocore test`'s
//! driver runs them row by row; [`crashes`] kills them at every step. The programs lie outside of this repository; without them nothing is checked.
//!
//! What a program expects is compared consolidated: the multiset of rows that the changes leave, or, where the
//! sink has a primary key, the last row of each key.

pub mod crashes;
pub mod program;
pub mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use engine::batch::Op;
use engine::plan::StreamPlan;
use runtime::connectors::ConnectorContext;
use runtime::job_test::drive::{Drive, Given};
use shards::checkpoint::Restore;

use program::{Program, Row};

/// Where Flink's test stops the job and starts it anew, longer passes than the second that a time to live is in
/// these programs.
const PAUSE_US: u64 = 2_000_000;

/// The file of programs, if it is there: `../shared/conformance` beside this repository, or where
/// `VELOCORE_CONFORMANCE` says.
pub fn find() -> Option<PathBuf> {
    let directory = std::env::var_os("VELOCORE_CONFORMANCE").map(PathBuf::from);
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance"));
    let file = directory.unwrap_or_else(beside).join("flink-programs.json");
    file.exists().then_some(file)
}

/// When a program is stopped and goes on from its snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// Never.
    Never,
    /// At the program's own point.
    AtPoint,
    /// After every row, and at that point.
    AfterEveryRow,
}

/// Runs a program: first the rows before the restart's point, then the rest and the end of the input. It starts
/// on the first of `shards` and goes on with the next at each restart, round and round.
///
/// # Errors
/// It does not compile, fails, or gives other results; the message says which.
pub fn run(program: &Program, shards: &[usize], restarts: Restarts) -> Result<(), String> {
    let mut stages = Stages::new(program, shards)?;
    let mut drive = stages.start()?;
    let mut expected = Consolidated::new(program);
    let mut found = Consolidated::new(program);
    drive = stages.feed(drive, in_turn(program, |source| &source.before), restarts)?;
    expected.apply(program.sink.before.iter().cloned());
    found.apply(changes(&mut drive)?);
    expected.compare(&found, "before the restart's point")?;
    drive.advance(PAUSE_US);
    drive.settle()?;
    drive = stages.feed(drive, in_turn(program, |source| &source.after), restarts)?;
    drive.finish()?;
    expected.apply(program.sink.after.iter().cloned());
    found.apply(changes(&mut drive)?);
    expected.compare(&found, "at the end")
}

/// A program's job on one number of shards after the other.
struct Stages {
    jobs: Vec<(Arc<StreamPlan>, usize, ConnectorContext)>,
    next: usize,
}

impl Stages {
    fn new(program: &Program, shards: &[usize]) -> Result<Stages, String> {
        let sql = program.sql();
        let mut jobs = Vec::new();
        for &shards in shards {
            let job = engine::compile::compile(&sql, &[], Some(shards));
            let job = job.map_err(|error| error.render(&program.id, &sql))?;
            let context = ConnectorContext::prepare(&job.plan, shards).map_err(|error| error.message)?;
            jobs.push((job.plan, shards, context));
        }
        Ok(Stages { jobs, next: 0 })
    }

    fn job(&mut self) -> &(Arc<StreamPlan>, usize, ConnectorContext) {
        self.next += 1;
        &self.jobs[(self.next - 1) % self.jobs.len()]
    }

    fn start(&mut self) -> Result<Drive, String> {
        let (plan, shards, context) = self.job();
        Drive::new(plan, *shards, context, |_| true)
    }

    fn restart(&mut self, drive: Drive) -> Result<Drive, String> {
        let (plan, shards, context) = self.job();
        drive.restart(plan, *shards, context, |_| true)
    }

    /// The job is killed and goes on from an epoch, on the next number of shards.
    fn go_on(&mut self, drive: Drive, from: Option<Restore>) -> Result<Drive, String> {
        let (plan, shards, context) = self.job();
        drive.killed(plan, *shards, context, |_| true, from)
    }

    fn feed(&mut self, mut drive: Drive, rows: Vec<Fed<'_>>, restarts: Restarts) -> Result<Drive, String> {
        for (source, op, row) in rows {
            feed(&mut drive, source, op, row)?;
            if restarts == Restarts::AfterEveryRow {
                drive = self.restart(drive)?;
            }
        }
        match restarts {
            Restarts::AtPoint => self.restart(drive),
            Restarts::Never | Restarts::AfterEveryRow => Ok(drive),
        }
    }
}

/// Feeds a row of `source`, and does everything that follows from it.
fn feed(
    drive: &mut Drive,
    source: &program::Source,
    op: Op,
    row: &[serde_json::Value],
) -> Result<(), String> {
    give(drive, source, op, row)?;
    drive.settle()
}

/// Gives every source of that table a row.
fn give(
    drive: &mut Drive,
    source: &program::Source,
    op: Op,
    row: &[serde_json::Value],
) -> Result<(), String> {
    for (number, inlet) in drive.inlets().iter().enumerate() {
        let spec = &inlet.spec;
        if spec.table.name == source.name {
            let schema = spec.table.ingest_schema();
            let rows = values::batch(&schema, &spec.ingest, op, row, spec.has_ops)?;
            drive.give(number, Given::Rows(rows));
        }
    }
    Ok(())
}

/// What the sinks have taken since the last time.
fn changes(drive: &mut Drive) -> Result<Vec<(Op, Row)>, String> {
    let mut changes = Vec::new();
    for (_, batch) in drive.take() {
        changes.extend(values::rows(&batch)?);
    }
    Ok(changes)
}

/// A row of a source.
type Fed<'p> = (&'p program::Source, Op, &'p Vec<serde_json::Value>);

/// The rows of all sources in turn: the first rows of all, then the second, and so on.
fn in_turn<'p>(
    program: &'p Program,
    rows: impl Fn(&'p program::Source) -> &'p Vec<(Op, Vec<serde_json::Value>)>,
) -> Vec<Fed<'p>> {
    let longest = program.sources.iter().map(|source| rows(source).len()).max();
    let mut all = Vec::new();
    for number in 0..longest.unwrap_or(0) {
        for source in &program.sources {
            all.extend(rows(source).get(number).map(|(op, row)| (source, *op, row)));
        }
    }
    all
}

/// What changes leave: rows and how often, or the last row of each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
