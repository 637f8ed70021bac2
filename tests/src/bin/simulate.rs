//! `simulate`: runs seeds of the deterministic simulator.
//!
//! `--seed N` shows one run event by event and says what it proved; `--seeds N` runs many and sums
//! up. A failing seed is told with the command that replays it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tests::simulation::queries::Plans;
use tests::simulation::{Report, recovery, replay, run_seed};

/// Runs Velocore's shards in one thread under a seeded schedule, and checks what comes out.
#[derive(Parser)]
struct Arguments {
    /// Run this seed and show every event.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Run this many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Let jobs crash and go on from their checkpoints.
    #[arg(long)]
    crashes: bool,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut plans = Plans::default();
    if arguments.crashes {
        return crash(&arguments, &mut plans);
    }
    match arguments.seed {
        Some(seed) => show(seed, &mut plans),
        None => {
            // A panic is told as its seed's failure, with the command that shows all of it.
            std::panic::set_hook(Box::new(|_| {}));
            run_many(arguments.first, arguments.seeds, &mut plans)
        }
    }
}

/// Seeds of jobs that crash.
fn crash(arguments: &Arguments, plans: &mut Plans) -> ExitCode {
    let started = Instant::now();
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.first..arguments.first + arguments.seeds,
    };
    let count = seeds.end - seeds.start;
    let (mut failed, mut crashes, mut restores, mut commits) = (0, 0, 0, 0);
    for seed in seeds {
        match recovery::run_seed(seed, plans, arguments.seed.is_some()) {
            Ok(report) => {
                crashes += report.crashes;
                restores += report.restores;
                commits += report.commits;
            }
            Err(error) => {
                failed += 1;
                println!("seed {seed} failed: {error}; replay: {} --crashes", replay(seed));
            }
        }
    }
    println!(
        "{count} seeds, {failed} failed; {crashes} crashes, {restores} runs went on from a checkpoint, {commits} epochs \
         committed; {:.0} seeds/s",
        count as f64 / started.elapsed().as_secs_f64()
    );
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn show(seed: u64, plans: &mut Plans) -> ExitCode {
    match run_seed(seed, plans, true) {
        Ok(report) => {
            println!("{}", proved(&report));
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("seed {seed} failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn proved(report: &Report) -> String {
    let (scenario, outcome) = (&report.scenario, &report.outcome);
    let mut text = format!(
        "seed {}: {} over {} rows on {} shards, {} steps, trace {:016x}\n",
        scenario.seed, scenario.query.name, report.rows, scenario.shards, outcome.steps, report.hash
    );
    text += if outcome.stopped {
        "proved: what was written before the stop is complete, right and written once"
    } else {
        "proved: the output is the answer of one shard that was given everything at once"
    };
    text += "; no row was late, watermarks only rose, every firing ended before the next began, nobody slept for ever";
    if let Some((highest, bound)) = outcome.in_flight {
        text += &format!("; at most {highest} rows under way, of {bound} allowed");
    }
    if outcome.epochs > 0 {
        text += &format!("; {} epochs captured", outcome.epochs);
    }
    text
}

fn run_many(first: u64, count: u64, plans: &mut Plans) -> ExitCode {
    let started = Instant::now();
    let mut by_query: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut steps, mut stopped, mut epochs, mut failed, mut hash) = (0, 0, 0, 0, 0_u64);
    for seed in first..first + count {
        match run_seed(seed, plans, false) {
            Ok(report) => {
                *by_query.entry(report.scenario.query.name).or_default() += 1;
                steps += report.outcome.steps;
                stopped += u64::from(report.outcome.stopped);
                epochs += report.outcome.epochs;
                hash = hash.rotate_left(5) ^ report.hash;
            }
            Err(error) => {
                failed += 1;
                println!("seed {seed} failed: {error}; replay: {}", replay(seed));
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    for (query, seeds) in by_query {
        println!("{seeds:>6} {query}");
    }
    println!(
        "{count} seeds, {failed} failed; {stopped} stopped early, {epochs} epochs, {steps} steps; {:.0} seeds/s; traces {hash:016x}",
        count as f64 / seconds
    );
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
