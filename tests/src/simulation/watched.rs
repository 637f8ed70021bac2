//! An operator under observation: asserts what the shard loop promises to every operator, and what
//! an operator promises about its own output.

use std::cell::Cell;
use std::rc::Rc;

use engine::batch::Batch;
use engine::error::ExecutionError;
use engine::operators::{Firing, Operator, OperatorStatistics, Output};
use engine::snapshot::{StateReader, StateWriter};
use engine::time::{WATERMARK_NONE, WatermarkUs};

/// Rows that have entered the operators of one node, over all shards.
pub type Entered = Rc<Cell<usize>>;

/// Wraps an operator.
pub struct Watched {
    inner: Box<dyn Operator>,
    watermark: WatermarkUs,
    firing: bool,
    entered: Entered,
}

impl Watched {
    /// Watches `inner`.
    pub fn new(inner: Box<dyn Operator>, entered: Entered) -> Watched {
        Watched {
            inner,
            watermark: WATERMARK_NONE,
            firing: false,
            entered,
        }
    }
}

impl Operator for Watched {
    fn process(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        assert!(!batch.is_empty(), "an empty batch travels");
        assert!(out.is_empty(), "output of an earlier call was not taken");
        self.entered.set(self.entered.get() + batch.len());
        self.inner.process(input, batch, out)
    }

    fn advance(&mut self, watermark: WatermarkUs, out: &mut Output) -> Result<Firing, ExecutionError> {
        assert!(!self.firing, "a firing begins while another is unfinished");
        assert!(
            watermark > self.watermark,
            "the watermark goes from {} to {watermark}",
            self.watermark
        );
        self.watermark = watermark;
        let firing = self.inner.advance(watermark, out)?;
        self.firing = firing == Firing::More;
        Ok(firing)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Firing, ExecutionError> {
        assert!(self.firing, "nothing is there to be resumed");
        let firing = self.inner.resume(out)?;
        self.firing = firing == Firing::More;
        Ok(firing)
    }

    fn flush_pays(&self) -> bool {
        self.inner.flush_pays()
    }

    fn flush(&mut self, out: &mut Output) -> Result<(), ExecutionError> {
        self.inner.flush(out)
    }

    fn snapshot(&mut self, into: &mut StateWriter) -> Result<(), ExecutionError> {
        assert!(!self.firing, "a snapshot is taken while a firing is unfinished");
        self.inner.snapshot(into)
    }

    fn record(&mut self, into: &mut StateWriter) -> Result<Firing, ExecutionError> {
        self.inner.record(into)
    }

    fn restore(&mut self, from: &StateReader<'_>) -> Result<(), ExecutionError> {
        // What had been told is told once more.
        self.watermark = from.watermark().saturating_sub(1);
        self.inner.restore(from)
    }

    fn input_ended(&mut self, input: usize, out: &mut Output) -> Result<(), ExecutionError> {
        self.inner.input_ended(input, out)
    }

    fn output_watermark(&self, watermark: WatermarkUs) -> WatermarkUs {
        self.inner.output_watermark(watermark)
    }

    fn statistics(&self) -> OperatorStatistics {
        let statistics = self.inner.statistics();
        assert_eq!(statistics.late_rows, 0, "no simulated row is late");
        statistics
    }
}
