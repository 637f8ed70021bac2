//! Messages of one partition to rows: values and keys are decoded, metadata columns added, tombstones understood.
//!
//! Values are laid one behind the other as lines and decoded at once. Where it matters which message a row comes from
//! (metadata, keys, an offset in an error) rows are counted off against the messages; a format that may make another
//! number of rows of a message is then decoded message by message.
//!
//! **Invariant.** One message never affects another: a line break in a JSON value becomes a space, and CSV values
//! that are not one whole record each are decoded alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat, concat_batches, take};
use arrow::datatypes::{Schema, SchemaRef};
use engine::batch::Op;
use engine::formats::{Decoder, FormatError};
use engine::plan::SourceSpec;
use rdkafka::message::{BorrowedMessage, Message};
use shards::connector::ConnectorError;

use super::chunk::{Chunk, Taken, is_line, push_line};
use super::columns::KeyColumns;
use super::metadata::{metadata, owned_headers, wanted_metadata};
use super::position::TopicPartition;
use crate::connectors::decoding::MalformedPolicy;
use crate::connectors::format::RowFormat;
use crate::connectors::ingest::IngestLayout;

/// Rows of a partition, and where it stands behind them.
#[derive(Debug)]
pub struct Decoded {
    /// The rows; may have none.
    pub rows: RecordBatch,
    /// The offset of the message behind the last that was decoded.
    pub next: i64,
    /// A message that stops the job, behind the rows.
    pub failure: Option<ConnectorError>,
}

/// Where a wanted column is found.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Its place among the columns of values.
    value: Option<usize>,
    /// Its place among the columns of keys.
    key: Option<usize>,
}

/// What a message is of.
struct Found {
    /// Rows of values, in the order of messages.
    values: RecordBatch,
    /// For each row the message it comes from, where that is known.
    messages: Option<Vec<u32>>,
    /// Messages without a row: their number, the rows before them, and why.
    malformed: Vec<(u32, usize, String)>,
}

/// Decodes the messages of a table.
pub struct Records {
    layout: IngestLayout,
    places: Vec<Place>,
    values: Box<dyn Decoder>,
    value_schema: SchemaRef,
    keys: Option<(Box<dyn Decoder>, SchemaRef)>,
    /// A message without a value deletes the row of its key.
    replaces_by_key: bool,
    /// A message may make any number of rows.
    is_changelog: bool,
    /// The quotes of values and of keys, where they may hold what ends a record.
    quote: Option<u8>,
    key_quote: Option<u8>,
    /// It matters which message a row comes from.
    is_counted: bool,
    wants_headers: bool,
    wants_keys: bool,
    policy: MalformedPolicy,
    malformed: u64,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("places", &self.places)
            .field("malformed", &self.malformed)
            .finish_non_exhaustive()
    }
}

