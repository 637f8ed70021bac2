//! ROW_NUMBER, RANK and DENSE_RANK with Flink's result type, BIGINT. The stream plan turns them into a Top-N
//! or a count; they are never evaluated as window functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, exec_err};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{LimitEffect, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use datafusion_physical_expr::PhysicalExpr;

/// All three.
pub(crate) fn functions() -> Vec<Arc<WindowUDF>> {
    let function = |name| {
        Arc::new(WindowUDF::new_from_impl(Rank {
            name,
            signature: Signature::nullary(Volatility::Immutable),
        }))
    };
    ["row_number", "rank", "dense_rank"].map(function).into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rank {
    name: &'static str,
    signature: Signature,
}

impl WindowUDFImpl for Rank {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Int64, false)))
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        exec_err!("{} is computed by the Top-N operator", self.name)
    }

    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::Unknown
    }
}
