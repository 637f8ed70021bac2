//! Rows to messages: the key, the value and the time stamp of each.
//!
//! **Invariant.** A row is one message, or none: the old value of an update is not told to a topic that replaces rows
//! by their key.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};
use engine::batch::{Batch, Op};
use engine::formats::Encoder;
use shards::connector::ConnectorError;

use super::columns::KeyColumns;
use crate::connectors::format::RowFormat;

/// A message that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'b> {
    /// Its key.
    pub key: Option<&'b [u8]>,
    /// Its value; none deletes the key's row.
    pub value: Option<&'b [u8]>,
    /// Milliseconds since 1970; without it the client's clock.
    pub timestamp: Option<i64>,
}

impl Message<'_> {
    /// Bytes of key and value.
    pub fn bytes(&self) -> u64 {
        (self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)) as u64
    }
}

/// The messages of a batch.
#[derive(Debug, Default)]
pub struct Messages {
    keys: Option<Lines>,
    values: Lines,
    /// By message, where some delete.
    deletes: Vec<bool>,
    timestamps: Vec<Option<i64>>,
}

/// Texts, one behind the other.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Lines {
    fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row] - 1]
    }
}

impl Messages {
    /// How many.
    pub fn len(&self) -> usize {
        self.values.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Message number `row`.
    pub fn get(&self, row: usize) -> Message<'_> {
        let is_delete = self.deletes.get(row).is_some_and(|&deletes| deletes);
        Message {
            key: self.keys.as_ref().map(|keys| keys.get(row)),
            value: (!is_delete).then(|| self.values.get(row)),
            timestamp: self.timestamps.get(row).copied().flatten(),
        }
    }
}

/// Some columns of the rows, and their encoder.
struct Part {
    columns: Vec<usize>,
    schema: SchemaRef,
    encoder: Box<dyn Encoder>,
    /// A line break may stand inside a record.
    is_quoted: bool,
}

/// Makes messages of rows.
pub struct RowEncoder {
    key: Option<Part>,
    value: Part,
    /// The column of the message's time stamp.
    timestamp: Option<usize>,
    replaces_by_key: bool,
}

impl std::fmt::Debug for RowEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowEncoder").finish_non_exhaustive()
    }
}

impl RowEncoder {
    /// An encoder of rows of `schema`; column `timestamp` of it is no value but the message's time stamp.
    pub fn new(
        schema: &SchemaRef,
        has_ops: bool,
        format: &RowFormat,
        key: Option<&KeyColumns>,
        timestamp: Option<usize>,
        replaces_by_key: bool,
    ) -> RowEncoder {
        let is_of_key = |column: usize| key.is_some_and(|key| key.contains(schema.field(column).name()));
        let stored = (0..schema.fields().len()).filter(|&column| Some(column) != timestamp);
        let in_value = |&column: &usize| !(key.is_some_and(|key| key.is_apart) && is_of_key(column));
        let value_columns: Vec<usize> = stored.clone().filter(in_value).collect();
        // In the order of the key's own list.
        let key_columns = key.map(|key| {
            let place = |name: &String| schema.index_of(name).expect("invariant: key columns are written");
            key.names.iter().map(place).collect::<Vec<usize>>()
        });
        let key_part = key.zip(key_columns).map(|(key, columns)| {
            let fields = columns.iter().map(|&column| {
                let field = schema.field(column).clone();
                let name = key.field_name(field.name()).to_string();
                Arc::new(field.with_name(name))
            });
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            Part::new(columns, schema, &key.format, false)
        });
        let fields = value_columns
            .iter()
            .map(|&column| schema.fields()[column].clone());
        let value_schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        RowEncoder {
            key: key_part,
            value: Part::new(value_columns, value_schema, format, has_ops && !replaces_by_key),
            timestamp,
            replaces_by_key,
        }
    }

    /// The messages of `batch`.
    ///
    /// # Errors
    /// A value that the format cannot hold; a key that is NULL where rows are replaced by it.
    pub fn encode(&mut self, batch: &Batch) -> Result<Messages, ConnectorError> {
        let told;
        let batch = match self.replaces_by_key && batch.ops().is_some() {
            true => {
                told = without_old_values(batch);
                &told
            }
            false => batch,
        };
        let mut messages = Messages::default();
        if self.replaces_by_key {
            self.refuse_null_keys(batch)?;
            if batch.ops().is_some() {
                let is_delete = |row| batch.op(row) == Op::Delete;
                messages.deletes = (0..batch.len()).map(is_delete).collect();
            }
        }
        if let Some(key) = &mut self.key {
            messages.keys = Some(key.encode(batch, false)?);
        }
        messages.values = self.value.encode(batch, !self.replaces_by_key)?;
        if let Some(column) = self.timestamp {
            let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
            let times = cast(batch.column(column), &millis)
                .map_err(|error| ConnectorError::new(error.to_string()))?;
            messages.timestamps = times.as_primitive::<TimestampMillisecondType>().iter().collect();
        }
        Ok(messages)
    }

    fn refuse_null_keys(&self, batch: &Batch) -> Result<(), ConnectorError> {
        let key = self.key.as_ref().expect("invariant: rows are replaced by a key");
        let names = key.columns.iter().zip(key.schema.fields());
        let mut null = names.filter(|(column, _)| batch.column(**column).null_count() > 0);
        match null.next() {
            None => Ok(()),
            Some((_, field)) => Err(ConnectorError::new(format!(
                "the column '{}' of a PRIMARY KEY is NULL; filter such rows out",
                field.name()
            ))),
        }
    }
}

