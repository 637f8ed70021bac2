//! `TYPEOF(x)`: the SQL name of a type, with NOT NULL where the planner knows it.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF, Signature, TypeSignature, Volatility};

use crate::formats::type_name::sql_type_name;
use crate::functions::native::NativeFunction;

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    // The second argument of Flink's asks for a name that can be read back: ours always can.
    let counts = vec![TypeSignature::Any(1), TypeSignature::Any(2)];
    let signature = Signature::one_of(counts, Volatility::Immutable);
    vec![NativeFunction::new("typeof", signature, |_| Ok(DataType::Utf8), type_of).shared()]
}

fn type_of(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let field = &args.arg_fields[0];
    let name = match (field.data_type(), field.is_nullable()) {
        (DataType::Null, _) => "NULL".to_string(),
        (data_type, true) => sql_type_name(data_type),
        (data_type, false) => format!("{} NOT NULL", sql_type_name(data_type)),
    };
    Ok(Arc::new(StringArray::from(vec![name; args.number_rows])))
}
