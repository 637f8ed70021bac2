//! Where the microseconds went: HdrHistograms of one shard, handed to the control thread whole.
//!
//! All values are nanoseconds, three significant digits, up to one hour; longer ones count as an hour.

use engine::plan::{NodeId, NodeKind, StreamPlan, explain};
use hdrhistogram::Histogram;

use crate::clock::Nanos;

const HIGHEST_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// The histograms of one shard since the last time they were taken.
#[derive(Clone, Debug)]
pub struct ShardProfile {
    /// The shard.
    pub shard: usize,
    /// Time spent in each node for one batch, watermark or flush: (the node's headline, histogram).
    pub service: Vec<(String, Histogram<u64>)>,
    /// From push to pop of a message.
    pub ring_wait: Histogram<u64>,
    /// From the arrival of an input row to the emission of the output it led to, at the sinks.
    pub event_latency: Histogram<u64>,
    /// From the arrival of the input that moved the watermark past a window's end to the emission
    /// of the window's rows by its operator. Windows that the end of the input closes are not in it.
    pub window_delay: Histogram<u64>,
}

impl ShardProfile {
    /// Empty histograms for the nodes of `plan`.
    pub fn new(shard: usize, plan: &StreamPlan) -> ShardProfile {
        let service = (0..plan.nodes.len())
            .map(|id| (explain::headline(plan, id), empty()))
            .collect();
        ShardProfile {
            shard,
            service,
            ring_wait: empty(),
            event_latency: empty(),
            window_delay: empty(),
        }
    }

    /// Hands out what was recorded and starts anew.
    pub fn take(&mut self) -> Box<ShardProfile> {
        let taken = Box::new(self.clone());
        self.service
            .iter_mut()
            .for_each(|(_, histogram)| histogram.reset());
        self.ring_wait.reset();
        self.event_latency.reset();
        self.window_delay.reset();
        taken
    }

    pub(crate) fn record_service(&mut self, node: NodeId, nanos: Nanos) {
        self.service[node].1.saturating_record(nanos);
    }

    pub(crate) fn record_emission(&mut self, latency: Nanos, rows: usize) {
        self.event_latency.saturating_record_n(latency, rows as u64);
    }

    pub(crate) fn record_window(&mut self, delay: Nanos) {
        self.window_delay.saturating_record(delay);
    }
}

/// Whether a node answers when a window ends, so that its delay is measured.
pub(crate) fn answers_for_windows(kind: &NodeKind) -> bool {
    matches!(
        kind,
        NodeKind::WindowAggregate(_)
            | NodeKind::WindowJoin(_)
            | NodeKind::OverAggregate(_)
            | NodeKind::Lead(_)
            | NodeKind::MatchRecognize(_)
    )
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS).expect("invariant: the bounds are valid")
}
