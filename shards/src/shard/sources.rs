//! The sources of one shard: polled one batch a step, ingested, stopped at barriers.

use engine::error::ExecutionError;
use engine::operators::ingest::{Ingest, IngestOutput};
use engine::plan::{NodeId, NodeKind, StreamPlan};
use engine::time::WatermarkUs;

use crate::checkpoint::SourceSnapshot;
use crate::clock::{Clock, Nanos};
use crate::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitPosition};
use crate::epoch::{Epoch, Request};
use crate::inbox::Delivery;
use crate::shard::{Shard, ShardError};

/// One source on one shard.
pub(super) struct SourceEnd {
    node: NodeId,
    source: Box<dyn Source>,
    ingest: Ingest,
    state: SourceState,
    poll_at: Option<Nanos>,
    /// The newest barrier it has sent.
    epoch: Epoch,
    splits_known: bool,
    /// By split, the watermark of the job before.
    restored: Vec<(String, WatermarkUs)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceState {
    Active,
    /// It has failed; what was read before is still written.
    Failed,
    /// It has sent the last barrier.
    Stopped,
    /// It has sent the end.
    Ended,
}

impl SourceEnd {
    pub(super) fn new(
        plan: &StreamPlan,
        node: NodeId,
        source: Box<dyn Source>,
    ) -> Result<SourceEnd, ExecutionError> {
        let NodeKind::Source(spec) = &plan.nodes[node].kind else {
            return Err(ExecutionError::new(
                "shard",
                format!("node {node} is not a source"),
            ));
        };
        let ingest = Ingest::new(spec, &plan.settings);
        Ok(SourceEnd {
            node,
            source,
            ingest,
            state: SourceState::Active,
            poll_at: None,
            epoch: 0,
            splits_known: false,
            restored: Vec::new(),
        })
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Where it stands, under `name`.
    pub(super) fn snapshot(&self, name: String) -> SourceSnapshot {
        let watermarks = self.ingest.promised();
        SourceSnapshot {
            name,
            positions: self.source.positions(),
            watermarks: watermarks
                .map(|(split, watermark)| (self.source.split_name(split), watermark))
                .collect(),
        }
    }

    /// Goes on from where all parts of it stood. A split that several shards read goes on with the lowest of
    /// their watermarks.
    pub(super) fn restore(&mut self, written: &[&SourceSnapshot]) -> Result<(), ConnectorError> {
        let positions: Vec<SplitPosition> = written.iter().flat_map(|part| part.positions.clone()).collect();
        self.source.restore(&positions)?;
        self.restored = written.iter().flat_map(|part| part.watermarks.clone()).collect();
        Ok(())
    }

    /// Makes its splits known, with what they had promised before; answers what comes of it.
    fn introduce_splits(&mut self, now: Nanos) -> Vec<IngestOutput> {
        self.splits_known = true;
        let mut outputs = Vec::new();
        let splits = self.source.splits();
        if splits.is_empty() && self.source.may_grow() && self.ingest.watermark().is_some() {
            // Nothing is read here yet: others' watermarks need not wait for it.
            outputs.push(IngestOutput::Idle);
        }
        for &split in &splits {
            self.ingest.add_split(split, now);
        }
        for split in splits {
            let name = self.source.split_name(split);
            let promised = self.restored.iter().filter(|(known, _)| *known == name);
            if let Some(watermark) = promised.map(|&(_, watermark)| watermark).min() {
                self.ingest.restore_split(split, watermark, &mut outputs);
            }
        }
        outputs
    }

    pub(super) fn statistics(&self) -> SourceStatistics {
        self.source.statistics()
    }

    pub(super) fn clamped(&self) -> u64 {
        self.ingest.clamped()
    }

    /// The watermark while the source may still speak.
    pub(super) fn watermark(&self) -> Option<WatermarkUs> {
        self.ingest.watermark()
    }

    /// Whether a barrier is asked for that it has not sent and may send now: one epoch at a time,
    /// so that all sources send the same barriers, however late each hears of a request.
    pub(super) fn has_request(&self, request: Request, captured: Epoch) -> bool {
        request.epoch > self.epoch
            && self.epoch <= captured
            && matches!(self.state, SourceState::Active | SourceState::Failed)
    }
}

impl Shard {
    /// Polls every source that may speak; answers whether one did, and when to look again.
    pub(super) fn poll_sources(&mut self, clock: &dyn Clock) -> Result<(bool, Option<Nanos>), ShardError> {
        let mut progress = false;
        let mut poll_at: Option<Nanos> = None;
        for index in 0..self.sources.len() {
            if !self.sources[index].splits_known {
                let now = clock.now();
                let outputs = self.sources[index].introduce_splits(now);
                self.hand_on_ingested(index, outputs, now, clock)?;
            }
            progress |= self.send_barrier(index, clock)?;
            let source = &self.sources[index];
            if source.state != SourceState::Active || source.epoch > self.epoch_captured {
                continue;
            }
            let node = source.node;
            let held_back = self.is_blocked(node) || self.is_firing_below(node);
            progress |= self.tick_source(index, held_back, clock)?;
            if held_back {
                continue;
            }
            let now = clock.now();
            if self.sources[index].poll_at.is_none_or(|at| now >= at) {
                progress |= self.poll_source(index, clock)?;
            }
            let source = &self.sources[index];
            if source.state == SourceState::Active {
                let tick_at = source.ingest.next_tick(now);
                poll_at = poll_at.into_iter().chain(source.poll_at).chain(tick_at).min();
            }
        }
        Ok((progress, poll_at))
    }

