//! Histograms as a table for a terminal: one line per tag, microseconds.

use hdrhistogram::Histogram;

use super::{HistogramSet, microseconds};

/// The columns after the tag: heading and quantile.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// The table, with a heading; columns are aligned.
pub fn render(set: &HistogramSet) -> String {
    let mut rows = vec![heading()];
    rows.extend(set.iter().map(|(tag, histogram)| row(tag, histogram)));
    let columns = rows[0].len();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            line += &format!("  {cell:>width$}");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn heading() -> Vec<String> {
    let mut cells = vec!["microseconds".to_owned()];
    cells.extend(QUANTILES.iter().map(|(name, _)| (*name).to_owned()));
    cells.extend(["max".to_owned(), "count".to_owned()]);
    cells
}

fn row(tag: &str, histogram: &Histogram<u64>) -> Vec<String> {
    let mut cells = vec![tag.to_owned()];
    cells.extend(
        QUANTILES
            .iter()
            .map(|(_, quantile)| number(histogram.value_at_quantile(*quantile))),
    );
    cells.extend([number(histogram.max()), histogram.len().to_string()]);
    cells
}

/// Microseconds with as many decimals as three significant digits ask for.
pub fn number(nanoseconds: u64) -> String {
    let value = microseconds(nanoseconds);
    match value {
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_per_tag_in_microseconds() {
        let mut histogram = Histogram::new(3).expect("digits");
        (1..=10_000u64).for_each(|value| histogram.record(value * 1000).expect("grows"));
        let set = HistogramSet::from([("event-latency".to_owned(), histogram)]);
        assert_eq!(
            render(&set),
            "microseconds    p50   p90   p99  p99.9  p99.99    max  count\n\
             event-latency  5001  9003  9904   9994   10002  10002  10000\n"
        );
    }

    #[test]
    fn small_values_keep_their_decimals() {
        assert_eq!(number(750), "0.75");
        assert_eq!(number(75_040), "75.0");
        assert_eq!(number(7_504_000), "7504");
    }
}
