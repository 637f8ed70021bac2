//! How rows, watermarks, barriers and ends pass through the nodes of one shard.
//!
//! **Invariant.** A signal passes a node only when its firing is done: rows for event time ≤ W
//! always travel before W.

use engine::batch::Batch;
use engine::error::ExecutionError;
use engine::operators::{Firing, Operator, Output};
use engine::plan::NodeId;
use engine::time::WATERMARK_END;
use engine::time::watermark::InputState;

use crate::clock::Clock;
use crate::epoch::Epoch;
use crate::mesh::Message;
use crate::shard::graph::{Role, Signal};
use crate::shard::{Shard, ShardError};

impl Shard {
    /// Hands batches that `node` emitted to its readers.
    pub(super) fn push_rows(
        &mut self,
        node: NodeId,
        batches: Vec<Batch>,
        clock: &dyn Clock,
    ) -> Result<(), ShardError> {
        let readers = self.nodes[node].readers.clone();
        for batch in batches {
            for &(reader, input) in readers.iter() {
                self.take_rows(reader, input, batch.clone(), clock)?;
            }
        }
        Ok(())
    }

    fn take_rows(
        &mut self,
        id: NodeId,
        input: usize,
        batch: Batch,
        clock: &dyn Clock,
    ) -> Result<(), ShardError> {
        let started = clock.now();
        let node = &mut self.nodes[id];
        match &mut node.role {
            Role::Operator(operator) => {
                node.output.set_arrival(batch.arrival_ns);
                operator.process(input, batch, &mut node.output)?;
                let emitted = node.output.take();
                node.note_held(started);
                self.profile.record_service(id, clock.now() - started);
                self.push_rows(id, emitted, clock)
            }
            Role::Exchange(exchange) => {
                exchange.send_rows(batch, &mut self.endpoint, started);
                self.profile.record_service(id, clock.now() - started);
                Ok(())
            }
            Role::Sink(end) => {
                assert!(!end.closing, "invariant: no row follows the end");
                end.sink.write(&batch)?;
                let now = clock.now();
                self.counters.rows_out += batch.len() as u64;
                self.profile.record_service(id, now - started);
                // What no row of this run brought about has no latency.
                if batch.arrival_ns > 0 {
                    self.profile
                        .record_emission(now.saturating_sub(batch.arrival_ns), batch.len());
                }
                Ok(())
            }
            Role::Source => unreachable!("invariant: nothing flows into a source"),
        }
    }

    /// Hands a signal that `node` passes on to its readers.
    pub(super) fn push_signal(
        &mut self,
        node: NodeId,
        signal: Signal,
        clock: &dyn Clock,
    ) -> Result<(), ShardError> {
        let readers = self.nodes[node].readers.clone();
        for &(reader, input) in readers.iter() {
            self.take_signal(reader, input, signal, clock)?;
        }
        Ok(())
    }

    /// Merges a signal over the node's inputs; what comes of it queues behind an unfinished firing.
    fn take_signal(
        &mut self,
        id: NodeId,
        input: usize,
        signal: Signal,
        clock: &dyn Clock,
    ) -> Result<(), ShardError> {
        let node = &mut self.nodes[id];
        match signal {
            Signal::Watermark {
                watermark,
                arrival_ns,
            } => {
                if let Some(watermark) = node.watermarks.update(input, InputState::Active(watermark)) {
                    node.signals.push_back(Signal::Watermark {
                        watermark,
                        arrival_ns,
                    });
                }
            }
            Signal::Idle => {
                let risen = node.watermarks.update(input, InputState::Idle);
                let arrival_ns = clock.now();
                node.signals.extend(risen.map(|watermark| Signal::Watermark {
                    watermark,
                    arrival_ns,
                }));
                if node.watermarks.is_idle() {
                    node.signals.push_back(Signal::Idle);
                }
            }
            Signal::Barrier { .. } => {
                if node.align(input, false) {
                    node.signals.push_back(signal);
                }
            }
            Signal::End => {
                let waits_for_barrier = node.aligned.iter().any(|&aligned| aligned);
                assert!(
                    !waits_for_barrier,
                    "invariant: entries wait for an epoch to be captured"
                );
                node.align(input, true);
                self.tell_input_ended(id, input, clock)?;
                let node = &mut self.nodes[id];
                if node.all_ended() {
                    node.signals.push_back(Signal::End);
                } else if let Some(watermark) = node.watermarks.update(input, InputState::Ended) {
                    node.signals.push_back(Signal::Watermark {
                        watermark,
                        arrival_ns: clock.now(),
                    });
                }
            }
        }
        self.work_off_signals(id, clock)
    }

