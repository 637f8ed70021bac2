//! Crash at every step: a small job is killed behind step 1, then anew behind step 2, and so on to its last; each time
//! it goes on from its newest checkpoint, on another number of shards, and its output must be as if nothing had
//! happened.
//!
//! Between two steps of shards the control thread does one thing at most (a write, a sync, a rename, a commit), so
//! that a kill falls between any two of them.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::compile::compile;
use engine::formats::Decoder;
use engine::formats::ndjson::{NdjsonDecoder, NdjsonOptions};
use engine::plan::{NodeKind, SourceSpec, StreamPlan};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::simulation::epochs::{Keeper, SharedOutside};
use crate::simulation::faults::{Fault, Luck};
use crate::simulation::queries::{Plans, Query, Stopped};
use crate::simulation::recovery::Job;
use crate::simulation::rows::Deal;
use crate::simulation::scenario::{Requests, Scenario};
use crate::simulation::trace::Trace;
use crate::simulation::world::Ending;
use crate::simulation::{expected_answer, without_panic};

/// Shards of the runs that are killed.
const SHARDS: usize = 2;
/// An epoch is asked for every so many steps.
const EPOCH_STEPS: u64 = 12;

/// Kills the job of `query` behind each `stride`-th of its steps; answers how often.
///
/// # Errors
/// The output differs, the job is stuck, or something committed is gone; the message says behind which step.
pub fn crash_everywhere(
    query: &Query,
    rows: &RecordBatch,
    splits: &Deal,
    plans: &mut Plans,
    stride: u64,
) -> Result<u64, String> {
    let mut kills = 0;
    let mut kill_at = 1;
    loop {
        let killed = without_panic(|| killed_once(query, rows, splits, plans, kill_at));
        match killed.map_err(|what| format!("{} killed behind step {kill_at}: {what}", query.name))? {
            true => kills += 1,
            false => return Ok(kills),
        }
        kill_at += stride;
    }
}

/// One kill; answers whether the job had not come to its end before.
fn killed_once(
    query: &Query,
    rows: &RecordBatch,
    splits: &Deal,
    plans: &mut Plans,
    kill_at: u64,
) -> Result<bool, String> {
    // Every other machine loses its power with the process.
    let luck = Luck::only(&[Fault::PowerLoss], kill_at);
    let outside = SharedOutside::default();
    let mut keeper = Keeper::new(outside.clone(), luck, None);
    let mut job = Job::new(query, rows, splits, outside, Trace::new(false));
    let mut scenario = Scenario::calm(query);
    scenario.shards = SHARDS;
    scenario.poll_rows = 2;
    scenario.requests = Requests {
        epochs_at: (1..200).map(|number| number * EPOCH_STEPS).collect(),
        stop_at: None,
    };
    let random = || SmallRng::seed_from_u64(7);
    let found = keeper.recover(scenario.shards)?;
    let ending = job.attempt(&scenario, plans, &mut keeper, found, Some(kill_at), random())?;
    // Behind the last step the control thread may still be killed.
    let is_killed = job.report.steps >= kill_at;
    if ending == Ending::Killed {
        keeper.end_process(&mut SmallRng::seed_from_u64(kill_at));
        scenario.shards = 1 + kill_at as usize % 3;
        let found = keeper.recover(scenario.shards)?;
        if !found.finished {
            job.attempt(&scenario, plans, &mut keeper, found, None, random())?;
        }
    }
    job.compare(&expected_answer(query, plans, rows)?)?;
    Ok(is_killed)
}

/// The golden queries that read nothing but one table of `folder`'s `trades.ndjson`, added to `plans`, with its rows.
///
/// # Errors
/// A file cannot be read, or a query does not compile.
pub fn golden_queries(folder: &Path, plans: &mut Plans) -> Result<Vec<(Query, RecordBatch)>, String> {
    let bytes = std::fs::read(folder.join("trades.ndjson")).map_err(|error| error.to_string())?;
    let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut folders: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    let mut queries = Vec::new();
    for folder in folders.iter().filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("golden/{name}");
        let sql = std::fs::read_to_string(folder.join("query.sql")).map_err(|error| error.to_string())?;
        let job = compile(&sql, &[], None).map_err(|error| error.render(&name, &sql))?;
        let Some(source) = only_trades(&job.plan) else {
            continue;
        };
        let rows = decode(source, &bytes)?;
        // A name and a text for the rest of the process: there are a few dozen.
        let query = Query {
            name: Box::leak(name.into_boxed_str()),
            sql: Box::leak(sql.into_boxed_str()),
            stopped: Stopped::PartOfFullAnswer,
        };
        plans.add(query.name, &job.plan);
        queries.push((query, rows));
    }
    Ok(queries)
}

/// The source of a plan, if all its sources read the same table, and that reads `trades.ndjson`.
fn only_trades(plan: &Arc<StreamPlan>) -> Option<&SourceSpec> {
    let mut sources = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source(spec) => Some(spec),
        _ => None,
    });
    let first = sources.next()?;
    let reads_trades = first
        .table
        .option("path")
        .is_some_and(|path| path.ends_with("trades.ndjson"));
    let is_the_same = sources.all(|source| source.table.name == first.table.name);
    (reads_trades && is_the_same && !first.has_ops && !first.has_processing_time).then_some(first)
}

fn decode(source: &SourceSpec, bytes: &[u8]) -> Result<RecordBatch, String> {
    let schema = source.table.ingest_schema();
    let mut decoder = NdjsonDecoder::new(schema, NdjsonOptions::default()).map_err(|error| error.message)?;
    let decoded = decoder.decode(bytes, usize::MAX);
    match decoded.malformed.first() {
        Some(malformed) => Err(malformed.reason.clone()),
        None => Ok(decoded.rows),
    }
}
