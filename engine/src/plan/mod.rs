//! The stream plan: nodes in topological order, stages cut at exchanges, every edge typed.
//!
//! Built from optimised logical plans by `builder`; read by the shard loop, which makes one
//! operator per node and shard (`operators::build`), and by `explain`.
//!
//! **Invariant.** A node's inputs have smaller ids. Between two exchanges rows never change shard.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use crate::changelog::Changelog;
use crate::sql::catalog::TableDefinition;
use crate::sql::option_values::parse_duration_us;
use crate::sql::options::{IDLE_TIMEOUT, MAX_FUTURE};
use crate::sql::statement::Emit;

mod aggregate_calls;
pub mod builder;
mod changelog_inference;
pub(crate) mod display;
pub mod early_filter;
pub mod explain;
mod expressions;
mod growth;
mod key_texts;
mod lower_aggregate;
mod lower_grouping_sets;
mod lower_interval;
mod lower_join;
pub(crate) mod lower_late;
pub(crate) mod lower_lead;
mod lower_match;
mod lower_over;
mod lower_rank;
mod lower_scan;
mod lower_sink;
mod lower_sort;
mod lower_temporal;
pub(crate) mod lower_unnest;
pub mod lower_values;
mod lower_window_tvf;
mod lowered;
pub(crate) mod match_recognize;
pub mod match_spec;
pub mod partitioner;
mod ranks;
pub mod row_pattern;
mod scans;
mod sharing;
pub mod state_names;
pub mod warnings;
pub mod window_tvf;

pub use match_spec::MatchSpec;
pub use ranks::{RankFunction, RankSpec, RankWindow, SortColumn, SortSpec};

/// Index into [`StreamPlan::nodes`].
pub type NodeId = usize;

/// A whole job: every statement of a file, sharing sources.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// Nodes; inputs stand before their readers.
    pub nodes: Vec<PlanNode>,
    /// `SET` options in force.
    pub settings: Settings,
}

/// Settings that the engine and the shards read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a change waits for more changes of its key while rows keep coming, microseconds: where they were
    /// combined well by then. A shard without rows to work on does not wait.
    pub flush_interval_us: u64,
    /// How long a change waits at most, microseconds: `table.exec.mini-batch.allow-latency`, which sets both.
    pub flush_latest_us: u64,
    /// Two-phase aggregation (`table.optimizer.agg-phase-strategy`: AUTO/TWO_PHASE or ONE_PHASE).
    pub two_phase: bool,
    /// A split without rows for this long is left out of the watermark
    /// (`scan.watermark.idle-timeout`), microseconds; `None` = never.
    pub idle_timeout_us: Option<u64>,
    /// Event times further than this ahead of the wall clock are clamped and counted
    /// (`scan.watermark.max-future`), microseconds; `None` = trusted.
    pub max_future_us: Option<u64>,
    /// How long state that nothing touches is kept (`table.exec.state.ttl`), microseconds; `None` = for
    /// ever.
    pub state_ttl_us: Option<u64>,
    /// How often an epoch ends (`execution.checkpointing.interval`), microseconds; `None` = the default.
    pub checkpoint_interval_us: Option<u64>,
    /// Where checkpoints lie (`execution.checkpointing.dir`); `None` = none are taken.
    pub checkpoint_directory: Option<String>,
    /// How long after its end a window is corrected by rows that come late, in event time
    /// (`table.exec.emit.allow-lateness`), microseconds; `None` = not at all.
    pub allowed_lateness_us: Option<u64>,
    /// Sources of changes may tell a change twice (`table.exec.source.cdc-events-duplicate`).
    pub source_repeats_changes: bool,
    /// The job runs on one shard: all rows are where they are needed, so nothing is exchanged and
    /// nothing is aggregated in two phases. Not a SET option: the command line knows it.
    pub one_shard: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            flush_interval_us: 1_000,
            flush_latest_us: 8_000,
            two_phase: true,
            idle_timeout_us: None,
            max_future_us: None,
            state_ttl_us: None,
            checkpoint_interval_us: None,
            checkpoint_directory: None,
            allowed_lateness_us: None,
            source_repeats_changes: false,
            one_shard: false,
        }
    }
}

