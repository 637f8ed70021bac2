//! Promise P4 where rows can be counted: between a source and the operator behind its exchange.
//!
//! With C credits of P rows at most from each of N shards to each other, and one batch that waits
//! for credit on each, no more than N·N·C·P + N·P rows are under way, however slow the rest is.

use engine::plan::{NodeKind, StreamPlan};

use crate::simulation::connectors::Consumed;
use crate::simulation::scenario::Scenario;
use crate::simulation::watched::Entered;

/// Counts rows under way on one exchange.
pub struct InFlight {
    left: Consumed,
    entered: Entered,
    bound: usize,
    highest: usize,
}

impl InFlight {
    /// The count, if the plan is such that every row a source delivers enters one operator behind
    /// one exchange.
    pub fn new(
        scenario: &Scenario,
        plan: &StreamPlan,
        consumed: &[Consumed],
        entered: &[Entered],
    ) -> Option<InFlight> {
        let readers = |id: usize| {
            let reads = move |node: &&engine::plan::PlanNode| node.inputs.contains(&id);
            plan.nodes.iter().filter(reads).collect::<Vec<_>>()
        };
        let source = plan
            .nodes
            .iter()
            .find(|node| matches!(&node.kind, NodeKind::Source(spec) if spec.filter.is_none()))?;
        let [exchange] = readers(source.id)[..] else {
            return None;
        };
        let [operator] = readers(exchange.id)[..] else {
            return None;
        };
        if !matches!(exchange.kind, NodeKind::Exchange(_)) || matches!(operator.kind, NodeKind::Sink(_)) {
            return None;
        }
        let (shards, batch) = (scenario.shards, scenario.poll_rows);
        Some(InFlight {
            left: consumed[source.id].clone(),
            entered: entered[operator.id].clone(),
            bound: shards
                .saturating_mul(shards * scenario.credits + 1)
                .saturating_mul(batch),
            highest: 0,
        })
    }

    /// Looks at the count.
    ///
    /// # Errors
    /// It is over the bound.
    pub fn check(&mut self) -> Result<(), String> {
        let left: usize = self.left.borrow().iter().map(|&(_, length)| length).sum();
        let rows = left - self.entered.get();
        self.highest = self.highest.max(rows);
        if rows > self.bound {
            return Err(format!("{rows} rows are under way; the bound is {}", self.bound));
        }
        Ok(())
    }

    /// The highest count, and the bound.
    pub fn highest(&self) -> (usize, usize) {
        (self.highest, self.bound)
    }
}
