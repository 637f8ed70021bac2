//! Keyed state: group tables and accumulators.