impl Records {
    /// A decoder of what `source` wants.
    ///
    /// # Errors
    /// A column of a type that the format cannot hold.
    pub fn new(
        source: &SourceSpec,
        format: &RowFormat,
        key: Option<&KeyColumns>,
        policy: MalformedPolicy,
    ) -> Result<Records, FormatError> {
        let layout = IngestLayout::new(source);
        let replaces_by_key = source.table.sink_replaces_by_key();
        let is_apart = key.is_some_and(|key| key.is_apart);
        let has_op = source.has_ops && replaces_by_key;
        let wanted = layout.physical.fields().len() - usize::from(has_op);
        let (mut value_fields, mut key_fields, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for field in &layout.physical.fields()[..wanted] {
            let key = key.filter(|key| key.contains(field.name()));
            let mut place = Place {
                value: None,
                key: None,
            };
            if !(is_apart && key.is_some()) {
                place.value = Some(value_fields.len());
                value_fields.push(field.clone());
            }
            if let Some(key) = key.filter(|_| is_apart || replaces_by_key) {
                place.key = Some(key_fields.len());
                let name = key.field_name(field.name());
                key_fields.push(Arc::new(field.as_ref().clone().with_name(name)));
            }
            places.push(place);
        }
        let value_schema = Arc::new(Schema::new(value_fields));
        let in_value = |name: &&String| !(is_apart && key.is_some_and(|key| key.contains(name)));
        let declared = layout.declared.iter().filter(in_value).cloned().collect();
        let values = format.decoder_of(value_schema.clone(), declared)?;
        let keys = match key.filter(|_| !key_fields.is_empty()) {
            None => None,
            Some(key) => {
                let schema = Arc::new(Schema::new(key_fields));
                let declared = key
                    .names
                    .iter()
                    .map(|name| key.field_name(name).to_string())
                    .collect();
                Some((key.format.decoder_of(schema.clone(), declared)?, schema))
            }
        };
        let metadata: Vec<&str> = wanted_metadata(source);
        Ok(Records {
            places,
            values,
            value_schema,
            replaces_by_key,
            is_changelog: matches!(format, RowFormat::Changelog(..)),
            quote: quote_of(format),
            key_quote: key.and_then(|key| quote_of(&key.format)),
            is_counted: !metadata.is_empty() || keys.is_some() || replaces_by_key,
            wants_headers: metadata.contains(&"headers"),
            wants_keys: metadata.contains(&"key") || keys.is_some(),
            keys,
            policy,
            malformed: 0,
            layout,
        })
    }

    /// Messages that could not be decoded so far.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The quote of CSV values.
    pub fn quote(&self) -> Option<u8> {
        self.quote
    }

    /// Takes what is wanted of `message`.
    pub fn take(&self, chunk: &mut Chunk, message: &BorrowedMessage<'_>) {
        chunk.take(Taken {
            offset: message.offset(),
            timestamp: self.is_counted.then(|| message.timestamp().to_millis()).flatten(),
            value: message.payload(),
            key: message.key(),
            headers: match self.wants_headers {
                true => owned_headers(message),
                false => Vec::new(),
            },
            keeps_key: self.wants_keys,
            is_counted: self.is_counted,
            // Alone, a value may hold whatever its format allows.
            quote: self.quote,
        });
    }

    /// The rows of `chunk`, whose messages are those of `partition`.
    pub fn decode(&mut self, chunk: Chunk, partition: &TopicPartition) -> Decoded {
        let mut found = self.decode_values(&chunk);
        let mut deleted: Vec<u32> = Vec::new();
        if self.replaces_by_key {
            let tombstone = |message: &u32| chunk.is_tombstone(*message as usize);
            deleted = (0..chunk.len() as u32).filter(tombstone).collect();
        }
        let mut order: Vec<(u32, Option<u32>)> = Vec::new();
        if self.is_counted {
            let rows = found
                .messages
                .as_deref()
                .expect("invariant: rows are counted off");
            order = rows
                .iter()
                .zip(0..)
                .map(|(&message, row)| (message, Some(row)))
                .collect();
            order.extend(deleted.iter().map(|&message| (message, None)));
            order.sort_unstable();
        }
        let keys = self.decode_keys(&chunk, &mut order, &mut found.malformed);
        let failure = self.dispose(&chunk, partition, &mut found, &mut order);
        let next = match &failure {
            Some((message, _)) => chunk.offsets[*message as usize],
            None => chunk.offsets.last().map_or(0, |offset| offset + 1),
        };
        let rows = match self.is_counted {
            true => self.in_order(&chunk, partition, &found.values, keys.as_ref(), &order),
            false => self.layout.assemble(found.values, |key, _, _| {
                unreachable!("invariant: no metadata is wanted, '{key}' least of all")
            }),
        };
        Decoded {
            rows,
            next,
            failure: failure.map(|(_, error)| error),
        }
    }

    fn decode_values(&mut self, chunk: &Chunk) -> Found {
        let mut found = decode_lines(
            self.values.as_mut(),
            &self.value_schema,
            &chunk.lines,
            &chunk.starts,
            &chunk.messages,
        );
        let has_others = chunk.values.iter().any(Option::is_some);
        if found.messages.is_none() && (self.is_counted || has_others) {
            return self.decode_singly(chunk);
        }
        self.decode_others(chunk, &mut found);
        found.in_order_of_messages()
    }

    /// The values that are not laid among the lines, behind them.
    fn decode_others(&mut self, chunk: &Chunk, found: &mut Found) {
        for (message, value) in chunk.values.iter().enumerate() {
            if let Some(value) = value {
                self.decode_alone(message as u32, value, found);
            }
        }
    }

    /// One value that is not laid among the lines.
    fn decode_alone(&mut self, message: u32, value: &[u8], found: &mut Found) {
        let before = found.values.num_rows();
        let trimmed = value.trim_ascii();
        if trimmed.is_empty() {
            found
                .malformed
                .push((message, before, "the value is empty".to_string()));
            return;
        }
        let mut line = value.trim_ascii_end().to_vec();
        line.push(b'\n');
        let alone = decode_lines(self.values.as_mut(), &self.value_schema, &line, &[0], &[message]);
        if !self.is_changelog && alone.values.num_rows() > 1 {
            let reason = format!("the value holds {} records", alone.values.num_rows());
            found.malformed.push((message, before, reason));
            return;
        }
        found.malformed.extend(
            alone
                .malformed
                .into_iter()
                .map(|(_, _, reason)| (message, before, reason)),
        );
        if let Some(messages) = &mut found.messages {
            messages.extend(std::iter::repeat_n(message, alone.values.num_rows()));
        }
        found.values = together(&self.value_schema, &[found.values.clone(), alone.values]);
    }

    /// Every message alone: slow, and sure which rows are whose.
    fn decode_singly(&mut self, chunk: &Chunk) -> Found {
        let mut found = Found {
            values: RecordBatch::new_empty(self.value_schema.clone()),
            messages: Some(Vec::new()),
            malformed: Vec::new(),
        };
        let ends = chunk.starts.iter().skip(1).copied().chain([chunk.lines.len()]);
        for ((&start, end), &message) in chunk.starts.iter().zip(ends).zip(&chunk.messages) {
            self.decode_alone(message, &chunk.lines[start..end], &mut found);
        }
        self.decode_others(chunk, &mut found);
        found.in_order_of_messages()
    }

    /// The keys of the messages in `order`, one row a message; those that cannot be decoded leave `order`.
    fn decode_keys(
        &mut self,
        chunk: &Chunk,
        order: &mut Vec<(u32, Option<u32>)>,
        malformed: &mut Vec<(u32, usize, String)>,
    ) -> Option<RecordBatch> {
        let (decoder, schema) = self.keys.as_mut()?;
        let (mut lines, mut starts, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        let mut refused: Vec<(u32, String)> = Vec::new();
        for &(message, value) in order.iter() {
            // Where values hold the key as well, only a tombstone needs its own.
            if value.is_some() && self.places.iter().all(|place| place.value.is_some()) {
                continue;
            }
            match &chunk.keys[message as usize] {
                None if self.replaces_by_key => {
                    refused.push((message, "the record has no key".to_string()));
                }
                None => {}
                Some(key) if !is_line(key, self.key_quote) => {
                    refused.push((message, "the key is not one record".to_string()));
                }
                Some(key) => {
                    starts.push(lines.len());
                    messages.push(message);
                    push_line(&mut lines, key, self.key_quote.is_none());
                }
            }
        }
        let found = decode_lines(decoder.as_mut(), schema, &lines, &starts, &messages);
        refused.extend(
            found
                .malformed
                .into_iter()
                .map(|(message, _, reason)| (message, format!("key: {reason}"))),
        );
        let rows = found.messages.unwrap_or_default();
        // One row a message in `order`: NULL where there is no key.
        let places: Vec<Option<u32>> = order
            .iter()
            .map(|(message, _)| rows.binary_search(message).ok().map(|row| row as u32))
            .collect();
        let places = UInt32Array::from(places);
        let nullable = schema
            .fields()
            .iter()
            .map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
        let nullable = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let columns = found.values.columns().iter().map(|column| {
            take(column, &places, None).expect("invariant: keys are taken by their own numbers")
        });
        let options = RecordBatchOptions::new().with_row_count(Some(order.len()));
        let keys = RecordBatch::try_new_with_options(nullable, columns.collect(), &options)
            .expect("invariant: keys have the types of their columns");
        if refused.is_empty() {
            return Some(keys);
        }
        let is_kept: Vec<bool> = order
            .iter()
            .map(|(message, _)| !refused.iter().any(|(known, _)| known == message))
            .collect();
        for (message, reason) in refused {
            let before = order.iter().zip(&is_kept);
            let before = before
                .filter(|((other, _), kept)| **kept && *other < message)
                .count();
            malformed.push((message, before, reason));
        }
        let keys = arrow::compute::filter_record_batch(&keys, &is_kept.clone().into())
            .expect("invariant: one answer a key");
        let mut kept = is_kept.into_iter();
        order.retain(|_| kept.next().expect("invariant: one answer a message"));
        Some(keys)
    }

    /// Applies the policy to what could not be decoded. Where the job stops with it: the message, and the error;
    /// rows behind it are dropped.
    fn dispose(
        &mut self,
        chunk: &Chunk,
        partition: &TopicPartition,
        found: &mut Found,
        order: &mut Vec<(u32, Option<u32>)>,
    ) -> Option<(u32, ConnectorError)> {
        found.malformed.sort();
        for (message, rows_before, reason) in std::mem::take(&mut found.malformed) {
            self.malformed += 1;
            let place = format!(
                "topic '{}', partition {}, offset {}",
                partition.topic, partition.partition, chunk.offsets[message as usize]
            );
            let error = match &self.policy {
                MalformedPolicy::Skip => continue,
                MalformedPolicy::Fail => ConnectorError::new(format!("{place}: {reason}")),
                policy => match policy.write_letter(chunk.value_of(message)) {
                    Ok(()) => continue,
                    Err(error) => error,
                },
            };
            match self.is_counted {
                true => order.retain(|&(other, _)| other < message),
                false => found.values = found.values.slice(0, rows_before),
            }
            return Some((message, error));
        }
        None
    }

    /// The wanted columns of the messages in `order`.
    fn in_order(
        &self,
        chunk: &Chunk,
        partition: &TopicPartition,
        values: &RecordBatch,
        keys: Option<&RecordBatch>,
        order: &[(u32, Option<u32>)],
    ) -> RecordBatch {
        let rows = UInt32Array::from_iter(order.iter().map(|&(_, row)| row));
        let is_whole = rows.null_count() == 0
            && rows.len() == values.num_rows()
            && rows.values().iter().zip(0..).all(|(&row, place)| row == place);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.places.len() + 1);
        for (place, field) in self.places.iter().zip(self.layout.physical.fields()) {
            let value = place.value.map(|column| match is_whole {
                true => values.column(column).clone(),
                false => taken(values.column(column), &rows),
            });
            // Keys may be fewer than rows only where the job stops behind them.
            let key = place
                .key
                .zip(keys)
                .map(|(column, keys)| keys.column(column).slice(0, order.len()));
            let column = match (value, key) {
                (Some(value), Some(key)) if rows.null_count() > 0 => either(&value, &key, &rows),
                (Some(value), _) => value,
                (None, Some(key)) => key,
                (None, None) => arrow::array::new_null_array(field.data_type(), order.len()),
            };
            columns.push(match field.is_nullable() {
                true => column,
                false => without_nulls(column, rows.null_count() > 0),
            });
        }
        if self.replaces_by_key && columns.len() < self.layout.physical.fields().len() {
            let op = |row: &(u32, Option<u32>)| match row.1 {
                Some(_) => Op::UpdateAfter.code(),
                None => Op::Delete.code(),
            };
            columns.push(Arc::new(
                order.iter().map(|row| Some(op(row))).collect::<Int8Array>(),
            ));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(order.len()));
        let schema = self.layout.physical.clone();
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)
            .expect("invariant: columns have the types of their fields");
        self.layout.assemble(rows, |key, data_type, count| {
            assert_eq!(count, order.len(), "invariant: one row a message");
            metadata(chunk, partition, key, data_type, order)
        })
    }
}

