//! Snapshots from which something is missing, or in which something is wrong.

use std::collections::BTreeMap;

use engine::snapshot::{OperatorSnapshot, PartNumber, StatePart};
use engine::time::WATERMARK_NONE;
use shards::checkpoint::{ShardSnapshot, SnapshotSink};
use shards::connector::ConnectorError;

use crate::simulation::planted::Bug;

/// Wraps what takes a shard's snapshots.
pub struct Forgetful {
    inner: Box<dyn SnapshotSink>,
    bug: Bug,
    /// By operator, the parts that its last snapshot brought or kept.
    known: BTreeMap<String, Vec<PartNumber>>,
}

impl Forgetful {
    /// Plants `bug` in front of `inner`.
    pub fn new(inner: Box<dyn SnapshotSink>, bug: Bug) -> Forgetful {
        Forgetful {
            inner,
            bug,
            known: BTreeMap::new(),
        }
    }
}

impl SnapshotSink for Forgetful {
    fn take(&mut self, mut snapshot: ShardSnapshot) -> Result<(), ConnectorError> {
        for operator in &mut snapshot.operators {
            let Some(state) = &mut operator.state else {
                continue;
            };
            spoil(state, self.bug);
            if self.bug == Bug::KeptThoughChanged {
                keep_all(state, self.known.entry(operator.name.clone()).or_default());
            }
        }
        self.inner.take(snapshot)
    }

    fn puts_back_kept_parts(&self) -> bool {
        self.inner.puts_back_kept_parts()
    }
}

/// Keeps all that is `known` of an operator instead of what it brings.
fn keep_all(state: &mut OperatorSnapshot, known: &mut Vec<PartNumber>) {
    if known.is_empty() {
        let parts = state.tables.iter().flat_map(|table| &table.parts);
        known.extend(parts.filter_map(|part| part.number));
        known.extend(&state.kept);
        known.sort_unstable();
        known.dedup();
        return;
    }
    for table in &mut state.tables {
        table.parts.retain(|part| part.number.is_none());
    }
    state.kept.clone_from(known);
}

fn spoil(state: &mut OperatorSnapshot, bug: Bug) {
    const MINUTE_US: i64 = 60_000_000;
    match bug {
        Bug::TableForgotten => {
            if let Some(table) = state.tables.last_mut() {
                let empty = table.parts[0].rows.slice(0, 0);
                table.parts = vec![StatePart {
                    number: None,
                    rows: empty,
                }];
            }
        }
        Bug::RowForgotten => {
            let parts = state.tables.first_mut().map(|table| &mut table.parts);
            if let Some(part) =
                parts.and_then(|parts| parts.iter_mut().rfind(|part| part.rows.num_rows() > 0))
            {
                part.rows = part.rows.slice(0, part.rows.num_rows() - 1);
            }
        }
        Bug::WatermarkTooHigh if state.watermark > WATERMARK_NONE => {
            state.watermark = state.watermark.saturating_add(MINUTE_US);
        }
        _ => {}
    }
}
