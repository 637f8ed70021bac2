//! What reaches the control thread: one queue for shards and signals.

use shards::checkpoint::ShardSnapshot;
use shards::profile::ShardProfile;

/// Something that the control thread must know.
#[derive(Debug)]
pub enum Event {
    /// The shard's executor is up and its part of the job is made.
    Ready(usize),
    /// The shard's loop has ended; nothing follows from it.
    Ended(usize, Result<(), Failure>),
    /// What a shard measured since it last told.
    Measured(Box<ShardProfile>),
    /// A shard's part of an epoch.
    Captured(Box<ShardSnapshot>),
    /// A signal of this number was delivered to the process.
    Signal(i32),
}

/// Why a shard stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The executor could not start: pinning or io_uring failed after all.
    Start(String),
    /// A source, an operator or a sink met an error: the message for the user.
    Job(String),
    /// A broken invariant: the panic's message.
    Panic(String),
    /// Another shard's end left this one without input: that shard's own failure says why.
    Consequence(String),
}
