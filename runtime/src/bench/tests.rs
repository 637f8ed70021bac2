//! Every scenario gives the same rows in both dialects, from every source, on 1 and 2 shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::batch::Batch;

use super::scenario_job::{RESULTS, compile, declared_columns};
use super::*;
use crate::connectors::ConnectorContext;
use crate::connectors::testing::TemporaryDirectory;
use crate::cores;
use crate::job::{prints, queries};

const ROWS: u64 = 20_000;

/// The rows that a changelog leaves, and how often each.
fn fold(batches: &[Batch]) -> BTreeMap<Vec<String>, i64> {
    let options = FormatOptions::default();
    let mut counts: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    for batch in batches {
        let columns = batch.rows().columns();
        let columns: Vec<_> = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).expect("can be shown"))
            .collect();
        for row in 0..batch.len() {
            let values = columns.iter().map(|column| column.value(row).to_string());
            *counts.entry(values.collect()).or_default() += if batch.op(row).is_addition() { 1 } else { -1 };
        }
    }
    counts.retain(|_, count| *count != 0);
    counts
}

/// Runs a scenario on `shards` shards; what its results leave, and how many rows said so.
fn results(
    scenario: Scenario,
    dialect: Dialect,
    source: RowSource,
    shards: usize,
    directory: &Path,
) -> (BTreeMap<Vec<String>, i64>, u64) {
    let prepared = ScenarioRun::prepare(scenario, dialect, source, ROWS, shards, directory, "memory");
    let (job, config) = prepared.as_ref().expect("prepared").job();
    let context = ConnectorContext::prepare_with(&job.plan, shards, config).expect("connected");
    let context = Arc::new(context);
    let core = cores::allowed().expect("allowed")[0];
    let options = RunOptions {
        fallback: true,
        connectors: Connectors::Given(context.clone()),
        ..RunOptions::on_cores(vec![core; shards])
    };
    let report = run_job(job, &options).expect("ran");
    let what = format!("{scenario:?}, {dialect:?}, {source:?}, {shards} shards");
    assert_eq!(report.progress.rows_in, ROWS, "{what}");
    assert_eq!(report.progress.late_rows, 0, "{what}");
    (fold(&context.collected(RESULTS)), report.progress.rows_out)
}

/// Whether every row of the result is written once: others change what they have sent, as often
/// as time lets them.
fn is_append(scenario: Scenario) -> bool {
    !matches!(scenario, Scenario::S2 | Scenario::S3b)
}

fn check(scenario: Scenario, rows_expected: usize) {
    let directory = TemporaryDirectory::create();
    let path = directory.path();
    let (expected, written) = results(scenario, Dialect::Flink, RowSource::Memory, 1, path);
    assert_eq!(
        expected.values().sum::<i64>(),
        rows_expected as i64,
        "{scenario:?}"
    );
    for dialect in Dialect::ALL {
        for source in [RowSource::Memory, RowSource::Parquet, RowSource::Ndjson] {
            for shards in [1, 2] {
                let (found, count) = results(scenario, dialect, source, shards, path);
                assert_eq!(
                    found, expected,
                    "{scenario:?}, {dialect:?}, {source:?}, {shards} shards"
                );
                assert!(count == written || !is_append(scenario), "{count} rows out");
            }
        }
    }
    let files = std::fs::read_dir(path).expect("listed").count();
    assert_eq!(files, 2, "a file is written once per format and used again");
}

#[test]
fn scenario_0_keeps_every_order() {
    check(Scenario::S0, ROWS as usize);
}

#[test]
fn scenario_1_gives_each_row_the_average_of_its_symbols_last_hundred_rows() {
    check(Scenario::S1, ROWS as usize);
}

#[test]
fn scenario_2_leaves_one_row_per_symbol() {
    check(Scenario::S2, 200);
}

#[test]
fn scenario_3a_answers_once_per_trader_symbol_and_minute() {
    check(Scenario::S3a, 5_000);
}

#[test]
fn scenario_3b_leaves_the_same_rows_after_all_its_changes() {
    check(Scenario::S3b, 5_000);
    let directory = TemporaryDirectory::create();
    let [once, changes] = [Scenario::S3a, Scenario::S3b]
        .map(|scenario| results(scenario, Dialect::Flink, RowSource::Memory, 1, directory.path()).0);
    assert_eq!(once, changes);
}

#[test]
fn every_job_file_is_one_query_that_runs_as_it_stands() {
    for scenario in Scenario::ALL {
        for dialect in Dialect::ALL {
            let job = compile(scenario, dialect, 2);
            assert_eq!((queries(&job), prints(&job)), (1, true));
            ConnectorContext::prepare(&job.plan, 1).expect("its connectors are right");
            // Files are shared between dialects, and between scenarios with the same data.
            let same_data = match scenario {
                Scenario::S3b => Scenario::S3a,
                other => other,
            };
            let columns = declared_columns(&compile(same_data, Dialect::Flink, 2));
            assert_eq!(declared_columns(&job), columns);
        }
    }
}

#[test]
fn a_measurement_is_one_line_of_json() {
    let directory = TemporaryDirectory::create();
    let prepared = ScenarioRun::prepare(
        Scenario::S0,
        Dialect::Velostream,
        RowSource::Memory,
        ROWS,
        1,
        directory.path(),
        "blackhole",
    );
    let options = RunOptions {
        fallback: true,
        ..RunOptions::on_cores(cores::allowed().expect("allowed")[..1].to_vec())
    };
    let (_, measurement) = prepared.expect("prepared").run(&options).expect("ran");
    let line = measurement.line();
    assert!(
        line.starts_with(
            r#"{"scenario":"s0","dialect":"velostream","source":"memory","shards":1,"rows":20000,"seconds":"#
        ),
        "{line}"
    );
    let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(value["output_rows"], 20_000);
    for number in [
        "rows_per_second",
        "cpu_seconds",
        "peak_memory_bytes",
        "generator_rows_per_second",
    ] {
        assert!(
            value[number].as_f64().is_some_and(|number| number > 0.0),
            "{line}"
        );
    }
    for percentile in ["p50", "p99", "p99.99", "max"] {
        assert!(value["latency_ns"][percentile].is_u64(), "{line}");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = TemporaryDirectory::create();
    let below_a_file = directory.file("taken", "").join("deeper");
    let (dialect, source) = (Dialect::Flink, RowSource::Parquet);
    let prepared = ScenarioRun::prepare(Scenario::S0, dialect, source, 10, 1, &below_a_file, "blackhole");
    let message = prepared.err().expect("refused").to_string();
    assert!(
        message.contains("taken/deeper") && message.contains("--directory"),
        "{message}"
    );
}
