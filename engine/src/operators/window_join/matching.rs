//! The join of one complete window, a step at a time: first the smaller side goes into a table, a
//! batch a step, then the larger side is looked up in it; last come the rows that matched nothing, where
//! the join keeps them.
//!
//! **Invariant.** Matches come out in the order of the larger side's rows and, for each, of the smaller
//! side's: nothing depends on hashes.

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, interleave_record_batch, take_record_batch};

use crate::batch::BATCH_ROWS_MAX;
use crate::error::ExecutionError;
use crate::operators::Output;
use crate::operators::map::{definite, evaluate};
use crate::operators::window_join::{Join, Side, join_error};
use crate::plan::JoinKind;
use crate::state::changes::rows_of;
use crate::state::group_table::{GroupIndex, GroupTable, NO_GROUP};
use crate::state::keys::KeyPacker;

const LEFT: usize = 0;
/// No further row.
const END: u32 = u32::MAX;

/// A window while it is joined.
pub(super) struct Matching {
    /// Which side is in the table.
    build_side: usize,
    packer: KeyPacker,
    table: GroupTable,
    build: Vec<RecordBatch>,
    /// Batches of the build side that are in the table.
    built: usize,
    /// For each build row: its batch and row there, and the next build row with its key.
    places: Vec<(u32, u32)>,
    next: Vec<u32>,
    /// For each group: its first and last build row.
    chains: Vec<(u32, u32)>,
    probe: Vec<RecordBatch>,
    /// The probe batch that is looked up now, with the groups of its rows.
    probed: usize,
    groups: Vec<GroupIndex>,
    /// The probe row to go on with, and the build row in its chain.
    row: usize,
    chain: u32,
    /// Whether each row of the probe batch, and each build row, has matched; kept where it matters.
    probe_matched: Vec<bool>,
    build_matched: Vec<bool>,
    /// Rows of each side that match nothing.
    alone: [Vec<RecordBatch>; 2],
    bytes: usize,
}

impl Matching {
    /// The join of a window with these rows.
    pub fn new(join: &Join, sides: [Side; 2]) -> Matching {
        let build_side = usize::from(sides[1].rows < sides[0].rows);
        let bytes = sides.iter().map(|side| side.bytes).sum();
        let [(left, left_alone), (right, right_alone)] = sides.map(|side| (side.batches, side.alone));
        let (build, probe) = if build_side == LEFT {
            (left, right)
        } else {
            (right, left)
        };
        Matching {
            build_side,
            packer: KeyPacker::new(join.layout.clone()),
            table: GroupTable::new(join.layout.clone(), Vec::new()),
            build,
            built: 0,
            places: Vec::new(),
            next: Vec::new(),
            chains: Vec::new(),
            probe,
            probed: 0,
            groups: Vec::new(),
            row: 0,
            chain: END,
            probe_matched: Vec::new(),
            build_matched: Vec::new(),
            alone: [left_alone, right_alone],
            bytes,
        }
    }

    /// Bytes held until the window is joined.
    pub fn bytes(&self) -> usize {
        self.bytes
            + self.table.allocated_bytes()
            + self.places.capacity() * size_of::<(u32, u32)>()
            + self.next.capacity() * size_of::<u32>()
            + self.chains.capacity() * size_of::<(u32, u32)>()
    }

    /// Does a little more; answers how many rows it looked at, and whether the window is joined.
    pub fn step(&mut self, join: &Join, out: &mut Output) -> Result<(usize, bool), ExecutionError> {
        if self.built < self.build.len() {
            return Ok((self.build_one(join), false));
        }
        if self.probed == self.probe.len() {
            return Ok((self.finish(join, out)?, true));
        }
        if self.row == 0 && self.chain == END {
            self.look_up(join)?;
        }
        let from = self.row;
        let (probe_rows, build_rows) = self.matches();
        let looked_at = probe_rows.len().max(self.row - from);
        self.emit(join, probe_rows, &build_rows, out)?;
        if self.row == self.probe[self.probed].num_rows() {
            self.finish_probe_batch(join, out)?;
            self.probed += 1;
            self.row = 0;
        }
        Ok((looked_at, false))
    }

