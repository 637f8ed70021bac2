//! The frames of all partitions for one aggregate: rows enter in order of event time, and each is
//! answered with what its frame combines to and how many of its rows count.
//!
//! - ROWS n: blocks of n rows (van Herk, Gil and Werman 1992). A frame is a suffix of the block
//!   before and a prefix of the current one; when a block is full it is turned into its suffixes
//!   in place. One array of n values per partition, three combinations per row, no subtraction.
//! - RANGE: a queue of values of which the older part holds suffixes ("two stacks"): amortised
//!   three combinations per row.
//! - UNBOUNDED PRECEDING: one value.
//!
//! **Invariant.** What a partition holds depends on its rows in order alone, not on how they were cut into batches:
//! float results are the same to the last bit.

use std::collections::VecDeque;

use crate::operators::over_aggregate::combine::Combine;
use crate::operators::over_aggregate::frozen::Frozen;
use crate::plan::OverFrame;

/// Rows in order of event time; a run of equal event times is whole.
pub(super) struct OrderedRows<'a> {
    /// The partition of each row.
    pub partitions: &'a [u32],
    /// The number of partitions met so far.
    pub partition_count: usize,
    /// Event times, microseconds.
    pub times: &'a [i64],
}

/// One answer per row.
pub(super) struct Answers<V> {
    /// What the frame combines to.
    pub values: Vec<V>,
    /// The rows in the frame that count.
    pub counts: Vec<i64>,
}

/// The frames of all partitions.
pub(super) enum Frames<C: Combine> {
    Rows {
        length: usize,
        blocks: Vec<Block<C::Value>>,
        /// Values in all blocks.
        held: usize,
    },
    Range {
        distance_us: i64,
        queues: Vec<Queue<C::Value>>,
        /// Values in all queues.
        held: usize,
    },
    Unbounded {
        peers_count: bool,
        totals: Vec<(C::Value, i64)>,
    },
}

/// ROWS: the current block and the suffixes of the one before.
pub(super) struct Block<V> {
    /// `ring[..next]`: values of the current block; `ring[next..]`: suffixes of the one before.
    ring: Vec<V>,
    next: usize,
    /// What the current block combines to.
    prefix: V,
    /// Rows that have entered.
    rows: u64,
    /// Rows of the frame that do not count, by number; rarely any.
    #[allow(
        clippy::box_collection,
        reason = "most frames have none, and a box is one word instead of four"
    )]
    uncounted: Option<Box<VecDeque<u64>>>,
}

/// RANGE: the rows of the frame that count.
pub(super) struct Queue<V> {
    /// (event time, value); in the first `suffixes` entries the value is that of all rows from
    /// there to the end of that part.
    entries: VecDeque<(i64, V)>,
    suffixes: usize,
    /// What the entries behind `suffixes` combine to.
    recent: V,
}

impl<C: Combine> Frames<C> {
    /// Frames as `frame` says, of no partition yet.
    pub fn new(frame: OverFrame) -> Frames<C> {
        match frame {
            OverFrame::Rows(Some(preceding)) => Frames::Rows {
                length: usize::try_from(preceding).unwrap_or(usize::MAX).saturating_add(1),
                blocks: Vec::new(),
                held: 0,
            },
            OverFrame::Range(Some(distance_us)) => Frames::Range {
                distance_us,
                queues: Vec::new(),
                held: 0,
            },
            OverFrame::Rows(None) => Frames::Unbounded {
                peers_count: false,
                totals: Vec::new(),
            },
            OverFrame::Range(None) => Frames::Unbounded {
                peers_count: true,
                totals: Vec::new(),
            },
        }
    }

