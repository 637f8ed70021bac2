//! Numbers as people read them.

use std::time::Duration;

/// `12,345,678`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.23 M`, `45.6 K`, `789`: three digits.
pub fn short(number: f64) -> String {
    let (value, unit) = match number {
        n if n >= 1e9 => (n / 1e9, " G"),
        n if n >= 1e6 => (n / 1e6, " M"),
        n if n >= 1e3 => (n / 1e3, " K"),
        n => (n, ""),
    };
    match value {
        v if unit.is_empty() => format!("{v:.0}"),
        v if v < 10.0 => format!("{v:.2}{unit}"),
        v if v < 100.0 => format!("{v:.1}{unit}"),
        v => format!("{v:.0}{unit}"),
    }
}

/// Nanoseconds as `850 ns`, `12.3 us`, `4.56 ms`, `7.89 s`.
pub fn nanoseconds(value: u64) -> String {
    let value = value as f64;
    let (value, unit) = match value {
        v if v >= 1e9 => (v / 1e9, "s"),
        v if v >= 1e6 => (v / 1e6, "ms"),
        v if v >= 1e3 => (v / 1e3, "us"),
        v => return format!("{v:.0} ns"),
    };
    match value {
        v if v < 10.0 => format!("{v:.2} {unit}"),
        v if v < 100.0 => format!("{v:.1} {unit}"),
        v => format!("{v:.0} {unit}"),
    }
}

/// Seconds with three decimals.
pub fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

/// Bytes in binary megabytes.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Rows per second; zero before any time has passed.
pub fn per_second(rows: u64, duration: Duration) -> f64 {
    let seconds = duration.as_secs_f64();
    if seconds > 0.0 { rows as f64 / seconds } else { 0.0 }
}

/// Microseconds since 1970 as `2026-01-02 03:04:05.678` UTC.
pub fn timestamp(microseconds: i64) -> String {
    let days = microseconds.div_euclid(86_400_000_000);
    let of_day = microseconds.rem_euclid(86_400_000_000);
    let (year, month, day) = civil_date(days);
    let (second, millisecond) = (of_day / 1_000_000, of_day / 1_000 % 1_000);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{millisecond:03}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Days since 1970 as year, month and day (Howard Hinnant's `civil_from_days`).
fn civil_date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(
            [0, 999, 1_000, 12_345_678].map(grouped),
            ["0", "999", "1,000", "12,345,678"]
        );
    }

    #[test]
    fn short_numbers_keep_three_digits() {
        assert_eq!(
            [7.0, 45_600.0, 1_234_567.0, 250e6, 3e9].map(short),
            ["7", "45.6 K", "1.23 M", "250 M", "3.00 G"]
        );
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        assert_eq!(
            [850, 12_300, 4_560_000, 7_890_000_000].map(nanoseconds),
            ["850 ns", "12.3 us", "4.56 ms", "7.89 s"]
        );
    }

    #[test]
    fn a_timestamp_is_a_date_and_a_time_of_day() {
        assert_eq!(timestamp(0), "1970-01-01 00:00:00.000");
        assert_eq!(timestamp(1_356_998_400_123_456), "2013-01-01 00:00:00.123");
        assert_eq!(timestamp(951_782_400_000_000), "2000-02-29 00:00:00.000");
        assert_eq!(timestamp(-1), "1969-12-31 23:59:59.999");
    }
}
