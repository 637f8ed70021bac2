//! Simulated sources and sinks: they deliver in random portions, make the shard wait, and refuse.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use arrow::array::RecordBatch;
use engine::batch::Batch;
use engine::plan::SourceSpec;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Prepared, Sink, Source, SourcePoll, SplitId, SplitPosition};
use shards::epoch::Epoch;

use crate::simulation::answer::Answer;
use crate::simulation::epochs::SharedOutside;
use crate::simulation::faults::{Fault, INJECTED, Luck};
use crate::simulation::trace::Trace;

/// When the outside world next wakes a shard that sleeps; shared by the shard's connectors.
pub type Alarm = Rc<Cell<Option<Nanos>>>;

/// Sets the alarm, unless it rings earlier already.
fn ring_at(alarm: &Alarm, at: Nanos) {
    alarm.set(Some(alarm.get().map_or(at, |known| known.min(at))));
}

/// What sources have handed over, by source node: (offset, length) of the table's rows.
pub type Consumed = Rc<RefCell<Vec<(usize, usize)>>>;

/// How reluctant a connector is: one in this many calls makes the shard wait; 0 = never.
pub type Reluctance = u32;

struct Split {
    blocks: Vec<(usize, usize)>,
    ended: bool,
    /// Its rows are out, and it does not end before.
    lingers_until: Option<Nanos>,
}

/// How long a split without rows may linger.
const LINGERS_NS: Nanos = 10_000_000_000;
/// Of how many polls one fails, at a source that fails.
const POLL_FAILS_ONE_IN: u32 = 60;
/// Of how many epochs one cannot be prepared, at a sink that fails.
const PREPARE_FAILS_ONE_IN: u32 = 15;

/// One shard's part of the table.
pub struct SimulatedSource {
    rows: RecordBatch,
    splits: Vec<Split>,
    random: SmallRng,
    reluctance: Reluctance,
    alarm: Alarm,
    consumed: Consumed,
    trace: Trace,
    luck: Luck,
    shard: usize,
    shards: usize,
}

/// What a shard's connectors share with the world.
#[derive(Clone)]
pub struct Surroundings {
    /// The shard.
    pub shard: usize,
    /// Of how many.
    pub shards: usize,
    /// Its alarm.
    pub alarm: Alarm,
    /// The trace.
    pub trace: Trace,
    /// What goes wrong.
    pub luck: Luck,
    /// How reluctant its connectors are.
    pub reluctance: Reluctance,
    /// The seed of their behaviour.
    pub seed: u64,
}

impl SimulatedSource {
    /// Delivers `blocks` of `rows`, by split, cut to the columns that `source` wants.
    pub fn new(
        source: &SourceSpec,
        rows: &RecordBatch,
        blocks: &[Vec<(usize, usize)>],
        consumed: Consumed,
        surroundings: Surroundings,
    ) -> SimulatedSource {
        let schema = source.table.ingest_schema();
        let columns: Vec<usize> = source
            .ingest
            .iter()
            .map(|&column| {
                let name = schema.field(column).name();
                rows.schema_ref()
                    .index_of(name)
                    .expect("invariant: the simulated rows hold every column of the table")
            })
            .collect();
        let split = |blocks: &Vec<(usize, usize)>| Split {
            blocks: blocks.iter().rev().copied().collect(),
            ended: false,
            lingers_until: None,
        };
        SimulatedSource {
            rows: rows.project(&columns).expect("invariant: columns were found"),
            splits: blocks.iter().map(split).collect(),
            random: SmallRng::seed_from_u64(surroundings.seed),
            reluctance: surroundings.reluctance,
            alarm: surroundings.alarm,
            consumed,
            trace: surroundings.trace,
            luck: surroundings.luck,
            shard: surroundings.shard,
            shards: surroundings.shards,
        }
    }

    fn wait(&mut self, now: Nanos) -> SourcePoll {
        let at = now + self.random.random_range(1_000..3_000_000);
        if self.random.random() {
            return SourcePoll::Pending { poll_at: Some(at) };
        }
        ring_at(&self.alarm, at);
        SourcePoll::Pending { poll_at: None }
    }

