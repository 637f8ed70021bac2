//! Partial states as columns: what a local phase sends and a snapshot holds.
//!
//! Groups lie anywhere in a table that may be much larger than the caches. So columns grow a few hundred groups at
//! a time: the first column brings the rows of those groups near, the others find them there.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array};
use arrow::datatypes::DataType;

use crate::state::accumulators::layout::{Kind, Primitive, decimal_scale};
use crate::state::accumulators::side::Side;
use crate::state::accumulators::state::GroupState;
use crate::state::accumulators::update::wide;
use crate::state::group_table::{GroupIndex, GroupTable};
use crate::state::key_columns::bytes_column;

/// Groups whose rows, of two cache lines or so, lie in the second-level cache together, with room for other things.
pub(crate) const GATHERED_GROUPS: usize = 1_024;

/// A column as it grows.
enum Export<'l> {
    Word {
        place: usize,
        values: Vec<i64>,
    },
    Float {
        place: usize,
        values: Vec<f64>,
    },
    Wide {
        primitive: &'l Primitive,
        values: Vec<i128>,
    },
    /// It does not lie in the table, and is gathered at the end.
    Bytes {
        place: usize,
        data_type: &'l DataType,
    },
}

impl<'l> Export<'l> {
    /// The columns of a primitive, empty.
    fn columns(primitive: &'l Primitive, groups: usize) -> Vec<Export<'l>> {
        let place = primitive.place;
        match primitive.kind {
            Kind::Count | Kind::MinWord | Kind::MaxWord => vec![Export::Word {
                place,
                values: Vec::with_capacity(groups),
            }],
            Kind::SumFloat => [place, place + 1]
                .map(|place| Export::Float {
                    place,
                    values: Vec::with_capacity(groups),
                })
                .into(),
            Kind::SumInteger | Kind::SumDecimal | Kind::MinDecimal | Kind::MaxDecimal => vec![Export::Wide {
                primitive,
                values: Vec::with_capacity(groups),
            }],
            Kind::MinBytes | Kind::MaxBytes => vec![Export::Bytes {
                place,
                data_type: &primitive.argument_type,
            }],
            // No local phase has them (supports_two_phase), and snapshots have tables of their own.
            Kind::Multiset | Kind::Other(_) => Vec::new(),
        }
    }

    fn gather(&mut self, table: &GroupTable, groups: &[GroupIndex]) {
        let words = |place: usize| groups.iter().map(move |&group| table.state(group)[place]);
        match self {
            Export::Word { place, values } => values.extend(words(*place).map(|word| word as i64)),
            Export::Float { place, values } => values.extend(words(*place).map(f64::from_bits)),
            Export::Wide { primitive, values } => {
                let pairs = words(primitive.place).zip(words(primitive.place + 1));
                values.extend(pairs.map(|(low, high)| wide([low, high])));
            }
            Export::Bytes { .. } => {}
        }
    }

    fn finish(self, sides: &[Side], groups: &[GroupIndex]) -> ArrayRef {
        match self {
            Export::Word { values, .. } => Arc::new(Int64Array::from(values)),
            Export::Float { values, .. } => Arc::new(Float64Array::from(values)),
            Export::Wide { primitive, values } => Arc::new(
                Decimal128Array::from(values)
                    .with_precision_and_scale(38, decimal_scale(&primitive.argument_type))
                    .expect("invariant: the argument's scale is a decimal scale"),
            ),
            Export::Bytes { place, data_type } => {
                let Side::Bytes(entries) = &sides[place] else {
                    unreachable!("invariant: the layout gave this place to texts")
                };
                let values = groups.iter().map(|&group| entries[group as usize].as_deref());
                bytes_column(data_type, values)
            }
        }
    }
}

impl GroupState {
    /// The partial columns of groups `groups`, as [`super::AggregateLayout::partial_fields`] says.
    pub fn export(&self, groups: &[GroupIndex]) -> Vec<ArrayRef> {
        let primitives = self.layout.primitives.iter();
        let mut columns: Vec<Export> = primitives
            .flat_map(|primitive| Export::columns(primitive, groups.len()))
            .collect();
        for part in groups.chunks(GATHERED_GROUPS) {
            columns
                .iter_mut()
                .for_each(|column| column.gather(&self.table, part));
        }
        let columns = columns.into_iter();
        columns.map(|column| column.finish(&self.sides, groups)).collect()
    }
}
