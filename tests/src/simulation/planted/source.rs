//! A source whose positions are not where its rows are.

use shards::clock::Nanos;
use shards::connector::{ConnectorError, Source, SourcePoll, SourceStatistics, SplitId, SplitPosition};

use crate::simulation::planted::Bug;

/// Wraps a source.
pub struct Misplaced {
    inner: Box<dyn Source>,
    bug: Bug,
    /// The positions before the last batch.
    before: Option<Vec<SplitPosition>>,
    /// A batch that has been read and not handed out.
    ahead: Option<SourcePoll>,
}

impl Misplaced {
    /// Plants `bug` in `inner`.
    pub fn new(inner: Box<dyn Source>, bug: Bug) -> Misplaced {
        Misplaced {
            inner,
            bug,
            before: None,
            ahead: None,
        }
    }
}

impl Source for Misplaced {
    fn splits(&self) -> Vec<SplitId> {
        self.inner.splits()
    }

    /// Too far: a batch is read ahead, and counts as handed out.
    fn poll(&mut self, now: Nanos, rows_max: usize) -> Result<SourcePoll, ConnectorError> {
        let before = self.inner.positions();
        let found = self.inner.poll(now, rows_max)?;
        if !matches!(found, SourcePoll::Rows { .. }) {
            // What was read ahead goes first; the rest is asked for again.
            return Ok(match (self.ahead.take(), &found) {
                (Some(ahead), SourcePoll::Pending { .. }) => ahead,
                (Some(ahead), _) => {
                    self.ahead = Some(found);
                    ahead
                }
                (None, _) => found,
            });
        }
        self.before = Some(before);
        match self.bug {
            Bug::OffsetTooFar => match self.ahead.replace(found) {
                Some(ahead) => Ok(ahead),
                None => Ok(SourcePoll::Pending { poll_at: Some(now) }),
            },
            _ => Ok(found),
        }
    }

    fn positions(&self) -> Vec<SplitPosition> {
        match (self.bug, &self.before) {
            (Bug::OffsetTooNear, Some(before)) => before.clone(),
            _ => self.inner.positions(),
        }
    }

    fn restore(&mut self, positions: &[SplitPosition]) -> Result<(), ConnectorError> {
        self.inner.restore(positions)
    }

    fn split_name(&self, split: SplitId) -> String {
        self.inner.split_name(split)
    }

    fn statistics(&self) -> SourceStatistics {
        self.inner.statistics()
    }
}
