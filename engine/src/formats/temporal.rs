//! Dates, times and timestamps from text and to text, in the proleptic Gregorian calendar.
//!
//! Read: `YYYY-MM-DD`, `HH:MM[:SS[.f…]]`, both joined by a space or `T`, with `Z` or an offset
//! behind; timestamps also as milliseconds since 1970. Days are counted as in Hinnant's
//! "chrono-compatible low-level date algorithms".

use arrow::datatypes::TimeUnit;

use super::fault::FaultKind;
use super::number;

const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// Units of `unit` in a second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Days from 1970-01-01 to the given day of the given year.
pub(super) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day counted from 1970-01-01.
pub(super) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A text that is read from the left.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn accept(&mut self, letter: u8) -> bool {
        let found = self.rest.first() == Some(&letter);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// Two digits.
    fn pair(&mut self) -> Option<u32> {
        let (&[tens, ones], rest) = self.rest.split_first_chunk::<2>()?;
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        if tens > 9 || ones > 9 {
            return None;
        }
        self.rest = rest;
        Some(u32::from(tens) * 10 + u32::from(ones))
    }

    /// The days of `YYYY-MM-DD`; a year beyond four digits has a sign.
    fn date(&mut self) -> Option<i64> {
        let is_negative = self.accept(b'-');
        let has_sign = is_negative || self.accept(b'+');
        let mut year = i64::from(self.pair()?) * 100 + i64::from(self.pair()?);
        while has_sign && self.rest.first().is_some_and(u8::is_ascii_digit) && year < 1_000_000 {
            year = year * 10 + i64::from(self.rest[0] - b'0');
            self.rest = &self.rest[1..];
        }
        let year = if is_negative { -year } else { year };
        let month = self.accept(b'-').then(|| self.pair())??;
        let day = self.accept(b'-').then(|| self.pair())??;
        let is_date = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
        is_date.then(|| days_from_civil(year, month, day))
    }

    /// Seconds and nanoseconds of `HH:MM[:SS[.f…]]`; digits beyond the ninth are dropped.
    fn time(&mut self) -> Option<(i64, u32)> {
        let hour = self.pair()?;
        let minute = self.accept(b':').then(|| self.pair())??;
        let (mut second, mut nanos) = (0, 0);
        if self.accept(b':') {
            second = self.pair()?;
            if self.accept(b'.') {
                nanos = self.fraction()?;
            }
        }
        let is_time = hour < 24 && minute < 60 && second < 60;
        is_time.then(|| (i64::from(hour * 3_600 + minute * 60 + second), nanos))
    }

    fn fraction(&mut self) -> Option<u32> {
        let mut weight = NANOS_PER_SECOND / 10;
        let mut nanos = 0;
        let digits = self
            .rest
            .iter()
            .take_while(|letter| letter.is_ascii_digit())
            .count();
        for letter in &self.rest[..digits] {
            nanos += u32::from(letter - b'0') * weight;
            weight /= 10;
        }
        self.rest = &self.rest[digits..];
        (digits > 0).then_some(nanos)
    }

    /// Seconds east of UTC of `Z`, `±HH`, `±HHMM`, `±HH:MM` or nothing.
    fn zone(&mut self) -> Option<i64> {
        if self.rest.is_empty() || self.accept(b'Z') || self.accept(b'z') {
            return Some(0);
        }
        let sign = if self.accept(b'+') {
            1
        } else if self.accept(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.pair()?;
        let minutes = if self.rest.is_empty() {
            0
        } else {
            self.accept(b':');
            self.pair()?
        };
        (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3_600 + minutes * 60))
    }
}

/// Days since 1970-01-01.
pub(super) fn date(text: &[u8]) -> Result<i32, FaultKind> {
    let mut reader = Reader { rest: text };
    let days = reader
        .date()
        .filter(|_| reader.rest.is_empty())
        .ok_or(FaultKind::WrongType)?;
    i32::try_from(days).map_err(|_| FaultKind::OutOfRange)
}

/// Units of `unit` since midnight; finer digits are dropped.
pub(super) fn time(text: &[u8], unit: TimeUnit) -> Result<i64, FaultKind> {
    let mut reader = Reader { rest: text };
    let (seconds, nanos) = reader.time().ok_or(FaultKind::WrongType)?;
    reader.accept(b'Z');
    if !reader.rest.is_empty() {
        return Err(FaultKind::WrongType);
    }
    Ok(seconds * per_second(unit) + i64::from(nanos) / (i64::from(NANOS_PER_SECOND) / per_second(unit)))
}