    /// Rows of the probe batch whose matches decide alone.
    fn finish_probe_batch(&mut self, join: &Join, out: &mut Output) -> Result<(), ExecutionError> {
        let side = 1 - self.build_side;
        if !join.tracks(side) {
            return Ok(());
        }
        let wanted = decided(join, &self.probe_matched);
        emit_alone(join, side, &self.probe[self.probed], &wanted, out)
    }

    /// Rows of the build side whose matches decide, and rows with a NULL key.
    fn finish(&mut self, join: &Join, out: &mut Output) -> Result<usize, ExecutionError> {
        if join.tracks(self.build_side) {
            let mut rest = self.build_matched.as_slice();
            for rows in &self.build {
                let (matched, behind) = rest.split_at(rows.num_rows());
                rest = behind;
                emit_alone(join, self.build_side, rows, &decided(join, matched), out)?;
            }
        }
        for side in 0..2 {
            for rows in &self.alone[side] {
                emit_alone(join, side, rows, &vec![true; rows.num_rows()], out)?;
            }
        }
        Ok(self.places.len())
    }

    fn keys(join: &Join, side: usize, rows: &RecordBatch) -> Vec<ArrayRef> {
        let keys = join.keys[side].iter();
        keys.map(|&key| rows.column(key).clone()).collect()
    }

    /// Puts a batch of the build side into the table.
    fn build_one(&mut self, join: &Join) -> usize {
        let rows = &self.build[self.built];
        let count = rows.num_rows();
        let keys = Self::keys(join, self.build_side, rows);
        let mut groups = Vec::with_capacity(count);
        self.table
            .find_or_insert(&mut self.packer, &keys, count, &mut groups);
        for (row, group) in (0..).zip(groups) {
            let number =
                u32::try_from(self.places.len()).expect("invariant: a window holds fewer than 2^32 rows");
            self.places.push((self.built as u32, row));
            self.next.push(END);
            self.build_matched.push(false);
            match self.chains.get_mut(group as usize) {
                Some((_, last)) => self.next[std::mem::replace(last, number) as usize] = number,
                None => self.chains.push((number, number)),
            }
        }
        self.built += 1;
        count
    }

    /// Looks the next probe rows up: a batch, or several small ones put together.
    fn look_up(&mut self, join: &Join) -> Result<(), ExecutionError> {
        let probe_side = 1 - self.build_side;
        let mut rows = 0;
        let small = self.probe[self.probed..].iter().take_while(|batch| {
            rows += batch.num_rows();
            rows <= BATCH_ROWS_MAX
        });
        let small = small.count();
        if small > 1 {
            let range = self.probed..self.probed + small;
            let together = concat_batches(&join.inputs[probe_side], &self.probe[range.clone()]);
            self.probe.splice(range, [together.map_err(join_error)?]);
        }
        let rows = &self.probe[self.probed];
        let keys = Self::keys(join, probe_side, rows);
        self.probe_matched.clear();
        self.probe_matched.resize(rows.num_rows(), false);
        if !join.null_safe {
            self.table
                .find(&mut self.packer, &keys, rows.num_rows(), &mut self.groups);
            return Ok(());
        }
        // Looking up knows no NULLs; a key that is added has no chain.
        self.table
            .find_or_insert(&mut self.packer, &keys, rows.num_rows(), &mut self.groups);
        for group in &mut self.groups {
            if *group as usize >= self.chains.len() {
                *group = NO_GROUP;
            }
        }
        Ok(())
    }

