//! `OVER` aggregations: one operator per distinct (partition, order, frame).

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{AggregateFunction as LogicalCall, NullTreatment, Sort, WindowFunction};
use datafusion_expr::{
    Expr, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion_physical_expr::expressions::Column;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::functions::{Functions, positional};
use crate::plan::aggregate_calls::CallLowering;
use crate::plan::builder::{Builder, MapOutput, names_of, plain_column, planning_error};
use crate::plan::lower_interval::interval_us;
use crate::plan::lower_lead::is_lead;
use crate::plan::lowered::{ColumnSource, Lowered, schema_of};
use crate::plan::partitioner::{self, KeyedOperator};
use crate::plan::{NodeId, NodeKind, OverAggregateSpec, OverFrame, PlanNode, StateGrowth};
use crate::sql::places::column_position;
use crate::sql::statement::Emit;

/// What an operator over partitions reads.
pub(super) struct PartitionedInput {
    /// Its columns.
    pub lowered: Lowered,
    /// The node that it reads.
    pub below: NodeId,
    /// What partitions are told apart by.
    pub key_names: Vec<String>,
}

impl Builder<'_> {
    pub(crate) fn lower_over(&mut self, window: &Window) -> Result<Lowered, SqlError> {
        let logical = window.input.schema();
        let input = self.lower(&window.input, Emit::Default)?;
        let mut lowered = self.materialise(input);
        let functions = window
            .window_expr
            .iter()
            .map(|e| self.window_function(e))
            .collect::<Result<Vec<WindowFunction>, _>>()?;
        let width = logical.fields().len();
        // Columns of the calls are filled in as their operator is added.
        let mut call_columns = vec![None; functions.len()];
        let mut order: Vec<usize> = (0..functions.len()).collect();
        order.sort_by_key(|&index| is_lead(&functions[index]));
        for first in order {
            if call_columns[first].is_some() {
                continue;
            }
            let same: Vec<usize> = (first..functions.len())
                .filter(|&other| over_key(&functions[other]) == over_key(&functions[first]))
                .collect();
            let calls: Vec<&WindowFunction> = same.iter().map(|&index| &functions[index]).collect();
            let results = same
                .iter()
                .map(|&index| window.schema.fields()[width + index].clone())
                .collect::<Vec<_>>();
            let (next, columns) = match is_lead(calls[0]) {
                true => self.add_lead(lowered, logical, &calls, &results)?,
                false => self.add_over(lowered, logical, &calls, &results)?,
            };
            lowered = next;
            for (&index, column) in same.iter().zip(columns) {
                call_columns[index] = Some(column);
            }
        }
        let calls = call_columns
            .into_iter()
            .map(|column| column.expect("invariant: every call has an operator"));
        lowered.columns.extend(calls.map(ColumnSource::Physical));
        Ok(lowered)
    }

    /// The call, as an aggregate over a frame: `ROW_NUMBER` counts, `LAG` remembers.
    fn window_function(&self, expression: &Expr) -> Result<WindowFunction, SqlError> {
        match expression {
            Expr::Alias(alias) => self.window_function(&alias.expr),
            Expr::WindowFunction(function) => self.aggregate_over(function),
            other => Err(self.error(format!("`{other}` is not a window function"))),
        }
    }

    fn aggregate_over(&self, function: &WindowFunction) -> Result<WindowFunction, SqlError> {
        let WindowFunctionDefinition::WindowUDF(udf) = &function.fun else {
            return Ok(function.clone());
        };
        let name = udf.name();
        let known = |name: &str| Functions::library().aggregate(name);
        let (aggregate, whole) = match name {
            "row_number" => (known("count"), true),
            "lag" => {
                let ignores_nulls = function.params.null_treatment == Some(NullTreatment::IgnoreNulls);
                self.check_lag(function.params.args.get(1))?;
                (Some(positional::lag(ignores_nulls)), true)
            }
            "lead" => {
                // Its answer does not depend on the frame: all of one partition share an operator.
                let mut call = function.clone();
                call.params.window_frame = WindowFrame::new(Some(true));
                return Ok(call);
            }
            "nth_value" => {
                self.check_nth(function.params.args.get(1))?;
                (known(name), false)
            }
            "first_value" | "last_value" => (known(name), false),
            "rank" | "dense_rank" => {
                return Err(self
                    .error_at(
                        &[name],
                        format!("{}() needs a bound on a stream", name.to_uppercase()),
                    )
                    .hint("put it into a sub-query and filter on it: … WHERE rank_number <= 10 is a Top-N"));
            }
            _ => {
                return Err(self
                    .error_at(
                        &[name],
                        format!("{}() OVER is not supported", name.to_uppercase()),
                    )
                    .hint("use LAG, LEAD, ROW_NUMBER, FIRST_VALUE, LAST_VALUE, NTH_VALUE or an aggregate"));
            }
        };
        let aggregate = aggregate.expect("invariant: the library has this aggregate");
        let mut call = function.clone();
        call.fun = WindowFunctionDefinition::AggregateUDF(aggregate);
        if name == "row_number" {
            call.params.args = vec![datafusion_expr::lit(1i64)];
        }
        if whole {
            call.params.window_frame = WindowFrame::new_bounds(
                WindowFrameUnits::Rows,
                WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
                WindowFrameBound::CurrentRow,
            );
        }
        Ok(call)
    }

    /// `LAG(x, n)` counts rows: a literal is a whole number.
    fn check_lag(&self, offset: Option<&Expr>) -> Result<(), SqlError> {
        match offset {
            Some(Expr::Literal(value, _)) if whole_number(value).is_none_or(|offset| offset < 0) => Err(self
                .error_at(&["LAG"], "the offset of LAG is a whole number from 0 on")
                .hint("LAG looks back and LEAD looks ahead")),
            _ => Ok(()),
        }
    }

    /// `NTH_VALUE(x, n)` counts from 1, from the front of the frame.
    fn check_nth(&self, number: Option<&Expr>) -> Result<(), SqlError> {
        let number = match number {
            Some(Expr::Literal(value, _)) => value.cast_to(&DataType::Int64).ok(),
            _ => None,
        };
        match number {
            Some(ScalarValue::Int64(Some(1..))) => Ok(()),
            _ => Err(self
                .error_at(
                    &["NTH_VALUE"],
                    "the second argument of NTH_VALUE is a number from 1 on",
                )
                .hint("NTH_VALUE(x, 1) is the first value of the frame; LAST_VALUE(x) the last")),
        }
    }

    /// Adds one operator for calls that share partition, order and frame; answers their columns.
    fn add_over(
        &mut self,
        input: Lowered,
        logical: &DFSchema,
        functions: &[&WindowFunction],
        results: &[FieldRef],
    ) -> Result<(Lowered, Vec<usize>), SqlError> {
        let params = &functions[0].params;
        let time_column = self.over_time_column(&input, logical, &params.order_by)?;
        let frame = self.over_frame(&params.window_frame)?;
        let physical = self.physical_schema(logical, &input);
        let node_schema = self.nodes[input.node].schema.clone();

        // The operator passes its input on, so all columns stay; computed ones stand behind them.
        let mut output = MapOutput::default();
        for (index, field) in node_schema.fields().iter().enumerate() {
            output
                .columns
                .push((Arc::new(Column::new(field.name(), index)), field.clone()));
        }
        let mut partition = Vec::with_capacity(params.partition_by.len());
        for expression in &params.partition_by {
            let key = self
                .expressions
                .physical(expression, &physical)
                .map_err(planning_error)?;
            let field = key.return_field(physical.as_arrow()).map_err(planning_error)?;
            partition.push(output.add(key, field));
        }
        let mut lowering = CallLowering {
            expressions: &self.expressions,
            physical: &physical,
            output: &mut output,
            over_frames: true,
        };
        let mut calls = Vec::with_capacity(functions.len());
        for (function, result) in functions.iter().zip(results) {
            calls.push(lowering.lower(&Expr::AggregateFunction(aggregate_of(function)), result)?);
        }

        let PartitionedInput {
            mut lowered,
            below,
            key_names,
        } = self.partitioned_input(
            input,
            output,
            &partition,
            "OVER",
            "a row's answer depends on the rows before it",
        )?;
        let mut fields = self.nodes[below].schema.fields().to_vec();
        let width = fields.len();
        fields.extend(calls.iter().map(|call| call.output.clone()));
        let call_count = calls.len();
        let growth = over_growth(frame, &key_names);
        let over = PlanNode {
            kind: NodeKind::OverAggregate(OverAggregateSpec {
                partition,
                time_column,
                frame,
                calls,
            }),
            inputs: vec![below],
            schema: schema_of(fields),
            changelog: Changelog::Append,
            growth,
            ..self.nodes[below].clone()
        };
        lowered.node = self.add(over);
        Ok((lowered, (width..width + call_count).collect()))
    }

    /// The rows of each partition on one shard, behind what `output` computes of them.
    pub(super) fn partitioned_input(
        &mut self,
        input: Lowered,
        output: MapOutput,
        partition: &[usize],
        name: &'static str,
        one_phase: &str,
    ) -> Result<PartitionedInput, SqlError> {
        let mut lowered = input;
        if output.columns.len() > self.nodes[lowered.node].schema.fields().len() {
            let columns = lowered.columns.clone();
            lowered = self.add_projection(lowered, columns, output);
        }
        let node = self.nodes[lowered.node].clone();
        if node.changelog.has_ops() {
            let subject = if name == "LEAD" { "OVER" } else { name };
            return Err(self.error_at(
                &[name],
                format!("{subject} on a changing input is not supported yet"),
            ));
        }
        let key_names = names_of(&node.schema, partition);
        let partitioning = partitioner::select(&KeyedOperator {
            name,
            key_names: &key_names,
            keys: partition,
            input: &node.distribution,
            two_phase: Err(one_phase.to_string()),
        });
        let (below, _) = self.add_exchange(lowered.node, partition.to_vec(), &partitioning);
        Ok(PartitionedInput {
            lowered,
            below,
            key_names,
        })
    }

    /// OVER runs in event time: ORDER BY must be the event-time column, ascending.
    pub(super) fn over_time_column(
        &self,
        input: &Lowered,
        logical: &DFSchema,
        order_by: &[Sort],
    ) -> Result<usize, SqlError> {
        let event_time = self.nodes[input.node].event_time;
        let name = event_time.map(|column| self.nodes[input.node].schema.field(column).name().clone());
        let hint = match &name {
            Some(name) => format!("write ORDER BY `{name}`"),
            None if self.is_behind_lead(input.node) => {
                "behind LEAD rows have no order of time: write what follows over the same table, and join the two".to_string()
            }
            None => "declare WATERMARK FOR a time column in CREATE TABLE and order by it".to_string(),
        };
        let refuse = |message: &str| {
            let error = match order_by.first().and_then(|sort| column_position(&sort.expr)) {
                Some(place) => SqlError::new(message).at(place),
                None => self.error_at(&["OVER"], message),
            };
            Err(error.hint(hint.clone()))
        };
        match order_by {
            [Sort { expr, asc: true, .. }] => {
                let column = plain_column(expr, logical).and_then(|index| input.physical(index));
                match column.filter(|_| column == event_time) {
                    Some(column) => Ok(column),
                    None => refuse("OVER must be ordered by the event-time column"),
                }
            }
            [] => refuse("OVER needs ORDER BY the event-time column: a stream has no other order"),
            [_] => refuse("OVER must be ordered by event time ascending: a stream only moves forward"),
            _ => refuse("OVER must be ordered by the event-time column alone"),
        }
    }

    /// Whether rows come out of LEAD, perhaps computed upon since.
    pub(super) fn is_behind_lead(&self, mut node: NodeId) -> bool {
        while let (NodeKind::Map(_), [input]) = (&self.nodes[node].kind, self.nodes[node].inputs.as_slice()) {
            node = *input;
        }
        matches!(self.nodes[node].kind, NodeKind::Lead(_))
    }

    fn over_frame(&self, frame: &WindowFrame) -> Result<OverFrame, SqlError> {
        if frame.end_bound != WindowFrameBound::CurrentRow {
            return Err(self
                .error_at(
                    &["FOLLOWING", "OVER"],
                    "an OVER frame must end at CURRENT ROW: rows that follow have not arrived yet",
                )
                .hint("write … BETWEEN n PRECEDING AND CURRENT ROW"));
        }
        let refuse = || {
            let words = ["ROWS BETWEEN", "RANGE BETWEEN", "ROWS", "RANGE", "OVER"];
            self.error_at(&words, format!("this OVER frame is not supported: {frame}"))
        };
        match (&frame.units, &frame.start_bound) {
            (WindowFrameUnits::Rows, WindowFrameBound::CurrentRow) => Ok(OverFrame::Rows(Some(0))),
            (WindowFrameUnits::Range, WindowFrameBound::CurrentRow) => Ok(OverFrame::Range(Some(0))),
            (WindowFrameUnits::Rows, WindowFrameBound::Preceding(count)) => match count {
                count if count.is_null() => Ok(OverFrame::Rows(None)),
                ScalarValue::UInt64(Some(count)) => Ok(OverFrame::Rows(Some(*count))),
                _ => Err(refuse()),
            },
            (WindowFrameUnits::Range, WindowFrameBound::Preceding(distance)) => match distance {
                distance if distance.is_null() => Ok(OverFrame::Range(None)),
                distance => interval_us(distance)
                    .map(|us| OverFrame::Range(Some(us)))
                    .ok_or_else(refuse),
            },
            _ => Err(refuse()),
        }
    }
}

