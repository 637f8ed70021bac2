//! `simulate`: runs seeds of the deterministic simulator.
//!
//! `--everywhere` kills small jobs, the golden queries and Flink's programs behind each of their steps.
//!
//! `--seed N` shows one run event by event and says what it proved; `--seeds N` runs many and sums up; `--hunt` plants
//! one bug after the other and says after how many seeds each is caught. A seed that fails is made smaller and told
//! with the command that replays it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use arrow::array::RecordBatch;
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tests::conformance::program::Program;
use tests::conformance::{self, crashes};
use tests::simulation::case::Case;
use tests::simulation::everywhere::{crash_everywhere, golden_queries};
use tests::simulation::faults::Fault;
use tests::simulation::planted::{Bug, hunt};
use tests::simulation::queries::{Plans, QUERIES, Query, RESTORED};
use tests::simulation::rows::{self, Deal};
use tests::simulation::shrink::Failure;
use tests::simulation::{Report, recovery, run_case, tell_failure, without_panic};

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
    /// Rows at most.
    #[arg(long)]
    rows: Option<usize>,
    /// Shards at most.
    #[arg(long)]
    shards: Option<usize>,
    /// Faults that are not drawn, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = Fault::parse)]
    without: Vec<Fault>,
    /// Plant this bug.
    #[arg(long, value_parser = Bug::parse)]
    planted: Option<Bug>,
    /// Plant every bug in turn, and count the seeds until it is caught.
    #[arg(long, conflicts_with_all = ["seed", "crashes", "planted"])]
    hunt: bool,
    /// Kill every query's job, and those of the golden files and of Flink's programs if they are there, behind each of
    /// its steps in turn; with --stride N behind every N-th.
    #[arg(long, conflicts_with_all = ["seed", "crashes", "planted", "hunt"])]
    everywhere: bool,
    /// Steps between two kills.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    stride: u64,
    /// Only jobs whose name contains this.
    #[arg(long, requires = "everywhere")]
    only: Option<String>,
}

impl Arguments {
    fn case(&self, seed: u64) -> Case {
        Case {
            seed,
            crashes: self.crashes,
            rows_max: self.rows,
            shards_max: self.shards,
            without: self.without.iter().copied().collect::<BTreeSet<_>>(),
            planted: self.planted,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut plans = Plans::default();
    if let Some(seed) = arguments.seed {
        return show(&arguments.case(seed), &mut plans);
    }
    // A panic is told as its seed's failure, with the command that shows all of it.
    std::panic::set_hook(Box::new(|_| {}));
    if arguments.everywhere {
        return kill_everywhere(&arguments, &mut plans);
    }
    match (arguments.hunt, arguments.crashes) {
        (true, _) => hunt_all(&arguments, &mut plans),
        (_, true) => crash_many(&arguments, &mut plans),
        _ => run_many(&arguments, &mut plans),
    }
}

/// One case, event by event.
fn show(case: &Case, plans: &mut Plans) -> ExitCode {
    let proved = match case.crashes {
        false => run_case(case, plans, true).map(|report| proved(&report)),
        true => recovery::run_case(case, plans, true).map(|report| {
            format!(
                "seed {}: {}, {} times killed, {} times stopped, {} epochs committed, trace {:016x}\nproved: after every \
                 commit the output is the answer over what was read; nothing is lost, nothing comes twice; faults met: {}",
                case.seed,
                report.query,
                report.crashes,
                report.errors,
                report.commits,
                report.hash,
                counted(&report.struck)
            )
        }),
    };
    match proved {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("seed {} failed: {error}", case.seed);
            ExitCode::FAILURE
        }
    }
}

fn counted(struck: &BTreeMap<Fault, u64>) -> String {
    let counts = struck
        .iter()
        .map(|(fault, count)| format!("{count} {}", fault.name()));
    counts.collect::<Vec<_>>().join(", ")
}

/// Seeds of jobs that crash.
fn crash_many(arguments: &Arguments, plans: &mut Plans) -> ExitCode {
    let started = Instant::now();
    let (mut failed, mut crashes, mut errors, mut restores, mut commits, mut hash) = (0, 0, 0, 0, 0, 0_u64);
    let mut struck: BTreeMap<Fault, u64> = BTreeMap::new();
    for seed in arguments.first..arguments.first + arguments.seeds {
        let case = arguments.case(seed);
        match recovery::run_case(&case, plans, false) {
            Ok(report) => {
                crashes += report.crashes;
                errors += report.errors;
                restores += report.restores;
                commits += report.commits;
                hash = hash.rotate_left(5) ^ report.hash;
                for (fault, count) in report.struck {
                    *struck.entry(fault).or_default() += count;
                }
            }
            Err(error) => {
                failed += 1;
                println!("{}", tell_failure(Failure { case, error }, plans));
            }
        }
    }
    println!("faults met: {}", counted(&struck));
    println!(
        "{} seeds, {failed} failed; {crashes} crashes, {errors} errors, {restores} runs went on from a checkpoint, \
         {commits} epochs committed; {:.0} seeds/s; traces {hash:016x}",
        arguments.seeds,
        arguments.seeds as f64 / started.elapsed().as_secs_f64()
    );
    exit_code(failed)
}

/// Every query over few rows, and the golden ones over theirs, killed behind each step.
fn kill_everywhere(arguments: &Arguments, plans: &mut Plans) -> ExitCode {
    let started = Instant::now();
    let rows = rows::random_rows(&mut SmallRng::seed_from_u64(arguments.first));
    let rows = rows::first_of(&rows, Some(arguments.rows.unwrap_or(14)));
    let splits = Deal::random(rows.num_rows(), 2, &mut SmallRng::seed_from_u64(arguments.first));
    let simulated = QUERIES.iter().chain(RESTORED);
    let mut jobs: Vec<(Query, RecordBatch, Deal)> = simulated
        .map(|query| (*query, rows.clone(), splits.clone()))
        .collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    match golden_queries(&golden, plans) {
        Err(error) => {
            println!("the golden queries cannot be read: {error}");
            return ExitCode::FAILURE;
        }
        Ok(queries) => jobs.extend(queries.into_iter().map(|(query, rows)| {
            let deal = Deal::whole(rows.num_rows());
            (query, rows, deal)
        })),
    }
    let programs = match conformance::find() {
        None => Vec::new(),
        Some(path) => match Program::read_all(&path) {
            Ok(programs) => programs,
            Err(error) => {
                println!("Flink's programs cannot be read: {error}");
                return ExitCode::FAILURE;
            }
        },
    };
    let is_wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| name.contains(only));
    jobs.retain(|(query, ..)| is_wanted(query.name));
    let mut tally = Tally::default();
    for (query, rows, deal) in &jobs {
        let killed = crash_everywhere(query, rows, deal, plans, arguments.stride);
        tally.add(query.name, killed);
    }
    for program in programs {
        let name = format!("flink/{}", program.id);
        if is_wanted(&name) {
            tally.add(&name, crash_program(&program, arguments.stride));
        }
    }
    println!(
        "{} jobs, {} kills, {} failed; {:.0} kills/s",
        tally.jobs,
        tally.kills,
        tally.failed,
        tally.kills as f64 / started.elapsed().as_secs_f64()
    );
    exit_code(tally.failed)
}

