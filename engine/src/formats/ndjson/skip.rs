//! Passing over JSON values that nobody wants, checking that they are JSON.

use crate::formats::fault::{Fault, FaultKind};
use crate::formats::keys::skip_blanks;
use crate::formats::number::json_number_end;
use crate::formats::scan::{byte, find_either};

pub(in crate::formats) use crate::limits::JSON_DEPTH_MAX as DEPTH_MAX;

/// Where something ends; a fault is boxed so that the answer travels in registers.
pub(in crate::formats) type End = Result<usize, Box<Fault>>;

/// Where the value at `at` ends.
pub(in crate::formats) fn value(text: &[u8], at: usize, depth: usize) -> End {
    match byte(text, at) {
        b'"' => string(text, at),
        b'{' => container(text, at, depth, b'}'),
        b'[' => container(text, at, depth, b']'),
        b't' => literal(text, at, b"true"),
        b'f' => literal(text, at, b"false"),
        b'n' => literal(text, at, b"null"),
        _ => number(text, at),
    }
}

/// Where the string at `at` ends, behind its closing quote.
pub(in crate::formats) fn string(text: &[u8], at: usize) -> End {
    let mut end = at + 1;
    loop {
        end = find_either(text, end, b'"', b'\\');
        match byte(text, end) {
            b'"' => return Ok(end + 1),
            b'\\' => end = escape(text, end)?,
            _ => return Err(Fault::at(FaultKind::StringUnended, text.len())),
        }
    }
}

/// Where the escape at `at` ends.
fn escape(text: &[u8], at: usize) -> End {
    match byte(text, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
        b'u' => {
            let digits = text.get(at + 2..at + 6).unwrap_or_default();
            if digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit) {
                Ok(at + 6)
            } else {
                Err(Fault::at(FaultKind::BadEscape, at))
            }
        }
        _ => Err(Fault::at(FaultKind::BadEscape, at)),
    }
}

/// Where the literal at `at` ends.
pub(in crate::formats) fn literal(text: &[u8], at: usize, word: &[u8]) -> End {
    let end = at + word.len();
    if text.get(at..end) == Some(word) && ends_value(text, end) {
        Ok(end)
    } else {
        Err(Fault::at(FaultKind::ValueExpected, at))
    }
}

/// Where the number at `at` ends.
pub(in crate::formats) fn number(text: &[u8], at: usize) -> End {
    match json_number_end(text, at) {
        Some(end) if ends_value(text, end) => Ok(end),
        _ if matches!(byte(text, at), b'-' | b'0'..=b'9') => Err(Fault::at(FaultKind::BadNumber, at)),
        _ => Err(Fault::at(FaultKind::ValueExpected, at)),
    }
}

/// Whether a bare value may end before `at`.
#[inline]
pub(in crate::formats) fn ends_value(text: &[u8], at: usize) -> bool {
    match byte(text, at) {
        b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' => true,
        _ => at >= text.len(),
    }
}

/// Where the object or array at `at` ends.
fn container(text: &[u8], at: usize, depth: usize, close: u8) -> End {
    if depth >= DEPTH_MAX {
        return Err(Fault::at(FaultKind::TooDeep, at));
    }
    let mut at = skip_blanks(text, at + 1);
    if byte(text, at) == close {
        return Ok(at + 1);
    }
    loop {
        if close == b'}' {
            at = key(text, at)?.1;
        }
        at = skip_blanks(text, at);
        at = value(text, at, depth + 1)?;
        at = match next(text, at, close)? {
            Next::Another(at) => at,
            Next::Closed(at) => return Ok(at),
        };
    }
}

/// What follows a value in an object or array.
pub(in crate::formats) enum Next {
    /// Another one begins here.
    Another(usize),
    /// The object or array has ended before here.
    Closed(usize),
}

/// Reads `,` or `close` at or behind `at`.
#[inline]
pub(in crate::formats) fn next(text: &[u8], at: usize, close: u8) -> Result<Next, Box<Fault>> {
    let at = match byte(text, at) {
        b' ' | b'\t' | b'\r' | b'\n' => skip_blanks(text, at),
        _ => at,
    };
    let letter = byte(text, at);
    if letter == b',' {
        let at = at + 1;
        return Ok(Next::Another(if byte(text, at) <= b' ' {
            skip_blanks(text, at)
        } else {
            at
        }));
    }
    if letter == close {
        return Ok(Next::Closed(at + 1));
    }
    Err(Fault::at(FaultKind::CommaExpected, at))
}

/// The key at `at`: where its closing quote stands, and where what is behind its colon begins.
pub(in crate::formats) fn key(text: &[u8], at: usize) -> Result<(usize, usize), Box<Fault>> {
    if byte(text, at) != b'"' {
        return Err(Fault::at(FaultKind::KeyExpected, at));
    }
    let end = string(text, at)?;
    let colon = skip_blanks(text, end);
    if byte(text, colon) != b':' {
        return Err(Fault::at(FaultKind::ColonExpected, colon));
    }
    Ok((end - 1, colon + 1))
}
