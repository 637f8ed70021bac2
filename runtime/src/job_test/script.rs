//! A test's input as steps: rows, watermarks that are written down, time that passes.
//!
//! An NDJSON line is a row, or a step where its keys begin with `$`: `{"$watermark": "2024-05-01 10:00:30"}`,
//! `{"$advance": "5 s"}`. `"$table"` says whose row it is where a file has several tables'. A line that begins
//! with `//` is a comment.
//!
//! **Invariant.** The order of steps is that of the file; of several files, one step of each in turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMicrosecondType};
use engine::formats::Decoder;
use engine::formats::csv::CsvOptions;
use engine::formats::ndjson::{NdjsonDecoder, NdjsonOptions};
use engine::sql::option_values::parse_duration_us;
use serde_json::{Map, Value};

use super::folder::{TestFolder, file_name};

const STEPS: &str = "\"$table\", \"$watermark\" or \"$advance\"";

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A row comes.
    Row(Record),
    /// No row at or before this event time will come to the table; without one, to any table that has a
    /// watermark.
    Watermark {
        table: Option<String>,
        watermark_us: i64,
        place: String,
    },
    /// Time passes, microseconds.
    Advance(u64),
}

/// A row as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Whose.
    pub table: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How to read them.
    pub format: RecordFormat,
    /// File and line.
    pub place: String,
}

/// How a row is written.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordFormat {
    /// A JSON object with these keys.
    Json(Vec<String>),
    /// Fields in the order of the file's header, which is given.
    Csv(Arc<[u8]>),
}

/// All input of a test.
#[derive(Debug, Default)]
pub struct Script {
    /// What happens.
    pub steps: Vec<Step>,
    /// The tables that rows are given for; one may have none.
    pub tables: BTreeSet<String>,
}

impl Script {
    /// Reads the input files of `folder`.
    ///
    /// # Errors
    /// A line that is neither a row nor a step, with file, line and reason.
    pub fn read(folder: &TestFolder) -> Result<Script, String> {
        if let Some(path) = &folder.interleaved {
            let steps = json_steps(path, None)?;
            let tables = steps.iter().filter_map(|step| match step {
                Step::Row(record) => Some(record.table.clone()),
                Step::Watermark { table, .. } => table.clone(),
                Step::Advance(_) => None,
            });
            return Ok(Script {
                tables: tables.collect(),
                steps,
            });
        }
        let mut queues: Vec<VecDeque<Step>> = Vec::new();
        for (table, path) in &folder.inputs {
            let is_csv = path.extension().is_some_and(|extension| extension == "csv");
            let steps = match is_csv {
                true => csv_steps(path, table)?,
                false => json_steps(path, Some(table))?,
            };
            queues.push(steps.into());
        }
        let mut steps = Vec::new();
        while queues.iter().any(|queue| !queue.is_empty()) {
            steps.extend(queues.iter_mut().filter_map(VecDeque::pop_front));
        }
        Ok(Script {
            steps,
            tables: folder.inputs.keys().cloned().collect(),
        })
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn json_steps(path: &Path, table: Option<&str>) -> Result<Vec<Step>, String> {
    let text = read(path)?;
    let mut steps = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with("//") {
            continue;
        }
        let place = format!("{}, line {}", file_name(path), number + 1);
        let step = json_step(trimmed, table, &place).map_err(|reason| format!("{place}: {reason}"))?;
        steps.push(step);
    }
    Ok(steps)
}

fn json_step(line: &str, table: Option<&str>, place: &str) -> Result<Step, String> {
    let object: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| format!("the line is not a JSON object: {error}"))?;
    let controls: BTreeMap<&str, &Value> = object
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix('$')?, value)))
        .collect();
    if let Some(unknown) = controls
        .keys()
        .find(|key| !["table", "watermark", "advance"].contains(key))
    {
        return Err(format!("\"${unknown}\" is no step; write {STEPS}"));
    }
    let named = match (controls.get("table"), table) {
        (None, table) => table.map(str::to_string),
        (Some(Value::String(name)), None) => Some(name.clone()),
        (Some(_), Some(_)) => {
            return Err("the file's name says whose rows it has; leave \"$table\" out".to_string());
        }
        (Some(other), None) => return Err(format!("\"$table\" is the name of a table, and not {other}")),
    };
    let has_columns = object.keys().any(|key| !key.starts_with('$'));
    match (controls.get("watermark"), controls.get("advance")) {
        (None, None) => {
            let Some(table) = named else {
                return Err("whose row is it? add \"$table\": \"…\"".to_string());
            };
            let keys = object.keys().filter(|key| !key.starts_with('$'));
            Ok(Step::Row(Record {
                table,
                bytes: line.as_bytes().to_vec(),
                format: RecordFormat::Json(keys.cloned().collect()),
                place: place.to_string(),
            }))
        }
        (Some(_), Some(_)) => Err("a line is one step; write two lines".to_string()),
        _ if has_columns => Err("a step has no columns; write the row in a line of its own".to_string()),
        (Some(time), None) => Ok(Step::Watermark {
            watermark_us: time_us(time)?,
            table: named,
            place: place.to_string(),
        }),
        (None, Some(duration)) => {
            let text = duration.as_str().unwrap_or_default();
            let advance = parse_duration_us(text)
                .ok_or_else(|| format!("{duration} is not a duration such as \"5 s\" or \"1 min\""))?;
            Ok(Step::Advance(advance))
        }
    }
}

