//! Session windows: rows of a key belong together while they follow each other within a gap. Rows wait until
//! their session is complete and then come out with its start, end and time; an aggregation over sessions
//! reads them as it reads any rows that carry windows.
//!
//! **Invariant.** Two open sessions of a key are further apart than the gap. A session is emitted once, when
//! the watermark has passed its end; rows that would belong to a session that is complete are late. A row
//! that is taken back before its session is complete never comes out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{FieldRef, Int64Type, SchemaRef};

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::window_assign::timestamps;
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::SessionSpec;
use crate::snapshot::{StateReader, StateWriter, int64_column, leading, with_columns};
use crate::state::changes::rows_of;
use crate::state::footprint::{lists_bytes, tree_bytes};
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::hash::hash_columns;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::state::row_store::{RowId, RowStore};
use crate::time::{WATERMARK_NONE, WatermarkUs};

/// An open session.
#[derive(Debug)]
struct Session {
    start: i64,
    /// The last row's time and the gap: exclusive.
    end: i64,
    rows: Vec<RowId>,
}

/// The session assigner.
pub struct SessionAssign {
    spec: SessionSpec,
    output: SchemaRef,
    table: GroupTable,
    packer: KeyPacker,
    store: RowStore,
    /// By row, where rows may be taken back: the hash of its values.
    hashes: Vec<u64>,
    /// By key, in order of time; nearly always one.
    sessions: Vec<Vec<Session>>,
    /// How many of them there are.
    open: usize,
    /// Keys by the end that a session of theirs had when it began or was last looked at.
    timers: BTreeMap<i64, Vec<GroupIndex>>,
    ready: VecDeque<Session>,
    watermark: WatermarkUs,
    late_rows: u64,
}

impl SessionAssign {
    /// The assigner of `spec`; output = input columns, then the three window columns.
    pub fn new(spec: &SessionSpec, input: SchemaRef, output: SchemaRef) -> SessionAssign {
        assert_eq!(
            input.fields().len() + 3 + usize::from(spec.tells_late),
            output.fields().len(),
            "invariant: the output is the input and three window columns, and whether the row is late"
        );
        let fields: Vec<FieldRef> = spec
            .partition
            .iter()
            .map(|&key| input.fields()[key].clone())
            .collect();
        let layout = KeyLayout::new(&fields);
        SessionAssign {
            spec: spec.clone(),
            output,
            table: GroupTable::new(layout.clone(), Vec::new()),
            packer: KeyPacker::new(layout),
            store: RowStore::new(input),
            hashes: Vec::new(),
            sessions: Vec::new(),
            open: 0,
            timers: BTreeMap::new(),
            ready: VecDeque::new(),
            watermark: WATERMARK_NONE,
            late_rows: 0,
        }
    }

    /// Puts a row into its session, which may join two; false if that session is complete already.
    fn add(&mut self, group: GroupIndex, time: i64, row: RowId) -> bool {
        let end = time.saturating_add(self.spec.gap_us);
        let sessions = &mut self.sessions[group as usize];
        // Sessions that the row's own window [time, end) touches.
        let first = sessions.partition_point(|session| session.end <= time);
        let behind = sessions.partition_point(|session| session.start < end);
        if first < behind {
            let mut touched = sessions.drain(first..behind);
            let mut joined = touched.next().expect("invariant: a session is touched");
            let mut is_longer = joined.end < end;
            for session in touched {
                joined.end = session.end;
                joined.rows.extend(session.rows);
                is_longer = true;
            }
            joined.start = joined.start.min(time);
            joined.end = joined.end.max(end);
            joined.rows.push(row);
            let new_end = joined.end;
            sessions.insert(first, joined);
            self.open -= behind - first - 1;
            // A session that only grew at its end is found again through its old timer.
            if is_longer && first + 1 < behind {
                self.timers.entry(new_end).or_default().push(group);
            }
            return true;
        }
        if end.saturating_sub(self.spec.tick_us) <= self.watermark {
            return false;
        }
        let session = Session {
            start: time,
            end,
            rows: vec![row],
        };
        sessions.insert(first, session);
        self.open += 1;
        self.timers.entry(end).or_default().push(group);
        true
    }