    /// Tells an operator with several inputs that one of them has ended.
    fn tell_input_ended(&mut self, id: NodeId, input: usize, clock: &dyn Clock) -> Result<(), ShardError> {
        let is_one_of_several = self.nodes[id].ended.len() > 1;
        if !is_one_of_several || !matches!(self.nodes[id].role, Role::Operator(_)) {
            return Ok(());
        }
        self.drive(id, clock, |operator, output| {
            operator.input_ended(input, output)?;
            Ok(Firing::Done)
        })
        .map(|_| ())
    }

    /// Acts on the node's signals until it fires at length or none is left.
    fn work_off_signals(&mut self, id: NodeId, clock: &dyn Clock) -> Result<(), ShardError> {
        while !self.nodes[id].firing {
            let Some(signal) = self.nodes[id].signals.pop_front() else {
                break;
            };
            self.act_on(id, signal, clock)?;
        }
        Ok(())
    }

    fn act_on(&mut self, id: NodeId, signal: Signal, clock: &dyn Clock) -> Result<(), ShardError> {
        let node = &mut self.nodes[id];
        match &mut node.role {
            Role::Operator(_) => self.operator_signal(id, signal, clock),
            Role::Exchange(exchange) => {
                exchange.send_to_all(&message_of(signal), &mut self.endpoint, clock.now());
                Ok(())
            }
            Role::Sink(end) => {
                match signal {
                    Signal::Barrier { epoch, stop } => {
                        end.met = epoch;
                        end.closing |= stop;
                        self.capture_sink(id)?;
                    }
                    Signal::End => {
                        end.closing = true;
                        end.met = Epoch::MAX;
                        self.settle_sink(id)?;
                    }
                    Signal::Watermark { .. } | Signal::Idle => {}
                }
                self.publish_epoch()
            }
            Role::Source => unreachable!("invariant: nothing flows into a source"),
        }
    }

    fn operator_signal(&mut self, id: NodeId, signal: Signal, clock: &dyn Clock) -> Result<(), ShardError> {
        if self.nodes[id].spent {
            return self.push_signal(id, signal, clock);
        }
        let (watermark, arrival_ns) = match signal {
            Signal::Watermark {
                watermark,
                arrival_ns,
            } => (watermark, arrival_ns),
            Signal::End => {
                // The windows that are still open now fire all at once, and no input made them: their delay
                // says nothing of a window's.
                self.nodes[id].answers_for_windows = false;
                (WATERMARK_END, clock.now())
            }
            // Others' watermarks no longer wait for this shard: what it holds back goes first.
            Signal::Idle => {
                self.flush_node(id, clock)?;
                return self.push_signal(id, signal, clock);
            }
            Signal::Barrier { .. } => {
                self.flush_node(id, clock)?;
                self.capture_operator(id, clock)?;
                return self.push_signal(id, signal, clock);
            }
        };
        self.nodes[id].output.set_arrival(arrival_ns);
        let firing = self.drive(id, clock, |operator, output| operator.advance(watermark, output))?;
        match firing {
            Firing::Done => self.finish_firing(id, signal, clock),
            Firing::More => {
                let node = &mut self.nodes[id];
                node.firing = true;
                node.signals.push_front(signal);
                Ok(())
            }
        }
    }

    /// The firing for `signal` is done: it may pass.
    fn finish_firing(&mut self, id: NodeId, mut signal: Signal, clock: &dyn Clock) -> Result<(), ShardError> {
        if signal == Signal::End {
            self.flush_node(id, clock)?;
            self.nodes[id].spent = true;
        }
        if let (Signal::Watermark { watermark, .. }, Role::Operator(operator)) =
            (&mut signal, &self.nodes[id].role)
        {
            *watermark = operator.output_watermark(*watermark);
        }
        self.push_signal(id, signal, clock)
    }

