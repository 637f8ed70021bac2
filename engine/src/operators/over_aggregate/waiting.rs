//! Rows that wait for the watermark, and their order once it has passed them.
//!
//! Each batch is sorted on its own when it comes (mostly it is already); what the watermark has passed is
//! merged a quantum at a time, so that no step depends on how much is waiting. Rows of
//! different partitions may come out in any order among equal event times.
//!
//! **Invariant.** Rows come out in order of event time, a run of equal event times at once; rows that share
//! partition and event time are ordered by their own bytes, not by how they came together.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;

use crate::error::ExecutionError;
use crate::operators::over_aggregate::over_error;
use crate::operators::over_aggregate::ties::{Entry, Ties};

/// Runs up to this many rows are merged with their like, so that single rows do not make a run each.
const MERGED_ROWS_MAX: usize = 2_048;
/// A run keeps its batch alive; with fewer rows than this share of it left, they move out.
const COMPACTION_SHARE: usize = 4;
/// Runs shorter than this are not worth moving out of.
const COMPACTION_ROWS_MIN: usize = 64;

/// Rows in order, ready to be answered.
pub(in crate::operators) struct Ready {
    pub rows: RecordBatch,
    pub times: ScalarBuffer<i64>,
    pub partitions: Vec<u32>,
}

impl Ready {
    /// The rows that are not late, by their event time and partition, and how many are.
    pub fn in_time(self, is_late: impl Fn(i64, u32) -> bool) -> Result<(Ready, u64), ExecutionError> {
        let late = |&row: &u32| is_late(self.times[row as usize], self.partitions[row as usize]);
        let kept: Vec<u32> = (0..self.times.len() as u32).filter(|row| !late(row)).collect();
        if kept.len() == self.times.len() {
            return Ok((self, 0));
        }
        let dropped = (self.times.len() - kept.len()) as u64;
        let ready = Ready {
            times: kept.iter().map(|&row| self.times[row as usize]).collect(),
            partitions: kept.iter().map(|&row| self.partitions[row as usize]).collect(),
            rows: take_record_batch(&self.rows, &UInt32Array::from(kept)).map_err(over_error)?,
        };
        Ok((ready, dropped))
    }
}

/// A batch of waiting rows.
pub(super) struct Run {
    /// As they came.
    pub rows: RecordBatch,
    /// Row numbers in order of event time; `None` where that is their order already.
    order: Option<Vec<u32>>,
    /// Event times, in order.
    times: ScalarBuffer<i64>,
    /// Partitions, in order.
    partitions: Vec<u32>,
    /// How many of them are out.
    next: usize,
    bytes: usize,
}

/// All waiting rows.
pub(in crate::operators) struct Waiting {
    schema: SchemaRef,
    runs: Vec<Run>,
    ties: Ties,
    bytes: usize,
}

impl Waiting {
    /// No rows, of columns `input`.
    pub fn new(input: &SchemaRef) -> Result<Waiting, ExecutionError> {
        Ok(Waiting {
            schema: input.clone(),
            runs: Vec::new(),
            ties: Ties::new(input)?,
            bytes: 0,
        })
    }

    /// Bytes of the batches that hold them.
    pub fn bytes(&self) -> usize {
        self.bytes + self.runs.capacity() * size_of::<Run>()
    }

