//! Checkpoints: what a shard hands over at the end of an epoch, how it lies in a file, and what to go on from.
//!
//! - [`codec`]: a shard's snapshot as bytes and back, and [`catalog`]: where parts lie that a snapshot keeps;
//! - [`manifest`]: what makes the files of an epoch one checkpoint;
//! - [`recovery`]: from what lies in a directory, which epoch to restore and what to delete.
//!
//! **Invariant.** Nothing here reads or writes files: storage reads facts, a pure function decides, storage
//! executes. An epoch exists once its manifest does, and the manifest is written last.

pub mod catalog;
pub mod codec;
pub mod manifest;
pub mod recovery;

use std::sync::Arc;

use engine::plan::StreamPlan;
use engine::plan::state_names::{StateName, state_names};
use engine::snapshot::OperatorSnapshot;
use engine::time::WatermarkUs;

use crate::connector::{ConnectorError, Prepared, SplitPosition};
use crate::epoch::Epoch;

/// What one shard holds at the end of an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardSnapshot {
    /// The epoch; of a shard that has finished, the last one before its end.
    pub epoch: Epoch,
    /// The shard.
    pub shard: usize,
    /// All input of the shard has ended and everything is out: this snapshot stands for all later epochs.
    pub finished: bool,
    /// Its operators.
    pub operators: Vec<NodeSnapshot>,
    /// Its sources.
    pub sources: Vec<SourceSnapshot>,
    /// By sink, what must be committed for its output to be seen.
    pub sinks: Vec<(String, Vec<Prepared>)>,
}

/// One operator.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSnapshot {
    /// Which.
    pub name: String,
    /// What it holds; `None` once its input has ended and it has answered.
    pub state: Option<OperatorSnapshot>,
}

/// One source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceSnapshot {
    /// Which.
    pub name: String,
    /// Where its splits are to be read on.
    pub positions: Vec<SplitPosition>,
    /// By split, the watermark that its rows have implied.
    pub watermarks: Vec<(String, WatermarkUs)>,
}

/// Takes the snapshots of one shard; does not block.
pub trait SnapshotSink {
    /// The shard's part of an epoch. It is durable once its bytes are: that is the taker's to tell.
    ///
    /// # Errors
    /// It can take no more; the job stops with this message.
    fn take(&mut self, snapshot: ShardSnapshot) -> Result<(), ConnectorError>;

    /// Whether a snapshot may keep parts of the one before, which the taker puts back before anybody reads it.
    fn puts_back_kept_parts(&self) -> bool {
        false
    }
}

/// What a job goes on from: the snapshots of all shards that the job before ran on.
#[derive(Clone, Debug)]
pub struct Restore {
    /// By shard.
    pub shards: Arc<Vec<ShardSnapshot>>,
}

impl Restore {
    /// The operator of that name, as each shard wrote it; shards on which it had ended leave it out.
    pub fn operator(&self, name: &str) -> Vec<&NodeSnapshot> {
        let operators = self.shards.iter().flat_map(|shard| &shard.operators);
        operators.filter(|operator| operator.name == name).collect()
    }

    /// The source of that name, as each shard wrote it.
    pub fn source(&self, name: &str) -> Vec<&SourceSnapshot> {
        let sources = self.shards.iter().flat_map(|shard| &shard.sources);
        sources.filter(|source| source.name == name).collect()
    }
}

/// By node, the name of what it keeps.
pub(crate) fn names_of(plan: &StreamPlan) -> Vec<Option<String>> {
    let names = state_names(plan).into_iter();
    names
        .map(|name| name.map(|StateName { name, .. }| name))
        .collect()
}
