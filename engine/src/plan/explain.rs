//! EXPLAIN: the stream plan as text that a newcomer can read.
//!
//! One tree per query, sink first. Under each node: what its rows may say, which column carries
//! event time, how the rows lie over the shards, and what bounds the state. A node that two
//! readers share is printed once and referred to by its number.

use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;

use crate::plan::display::{display_name, duration, expression};
use crate::plan::match_spec::MatchSkip;
use crate::plan::warnings::warnings;
use crate::plan::{
    AggregateCall, AggregateFunction, Distribution, ExchangeTarget, JoinKey, JoinKind, MatchSpec, NodeId,
    NodeKind, OverFrame, PlanNode, RankFunction, SortColumn, StateGrowth, StreamPlan, WindowInput,
    WindowKind,
};
use crate::sql::catalog::TableDefinition;
use crate::sql::statement::Emit;

/// The whole plan.
pub fn explain(plan: &StreamPlan) -> String {
    let mut printer = Printer {
        plan,
        text: String::new(),
        printed: vec![false; plan.nodes.len()],
    };
    let sinks: Vec<&PlanNode> = plan
        .nodes
        .iter()
        .filter(|node| matches!(node.kind, NodeKind::Sink(_)))
        .collect();
    for (number, sink) in sinks.iter().enumerate() {
        if number > 0 {
            printer.text.push('\n');
        }
        writeln!(printer.text, "Query {}", number + 1).expect("invariant: writing to a string succeeds");
        printer.node(sink.id, "", true);
    }
    for warning in warnings(plan) {
        printer.line(&format!("warning: {warning}"));
    }
    printer.text
}

/// One line for a node: its operator and what it works on. Also names the node in profiles.
pub fn headline(plan: &StreamPlan, id: NodeId) -> String {
    let node = &plan.nodes[id];
    let input = node
        .inputs
        .first()
        .map(|&input| plan.nodes[input].schema.as_ref());
    let empty = Schema::empty();
    let input = input.unwrap_or(&empty);
    match &node.kind {
        NodeKind::Source(spec) => {
            let connector = spec.table.connector();
            let path = spec
                .table
                .option("path")
                .or(spec.table.option("topic"))
                .or(spec.table.option("listen"))
                .or(spec.table.option("connect"))
                .map(|path| format!(" '{path}'"))
                .unwrap_or_default();
            format!("Source {} ({connector}{path})", spec.table.name)
        }
        NodeKind::Map(spec) => match (&spec.filter, &spec.projection) {
            (Some(_), Some(_)) => "Filter and project".to_string(),
            (Some(_), None) => "Filter".to_string(),
            _ => "Project".to_string(),
        },
        NodeKind::Expand(spec) => format!("Expand to {} grouping sets", spec.sets.len()),
        NodeKind::Unnest(spec) => format!("Unnest {}", names(input, &[spec.array])),
        NodeKind::Union => "Union all".to_string(),
        NodeKind::Exchange(spec) => match &spec.target {
            ExchangeTarget::Owner(keys) => format!("Exchange by hash of {}", names(input, keys)),
            ExchangeTarget::First => "Exchange to shard 0".to_string(),
            ExchangeTarget::All => "Exchange to every shard".to_string(),
        },
        NodeKind::Normalize(spec) => format!("Normalize changelog per {}", names(input, &spec.key)),
        NodeKind::TemporalJoin(spec) => match spec.times {
            Some(_) => "Temporal join".to_string(),
            None => "Lookup join".to_string(),
        },
        NodeKind::LocalGroupAggregate(spec) => format!("Local aggregate per {}", names(input, &spec.keys)),
        NodeKind::GroupAggregate(spec) => {
            let phase = if spec.input_is_partial {
                "Merge aggregate"
            } else {
                "Aggregate"
            };
            format!("{phase} per {}", names(input, &spec.keys))
        }
        NodeKind::LocalWindowAggregate(spec) => {
            format!(
                "Local window aggregate {} per {}",
                window_text(&spec.window),
                names(input, &spec.keys)
            )
        }
        NodeKind::WindowAggregate(spec) => {
            let phase = if spec.input_is_partial {
                "Merge window aggregate"
            } else {
                "Window aggregate"
            };
            format!(
                "{phase} {} per {}",
                window_text(&spec.window),
                names(input, &spec.keys)
            )
        }
        NodeKind::SessionAssign(spec) => format!(
            "Session assign (gap {}) per {}",
            duration(spec.gap_us),
            names(input, &spec.partition)
        ),
        NodeKind::WindowAssign(window) => format!("Window assign {}", kind_text(window.kind)),
        NodeKind::LateRows(spec) => format!("Tell late rows of {}", kind_text(spec.window.kind)),
        NodeKind::OverAggregate(spec) => {
            format!(
                "Over aggregate per {} by {}",
                names(input, &spec.partition),
                input.field(spec.time_column).name()
            )
        }
        NodeKind::Lead(spec) => format!(
            "Lead per {} by {}",
            names(input, &spec.partition),
            input.field(spec.time_column).name()
        ),
        NodeKind::MatchRecognize(spec) => format!(
            "Match {} per {} by {}",
            spec.pattern.display(&spec.variables),
            names(input, &spec.partition),
            input.field(spec.time_column).name()
        ),
        NodeKind::WindowJoin(spec) => format!("Window join ({})", kind_name(spec.kind)),
        NodeKind::StreamJoin(spec) => match spec.interval {
            Some(_) => format!("Interval join ({})", kind_name(spec.kind)),
            None => format!("Join ({})", kind_name(spec.kind)),
        },
        NodeKind::Rank(spec) => match (spec.window, spec.keeps_first_by) {
            (_, Some(_)) => format!(
                "Deduplicate per {}, keeping the first",
                names(input, &spec.partition)
            ),
            (Some(_), _) => format!("Window Top-N per {}", names(input, &spec.partition)),
            (None, None) if spec.order.is_empty() => "Limit".to_string(),
            (None, None) => format!("Top-N per {}", names(input, &spec.partition)),
        },
        NodeKind::Sort(spec) => match spec.time_column {
            Some(_) => "Temporal sort".to_string(),
            None => "Sort".to_string(),
        },
        NodeKind::Sink(spec) => match &spec.table {
            Some(table) => format!("Sink {} ({})", table.name, table.connector()),
            None => "Sink standard output".to_string(),
        },
    }
}

