//! Where the microseconds went, kept and shown: HdrHistograms by tag.
//!
//! ```text
//! shard ─ profile ─▶ control thread ─ collect ─▶ *.hlog ─▶ velocore hist: table, SVG
//! ```
//! [`profile`] collects what shards measured, [`log`] writes interval logs, [`read`] reads and merges them, [`table`] and [`plot`] show them.
//!
//! **Invariant.** Values are nanoseconds everywhere; only what a person reads is in microseconds.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use thiserror::Error;

pub mod log;
pub mod plot;
pub mod profile;
pub mod read;
pub mod table;

/// Histograms by tag, in the order shown.
pub type HistogramSet = BTreeMap<String, Histogram<u64>>;

/// A histogram file that cannot be written or read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct HistogramError(pub String);

/// Adds `histogram` to what `set` has under `tag`; an empty one leaves no trace.
pub fn merge(set: &mut HistogramSet, tag: &str, histogram: &Histogram<u64>) {
    if histogram.is_empty() {
        return;
    }
    match set.get_mut(tag) {
        Some(merged) => merged
            .add(histogram)
            .expect("invariant: merged histograms grow to what they are given"),
        None => {
            let mut merged = histogram.clone();
            merged.auto(true);
            set.insert(tag.to_owned(), merged);
        }
    }
}

/// A tag as interval logs accept it: spaces and commas become dashes.
pub fn tag(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_whitespace() || c.is_control() || c == ',' {
                '-'
            } else {
                c
            }
        })
        .collect()
}

/// Nanoseconds as microseconds, as people read them.
pub fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_of_one_tag_add_up_and_grow() {
        let mut narrow = Histogram::new_with_max(1_000, 3).expect("bounds");
        narrow.record(10).expect("in bounds");
        let mut wide = Histogram::new_with_max(1_000_000_000, 3).expect("bounds");
        wide.record(500_000_000).expect("in bounds");
        let mut set = HistogramSet::new();
        merge(&mut set, "a", &narrow);
        merge(&mut set, "a", &wide);
        merge(&mut set, "nothing", &Histogram::new(3).expect("digits"));
        assert_eq!(set.len(), 1);
        assert_eq!(set["a"].len(), 2);
        assert!(set["a"].max() >= 500_000_000);
    }

    #[test]
    fn a_tag_holds_neither_spaces_nor_commas() {
        assert_eq!(
            tag("shard-0/service/hash by a, b"),
            "shard-0/service/hash-by-a--b"
        );
    }
}
