//! `velocore test`: a job over the rows of a folder's files, a row at a time on real shards in one thread, and its
//! results beside those that are expected. docs/testing.md tells its users how.
//!
//! The flow, one file each: `folder` (the files of a test) and `manifest` (its `test.toml`) → `script` (the input
//! as steps) → `substitute` (the job's tables, replaced) → `drive` (shards that are stepped) and `feed` (steps
//! handed to them) → `results` (what changes leave) → `difference` (what is shown).
//!
//! **Invariant.** A test gives the same verdict wherever and whenever it runs: it knows no time but its own, and
//! each row is worked off before the next one comes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::compile::compile_statements;
use engine::plan::{NodeId, NodeKind, StreamPlan};
use engine::sql::{parser, suggest};

use crate::connectors::{ConnectorContext, written_schema};
use drive::Drive;
use feed::Feed;
use folder::{TestFolder, file_name};
use results::Results;
use script::Script;

mod difference;
pub mod drive;
mod feed;
mod folder;
mod manifest;
mod results;
mod script;
mod substitute;

pub use folder::find;

/// The numbers of shards that a test runs on unless it says otherwise.
const SHARDS: [usize; 2] = [1, 3];

/// How tests are run.
#[derive(Clone, Debug, Default)]
pub struct TestOptions {
    /// Numbers of shards, instead of those that tests name.
    pub shards: Option<Vec<usize>>,
    /// Write what is found into the expected files.
    pub update: bool,
}

/// What a test came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as expected.
    Passed,
    /// These expected files were written.
    Updated(Vec<PathBuf>),
    /// What is wrong, in lines.
    Failed(String),
}

/// A test's verdict, and what else is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it came to.
    pub verdict: Verdict,
    /// Results that nothing is expected of.
    pub notes: Vec<String>,
}

/// Runs the test in `path`.
pub fn run(path: &Path, options: &TestOptions) -> Outcome {
    let mut notes = Vec::new();
    let verdict = TestFolder::read(path)
        .and_then(|folder| run_folder(&folder, options, &mut notes))
        .unwrap_or_else(Verdict::Failed);
    Outcome { verdict, notes }
}

fn run_folder(
    folder: &TestFolder,
    options: &TestOptions,
    notes: &mut Vec<String>,
) -> Result<Verdict, String> {
    let script = Script::read(folder)?;
    let shards = options.shards.clone().or(folder.manifest.shards.clone());
    let mut updated = Vec::new();
    for shards in shards.unwrap_or(SHARDS.to_vec()) {
        let found = execute(folder, &script, shards)?;
        if options.update && updated.is_empty() {
            updated = update(folder, &found)?;
            continue;
        }
        compare(folder, &found, &updated, notes).map_err(|told| {
            let counted = if shards == 1 { "shard" } else { "shards" };
            format!("on {shards} {counted}:\n{told}")
        })?;
    }
    Ok(match options.update {
        true => Verdict::Updated(updated),
        false => Verdict::Passed,
    })
}

/// What a run gave.
struct Found {
    results: BTreeMap<String, Results>,
    late_rows: u64,
}

/// Runs the job on `shards` shards over the script.
fn execute(folder: &TestFolder, script: &Script, shards: usize) -> Result<Found, String> {
    let render = |error| folder.job.render(&error);
    let mut statements = parser::parse(&folder.job.sql).map_err(render)?;
    substitute::substitute(&mut statements, &script.tables, &folder.path);
    let settings = folder.manifest.settings()?;
    let job = compile_statements(statements, &settings, Some(shards)).map_err(render)?;
    substitute::check_sources(&job.plan, &script.tables).map_err(render)?;
    let (names, mut results) = sinks(&job.plan)?;
    let context = ConnectorContext::prepare_with(&job.plan, shards, Default::default()).map_err(render)?;
    let mut drive = Drive::new(&job.plan, shards, &context, |table| script.tables.contains(table))?;
    Feed::default().run(script, &mut drive)?;
    for (node, batch) in drive.take() {
        let result = results.get_mut(&names[&node]);
        let result = result.expect("invariant: every sink has its result");
        result.add(&batch)?;
    }
    Ok(Found {
        results,
        late_rows: drive.late_rows(),
    })
}

