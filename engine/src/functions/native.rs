//! The frame that our own scalar functions stand in: a name, argument types, a result type and one
//! vectorised evaluation.
//!
//! **Invariant.** A function is what its name says: two functions are equal when their names are.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType};
use datafusion_common::{Result, ScalarValue, exec_datafusion_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The result type for argument types.
pub(crate) type ReturnType = fn(&[DataType]) -> Result<DataType>;

/// The types that arguments are cast to, given the types they have; an error refuses them.
pub(crate) type Coercion = fn(&[DataType]) -> Result<Vec<DataType>>;

/// Evaluates a batch.
pub(crate) type Evaluation = fn(&ScalarFunctionArgs) -> Result<ArrayRef>;

/// A scalar function of ours.
#[derive(Debug)]
pub(crate) struct NativeFunction {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
    return_type: ReturnType,
    coercion: Option<Coercion>,
    evaluation: Evaluation,
}

impl NativeFunction {
    /// A function whose arguments `signature` describes.
    pub(crate) fn new(
        name: &'static str,
        signature: Signature,
        return_type: ReturnType,
        evaluation: Evaluation,
    ) -> NativeFunction {
        NativeFunction {
            name,
            aliases: Vec::new(),
            signature,
            return_type,
            coercion: None,
            evaluation,
        }
    }

    /// A function that says itself which types its arguments are cast to.
    pub(crate) fn coercing(
        name: &'static str,
        coercion: Coercion,
        return_type: ReturnType,
        evaluation: Evaluation,
    ) -> NativeFunction {
        let signature = Signature::user_defined(Volatility::Immutable);
        NativeFunction {
            coercion: Some(coercion),
            ..NativeFunction::new(name, signature, return_type, evaluation)
        }
    }

    /// The same function under further names.
    pub(crate) fn with_aliases(mut self, aliases: &[&str]) -> NativeFunction {
        self.aliases = aliases.iter().map(ToString::to_string).collect();
        self
    }

    /// The function as the planner holds it.
    pub(crate) fn shared(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }
}

impl PartialEq for NativeFunction {
    fn eq(&self, other: &NativeFunction) -> bool {
        self.name == other.name
    }
}

impl Eq for NativeFunction {}

impl Hash for NativeFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for NativeFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        (self.return_type)(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match self.coercion {
            Some(coercion) => coercion(arguments),
            None => datafusion_common::internal_err!("{} has a plain signature", self.name),
        }
    }

    /// Constants are folded: with only scalar arguments one row is computed and stays a scalar.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        if !constant {
            return (self.evaluation)(&args).map(ColumnarValue::Array);
        }
        let row = (self.evaluation)(&ScalarFunctionArgs {
            number_rows: 1,
            ..args
        })?;
        ScalarValue::try_from_array(&row, 0).map(ColumnarValue::Scalar)
    }
}

/// A STRING argument: one value for all rows, or a column.
pub(crate) enum TextArgument {
    /// The same for all rows.
    Constant(Option<String>),
    /// One per row.
    Column(StringArray),
}

impl TextArgument {
    /// Argument `index`, whose type is STRING.
    pub(crate) fn of(args: &ScalarFunctionArgs, index: usize) -> Result<TextArgument> {
        match &args.args[index] {
            ColumnarValue::Scalar(value) => match value.try_as_str() {
                Some(text) => Ok(TextArgument::Constant(text.map(str::to_string))),
                None if value.is_null() => Ok(TextArgument::Constant(None)),
                None => Err(exec_datafusion_err!("argument {} must be a STRING", index + 1)),
            },
            ColumnarValue::Array(array) => match array.data_type() {
                DataType::Utf8 => Ok(TextArgument::Column(array.as_string::<i32>().clone())),
                _ => Ok(TextArgument::Column(
                    cast(array, &DataType::Utf8)?.as_string::<i32>().clone(),
                )),
            },
        }
    }

    /// About how many bytes `rows` rows hold: what a builder should make room for.
    pub(crate) fn bytes(&self, rows: usize) -> usize {
        match self {
            TextArgument::Constant(text) => text.as_ref().map_or(0, |text| text.len() * rows),
            TextArgument::Column(column) => column.value_data().len().min(rows * 1024),
        }
    }

    /// The value in `row`; `None` for NULL.
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        match self {
            TextArgument::Constant(text) => text.as_deref(),
            TextArgument::Column(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

/// Argument `index` as a column of the batch's length.
pub(crate) fn column(args: &ScalarFunctionArgs, index: usize) -> Result<ArrayRef> {
    args.args[index].to_array(args.number_rows)
}

/// Instants of any precision as microseconds since the epoch; times of day as those since midnight.
pub(crate) fn micros(instants: &ArrayRef) -> Result<PrimitiveArray<TimestampMicrosecondType>> {
    if let DataType::Time64(TimeUnit::Microsecond) = instants.data_type() {
        return Ok(instants
            .as_primitive::<Time64MicrosecondType>()
            .reinterpret_cast());
    }
    let plain = cast(instants, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    Ok(plain.as_primitive::<TimestampMicrosecondType>().clone())
}
