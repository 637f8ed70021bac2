//! Where the files of checkpoints lie: in a local directory ([`local`]) or in an object store ([`objects`]).
//!
//! Both know directories of named files, one level deep. What makes files a checkpoint is [`super::storage`]'s.
//!
//! **Invariant.** A file that was published is there whole or not at all, also after a loss of power, and what was
//! written before it is durable then. One process at a time has them open.

pub mod lease;
pub mod local;
pub mod location;
pub mod objects;
pub mod refusals;

use std::fmt::Debug;
use std::path::Path;

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// What lies there is not what was written, and will not be when it is read again.
    Damaged(String),
    /// Nothing is known of it: whoever keeps it did not answer.
    Unreachable(String),
}

impl Unreadable {
    /// Why.
    pub fn said(self) -> String {
        match self {
            Unreadable::Damaged(what) | Unreadable::Unreachable(what) => what,
        }
    }

    /// The same with the name of what could not be read.
    pub fn about(self, name: &str) -> Unreadable {
        match self {
            Unreadable::Damaged(what) => Unreadable::Damaged(format!("{name} cannot be read: {what}")),
            Unreadable::Unreachable(what) => Unreadable::Unreachable(format!("{name}: {what}")),
        }
    }
}

/// The files of one job's checkpoints. Errors say what is wrong, not what was tried: the caller knows.
pub trait Files: Debug + Send {
    /// How the user calls a file, or a directory without `name`.
    fn describe(&self, directory: &str, name: &str) -> String;

    /// The local directory, if it is one.
    fn local_directory(&self) -> Option<&Path> {
        None
    }

    /// The name under which a file is written that another process may write as well, without either in the
    /// other's way.
    fn own_name(&self, name: &str) -> String;

    /// The directories.
    ///
    /// # Errors
    /// They cannot be listed.
    fn directories(&self) -> Result<Vec<String>, String>;

    /// The bytes of a file; `None` = it is not there.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, directory: &str, name: &str) -> Result<Option<Vec<u8>>, Unreadable>;

    /// Writes a file and makes its bytes durable.
    ///
    /// # Errors
    /// It cannot be written.
    fn write(&self, directory: &str, name: &str, bytes: &[u8]) -> Result<(), String>;

    /// Writes a file behind all others of its directory: it appears whole, and is durable with them.
    ///
    /// # Errors
    /// It cannot be written, or somebody else has written it since it was last read.
    fn publish(&self, directory: &str, name: &str, bytes: &[u8]) -> Result<(), String>;

    /// Makes sure that nobody else can publish a file that was not there, or was damaged, when it was last read;
    /// false = somebody has.
    ///
    /// # Errors
    /// It cannot be found out.
    fn claim(&self, directory: &str, name: &str) -> Result<bool, String>;

    /// Deletes a directory, one file before all others; what was claimed stays.
    ///
    /// # Errors
    /// It cannot be deleted.
    fn delete(&self, directory: &str, first: &str) -> Result<(), String>;

    /// Makes files durable that another process wrote.
    ///
    /// # Errors
    /// They are not there, or the file system refuses.
    fn make_durable(&self, directory: &str, names: &[&str]) -> Result<(), String>;

    /// Tells other processes that this one still has the files open; called now and then.
    ///
    /// # Errors
    /// Another process has taken them over.
    fn keep_lock(&self) -> Result<(), String>;
}
