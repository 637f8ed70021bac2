//! Top-N: `ROW_NUMBER`, `RANK` or `DENSE_RANK` under a filter that bounds it, and `LIMIT`.
//!
//! Recognises what a bounded rank stands for: within a window the first rows of that window; one row by
//! event time, rising, the deduplication that keeps the first; anything else a Top-N that is kept up to date.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{
    Expr, FetchType, Filter, Limit, LogicalPlan, Operator, SkipType, SortExpr, Window,
    WindowFunctionDefinition,
};
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::plan::builder::{Builder, MapOutput, names_of, plain_column, planning_error};
use crate::plan::growth::kept_for;
use crate::plan::lowered::{AttachedWindow, ColumnSource, Lowered, schema_of};
use crate::plan::partitioner::{self, KeyedOperator};
use crate::plan::{NodeKind, PlanNode, RankFunction, RankSpec, RankWindow, SortColumn, StateGrowth};
use crate::sql::statement::Emit;

/// A filter over a ranking function, taken apart.
pub(crate) struct BoundedRank<'p> {
    window: &'p Window,
    /// The window's column behind each column of the filter.
    columns: Vec<usize>,
    /// The filter's column that is the rank.
    pub(crate) rank_column: usize,
    function: RankFunction,
    call: &'p WindowFunction,
    first: u64,
    last: u64,
    /// What the filter says besides.
    rest: Vec<Expr>,
}

/// The ranking function that is all a window node computes.
pub(crate) fn ranking_call(window: &Window) -> Option<(RankFunction, &WindowFunction)> {
    let [expression] = window.window_expr.as_slice() else {
        return None;
    };
    let mut expression = expression;
    while let Expr::Alias(alias) = expression {
        expression = &alias.expr;
    }
    let Expr::WindowFunction(call) = expression else {
        return None;
    };
    let WindowFunctionDefinition::WindowUDF(function) = &call.fun else {
        return None;
    };
    let function = match function.name() {
        "row_number" => RankFunction::RowNumber,
        "rank" => RankFunction::Rank,
        "dense_rank" => RankFunction::DenseRank,
        _ => return None,
    };
    Some((function, call))
}

/// `filter` as a bounded rank, if it stands over a ranking function and bounds it from above.
pub(crate) fn bounded_rank(filter: &Filter) -> Option<BoundedRank<'_>> {
    let (window, columns) = window_below(&filter.input)?;
    let (function, call) = ranking_call(window)?;
    let rank = window.input.schema().fields().len();
    let rank_column = columns.iter().position(|&column| column == rank)?;
    let schema = filter.input.schema();
    let (mut first, mut last, mut rest) = (1, None::<u64>, Vec::new());
    for condition in split_conjunction_owned(filter.predicate.clone()) {
        match rank_bound(&condition, schema, rank_column) {
            Some((low, high)) => {
                first = first.max(low);
                if let Some(high) = high {
                    last = Some(last.map_or(high, |known| known.min(high)));
                }
            }
            None => rest.push(condition),
        }
    }
    Some(BoundedRank {
        window,
        columns,
        rank_column,
        function,
        call,
        first,
        last: last?,
        rest,
    })
}

