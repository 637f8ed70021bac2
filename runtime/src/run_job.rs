//! Runs a compiled job: probe, executors, connectors, control thread, report.
//!
//! The command line, tests and benchmarks all come through [`run_job`]; they differ in
//! [`RunOptions`] alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use engine::error::SqlError;
use engine::plan::{NodeKind, StreamPlan};
use shards::clock::Clock;
use shards::connector::ConnectorError;
use shards::shard::ShardConfig;
use thiserror::Error;

use crate::assembly::{self, Assembly, Epochs};
use crate::checkpoints::coordinator::Coordinator;
use crate::checkpoints::{CheckpointOptions, Recovered};
use crate::clock::ProcessClock;
use crate::connector_factory::ConnectorFactory;
use crate::connectors::filesystem::sink::SinkEpochs;
use crate::connectors::{ConnectorConfig, ConnectorContext, Wake};
use crate::control::{Control, ControlOptions, JobView};
use crate::events::Failure;
use crate::executor::{ExecutorKind, IdleMode, ShardHandle, ShardTask};
use crate::job::Job;
use crate::signals::SignalListener;
use crate::stopping::STOP_PATIENCE;
use crate::summary::RunReport;
use crate::terminal::tell;
use crate::{probe, resources};

/// How a job is run.
#[derive(Clone)]
pub struct RunOptions {
    /// The core of each shard; allowed cores only (`cores::place`).
    pub cores: Vec<usize>,
    /// What an idle shard does.
    pub idle: IdleMode,
    /// Run on plain threads whatever the machine permits.
    pub fallback: bool,
    /// Fail where io_uring is not available.
    pub require_io_uring: bool,
    /// Show a progress line, if standard error is a terminal.
    pub progress: bool,
    /// Take SIGINT, SIGTERM and SIGUSR1 of this process.
    pub signals: bool,
    /// The bounds of each shard.
    pub shard: ShardConfig,
    /// Where histogram logs are written.
    pub histogram_directory: Option<PathBuf>,
    /// How often.
    pub histogram_interval: Duration,
    /// Where rows come from and go to.
    pub connectors: Connectors,
    /// Where its checkpoints lie, if it takes any.
    pub checkpoints: CheckpointOptions,
}

/// Where rows come from and go to.
#[derive(Clone)]
pub enum Connectors {
    /// The connectors that the tables name.
    Configured(ConnectorConfig),
    /// Connectors that are prepared already, or others altogether.
    Given(Arc<dyn ConnectorFactory>),
}

/// Why a job did not run to its end.
#[derive(Debug, Error)]
pub enum RunError {
    /// A table's options or paths are wrong; points into the SQL text.
    #[error("{0}")]
    Sql(SqlError),
    /// A table's path leads nowhere, or to what cannot be read; points into the SQL text.
    #[error("{0}")]
    Path(SqlError),
    /// An option of the run is wrong.
    #[error("{0}")]
    Usage(String),
    /// The machine does not permit what was asked for.
    #[error("{0}")]
    Start(String),
    /// A shard failed while the job ran.
    #[error("{message}")]
    Failed {
        /// What happened, where, and what to do.
        message: String,
        /// What was done until then.
        report: Box<RunReport>,
    },
}

impl RunOptions {
    /// Options for a job in this process on these cores: quiet, no signals, no files.
    pub fn on_cores(cores: Vec<usize>) -> RunOptions {
        RunOptions {
            cores,
            idle: IdleMode::default(),
            fallback: false,
            require_io_uring: false,
            progress: false,
            signals: false,
            shard: ShardConfig::default(),
            histogram_directory: None,
            histogram_interval: Duration::from_secs(10),
            connectors: Connectors::Configured(ConnectorConfig::default()),
            checkpoints: CheckpointOptions::default(),
        }
    }
}

