//! URL_ENCODE, URL_DECODE and UNHEX: text to its encoded form and back, as Flink has them.
//!
//! **Invariant.** What does not decode is NULL, never an error.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, TextArgument};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |_: &[DataType]| Ok(DataType::Utf8);
    vec![
        NativeFunction::coercing("url_encode", one_text, text, |args| recode(args, url_encoded)).shared(),
        NativeFunction::coercing("url_decode", one_text, text, |args| recode(args, url_decoded)).shared(),
        NativeFunction::coercing("unhex", one_text, |_| Ok(DataType::Binary), unhex).shared(),
    ]
}

fn one_text(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        1 => Ok(vec![DataType::Utf8]),
        _ => plan_err!("the function needs one STRING"),
    }
}

fn recode(args: &ScalarFunctionArgs, recoded: fn(&str) -> Option<String>) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let mut found = StringBuilder::with_capacity(args.number_rows, texts.bytes(args.number_rows));
    for row in 0..args.number_rows {
        found.append_option(texts.get(row).and_then(recoded));
    }
    Ok(Arc::new(found.finish()))
}

/// `application/x-www-form-urlencoded` over UTF-8, as Java's URLEncoder writes it.
fn url_encoded(text: &str) -> Option<String> {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => write!(encoded, "%{byte:02X}").expect("invariant: writing to a String succeeds"),
        }
    }
    Some(encoded)
}

fn url_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex_pair(bytes.next()?, bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

fn unhex(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let mut found = BinaryBuilder::with_capacity(args.number_rows, texts.bytes(args.number_rows) / 2);
    for row in 0..args.number_rows {
        found.append_option(texts.get(row).and_then(unhexed));
    }
    Ok(Arc::new(found.finish()))
}

/// The bytes of a hexadecimal number. Of an odd count of digits the first is dropped and leaves a zero byte,
/// which is Flink's and Hive's rule.
fn unhexed(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let (odd, pairs) = digits.split_at(digits.len() % 2);
    let odd_is_digit = odd.iter().all(u8::is_ascii_hexdigit);
    let mut bytes = vec![0; odd.len()];
    for pair in pairs.chunks_exact(2) {
        bytes.push(hex_pair(pair[0], pair[1])?);
    }
    odd_is_digit.then_some(bytes)
}
