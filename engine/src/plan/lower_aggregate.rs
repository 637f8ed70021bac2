//! Aggregations: over windows where the keys hold window bounds, unbounded elsewhere.
//!
//! An aggregation becomes up to four nodes: a map that computes keys and arguments, a local phase,
//! an exchange, and the owner. Which of them are there is the partitioner selector's choice.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_expr::{Aggregate, Expr, LogicalPlan};

use crate::changelog::Changelog;
use crate::error::{ExecutionError, SqlError};
use crate::operators::{local_group_aggregate, local_window_aggregate};
use crate::plan::aggregate_calls::CallLowering;
use crate::plan::builder::{Builder, MapOutput, names_of, plain_column, planning_error, window_fields};
use crate::plan::growth::kept_for;
use crate::plan::lowered::{AttachedWindow, ColumnSource, LateColumns, Lowered, WindowBound, schema_of};
use crate::plan::partitioner::{self, KeyedOperator, Partitioning};
use crate::plan::{
    AggregateCall, Distribution, ExchangeSpec, ExchangeTarget, GroupAggregateSpec, NodeId, NodeKind,
    PlanNode, StateGrowth, WindowAggregateSpec, WindowInput, WindowKind, WindowSpec,
};
use crate::sql::statement::Emit;
use crate::state::accumulators::supports_two_phase;

/// What a group expression stands for.
enum GroupItem {
    /// Key column `n` of the operator.
    Key(usize),
    /// A bound of the window.
    Bound(WindowBound),
}

/// An aggregation whose keys and arguments are columns of `input`.
struct Prepared {
    input: NodeId,
    keys: Vec<usize>,
    key_fields: Vec<FieldRef>,
    calls: Vec<AggregateCall>,
    window: Option<WindowInput>,
    late: Option<LateColumns>,
}

