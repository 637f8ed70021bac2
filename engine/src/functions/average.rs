//! AVG with Flink's types: over integers an integer (truncated), over DECIMAL(p, s) a
//! DECIMAL(38, max(6, s)), over floats DOUBLE.
//!
//! Only the type is defined here: the operators compute AVG in a layout of their own.

use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

/// `AVG(x)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Average {
    signature: Signature,
}

impl Average {
    pub(crate) fn new() -> Average {
        Average {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        "avg"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType> {
        match &argument_types[0] {
            integer if integer.is_signed_integer() => Ok(integer.clone()),
            DataType::Decimal128(_, scale) => Ok(DataType::Decimal128(38, (*scale).max(6))),
            DataType::Float32 | DataType::Float64 => Ok(DataType::Float64),
            other => plan_err!("AVG needs a number, and its argument is {other}"),
        }
    }

    fn coerce_types(&self, argument_types: &[DataType]) -> Result<Vec<DataType>> {
        match argument_types {
            [argument] => self.return_type(argument_types).map(|_| vec![argument.clone()]),
            _ => plan_err!("AVG has one argument"),
        }
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        unreachable!("invariant: AVG has a layout of its own for every type it accepts")
    }
}