/// A program on one shard and on several, each time going on on the other number.
fn crash_program(program: &Program, stride: u64) -> Result<u64, String> {
    let stride = usize::try_from(stride).unwrap_or(usize::MAX);
    let crash = |shards| without_panic(|| crashes::crash_everywhere(program, shards, stride));
    Ok(crash([1, 3])? + crash([3, 2])?)
}

/// What became of the jobs that were killed.
#[derive(Default)]
struct Tally {
    jobs: u64,
    kills: u64,
    failed: u64,
}

impl Tally {
    fn add(&mut self, name: &str, killed: Result<u64, String>) {
        self.jobs += 1;
        match killed {
            Ok(kills) => {
                self.kills += kills;
                println!("{kills:>6} kills {name}");
            }
            Err(error) => {
                self.failed += 1;
                println!("failed: {error}");
            }
        }
    }
}

/// Every planted bug, with the number of seeds until it is caught.
fn hunt_all(arguments: &Arguments, plans: &mut Plans) -> ExitCode {
    println!("| bug | what it is | caught by seed | how |\n|---|---|---|---|");
    let mut missed = 0;
    for bug in Bug::ALL {
        let (seed, how) = match hunt(bug, arguments.first..arguments.first + arguments.seeds, plans) {
            Some(failure) => (failure.case.seed.to_string(), failure.error),
            None => {
                missed += 1;
                ("none".to_string(), String::new())
            }
        };
        let how: String = how.chars().take(100).collect();
        let how = how.replace('|', "/").replace('\n', " ");
        println!("| `{}` | {} | {seed} | {how} |", bug.name(), bug.what());
    }
    println!(
        "{} bugs, {missed} not caught within {} seeds",
        Bug::ALL.len(),
        arguments.seeds
    );
    exit_code(missed)
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

fn run_many(arguments: &Arguments, plans: &mut Plans) -> ExitCode {
    let started = Instant::now();
    let mut by_query: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut steps, mut stopped, mut epochs, mut failed, mut hash) = (0, 0, 0, 0, 0_u64);
    for seed in arguments.first..arguments.first + arguments.seeds {
        let case = arguments.case(seed);
        match run_case(&case, plans, false) {
            Ok(report) => {
                *by_query.entry(report.scenario.query.name).or_default() += 1;
                steps += report.outcome.steps;
                stopped += u64::from(report.outcome.stopped);
                epochs += report.outcome.epochs;
                hash = hash.rotate_left(5) ^ report.hash;
            }
            Err(error) => {
                failed += 1;
                println!("{}", tell_failure(Failure { case, error }, plans));
            }
        }
    }
    for (query, seeds) in by_query {
        println!("{seeds:>6} {query}");
    }
    println!(
        "{} seeds, {failed} failed; {stopped} stopped early, {epochs} epochs, {steps} steps; {:.0} seeds/s; traces {hash:016x}",
        arguments.seeds,
        arguments.seeds as f64 / started.elapsed().as_secs_f64()
    );
    exit_code(failed)
}

fn exit_code(failed: u64) -> ExitCode {
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