/// Units of `unit` since 1970-01-01 00:00:00; finer digits are dropped.
pub(super) fn timestamp(text: &[u8], unit: TimeUnit) -> Result<i64, FaultKind> {
    let mut reader = Reader { rest: text };
    let Some(days) = reader.date() else {
        return epoch_millis(text, unit);
    };
    let (mut seconds, mut nanos) = (0, 0);
    if reader.accept(b' ') || reader.accept(b'T') || reader.accept(b't') {
        (seconds, nanos) = reader.time().ok_or(FaultKind::WrongType)?;
        reader.accept(b' ');
        seconds -= reader.zone().ok_or(FaultKind::WrongType)?;
    }
    if !reader.rest.is_empty() {
        return Err(FaultKind::WrongType);
    }
    let units = per_second(unit);
    let fraction = i64::from(nanos) / (i64::from(NANOS_PER_SECOND) / units);
    let whole = i128::from(days * SECONDS_PER_DAY + seconds) * i128::from(units) + i128::from(fraction);
    i64::try_from(whole).map_err(|_| FaultKind::OutOfRange)
}

/// Milliseconds since 1970 in units of `unit`.
fn epoch_millis(text: &[u8], unit: TimeUnit) -> Result<i64, FaultKind> {
    let millis = number::integer(text)?;
    match unit {
        TimeUnit::Second => Ok(millis.div_euclid(1_000)),
        _ => millis
            .checked_mul(per_second(unit) / 1_000)
            .ok_or(FaultKind::OutOfRange),
    }
}

/// Reads timestamps and remembers the last minute: events in time order share it.
#[derive(Clone, Debug)]
pub(super) struct TimestampReader {
    unit: TimeUnit,
    minute: [u8; MINUTE_LENGTH],
    minute_start: i64,
}

/// Letters of `YYYY-MM-DD HH:MM`.
const MINUTE_LENGTH: usize = 16;

impl TimestampReader {
    pub(super) fn new(unit: TimeUnit) -> TimestampReader {
        TimestampReader {
            unit,
            minute: [0; MINUTE_LENGTH],
            minute_start: 0,
        }
    }

    /// As [`timestamp`].
    #[inline]
    pub(super) fn read(&mut self, text: &[u8]) -> Result<i64, FaultKind> {
        if let Some((minute, rest)) = text.split_first_chunk::<MINUTE_LENGTH>() {
            let since = self.since_minute(rest);
            if let Some(since) = since {
                if *minute == self.minute {
                    return Ok(self.minute_start + since);
                }
                let value = timestamp(text, self.unit)?;
                self.minute = *minute;
                self.minute_start = value - since;
                return Ok(value);
            }
        }
        timestamp(text, self.unit)
    }

    /// The units of `:SS[.f…][Z]`; `None` where something else stands there.
    #[inline]
    fn since_minute(&self, rest: &[u8]) -> Option<i64> {
        let (&[colon, tens, ones], fraction) = rest.split_first_chunk::<3>()?;
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        if colon != b':' || tens > 5 || ones > 9 {
            return None;
        }
        let mut weight = per_second(self.unit);
        let mut since = i64::from(tens * 10 + ones) * weight;
        let fraction = fraction.strip_suffix(b"Z").unwrap_or(fraction);
        if let Some((point, digits)) = fraction.split_first() {
            if *point != b'.' || digits.is_empty() {
                return None;
            }
            for letter in digits {
                let digit = letter.wrapping_sub(b'0');
                if digit > 9 {
                    return None;
                }
                weight /= 10;
                since += i64::from(digit) * weight;
            }
        }
        Some(since)
    }
}

fn write_pair(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
}

/// Appends `YYYY-MM-DD`.
pub(super) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9_999).contains(&year) {
        write_pair(year as u32 / 100, out);
        write_pair(year as u32 % 100, out);
    } else {
        let sign = if year < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("{sign}{:04}", year.unsigned_abs()).as_bytes());
    }
    out.push(b'-');
    write_pair(month, out);
    out.push(b'-');
    write_pair(day, out);
}

/// Appends `HH:MM:SS` and, in units finer than seconds, all digits of the fraction.
pub(super) fn write_time(since_midnight: i64, unit: TimeUnit, out: &mut Vec<u8>) {
    let units = per_second(unit);
    let (seconds, fraction) = (since_midnight.div_euclid(units), since_midnight.rem_euclid(units));
    let seconds = seconds as u32;
    write_pair(seconds / 3_600, out);
    out.push(b':');
    write_pair(seconds / 60 % 60, out);
    out.push(b':');
    write_pair(seconds % 60, out);
    if units > 1 {
        out.push(b'.');
        let mut weight = units / 10;
        while weight > 0 {
            out.push(b'0' + (fraction / weight % 10) as u8);
            weight /= 10;
        }
    }
}

