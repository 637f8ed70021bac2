//! Batches to the text of Flink's print connector: `+I[1, hello, 2020-10-10T00:00]`.
//!
//! Values look as Java prints them: times without what is zero at their end, DOUBLE with an
//! exponent from 10⁷ on, BYTES as a list of numbers.

use arrow::datatypes::TimeUnit;

use super::temporal::{per_second, write_date};
use super::view::{View, ViewValues, view, viewable};
use super::{Encoder, FormatError, write};
use crate::batch::Batch;

/// Writes one row a line.
#[derive(Clone, Debug)]
pub struct ChangelogTextEncoder {
    prefix: String,
}

impl ChangelogTextEncoder {
    /// With an identifier, every line starts with it and `> `.
    pub fn new(identifier: Option<&str>) -> ChangelogTextEncoder {
        ChangelogTextEncoder {
            prefix: identifier.map(|name| format!("{name}> ")).unwrap_or_default(),
        }
    }
}

impl Encoder for ChangelogTextEncoder {
    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let columns = batch
            .rows()
            .columns()
            .iter()
            .map(viewable)
            .collect::<Result<Vec<_>, _>>()?;
        let views: Vec<View<'_>> = columns.iter().map(|column| view(column.as_ref())).collect();
        for row in 0..batch.len() {
            out.extend_from_slice(self.prefix.as_bytes());
            out.extend_from_slice(batch.op(row).short_name().as_bytes());
            write_list(b"[", b"]", views.iter(), out, |view, out| {
                write_value(view, row, out)
            });
            out.push(b'\n');
        }
        Ok(())
    }
}

fn write_list<T>(
    open: &[u8],
    close: &[u8],
    items: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    write: impl Fn(T, &mut Vec<u8>),
) {
    out.extend_from_slice(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        write(item, out);
    }
    out.extend_from_slice(close);
}

fn write_value(view: &View<'_>, row: usize, out: &mut Vec<u8>) {
    if view.is_null(row) {
        return out.extend_from_slice(b"null");
    }
    match &view.values {
        ViewValues::Null => out.extend_from_slice(b"null"),
        ViewValues::Boolean(values) => out.extend_from_slice(values.value(row).to_string().as_bytes()),
        ViewValues::Int8(values) => write::integer(values[row].into(), out),
        ViewValues::Int16(values) => write::integer(values[row].into(), out),
        ViewValues::Int32(values) => write::integer(values[row].into(), out),
        ViewValues::Int64(values) => write::integer(values[row], out),
        ViewValues::Float32(values) => write_real(values[row].into(), &format!("{:e}", values[row]), out),
        ViewValues::Float64(values) => write_real(values[row], &format!("{:e}", values[row]), out),
        ViewValues::Decimal(values, scale) => write::decimal(values[row], *scale, out),
        ViewValues::Date(values) => write_date(values[row].into(), out),
        ViewValues::Time32(values, unit) => write_clock(values[row].into(), *unit, false, out),
        ViewValues::Time64(values, unit) => write_clock(values[row], *unit, false, out),
        ViewValues::Timestamp(values, unit, has_zone) => {
            let units_per_day = per_second(*unit) * 86_400;
            write_date(values[row].div_euclid(units_per_day), out);
            out.push(b'T');
            write_clock(values[row].rem_euclid(units_per_day), *unit, *has_zone, out);
            if *has_zone {
                out.push(b'Z');
            }
        }
        ViewValues::Text(values) => out.extend_from_slice(values.value(row).as_bytes()),
        ViewValues::Bytes(values) => {
            let signed = values.value(row).iter().map(|&byte| i64::from(byte as i8));
            write_list(b"[", b"]", signed, out, write::integer);
        }
        ViewValues::List(offsets, elements) => {
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            write_list(b"[", b"]", range, out, |index, out| {
                write_value(elements, index, out)
            });
        }
        ViewValues::Map(offsets, entries) => {
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            write_list(b"{", b"}", range, out, |index, out| {
                write_value(&entries[0], index, out);
                out.push(b'=');
                write_value(&entries[1], index, out);
            });
        }
        ViewValues::Struct(children) => {
            let children = children.iter();
            write_list(b"+I[", b"]", children, out, |(_, child), out| {
                write_value(child, row, out)
            });
        }
    }
}

/// A time as Java's `LocalTime` prints it: seconds only if they or their fraction are not zero (or
/// `seconds_always`, as `Instant` does), the fraction in groups of three digits.
fn write_clock(since_midnight: i64, unit: TimeUnit, seconds_always: bool, out: &mut Vec<u8>) {
    let nanos = since_midnight * (1_000_000_000 / per_second(unit));
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let mut text = format!("{:02}:{:02}", seconds / 3_600, seconds / 60 % 60);
    if seconds_always || seconds % 60 > 0 || fraction > 0 {
        text += &format!(":{:02}", seconds % 60);
    }
    if fraction > 0 {
        let digits = format!("{fraction:09}");
        let kept = match fraction {
            _ if fraction % 1_000_000 == 0 => 3,
            _ if fraction % 1_000 == 0 => 6,
            _ => 9,
        };
        text += &format!(".{}", &digits[..kept]);
    }
    out.extend_from_slice(text.as_bytes());
}

