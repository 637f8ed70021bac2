//! What the tests of the whole system share: the deterministic simulator, relations between its answers, and the
//! conformance programs.

pub mod conformance;
pub mod metamorphic;
pub mod simulation;
