//! The end of a query: the sink, what `EMIT` says of the whole query, and the check in front of NOT NULL columns.

use std::sync::Arc;

use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::functions::not_null::NotNull;
use crate::plan::builder::{Builder, MapOutput, SinkQuery, names_of};
use crate::plan::lowered::{ColumnSource, Lowered};
use crate::plan::partitioner::{self, KeyedOperator, Partitioning};
use crate::plan::{NodeId, NodeKind, PlanNode, SinkSpec, StateGrowth};
use crate::sql::catalog::TableDefinition;
use crate::sql::statement::Emit;

impl Builder<'_> {
    pub(super) fn sink(&mut self, statement: usize, query: &SinkQuery) -> Result<(), SqlError> {
        let emit = match (query.emit, self.settings.allowed_lateness_us) {
            (Emit::Default, Some(lateness_us)) => Emit::Corrected(lateness_us),
            (emit, _) => emit,
        };
        let lowered = self.lower(&query.plan, emit)?;
        if matches!(emit, Emit::Every(_)) && !self.emits_every(lowered.node) {
            return Err(self
                .error_at(
                    &["EMIT"],
                    "EMIT EVERY has nothing to hold back: this query answers each row as it comes",
                )
                .hint("leave it out, or aggregate"));
        }
        let lowered = self.in_logical_order(lowered, query.plan.schema())?;
        let lowered = match &query.table {
            Some(table) => self.enforce_not_null(lowered, table),
            None => lowered,
        };
        let below = match query.table.as_ref().filter(|table| table.sink_replaces_by_key()) {
            Some(table) => self.gather_by_key(lowered.node, table)?,
            None => lowered.node,
        };
        let input = &self.nodes[below];
        let schema = match &query.table {
            Some(table) => table.sink_schema(),
            None => Arc::new(query.plan.schema().as_arrow().clone()),
        };
        assert_eq!(
            schema.fields().len(),
            input.schema.fields().len(),
            "invariant: inserts are checked"
        );
        let node = PlanNode {
            id: 0,
            kind: NodeKind::Sink(SinkSpec {
                table: query.table.clone(),
                statement,
            }),
            inputs: vec![below],
            schema,
            changelog: Changelog::Append,
            event_time: input.event_time,
            distribution: input.distribution.clone(),
            growth: StateGrowth::Stateless,
        };
        let sink = self.add(node);
        match query.timeout_us {
            Some(timeout_us) => self.set_quiet_timeout(sink, timeout_us),
            None => Ok(()),
        }
    }

    /// Rows of one primary key on one shard, in order: where a row replaces another, the last one counts.
    fn gather_by_key(&mut self, node: NodeId, table: &TableDefinition) -> Result<NodeId, SqlError> {
        let sink = table.sink_schema();
        let names = table.primary_key.iter().map(|&key| &table.columns[key].field);
        let key = names.map(|field| sink.index_of(field.name()));
        let key: Vec<usize> = key
            .collect::<Result<_, _>>()
            .expect("invariant: columns of a primary key are written");
        let key_names = names_of(&sink, &key);
        let input = &self.nodes[node];
        let partitioning = partitioner::select(&KeyedOperator {
            name: "a sink that replaces rows by their key",
            key_names: &key_names,
            keys: &key,
            input: &input.distribution,
            two_phase: Err("the last one counts".to_string()),
        });
        let is_gathered = matches!(partitioning, Partitioning::CoPartitioned(_));
        if input.changelog.has_ops() && !is_gathered {
            // What takes a row back and what puts another into its place would come from two shards.
            return Err(SqlError::new(format!(
                "the query changes rows by another key than the PRIMARY KEY ({}) of `{}`",
                key_names.join(", "),
                table.name
            ))
            .hint("aggregate by the columns of the PRIMARY KEY last, or declare the key that the query groups by"));
        }
        Ok(self.add_exchange(node, key, &partitioning).0)
    }

    /// Event time goes on by the clock in the sources that `node` reads, once they are quiet; of several
    /// statements that read one source the most impatient decides.
    fn set_quiet_timeout(&mut self, node: NodeId, timeout_us: u64) -> Result<(), SqlError> {
        let mut waiting = vec![node];
        let mut has_event_time = false;
        while let Some(id) = waiting.pop() {
            waiting.extend(&self.nodes[id].inputs);
            if let NodeKind::Source(spec) = &mut self.nodes[id].kind {
                has_event_time |= spec.watermark.is_some();
                let known = spec.quiet_timeout_us.unwrap_or(timeout_us);
                spec.quiet_timeout_us = Some(known.min(timeout_us));
            }
        }
        match has_event_time {
            true => Ok(()),
            false => Err(self
                .error_at(
                    &["TIMEOUT"],
                    "EMIT … TIMEOUT has nothing to wait for: this query does not look at event time",
                )
                .hint("leave TIMEOUT out, or aggregate over a window")),
        }
    }

    /// A check in front of the columns that `table` declares NOT NULL and the query does not know to be so.
    fn enforce_not_null(&mut self, lowered: Lowered, table: &TableDefinition) -> Lowered {
        let sink = table.sink_schema();
        let input = self.nodes[lowered.node].schema.clone();
        let enforced = |index: usize| input.field(index).is_nullable() && !sink.field(index).is_nullable();
        if !(0..sink.fields().len()).any(enforced) {
            return lowered;
        }
        let mut output = MapOutput::default();
        for (index, field) in input.fields().iter().enumerate() {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
            output.columns.push(match enforced(index) {
                true => {
                    let checked = NotNull::new(column, sink.field(index).name(), &table.name);
                    let field = field.as_ref().clone().with_nullable(false);
                    (Arc::new(checked) as Arc<dyn PhysicalExpr>, Arc::new(field))
                }
                false => (column, field.clone()),
            });
        }
        let columns = (0..input.fields().len()).map(ColumnSource::Physical).collect();
        self.add_projection(lowered, columns, output)
    }

    /// Whether an aggregation that `node` reads from emits at intervals.
    fn emits_every(&self, node: NodeId) -> bool {
        let node = &self.nodes[node];
        let emit = match &node.kind {
            NodeKind::GroupAggregate(spec) => spec.emit,
            NodeKind::WindowAggregate(spec) => spec.emit,
            _ => Emit::Default,
        };
        matches!(emit, Emit::Every(_)) || node.inputs.iter().any(|&input| self.emits_every(input))
    }
}
