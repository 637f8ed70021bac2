//! The control thread: listens to shards and signals until every shard has ended.
//!
//! It is the thread that called, and is not pinned. It renews the progress line, asks for
//! histograms and writes them, asks for epochs and makes them durable, turns signals into a graceful
//! stop, and stops all shards when one fails.
//!
//! **Invariant.** A shard never waits for it.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use shards::checkpoint::ShardSnapshot;
use shards::clock::Clock;
use shards::profile::ShardProfile;

use crate::checkpoints::coordinator::Coordinator;
use crate::clock::ProcessClock;
use crate::events::{Event, Failure};
use crate::histograms::log::HistogramLog;
use crate::histograms::{HistogramError, HistogramSet, merge, profile, table};
use crate::progress::{PROGRESS_INTERVAL, Progress, ProgressLine};
use crate::signals;
use crate::stopping::StopPatience;

/// What the control thread sees and asks of the running shards.
pub trait JobView {
    /// How far they are.
    fn progress(&self) -> Progress;

    /// Asks for a last epoch: sources stop at a record boundary, sinks finish.
    fn request_stop(&self);

    /// Asks for the next epoch.
    fn request_epoch(&self);

    /// Makes every shard end at once.
    fn abort(&self);

    /// Asks every shard for what it measured since it was last asked.
    fn request_measurements(&self);

    /// Whether the reader of standard output has gone away.
    fn output_closed(&self) -> bool;

    /// How many blocks standard output has taken, if more wait for it.
    fn output_backlog(&self) -> Option<u64>;
}

/// What the control thread does beside supervising.
#[derive(Debug)]
pub struct ControlOptions<'a> {
    /// Whether a progress line is wanted.
    pub progress: bool,
    /// Where histograms are written.
    pub histogram_directory: Option<&'a Path>,
    /// How often.
    pub histogram_interval: Duration,
}

/// How the shards ended.
#[derive(Debug, Default)]
pub struct Ending {
    /// The first failure, and the shard it came from.
    pub failure: Option<(usize, Failure)>,
    /// The signal that stopped the job gracefully.
    pub stopped_by: Option<i32>,
    /// Whether the reader of standard output went away.
    pub output_closed: bool,
    /// Whether a graceful stop was given up because standard output took nothing any more.
    pub output_stuck: bool,
    /// Whether the job has checkpoints and all it did is in the last of them.
    pub last_epoch_committed: bool,
    /// When the last shard was ready to work.
    pub ready_after: Option<Duration>,
    /// Everything measured.
    pub histograms: HistogramSet,
    /// A histogram log could not be written; the job went on.
    pub histogram_error: Option<HistogramError>,
}

/// The control thread's state.
pub struct Control<'a> {
    view: &'a dyn JobView,
    clock: ProcessClock,
    line: ProgressLine,
    alive: Vec<bool>,
    /// Shards that are ready to work.
    ready: usize,
    ending: Ending,
    interval: HistogramSet,
    interval_start: Duration,
    interval_length: Duration,
    /// Shards that were asked to measure and have not answered.
    awaited: usize,
    dump_to_terminal: bool,
    log: Option<HistogramLog>,
    coordinator: Option<Coordinator>,
    patience: StopPatience,
}

