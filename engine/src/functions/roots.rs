//! SQRT, as Java has it: of a negative number it is NaN, where DataFusion's stops the job.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, column};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![NativeFunction::coercing("sqrt", one_number, |_| Ok(DataType::Float64), sqrt).shared()]
}

fn one_number(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [number] if number.is_numeric() || number.is_null() => Ok(vec![DataType::Float64]),
        _ => plan_err!("SQRT needs one number"),
    }
}

fn sqrt(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let numbers = column(args, 0)?;
    Ok(Arc::new(
        numbers
            .as_primitive::<Float64Type>()
            .unary::<_, Float64Type>(f64::sqrt),
    ))
}
