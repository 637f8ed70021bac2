//! A state as tables of a snapshot, and back.
//!
//! Table `groups` has the keys, `more` columns of the caller's, and what a local phase would send; it is read
//! word by word, so that nothing is added up anew. What lies beside the words has tables of its own, with
//! the same keys in front: `multiset n` a row per value, `distinct n` a row per value, `accumulator n` a row
//! per group with the state of DataFusion's accumulator.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion_common::ScalarValue;

use crate::error::ExecutionError;
use crate::snapshot::{StateWriter, int64_column};
use crate::state::accumulators::layout::{Kind, Primitive};
use crate::state::accumulators::replay::state_fields;
use crate::state::accumulators::side::{OrderedValue, Side, bytes_at, create};
use crate::state::accumulators::state::GroupState;
use crate::state::accumulators::update::split;
use crate::state::group_table::GroupIndex;
use crate::state::key_ages::KeyAges;
use crate::state::key_columns::{bytes_column, named_keys};
use crate::state::keys::KeyPacker;

/// Columns of the caller's that all rows of a state share.
pub(crate) type Shared<'a> = &'a [(&'static str, i64)];

type Columns = Vec<(String, ArrayRef)>;

impl GroupState {
    /// Writes `groups` of input 0, but for DISTINCT values; `more` follows the keys.
    pub(crate) fn freeze_groups(
        &mut self,
        mut groups: Vec<GroupIndex>,
        more: Shared<'_>,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        self.retain_counted(&mut groups);
        let mut columns = self.frozen_keys(&groups, more);
        let fields = self.layout.partial_fields();
        let names = fields.iter().map(|field| field.name().clone());
        columns.extend(names.zip(self.export(&groups)));
        into.add_columns("groups", 0, columns, groups.len())?;
        let layout = Arc::clone(&self.layout);
        for primitive in &layout.primitives {
            match primitive.kind {
                Kind::Multiset => self.freeze_multiset(primitive, &groups, more, into)?,
                Kind::Other(_) => self.freeze_accumulators(primitive.place, &groups, more, into)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the DISTINCT values of all groups.
    pub(crate) fn freeze_values(
        &mut self,
        more: Shared<'_>,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        for set in 0..self.distinct.len() {
            self.freeze_distinct(set, more, into)?;
        }
        Ok(())
    }

    /// Writes how old the groups are.
    pub(crate) fn freeze_ages(&self, ages: &KeyAges, into: &mut StateWriter) -> Result<(), ExecutionError> {
        let mut groups: Vec<GroupIndex> = (0..self.len() as GroupIndex).collect();
        self.retain_counted(&mut groups);
        ages.freeze(&self.table, &groups, into)
    }

    /// Makes room for so many groups of a snapshot.
    pub(crate) fn reserve(&mut self, groups: usize) {
        self.table.reserve(groups);
    }

    /// Reads a table that was written here, with `more` columns behind the keys. Table `groups` comes first.
    pub(crate) fn thaw(
        &mut self,
        name: &str,
        rows: &RecordBatch,
        more: usize,
        packer: &mut KeyPacker,
    ) -> Result<(), ExecutionError> {
        let keys = self.table.layout().fields.len();
        let mut groups = Vec::with_capacity(rows.num_rows());
        self.find_or_insert(packer, &rows.columns()[..keys], rows.num_rows(), &mut groups);
        let columns = &rows.columns()[keys + more..];
        match name.split_once(' ') {
            None => self.thaw_words(columns, &groups),
            Some(("multiset", place)) => self.thaw_multiset(number(place), columns, &groups),
            Some(("accumulator", place)) => self.thaw_accumulators(number(place), columns, &groups)?,
            Some(("distinct", set)) => {
                let ids = self.id_column(&groups);
                self.distinct[number(set)].thaw(columns, ids);
            }
            Some(_) => unreachable!("invariant: freeze writes no table {name}"),
        }
        Ok(())
    }

    /// Keeps the groups that are worth it: those that rows are left of, where that is known.
    fn retain_counted(&self, groups: &mut Vec<GroupIndex>) {
        if self.layout.row_count.is_some() && self.table.layout().words > 0 {
            let mut counts = self.row_counts(groups).into_iter();
            groups.retain(|_| counts.next() != Some(0));
        }
    }

    fn frozen_keys(&self, groups: &[GroupIndex], more: Shared<'_>) -> Columns {
        let mut columns = named_keys(&self.table, groups);
        columns.extend(more.iter().map(|&(name, value)| {
            let column = int64_column(std::iter::repeat_n(value, groups.len()));
            (name.to_string(), column)
        }));
        columns
    }

    fn freeze_multiset(
        &self,
        primitive: &Primitive,
        of: &[GroupIndex],
        more: Shared<'_>,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        let Side::Multisets(entries) = &self.sides[primitive.place] else {
            unreachable!("invariant: the layout gave this place to multisets")
        };
        let (mut groups, mut values, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for &group in of {
            for (value, &count) in &entries[group as usize] {
                groups.push(group);
                values.push(value);
                counts.push(count);
            }
        }
        let mut columns = self.frozen_keys(&groups, more);
        columns.push(("value".into(), ordered_column(&primitive.argument_type, &values)));
        columns.push(("count".into(), int64_column(counts)));
        into.add_columns(&format!("multiset {}", primitive.place), 0, columns, groups.len())
    }

    fn freeze_distinct(
        &self,
        number: usize,
        more: Shared<'_>,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        let numbers = self.groups_by_id();
        let group_of = |id: u64| match &numbers {
            None => Some(id as GroupIndex),
            Some(numbers) => numbers.get(&id).copied(),
        };
        let (groups, columns) = self.distinct[number].freeze(group_of);
        let mut all = self.frozen_keys(&groups, more);
        all.extend(columns);
        into.add_columns(&format!("distinct {number}"), 0, all, groups.len())
    }

    fn freeze_accumulators(
        &mut self,
        place: usize,
        of: &[GroupIndex],
        more: Shared<'_>,
        into: &mut StateWriter,
    ) -> Result<(), ExecutionError> {
        let (function, retracts, entries) = self.sides[place].others();
        let fields = state_fields(function, retracts).map_err(failure)?;
        let (mut groups, mut rows) = (Vec::new(), Vec::new());
        let mut states: Vec<Vec<ScalarValue>> = vec![Vec::new(); fields.len()];
        for &group in of {
            let entry = &mut entries[group as usize];
            let Some(accumulator) = &mut entry.accumulator else {
                continue;
            };
            let state = accumulator.state().map_err(failure)?;
            // Giving its state away may have emptied it: a new one goes on from there.
            let mut next = create(function, retracts).map_err(failure)?;
            let columns = state.iter().map(ScalarValue::to_array);
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(failure)?;
            next.merge_batch(&columns).map_err(failure)?;
            *accumulator = next;
            groups.push(group);
            rows.push(entry.rows);
            assert_eq!(state.len(), states.len(), "invariant: a state has its fields");
            states
                .iter_mut()
                .zip(state)
                .for_each(|(column, value)| column.push(value));
        }
        let mut columns = self.frozen_keys(&groups, more);
        columns.push(("rows".into(), int64_column(rows)));
        for (field, values) in fields.iter().zip(states) {
            let column = scalar_column(field.data_type(), values)?;
            columns.push((field.name().clone(), column));
        }
        into.add_columns(&format!("accumulator {place}"), 0, columns, groups.len())
    }

    fn thaw_words(&mut self, columns: &[ArrayRef], groups: &[GroupIndex]) {
        let layout = Arc::clone(&self.layout);
        let mut columns = columns.iter();
        let mut next = || columns.next().expect("invariant: the layout was compared");
        for primitive in &layout.primitives {
            let place = primitive.place;
            let mut states = self.table.states_mut();
            match primitive.kind {
                Kind::Count | Kind::MinWord | Kind::MaxWord => {
                    let values = next().as_primitive::<Int64Type>().values();
                    for (&group, &value) in groups.iter().zip(values) {
                        states.words::<1>(group, place)[0] = value as u64;
                    }
                }
                Kind::SumFloat => {
                    let (sums, rest) = (
                        next().as_primitive::<Float64Type>(),
                        next().as_primitive::<Float64Type>(),
                    );
                    for (row, &group) in groups.iter().enumerate() {
                        *states.words::<2>(group, place) =
                            [sums.value(row).to_bits(), rest.value(row).to_bits()];
                    }
                }
                Kind::SumInteger | Kind::SumDecimal | Kind::MinDecimal | Kind::MaxDecimal => {
                    let values = next().as_primitive::<Decimal128Type>().values();
                    for (&group, &value) in groups.iter().zip(values) {
                        *states.words::<2>(group, place) = split(value);
                    }
                }
                Kind::MinBytes | Kind::MaxBytes => {
                    let values = next();
                    let Side::Bytes(entries) = &mut self.sides[place] else {
                        unreachable!("invariant: the layout gave this place to texts")
                    };
                    for (row, &group) in groups.iter().enumerate().filter(|&(row, _)| values.is_valid(row)) {
                        entries[group as usize] = Some(bytes_at(values, row).into());
                    }
                }
                Kind::Multiset | Kind::Other(_) => {}
            }
        }
    }

    fn thaw_multiset(&mut self, place: usize, columns: &[ArrayRef], groups: &[GroupIndex]) {
        let Side::Multisets(entries) = &mut self.sides[place] else {
            unreachable!("invariant: the layout gave this place to multisets")
        };
        let counts = columns[1].as_primitive::<Int64Type>();
        for (row, &group) in groups.iter().enumerate() {
            let value = match columns[0].data_type() {
                DataType::Utf8 | DataType::Binary => OrderedValue::Bytes(bytes_at(&columns[0], row).into()),
                DataType::Decimal128(..) => {
                    OrderedValue::Wide(columns[0].as_primitive::<Decimal128Type>().value(row))
                }
                _ => OrderedValue::Word(columns[0].as_primitive::<Int64Type>().value(row)),
            };
            entries[group as usize].insert(value, counts.value(row));
        }
    }

    fn thaw_accumulators(
        &mut self,
        place: usize,
        columns: &[ArrayRef],
        groups: &[GroupIndex],
    ) -> Result<(), ExecutionError> {
        let (function, retracts, entries) = self.sides[place].others();
        let rows = columns[0].as_primitive::<Int64Type>();
        for (row, &group) in groups.iter().enumerate() {
            let mut accumulator = create(function, retracts).map_err(failure)?;
            let state: Vec<ArrayRef> = columns[1..].iter().map(|column| column.slice(row, 1)).collect();
            accumulator.merge_batch(&state).map_err(failure)?;
            let entry = &mut entries[group as usize];
            entry.accumulator = Some(accumulator);
            entry.rows = rows.value(row);
        }
        Ok(())
    }
}

/// The number behind a table's name.
fn number(text: &str) -> usize {
    text.parse().expect("invariant: freeze numbers its tables")
}

/// The values of multisets as a column: texts, decimals, or the words of all other types.
fn ordered_column(argument: &DataType, values: &[&OrderedValue]) -> ArrayRef {
    match argument {
        DataType::Utf8 | DataType::Binary => {
            let texts = values.iter().map(|value| match value {
                OrderedValue::Bytes(bytes) => Some(bytes.as_ref()),
                other => unreachable!("invariant: a text is kept as bytes, found {other:?}"),
            });
            bytes_column(argument, texts)
        }
        DataType::Decimal128(_, scale) => {
            let numbers = values.iter().map(|value| match value {
                OrderedValue::Wide(number) => *number,
                other => unreachable!("invariant: a decimal is kept wide, found {other:?}"),
            });
            let array = Decimal128Array::from_iter_values(numbers).with_precision_and_scale(38, *scale);
            Arc::new(array.expect("invariant: the argument's scale is a decimal scale"))
        }
        _ => Arc::new(Int64Array::from_iter_values(values.iter().map(
            |value| match value {
                OrderedValue::Word(word) => *word,
                other => unreachable!("invariant: this value is kept as a word, found {other:?}"),
            },
        ))),
    }
}

/// Values as a column of just that type.
pub(crate) fn scalar_column(
    data_type: &DataType,
    values: Vec<ScalarValue>,
) -> Result<ArrayRef, ExecutionError> {
    if values.is_empty() {
        return Ok(new_empty_array(data_type));
    }
    let column = ScalarValue::iter_to_array(values).map_err(failure)?;
    match column.data_type() == data_type {
        true => Ok(column),
        false => cast(&column, data_type).map_err(failure),
    }
}

fn failure(error: impl std::fmt::Display) -> ExecutionError {
    ExecutionError::new("Aggregate", error)
}
