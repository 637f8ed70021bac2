//! The statements of a job file, as the parser hands them to the planner.

use arrow::datatypes::DataType;
use sqlparser::ast::{Expr, Query};

use crate::error::Position;
use crate::sql::places::Places;

/// One statement and where its first token stands.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Where the statement starts.
    pub position: Position,
    /// What it says.
    pub kind: StatementKind,
}

/// What a statement says.
#[derive(Clone, Debug)]
pub enum StatementKind {
    /// `CREATE [TEMPORARY] TABLE name (…) WITH (…)`.
    CreateTable(CreateTable),
    /// `CREATE [TEMPORARY] VIEW name [(columns)] AS query`.
    CreateView(CreateView),
    /// `CREATE STREAM|TABLE name [WITH (…)] AS query`: a table whose columns come from the query,
    /// filled by it; later statements may read the stream as they read a view.
    CreateAs(CreateAs),
    /// `INSERT INTO table [(columns)] query`.
    Insert(Insert),
    /// A bare query: its result goes to standard output.
    Select(StreamQuery),
    /// `EXECUTE STATEMENT SET BEGIN …; END`: several inserts that run as one job.
    StatementSet(Vec<Insert>),
    /// `SET 'key' = 'value'`.
    Set(SetOption),
    /// `EXPLAIN statement`.
    Explain(Box<Statement>),
}

/// A query with how its results are emitted.
#[derive(Clone, Debug)]
pub struct StreamQuery {
    /// The query; window sugar and old group windows are already lowered to window TVFs.
    pub query: Box<Query>,
    /// `EMIT …` at its end.
    pub emit: Emit,
    /// `EMIT … TIMEOUT interval`: when event time goes on by the clock in a source that is quiet,
    /// microseconds, > 0.
    pub timeout_us: Option<u64>,
    /// `LATE DATA TO …` behind it.
    pub late: Option<LateData>,
    /// Where the query starts.
    pub position: Position,
    /// Where the words of its statement stand.
    pub places: Places,
}

/// `LATE DATA TO table [(columns)]`: where rows go that come too late for their window.
#[derive(Clone, Debug)]
pub struct LateData {
    /// The table written to.
    pub table: Name,
    /// The columns of the windowed relation that are written, where given; else all, by position.
    pub columns: Vec<Name>,
    /// Where the clause stands.
    pub position: Position,
}

/// When results are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Emit {
    /// Nothing was said: windows emit once when complete; unbounded aggregates emit changes.
    #[default]
    Default,
    /// `EMIT CHANGES`: the latest value of every changed key, at every flush.
    Changes,
    /// `EMIT EVERY interval`: the latest value of every changed key, at most that long after it changed;
    /// microseconds, > 0.
    Every(u64),
    /// Windows once when complete, and again for rows that come at most that long after, in event time
    /// (`table.exec.emit.allow-lateness`); microseconds, > 0. Unbounded aggregates emit changes.
    Corrected(u64),
    /// `EMIT CHANGES EVERY ROW`: one change for each input row.
    ChangesEveryRow,
    /// `EMIT FINAL`: once, when complete (a window's end, the end of the input).
    Final,
}

/// `CREATE TABLE`.
#[derive(Clone, Debug)]
pub struct CreateTable {
    /// The table's name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Physical, computed and metadata columns, in order.
    pub columns: Vec<ColumnDefinition>,
    /// `WATERMARK FOR column AS expression`.
    pub watermark: Option<WatermarkDefinition>,
    /// `PRIMARY KEY (…) NOT ENFORCED`.
    pub primary_key: Vec<Name>,
    /// `WITH ('key' = 'value', …)`.
    pub options: Vec<TableOption>,
}

/// A column of `CREATE TABLE`.
#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    /// The column's name.
    pub name: Name,
    /// Where its values come from.
    pub kind: ColumnKind,
    /// `COMMENT '…'`.
    pub comment: Option<String>,
}

/// Where a column's values come from.
#[derive(Clone, Debug)]
pub enum ColumnKind {
    /// Decoded from the record.
    Physical {
        /// Its type.
        data_type: DataType,
        /// Whether it may be NULL.
        nullable: bool,
    },
    /// `name AS expression` over the other columns.
    Computed(Box<Expr>),
    /// `name TYPE METADATA [FROM 'key'] [VIRTUAL]`: from the connector.
    Metadata {
        /// Its type.
        data_type: DataType,
        /// The connector's metadata key; the column's name unless `FROM` is given.
        key: String,
        /// `VIRTUAL`: not written by sinks.
        is_virtual: bool,
    },
}

impl ColumnKind {
    /// Whether it is `name AS PROCTIME()`.
    pub fn is_processing_time(&self) -> bool {
        let ColumnKind::Computed(expression) = self else {
            return false;
        };
        matches!(expression.as_ref(), Expr::Function(function)
            if function.name.to_string().eq_ignore_ascii_case("PROCTIME"))
    }
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug)]
pub struct WatermarkDefinition {
    /// The event-time column.
    pub column: Name,
    /// The watermark that a row with that column implies.
    pub expression: Box<Expr>,
}

/// `CREATE VIEW`.
#[derive(Clone, Debug)]
pub struct CreateView {
    /// The view's name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Column names, where given.
    pub columns: Vec<Name>,
    /// Its query.
    pub query: StreamQuery,
}

/// `CREATE STREAM|TABLE … AS SELECT`.
#[derive(Clone, Debug)]
pub struct CreateAs {
    /// The new table's name.
    pub name: Name,
    /// `WITH (…)`; without a connector the stream is only a name for the query.
    pub options: Vec<TableOption>,
    /// Its query.
    pub query: StreamQuery,
}

/// `INSERT INTO`.
#[derive(Clone, Debug)]
pub struct Insert {
    /// The table written to.
    pub table: Name,
    /// The columns written, where given.
    pub columns: Vec<Name>,
    /// The rows.
    pub query: StreamQuery,
}

/// `SET 'key' = 'value'`.
#[derive(Clone, Debug)]
pub struct SetOption {
    /// The option.
    pub key: String,
    /// Where it stands.
    pub key_position: Position,
    /// Its value.
    pub value: String,
    /// Where that stands.
    pub value_position: Position,
}

/// One option of `WITH (…)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOption {
    /// The key, as written.
    pub key: String,
    /// Where it stands.
    pub key_position: Position,
    /// The value.
    pub value: String,
    /// Where that stands.
    pub value_position: Position,
}

/// An identifier (case kept, quotes gone) and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The identifier.
    pub value: String,
    /// Where it stands.
    pub position: Position,
}