/// A time as rows write it.
fn time_us(value: &Value) -> Result<i64, String> {
    const COLUMN: &str = "time";
    let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
    let schema = Arc::new(Schema::new(vec![Field::new(COLUMN, data_type, false)]));
    let mut decoder =
        NdjsonDecoder::new(schema, NdjsonOptions::default()).map_err(|error| error.to_string())?;
    let line = Value::Object(Map::from_iter([(COLUMN.to_string(), value.clone())])).to_string();
    let decoded = decoder.decode(line.as_bytes(), 1);
    match decoded.rows.num_rows() {
        1 => Ok(decoded
            .rows
            .column(0)
            .as_primitive::<TimestampMicrosecondType>()
            .value(0)),
        _ => Err(format!(
            "{value} is not a time such as \"2024-05-01 10:00:30\" or \"2024-05-01 10:00:30.500\""
        )),
    }
}

fn csv_steps(path: &Path, table: &str) -> Result<Vec<Step>, String> {
    let text = read(path)?;
    let boundary = CsvOptions::default().boundary();
    let mut rest = text.trim_start_matches('\u{feff}').as_bytes();
    let mut line = 1;
    let mut next = || {
        let end = boundary.first_record_end(rest).unwrap_or(rest.len());
        let (record, behind) = rest.split_at(end);
        rest = behind;
        let place = format!("{}, line {line}", file_name(path));
        line += record.iter().filter(|&&byte| byte == b'\n').count();
        (!record.is_empty()).then_some((record, place))
    };
    let Some((header, _)) = next() else {
        return Err(format!(
            "{}: the file has no header with the names of its columns",
            file_name(path)
        ));
    };
    let header: Arc<[u8]> = header.into();
    let mut steps = Vec::new();
    while let Some((record, place)) = next() {
        if record.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        steps.push(Step::Row(Record {
            table: table.to_string(),
            bytes: record.to_vec(),
            format: RecordFormat::Csv(header.clone()),
            place,
        }));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, table: Option<&str>, expected: Result<&str, &str>) {
        let found = json_step(line, table, "f, line 1").map(|step| match step {
            Step::Row(record) => format!("row of {}", record.table),
            Step::Watermark {
                table, watermark_us, ..
            } => {
                format!("watermark {watermark_us} of {}", table.unwrap_or("all".into()))
            }
            Step::Advance(us) => format!("{us} µs pass"),
        });
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{line}");
    }

    #[test]
    fn a_line_is_a_row_or_a_step() {
        check("{\"a\": 1}", Some("t"), Ok("row of t"));
        check("{\"$table\": \"u\", \"a\": 1}", None, Ok("row of u"));
        check(
            "{\"$watermark\": \"1970-01-01 00:00:01\"}",
            Some("t"),
            Ok("watermark 1000000 of t"),
        );
        check(
            "{\"$watermark\": \"1970-01-01 00:00:01.5\"}",
            None,
            Ok("watermark 1500000 of all"),
        );
        check("{\"$advance\": \"2 s\"}", None, Ok("2000000 µs pass"));
    }

    #[test]
    fn what_is_neither_is_refused_with_what_to_write() {
        check("{\"a\": 1}", None, Err("whose row is it? add \"$table\": \"…\""));
        check(
            "{\"$wait\": 1}",
            None,
            Err("\"$wait\" is no step; write \"$table\", \"$watermark\" or \"$advance\""),
        );
        check(
            "{\"$watermark\": \"2024-05-01\", \"a\": 1}",
            Some("t"),
            Err("a step has no columns; write the row in a line of its own"),
        );
        check(
            "{\"$advance\": \"soon\"}",
            None,
            Err("\"soon\" is not a duration such as \"5 s\" or \"1 min\""),
        );
        check(
            "{\"$watermark\": \"noon\"}",
            None,
            Err("\"noon\" is not a time such as \"2024-05-01 10:00:30\" or \"2024-05-01 10:00:30.500\""),
        );
    }
}
