//! Accumulators: the aggregates of a call list as words in the rows of a group table.
//!
//! [`layout`] breaks calls into primitives and shares what they have in common (`AVG(x)` and
//! `SUM(x)` keep one sum); `update` folds batches in, a primitive at a time over the whole batch;
//! `partial` exports and merges the state of a local phase and of window slices; `evaluate`
//! gives the results; `frozen` is for snapshots, and `recording` writes them while work goes on. What does not fit words lies in a `side` column beside the table: MIN and MAX
//! of texts, multisets under retraction, `distinct` sets, and DataFusion's accumulators.
//!
//! **Invariant.** The result depends on the multiset of rows alone, not on how it was cut into
//! batches, phases or shards. Integer and decimal sums are exact in 128 bits and checked when
//! read; float sums carry a Neumaier compensation, so that reordering shows only in the last digits.

mod distinct;
pub(crate) mod evaluate;
mod export;
pub(crate) mod frozen;
mod group_ids;
pub(crate) mod inputs;
pub mod layout;
mod partial;
mod recording;
mod replay;
pub(crate) mod side;
mod state;
pub(crate) mod steps;
mod update;

pub(crate) use export::GATHERED_GROUPS;
pub use layout::{AggregateLayout, partial_fields, supports_two_phase};
pub(crate) use state::partial_schema;
pub use state::{GroupState, signs};
