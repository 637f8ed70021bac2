//! Limits of records, and how a record that exceeds them is told.

pub use engine::formats::RECORD_BYTES_MAX;
pub use engine::formats::boundary::{RecordBoundary, count_lines};

/// The message for a record that is longer than is accepted.
pub fn record_too_long(place: &str) -> String {
    format!(
        "{place}: a record is longer than {} MiB, the most that is accepted; is this a text file with one record a line?",
        RECORD_BYTES_MAX >> 20
    )
}
