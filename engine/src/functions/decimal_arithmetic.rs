//! `/` of DECIMALs, and `*` where the product has more than 38 digits, in Flink's types.
//!
//! A quotient has at least six digits behind the point, and as many as the divisor's precision may bring; where a
//! result would need more than 38 digits, those behind the point give way down to six. Arrow's own
//! division keeps four more digits than the dividend has, and its product refuses what is too wide.
//!
//! **Invariant.** Results are exact, rounded half up once; what does not fit its type is NULL, as in Flink.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, i256};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, column};

/// The scale that does not give way to digits before the point.
const SCALE_KEPT: i32 = 6;

/// The functions of this family; made by the planner from operators.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        NativeFunction::coercing(DIVIDE, two_decimals, quotient_type, divide).shared(),
        NativeFunction::coercing(MULTIPLY, two_decimals, product_type, multiply).shared(),
    ]
}

/// The function behind `/`.
pub(crate) const DIVIDE: &str = "decimal_divide";
/// The function behind `*`.
pub(crate) const MULTIPLY: &str = "decimal_multiply";

/// The function for `left / right`, if Arrow's operator has another type or meaning.
pub(crate) fn division(left: &DataType, right: &DataType) -> Option<&'static str> {
    are_decimal(left, right).then_some(DIVIDE)
}

/// The function for `left * right`, if Arrow's operator cannot hold the product.
pub(crate) fn multiplication(left: &DataType, right: &DataType) -> Option<&'static str> {
    let ((precision, _), (other, _)) = (digits(left)?, digits(right)?);
    let is_wide = precision + other + 1 > i32::from(DECIMAL128_MAX_PRECISION);
    (is_wide && are_decimal(left, right)).then_some(MULTIPLY)
}

/// Two numbers without a binary point, one of them a DECIMAL.
fn are_decimal(left: &DataType, right: &DataType) -> bool {
    let is_decimal = |data_type: &DataType| matches!(data_type, DataType::Decimal128(..));
    digits(left).is_some() && digits(right).is_some() && (is_decimal(left) || is_decimal(right))
}

/// (Precision, scale) of a DECIMAL or of the DECIMAL that holds an integer.
fn digits(data_type: &DataType) -> Option<(i32, i32)> {
    Some(match data_type {
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::Decimal128(precision, scale) => (i32::from(*precision), i32::from(*scale)),
        _ => return None,
    })
}

/// The DECIMAL of that precision and scale; the scale gives way where 38 digits are not enough.
fn decimal(precision: i32, scale: i32) -> DataType {
    let most = i32::from(DECIMAL128_MAX_PRECISION);
    if precision <= most {
        return DataType::Decimal128(precision as u8, scale as i8);
    }
    let scale = scale.min(SCALE_KEPT).max(most - (precision - scale));
    DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale as i8)
}

fn two_decimals(types: &[DataType]) -> Result<Vec<DataType>> {
    let as_decimal = |data_type: &DataType| {
        digits(data_type).map(|(precision, scale)| DataType::Decimal128(precision as u8, scale as i8))
    };
    match types {
        [left, right] => match as_decimal(left).zip(as_decimal(right)) {
            Some((left, right)) => Ok(vec![left, right]),
            None => plan_err!("the operands must be DECIMALs or whole numbers"),
        },
        _ => plan_err!("the operator needs two operands"),
    }
}

/// The operands' (precision, scale).
fn operands(types: &[DataType]) -> Result<[(i32, i32); 2]> {
    match types {
        [left, right] => match digits(left).zip(digits(right)) {
            Some((left, right)) => Ok([left, right]),
            None => plan_err!("the operands must be DECIMALs or whole numbers"),
        },
        _ => plan_err!("the operator needs two operands"),
    }
}

fn quotient_type(types: &[DataType]) -> Result<DataType> {
    let [(precision, scale), (divisor_precision, divisor_scale)] = operands(types)?;
    let quotient_scale = SCALE_KEPT.max(scale + divisor_precision + 1);
    Ok(decimal(
        precision - scale + divisor_scale + quotient_scale,
        quotient_scale,
    ))
}

fn product_type(types: &[DataType]) -> Result<DataType> {
    let [(precision, scale), (other_precision, other_scale)] = operands(types)?;
    Ok(decimal(precision + other_precision + 1, scale + other_scale))
}

fn divide(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (scales, result) = (scales(args), quotient_type(&types(args))?);
    // The dividend grows by so many digits that the quotient of the bare integers has the result's scale.
    let growth = i32::from(scale_of(&result)) + scales[1] - scales[0];
    assert!(
        growth >= 0,
        "invariant: a quotient has as many digits as its dividend"
    );
    let factor = i256::from_i128(10).checked_pow(growth as u32);
    each_pair(args, &result, |dividend, divisor| {
        if divisor == i256::ZERO {
            return exec_err!("division by zero");
        }
        let grown = factor.and_then(|factor| dividend.checked_mul(factor));
        Ok(grown.map(|grown| rounded_quotient(grown, divisor)))
    })
}

fn multiply(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (scales, result) = (scales(args), product_type(&types(args))?);
    let cut = scales[0] + scales[1] - i32::from(scale_of(&result));
    assert!(cut >= 0, "invariant: a product's scale only gives way");
    let divisor = i256::from_i128(10).wrapping_pow(cut as u32);
    each_pair(args, &result, |left, right| {
        Ok(Some(rounded_quotient(left.wrapping_mul(right), divisor)))
    })
}

fn types(args: &ScalarFunctionArgs) -> Vec<DataType> {
    args.args.iter().map(|argument| argument.data_type()).collect()
}

fn scales(args: &ScalarFunctionArgs) -> [i32; 2] {
    [0, 1].map(|index| i32::from(scale_of(&args.args[index].data_type())))
}

fn scale_of(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal128(_, scale) => *scale,
        other => unreachable!("invariant: {other} was coerced to a DECIMAL"),
    }
}

/// Computes each pair that has no NULL; NULL too for what has more digits than `result`.
fn each_pair(
    args: &ScalarFunctionArgs,
    result: &DataType,
    compute: impl Fn(i256, i256) -> Result<Option<i256>>,
) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, _) = result else {
        unreachable!("invariant: the result is a DECIMAL");
    };
    let limit = 10_i128.pow(u32::from(*precision));
    let (left, right) = (column(args, 0)?, column(args, 1)?);
    let (left, right) = (
        left.as_primitive::<Decimal128Type>(),
        right.as_primitive::<Decimal128Type>(),
    );
    let mut results = Vec::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        if left.is_null(row) || right.is_null(row) {
            results.push(None);
            continue;
        }
        let computed = compute(
            i256::from_i128(left.value(row)),
            i256::from_i128(right.value(row)),
        )?;
        let fitting = computed.and_then(i256::to_i128);
        results.push(fitting.filter(|value| (-limit < *value) && (*value < limit)));
    }
    Ok(Arc::new(
        Decimal128Array::from(results).with_data_type(result.clone()),
    ))
}

/// `dividend / divisor`, half rounded away from zero.
fn rounded_quotient(dividend: i256, divisor: i256) -> i256 {
    let (quotient, rest) = (dividend.wrapping_div(divisor), dividend.wrapping_rem(divisor));
    let twice = rest.wrapping_abs().wrapping_add(rest.wrapping_abs());
    if twice < divisor.wrapping_abs() {
        return quotient;
    }
    match (dividend < i256::ZERO) == (divisor < i256::ZERO) {
        true => quotient.wrapping_add(i256::ONE),
        false => quotient.wrapping_sub(i256::ONE),
    }
}
