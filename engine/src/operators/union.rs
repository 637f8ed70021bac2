//! UNION ALL: rows of all inputs as they come; the shard passes on the watermark of the slowest.

use crate::batch::Batch;
use crate::error::ExecutionError;
use crate::operators::{Operator, Output};

/// The union operator; keeps nothing.
pub struct Union;

impl Operator for Union {
    fn process(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<(), ExecutionError> {
        out.emit(batch);
        Ok(())
    }
}
