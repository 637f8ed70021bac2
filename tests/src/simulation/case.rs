//! One run of the simulator as it is asked for: a seed, and what is left out of all that the seed would decide.
//!
//! **Invariant.** A case and the code decide everything: [`Case::replay`] is a command that runs the same again.

use std::collections::BTreeSet;

use crate::simulation::faults::Fault;
use crate::simulation::planted::Bug;

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What decides all that is not said here.
    pub seed: u64,
    /// Whether jobs crash and go on from their checkpoints.
    pub crashes: bool,
    /// Rows at most: the first ones of those that the seed draws.
    pub rows_max: Option<usize>,
    /// Shards at most.
    pub shards_max: Option<usize>,
    /// Faults that are not drawn.
    pub without: BTreeSet<Fault>,
    /// The mistake that is planted.
    pub planted: Option<Bug>,
}

impl Case {
    /// All that `seed` decides, in a job that runs through.
    pub fn of(seed: u64) -> Case {
        Case {
            seed,
            crashes: false,
            rows_max: None,
            shards_max: None,
            without: BTreeSet::new(),
            planted: None,
        }
    }

    /// The same in a job that crashes.
    pub fn crashing(seed: u64) -> Case {
        Case {
            crashes: true,
            ..Case::of(seed)
        }
    }

    /// The same with a mistake planted.
    #[must_use]
    pub fn with(self, bug: Bug) -> Case {
        Case {
            planted: Some(bug),
            ..self
        }
    }

    /// As many of `shards` as there may be.
    pub fn shards(&self, shards: usize) -> usize {
        shards.min(self.shards_max.unwrap_or(usize::MAX)).max(1)
    }

    /// The command that runs it again, event by event.
    pub fn replay(&self) -> String {
        let mut command = format!("cargo run -p tests --bin simulate -- --seed {}", self.seed);
        if self.crashes {
            command += " --crashes";
        }
        if let Some(rows) = self.rows_max {
            command += &format!(" --rows {rows}");
        }
        if let Some(shards) = self.shards_max {
            command += &format!(" --shards {shards}");
        }
        if !self.without.is_empty() {
            let names: Vec<&str> = self.without.iter().map(|fault| fault.name()).collect();
            command += &format!(" --without {}", names.join(","));
        }
        if let Some(bug) = self.planted {
            command += &format!(" --planted {}", bug.name());
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_says_everything_that_differs_from_the_seed() {
        let case = Case {
            rows_max: Some(7),
            shards_max: Some(2),
            without: BTreeSet::from([Fault::ClockJumps, Fault::SlowSink]),
            ..Case::crashing(17).with(Bug::OffsetTooFar)
        };
        assert_eq!(
            case.replay(),
            "cargo run -p tests --bin simulate -- --seed 17 --crashes --rows 7 --shards 2 --without \
             slow-sink,clock-jumps --planted offset-too-far"
        );
    }
}
