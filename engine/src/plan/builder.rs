//! From optimised logical plans to the stream plan.
//!
//! One builder serves a whole job, so that equal sub-plans become one node: sources are shared
//! between statements, and Nexmark q5 computes its hop counts once. Aggregations, OVER, joins and
//! windows have files of their own (`lower_*`); this one walks the plan and refuses what streams
//! cannot run yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_expr::{Distinct, Expr, Filter, LogicalPlan, Projection, Union};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::{Position, SqlError};
use crate::functions::not_null::NotNull;
use crate::plan::expressions::Expressions;
use crate::plan::lower_rank::bounded_rank;
use crate::plan::lower_scan::SharedSource;
use crate::plan::lowered::{AttachedWindow, ColumnSource, Lowered, physical_schema, schema_of};
use crate::plan::scans::{self, TableUse};
use crate::plan::sharing;
use crate::plan::window_tvf::LateClauseId;
use crate::plan::{Distribution, MapSpec, NodeId, NodeKind, PlanNode, Settings, StateGrowth, StreamPlan};
use crate::sql::catalog::{Catalog, TableDefinition};
use crate::sql::places::{Places, column_position};
use crate::sql::query::blame;
use crate::sql::query::errors::plain_error;
use crate::sql::statement::Emit;

/// A query and where its rows go.
#[derive(Clone, Debug)]
pub struct SinkQuery {
    /// The optimised logical plan; its columns are those of the sink, in order.
    pub plan: LogicalPlan,
    /// `EMIT …`.
    pub emit: Emit,
    /// `EMIT … TIMEOUT`, microseconds.
    pub timeout_us: Option<u64>,
    /// `STATE_TTL` hints: relation names and how long their rows are kept, microseconds.
    pub state_ttl: Vec<(String, u64)>,
    /// The table written to; `None` = standard output.
    pub table: Option<Arc<TableDefinition>>,
    /// `LATE DATA TO`: the query that writes the rows which come late to this one.
    pub late: Option<Box<SinkQuery>>,
    /// Where the statement starts.
    pub position: Position,
    /// Where its words stand.
    pub places: Places,
}

impl SinkQuery {
    /// `error` at the words that it is about, or else where the statement starts.
    fn located(&self, error: SqlError) -> SqlError {
        if error.position.is_some() {
            return error;
        }
        let place = blame::place(&error.message, &self.places);
        error.at(place.unwrap_or(self.position))
    }
}

/// Builds the stream plan of a job.
pub fn build(queries: &[SinkQuery], catalog: &Catalog, settings: Settings) -> Result<StreamPlan, SqlError> {
    let table_uses = scans::collect_table_uses(queries.iter().map(|query| &query.plan));
    let mut builder = Builder {
        catalog,
        settings,
        table_uses,
        nodes: Vec::new(),
        sources: BTreeMap::new(),
        memo: HashMap::new(),
        expressions: Expressions::default(),
        position: Position::default(),
        places: Places::default(),
        ttl_hints: Vec::new(),
        late_rows: BTreeMap::new(),
    };
    for (statement, query) in queries.iter().enumerate() {
        builder.position = query.position;
        builder.places = query.places.clone();
        if builder.ttl_hints != query.state_ttl {
            // Equal sub-plans keep their state differently.
            builder.memo.clear();
            builder.ttl_hints.clone_from(&query.state_ttl);
        }
        builder
            .sink(statement, query)
            .map_err(|error| query.located(error))?;
        if let Some(late) = &query.late {
            builder
                .sink(queries.len() + statement, late)
                .map_err(|error| late.located(error))?;
        }
    }
    let mut plan = StreamPlan {
        nodes: builder.nodes,
        settings: builder.settings,
    };
    super::changelog_inference::infer(&mut plan);
    super::key_texts::mark(&mut plan);
    Ok(plan)
}

