//! `PRINTF(format, …)`: text by a format as C and Java have it: `%[flags][width][.precision]` and one of
//! `d s S f e x X o c b n %`.
//!
//! **Invariant.** A format that is none, or that does not fit its arguments, gives NULL, as in Flink.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::util::display::array_value_to_string;
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF, Signature, Volatility};

use crate::functions::native::{NativeFunction, TextArgument, column};
use crate::limits::PRINTF_WIDTH_MAX;

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |types: &[DataType]| match types.first() {
        Some(DataType::Utf8 | DataType::Null) => Ok(DataType::Utf8),
        _ => plan_err!("PRINTF needs a format first: PRINTF('%s has %d', name, number)"),
    };
    let any = Signature::variadic_any(Volatility::Immutable);
    vec![NativeFunction::new("printf", any, text, printf).shared()]
}

/// One piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The next argument, written so.
    Argument(Conversion),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Conversion {
    left: bool,
    zeros: bool,
    plus: bool,
    space: bool,
    groups: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

fn printf(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let formats = TextArgument::of(args, 0)?;
    let columns = (1..args.args.len()).map(|index| column(args, index));
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let columns: Vec<Views> = columns.into_iter().map(Views::of).collect();
    let mut texts = StringBuilder::with_capacity(args.number_rows, args.number_rows * 16);
    let mut known: Option<(&str, Option<Vec<Piece>>)> = None;
    for row in 0..args.number_rows {
        let Some(format) = formats.get(row) else {
            texts.append_null();
            continue;
        };
        if known.as_ref().is_none_or(|(text, _)| *text != format) {
            known = Some((format, read(format)));
        }
        let pieces = known.as_ref().and_then(|(_, pieces)| pieces.as_ref());
        texts.append_option(pieces.and_then(|pieces| written(pieces, &columns, row)));
    }
    Ok(Arc::new(texts.finish()))
}

/// An argument as the types that conversions ask for; `None` where it cannot be one.
struct Views {
    values: ArrayRef,
    whole: Option<ArrayRef>,
    real: Option<ArrayRef>,
}

impl Views {
    fn of(values: ArrayRef) -> Views {
        let data_type = values.data_type().clone();
        let is_whole = data_type.is_integer() || matches!(data_type, DataType::Decimal128(_, 0));
        let is_number = data_type.is_numeric();
        let as_type = |wanted: &DataType| cast_with_options(&values, wanted, &CastOptions::default()).ok();
        Views {
            whole: is_whole.then(|| as_type(&DataType::Int64)).flatten(),
            real: is_number.then(|| as_type(&DataType::Float64)).flatten(),
            values,
        }
    }
}

/// The pieces of a format; `None` if it is none.
fn read(format: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let mut conversion = Conversion::default();
        while let Some(flag) = letters.next_if(|letter| "-0+ ,".contains(*letter)) {
            match flag {
                '-' => conversion.left = true,
                '0' => conversion.zeros = true,
                '+' => conversion.plus = true,
                ' ' => conversion.space = true,
                _ => conversion.groups = true,
            }
        }
        conversion.width = number(&mut letters)?.unwrap_or(0);
        if letters.next_if_eq(&'.').is_some() {
            conversion.precision = Some(number(&mut letters)??);
        }
        conversion.kind = letters.next()?;
        match conversion.kind {
            '%' => text.push('%'),
            'n' => text.push('\n'),
            'd' | 's' | 'S' | 'f' | 'e' | 'x' | 'X' | 'o' | 'c' | 'b' => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Argument(conversion));
            }
            _ => return None,
        }
    }
    pieces.push(Piece::Text(text));
    Some(pieces)
}