/// The window node that `plan` is a view of, and its column behind each column of `plan`.
fn window_below(plan: &LogicalPlan) -> Option<(&Window, Vec<usize>)> {
    match plan {
        LogicalPlan::Window(window) => Some((window, (0..window.schema.fields().len()).collect())),
        LogicalPlan::SubqueryAlias(alias) => window_below(&alias.input),
        LogicalPlan::Projection(projection) => {
            let (window, columns) = window_below(&projection.input)?;
            let schema = projection.input.schema();
            let source = |expression: &Expr| plain_column(expression, schema).map(|column| columns[column]);
            Some((window, projection.expr.iter().map(source).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// `rank <= 3` → (1, 3); `rank = 2` → (2, 2); `rank > 1` → (2, none).
fn rank_bound(
    condition: &Expr,
    schema: &datafusion_common::DFSchema,
    rank_column: usize,
) -> Option<(u64, Option<u64>)> {
    let Expr::BinaryExpr(comparison) = condition else {
        return match condition {
            Expr::Between(between) if !between.negated && is_rank(&between.expr, schema, rank_column) => {
                Some((number(&between.low)?, Some(number(&between.high)?)))
            }
            _ => None,
        };
    };
    let (operator, bound) = if is_rank(&comparison.left, schema, rank_column) {
        (comparison.op, number(&comparison.right)?)
    } else if is_rank(&comparison.right, schema, rank_column) {
        (comparison.op.swap()?, number(&comparison.left)?)
    } else {
        return None;
    };
    Some(match operator {
        Operator::Eq => (bound, Some(bound)),
        Operator::LtEq => (1, Some(bound)),
        Operator::Lt => (1, Some(bound.saturating_sub(1))),
        Operator::GtEq => (bound, None),
        Operator::Gt => (bound.saturating_add(1), None),
        _ => return None,
    })
}

fn is_rank(expression: &Expr, schema: &datafusion_common::DFSchema, rank_column: usize) -> bool {
    match expression {
        Expr::Cast(cast) => is_rank(&cast.expr, schema, rank_column),
        expression => plain_column(expression, schema) == Some(rank_column),
    }
}

fn number(expression: &Expr) -> Option<u64> {
    let Expr::Literal(value, _) = expression else {
        return None;
    };
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(Some(number)) => Some(u64::try_from(number).unwrap_or(0)),
        _ => None,
    }
}

impl Builder<'_> {
    /// Lowers a filter over a ranking function; the rank is computed only if `reads_rank`.
    pub(crate) fn lower_bounded_rank(
        &mut self,
        rank: &BoundedRank<'_>,
        filter: &Filter,
        reads_rank: bool,
        emit: Emit,
    ) -> Result<Lowered, SqlError> {
        let logical = rank.window.input.schema();
        let input = self.lower(&rank.window.input, Emit::Default)?;
        let input = self.materialise(input);
        let physical = self.physical_schema(logical, &input);
        let schema = self.nodes[input.node].schema.clone();
        let mut output = all_columns(&schema);
        let params = &rank.call.params;
        let mut column = |builder: &Builder<'_>, expression: &Expr| -> Result<usize, SqlError> {
            let key = builder
                .expressions
                .physical(expression, &physical)
                .map_err(planning_error)?;
            let field = key.return_field(physical.as_arrow()).map_err(planning_error)?;
            Ok(output.add(key, field))
        };
        let partition = params
            .partition_by
            .iter()
            .map(|expression| column(self, expression))
            .collect::<Result<Vec<usize>, SqlError>>()?;
        let order = params
            .order_by
            .iter()
            .map(|sort| {
                Ok(SortColumn {
                    column: column(self, &sort.expr)?,
                    descending: !sort.asc,
                    nulls_first: sort.nulls_first,
                })
            })
            .collect::<Result<Vec<SortColumn>, SqlError>>()?;
        if order.is_empty() {
            return Err(self
                .error_at(
                    &["ROW_NUMBER", "RANK", "DENSE_RANK"],
                    "a rank needs ORDER BY: without an order no row is the first",
                )
                .hint("write ROW_NUMBER() OVER (PARTITION BY … ORDER BY …)"));
        }
        let input = self.with_columns(input, &schema, output);
        let window = self.rank_window(&input, &partition)?;
        let spec = RankSpec {
            partition,
            order,
            function: rank.function,
            first: rank.first.max(1),
            last: rank.last,
            output_rank: reads_rank || !rank.rest.is_empty(),
            window,
            keeps_first_by: None,
            emit,
            input_retracts: false,
            ttl_us: None,
        };
        let field = rank.window.schema.fields()[logical.fields().len()].clone();
        let mut lowered = self.add_rank(input, spec, Some(field))?;
        lowered.columns = rank
            .columns
            .iter()
            .map(|&column| lowered.columns[column])
            .collect();
        if let Some(rest) = conjunction(rank.rest.clone()) {
            let schema = self.physical_schema(filter.input.schema(), &lowered);
            let predicate = self
                .expressions
                .physical(&rest, &schema)
                .map_err(planning_error)?;
            lowered.node = self.add_filter(lowered.node, predicate);
        }
        Ok(lowered)
    }

    /// `ORDER BY … LIMIT`, `LIMIT`: a Top-N of all rows.
    pub(crate) fn lower_limit(&mut self, limit: &Limit, emit: Emit) -> Result<Lowered, SqlError> {
        let (Ok(FetchType::Literal(fetch)), Ok(SkipType::Literal(skip))) =
            (limit.get_fetch_type(), limit.get_skip_type())
        else {
            return Err(self.error_at(&["LIMIT", "OFFSET"], "LIMIT and OFFSET need literal numbers"));
        };
        let (order, below): (&[SortExpr], &LogicalPlan) = match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => (&sort.expr, &sort.input),
            other => (&[], other),
        };
        let Some(fetch) = fetch else {
            return Err(self
                .error_at(&["OFFSET"], "OFFSET without LIMIT is not supported on a stream")
                .hint("write LIMIT n OFFSET m"));
        };
        let input = self.lower(below, Emit::Default)?;
        let input = self.materialise(input);
        let (input, order) = self.sort_columns(input, below.schema(), order)?;
        let spec = RankSpec {
            partition: Vec::new(),
            order,
            function: RankFunction::RowNumber,
            first: skip as u64 + 1,
            last: (skip + fetch) as u64,
            output_rank: false,
            window: None,
            keeps_first_by: None,
            emit,
            input_retracts: false,
            ttl_us: None,
        };
        self.add_rank(input, spec, None)
    }

    /// The columns of an ORDER BY; computed ones are appended to `input`.
    pub(crate) fn sort_columns(
        &mut self,
        input: Lowered,
        logical: &datafusion_common::DFSchema,
        order: &[SortExpr],
    ) -> Result<(Lowered, Vec<SortColumn>), SqlError> {
        let physical = self.physical_schema(logical, &input);
        let schema = self.nodes[input.node].schema.clone();
        let mut output = all_columns(&schema);
        let mut columns = Vec::with_capacity(order.len());
        for sort in order {
            let key = self
                .expressions
                .physical(&sort.expr, &physical)
                .map_err(planning_error)?;
            let field = key.return_field(physical.as_arrow()).map_err(planning_error)?;
            columns.push(SortColumn {
                column: output.add(key, field),
                descending: !sort.asc,
                nulls_first: sort.nulls_first,
            });
        }
        Ok((self.with_columns(input, &schema, output), columns))
    }

    /// `input` with the columns that `output` has behind its own.
    fn with_columns(
        &mut self,
        input: Lowered,
        schema: &arrow::datatypes::SchemaRef,
        output: MapOutput,
    ) -> Lowered {
        if output.columns.len() == schema.fields().len() {
            return input;
        }
        let columns = input.columns.clone();
        self.add_projection(input, columns, output)
    }

    /// The window that a rank is taken in: the partition names a window's end.
    fn rank_window(&self, input: &Lowered, partition: &[usize]) -> Result<Option<RankWindow>, SqlError> {
        let Some(AttachedWindow {
            end: Some(end_column),
            tick_us,
            ..
        }) = input.attached
        else {
            return Ok(None);
        };
        let in_window = partition.contains(&end_column) && !self.nodes[input.node].changelog.has_ops();
        Ok(in_window.then_some(RankWindow { end_column, tick_us }))
    }

    fn add_rank(
        &mut self,
        input: Lowered,
        mut spec: RankSpec,
        rank: Option<FieldRef>,
    ) -> Result<Lowered, SqlError> {
        let node = self.nodes[input.node].clone();
        spec.input_retracts = node.changelog.has_ops();
        if let ([only], RankFunction::RowNumber, 1, 1, None, false) = (
            spec.order.as_slice(),
            spec.function,
            spec.first,
            spec.last,
            spec.window,
            spec.input_retracts,
        ) && !only.descending
            && node.event_time == Some(only.column)
        {
            spec.keeps_first_by = Some(only.column);
        }
        // Windows go by themselves; without a partition there is one, of few rows; EMIT FINAL answers at the end.
        spec.ttl_us = self
            .settings
            .state_ttl_us
            .filter(|_| spec.window.is_none() && !spec.partition.is_empty() && spec.emit != Emit::Final);
        let name = match (spec.window, spec.keeps_first_by) {
            (Some(_), _) => "the window Top-N",
            (None, Some(_)) => "the deduplication",
            (None, None) => "the Top-N",
        };
        let key_names = names_of(&node.schema, &spec.partition);
        let partitioning = partitioner::select(&KeyedOperator {
            name,
            key_names: &key_names,
            keys: &spec.partition,
            input: &node.distribution,
            two_phase: Err("rows of a partition are compared with each other".to_string()),
        });
        let (below, _) = self.add_exchange(input.node, spec.partition.clone(), &partitioning);
        let mut fields = node.schema.fields().to_vec();
        let width = fields.len();
        if spec.output_rank {
            let field = rank.clone();
            let field = field.unwrap_or_else(|| Arc::new(Field::new("rank", DataType::Int64, false)));
            fields.push(Arc::new(field.as_ref().clone().with_data_type(DataType::Int64)));
        }
        let appends = spec.is_append_only();
        let kept = match spec.last {
            1 => "one row".to_string(),
            last => format!("{last} rows"),
        };
        let keys = match key_names.is_empty() {
            true => String::new(),
            false => format!(" per distinct ({})", key_names.join(", ")),
        };
        let growth = match (spec.window, spec.input_retracts, spec.partition.is_empty()) {
            (Some(_), ..) => StateGrowth::Bounded(format!("{kept}{keys} of open windows")),
            (None, false, true) => StateGrowth::Bounded(kept),
            (None, false, false) => kept_for(format!("{kept}{keys}"), spec.ttl_us),
            (None, true, _) => kept_for(format!("every row{keys} that was not taken back"), spec.ttl_us),
        };
        let mut event_time = self.nodes[below].event_time;
        if !appends {
            event_time = None;
        }
        let below = self.nodes[below].clone();
        let id = self.add(PlanNode {
            kind: NodeKind::Rank(spec.clone()),
            inputs: vec![below.id],
            schema: schema_of(fields),
            changelog: if appends {
                Changelog::Append
            } else {
                Changelog::Retract
            },
            event_time,
            growth,
            ..below
        });
        let mut columns = input.columns;
        if let Some(is_read) = rank.map(|_| spec.output_rank) {
            // The logical plan has the column; where nobody reads it, any column stands for it.
            columns.push(ColumnSource::Physical(if is_read { width } else { 0 }));
        }
        Ok(Lowered {
            node: id,
            columns,
            pending_window: None,
            late: None,
            attached: input.attached.filter(|_| appends),
        })
    }
}

/// Every column of `schema`, to which others may be added.
fn all_columns(schema: &arrow::datatypes::Schema) -> MapOutput {
    let mut output = MapOutput::default();
    for (index, field) in schema.fields().iter().enumerate() {
        output
            .columns
            .push((Arc::new(Column::new(field.name(), index)), field.clone()));
    }
    output
}