/// The plan under construction.
pub(crate) struct Builder<'a> {
    pub(super) catalog: &'a Catalog,
    pub(crate) settings: Settings,
    pub(super) table_uses: BTreeMap<String, TableUse>,
    pub(crate) nodes: Vec<PlanNode>,
    pub(super) sources: BTreeMap<String, SharedSource>,
    memo: HashMap<(LogicalPlan, Emit), Lowered>,
    pub(crate) expressions: Expressions,
    position: Position,
    places: Places,
    ttl_hints: Vec<(String, u64)>,
    /// By `LATE DATA TO`: the rows that are late.
    pub(super) late_rows: BTreeMap<LateClauseId, Lowered>,
}

impl Builder<'_> {
    /// Adds a node, or answers the one that does the same; its id is its place.
    pub(crate) fn add(&mut self, mut node: PlanNode) -> NodeId {
        if let Some(known) = self.nodes.iter().find(|known| sharing::is_same(known, &node)) {
            return known.id;
        }
        node.id = self.nodes.len();
        assert!(
            node.inputs.iter().all(|&input| input < node.id),
            "invariant: inputs have smaller ids"
        );
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Lowers `plan`, once for equal plans.
    pub(crate) fn lower(&mut self, plan: &LogicalPlan, emit: Emit) -> Result<Lowered, SqlError> {
        let key = (plan.clone(), emit);
        if let Some(lowered) = self.memo.get(&key) {
            return Ok(lowered.clone());
        }
        let lowered = self.lower_new(plan, emit)?;
        assert_eq!(
            lowered.columns.len(),
            plan.schema().fields().len(),
            "invariant: one source per column"
        );
        self.memo.insert(key, lowered.clone());
        Ok(lowered)
    }

    fn lower_new(&mut self, plan: &LogicalPlan, emit: Emit) -> Result<Lowered, SqlError> {
        match plan {
            LogicalPlan::TableScan(scan) => self.lower_scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input, emit),
            LogicalPlan::Projection(projection) => self.lower_projection(projection, emit),
            LogicalPlan::Filter(filter) => self.lower_filter(filter, emit),
            LogicalPlan::Union(union) => self.lower_union(union, emit),
            LogicalPlan::Aggregate(aggregate) => self.lower_aggregate(aggregate, emit),
            LogicalPlan::Distinct(Distinct::All(input)) => self.lower_distinct(input, emit),
            LogicalPlan::Values(values) => self.lower_values(values),
            LogicalPlan::EmptyRelation(empty) => self.lower_empty(empty),
            LogicalPlan::Window(window) => self.lower_over(window),
            LogicalPlan::Join(join) => self.lower_join(join),
            LogicalPlan::Sort(sort) => self.lower_sort(sort),
            LogicalPlan::Limit(limit) => self.lower_limit(limit, emit),
            LogicalPlan::Extension(extension) => {
                let node = &extension.node;
                if let Some(tvf) = node.as_any().downcast_ref::<super::window_tvf::WindowTvf>() {
                    return self.lower_window_tvf(tvf);
                }
                if let Some(unnest) = node.as_any().downcast_ref::<super::lower_unnest::Unnest>() {
                    return self.lower_unnest(unnest);
                }
                if let Some(matching) = node
                    .as_any()
                    .downcast_ref::<super::match_recognize::MatchRecognize>()
                {
                    return self.lower_match(matching);
                }
                if let Some(late) = node.as_any().downcast_ref::<super::lower_late::LateInput>() {
                    return self.lower_late_input(late);
                }
                match node.as_any().downcast_ref::<super::lower_grouping_sets::Expand>() {
                    Some(expand) => self.lower_expand(expand),
                    None => Err(SqlError::new(format!("{} is not supported yet", node.name()))),
                }
            }
            other => Err(refusal(other)),
        }
    }

    fn lower_filter(&mut self, filter: &Filter, emit: Emit) -> Result<Lowered, SqlError> {
        if let Some(rank) = bounded_rank(filter) {
            return self.lower_bounded_rank(&rank, filter, true, emit);
        }
        let input = self.lower(&filter.input, emit)?;
        let mut input =
            self.materialise_if_used(input, filter.input.schema(), [&filter.predicate].into_iter())?;
        let schema = self.physical_schema(filter.input.schema(), &input);
        let predicate = self
            .expressions
            .physical(&filter.predicate, &schema)
            .map_err(planning_error)?;
        input.node = self.add_filter(input.node, predicate);
        Ok(input)
    }

    /// A map node that keeps the rows of `input` for which `filter` is true.
    pub(crate) fn add_filter(&mut self, input: NodeId, filter: Arc<dyn PhysicalExpr>) -> NodeId {
        let node = PlanNode {
            kind: NodeKind::Map(MapSpec {
                filter: Some(filter),
                projection: None,
            }),
            inputs: vec![input],
            growth: StateGrowth::Stateless,
            ..self.nodes[input].clone()
        };
        self.add(node)
    }

    /// The input of `projection` if that is a Top-N whose rank is not read: it need not be computed.
    fn lower_rank_without_column(
        &mut self,
        projection: &Projection,
        emit: Emit,
    ) -> Result<Option<Lowered>, SqlError> {
        let mut input = projection.input.as_ref();
        while let LogicalPlan::SubqueryAlias(alias) = input {
            input = &alias.input;
        }
        let LogicalPlan::Filter(filter) = input else {
            return Ok(None);
        };
        let Some(rank) = bounded_rank(filter) else {
            return Ok(None);
        };
        let rank_column = rank.rank_column;
        let schema = projection.input.schema();
        let mut columns = projection.expr.iter().flat_map(Expr::column_refs);
        let is_read = columns.any(|column| schema.maybe_index_of_column(column) == Some(rank_column));
        match is_read {
            true => Ok(None),
            false => self.lower_bounded_rank(&rank, filter, false, emit).map(Some),
        }
    }

    fn lower_projection(&mut self, projection: &Projection, emit: Emit) -> Result<Lowered, SqlError> {
        let input = match self.lower_rank_without_column(projection, emit)? {
            Some(input) => input,
            None => self.lower(&projection.input, emit)?,
        };
        let logical = projection.input.schema();
        let computed = projection
            .expr
            .iter()
            .filter(|expression| plain_column(expression, logical).is_none());
        let input = self.materialise_if_used(input, logical, computed)?;

        // A projection of plain columns is a change of view, not of data.
        let plain: Option<Vec<ColumnSource>> = projection
            .expr
            .iter()
            .map(|expression| plain_column(expression, logical).map(|index| input.columns[index]))
            .collect();
        if let Some(columns) = plain {
            return Ok(Lowered { columns, ..input });
        }

        let schema = self.physical_schema(logical, &input);
        let mut columns = Vec::with_capacity(projection.expr.len());
        let mut output = MapOutput::default();
        for (expression, field) in projection.expr.iter().zip(projection.schema.fields()) {
            let virtual_bound = plain_column(expression, logical).map(|index| input.columns[index]);
            if let Some(bound @ ColumnSource::Window(_)) = virtual_bound {
                columns.push(bound);
                continue;
            }
            let physical = self
                .expressions
                .physical(expression, &schema)
                .map_err(planning_error)?;
            columns.push(ColumnSource::Physical(output.add(physical, field.clone())));
        }
        Ok(self.add_projection(input, columns, output))
    }

    /// A map node with `output` over the node of `input`; event time, window columns and hash
    /// columns are followed through plain columns, and a pending window keeps its time column.
    pub(crate) fn add_projection(
        &mut self,
        input: Lowered,
        columns: Vec<ColumnSource>,
        mut output: MapOutput,
    ) -> Lowered {
        let node = self.nodes[input.node].clone();
        let pending_window = input.pending_window.map(|window| {
            let field = node.schema.fields()[window.time_column].clone();
            let time_column = output.position_of_input(window.time_column).unwrap_or_else(|| {
                output.add(
                    Arc::new(Column::new(field.name(), window.time_column)),
                    field.clone(),
                )
            });
            super::WindowSpec {
                time_column,
                ..window
            }
        });
        let late = input.late.map(|late| late.kept_by(&mut output, &node.schema));
        let moved = |column: usize| output.position_of_input(column);
        let attached = input.attached.map(|attached| AttachedWindow {
            start: attached.start.and_then(moved),
            end: attached.end.and_then(moved),
            tick_us: attached.tick_us,
        });
        let distribution = match &node.distribution {
            Distribution::Hash(hashed) => hashed
                .iter()
                .map(|&column| moved(column))
                .collect::<Option<Vec<usize>>>()
                .map_or(Distribution::Source, Distribution::Hash),
            other => other.clone(),
        };
        let event_time = node.event_time.and_then(moved);
        let fields = output.columns.iter().map(|(_, field)| field.clone()).collect();
        // A filter directly below becomes part of the same map.
        let (filter, below) = match &node.kind {
            NodeKind::Map(MapSpec {
                filter: Some(filter),
                projection: None,
            }) if node.id + 1 == self.nodes.len() => (Some(filter.clone()), node.inputs[0]),
            _ => (None, input.node),
        };
        let map = PlanNode {
            id: 0,
            kind: NodeKind::Map(MapSpec {
                filter,
                projection: Some(output.columns),
            }),
            inputs: vec![below],
            schema: schema_of(fields),
            changelog: node.changelog,
            event_time,
            distribution,
            growth: StateGrowth::Stateless,
        };
        Lowered {
            node: self.add(map),
            columns,
            pending_window,
            attached,
            late,
        }
    }

    fn lower_union(&mut self, union: &Union, emit: Emit) -> Result<Lowered, SqlError> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let lowered = self.lower(input, emit)?;
            inputs.push(self.in_logical_order(lowered, input.schema())?.node);
        }
        let nodes: Vec<&PlanNode> = inputs.iter().map(|&input| &self.nodes[input]).collect();
        let event_time = nodes[0]
            .event_time
            .filter(|time| nodes.iter().all(|node| node.event_time == Some(*time)));
        let same_place = nodes
            .iter()
            .all(|node| node.distribution == nodes[0].distribution);
        let distribution = if same_place {
            nodes[0].distribution.clone()
        } else {
            Distribution::Source
        };
        let changes = nodes.iter().any(|node| node.changelog.has_ops());
        let changelog = if changes {
            Changelog::Retract
        } else {
            Changelog::Append
        };
        let schema: SchemaRef = Arc::new(union.schema.as_arrow().clone());
        let width = schema.fields().len();
        let node = self.add(PlanNode {
            id: 0,
            kind: NodeKind::Union,
            inputs,
            schema,
            changelog,
            event_time,
            distribution,
            growth: StateGrowth::Stateless,
        });
        Ok(Lowered::identity(node, width))
    }

    /// The node's columns under their logical names.
    pub(crate) fn physical_schema(
        &self,
        logical: &DFSchema,
        lowered: &Lowered,
    ) -> datafusion_common::DFSchemaRef {
        physical_schema(logical, lowered, &self.nodes[lowered.node].schema)
    }

    /// Makes the node's columns exactly the logical ones, in order and under their names.
    pub(crate) fn in_logical_order(
        &mut self,
        lowered: Lowered,
        logical: &DFSchema,
    ) -> Result<Lowered, SqlError> {
        let lowered = self.materialise(lowered);
        let width = self.nodes[lowered.node].schema.fields().len();
        let schema = self.nodes[lowered.node].schema.clone();
        let in_order =
            lowered
                .columns
                .iter()
                .zip(logical.fields())
                .enumerate()
                .all(|(index, (&column, field))| {
                    column == ColumnSource::Physical(index) && schema.field(index).name() == field.name()
                });
        if in_order && lowered.columns.len() == width {
            return Ok(lowered);
        }
        let mut output = MapOutput::default();
        let mut columns = Vec::with_capacity(lowered.columns.len());
        for (index, field) in logical.fields().iter().enumerate() {
            let physical = lowered
                .physical(index)
                .expect("invariant: materialised columns are physical");
            output
                .columns
                .push((Arc::new(Column::new(field.name(), physical)), field.clone()));
            columns.push(ColumnSource::Physical(index));
        }
        Ok(self.add_projection(lowered, columns, output))
    }

    /// Materialises a pending window if one of `expressions` computes with its bounds.
    pub(crate) fn materialise_if_used<'e>(
        &mut self,
        lowered: Lowered,
        logical: &DFSchema,
        mut expressions: impl Iterator<Item = &'e Expr>,
    ) -> Result<Lowered, SqlError> {
        let uses_bound = |expression: &Expr| {
            expression.column_refs().iter().any(|column| {
                logical
                    .maybe_index_of_column(column)
                    .is_some_and(|index| lowered.physical(index).is_none())
            })
        };
        if lowered.pending_window.is_some() && expressions.any(uses_bound) {
            return Ok(self.materialise(lowered));
        }
        Ok(lowered)
    }

    /// Computes the bounds of a pending window as columns.
    pub(crate) fn materialise(&mut self, lowered: Lowered) -> Lowered {
        let Some(window) = lowered.pending_window else {
            return lowered;
        };
        let lowered = self.without_late_rows(lowered, window);
        let input = self.nodes[lowered.node].clone();
        let width = input.schema.fields().len();
        let time_type = input.schema.field(window.time_column).data_type().clone();
        let mut fields: Vec<FieldRef> = input.schema.fields().to_vec();
        fields.extend(window_fields(&time_type));
        let tick_us = window.tick_us;
        let node = self.add(PlanNode {
            kind: NodeKind::WindowAssign(window),
            inputs: vec![lowered.node],
            schema: schema_of(fields),
            event_time: Some(width + 2),
            growth: StateGrowth::Stateless,
            ..input
        });
        let columns = lowered
            .columns
            .iter()
            .map(|column| match column {
                ColumnSource::Window(bound) => ColumnSource::Physical(width + *bound as usize),
                physical => *physical,
            })
            .collect();
        let attached = AttachedWindow {
            start: Some(width),
            end: Some(width + 1),
            tick_us,
        };
        Lowered {
            node,
            columns,
            pending_window: None,
            attached: Some(attached),
            late: None,
        }
    }

    /// How long rows of a relation with these columns are kept: as a STATE_TTL hint says, or the job's setting.
    pub(crate) fn state_ttl(&self, schema: &DFSchema) -> Option<u64> {
        let ttl_us = self.hinted_ttl(schema).or(self.settings.state_ttl_us);
        ttl_us.filter(|&ttl_us| ttl_us > 0)
    }

    /// How long an aggregation of `plan` keeps its groups: as a hint says that names what is aggregated, or
    /// the job's setting.
    pub(crate) fn aggregation_ttl(&self, plan: &LogicalPlan) -> Option<u64> {
        let mut relation = plan;
        loop {
            if let Some(ttl_us) = self.hinted_ttl(relation.schema()) {
                return Some(ttl_us).filter(|&ttl_us| ttl_us > 0);
            }
            relation = match relation {
                LogicalPlan::Projection(projection) => &projection.input,
                LogicalPlan::Filter(filter) => &filter.input,
                _ => return self.settings.state_ttl_us.filter(|&ttl_us| ttl_us > 0),
            };
        }
    }

    fn hinted_ttl(&self, schema: &DFSchema) -> Option<u64> {
        let names = |hint: &&(String, u64)| {
            let mut qualifiers = schema.iter().filter_map(|(qualifier, _)| qualifier);
            qualifiers.any(|qualifier| qualifier.table() == hint.0)
        };
        self.ttl_hints.iter().find(names).map(|&(_, ttl_us)| ttl_us)
    }

    /// An error for a statement part that has no place of its own.
    pub(crate) fn error(&self, message: impl Into<String>) -> SqlError {
        SqlError::new(message).at(self.position)
    }

    /// An error at the first of `alternatives` (words, as [`Places::find`] takes them) that the statement has.
    pub(crate) fn error_at(&self, alternatives: &[&str], message: impl Into<String>) -> SqlError {
        let place = self.places.find_any(alternatives);
        SqlError::new(message).at(place.unwrap_or(self.position))
    }

    /// An error at a column of `expression`.
    pub(crate) fn error_on(&self, expression: &Expr, message: impl Into<String>) -> SqlError {
        SqlError::new(message).at(column_position(expression).unwrap_or(self.position))
    }
}