/// One node of the plan: an operator and what is known of its output.
#[derive(Clone, Debug)]
pub struct PlanNode {
    /// Its own index.
    pub id: NodeId,
    /// What it does.
    pub kind: NodeKind,
    /// The nodes it reads, in input order.
    pub inputs: Vec<NodeId>,
    /// The columns it emits.
    pub schema: SchemaRef,
    /// What the rows it emits may say.
    pub changelog: Changelog,
    /// The output column that carries event time, if one does.
    pub event_time: Option<usize>,
    /// How its output lies over the shards.
    pub distribution: Distribution,
    /// How its state grows.
    pub growth: StateGrowth,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// Reads a table: decode, computed columns, watermark, filter, projection.
    Source(SourceSpec),
    /// Filters, then projects.
    Map(MapSpec),
    /// Each row once per grouping set.
    Expand(ExpandSpec),
    /// Each row once per element of an array.
    Unnest(UnnestSpec),
    /// UNION ALL: rows of all inputs, watermark of the slowest.
    Union,
    /// Sends rows to the shard that owns their key.
    Exchange(ExchangeSpec),
    /// Rows of an upsert source as a changelog: each key's row, taken back before it is replaced.
    Normalize(NormalizeSpec),
    /// `FOR SYSTEM_TIME AS OF`: each left row with the right row of its key that was valid then.
    TemporalJoin(TemporalJoinSpec),
    /// First phase of a two-phase unbounded aggregation, on the rows' own shard.
    LocalGroupAggregate(GroupAggregateSpec),
    /// Aggregation without a window.
    GroupAggregate(GroupAggregateSpec),
    /// First phase of a two-phase window aggregation, on the rows' own shard.
    LocalWindowAggregate(WindowAggregateSpec),
    /// Aggregation over tumbling, hopping or cumulating windows.
    WindowAggregate(WindowAggregateSpec),
    /// A window TVF without aggregation: one row per window, `window_start/end/time` appended.
    WindowAssign(WindowSpec),
    /// `LATE DATA TO`: says of each row whether all of its windows are complete already.
    LateRows(LateRowsSpec),
    /// A session window TVF: rows with the session they belong to, once it is complete.
    SessionAssign(SessionSpec),
    /// `OVER (PARTITION BY … ORDER BY event time ROWS | RANGE …)`.
    OverAggregate(OverAggregateSpec),
    /// `LEAD(…) OVER (PARTITION BY … ORDER BY event time)`.
    Lead(LeadSpec),
    /// `MATCH_RECOGNIZE`: rows that follow a pattern.
    MatchRecognize(MatchSpec),
    /// Join of two inputs that both carry the same windows.
    WindowJoin(WindowJoinSpec),
    /// Join of two streams: regular, or within an interval of event time.
    StreamJoin(StreamJoinSpec),
    /// `ROW_NUMBER`, `RANK` or `DENSE_RANK` with a bound: the first rows of each partition.
    Rank(RankSpec),
    /// `ORDER BY`: rows in order, as the watermark passes them or at the end.
    Sort(SortSpec),
    /// Writes to a table, or to standard output.
    Sink(SinkSpec),
}

/// A source: which columns of which table, filtered how.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The table.
    pub table: Arc<TableDefinition>,
    /// Indices into `table.ingest_schema()` that the connector must deliver (in this order): those
    /// that the query, computed columns, the watermark or the filter need.
    pub ingest: Vec<usize>,
    /// Positions in `ingest` of texts that nothing but grouping keys reads: the connector may deliver them as
    /// codes of a dictionary ([`crate::encoding`]).
    pub key_texts: Vec<usize>,
    /// The connector delivers one more column behind these: what each row says (`Op::code`, TINYINT).
    pub has_ops: bool,
    /// Ingest adds one more column, the last: when the row was read (TIMESTAMP_LTZ(3)).
    pub has_processing_time: bool,
    /// Output columns over the delivered columns (computed columns, and pass-through).
    pub output: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    /// The watermark a row implies, over the delivered columns.
    pub watermark: Option<SourceWatermark>,
    /// `EMIT … TIMEOUT`: without rows for this long, event time goes on by the clock, microseconds.
    pub quiet_timeout_us: Option<u64>,
    /// Rows to keep, over the delivered columns. Evaluated after the watermark: a row that is
    /// filtered out still moves time forward.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

impl SourceSpec {
    /// After how long a silent split no longer holds the watermark back, microseconds: as the table says, or
    /// the job.
    pub fn idle_timeout_us(&self, settings: &Settings) -> Option<u64> {
        self.duration_us(IDLE_TIMEOUT)
            .or(settings.idle_timeout_us)
            .filter(|&timeout| timeout > 0)
    }

    /// How far ahead of the clock an event time is trusted, microseconds: as the table says, or the job.
    pub fn max_future_us(&self, settings: &Settings) -> Option<u64> {
        self.duration_us(MAX_FUTURE)
            .or(settings.max_future_us)
            .filter(|&future| future > 0)
    }

