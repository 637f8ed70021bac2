//! `LATE DATA TO`: the rows that a window comes too late for, as an input of a query of their own.
//!
//! In front of the window stands an operator that says of each row whether it is late; two filters behind it
//! part the rows. So a row goes to the window or to the late rows, and never to both or to neither, however
//! far the window lags behind with its firing.
//!
//! **Invariant.** Rows are judged where the window judges them: behind its exchange, by the same watermark.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion_common::{DFSchemaRef, Result};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, NotExpr};

use crate::error::SqlError;
use crate::plan::builder::{Builder, MapOutput};
use crate::plan::lowered::{ColumnSource, LateColumns, Lowered, schema_of};
use crate::plan::window_tvf::LateClauseId;
use crate::plan::{LateRowsSpec, NodeId, NodeKind, PlanNode, StateGrowth, WindowSpec};

/// The logical plan of the late rows: the columns of the windowed relation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LateInput {
    /// The clause that takes them.
    pub clause: LateClauseId,
    /// The columns.
    pub schema: DFSchemaRef,
}

impl PartialOrd for LateInput {
    fn partial_cmp(&self, other: &LateInput) -> Option<Ordering> {
        self.clause.partial_cmp(&other.clause)
    }
}

impl UserDefinedLogicalNodeCore for LateInput {
    fn name(&self) -> &str {
        "LateInput"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LateInput")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, _: Vec<LogicalPlan>) -> Result<LateInput> {
        Ok(self.clone())
    }
}

impl LateColumns {
    /// The same columns in `output`, a map over a node of schema `input`; those that are not there are added.
    pub(crate) fn kept_by(self, output: &mut MapOutput, input: &SchemaRef) -> LateColumns {
        let mut kept = |column: usize| {
            output.position_of_input(column).unwrap_or_else(|| {
                let field = input.fields()[column].clone();
                output.add(Arc::new(Column::new(field.name(), column)), field)
            })
        };
        LateColumns {
            columns: self.columns.into_iter().map(&mut kept).collect(),
            ..self
        }
    }
}

impl Builder<'_> {
    /// The late rows of the window that the clause stands behind.
    pub(super) fn lower_late_input(&mut self, input: &LateInput) -> std::result::Result<Lowered, SqlError> {
        self.late_rows.get(&input.clause).cloned().ok_or_else(|| {
            self.error("LATE DATA TO finds no window here that rows can be late for")
                .hint("put it behind a query that aggregates over a window, or reads a window TVF")
        })
    }

    /// The rows of `lowered` that its pending window is not too late for, where a clause asks for the others.
    pub(super) fn without_late_rows(&mut self, lowered: Lowered, window: WindowSpec) -> Lowered {
        match &lowered.late {
            Some(late) => {
                let node = self.add_late_rows(lowered.node, window, 0, late);
                Lowered { node, ..lowered }
            }
            None => lowered,
        }
    }

    /// Tells late rows apart in front of `window`; answers the node whose rows are not late.
    pub(super) fn add_late_rows(
        &mut self,
        input: NodeId,
        window: WindowSpec,
        lateness_us: i64,
        late: &LateColumns,
    ) -> NodeId {
        let input = self.nodes[input].clone();
        let mut fields: Vec<FieldRef> = input.schema.fields().to_vec();
        fields.push(late_field());
        let node = self.add(PlanNode {
            kind: NodeKind::LateRows(LateRowsSpec { window, lateness_us }),
            inputs: vec![input.id],
            schema: schema_of(fields),
            growth: StateGrowth::Stateless,
            ..input
        });
        self.part_late_rows(node, late)
    }

    /// Parts the rows of `node` by its last column, which says which are late; answers the node whose rows are
    /// not.
    pub(super) fn part_late_rows(&mut self, node: NodeId, late: &LateColumns) -> NodeId {
        let last = self.nodes[node].schema.fields().len() - 1;
        let is_late: Arc<dyn PhysicalExpr> = Arc::new(Column::new(late_field().name(), last));
        let late_rows = Lowered {
            columns: late.columns.iter().copied().map(ColumnSource::Physical).collect(),
            ..Lowered::identity(self.add_filter(node, is_late.clone()), 0)
        };
        self.late_rows.insert(late.clause, late_rows);
        self.add_filter(node, Arc::new(NotExpr::new(is_late)))
    }
}

/// The column that says whether a row is late.
pub(crate) fn late_field() -> FieldRef {
    Arc::new(Field::new("late", DataType::Boolean, false))
}