struct Printer<'a> {
    plan: &'a StreamPlan,
    text: String,
    printed: Vec<bool>,
}

impl Printer<'_> {
    fn node(&mut self, id: NodeId, indent: &str, last: bool) {
        let node = &self.plan.nodes[id];
        let branch = if last { "└─ " } else { "├─ " };
        let inner = format!("{indent}{}", if last { "   " } else { "│  " });
        let headline = headline(self.plan, id);
        if self.printed[id] {
            self.line(&format!("{indent}{branch}#{id} {headline} (shared, shown above)"));
            return;
        }
        self.printed[id] = true;
        self.line(&format!("{indent}{branch}#{id} {headline}"));
        let bar = if node.inputs.is_empty() { "  " } else { "│ " };
        for detail in self.details(node).into_iter().chain([self.properties(node)]) {
            self.line(&format!("{inner}{bar}  {detail}"));
        }
        let inputs = node.inputs.clone();
        for (number, &input) in inputs.iter().enumerate() {
            self.node(input, &inner, number + 1 == inputs.len());
        }
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// What the operator computes.
    fn details(&self, node: &PlanNode) -> Vec<String> {
        let input = node
            .inputs
            .first()
            .map(|&input| self.plan.nodes[input].schema.as_ref());
        match &node.kind {
            NodeKind::Source(spec) => {
                let ingest = spec.table.ingest_schema();
                let mut lines = vec![format!("reads: {}", names(&ingest, &spec.ingest))];
                let watermark = spec.watermark.as_ref().map(|watermark| {
                    format!(
                        "watermark: {} from {}",
                        expression(&watermark.watermark),
                        expression(&watermark.event_time)
                    )
                });
                lines.extend(watermark);
                let guarantee = match spec.table.connector() {
                    "tcp" => Some("at most once: what was read of a socket cannot be read again"),
                    "http" => Some("at least once: a post is answered 200 once its rows are committed"),
                    _ => None,
                };
                lines.extend(guarantee.map(|guarantee| format!("guarantee: {guarantee}")));
                lines.extend(spec.quiet_timeout_us.map(|us| {
                    let timeout = duration(i64::try_from(us).unwrap_or(i64::MAX));
                    format!("when quiet: after {timeout} event time goes on by the clock")
                }));
                lines.extend(
                    spec.filter
                        .as_ref()
                        .map(|filter| format!("keeps: {}", expression(filter))),
                );
                lines
            }
            NodeKind::Map(spec) => {
                let mut lines = Vec::new();
                lines.extend(
                    spec.filter
                        .as_ref()
                        .map(|filter| format!("keeps: {}", expression(filter))),
                );
                if let Some(projection) = &spec.projection {
                    let columns: Vec<String> = projection
                        .iter()
                        .map(|(value, field)| named(&expression(value), &display_name(field.name())))
                        .collect();
                    lines.push(format!("computes: {}", columns.join(", ")));
                }
                lines
            }
            NodeKind::Exchange(spec) => vec![format!("because: {}", display_name(&spec.reason))],
            NodeKind::GroupAggregate(spec) => {
                vec![
                    calls_text(&spec.calls, input.filter(|_| !spec.input_is_partial)),
                    emit_text(spec.emit, false),
                ]
            }
            NodeKind::WindowAggregate(spec) => {
                vec![
                    calls_text(&spec.calls, input.filter(|_| !spec.input_is_partial)),
                    emit_text(spec.emit, true),
                ]
            }
            NodeKind::LocalGroupAggregate(spec) => vec![calls_text(&spec.calls, input)],
            NodeKind::LocalWindowAggregate(spec) => vec![calls_text(&spec.calls, input)],
            NodeKind::OverAggregate(spec) => {
                vec![
                    calls_text(&spec.calls, input),
                    format!("frame: {}", frame_text(spec.frame)),
                ]
            }
            NodeKind::Lead(spec) => {
                let input = input.unwrap_or(node.schema.as_ref());
                let calls = spec.calls.iter().map(|call| {
                    let default = call
                        .default
                        .map(|default| format!(", {}", input.field(default).name()));
                    let argument = input.field(call.argument).name();
                    let nulls = if call.ignores_nulls { " IGNORE NULLS" } else { "" };
                    format!(
                        "LEAD({argument}, {}{}){nulls}",
                        call.offset,
                        default.unwrap_or_default()
                    )
                });
                vec![format!("computes: {}", calls.collect::<Vec<_>>().join(", "))]
            }
            NodeKind::MatchRecognize(spec) => match_details(spec),
            NodeKind::TemporalJoin(spec) => {
                let mut lines = self.join_details(node, &spec.equal, spec.filter.as_ref());
                lines.push(match spec.times {
                    Some((left, _)) => {
                        let left = self.plan.nodes[node.inputs[0]].schema.field(left).name();
                        format!("version: the one valid at {}", display_name(left))
                    }
                    None => "version: the table as it was read".to_string(),
                });
                lines
            }
            NodeKind::WindowJoin(spec) => self.join_details(node, &spec.equal, spec.filter.as_ref()),
            NodeKind::StreamJoin(spec) => {
                let mut lines = self.join_details(node, &spec.equal, spec.filter.as_ref());
                lines.extend(spec.interval.map(|interval| {
                    format!(
                        "interval: left time − right time from {} to {}",
                        signed_duration(interval.lower_us),
                        signed_duration(interval.upper_us)
                    )
                }));
                lines
            }
            NodeKind::Rank(spec) => {
                let function = match spec.function {
                    RankFunction::RowNumber => "ROW_NUMBER",
                    RankFunction::Rank => "RANK",
                    RankFunction::DenseRank => "DENSE_RANK",
                };
                let input = input.unwrap_or(node.schema.as_ref());
                let number = match spec.output_rank {
                    true => "with its number",
                    false => "without its number",
                };
                let order = match spec.order.is_empty() {
                    true => "arrival".to_string(),
                    false => order_text(&spec.order, input),
                };
                vec![format!(
                    "keeps: {function} by {order} from {} to {}, {number}",
                    spec.first, spec.last
                )]
            }
            NodeKind::Sort(spec) => {
                vec![format!(
                    "order: {}",
                    order_text(&spec.order, input.unwrap_or(node.schema.as_ref()))
                )]
            }
            NodeKind::Union
            | NodeKind::Unnest(_)
            | NodeKind::Expand(_)
            | NodeKind::Normalize(_)
            | NodeKind::LateRows(_)
            | NodeKind::SessionAssign(_)
            | NodeKind::WindowAssign(_) => Vec::new(),
            NodeKind::Sink(spec) => {
                vec![format!("guarantee: {}", guarantee(spec.table.as_deref()))]
            }
        }
    }

    /// What a join compares.
    fn join_details(
        &self,
        node: &PlanNode,
        equal: &[JoinKey],
        filter: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Vec<String> {
        let left = &self.plan.nodes[node.inputs[0]].schema;
        let right = &self.plan.nodes[node.inputs[1]].schema;
        let pair = |key: &JoinKey| {
            let equals = if key.null_safe {
                "IS NOT DISTINCT FROM"
            } else {
                "="
            };
            format!(
                "{} {equals} {}",
                display_name(left.field(key.left).name()),
                display_name(right.field(key.right).name())
            )
        };
        let pairs: Vec<String> = equal.iter().map(pair).collect();
        let mut lines = vec![match pairs.is_empty() {
            true => "matches: every row with every row".to_string(),
            false => format!("matches: {}", pairs.join(" and ")),
        }];
        lines.extend(filter.map(|filter| format!("keeps: {}", expression(filter))));
        lines
    }

    /// What is known of the output.
    fn properties(&self, node: &PlanNode) -> String {
        let mut parts = vec![format!("rows: {}", node.changelog)];
        if let Some(event_time) = node.event_time {
            parts.push(format!("event time: {}", node.schema.field(event_time).name()));
        }
        parts.push(match &node.distribution {
            Distribution::Source => "lies: as the source's splits".to_string(),
            Distribution::Hash(columns) => format!("lies: by hash of {}", names(&node.schema, columns)),
            Distribution::Single => "lies: on shard 0".to_string(),
            Distribution::Replicated => "lies: all of it on every shard".to_string(),
        });
        match &node.growth {
            StateGrowth::Stateless => {}
            StateGrowth::Bounded(bound) => parts.push(format!("state: bounded by {bound}")),
            StateGrowth::PerKey(what) => parts.push(format!("state: grows, {}", display_name(what))),
        }
        parts.join(" · ")
    }
}

/// What a pattern's variables are, and how matches follow each other.
fn match_details(spec: &MatchSpec) -> Vec<String> {
    let mut lines = Vec::new();
    for (variable, name) in spec.variables.iter().enumerate() {
        let parts = spec.conditions.iter().filter(|part| part.variable == variable);
        let parts: Vec<String> = parts.map(|part| expression(&part.predicate)).collect();
        if !parts.is_empty() {
            lines.push(format!("{name}: {}", parts.join(" AND ")));
        }
    }
    let skip = match spec.skip {
        MatchSkip::PastLastRow => "behind the last row".to_string(),
        MatchSkip::ToNextRow => "at the row behind the first".to_string(),
        MatchSkip::ToFirst(variable) => format!("at the first {}", spec.variables[variable]),
        MatchSkip::ToLast(variable) => format!("at the last {}", spec.variables[variable]),
    };
    let within = spec
        .within_us
        .map(|us| format!("; shorter than {}", duration(us)));
    lines.push(format!(
        "the next match begins: {skip}{}",
        within.unwrap_or_default()
    ));
    lines
}

fn names(schema: &Schema, columns: &[usize]) -> String {
    if columns.is_empty() {
        return "()".to_string();
    }
    columns
        .iter()
        .map(|&column| display_name(schema.field(column).name()))
        .collect::<Vec<_>>()
        .join(", ")
}

fn kind_name(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "inner",
        JoinKind::Left => "left outer",
        JoinKind::Right => "right outer",
        JoinKind::Full => "full outer",
        JoinKind::Semi => "semi",
        JoinKind::Anti => "anti",
    }
}

