//! `ORDER BY` without LIMIT: by event time a temporal sort, otherwise a sort at the end of the input.

use datafusion_expr::Sort;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::plan::builder::Builder;
use crate::plan::lowered::Lowered;
use crate::plan::partitioner::{self, KeyedOperator};
use crate::plan::{NodeKind, PlanNode, SortSpec, StateGrowth};
use crate::sql::statement::Emit;

impl Builder<'_> {
    pub(crate) fn lower_sort(&mut self, sort: &Sort) -> Result<Lowered, SqlError> {
        if sort.fetch.is_some() {
            return Err(self
                .error_at(&["LIMIT"], "this LIMIT is not supported")
                .hint("write ORDER BY … LIMIT n at the end"));
        }
        let input = self.lower(&sort.input, Emit::Default)?;
        let input = self.materialise(input);
        let (input, order) = self.sort_columns(input, sort.input.schema(), &sort.expr)?;
        let node = self.nodes[input.node].clone();
        let input_retracts = node.changelog.has_ops();
        let starts_with_time = order.first().is_some_and(|first| {
            !first.descending && node.event_time == Some(first.column) && !input_retracts
        });
        let partitioning = partitioner::select(&KeyedOperator {
            name: "ORDER BY",
            key_names: &[],
            keys: &[],
            input: &node.distribution,
            two_phase: Err("one order over all rows".to_string()),
        });
        let (below, _) = self.add_exchange(input.node, Vec::new(), &partitioning);
        let growth = match starts_with_time {
            true => StateGrowth::Bounded("rows that the watermark has not passed".to_string()),
            false => StateGrowth::PerKey("every row, until the input ends".to_string()),
        };
        let below = self.nodes[below].clone();
        let node = self.add(PlanNode {
            kind: NodeKind::Sort(SortSpec {
                time_column: order
                    .first()
                    .map(|first| first.column)
                    .filter(|_| starts_with_time),
                order,
                input_retracts,
            }),
            inputs: vec![below.id],
            changelog: Changelog::Append,
            event_time: below.event_time.filter(|_| starts_with_time),
            growth,
            ..below
        });
        Ok(Lowered {
            node,
            pending_window: None,
            ..input
        })
    }
}
