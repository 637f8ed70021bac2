//! Inner join of two inputs that carry the same windows: rows are kept by window end, and joined
//! when the watermark passes it; then the window is dropped.
//!
//! A hash table over the smaller side's equal columns (in arrow's row encoding), probed by the
//! larger side in quanta; NULL equals nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow_row::{RowConverter, Rows, SortField};
use datafusion_physical_expr::PhysicalExpr;

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::error::ExecutionError;
use crate::operators::ingest::micros;
use crate::operators::map::{definite, evaluate};
use crate::operators::{FIRING_QUANTUM_ROWS, Firing, Operator, OperatorStatistics, Output};
use crate::plan::WindowJoinSpec;
use crate::time::{WATERMARK_NONE, WatermarkUs};

const LEFT: usize = 0;

/// The window join operator.
pub struct WindowJoin {
    window_end: [usize; 2],
    keys: [Vec<usize>; 2],
    filter: Option<Arc<dyn PhysicalExpr>>,
    tick_us: i64,
    inputs: [SchemaRef; 2],
    output: SchemaRef,
    converter: RowConverter,
    windows: BTreeMap<i64, [Vec<RecordBatch>; 2]>,
    firing: VecDeque<Joining>,
    watermark: WatermarkUs,
    rows: u64,
    bytes: u64,
    late_rows: u64,
}

/// A complete window while it is joined.
struct Joining {
    /// Rows of both sides; `build` says which one is in the table.
    sides: [RecordBatch; 2],
    build: usize,
    /// Rows of the build side by key.
    table: HashMap<Box<[u8]>, Vec<u32>, foldhash::fast::FixedState>,
    probe_keys: Rows,
    /// The next probe row, and how many of its matches are out.
    next: (usize, usize),
}

impl WindowJoin {
    /// A join as `spec` says; output = left columns, then right columns.
    pub fn new(
        spec: &WindowJoinSpec,
        left: SchemaRef,
        right: SchemaRef,
        output: SchemaRef,
    ) -> Result<WindowJoin, ExecutionError> {
        let fields = spec
            .equal
            .iter()
            .map(|&(column, _)| SortField::new(left.field(column).data_type().clone()))
            .collect();
        Ok(WindowJoin {
            window_end: [spec.window_end.0, spec.window_end.1],
            keys: [
                spec.equal.iter().map(|pair| pair.0).collect(),
                spec.equal.iter().map(|pair| pair.1).collect(),
            ],
            filter: spec.filter.clone(),
            tick_us: spec.tick_us,
            inputs: [left, right],
            output,
            converter: RowConverter::new(fields).map_err(join_error)?,
            windows: BTreeMap::new(),
            firing: VecDeque::new(),
            watermark: WATERMARK_NONE,
            rows: 0,
            bytes: 0,
            late_rows: 0,
        })
    }

    /// Keeps rows of one window.
    fn keep(&mut self, side: usize, end: i64, rows: RecordBatch) {
        if end - self.tick_us <= self.watermark {
            self.late_rows += rows.num_rows() as u64;
            return;
        }
        self.rows += rows.num_rows() as u64;
        self.bytes += rows.get_array_memory_size() as u64;
        self.windows.entry(end).or_default()[side].push(rows);
    }

    /// Prepares a complete window; `None` where one side has no row.
    fn prepare(&mut self, sides: [Vec<RecordBatch>; 2]) -> Result<Option<Joining>, ExecutionError> {
        for batches in &sides {
            self.rows -= batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
            self.bytes -= batches
                .iter()
                .map(|batch| batch.get_array_memory_size() as u64)
                .sum::<u64>();
        }
        if sides.iter().any(Vec::is_empty) {
            return Ok(None);
        }
        let [left, right] = sides;
        let left = concat_batches(&self.inputs[0], &left).map_err(join_error)?;
        let right = concat_batches(&self.inputs[1], &right).map_err(join_error)?;
        let build = usize::from(right.num_rows() < left.num_rows());
        let sides = [left, right];
        let build_keys = self.encode(build, &sides[build])?;
        let mut table: HashMap<Box<[u8]>, Vec<u32>, _> = HashMap::default();
        for (row, key) in build_keys.iter().enumerate() {
            if self.has_key(build, &sides[build], row) {
                table.entry(key.as_ref().into()).or_default().push(row as u32);
            }
        }
        let probe_keys = self.encode(1 - build, &sides[1 - build])?;
        Ok(Some(Joining {
            sides,
            build,
            table,
            probe_keys,
            next: (0, 0),
        }))
    }