impl Builder<'_> {
    pub(crate) fn lower_aggregate(&mut self, aggregate: &Aggregate, emit: Emit) -> Result<Lowered, SqlError> {
        if let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() {
            return self.lower_grouping_sets(aggregate, sets, emit);
        }
        self.lower_grouping(
            &aggregate.input,
            &aggregate.group_expr,
            &aggregate.aggr_expr,
            &aggregate.schema,
            emit,
        )
    }

    /// `SELECT DISTINCT` is an aggregation by all columns without calls.
    pub(crate) fn lower_distinct(
        &mut self,
        input: &Arc<LogicalPlan>,
        emit: Emit,
    ) -> Result<Lowered, SqlError> {
        let keys: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        self.lower_grouping(input, &keys, &[], input.schema(), emit)
    }

    pub(crate) fn lower_grouping(
        &mut self,
        input_plan: &LogicalPlan,
        group: &[Expr],
        calls: &[Expr],
        schema: &DFSchema,
        emit: Emit,
    ) -> Result<Lowered, SqlError> {
        let logical = input_plan.schema();
        let input = self.lower(input_plan, Emit::Default)?;
        let computed = group
            .iter()
            .filter(|key| plain_column(key, logical).is_none())
            .chain(calls);
        let mut input = self.materialise_if_used(input, logical, computed)?;
        let bound_of = |input: &Lowered, key: &Expr| {
            let index = plain_column(key, logical)?;
            WindowBound::ALL
                .into_iter()
                .find(|&bound| input.is_bound(index, bound))
        };
        let has = |input: &Lowered, bound| group.iter().any(|key| bound_of(input, key) == Some(bound));
        let cumulates = |input: &Lowered| {
            matches!(
                input.pending_window,
                Some(WindowSpec {
                    kind: WindowKind::Cumulate { .. },
                    ..
                })
            )
        };
        let windowed =
            has(&input, WindowBound::End) || (has(&input, WindowBound::Start) && !cumulates(&input));
        if !windowed {
            input = self.materialise(input);
        }

        let (prepared, items) = self.prepare(&input, logical, group, calls, schema, windowed, bound_of)?;
        let key_count = prepared.keys.len();
        let first_bound = key_count + prepared.calls.len();
        let call_count = prepared.calls.len();
        let node = match prepared.window {
            Some(_) => self.add_window_aggregate(prepared, emit)?,
            None => {
                // EMIT FINAL answers each key once, at the end: none may be forgotten before.
                let ttl_us = self.aggregation_ttl(input_plan).filter(|_| emit != Emit::Final);
                self.add_group_aggregate(prepared, emit, ttl_us)?
            }
        };
        let columns = items
            .into_iter()
            .map(|item| match item {
                GroupItem::Key(key) => ColumnSource::Physical(key),
                GroupItem::Bound(bound) => ColumnSource::Physical(first_bound + bound as usize),
            })
            .chain((0..call_count).map(|call| ColumnSource::Physical(key_count + call)))
            .collect();
        let attached = match &self.nodes[node].kind {
            NodeKind::WindowAggregate(spec) => Some(AttachedWindow {
                start: Some(first_bound),
                end: Some(first_bound + 1),
                tick_us: window_tick(&spec.window),
            }),
            _ => None,
        };
        Ok(Lowered {
            node,
            columns,
            pending_window: None,
            attached,
            late: None,
        })
    }

    /// Computes keys, arguments and filters as columns of one node.
    #[allow(clippy::too_many_arguments, reason = "the parts of one GROUP BY, used once")]
    fn prepare(
        &mut self,
        input: &Lowered,
        logical: &DFSchema,
        group: &[Expr],
        calls: &[Expr],
        schema: &DFSchema,
        windowed: bool,
        bound_of: impl Fn(&Lowered, &Expr) -> Option<WindowBound>,
    ) -> Result<(Prepared, Vec<GroupItem>), SqlError> {
        let physical = self.physical_schema(logical, input);
        let node_schema = self.nodes[input.node].schema.clone();
        let mut output = MapOutput::default();
        let mut keys = Vec::new();
        let mut key_fields = Vec::new();
        let mut items = Vec::with_capacity(group.len());
        for (key, field) in group.iter().zip(schema.fields()) {
            match bound_of(input, key).filter(|_| windowed) {
                Some(bound) => items.push(GroupItem::Bound(bound)),
                None => {
                    let expression = self
                        .expressions
                        .physical(key, &physical)
                        .map_err(planning_error)?;
                    items.push(GroupItem::Key(keys.len()));
                    keys.push(output.add(expression, field.clone()));
                    key_fields.push(field.clone());
                }
            }
        }
        let mut lowering = CallLowering {
            expressions: &self.expressions,
            physical: &physical,
            output: &mut output,
            over_frames: false,
        };
        let calls = calls
            .iter()
            .zip(schema.fields().iter().skip(group.len()))
            .map(|(call, field)| lowering.lower(call, field))
            .collect::<Result<Vec<_>, SqlError>>()
            .map_err(|error| error.at(self.error("").position.unwrap_or_default()))?;

        let window = match (windowed, &input.pending_window, &input.attached) {
            (false, ..) => None,
            (true, Some(window), _) => {
                let time_column = output.add(
                    column(&node_schema, window.time_column),
                    field(&node_schema, window.time_column),
                );
                Some(WindowInput::Assign(WindowSpec {
                    time_column,
                    ..*window
                }))
            }
            (
                true,
                None,
                Some(AttachedWindow {
                    start: Some(start),
                    end: Some(end),
                    tick_us,
                }),
            ) => {
                let start_column = output.add(column(&node_schema, *start), field(&node_schema, *start));
                let end_column = output.add(column(&node_schema, *end), field(&node_schema, *end));
                Some(WindowInput::Attached {
                    start_column,
                    end_column,
                    tick_us: *tick_us,
                })
            }
            (true, ..) => {
                return Err(self
                    .error_at(
                        &["GROUP BY"],
                        "an aggregation of window results needs both window_start and window_end",
                    )
                    .hint("select and group by both columns"));
            }
        };
        let late = input.late.clone().filter(|_| windowed);
        let mut prepared = Prepared {
            input: input.node,
            keys,
            key_fields,
            calls,
            window,
            late: late.map(|late| late.kept_by(&mut output, &node_schema)),
        };
        self.add_preparation(input, output, &mut prepared);
        Ok((prepared, items))
    }

    /// Adds the map of keys and arguments; none is needed where all of them are columns already.
    fn add_preparation(&mut self, input: &Lowered, output: MapOutput, prepared: &mut Prepared) {
        let width = self.nodes[input.node].schema.fields().len();
        if let Some(columns) = output
            .input_columns()
            .filter(|columns| columns.len() == width || columns.is_empty())
        {
            prepared.use_input_columns(&columns);
            return;
        }
        let input = Lowered {
            pending_window: None,
            late: None,
            ..input.clone()
        };
        prepared.input = self.add_projection(input, Vec::new(), output).node;
    }

    fn add_window_aggregate(&mut self, prepared: Prepared, emit: Emit) -> Result<NodeId, SqlError> {
        let window = prepared
            .window
            .clone()
            .expect("invariant: a window aggregation has a window");
        // Windows that come with the rows are complete when they come: no row of theirs is late.
        let emit = match (emit, &window) {
            (Emit::Corrected(_), WindowInput::Attached { .. }) => Emit::Default,
            (emit, _) => emit,
        };
        let input = self.nodes[prepared.input].clone();
        let mut spec = WindowAggregateSpec {
            window,
            keys: prepared.keys.clone(),
            calls: prepared.calls.clone(),
            emit,
            input_is_partial: false,
            input_retracts: input.changelog.has_ops(),
            emit_update_before: false,
        };
        let partitioning = uncombined(
            self.choose(&prepared, &input, "the window aggregation"),
            emit,
            false,
        );
        let time_type = match &spec.window {
            WindowInput::Assign(window) => input.schema.field(window.time_column).data_type().clone(),
            WindowInput::Attached { end_column, .. } => input.schema.field(*end_column).data_type().clone(),
        };
        let mut below = prepared.input;
        if let Partitioning::LocalGlobal(_) = &partitioning {
            let schema =
                local_window_aggregate::local_window_schema(&spec, &input.schema).map_err(unsupported)?;
            let kind = NodeKind::LocalWindowAggregate(spec.clone());
            below = self.add_local(kind, schema, below);
            spec.keys = (0..spec.keys.len()).collect();
            spec.input_is_partial = true;
        }
        let exchange_keys = match spec.input_is_partial {
            true => spec.keys.clone(),
            false => prepared.exchange_keys(),
        };
        let (mut below, moved) = self.add_exchange(below, exchange_keys, &partitioning);
        if let (Some(late), WindowInput::Assign(window)) = (&prepared.late, &spec.window) {
            below = self.add_late_rows(below, *window, lateness(emit), late);
        }
        let owner = self.nodes[below].clone();
        let mut fields = output_fields(&prepared);
        fields.extend(window_fields(&time_type));
        let window_count = match &spec.window {
            WindowInput::Assign(WindowSpec {
                kind: WindowKind::Tumble { .. },
                ..
            }) => "open windows",
            _ => "open slices",
        };
        let growth = StateGrowth::Bounded(format!(
            "{window_count} × keys; a window is dropped once the watermark has passed it"
        ));
        let first_bound = fields.len() - 3;
        let distribution = keyed_distribution(&owner, &prepared, &spec.keys, moved);
        Ok(self.add(PlanNode {
            id: 0,
            kind: NodeKind::WindowAggregate(spec),
            inputs: vec![below],
            schema: schema_of(fields),
            changelog: provisional_changelog(matches!(emit, Emit::Default | Emit::Final)),
            event_time: Some(first_bound + 2),
            distribution,
            growth,
        }))
    }

    fn add_group_aggregate(
        &mut self,
        prepared: Prepared,
        emit: Emit,
        ttl_us: Option<u64>,
    ) -> Result<NodeId, SqlError> {
        let input = self.nodes[prepared.input].clone();
        let mut spec = GroupAggregateSpec {
            keys: prepared.keys.clone(),
            calls: prepared.calls.clone(),
            emit,
            input_is_partial: false,
            input_retracts: input.changelog.has_ops(),
            emit_update_before: false,
            ttl_us,
        };
        let partitioning = uncombined(
            self.choose(&prepared, &input, "the aggregation"),
            emit,
            spec.input_retracts && ttl_us.is_some(),
        );
        let mut below = prepared.input;
        if let Partitioning::LocalGlobal(_) = &partitioning {
            let schema =
                local_group_aggregate::local_group_schema(&spec, &input.schema).map_err(unsupported)?;
            below = self.add_local(NodeKind::LocalGroupAggregate(spec.clone()), schema, below);
            spec.keys = (0..spec.keys.len()).collect();
            spec.input_is_partial = true;
        }
        let (below, moved) = self.add_exchange(below, spec.keys.clone(), &partitioning);
        let owner = self.nodes[below].clone();
        let distribution = keyed_distribution(&owner, &prepared, &spec.keys, moved);
        let key_names = names_of(
            &schema_of(prepared.key_fields.clone()),
            &(0..spec.keys.len()).collect::<Vec<_>>(),
        );
        let growth = match spec.keys.is_empty() {
            true => StateGrowth::Bounded("one row".to_string()),
            false => kept_for(format!("one row per distinct ({})", key_names.join(", ")), ttl_us),
        };
        Ok(self.add(PlanNode {
            id: 0,
            kind: NodeKind::GroupAggregate(spec),
            inputs: vec![below],
            schema: schema_of(output_fields(&prepared)),
            changelog: provisional_changelog(emit == Emit::Final),
            event_time: None,
            distribution,
            growth,
        }))
    }

    fn choose(&self, prepared: &Prepared, input: &PlanNode, name: &str) -> Partitioning {
        let keys = prepared.exchange_keys();
        let key_names = names_of(&input.schema, &keys);
        let two_phase = match (&prepared.window, self.settings.two_phase) {
            (_, false) => {
                Err("two phases are switched off by table.optimizer.agg-phase-strategy".to_string())
            }
            _ if prepared.late.is_some() => Err(
                "LATE DATA TO writes the rows themselves, so none may be combined before it is late"
                    .to_string(),
            ),
            (Some(WindowInput::Attached { .. }), _) => {
                Err("its input are window results, already combined".to_string())
            }
            (_, true) => two_phase(&prepared.calls, input.changelog.has_ops()),
        };
        partitioner::select(&KeyedOperator {
            name,
            key_names: &key_names,
            keys: &keys,
            input: &input.distribution,
            two_phase,
        })
    }

    fn add_local(&mut self, kind: NodeKind, schema: SchemaRef, input: NodeId) -> NodeId {
        let distribution = self.nodes[input].distribution.clone();
        self.add(PlanNode {
            id: 0,
            kind,
            inputs: vec![input],
            schema,
            changelog: Changelog::Append,
            event_time: None,
            distribution,
            growth: StateGrowth::Bounded("one flush of partial results".to_string()),
        })
    }

    /// Adds the exchange that `partitioning` asks for; answers the node and whether rows move.
    pub(crate) fn add_exchange(
        &mut self,
        input: NodeId,
        keys: Vec<usize>,
        partitioning: &Partitioning,
    ) -> (NodeId, bool) {
        let reason = match partitioning {
            Partitioning::CoPartitioned(_) => return (input, false),
            Partitioning::LocalGlobal(reason) | Partitioning::HashByKey(reason) => reason.clone(),
        };
        let target = if keys.is_empty() {
            ExchangeTarget::First
        } else {
            ExchangeTarget::Owner(keys)
        };
        (self.add_exchange_to(input, target, reason), true)
    }

    /// Adds an exchange to `target`.
    pub(crate) fn add_exchange_to(
        &mut self,
        input: NodeId,
        target: ExchangeTarget,
        reason: String,
    ) -> NodeId {
        let distribution = match &target {
            ExchangeTarget::Owner(keys) => Distribution::Hash(keys.clone()),
            ExchangeTarget::First => Distribution::Single,
            ExchangeTarget::All => Distribution::Replicated,
        };
        let node = PlanNode {
            kind: NodeKind::Exchange(ExchangeSpec { target, reason }),
            inputs: vec![input],
            distribution,
            growth: StateGrowth::Bounded("credits: slots and bytes in flight".to_string()),
            ..self.nodes[input].clone()
        };
        self.add(node)
    }
}

