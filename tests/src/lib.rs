//! What the tests of the whole system share: the deterministic simulator.

pub mod simulation;
