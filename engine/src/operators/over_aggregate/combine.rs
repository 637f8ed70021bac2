//! How the values in a frame combine: one monoid per aggregate, over the values of one type.
//!
//! **Invariant.** `combine` is associative up to rounding and `identity` changes nothing, so that a
//! frame may be put together from parts.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::operators::over_aggregate::frozen::Frozen;

/// A monoid over values.
pub(super) trait Combine: 'static {
    /// A value; a row's, or what several rows combine to.
    type Value: Clone + Frozen + 'static;

    /// The value of no rows.
    fn identity() -> Self::Value;

    /// The value of `older` rows followed by `newer` ones.
    fn combine(older: &Self::Value, newer: &Self::Value) -> Self::Value;
}

/// No value at all, where only the number of rows counts.
pub(super) struct Presence;

impl Combine for Presence {
    type Value = ();

    fn identity() {}

    fn combine(_older: &(), _newer: &()) {}
}

/// Sums of floats. Frames are put together by addition alone, nothing is ever subtracted: what has
/// left a frame leaves no trace, be it huge, infinite or NaN.
pub(super) struct FloatSum;

impl Combine for FloatSum {
    type Value = f64;

    #[inline(always)]
    fn identity() -> f64 {
        0.0
    }

    #[inline(always)]
    fn combine(older: &f64, newer: &f64) -> f64 {
        older + newer
    }
}

/// Sums of floats with what rounding lost (Neumaier), for frames without a bound: (sum, lost).
pub(super) struct CompensatedSum;

impl Combine for CompensatedSum {
    type Value = (f64, f64);

    fn identity() -> (f64, f64) {
        (0.0, 0.0)
    }

    #[inline(always)]
    fn combine(older: &(f64, f64), newer: &(f64, f64)) -> (f64, f64) {
        let sum = older.0 + newer.0;
        let lost = if older.0.abs() >= newer.0.abs() {
            (older.0 - sum) + newer.0
        } else {
            (newer.0 - sum) + older.0
        };
        // Beside an infinity nothing is lost.
        let lost = if lost.is_finite() { lost } else { 0.0 };
        (sum, older.1 + newer.1 + lost)
    }
}

/// Sums of integers and decimals in 128 bits; at the end of their range they stay there, which
/// no result type can hold.
pub(super) struct WideSum;

impl Combine for WideSum {
    type Value = i128;

    #[inline(always)]
    fn identity() -> i128 {
        0
    }

    #[inline(always)]
    fn combine(older: &i128, newer: &i128) -> i128 {
        older.saturating_add(*newer)
    }
}

/// The least value, or the greatest.
pub(super) struct Extreme<V, const MAXIMUM: bool>(PhantomData<V>);

macro_rules! integer_extreme {
    ($type:ty) => {
        impl<const MAXIMUM: bool> Combine for Extreme<$type, MAXIMUM> {
            type Value = $type;

            #[inline(always)]
            fn identity() -> $type {
                if MAXIMUM { <$type>::MIN } else { <$type>::MAX }
            }

            #[inline(always)]
            fn combine(older: &$type, newer: &$type) -> $type {
                if MAXIMUM {
                    *older.max(newer)
                } else {
                    *older.min(newer)
                }
            }
        }
    };
}

integer_extreme!(i64);
integer_extreme!(i128);

/// A text, or no text.
pub(super) type Text = Option<Arc<[u8]>>;

impl<const MAXIMUM: bool> Combine for Extreme<Text, MAXIMUM> {
    type Value = Text;

    fn identity() -> Text {
        None
    }

    fn combine(older: &Text, newer: &Text) -> Text {
        let (Some(left), Some(right)) = (older, newer) else {
            return older.clone().or_else(|| newer.clone());
        };
        let wins = if MAXIMUM {
            Ordering::Greater
        } else {
            Ordering::Less
        };
        if right.cmp(left) == wins {
            newer.clone()
        } else {
            older.clone()
        }
    }
}
