//! The logical plan node of MATCH_RECOGNIZE.
//!
//! Made by the query planner's relation hook, read by `lower_match`. Its output is the partition columns, the
//! values that measures are computed of, and the event time of the match; the measures themselves are a
//! projection above it.
//!
//! **Invariant.** Conditions are over the columns of `value_schema`, with types coerced when they were planned;
//! everything in `expressions` is over the input.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef};
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::error::Position;
use crate::plan::match_spec::{MatchSkip, RowEnd};
use crate::plan::row_pattern::RowPattern;

/// The column that holds the event time of a match.
pub(crate) const MATCH_TIME: &str = "$match_time";

/// A value of a match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogicalValue {
    /// Which rows it is of.
    pub rows: ValueRows,
    /// What of them: an expression over the input, or an aggregate call over it.
    pub expression: Expr,
    /// Its name, as a query would write it, and its type.
    pub field: FieldRef,
}

/// The rows that a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ValueRows {
    /// One row: see [`crate::plan::match_spec::RowReference`].
    One {
        variable: Option<usize>,
        from: RowEnd,
        offset: usize,
        back: usize,
    },
    /// All rows of a variable, or of the match.
    All(Option<usize>),
}

/// What is looked for, and what is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatchClauses {
    /// Names of the pattern variables.
    pub variables: Vec<String>,
    /// The pattern.
    pub pattern: RowPattern,
    /// The values that conditions and measures look at.
    pub values: Vec<LogicalValue>,
    /// By number: the values that measures look at.
    pub outputs: Vec<usize>,
    /// Variables and what they are defined as, over the values.
    pub conditions: Vec<(usize, Expr)>,
    /// `WITHIN`, microseconds.
    pub within_us: Option<i64>,
    /// `AFTER MATCH SKIP`.
    pub skip: MatchSkip,
    /// Where the clause stands: (line, column, length).
    pub position: (u64, u64, u64),
}

/// One expression of ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatchOrder {
    pub expression: Expr,
    pub descending: bool,
    pub nulls_first: bool,
}

/// MATCH_RECOGNIZE over `input`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatchRecognize {
    pub input: LogicalPlan,
    pub partition: Vec<Expr>,
    /// The event time first.
    pub order: Vec<MatchOrder>,
    pub clauses: MatchClauses,
    schema: DFSchemaRef,
}

impl MatchRecognize {
    /// The node.
    pub(crate) fn try_new(
        input: LogicalPlan,
        partition: Vec<Expr>,
        order: Vec<MatchOrder>,
        clauses: MatchClauses,
    ) -> Result<MatchRecognize> {
        let mut fields: Vec<(Option<TableReference>, FieldRef)> = Vec::new();
        for key in &partition {
            let field = key.to_field(input.schema())?.1;
            fields.push((None, field));
        }
        let outputs = clauses.outputs.iter().map(|&value| &clauses.values[value]);
        fields.extend(outputs.map(|value| (None, value.field.clone())));
        let time = order[0].expression.get_type(input.schema())?;
        fields.push((None, Arc::new(Field::new(MATCH_TIME, time, false))));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(MatchRecognize {
            input,
            partition,
            order,
            clauses,
            schema,
        })
    }

    /// The columns that conditions are over.
    pub(crate) fn value_schema(values: &[LogicalValue]) -> Result<DFSchema> {
        let fields = values.iter().map(|value| (None, value.field.clone()));
        DFSchema::new_with_metadata(fields.collect(), Default::default())
    }

    /// Where it stands in the SQL text.
    pub(crate) fn position(&self) -> Position {
        let (line, column, length) = self.clauses.position;
        Position { line, column, length }
    }
}

impl PartialOrd for MatchRecognize {
    fn partial_cmp(&self, other: &MatchRecognize) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for MatchRecognize {
    fn name(&self) -> &str {
        "MatchRecognize"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let order = self.order.iter().map(|order| &order.expression);
        let values = self.clauses.values.iter().map(|value| &value.expression);
        self.partition
            .iter()
            .chain(order)
            .chain(values)
            .cloned()
            .collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clauses = &self.clauses;
        write!(
            f,
            "MatchRecognize: {}",
            clauses.pattern.display(&clauses.variables)
        )
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<MatchRecognize> {
        let mut exprs = exprs.into_iter();
        let partition = exprs.by_ref().take(self.partition.len()).collect();
        let mut order = self.order.clone();
        for (order, expression) in order.iter_mut().zip(exprs.by_ref()) {
            order.expression = expression;
        }
        let mut clauses = self.clauses.clone();
        for (value, expression) in clauses.values.iter_mut().zip(exprs) {
            value.expression = expression;
        }
        MatchRecognize::try_new(inputs.swap_remove(0), partition, order, clauses)
    }

    /// A filter above looks at matches, not at rows.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let fields = self.schema.fields().iter();
        fields.map(|field| field.name().clone()).collect()
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let expressions = self.expressions();
        let columns = expressions.iter().flat_map(Expr::column_refs);
        let mut needed: Vec<usize> = columns
            .filter_map(|column| schema.maybe_index_of_column(column))
            .collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
