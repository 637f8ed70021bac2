//! The text of JSON strings: escapes resolved.

use crate::formats::fault::{Fault, FaultKind};

/// Appends the text of a string's inside, which stands at offset `at` of its record and whose
/// escapes are known to be well-formed.
///
/// # Errors
/// Half of a surrogate pair, which no text can hold.
pub(in crate::formats) fn unescape(inside: &[u8], at: usize, out: &mut Vec<u8>) -> Result<(), Box<Fault>> {
    let mut rest = inside;
    while let Some(place) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..place]);
        let escape = &rest[place..];
        let offset = at + inside.len() - escape.len();
        let used = match escape[1] {
            b'n' => plain(b'\n', out),
            b't' => plain(b'\t', out),
            b'r' => plain(b'\r', out),
            b'b' => plain(0x08, out),
            b'f' => plain(0x0c, out),
            b'u' => unicode(escape, out).ok_or_else(|| Fault::at(FaultKind::BadEscape, offset))?,
            letter => plain(letter, out),
        };
        rest = &escape[used..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn plain(letter: u8, out: &mut Vec<u8>) -> usize {
    out.push(letter);
    2
}

/// Appends the character of `\uXXXX`, or of two of them; how long they are.
fn unicode(escape: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let high = code_unit(escape)?;
    let (character, used) = match high {
        0xd800..=0xdbff => {
            let low = code_unit(&escape[6..]).filter(|low| (0xdc00..=0xdfff).contains(low))?;
            (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
        }
        _ => (high, 6),
    };
    let character = char::from_u32(character)?;
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(used)
}

fn code_unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok()?;
    u32::from_str_radix(digits, 16).ok()
}
