//! Side columns: state that does not fit words, one entry per group beside the table.
//!
//! **Invariant.** `entries[group]` belongs to group `group`; a side column is at least as long as
//! the highest group it was given.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion_expr::Accumulator;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use crate::state::accumulators::inputs::{Rows, Values};
use crate::state::accumulators::replay::retractable;
use crate::state::group_table::GroupIndex;

/// A value in a multiset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OrderedValue {
    Word(i64),
    Wide(i128),
    Bytes(Box<[u8]>),
}

/// One side column.
#[derive(Debug)]
pub(crate) enum Side {
    /// The least or greatest text of each group.
    Bytes(Vec<Option<Box<[u8]>>>),
    /// All values of each group with their number.
    Multisets(Vec<BTreeMap<OrderedValue, i64>>),
    /// DataFusion's accumulators; an entry without rows has none.
    Others {
        function: Arc<AggregateFunctionExpr>,
        retracts: bool,
        entries: Vec<OtherEntry>,
    },
}

/// DataFusion's accumulator of one group.
#[derive(Debug, Default)]
pub(crate) struct OtherEntry {
    pub accumulator: Option<Box<dyn Accumulator>>,
    pub rows: i64,
}

/// The bytes of a STRING or BYTES column.
pub(crate) fn bytes_at(column: &ArrayRef, row: usize) -> &[u8] {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).as_bytes(),
        _ => column.as_binary::<i32>().value(row),
    }
}

/// Calls `each` with every row that counts.
pub(crate) fn for_each_row(rows: Rows<'_>, count: usize, mut each: impl FnMut(usize)) {
    match rows {
        Rows::All => (0..count).for_each(each),
        Rows::Some(rows) => rows.iter().for_each(|&row| each(row as usize)),
    }
}

/// Replaces `entry` if `bytes` is beyond it.
pub(crate) fn improve_bytes(entry: &mut Option<Box<[u8]>>, bytes: &[u8], is_max: bool) {
    let is_better = match entry {
        None => true,
        Some(current) if is_max => bytes > &**current,
        Some(current) => bytes < &**current,
    };
    if is_better {
        *entry = Some(bytes.into());
    }
}

/// Adds `count` (negative: takes) to a value's number; at 0 the value is gone.
pub(crate) fn add_to_multiset(multiset: &mut BTreeMap<OrderedValue, i64>, value: OrderedValue, count: i64) {
    let number = multiset.entry(value.clone()).or_insert(0);
    *number += count;
    if *number == 0 {
        multiset.remove(&value);
    }
}

/// The value of row `row` for a multiset.
pub(crate) fn ordered_value(values: Option<&Values>, column: &ArrayRef, row: usize) -> OrderedValue {
    match values {
        Some(Values::Integers(values)) => OrderedValue::Word(values[row]),
        Some(Values::Wides(values)) => OrderedValue::Wide(values[row]),
        Some(Values::Floats(_)) => unreachable!("invariant: floats are ordered as integers"),
        None => OrderedValue::Bytes(bytes_at(column, row).into()),
    }
}

impl Side {
    /// DataFusion's accumulators: the function, whether rows are taken back, and an entry per group.
    pub fn others(&mut self) -> (&Arc<AggregateFunctionExpr>, bool, &mut [OtherEntry]) {
        match self {
            Side::Others {
                function,
                retracts,
                entries,
            } => (function, *retracts, entries),
            _ => unreachable!("invariant: the layout gave this place to DataFusion's accumulators"),
        }
    }

    /// Makes entries up to `groups`.
    pub fn grow(&mut self, groups: usize) {
        match self {
            Side::Bytes(entries) if entries.len() < groups => entries.resize(groups, None),
            Side::Multisets(entries) if entries.len() < groups => entries.resize_with(groups, BTreeMap::new),
            Side::Others { entries, .. } if entries.len() < groups => {
                entries.resize_with(groups, OtherEntry::default)
            }
            _ => {}
        }
    }