    /// Lets rows enter; `counts(row)` says whether a row counts (it takes a place anyway).
    pub fn answer(
        &mut self,
        rows: &OrderedRows<'_>,
        values: &[C::Value],
        counts: Option<&[bool]>,
    ) -> Answers<C::Value> {
        assert_eq!(
            rows.partitions.len(),
            values.len(),
            "invariant: one value per row"
        );
        let mut answers = Answers {
            values: Vec::with_capacity(values.len()),
            counts: Vec::with_capacity(values.len()),
        };
        let is_counted = |row: usize| counts.is_none_or(|counts| counts[row]);
        let nothing = C::identity();
        match self {
            Frames::Rows { length, blocks, held } => {
                blocks.resize_with(rows.partition_count, Block::new::<C>);
                for (row, (&partition, value)) in rows.partitions.iter().zip(values).enumerate() {
                    let block = &mut blocks[partition as usize];
                    let value = if is_counted(row) {
                        value
                    } else {
                        block.uncounted.get_or_insert_default().push_back(block.rows);
                        &nothing
                    };
                    let places = block.ring.len();
                    answers.values.push(block.push::<C>(*length, value));
                    *held += block.ring.len() - places;
                    answers.counts.push(block.counted(*length));
                }
            }
            Frames::Range {
                distance_us,
                queues,
                held,
            } => {
                queues.resize_with(rows.partition_count, Queue::new::<C>);
                let distance_us = *distance_us;
                let push = |queue: &mut Queue<C::Value>, row: usize| {
                    *held -= queue.evict::<C>(rows.times[row].saturating_sub(distance_us));
                    if is_counted(row) {
                        *held += 1;
                        queue.push::<C>(rows.times[row], &values[row]);
                    }
                };
                let read = |queue: &Queue<C::Value>| (queue.value::<C>(), queue.entries.len() as i64);
                with_peers(rows, queues, push, read, &mut answers);
            }
            Frames::Unbounded { peers_count, totals } => {
                totals.resize_with(rows.partition_count, || (C::identity(), 0));
                let push = |total: &mut (C::Value, i64), row: usize| {
                    if is_counted(row) {
                        *total = (C::combine(&total.0, &values[row]), total.1 + 1);
                    }
                };
                if *peers_count {
                    with_peers(rows, totals, push, Clone::clone, &mut answers);
                } else {
                    for (row, &partition) in rows.partitions.iter().enumerate() {
                        let total = &mut totals[partition as usize];
                        push(total, row);
                        answers.values.push(total.0.clone());
                        answers.counts.push(total.1);
                    }
                }
            }
        }
        answers
    }

    /// Partitions that have frames.
    pub fn partitions(&self) -> usize {
        match self {
            Frames::Rows { blocks, .. } => blocks.len(),
            Frames::Range { queues, .. } => queues.len(),
            Frames::Unbounded { totals, .. } => totals.len(),
        }
    }

    /// Makes empty frames up to `partitions`.
    pub fn grow(&mut self, partitions: usize) {
        let partitions = partitions.max(self.partitions());
        match self {
            Frames::Rows { blocks, .. } => blocks.resize_with(partitions, Block::new::<C>),
            Frames::Range { queues, .. } => queues.resize_with(partitions, Queue::new::<C>),
            Frames::Unbounded { totals, .. } => totals.resize_with(partitions, || (C::identity(), 0)),
        }
    }

    /// Writes the frame of a partition.
    pub fn freeze(&self, partition: usize, bytes: &mut Vec<u8>) {
        match self {
            Frames::Rows { blocks, .. } => blocks[partition].freeze(bytes),
            Frames::Range { queues, .. } => queues[partition].freeze(bytes),
            Frames::Unbounded { totals, .. } => totals[partition].freeze(bytes),
        }
    }

    /// Reads the frame of a partition; `None` if the bytes end early.
    pub fn thaw(&mut self, partition: usize, bytes: &mut &[u8]) -> Option<()> {
        match self {
            Frames::Rows { blocks, held, .. } => {
                blocks[partition] = Block::thaw(bytes)?;
                *held += blocks[partition].ring.len();
            }
            Frames::Range { queues, held, .. } => {
                queues[partition] = Queue::thaw(bytes)?;
                *held += queues[partition].entries.len();
            }
            Frames::Unbounded { totals, .. } => totals[partition] = Frozen::thaw(bytes)?,
        }
        Some(())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Frames::Rows { blocks, held, .. } => {
                held * size_of::<C::Value>() + blocks.capacity() * size_of::<Block<C::Value>>()
            }
            Frames::Range { queues, held, .. } => {
                held * size_of::<(i64, C::Value)>() + queues.capacity() * size_of::<Queue<C::Value>>()
            }
            Frames::Unbounded { totals, .. } => totals.capacity() * size_of::<(C::Value, i64)>(),
        }
    }
}

