//! What a shard tells while it runs: one cache-padded line of relaxed atomics, written by the
//! shard alone and read by the control thread for progress.
