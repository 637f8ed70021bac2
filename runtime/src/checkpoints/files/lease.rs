//! Who uses an object store, as the object `lock` says it, and when a process that says nothing any more counts as
//! gone.
//!
//! The lock is created by a conditional write and renewed under the version it was last seen with, so two processes
//! never both hold it. No clock is compared with another machine's: whoever wants the lock watches it for a whole
//! lease by its own clock. A process of the same machine is asked for at once, so a job that was killed starts again
//! without waiting.
//!
//! **Invariant.** The lock is politeness: it keeps a second process from starting by mistake. What keeps a process
//! that was thought gone from doing harm is that manifests are claimed (see [`super::objects`]).

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::limits::LEASE_MS;

/// A lock that was not renewed for so long is free.
pub const LEASE: Duration = Duration::from_millis(LEASE_MS);
/// How often it is renewed: a holder may fail three times.
pub const RENEWAL: Duration = Duration::from_millis(LEASE_MS / 4);

/// A process that uses a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// This run of it: no other run of any process has the same.
    pub run: String,
    /// The machine and its boot, and the process's name space on it; empty where the machine does not tell.
    pub machine: String,
    /// The machine's name.
    pub host: String,
    /// The process.
    pub process: u32,
    /// When it started, in ticks of the machine.
    pub started: u64,
    /// How often it has renewed the lock: the bytes of a lock differ each time.
    pub renewed: u64,
}

impl Holder {
    /// This process.
    pub fn this_process() -> Holder {
        let process = std::process::id();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let boot = read("/proc/sys/kernel/random/boot_id");
        let names = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Holder {
            run: format!("{:016x}", RandomState::new().hash_one((process, &boot))),
            machine: match boot.is_empty() {
                true => String::new(),
                false => format!("{boot} {}", names.display()),
            },
            host: read("/proc/sys/kernel/hostname"),
            process,
            started: started(process).unwrap_or_default(),
            renewed: 0,
        }
    }

    /// Whether it is known to live, or known to be gone; `None` = it is on another machine.
    pub fn is_alive(&self) -> Option<bool> {
        let here = Holder::this_process();
        let is_here = !here.machine.is_empty() && here.machine == self.machine;
        is_here.then(|| started(self.process) == Some(self.started))
    }

    /// How a message calls it.
    pub fn describe(&self) -> String {
        format!("process {} on {}", self.process, self.host)
    }
}

/// When a process started that runs, by `/proc/PID/stat`: behind the name in parentheses stand its state and, 19
/// fields on, its start. One that has ended may stand there until its parent has asked how.
fn started(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    let started = fields.nth(18)?.parse().ok()?;
    (!has_ended).then_some(started)
}

/// Time, as whoever watches a lock sees it.
pub trait Patience {
    /// How much of it has passed.
    fn elapsed(&self) -> Duration;

    /// Lets so much of it pass.
    fn pause(&self, duration: Duration);
}

/// Time as it is.
pub struct Clock(Instant);

impl Clock {
    /// Time from now on.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }
}

impl Patience for Clock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn pause(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A lock of another machine, while it is watched.
#[derive(Debug)]
pub struct Watch {
    first: Holder,
    since: Duration,
}

/// What a look at a watched lock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nothing yet: look again.
    Silent,
    /// Its holder lives.
    Renewed,
    /// It was silent for a whole lease.
    Expired,
}

impl Watch {
    /// Begins to watch a lock that says `holder`.
    pub fn begin(holder: Holder, now: Duration) -> Watch {
        Watch {
            first: holder,
            since: now,
        }
    }

    /// What it says now.
    pub fn look(&self, holder: &Holder, now: Duration) -> Sight {
        match () {
            () if *holder != self.first => Sight::Renewed,
            () if now.saturating_sub(self.since) >= LEASE => Sight::Expired,
            () => Sight::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_free_once_it_was_silent_for_a_whole_lease() {
        let holder = Holder::this_process();
        let begin = Duration::from_secs(100);
        let watch = Watch::begin(holder.clone(), begin);
        assert_eq!(watch.look(&holder, begin), Sight::Silent);
        let almost = begin + LEASE - Duration::from_millis(1);
        assert_eq!(watch.look(&holder, almost), Sight::Silent);
        assert_eq!(watch.look(&holder, begin + LEASE), Sight::Expired);
        let renewed = Holder { renewed: 1, ..holder };
        assert_eq!(watch.look(&renewed, begin + LEASE), Sight::Renewed);
    }

    #[test]
    fn a_process_of_this_machine_is_known_to_live_or_to_be_gone() {
        let this = Holder::this_process();
        assert_eq!(this.is_alive(), Some(true));
        let reused = Holder {
            started: this.started + 1,
            ..this.clone()
        };
        assert_eq!(
            reused.is_alive(),
            Some(false),
            "its number went to another process"
        );
        let elsewhere = Holder {
            machine: "other".into(),
            ..this
        };
        assert_eq!(elsewhere.is_alive(), None);
    }

    #[test]
    fn no_two_runs_have_the_same_name() {
        assert_ne!(Holder::this_process().run, Holder::this_process().run);
    }
}
