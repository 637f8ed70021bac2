//! Rows as text formats write them: the op first, times with the digits of their type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::batch::Batch;
use engine::formats::FormatError;

/// The column that carries the op of a changelog row: `+I`, `-U`, `+U`, `-D`.
const OP_COLUMN: &str = "op";

/// The columns written for rows with these columns.
pub fn written_schema(schema: &SchemaRef, has_ops: bool) -> SchemaRef {
    let op = has_ops.then(|| Arc::new(Field::new(OP_COLUMN, DataType::Utf8, false)));
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Timestamp(..) => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(op.into_iter().chain(fields).collect::<Vec<_>>()))
}

/// The rows written for `batch`, whose columns get the names of `schema`; times with a `T` between
/// date and time if `iso_times`.
///
/// # Errors
/// A value that cannot be shown.
pub fn written_rows(
    batch: &Batch,
    schema: &SchemaRef,
    has_ops: bool,
    iso_times: bool,
) -> Result<RecordBatch, FormatError> {
    let failed = |error: ArrowError| FormatError::new(format!("cannot write a row: {error}"));
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.rows().num_columns() + 1);
    if has_ops {
        let ops = (0..batch.len()).map(|row| batch.op(row).short_name());
        columns.push(Arc::new(StringArray::from_iter_values(ops)));
    }
    for column in batch.rows().columns() {
        columns.push(match column.data_type() {
            DataType::Timestamp(unit, zone) => {
                times_as_text(column, *unit, zone.is_some(), iso_times).map_err(failed)?
            }
            _ => Arc::clone(column),
        });
    }
    RecordBatch::try_new(written_schema(schema, has_ops), columns).map_err(failed)
}

/// `2024-05-01 10:00:00.000`, with as many digits as the type has.
fn times_as_text(
    column: &ArrayRef,
    unit: TimeUnit,
    has_zone: bool,
    iso_times: bool,
) -> Result<ArrayRef, ArrowError> {
    let digits = match unit {
        TimeUnit::Second | TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    let separator = if iso_times { 'T' } else { ' ' };
    let zone = if has_zone { "Z" } else { "" };
    let format = format!("%Y-%m-%d{separator}%H:%M:%S%.{digits}f{zone}");
    let options = FormatOptions::new()
        .with_timestamp_format(Some(&format))
        .with_timestamp_tz_format(Some(&format));
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let texts = (0..column.len()).map(|row| {
        let text = || formatter.value(row).try_to_string();
        column.is_valid(row).then(text).transpose()
    });
    Ok(Arc::new(texts.collect::<Result<StringArray, _>>()?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int8Array, Int64Array, TimestampMicrosecondArray, TimestampMillisecondArray};
    use engine::batch::Op;

    use crate::connectors::format::RowFormat;

    use super::*;

    #[test]
    fn ops_come_first_and_times_have_the_digits_of_their_type() {
        let rows = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef),
            (
                "ms",
                Arc::new(TimestampMillisecondArray::from(vec![Some(0), None])) as ArrayRef,
            ),
            (
                "us",
                Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC")) as ArrayRef,
            ),
        ])
        .unwrap();
        let schema = rows.schema();
        let ops = Int8Array::from(vec![Op::Insert.code(), Op::Delete.code()]);
        let batch = Batch::changes(rows, ops, 0);
        let encoded = |format: RowFormat| {
            let mut encoder = format.encoder(&schema, true);
            let mut text = encoder.header().unwrap_or_default();
            encoder.encode(&batch, &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!(
            encoded(RowFormat::default_json()),
            "{\"op\":\"+I\",\"id\":1,\"ms\":\"1970-01-01 00:00:00.000\",\"us\":\"1970-01-01 00:00:00.000001Z\"}\n\
             {\"op\":\"-D\",\"id\":null,\"ms\":null,\"us\":\"1970-01-01 00:00:00.000002Z\"}\n"
        );
        assert_eq!(
            encoded(RowFormat::default_csv()),
            "op,id,ms,us\n+I,1,1970-01-01 00:00:00.000,1970-01-01 00:00:00.000001Z\n\
             -D,,,1970-01-01 00:00:00.000002Z\n"
        );
    }
}
