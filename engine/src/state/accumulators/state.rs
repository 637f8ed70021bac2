//! The groups of one table with all their accumulators: what an operator, or one slice, holds.
//!
//! **Invariant.** Every group has its words and its side entries from the moment it is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, UInt32Array, new_empty_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use crate::batch::Op;
use crate::error::ExecutionError;
use crate::plan::AggregateFunction;
use crate::snapshot::Recorder;
use crate::state::accumulators::distinct::{DistinctSet, distinct_sets};
use crate::state::accumulators::group_ids::GroupIds;
use crate::state::accumulators::inputs::{Rows, Values, counted_rows, values_of};
use crate::state::accumulators::layout::{AggregateLayout, Kind, Primitive};
use crate::state::accumulators::side::{
    Side, add_to_multiset, bytes_at, for_each_row, improve_bytes, ordered_value, update_others,
};
use crate::state::accumulators::steps::Step;
use crate::state::accumulators::update::{Overflow, Update};
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::keys::{KeyLayout, KeyPacker};

/// Groups with their accumulators.
#[derive(Debug)]
pub struct GroupState {
    pub(crate) layout: Arc<AggregateLayout>,
    pub(crate) table: GroupTable,
    pub(crate) sides: Vec<Side>,
    pub(crate) distinct: Vec<DistinctSet>,
    /// What DISTINCT sets know groups by, where groups are forgotten one at a time.
    ids: Option<GroupIds>,
    /// Snapshots of it, and the caller's columns in them.
    pub(super) recorder: Recorder,
    pub(super) recorded_with: Vec<(&'static str, i64)>,
}

impl GroupState {
    /// An empty state of `layout` with keys of `key`, over rows of `input`.
    pub fn new(layout: Arc<AggregateLayout>, key: KeyLayout, input: &Schema) -> GroupState {
        let mut sides = Vec::with_capacity(layout.sides);
        let mut primitives: Vec<&Primitive> = layout.primitives.iter().collect();
        primitives.retain(|primitive| primitive.kind.words() == 0);
        for primitive in primitives {
            assert_eq!(
                primitive.place,
                sides.len(),
                "invariant: side columns are numbered in order"
            );
            sides.push(match primitive.kind {
                Kind::MinBytes | Kind::MaxBytes => Side::Bytes(Vec::new()),
                Kind::Multiset => Side::Multisets(Vec::new()),
                Kind::Other(call) => match &layout.calls[call].function {
                    AggregateFunction::Other(function) => Side::Others {
                        function: function.clone(),
                        retracts: layout.retracts,
                        entries: Vec::new(),
                    },
                    other => unreachable!("invariant: {other:?} is in the closed set"),
                },
                other => unreachable!("invariant: {other:?} lies in the row"),
            });
        }
        let distinct = distinct_sets(&layout, input, DataType::UInt32);
        GroupState {
            ids: None,
            recorder: Recorder::default(),
            recorded_with: Vec::new(),
            table: GroupTable::new(key, layout.initial.clone()),
            sides,
            distinct,
            layout,
        }
    }