fn order_text(order: &[SortColumn], input: &Schema) -> String {
    let columns = order.iter().map(|sort| {
        let name = display_name(input.field(sort.column).name());
        if sort.descending {
            format!("{name} DESC")
        } else {
            name
        }
    });
    columns.collect::<Vec<_>>().join(", ")
}

fn signed_duration(us: i64) -> String {
    if us < 0 {
        format!("-{}", duration(us.saturating_neg()))
    } else {
        duration(us)
    }
}

fn named(value: &str, name: &str) -> String {
    if value == name {
        value.to_string()
    } else {
        format!("{value} AS {name}")
    }
}

fn calls_text(calls: &[AggregateCall], input: Option<&Schema>) -> String {
    if calls.is_empty() {
        return "computes: the distinct keys".to_string();
    }
    let calls: Vec<String> = calls.iter().map(|call| call_text(call, input)).collect();
    format!("computes: {}", calls.join(", "))
}

fn call_text(call: &AggregateCall, input: Option<&Schema>) -> String {
    let Some(input) = input else {
        return display_name(call.output.name());
    };
    let function = match &call.function {
        AggregateFunction::CountStar => return with_filter("COUNT(*)".to_string(), call, input),
        AggregateFunction::Count => "COUNT".to_string(),
        AggregateFunction::Sum => "SUM".to_string(),
        AggregateFunction::Min => "MIN".to_string(),
        AggregateFunction::Max => "MAX".to_string(),
        AggregateFunction::Avg => "AVG".to_string(),
        AggregateFunction::Other(function) => function.fun().name().to_uppercase(),
    };
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    with_filter(
        format!("{function}({distinct}{})", names(input, &call.arguments)),
        call,
        input,
    )
}

