//! Planted bugs: mistakes that somebody could make in the product, made on purpose, so that the simulator proves it
//! can fail.
//!
//! A mistake is made where the product meets its surroundings (around an operator, a source, a sink, what takes
//! snapshots, what keeps them), by wrappers that behave as the product would if it held the mistake. So the
//! product has no hook and pays nothing, and no bug needs a build of its own.
//!
//! **Invariant.** Without a bug no wrapper is there at all.

pub mod courier;
pub mod operator;
pub mod sink;
pub mod source;

use std::ops::Range;

use crate::simulation::case::Case;
use crate::simulation::failure_of;
use crate::simulation::queries::Plans;
use crate::simulation::shrink::Failure;

/// The first of `seeds` that fails with `bug` planted, and how. The caller makes sure that seeds hold without it.
pub fn hunt(bug: Bug, seeds: Range<u64>, plans: &mut Plans) -> Option<Failure> {
    seeds.into_iter().find_map(|seed| {
        let case = match bug.needs_crashes() {
            true => Case::crashing(seed),
            false => Case::of(seed),
        };
        let case = case.with(bug);
        failure_of(&case, plans).map(|error| Failure { case, error })
    })
}

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    BarrierOvertakesRows,
    WatermarkOvertakesRows,
    PartialLostAtFlush,
    RetractionDropped,
    WindowEndIncluded,
    StateToWrongShard,
    StateToEveryShard,
    TableForgotten,
    RowForgotten,
    WatermarkTooHigh,
    OffsetTooFar,
    OffsetTooNear,
    OutputLeftInBuffer,
    ShardNotWaitedFor,
    CommitBeforeManifest,
    CommittedTwiceOnRestore,
    OlderEpochChosen,
    FileNotSynced,
    DirectoryNotSynced,
    RestoredNotSynced,
    LostOutputStaysVisible,
    CollectedTooEarly,
    KeptFileDeleted,
    KeptThoughChanged,
    WakeUpLost,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 25] = [
        Bug::BarrierOvertakesRows,
        Bug::WatermarkOvertakesRows,
        Bug::PartialLostAtFlush,
        Bug::RetractionDropped,
        Bug::WindowEndIncluded,
        Bug::StateToWrongShard,
        Bug::StateToEveryShard,
        Bug::TableForgotten,
        Bug::RowForgotten,
        Bug::WatermarkTooHigh,
        Bug::OffsetTooFar,
        Bug::OffsetTooNear,
        Bug::OutputLeftInBuffer,
        Bug::ShardNotWaitedFor,
        Bug::CommitBeforeManifest,
        Bug::CommittedTwiceOnRestore,
        Bug::OlderEpochChosen,
        Bug::FileNotSynced,
        Bug::DirectoryNotSynced,
        Bug::RestoredNotSynced,
        Bug::LostOutputStaysVisible,
        Bug::CollectedTooEarly,
        Bug::KeptFileDeleted,
        Bug::KeptThoughChanged,
        Bug::WakeUpLost,
    ];

    /// Its name on the command line, and what it is.
    fn described(self) -> (&'static str, &'static str) {
        match self {
            Bug::BarrierOvertakesRows => (
                "barrier-overtakes-rows",
                "a batch waits while a barrier passes it",
            ),
            Bug::WatermarkOvertakesRows => (
                "watermark-overtakes-rows",
                "a batch waits while a watermark passes it",
            ),
            Bug::PartialLostAtFlush => (
                "partial-lost-at-flush",
                "the first phase of an aggregation drops a batch of partial results when it is flushed",
            ),
            Bug::RetractionDropped => ("retraction-dropped", "an aggregation does not take a row back"),
            Bug::WindowEndIncluded => (
                "window-end-included",
                "a row at the end of a window is counted in it: off by one",
            ),
            Bug::StateToWrongShard => (
                "state-to-wrong-shard",
                "at a restore, key groups go to the neighbour of their owner",
            ),
            Bug::StateToEveryShard => ("state-to-every-shard", "at a restore, every shard takes all rows"),
            Bug::TableForgotten => ("table-forgotten", "the last table of an operator is not written"),
            Bug::RowForgotten => (
                "row-forgotten",
                "the last row of an operator's first table is not written",
            ),
            Bug::WatermarkTooHigh => (
                "watermark-too-high",
                "an operator's watermark is written a minute too high",
            ),
            Bug::OffsetTooFar => (
                "offset-too-far",
                "a source's position is one batch too far: rows are lost",
            ),
            Bug::OffsetTooNear => (
                "offset-too-near",
                "a source's position is one batch behind: rows come twice",
            ),
            Bug::OutputLeftInBuffer => (
                "output-left-in-buffer",
                "a sink prepares an epoch without the last batch of it",
            ),
            Bug::ShardNotWaitedFor => (
                "shard-not-waited-for",
                "an epoch is made durable without the part of the last shard",
            ),
            Bug::CommitBeforeManifest => (
                "commit-before-manifest",
                "output is shown before its epoch is durable",
            ),
            Bug::CommittedTwiceOnRestore => (
                "committed-twice-on-restore",
                "a restore shows output again that is shown already",
            ),
            Bug::OlderEpochChosen => (
                "older-epoch-chosen",
                "a restore goes on from the last but one epoch",
            ),
            Bug::FileNotSynced => ("file-not-synced", "the file of a shard is not synced"),
            Bug::DirectoryNotSynced => ("directory-not-synced", "the manifest's new name is not synced"),
            Bug::RestoredNotSynced => (
                "restored-not-synced",
                "a restore believes an epoch that it finds and does not sync it",
            ),
            Bug::LostOutputStaysVisible => (
                "lost-output-stays-visible",
                "a restore does not take back output of an epoch that is lost",
            ),
            Bug::CollectedTooEarly => (
                "collected-too-early",
                "older epochs are deleted before the new one is durable",
            ),
            Bug::KeptFileDeleted => (
                "kept-file-deleted",
                "an older epoch is deleted though a newer one keeps parts in its files",
            ),
            Bug::KeptThoughChanged => (
                "kept-though-changed",
                "a snapshot keeps what was written of an operator before, though it has changed",
            ),
            Bug::WakeUpLost => ("wake-up-lost", "a shard that sleeps is not woken"),
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.described().0
    }

    /// What it is.
    pub fn what(self) -> &'static str {
        self.described().1
    }

    /// The bug of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(name: &str) -> Result<Bug, String> {
        let bug = Bug::ALL.into_iter().find(|bug| bug.name() == name);
        let names = || Bug::ALL.map(Bug::name).join(", ");
        bug.ok_or_else(|| format!("there is no planted bug '{name}'; there are {}", names()))
    }

    /// Whether only jobs that crash, or whose epochs are committed, can show it.
    pub fn needs_crashes(self) -> bool {
        !matches!(
            self,
            Bug::WatermarkOvertakesRows
                | Bug::PartialLostAtFlush
                | Bug::RetractionDropped
                | Bug::WindowEndIncluded
                | Bug::WakeUpLost
        )
    }
}