    /// Whether a split whose rows are out may end now; a lingering one may not.
    fn may_end(&mut self, number: usize, now: Nanos) -> bool {
        let split = &mut self.splits[number];
        let until =
            *split
                .lingers_until
                .get_or_insert_with(|| match self.luck.strikes(Fault::LingeringSplits, 2) {
                    true => now + self.luck.below(LINGERS_NS),
                    false => now,
                });
        until <= now
    }

    /// When the first of the lingering splits may end.
    fn lingers_until(&self) -> Option<Nanos> {
        let splits = self.splits.iter().filter(|split| !split.ended);
        splits.filter_map(|split| split.lingers_until).min()
    }
}

/// Blocks as the position of a split: those that are left.
fn position_of(split: String, blocks: &[(usize, usize)]) -> SplitPosition {
    let blocks = blocks.iter().map(|(offset, length)| format!("{offset}+{length}"));
    SplitPosition {
        split,
        position: blocks.collect::<Vec<_>>().join(" "),
    }
}

/// The blocks that a position says are left, the last one first.
pub fn blocks_left(position: &SplitPosition) -> Vec<(usize, usize)> {
    let number = |text: &str| text.parse().expect("invariant: a position holds numbers");
    let blocks = position.position.split_whitespace();
    blocks
        .filter_map(|block| block.split_once('+'))
        .map(|(offset, length)| (number(offset), number(length)))
        .collect()
}

impl Source for SimulatedSource {
    fn positions(&self) -> Vec<SplitPosition> {
        let position = |(split, left): (SplitId, &Split)| position_of(self.split_name(split), &left.blocks);
        (0..).zip(&self.splits).map(position).collect()
    }

    fn restore(&mut self, positions: &[SplitPosition]) -> Result<(), ConnectorError> {
        for split in 0..self.splits.len() {
            let name = self.split_name(split as SplitId);
            let position = positions.iter().find(|position| position.split == name);
            let position =
                position.ok_or_else(|| ConnectorError::new(format!("split {name} has no position")))?;
            self.splits[split].blocks = blocks_left(position);
        }
        Ok(())
    }

    /// Its number over all shards, as `Deal::on` deals them.
    fn split_name(&self, split: SplitId) -> String {
        (split as usize * self.shards + self.shard).to_string()
    }

    fn splits(&self) -> Vec<SplitId> {
        (0..self.splits.len() as SplitId).collect()
    }

    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        assert!(rows_max > 0, "invariant: a poll asks for rows");
        let is_open = |split: &&Split| !split.ended;
        if self.splits.iter().find(is_open).is_none() {
            self.trace.tell(format_args!("shard {}: source ends", self.shard));
            return Ok(SourcePoll::End);
        }
        if self.reluctance > 0 && self.random.random_range(0..self.reluctance) == 0 {
            return Ok(self.wait(now));
        }
        if self.luck.strikes(Fault::SourceErrors, POLL_FAILS_ONE_IN) {
            self.trace
                .tell(format_args!("shard {}: source fails", self.shard));
            return Err(ConnectorError::new(format!("{INJECTED}a poll of a source fails")));
        }
        let is_silent = |split: &Split| split.ended || split.lingers_until.is_some_and(|until| until > now);
        let open: Vec<usize> = (0..self.splits.len())
            .filter(|&split| !is_silent(&self.splits[split]))
            .collect();
        if open.is_empty() {
            let poll_at = self.lingers_until();
            return Ok(SourcePoll::Pending { poll_at });
        }
        let number = open[self.random.random_range(0..open.len())];
        let split = &mut self.splits[number];
        let Some((offset, length)) = split.blocks.pop() else {
            if !self.may_end(number, now) {
                self.trace
                    .tell(format_args!("shard {}: split {number} lingers", self.shard));
                return Ok(SourcePoll::Pending { poll_at: Some(now) });
            }
            self.splits[number].ended = true;
            self.trace
                .tell(format_args!("shard {}: split {number} ends", self.shard));
            return Ok(SourcePoll::SplitEnd(number as SplitId));
        };
        let taken = length.min(rows_max);
        if taken < length {
            split.blocks.push((offset + taken, length - taken));
        }
        self.consumed.borrow_mut().push((offset, taken));
        self.trace.tell(format_args!(
            "shard {}: split {number} delivers {taken} rows from {offset}",
            self.shard
        ));
        Ok(SourcePoll::Rows {
            split: number as SplitId,
            rows: self.rows.slice(offset, taken),
            arrival_ns: now,
        })
    }
}

