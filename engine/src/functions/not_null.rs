//! The check in front of a table whose column is declared NOT NULL.
//!
//! **Invariant.** No NULL gets past it: what is written can be read again with the same declaration.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion_common::{Result, exec_err, internal_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

/// Its input, or an error where that is NULL.
#[derive(Debug, Eq)]
pub(crate) struct NotNull {
    input: Arc<dyn PhysicalExpr>,
    /// The column and the table that it is written to.
    column: String,
    table: String,
}

impl NotNull {
    /// `input` on its way to column `column` of table `table`.
    pub(crate) fn new(input: Arc<dyn PhysicalExpr>, column: &str, table: &str) -> NotNull {
        NotNull {
            input,
            column: column.to_string(),
            table: table.to_string(),
        }
    }

    /// What is checked.
    pub(crate) fn input(&self) -> &Arc<dyn PhysicalExpr> {
        &self.input
    }
}

// By hand: the derived ones would move the shared expression.
impl PartialEq for NotNull {
    fn eq(&self, other: &NotNull) -> bool {
        self.input.eq(&other.input) && self.column == other.column && self.table == other.table
    }
}

impl Hash for NotNull {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.column.hash(state);
        self.table.hash(state);
    }
}

impl fmt::Display for NotNull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.input)
    }
}

impl PhysicalExpr for NotNull {
    fn data_type(&self, input: &Schema) -> Result<DataType> {
        self.input.data_type(input)
    }

    fn nullable(&self, _input: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        let field = self.input.return_field(input)?;
        Ok(Arc::new(field.as_ref().clone().with_nullable(false)))
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.input.evaluate(rows)?.into_array(rows.num_rows())?;
        match values.null_count() {
            0 => Ok(ColumnarValue::Array(values)),
            nulls => exec_err!(
                "column `{}` of table `{}` is NOT NULL, and {nulls} of {} rows have NULL there; filter such rows out \
                 or give them a value with COALESCE",
                self.column,
                self.table,
                rows.num_rows()
            ),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let Some(input) = children.pop() else {
            return internal_err!("a check for NULL has one child");
        };
        Ok(Arc::new(NotNull::new(input, &self.column, &self.table)))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.input.fmt_sql(f)
    }
}
