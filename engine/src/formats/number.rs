//! Numbers from text: integers without a detour over floats, decimals exactly, floats by
//! Clinger's fast path ("How to read floating point numbers accurately", 1990) where it is exact.

use super::fault::FaultKind;
use super::scan::byte;

/// Digits that fit an i64, whatever they are.
const SAFE_DIGITS: usize = 18;
/// Digits kept of a decimal; further ones only round.
const DECIMAL_DIGITS: u32 = 38;

const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// An integer of at most 18 digits at `at`, and where it ends; `None` where it is longer, or no
/// integer, or has a leading zero.
#[inline]
pub(super) fn short_integer(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let is_negative = byte(bytes, at) == b'-';
    let start = at + usize::from(is_negative);
    if let Some((number, digits)) = seven_digits(bytes, start) {
        let has_leading_zero = digits > 1 && bytes[start] == b'0';
        if digits == 0 || has_leading_zero {
            return None;
        }
        return Some((if is_negative { -number } else { number }, start + digits));
    }
    let mut number = 0i64;
    let mut end = start;
    loop {
        let digit = byte(bytes, end).wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
        end += 1;
    }
    let digits = end - start;
    let has_leading_zero = digits > 1 && byte(bytes, start) == b'0';
    if digits == 0 || digits > SAFE_DIGITS || has_leading_zero {
        return None;
    }
    Some((if is_negative { -number } else { number }, end))
}

/// The number of up to seven digits at `at`, and how many they are: eight bytes at once, without a branch per
/// digit. `None` where there are more digits, or fewer bytes.
#[inline]
fn seven_digits(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    // A digit less '0' is at most 9: adding 0x76 then leaves its high bit clear.
    let values = word ^ (EACH * u64::from(b'0'));
    let others = (((values & (EACH * 0x7f)) + EACH * 0x76) | values) & (EACH * 0x80);
    if others == 0 {
        return None;
    }
    let digits = others.trailing_zeros() as usize / 8;
    if digits == 0 {
        return Some((0, 0));
    }
    // The digits move to the high end, zeros before them; then pairs, fours and eights are combined.
    let eight = values << (64 - 8 * digits);
    let pairs = eight.wrapping_mul(10).wrapping_add(eight >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    Some((i64::from((low.wrapping_add(high) >> 32) as u32), digits))
}

/// A number of at most 15 digits, perhaps with a fraction, at `at`, and where it ends; `None` where
/// it needs a closer look.
#[inline]
pub(super) fn short_real(bytes: &[u8], at: usize) -> Option<(f64, usize)> {
    let is_negative = byte(bytes, at) == b'-';
    let start = at + usize::from(is_negative);
    let mut mantissa = 0u64;
    let mut end = start;
    let mut point = None;
    loop {
        let next = byte(bytes, end);
        let digit = next.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if next == b'.' && point.is_none() && end > start {
            point = Some(end);
        } else {
            break;
        }
        end += 1;
    }
    let places = point.map_or(0, |point| end - point - 1);
    let digits = end - start - usize::from(point.is_some());
    let has_leading_zero = byte(bytes, start) == b'0' && byte(bytes, start + 1).is_ascii_digit();
    let is_unusual = matches!(byte(bytes, end), b'e' | b'E' | b'.');
    // Fifteen digits are below 2^53, and a power of ten up to 22 is a float: one rounding, exact.
    if digits == 0 || digits > 15 || has_leading_zero || is_unusual || (point.is_some() && places == 0) {
        return None;
    }
    let number = mantissa as f64 / POWERS_OF_TEN[places];
    Some((if is_negative { -number } else { number }, end))
}

/// The whole of `text` as an integer; `1.0` and `1e3` are integers, too.
pub(super) fn integer(text: &[u8]) -> Result<i64, FaultKind> {
    if let Some((number, end)) = short_integer(text, 0)
        && end == text.len()
    {
        return Ok(number);
    }
    let parts = Parts::of(text).ok_or(FaultKind::WrongType)?;
    let (number, is_exact) = parts.at_scale(0).ok_or(FaultKind::OutOfRange)?;
    if !is_exact {
        return Err(FaultKind::NotWhole);
    }
    i64::try_from(number).map_err(|_| FaultKind::OutOfRange)
}

/// The whole of `text` as DECIMAL(precision, scale), in units of its last place; further places
/// are rounded half up, as Flink does.
pub(super) fn decimal(text: &[u8], precision: u8, scale: i8) -> Result<i128, FaultKind> {
    let parts = Parts::of(text).ok_or(FaultKind::WrongType)?;
    let (number, _) = parts.at_scale(i64::from(scale)).ok_or(FaultKind::OutOfRange)?;
    let bound = 10u128.pow(u32::from(precision));
    if number.unsigned_abs() >= bound {
        return Err(FaultKind::OutOfRange);
    }
    Ok(number)
}

/// The whole of `text` as DOUBLE; `NaN` and `Infinity` are numbers, too.
pub(super) fn double(text: &[u8]) -> Result<f64, FaultKind> {
    if let Some((number, end)) = short_real(text, 0)
        && end == text.len()
    {
        return Ok(number);
    }
    let number: f64 = parse_std(text)?;
    check_finite(text, number.is_infinite())?;
    Ok(number)
}

/// The whole of `text` as FLOAT.
pub(super) fn float(text: &[u8]) -> Result<f32, FaultKind> {
    let number: f32 = parse_std(text)?;
    check_finite(text, number.is_infinite())?;
    Ok(number)
}

fn parse_std<T: std::str::FromStr>(text: &[u8]) -> Result<T, FaultKind> {
    let text = std::str::from_utf8(text).map_err(|_| FaultKind::WrongType)?;
    text.parse().map_err(|_| FaultKind::WrongType)
}

/// Infinity from digits is a number beyond the type; from the word it is meant.
fn check_finite(text: &[u8], is_infinite: bool) -> Result<(), FaultKind> {
    if is_infinite && text.iter().any(u8::is_ascii_digit) {
        return Err(FaultKind::OutOfRange);
    }
    Ok(())
}

/// Where the JSON number at `at` ends; `None` where it is none.
pub(super) fn json_number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = |mut end: usize| {
        let start = end;
        while byte(bytes, end).is_ascii_digit() {
            end += 1;
        }
        (end > start).then_some(end)
    };
    let start = at + usize::from(byte(bytes, at) == b'-');
    let mut end = digits(start)?;
    if byte(bytes, start) == b'0' && end > start + 1 {
        return None;
    }
    if byte(bytes, end) == b'.' {
        end = digits(end + 1)?;
    }
    if matches!(byte(bytes, end), b'e' | b'E') {
        let has_sign = matches!(byte(bytes, end + 1), b'+' | b'-');
        end = digits(end + 1 + usize::from(has_sign))?;
    }
    Some(end)
}