/// Output columns of a map under construction; equal plain columns are added once.
#[derive(Default)]
pub(crate) struct MapOutput {
    pub(crate) columns: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
}

impl MapOutput {
    /// Adds `expression`, or finds it; answers its position.
    pub(crate) fn add(&mut self, expression: Arc<dyn PhysicalExpr>, field: FieldRef) -> usize {
        // Columns are compared by index: the same column may go by several names.
        let equal =
            |known: &Arc<dyn PhysicalExpr>| match (physical_column(known), physical_column(&expression)) {
                (Some(known), Some(added)) => known == added,
                _ => known == &expression,
            };
        match self.columns.iter().position(|(known, _)| equal(known)) {
            Some(position) => position,
            None => {
                self.columns.push((expression, field));
                self.columns.len() - 1
            }
        }
    }

    /// Where input column `column` stands unchanged in the output.
    pub(crate) fn position_of_input(&self, column: usize) -> Option<usize> {
        self.columns.iter().position(|(expression, _)| {
            let checked = expression.downcast_ref::<NotNull>().map(NotNull::input);
            physical_column(checked.unwrap_or(expression)) == Some(column)
        })
    }

    /// Whether the output is nothing but input columns.
    pub(crate) fn input_columns(&self) -> Option<Vec<usize>> {
        self.columns
            .iter()
            .map(|(expression, _)| physical_column(expression))
            .collect()
    }
}

