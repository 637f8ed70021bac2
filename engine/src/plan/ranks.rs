//! Specifications of what ranks and sorts rows; part of the plan's vocabulary, see `plan`.

use crate::sql::statement::Emit;

/// What a rank counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankFunction {
    /// Position; rows that are equal keep the order in which they came.
    RowNumber,
    /// 1 + number of rows before; equal rows share it.
    Rank,
    /// 1 + number of different values before.
    DenseRank,
}

/// One column of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortColumn {
    /// The column.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// NULLs before all values.
    pub nulls_first: bool,
}

/// The first rows of each partition; output = input columns, then the rank where it is asked for.
#[derive(Clone, Debug)]
pub struct RankSpec {
    /// `PARTITION BY` columns; empty = all rows together.
    pub partition: Vec<usize>,
    /// `ORDER BY`; empty = the order of arrival.
    pub order: Vec<SortColumn>,
    /// What is counted.
    pub function: RankFunction,
    /// The first rank that comes out, from 1.
    pub first: u64,
    /// The last rank that comes out.
    pub last: u64,
    /// Whether the rank comes out as a column.
    pub output_rank: bool,
    /// The window-end column if the partition is part of a window: results come once it is complete.
    pub window: Option<RankWindow>,
    /// The event-time column if this keeps the first row by it: that row comes out once the watermark has
    /// passed it.
    pub keeps_first_by: Option<usize>,
    /// When results come out.
    pub emit: Emit,
    /// Whether the input may take rows back.
    pub input_retracts: bool,
    /// How long a partition is kept after it changed last, microseconds; `None` = for ever.
    pub ttl_us: Option<u64>,
}

impl RankSpec {
    /// Whether nothing that comes out is ever taken back: rows come in the order that is asked for, or wait
    /// until they are settled.
    pub fn is_append_only(&self) -> bool {
        let in_order = self.order.is_empty() && !self.input_retracts;
        in_order || self.window.is_some() || self.keeps_first_by.is_some() || self.emit == Emit::Final
    }
}

/// The window that a rank is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankWindow {
    /// The `window_end` column.
    pub end_column: usize,
    /// See [`WindowSpec::tick_us`].
    pub tick_us: i64,
}

/// Rows in order; output = input.
#[derive(Clone, Debug)]
pub struct SortSpec {
    /// The order.
    pub order: Vec<SortColumn>,
    /// The event-time column if the order starts with it, rising: rows come as the watermark passes
    /// them; otherwise they come at the end of the input.
    pub time_column: Option<usize>,
    /// Whether the input may take rows back.
    pub input_retracts: bool,
}
