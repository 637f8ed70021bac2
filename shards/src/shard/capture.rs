//! The shard's part of an epoch: what its sources, operators and sinks give as the barrier passes them, handed
//! over once it has passed all and what operators held is written, which they do a quantum at a time while
//! they work on; and how a shard takes such a part back.
//!
//! **Invariant.** Everything in a snapshot is as of one cut: behind every row before the barrier, before every
//! row behind it. Entries wait until the shard has captured, so nothing overtakes the barrier.

use engine::operators::{Firing, Operator};
use engine::plan::NodeId;
use engine::snapshot::{OperatorSnapshot, PartNumber, Placement, StateReader, StateWriter, check_layout};
use engine::time::WatermarkUs;

use crate::checkpoint::{NodeSnapshot, Restore, ShardSnapshot, SnapshotSink, SourceSnapshot};
use crate::clock::Clock;
use crate::connector::{ConnectorError, Prepared};
use crate::epoch::Epoch;
use crate::shard::graph::{Node, Role};
use crate::shard::{Shard, ShardError};

/// What has been captured of the epoch under way.
#[derive(Default)]
pub(super) struct Capture {
    snapshots: Option<Box<dyn SnapshotSink>>,
    sources: Vec<(NodeId, SourceSnapshot)>,
    operators: Vec<(NodeId, NodeSnapshot)>,
    sinks: Vec<(NodeId, Vec<Prepared>)>,
    /// Operators whose state is being written while they work on.
    writing: Vec<Writing>,
    /// The epoch that every sink has met and that is handed over once all is written.
    cut: Option<Epoch>,
    /// The newest epoch handed over.
    epoch: Epoch,
    /// The next number of a part that later snapshots may keep, if they may.
    next_part: Option<PartNumber>,
}

/// An operator whose state is being written.
struct Writing {
    node: NodeId,
    writer: StateWriter,
    watermark: WatermarkUs,
    late_rows: u64,
}

impl Capture {
    pub(super) fn new(snapshots: Option<Box<dyn SnapshotSink>>) -> Capture {
        let keeps = snapshots
            .as_ref()
            .is_some_and(|taker| taker.puts_back_kept_parts());
        Capture {
            snapshots,
            next_part: keeps.then_some(0),
            ..Capture::default()
        }
    }
}

impl Shard {
    /// Source number `index` sends its barrier.
    pub(super) fn capture_source(&mut self, index: usize) -> Result<(), ShardError> {
        let node = self.sources[index].node();
        if self.capture.snapshots.is_some() {
            self.finish_last_epoch()?;
            let snapshot = self.sources[index].snapshot(name_of(&self.nodes[node]));
            self.capture.sources.push((node, snapshot));
        }
        Ok(())
    }

    /// The barrier passes operator `id`, which has been flushed: what it holds now is written, a quantum at once.
    pub(super) fn capture_operator(&mut self, id: NodeId, clock: &dyn Clock) -> Result<(), ShardError> {
        if self.nodes[id].name.is_none() || self.capture.snapshots.is_none() {
            return Ok(());
        }
        self.finish_last_epoch()?;
        assert!(
            !self.capture.holds(id),
            "invariant: a barrier passes an operator once an epoch"
        );
        let started = clock.now();
        let writer = StateWriter::numbering(self.capture.next_part);
        let writing = begin_writing(id, &mut self.nodes[id], writer)?;
        self.capture.next_part = writing.writer.next();
        self.capture.writing.push(writing);
        self.profile.record_snapshot(clock.now() - started);
        Ok(())
    }

    /// Writes a quantum of one operator's state; answers whether there was any. With the last one the epoch is
    /// handed over.
    pub(super) fn write_on(&mut self, clock: &dyn Clock) -> Result<bool, ShardError> {
        if self.capture.writing.is_empty() {
            return Ok(false);
        }
        let started = clock.now();
        self.write_quantum()?;
        self.profile.record_snapshot(clock.now() - started);
        self.hand_over_written()?;
        Ok(true)
    }

    fn write_quantum(&mut self) -> Result<(), ShardError> {
        let Some(writing) = self.capture.writing.last_mut() else {
            return Ok(());
        };
        let node = &mut self.nodes[writing.node];
        writing.writer.number_from(self.capture.next_part);
        let firing = operator_of(node).record(&mut writing.writer)?;
        self.capture.next_part = writing.writer.next();
        if firing == Firing::Done
            && let Some(written) = self.capture.writing.pop()
        {
            let state = written.writer.finish(written.watermark, written.late_rows);
            let snapshot = NodeSnapshot {
                name: name_of(node),
                state: Some(state),
            };
            self.capture.operators.push((written.node, snapshot));
        }
        Ok(())
    }

