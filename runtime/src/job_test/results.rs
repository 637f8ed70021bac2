//! What a query gave: its changes, and the rows that they leave, as JSON text that can be compared.
//!
//! **Invariant.** Two rows are equal if their texts are: what is expected is read by the types of the result
//! and written again, so that the spelling of a number or a time does not matter.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::batch::{Batch, Op};
use engine::changelog::Changelog;
use engine::formats::csv::{CsvDecoder, CsvOptions};
use engine::formats::encode_ndjson::{NdjsonEncoder, TimestampFormat};
use engine::formats::ndjson::{NdjsonDecoder, NdjsonOptions};
use engine::formats::{Decoder, Encoder};
use engine::sql::suggest;
use serde_json::{Map, Value};

use super::folder::file_name;

/// The changes of one result, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Results {
    schema: SchemaRef,
    changelog: Changelog,
    changes: Vec<(Op, String)>,
}

/// Rows to compare: those that are left, or, where an expected file names ops, the changes themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Their texts, sorted.
    pub texts: Vec<String>,
    /// Whether each begins with its op.
    pub have_ops: bool,
}

impl Results {
    /// A result of these columns that has given nothing yet.
    pub fn new(schema: SchemaRef, changelog: Changelog) -> Results {
        Results {
            schema,
            changelog,
            changes: Vec::new(),
        }
    }

    /// Takes what a sink was given.
    ///
    /// # Errors
    /// A value has no text.
    pub fn add(&mut self, batch: &Batch) -> Result<(), String> {
        let texts = texts(&self.schema, batch.rows())?;
        self.changes.extend(
            texts
                .into_iter()
                .enumerate()
                .map(|(row, text)| (batch.op(row), text)),
        );
        Ok(())
    }

    /// The changes, or the rows they leave.
    ///
    /// # Errors
    /// A row is taken back that is not there.
    pub fn rows(&self, have_ops: bool) -> Result<Rows, String> {
        let mut texts = match (have_ops, &self.changelog) {
            (true, _) => self
                .changes
                .iter()
                .map(|(op, text)| with_op(op.short_name(), text))
                .collect(),
            (false, Changelog::Upsert(keys)) => self.last_by_key(keys)?,
            (false, Changelog::Append | Changelog::Retract) => self.integrated()?,
        };
        texts.sort();
        Ok(Rows { texts, have_ops })
    }

    fn integrated(&self) -> Result<Vec<String>, String> {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for (op, text) in &self.changes {
            *counts.entry(text).or_default() += if op.is_addition() { 1 } else { -1 };
        }
        let mut rows = Vec::new();
        for (text, count) in counts {
            if count < 0 {
                return Err(format!(
                    "the query takes back a row that it has not given: {text}"
                ));
            }
            rows.extend((0..count).map(|_| text.to_string()));
        }
        Ok(rows)
    }

    fn last_by_key(&self, keys: &[usize]) -> Result<Vec<String>, String> {
        let mut rows: BTreeMap<String, &str> = BTreeMap::new();
        for (op, text) in &self.changes {
            let row: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
            let key = keys
                .iter()
                .map(|&key| row[self.schema.field(key).name()].to_string());
            let key = key.collect::<Vec<_>>().join(", ");
            match op.is_addition() {
                true => rows.insert(key, text),
                false => rows.remove(&key),
            };
        }
        Ok(rows.into_values().map(str::to_string).collect())
    }

