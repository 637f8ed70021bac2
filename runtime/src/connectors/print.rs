//! `'connector' = 'print'`: Flink's text, `+I[1, hello]`, one line a row, on standard output.

use std::io::Write;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use engine::batch::Batch;
use engine::formats::{Encoder, FormatError};

/// Writes rows as Flink's print connector does.
#[derive(Clone, Debug)]
pub struct PrintEncoder {
    prefix: String,
}

impl PrintEncoder {
    /// With `sink.print-identifier`, every line starts with it and `> `.
    pub fn new(identifier: Option<&str>) -> PrintEncoder {
        PrintEncoder {
            prefix: identifier.map(|name| format!("{name}> ")).unwrap_or_default(),
        }
    }
}

impl Encoder for PrintEncoder {
    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let options = FormatOptions::new()
            .with_null("null")
            .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.f"))
            .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));
        let formatters = batch
            .rows()
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| FormatError::new(format!("print: {error}")))?;
        for row in 0..batch.len() {
            out.extend_from_slice(self.prefix.as_bytes());
            out.extend_from_slice(batch.op(row).short_name().as_bytes());
            out.push(b'[');
            for (index, formatter) in formatters.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                write!(out, "{}", formatter.value(row))
                    .map_err(|error| FormatError::new(format!("print: {error}")))?;
            }
            out.extend_from_slice(b"]\n");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int8Array, Int64Array, RecordBatch, StringArray};
    use engine::batch::Op;

    use super::*;

    #[test]
    fn rows_look_as_flink_prints_them() {
        let rows = RecordBatch::try_from_iter([
            ("a", Arc::new(Int64Array::from(vec![1, 2])) as _),
            ("b", Arc::new(StringArray::from(vec![Some("x"), None])) as _),
        ])
        .unwrap();
        let ops = Int8Array::from(vec![Op::UpdateBefore.code(), Op::UpdateAfter.code()]);
        let mut out = Vec::new();
        let batch = Batch::changes(rows, ops, 0);
        PrintEncoder::new(Some("p")).encode(&batch, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "p> -U[1, x]\np> +U[2, null]\n");
    }
}