/// Runs `job` until its input ends, a shard fails, or it is stopped.
///
/// # Errors
/// See [`RunError`].
pub fn run_job(job: &Job, options: &RunOptions) -> Result<RunReport, RunError> {
    let shards = options.cores.len();
    if shards == 0 {
        return Err(RunError::Usage("a job runs on at least one shard".into()));
    }
    let executor = choose_executor(options)?;
    let clock = ProcessClock::start();
    let mut recovered = options
        .checkpoints
        .open(&job.plan, || format!("{:x}", clock.now()))
        .map_err(RunError::Start)?;
    let connectors = prepare(&job.plan, shards, &options.connectors, recovered.as_ref())?;
    if let Some(recovered) = &recovered {
        settle(recovered, connectors.as_ref()).map_err(|error| RunError::Start(error.message))?;
        if recovered.finished {
            tell(
                "note: the job came to its end before; start it with another checkpoint directory to run it again",
            );
            return Ok(RunReport::default());
        }
    }
    let restored_epoch = recovered.as_ref().map_or(0, |recovered| recovered.epoch);
    let epochs = Epochs {
        taken: recovered.is_some(),
        // What was read goes as soon as the shards have taken it back.
        restore: recovered.as_mut().and_then(|recovered| recovered.restore.take()),
    };
    let has_checkpoints = recovered.is_some();
    let cpu_before = resources::cpu_time();
    let (events, receiver) = channel();
    let Assembly { view, wakers, makers } = assembly::assemble(
        &job.plan,
        shards,
        options.shard,
        &connectors,
        clock,
        &events,
        epochs,
    );
    let control_options = ControlOptions {
        progress: options.progress,
        histogram_directory: options.histogram_directory.as_deref(),
        histogram_interval: options.histogram_interval,
    };
    let control = Control::new(&view, shards, clock, &control_options)
        .map_err(|error| RunError::Usage(error.to_string()))?
        .with_epochs(recovered.map(|recovered| Coordinator::new(recovered, connectors.clone(), shards)));
    let listener = options
        .signals
        .then(|| SignalListener::start(events.clone()))
        .transpose();
    let listener = listener.map_err(|error| RunError::Start(format!("cannot listen to signals: {error}")))?;
    let connector_wakers = wakers
        .iter()
        .map(|waker| waker.clone() as Arc<dyn Wake>)
        .collect();
    connectors
        .set_wakers(connector_wakers)
        .map_err(|error| RunError::Start(error.message))?;
    let idle = idle_mode(options);
    let tasks = makers.into_iter().zip(wakers).zip(&options.cores).enumerate();
    let tasks = tasks.map(|(shard, ((make, waker), &core))| ShardTask {
        shard,
        core,
        make,
        waker,
        events: events.clone(),
        clock,
        idle,
    });
    let handles = tasks.map(|task| executor.spawn(task)).collect();
    let ending = control.supervise(&receiver);
    drop(listener);
    let causes = join(handles);
    let report = RunReport {
        progress: view.progress(),
        elapsed: clock.elapsed(),
        cpu: resources::cpu_time().saturating_sub(cpu_before),
        peak_memory_bytes: resources::peak_memory_bytes(),
        histograms: ending.histograms,
        shards,
        stopped_by: ending.stopped_by,
        output_closed: ending.output_closed,
        output_stuck: ending.output_stuck,
        last_epoch_committed: ending.last_epoch_committed,
        restored: ending
            .ready_after
            .filter(|_| restored_epoch > 0)
            .map(|after| (restored_epoch, after)),
    };
    if let Some(error) = ending.histogram_error {
        tell(&format!("warning: {error}"));
    }
    if ending.output_stuck {
        tell(&stuck_output_warning(has_checkpoints));
    }
    match ending.failure {
        // A writer to a closed pipe fails; that its reader has seen enough is no failure.
        Some((_, Failure::Job(_) | Failure::Consequence(_))) if report.output_closed => Ok(report),
        Some((shard, failure)) => {
            let message = failure_message(shard, &failure, &causes[shard]);
            Err(RunError::Failed {
                message,
                report: Box::new(report),
            })
        }
        None => Ok(report),
    }
}

/// Makes the outside world what it was when the epoch to go on from was committed: its output is shown, what came
/// behind it is taken back.
fn settle(recovered: &Recovered, connectors: &dyn ConnectorFactory) -> Result<(), ConnectorError> {
    for note in connectors.check_positions()? {
        tell(&format!("note: {note}"));
    }
    connectors.commit(&recovered.prepared())?;
    connectors.abort_after(&recovered.job, recovered.epoch)?;
    let overtaken = recovered.storage.delete_overtaken(recovered.epoch);
    overtaken.map_err(ConnectorError::new)
}

