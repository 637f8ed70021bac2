//! What is said of state that is kept by key: for ever, or for its time to live.

use crate::plan::StateGrowth;
use crate::plan::display::duration;

/// The growth of `what`, kept for `ttl_us` microseconds after it changed last, or for ever.
pub(crate) fn kept_for(what: String, ttl_us: Option<u64>) -> StateGrowth {
    match ttl_us {
        None => StateGrowth::PerKey(format!("{what}, kept for ever")),
        Some(ttl_us) => StateGrowth::Bounded(format!(
            "{what} that changed within the time to live ({})",
            duration(i64::try_from(ttl_us).unwrap_or(i64::MAX))
        )),
    }
}