/// The number that is next: the outer `None` for one that is too large.
fn number(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Option<usize>> {
    let mut found: Option<usize> = None;
    while let Some(digit) = letters.next_if(char::is_ascii_digit) {
        let value = found.unwrap_or(0) * 10 + digit.to_digit(10)? as usize;
        if value > PRINTF_WIDTH_MAX {
            return None;
        }
        found = Some(value);
    }
    Some(found)
}

fn written(pieces: &[Piece], arguments: &[Views], row: usize) -> Option<String> {
    let mut text = String::new();
    let mut next = arguments.iter();
    for piece in pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Argument(conversion) => text.push_str(&conversion.write(next.next()?, row)?),
        }
    }
    Some(text)
}

impl Conversion {
    /// The argument's value in `row`, padded; `None` if the conversion is not for its type.
    fn write(&self, argument: &Views, row: usize) -> Option<String> {
        let values = &argument.values;
        if values.is_null(row) || *values.data_type() == DataType::Null {
            let nothing = if self.kind == 'b' { "false" } else { "null" };
            return Some(self.padded("", nothing.to_string(), false));
        }
        let whole = || Some(argument.whole.as_ref()?.as_primitive::<Int64Type>().value(row));
        let real = || Some(argument.real.as_ref()?.as_primitive::<Float64Type>().value(row));
        match self.kind {
            'd' => {
                let value = whole()?;
                let digits = value.unsigned_abs().to_string();
                Some(self.padded(self.sign(value < 0), self.grouped(digits), true))
            }
            'f' => {
                let value = real()?;
                let digits = format!("{:.*}", self.precision.unwrap_or(6), value.abs());
                Some(self.padded(
                    self.sign(value.is_sign_negative()),
                    self.grouped(digits),
                    value.is_finite(),
                ))
            }
            'e' => {
                let value = real()?;
                let digits = scientific(value.abs(), self.precision.unwrap_or(6));
                Some(self.padded(self.sign(value.is_sign_negative()), digits, value.is_finite()))
            }
            'x' => Some(self.padded("", format!("{:x}", whole()?), true)),
            'X' => Some(self.padded("", format!("{:X}", whole()?), true)),
            'o' => Some(self.padded("", format!("{:o}", whole()?), true)),
            'c' => {
                let letter = match values.data_type() {
                    DataType::Utf8 => one_letter(values.as_string::<i32>().value(row))?,
                    _ => char::from_u32(u32::try_from(whole()?).ok()?)?,
                };
                Some(self.padded("", letter.to_string(), false))
            }
            'b' => {
                let is_true = *values.data_type() != DataType::Boolean || values.as_boolean().value(row);
                Some(self.padded("", self.cut(is_true.to_string()), false))
            }
            _ => {
                let text = self.cut(array_value_to_string(values, row).ok()?);
                let text = if self.kind == 'S' {
                    text.to_uppercase()
                } else {
                    text
                };
                Some(self.padded("", text, false))
            }
        }
    }

    fn sign(&self, is_negative: bool) -> &'static str {
        match (is_negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        }
    }

    /// Text is cut to the precision.
    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(length) => text.chars().take(length).collect(),
            None => text,
        }
    }

    /// Thousands parted by commas, if that is asked for.
    fn grouped(&self, digits: String) -> String {
        if !self.groups {
            return digits;
        }
        let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
        let mut text = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index) % 3 == 0 {
                text.push(',');
            }
            text.push(digit);
        }
        text + rest
    }

    fn padded(&self, sign: &str, text: String, is_number: bool) -> String {
        let missing = self.width.saturating_sub(sign.len() + text.chars().count());
        match (self.left, self.zeros && is_number) {
            (true, _) => format!("{sign}{text}{}", " ".repeat(missing)),
            (false, true) => format!("{sign}{}{text}", "0".repeat(missing)),
            (false, false) => format!("{}{sign}{text}", " ".repeat(missing)),
        }
    }
}

/// `1.500000e+00`: at least two digits of exponent, as C and Java write it.
fn scientific(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

fn one_letter(text: &str) -> Option<char> {
    let mut letters = text.chars();
    let first = letters.next()?;
    letters.next().is_none().then_some(first)
}
