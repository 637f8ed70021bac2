//! Values of the programs: JSON as they are given, Arrow as shards take them, text as Flink prints them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int8Array, MapArray, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use engine::batch::Op;
use engine::plan::NodeKind;
use serde_json::Value;

use crate::conformance::program::Row;

/// The op of that short name.
///
/// # Errors
/// There is none.
pub fn op(name: &str) -> Result<Op, String> {
    let ops = [Op::Insert, Op::UpdateBefore, Op::UpdateAfter, Op::Delete];
    let found = ops.into_iter().find(|op| op.short_name() == name);
    found.ok_or_else(|| format!("{name} is not an op"))
}

/// The table that CREATE TABLE makes of these columns, seen through a job that reads it.
fn table(columns: &str) -> Result<Arc<engine::sql::catalog::TableDefinition>, String> {
    let sql = format!("CREATE TABLE t ({columns}) WITH ('connector' = 'memory');\nSELECT * FROM t;\n");
    let job = engine::compile::compile(&sql, &[], Some(1)).map_err(|error| error.render("columns", &sql))?;
    let source = job.plan.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::Source(spec) => Some(spec.table.clone()),
        _ => None,
    });
    source.ok_or_else(|| "the table is not read".to_string())
}

/// The types of a sink's columns.
///
/// # Errors
/// The columns cannot be read.
pub fn column_types(columns: &str) -> Result<Vec<DataType>, String> {
    let schema = table(columns)?.sink_schema();
    Ok(schema
        .fields()
        .iter()
        .map(|field| field.data_type().clone())
        .collect())
}

/// The columns of a table's primary key.
///
/// # Errors
/// The columns cannot be read.
pub fn primary_key(columns: &str) -> Result<Vec<usize>, String> {
    Ok(table(columns)?.primary_key.clone())
}

/// One row of the columns `wanted` among those of `schema`, with its op behind them if `has_op`.
///
/// # Errors
/// A value does not fit its column.
pub fn batch(
    schema: &SchemaRef,
    wanted: &[usize],
    op: Op,
    row: &[Value],
    has_op: bool,
) -> Result<RecordBatch, String> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for &index in wanted {
        let field = schema.fields()[index].clone();
        columns.push(array(&row[index], field.data_type())?);
        fields.push(field);
    }
    if has_op {
        fields.push(engine::formats::changelog::op_field());
        columns.push(Arc::new(Int8Array::from(vec![op.code()])));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| error.to_string())
}

/// A column of one value.
fn array(value: &Value, data_type: &DataType) -> Result<ArrayRef, String> {
    match (value, data_type) {
        (Value::Null, _) => Ok(new_null_array(data_type, 1)),
        (Value::Object(row), DataType::Struct(fields)) => {
            let values = row
                .get("row")
                .and_then(Value::as_array)
                .ok_or("a row has values")?;
            let columns = values
                .iter()
                .zip(fields)
                .map(|(value, field)| array(value, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::new(fields.clone(), columns, None)))
        }
        (_, DataType::Map(entries, _)) => map(value, entries),
        (value, data_type) => {
            let text = StringArray::from(vec![scalar_text(value)?]);
            cast(&text, data_type).map_err(|error| error.to_string())
        }
    }
}

/// A map of no entry (`new HashMap`), or of one, given as its key and value.
fn map(value: &Value, entries: &Arc<Field>) -> Result<ArrayRef, String> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err("a map has keys and values".to_string());
    };
    let pair = value.as_array().map_or(&[][..], Vec::as_slice);
    let columns = match pair {
        [key, of] => vec![
            array(key, fields[0].data_type())?,
            array(of, fields[1].data_type())?,
        ],
        _ => vec![
            new_null_array(fields[0].data_type(), 0),
            new_null_array(fields[1].data_type(), 0),
        ],
    };
    let count = columns[0].len();
    let rows = StructArray::new(Fields::clone(fields), columns, None);
    let offsets = OffsetBuffer::from_lengths([count]);
    Ok(Arc::new(MapArray::new(
        entries.clone(),
        offsets,
        rows,
        None,
        false,
    )))
}