    /// The next matches: probe rows, and the build rows they match.
    fn matches(&mut self) -> (Vec<u32>, Vec<u32>) {
        let (mut probe_rows, mut build_rows) = (Vec::new(), Vec::new());
        while self.row < self.groups.len() {
            let group = self.groups[self.row];
            if self.chain == END && group != NO_GROUP {
                self.chain = self.chains[group as usize].0;
            }
            while self.chain != END {
                if build_rows.len() == BATCH_ROWS_MAX {
                    return (probe_rows, build_rows);
                }
                probe_rows.push(self.row as u32);
                build_rows.push(self.chain);
                self.chain = self.next[self.chain as usize];
            }
            self.row += 1;
        }
        (probe_rows, build_rows)
    }

    fn emit(
        &mut self,
        join: &Join,
        probe_rows: Vec<u32>,
        build_rows: &[u32],
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        if probe_rows.is_empty() {
            return Ok(());
        }
        let tracks = join.tracks(0) || join.tracks(1);
        if tracks && join.filter.is_none() {
            self.note_matches(&probe_rows, build_rows, None);
            if join.kind.is_left_only() {
                return Ok(());
            }
        }
        let probe = take_record_batch(&self.probe[self.probed], &UInt32Array::from(probe_rows.clone()));
        let build = if let [only] = self.build.as_slice() {
            take_record_batch(only, &UInt32Array::from(build_rows.to_vec()))
        } else {
            let batches: Vec<&RecordBatch> = self.build.iter().collect();
            let places = build_rows.iter().map(|&number| self.places[number as usize]);
            let places: Vec<(usize, usize)> = places
                .map(|(batch, row)| (batch as usize, row as usize))
                .collect();
            interleave_record_batch(&batches, &places)
        };
        let (probe, build) = (probe.map_err(join_error)?, build.map_err(join_error)?);
        let (left, right) = if self.build_side == LEFT {
            (build, probe)
        } else {
            (probe, build)
        };
        let columns: Vec<ArrayRef> = left.columns().iter().chain(right.columns()).cloned().collect();
        let joined = RecordBatch::try_new(join.joined.clone(), columns).map_err(join_error)?;
        let joined = match &join.filter {
            None => joined,
            Some(filter) => {
                let keep = evaluate(filter, &joined)?;
                let keep = definite(keep.as_boolean());
                if tracks {
                    self.note_matches(&probe_rows, build_rows, Some(&keep));
                }
                filter_record_batch(&joined, &keep).map_err(join_error)?
            }
        };
        if !join.kind.is_left_only() {
            let rows = RecordBatch::try_new(join.output.clone(), joined.columns().to_vec());
            out.emit_rows(rows.map_err(join_error)?);
        }
        Ok(())
    }

    fn note_matches(&mut self, probe_rows: &[u32], build_rows: &[u32], keep: Option<&BooleanArray>) {
        for (at, (&probe, &build)) in probe_rows.iter().zip(build_rows).enumerate() {
            if keep.is_none_or(|keep| keep.value(at)) {
                self.probe_matched[probe as usize] = true;
                self.build_matched[build as usize] = true;
            }
        }
    }
}

/// Which rows come out alone: those of a semi join that matched, of any other that did not.
fn decided(join: &Join, matched: &[bool]) -> Vec<bool> {
    let wanted = join.kind == JoinKind::Semi;
    matched.iter().map(|&matched| matched == wanted).collect()
}

/// Emits rows of one side, the other side's columns NULL.
fn emit_alone(
    join: &Join,
    side: usize,
    rows: &RecordBatch,
    wanted: &[bool],
    out: &mut Output,
) -> Result<(), ExecutionError> {
    let rows = filter_record_batch(rows, &BooleanArray::from(wanted.to_vec())).map_err(join_error)?;
    let count = rows.num_rows();
    let own = rows.columns().iter().cloned();
    let others = join.inputs[1 - side].fields().iter();
    let others = others.map(|field| new_null_array(field.data_type(), count));
    let columns: Vec<ArrayRef> = match (join.kind.is_left_only(), side) {
        (true, _) => own.collect(),
        (false, LEFT) => own.chain(others).collect(),
        (false, _) => others.chain(own).collect(),
    };
    out.emit_rows(rows_of(&join.output, columns, count)?);
    Ok(())
}
