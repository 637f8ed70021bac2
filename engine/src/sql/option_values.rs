//! Values of options: durations, sizes, numbers, truths. Used by `options`, `settings` and by the
//! connectors that read what was validated.
//!
//! **Invariant.** Exact or nothing: no rounding, no overflow, no default for what is not understood.

/// Microseconds of `'1s'`, `'500 ms'`, `'5 min'`, `'PT1.5S'`; a bare number is milliseconds, as in
/// Flink. `None` where the text is no duration of whole microseconds.
pub fn parse_duration_us(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(iso) = text.strip_prefix('p') {
        return iso_duration_us(iso);
    }
    let (number, unit) = split_number(&text);
    let unit_ns: u64 = match unit {
        "d" | "day" | "days" => 86_400_000_000_000,
        "h" | "hour" | "hours" => 3_600_000_000_000,
        "m" | "min" | "minute" | "minutes" => 60_000_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        _ => return None,
    };
    scaled_us(number, unit_ns)
}

/// Bytes of `'128MB'`, `'1 gb'`, `'4096'`; units are powers of 1,024, as in Flink.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = split_number(&text);
    let factor: u64 = match unit {
        "" | "b" | "bytes" => 1,
        "k" | "kb" | "kib" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mib" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gib" | "gibibytes" => 1 << 30,
        "t" | "tb" | "tib" | "tebibytes" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// `true` or `false`, in any case.
pub fn parse_boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The number in front and the unit behind it.
fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// `dT…` behind the P of an ISO 8601 duration: days, hours, minutes, seconds.
fn iso_duration_us(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('t').unwrap_or((text, ""));
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let days = match date {
        "" => 0,
        date => scaled_us(date.strip_suffix('d')?, 86_400_000_000_000)?,
    };
    let mut total = days;
    let mut rest = time;
    for (unit, unit_ns) in [
        ('h', 3_600_000_000_000),
        ('m', 60_000_000_000),
        ('s', 1_000_000_000),
    ] {
        if let Some((number, after)) = rest.split_once(unit) {
            total = total.checked_add(scaled_us(number, unit_ns)?)?;
            rest = after;
        }
    }
    rest.is_empty().then_some(total)
}

/// `digits[.digits]` units of `unit_ns` nanoseconds, in whole microseconds.
fn scaled_us(number: &str, unit_ns: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_digits = |part: &str| part.len() <= 18 && part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let ns = digits.checked_mul(u128::from(unit_ns))?;
    let divisor = scale.checked_mul(1_000)?;
    if ns % divisor != 0 {
        return None;
    }
    u64::try_from(ns / divisor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_all_spellings_are_microseconds() {
        for (text, us) in [
            ("1s", 1_000_000),
            ("500 ms", 500_000),
            ("5 min", 300_000_000),
            ("2 DAYS", 172_800_000_000),
            ("1.5 h", 5_400_000_000),
            ("250", 250_000),
            ("7us", 7),
            ("2000 ns", 2),
            ("0", 0),
            ("PT1.5S", 1_500_000),
            ("P1DT2H", 93_600_000_000),
            ("pt5m", 300_000_000),
        ] {
            assert_eq!(parse_duration_us(text), Some(us), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_nothing() {
        for text in [
            "",
            "s",
            "-1s",
            "1 parsec",
            "1..5s",
            "1 ns",
            "P",
            "PT",
            "P1M",
            "PT1S1H",
            "1e3s",
            "99999999999999999999 d",
        ] {
            assert_eq!(parse_duration_us(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_bytes("128MB"), Some(128 << 20));
        assert_eq!(parse_bytes("1 gb"), Some(1 << 30));
        assert_eq!(parse_bytes("4096"), Some(4096));
        assert_eq!(parse_bytes("1.5kb"), None);
        assert_eq!(parse_bytes("20000000 tb"), None);
        assert_eq!(parse_boolean("TRUE"), Some(true));
        assert_eq!(parse_boolean("yes"), None);
    }
}
