//! The shards of Velocore: how rows move between cores, and the loop each core runs.
//!
//! - [`ring`]: the bounded single-producer/single-consumer ring, the project's only `unsafe`;
//! - [`mesh`]: one ring per ordered pair of shards, credits per edge, sleep flags;
//! - [`exchange`], [`routes`], [`inbox`]: rows out to their owners, rows in with barriers aligned;
//! - [`epoch`]: the atomic epoch clock that barriers and the graceful stop go by;
//! - [`checkpoint`]: what a shard hands over at the end of an epoch, its bytes, and recovery as a decision;
//! - [`connector`]: what the shard asks of a source and a sink;
//! - [`shard`]: `Shard::step`, which ties them together; [`profile`], [`counters`]: what it tells.
//!
//! **Invariant.** Nothing here starts a thread, opens a file, or reads a clock: time is handed in
//! through [`clock::Clock`], so the deterministic simulator runs this very code.

pub mod budget;
pub mod checkpoint;
pub mod clock;
pub mod connector;
pub mod counters;
pub mod epoch;
pub mod exchange;
pub mod inbox;
pub mod limits;
pub mod mesh;
pub mod parker;
pub mod profile;
pub mod ring;
pub mod routes;
pub mod shard;
mod sync;