    /// Takes a row with that hash out of the session that holds `time`.
    fn take(&mut self, group: GroupIndex, time: i64, hash: u64) -> Result<(), ExecutionError> {
        let sessions = &mut self.sessions[group as usize];
        let holds = |session: &Session| session.start <= time && time < session.end;
        let Some(place) = sessions.iter().position(holds) else {
            self.late_rows += 1;
            return Ok(());
        };
        let session = &mut sessions[place];
        let Some(at) = session
            .rows
            .iter()
            .position(|&row| self.hashes[row as usize] == hash)
        else {
            return Ok(());
        };
        let row = session.rows.swap_remove(at);
        if session.rows.is_empty() {
            sessions.remove(place);
            self.open -= 1;
        }
        self.store.remove(row)
    }

    /// Moves the sessions that are complete to those to be emitted.
    fn take_complete(&mut self) {
        let closed_until = self.watermark.saturating_add(self.spec.tick_us);
        while let Some(entry) = self
            .timers
            .first_entry()
            .filter(|entry| *entry.key() <= closed_until)
        {
            for group in entry.remove() {
                let sessions = &mut self.sessions[group as usize];
                let open = sessions.partition_point(|session| session.end <= closed_until);
                self.ready.extend(sessions.drain(..open));
                self.open -= open;
                if let Some(next) = sessions.first() {
                    self.timers.entry(next.end).or_default().push(group);
                }
            }
        }
    }

