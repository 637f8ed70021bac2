//! Generated events: which shard makes which event numbers, and when each is due.
//!
//! Event numbers are dealt in blocks, block-cyclically over the shards. A paced source has a
//! schedule: event `i` is due `i / rate` seconds after the first poll of any shard, and carries
//! that time as its arrival, so that a shard that falls behind is seen to (no coordinated
//! omission).
//!
//! A part's position is the next number of its blocks. Parts of another number of shards meet by what is done:
//! everything below the lowest position, and above it the blocks that some parts were ahead with.
//!
//! **Invariant.** Over all shards every event number is made exactly once, in order on each shard.

use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SplitId, SplitPosition};

/// Events of a block when there is no schedule.
const BLOCK_EVENTS: u64 = 10_000;
/// Blocks of a paced source a second: each is about a millisecond of events.
const PACED_BLOCKS_PER_SECOND: u64 = 1_000;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Makes the rows of event numbers.
pub trait Generate {
    /// The rows of events `first .. first + count`; fewer rows where an event is not of the wanted
    /// kind.
    fn generate(&mut self, first: u64, count: usize) -> RecordBatch;
}

/// How many events, and how fast; shared by the shards.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The number of events; `None` = without end.
    pub events: Option<u64>,
    /// Events a second over all shards; `None` = as fast as they are taken.
    pub rate: Option<u64>,
    /// When the first event is due: the first poll of any shard.
    start: Arc<OnceLock<Nanos>>,
}

impl Schedule {
    /// A schedule that starts with its first poll.
    pub fn new(events: Option<u64>, rate: Option<u64>) -> Schedule {
        assert!(rate != Some(0), "invariant: a pace is above zero");
        Schedule {
            events,
            rate,
            start: Arc::default(),
        }
    }

    fn block_events(&self) -> u64 {
        self.rate.map_or(BLOCK_EVENTS, |rate| {
            (rate / PACED_BLOCKS_PER_SECOND).clamp(1, BLOCK_EVENTS)
        })
    }

    /// When event `number` is due.
    fn due_at(&self, number: u64, rate: u64, start: Nanos) -> Nanos {
        start + (u128::from(number) * NANOS_PER_SECOND / u128::from(rate)) as Nanos
    }
}

/// The name of the one split.
const SPLIT: &str = "events";

/// How far a part has come: numbers below `next` in its blocks are made, and so are `done`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    block_events: u64,
    shard: u64,
    shards: u64,
    next: u64,
    /// Ranges that were made before the job was started on this many shards.
    done: Vec<(u64, u64)>,
}

impl Progress {
    /// What this part has made from `from` on.
    fn made_from(&self, from: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let blocks = from / self.block_events..self.next.div_ceil(self.block_events);
        let own = blocks.filter(|block| block % self.shards == self.shard);
        let own = own.map(move |block| {
            let (start, end) = (block * self.block_events, (block + 1) * self.block_events);
            (start.max(from), end.min(self.next))
        });
        own.chain(self.done.iter().copied())
    }
}

/// A shard's part of a generated source.
#[derive(Debug)]
pub struct GeneratedSource<G> {
    generator: G,
    schedule: Schedule,
    /// The next event number of this shard.
    next: u64,
    block_events: u64,
    shard: u64,
    shards: u64,
    /// Where the job goes on: the lowest number that was not made before.
    from: u64,
    /// Ranges above it that were, in order.
    done: Vec<(u64, u64)>,
}

impl<G: Generate> GeneratedSource<G> {
    /// Shard `shard`'s events of `schedule`, made by `generator`.
    pub fn new(generator: G, schedule: Schedule, shard: usize, shards: usize) -> GeneratedSource<G> {
        let block_events = schedule.block_events();
        GeneratedSource {
            generator,
            next: shard as u64 * block_events,
            block_events,
            schedule,
            shard: shard as u64,
            shards: shards as u64,
            from: 0,
            done: Vec::new(),
        }
    }

    /// Passes over numbers that were made before; answers the first one above the next that was.
    fn pass_over_done(&mut self) -> u64 {
        loop {
            let next = self.next;
            let Some(&(start, end)) = self.done.iter().find(|&&(_, end)| end > next) else {
                return u64::MAX;
            };
            if next < start {
                return start;
            }
            let block_end = (next / self.block_events + 1) * self.block_events;
            self.advance(end.min(block_end) - next);
        }
    }

    /// Moves on by `count` events, over to this shard's next block where one is finished.
    fn advance(&mut self, count: u64) {
        self.next += count;
        if self.next.is_multiple_of(self.block_events) {
            self.next += (self.shards - 1) * self.block_events;
        }
    }
}

impl<G: Generate> Source for GeneratedSource<G> {
    fn splits(&self) -> Vec<SplitId> {
        vec![0]
    }

    fn positions(&self) -> Vec<SplitPosition> {
        let progress = Progress {
            block_events: self.block_events,
            shard: self.shard,
            shards: self.shards,
            next: self.next,
            done: self.done.clone(),
        };
        vec![SplitPosition {
            split: SPLIT.to_string(),
            position: serde_json::to_string(&progress).expect("invariant: numbers can be written"),
        }]
    }

    fn restore(&mut self, positions: &[SplitPosition]) -> Result<(), ConnectorError> {
        let parts = positions
            .iter()
            .map(|part| serde_json::from_str(&part.position))
            .collect::<Result<Vec<Progress>, _>>()
            .map_err(|error| {
                ConnectorError::new(format!("a generator's position cannot be read: {error}"))
            })?;
        let Some(from) = parts.iter().map(|part| part.next).min() else {
            return Ok(());
        };
        let mut done: Vec<(u64, u64)> = parts.iter().flat_map(|part| part.made_from(from)).collect();
        done.retain(|&(start, end)| start < end && end > from);
        done.sort_unstable();
        done.dedup();
        self.from = from;
        self.done = done;
        let first = from / self.block_events;
        let to_own = (self.shard + self.shards - first % self.shards) % self.shards;
        self.next = ((first + to_own) * self.block_events).max(from);
        Ok(())
    }

