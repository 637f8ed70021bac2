//! Changelogs as NDJSON: what each record says of rows read before.
//!
//! `changelog-json` is the row with its `op` beside the columns (`{"op":"-U","symbol":"ADA",…}`), as this
//! project writes changelogs itself; `debezium-json` is Debezium's envelope (`before`, `after`, `op` as c, r,
//! u or d). Either is decoded by the NDJSON decoder and then unfolded.
//!
//! **Invariant.** The last column of what a decoder gives is the op ([`op_field`]); an update that carries its
//! old value is two adjacent rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use super::ndjson::{NdjsonDecoder, NdjsonOptions};
use super::{Decoded, Decoder, FormatError, Malformed};
use crate::batch::Op;

/// The column that says what a row says: `Op::code`.
pub fn op_field() -> FieldRef {
    Arc::new(Field::new("$op", DataType::Int8, false))
}

/// How records say what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Columns and `op` side by side.
    Flat,
    /// `before`, `after` and `op`.
    Debezium,
}

/// Decodes a changelog.
pub struct ChangelogDecoder {
    envelope: Envelope,
    inner: NdjsonDecoder,
    output: SchemaRef,
}

impl ChangelogDecoder {
    /// A decoder of the columns `wanted`, the last of which is [`op_field`].
    ///
    /// # Errors
    /// A column of a type that NDJSON cannot hold.
    pub fn new(
        wanted: SchemaRef,
        envelope: Envelope,
        options: NdjsonOptions,
    ) -> Result<ChangelogDecoder, FormatError> {
        let count = wanted.fields().len() - 1;
        assert_eq!(
            wanted.field(count).name(),
            op_field().name(),
            "invariant: the op stands last"
        );
        let columns: Vec<FieldRef> = wanted.fields()[..count].to_vec();
        let op = Arc::new(Field::new("op", DataType::Utf8, true));
        let fields: Vec<FieldRef> = match envelope {
            Envelope::Flat => columns.into_iter().chain([op]).collect(),
            Envelope::Debezium => {
                let nullable = columns
                    .iter()
                    .map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
                let row = DataType::Struct(Fields::from(nullable.collect::<Vec<FieldRef>>()));
                let image = |name: &str| Arc::new(Field::new(name, row.clone(), true));
                vec![image("before"), image("after"), op]
            }
        };
        Ok(ChangelogDecoder {
            envelope,
            inner: NdjsonDecoder::new(Arc::new(Schema::new(fields)), options)?,
            output: wanted,
        })
    }

    /// The rows of decoded records, or the first record that says nothing known, and why.
    fn unfold(&self, records: &RecordBatch) -> Result<RecordBatch, (usize, String)> {
        let ops = records.column(records.num_columns() - 1).as_string::<i32>();
        match self.envelope {
            Envelope::Flat => self.unfold_flat(records, ops),
            Envelope::Debezium => self.unfold_debezium(records, ops),
        }
    }

    fn unfold_flat(&self, records: &RecordBatch, ops: &StringArray) -> Result<RecordBatch, (usize, String)> {
        let mut codes = Vec::with_capacity(ops.len());
        for (row, op) in ops.iter().enumerate() {
            codes.push(match op {
                None | Some("+I" | "I") => Op::Insert,
                Some("-U" | "UB") => Op::UpdateBefore,
                Some("+U" | "UA") => Op::UpdateAfter,
                Some("-D" | "D") => Op::Delete,
                Some(other) => return Err((row, format!("`op` is \"{other}\", not one of +I, -U, +U, -D"))),
            });
        }
        let columns = records.columns()[..records.num_columns() - 1].to_vec();
        Ok(self.with_ops(columns, &codes))
    }

    fn unfold_debezium(
        &self,
        records: &RecordBatch,
        ops: &StringArray,
    ) -> Result<RecordBatch, (usize, String)> {
        const BEFORE: usize = 0;
        const AFTER: usize = 1;
        let images = [
            records.column(BEFORE).as_struct(),
            records.column(AFTER).as_struct(),
        ];
        let (mut codes, mut places) = (Vec::new(), Vec::new());
        for (row, op) in ops.iter().enumerate() {
            let mut say = |op: Op, image: usize| {
                if images[image].is_null(row) {
                    let name = ["before", "after"][image];
                    return Err((
                        row,
                        format!("a record that says {} has no `{name}`", op.short_name()),
                    ));
                }
                codes.push(op);
                places.push((image, row));
                Ok(())
            };
            match op {
                Some("c" | "r") => say(Op::Insert, AFTER)?,
                Some("u") => {
                    say(Op::UpdateBefore, BEFORE)?;
                    say(Op::UpdateAfter, AFTER)?;
                }
                Some("d") => say(Op::Delete, BEFORE)?,
                Some(other) => return Err((row, format!("`op` is \"{other}\", not one of c, r, u, d"))),
                None => return Err((row, "a record of debezium-json needs `op`".to_string())),
            }
        }
        let columns = (0..self.output.fields().len() - 1).map(|column| -> ArrayRef {
            let parts: Vec<&dyn Array> = images.iter().map(|image| image.column(column).as_ref()).collect();
            interleave(&parts, &places).expect("invariant: both images have the same types")
        });
        let columns = columns.collect();
        Ok(self.with_ops(columns, &codes))
    }

