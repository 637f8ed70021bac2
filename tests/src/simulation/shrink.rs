//! The shrinker: of a case that fails, a smaller one that still does.
//!
//! It tries fewer rows, then fewer shards, then one fault less, round after round until nothing more can go (the
//! idea is QuickCheck's). What fails at the end may fail in another way than at first: it is told as it is found.

use crate::simulation::case::Case;
use crate::simulation::faults::Fault;
use crate::simulation::rows::ROWS_MAX;

/// Runs at most.
const TRIES_MAX: u32 = 160;
/// More shards are never simulated.
const SHARDS_MAX: usize = 7;

/// A case that fails, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The case.
    pub case: Case,
    /// What was found.
    pub error: String,
}

/// The smallest case found that still fails; `fails` runs one and answers what it found.
pub fn shrink(failure: Failure, mut fails: impl FnMut(&Case) -> Option<String>) -> Failure {
    let mut smallest = failure;
    let mut tries = 0;
    loop {
        let smaller = candidates(&smallest.case).into_iter().find_map(|case| {
            if tries == TRIES_MAX {
                return None;
            }
            tries += 1;
            fails(&case).map(|error| Failure { case, error })
        });
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

/// Smaller cases, the boldest first.
fn candidates(case: &Case) -> Vec<Case> {
    let mut candidates = Vec::new();
    let rows = case.rows_max.unwrap_or(ROWS_MAX);
    for fewer in [rows / 2, rows * 3 / 4, rows.saturating_sub(1)] {
        let mut smaller = case.clone();
        smaller.rows_max = Some(fewer);
        candidates.extend((fewer < rows).then_some(smaller));
    }
    let shards = case.shards_max.unwrap_or(SHARDS_MAX);
    for fewer in [1, shards / 2, shards - 1] {
        let mut smaller = case.clone();
        smaller.shards_max = Some(fewer);
        candidates.extend((fewer > 0 && fewer < shards).then_some(smaller));
    }
    for fault in Fault::ALL {
        let mut smaller = case.clone();
        candidates.extend(smaller.without.insert(fault).then_some(smaller));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure {
            case: Case::crashing(3),
            error: "at first".into(),
        }
    }

    #[test]
    fn what_is_not_needed_goes_and_what_is_needed_stays() {
        let needs = |case: &Case| {
            let is_needed = case.rows_max.is_none_or(|rows| rows >= 13)
                && case.shards_max.is_none_or(|shards| shards >= 2)
                && !case.without.contains(&Fault::PowerLoss);
            is_needed.then(|| "at last".to_string())
        };
        let smallest = shrink(failure(), needs);
        assert_eq!(smallest.error, "at last");
        assert_eq!(smallest.case.rows_max, Some(13));
        assert_eq!(smallest.case.shards_max, Some(2));
        assert_eq!(smallest.case.without.len(), Fault::ALL.len() - 1);
        assert!(!smallest.case.without.contains(&Fault::PowerLoss));
    }

    #[test]
    fn a_failure_that_does_not_come_again_is_told_as_it_was() {
        assert_eq!(shrink(failure(), |_| None), failure());
    }

    #[test]
    fn the_number_of_runs_is_bounded() {
        let mut runs = 0;
        shrink(failure(), |case| {
            runs += 1;
            // It stays as large as it may, so that the next round has as much to try.
            (case.rows_max > Some(200) && case.shards_max.is_none()).then(String::new)
        });
        assert!(runs <= TRIES_MAX, "{runs}");
    }
}
