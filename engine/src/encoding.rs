//! How a column of texts may lie in a batch: as texts, or as codes of a dictionary of them.
//!
//! A source may hand over as codes what `SourceSpec::key_texts` names: columns that nothing but a grouping key
//! reads. What a plan says of a column's type stays VARCHAR; the schema of a batch says how its columns lie.
//!
//! **Invariant.** Codes never leave the shard that read them: an aggregation makes texts of them again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DictionaryArray, RecordBatch, RecordBatchOptions};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int32Type, Schema, SchemaRef};
use arrow::error::ArrowError;

/// The type of a column of codes.
pub fn codes_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// Whether `column` lies as codes of a dictionary.
pub fn is_encoded(column: &ArrayRef) -> bool {
    matches!(column.data_type(), DataType::Dictionary(_, _))
}

/// The codes of a column, and their dictionary; `None` if it is no dictionary of texts.
pub(crate) fn codes_of(column: &ArrayRef) -> Option<&DictionaryArray<Int32Type>> {
    let codes = column.as_any().downcast_ref::<DictionaryArray<Int32Type>>()?;
    (codes.values().data_type() == &DataType::Utf8).then_some(codes)
}

/// The column as values, whether it lies as codes or not.
///
/// # Errors
/// A code that its dictionary does not have.
pub fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match codes_of(column) {
        Some(codes) => take(codes.values(), codes.keys(), None),
        None => Ok(column.clone()),
    }
}

/// Columns as rows of `schema`, except that texts may lie as codes.
///
/// # Errors
/// A column of another type or length.
pub fn encoded_rows(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    if !columns.iter().any(is_encoded) {
        return RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    }
    let fields = schema.fields().iter().zip(&columns).map(|(field, column)| {
        let is_text = field.data_type() == &DataType::Utf8;
        match is_text && is_encoded(column) {
            true => Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone())),
            false => field.clone(),
        }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn codes_are_texts_again_and_rows_say_how_their_columns_lie() {
        let texts = [Some("a"), None, Some("b"), Some("a")];
        let codes: DictionaryArray<Int32Type> = texts.into_iter().collect();
        let codes: ArrayRef = Arc::new(codes);
        assert_eq!(
            plain(&codes).unwrap().as_string::<i32>(),
            &StringArray::from(texts.to_vec())
        );
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
        let schema = Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
        ]));
        let rows = encoded_rows(&schema, vec![codes.clone(), numbers.clone()], 4).unwrap();
        assert_eq!(rows.schema().field(0).data_type(), &codes_type());
        assert!(encoded_rows(&schema, vec![numbers, codes], 4).is_err());
    }
}