    /// Makes the entry of `group` that of a new group.
    pub fn reset(&mut self, group: GroupIndex) {
        let group = group as usize;
        match self {
            Side::Bytes(entries) => entries[group] = None,
            Side::Multisets(entries) => entries[group] = BTreeMap::new(),
            Side::Others { entries, .. } => entries[group] = OtherEntry::default(),
        }
    }

    /// Forgets `group`; the last entry takes its place.
    pub fn remove(&mut self, group: GroupIndex) {
        let group = group as usize;
        match self {
            Side::Bytes(entries) => drop(entries.swap_remove(group)),
            Side::Multisets(entries) => drop(entries.swap_remove(group)),
            Side::Others { entries, .. } => drop(entries.swap_remove(group)),
        }
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        match self {
            Side::Bytes(entries) => entries.clear(),
            Side::Multisets(entries) => entries.clear(),
            Side::Others { entries, .. } => entries.clear(),
        }
    }

    /// Bytes held, estimated for the nodes of multisets.
    pub fn allocated_bytes(&self) -> usize {
        const MULTISET_ENTRY_BYTES: usize = size_of::<(OrderedValue, i64)>() * 3 / 2;
        match self {
            Side::Bytes(entries) => {
                let texts: usize = entries.iter().flatten().map(|bytes| bytes.len()).sum();
                texts + entries.capacity() * size_of::<Option<Box<[u8]>>>()
            }
            Side::Multisets(entries) => {
                let values: usize = entries.iter().map(BTreeMap::len).sum();
                values * MULTISET_ENTRY_BYTES + entries.capacity() * size_of::<BTreeMap<OrderedValue, i64>>()
            }
            Side::Others { entries, .. } => {
                let accumulators = entries.iter().filter_map(|entry| entry.accumulator.as_ref());
                let states: usize = accumulators.map(|accumulator| accumulator.size()).sum();
                states + entries.capacity() * size_of::<OtherEntry>()
            }
        }
    }
}

/// Feeds DataFusion's accumulators: the rows of each group, gathered, in input order.
pub(crate) fn update_others(
    side: &mut Side,
    groups: &[GroupIndex],
    rows: Rows<'_>,
    signs: Option<&[i64]>,
    arguments: &[ArrayRef],
) -> datafusion_common::Result<()> {
    let Side::Others {
        function,
        retracts,
        entries,
    } = side
    else {
        unreachable!("invariant: the layout gave this place to DataFusion's accumulators")
    };
    let mut ordered = Vec::with_capacity(groups.len());
    let is_negative = |row: usize| signs.is_some_and(|signs| signs[row] < 0);
    for_each_row(rows, groups.len(), |row| {
        ordered.push((groups[row], is_negative(row), row as u32))
    });
    // Additions first: a sliding accumulator must never go below nothing.
    ordered.sort_unstable();
    for run in ordered.chunk_by(|left, right| (left.0, left.1) == (right.0, right.1)) {
        let (group, negative, _) = run[0];
        let indices = UInt32Array::from_iter_values(run.iter().map(|&(_, _, row)| row));
        let values: Vec<ArrayRef> = arguments
            .iter()
            .map(|column| take(column, &indices, None))
            .collect::<Result<_, _>>()?;
        let entry = &mut entries[group as usize];
        let accumulator = match &mut entry.accumulator {
            Some(accumulator) => accumulator,
            none => none.insert(create(function, *retracts)?),
        };
        let count = run.len() as i64;
        if negative {
            accumulator.retract_batch(&values)?;
            entry.rows -= count;
        } else {
            accumulator.update_batch(&values)?;
            entry.rows += count;
        }
        if entry.rows == 0 {
            // Starting anew forgets what rounding left behind.
            entry.accumulator = None;
        }
    }
    Ok(())
}

/// A fresh accumulator of `function`.
pub(crate) fn create(
    function: &Arc<AggregateFunctionExpr>,
    retracts: bool,
) -> datafusion_common::Result<Box<dyn Accumulator>> {
    if retracts {
        retractable(function)
    } else {
        function.create_accumulator()
    }
}
