//! Table scans: one source per table, whoever reads it, its changes made a changelog that can be
//! followed (`NormalizeSpec`).
//!
//! What a source delivers and filters is decided in `scans`, from all uses of the table together.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion_expr::TableScan;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::plan::builder::{Builder, names_of, planning_error};
use crate::plan::growth::kept_for;
use crate::plan::lowered::{ColumnSource, Lowered, schema_of};
use crate::plan::partitioner::{self, KeyedOperator};
use crate::plan::{Distribution, NodeId, NodeKind, NormalizeSpec, PlanNode, StateGrowth, scans};
use crate::sql::catalog::{SourceChanges, TableDefinition};

/// A source node and the table column behind each of its output columns.
#[derive(Clone)]
pub(super) struct SharedSource {
    node: NodeId,
    output_columns: Vec<usize>,
    filtered: bool,
}

impl Builder<'_> {
    pub(super) fn lower_scan(&mut self, scan: &TableScan) -> Result<Lowered, SqlError> {
        let name = scan.table_name.table().to_string();
        let table = self
            .catalog
            .tables
            .get(&name)
            .expect("invariant: planned tables are in the catalog")
            .clone();
        let source = match self.sources.get(&name) {
            Some(source) => source.clone(),
            None => self.add_source(&name, &table)?,
        };
        let schema = table.schema();
        let position_of = |column: usize| {
            source
                .output_columns
                .iter()
                .position(|&c| c == column)
                .expect("invariant: read columns are delivered")
        };
        let projected = scan
            .projection
            .clone()
            .unwrap_or_else(|| (0..schema.fields().len()).collect());
        let mut lowered = Lowered::identity(source.node, 0);
        lowered.columns = projected
            .iter()
            .map(|&column| ColumnSource::Physical(position_of(column)))
            .collect();
        if source.filtered {
            return Ok(lowered);
        }
        match scans::scan_filter(scan, &schema, &self.expressions).map_err(planning_error)? {
            None => Ok(lowered),
            Some(filter) => {
                let delivered = source_positions(&source.output_columns, &schema);
                let filter = scans::replace_columns(filter, &delivered).map_err(planning_error)?;
                lowered.node = self.add_filter(lowered.node, filter);
                Ok(lowered)
            }
        }
    }

    fn add_source(&mut self, name: &str, table: &Arc<TableDefinition>) -> Result<SharedSource, SqlError> {
        let table_use = &self.table_uses[name];
        let source = scans::table_source(table, table_use, &self.expressions).map_err(planning_error)?;
        let event_time = table.watermark.as_ref().and_then(|watermark| {
            source
                .output_columns
                .iter()
                .position(|&column| column == watermark.column)
        });
        let position_of = |columns: &[usize]| -> Vec<usize> {
            let position = |column: &usize| source.output_columns.iter().position(|known| known == column);
            columns.iter().filter_map(position).collect()
        };
        let fields = source
            .spec
            .output
            .iter()
            .map(|(_, field)| field.clone())
            .collect();
        let node = self.add(PlanNode {
            id: 0,
            kind: NodeKind::Source(source.spec),
            inputs: Vec::new(),
            schema: schema_of(fields),
            changelog: match table.source_changes() {
                SourceChanges::None => Changelog::Append,
                SourceChanges::Retract => Changelog::Retract,
                SourceChanges::Upsert => Changelog::Upsert(position_of(&table.primary_key)),
            },
            event_time,
            distribution: match self.settings.one_shard {
                true => Distribution::Single,
                false => Distribution::Source,
            },
            growth: StateGrowth::Stateless,
        });
        let node = self.normalized(node, position_of(&table.primary_key), table);
        let shared = SharedSource {
            node,
            output_columns: source.output_columns,
            filtered: source.filtered,
        };
        self.sources.insert(name.to_string(), shared.clone());
        Ok(shared)
    }

    /// A source that replaces rows by their key, or may repeat itself, as a changelog that does not.
    fn normalized(&mut self, source: NodeId, key: Vec<usize>, table: &TableDefinition) -> NodeId {
        let repeats = self.settings.source_repeats_changes && key.len() == table.primary_key.len();
        let needed = match table.source_changes() {
            SourceChanges::None => false,
            SourceChanges::Retract => repeats && !key.is_empty(),
            SourceChanges::Upsert => true,
        };
        if !needed {
            return source;
        }
        let node = self.nodes[source].clone();
        let key_names = names_of(&node.schema, &key);
        let partitioning = partitioner::select(&KeyedOperator {
            name: "the changelog of an upsert source",
            key_names: &key_names,
            keys: &key,
            input: &node.distribution,
            two_phase: Err("a row replaces the one before it".to_string()),
        });
        let (below, _) = self.add_exchange(source, key.clone(), &partitioning);
        let below = self.nodes[below].clone();
        let ttl_us = self.settings.state_ttl_us;
        self.add(PlanNode {
            kind: NodeKind::Normalize(NormalizeSpec { key, ttl_us }),
            inputs: vec![below.id],
            changelog: Changelog::Retract,
            growth: kept_for(
                format!("the last row per distinct ({})", key_names.join(", ")),
                ttl_us,
            ),
            ..below
        })
    }
}

/// Columns of a source's output for each table column; those not delivered are never asked for.
fn source_positions(output_columns: &[usize], schema: &Schema) -> Vec<Arc<dyn PhysicalExpr>> {
    let fields = schema.fields().iter().enumerate();
    fields
        .map(|(column, field)| {
            let position = output_columns
                .iter()
                .position(|&c| c == column)
                .unwrap_or(usize::MAX);
            Arc::new(Column::new(field.name(), position)) as Arc<dyn PhysicalExpr>
        })
        .collect()
}