    /// The barrier of another epoch comes while the last one is being written: its rest is written at once.
    fn finish_last_epoch(&mut self) -> Result<(), ShardError> {
        if self.capture.cut.is_none() {
            return Ok(());
        }
        while !self.capture.writing.is_empty() {
            self.write_quantum()?;
        }
        self.hand_over_written()
    }

    /// Hands over the epoch that every sink has met, once all of it is written.
    fn hand_over_written(&mut self) -> Result<(), ShardError> {
        if self.capture.writing.is_empty()
            && let Some(epoch) = self.capture.cut.take()
        {
            self.capture.epoch = epoch;
            self.give(epoch, false)?;
        }
        Ok(())
    }

    /// The barrier has reached sink `id`.
    pub(super) fn capture_sink(&mut self, id: NodeId) -> Result<(), ShardError> {
        if self.capture.snapshots.is_some() {
            self.finish_last_epoch()?;
        }
        if self.capture.snapshots.is_some()
            && let Role::Sink(end) = &mut self.nodes[id].role
        {
            let prepared = end.sink.prepare()?;
            self.capture.sinks.push((id, prepared));
        }
        self.settle_sink(id).map(|_| ())
    }

    /// Asks sink `id` whether what it wrote before the barrier is out; answers whether the epoch counts now.
    pub(super) fn settle_sink(&mut self, id: NodeId) -> Result<bool, ShardError> {
        let Role::Sink(end) = &mut self.nodes[id].role else {
            return Ok(false);
        };
        if end.epoch == end.met || (self.capture.snapshots.is_some() && !end.sink.is_settled()?) {
            return Ok(false);
        }
        end.epoch = end.met;
        Ok(true)
    }

    /// Asks the sinks that had not settled; answers whether one has now.
    pub(super) fn settle_sinks(&mut self) -> Result<bool, ShardError> {
        let mut progress = false;
        for id in 0..self.nodes.len() {
            progress |= self.settle_sink(id)?;
        }
        if progress {
            self.publish_epoch()?;
        }
        Ok(progress)
    }

    /// Every sink has met `epoch`: the shard's part of it is handed over, now or once it is written.
    pub(super) fn hand_over(&mut self, epoch: Epoch) -> Result<(), ShardError> {
        if self.capture.snapshots.is_none() {
            return Ok(());
        }
        self.finish_last_epoch()?;
        self.capture_what_ended()?;
        self.capture.cut = Some(epoch);
        self.hand_over_written()
    }

    /// The shard has nothing more to do: if its input has ended, what it holds now stands for all later epochs.
    pub(super) fn hand_over_end(&mut self) -> Result<(), ShardError> {
        assert!(
            self.capture.is_written(),
            "invariant: a shard leaves once its last epoch is handed over"
        );
        if self.capture.snapshots.is_none() || self.epoch_captured != Epoch::MAX {
            return Ok(());
        }
        self.capture_what_ended()?;
        self.give(self.capture.epoch, true)
    }

    fn give(&mut self, epoch: Epoch, finished: bool) -> Result<(), ShardError> {
        let capture = &mut self.capture;
        capture.sources.sort_by_key(|(node, _)| *node);
        capture.operators.sort_by_key(|(node, _)| *node);
        let sinks = std::mem::take(&mut capture.sinks).into_iter();
        let nodes = &self.nodes;
        let snapshot = ShardSnapshot {
            epoch,
            shard: self.id,
            finished,
            operators: std::mem::take(&mut capture.operators)
                .into_iter()
                .map(|(_, operator)| operator)
                .collect(),
            sources: std::mem::take(&mut capture.sources)
                .into_iter()
                .map(|(_, source)| source)
                .collect(),
            sinks: sinks
                .map(|(node, prepared)| (name_of(&nodes[node]), prepared))
                .collect(),
        };
        let taker = capture.snapshots.as_mut();
        taker
            .expect("invariant: a snapshot is made for its taker")
            .take(snapshot)?;
        Ok(())
    }