/// Appends date and time with `separator` between them.
pub(super) fn write_timestamp(value: i64, unit: TimeUnit, separator: u8, out: &mut Vec<u8>) {
    let units_per_day = SECONDS_PER_DAY * per_second(unit);
    write_date(value.div_euclid(units_per_day), out);
    out.push(separator);
    write_time(value.rem_euclid(units_per_day), unit, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: TimeUnit = TimeUnit::Millisecond;

    #[test]
    fn every_day_of_eight_centuries_is_read_as_written() {
        let mut text = Vec::new();
        for days in days_from_civil(1600, 1, 1)..days_from_civil(2400, 1, 1) {
            text.clear();
            write_date(days, &mut text);
            assert_eq!(date(&text), Ok(days as i32));
        }
        assert_eq!(date(b"1970-01-01"), Ok(0));
        assert_eq!(date(b"2000-02-29"), Ok(11_016));
        assert_eq!(date(b"0001-01-01"), Ok(-719_162));
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for wrong in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-1-1",
            "24-01-01",
            "2024-04-31",
            "",
            "x",
        ] {
            assert_eq!(date(wrong.as_bytes()), Err(FaultKind::WrongType), "{wrong}");
        }
    }

    #[test]
    fn timestamps_are_read_in_all_their_forms() {
        let expected = 1_714_557_600_123;
        for text in [
            "2024-05-01 10:00:00.123",
            "2024-05-01T10:00:00.123",
            "2024-05-01T10:00:00.123Z",
            "2024-05-01T12:00:00.123+02:00",
            "2024-05-01 05:30:00.123456789-0430",
            "1714557600123",
        ] {
            assert_eq!(timestamp(text.as_bytes(), MILLIS), Ok(expected), "{text}");
            assert_eq!(
                TimestampReader::new(MILLIS).read(text.as_bytes()),
                Ok(expected),
                "{text}"
            );
        }
        assert_eq!(timestamp(b"2024-05-01", MILLIS), Ok(1_714_521_600_000));
        assert_eq!(timestamp(b"2024-05-01 10:00", MILLIS), Ok(1_714_557_600_000));
        assert_eq!(
            timestamp(b"1969-12-31 23:59:59.999999", TimeUnit::Microsecond),
            Ok(-1)
        );
        assert_eq!(timestamp(b"-1", TimeUnit::Microsecond), Ok(-1_000));
    }

    #[test]
    fn the_remembered_minute_never_changes_an_answer() {
        let texts = [
            "2024-05-01 10:00:00.5",
            "2024-05-01 10:00:59.999999",
            "2024-05-01 10:00:60",
            "2024-05-01 10:01:00",
            "2024-05-01T10:01:00",
            "2024-05-01 10:61:00",
            "2024-05-01 10:61:00",
            "2024-05-01 10:01:00Z",
            "2024-05-01 10:01:00+01:00",
            "2024-05-01 10:01:0",
            "2024-05-01 10:01:00.",
            "2024-05-01 10:01:00.5x",
            "2024-13-01 10:01:00.5",
            "2024-13-01 10:01:00.5",
            "1969-12-31 23:59:59.25",
            "+2024-05-01 10:01:00",
            "1714557600123",
            "garbage that is longer",
            "2024-05-01 10:01:00.1234567891234Z",
        ];
        for unit in [
            TimeUnit::Second,
            MILLIS,
            TimeUnit::Microsecond,
            TimeUnit::Nanosecond,
        ] {
            let mut reader = TimestampReader::new(unit);
            for text in texts.iter().chain(texts.iter().rev()) {
                let expected = timestamp(text.as_bytes(), unit);
                assert_eq!(reader.read(text.as_bytes()), expected, "{text}");
            }
        }
    }

    #[test]
    fn what_no_unit_can_hold_is_out_of_range() {
        assert_eq!(
            timestamp(b"9999-01-01 00:00:00", TimeUnit::Nanosecond),
            Err(FaultKind::OutOfRange)
        );
        assert_eq!(
            timestamp(b"9223372036854775807", TimeUnit::Microsecond),
            Err(FaultKind::OutOfRange)
        );
        assert_eq!(
            timestamp(b"2024-05-01 25:00:00", MILLIS),
            Err(FaultKind::WrongType)
        );
        assert_eq!(
            timestamp(b"2024-05-01 10:00:00 CET", MILLIS),
            Err(FaultKind::WrongType)
        );
    }

    #[test]
    fn timestamps_are_written_with_all_digits_of_their_unit() {
        let mut out = Vec::new();
        write_timestamp(-1, MILLIS, b' ', &mut out);
        out.push(b'\n');
        write_timestamp(1_714_557_600, TimeUnit::Second, b'T', &mut out);
        out.push(b'\n');
        write_timestamp(1, TimeUnit::Nanosecond, b' ', &mut out);
        let expected = "1969-12-31 23:59:59.999\n2024-05-01T10:00:00\n1970-01-01 00:00:00.000000001";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