/// Shards that share a core must not spin: they would keep each other from it.
fn idle_mode(options: &RunOptions) -> IdleMode {
    let distinct: BTreeSet<usize> = options.cores.iter().copied().collect();
    if distinct.len() < options.cores.len() {
        IdleMode::Eco
    } else {
        options.idle
    }
}

/// io_uring where the machine permits it; plain threads with one line that says why otherwise.
fn choose_executor(options: &RunOptions) -> Result<ExecutorKind, RunError> {
    if options.fallback {
        return Ok(ExecutorKind::Thread);
    }
    match probe::obstacle(&probe::facts()) {
        None => Ok(ExecutorKind::IoUring),
        Some(obstacle) if options.require_io_uring => Err(RunError::Start(obstacle)),
        Some(obstacle) => {
            tell(&format!("note: running on plain threads: {obstacle}"));
            Ok(ExecutorKind::Thread)
        }
    }
}

/// The connectors, with options checked and paths resolved.
fn prepare(
    plan: &StreamPlan,
    shards: usize,
    connectors: &Connectors,
    recovered: Option<&Recovered>,
) -> Result<Arc<dyn ConnectorFactory>, RunError> {
    match connectors {
        Connectors::Given(factory) => Ok(factory.clone()),
        Connectors::Configured(config) => {
            let mut config = config.clone();
            config.epochs = recovered.map(|recovered| SinkEpochs {
                job: recovered.job.clone(),
                first: recovered.epoch + 1,
                directory: recovered.storage.local_directory().map(Path::to_path_buf),
            });
            match ConnectorContext::prepare_with(plan, shards, config) {
                Ok(context) => Ok(Arc::new(context)),
                Err(error) if blames_a_path(plan, &error) => Err(RunError::Path(error)),
                Err(error) => Err(RunError::Sql(error)),
            }
        }
    }
}

/// Whether the text is right and the outside world is not: the error points at the option that leads there.
pub(crate) fn blames_a_path(plan: &StreamPlan, error: &SqlError) -> bool {
    const LEADING_OUT: [&str; 6] = [
        "path",
        "topic",
        "topic-pattern",
        "properties.bootstrap.servers",
        "listen",
        "connect",
    ];
    let tables = plan.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source(source) => Some(&source.table),
        NodeKind::Sink(sink) => sink
            .table
            .as_ref()
            .filter(|table| matches!(table.connector(), "kafka" | "upsert-kafka" | "tcp")),
        _ => None,
    });
    let mut paths = tables
        .flat_map(|table| &table.options)
        .filter(|option| LEADING_OUT.contains(&option.key.as_str()));
    error
        .position
        .is_some_and(|position| paths.any(|option| option.value_position == position))
}

/// Waits for all threads; what kept each executor from starting, where something did.
fn join(handles: Vec<Result<ShardHandle, String>>) -> Vec<Option<String>> {
    let cause = |handle: Result<ShardHandle, String>| handle.map_or_else(Some, ShardHandle::join);
    handles.into_iter().map(cause).collect()
}

/// What a graceful stop left undone.
fn stuck_output_warning(has_checkpoints: bool) -> String {
    let next = match has_checkpoints {
        true => "started again, the job goes on from its last checkpoint",
        false => "read on, or take checkpoints, to have them all",
    };
    format!(
        "warning: standard output took nothing for {} s; the job stopped without writing the rest of its rows; {next}",
        STOP_PATIENCE.as_secs()
    )
}

/// A failure as the user reads it.
fn failure_message(shard: usize, failure: &Failure, cause: &Option<String>) -> String {
    match failure {
        Failure::Job(message) | Failure::Consequence(message) => message.clone(),
        Failure::Start(message) => {
            let cause = cause.as_deref().unwrap_or(message);
            format!("shard {shard} could not start: {cause}")
        }
        Failure::Panic(message) => format!(
            "shard {shard} stopped on a broken invariant: {message}; this is a bug in Velocore, please report it"
        ),
    }
}

#[cfg(test)]
mod tests;
