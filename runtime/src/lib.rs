//! The runtime of Velocore: everything that touches the machine.
//!
//! Command line, pinned executors, connectors, signals, histogram dumps and supervision. It knows
//! nothing of SQL semantics: it is handed a stream plan and runs it.
#![forbid(unsafe_code)]

pub mod commands;
pub mod job;

pub mod bench;
pub mod job_test;

pub mod assembly;
pub mod checkpoints;
pub mod connector_factory;
pub mod control;
pub mod run_job;

pub mod clock;
pub mod cores;
pub mod events;
pub mod executor;
pub mod probe;
pub mod signals;
mod stopping;

pub mod connectors;

pub mod figures;
pub mod histograms;
pub mod limits;
pub mod progress;
pub mod resources;
pub mod summary;
pub mod terminal;
