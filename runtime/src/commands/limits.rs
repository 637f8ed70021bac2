//! `velocore limits`: every internal limit, with its value and what happens when it is reached.

use std::process::ExitCode;

use super::print;
use crate::limits;

pub(super) fn run() -> ExitCode {
    print(&table())
}

fn table() -> String {
    let rows: Vec<[String; 3]> = limits::all()
        .map(|limit| {
            let value = format!("{} {}", size(limit.value), limit.unit);
            [limit.name.to_lowercase(), value, limit.reached.to_owned()]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (names, values) = (width(0), width(1));
    let line = |row: &[String; 3]| format!("{:names$}  {:values$}  {}\n", row[0], row[1], row[2]);
    rows.iter().map(line).collect()
}

/// A number as people write it: whole MiB and KiB by their unit.
fn size(value: u64) -> String {
    const KIBI: u64 = 1 << 10;
    const MEBI: u64 = 1 << 20;
    match value {
        _ if value >= MEBI && value.is_multiple_of(MEBI) => format!("{} Mi", value / MEBI),
        _ if value >= KIBI && value.is_multiple_of(KIBI) => format!("{} Ki", value / KIBI),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_line_with_its_value_and_what_happens() {
        let table = table();
        assert_eq!(table.lines().count(), limits::all().count());
        let line = table
            .lines()
            .find(|line| line.starts_with("record_bytes_max "))
            .expect("a line");
        assert!(line.contains("16 Mi bytes of a record"), "{line}");
        assert!(line.contains("an error with file and line"), "{line}");
    }

    #[test]
    fn names_differ() {
        let mut names: Vec<&str> = limits::all().map(|limit| limit.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), limits::all().count());
    }
}