    /// Goes on with unfinished firings, sink-side first; answers whether there were any.
    pub(super) fn resume_firings(&mut self, clock: &dyn Clock) -> Result<bool, ShardError> {
        let mut progress = false;
        for id in (0..self.nodes.len()).rev() {
            if !self.nodes[id].firing || self.is_blocked(id) {
                continue;
            }
            progress = true;
            let firing = self.drive(id, clock, |operator, output| operator.resume(output))?;
            if firing == Firing::Done {
                let node = &mut self.nodes[id];
                node.firing = false;
                let signal = node
                    .signals
                    .pop_front()
                    .expect("invariant: a firing has its signal");
                self.finish_firing(id, signal, clock)?;
                self.work_off_signals(id, clock)?;
            }
        }
        Ok(progress)
    }

    /// Flushes what operators hold back, from the sources down: all of it if the shard is `drained`, else where
    /// it pays, or has not for long. Answers whether rows came out.
    pub(super) fn flush_operators(&mut self, drained: bool, clock: &dyn Clock) -> Result<bool, ShardError> {
        let mut progress = false;
        let now = clock.now();
        let latest = self.plan.settings.flush_latest_us.saturating_mul(1_000);
        for id in 0..self.nodes.len() {
            let node = &self.nodes[id];
            let Role::Operator(operator) = &node.role else {
                continue;
            };
            let may_wait = || {
                node.flush_every == 0 && now.saturating_sub(node.flushed) < latest && !operator.flush_pays()
            };
            let holds = node.is_flush_due(now) && !node.firing;
            if holds && (drained || !may_wait()) && !self.is_blocked(id) {
                progress |= self.flush_node(id, clock)?;
            }
        }
        Ok(progress)
    }

    fn flush_node(&mut self, id: NodeId, clock: &dyn Clock) -> Result<bool, ShardError> {
        let mut emitted = false;
        self.nodes[id].held_since = None;
        self.nodes[id].flushed = clock.now();
        self.drive(id, clock, |operator, output| {
            operator.flush(output)?;
            emitted = !output.is_empty();
            Ok(Firing::Done)
        })
        .map(|_| emitted)
    }

    /// Runs `work` on the operator of node `id` and hands on what it emits.
    fn drive(
        &mut self,
        id: NodeId,
        clock: &dyn Clock,
        work: impl FnOnce(&mut dyn Operator, &mut Output) -> Result<Firing, ExecutionError>,
    ) -> Result<Firing, ShardError> {
        let started = clock.now();
        let node = &mut self.nodes[id];
        let Role::Operator(operator) = &mut node.role else {
            unreachable!("invariant: only operators fire and flush")
        };
        let firing = work(operator.as_mut(), &mut node.output)?;
        let now = clock.now();
        if !node.output.is_empty() {
            if node.answers_for_windows && node.output.arrival() > 0 {
                self.profile
                    .record_window(now.saturating_sub(node.output.arrival()));
            }
            self.profile.record_service(id, now - started);
            let emitted = node.output.take();
            self.push_rows(id, emitted, clock)?;
        }
        Ok(firing)
    }

    /// An epoch is captured once all sinks have met its barrier; entries that waited go on.
    pub(super) fn publish_epoch(&mut self) -> Result<(), ShardError> {
        let lowest = self.nodes.iter().filter_map(|node| match &node.role {
            Role::Sink(end) => Some(end.epoch),
            _ => None,
        });
        let captured = lowest.min().unwrap_or(0);
        if captured > self.epoch_captured {
            self.epoch_captured = captured;
            if captured != Epoch::MAX {
                self.hand_over(captured)?;
            }
            self.control.publish_captured(self.id, captured);
        }
        Ok(())
    }
}

fn message_of(signal: Signal) -> Message {
    match signal {
        Signal::Watermark {
            watermark,
            arrival_ns,
        } => Message::Watermark {
            watermark,
            arrival_ns,
        },
        Signal::Idle => Message::Idle,
        Signal::Barrier { epoch, stop } => Message::Barrier { epoch, stop },
        Signal::End => Message::End,
    }
}