impl<'a> Control<'a> {
    /// Control of `shards` shards that are about to start.
    ///
    /// # Errors
    /// The histogram directory cannot be written.
    pub fn new(
        view: &'a dyn JobView,
        shards: usize,
        clock: ProcessClock,
        options: &ControlOptions<'_>,
    ) -> Result<Control<'a>, HistogramError> {
        let log = options
            .histogram_directory
            .map(|directory| HistogramLog::create(directory, clock.start_wall()))
            .transpose()?;
        Ok(Control {
            view,
            clock,
            line: ProgressLine::new(options.progress),
            alive: vec![true; shards],
            ready: 0,
            ending: Ending::default(),
            interval: HistogramSet::new(),
            interval_start: Duration::ZERO,
            interval_length: options.histogram_interval,
            awaited: 0,
            dump_to_terminal: false,
            log,
            coordinator: None,
            patience: StopPatience::default(),
        })
    }

    /// The same with epochs.
    #[must_use]
    pub fn with_epochs(mut self, coordinator: Option<Coordinator>) -> Control<'a> {
        self.coordinator = coordinator;
        self
    }

    /// Listens until every shard has ended.
    pub fn supervise(mut self, events: &Receiver<Event>) -> Ending {
        while self.alive.iter().any(|&alive| alive) {
            match events.recv_timeout(self.patience()) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                // Every shard tells its end before it lets go of the queue.
                Err(RecvTimeoutError::Disconnected) => unreachable!("invariant: shards tell their end"),
            }
            self.tick();
        }
        self.line.clear();
        self.end_interval();
        self.ending.output_closed |= self.view.output_closed();
        let was_cut_short =
            self.ending.failure.is_some() || self.ending.output_closed || self.ending.output_stuck;
        self.ending.last_epoch_committed =
            !was_cut_short && self.coordinator.as_ref().is_some_and(Coordinator::is_settled);
        self.ending
    }

    /// How long to listen before looking at the clock.
    fn patience(&self) -> Duration {
        self.coordinator
            .as_ref()
            .map_or(PROGRESS_INTERVAL, |coordinator| {
                PROGRESS_INTERVAL.min(coordinator.interval() / 4)
            })
    }

    /// A shard's part of an epoch; if the epoch cannot be made durable, the job must not go on.
    fn captured(&mut self, snapshot: ShardSnapshot) {
        let shard = snapshot.shard;
        let coordinator = self.coordinator.as_mut();
        let coordinator = coordinator.expect("invariant: shards hand parts over where somebody takes them");
        if let Err(message) = coordinator.take(snapshot) {
            self.give_up_epochs(shard, message);
        }
    }

    fn give_up_epochs(&mut self, shard: usize, message: String) {
        self.ending.failure.get_or_insert((shard, Failure::Job(message)));
        self.coordinator = None;
        self.view.abort();
    }

    fn take(&mut self, event: Event) {
        match event {
            // Once an epoch has failed, later ones must not become seen.
            Event::Captured(_) if self.coordinator.is_none() => {}
            Event::Captured(snapshot) => self.captured(*snapshot),
            Event::Ready(shard) => self.ready(shard),
            Event::Measured(profile) => self.measured(&profile),
            Event::Signal(signal) => self.signal(signal),
            Event::Ended(shard, outcome) => self.ended(shard, outcome),
        }
    }

    fn ready(&mut self, shard: usize) {
        tracing::debug!(shard, "shard is ready");
        self.ready += 1;
        if self.ready == self.alive.len() {
            self.ending.ready_after = Some(self.clock.elapsed());
        }
    }

    /// Adds what a shard measured; the last answer closes the interval.
    fn measured(&mut self, shard: &ShardProfile) {
        profile::collect(&mut self.interval, shard);
        self.awaited = self.awaited.saturating_sub(1);
        if self.awaited == 0 {
            self.end_interval();
        }
    }

    fn signal(&mut self, signal: i32) {
        if signals::asks_for_histograms(signal) {
            self.dump_to_terminal |= self.log.is_none();
            self.ask_for_measurements();
        } else if signals::asks_to_stop(signal) {
            tracing::info!(signal, "stopping after a last epoch");
            self.ending.stopped_by.get_or_insert(signal);
            self.view.request_stop();
        }
    }

    fn ended(&mut self, shard: usize, outcome: Result<(), Failure>) {
        assert!(self.alive[shard], "invariant: shard {shard} ends once");
        self.alive[shard] = false;
        let Err(failure) = outcome else { return };
        tracing::debug!(shard, ?failure, "shard failed");
        let is_cause_unknown = matches!(self.ending.failure, None | Some((_, Failure::Consequence(_))));
        if is_cause_unknown {
            self.ending.failure = Some((shard, failure));
        }
        self.view.abort();
    }

    /// What is due by the clock.
    fn tick(&mut self) {
        let now = self.clock.elapsed();
        if self.line.is_due(now) {
            self.line.renew(&self.view.progress(), now, self.clock.wall_us());
        }
        if let Some(Err(message)) = self.coordinator.as_ref().map(Coordinator::keep_lock) {
            self.give_up_epochs(0, message);
        }
        if self.ending.stopped_by.is_none()
            && let Some(coordinator) = &mut self.coordinator
            && coordinator.is_due(now)
        {
            self.view.request_epoch();
        }
        if self.log.is_some() && self.awaited == 0 && now - self.interval_start >= self.interval_length {
            self.ask_for_measurements();
        }
        if !self.ending.output_closed && self.view.output_closed() {
            tracing::debug!("the reader of standard output has gone away");
            self.ending.output_closed = true;
            self.view.abort();
        }
        self.give_up_on_stuck_output(now);
    }

    /// A stop must not wait for ever for a reader that has gone to sleep.
    fn give_up_on_stuck_output(&mut self, now: Duration) {
        if self.ending.stopped_by.is_none() || self.ending.output_stuck {
            return;
        }
        if self.patience.is_over(self.view.output_backlog(), now) {
            tracing::debug!("standard output takes nothing any more");
            self.ending.output_stuck = true;
            self.view.abort();
        }
    }

    fn ask_for_measurements(&mut self) {
        if self.awaited == 0 {
            self.awaited = self.alive.iter().filter(|&&alive| alive).count();
            self.view.request_measurements();
        }
    }

    /// Keeps what was measured in this interval, and writes it where asked.
    fn end_interval(&mut self) {
        let interval = std::mem::take(&mut self.interval);
        let now = self.clock.elapsed();
        for (tag, histogram) in &interval {
            merge(&mut self.ending.histograms, tag, histogram);
        }
        if let Some(log) = self.log.as_mut().filter(|_| !interval.is_empty())
            && let Err(error) = log.append(&interval, self.interval_start, now)
        {
            tracing::warn!("{error}; no more histograms are written");
            self.ending.histogram_error = Some(error);
            self.log = None;
        }
        if std::mem::take(&mut self.dump_to_terminal) {
            self.line.clear();
            crate::terminal::tell(table::render(&self.ending.histograms).trim_end());
        }
        self.interval_start = now;
    }
}

#[cfg(test)]
mod tests;