fn with_filter(text: String, call: &AggregateCall, input: &Schema) -> String {
    match call.filter {
        Some(filter) => format!("{text} FILTER (WHERE {})", input.field(filter).name()),
        None => text,
    }
}

fn emit_text(emit: Emit, windowed: bool) -> String {
    if let Emit::Every(us) = emit {
        let interval = duration(i64::try_from(us).unwrap_or(i64::MAX));
        return format!("emits: the latest value of each changed key, every {interval}");
    }
    if let (Emit::Corrected(us), true) = (emit, windowed) {
        let lateness = duration(i64::try_from(us).unwrap_or(i64::MAX));
        return format!(
            "emits: once, when the watermark passes the window's end; corrected by rows up to {lateness} late"
        );
    }
    let text = match (emit, windowed) {
        (Emit::Default | Emit::Final, true) => "once, when the watermark passes the window's end",
        (Emit::Final, false) => "once, when the input ends",
        (Emit::Default | Emit::Changes | Emit::Every(_) | Emit::Corrected(_), _) => {
            "the latest value of each changed key, at each flush"
        }
        (Emit::ChangesEveryRow, _) => "one change for each input row",
    };
    format!("emits: {text}")
}

fn frame_text(frame: OverFrame) -> String {
    match frame {
        OverFrame::Rows(Some(count)) => format!("{count} rows before, and the row"),
        OverFrame::Range(Some(us)) => format!("rows of the {} before, and the row", duration(us)),
        OverFrame::Rows(None) | OverFrame::Range(None) => "all rows before, and the row".to_string(),
    }
}

