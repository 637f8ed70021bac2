//! `DATE_FORMAT(timestamp, pattern)`: Java's patterns (`yyyy-MM-dd HH:mm:ss.SSS`), as Flink has them.
//!
//! A literal pattern is read once per batch into parts; dates of neighbouring rows are mostly equal,
//! so the calendar is asked once per distinct day.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::operators::ingest::micros;

/// `DATE_FORMAT`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DateFormat {
    signature: Signature,
}

impl DateFormat {
    pub(crate) fn new() -> DateFormat {
        DateFormat {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for DateFormat {
    fn name(&self) -> &str {
        "date_format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let timestamp = match types {
            [timestamp @ DataType::Timestamp(..), pattern] if pattern.is_string() => timestamp.clone(),
            [DataType::Date32, pattern] | [DataType::Utf8, pattern] if pattern.is_string() => {
                DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None)
            }
            _ => return datafusion_common::plan_err!("DATE_FORMAT needs a timestamp and a pattern"),
        };
        Ok(vec![timestamp, DataType::Utf8])
    }

    fn return_type(&self, _argument_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = arguments.args[0].to_array(arguments.number_rows)?;
        let ColumnarValue::Scalar(ScalarValue::Utf8(pattern)) = &arguments.args[1] else {
            return exec_err!("DATE_FORMAT: the pattern must be a literal");
        };
        let Some(pattern) = pattern else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
        };
        let parts = read_pattern(pattern)?;
        let micros = micros(&times);
        let mut formatted = StringBuilder::with_capacity(times.len(), times.len() * (pattern.len() + 2));
        let mut day = Day::of(i64::MIN);
        let mut text = String::new();
        let mut last: Option<i64> = None;
        let resolution = resolution_us(&parts);
        for (row, &at) in micros.iter().enumerate() {
            if times.is_null(row) {
                formatted.append_null();
                continue;
            }
            // Neighbouring rows mostly fall into the same unit of the pattern.
            let unit = at.div_euclid(resolution);
            if last != Some(unit) {
                last = Some(unit);
                let number = at.div_euclid(86_400_000_000);
                if day.number != number {
                    day = Day::of(number);
                }
                text.clear();
                write_parts(&mut text, &parts, &day, at.rem_euclid(86_400_000_000));
            }
            formatted.append_value(&text);
        }
        let formatted: StringArray = formatted.finish();
        Ok(ColumnarValue::Array(Arc::new(formatted)))
    }
}

/// A day of the calendar.
struct Day {
    number: i64,
    date: NaiveDate,
}

impl Day {
    fn of(number: i64) -> Day {
        let date = DateTime::from_timestamp(number.saturating_mul(86_400), 0).map(|at| at.date_naive());
        Day {
            number,
            date: date.unwrap_or(NaiveDate::MIN),
        }
    }
}

/// A part of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// Letters repeated: which, and how often.
    Field(char, usize),
    /// Text that stands for itself.
    Text(String),
}

fn read_pattern(pattern: &str) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            'y' | 'u' | 'M' | 'd' | 'H' | 'h' | 'm' | 's' | 'S' | 'a' | 'E' | 'D' => {
                let mut count = 1;
                while letters.next_if_eq(&letter).is_some() {
                    count += 1;
                }
                parts.push(Part::Field(letter, count));
            }
            '\'' => {
                let mut text = String::new();
                for quoted in letters.by_ref().take_while(|&quoted| quoted != '\'') {
                    text.push(quoted);
                }
                parts.push(Part::Text(if text.is_empty() { "'".to_string() } else { text }));
            }
            letter if letter.is_ascii_alphabetic() => {
                return exec_err!(
                    "DATE_FORMAT: the letter `{letter}` of pattern '{pattern}' is not supported"
                );
            }
            other => parts.push(Part::Text(other.to_string())),
        }
    }
    Ok(parts)
}

/// Microseconds within which the formatted text cannot change.
fn resolution_us(parts: &[Part]) -> i64 {
    let of = |part: &Part| match part {
        Part::Field('S', _) => 1,
        Part::Field('s', _) => 1_000_000,
        Part::Field('m', _) => 60_000_000,
        Part::Field('H' | 'h' | 'a', _) => 3_600_000_000,
        _ => 86_400_000_000,
    };
    parts.iter().map(of).min().unwrap_or(86_400_000_000)
}

fn write_parts(text: &mut String, parts: &[Part], day: &Day, time_us: i64) {
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
    let date = &day.date;
    let hour = time_us / 3_600_000_000;
    for part in parts {
        let (field, count) = match part {
            Part::Text(fixed) => {
                text.push_str(fixed);
                continue;
            }
            Part::Field(field, count) => (*field, *count),
        };
        let name = |names: &[&'static str], index: usize| {
            if count > 3 {
                names[index]
            } else {
                &names[index][..3]
            }
        };
        let number: i64 = match field {
            'y' | 'u' if count == 2 => i64::from(date.year().rem_euclid(100)),
            'y' | 'u' => i64::from(date.year()),
            'M' if count >= 3 => {
                text.push_str(name(&MONTHS, date.month0() as usize));
                continue;
            }
            'M' => i64::from(date.month()),
            'd' => i64::from(date.day()),
            'D' => i64::from(date.ordinal()),
            'E' => {
                text.push_str(name(&DAYS, date.weekday().num_days_from_monday() as usize));
                continue;
            }
            'H' => hour,
            'h' => (hour + 11) % 12 + 1,
            'm' => time_us / 60_000_000 % 60,
            's' => time_us / 1_000_000 % 60,
            'a' => {
                text.push_str(if hour < 12 { "AM" } else { "PM" });
                continue;
            }
            'S' => {
                let nanos = format!("{:09}", time_us % 1_000_000 * 1_000);
                text.push_str(&nanos[..count.min(9)]);
                continue;
            }
            other => unreachable!("invariant: `{other}` was refused when the pattern was read"),
        };
        write!(text, "{number:0count$}").expect("invariant: writing to a string succeeds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, at_us: i64, expected: &str) {
        let mut text = String::new();
        let day = Day::of(at_us.div_euclid(86_400_000_000));
        write_parts(
            &mut text,
            &read_pattern(pattern).unwrap(),
            &day,
            at_us.rem_euclid(86_400_000_000),
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn fields_are_padded_to_their_letters() {
        check(
            "yyyy-MM-dd HH:mm:ss.SSS",
            1_700_000_000_123_000,
            "2023-11-14 22:13:20.123",
        );
        check("yy/M/d h:m a", 1_700_000_000_123_000, "23/11/14 10:13 PM");
        check(
            "EEE, dd MMM yyyy 'at' HH''mm",
            1_700_000_000_123_000,
            "Tue, 14 Nov 2023 at 22'13",
        );
    }

    #[test]
    fn times_before_1970_have_their_day() {
        check("yyyy-MM-dd HH:mm", -60_000_000, "1969-12-31 23:59");
    }

    #[test]
    fn unknown_letters_are_refused() {
        assert!(read_pattern("yyyy-QQ").is_err());
    }
}
