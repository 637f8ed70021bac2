//! The first phase of a two-phase aggregation without a window: rows of this shard, combined by key
//! before the exchange. Stands between a stateless pipeline and an exchange; `group_aggregate` merges
//! what it sends.
//!
//! **Invariant.** Holds nothing after a flush, so it needs no snapshot; never more than
//! `LOCAL_GROUPS_MAX` groups. Where combining does not pay, rows pass one to one as partial states.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use crate::batch::{BATCH_ROWS_MAX, Batch};
use crate::encoding::plain;
use crate::error::ExecutionError;
use crate::limits::LOCAL_GROUPS_MAX;
use crate::operators::{Operator, OperatorStatistics, Output};
use crate::plan::GroupAggregateSpec;
use crate::state::accumulators::layout::LayoutOptions;
use crate::state::accumulators::{AggregateLayout, GroupState, partial_schema, signs};
use crate::state::changes::rows_of;
use crate::state::group_table::GroupIndex;
use crate::state::keys::{KeyLayout, KeyPacker};

/// What the local phase of `spec` over `input` emits: keys, then partial states.
pub fn local_group_schema(spec: &GroupAggregateSpec, input: &SchemaRef) -> Result<SchemaRef, ExecutionError> {
    let layout = AggregateLayout::new(&spec.calls, input, local_options(spec.input_retracts, false))?;
    Ok(partial_schema(&spec.keys, input, &layout))
}

pub(crate) fn local_options(input_retracts: bool, count_rows: bool) -> LayoutOptions {
    LayoutOptions {
        input_is_partial: false,
        keys: 0,
        input_retracts,
        count_rows,
    }
}

/// Decides whether combining pays: it does if it leaves at most two of three rows.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    rows_in: usize,
    groups_out: usize,
    bypass_rows_left: usize,
}

impl Sampler {
    /// Rows looked at before a decision.
    const SAMPLE_ROWS: usize = 1 << 16;
    /// Rows passed one to one before the next sample.
    const BYPASS_ROWS: usize = 1 << 20;

    /// Whether the next `rows` rows should pass one to one.
    pub fn bypasses(&mut self, rows: usize) -> bool {
        if self.bypass_rows_left == 0 {
            return false;
        }
        self.bypass_rows_left = self.bypass_rows_left.saturating_sub(rows);
        true
    }

    pub fn note_rows(&mut self, rows: usize) {
        self.rows_in += rows;
    }

    /// A flush sent `groups` partial states; answers whether rows pass one to one from now on.
    pub fn note_flush(&mut self, groups: usize) {
        self.groups_out += groups;
        if self.rows_in >= Self::SAMPLE_ROWS {
            if self.groups_out * 3 > self.rows_in * 2 {
                self.bypass_rows_left = Self::BYPASS_ROWS;
            }
            (self.rows_in, self.groups_out) = (0, 0);
        }
    }
}

/// Rows that must have been combined in one, on average, for a flush to pay: then what comes behind it costs less
/// than what went before.
const ROWS_COMBINED: usize = 8;

/// Whether `rows` rows that came to `groups` rows are worth a flush.
pub(crate) fn combined_well(rows: usize, groups: usize) -> bool {
    rows >= groups.saturating_mul(ROWS_COMBINED)
}

/// Combines rows by key; see the file's head.
#[derive(Debug)]
pub struct LocalGroupAggregate {
    keys: Vec<usize>,
    output: SchemaRef,
    state: GroupState,
    /// A state without keys, for rows that pass one to one.
    unkeyed: GroupState,
    packer: KeyPacker,
    groups: Vec<GroupIndex>,
    sampler: Sampler,
    /// Rows that `state` holds.
    rows_held: usize,
}

