//! Event time: 64-bit microseconds since the epoch, and the watermark that speaks of it.

/// Event time in microseconds since 1970-01-01 00:00:00 UTC.
pub type EventTimeUs = i64;

/// The promise that no row with an event time at or before it will follow.
///
/// [`WATERMARK_NONE`] before the first promise, [`WATERMARK_END`] once the input has ended.
pub type WatermarkUs = i64;

/// No promise yet.
pub const WATERMARK_NONE: WatermarkUs = i64::MIN;

/// The input has ended: everything may fire.
pub const WATERMARK_END: WatermarkUs = i64::MAX;

pub mod watermark;
