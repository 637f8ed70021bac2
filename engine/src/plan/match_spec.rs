//! Specification of MATCH_RECOGNIZE; part of the plan's vocabulary, see `plan`.

use std::sync::Arc;

use datafusion_physical_expr::PhysicalExpr;

use crate::plan::row_pattern::RowPattern;
use crate::plan::{AggregateCall, SortColumn};

/// Rows that follow a pattern, one row per match; output = partition columns, then one column per value in
/// `outputs`, then the event time of the match's last row.
#[derive(Clone, Debug)]
pub struct MatchSpec {
    /// `PARTITION BY` columns.
    pub partition: Vec<usize>,
    /// The event-time column ordered by.
    pub time_column: usize,
    /// What orders rows of equal event time.
    pub order: Vec<SortColumn>,
    /// Names of the pattern variables.
    pub variables: Vec<String>,
    /// The pattern.
    pub pattern: RowPattern,
    /// What rows must fulfil: all conditions of their variable.
    pub conditions: Vec<MatchCondition>,
    /// A match is shorter than this, microseconds.
    pub within_us: Option<i64>,
    /// Where the next match may begin.
    pub skip: MatchSkip,
    /// What is told of a match.
    pub outputs: Vec<MatchValue>,
}

impl MatchSpec {
    /// How many rows in front of a match its conditions look at.
    pub fn rows_before(&self) -> usize {
        let back = |value: &MatchValue| match value {
            MatchValue::Row(row) => row.back,
            MatchValue::Aggregate { .. } => 0,
        };
        let values = self.conditions.iter().flat_map(|condition| &condition.values);
        values.map(back).max().unwrap_or(0)
    }
}

/// A part of DEFINE: `AND` takes it apart.
#[derive(Clone, Debug)]
pub struct MatchCondition {
    /// The variable that is defined.
    pub variable: usize,
    /// The columns that the predicate is over, in order.
    pub values: Vec<MatchValue>,
    /// A row is one for the variable if this is true.
    pub predicate: Arc<dyn PhysicalExpr>,
}

impl MatchCondition {
    /// Whether it looks at nothing but the row itself and those before it, whatever they were taken for.
    pub fn is_of_the_row(&self) -> bool {
        let is_of_the_row = |value: &MatchValue| match value {
            MatchValue::Row(row) => {
                let is_own = row.variable.is_none_or(|variable| variable == self.variable);
                is_own && row.from == RowEnd::Last && row.offset == 0
            }
            MatchValue::Aggregate { .. } => false,
        };
        self.values.iter().all(is_of_the_row)
    }
}

/// A value of the rows of a match, the row that is being looked at included.
#[derive(Clone, Debug, PartialEq)]
pub enum MatchValue {
    /// A column of one row.
    Row(RowReference),
    /// An aggregate over the rows of a variable; `None` = all rows.
    Aggregate {
        /// The variable.
        variable: Option<usize>,
        /// The call.
        call: AggregateCall,
    },
}

/// A column of one row of a match, or of a row before it; NULL where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowReference {
    /// The column of the input.
    pub column: usize,
    /// Among the rows of this variable; `None` = among all rows of the match.
    pub variable: Option<usize>,
    /// Counted from which end.
    pub from: RowEnd,
    /// How many rows of the variable on from that end.
    pub offset: usize,
    /// And then how many rows before, whatever they are.
    pub back: usize,
}

/// An end of the rows of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowEnd {
    /// The oldest.
    First,
    /// The newest.
    Last,
}

/// Where the next match may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchSkip {
    /// Behind the match.
    PastLastRow,
    /// At its second row.
    ToNextRow,
    /// At the first row of a variable.
    ToFirst(usize),
    /// At the last row of a variable.
    ToLast(usize),
}