    /// What no barrier comes to any more: sources, operators and sinks whose input has ended.
    fn capture_what_ended(&mut self) -> Result<(), ShardError> {
        for source in &self.sources {
            let node = source.node();
            if !self.capture.sources.iter().any(|(known, _)| *known == node) {
                let snapshot = source.snapshot(name_of(&self.nodes[node]));
                self.capture.sources.push((node, snapshot));
            }
        }
        for (id, node) in self.nodes.iter_mut().enumerate() {
            match &mut node.role {
                Role::Operator(_) => {
                    let is_captured = self.capture.holds(id);
                    if let Some(name) = node.name.clone().filter(|_| !is_captured) {
                        assert!(
                            node.spent,
                            "invariant: a barrier passes every operator that goes on"
                        );
                        self.capture
                            .operators
                            .push((id, NodeSnapshot { name, state: None }));
                    }
                }
                Role::Sink(end) => {
                    let is_captured = self.capture.sinks.iter().any(|(known, _)| *known == id);
                    if !is_captured && !end.settled {
                        let prepared = end.sink.prepare()?;
                        end.settled = end.closed;
                        self.capture.sinks.push((id, prepared));
                    }
                }
                Role::Source | Role::Exchange(_) => {}
            }
        }
        Ok(())
    }

    /// Takes back this shard's part of what all shards of the job before held.
    pub(super) fn restore(&mut self, restore: &Restore) -> Result<(), ShardError> {
        for source in &mut self.sources {
            let name = name_of(&self.nodes[source.node()]);
            source.restore(&restore.source(&name))?;
        }
        for id in 0..self.nodes.len() {
            self.restore_operator(id, restore)?;
        }
        Ok(())
    }

    fn restore_operator(&mut self, id: NodeId, restore: &Restore) -> Result<(), ShardError> {
        let node = &mut self.nodes[id];
        let Some(name) = node.name.clone() else {
            return Ok(());
        };
        if !matches!(node.role, Role::Operator(_)) {
            return Ok(());
        }
        let written = restore.operator(&name);
        if written.is_empty() {
            // A statement that was added since starts fresh.
            return Ok(());
        }
        let states: Vec<&OperatorSnapshot> = written.iter().filter_map(|part| part.state.as_ref()).collect();
        let Some(first) = states.first() else {
            node.spent = true;
            return Ok(());
        };
        let layout = layout_of(id, node)?;
        check_layout(&layout, first).map_err(|what| {
            ConnectorError::new(format!(
                "the checkpoint does not fit '{name}': {what}; start with another checkpoint directory, or with the \
                 SQL that wrote it"
            ))
        })?;
        let placements = Placement::of_inputs(&self.plan, id);
        let reader = StateReader::new(states, placements, self.id, self.control.shards());
        node.watermarks.restore(reader.watermark());
        operator_of(node).restore(&reader)?;
        Ok(())
    }
}

impl Capture {
    /// Whether no epoch waits for its last operator to be written.
    pub(super) fn is_written(&self) -> bool {
        self.cut.is_none()
    }

    /// Whether operator `id` is written or being written for the epoch under way.
    fn holds(&self, id: NodeId) -> bool {
        self.operators.iter().any(|(known, _)| *known == id)
            || self.writing.iter().any(|writing| writing.node == id)
    }
}

/// Begins to write what an operator holds, with the watermark that it has been told.
fn begin_writing(id: NodeId, node: &mut Node, mut writer: StateWriter) -> Result<Writing, ShardError> {
    operator_of(node).snapshot(&mut writer)?;
    Ok(Writing {
        node: id,
        writer,
        watermark: node.watermarks.merged(),
        late_rows: operator_of(node).statistics().late_rows,
    })
}

/// The tables of a new operator.
fn layout_of(id: NodeId, node: &mut Node) -> Result<OperatorSnapshot, ShardError> {
    let mut writing = begin_writing(id, node, StateWriter::new())?;
    let rest = operator_of(node).record(&mut writing.writer)?;
    assert_eq!(rest, Firing::Done, "invariant: a new operator holds nothing");
    Ok(writing.writer.finish(writing.watermark, writing.late_rows))
}

fn operator_of(node: &mut Node) -> &mut dyn Operator {
    let Role::Operator(operator) = &mut node.role else {
        unreachable!("invariant: only operators hold state")
    };
    operator.as_mut()
}

fn name_of(node: &Node) -> String {
    node.name
        .clone()
        .expect("invariant: sources and sinks have names, as all that is read by a query")
}
