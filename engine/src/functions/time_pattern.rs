//! Java's date and time patterns (`yyyy-MM-dd HH:mm:ss.SSS`): printing and reading instants.
//!
//! **Invariant.** A letter that is not understood is an error when the pattern is read, never a
//! wrong text.

use datafusion_common::{Result, exec_err};

use crate::functions::civil::{Civil, DAY_US, HOUR_US, MINUTE_US, SECOND_US, iso_day_of_week, push_digits};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A letter, repeated.
    Field(u8, usize),
    /// Text that stands for itself.
    Text(String),
}

/// A pattern, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimePattern {
    parts: Vec<Part>,
}

impl TimePattern {
    /// Reads a pattern.
    pub(crate) fn read(pattern: &str) -> Result<TimePattern> {
        let mut parts: Vec<Part> = Vec::new();
        let mut letters = pattern.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                'y' | 'u' | 'M' | 'd' | 'H' | 'h' | 'm' | 's' | 'S' | 'a' | 'E' | 'D' => {
                    let mut count = 1;
                    while letters.next_if_eq(&letter).is_some() {
                        count += 1;
                    }
                    parts.push(Part::Field(letter as u8, count));
                }
                '\'' => {
                    let quoted: String = letters.by_ref().take_while(|&quoted| quoted != '\'').collect();
                    parts.push(Part::Text(if quoted.is_empty() {
                        "'".to_string()
                    } else {
                        quoted
                    }));
                }
                letter if letter.is_ascii_alphabetic() => {
                    return exec_err!(
                        "the letter `{letter}` of the time pattern '{pattern}' is not supported; \
                         letters are y, M, d, D, E, H, h, m, s, S and a"
                    );
                }
                other => parts.push(Part::Text(other.to_string())),
            }
        }
        Ok(TimePattern { parts })
    }

    /// Microseconds within which the printed text cannot change.
    pub(crate) fn resolution_us(&self) -> i64 {
        let of = |part: &Part| match part {
            Part::Field(b'S', _) => 1,
            Part::Field(b's', _) => SECOND_US,
            Part::Field(b'm', _) => MINUTE_US,
            Part::Field(b'H' | b'h' | b'a', _) => HOUR_US,
            _ => DAY_US,
        };
        self.parts.iter().map(of).min().unwrap_or(DAY_US)
    }

    /// Appends the instant `at_us` (microseconds since the epoch).
    pub(crate) fn print(&self, text: &mut Vec<u8>, at_us: i64) {
        let (days, time_us) = (at_us.div_euclid(DAY_US), at_us.rem_euclid(DAY_US));
        let date = Civil::of_days(days);
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.extend_from_slice(fixed.as_bytes()),
                Part::Field(field, count) => print_field(text, *field, *count, date, days, time_us),
            }
        }
    }

    /// The instant that `text` names, in microseconds; `None` where it does not fit the pattern.
    pub(crate) fn parse(&self, text: &str) -> Option<i64> {
        let mut found = Found::default();
        let mut rest = text;
        for (index, part) in self.parts.iter().enumerate() {
            rest = match part {
                Part::Text(fixed) => rest.strip_prefix(fixed.as_str())?,
                Part::Field(field, count) => {
                    let adjacent = matches!(self.parts.get(index + 1), Some(Part::Field(..)));
                    found.take(*field, *count, adjacent, rest)?
                }
            };
        }
        if rest.is_empty() { found.instant_us() } else { None }
    }
}