    fn duration_us(&self, option: &str) -> Option<u64> {
        let value = self.table.option(option)?;
        Some(parse_duration_us(value).expect("invariant: options were checked"))
    }
}

/// How a source derives its watermark, over the delivered columns.
#[derive(Clone, Debug)]
pub struct SourceWatermark {
    /// The event time of a row.
    pub event_time: Arc<dyn PhysicalExpr>,
    /// The watermark that the row implies.
    pub watermark: Arc<dyn PhysicalExpr>,
}

/// Filter, then project; either may be absent.
#[derive(Clone, Debug)]
pub struct MapSpec {
    /// Rows to keep.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Output columns; `None` = the input's.
    pub projection: Option<Vec<(Arc<dyn PhysicalExpr>, FieldRef)>>,
}

/// Rows once per grouping set; output = input columns, then the keys, then the set's id.
#[derive(Clone, Debug)]
pub struct ExpandSpec {
    /// The keys that some set leaves out.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// The sets.
    pub sets: Vec<ExpandSet>,
}

/// Rows once per element of an array; output = input columns, the element, then its place if asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnnestSpec {
    /// The column of arrays.
    pub array: usize,
    /// Whether a row without an element comes out once, padded.
    pub keeps_empty: bool,
    /// Whether the element's place, from 1, comes out.
    pub has_ordinality: bool,
}

/// A grouping set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExpandSet {
    /// Which keys it keeps; the others are NULL.
    pub keeps: Vec<bool>,
    /// What tells its rows from those of other sets.
    pub id: u64,
}

/// Where an exchange sends each row.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeSpec {
    /// Which shards.
    pub target: ExchangeTarget,
    /// Why, in one sentence: EXPLAIN prints it.
    pub reason: String,
}

/// The shards that a row is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeTarget {
    /// The owner of the key group that these columns hash to.
    Owner(Vec<usize>),
    /// Shard 0.
    First,
    /// Every shard: the small side of a join goes to where the other side's rows are.
    All,
}

/// Rows by key, as a changelog; output = input.
#[derive(Clone, Debug)]
pub struct NormalizeSpec {
    /// The primary key.
    pub key: Vec<usize>,
    /// How long a row is kept after it was replaced last, microseconds; `None` = for ever.
    pub ttl_us: Option<u64>,
}

/// Join with a versioned table; output = left columns, then right columns.
#[derive(Clone, Debug)]
pub struct TemporalJoinSpec {
    /// Whether left rows without a right one come out, padded.
    pub keeps_left: bool,
    /// Columns that must be equal.
    pub equal: Vec<JoinKey>,
    /// Further condition over left columns then right columns.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The event-time columns of both sides; `None` = processing time: the right input is read to its end
    /// first, and then left rows are looked up as they come.
    pub times: Option<(usize, usize)>,
    /// Whether each input may take rows back.
    pub retracts: [bool; 2],
}

/// An aggregate call over columns of its operator's input.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateCall {
    /// What is computed.
    pub function: AggregateFunction,
    /// Argument columns of the input.
    pub arguments: Vec<usize>,
    /// `DISTINCT`.
    pub distinct: bool,
    /// `FILTER (WHERE …)`: a BOOLEAN column of the input.
    pub filter: Option<usize>,
    /// Name and type of the result.
    pub output: FieldRef,
}

/// The aggregates with a layout of their own, and all others.
#[derive(Clone, Debug, PartialEq)]
pub enum AggregateFunction {
    /// `COUNT(*)`.
    CountStar,
    /// `COUNT(x)`.
    Count,
    /// `SUM(x)`: BIGINT, DOUBLE, DECIMAL(38, s).
    Sum,
    /// `MIN(x)`.
    Min,
    /// `MAX(x)`.
    Max,
    /// `AVG(x)`: the type of x for integers (truncated, as Flink does), DOUBLE, DECIMAL.
    Avg,
    /// Any other aggregate of DataFusion, through its row accumulator.
    Other(Arc<AggregateFunctionExpr>),
}

/// Aggregation without a window.
///
/// Output of the owner: keys, then one column per call. Output of the local phase: keys, then the
/// partial state columns (`state::accumulators` defines them), which the owner merges.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupAggregateSpec {
    /// Key columns of the input; empty = one global group.
    pub keys: Vec<usize>,
    /// The calls; none for `SELECT DISTINCT`.
    pub calls: Vec<AggregateCall>,
    /// When changes are emitted.
    pub emit: Emit,
    /// Whether the input is the local phase's output rather than rows.
    pub input_is_partial: bool,
    /// Whether the input may retract.
    pub input_retracts: bool,
    /// Whether update-before rows must be emitted (output changelog is Retract, not Upsert).
    pub emit_update_before: bool,
    /// How long a group is kept after it changed last, microseconds; `None` = for ever.
    pub ttl_us: Option<u64>,
}

