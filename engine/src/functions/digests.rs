//! MD5, SHA1 and the SHA2 family as hexadecimal text, as Flink has them.
//!
//! DataFusion computes all but SHA-1, which stands here (FIPS 180-4).

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use datafusion_functions::crypto;

use crate::functions::native::{NativeFunction, TextArgument};

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |_: &[DataType]| Ok(DataType::Utf8);
    vec![
        NativeFunction::coercing("sha1", one_text, text, sha1).shared(),
        NativeFunction::coercing("sha2", text_and_length, text, sha2).shared(),
        NativeFunction::coercing("md5", one_text, text, |args| delegate(args, &crypto::md5())).shared(),
        NativeFunction::coercing("sha224", one_text, text, |args| delegate(args, &crypto::sha224())).shared(),
        NativeFunction::coercing("sha256", one_text, text, |args| delegate(args, &crypto::sha256())).shared(),
        NativeFunction::coercing("sha384", one_text, text, |args| delegate(args, &crypto::sha384())).shared(),
        NativeFunction::coercing("sha512", one_text, text, |args| delegate(args, &crypto::sha512())).shared(),
    ]
}

fn one_text(types: &[DataType]) -> Result<Vec<DataType>> {
    match types.len() {
        1 => Ok(vec![DataType::Utf8]),
        _ => plan_err!("a digest needs one STRING"),
    }
}

fn text_and_length(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [_, length] if length.is_integer() => Ok(vec![DataType::Utf8, DataType::Int64]),
        _ => plan_err!("SHA2 needs a STRING and the length of the digest: 224, 256, 384 or 512"),
    }
}

/// The SHA2 digest of a fixed length.
fn sha2(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let ColumnarValue::Scalar(ScalarValue::Int64(Some(length))) = &args.args[1] else {
        return exec_err!("SHA2 needs a fixed length of the digest: 224, 256, 384 or 512");
    };
    let function = match length {
        224 => crypto::sha224(),
        256 => crypto::sha256(),
        384 => crypto::sha384(),
        512 => crypto::sha512(),
        other => return exec_err!("a SHA2 digest has 224, 256, 384 or 512 bits, not {other}"),
    };
    let mut of_text = args.clone();
    of_text.args.truncate(1);
    of_text.arg_fields.truncate(1);
    delegate(&of_text, &function)
}

/// DataFusion's digest, its bytes in hexadecimal.
fn delegate(args: &ScalarFunctionArgs, function: &ScalarUDF) -> Result<ArrayRef> {
    let promised = function.inner().return_type(&[DataType::Utf8])?;
    let digests = function
        .invoke_with_args(ScalarFunctionArgs {
            return_field: Arc::new(Field::new("digest", promised, true)),
            ..args.clone()
        })?
        .to_array(args.number_rows)?;
    let DataType::Binary = digests.data_type() else {
        return Ok(cast(&digests, &DataType::Utf8)?);
    };
    let digests = digests.as_binary::<i32>();
    let mut text = StringBuilder::with_capacity(digests.len(), digests.len() * 64);
    for digest in digests {
        append_hex(&mut text, digest);
    }
    Ok(Arc::new(text.finish()))
}

fn append_hex(text: &mut StringBuilder, digest: Option<&[u8]>) {
    let Some(digest) = digest else {
        text.append_null();
        return;
    };
    for byte in digest {
        write!(text, "{byte:02x}").expect("invariant: writing to a builder succeeds");
    }
    text.append_value("");
}

fn sha1(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = TextArgument::of(args, 0)?;
    let mut digests = StringBuilder::with_capacity(args.number_rows, args.number_rows * 40);
    for row in 0..args.number_rows {
        let digest = texts.get(row).map(|text| sha1_of(text.as_bytes()));
        append_hex(&mut digests, digest.as_ref().map(|digest| digest.as_slice()));
    }
    Ok(Arc::new(digests.finish()))
}

fn sha1_of(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        sha1_block(&mut state, block);
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn sha1_block(state: &mut [u32; 5], block: &[u8]) {
    let mut words = [0_u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes(bytes.try_into().expect("invariant: chunks of four bytes"));
    }
    for index in 16..80 {
        let mixed = words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16];
        words[index] = mixed.rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (round, word) in words.iter().enumerate() {
        let (mix, constant) = match round / 20 {
            0 => ((b & c) | (!b & d), 0x5a82_7999_u32),
            1 => (b ^ c ^ d, 0x6ed9_eba1),
            2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let next = a
            .rotate_left(5)
            .wrapping_add(mix)
            .wrapping_add(e)
            .wrapping_add(constant)
            .wrapping_add(*word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (word, added) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(added);
    }
}
