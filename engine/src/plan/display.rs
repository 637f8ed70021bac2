//! Expressions, generated column names and durations in the words of SQL, for EXPLAIN and messages.
//!
//! The planner prints literals as its own types (`Utf8("a")`, `IntervalMonthDayNano { … }`) and columns
//! with their indices; a reader of EXPLAIN should see neither.

use std::sync::{Arc, LazyLock};

use datafusion_common::ScalarValue;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;
use regex::{Captures, Regex};

/// An interval literal, bare or wrapped as a literal of its type.
static INTERVAL: LazyLock<Regex> = LazyLock::new(|| {
    let fields = r"IntervalMonthDayNano \{ months: (-?\d+), days: (-?\d+), nanoseconds: (-?\d+) \}";
    Regex::new(&format!(r#"(?:IntervalMonthDayNano\("?)?{fields}(?:"?\))?"#))
        .expect("invariant: the pattern is well-formed")
});
/// A column's name and its index.
static COLUMN_INDEX: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"([\w)\]`])@\d+").expect("invariant: the pattern is well-formed"));
static STRING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"Utf8\("([^"]*)"\)"#).expect("invariant: the pattern is well-formed"));
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:Int|UInt|Float)\d+\(([^()]*)\)|Boolean\(([^()]*)\)")
        .expect("invariant: the pattern is well-formed")
});

/// A function's name.
static CALL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b[a-z_][a-z0-9_]*\(").expect("invariant: the pattern is well-formed"));

/// A physical expression with its texts in quotes, and without the column indices that its own display
/// shows.
pub(crate) fn expression(expression: &Arc<dyn PhysicalExpr>) -> String {
    let quoted = Arc::clone(expression).transform_up(|node| Ok(quoted_text(node)));
    let text = quoted.map_or_else(|_| expression.to_string(), |quoted| quoted.data.to_string());
    display_name(&text)
}

/// A literal text as one that holds its quotes, which the planner's display leaves out.
fn quoted_text(node: Arc<dyn PhysicalExpr>) -> Transformed<Arc<dyn PhysicalExpr>> {
    let literal = node.downcast_ref::<Literal>();
    match literal.and_then(|literal| literal.value().try_as_str().flatten()) {
        None => Transformed::no(node),
        Some(text) => {
            let quoted = format!("'{}'", text.replace('\'', "''"));
            Transformed::yes(Arc::new(Literal::new(ScalarValue::Utf8(Some(quoted)))))
        }
    }
}

/// A column's name or an expression as SQL writes it, where the planner made it up.
pub(crate) fn display_name(name: &str) -> String {
    let name = COLUMN_INDEX.replace_all(name, "$1");
    let name = name.replace("count(Int64(1))", "COUNT(*)");
    let name = INTERVAL.replace_all(&name, interval);
    let name = STRING.replace_all(&name, "'$1'");
    let name = NUMBER.replace_all(&name, "$1$2");
    let name = CALL.replace_all(&name, |call: &Captures<'_>| call[0].to_uppercase());
    sql_types(&name)
}

fn interval(fields: &Captures<'_>) -> String {
    let field = |index: usize| fields[index].parse::<i64>().unwrap_or(0);
    let (months, days, nanoseconds) = (field(1), field(2), field(3));
    let mut parts = Vec::new();
    parts.extend((months != 0).then(|| format!("{months} months")));
    parts.extend((days != 0).then(|| format!("{days} d")));
    if nanoseconds != 0 || parts.is_empty() {
        parts.push(duration(nanoseconds / 1_000));
    }
    format!("INTERVAL {}", parts.join(" "))
}

/// Arrow's type names in SQL's.
pub(crate) fn sql_types(text: &str) -> String {
    const TYPES: [(&str, &str); 17] = [
        ("Timestamp(ms, \"UTC\")", "TIMESTAMP_LTZ(3)"),
        ("Timestamp(µs, \"UTC\")", "TIMESTAMP_LTZ(6)"),
        ("Timestamp(ms)", "TIMESTAMP(3)"),
        ("Timestamp(µs)", "TIMESTAMP(6)"),
        ("Timestamp(ns)", "TIMESTAMP(9)"),
        ("Interval(MonthDayNano)", "INTERVAL"),
        ("Utf8View", "STRING"),
        ("LargeUtf8", "STRING"),
        ("Utf8", "STRING"),
        ("Int64", "BIGINT"),
        ("Int32", "INT"),
        ("Int16", "SMALLINT"),
        ("Int8", "TINYINT"),
        ("Float64", "DOUBLE"),
        ("Float32", "FLOAT"),
        ("Decimal128", "DECIMAL"),
        ("Boolean", "BOOLEAN"),
    ];
    TYPES.iter().fold(text.to_string(), |text, (arrow, sql)| {
        // `UInt64` must not become `UBIGINT`.
        text.replace(&format!("U{arrow}"), "\u{0}")
            .replace(arrow, sql)
            .replace('\u{0}', &format!("U{arrow}"))
    })
}

/// Microseconds in the largest unit that divides them.
pub(crate) fn duration(us: i64) -> String {
    let units = [
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    match units.iter().find(|(length, _)| us % length == 0) {
        Some((length, unit)) => format!("{} {unit}", us / length),
        None => format!("{us} µs"),
    }
}

#[cfg(test)]
mod tests {
    use datafusion_expr::Operator;
    use datafusion_physical_expr::expressions::{BinaryExpr, Column};

    use super::*;

    #[test]
    fn texts_stand_in_quotes_and_columns_without_their_indices() {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("s", 3));
        let text: Arc<dyn PhysicalExpr> =
            Arc::new(Literal::new(ScalarValue::Utf8(Some("it's a @1".to_string()))));
        let equal: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(column, Operator::Eq, text));
        assert_eq!(expression(&equal), "s = 'it''s a @1'");
    }

    #[test]
    fn literals_read_as_sql() {
        let cases = [
            ("date_format(bid.t,Utf8(\"yyyy\"))", "DATE_FORMAT(bid.t,'yyyy')"),
            ("sum(bid.price * Int64(2))", "SUM(bid.price * 2)"),
            ("cast(a AS Utf8)", "CAST(a AS STRING)"),
            ("count(Int64(1))", "COUNT(*)"),
            (
                "t - IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 4000000000 }",
                "t - INTERVAL 4 s",
            ),
            (
                "t + IntervalMonthDayNano(\"IntervalMonthDayNano { months: 1, days: 2, nanoseconds: 0 }\")",
                "t + INTERVAL 1 months 2 d",
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(display_name(name), expected);
        }
    }
}