/// A window: kind, offset, and the column that says when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// The kind and its sizes.
    pub kind: WindowKind,
    /// Shift of all window starts, microseconds.
    pub offset_us: i64,
    /// The event-time column of the input.
    pub time_column: usize,
    /// The resolution of that column: a window is complete at `end - tick_us` (1,000 for
    /// TIMESTAMP(3) and coarser, as Flink; 1 for TIMESTAMP(6)).
    pub tick_us: i64,
}

/// The kinds of window; sizes in microseconds, all > 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowKind {
    /// Windows side by side.
    Tumble {
        /// Length.
        size_us: i64,
    },
    /// Overlapping windows.
    Hop {
        /// Length.
        size_us: i64,
        /// Distance between starts.
        slide_us: i64,
    },
    /// Windows that grow by a step up to a size, then start anew.
    Cumulate {
        /// Final length; a multiple of the step.
        size_us: i64,
        /// Growth.
        step_us: i64,
    },
    /// Rows of a key that follow each other within a gap. Never pending: `SessionAssign` computes it.
    Session {
        /// The gap.
        gap_us: i64,
    },
}

/// Session windows; output = input columns, then `window_start`, `window_end`, `window_time`.
#[derive(Clone, Debug)]
pub struct SessionSpec {
    /// The event-time column.
    pub time_column: usize,
    /// `PARTITION BY` columns; empty = sessions of all rows together.
    pub partition: Vec<usize>,
    /// Rows further apart than this are in different sessions, microseconds.
    pub gap_us: i64,
    /// See [`WindowSpec::tick_us`].
    pub tick_us: i64,
    /// `LATE DATA TO`: one more column, `late` (BOOLEAN); late rows come out at once.
    pub tells_late: bool,
}

/// Rows told apart by whether they are late; output = input columns, then `late` (BOOLEAN).
#[derive(Clone, Copy, Debug)]
pub struct LateRowsSpec {
    /// The window behind it.
    pub window: WindowSpec,
    /// How long a complete window is still corrected, microseconds.
    pub lateness_us: i64,
}

/// Aggregation over windows.
///
/// Output of the owner: keys, one column per call, then `window_start`, `window_end`,
/// `window_time` (all of the time column's type). Output of the local phase: keys, partial state
/// columns, then `slice_end` (BIGINT, microseconds).
#[derive(Clone, Debug, PartialEq)]
pub struct WindowAggregateSpec {
    /// The window; `time_column` is meaningless when `input_is_partial`.
    pub window: WindowInput,
    /// Key columns of the input, window bounds not among them; empty = one group a window.
    pub keys: Vec<usize>,
    /// The calls.
    pub calls: Vec<AggregateCall>,
    /// `Final`/`Default`: once per window, append. `Changes…`: early results as changes.
    pub emit: Emit,
    /// Whether the input is the local phase's output rather than rows.
    pub input_is_partial: bool,
    /// Whether the input may retract.
    pub input_retracts: bool,
    /// Whether update-before rows must be emitted.
    pub emit_update_before: bool,
}

/// How an input row knows its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowInput {
    /// From its event time.
    Assign(WindowSpec),
    /// From columns that an earlier window operator attached (cascaded aggregation).
    Attached {
        /// The `window_start` column.
        start_column: usize,
        /// The `window_end` column.
        end_column: usize,
        /// See [`WindowSpec::tick_us`].
        tick_us: i64,
    },
}

/// `OVER` aggregation: output = input columns, then one column per call.
#[derive(Clone, Debug)]
pub struct OverAggregateSpec {
    /// `PARTITION BY` columns.
    pub partition: Vec<usize>,
    /// The event-time column ordered by.
    pub time_column: usize,
    /// The frame.
    pub frame: OverFrame,
    /// The calls.
    pub calls: Vec<AggregateCall>,
}

/// `LEAD`: output = input columns, then one column per call; without event time.
#[derive(Clone, Debug)]
pub struct LeadSpec {
    /// `PARTITION BY` columns.
    pub partition: Vec<usize>,
    /// The event-time column ordered by.
    pub time_column: usize,
    /// The calls.
    pub calls: Vec<LeadCall>,
}

