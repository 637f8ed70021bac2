//! The marker of a temporal join: `$as_of(left time, column of the versioned table)`. It is taken out of the
//! join's condition when the stream plan is built, and never evaluated.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion_common::exec_err;
use datafusion_expr::{ScalarUDF, Signature, Volatility};

use crate::functions::native::NativeFunction;

/// Its name, which no query can write.
pub(crate) const AS_OF: &str = "$as_of";

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::any(2, Volatility::Volatile);
        let never = |_: &_| exec_err!("FOR SYSTEM_TIME AS OF stands where no temporal join is");
        NativeFunction::new(AS_OF, signature, |_| Ok(DataType::Boolean), never).shared()
    });
    vec![FUNCTION.clone()]
}