/// A scalar as text that Arrow casts from: Java's calls are read.
fn scalar_text(value: &Value) -> Result<String, String> {
    if let Some(text) = value.as_str() {
        let Some(numbers) = text
            .strip_prefix("LocalDateTime.of(")
            .and_then(|rest| rest.strip_suffix(')'))
        else {
            return Ok(text.to_string());
        };
        let numbers: Vec<u64> = numbers
            .split(',')
            .filter_map(|number| number.trim().parse().ok())
            .collect();
        let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
        return Ok(format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}",
            at(0),
            at(1),
            at(2),
            at(3),
            at(4),
            at(5),
            at(6)
        ));
    }
    if let Some(call) = value.get("call") {
        let millis = value["args"].get(0).and_then(Value::as_i64);
        return millis
            .map(|millis| {
                let column = arrow::array::TimestampMillisecondArray::from(vec![millis]);
                array_value_to_string(&column, 0).unwrap_or_default()
            })
            .ok_or_else(|| format!("{call} is not known"));
    }
    Ok(value.to_string())
}

/// The rows of a batch with their ops.
///
/// # Errors
/// A value cannot be printed.
pub fn rows(batch: &engine::batch::Batch) -> Result<Vec<(Op, Row)>, String> {
    (0..batch.len())
        .map(|row| {
            let cells = batch.rows().columns().iter().map(|column| cell(column, row));
            Ok((batch.op(row), cells.collect::<Result<Row, String>>()?))
        })
        .collect()
}

/// A value as Flink's `Row.toString` prints it.
fn cell(column: &ArrayRef, row: usize) -> Result<String, String> {
    if column.is_null(row) {
        return Ok("null".to_string());
    }
    let plain = || array_value_to_string(column, row).map_err(|error| error.to_string());
    Ok(match column.data_type() {
        DataType::Float64 => float_text(column.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => float_text(plain()?.parse().map_err(|_| "a number")?),
        DataType::Timestamp(..) => time_text(&plain()?),
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let pairs: Result<Vec<String>, String> = (0..entries.len())
                .map(|entry| {
                    Ok(format!(
                        "{}={}",
                        cell(entries.column(0), entry)?,
                        cell(entries.column(1), entry)?
                    ))
                })
                .collect();
            format!("{{{}}}", pairs?.join(", "))
        }
        _ => plain()?,
    })
}

/// `2`, `2.5` → `2.0`, `2.5`.
fn float_text(value: f64) -> String {
    format!("{value:?}")
}

/// `2020-10-10T00:00:00` → `2020-10-10T00:00`; fractions in groups of three digits.
fn time_text(text: &str) -> String {
    let (time, zone) = match text.strip_suffix('Z') {
        Some(time) => (time, "Z"),
        None => (text, ""),
    };
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = fraction.len().next_multiple_of(3);
    let fraction = match fraction.is_empty() {
        true => String::new(),
        false => format!(".{fraction:0<digits$}"),
    };
    // An instant keeps its seconds.
    let whole = match (fraction.is_empty() && zone.is_empty(), whole.strip_suffix(":00")) {
        (true, Some(short)) if short.matches(':').count() == 1 => short,
        _ => whole,
    };
    format!("{whole}{fraction}{zone}")
}

/// What a sink is expected to consume: a text such as `+I[a, 1]`, or an op and values.
///
/// # Errors
/// It is neither.
pub fn expected_row(expected: &Value, types: &[DataType]) -> Result<(Op, Row), String> {
    if let Some(text) = expected.as_str() {
        let (name, cells) = text.split_at_checked(2).ok_or("a row has an op")?;
        let cells = cells.strip_prefix('[').and_then(|cells| cells.strip_suffix(']'));
        let cells = cells.ok_or_else(|| format!("{text} is not a row"))?;
        return Ok((op(name)?, cells.split(", ").map(str::to_string).collect()));
    }
    let name = expected["op"].as_str().ok_or("a row has an op")?;
    let values = expected["row"].as_array().ok_or("a row has values")?;
    let cells = values
        .iter()
        .zip(types)
        .map(|(value, data_type)| cell(&array(value, data_type)?, 0));
    Ok((op(name)?, cells.collect::<Result<Row, String>>()?))
}