/// Rows of equal event time see each other: all enter before any is answered.
fn with_peers<S, V>(
    rows: &OrderedRows<'_>,
    states: &mut [S],
    mut push: impl FnMut(&mut S, usize),
    read: impl Fn(&S) -> (V, i64),
    answers: &mut Answers<V>,
) {
    let mut start = 0;
    for peers in rows.times.chunk_by(|left, right| left == right) {
        let partitions = &rows.partitions[start..start + peers.len()];
        for (row, &partition) in (start..).zip(partitions) {
            push(&mut states[partition as usize], row);
        }
        for &partition in partitions {
            let (value, count) = read(&states[partition as usize]);
            answers.values.push(value);
            answers.counts.push(count);
        }
        start += peers.len();
    }
}

impl<V: Frozen> Frozen for Block<V> {
    fn freeze(&self, bytes: &mut Vec<u8>) {
        (self.next as u64, self.rows).freeze(bytes);
        self.prefix.freeze(bytes);
        self.ring.freeze(bytes);
        let uncounted: Vec<u64> = self
            .uncounted
            .iter()
            .flat_map(|rows| rows.iter().copied())
            .collect();
        uncounted.freeze(bytes);
    }

    fn thaw(bytes: &mut &[u8]) -> Option<Block<V>> {
        let (next, rows) = <(u64, u64)>::thaw(bytes)?;
        let prefix = V::thaw(bytes)?;
        let ring = Vec::<V>::thaw(bytes)?;
        let uncounted = Vec::<u64>::thaw(bytes)?;
        Some(Block {
            next: usize::try_from(next).ok().filter(|&next| next <= ring.len())?,
            ring,
            prefix,
            rows,
            uncounted: (!uncounted.is_empty()).then(|| Box::new(uncounted.into())),
        })
    }
}

impl<V: Frozen + Clone> Frozen for Queue<V> {
    fn freeze(&self, bytes: &mut Vec<u8>) {
        (self.suffixes as u64).freeze(bytes);
        self.recent.freeze(bytes);
        self.entries
            .iter()
            .cloned()
            .collect::<Vec<(i64, V)>>()
            .freeze(bytes);
    }

    fn thaw(bytes: &mut &[u8]) -> Option<Queue<V>> {
        let suffixes = u64::thaw(bytes)?;
        let recent = V::thaw(bytes)?;
        let entries = Vec::<(i64, V)>::thaw(bytes)?;
        Some(Queue {
            suffixes: usize::try_from(suffixes)
                .ok()
                .filter(|&count| count <= entries.len())?,
            entries: entries.into(),
            recent,
        })
    }
}

impl<V: Clone> Block<V> {
    fn new<C: Combine<Value = V>>() -> Block<V> {
        Block {
            ring: Vec::new(),
            next: 0,
            prefix: C::identity(),
            rows: 0,
            uncounted: None,
        }
    }

    /// A row enters; answers what its frame of `length` rows combines to.
    #[inline(always)]
    fn push<C: Combine<Value = V>>(&mut self, length: usize, value: &V) -> V {
        self.rows += 1;
        self.prefix = C::combine(&self.prefix, value);
        let answer = match self.ring.get(self.next + 1) {
            Some(suffix) => C::combine(suffix, &self.prefix),
            None => self.prefix.clone(),
        };
        match self.ring.get_mut(self.next) {
            Some(place) => *place = value.clone(),
            None => self.ring.push(value.clone()),
        }
        self.next += 1;
        if self.next == length {
            self.close::<C>();
        }
        answer
    }

    /// Turns the full block into its suffixes and starts the next.
    fn close<C: Combine<Value = V>>(&mut self) {
        let mut suffix = C::identity();
        for place in self.ring.iter_mut().rev() {
            suffix = C::combine(place, &suffix);
            *place = suffix.clone();
        }
        self.next = 0;
        self.prefix = C::identity();
    }

    /// The rows that count among the last `length`.
    #[inline(always)]
    fn counted(&mut self, length: usize) -> i64 {
        let rows = self.rows.min(length as u64) as i64;
        match &mut self.uncounted {
            None => rows,
            Some(uncounted) => {
                let first = self.rows - rows as u64;
                while uncounted.front().is_some_and(|&row| row < first) {
                    uncounted.pop_front();
                }
                rows - uncounted.len() as i64
            }
        }
    }
}

impl<V: Clone> Queue<V> {
    fn new<C: Combine<Value = V>>() -> Queue<V> {
        Queue {
            entries: VecDeque::new(),
            suffixes: 0,
            recent: C::identity(),
        }
    }

