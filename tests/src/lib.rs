//! What the tests of the whole system share: the deterministic simulator and the conformance programs.

pub mod conformance;
pub mod simulation;
