//! The logical plan node of a window TVF: `TUMBLE`, `HOP`, `CUMULATE` or `SESSION` over a relation.
//!
//! Made by the query planner's relation hook, read by the stream plan builder. Its output is the
//! input's columns followed by `window_start`, `window_end` and `window_time`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result, TableReference};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::error::Position;
use crate::plan::WindowKind;

/// Names of the columns that a window TVF appends, in order.
pub const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// What tells one `LATE DATA TO` from another: its line and column.
pub type LateClauseId = (u64, u64);

/// A window TVF over `input`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowTvf {
    /// The relation.
    pub input: LogicalPlan,
    /// The column that says when.
    pub time_column: Column,
    /// The kind and its sizes.
    pub kind: WindowKind,
    /// Shift of all window starts, microseconds.
    pub offset_us: i64,
    /// `PARTITION BY` of a session.
    pub partition: Vec<Column>,
    /// Where the TVF stands in the SQL text: (line, column, length).
    pub position: (u64, u64, u64),
    /// The `LATE DATA TO` that takes its late rows: all columns of the relation are needed for it.
    pub late: Option<LateClauseId>,
    schema: DFSchemaRef,
}

impl WindowTvf {
    /// A window TVF over `input`; an error if `time_column` is not one of its columns.
    pub fn try_new(
        input: LogicalPlan,
        time_column: Column,
        kind: WindowKind,
        offset_us: i64,
        partition: Vec<Column>,
        position: Position,
    ) -> Result<WindowTvf> {
        // The bounds have the qualifier of the relation, so that `B.window_start` resolves.
        let qualifier = input.schema().iter().next();
        let qualifier = qualifier.and_then(|(qualifier, _)| qualifier.cloned());
        WindowTvf::qualified(
            input,
            time_column,
            kind,
            offset_us,
            partition,
            position,
            qualifier,
        )
    }

    /// The same, its bounds behind that qualifier.
    fn qualified(
        input: LogicalPlan,
        time_column: Column,
        kind: WindowKind,
        offset_us: i64,
        partition: Vec<Column>,
        position: Position,
        qualifier: Option<TableReference>,
    ) -> Result<WindowTvf> {
        let time_type = input.schema().data_type(&time_column)?.clone();
        let mut fields: Vec<(Option<TableReference>, Arc<Field>)> = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), field.clone()))
            .collect();
        let bound_type = match time_type {
            DataType::Timestamp(unit, zone) => DataType::Timestamp(unit, zone),
            _ => DataType::Timestamp(TimeUnit::Millisecond, None),
        };
        for name in WINDOW_COLUMNS {
            fields.push((
                qualifier.clone(),
                Arc::new(Field::new(name, bound_type.clone(), false)),
            ));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        let position = (position.line, position.column, position.length);
        Ok(WindowTvf {
            input,
            time_column,
            kind,
            offset_us,
            partition,
            position,
            late: None,
            schema,
        })
    }

    /// The same, its late rows taken by that clause.
    pub fn with_late(self, late: Option<LateClauseId>) -> WindowTvf {
        WindowTvf { late, ..self }
    }

    /// Where the TVF stands in the SQL text.
    pub fn position(&self) -> Position {
        let (line, column, length) = self.position;
        Position { line, column, length }
    }
}

impl PartialOrd for WindowTvf {
    fn partial_cmp(&self, other: &WindowTvf) -> Option<Ordering> {
        (&self.kind, self.offset_us, self.position).partial_cmp(&(
            &other.kind,
            other.offset_us,
            other.position,
        ))
    }
}

impl UserDefinedLogicalNodeCore for WindowTvf {
    fn name(&self) -> &str {
        "WindowTvf"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let columns = std::iter::once(&self.time_column).chain(&self.partition);
        columns.cloned().map(Expr::Column).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowTvf: {:?} on {}", self.kind, self.time_column)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<WindowTvf> {
        let input = inputs.swap_remove(0);
        let mut columns = Vec::with_capacity(exprs.len());
        for expr in exprs {
            match expr {
                Expr::Column(column) => columns.push(column),
                other => return datafusion_common::internal_err!("window TVF over {other}, not a column"),
            }
        }
        let time_column = columns.remove(0);
        // What reads the bounds knows them by this qualifier, whatever columns the input has lost.
        let (qualifier, _) = self.schema.qualified_field(self.schema.fields().len() - 1);
        let same = WindowTvf::qualified(
            input,
            time_column,
            self.kind,
            self.offset_us,
            columns,
            self.position(),
            qualifier.cloned(),
        )?;
        Ok(same.with_late(self.late))
    }

    /// Filters on the relation's own columns may move below the TVF; filters on window bounds may not. Below
    /// a session only filters on its key may: a row that is filtered out still holds a session together.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let bounds = WINDOW_COLUMNS.iter().map(|name| name.to_string());
        let is_session = matches!(self.kind, WindowKind::Session { .. });
        let fields = self.input.schema().fields().iter().filter(|_| is_session);
        let is_key = |name: &str| self.partition.iter().any(|column| column.name == name);
        let others = fields
            .map(|field| field.name().clone())
            .filter(|name| !is_key(name));
        bounds.chain(others).collect()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        if self.late.is_some() {
            return Some(vec![(0..width).collect()]);
        }
        let mut needed: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|&index| index < width)
            .collect();
        for column in std::iter::once(&self.time_column).chain(&self.partition) {
            needed.extend(self.input.schema().maybe_index_of_column(column));
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