fn print_field(text: &mut Vec<u8>, field: u8, count: usize, date: Civil, days: i64, time_us: i64) {
    let mut name = |names: &[&'static str], index: i64| {
        let name = names[index as usize];
        text.extend_from_slice(if count > 3 {
            name.as_bytes()
        } else {
            &name.as_bytes()[..3]
        });
    };
    let hour = time_us / HOUR_US;
    let number = match field {
        b'M' if count >= 3 => return name(&MONTHS, date.month - 1),
        b'E' => return name(&DAYS, iso_day_of_week(days) - 1),
        b'a' => return text.extend_from_slice(if hour < 12 { b"AM" } else { b"PM" }),
        b'S' => {
            let start = text.len();
            push_digits(text, time_us % SECOND_US, 6);
            text.resize(start + count, b'0');
            return;
        }
        b'y' | b'u' if count == 2 => date.year.rem_euclid(100),
        b'y' | b'u' => date.year,
        b'M' => date.month,
        b'd' => date.day,
        b'D' => date.day_of_year(),
        b'H' => hour,
        b'h' => (hour + 11) % 12 + 1,
        b'm' => time_us / MINUTE_US % 60,
        b's' => time_us / SECOND_US % 60,
        other => unreachable!(
            "invariant: `{}` was refused when the pattern was read",
            other as char
        ),
    };
    push_digits(text, number, count);
}

/// What a text has said so far.
struct Found {
    date: Civil,
    day_of_year: Option<i64>,
    hour: i64,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    fraction_us: i64,
}

impl Default for Found {
    fn default() -> Found {
        Found {
            date: Civil {
                year: 1970,
                month: 1,
                day: 1,
            },
            day_of_year: None,
            hour: 0,
            afternoon: None,
            minute: 0,
            second: 0,
            fraction_us: 0,
        }
    }
}

impl Found {
    /// Reads one field from the front of `text`; what is left of it.
    fn take<'t>(&mut self, field: u8, count: usize, adjacent: bool, text: &'t str) -> Option<&'t str> {
        match field {
            b'M' if count >= 3 => {
                let (index, rest) = take_name(&MONTHS, count, text)?;
                self.date.month = index + 1;
                return Some(rest);
            }
            b'E' => return take_name(&DAYS, count, text).map(|(_, rest)| rest),
            b'a' => {
                let half = text.get(..2)?;
                self.afternoon = Some(match half.to_ascii_uppercase().as_str() {
                    "AM" => false,
                    "PM" => true,
                    _ => return None,
                });
                return Some(&text[2..]);
            }
            _ => {}
        }
        let most = match (field, count) {
            (_, _) if adjacent => count,
            (b'y' | b'u', 4..) => 9,
            (_, 1) => 9,
            _ => count,
        };
        let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if digits < count {
            return None;
        }
        let number: i64 = text[..digits].parse().ok()?;
        match field {
            b'y' | b'u' if count == 2 => self.date.year = 2000 + number,
            b'y' | b'u' => self.date.year = number,
            b'M' => self.date.month = number,
            b'd' => self.date.day = number,
            b'D' => self.day_of_year = Some(number),
            b'H' | b'h' => self.hour = number,
            b'm' => self.minute = number,
            b's' => self.second = number,
            b'S' => self.fraction_us = fraction_us(&text[..digits])?,
            _ => return None,
        }
        Some(&text[digits..])
    }

    fn instant_us(self) -> Option<i64> {
        let hour = match self.afternoon {
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
            None => self.hour,
        };
        let fits = hour < 24 && self.minute < 60 && self.second < 60 && self.date.is_valid();
        let days = match self.day_of_year {
            Some(day) => {
                Civil {
                    month: 1,
                    day: 1,
                    ..self.date
                }
                .days()
                    + day
                    - 1
            }
            None => self.date.days(),
        };
        let time_us = hour * HOUR_US + self.minute * MINUTE_US + self.second * SECOND_US + self.fraction_us;
        fits.then(|| days.checked_mul(DAY_US)?.checked_add(time_us))
            .flatten()
    }
}

fn take_name<'t>(names: &[&str], count: usize, text: &'t str) -> Option<(i64, &'t str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = if count > 3 { name } else { &name[..3] };
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name)
            .then(|| (index as i64, &text[name.len()..]))
    })
}

/// Digits behind the point as microseconds; finer digits are cut off.
pub(crate) fn fraction_us(digits: &str) -> Option<i64> {
    let kept = &digits[..digits.len().min(6)];
    let number: i64 = kept.parse().ok()?;
    Some(number * 10_i64.pow(6 - kept.len() as u32))
}