impl Found {
    /// Rows by their messages, where those are known.
    fn in_order_of_messages(mut self) -> Found {
        let Some(messages) = &self.messages else {
            return self;
        };
        if !messages.is_sorted() {
            let mut rows: Vec<u32> = (0..messages.len() as u32).collect();
            rows.sort_by_key(|&row| (messages[row as usize], row));
            self.messages = Some(rows.iter().map(|&row| messages[row as usize]).collect());
            self.values = arrow::compute::take_record_batch(&self.values, &UInt32Array::from(rows))
                .expect("invariant: rows are taken by their own numbers");
        }
        let messages = self.messages.as_deref().unwrap_or_default();
        for (message, before, _) in &mut self.malformed {
            *before = messages.partition_point(|known| known < message);
        }
        self
    }
}

/// Decodes lines that start at `starts`; line `i` is message `messages[i]`.
fn decode_lines(
    decoder: &mut dyn Decoder,
    schema: &SchemaRef,
    lines: &[u8],
    starts: &[usize],
    messages: &[u32],
) -> Found {
    let mut batches = Vec::new();
    let mut malformed = Vec::new();
    let (mut cursor, mut rows) = (0, 0);
    while cursor < lines.len() {
        let decoded = decoder.decode(&lines[cursor..], usize::MAX);
        assert!(decoded.consumed > 0, "invariant: a decoder makes progress");
        for record in decoded.malformed {
            let line = starts.partition_point(|&start| start <= cursor + record.start) - 1;
            malformed.push((messages[line], rows + record.rows_before, record.reason));
        }
        rows += decoded.rows.num_rows();
        cursor += decoded.consumed;
        batches.push(decoded.rows);
    }
    let values = together(schema, &batches);
    let counted = (rows + malformed.len() == messages.len()).then(|| {
        let mut bad = malformed.iter().map(|(message, ..)| *message).peekable();
        let good = messages.iter().copied();
        good.filter(|message| bad.next_if_eq(message).is_none()).collect()
    });
    Found {
        values,
        messages: counted,
        malformed,
    }
}

