//! The shard's part of an epoch: what its sources, operators and sinks give as the barrier passes them, handed
//! over once it has passed all; and how a shard takes such a part back.
//!
//! **Invariant.** Everything in a snapshot is as of one cut: behind every row before the barrier, before every
//! row behind it. Entries wait until the shard has captured, so nothing overtakes the barrier.

use engine::plan::NodeId;
use engine::snapshot::{OperatorSnapshot, Placement, StateReader, StateWriter, check_layout};

use crate::checkpoint::{NodeSnapshot, Restore, ShardSnapshot, SnapshotSink, SourceSnapshot};
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
    /// The newest epoch handed over.
    epoch: Epoch,
}

impl Capture {
    pub(super) fn new(snapshots: Option<Box<dyn SnapshotSink>>) -> Capture {
        Capture {
            snapshots,
            ..Capture::default()
        }
    }
}

impl Shard {
    /// Source number `index` sends its barrier.
    pub(super) fn capture_source(&mut self, index: usize) {
        let node = self.sources[index].node();
        if self.capture.snapshots.is_some() {
            let snapshot = self.sources[index].snapshot(name_of(&self.nodes[node]));
            self.capture.sources.push((node, snapshot));
        }
    }

    /// The barrier passes operator `id`, which has been flushed.
    pub(super) fn capture_operator(&mut self, id: NodeId) -> Result<(), ShardError> {
        let Some(name) = self.nodes[id].name.clone() else {
            return Ok(());
        };
        if self.capture.snapshots.is_some() {
            let is_captured = self.capture.operators.iter().any(|(known, _)| *known == id);
            assert!(
                !is_captured,
                "invariant: a barrier passes an operator once an epoch"
            );
            let state = Some(snapshot_of(&mut self.nodes[id])?);
            self.capture.operators.push((id, NodeSnapshot { name, state }));
        }
        Ok(())
    }

    /// The barrier has reached sink `id`.
    pub(super) fn capture_sink(&mut self, id: NodeId) -> Result<(), ShardError> {
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

    /// Hands over the shard's part of `epoch`, which every sink has met.
    pub(super) fn hand_over(&mut self, epoch: Epoch) -> Result<(), ShardError> {
        if self.capture.snapshots.is_none() {
            return Ok(());
        }
        self.capture_what_ended()?;
        self.capture.epoch = epoch;
        self.give(epoch, false)
    }

    /// The shard has nothing more to do: if its input has ended, what it holds now stands for all later epochs.
    pub(super) fn hand_over_end(&mut self) -> Result<(), ShardError> {
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
                    let is_captured = self.capture.operators.iter().any(|(known, _)| *known == id);
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
        let layout = snapshot_of(node)?;
        check_layout(&layout, first).map_err(|what| {
            ConnectorError::new(format!(
                "the checkpoint does not fit '{name}': {what}; start with another checkpoint directory, or with the \
                 SQL that wrote it"
            ))
        })?;
        let placements = Placement::of_inputs(&self.plan, id);
        let reader = StateReader::new(states, placements, self.id, self.control.shards());
        node.watermarks.restore(reader.watermark());
        let Role::Operator(operator) = &mut node.role else {
            unreachable!("invariant: looked at above")
        };
        operator.restore(&reader)?;
        Ok(())
    }
}

/// What an operator holds, with the watermark that it has been told.
fn snapshot_of(node: &mut Node) -> Result<OperatorSnapshot, ShardError> {
    let watermark = node.watermarks.merged();
    let Role::Operator(operator) = &mut node.role else {
        unreachable!("invariant: only operators hold state")
    };
    let mut writer = StateWriter::new();
    operator.snapshot(&mut writer)?;
    Ok(writer.finish(watermark, operator.statistics().late_rows)?)
}

fn name_of(node: &Node) -> String {
    node.name
        .clone()
        .expect("invariant: sources and sinks have names, as all that is read by a query")
}