/// `2024-01-31`, `2024-01-31 12:30`, `2024-01-31T12:30:59.123456` in microseconds: what CAST and
/// TO_TIMESTAMP read without a pattern.
pub(crate) fn parse_plain(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, time) = match text.find([' ', 'T']) {
        Some(gap) => (&text[..gap], Some(text[gap + 1..].trim_start())),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let mut number = || {
        parts
            .next()
            .filter(|part| !part.is_empty() && part.len() <= 9)?
            .parse::<i64>()
            .ok()
    };
    let civil = Civil {
        year: number()?,
        month: number()?,
        day: number()?,
    };
    if !civil.is_valid() {
        return None;
    }
    let time_us = match time {
        Some(time) => parse_time(time.strip_suffix('Z').unwrap_or(time))?,
        None => 0,
    };
    civil.days().checked_mul(DAY_US)?.checked_add(time_us)
}

fn parse_time(text: &str) -> Option<i64> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, digits)) => {
            let all_digits =
                !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
            (
                clock,
                if all_digits {
                    fraction_us(digits)?
                } else {
                    return None;
                },
            )
        }
        None => (text, 0),
    };
    let mut parts = clock.split(':');
    let mut number = |limit: i64| {
        let part = parts.next().filter(|part| matches!(part.len(), 1 | 2))?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse::<i64>().ok())?
            .filter(|&n| n < limit)
    };
    let (hour, minute) = (number(24)?, number(60)?);
    let second = match number(60) {
        Some(second) => second,
        None if clock.matches(':').count() == 1 => 0,
        None => return None,
    };
    (clock.matches(':').count() <= 2)
        .then_some(hour * HOUR_US + minute * MINUTE_US + second * SECOND_US + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_700_000_000_123_000;

    fn check(pattern: &str, at_us: i64, expected: &str) {
        let mut text = Vec::new();
        TimePattern::read(pattern).unwrap().print(&mut text, at_us);
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn fields_are_padded_to_their_letters() {
        check("yyyy-MM-dd HH:mm:ss.SSS", AT, "2023-11-14 22:13:20.123");
        check("yy/M/d h:m a", AT, "23/11/14 10:13 PM");
        check("EEE, dd MMM yyyy 'at' HH''mm", AT, "Tue, 14 Nov 2023 at 22'13");
        check("D EEEE MMMM S SSSSSSSSS", AT, "318 Tuesday November 1 123000000");
    }

    #[test]
    fn times_before_1970_have_their_day() {
        check("yyyy-MM-dd HH:mm", -60_000_000, "1969-12-31 23:59");
    }

    #[test]
    fn unknown_letters_are_refused() {
        assert!(TimePattern::read("yyyy-QQ").is_err());
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for pattern in [
            "yyyy-MM-dd HH:mm:ss.SSS",
            "dd MMM yyyy hh:mm:ss.SSS a",
            "yyyyMMddHHmmssSSS",
            "yyyy D HH:mm:ss.SSS",
        ] {
            let pattern = TimePattern::read(pattern).unwrap();
            let mut text = Vec::new();
            pattern.print(&mut text, AT);
            assert_eq!(pattern.parse(std::str::from_utf8(&text).unwrap()), Some(AT));
        }
        assert_eq!(TimePattern::read("yyyy-MM-dd").unwrap().parse("2023-02-30"), None);
    }

    #[test]
    fn plain_timestamps_are_read_in_their_forms() {
        assert_eq!(parse_plain("1970-01-02"), Some(DAY_US));
        assert_eq!(parse_plain("1970-01-01 00:01"), Some(MINUTE_US));
        assert_eq!(parse_plain("1970-01-01T00:00:01.5Z"), Some(1_500_000));
        for wrong in [
            "",
            "1970",
            "1970-13-01",
            "1970-01-01 24:00",
            "1970-01-01 1",
            "x-y-z",
            "1970-01-01 00:00:01.",
        ] {
            assert_eq!(parse_plain(wrong), None, "{wrong}");
        }
    }
}