/// One `LEAD`, over columns of its operator's input.
#[derive(Clone, Debug)]
pub struct LeadCall {
    /// The column that is looked at.
    pub argument: usize,
    /// How many rows ahead; 0 is the row itself.
    pub offset: usize,
    /// The column that stands for a row that never came; `None` = NULL.
    pub default: Option<usize>,
    /// Whether only rows with a value are counted.
    pub ignores_nulls: bool,
    /// Name and type of the result.
    pub output: FieldRef,
}

/// The rows an OVER call looks at, ending with the current row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverFrame {
    /// `ROWS BETWEEN n PRECEDING AND CURRENT ROW`; `None` = UNBOUNDED PRECEDING.
    Rows(Option<u64>),
    /// `RANGE BETWEEN interval PRECEDING AND CURRENT ROW` in microseconds; `None` = UNBOUNDED
    /// PRECEDING. Rows with equal event time see each other.
    Range(Option<i64>),
}

/// The kinds of join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Only what matches.
    Inner,
    /// Every left row, padded with NULLs where nothing matches.
    Left,
    /// Every right row.
    Right,
    /// Every row of both sides.
    Full,
    /// Left rows that match something, once each.
    Semi,
    /// Left rows that match nothing.
    Anti,
}

impl JoinKind {
    /// Whether rows of side 0 (left) or 1 (right) come out padded where nothing matches.
    pub fn preserves(self, side: usize) -> bool {
        match self {
            JoinKind::Inner | JoinKind::Semi | JoinKind::Anti => false,
            JoinKind::Left => side == 0,
            JoinKind::Right => side == 1,
            JoinKind::Full => true,
        }
    }

    /// Whether only the left side's columns come out.
    pub fn is_left_only(self) -> bool {
        matches!(self, JoinKind::Semi | JoinKind::Anti)
    }
}

/// A pair of columns that must be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinKey {
    /// The left column.
    pub left: usize,
    /// The right column.
    pub right: usize,
    /// `IS NOT DISTINCT FROM`: NULL equals NULL.
    pub null_safe: bool,
}

/// `lower ≤ left time − right time ≤ upper`, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinInterval {
    /// The event-time columns of both sides.
    pub times: (usize, usize),
    /// The least distance.
    pub lower_us: i64,
    /// The greatest distance.
    pub upper_us: i64,
}

/// Join of two streams; output = left columns, then, but for semi and anti joins, right columns.
#[derive(Clone, Debug)]
pub struct StreamJoinSpec {
    /// The kind.
    pub kind: JoinKind,
    /// Columns that must be equal; none = every row may match every row.
    pub equal: Vec<JoinKey>,
    /// Further condition over left columns then right columns.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// The interval of an interval join; its bounds are part of `filter` as well.
    pub interval: Option<JoinInterval>,
    /// How long rows of each side are kept, microseconds; `None` = for ever, or by the interval.
    pub ttl_us: [Option<u64>; 2],
    /// Whether each input may take rows back.
    pub retracts: [bool; 2],
}

impl StreamJoinSpec {
    /// Whether it may take back what it said: an interval join never does, and others only if a side is
    /// padded or asked about, or takes rows back itself.
    pub fn takes_back(&self) -> bool {
        let pads = self.kind.preserves(0) || self.kind.preserves(1) || self.kind == JoinKind::Anti;
        self.interval.is_none() && (pads || self.retracts.contains(&true))
    }

    /// Whether rows of `side` know how many rows they match.
    pub fn counts_matches(&self, side: usize) -> bool {
        self.kind.preserves(side) || (self.kind.is_left_only() && side == 0)
    }
}

/// Join of rows in the same window; output = left columns, then right columns, but for semi and anti
/// joins.
#[derive(Clone, Debug)]
pub struct WindowJoinSpec {
    /// The kind.
    pub kind: JoinKind,
    /// Window-end columns of left and right input (TIMESTAMP).
    pub window_end: (usize, usize),
    /// Columns that must be equal, window bounds among them.
    pub equal: Vec<JoinKey>,
    /// Further condition over left columns then right columns.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// See [`WindowSpec::tick_us`].
    pub tick_us: i64,
}

/// A sink.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// The table written to; `None` = standard output.
    pub table: Option<Arc<TableDefinition>>,
    /// The statement's number in the file, from 0: names the query in messages.
    pub statement: usize,
}

/// How a node's output lies over the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// As the source's splits fell.
    Source,
    /// By hash of these output columns.
    Hash(Vec<usize>),
    /// All on shard 0.
    Single,
    /// All of them on every shard.
    Replicated,
}

/// How an operator's state grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateGrowth {
    /// Keeps nothing between batches.
    Stateless,
    /// Bounded by what this says: "open windows × keys".
    Bounded(String),
    /// One entry per distinct key, for ever.
    PerKey(String),
}
