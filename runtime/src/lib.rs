//! The runtime of Velocore: everything that touches the machine.
//!
//! Command line, pinned executors, connectors, signals, histogram dumps and supervision. It knows
//! nothing of SQL semantics: it is handed a stream plan and runs it.
#![forbid(unsafe_code)]

pub mod clock;
pub mod connectors;
pub mod cores;
pub mod events;
pub mod executor;
pub mod histograms;
pub mod job;
pub mod probe;
pub mod resources;
