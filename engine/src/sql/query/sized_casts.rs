//! Casts to types with a length or a precision, which DataFusion's types do not have:
//! `CAST(x AS VARCHAR(3))` cuts, `CAST(x AS CHAR(3))` cuts and pads, `CAST(x AS TIMESTAMP(0))` drops what is
//! below a second.

use sqlparser::ast::{CastKind, CharacterLength, DataType, Expr, Ident, TimezoneInfo, Value};

use super::syntax::{call, string};

/// Lengths from here on mean STRING.
const UNLIMITED: u64 = i32::MAX as u64;

/// The call around a cast of `expr`, if its type has a length or precision of its own.
pub(super) fn sized_cast(expr: &Expr) -> Option<Expr> {
    let Expr::Cast { kind, data_type, .. } = expr else {
        return None;
    };
    if !matches!(kind, CastKind::Cast | CastKind::TryCast) {
        return None;
    }
    match data_type {
        DataType::Varchar(Some(length)) | DataType::CharacterVarying(Some(length)) => {
            let length = limited(length)?;
            Some(call(Ident::new("left"), vec![unsized_cast(expr), length]))
        }
        DataType::Char(length) | DataType::Character(length) => {
            // CHAR alone is CHAR(1).
            let length = match length {
                Some(length) => limited(length)?,
                None => number(1),
            };
            let padding = string(" ".to_string());
            Some(call(
                Ident::new("rpad"),
                vec![unsized_cast(expr), length, padding],
            ))
        }
        DataType::Timestamp(Some(0), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            let unit = string("SECOND".to_string());
            let milliseconds = with_type(expr, DataType::Timestamp(Some(3), TimezoneInfo::None));
            Some(call(Ident::new("floor_time"), vec![unit, milliseconds]))
        }
        _ => None,
    }
}

fn limited(length: &CharacterLength) -> Option<Expr> {
    match length {
        CharacterLength::IntegerLength { length, .. } if *length < UNLIMITED => Some(number(*length)),
        _ => None,
    }
}

fn number(value: u64) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

fn unsized_cast(cast: &Expr) -> Expr {
    with_type(cast, DataType::String(None))
}

fn with_type(cast: &Expr, other: DataType) -> Expr {
    let mut cast = cast.clone();
    if let Expr::Cast { data_type, .. } = &mut cast {
        *data_type = other;
    }
    cast
}
