//! The faults of a simulation: which of them a seed draws, and when each strikes.
//!
//! **Invariant.** Every look at luck comes from one stream of randomness of its own: a fault that is left out does
//! not move what rows, shards and schedule a seed decides.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::simulation::case::Case;

/// How the message of an error begins that the simulator made.
pub const INJECTED: &str = "simulated fault: ";

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Sources make their shard wait.
    SlowSource,
    /// Sinks are busy now and then.
    SlowSink,
    /// The clock leaps ahead, the wall clock also back.
    ClockJumps,
    /// A split has no more rows and does not end for long; it falls idle meanwhile.
    LingeringSplits,
    /// The process is killed.
    Kills,
    /// The machine loses what was not synced, when the process ends.
    PowerLoss,
    /// A bit of the newest checkpoint changes, when the process ends.
    Corruption,
    /// A write ends early (the disk is full), a sync or a rename fails.
    DiskErrors,
    /// A poll of a source fails.
    SourceErrors,
    /// A sink cannot finish what it has written.
    SinkErrors,
    /// Output is not shown when it is committed, or is shown and the answer is lost.
    CommitErrors,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 11] = [
        Fault::SlowSource,
        Fault::SlowSink,
        Fault::ClockJumps,
        Fault::LingeringSplits,
        Fault::Kills,
        Fault::PowerLoss,
        Fault::Corruption,
        Fault::DiskErrors,
        Fault::SourceErrors,
        Fault::SinkErrors,
        Fault::CommitErrors,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::SlowSource => "slow-source",
            Fault::SlowSink => "slow-sink",
            Fault::ClockJumps => "clock-jumps",
            Fault::LingeringSplits => "lingering-splits",
            Fault::Kills => "kills",
            Fault::PowerLoss => "power-loss",
            Fault::Corruption => "corruption",
            Fault::DiskErrors => "disk-errors",
            Fault::SourceErrors => "source-errors",
            Fault::SinkErrors => "sink-errors",
            Fault::CommitErrors => "commit-errors",
        }
    }

    /// The fault of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(name: &str) -> Result<Fault, String> {
        let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
        let names = || Fault::ALL.map(Fault::name).join(", ");
        fault.ok_or_else(|| format!("there is no fault '{name}'; there are {}", names()))
    }

    /// Whether it ends the process, so that only jobs that go on from checkpoints can meet it.
    fn ends_the_process(self) -> bool {
        !matches!(
            self,
            Fault::SlowSource | Fault::SlowSink | Fault::ClockJumps | Fault::LingeringSplits
        )
    }

    /// Of how many seeds one draws it; those that most promises are about come often.
    fn drawn_one_in(self) -> u32 {
        match self {
            Fault::SlowSource | Fault::SlowSink | Fault::Kills => 1,
            Fault::PowerLoss | Fault::Corruption => 2,
            _ => 3,
        }
    }
}

/// What a seed has drawn, and its dice; shared by everything in a world.
#[derive(Clone)]
pub struct Luck(Rc<Dice>);

struct Dice {
    drawn: BTreeSet<Fault>,
    random: RefCell<SmallRng>,
    /// No fault strikes any more.
    ceased: Cell<bool>,
    struck: RefCell<BTreeMap<Fault, u64>>,
}

impl Luck {
    /// What `case` draws.
    pub fn of(case: &Case) -> Luck {
        const STREAM: u64 = 0xfa17_0000_0000;
        let mut random = SmallRng::seed_from_u64(case.seed ^ STREAM);
        let mut drawn = BTreeSet::new();
        for fault in Fault::ALL {
            let is_drawn = random.random_range(0..fault.drawn_one_in()) == 0;
            let is_possible = case.crashes || !fault.ends_the_process();
            if is_drawn && is_possible && !case.without.contains(&fault) {
                drawn.insert(fault);
            }
        }
        // A split that still has rows must not fall idle, as it would in a leap of the clock.
        if drawn.contains(&Fault::LingeringSplits) {
            drawn.remove(&Fault::ClockJumps);
        }
        Luck::new(drawn, random)
    }

    /// These faults and no others.
    pub fn only(faults: &[Fault], seed: u64) -> Luck {
        Luck::new(faults.iter().copied().collect(), SmallRng::seed_from_u64(seed))
    }

    /// No fault at all.
    pub fn none() -> Luck {
        Luck::new(BTreeSet::new(), SmallRng::seed_from_u64(0))
    }

    fn new(drawn: BTreeSet<Fault>, random: SmallRng) -> Luck {
        Luck(Rc::new(Dice {
            drawn,
            random: RefCell::new(random),
            ceased: Cell::new(false),
            struck: RefCell::default(),
        }))
    }

    /// Whether `fault` has been drawn and faults have not ceased.
    pub fn has(&self, fault: Fault) -> bool {
        self.0.drawn.contains(&fault) && !self.0.ceased.get()
    }

    /// Whether `fault` strikes now, which it does once in `one_in` looks.
    pub fn strikes(&self, fault: Fault, one_in: u32) -> bool {
        let strikes = self.has(fault) && self.0.random.borrow_mut().random_range(0..one_in) == 0;
        if strikes {
            *self.0.struck.borrow_mut().entry(fault).or_default() += 1;
        }
        strikes
    }

    /// A number below `bound`: how hard it strikes.
    pub fn below(&self, bound: u64) -> u64 {
        self.0.random.borrow_mut().random_range(0..bound.max(1))
    }

    /// No fault strikes from now on.
    pub fn cease(&self) {
        self.0.ceased.set(true);
    }

    /// How often each fault has struck.
    pub fn struck(&self) -> BTreeMap<Fault, u64> {
        self.0.struck.borrow().clone()
    }

    /// The faults that are drawn, by name.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.0.drawn.iter().map(|fault| fault.name()).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_not_drawn_and_what_ends_the_process_needs_checkpoints() {
        for seed in 0..50 {
            let mut case = Case::crashing(seed);
            case.without.insert(Fault::Kills);
            assert!(!Luck::of(&case).has(Fault::Kills));
            assert!(!Luck::of(&Case::of(seed)).has(Fault::PowerLoss));
        }
    }

    #[test]
    fn faults_cease() {
        let luck = Luck::of(&Case::crashing(1));
        assert!(luck.strikes(Fault::Kills, 1));
        luck.cease();
        assert!(!luck.strikes(Fault::Kills, 1));
        assert_eq!(luck.struck(), BTreeMap::from([(Fault::Kills, 1)]));
    }

    #[test]
    fn names_are_parsed_and_others_are_refused_with_a_list() {
        for fault in Fault::ALL {
            assert_eq!(Fault::parse(fault.name()), Ok(fault));
        }
        let refused = Fault::parse("gremlins").expect_err("there is none");
        assert!(refused.contains("slow-source, slow-sink"), "{refused}");
    }
}