    fn split_name(&self, _split: SplitId) -> String {
        SPLIT.to_string()
    }

    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        assert!(rows_max > 0, "invariant: a poll asks for rows");
        loop {
            let done_from = self.pass_over_done();
            let left = self
                .schedule
                .events
                .map_or(u64::MAX, |events| events.saturating_sub(self.next));
            if left == 0 {
                return Ok(SourcePoll::End);
            }
            let in_block = self.block_events - self.next % self.block_events;
            let mut count = in_block.min(left).min(rows_max as u64).min(done_from - self.next);
            let mut arrival_ns = now;
            if let Some(rate) = self.schedule.rate {
                // A job that goes on is not late by what was made before.
                let made_ns = self.schedule.due_at(self.from, rate, 0);
                let start = *self.schedule.start.get_or_init(|| now.saturating_sub(made_ns));
                arrival_ns = self.schedule.due_at(self.next, rate, start);
                if arrival_ns > now {
                    return Ok(SourcePoll::Pending {
                        poll_at: Some(arrival_ns),
                    });
                }
                let passed = u128::from(now - start) * u128::from(rate) / NANOS_PER_SECOND;
                let due = (passed as u64 + 1).saturating_sub(self.next);
                count = count.min(due.max(1));
            }
            let rows = self.generator.generate(self.next, count as usize);
            assert!(
                rows.num_rows() <= count as usize,
                "invariant: an event is at most one row"
            );
            self.advance(count);
            if rows.num_rows() > 0 {
                return Ok(SourcePoll::Rows {
                    split: 0,
                    rows,
                    arrival_ns,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, UInt64Array};
    use arrow::datatypes::UInt64Type;

    use super::*;

    /// Makes the odd event numbers.
    struct Odd;

    impl Generate for Odd {
        fn generate(&mut self, first: u64, count: usize) -> RecordBatch {
            let numbers = (first..first + count as u64).filter(|number| number % 2 == 1);
            let numbers = UInt64Array::from_iter_values(numbers);
            RecordBatch::try_from_iter([("number", Arc::new(numbers) as _)]).unwrap()
        }
    }

    fn drain(schedule: &Schedule, shards: usize, rows_max: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        for shard in 0..shards {
            let mut source = GeneratedSource::new(Odd, schedule.clone(), shard, shards);
            let mut now = 0;
            loop {
                match source.poll(now, rows_max).unwrap() {
                    SourcePoll::Rows { rows, arrival_ns, .. } => {
                        assert!(arrival_ns <= now && rows.num_rows() <= rows_max);
                        numbers.extend_from_slice(rows.column(0).as_primitive::<UInt64Type>().values());
                    }
                    SourcePoll::Pending { poll_at } => {
                        let poll_at = poll_at.expect("a paced source knows when");
                        assert!(poll_at > now);
                        now = poll_at;
                    }
                    SourcePoll::Watermark { .. } => panic!("rows alone imply watermarks"),
                    SourcePoll::SplitEnd(_) => panic!("the split ends with the source"),
                    SourcePoll::End => break,
                }
            }
        }
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn every_event_is_made_once_for_one_to_seven_shards_paced_or_not() {
        let expected: Vec<u64> = (0..45_678).filter(|number| number % 2 == 1).collect();
        for shards in 1..=7 {
            for rate in [None, Some(1), Some(999), Some(1_000_000), Some(u64::MAX)] {
                let schedule = Schedule::new(Some(45_678), rate);
                assert_eq!(
                    drain(&schedule, shards, 8192),
                    expected,
                    "{shards} shards, {rate:?}"
                );
            }
        }
    }

    #[test]
    fn every_event_is_made_once_however_often_and_on_how_many_shards_the_job_goes_on() {
        let expected: Vec<u64> = (0..145_678).filter(|number| number % 2 == 1).collect();
        let schedule = Schedule::new(Some(145_678), None);
        let mut numbers = Vec::new();
        let mut positions: Vec<SplitPosition> = Vec::new();
        for (run, shards) in [1, 3, 2, 7, 1, 4].into_iter().enumerate() {
            let mut next = Vec::new();
            for shard in 0..shards {
                let mut source = GeneratedSource::new(Odd, schedule.clone(), shard, shards);
                source.restore(&positions).unwrap();
                // Some parts come further than others; the last run goes on to the end.
                let polls = if run == 5 { usize::MAX } else { shard * 3 + run };
                for _ in 0..polls {
                    match source.poll(0, 3_000).unwrap() {
                        SourcePoll::Rows { rows, .. } => {
                            numbers.extend_from_slice(rows.column(0).as_primitive::<UInt64Type>().values());
                        }
                        SourcePoll::End => break,
                        other => panic!("{other:?}"),
                    }
                }
                next.extend(source.positions());
            }
            positions = next;
        }
        numbers.sort_unstable();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_paced_event_carries_the_time_it_was_due_however_late_it_is_made() {
        let mut source = GeneratedSource::new(Odd, Schedule::new(None, Some(10_000)), 0, 1);
        assert!(matches!(
            source.poll(500, 10),
            Ok(SourcePoll::Pending {
                poll_at: Some(100_500)
            })
        ));
        match source.poll(1_000_000_500, 3).unwrap() {
            SourcePoll::Rows { arrival_ns, rows, .. } => {
                assert_eq!(arrival_ns, 100_500);
                assert!(rows.num_rows() <= 3);
            }
            other => panic!("{other:?}"),
        }
    }
}