impl Prepared {
    /// The columns that rows which must meet agree on: attached windows are part of the key.
    fn exchange_keys(&self) -> Vec<usize> {
        let mut keys = self.keys.clone();
        if let Some(WindowInput::Attached {
            start_column,
            end_column,
            ..
        }) = &self.window
        {
            keys.extend([*start_column, *end_column]);
        }
        keys
    }

    /// Renumbers columns of the map that is left out to those of its input.
    fn use_input_columns(&mut self, columns: &[usize]) {
        let renumber = |column: &mut usize| *column = columns[*column];
        self.keys.iter_mut().for_each(renumber);
        for call in &mut self.calls {
            call.arguments.iter_mut().for_each(renumber);
            call.filter.iter_mut().for_each(renumber);
        }
        if let Some(late) = &mut self.late {
            late.columns.iter_mut().for_each(renumber);
        }
        match &mut self.window {
            Some(WindowInput::Assign(window)) => renumber(&mut window.time_column),
            Some(WindowInput::Attached {
                start_column,
                end_column,
                ..
            }) => {
                renumber(start_column);
                renumber(end_column);
            }
            None => {}
        }
    }
}

/// The partitioning under `emit`: where each row is answered, rows are not combined on the way; nor where
/// what rows take back may have been forgotten.
fn uncombined(partitioning: Partitioning, emit: Emit, forgets: bool) -> Partitioning {
    match partitioning {
        Partitioning::LocalGlobal(_) if forgets => Partitioning::HashByKey(
            "rows that take back may not be combined on the way: what they take back may have expired"
                .to_string(),
        ),
        Partitioning::LocalGlobal(_) if emit == Emit::ChangesEveryRow => Partitioning::HashByKey(
            "EMIT CHANGES EVERY ROW answers each row, so rows may not be combined on the way".to_string(),
        ),
        other => other,
    }
}