fn window_text(window: &WindowInput) -> String {
    match window {
        WindowInput::Assign(window) => kind_text(window.kind),
        WindowInput::Attached { .. } => "of the input's windows".to_string(),
    }
}

fn kind_text(kind: WindowKind) -> String {
    match kind {
        WindowKind::Tumble { size_us } => format!("TUMBLE({})", duration(size_us)),
        WindowKind::Hop { size_us, slide_us } => {
            format!("HOP(every {}, {} long)", duration(slide_us), duration(size_us))
        }
        WindowKind::Cumulate { size_us, step_us } => {
            format!(
                "CUMULATE(every {}, up to {})",
                duration(step_us),
                duration(size_us)
            )
        }
        WindowKind::Session { gap_us } => format!("SESSION(gap {})", duration(gap_us)),
    }
}

/// A type as SQL writes it: for messages.
pub fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_string(),
        DataType::Int8 => "TINYINT".to_string(),
        DataType::Int16 => "SMALLINT".to_string(),
        DataType::Int32 => "INT".to_string(),
        DataType::Int64 => "BIGINT".to_string(),
        DataType::Float32 => "FLOAT".to_string(),
        DataType::Float64 => "DOUBLE".to_string(),
        DataType::Utf8 => "STRING".to_string(),
        DataType::Binary => "BYTES".to_string(),
        DataType::Date32 => "DATE".to_string(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(unit)),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", digits(unit)),
        DataType::Interval(_) => "INTERVAL".to_string(),
        DataType::List(element) => format!("ARRAY<{}>", sql_type(element.data_type())),
        other => other.to_string(),
    }
}

/// The digits behind a second's point that a unit keeps.
fn digits(unit: &TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// What a sink promises of the rows that it is given.
fn guarantee(table: Option<&TableDefinition>) -> &'static str {
    let asked = table.and_then(|table| table.option("sink.delivery-guarantee"));
    match table.map_or("stdout", TableDefinition::connector) {
        "kafka" | "upsert-kafka" if asked == Some("exactly-once") => {
            "exactly once: an epoch is one transaction, made once the epoch is durable"
        }
        "kafka" | "upsert-kafka" if asked == Some("none") => "none: a crash may lose rows",
        "filesystem" => {
            "exactly once where the job takes checkpoints: output is seen once its epoch is committed"
        }
        "tcp" => "at most once: what a peer has not read when its connection is lost is not sent again",
        "blackhole" => "none: rows are dropped",
        _ => "at least once: a job that goes on from a checkpoint writes again what came behind it",
    }
}
