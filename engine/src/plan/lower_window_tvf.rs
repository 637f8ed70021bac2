//! Window TVFs: most stay virtual until somebody asks for their bounds, sessions become an operator at once.

use arrow::datatypes::FieldRef;

use crate::changelog::Changelog;
use crate::error::SqlError;
use crate::plan::builder::{Builder, names_of, tick_us, window_fields};
use crate::plan::lower_late::late_field;
use crate::plan::lowered::{AttachedWindow, ColumnSource, LateColumns, Lowered, WindowBound, schema_of};
use crate::plan::partitioner::{self, KeyedOperator};
use crate::plan::window_tvf::WindowTvf;
use crate::plan::{NodeKind, PlanNode, SessionSpec, StateGrowth, WindowKind, WindowSpec};
use crate::sql::statement::Emit;

impl Builder<'_> {
    /// A window TVF changes nothing until somebody asks for its bounds.
    pub(crate) fn lower_window_tvf(&mut self, tvf: &WindowTvf) -> Result<Lowered, SqlError> {
        let input = self.lower(&tvf.input, Emit::Default)?;
        let mut input = self.materialise(input);
        let time = tvf
            .input
            .schema()
            .maybe_index_of_column(&tvf.time_column)
            .and_then(|index| input.physical(index))
            .expect("invariant: the time column is a column of the input");
        let node = &self.nodes[input.node];
        if node.event_time != Some(time) {
            return Err(SqlError::new(format!(
                "a window needs the event-time column, and `{}` is none",
                tvf.time_column.name
            ))
            .hint(match node.event_time {
                Some(event_time) => format!("use `{}`", node.schema.field(event_time).name()),
                None => format!(
                    "declare WATERMARK FOR `{}` AS … in CREATE TABLE",
                    tvf.time_column.name
                ),
            })
            .at(tvf.position()));
        }
        let tick_us = tick_us(node.schema.field(time).data_type());
        input.late = tvf.late.map(|clause| LateColumns {
            clause,
            columns: (0..input.columns.len())
                .filter_map(|index| input.physical(index))
                .collect(),
        });
        if let WindowKind::Session { gap_us } = tvf.kind {
            return self.add_session_assign(tvf, input, time, gap_us);
        }
        input.pending_window = Some(WindowSpec {
            kind: tvf.kind,
            offset_us: tvf.offset_us,
            time_column: time,
            tick_us,
        });
        input.columns.extend(WindowBound::ALL.map(ColumnSource::Window));
        Ok(input)
    }

    /// Sessions depend on the rows: they are assigned at once.
    fn add_session_assign(
        &mut self,
        tvf: &WindowTvf,
        input: Lowered,
        time: usize,
        gap_us: i64,
    ) -> Result<Lowered, SqlError> {
        let logical = tvf.input.schema();
        let column = |column| {
            let index = logical.maybe_index_of_column(column);
            let physical = index.and_then(|index| input.physical(index));
            physical.expect("invariant: the keys of a session are columns of its input")
        };
        let partition: Vec<usize> = tvf.partition.iter().map(column).collect();
        let node = self.nodes[input.node].clone();
        if input.late.is_some() && node.changelog.has_ops() {
            return Err(SqlError::new(
                "LATE DATA TO on a session window needs rows that are never taken back",
            )
            .hint("use it on a window of fixed length")
            .at(tvf.position()));
        }
        let key_names = names_of(&node.schema, &partition);
        let partitioning = partitioner::select(&KeyedOperator {
            name: "the session window",
            key_names: &key_names,
            keys: &partition,
            input: &node.distribution,
            two_phase: Err("a session is made of the rows before it".to_string()),
        });
        let (below, _) = self.add_exchange(input.node, partition.clone(), &partitioning);
        let below = self.nodes[below].clone();
        let width = below.schema.fields().len();
        let time_type = below.schema.field(time).data_type().clone();
        let mut fields: Vec<FieldRef> = below.schema.fields().to_vec();
        fields.extend(window_fields(&time_type));
        let tick_us = tick_us(&time_type);
        if input.late.is_some() {
            fields.push(late_field());
        }
        let node = self.add(PlanNode {
            kind: NodeKind::SessionAssign(SessionSpec {
                time_column: time,
                partition,
                gap_us,
                tick_us,
                tells_late: input.late.is_some(),
            }),
            inputs: vec![below.id],
            schema: schema_of(fields),
            changelog: Changelog::Append,
            event_time: Some(width + 2),
            growth: StateGrowth::Bounded("rows of open sessions".to_string()),
            ..below
        });
        let node = match &input.late {
            Some(late) => self.part_late_rows(node, late),
            None => node,
        };
        let mut columns = input.columns;
        columns.extend((width..width + 3).map(ColumnSource::Physical));
        Ok(Lowered {
            node,
            columns,
            pending_window: None,
            attached: Some(AttachedWindow {
                start: Some(width),
                end: Some(width + 1),
                tick_us,
            }),
            late: None,
        })
    }
}