    fn encode(&mut self, side: usize, rows: &RecordBatch) -> Result<Rows, ExecutionError> {
        let columns: Vec<ArrayRef> = self.keys[side]
            .iter()
            .map(|&key| rows.column(key).clone())
            .collect();
        self.converter.convert_columns(&columns).map_err(join_error)
    }

    /// Whether no equal column of the row is NULL.
    fn has_key(&self, side: usize, rows: &RecordBatch, row: usize) -> bool {
        self.keys[side].iter().all(|&key| rows.column(key).is_valid(row))
    }

    /// Emits the next matches of `joining`; answers whether it is done.
    fn join_some(&self, joining: &mut Joining, out: &mut Output) -> Result<bool, ExecutionError> {
        let probe_side = 1 - joining.build;
        let probe_rows = joining.sides[probe_side].num_rows();
        let (mut build_rows, mut probe_matches) = (Vec::new(), Vec::new());
        let (mut row, mut offset) = joining.next;
        let mut looked_at = 0;
        while row < probe_rows && build_rows.len() < BATCH_ROWS_MAX && looked_at < FIRING_QUANTUM_ROWS {
            looked_at += 1;
            let matches = match self.has_key(probe_side, &joining.sides[probe_side], row) {
                true => joining
                    .table
                    .get(joining.probe_keys.row(row).as_ref())
                    .map_or(&[][..], Vec::as_slice),
                false => &[],
            };
            let room = BATCH_ROWS_MAX - build_rows.len();
            let some = &matches[offset..matches.len().min(offset + room)];
            build_rows.extend_from_slice(some);
            probe_matches.extend(some.iter().map(|_| row as u32));
            offset += some.len();
            if offset == matches.len() {
                row += 1;
                offset = 0;
            }
        }
        joining.next = (row, offset);
        if !build_rows.is_empty() {
            let (left, right) = if joining.build == LEFT {
                (build_rows, probe_matches)
            } else {
                (probe_matches, build_rows)
            };
            self.emit(joining, left, right, out)?;
        }
        Ok(row == probe_rows)
    }

    fn emit(
        &self,
        joining: &Joining,
        left: Vec<u32>,
        right: Vec<u32>,
        out: &mut Output,
    ) -> Result<(), ExecutionError> {
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for (side, rows) in joining.sides.iter().zip([left, right]) {
            let rows = UInt32Array::from(rows);
            for column in side.columns() {
                columns.push(take(column, &rows, None).map_err(join_error)?);
            }
        }
        let joined = RecordBatch::try_new(self.output.clone(), columns).map_err(join_error)?;
        let joined = match &self.filter {
            Some(filter) => {
                let keep = evaluate(filter, &joined)?;
                filter_record_batch(&joined, &definite(keep.as_boolean())).map_err(join_error)?
            }
            None => joined,
        };
        out.emit_rows(joined);
        Ok(())
    }
}

impl Operator for WindowJoin {
    fn process(&mut self, input: usize, batch: Batch, _out: &mut Output) -> Result<(), ExecutionError> {
        let ends = micros(batch.column(self.window_end[input]));
        let Some(&first) = ends.first() else { return Ok(()) };
        if ends.iter().all(|&end| end == first) {
            self.keep(input, first, batch.rows().clone());
            return Ok(());
        }
        let mut rows_by_end: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, &end) in ends.iter().enumerate() {
            rows_by_end.entry(end).or_default().push(row as u32);
        }
        for (end, rows) in rows_by_end {
            let rows = UInt32Array::from(rows);
            let columns = batch
                .rows()
                .columns()
                .iter()
                .map(|column| take(column, &rows, None));
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(join_error)?;
            let rows = RecordBatch::try_new(batch.schema(), columns).map_err(join_error)?;
            self.keep(input, end, rows);
        }
        Ok(())
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        assert!(
            self.firing.is_empty(),
            "invariant: a firing is finished before the next"
        );
        self.watermark = watermark;
        let first_open = watermark.saturating_add(self.tick_us).saturating_add(1);
        let open = self.windows.split_off(&first_open);
        for (_, sides) in std::mem::replace(&mut self.windows, open) {
            if let Some(joining) = self.prepare(sides)? {
                self.firing.push_back(joining);
            }
        }
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        while let Some(mut joining) = self.firing.pop_front() {
            let done = self.join_some(&mut joining, out)?;
            if !done {
                self.firing.push_front(joining);
            }
            if out.rows() >= FIRING_QUANTUM_ROWS || !done {
                break;
            }
        }
        Ok(if self.firing.is_empty() {
            Firing::Done
        } else {
            Firing::More
        })
    }

    fn statistics(&self) -> OperatorStatistics {
        OperatorStatistics {
            state_bytes: self.bytes,
            keys: self.rows,
            late_rows: self.late_rows,
        }
    }
}

fn join_error(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("window join", error)
}