    fn push<C: Combine<Value = V>>(&mut self, time: i64, value: &V) {
        self.recent = C::combine(&self.recent, value);
        self.entries.push_back((time, value.clone()));
    }

    /// Lets rows before `first` go; answers how many.
    fn evict<C: Combine<Value = V>>(&mut self, first: i64) -> usize {
        let before = self.entries.len();
        let mut recent_left = false;
        while self.entries.front().is_some_and(|&(time, _)| time < first) {
            self.entries.pop_front();
            recent_left |= self.suffixes == 0;
            self.suffixes = self.suffixes.saturating_sub(1);
        }
        let left = before - self.entries.len();
        if recent_left {
            let mut suffix = C::identity();
            for (_, value) in self.entries.iter_mut().rev() {
                suffix = C::combine(value, &suffix);
                *value = suffix.clone();
            }
            self.suffixes = self.entries.len();
            self.recent = C::identity();
            if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 8 {
                self.entries.shrink_to(self.entries.len() * 2);
            }
        }
        left
    }

    fn value<C: Combine<Value = V>>(&self) -> V {
        match self.entries.front() {
            Some((_, suffix)) if self.suffixes > 0 => C::combine(suffix, &self.recent),
            _ => self.recent.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::over_aggregate::combine::{Extreme, WideSum};

    /// Rows (time, value) of one partition, cut into batches of each length in turn.
    fn answers<C: Combine<Value = i64>>(frame: OverFrame, rows: &[(i64, Option<i64>)]) -> Vec<(i64, i64)> {
        let mut frames = Frames::<C>::new(frame);
        let mut found = Vec::new();
        for batch in rows.chunk_by(|left, right| left.0 == right.0) {
            let times: Vec<i64> = batch.iter().map(|row| row.0).collect();
            let values: Vec<i64> = batch.iter().map(|row| row.1.unwrap_or(77)).collect();
            let counts: Vec<bool> = batch.iter().map(|row| row.1.is_some()).collect();
            let ordered = OrderedRows {
                partitions: &vec![0; batch.len()],
                partition_count: 1,
                times: &times,
            };
            let answers = frames.answer(&ordered, &values, Some(&counts));
            found.extend(answers.values.into_iter().zip(answers.counts));
        }
        found
    }

    fn expected(frame: OverFrame, rows: &[(i64, Option<i64>)]) -> Vec<(i64, i64)> {
        (0..rows.len())
            .map(|row| {
                let inside = |&(other, &(time, _)): &(usize, &(i64, Option<i64>))| match frame {
                    OverFrame::Rows(count) => {
                        other <= row && count.is_none_or(|count| other as u64 + count >= row as u64)
                    }
                    OverFrame::Range(distance) => {
                        time <= rows[row].0 && distance.is_none_or(|distance| time >= rows[row].0 - distance)
                    }
                };
                let values = rows.iter().enumerate().filter(inside);
                let values: Vec<i64> = values.filter_map(|(_, row)| row.1).collect();
                (
                    values.iter().copied().max().unwrap_or(i64::MIN),
                    values.len() as i64,
                )
            })
            .collect()
    }

    #[test]
    fn every_frame_gives_what_looking_at_all_its_rows_gives() {
        let mut time = 0;
        let rows: Vec<(i64, Option<i64>)> = (0..300_i64)
            .map(|row| {
                time += (row * row) % 4;
                (time, (row % 7 != 3).then_some((row * 7_919) % 1_000 - 500))
            })
            .collect();
        for frame in [
            OverFrame::Rows(None),
            OverFrame::Rows(Some(0)),
            OverFrame::Rows(Some(1)),
            OverFrame::Rows(Some(9)),
            OverFrame::Rows(Some(1_000)),
            OverFrame::Range(None),
            OverFrame::Range(Some(0)),
            OverFrame::Range(Some(11)),
            OverFrame::Range(Some(10_000)),
        ] {
            let found = answers::<Extreme<i64, true>>(frame, &rows);
            assert_eq!(found, expected(frame, &rows), "{frame:?}");
        }
    }

    #[test]
    fn a_sum_at_the_end_of_its_range_stays_there() {
        assert_eq!(WideSum::combine(&i128::MAX, &1), i128::MAX);
    }
}
