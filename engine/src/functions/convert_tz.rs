//! `CONVERT_TZ(text, from, to)`: a local time of one zone as the local time of another.
//!
//! **Invariant.** A local time that a zone leaves out (the clock is put forward) is read with the offset before;
//! one that it has twice is the earlier. What is no time is NULL.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{ScalarFunctionArgs, ScalarUDF};

use crate::functions::native::{NativeFunction, TextArgument};
use crate::functions::time_pattern::parse_plain;

/// The functions of this family.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![NativeFunction::coercing("convert_tz", types, |_| Ok(DataType::Utf8), convert).shared()]
}

fn types(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [_, _, _] => Ok(vec![DataType::Utf8; 3]),
        _ => plan_err!(
            "CONVERT_TZ needs a time as text and two zones: CONVERT_TZ('1970-01-01 00:00:00', 'UTC', 'Europe/Berlin')"
        ),
    }
}

/// The zone of that name: `Europe/Berlin`, `UTC`, `GMT-08:00`.
fn zone(name: &str) -> Option<Tz> {
    let offset = name.strip_prefix("GMT").or(name.strip_prefix("UTC"));
    match offset {
        Some("" | "Z") => Tz::from_str("UTC").ok(),
        Some(offset) => Tz::from_str(offset).ok(),
        None => Tz::from_str(name).ok(),
    }
}

/// What is wrong with the zone `name`.
pub(super) fn check_zone(name: &str) -> Result<(), String> {
    match zone(name) {
        Some(_) => Ok(()),
        None => Err(format!(
            "'{name}' is not a time zone; zones are 'UTC', 'Europe/Berlin', 'GMT-08:00'"
        )),
    }
}

/// The zones that were looked up last: rows nearly always name the same.
struct Zones {
    /// From, to.
    names: [String; 2],
    /// `None` if one is no zone.
    pair: Option<(Tz, Tz)>,
}

fn convert(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let [texts, from, to] = [0, 1, 2].map(|index| TextArgument::of(args, index));
    let (texts, from, to) = (texts?, from?, to?);
    let mut converted = StringBuilder::with_capacity(args.number_rows, args.number_rows * 19);
    let mut zones: Option<Zones> = None;
    for row in 0..args.number_rows {
        let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row)) else {
            converted.append_null();
            continue;
        };
        let known = zones.take().filter(|known| known.names == [from, to]);
        let known = known.unwrap_or_else(|| Zones {
            names: [from, to].map(str::to_string),
            pair: zone(from).zip(zone(to)),
        });
        let pair = known.pair;
        zones = Some(known);
        converted.append_option(pair.and_then(|(from, to)| converted_time(text.trim(), from, to)));
    }
    Ok(Arc::new(converted.finish()))
}

fn converted_time(text: &str, from: Tz, to: Tz) -> Option<String> {
    let local = DateTime::from_timestamp_micros(parse_plain(text)?)?.naive_utc();
    let instant = instant_of(local, from)?;
    let there = to.from_utc_datetime(&instant).naive_local();
    Some(there.format("%Y-%m-%d %H:%M:%S").to_string())
}

/// The instant, in UTC, at which clocks of `zone` show `local`.
fn instant_of(local: NaiveDateTime, zone: Tz) -> Option<NaiveDateTime> {
    match zone.from_local_datetime(&local).earliest() {
        Some(instant) => Some(instant.naive_utc()),
        None => {
            let before = local.checked_sub_signed(TimeDelta::days(1))?;
            let offset = zone.offset_from_utc_datetime(&before).fix();
            local.checked_sub_offset(offset)
        }
    }
}