    /// Emits rows of complete sessions, a batch at most.
    fn emit_some(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        let (mut ids, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        while ids.len() < BATCH_ROWS_MAX {
            let Some(session) = self.ready.front_mut() else {
                break;
            };
            let count = session.rows.len().min(BATCH_ROWS_MAX - ids.len());
            ids.extend(session.rows.drain(..count));
            starts.resize(ids.len(), session.start);
            ends.resize(ids.len(), session.end);
            if session.rows.is_empty() {
                self.ready.pop_front();
            }
        }
        self.emit_with([starts, ends], &ids, false, out)?;
        ids.into_iter().try_for_each(|id| self.store.remove(id))
    }

    /// Emits rows with their sessions.
    fn emit_with(
        &self,
        [starts, ends]: [Vec<i64>; 2],
        ids: &[RowId],
        is_late: bool,
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        let mut columns: Vec<ArrayRef> = self.store.gather_columns(ids)?;
        let times = ends.iter().map(|end| end - self.spec.tick_us).collect();
        let width = columns.len();
        for (column, bounds) in [starts, ends, times].into_iter().enumerate() {
            columns.push(timestamps(bounds, self.output.field(width + column).data_type()));
        }
        if self.spec.tells_late {
            columns.push(Arc::new(BooleanArray::from(vec![is_late; ids.len()])));
        }
        out.emit_rows(rows_of(&self.output, columns, ids.len())?);
        Ok(())
    }

    /// Drops rows that are late, or, where they are asked for, emits each with the session that it would have
    /// made alone.
    fn dismiss(&mut self, late: &[(RowId, i64)], out: &mut Output) -> Result<(), ExecutionError> {
        self.late_rows += late.len() as u64;
        if self.spec.tells_late && !late.is_empty() {
            let ids: Vec<RowId> = late.iter().map(|&(id, _)| id).collect();
            let starts: Vec<i64> = late.iter().map(|&(_, time)| time).collect();
            let ends = starts.iter().map(|start| start.saturating_add(self.spec.gap_us));
            let ends = ends.collect();
            self.emit_with([starts, ends], &ids, true, out)?;
        }
        late.iter().try_for_each(|&(id, _)| self.store.remove(id))
    }
}

impl SessionAssign {
    /// Takes rows back whose sessions are known; those of a session follow each other.
    fn restore_rows(&mut self, rows: &RecordBatch, bounds: [&[i64]; 2]) -> Result<(), ExecutionError> {
        let groups = self.table.groups_of(&mut self.packer, &self.spec.partition, rows);
        self.sessions.resize_with(self.table.len(), Vec::new);
        let mut ids = Vec::with_capacity(rows.num_rows());
        self.store.push(rows, &mut ids)?;
        let mut hashes = Vec::new();
        hash_columns(rows.columns(), &mut hashes);
        self.hashes.resize(self.store.id_bound(), 0);
        for (at, (id, group)) in ids.into_iter().zip(groups).enumerate() {
            self.hashes[id as usize] = hashes[at];
            let (start, end) = (bounds[0][at], bounds[1][at]);
            let sessions = &mut self.sessions[group as usize];
            match sessions.last_mut().filter(|session| session.start == start) {
                Some(session) => session.rows.push(id),
                None => {
                    let rows = vec![id];
                    sessions.push(Session { start, end, rows });
                    self.open += 1;
                    self.timers.entry(end).or_default().push(group);
                }
            }
        }
        Ok(())
    }
}

impl Operator for SessionAssign {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let groups = self
            .table
            .groups_of(&mut self.packer, &self.spec.partition, batch.rows());
        self.sessions.resize_with(self.table.len(), Vec::new);
        let times = micros(batch.column(self.spec.time_column));
        let mut hashes = Vec::new();
        if batch.ops().is_some() {
            hash_columns(batch.rows().columns(), &mut hashes);
        }
        let mut ids = Vec::with_capacity(batch.len());
        self.store.push(batch.rows(), &mut ids)?;
        if batch.ops().is_some() {
            self.hashes.resize(self.store.id_bound(), 0);
        }
        let mut late = Vec::new();
        for (row, (id, group)) in ids.into_iter().zip(groups).enumerate() {
            if batch.op(row).is_addition() {
                if let Some(&hash) = hashes.get(row) {
                    self.hashes[id as usize] = hash;
                }
                if !self.add(group, times[row], id) {
                    late.push((id, times[row]));
                }
            } else {
                self.store.remove(id)?;
                self.take(group, times[row], hashes[row])?;
            }
        }
        self.dismiss(&late, out)
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.watermark = self.watermark.max(watermark);
        self.take_complete();
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        let before = out.rows();
        while !self.ready.is_empty() {
            if out.rows() - before >= FIRING_QUANTUM_ROWS {
                return Ok(Firing::More);
            }
            self.emit_some(out)?;
        }
        Ok(Firing::Done)
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        assert!(
            self.ready.is_empty(),
            "invariant: no firing is unfinished at a barrier"
        );
        let (mut ids, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for session in self.sessions.iter().flatten() {
            ids.extend(&session.rows);
            starts.resize(ids.len(), session.start);
            ends.resize(ids.len(), session.end);
        }
        let bounds = vec![
            ("session start", int64_column(starts)),
            ("session end", int64_column(ends)),
        ];
        into.add("rows", 0, with_columns(&self.store.gather(&ids)?, bounds)?);
        Ok(())
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        let rows = from.rows("rows")?;
        let width = self.store.schema().fields().len();
        let bounds =
            [width, width + 1].map(|column| rows.column(column).as_primitive::<Int64Type>().values());
        let own = leading(&rows, self.store.schema())?;
        self.restore_rows(&own, [bounds[0], bounds[1]])?;
        self.watermark = from.watermark();
        self.late_rows = from.late_rows();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let bytes = self.store.allocated_bytes()
            + self.table.allocated_bytes()
            + self.packer.allocated_bytes()
            + self.hashes.capacity() * size_of::<u64>()
            + self.sessions.capacity() * size_of::<Vec<Session>>()
            + lists_bytes::<Session>(self.table.len(), self.open)
            + lists_bytes::<RowId>(self.open + self.ready.len(), self.store.len())
            + self.ready.capacity() * size_of::<Session>()
            + tree_bytes::<i64, Vec<GroupIndex>>(self.timers.len())
            + lists_bytes::<GroupIndex>(self.timers.len(), self.open);
        OperatorStatistics {
            state_bytes: bytes as u64,
            keys: self.store.len() as u64,
            late_rows: self.late_rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow::array::{Int8Array, Int64Array, TimestampMillisecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    use crate::batch::Op;
    use crate::time::WATERMARK_END;

    /// (op, key, time in ms).
    type Row = (Op, i64, i64);

    fn schema(windowed: bool) -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let mut fields = vec![
            Field::new("key", DataType::Int64, false),
            Field::new("ts", time.clone(), false),
        ];
        if windowed {
            let bounds = ["window_start", "window_end", "window_time"];
            fields.extend(bounds.map(|name| Field::new(name, time.clone(), false)));
        }
        Arc::new(Schema::new(fields))
    }

    fn put(assign: &mut SessionAssign, rows: &[Row]) {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>()),
            Arc::new(TimestampMillisecondArray::from_iter_values(
                rows.iter().map(|row| row.2),
            )),
        ];
        let batch = RecordBatch::try_new(schema(false), columns).unwrap();
        let ops: Int8Array = rows.iter().map(|row| Some(row.0.code())).collect();
        assign
            .process(0, Batch::changes(batch, ops, 0), &mut Output::new())
            .unwrap();
    }

