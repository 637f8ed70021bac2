//! A logical plan lowered so far: the node that computes it, and where its columns are.
//!
//! Logical columns are a view over the node's physical ones, so dropping, renaming and reordering
//! columns cost no operator. Window bounds may be virtual: a window TVF is only materialised
//! (`WindowAssign`) where something other than an aggregation over its windows needs them.
//!
//! **Invariant.** `columns[i]` answers column `i` of the logical plan's schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion_common::{DFSchema, DFSchemaRef, TableReference};

use crate::plan::window_tvf::LateClauseId;
use crate::plan::{NodeId, WindowSpec};

/// Where a logical column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnSource {
    /// A column of the node.
    Physical(usize),
    /// A bound of the window that the row's event time falls into; not computed yet.
    Window(WindowBound),
}

/// The columns that a window operator appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowBound {
    /// `window_start`.
    Start,
    /// `window_end`.
    End,
    /// `window_time`.
    Time,
}

impl WindowBound {
    /// All bounds, in the order in which operators append them.
    pub(crate) const ALL: [WindowBound; 3] = [WindowBound::Start, WindowBound::End, WindowBound::Time];
}

/// Window bounds that the node computes as physical columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttachedWindow {
    /// The physical `window_start` column, unless dropped.
    pub(crate) start: Option<usize>,
    /// The physical `window_end` column, unless dropped.
    pub(crate) end: Option<usize>,
    /// See [`WindowSpec::tick_us`].
    pub(crate) tick_us: i64,
}

/// The columns that `LATE DATA TO` writes of the rows that come late, as physical columns of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LateColumns {
    /// Which clause asks for them.
    pub(crate) clause: LateClauseId,
    /// The columns of the windowed relation, in order.
    pub(crate) columns: Vec<usize>,
}

/// A logical plan, lowered.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    /// The node whose output it is.
    pub(crate) node: NodeId,
    /// Where each logical column is.
    pub(crate) columns: Vec<ColumnSource>,
    /// The window TVF applied to the node's rows but not materialised.
    pub(crate) pending_window: Option<WindowSpec>,
    /// Windows that the node's rows already carry.
    pub(crate) attached: Option<AttachedWindow>,
    /// What must be kept of each row until its pending window says whether it is late.
    pub(crate) late: Option<LateColumns>,
}

impl Lowered {
    /// Every logical column is the node's column of the same index.
    pub(crate) fn identity(node: NodeId, width: usize) -> Lowered {
        Lowered {
            node,
            columns: (0..width).map(ColumnSource::Physical).collect(),
            pending_window: None,
            attached: None,
            late: None,
        }
    }

    /// The physical column of logical column `index`; `None` for a virtual window bound.
    pub(crate) fn physical(&self, index: usize) -> Option<usize> {
        match self.columns[index] {
            ColumnSource::Physical(physical) => Some(physical),
            ColumnSource::Window(_) => None,
        }
    }

    /// Whether logical column `index` is this bound of the rows' window, virtual or attached.
    pub(crate) fn is_bound(&self, index: usize, bound: WindowBound) -> bool {
        match self.columns[index] {
            ColumnSource::Window(found) => found == bound,
            ColumnSource::Physical(physical) => self.attached.is_some_and(|attached| match bound {
                WindowBound::Start => attached.start == Some(physical),
                WindowBound::End => attached.end == Some(physical),
                WindowBound::Time => false,
            }),
        }
    }
}

/// The node's columns under their logical names, so that expressions over the logical schema
/// resolve to physical indices. Physical columns without a logical name get a hidden one.
pub(crate) fn physical_schema(logical: &DFSchema, lowered: &Lowered, node: &Schema) -> DFSchemaRef {
    let mut fields: Vec<(Option<TableReference>, FieldRef)> = node
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let hidden = field
                .as_ref()
                .clone()
                .with_name(format!("{}#{index}", field.name()));
            (Some(TableReference::bare("$hidden")), Arc::new(hidden))
        })
        .collect();
    for (index, (qualifier, field)) in logical.iter().enumerate() {
        if let Some(physical) = lowered.physical(index) {
            fields[physical] = (qualifier.cloned(), field.clone());
        }
    }
    let schema = DFSchema::new_with_metadata(fields, HashMap::new())
        .expect("invariant: logical names are unique, hidden names are numbered");
    Arc::new(schema)
}

/// The Arrow schema of these fields.
pub(crate) fn schema_of(fields: Vec<FieldRef>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}
