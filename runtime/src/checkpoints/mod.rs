//! Checkpoints of a job: where they lie ([`storage`] over [`files`]), what a job goes on from ([`Recovered`]), and the epochs
//! of the running job ([`coordinator`]).
//!
//! **Invariant.** All of it runs on the control thread: a shard hands its snapshot over and goes on.

mod breather;
pub mod coordinator;
pub mod files;
pub mod storage;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::plan::StreamPlan;
use engine::plan::state_names::{StateName, state_names};
use shards::checkpoint::manifest::Manifest;
use shards::checkpoint::recovery::{Recovery, decide};
use shards::checkpoint::{Restore, ShardSnapshot};
use shards::connector::Prepared;
use shards::epoch::Epoch;

use crate::terminal::tell;
use storage::Storage;

/// How often an epoch ends unless told otherwise.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// How often the newest epoch is looked for again where another process has just written one.
const CLAIMS_MAX: usize = 3;

/// What the command line says about checkpoints.
#[derive(Clone, Debug, Default)]
pub struct CheckpointOptions {
    /// Their directory, or the URL of a place in an object store; comes before the job's own setting.
    pub directory: Option<PathBuf>,
    /// How often an epoch ends; comes before the job's own setting.
    pub interval: Option<Duration>,
    /// Operators whose state may be lost because they changed; `all` = any.
    pub allow_state_loss: Vec<String>,
    /// The job's text, for readers of the manifest.
    pub sql: String,
}

/// What was found when the directory was opened.
#[derive(Debug)]
pub struct Recovered {
    /// The directory.
    pub storage: Storage,
    /// How often an epoch ends.
    pub interval: Duration,
    /// The name of the job: the same in all its runs.
    pub job: String,
    /// The newest epoch that counts; 0 = none.
    pub epoch: Epoch,
    /// The job came to its end with that epoch.
    pub finished: bool,
    /// What to go on from.
    pub restore: Option<Restore>,
    /// What the job keeps.
    pub states: Vec<StateName>,
    /// The job's text.
    pub sql: String,
}

impl CheckpointOptions {
    /// Opens the directory that the command line or the job names, if one does, and chooses the epoch to go on
    /// from; `job` is the name of the job if it is new.
    ///
    /// # Errors
    /// The directory cannot be used; nothing in it is whole; the job is not the one that wrote it.
    pub fn open(&self, plan: &StreamPlan, job: impl FnOnce() -> String) -> Result<Option<Recovered>, String> {
        let of_job = plan.settings.checkpoint_directory.as_ref().map(PathBuf::from);
        let Some(directory) = self.directory.clone().or(of_job) else {
            return match self.interval {
                None => Ok(None),
                Some(_) => Err("--checkpoint-interval needs --checkpoint-dir".to_string()),
            };
        };
        let of_job = plan.settings.checkpoint_interval_us.map(Duration::from_micros);
        let storage = Storage::open(&directory)?;
        let states: Vec<StateName> = state_names(plan).into_iter().flatten().collect();
        let mut recovered = Recovered {
            interval: self.interval.or(of_job).unwrap_or(INTERVAL),
            job: job(),
            epoch: 0,
            finished: false,
            restore: None,
            states,
            sql: self.sql.clone(),
            storage,
        };
        for _ in 0..CLAIMS_MAX {
            self.recover(&mut recovered, &directory)?;
            // Behind the last epoch of a job none comes.
            if recovered.finished || recovered.storage.claim_behind(recovered.epoch)? {
                return Ok(Some(recovered));
            }
        }
        Err(format!(
            "another process writes checkpoints into {}; stop it first",
            directory.display()
        ))
    }

    /// Chooses the epoch to go on from.
    fn recover(&self, recovered: &mut Recovered, directory: &Path) -> Result<(), String> {
        let (facts, whole) = recovered.storage.facts()?;
        match decide(&facts) {
            Recovery::Fresh => Ok(()),
            Recovery::Refuse { damaged } => Err(refusal(&directory.display().to_string(), &damaged)),
            Recovery::Restore { epoch, damaged } => {
                for (epoch, what) in damaged {
                    tell(&format!(
                        "warning: checkpoint {epoch} is damaged and is passed over: {what}"
                    ));
                }
                let (manifest, shards) =
                    whole.expect("invariant: an epoch that is found whole has been read");
                assert_eq!(
                    manifest.epoch, epoch,
                    "invariant: the newest whole epoch is chosen"
                );
                recovered.storage.make_durable(&manifest)?;
                recovered.epoch = epoch;
                recovered.finished = manifest.finished;
                let shards = self.fitting(&manifest, shards, &recovered.states)?;
                recovered.job = manifest.job;
                recovered.restore = Some(Restore {
                    shards: Arc::new(shards),
                });
                Ok(())
            }
        }
    }

    /// The snapshots without the operators that changed, where that is allowed.
    fn fitting(
        &self,
        manifest: &Manifest,
        mut shards: Vec<ShardSnapshot>,
        states: &[StateName],
    ) -> Result<Vec<ShardSnapshot>, String> {
        let (changed, gone) = manifest.compare(states);
        let is_allowed = |name: &String| {
            let allowed = self.allow_state_loss.iter();
            allowed
                .into_iter()
                .any(|allowed| allowed == "all" || allowed == name)
        };
        let refused: Vec<&String> = changed.iter().filter(|name| !is_allowed(name)).collect();
        if !refused.is_empty() {
            let names: Vec<String> = refused.iter().map(|name| format!("'{name}'")).collect();
            return Err(format!(
                "the query is not the one that wrote checkpoint {}: {} changed; run the SQL that wrote it, or start these \
                 without their state by --allow-state-loss '{}'",
                manifest.epoch,
                names.join(", "),
                refused[0]
            ));
        }
        for name in gone {
            tell(&format!(
                "note: '{name}' is not part of the job any more; its state is dropped"
            ));
        }
        for shard in &mut shards {
            shard
                .operators
                .retain(|operator| !changed.contains(&operator.name));
            shard.sources.retain(|source| !changed.contains(&source.name));
        }
        Ok(shards)
    }
}

impl Recovered {
    /// Output of the epoch that may not have been shown when the job ended.
    pub fn prepared(&self) -> Vec<Prepared> {
        let shards = self.restore.iter().flat_map(|restore| restore.shards.iter());
        let sinks = shards.flat_map(|shard| &shard.sinks);
        sinks.flat_map(|(_, prepared)| prepared.iter().cloned()).collect()
    }
}

fn refusal(directory: &str, damaged: &[(Epoch, String)]) -> String {
    let epochs: Vec<String> = damaged
        .iter()
        .map(|(epoch, what)| format!("checkpoint {epoch}: {what}"))
        .collect();
    format!(
        "no checkpoint in {directory} is whole ({}); put a copy back, or start anew with another directory",
        epochs.join("; ")
    )
}
