//! Recovery as a decision: facts of a checkpoint directory in, what to do out.
//!
//! **Invariant.** An epoch whose manifest was never written did not happen. One whose manifest is there but
//! damaged, or whose files are, happened: it is never mistaken for a fresh start.

use crate::epoch::Epoch;

/// What lies in the directory of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochFacts {
    /// The epoch, by the directory's name.
    pub epoch: Epoch,
    /// What is known of it.
    pub state: EpochState,
}

/// The state of an epoch's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EpochState {
    /// Manifest and all files are what was written.
    Whole,
    /// There is no manifest: the epoch was not finished when the job before ended.
    Unfinished,
    /// What is wrong with it.
    Damaged(String),
}

/// What to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing has happened before.
    Fresh,
    /// This epoch; newer ones are damaged, as told.
    Restore {
        /// The epoch.
        epoch: Epoch,
        /// What is wrong with newer ones, the newest first.
        damaged: Vec<(Epoch, String)>,
    },
    /// Something has happened before, and nothing of it is whole.
    Refuse {
        /// What is wrong, the newest epoch first.
        damaged: Vec<(Epoch, String)>,
    },
}

/// The newest whole epoch.
pub fn decide(facts: &[EpochFacts]) -> Recovery {
    let mut newest_first: Vec<&EpochFacts> = facts.iter().collect();
    newest_first.sort_by_key(|facts| std::cmp::Reverse(facts.epoch));
    let mut damaged = Vec::new();
    for facts in newest_first {
        match &facts.state {
            EpochState::Whole => {
                return Recovery::Restore {
                    epoch: facts.epoch,
                    damaged,
                };
            }
            EpochState::Damaged(what) => damaged.push((facts.epoch, what.clone())),
            EpochState::Unfinished => {}
        }
    }
    match damaged.is_empty() {
        true => Recovery::Fresh,
        false => Recovery::Refuse { damaged },
    }
}

/// Epochs that may be deleted once `committed` is durable: all that are not newer, but for the newest `kept` and those
/// whose files they keep parts in, as `refers` tells.
pub fn superseded(
    epochs: &[Epoch],
    committed: Epoch,
    kept: usize,
    refers: impl Fn(Epoch) -> Vec<Epoch>,
) -> Vec<Epoch> {
    assert!(kept > 0, "invariant: the committed epoch is kept");
    let mut older: Vec<Epoch> = epochs
        .iter()
        .copied()
        .filter(|&epoch| epoch <= committed)
        .collect();
    older.sort_unstable_by_key(|&epoch| std::cmp::Reverse(epoch));
    let needed: Vec<Epoch> = older.iter().take(kept).flat_map(|&epoch| refers(epoch)).collect();
    let gone = older.into_iter().skip(kept);
    let mut gone: Vec<Epoch> = gone.filter(|epoch| !needed.contains(epoch)).collect();
    gone.sort_unstable();
    gone
}

/// Epochs that are deleted before a job goes on from `restored` (0 = from the beginning): newer ones, damaged
/// or unfinished, which the job is about to write anew.
pub fn overtaken(epochs: &[Epoch], restored: Epoch) -> Vec<Epoch> {
    epochs.iter().copied().filter(|&epoch| epoch > restored).collect()
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    fn facts(epoch: Epoch, state: EpochState) -> EpochFacts {
        EpochFacts { epoch, state }
    }

    fn damaged(what: &str) -> EpochState {
        EpochState::Damaged(what.into())
    }

    #[test]
    fn the_newest_whole_epoch_is_restored_and_damage_is_told() {
        let found = decide(&[
            facts(4, EpochState::Whole),
            facts(7, EpochState::Unfinished),
            facts(6, damaged("cut")),
            facts(5, EpochState::Whole),
        ]);
        let damaged = vec![(6, "cut".to_string())];
        assert_eq!(found, Recovery::Restore { epoch: 5, damaged });
    }

    #[test]
    fn a_directory_without_a_manifest_is_a_fresh_start() {
        assert_eq!(decide(&[]), Recovery::Fresh);
        assert_eq!(decide(&[facts(1, EpochState::Unfinished)]), Recovery::Fresh);
    }

    #[test]
    fn where_nothing_is_whole_nothing_is_started_anew() {
        let found = decide(&[facts(1, damaged("cut")), facts(2, EpochState::Unfinished)]);
        let damaged = vec![(1, "cut".to_string())];
        assert_eq!(found, Recovery::Refuse { damaged });
    }

    #[test]
    fn old_epochs_go_once_a_newer_one_is_durable_and_newer_ones_when_an_older_one_is_restored() {
        assert_eq!(superseded(&[1, 2, 3, 4, 9], 4, 2, |_| vec![]), [1, 2]);
        assert_eq!(superseded(&[4], 4, 2, |_| vec![]), [0; 0]);
        let refers = |epoch| if epoch == 3 { vec![1] } else { vec![2] };
        assert_eq!(superseded(&[1, 2, 3, 4], 4, 2, refers), [0; 0]);
        assert_eq!(superseded(&[1, 2, 3, 4, 5], 5, 2, refers), [1, 3]);
        assert_eq!(overtaken(&[3, 4, 9], 3), [4, 9]);
    }
}
