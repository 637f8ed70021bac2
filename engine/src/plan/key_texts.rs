//! Texts that only serve as grouping keys: a source that has them as codes of a dictionary need not make texts
//! of them, only for the first aggregation to look each one up.
//!
//! **Invariant.** A column is marked only if every reader, down to an aggregation on the same shard that has it
//! as a key, hands it on as it is and looks at nothing but its value as a key.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::collect_columns;

use crate::plan::builder::physical_column;
use crate::plan::{AggregateCall, MapSpec, NodeId, NodeKind, SourceSpec, StreamPlan, WindowInput};

/// Marks such columns in all sources of `plan`.
pub(super) fn mark(plan: &mut StreamPlan) {
    for id in 0..plan.nodes.len() {
        let NodeKind::Source(source) = &plan.nodes[id].kind else {
            continue;
        };
        let is_key = |&position: &usize| {
            output_of(source, position).is_some_and(|output| is_only_a_key(plan, id, output))
        };
        let marked: Vec<usize> = (0..source.ingest.len()).filter(is_key).collect();
        if let NodeKind::Source(source) = &mut plan.nodes[id].kind {
            source.key_texts = marked;
        }
    }
}

/// The output column that delivered column `position` is, if it is a text, becomes that one column and nothing
/// else reads it.
fn output_of(source: &SourceSpec, position: usize) -> Option<usize> {
    let watermark = source.watermark.iter();
    let mut others = watermark.flat_map(|watermark| [&watermark.event_time, &watermark.watermark]);
    if others.any(|expression| reads(expression, position))
        || source.filter.iter().any(|filter| reads(filter, position))
    {
        return None;
    }
    let outputs = source.output.iter().enumerate();
    let mut readers = outputs.filter(|(_, (expression, _))| reads(expression, position));
    let (output, (expression, field)) = readers.next()?;
    let is_plain = physical_column(expression).is_some() && field.data_type() == &DataType::Utf8;
    (is_plain && readers.next().is_none()).then_some(output)
}

/// Whether all readers of column `column` of node `id` take it for a key.
fn is_only_a_key(plan: &StreamPlan, id: NodeId, column: usize) -> bool {
    let mut readers = plan.nodes.iter().filter(|node| node.inputs.contains(&id));
    readers.all(|reader| match &reader.kind {
        NodeKind::Map(map) => map_keeps(map, column).is_some_and(|columns| {
            columns
                .iter()
                .all(|&column| is_only_a_key(plan, reader.id, column))
        }),
        NodeKind::LocalGroupAggregate(spec) | NodeKind::GroupAggregate(spec) => {
            !spec.input_is_partial && spec.keys.contains(&column) && !is_argument(&spec.calls, column)
        }
        NodeKind::LocalWindowAggregate(spec) | NodeKind::WindowAggregate(spec) => {
            matches!(spec.window, WindowInput::Assign(_))
                && !spec.input_is_partial
                && spec.keys.contains(&column)
                && !is_argument(&spec.calls, column)
        }
        _ => false,
    })
}

/// Where a map hands `column` on; `None` if it computes with it.
fn map_keeps(map: &MapSpec, column: usize) -> Option<Vec<usize>> {
    if map.filter.iter().any(|filter| reads(filter, column)) {
        return None;
    }
    let Some(projection) = &map.projection else {
        return Some(vec![column]);
    };
    let mut kept = Vec::new();
    for (output, (expression, _)) in projection.iter().enumerate() {
        match physical_column(expression) {
            Some(read) if read == column => kept.push(output),
            _ if reads(expression, column) => return None,
            _ => {}
        }
    }
    Some(kept)
}

fn is_argument(calls: &[AggregateCall], column: usize) -> bool {
    let reads = |call: &AggregateCall| call.arguments.contains(&column) || call.filter == Some(column);
    calls.iter().any(reads)
}

fn reads(expression: &Arc<dyn PhysicalExpr>, column: usize) -> bool {
    collect_columns(expression)
        .iter()
        .any(|read| read.index() == column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile;

    /// The names of the columns marked in the source of `query`.
    fn marked(query: &str) -> Vec<String> {
        let table = "CREATE TABLE t (a STRING, b STRING, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) \
            WITH ('connector' = 'memory');\n";
        let job = compile(&format!("{table}{query}"), &[], Some(2)).expect(query);
        let sources = job.plan.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Source(source) => Some(source),
            _ => None,
        });
        let names = |source: &SourceSpec| {
            let schema = source.table.ingest_schema();
            let name = |&position: &usize| schema.field(source.ingest[position]).name().clone();
            source.key_texts.iter().map(name).collect::<Vec<_>>()
        };
        sources.flat_map(names).collect()
    }

    #[test]
    fn texts_are_marked_where_only_a_key_reads_them() {
        let none: [&str; 0] = [];
        assert_eq!(marked("SELECT a, COUNT(*) FROM t GROUP BY a"), ["a"]);
        assert_eq!(marked("SELECT a, b, SUM(n + 1) FROM t GROUP BY a, b"), ["a", "b"]);
        assert_eq!(marked("SELECT a, SUM(n) FROM t WHERE n > 1 GROUP BY a"), ["a"]);
        let window = "SELECT window_end, a, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) \
            GROUP BY window_start, window_end, a";
        assert_eq!(marked(window), ["a"]);
        // Two statements read the column as a key; one of two does.
        let both = "SELECT a, COUNT(*) FROM t GROUP BY a; SELECT a, b, MAX(n) FROM t GROUP BY a, b;";
        assert_eq!(marked(both), ["a", "b"]);
        let one = "SELECT a, COUNT(*) FROM t GROUP BY a; SELECT a FROM t;";
        assert_eq!(marked(one), none);
        // Computed with, counted, compared, joined, or sent to another shard as it is.
        assert_eq!(marked("SELECT UPPER(a), COUNT(*) FROM t GROUP BY UPPER(a)"), none);
        assert_eq!(marked("SELECT a, COUNT(DISTINCT b) FROM t GROUP BY a"), none);
        assert_eq!(
            marked("SELECT a, COUNT(*) FROM t WHERE a <> 'x' GROUP BY a"),
            none
        );
        assert_eq!(marked("SELECT a, MAX(b) FROM t GROUP BY a"), ["a"]);
        assert_eq!(marked("SELECT l.n FROM t AS l JOIN t AS r ON l.a = r.a"), none);
        assert_eq!(marked("SELECT DISTINCT a FROM t"), ["a"]);
    }
}