    /// All rows, in no particular order.
    pub fn rows(&self) -> Result<RecordBatch, ExecutionError> {
        let mut parts = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            parts.push(run.part(run.next..run.times.len())?.rows);
        }
        concat_batches(&self.schema, &parts).map_err(over_error)
    }

    /// Takes rows with their event times and partitions.
    pub fn push(
        &mut self,
        rows: RecordBatch,
        times: ScalarBuffer<i64>,
        partitions: Vec<u32>,
    ) -> Result<(), ExecutionError> {
        assert_eq!(
            rows.num_rows(),
            times.len(),
            "invariant: every row has an event time"
        );
        assert_eq!(
            rows.num_rows(),
            partitions.len(),
            "invariant: every row has a partition"
        );
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.add(Run::new(rows, times, partitions));
        while let [.., before, last] = self.runs.as_slice()
            && before.len() <= MERGED_ROWS_MAX
            && last.len() <= MERGED_ROWS_MAX
            && before.len() <= 2 * last.len()
        {
            let runs = self.runs.split_off(self.runs.len() - 2);
            self.bytes -= runs.iter().map(|run| run.bytes).sum::<usize>();
            let entries = merge(&runs, i64::MAX);
            let merged = gather(&runs, &entries)?;
            self.add(Run::new(merged.rows, merged.times, merged.partitions));
        }
        Ok(())
    }

    fn add(&mut self, run: Run) {
        self.bytes += run.bytes;
        self.runs.push(run);
    }

    /// Takes the next rows that `watermark` has passed, about `rows` of them; `None` if there are none.
    pub fn take(&mut self, watermark: i64, rows: usize) -> Result<Option<Ready>, ExecutionError> {
        let is_ready = |run: &Run| run.times[run.next] <= watermark;
        let mut ready: Vec<usize> = (0..self.runs.len())
            .filter(|&run| is_ready(&self.runs[run]))
            .collect();
        if ready.is_empty() {
            return Ok(None);
        }
        let bound = self.bound(&ready, watermark, rows);
        ready.retain(|&run| self.runs[run].ready(bound) > 0);
        let mut taken: Vec<Run> = Vec::with_capacity(ready.len());
        for run in ready.into_iter().rev() {
            taken.push(self.runs.swap_remove(run));
        }
        self.bytes -= taken.iter().map(|run| run.bytes).sum::<usize>();
        let answer = self.take_from(&taken, bound)?;
        for mut run in taken {
            run.next += run.ready(bound);
            if run.len() > 0 {
                self.add(run.compacted()?);
            }
        }
        Ok(Some(answer))
    }

    fn take_from(&mut self, runs: &[Run], bound: i64) -> Result<Ready, ExecutionError> {
        if let [run] = runs {
            let range = run.next..run.next + run.ready(bound);
            if !self
                .ties
                .exist(&run.times[range.clone()], &run.partitions[range.clone()])
            {
                return run.part(range);
            }
        }
        let mut entries = merge(runs, bound);
        self.ties.order(&mut entries, runs)?;
        gather(runs, &entries)
    }

    /// An event time up to which about `rows` of the rows passed by `watermark` lie.
    fn bound(&self, ready: &[usize], watermark: i64, rows: usize) -> i64 {
        let count = |bound: i64| {
            ready
                .iter()
                .map(|&run| self.runs[run].ready(bound))
                .sum::<usize>()
        };
        if count(watermark) <= 2 * rows {
            return watermark;
        }
        let first = ready
            .iter()
            .map(|&run| self.runs[run].times[self.runs[run].next])
            .min();
        let mut low = first.expect("invariant: a run is ready").saturating_sub(1);
        let last = ready
            .iter()
            .map(|&run| self.runs[run].times[self.runs[run].times.len() - 1])
            .max();
        let mut high = last.expect("invariant: a run is ready").min(watermark);
        while low < high.saturating_sub(1) {
            let middle = i64::midpoint(low, high);
            match count(middle) {
                found if found < rows / 2 => low = middle,
                found if found > 2 * rows => high = middle,
                _ => return middle,
            }
        }
        // Many rows share one event time, which is not cut.
        if count(low) > 0 { low } else { high }
    }
}

impl Run {
    fn new(rows: RecordBatch, times: ScalarBuffer<i64>, partitions: Vec<u32>) -> Run {
        let order = (!times.is_sorted()).then(|| order_of(&times));
        let (times, partitions) = match &order {
            None => (times, partitions),
            Some(order) => (
                order.iter().map(|&row| times[row as usize]).collect(),
                order.iter().map(|&row| partitions[row as usize]).collect(),
            ),
        };
        let numbers = partitions.len() + order.as_ref().map_or(0, Vec::len);
        let own = numbers * size_of::<u32>() + times.len() * size_of::<i64>();
        Run {
            bytes: rows.get_array_memory_size() + own,
            rows,
            order,
            times,
            partitions,
            next: 0,
        }
    }