/// The results of a job, and the name of each sink's; the empty one is that of a bare SELECT.
type Sinks = (BTreeMap<NodeId, String>, BTreeMap<String, Results>);

fn sinks(plan: &StreamPlan) -> Result<Sinks, String> {
    let (mut names, mut results) = (BTreeMap::new(), BTreeMap::new());
    for node in &plan.nodes {
        let NodeKind::Sink(sink) = &node.kind else {
            continue;
        };
        let input = &plan.nodes[*node.inputs.first().expect("invariant: a sink has an input")];
        let name = sink
            .table
            .as_ref()
            .map_or("", |table| table.name.as_str())
            .to_string();
        let result = Results::new(
            written_schema(sink, input.schema.clone()),
            input.changelog.clone(),
        );
        names.insert(node.id, name.clone());
        if results.insert(name.clone(), result).is_some() && name.is_empty() {
            return Err(
                "the job has several bare SELECTs, and their rows cannot be told apart; write all but one into \
                 tables with INSERT INTO"
                    .to_string(),
            );
        }
    }
    match results.is_empty() {
        true => Err("the job holds no query; add a SELECT or an INSERT INTO".to_string()),
        false => Ok((names, results)),
    }
}

/// Compares what was found with what is expected; `written` are expected files of this run.
fn compare(
    folder: &TestFolder,
    found: &Found,
    written: &[PathBuf],
    notes: &mut Vec<String>,
) -> Result<(), String> {
    if let Some(name) = folder
        .expected
        .keys()
        .find(|name| !found.results.contains_key(*name))
    {
        let known: Vec<&str> = found.results.keys().map(|name| title(name)).collect();
        return Err(format!(
            "{}: the job has no result '{}'; {}",
            file_name(&folder.expected[name]),
            title(name),
            suggest::hint(name, known, "its results are")
        ));
    }
    let mut told = Vec::new();
    let mut compared = 0;
    for (name, results) in &found.results {
        let file = folder.expected_file(name);
        if !folder.expected.contains_key(name) && !written.contains(&file) {
            let note = format!("nothing is expected of {}", title(name));
            if !notes.contains(&note) {
                notes.push(note);
            }
            continue;
        }
        compared += 1;
        let expected = results.expected(&file)?;
        let rows = results.rows(expected.have_ops)?;
        if let Some(text) = difference::difference(&expected.texts, &rows.texts) {
            told.push(format!("{}\n{text}", file_name(&file)));
        }
    }
    if compared == 0 {
        told.push("nothing is expected: write expected.ndjson, or let --update write it".to_string());
    }
    if let Some(expected) = folder.manifest.late_rows.filter(|&rows| rows != found.late_rows) {
        told.push(format!(
            "late rows: {expected} expected, {} found",
            found.late_rows
        ));
    }
    match told.is_empty() {
        true => Ok(()),
        false => Err(told.join("\n")),
    }
}

fn title(name: &str) -> &str {
    if name.is_empty() { "the bare SELECT" } else { name }
}

/// Writes what was found into the expected files.
fn update(folder: &TestFolder, found: &Found) -> Result<Vec<PathBuf>, String> {
    let mut written = Vec::new();
    for (name, results) in &found.results {
        let file = folder.expected_file(name);
        if file.extension().is_some_and(|extension| extension == "csv") {
            return Err(format!(
                "{} is CSV, which is not written; remove it, and NDJSON takes its place",
                file_name(&file)
            ));
        }
        let known = folder.expected.contains_key(name);
        // A file whose rows do not fit any more is to be replaced, too.
        let have_ops = known && results.expected(&file).is_ok_and(|rows| rows.have_ops);
        let rows = results.rows(have_ops)?;
        let text: String = rows.texts.iter().map(|row| format!("{row}\n")).collect();
        std::fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        written.push(file);
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
