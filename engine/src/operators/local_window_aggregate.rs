//! The first phase of a two-phase window aggregation: rows of this shard, combined by slice and key
//! before the exchange; `window_aggregate` merges what it sends.
//!
//! **Invariant.** Holds nothing after a flush, and no slice that the watermark has completed: what the
//! owner needs for a window is sent before the watermark that fires it. Never drops a row: what is late
//! is the owner's to say.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::limits::LOCAL_GROUPS_MAX;
use crate::operators::folder::Folder;
use crate::operators::local_group_aggregate::{Sampler, combined_well, emit_partial, pass_through};
use crate::operators::window_parts::{SliceId, SliceSource, layout_options, part_of};
use crate::operators::{Firing, Operator, OperatorStatistics, Output};
use crate::plan::{WindowAggregateSpec, WindowInput};
use crate::state::accumulators::{AggregateLayout, GroupState, partial_schema, signs};
use crate::state::changes::rows_of;
use crate::state::group_table::GroupIndex;
use crate::state::keys::{KeyLayout, KeyPacker};
use crate::time::WatermarkUs;

/// What the local phase of `spec` over `input` emits: keys, partial states, `slice_end`, and
/// `slice_start` where windows come attached to the rows.
pub fn local_window_schema(
    spec: &WindowAggregateSpec,
    input: &SchemaRef,
) -> Result<SchemaRef, ExecutionError> {
    let layout = AggregateLayout::new(&spec.calls, input, layout_options(spec))?;
    let partial = partial_schema(&spec.keys, input, &layout);
    let mut fields: Vec<FieldRef> = partial.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("slice_end", DataType::Int64, false)));
    if matches!(spec.window, WindowInput::Attached { .. }) {
        fields.push(Arc::new(Field::new("slice_start", DataType::Int64, false)));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Combines rows by slice and key; see the file's head.
#[derive(Debug)]
pub struct LocalWindowAggregate {
    keys: Vec<usize>,
    source: SliceSource,
    is_attached: bool,
    tick_us: i64,
    input: SchemaRef,
    output: SchemaRef,
    layout: Arc<AggregateLayout>,
    key: KeyLayout,
    folder: Folder,
    slices: BTreeMap<SliceId, GroupState>,
    spare: Vec<GroupState>,
    unkeyed: GroupState,
    groups: Vec<GroupIndex>,
    sampler: Sampler,
    /// Rows taken since the last flush.
    rows_held: usize,
}

impl LocalWindowAggregate {
    /// The local phase of `spec` over rows of `input`; `output` as [`local_window_schema`] gives it.
    pub fn new(
        spec: &WindowAggregateSpec,
        input: SchemaRef,
        output: SchemaRef,
    ) -> Result<LocalWindowAggregate, ExecutionError> {
        assert!(!spec.input_is_partial, "invariant: a local phase reads rows");
        let layout = Arc::new(AggregateLayout::new(&spec.calls, &input, layout_options(spec))?);
        let fields: Vec<FieldRef> = spec
            .keys
            .iter()
            .map(|&column| input.fields()[column].clone())
            .collect();
        let key = KeyLayout::new(&fields);
        Ok(LocalWindowAggregate {
            keys: spec.keys.clone(),
            source: SliceSource::new(spec, input.fields().len()),
            is_attached: matches!(spec.window, WindowInput::Attached { .. }),
            tick_us: match &spec.window {
                WindowInput::Assign(window) => window.tick_us,
                WindowInput::Attached { tick_us, .. } => *tick_us,
            },
            unkeyed: GroupState::new(layout.clone(), KeyLayout::new(&[]), &input),
            folder: Folder::new(spec.keys.clone(), false, KeyPacker::new(key.clone())),
            input,
            output,
            layout,
            key,
            slices: BTreeMap::new(),
            spare: Vec::new(),
            groups: Vec::new(),
            sampler: Sampler::default(),
            rows_held: 0,
        })
    }

    fn bounds(&self, (end, start): SliceId) -> Vec<i64> {
        if self.is_attached {
            vec![end, start]
        } else {
            vec![end]
        }
    }

    fn pass(&mut self, id: SliceId, part: &Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let keys: Vec<ArrayRef> = self
            .keys
            .iter()
            .map(|&column| part.column(column).clone())
            .collect();
        let signs = signs(part.ops());
        let mut columns = pass_through(&mut self.unkeyed, part, keys, signs.as_deref(), &mut self.groups)?;
        for bound in self.bounds(id) {
            columns.push(Arc::new(Int64Array::from_value(bound, part.len())));
        }
        out.emit_rows(rows_of(&self.output, columns, part.len())?);
        Ok(())
    }

    fn held(&self) -> usize {
        self.slices.values().map(GroupState::len).sum()
    }

    /// Sends slice `id` on.
    fn send(&mut self, id: SliceId, out: &mut Output) -> Result<(), ExecutionError> {
        let Some(mut state) = self.slices.remove(&id) else {
            return Ok(());
        };
        emit_partial(&state, &self.output, &self.bounds(id), out)?;
        self.sampler.note_flush(state.len());
        if self.spare.len() < 2 {
            state.clear();
            self.spare.push(state);
        }
        Ok(())
    }
}

impl Operator for LocalWindowAggregate {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        let bypasses = self.sampler.bypasses(batch.len());
        if bypasses {
            self.flush(out)?;
        }
        for (id, rows) in self.source.split(&batch)? {
            let part = part_of(&batch, rows.as_deref())?;
            if bypasses {
                self.pass(id, &part, out)?;
                continue;
            }
            let (spare, layout, key, input) = (&mut self.spare, &self.layout, &self.key, &self.input);
            let make = || {
                spare
                    .pop()
                    .unwrap_or_else(|| GroupState::new(layout.clone(), key.clone(), input))
            };
            let state = self.slices.entry(id).or_insert_with(make);
            self.folder.fold(&part, state, None)?;
            self.sampler.note_rows(part.len());
            self.rows_held += part.len();
        }
        if self.held() >= LOCAL_GROUPS_MAX {
            self.flush(out)?;
        }
        Ok(())
    }

    /// Sends the slices that the watermark completes, before it passes on.
    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        while let Some((&id, _)) = self.slices.first_key_value() {
            if id.0.saturating_sub(self.tick_us) > watermark {
                break;
            }
            self.send(id, out)?;
        }
        Ok(Firing::Done)
    }

    fn flush_pays(&self) -> bool {
        combined_well(self.rows_held, self.held())
    }

    fn flush(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        self.rows_held = 0;
        while let Some((&id, _)) = self.slices.first_key_value() {
            self.send(id, out)?;
        }
        Ok(())
    }

    fn statistics(&self) -> OperatorStatistics {
        let states = self
            .slices
            .values()
            .chain(&self.spare)
            .map(GroupState::allocated_bytes);
        let bytes = states.sum::<usize>() + self.unkeyed.allocated_bytes() + self.folder.allocated_bytes();
        OperatorStatistics {
            state_bytes: bytes as u64,
            keys: self.held() as u64,
            late_rows: 0,
        }
    }
}
