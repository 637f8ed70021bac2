//! Expected and found rows side by side, for people: rows that are nearly equal are shown together, with what
//! differs.

use serde_json::{Map, Value};

/// Differences shown of one result.
const SHOWN_MAX: usize = 20;

/// What is told of two sorted lists of rows; `None` where they are equal.
pub fn difference(expected: &[String], found: &[String]) -> Option<String> {
    let (missing, unexpected) = apart(expected, found);
    if missing.is_empty() && unexpected.is_empty() {
        return None;
    }
    let (pairs, missing, unexpected) = pair(missing, unexpected);
    let mut lines = Vec::new();
    for (wanted, got) in &pairs {
        lines.push(format!(
            "  expected  {wanted}\n  found     {got}\n            {}",
            columns(wanted, got)
        ));
    }
    lines.extend(missing.iter().map(|row| format!("  missing   {row}")));
    lines.extend(unexpected.iter().map(|row| format!("  too many  {row}")));
    let more = lines.len().saturating_sub(SHOWN_MAX);
    lines.truncate(SHOWN_MAX);
    if more > 0 {
        lines.push(format!("  … and {more} more"));
    }
    Some(lines.join("\n"))
}

/// The rows of each sorted list that the other lacks.
fn apart<'a>(expected: &'a [String], found: &'a [String]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut missing, mut unexpected) = (Vec::new(), Vec::new());
    let (mut left, mut right) = (expected.iter().peekable(), found.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (None, None) => return (missing, unexpected),
            (Some(row), other) if other.is_none_or(|other| *row < *other) => {
                missing.push(row.as_str());
                left.next();
            }
            (row, Some(other)) if row.is_none_or(|row| *other < *row) => {
                unexpected.push(other.as_str());
                right.next();
            }
            _ => {
                left.next();
                right.next();
            }
        }
    }
}

/// Pairs of rows that agree in at least half of their columns, and what is left of both.
#[allow(
    clippy::type_complexity,
    reason = "three lists of rows, named where they are taken"
)]
fn pair<'a>(
    missing: Vec<&'a str>,
    mut unexpected: Vec<&'a str>,
) -> (Vec<(&'a str, &'a str)>, Vec<&'a str>, Vec<&'a str>) {
    let (mut pairs, mut alone) = (Vec::new(), Vec::new());
    for wanted in missing {
        let nearest = unexpected
            .iter()
            .enumerate()
            .take(1_000)
            .max_by_key(|(place, got)| (common(wanted, got), usize::MAX - place));
        match nearest {
            Some((place, got)) if common(wanted, got) * 2 >= object(wanted).len().max(1) => {
                pairs.push((wanted, *got));
                unexpected.remove(place);
            }
            _ => alone.push(wanted),
        }
    }
    (pairs, alone, unexpected)
}

fn object(row: &str) -> Map<String, Value> {
    serde_json::from_str(row).unwrap_or_default()
}

/// How many columns agree.
fn common(wanted: &str, got: &str) -> usize {
    let got = object(got);
    object(wanted)
        .iter()
        .filter(|(name, value)| got.get(*name) == Some(value))
        .count()
}

/// The columns in which two rows differ.
fn columns(wanted: &str, got: &str) -> String {
    let got = object(got);
    let differing = object(wanted).into_iter().filter_map(|(name, value)| {
        let other = got.get(&name).unwrap_or(&Value::Null);
        (*other != value).then(|| format!("{name}: {value} expected, {other} found"))
    });
    differing.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &[&str], found: &[&str], told: Option<&str>) {
        let owned = |rows: &[&str]| rows.iter().map(|row| (*row).to_string()).collect::<Vec<_>>();
        assert_eq!(difference(&owned(expected), &owned(found)).as_deref(), told);
    }

    #[test]
    fn equal_rows_are_no_difference_however_often_they_stand() {
        check(&["{\"a\":1}", "{\"a\":1}"], &["{\"a\":1}", "{\"a\":1}"], None);
        check(
            &["{\"a\":1}", "{\"a\":1}"],
            &["{\"a\":1}"],
            Some("  missing   {\"a\":1}"),
        );
    }

    #[test]
    fn rows_that_are_nearly_equal_are_shown_with_what_differs() {
        check(
            &["{\"k\":\"x\",\"n\":1}"],
            &["{\"k\":\"x\",\"n\":2}"],
            Some(
                "  expected  {\"k\":\"x\",\"n\":1}\n  found     {\"k\":\"x\",\"n\":2}\n            \
                 n: 1 expected, 2 found",
            ),
        );
    }

    #[test]
    fn rows_of_different_things_are_missing_and_too_many() {
        check(
            &["{\"k\":\"x\",\"n\":1,\"m\":1}"],
            &["{\"k\":\"y\",\"n\":2,\"m\":1}"],
            Some("  missing   {\"k\":\"x\",\"n\":1,\"m\":1}\n  too many  {\"k\":\"y\",\"n\":2,\"m\":1}"),
        );
    }
}