impl LocalGroupAggregate {
    /// The local phase of `spec` over rows of `input`; `output` as [`local_group_schema`] gives it.
    pub fn new(
        spec: &GroupAggregateSpec,
        input: SchemaRef,
        output: SchemaRef,
    ) -> Result<LocalGroupAggregate, ExecutionError> {
        assert!(!spec.input_is_partial, "invariant: a local phase reads rows");
        let layout = AggregateLayout::new(&spec.calls, &input, local_options(spec.input_retracts, false))?;
        let layout = Arc::new(layout);
        let key: Vec<_> = spec
            .keys
            .iter()
            .map(|&column| input.fields()[column].clone())
            .collect();
        let key = KeyLayout::new(&key);
        Ok(LocalGroupAggregate {
            keys: spec.keys.clone(),
            output,
            unkeyed: GroupState::new(layout.clone(), KeyLayout::new(&[]), &input),
            packer: KeyPacker::new(key.clone()),
            state: GroupState::new(layout, key, &input),
            groups: Vec::new(),
            sampler: Sampler::default(),
            rows_held: 0,
        })
    }
}

impl Operator for LocalGroupAggregate {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let rows = batch.len();
        let keys: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|&column| batch.column(column).clone())
            .collect();
        let signs = signs(batch.ops());
        if self.sampler.bypasses(rows) {
            self.flush(out)?;
            let columns = pass_through(
                &mut self.unkeyed,
                &batch,
                keys,
                signs.as_deref(),
                &mut self.groups,
            )?;
            out.emit_rows(rows_of(&self.output, columns, rows)?);
            return Ok(());
        }
        self.state
            .find_or_insert(&mut self.packer, &keys, rows, &mut self.groups);
        self.state.update(batch.rows(), &self.groups, signs.as_deref())?;
        self.sampler.note_rows(rows);
        self.rows_held += rows;
        if self.state.len() >= LOCAL_GROUPS_MAX {
            self.flush(out)?;
        }
        Ok(())
    }

    fn flush_pays(&self) -> bool {
        combined_well(self.rows_held, self.state.len())
    }

    fn flush(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        let groups = self.state.len();
        if groups == 0 {
            return Ok(());
        }
        emit_partial(&self.state, &self.output, &[], out)?;
        self.sampler.note_flush(groups);
        self.rows_held = 0;
        self.state.clear();
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let bytes =
            self.state.allocated_bytes() + self.unkeyed.allocated_bytes() + self.packer.allocated_bytes();
        OperatorStatistics {
            state_bytes: bytes as u64,
            keys: self.state.len() as u64,
            late_rows: 0,
        }
    }
}

/// Each row as a partial state of its own: its keys as texts, then the state columns.
pub(crate) fn pass_through(
    unkeyed: &mut GroupState,
    batch: &Batch,
    keys: Vec<ArrayRef>,
    signs: Option<&[i64]>,
    groups: &mut Vec<GroupIndex>,
) -> Result<Vec<ArrayRef>, ExecutionError> {
    unkeyed.clear();
    unkeyed.push_unkeyed(batch.len(), groups);
    unkeyed.update(batch.rows(), groups, signs)?;
    let plain = |key| plain(key).map_err(|error| ExecutionError::new("Aggregate", error));
    let mut columns = keys.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    columns.extend(unkeyed.export(groups));
    Ok(columns)
}

/// Emits all groups of `state` as partial states, `more` (one value for all rows) behind each.
pub(crate) fn emit_partial(
    state: &GroupState,
    schema: &SchemaRef,
    more: &[i64],
    out: &mut Output,
) -> Result<(), ExecutionError> {
    let groups: Vec<GroupIndex> = (0..state.len() as GroupIndex).collect();
    for groups in groups.chunks(BATCH_ROWS_MAX) {
        let mut columns = state.keys(groups);
        columns.extend(state.export(groups));
        for &value in more {
            columns.push(Arc::new(arrow::array::Int64Array::from_value(
                value,
                groups.len(),
            )));
        }
        out.emit_rows(rows_of(schema, columns, groups.len())?);
    }
    Ok(())
}
