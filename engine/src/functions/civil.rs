//! The civil calendar: days and microseconds since 1970-01-01 ⇄ year, month, day and time of day.
//!
//! Proleptic Gregorian, UTC, without leap seconds, as Flink counts; the algorithms are Howard
//! Hinnant's `days_from_civil` and `civil_from_days`.
//!
//! **Invariant.** Valid for every year from -290,000 to 290,000: all that 64-bit microseconds reach.

/// Microseconds of a second.
pub(crate) const SECOND_US: i64 = 1_000_000;
/// Microseconds of a minute.
pub(crate) const MINUTE_US: i64 = 60 * SECOND_US;
/// Microseconds of an hour.
pub(crate) const HOUR_US: i64 = 60 * MINUTE_US;
/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 24 * HOUR_US;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Civil {
    /// Astronomical year: 0 is 1 BC.
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: i64,
    /// 1 to 31.
    pub(crate) day: i64,
}

impl Civil {
    /// The day that is `days` after 1970-01-01.
    pub(crate) fn of_days(days: i64) -> Civil {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day,
        }
    }

    /// Days after 1970-01-01.
    pub(crate) fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted_month = (self.month + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }

    /// Whether the day exists.
    pub(crate) fn is_valid(self) -> bool {
        (1..=12).contains(&self.month) && (1..=days_in_month(self.year, self.month)).contains(&self.day)
    }

    /// The same day `months` later; the last day of the month where that day does not exist.
    pub(crate) fn plus_months(self, months: i64) -> Civil {
        let total = self.year * 12 + self.month - 1 + months;
        let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
        Civil {
            year,
            month,
            day: self.day.min(days_in_month(year, month)),
        }
    }

    /// 1 to 366.
    pub(crate) fn day_of_year(self) -> i64 {
        self.days()
            - Civil {
                month: 1,
                day: 1,
                ..self
            }
            .days()
            + 1
    }
}

/// 28 to 31.
pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

/// Monday = 1 to Sunday = 7.
pub(crate) fn iso_day_of_week(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// ISO week and the year it belongs to.
pub(crate) fn iso_week(days: i64) -> (i64, i64) {
    // The week belongs to the year of its Thursday.
    let thursday = days + 4 - iso_day_of_week(days);
    let civil = Civil::of_days(thursday);
    (civil.year, (civil.day_of_year() - 1) / 7 + 1)
}

/// Appends `value` with at least `width` digits.
pub(crate) fn push_digits(text: &mut Vec<u8>, value: i64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut rest = value.unsigned_abs();
    let mut used = 0;
    while rest > 0 || used < width {
        used += 1;
        digits[20 - used] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if value < 0 {
        text.push(b'-');
    }
    text.extend_from_slice(&digits[20 - used..]);
}

/// Appends `2024-01-31`.
pub(crate) fn push_date(text: &mut Vec<u8>, days: i64) {
    let civil = Civil::of_days(days);
    push_digits(text, civil.year, 4);
    text.push(b'-');
    push_digits(text, civil.month, 2);
    text.push(b'-');
    push_digits(text, civil.day, 2);
}

/// Appends `12:30:00`.
pub(crate) fn push_time(text: &mut Vec<u8>, second_of_day: i64) {
    push_digits(text, second_of_day / 3600, 2);
    text.push(b':');
    push_digits(text, second_of_day / 60 % 60, 2);
    text.push(b':');
    push_digits(text, second_of_day % 60, 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_over_eight_centuries() {
        let mut expected = Civil {
            year: 1600,
            month: 1,
            day: 1,
        };
        for days in expected.days()..=(Civil {
            year: 2400,
            month: 12,
            day: 31,
        })
        .days()
        {
            let civil = Civil::of_days(days);
            assert_eq!(civil, expected);
            assert_eq!(civil.days(), days);
            expected = match (civil.day < days_in_month(civil.year, civil.month), civil.month) {
                (true, _) => Civil {
                    day: civil.day + 1,
                    ..civil
                },
                (false, 12) => Civil {
                    year: civil.year + 1,
                    month: 1,
                    day: 1,
                },
                (false, month) => Civil {
                    month: month + 1,
                    day: 1,
                    ..civil
                },
            };
        }
    }

    #[test]
    fn weeks_follow_iso_8601() {
        let week = |year, month, day| iso_week(Civil { year, month, day }.days());
        assert_eq!(week(2021, 1, 3), (2020, 53));
        assert_eq!(week(2021, 1, 4), (2021, 1));
        assert_eq!(week(2024, 12, 30), (2025, 1));
        assert_eq!(iso_day_of_week(0), 4, "1970-01-01 was a Thursday");
    }

    #[test]
    fn months_end_where_they_end() {
        let last = Civil {
            year: 2024,
            month: 1,
            day: 31,
        };
        assert_eq!(
            last.plus_months(1),
            Civil {
                year: 2024,
                month: 2,
                day: 29
            }
        );
        assert_eq!(
            last.plus_months(-2),
            Civil {
                year: 2023,
                month: 11,
                day: 30
            }
        );
    }
}
