//! `VALUES`, and a SELECT without FROM: a source whose rows stand in the text.
//!
//! **Invariant.** The rows are constants: they are computed here, once, and every shard sees the same ones.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{ColumnarValue, EmptyRelation, Expr, Values};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::{Position, SqlError};
use crate::plan::builder::{Builder, planning_error};
use crate::plan::lowered::Lowered;
use crate::plan::{Distribution, NodeKind, PlanNode, SourceSpec, StateGrowth};
use crate::sql::catalog::{TableColumn, TableColumnKind, TableDefinition};
use crate::sql::statement::TableOption;

/// The connector of tables whose rows stand in the text; no CREATE TABLE can name it.
pub const VALUES: &str = "values";

impl Builder<'_> {
    pub(super) fn lower_values(&mut self, values: &Values) -> Result<Lowered, SqlError> {
        let mut columns = Vec::new();
        let mut fields: Vec<FieldRef> = Vec::new();
        for (index, field) in values.schema.fields().iter().enumerate() {
            let cells = values
                .values
                .iter()
                .map(|row| self.constant(&row[index], field.data_type()));
            let cells = cells.collect::<Result<Vec<ScalarValue>, SqlError>>()?;
            columns.push(ScalarValue::iter_to_array(cells).map_err(planning_error)?);
            fields.push(Arc::new(Field::new(
                field.name(),
                field.data_type().clone(),
                true,
            )));
        }
        self.add_values(fields, columns)
    }

    /// No row, behind a condition that is never true; or one without columns, which a SELECT without FROM reads: a
    /// column stands for it that nobody sees.
    pub(super) fn lower_empty(&mut self, empty: &EmptyRelation) -> Result<Lowered, SqlError> {
        if !empty.produce_one_row {
            let fields: Vec<FieldRef> = empty.schema.fields().iter().cloned().collect();
            let columns = fields.iter().map(|field| new_empty_array(field.data_type()));
            let columns = columns.collect();
            return self.add_values(fields, columns);
        }
        let row: ArrayRef = ScalarValue::from(0i64).to_array().map_err(planning_error)?;
        let field = Arc::new(Field::new("row", DataType::Int64, true));
        let mut lowered = self.add_values(vec![field], vec![row])?;
        lowered.columns.clear();
        Ok(lowered)
    }

    fn constant(&self, expression: &Expr, wanted: &DataType) -> Result<ScalarValue, SqlError> {
        let value = match expression {
            Expr::Literal(value, _) => value.clone(),
            computed => {
                let physical = self.expressions.physical(computed, &DFSchema::empty());
                let options = RecordBatchOptions::new().with_row_count(Some(1));
                let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
                let row = row.expect("invariant: a row may have no columns");
                match physical
                    .and_then(|physical| physical.evaluate(&row))
                    .map_err(planning_error)?
                {
                    ColumnarValue::Scalar(value) => value,
                    ColumnarValue::Array(one) => {
                        ScalarValue::try_from_array(&one, 0).map_err(planning_error)?
                    }
                }
            }
        };
        value.cast_to(wanted).map_err(planning_error)
    }

    fn add_values(&mut self, fields: Vec<FieldRef>, columns: Vec<ArrayRef>) -> Result<Lowered, SqlError> {
        let is_values =
            |node: &&PlanNode| matches!(&node.kind, NodeKind::Source(spec) if spec.table.rows.is_some());
        let number = self.nodes.iter().filter(is_values).count() + 1;
        let schema = Arc::new(Schema::new(fields.clone()));
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns)
            .map_err(|error| self.error_at(&["VALUES"], error.to_string()))?;
        let column = |field: &FieldRef| TableColumn {
            field: field.clone(),
            kind: TableColumnKind::Physical,
        };
        let option = |key: &str, value: &str| TableOption {
            key: key.to_string(),
            key_position: Position::default(),
            value: value.to_string(),
            value_position: Position::default(),
        };
        let table = TableDefinition {
            name: format!("VALUES {number}"),
            position: Position::default(),
            columns: fields.iter().map(column).collect(),
            watermark: None,
            primary_key: Vec::new(),
            options: vec![option("connector", VALUES)],
            rows: Some(rows),
        };
        let pass = |(index, field): (usize, &FieldRef)| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
            (column, field.clone())
        };
        let width = fields.len();
        let node = self.add(PlanNode {
            id: 0,
            kind: NodeKind::Source(SourceSpec {
                table: Arc::new(table),
                ingest: (0..width).collect(),
                key_texts: Vec::new(),
                has_ops: false,
                has_processing_time: false,
                output: fields.iter().enumerate().map(pass).collect(),
                watermark: None,
                quiet_timeout_us: None,
                filter: None,
            }),
            inputs: Vec::new(),
            schema,
            changelog: Changelog::Append,
            event_time: None,
            distribution: match self.settings.one_shard {
                true => Distribution::Single,
                false => Distribution::Source,
            },
            growth: StateGrowth::Stateless,
        });
        Ok(Lowered::identity(node, width))
    }
}