/// Key columns, then one column per call.
fn output_fields(prepared: &Prepared) -> Vec<FieldRef> {
    prepared
        .key_fields
        .iter()
        .cloned()
        .chain(prepared.calls.iter().map(|call| call.output.clone()))
        .collect()
}

/// How the owner's output lies: by its own key columns where the rows were hashed by them.
fn keyed_distribution(owner: &PlanNode, prepared: &Prepared, keys: &[usize], moved: bool) -> Distribution {
    match &owner.distribution {
        Distribution::Single => Distribution::Single,
        Distribution::Source => Distribution::Source,
        Distribution::Replicated => unreachable!("invariant: only a join reads what is on every shard"),
        Distribution::Hash(hashed) => {
            let positions: Option<Vec<usize>> = hashed
                .iter()
                .map(|column| keys.iter().position(|key| key == column))
                .collect();
            match positions {
                Some(positions) => Distribution::Hash(positions),
                // Hashed by keys and attached window bounds, which stand behind the calls.
                None if moved && hashed.len() == keys.len() + 2 => {
                    let first_bound = prepared.keys.len() + prepared.calls.len();
                    Distribution::Hash((0..keys.len()).chain([first_bound, first_bound + 1]).collect())
                }
                None => Distribution::Source,
            }
        }
    }
}

