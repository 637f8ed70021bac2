//! Snapshots from which something is missing, or in which something is wrong.

use engine::snapshot::OperatorSnapshot;
use engine::time::WATERMARK_NONE;
use shards::checkpoint::{ShardSnapshot, SnapshotSink};
use shards::connector::ConnectorError;

use crate::simulation::planted::Bug;

/// Wraps what takes a shard's snapshots.
pub struct Forgetful {
    inner: Box<dyn SnapshotSink>,
    bug: Bug,
}

impl Forgetful {
    /// Plants `bug` in front of `inner`.
    pub fn new(inner: Box<dyn SnapshotSink>, bug: Bug) -> Forgetful {
        Forgetful { inner, bug }
    }
}

impl SnapshotSink for Forgetful {
    fn take(&mut self, mut snapshot: ShardSnapshot) -> Result<(), ConnectorError> {
        let operators = snapshot.operators.iter_mut();
        for state in operators.filter_map(|operator| operator.state.as_mut()) {
            spoil(state, self.bug);
        }
        self.inner.take(snapshot)
    }
}

fn spoil(state: &mut OperatorSnapshot, bug: Bug) {
    const MINUTE_US: i64 = 60_000_000;
    match bug {
        Bug::TableForgotten => {
            if let Some(table) = state.tables.last_mut() {
                table.parts = vec![table.parts[0].slice(0, 0)];
            }
        }
        Bug::RowForgotten => {
            if let Some(table) = state.tables.first_mut() {
                if let Some(part) = table.parts.iter_mut().rfind(|part| part.num_rows() > 0) {
                    *part = part.slice(0, part.num_rows() - 1);
                }
            }
        }
        Bug::WatermarkTooHigh if state.watermark > WATERMARK_NONE => {
            state.watermark = state.watermark.saturating_add(MINUTE_US);
        }
        _ => {}
    }
}