/// A decimal number taken apart.
struct Parts {
    is_negative: bool,
    /// Its first 38 significant digits.
    digits: u128,
    /// How many of them stand behind the point; less than none where zeros are missing before it.
    places: i64,
    /// The digit behind them.
    next_digit: u8,
    /// Whether anything but zeros follows that.
    has_rest: bool,
}

impl Parts {
    fn of(text: &[u8]) -> Option<Parts> {
        let (is_negative, unsigned) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            (b'+', rest) => (false, rest),
            _ => (false, text),
        };
        let mut parts = Parts {
            is_negative,
            digits: 0,
            places: 0,
            next_digit: 0,
            has_rest: false,
        };
        let (mut kept, mut dropped, mut is_number, mut is_fraction) = (0, 0u64, false, false);
        for (index, &letter) in unsigned.iter().enumerate() {
            match letter {
                b'0'..=b'9' => {
                    is_number = true;
                    let digit = letter - b'0';
                    if kept < DECIMAL_DIGITS {
                        parts.digits = parts.digits * 10 + u128::from(digit);
                        kept += u32::from(parts.digits > 0);
                        parts.places += i64::from(is_fraction);
                        continue;
                    }
                    if dropped == 0 {
                        parts.next_digit = digit;
                    } else {
                        parts.has_rest |= digit > 0;
                    }
                    dropped += 1;
                    parts.places -= i64::from(!is_fraction);
                }
                b'.' if !is_fraction => is_fraction = true,
                b'e' | b'E' if is_number => {
                    let exponent = std::str::from_utf8(&unsigned[index + 1..]).ok()?;
                    parts.places -= i64::from(exponent.parse::<i32>().ok()?);
                    return Some(parts);
                }
                _ => return None,
            }
        }
        is_number.then_some(parts)
    }

    /// The number in units of 10^-`scale`, rounded half up, and whether that is exact; `None` where
    /// it is beyond 38 digits.
    fn at_scale(&self, scale: i64) -> Option<(i128, bool)> {
        let shift = scale - self.places;
        let has_more = self.next_digit > 0 || self.has_rest;
        let (magnitude, is_exact) = if self.digits == 0 {
            (0, true)
        } else if shift >= 0 {
            let factor = 10u128.checked_pow(u32::try_from(shift).ok()?)?;
            let round_up = shift == 0 && self.next_digit >= 5;
            let scaled = self.digits.checked_mul(factor)?;
            (scaled.checked_add(u128::from(round_up))?, !has_more)
        } else if -shift > i64::from(DECIMAL_DIGITS) {
            (0, false)
        } else {
            let divisor = 10u128.pow((-shift) as u32);
            let (quotient, rest) = (self.digits / divisor, self.digits % divisor);
            let round_up = rest >= divisor - rest;
            (quotient + u128::from(round_up), rest == 0 && !has_more)
        };
        let magnitude = i128::try_from(magnitude).ok()?;
        Some((if self.is_negative { -magnitude } else { magnitude }, is_exact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_exactly_or_refused() {
        for number in [
            0,
            1,
            -1,
            i64::MAX,
            i64::MIN,
            999_999_999_999_999_999,
            1_000_000_000_000_000_000,
        ] {
            assert_eq!(integer(number.to_string().as_bytes()), Ok(number));
        }
        assert_eq!(integer(b"9223372036854775808"), Err(FaultKind::OutOfRange));
        assert_eq!(integer(b"-9223372036854775809"), Err(FaultKind::OutOfRange));
        assert_eq!(integer(b"1e3"), Ok(1_000));
        assert_eq!(integer(b"1500e-2"), Ok(15));
        assert_eq!(integer(b"1.0"), Ok(1));
        assert_eq!(integer(b"007"), Ok(7));
        assert_eq!(integer(b"1.5"), Err(FaultKind::NotWhole));
        assert_eq!(integer(b"1e99"), Err(FaultKind::OutOfRange));
        assert_eq!(integer(b"1e-99"), Err(FaultKind::NotWhole));
        for wrong in [
            "", "-", "+", "1x", "e3", "1e", "1e1.5", "--1", "1.2.3", ".", "0x10",
        ] {
            assert_eq!(integer(wrong.as_bytes()), Err(FaultKind::WrongType), "{wrong}");
        }
    }

    #[test]
    fn an_integer_ends_where_its_digits_end() {
        for number in (0..20_000_000i64)
            .step_by(997)
            .chain([9, 10, 9_999_999, 10_000_000])
        {
            for behind in ["", ",", "}\n", ",\"price\":123", "x1234567890", "\u{e9}1234567"] {
                for sign in ["", "-"] {
                    let text = format!("{sign}{number}{behind}");
                    let value = if sign.is_empty() { number } else { -number };
                    let end = text.len() - behind.len();
                    assert_eq!(short_integer(text.as_bytes(), 0), Some((value, end)), "{text}");
                }
            }
        }
        for wrong in ["", "-", "x", "01,234567", "-00000000"] {
            assert_eq!(short_integer(wrong.as_bytes(), 0), None, "{wrong}");
        }
    }

    #[test]
    fn decimals_are_exact_and_round_half_up() {
        assert_eq!(decimal(b"12.345", 10, 2), Ok(1_235));
        assert_eq!(decimal(b"-12.345", 10, 2), Ok(-1_235));
        assert_eq!(decimal(b"12.3449999", 10, 2), Ok(1_234));
        assert_eq!(decimal(b"99999999.99", 10, 2), Ok(9_999_999_999));
        assert_eq!(decimal(b"99999999.995", 10, 2), Err(FaultKind::OutOfRange));
        assert_eq!(decimal(b"100000000", 10, 2), Err(FaultKind::OutOfRange));
        assert_eq!(decimal(b"1e-3", 10, 2), Ok(0));
        let nines = "9".repeat(38);
        assert_eq!(decimal(nines.as_bytes(), 38, 0), Ok(10i128.pow(38) - 1));
        assert_eq!(
            decimal(format!("{nines}.4").as_bytes(), 38, 0),
            Ok(10i128.pow(38) - 1)
        );
        assert_eq!(
            decimal(format!("{nines}.5").as_bytes(), 38, 0),
            Err(FaultKind::OutOfRange)
        );
        assert_eq!(
            decimal(format!("0.{nines}9").as_bytes(), 38, 38),
            Err(FaultKind::OutOfRange)
        );
        let zeros = "0".repeat(1_000);
        assert_eq!(decimal(format!("{zeros}1.5{zeros}").as_bytes(), 5, 1), Ok(15));
    }

    #[test]
    fn floats_are_those_of_the_standard_library() {
        let texts = [
            "0",
            "-0.0",
            "1.5",
            "0.1",
            "123456789.123456",
            "999999999999999",
            "9007199254740993",
            "1e22",
            "1e-7",
            "4.9e-324",
            "1.7976931348623157e308",
            "3.141592653589793",
            "100.25",
            "-2.5e10",
        ];
        for text in texts {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(
                double(text.as_bytes()).map(f64::to_bits),
                Ok(expected.to_bits()),
                "{text}"
            );
            if let Some((number, end)) = short_real(text.as_bytes(), 0)
                && end == text.len()
            {
                assert_eq!(number.to_bits(), expected.to_bits(), "{text}");
            }
        }
        assert_eq!(double(b"1e999"), Err(FaultKind::OutOfRange));
        assert_eq!(double(b"Infinity"), Ok(f64::INFINITY));
        assert!(double(b"NaN").unwrap().is_nan());
        assert_eq!(float(b"1e39"), Err(FaultKind::OutOfRange));
        assert_eq!(double(b"1,5"), Err(FaultKind::WrongType));
    }

    #[test]
    fn json_numbers_follow_the_grammar() {
        for right in ["0", "-0", "10", "1.5", "1e5", "1E+5", "-1.25e-10"] {
            assert_eq!(json_number_end(right.as_bytes(), 0), Some(right.len()), "{right}");
        }
        for wrong in ["", "-", "01", "1.", ".5", "1e", "+1", "1.e5"] {
            assert_ne!(json_number_end(wrong.as_bytes(), 0), Some(wrong.len()), "{wrong}");
        }
    }
}