    /// (key, time, start, end) of what comes out, in milliseconds.
    fn advance(assign: &mut SessionAssign, watermark_us: i64) -> Vec<(i64, i64, i64, i64)> {
        let mut out = Output::new();
        assert_eq!(assign.advance(watermark_us, &mut out).unwrap(), Firing::Done);
        let mut found = Vec::new();
        for batch in out.take() {
            let keys = batch.column(0).as_primitive::<Int64Type>().clone();
            let times: Vec<_> = (1..4).map(|column| micros(batch.column(column))).collect();
            for (row, &key) in keys.values().iter().enumerate() {
                found.push((
                    key,
                    times[0][row] / 1_000,
                    times[1][row] / 1_000,
                    times[2][row] / 1_000,
                ));
            }
        }
        found.sort();
        found
    }

    fn assign() -> SessionAssign {
        let spec = SessionSpec {
            time_column: 1,
            partition: vec![0],
            gap_us: 10_000,
            tick_us: 1_000,
            tells_late: false,
        };
        SessionAssign::new(&spec, schema(false), schema(true))
    }

    #[test]
    fn rows_within_the_gap_are_one_session_in_whatever_order_they_come() {
        let mut assign = assign();
        put(
            &mut assign,
            &[(Op::Insert, 1, 100), (Op::Insert, 1, 120), (Op::Insert, 2, 105)],
        );
        // Joins the first two: 100, 109, 118, 120.
        put(&mut assign, &[(Op::Insert, 1, 109), (Op::Insert, 1, 118)]);
        assert_eq!(advance(&mut assign, 113_999), []);
        assert_eq!(advance(&mut assign, 114_000), [(2, 105, 105, 115)]);
        let first = [100, 109, 118, 120].map(|time| (1, time, 100, 130));
        assert_eq!(advance(&mut assign, WATERMARK_END), first);
        assert_eq!(assign.statistics().keys, 0);
    }

    #[test]
    fn a_session_that_grows_fires_at_its_new_end() {
        let mut assign = assign();
        put(&mut assign, &[(Op::Insert, 1, 100)]);
        put(&mut assign, &[(Op::Insert, 1, 109)]);
        assert_eq!(advance(&mut assign, 117_000), []);
        assert_eq!(
            advance(&mut assign, 118_000),
            [(1, 100, 100, 119), (1, 109, 100, 119)]
        );
    }

    #[test]
    fn a_row_at_the_gap_begins_the_next_session() {
        let mut assign = assign();
        put(&mut assign, &[(Op::Insert, 1, 100), (Op::Insert, 1, 110)]);
        let expected = [(1, 100, 100, 110), (1, 110, 110, 120)];
        assert_eq!(advance(&mut assign, WATERMARK_END), expected);
    }

    #[test]
    fn a_late_row_still_counts_in_a_session_that_is_open() {
        let mut assign = assign();
        put(&mut assign, &[(Op::Insert, 1, 100)]);
        assert_eq!(advance(&mut assign, 105_000), []);
        put(
            &mut assign,
            &[(Op::Insert, 1, 95), (Op::Insert, 2, 95), (Op::Insert, 2, 97)],
        );
        assert_eq!(
            assign.statistics().late_rows,
            1,
            "95 + 10 is complete, 97 + 10 is not"
        );
        let expected = [(1, 95, 95, 110), (1, 100, 95, 110), (2, 97, 97, 107)];
        assert_eq!(advance(&mut assign, WATERMARK_END), expected);
    }

    #[test]
    fn a_row_taken_back_never_comes_out() {
        let mut assign = assign();
        put(
            &mut assign,
            &[(Op::Insert, 1, 100), (Op::Insert, 1, 105), (Op::Insert, 2, 100)],
        );
        put(&mut assign, &[(Op::Delete, 1, 105), (Op::Delete, 2, 100)]);
        assert_eq!(advance(&mut assign, WATERMARK_END), [(1, 100, 100, 115)]);
    }
}
