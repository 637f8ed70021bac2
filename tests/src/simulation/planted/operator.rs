//! An operator with a mistake in it, or in how its shard drives it.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int8Array, RecordBatch, TimestampMillisecondArray};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::TimestampMillisecondType;
use engine::batch::Batch;
use engine::error::ExecutionError;
use engine::operators::{Firing, Operator, OperatorStatistics, Output};
use engine::plan::{NodeId, NodeKind, PlanNode, StreamPlan};
use engine::snapshot::{OperatorSnapshot, Placement, StateReader, StateWriter};
use engine::time::WatermarkUs;
use shards::checkpoint::Restore;

use crate::simulation::planted::Bug;

/// Wraps an operator.
pub struct Mistaken {
    inner: Box<dyn Operator>,
    bug: Bug,
    kind: NodeKind,
    /// The event time of its input, where its input is rows that fall into windows.
    event_time: Option<usize>,
    /// A batch that waits, and its input.
    waiting: Option<(usize, Batch)>,
    restore: Option<OtherRestore>,
}

/// What a restore finds where state goes astray.
pub struct OtherRestore {
    states: Vec<OperatorSnapshot>,
    placements: Vec<Placement>,
    shard: usize,
    shards: usize,
}

impl OtherRestore {
    /// What is there of operator `name`, the node `id` of `plan`, for shard `shard` of `shards`.
    pub fn of(
        restore: &Restore,
        name: &str,
        plan: &StreamPlan,
        id: NodeId,
        shard: usize,
        shards: usize,
    ) -> OtherRestore {
        let written = restore.operator(name).into_iter();
        OtherRestore {
            states: written.filter_map(|part| part.state.clone()).collect(),
            placements: Placement::of_inputs(plan, id),
            shard,
            shards,
        }
    }
}

impl Mistaken {
    /// Plants `bug` in `inner`, the operator of node `id`.
    pub fn new(
        inner: Box<dyn Operator>,
        bug: Bug,
        plan: &StreamPlan,
        id: NodeId,
        restore: Option<OtherRestore>,
    ) -> Mistaken {
        let node = &plan.nodes[id];
        let is_local = |node: &PlanNode| matches!(node.kind, NodeKind::LocalWindowAggregate(_));
        let takes_rows = match &node.kind {
            NodeKind::LocalWindowAggregate(_) => true,
            NodeKind::WindowAggregate(_) => !plan.nodes.iter().any(is_local),
            _ => false,
        };
        let input = node.inputs.first().filter(|_| takes_rows);
        Mistaken {
            inner,
            bug,
            kind: node.kind.clone(),
            event_time: input.and_then(|&input| plan.nodes[input].event_time),
            waiting: None,
            restore,
        }
    }

    fn let_waiting_in(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        match self.waiting.take() {
            Some((input, batch)) => self.inner.process(input, batch, out),
            None => Ok(()),
        }
    }

    fn is_aggregation(&self) -> bool {
        matches!(self.kind, NodeKind::GroupAggregate(_))
    }

    fn is_local(&self) -> bool {
        matches!(
            self.kind,
            NodeKind::LocalGroupAggregate(_) | NodeKind::LocalWindowAggregate(_)
        )
    }

    /// What comes out, with the mistake in it.
    fn spoil(&self, out: &mut Output) {
        if self.bug == Bug::RetractionDropped && self.is_aggregation() {
            let batches = out.take();
            batches
                .iter()
                .for_each(|batch| out.emit(without_retractions(batch)));
        }
    }
}

impl Operator for Mistaken {
    fn process(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        match self.bug {
            Bug::BarrierOvertakesRows | Bug::WatermarkOvertakesRows => {
                self.let_waiting_in(out)?;
                self.waiting = Some((input, batch));
            }
            Bug::WindowEndIncluded => {
                let batch = match self.event_time {
                    Some(column) => a_moment_earlier(&batch, column),
                    None => batch,
                };
                self.inner.process(input, batch, out)?;
            }
            _ => self.inner.process(input, batch, out)?,
        }
        self.spoil(out);
        Ok(())
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        if self.bug != Bug::WatermarkOvertakesRows {
            self.let_waiting_in(out)?;
        }
        let firing = self.inner.advance(watermark, out)?;
        self.let_waiting_in(out)?;
        self.spoil(out);
        Ok(firing)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        self.inner.resume(out)
    }

    fn flush_pays(&self) -> bool {
        self.inner.flush_pays()
    }

    fn flush(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        self.inner.flush(out)?;
        if self.bug == Bug::PartialLostAtFlush && self.is_local() {
            out.take().into_iter().skip(1).for_each(|batch| out.emit(batch));
        }
        self.spoil(out);
        Ok(())
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        self.inner.snapshot(into)
    }

    fn record(&mut self, into: &mut StateWriter) -> Result<Firing, ExecutionError> {
        self.inner.record(into)
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        let Some(other) = &self.restore else {
            return self.inner.restore(from);
        };
        let states: Vec<&OperatorSnapshot> = other.states.iter().collect();
        let reader = match self.bug {
            Bug::StateToWrongShard => {
                let neighbour = (other.shard + 1) % other.shards;
                StateReader::new(states, other.placements.clone(), neighbour, other.shards)
            }
            Bug::StateToEveryShard => StateReader::new(states, other.placements.clone(), 0, 1),
            _ => return self.inner.restore(from),
        };
        self.inner.restore(&reader)
    }

    fn input_ended(&mut self, input: usize, out: &mut Output) -> Result<(), ExecutionError> {
        self.let_waiting_in(out)?;
        self.inner.input_ended(input, out)
    }

    fn output_watermark(&self, watermark: WatermarkUs) -> WatermarkUs {
        self.inner.output_watermark(watermark)
    }

    fn statistics(&self) -> OperatorStatistics {
        self.inner.statistics()
    }
}

/// The additions of a batch alone.
fn without_retractions(batch: &Batch) -> Batch {
    let Some(ops) = batch.ops() else {
        return batch.clone();
    };
    let stays: BooleanArray = (0..batch.len())
        .map(|row| Some(batch.op(row).is_addition()))
        .collect();
    let rows = filter_record_batch(batch.rows(), &stays).expect("invariant: one answer a row");
    let ops = filter(ops, &stays).expect("invariant: one answer an op");
    let ops = ops.as_any().downcast_ref::<Int8Array>().cloned();
    Batch::new(rows, ops, batch.arrival_ns)
}

/// Event times a millisecond earlier: what is at a window's end falls into it.
fn a_moment_earlier(batch: &Batch, column: usize) -> Batch {
    let (rows, ops, arrival_ns) = batch.clone().into_parts();
    let Some(times) = rows.column(column).as_primitive_opt::<TimestampMillisecondType>() else {
        return batch.clone();
    };
    let earlier: TimestampMillisecondArray = times.unary(|time| time - 1);
    let mut columns = rows.columns().to_vec();
    columns[column] = Arc::new(earlier) as ArrayRef;
    let rows = RecordBatch::try_new(rows.schema(), columns).expect("invariant: the types stay");
    Batch::new(rows, ops, arrival_ns)
}