/// The whole number that a literal is.
pub(super) fn whole_number(value: &ScalarValue) -> Option<i64> {
    match value.data_type().is_integer() {
        true => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(number)) => number,
            _ => None,
        },
        false => None,
    }
}

/// What calls of one operator share.
fn over_key(function: &WindowFunction) -> (bool, &[Expr], &[Sort], &WindowFrame) {
    let params = &function.params;
    (
        is_lead(function),
        &params.partition_by,
        &params.order_by,
        &params.window_frame,
    )
}

/// The aggregate call that a window function is by now.
fn aggregate_of(function: &WindowFunction) -> LogicalCall {
    let WindowFunctionDefinition::AggregateUDF(aggregate) = &function.fun else {
        unreachable!("invariant: window functions were made aggregates")
    };
    LogicalCall::new_udf(
        aggregate.clone(),
        function.params.args.clone(),
        function.params.distinct,
        function.params.filter.clone(),
        Vec::new(),
        function.params.null_treatment,
    )
}

fn over_growth(frame: OverFrame, keys: &[String]) -> StateGrowth {
    let keys = if keys.is_empty() {
        "one partition".to_string()
    } else {
        format!("({})", keys.join(", "))
    };
    match frame {
        OverFrame::Rows(Some(count)) => {
            StateGrowth::PerKey(format!("{} rows per distinct {keys}, kept for ever", count + 1))
        }
        OverFrame::Range(Some(us)) => StateGrowth::Bounded(format!("rows of the last {} s", us as f64 / 1e6)),
        OverFrame::Rows(None) | OverFrame::Range(None) => {
            StateGrowth::PerKey(format!("one accumulator per distinct {keys}, kept for ever"))
        }
    }
}