    /// An empty state whose groups can be forgotten one at a time.
    pub fn with_removal(layout: Arc<AggregateLayout>, key: KeyLayout, input: &Schema) -> GroupState {
        let mut state = GroupState::new(layout, key, input);
        if !state.distinct.is_empty() {
            state.distinct = distinct_sets(&state.layout, input, DataType::UInt64);
            state.ids = Some(GroupIds::default());
        }
        state
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether the groups are more than the nearest caches hold.
    pub fn is_large(&self) -> bool {
        self.table.is_large()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The layout of the accumulators.
    pub fn layout(&self) -> &Arc<AggregateLayout> {
        &self.layout
    }

    /// Finds or adds the group of each row; `groups` gets one index per row.
    pub fn find_or_insert(
        &mut self,
        packer: &mut KeyPacker,
        keys: &[ArrayRef],
        rows: usize,
        groups: &mut Vec<GroupIndex>,
    ) {
        self.table.find_or_insert(packer, keys, rows, groups);
        self.grow_sides();
    }

    /// Makes the one group of a keyless state, unless it is there.
    pub fn ensure_global_group(&mut self) {
        assert_eq!(
            self.table.layout().words,
            0,
            "invariant: only a keyless state has a global group"
        );
        let mut packer = KeyPacker::new(self.table.layout().clone());
        self.find_or_insert(&mut packer, &[], 1, &mut Vec::new());
    }

    /// Adds `rows` groups without keys, numbered from 0: partial states made without probing.
    pub fn push_unkeyed(&mut self, rows: usize, groups: &mut Vec<GroupIndex>) {
        self.table.push_unkeyed(rows);
        groups.clear();
        groups.extend(0..rows as GroupIndex);
        self.grow_sides();
    }

    pub(crate) fn grow_sides(&mut self) {
        let groups = self.table.len();
        self.sides.iter_mut().for_each(|side| side.grow(groups));
        if let Some(ids) = &mut self.ids {
            ids.grow(groups);
        }
    }

    /// Makes `group` a new one with the same key.
    pub fn reset(&mut self, group: GroupIndex) {
        self.forget_recorded(&[group]);
        self.table.reset(group);
        self.sides.iter_mut().for_each(|side| side.reset(group));
        if let Some(ids) = &mut self.ids {
            ids.reset(group);
        }
    }

    /// Forgets `group`; the last one has its number from now on.
    pub fn remove(&mut self, group: GroupIndex) {
        self.forget_recorded(&[group, self.len() as GroupIndex - 1]);
        self.table.remove(group);
        self.sides.iter_mut().for_each(|side| side.remove(group));
        if let Some(ids) = &mut self.ids {
            ids.remove(group);
        }
    }

    /// What DISTINCT sets know `groups` by.
    pub(crate) fn id_column(&self, groups: &[GroupIndex]) -> ArrayRef {
        match &self.ids {
            Some(ids) => ids.column(groups),
            None => Arc::new(UInt32Array::from(groups.to_vec())),
        }
    }

    /// The groups by what DISTINCT sets know them by; `None` where that is their number.
    pub(crate) fn groups_by_id(&self) -> Option<BTreeMap<u64, GroupIndex>> {
        self.ids.as_ref().map(GroupIds::groups)
    }

    /// Gives up a few of the DISTINCT values of groups that were forgotten.
    pub fn sweep_distinct(&mut self) {
        if let Some(ids) = &self.ids {
            for set in &mut self.distinct {
                set.sweep(|id| ids.is_live(id));
            }
        }
    }

    /// Folds the rows of `batch` into their groups; `signs` as [`signs`] gives them.
    pub fn update(
        &mut self,
        batch: &RecordBatch,
        groups: &[GroupIndex],
        signs: Option<&[i64]>,
    ) -> Result<(), ExecutionError> {
        assert_eq!(batch.num_rows(), groups.len(), "invariant: one group per row");
        self.note_change(groups)?;
        let layout = Arc::clone(&self.layout);
        let mut values = ValueCache::default();
        let mut last: Option<(&Primitive, Option<Vec<u32>>)> = None;
        for &step in &layout.steps {
            let primitive = &layout.primitives[step.first()];
            let is_other = |primitive: &Primitive| matches!(primitive.kind, Kind::Other(_));
            let shares = |other: &Primitive| {
                (&other.arguments, other.filter) == (&primitive.arguments, primitive.filter)
                    && is_other(other) == is_other(primitive)
            };
            let counted = match last.take() {
                Some((other, counted)) if shares(other) => counted,
                _ => counted_rows(primitive, batch),
            };
            let update = Update {
                groups,
                rows: counted.as_deref().map_or(Rows::All, Rows::Some),
                signs,
                is_single: self.has_single_group(),
            };
            self.take_step(step, batch, &update, &mut values)?;
            last = Some((primitive, counted));
        }
        let mut distinct = std::mem::take(&mut self.distinct);
        let ids: ArrayRef = match distinct.is_empty() {
            true => new_empty_array(&DataType::UInt32),
            false => self.id_column(groups),
        };
        for set in &mut distinct {
            set.update(batch, ids.clone(), signs, |users, transitions| {
                for &user in users {
                    let update = Update {
                        groups,
                        rows: Rows::Some(&transitions.rows),
                        signs: Some(transitions.signs.as_slice()),
                        is_single: self.has_single_group(),
                    };
                    self.update_primitive(&layout.primitives[user], batch, &update, &mut values)?;
                }
                Ok(())
            })?;
        }
        self.distinct = distinct;
        Ok(())
    }

    fn take_step(
        &mut self,
        step: Step,
        batch: &RecordBatch,
        update: &Update<'_>,
        cache: &mut ValueCache,
    ) -> Result<(), ExecutionError> {
        let layout = Arc::clone(&self.layout);
        let primitive = &layout.primitives[step.first()];
        match step {
            Step::Alone(_) => self.update_primitive(primitive, batch, update, cache)?,
            Step::SumAndExtremes { least, greatest, .. } if !update.is_single => {
                let values = cache.get(primitive.kind, primitive.arguments[0], batch);
                let extremes = [least, greatest].map(|extreme| layout.primitives[extreme].place);
                update.sum_and_extremes(&mut self.table.states_mut(), primitive.place, extremes, values);
            }
            Step::SumAndCount(_) => {
                let values = cache.get(primitive.kind, primitive.arguments[0], batch);
                update.sum_and_count(&mut self.table.states_mut(), primitive.place, values);
            }
            // The state of a single group stays in registers, a pass at a time.
            Step::SumAndExtremes { sum, least, greatest } => {
                self.take_step(Step::SumAndCount(sum), batch, update, cache)?;
                for extreme in [least, greatest] {
                    self.take_step(Step::Alone(extreme), batch, update, cache)?;
                }
            }
        }
        Ok(())
    }

    /// Whether all rows belong to group 0: there is no key.
    pub(crate) fn has_single_group(&self) -> bool {
        self.table.layout().words == 0 && self.table.len() == 1
    }

    fn update_primitive(
        &mut self,
        primitive: &Primitive,
        batch: &RecordBatch,
        update: &Update<'_>,
        cache: &mut ValueCache,
    ) -> Result<(), ExecutionError> {
        let &Update {
            groups, rows, signs, ..
        } = update;
        let place = primitive.place;
        match primitive.kind {
            Kind::Count => update.count(&mut self.table.states_mut(), place),
            Kind::MinBytes | Kind::MaxBytes => {
                let is_max = primitive.kind == Kind::MaxBytes;
                self.update_bytes(place, is_max, batch.column(primitive.arguments[0]), groups, rows);
            }
            Kind::Multiset => {
                self.update_multisets(place, batch.column(primitive.arguments[0]), groups, rows, signs);
            }
            Kind::Other(_) => {
                let arguments = primitive
                    .arguments
                    .iter()
                    .map(|&column| batch.column(column).clone());
                let arguments: Vec<ArrayRef> = arguments.collect();
                update_others(&mut self.sides[place], groups, rows, signs, &arguments)
                    .map_err(|error| ExecutionError::new("Aggregate", error))?;
            }
            kind => {
                let column = primitive.arguments[0];
                let values = cache.get(kind, column, batch);
                update
                    .values(kind, &mut self.table.states_mut(), place, values)
                    .map_err(|Overflow| overflow(&self.layout, primitive))?;
            }
        }
        Ok(())
    }

    fn update_bytes(
        &mut self,
        place: usize,
        is_max: bool,
        column: &ArrayRef,
        groups: &[GroupIndex],
        rows: Rows<'_>,
    ) {
        let Side::Bytes(entries) = &mut self.sides[place] else {
            unreachable!("invariant: the layout gave this place to texts")
        };
        for_each_row(rows, groups.len(), |row| {
            if column.is_valid(row) {
                improve_bytes(&mut entries[groups[row] as usize], bytes_at(column, row), is_max);
            }
        });
    }

    fn update_multisets(
        &mut self,
        place: usize,
        column: &ArrayRef,
        groups: &[GroupIndex],
        rows: Rows<'_>,
        signs: Option<&[i64]>,
    ) {
        let Side::Multisets(entries) = &mut self.sides[place] else {
            unreachable!("invariant: the layout gave this place to multisets")
        };
        let values = multiset_values(column);
        for_each_row(rows, groups.len(), |row| {
            let value = ordered_value(values.as_ref(), column, row);
            let sign = signs.map_or(1, |signs| signs[row]);
            add_to_multiset(&mut entries[groups[row] as usize], value, sign);
        });
    }

    /// Forgets all groups.
    pub fn clear(&mut self) {
        self.recorder.forget_parts();
        self.table.clear();
        self.sides.iter_mut().for_each(Side::clear);
        self.distinct.iter_mut().for_each(DistinctSet::clear);
        self.ids = self.ids.take().map(|_| GroupIds::default());
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.table.allocated_bytes()
            + self.sides.iter().map(Side::allocated_bytes).sum::<usize>()
            + self
                .distinct
                .iter()
                .map(DistinctSet::allocated_bytes)
                .sum::<usize>()
            + self.ids.as_ref().map_or(0, GroupIds::allocated_bytes)
    }
}

/// The values of a column for a multiset; `None` for texts.
fn multiset_values(column: &ArrayRef) -> Option<Values> {
    match column.data_type() {
        DataType::Utf8 | DataType::Binary => None,
        DataType::Decimal128(_, _) => Some(values_of(Kind::MinDecimal, column)),
        _ => Some(values_of(Kind::MinWord, column)),
    }
}

/// The sign of each row: +1 for additions, -1 for retractions; `None` where all add.
pub fn signs(ops: Option<&Int8Array>) -> Option<Vec<i64>> {
    let ops = ops?.values();
    let sign = |&op: &i8| if Op::from_code(op).is_addition() { 1 } else { -1 };
    Some(ops.iter().map(sign).collect())
}

/// A decimal sum left 128 bits.
pub(crate) fn overflow(layout: &AggregateLayout, primitive: &Primitive) -> ExecutionError {
    let mut calls = layout.calls.iter();
    let call = calls.find(|call| call.arguments == primitive.arguments && call.filter == primitive.filter);
    let name = call.map_or("?", |call| call.output.name());
    ExecutionError::new(
        "Aggregate",
        format!("the sum behind column {name} does not fit DECIMAL(38); cast its argument to DOUBLE"),
    )
}

/// Argument values of one batch, made once per form.
#[derive(Default)]
struct ValueCache {
    values: BTreeMap<(usize, u8), Values>,
}

impl ValueCache {
    fn get(&mut self, kind: Kind, column: usize, batch: &RecordBatch) -> &Values {
        let form = match kind {
            Kind::SumFloat => 1,
            Kind::SumDecimal | Kind::MinDecimal | Kind::MaxDecimal => 2,
            _ => 0,
        };
        let make = || values_of(kind, batch.column(column));
        self.values.entry((column, form)).or_insert_with(make)
    }
}

/// The schema of partial states: keys, then what a local phase keeps.
pub(crate) fn partial_schema(keys: &[usize], input: &Schema, layout: &AggregateLayout) -> SchemaRef {
    let keys = keys.iter().map(|&column| input.fields()[column].clone());
    Arc::new(Schema::new(
        keys.chain(layout.partial_fields()).collect::<Vec<_>>(),
    ))
}