fn together(schema: &SchemaRef, batches: &[RecordBatch]) -> RecordBatch {
    match batches {
        [one] => one.clone(),
        batches => concat_batches(schema, batches).expect("invariant: all parts have one schema"),
    }
}

/// Rows of `column`; NULL where there is none.
fn taken(column: &ArrayRef, rows: &UInt32Array) -> ArrayRef {
    take(column, rows, None).expect("invariant: rows are taken by their own numbers")
}

/// The value where there is one, the key's elsewhere.
fn either(value: &ArrayRef, key: &ArrayRef, rows: &UInt32Array) -> ArrayRef {
    let both = concat(&[value.as_ref(), key.as_ref()]).expect("invariant: both have the column's type");
    let count = rows.len() as u32;
    let places = (0..count).map(|row| match rows.is_valid(row as usize) {
        true => row,
        false => count + row,
    });
    taken(&both, &UInt32Array::from_iter_values(places))
}

/// A row that is deleted has no values: in a column that knows no NULL it has any.
fn without_nulls(column: ArrayRef, has_deleted: bool) -> ArrayRef {
    if !has_deleted || column.null_count() == 0 {
        return column;
    }
    let data = column.to_data().into_builder().nulls(None);
    arrow::array::make_array(data.build().expect("invariant: only the NULLs were left out"))
}

/// The quote, where a record may hold what ends it.
fn quote_of(format: &RowFormat) -> Option<u8> {
    match format {
        RowFormat::Csv(options) => Some(options.quote),
        _ => None,
    }
}