    /// Rows that are not out.
    fn len(&self) -> usize {
        self.times.len() - self.next
    }

    /// Rows up to `bound` that are not out.
    fn ready(&self, bound: i64) -> usize {
        self.times[self.next..].partition_point(|&time| time <= bound)
    }

    /// The row behind position `at`.
    fn row(&self, at: usize) -> u32 {
        self.order.as_ref().map_or(at as u32, |order| order[at])
    }

    fn part(&self, range: std::ops::Range<usize>) -> Result<Ready, ExecutionError> {
        let rows = match &self.order {
            None => self.rows.slice(range.start, range.len()),
            Some(order) => {
                let indices = UInt32Array::from_iter_values(order[range.clone()].iter().copied());
                take_record_batch(&self.rows, &indices).map_err(over_error)?
            }
        };
        Ok(Ready {
            rows,
            times: self.times.slice(range.start, range.len()),
            partitions: self.partitions[range].to_vec(),
        })
    }

    /// The same rows without the batch that they came in, where most of it is out.
    fn compacted(self) -> Result<Run, ExecutionError> {
        let whole = self.times.len();
        if whole < COMPACTION_ROWS_MIN || self.len() * COMPACTION_SHARE > whole {
            return Ok(self);
        }
        let indices = UInt32Array::from_iter_values((self.next..whole).map(|at| self.row(at)));
        let rows = take_record_batch(&self.rows, &indices).map_err(over_error)?;
        let times = self.times[self.next..].to_vec().into();
        Ok(Run::new(rows, times, self.partitions[self.next..].to_vec()))
    }
}

/// The order of `times`: by time, then as they came.
fn order_of(times: &[i64]) -> Vec<u32> {
    let count = u32::try_from(times.len()).expect("invariant: a batch has fewer than 2^32 rows");
    let (first, last) = times.iter().fold((i64::MAX, i64::MIN), |(first, last), &time| {
        (first.min(time), last.max(time))
    });
    let row_bits = 32 - count.leading_zeros();
    // Distance and row number in one word sort fastest; they fit unless the times span ages.
    if last.wrapping_sub(first) as u64 >> (63 - row_bits) == 0 && last.checked_sub(first).is_some() {
        let pack = |(row, &time): (u32, &i64)| ((time - first) as u64) << row_bits | u64::from(row);
        let mut words: Vec<u64> = (0..count).zip(times).map(pack).collect();
        words.sort_unstable();
        let rows = (1u64 << row_bits) - 1;
        return words.into_iter().map(|word| (word & rows) as u32).collect();
    }
    let mut order: Vec<u32> = (0..count).collect();
    order.sort_by_key(|&row| times[row as usize]);
    order
}

/// The rows of all `runs` up to `bound`, in order of event time.
fn merge(runs: &[Run], bound: i64) -> Vec<Entry> {
    let count = runs.iter().map(|run| run.ready(bound)).sum();
    let mut entries = Vec::with_capacity(count);
    for (index, run) in (0..).zip(runs) {
        let range = run.next..run.next + run.ready(bound);
        entries.extend(range.map(|at| Entry {
            time: run.times[at],
            partition: run.partitions[at],
            run: index,
            row: run.row(at),
        }));
    }
    // A stable sort finds the runs and merges them.
    entries.sort_by_key(|entry| entry.time);
    entries
}

fn gather(runs: &[Run], entries: &[Entry]) -> Result<Ready, ExecutionError> {
    let rows = if let [run] = runs {
        let indices = UInt32Array::from_iter_values(entries.iter().map(|entry| entry.row));
        take_record_batch(&run.rows, &indices)
    } else {
        let batches: Vec<&RecordBatch> = runs.iter().map(|run| &run.rows).collect();
        let indices: Vec<(usize, usize)> = entries
            .iter()
            .map(|entry| (entry.run as usize, entry.row as usize))
            .collect();
        interleave_record_batch(&batches, &indices)
    };
    Ok(Ready {
        rows: rows.map_err(over_error)?,
        times: entries.iter().map(|entry| entry.time).collect(),
        partitions: entries.iter().map(|entry| entry.partition).collect(),
    })
}
