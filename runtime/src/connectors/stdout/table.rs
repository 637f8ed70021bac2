//! Rows as aligned columns for a terminal: the header once, widths from the first batch, one line
//! a row for as long as the query runs.
//!
//! **Invariant.** A row is one line: long values are cut with an ellipsis, line breaks in values
//! are shown as `↵`.

use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::batch::Batch;

/// Widest a column grows, in characters.
const WIDTH_MAX: usize = 48;
/// Narrowest a column with numbers or times starts, so that later, larger values stay aligned.
const WIDTH_MIN: usize = 6;

/// The columns of one result.
#[derive(Debug)]
pub struct TableView {
    names: Vec<String>,
    widths: Vec<usize>,
    right_aligned: Vec<bool>,
    has_ops: bool,
}

impl TableView {
    /// Columns wide enough for the names and for the rows of the first batch.
    pub fn new(first: &Batch) -> TableView {
        let schema: SchemaRef = first.schema();
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let right_aligned = schema.fields().iter().map(|field| field.data_type().is_numeric());
        let mut view = TableView {
            widths: names
                .iter()
                .map(|name| name.chars().count().max(WIDTH_MIN))
                .collect(),
            right_aligned: right_aligned.collect(),
            has_ops: first.ops().is_some(),
            names,
        };
        for row in cells(first) {
            for (width, cell) in view.widths.iter_mut().zip(&row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        view
    }

    /// The column names and a rule under them.
    pub fn header(&self) -> String {
        let mut text = String::new();
        self.line(self.has_ops.then_some("op"), &self.names, &mut text);
        if self.has_ops {
            text += "----+";
        }
        let rules: Vec<String> = self.widths.iter().map(|width| "-".repeat(width + 2)).collect();
        text += &rules.join("+");
        text.push('\n');
        text
    }

    /// One line for each row of `batch`.
    pub fn append_rows(&self, batch: &Batch, text: &mut String) {
        for (row, cells) in cells(batch).iter().enumerate() {
            let op = self.has_ops.then(|| batch.op(row).short_name());
            self.line(op, cells, text);
        }
    }

    fn line(&self, op: Option<&str>, cells: &[String], text: &mut String) {
        if let Some(op) = op {
            text.push(' ');
            *text += op;
            text.push_str(" |");
        }
        let last = cells.len().saturating_sub(1);
        for (index, cell) in cells.iter().enumerate() {
            let padding = self.widths[index].saturating_sub(cell.chars().count());
            text.push(' ');
            if self.right_aligned[index] {
                *text += &" ".repeat(padding);
                *text += cell;
            } else {
                *text += cell;
                if index != last {
                    *text += &" ".repeat(padding);
                }
            }
            if index != last {
                *text += " |";
            }
        }
        text.push('\n');
    }
}

/// Every value as text, row by row.
fn cells(batch: &Batch) -> Vec<Vec<String>> {
    let options = display_options();
    let rows = batch.rows();
    let formatters: Vec<ArrayFormatter<'_>> = rows
        .columns()
        .iter()
        .map(|column| {
            ArrayFormatter::try_new(column.as_ref(), &options)
                .expect("invariant: every SQL type can be displayed")
        })
        .collect();
    (0..rows.num_rows())
        .map(|row| {
            let value = |formatter: &ArrayFormatter<'_>| cut(&formatter.value(row).to_string());
            formatters.iter().map(value).collect()
        })
        .collect()
}

/// How values look to people: SQL's `NULL`, and times without a `T`.
pub fn display_options() -> FormatOptions<'static> {
    FormatOptions::new()
        .with_null("NULL")
        .with_display_error(true)
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.fZ"))
}

fn cut(value: &str) -> String {
    let mut shown: String = value.chars().take(WIDTH_MAX).collect();
    if value.chars().nth(WIDTH_MAX).is_some() {
        shown.pop();
        shown.push('…');
    }
    if shown.contains(['\n', '\r']) {
        shown = shown.replace(['\n', '\r'], "↵");
    }
    shown
}
