//! Where the rows of a state table belong.

use crate::plan::{Distribution, NodeId, StreamPlan};

/// The shard that takes a row back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The owner of the key group that these input columns hash to.
    Owner(Vec<usize>),
    /// Shard 0.
    First,
    /// Every shard: the input is copied to all of them.
    Every,
    /// Any one: rows stay together as they were written.
    Any,
}

impl Placement {
    /// The placements of the inputs of node `id`.
    pub fn of_inputs(plan: &StreamPlan, id: NodeId) -> Vec<Placement> {
        let inputs = plan.nodes[id].inputs.iter();
        inputs
            .map(|&input| Placement::of(&plan.nodes[input].distribution))
            .collect()
    }

    /// How rows with that distribution come to their shard.
    pub fn of(distribution: &Distribution) -> Placement {
        match distribution {
            Distribution::Hash(columns) if !columns.is_empty() => Placement::Owner(columns.clone()),
            Distribution::Hash(_) | Distribution::Source => Placement::Any,
            Distribution::Single => Placement::First,
            Distribution::Replicated => Placement::Every,
        }
    }
}