    fn with_ops(&self, mut columns: Vec<ArrayRef>, ops: &[Op]) -> RecordBatch {
        let codes: Int8Array = ops.iter().map(|op| Some(op.code())).collect();
        columns.push(Arc::new(codes));
        let options = RecordBatchOptions::new().with_row_count(Some(ops.len()));
        RecordBatch::try_new_with_options(self.output.clone(), columns, &options)
            .expect("invariant: the columns were decoded with the wanted types")
    }

    /// Decodes one record at a time up to one that says nothing known, which is malformed.
    fn decode_singly(&mut self, bytes: &[u8], records_max: usize) -> Decoded {
        let mut parts: Vec<RecordBatch> = Vec::new();
        let (mut consumed, mut malformed, mut rows_before) = (0, Vec::new(), 0);
        for _ in 0..records_max {
            if consumed == bytes.len() {
                break;
            }
            let record = self.inner.decode(&bytes[consumed..], 1);
            for mut found in record.malformed {
                found.start += consumed;
                found.end += consumed;
                found.rows_before = rows_before;
                malformed.push(found);
            }
            match self.unfold(&record.rows) {
                Ok(rows) => {
                    rows_before += rows.num_rows();
                    parts.push(rows);
                }
                Err((_, reason)) => malformed.push(Malformed {
                    start: consumed,
                    end: consumed + bytes[consumed..consumed + record.consumed].trim_ascii_end().len(),
                    rows_before,
                    reason,
                }),
            }
            consumed += record.consumed;
        }
        Decoded {
            rows: arrow::compute::concat_batches(&self.output, &parts)
                .expect("invariant: all parts have one schema"),
            consumed,
            malformed,
        }
    }
}

impl Decoder for ChangelogDecoder {
    fn start_file(&mut self, bytes: &[u8]) -> Result<usize, FormatError> {
        self.inner.start_file(bytes)
    }

    fn decode(&mut self, bytes: &[u8], records_max: usize) -> Decoded {
        let decoded = self.inner.decode(bytes, records_max);
        match self.unfold(&decoded.rows) {
            Ok(rows) => {
                let widened = rows.num_rows() != decoded.rows.num_rows();
                if widened && !decoded.malformed.is_empty() {
                    // How many rows stand before a malformed record is told by going through them.
                    return self.decode_singly(bytes, records_max);
                }
                Decoded { rows, ..decoded }
            }
            Err(_) => self.decode_singly(bytes, records_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Int64Type;

    /// Op and value of each row, place and text of each fault.
    type Found = (Vec<(&'static str, Option<i64>)>, Vec<(usize, String)>);

    fn decode(envelope: Envelope, text: &str) -> Found {
        let wanted = Schema::new(vec![Arc::new(Field::new("v", DataType::Int64, true)), op_field()]);
        let mut decoder =
            ChangelogDecoder::new(Arc::new(wanted), envelope, NdjsonOptions::default()).unwrap();
        let decoded = decoder.decode(text.as_bytes(), 100);
        assert_eq!(decoded.consumed, text.len());
        let values = decoded.rows.column(0).as_primitive::<Int64Type>();
        let ops = decoded
            .rows
            .column(1)
            .as_primitive::<arrow::datatypes::Int8Type>();
        let rows = values
            .iter()
            .zip(ops.values().iter().map(|&op| Op::from_code(op).short_name()));
        let rows = rows.map(|(value, op)| (op, value)).collect();
        let malformed = decoded.malformed.into_iter();
        (
            rows,
            malformed
                .map(|malformed| (malformed.rows_before, malformed.reason))
                .collect(),
        )
    }

    #[test]
    fn a_flat_record_says_its_op() {
        let (rows, malformed) = decode(
            Envelope::Flat,
            "{\"op\":\"+I\",\"v\":1}\n{\"v\":2,\"op\":\"-U\"}\n{\"op\":\"+U\",\"v\":3}\n{\"v\":4}\n",
        );
        assert_eq!(
            rows,
            [("+I", Some(1)), ("-U", Some(2)), ("+U", Some(3)), ("+I", Some(4))]
        );
        assert_eq!(malformed, []);
    }

    #[test]
    fn a_debezium_update_is_two_rows() {
        let (rows, malformed) = decode(
            Envelope::Debezium,
            "{\"before\":null,\"after\":{\"v\":1},\"op\":\"c\"}\n\
             {\"before\":{\"v\":1},\"after\":{\"v\":2},\"op\":\"u\"}\n\
             {\"before\":{\"v\":2},\"after\":null,\"op\":\"d\"}\n",
        );
        assert_eq!(
            rows,
            [("+I", Some(1)), ("-U", Some(1)), ("+U", Some(2)), ("-D", Some(2))]
        );
        assert_eq!(malformed, []);
    }

    #[test]
    fn a_record_that_says_nothing_known_is_malformed_alone() {
        let (rows, malformed) = decode(
            Envelope::Debezium,
            "{\"before\":{\"v\":1},\"after\":{\"v\":2},\"op\":\"u\"}\n\
             {\"after\":{\"v\":2},\"op\":\"u\"}\nnonsense\n{\"after\":{\"v\":5},\"op\":\"r\"}\n",
        );
        assert_eq!(rows, [("-U", Some(1)), ("+U", Some(2)), ("+I", Some(5))]);
        assert_eq!(malformed.len(), 2);
        assert_eq!(
            malformed[0],
            (2, "a record that says -U has no `before`".to_string())
        );
        assert_eq!(malformed[1].0, 2);
    }
}
