//! Metadata columns of records: topic, partition, offset, timestamp, headers, key.
//!
//! **Invariant.** Their types are checked when the job is prepared.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, Int32Array, Int64Array, StringArray, StringBuilder,
    TimestampMillisecondArray,
};
use arrow::datatypes::DataType;
use engine::error::SqlError;
use engine::plan::SourceSpec;
use engine::sql::catalog::{TableColumnKind, TableDefinition};
use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::chunk::Chunk;
use super::position::TopicPartition;

/// Metadata columns of a record.
pub const METADATA: [&str; 6] = ["topic", "partition", "offset", "timestamp", "headers", "key"];

/// The metadata that `source` wants, by key.
pub(super) fn wanted_metadata(source: &SourceSpec) -> Vec<&str> {
    let delivered: Vec<_> = source
        .table
        .columns
        .iter()
        .filter(|column| column.kind.is_delivered())
        .collect();
    let keys = source
        .ingest
        .iter()
        .filter_map(|&index| match &delivered[index].kind {
            TableColumnKind::Metadata { key, .. } => Some(key.as_str()),
            _ => None,
        });
    keys.collect()
}

/// The headers of a message.
pub(super) fn owned_headers(message: &BorrowedMessage<'_>) -> Vec<(String, Option<Vec<u8>>)> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers
        .map(|header| (header.key.to_string(), header.value.map(<[u8]>::to_vec)))
        .collect()
}

/// A metadata column of the messages in `order`.
pub(super) fn metadata(
    chunk: &Chunk,
    partition: &TopicPartition,
    key: &str,
    data_type: &DataType,
    order: &[(u32, Option<u32>)],
) -> ArrayRef {
    let messages = order.iter().map(|&(message, _)| message as usize);
    match key {
        "topic" => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            &partition.topic,
            order.len(),
        ))),
        "partition" => Arc::new(Int32Array::from(vec![partition.partition; order.len()])),
        "offset" => Arc::new(Int64Array::from_iter_values(
            messages.map(|message| chunk.offsets[message]),
        )),
        "timestamp" => {
            let times: TimestampMillisecondArray =
                messages.map(|message| chunk.timestamps[message]).collect();
            let times: ArrayRef = match data_type {
                DataType::Timestamp(_, Some(zone)) => Arc::new(times.with_timezone(zone.clone())),
                _ => Arc::new(times),
            };
            arrow::compute::cast(&times, data_type).expect("invariant: a time stamp is cast to another unit")
        }
        "key" if *data_type == DataType::Binary => Arc::new(BinaryArray::from_iter(
            messages.map(|message| chunk.keys[message].as_deref()),
        )),
        "key" => Arc::new(StringArray::from_iter(messages.map(|message| {
            let key = chunk.keys[message].as_deref();
            key.map(|key| String::from_utf8_lossy(key).into_owned())
        }))),
        "headers" => headers(chunk, messages, data_type),
        other => unreachable!("invariant: metadata '{other}' was checked"),
    }
}

/// Headers as MAP<STRING, BYTES>; of several with one name the last counts.
fn headers(chunk: &Chunk, messages: impl Iterator<Item = usize>, data_type: &DataType) -> ArrayRef {
    let mut builder = arrow::array::MapBuilder::new(None, StringBuilder::new(), BinaryBuilder::new());
    for message in messages {
        let all = &chunk.headers[message];
        for (number, (name, value)) in all.iter().enumerate() {
            if all[number + 1..].iter().any(|(later, _)| later == name) {
                continue;
            }
            builder.keys().append_value(name);
            builder.values().append_option(value.as_deref());
        }
        builder
            .append(true)
            .expect("invariant: a name and a value a header");
    }
    let built: ArrayRef = Arc::new(builder.finish());
    // Only the names of the fields inside differ.
    let data = built.to_data();
    let DataType::Map(entries, _) = data_type else {
        unreachable!("invariant: the type of headers was checked")
    };
    let children = data.child_data().iter().map(|child| {
        let child = child
            .clone()
            .into_builder()
            .data_type(entries.data_type().clone());
        child
            .build()
            .expect("invariant: the same types under other names")
    });
    let data = data
        .clone()
        .into_builder()
        .data_type(data_type.clone())
        .child_data(children.collect());
    arrow::array::make_array(data.build().expect("invariant: the same type under another name"))
}

/// Refuses metadata columns that records do not have, or have with another type.
///
/// # Errors
/// Names the column, and the keys there are.
pub fn check_metadata(table: &TableDefinition) -> Result<(), SqlError> {
    for column in &table.columns {
        let TableColumnKind::Metadata { key, .. } = &column.kind else {
            continue;
        };
        let data_type = column.field.data_type();
        let (fits, types) = match key.as_str() {
            "topic" => (*data_type == DataType::Utf8, "STRING"),
            "partition" => (*data_type == DataType::Int32, "INT"),
            "offset" => (*data_type == DataType::Int64, "BIGINT"),
            "timestamp" => (
                matches!(data_type, DataType::Timestamp(..)),
                "TIMESTAMP_LTZ(3) or TIMESTAMP(3)",
            ),
            "headers" => (is_headers(data_type), "MAP<STRING, BYTES>"),
            "key" => (
                matches!(data_type, DataType::Binary | DataType::Utf8),
                "BYTES or STRING",
            ),
            _ => {
                return Err(SqlError::new(format!(
                    "table '{}', column '{}': connector '{}' has no metadata '{key}'",
                    table.name,
                    column.field.name(),
                    table.connector()
                ))
                .at(table.position)
                .hint(format!("there is: {}", METADATA.join(", "))));
            }
        };
        if !fits {
            return Err(SqlError::new(format!(
                "table '{}', column '{}': metadata '{key}' is {types}, declared is {data_type}",
                table.name,
                column.field.name()
            ))
            .at(table.position));
        }
    }
    Ok(())
}

/// MAP<STRING, BYTES>.
fn is_headers(data_type: &DataType) -> bool {
    let DataType::Map(entries, _) = data_type else {
        return false;
    };
    let DataType::Struct(fields) = entries.data_type() else {
        return false;
    };
    let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
    types == [&DataType::Utf8, &DataType::Binary]
}
