//! Kafka tables against a real broker: the one that VELOCORE_KAFKA names. `scripts/check-kafka` starts one and runs these
//! tests; without it they say that they were left out.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;
mod exactly_once;
mod failures;
mod job;
mod plain;
mod rows;
