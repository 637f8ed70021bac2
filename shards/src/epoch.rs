//! The epoch clock: one atomic that asks for an epoch, one cache-padded line per shard that answers.
//!
//! The control thread raises `requested`; every shard reads it once per loop, its sources stop at
//! a record boundary and send a barrier behind their rows; a shard whose sinks have all met the
//! barrier publishes `captured`. The graceful stop is a last epoch with the stop flag.