    /// The rows of an expected file, in the texts of this result.
    ///
    /// # Errors
    /// A row that this result could not have, with file, line and reason.
    pub fn expected(&self, path: &Path) -> Result<Rows, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let is_csv = path.extension().is_some_and(|extension| extension == "csv");
        let mut rows = match is_csv {
            true => Rows {
                texts: self
                    .expected_csv(&text)
                    .map_err(|reason| format!("{}: {reason}", file_name(path)))?,
                have_ops: false,
            },
            false => self.expected_json(&text, path)?,
        };
        rows.texts.sort();
        Ok(rows)
    }

    fn expected_csv(&self, text: &str) -> Result<Vec<String>, String> {
        let declared = self.schema.fields().iter().map(|field| field.name().clone());
        let decoder = CsvDecoder::new(self.schema.clone(), declared.collect(), CsvOptions::default());
        let mut decoder = decoder.map_err(|error| error.message)?;
        let bytes = text.as_bytes();
        let mut at = decoder.start_file(bytes).map_err(|error| error.message)?;
        let mut rows = Vec::new();
        while at < bytes.len() {
            let decoded = decoder.decode(&bytes[at..], usize::MAX);
            if let Some(malformed) = decoded.malformed.first() {
                let before = &bytes[..at + malformed.start];
                let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
                return Err(format!("line {line}: {}", malformed.reason));
            }
            rows.extend(texts(&self.schema, &decoded.rows)?);
            at += decoded.consumed;
        }
        Ok(rows)
    }

    fn expected_json(&self, text: &str, path: &Path) -> Result<Rows, String> {
        let mut rows = Rows {
            texts: Vec::new(),
            have_ops: false,
        };
        let decoder = NdjsonDecoder::new(self.schema.clone(), NdjsonOptions::default());
        let mut decoder = decoder.map_err(|error| error.message)?;
        let is_row = |line: &(usize, &str)| !line.1.trim().is_empty() && !line.1.trim().starts_with("//");
        for (number, line) in text.lines().enumerate().filter(is_row) {
            let place = |reason: String| format!("{}, line {}: {reason}", file_name(path), number + 1);
            let object: Map<String, Value> = serde_json::from_str(line)
                .map_err(|error| place(format!("the line is not a JSON object: {error}")))?;
            let op = self.check_keys(&object).map_err(place)?;
            if !rows.texts.is_empty() && op.is_some() != rows.have_ops {
                return Err(place("some rows have an `op` and some have none".to_string()));
            }
            let decoded = decoder.decode(line.as_bytes(), 1);
            if let Some(malformed) = decoded.malformed.first() {
                return Err(place(malformed.reason.clone()));
            }
            rows.have_ops = op.is_some();
            for text in texts(&self.schema, &decoded.rows)? {
                rows.texts
                    .push(op.as_deref().map_or(text.clone(), |op| with_op(op, &text)));
            }
        }
        Ok(rows)
    }

    /// Refuses a row that lacks a column or has another; its op where it has one.
    fn check_keys(&self, row: &Map<String, Value>) -> Result<Option<String>, String> {
        let columns: Vec<&String> = self.schema.fields().iter().map(|field| field.name()).collect();
        let is_column = |name: &String| columns.contains(&name);
        let op = match row.get("op") {
            Some(Value::String(op)) if !is_column(&"op".to_string()) => {
                let known = ["+I", "-U", "+U", "-D"];
                match known.contains(&op.as_str()) {
                    true => Some(op.clone()),
                    false => return Err(format!("`op` is \"{op}\", not one of +I, -U, +U, -D")),
                }
            }
            _ => None,
        };
        if let Some(other) = row
            .keys()
            .find(|name| !(is_column(name) || op.is_some() && *name == "op"))
        {
            return Err(format!(
                "the result has no column '{other}'; {}",
                suggest::hint(other, &columns, "its columns are")
            ));
        }
        match columns.iter().find(|name| !row.contains_key(name.as_str())) {
            Some(missing) => Err(format!("the row does not say what '{missing}' is")),
            None => Ok(op),
        }
    }
}

/// Rows as JSON objects.
fn texts(schema: &SchemaRef, rows: &RecordBatch) -> Result<Vec<String>, String> {
    let mut encoder = NdjsonEncoder::new(Arc::clone(schema), false, TimestampFormat::default());
    let mut out = Vec::new();
    encoder
        .encode(&Batch::append(rows.clone(), 0), &mut out)
        .map_err(|error| error.message)?;
    let text = String::from_utf8(out).map_err(|error| error.to_string())?;
    Ok(text.lines().map(str::to_string).collect())
}

fn with_op(op: &str, text: &str) -> String {
    let comma = if text == "{}" { "" } else { "," };
    format!("{{\"op\":\"{op}\"{comma}{}", &text[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow::array::{Int8Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    fn results(changelog: Changelog, changes: &[(Op, &str, i64)]) -> Results {
        let schema = Arc::new(Schema::new(vec![
            Field::new("k", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
        ]));
        let keys: StringArray = changes.iter().map(|change| Some(change.1)).collect();
        let numbers: Int64Array = changes.iter().map(|change| Some(change.2)).collect();
        let ops: Int8Array = changes.iter().map(|change| Some(change.0.code())).collect();
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(keys), Arc::new(numbers)]).unwrap();
        let mut results = Results::new(schema, changelog);
        results.add(&Batch::changes(rows, ops, 0)).unwrap();
        results
    }

    #[test]
    fn a_changelog_leaves_what_it_has_not_taken_back() {
        let changes = [
            (Op::Insert, "a", 1),
            (Op::UpdateBefore, "a", 1),
            (Op::UpdateAfter, "a", 2),
        ];
        let results = results(Changelog::Retract, &changes);
        assert_eq!(results.rows(false).unwrap().texts, ["{\"k\":\"a\",\"n\":2}"]);
        assert_eq!(results.rows(true).unwrap().texts.len(), 3);
    }

    #[test]
    fn an_upsert_leaves_the_last_row_of_each_key() {
        let changes = [
            (Op::Insert, "a", 1),
            (Op::Insert, "b", 1),
            (Op::UpdateAfter, "a", 2),
            (Op::Delete, "b", 1),
        ];
        let results = results(Changelog::Upsert(vec![0]), &changes);
        assert_eq!(results.rows(false).unwrap().texts, ["{\"k\":\"a\",\"n\":2}"]);
    }

    #[test]
    fn an_expected_row_names_every_column_and_no_other() {
        let results = results(Changelog::Append, &[]);
        let check = |row: &str| results.check_keys(&serde_json::from_str(row).unwrap());
        assert_eq!(check("{\"n\": 1, \"k\": \"a\"}"), Ok(None));
        assert_eq!(
            check("{\"op\": \"+I\", \"n\": 1, \"k\": \"a\"}"),
            Ok(Some("+I".into()))
        );
        assert_eq!(
            check("{\"k\": \"a\"}"),
            Err("the row does not say what 'n' is".into())
        );
        let error = check("{\"k\": \"a\", \"n\": 1, \"m\": 2}").unwrap_err();
        assert_eq!(error, "the result has no column 'm'; did you mean `k`?");
    }
}