/// One shard's part of a sink: folds what is written, and often cannot take more.
pub struct SimulatedSink {
    answer: Rc<RefCell<Answer>>,
    random: SmallRng,
    reluctance: Reluctance,
    /// While it is busy: until when.
    busy_until: Option<Nanos>,
    now: Rc<Cell<Nanos>>,
    alarm: Alarm,
    trace: Trace,
    luck: Luck,
    shard: usize,
    closed: bool,
    staged: Option<Staged>,
}

/// The output of the epoch under way, where epochs are committed.
struct Staged {
    outside: SharedOutside,
    epoch: Epoch,
    batches: Vec<Batch>,
}

impl SimulatedSink {
    /// The same, but output is staged until its epoch is committed; `epoch` is the first.
    #[must_use]
    pub fn in_epochs(mut self, outside: SharedOutside, epoch: Epoch) -> SimulatedSink {
        self.staged = Some(Staged {
            outside,
            epoch,
            batches: Vec::new(),
        });
        self
    }

    /// Folds into `answer`; `now` is the simulated time.
    pub fn new(
        answer: Rc<RefCell<Answer>>,
        now: Rc<Cell<Nanos>>,
        surroundings: Surroundings,
    ) -> SimulatedSink {
        SimulatedSink {
            answer,
            random: SmallRng::seed_from_u64(surroundings.seed),
            reluctance: surroundings.reluctance,
            busy_until: None,
            now,
            alarm: surroundings.alarm,
            trace: surroundings.trace,
            luck: surroundings.luck,
            shard: surroundings.shard,
            closed: false,
            staged: None,
        }
    }

    /// Starts being busy now and then; answers whether it is.
    fn is_busy(&mut self) -> bool {
        if self.busy_until.is_some_and(|until| self.now.get() < until) {
            ring_at(&self.alarm, self.busy_until.unwrap_or_default());
            return true;
        }
        let recovered = self.busy_until.take().is_some();
        if !recovered && self.reluctance > 0 && self.random.random_range(0..self.reluctance) == 0 {
            let until = self.now.get() + self.random.random_range(1_000..5_000_000);
            self.busy_until = Some(until);
            ring_at(&self.alarm, until);
            return true;
        }
        false
    }
}

impl Sink for SimulatedSink {
    fn ready(&mut self) -> bool {
        assert!(!self.closed, "invariant: a closed sink is asked nothing");
        !self.is_busy()
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        assert!(!self.closed, "invariant: nothing is written to a closed sink");
        self.trace.tell(format_args!(
            "shard {}: sink takes {} rows",
            self.shard,
            batch.len()
        ));
        if let Some(staged) = &mut self.staged {
            staged.batches.push(batch.clone());
            return Ok(());
        }
        self.answer
            .borrow_mut()
            .fold(batch)
            .map_err(|message| ConnectorError::new(format!("shard {}: {message}", self.shard)))
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        assert!(!self.closed, "invariant: a closed sink is not flushed");
        Ok(())
    }

    fn prepare(&mut self) -> Result<Vec<Prepared>, ConnectorError> {
        let Some(staged) = &mut self.staged else {
            return Ok(Vec::new());
        };
        if self.luck.strikes(Fault::SinkErrors, PREPARE_FAILS_ONE_IN) {
            self.trace.tell(format_args!("shard {}: sink fails", self.shard));
            return Err(ConnectorError::new(format!("{INJECTED}a sink cannot prepare")));
        }
        let batches = std::mem::take(&mut staged.batches);
        let prepared = staged.outside.borrow_mut().stage(staged.epoch, batches);
        staged.epoch += 1;
        Ok(vec![prepared])
    }

    fn is_settled(&mut self) -> Result<bool, ConnectorError> {
        assert!(!self.closed, "invariant: a closed sink has settled");
        Ok(!self.is_busy())
    }

    fn close(&mut self) -> Result<bool, ConnectorError> {
        assert!(!self.closed, "invariant: a sink is closed once");
        if self.is_busy() {
            return Ok(false);
        }
        self.closed = true;
        self.trace.tell(format_args!("shard {}: sink closes", self.shard));
        Ok(true)
    }
}
