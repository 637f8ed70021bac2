//! Values to text, as all text formats share it: integers, floats, decimals.

use std::io::Write;

/// `00` to `99`, one after the other.
const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Appends an integer.
pub(super) fn integer(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    unsigned(number.unsigned_abs(), out);
}

/// Appends an integer without a sign.
pub(super) fn unsigned(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    while number >= 100 {
        let pair = (number % 100) as usize * 2;
        number /= 100;
        start -= 2;
        digits[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if number >= 10 {
        let pair = number as usize * 2;
        start -= 2;
        digits[start..start + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        start -= 1;
        digits[start] = b'0' + number as u8;
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends a finite DOUBLE by its shortest digits, with a point or an exponent.
pub(super) fn double(number: f64, out: &mut Vec<u8>) {
    assert!(
        number.is_finite(),
        "invariant: the caller has its own words for NaN and infinity"
    );
    // At most three decimal places and fifteen digits are the shortest text of their number.
    let thousandths = number * 1_000.0;
    if thousandths.abs() < 1e15 && thousandths.fract() == 0.0 && thousandths / 1_000.0 == number {
        return with_places(thousandths as i64, number.is_sign_negative(), out);
    }
    write!(out, "{number:?}").expect("invariant: memory takes all bytes");
}

/// Appends a finite FLOAT by its shortest digits.
pub(super) fn float(number: f32, out: &mut Vec<u8>) {
    assert!(
        number.is_finite(),
        "invariant: the caller has its own words for NaN and infinity"
    );
    write!(out, "{number:?}").expect("invariant: memory takes all bytes");
}

/// Appends a number of thousandths: at least one decimal place, no zeros behind that.
fn with_places(thousandths: i64, is_negative: bool, out: &mut Vec<u8>) {
    if is_negative {
        out.push(b'-');
    }
    let magnitude = thousandths.unsigned_abs();
    unsigned(magnitude / 1_000, out);
    let places = (magnitude % 1_000) as usize;
    let digits = [
        b'.',
        b'0' + (places / 100) as u8,
        b'0' + (places / 10 % 10) as u8,
        b'0' + (places % 10) as u8,
    ];
    let length = match (places % 100, places % 10) {
        (0, _) => 2,
        (_, 0) => 3,
        _ => 4,
    };
    out.extend_from_slice(&digits[..length]);
}

/// The word for a number that is not finite; `None` for one that is.
pub(super) fn not_finite(number: f64) -> Option<&'static [u8]> {
    if number.is_nan() {
        Some(b"NaN")
    } else if number == f64::INFINITY {
        Some(b"Infinity")
    } else if number == f64::NEG_INFINITY {
        Some(b"-Infinity")
    } else {
        None
    }
}

/// Appends a decimal, given in units of its last place.
pub(super) fn decimal(number: i128, scale: i8, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    let digits = number.unsigned_abs().to_string();
    let digits = digits.as_bytes();
    let places = usize::try_from(scale).unwrap_or(0);
    if digits.len() > places {
        out.extend_from_slice(&digits[..digits.len() - places]);
    } else {
        out.push(b'0');
    }
    if places > 0 {
        out.push(b'.');
        out.extend(std::iter::repeat_n(b'0', places.saturating_sub(digits.len())));
        out.extend_from_slice(&digits[digits.len().saturating_sub(places)..]);
    }
    if scale < 0 && number != 0 {
        out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_are_written_as_the_standard_library_does() {
        let mut number = 1i64;
        for _ in 0..200 {
            for near in [number, -number, number.wrapping_sub(1), i64::MIN, i64::MAX, 0] {
                assert_eq!(text(|out| integer(near, out)), near.to_string());
            }
            number = number.wrapping_mul(7).wrapping_add(3);
        }
    }

    #[test]
    fn doubles_are_written_by_their_shortest_digits() {
        for number in [
            0.0,
            -0.0,
            1.0,
            0.1,
            -0.25,
            100.5,
            12.345,
            1e15,
            123456789012345.6,
            1e300,
            5e-324,
            0.0005,
            1.0 / 3.0,
            999_999_999_999.999,
            1e-5,
            2.5e-7,
        ] {
            assert_eq!(text(|out| double(number, out)), format!("{number:?}"), "{number}");
        }
        let mut bits = 12_345u64;
        for _ in 0..100_000 {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let cents = (bits >> 20) as f64 / 100.0 / 4_096.0;
            for number in [
                cents,
                (cents * 100.0).round() / 100.0,
                (cents * 1000.0).round() / 1000.0,
            ] {
                assert_eq!(text(|out| double(number, out)), format!("{number:?}"));
            }
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        assert_eq!(text(|out| decimal(12_345, 2, out)), "123.45");
        assert_eq!(text(|out| decimal(-5, 2, out)), "-0.05");
        assert_eq!(text(|out| decimal(0, 3, out)), "0.000");
        assert_eq!(text(|out| decimal(7, 0, out)), "7");
        assert_eq!(text(|out| decimal(7, -2, out)), "700");
        assert_eq!(
            text(|out| decimal(10i128.pow(38) - 1, 38, out)),
            format!("0.{}", "9".repeat(38))
        );
    }
}