/// The column that `expression` is, if it is nothing but a column.
pub(crate) fn physical_column(expression: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expression.downcast_ref::<Column>().map(Column::index)
}

/// The logical column that `expression` is, renamed or not.
pub(crate) fn plain_column(expression: &Expr, logical: &DFSchema) -> Option<usize> {
    match expression {
        Expr::Column(column) => logical.maybe_index_of_column(column),
        Expr::Alias(alias) => plain_column(&alias.expr, logical),
        _ => None,
    }
}

/// `window_start`, `window_end` and `window_time` for a time column of this type.
pub(crate) fn window_fields(time_type: &DataType) -> Vec<FieldRef> {
    super::window_tvf::WINDOW_COLUMNS
        .iter()
        .map(|name| Arc::new(arrow::datatypes::Field::new(*name, time_type.clone(), false)))
        .collect()
}

/// The resolution at which windows over a column of this type are complete (see `WindowSpec::tick_us`).
pub(crate) fn tick_us(time_type: &DataType) -> i64 {
    match time_type {
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, _) => 1_000,
        _ => 1,
    }
}

/// DataFusion's message, without its frame.
pub(crate) fn planning_error(error: DataFusionError) -> SqlError {
    plain_error(&error)
}

/// Why a logical plan node cannot run on streams (yet).
fn refusal(plan: &LogicalPlan) -> SqlError {
    match plan {
        LogicalPlan::Distinct(_) => SqlError::new("DISTINCT ON is not supported").hint("use SELECT DISTINCT"),
        LogicalPlan::Subquery(_) => {
            SqlError::new("this sub-query cannot be turned into a join or an aggregation")
                .hint("rewrite it as a window join, or as an aggregation")
        }
        other => SqlError::new(format!("{} is not supported yet", other.display())),
    }
}

/// The fields of `schema` at `columns`, by name: for messages.
pub(crate) fn names_of(schema: &Schema, columns: &[usize]) -> Vec<String> {
    columns
        .iter()
        .map(|&column| schema.field(column).name().clone())
        .collect()
}
