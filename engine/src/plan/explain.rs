//! EXPLAIN: the stream plan as text that a newcomer can read.
//!
//! One tree per query, sink first. Under each node: what its rows may say, which column carries
//! event time, how the rows lie over the shards, and what bounds the state. A node that two
//! readers share is printed once and referred to by its number.

use std::fmt::Write;

use arrow::datatypes::{DataType, Schema, TimeUnit};

use crate::plan::display::{display_name, duration, expression};
use crate::plan::{
    AggregateCall, AggregateFunction, Distribution, ExchangeTarget, NodeId, NodeKind, OverFrame, PlanNode,
    StateGrowth, StreamPlan, WindowInput, WindowKind,
};
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
                .map(|path| format!(" '{path}'"))
                .unwrap_or_default();
            format!("Source {} ({connector}{path})", spec.table.name)
        }
        NodeKind::Map(spec) => match (&spec.filter, &spec.projection) {
            (Some(_), Some(_)) => "Filter and project".to_string(),
            (Some(_), None) => "Filter".to_string(),
            _ => "Project".to_string(),
        },
        NodeKind::Union => "Union all".to_string(),
        NodeKind::Exchange(spec) => match &spec.target {
            ExchangeTarget::Owner(keys) => format!("Exchange by hash of {}", names(input, keys)),
            ExchangeTarget::First => "Exchange to shard 0".to_string(),
            ExchangeTarget::All => "Exchange to every shard".to_string(),
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
        NodeKind::WindowAssign(window) => format!("Window assign {}", kind_text(window.kind)),
        NodeKind::OverAggregate(spec) => {
            format!(
                "Over aggregate per {} by {}",
                names(input, &spec.partition),
                input.field(spec.time_column).name()
            )
        }
        NodeKind::WindowJoin(_) => "Window join".to_string(),
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
            NodeKind::WindowJoin(spec) => {
                let left = &self.plan.nodes[node.inputs[0]].schema;
                let right = &self.plan.nodes[node.inputs[1]].schema;
                let pairs: Vec<String> = spec
                    .equal
                    .iter()
                    .map(|&(l, r)| format!("{} = {}", left.field(l).name(), right.field(r).name()))
                    .collect();
                let mut lines = vec![format!("matches: {}", pairs.join(" and "))];
                lines.extend(
                    spec.filter
                        .as_ref()
                        .map(|filter| format!("keeps: {}", expression(filter))),
                );
                lines
            }
            NodeKind::Union | NodeKind::WindowAssign(_) | NodeKind::Sink(_) => Vec::new(),
        }
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
    let text = match (emit, windowed) {
        (Emit::Default | Emit::Final, true) => "once, when the watermark passes the window's end",
        (Emit::Final, false) => "once, when the input ends",
        (Emit::Default | Emit::Changes, _) => "the latest value of each changed key, at each flush",
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