    fn send_barrier(&mut self, index: usize, clock: &dyn Clock) -> Result<bool, ShardError> {
        let request = self.control.request();
        let source = &mut self.sources[index];
        if !source.has_request(request, self.epoch_captured) {
            return Ok(false);
        }
        source.epoch += 1;
        let (epoch, stop) = (source.epoch, request.stop && source.epoch == request.epoch);
        if stop {
            source.state = SourceState::Stopped;
        }
        let node = source.node;
        self.capture_source(index)?;
        self.hand_on(node, Delivery::Barrier { epoch, stop }, clock)?;
        Ok(true)
    }

    fn tick_source(&mut self, index: usize, held_back: bool, clock: &dyn Clock) -> Result<bool, ShardError> {
        let mut outputs = Vec::new();
        self.sources[index]
            .ingest
            .tick(clock.now(), held_back, &mut outputs);
        self.hand_on_ingested(index, outputs, clock.now(), clock)
    }

    fn poll_source(&mut self, index: usize, clock: &dyn Clock) -> Result<bool, ShardError> {
        let started = clock.now();
        let source = &mut self.sources[index];
        source.poll_at = None;
        let mut outputs = Vec::new();
        let node = source.node;
        match source.source.poll(started, self.config.poll_rows) {
            Ok(SourcePoll::Rows {
                split,
                rows,
                arrival_ns,
            }) => {
                self.counters.rows_in += rows.num_rows() as u64;
                let now = clock.now();
                source
                    .ingest
                    .ingest(split, rows, arrival_ns, clock.wall_us(), now, &mut outputs)?;
                self.profile.record_service(node, clock.now() - started);
                self.hand_on_ingested(index, outputs, arrival_ns, clock)?;
                Ok(true)
            }
            Ok(SourcePoll::Watermark { split, watermark_us }) => {
                source
                    .ingest
                    .raise_watermark(split, watermark_us, started, &mut outputs);
                self.hand_on_ingested(index, outputs, started, clock)?;
                Ok(true)
            }
            Ok(SourcePoll::SplitEnd(split)) => {
                source.ingest.end_split(split, started, &mut outputs);
                self.hand_on_ingested(index, outputs, started, clock)?;
                Ok(true)
            }
            Ok(SourcePoll::Pending { poll_at }) => {
                source.poll_at = poll_at;
                Ok(false)
            }
            Ok(SourcePoll::End) => {
                source.state = SourceState::Ended;
                self.hand_on(node, Delivery::End, clock)?;
                Ok(true)
            }
            Err(error) => {
                // The first error is told; the job stops as if asked to, so that everything
                // complete is written.
                source.state = SourceState::Failed;
                self.failure.get_or_insert(error);
                self.control.request_stop();
                Ok(true)
            }
        }
    }

    fn hand_on_ingested(
        &mut self,
        index: usize,
        outputs: Vec<IngestOutput>,
        arrival_ns: Nanos,
        clock: &dyn Clock,
    ) -> Result<bool, ShardError> {
        let node = self.sources[index].node;
        let progress = !outputs.is_empty();
        for output in outputs {
            let delivery = match output {
                IngestOutput::Rows(batch) => Delivery::Rows(batch),
                IngestOutput::Watermark(watermark) => Delivery::Watermark {
                    watermark,
                    arrival_ns,
                },
                IngestOutput::Idle => Delivery::Idle,
            };
            self.hand_on(node, delivery, clock)?;
        }
        Ok(progress)
    }
}