/// Whether the node emits changes; `changelog_inference` says later of which kind.
fn provisional_changelog(emits_once: bool) -> Changelog {
    if emits_once {
        Changelog::Append
    } else {
        Changelog::Retract
    }
}

/// Whether partial results can be combined, and if not, why not.
fn two_phase(calls: &[AggregateCall], input_retracts: bool) -> Result<(), String> {
    if supports_two_phase(calls, input_retracts) {
        return Ok(());
    }
    if input_retracts {
        return Err("its input takes rows back".to_string());
    }
    let whole = calls
        .iter()
        .find(|call| !supports_two_phase(std::slice::from_ref(*call), false));
    Err(whole.map_or_else(
        || "its calls do not combine".to_string(),
        |call| match call.distinct {
            true => "DISTINCT keeps a set of values".to_string(),
            false => format!("{} needs all values of a group", call.output.name()),
        },
    ))
}

fn unsupported(error: ExecutionError) -> SqlError {
    SqlError::new(error.message)
}

/// How long a complete window is corrected, microseconds.
fn lateness(emit: Emit) -> i64 {
    match emit {
        Emit::Corrected(us) => i64::try_from(us).unwrap_or(i64::MAX),
        _ => 0,
    }
}

fn window_tick(window: &WindowInput) -> i64 {
    match window {
        WindowInput::Assign(window) => window.tick_us,
        WindowInput::Attached { tick_us, .. } => *tick_us,
    }
}

fn column(schema: &SchemaRef, index: usize) -> Arc<dyn datafusion_physical_expr::PhysicalExpr> {
    Arc::new(datafusion_physical_expr::expressions::Column::new(
        schema.field(index).name(),
        index,
    ))
}

fn field(schema: &SchemaRef, index: usize) -> FieldRef {
    schema.fields()[index].clone()
}
