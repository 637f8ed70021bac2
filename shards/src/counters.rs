//! What a shard tells while it runs: a cache-padded line of relaxed atomics, written by the shard
//! alone and read by the control thread for progress. Totals may be one step behind.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

/// The counters of one shard.
#[derive(Debug, Default)]
pub struct ShardCounters {
    line: CachePadded<Line>,
}

#[derive(Debug)]
struct Line {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    bytes_in: AtomicU64,
    late_rows: AtomicU64,
    malformed: AtomicU64,
    clamped: AtomicU64,
    state_bytes: AtomicU64,
    watermark_us: AtomicI64,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            late_rows: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            clamped: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            watermark_us: AtomicI64::new(i64::MIN),
        }
    }
}

/// A reading of a shard's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterValues {
    /// Rows delivered by sources.
    pub rows_in: u64,
    /// Rows written to sinks.
    pub rows_out: u64,
    /// Bytes read by sources.
    pub bytes_in: u64,
    /// Rows dropped because their window was complete already.
    pub late_rows: u64,
    /// Records that could not be decoded and were skipped or set aside.
    pub malformed: u64,
    /// Event times too far in the future that were not trusted.
    pub clamped: u64,
    /// Bytes of operator state.
    pub state_bytes: u64,
    /// The lowest watermark of the shard's sources; `i64::MIN` before the first.
    pub watermark_us: i64,
}

impl ShardCounters {
    /// Publishes new totals; called by the shard alone.
    pub fn publish(&self, values: &CounterValues) {
        let line = &self.line;
        line.rows_in.store(values.rows_in, Ordering::Relaxed);
        line.rows_out.store(values.rows_out, Ordering::Relaxed);
        line.bytes_in.store(values.bytes_in, Ordering::Relaxed);
        line.late_rows.store(values.late_rows, Ordering::Relaxed);
        line.malformed.store(values.malformed, Ordering::Relaxed);
        line.clamped.store(values.clamped, Ordering::Relaxed);
        line.state_bytes.store(values.state_bytes, Ordering::Relaxed);
        line.watermark_us.store(values.watermark_us, Ordering::Relaxed);
    }

    /// The newest totals.
    pub fn read(&self) -> CounterValues {
        let line = &self.line;
        CounterValues {
            rows_in: line.rows_in.load(Ordering::Relaxed),
            rows_out: line.rows_out.load(Ordering::Relaxed),
            bytes_in: line.bytes_in.load(Ordering::Relaxed),
            late_rows: line.late_rows.load(Ordering::Relaxed),
            malformed: line.malformed.load(Ordering::Relaxed),
            clamped: line.clamped.load(Ordering::Relaxed),
            state_bytes: line.state_bytes.load(Ordering::Relaxed),
            watermark_us: line.watermark_us.load(Ordering::Relaxed),
        }
    }
}

impl Default for CounterValues {
    fn default() -> CounterValues {
        ShardCounters::default().read()
    }
}