impl Part {
    fn new(columns: Vec<usize>, schema: SchemaRef, format: &RowFormat, has_ops: bool) -> Part {
        Part {
            encoder: format.encoder(&schema, has_ops),
            is_quoted: matches!(format, RowFormat::Csv(_)),
            columns,
            schema,
        }
    }

    /// A line for each row of `batch`.
    fn encode(&mut self, batch: &Batch, with_ops: bool) -> Result<Lines, ConnectorError> {
        let columns = self.columns.iter().map(|&column| batch.column(column).clone());
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns.collect(), &options)
            .map_err(|error| ConnectorError::new(error.to_string()))?;
        let ops = batch.ops().filter(|_| with_ops).cloned();
        let rows = Batch::new(rows, ops, batch.arrival_ns);
        let mut lines = Lines::default();
        self.append(&rows, &mut lines.bytes)?;
        lines.ends = memchr::memchr_iter(b'\n', &lines.bytes)
            .map(|at| at + 1)
            .collect();
        if self.is_quoted && lines.ends.len() != rows.len() {
            // Line breaks inside values: each row alone.
            lines = Lines::default();
            for row in 0..rows.len() {
                self.append(&rows.slice(row, 1), &mut lines.bytes)?;
                lines.ends.push(lines.bytes.len());
            }
        }
        assert_eq!(lines.ends.len(), rows.len(), "invariant: one line a row");
        Ok(lines)
    }

    fn append(&mut self, rows: &Batch, to: &mut Vec<u8>) -> Result<(), ConnectorError> {
        let encoded = self.encoder.encode(rows, to);
        encoded.map_err(|error| ConnectorError::new(error.message))
    }
}

/// The rows that say what is now.
fn without_old_values(batch: &Batch) -> Batch {
    let told = (0..batch.len() as u32).filter(|&row| batch.op(row as usize) != Op::UpdateBefore);
    let told = UInt32Array::from_iter_values(told);
    if told.len() == batch.len() {
        return batch.clone();
    }
    let rows =
        take_record_batch(batch.rows(), &told).expect("invariant: rows are taken by their own numbers");
    let ops = told
        .values()
        .iter()
        .map(|&row| Some(batch.op(row as usize).code()));
    Batch::changes(rows, ops.collect(), batch.arrival_ns)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;
    use crate::connectors::options::TableOptions;
    use crate::connectors::testing::table;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]))
    }

    fn batch(ids: &[i64], names: &[&str], ops: Option<&[Op]>) -> Batch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(ids.to_vec())),
            Arc::new(StringArray::from(names.to_vec())),
        ];
        let ops = ops.map(|ops| ops.iter().map(|op| Some(op.code())).collect());
        Batch::new(RecordBatch::try_new(schema(), columns).unwrap(), ops, 0)
    }

    fn key(apart: &str) -> KeyColumns {
        let options = [
            ("connector", "kafka"),
            ("topic", "t"),
            ("key.format", "json"),
            ("key.fields", "id"),
            ("value.fields-include", apart),
        ];
        let columns = [("id", DataType::Int64), ("name", DataType::Utf8)];
        let table = table("t", &columns, &options);
        let key = KeyColumns::parse(&TableOptions::new(&table).unwrap(), false);
        key.unwrap().expect("a key")
    }

    fn texts(messages: &Messages) -> Vec<(Option<String>, Option<String>)> {
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        (0..messages.len())
            .map(|row| messages.get(row))
            .map(|message| (text(message.key), text(message.value)))
            .collect()
    }

    fn some(key: &str, value: &str) -> (Option<String>, Option<String>) {
        (Some(key.to_string()), Some(value.to_string()))
    }

    #[test]
    fn a_key_may_stand_apart_from_its_value() {
        let rows = batch(&[1, 2], &["a", "b\n"], None);
        let json = RowFormat::default_json();
        let mut encoder = RowEncoder::new(&schema(), false, &json, Some(&key("ALL")), None, false);
        let found = texts(&encoder.encode(&rows).unwrap());
        let expected = [
            some("{\"id\":1}", "{\"id\":1,\"name\":\"a\"}"),
            some("{\"id\":2}", "{\"id\":2,\"name\":\"b\\n\"}"),
        ];
        assert_eq!(found, expected);
        let csv = RowFormat::default_csv();
        let mut encoder = RowEncoder::new(&schema(), false, &csv, Some(&key("EXCEPT_KEY")), None, false);
        let found = texts(&encoder.encode(&rows).unwrap());
        assert_eq!(found, [some("{\"id\":1}", "a"), some("{\"id\":2}", "\"b\n\"")]);
    }

    #[test]
    fn an_upsert_tells_new_values_and_deletes() {
        let ops = [Op::Insert, Op::UpdateBefore, Op::UpdateAfter, Op::Delete];
        let rows = batch(&[1, 1, 1, 2], &["a", "a", "b", "c"], Some(&ops));
        let json = RowFormat::default_json();
        let mut encoder = RowEncoder::new(&schema(), true, &json, Some(&key("EXCEPT_KEY")), None, true);
        let found = texts(&encoder.encode(&rows).unwrap());
        let expected = [
            some("{\"id\":1}", "{\"name\":\"a\"}"),
            some("{\"id\":1}", "{\"name\":\"b\"}"),
            (Some("{\"id\":2}".to_string()), None),
        ];
        assert_eq!(found, expected);
    }
}
