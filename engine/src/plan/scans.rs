//! Sources of a job: one scan per table, shared by every statement that reads it.
//!
//! A table read in one way gets its filter and columns pushed into the source; a table read in
//! several ways is read once with the union of the columns, and each reader filters for itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{LogicalPlan, TableScan};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;

use crate::plan::expressions::Expressions;
use crate::plan::{SourceSpec, SourceWatermark};
use crate::sql::catalog::{SourceChanges, TableColumnKind, TableDefinition};

/// How the statements of a job read one table.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableUse {
    scans: HashSet<TableScan>,
    /// Whether some reader waits for event time: a window, OVER, or a join.
    needs_watermark: bool,
}

impl TableUse {
    /// The table columns that some reader needs.
    fn columns(&self, width: usize) -> BTreeSet<usize> {
        let all = || (0..width).collect::<Vec<_>>();
        self.scans
            .iter()
            .flat_map(|scan| scan.projection.clone().unwrap_or_else(all))
            .collect()
    }

    /// The one way in which the table is read, if there is but one.
    fn only_scan(&self) -> Option<&TableScan> {
        self.scans.iter().next().filter(|_| self.scans.len() == 1)
    }
}

/// Every table read by `plans`, and how.
pub(crate) fn collect_table_uses<'a>(
    plans: impl Iterator<Item = &'a LogicalPlan>,
) -> BTreeMap<String, TableUse> {
    let mut uses: BTreeMap<String, TableUse> = BTreeMap::new();
    for plan in plans {
        let waits = |node: &LogicalPlan| {
            Ok(matches!(
                node,
                LogicalPlan::Extension(_)
                    | LogicalPlan::Window(_)
                    | LogicalPlan::Join(_)
                    | LogicalPlan::Sort(_)
            ))
        };
        let needs_watermark = plan
            .exists(waits)
            .expect("invariant: looking at nodes cannot fail");
        plan.apply(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let table_use = uses.entry(scan.table_name.table().to_string()).or_default();
                table_use.scans.insert(scan.clone());
                table_use.needs_watermark |= needs_watermark;
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .expect("invariant: collecting scans cannot fail");
    }
    uses
}

/// A source that serves all readers of a table.
pub(crate) struct TableSource {
    /// What the source node does.
    pub(crate) spec: SourceSpec,
    /// The table column behind each output column.
    pub(crate) output_columns: Vec<usize>,
    /// Whether the source applies the readers' filter, so that they need not.
    pub(crate) filtered: bool,
}

/// The source for `table`, read as `table_use` says.
pub(crate) fn table_source(
    table: &Arc<TableDefinition>,
    table_use: &TableUse,
    expressions: &Expressions,
) -> Result<TableSource> {
    let schema = table.schema();
    let over_ingest = columns_over_ingest(table);
    let mut output_columns: BTreeSet<usize> = table_use.columns(schema.fields().len());
    let mut filter = None;
    let mut filtered = true;
    let changes = table.source_changes();
    if changes == SourceChanges::Upsert {
        output_columns.extend(&table.primary_key);
    }
    // A filter in the source would cut an update in two: it stands behind a source of changes.
    match table_use.only_scan().filter(|_| changes == SourceChanges::None) {
        Some(scan) => filter = scan_filter(scan, &schema, expressions)?,
        None => {
            filtered = false;
            for scan in &table_use.scans {
                if let Some(filter) = scan_filter(scan, &schema, expressions)? {
                    output_columns.extend(collect_columns(&filter).iter().map(Column::index));
                }
            }
        }
    }
    if output_columns.is_empty() {
        // COUNT(*) needs rows, not columns: the cheapest column stands for them.
        output_columns.insert(cheapest_column(&schema));
    }
    let output_columns: Vec<usize> = output_columns.into_iter().collect();

    let filter = filter
        .map(|filter| replace_columns(filter, &over_ingest))
        .transpose()?;
    // Nothing is decoded only to derive a watermark that nobody waits for.
    let watermark = match table.watermark.as_ref().filter(|_| table_use.needs_watermark) {
        Some(watermark) => Some(SourceWatermark {
            event_time: over_ingest[watermark.column].clone(),
            watermark: replace_columns(watermark.expression.clone(), &over_ingest)?,
        }),
        None => None,
    };
    let output: Vec<(Arc<dyn PhysicalExpr>, FieldRef)> = output_columns
        .iter()
        .map(|&column| (over_ingest[column].clone(), table.columns[column].field.clone()))
        .collect();
    let spec = narrow_to_ingest(table, filter, watermark, output)?;
    Ok(TableSource {
        spec,
        output_columns,
        filtered,
    })
}

/// The filter of a scan over the table's columns; `None` if it has none.
pub(crate) fn scan_filter(
    scan: &TableScan,
    schema: &Schema,
    expressions: &Expressions,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let Some(filter) = conjunction(scan.filters.clone()) else {
        return Ok(None);
    };
    let qualified = DFSchema::try_from_qualified_schema(scan.table_name.clone(), schema)?;
    expressions.physical(&filter, &qualified).map(Some)
}

/// Each table column as an expression over the table's ingest schema.
fn columns_over_ingest(table: &TableDefinition) -> Vec<Arc<dyn PhysicalExpr>> {
    let delivered = table.ingest_schema().fields().len();
    let mut ingest = 0;
    table
        .columns
        .iter()
        .map(|column| match &column.kind {
            TableColumnKind::Computed(expression) => expression.clone(),
            // Stands behind all columns that are delivered.
            TableColumnKind::ProcessingTime => Arc::new(Column::new(column.field.name(), delivered)),
            TableColumnKind::Physical | TableColumnKind::Metadata { .. } => {
                ingest += 1;
                Arc::new(Column::new(column.field.name(), ingest - 1)) as Arc<dyn PhysicalExpr>
            }
        })
        .collect()
}

/// Keeps only the ingest columns that something reads, and renumbers them.
fn narrow_to_ingest(
    table: &Arc<TableDefinition>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    watermark: Option<SourceWatermark>,
    output: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
) -> Result<SourceSpec> {
    let ingest_schema = table.ingest_schema();
    let mut needed: BTreeSet<usize> = BTreeSet::new();
    let mut need = |expression: &Arc<dyn PhysicalExpr>| {
        needed.extend(collect_columns(expression).iter().map(Column::index));
    };
    output.iter().for_each(|(expression, _)| need(expression));
    filter.iter().for_each(&mut need);
    if let Some(watermark) = &watermark {
        need(&watermark.event_time);
        need(&watermark.watermark);
    }
    let has_processing_time = needed.remove(&ingest_schema.fields().len());
    let has_ops = table.source_changes() != SourceChanges::None;
    if needed.is_empty() {
        needed.insert(cheapest_column(&ingest_schema));
    }
    let ingest: Vec<usize> = needed.into_iter().collect();
    let mut delivered: Vec<Arc<dyn PhysicalExpr>> = (0..ingest_schema.fields().len())
        .map(|i| Arc::new(Column::new("", i)) as _)
        .collect();
    let processing_time = ingest.len() + usize::from(has_ops);
    delivered.push(Arc::new(Column::new("processing time", processing_time)));
    for (position, &column) in ingest.iter().enumerate() {
        delivered[column] = Arc::new(Column::new(ingest_schema.field(column).name(), position));
    }
    let watermark = watermark
        .map(|watermark| {
            Ok::<_, datafusion_common::DataFusionError>(SourceWatermark {
                event_time: replace_columns(watermark.event_time, &delivered)?,
                watermark: replace_columns(watermark.watermark, &delivered)?,
            })
        })
        .transpose()?;
    Ok(SourceSpec {
        quiet_timeout_us: None,
        table: table.clone(),
        ingest,
        key_texts: Vec::new(),
        has_ops,
        has_processing_time,
        output: output
            .into_iter()
            .map(|(expression, field)| Ok((replace_columns(expression, &delivered)?, field)))
            .collect::<Result<_>>()?,
        watermark,
        filter: filter
            .map(|filter| replace_columns(filter, &delivered))
            .transpose()?,
    })
}

/// `expression` with column `i` replaced by `replacements[i]`.
pub(crate) fn replace_columns(
    expression: Arc<dyn PhysicalExpr>,
    replacements: &[Arc<dyn PhysicalExpr>],
) -> Result<Arc<dyn PhysicalExpr>> {
    expression
        .transform_up(|node| match node.downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::yes(replacements[column.index()].clone())),
            None => Ok(Transformed::no(node)),
        })
        .data()
}

/// The column that costs least to read: the first of a fixed width, else the first.
fn cheapest_column(schema: &Schema) -> usize {
    let is_cheap = |data_type: &DataType| data_type.primitive_width().is_some();
    schema
        .fields()
        .iter()
        .position(|field| is_cheap(field.data_type()))
        .unwrap_or(0)
}