/// A float as Java prints it, from its shortest digits in the form `d.dddde±x`.
fn write_real(number: f64, scientific: &str, out: &mut Vec<u8>) {
    if let Some(word) = write::not_finite(number) {
        return out.extend_from_slice(word);
    }
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        let (mantissa, exponent) = scientific
            .split_once('e')
            .expect("invariant: scientific form has an e");
        let exponent: i32 = exponent.parse().expect("invariant: an exponent is an integer");
        return write_positional(mantissa, exponent, out);
    }
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("invariant: scientific form has an e");
    out.extend_from_slice(mantissa.as_bytes());
    if !mantissa.contains('.') {
        out.extend_from_slice(b".0");
    }
    out.push(b'E');
    out.extend_from_slice(exponent.as_bytes());
}

/// `-1.25` with exponent 1 is `-12.5`.
fn write_positional(mantissa: &str, exponent: i32, out: &mut Vec<u8>) {
    let unsigned = mantissa.strip_prefix('-');
    if unsigned.is_some() {
        out.push(b'-');
    }
    let digits: String = unsigned
        .unwrap_or(mantissa)
        .chars()
        .filter(|letter| *letter != '.')
        .collect();
    if exponent < 0 {
        let zeros = "0".repeat((-exponent - 1) as usize);
        out.extend_from_slice(format!("0.{zeros}{digits}").as_bytes());
        return;
    }
    let whole = exponent as usize + 1;
    let padded = format!("{digits:0<whole$}");
    let (before, after) = padded.split_at(whole);
    let after = if after.is_empty() { "0" } else { after };
    out.extend_from_slice(format!("{before}.{after}").as_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, Date32Array, Float32Array, Float64Array, Int8Array, Int64Array, RecordBatch,
        StringArray, Time32MillisecondArray, TimestampMillisecondArray,
    };

    use super::*;
    use crate::batch::Op;

    fn printed(columns: Vec<ArrayRef>, ops: Option<Vec<Op>>) -> Vec<String> {
        let names = ["a", "b", "c", "d"];
        let rows = RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap();
        let ops = ops.map(|ops| Int8Array::from_iter_values(ops.into_iter().map(Op::code)));
        let mut out = Vec::new();
        ChangelogTextEncoder::new(None)
            .encode(&Batch::new(rows, ops, 0), &mut out)
            .unwrap();
        String::from_utf8(out)
            .unwrap()
            .lines()
            .map(str::to_string)
            .collect()
    }

    #[test]
    fn rows_look_as_flink_prints_them() {
        let lines = printed(
            vec![
                Arc::new(Int64Array::from(vec![Some(1), None])),
                Arc::new(StringArray::from(vec!["hello", "x"])),
                Arc::new(TimestampMillisecondArray::from(vec![
                    1_602_288_000_000,
                    1_602_288_001_500,
                ])),
            ],
            Some(vec![Op::UpdateBefore, Op::Delete]),
        );
        assert_eq!(
            lines,
            [
                "-U[1, hello, 2020-10-10T00:00]",
                "-D[null, x, 2020-10-10T00:00:01.500]"
            ]
        );
    }

    #[test]
    fn values_look_as_java_prints_them() {
        let reals = [
            0.0,
            1.0,
            -12.5,
            1e7,
            1.5e-4,
            0.001,
            123456.789,
            9_999_999.0,
            f64::NAN,
            f64::INFINITY,
        ];
        let lines = printed(vec![Arc::new(Float64Array::from(reals.to_vec()))], None);
        let texts = [
            "0.0",
            "1.0",
            "-12.5",
            "1.0E7",
            "1.5E-4",
            "0.001",
            "123456.789",
            "9999999.0",
            "NaN",
            "Infinity",
        ];
        assert_eq!(lines, texts.map(|text| format!("+I[{text}]")));
        let lines = printed(
            vec![
                Arc::new(Float32Array::from(vec![0.1f32])),
                Arc::new(BinaryArray::from_vec(vec![b"\x01\xff"])),
                Arc::new(Date32Array::from(vec![0])),
                Arc::new(Time32MillisecondArray::from(vec![3_600_000])),
            ],
            None,
        );
        assert_eq!(lines, ["+I[0.1, [1, -1], 1970-01-01, 01:00]"]);
        let instant = TimestampMillisecondArray::from(vec![0]).with_timezone("UTC");
        assert_eq!(
            printed(vec![Arc::new(instant)], None),
            ["+I[1970-01-01T00:00:00Z]"]
        );
    }
}
